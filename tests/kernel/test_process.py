"""What only a real kernel shows: interrupts, completion, help, debugging, loading and unloading."""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import IPython
import pytest
from conftest import run_in_kernel
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.kernel

IPYTHON = IPython.version_info[:2]

PATIENCE = 180  # seconds, on a machine that is busy otherwise
Kernel = tuple[KernelManager, Any]


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """A kernel and its blocking client."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # see conftest.runner
        manager = KernelManager(kernel_name="python3", transport="ipc", connection_file=f"{folder}/k.json")
        manager.start_kernel()
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=PATIENCE)
            yield manager, client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def run(client: Any, code: str) -> dict[str, Any]:
    """Run code; the reply's content, with what it printed under `"text"`."""
    printed: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        content = message["content"]
        printed.append(content.get("text") or content.get("data", {}).get("text/plain") or "")

    reply = {"status": "aborted"}
    while reply["status"] == "aborted":  # for a moment after an error the kernel turns down what waits in line
        reply = client.execute_interactive(code, output_hook=collect, timeout=PATIENCE)["content"]
    return {**reply, "text": "".join(printed)}


def wait_for_text(client: Any, text: str) -> None:
    """Read outputs until `text` was printed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if text in message["content"].get("text", ""):
            return
    pytest.fail(f"the kernel never printed {text!r}")


@pytest.mark.parametrize(
    "wait", ["time.sleep(60)", "for _ in range(600): await asyncio.sleep(0.1)"], ids=["sleep", "await"]
)
def test_an_interrupt_puts_everything_back(kernel: Kernel, wait: str) -> None:
    """GIVEN a cell at work WHEN the user interrupts it THEN it stops, and switches and generators are as before."""
    manager, client = kernel
    run(
        client,
        "%load_ext repro_magic\nimport torch, time, asyncio\ntorch.manual_seed(9)\nbefore = torch.get_rng_state()",
    )
    cell = f"%%deterministic --seed 1 --restore-rng\ntorch.rand(9)\nprint('working', flush=True)\n{wait}"
    request = client.execute(cell)
    wait_for_text(client, "working")
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=PATIENCE)
    assert reply["parent_header"]["msg_id"] == request
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] in ("KeyboardInterrupt", "CancelledError")
    after = run(
        client, "print(torch.are_deterministic_algorithms_enabled(), torch.equal(before, torch.get_rng_state()))"
    )
    assert "False True" in after["text"]


def test_flags_complete_on_tab(kernel: Kernel) -> None:
    _, client = kernel
    run(client, "%load_ext repro_magic")

    def complete(code: str) -> list[str]:
        return list(client.complete(code, reply=True, timeout=PATIENCE)["content"]["matches"])

    alone = IPYTHON >= (8, 6)  # older completers cannot be told to offer nothing else
    for code, flags in [
        ("%%deterministic --s", ["--seed", "--strict"]),
        ("%%deterministic --seed 4 --re", ["--restore-rng"]),
        ("%repro_seed --n", ["--new"]),
    ]:
        found = complete(code)
        assert found == flags if alone else set(flags) <= set(found)
    assert "%%deterministic" in complete("%%determ")
    assert "--seed" not in complete("print --s")


@pytest.mark.parametrize(
    ("magic", "usage", "example"),
    [
        ("%%deterministic", "%%deterministic [--seed N]", "%%deterministic --seed 42"),
        ("%repro_seed", "%repro_seed [SEED | --new]", "%repro_seed 42"),
        ("%repro_status", "%repro_status", "%repro_status"),
    ],
)
def test_help_shows_usage_and_an_example(kernel: Kernel, magic: str, usage: str, example: str) -> None:
    _, client = kernel
    run(client, "%load_ext repro_magic")
    [payload] = run(client, f"{magic}?")["payload"]
    shown = payload["data"]["text/plain"]
    assert usage in shown
    assert example in shown


def test_post_mortem_debugging_lands_in_the_cell(kernel: Kernel) -> None:
    """GIVEN an error in a deterministic cell WHEN looked at as %debug does THEN frame and line are the cell's."""
    _, client = kernel
    run(client, "%load_ext repro_magic")
    run(client, "%%deterministic --seed 1\nvalue = 5\n1 / 0")
    shown = run(
        client,
        "import sys, traceback\n*_, (frame, line) = traceback.walk_tb(sys.last_traceback)\n"
        "print(line, frame.f_globals is globals(), frame.f_locals['value'])",
    )
    assert shown["text"].strip() == "3 True 5"


def test_a_breakpoint_stops_on_its_line_of_the_cell(kernel: Kernel) -> None:
    """GIVEN a breakpoint on line 3 WHEN the deterministic cell runs under the debugger THEN it stops on line 3."""
    _, client = kernel
    sequence = iter(range(1, 99))

    def ask(command: str, **arguments: Any) -> dict[str, Any]:
        content = {"type": "request", "seq": next(sequence), "command": command, "arguments": arguments}
        message = client.session.msg("debug_request", content)
        client.control_channel.send(message)
        while True:
            reply = client.get_control_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return dict(reply["content"])

    run(client, "%load_ext repro_magic")
    cell = "%%deterministic --seed 1\na = 1\nb = a + 1\nb"
    ask("initialize", clientID="test", adapterID="", linesStartAt1=True)
    ask("attach")
    path = ask("dumpCell", code=cell)["body"]["sourcePath"]
    [point] = ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": 3}])["body"]["breakpoints"]
    assert point["verified"]
    ask("configurationDone")
    client.execute(cell)
    deadline = time.monotonic() + PATIENCE
    thread = None
    while thread is None and time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=PATIENCE)
        if message["msg_type"] == "debug_event" and message["content"]["event"] == "stopped":
            thread = message["content"]["body"]["threadId"]
    assert thread is not None
    top = ask("stackTrace", threadId=thread)["body"]["stackFrames"][0]
    assert (top["line"], top["source"]["path"]) == (3, path)
    ask("continue", threadId=thread)


INSPECT = """
import sys
shell = get_ipython()
def installed():
    manager = shell.magics_manager
    return (
        {event: list(hooks) for event, hooks in shell.events.callbacks.items()},
        list(shell.input_transformers_cleanup), list(shell.input_transformers_post), list(shell.ast_transformers),
        {kind: dict(table) for kind, table in manager.magics.items()}, dict(manager.registry),
        list(shell.Completer.custom_matchers), list(shell.configurables), list(sys.meta_path),
    )
%load_ext autoreload
before = installed()
"""


def test_unloading_leaves_everything_as_before() -> None:
    """GIVEN a shell WHEN the extension is loaded, reloaded and unloaded THEN nothing of it is left."""
    ran = run_in_kernel(
        INSPECT,
        "%load_ext repro_magic\n%repro_seed 42\nloaded = installed()\nfrom repro_magic import load_ipython_extension\n"
        "load_ipython_extension(shell)\ninstalled() == loaded, loaded == before",
        "%reload_ext repro_magic\n[len(part) for part in installed()] == [len(part) for part in loaded]",
        "%unload_ext repro_magic\ninstalled() == before",
        "%load_ext repro_magic\n%unload_ext repro_magic\n%load_ext repro_magic\n"
        "[len(part) for part in installed()] == [len(part) for part in loaded]",
        "%unload_ext repro_magic\ninstalled() == before",
    )
    assert ran.result(1) == "(True, False)"
    assert [ran.result(number) for number in (2, 3, 4, 5)] == ["True"] * 4


def test_loading_prints_nothing_and_an_ordinary_cell_shows_nothing_of_ours() -> None:
    ran = run_in_kernel("%load_ext repro_magic", "x = 1", "1 / 0", "%reload_ext repro_magic")
    assert ran.outputs(0) == []
    assert ran.outputs(1) == []
    assert [output.output_type for output in ran.outputs(2)] == ["error"]
    assert ran.outputs(3) == []


@pytest.mark.parametrize("table", ["%repro_seed 42", "%repro_seed 42\n%repro_seed", "%repro_seed 42\n%repro_status"])
def test_showing_a_table_draws_nothing(table: str) -> None:
    """GIVEN a fresh kernel WHEN the first table is shown THEN the numbers are those of the seed all the same."""
    ran = run_in_kernel("%load_ext repro_magic", table, "import random\nrandom.random()")
    assert ran.result(2) == "0.6394267984578837"


# CPython looks for signals at calls and jumps only: a chain of operators cannot be interrupted before its end.
STRUCK = """
import ctypes, functools, os, signal
class Struck:
    __matmul__ = staticmethod(functools.partial(ctypes.CDLL(None).kill, os.getpid()))
struck = Struck()
"""


def test_an_interrupt_within_an_operator_of_a_cell(kernel: Kernel) -> None:
    """GIVEN a cell that ends within an operator WHEN interrupted there THEN it is, and every switch is back."""
    _, client = kernel
    run(client, f"%load_ext repro_magic\nimport torch\n{STRUCK}")
    ended = run(
        client, "%%deterministic\nprint(torch.are_deterministic_algorithms_enabled())\nc = struck @ signal.SIGINT"
    )
    assert (ended["status"], ended["ename"]) == ("error", "KeyboardInterrupt")
    assert ended["text"].startswith("True")
    after = run(client, "print(torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic)")
    assert "False False" in after["text"]


def test_autoreload_beside_us() -> None:
    """GIVEN IPython's autoreload WHEN modules are checked before each cell THEN deterministic cells work on."""
    ran = run_in_kernel(
        "%load_ext autoreload\n%autoreload 2\n%load_ext repro_magic",
        "%%deterministic --seed 3\nimport random\nrandom.random()",
        "%%deterministic --seed 3\nrandom.random()",
    )
    assert ran.result(1) == ran.result(2)
    assert ran.result(1) is not None


def test_a_fault_in_our_hook_is_told_once_and_the_cell_goes_on() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic\nfrom repro_magic.views import describe\ndescribe.reports = None",
        "%%deterministic\n'first'",
        "%%deterministic\n'second'",
        "'third'",
    )
    assert [ran.result(number) for number in (1, 2, 3)] == ["'first'", "'second'", "'third'"]
    assert "post_run_cell hook failed" in ran.stream(1, "stderr")
    assert ran.stream(2, "stderr") == ran.stream(3, "stderr") == ""
