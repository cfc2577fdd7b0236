"""A notebook in a fresh kernel, in a copy of its project: what each cell showed, and what its names held afterwards."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.environment import Environment
from repro_magic.proof.run.notebook_file import NotebookFile, load, short
from repro_magic.proof.run.options import ALONE, DEFAULTS, RunOptions, RunRole
from repro_magic.proof.run.widgets import ShownWidgets, WidgetOutputs
from repro_magic.proof.run.workspace import Workspace, workspace_folder

_PROBE = '__import__("repro_magic.proof.kernel.probe", None, None, ("_",))'
_DIED = "the kernel died"
# Kernels share the cores with each other. By default OpenMP's threads wait for one another at full speed, and two that
# train side by side then take several times as long as one after the other. How they wait changes no result.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
_PATIENCE = 60  # seconds, for a kernel that says nothing
# A socket's path has 104 bytes on macOS, 108 on Linux; Jupyter makes "k-ipc-1" of "k.json".
_LONGEST_SOCKET = 100
_AGAIN = "A cell changed a value that its code does not name: run again, comparing everything after each cell."

# Where a cell's metadata holds the front end's id, if that is not the cell's own.
CELL_ID = "repro_magic_cell_id"


@dataclass(frozen=True)
class CellRun:
    """What one code cell did in one run.

    Attributes:
        source: its text.
        outputs: as the notebook format has them.
        changed: name -> its digest and what it is, of the names that it changed; see `proof.probe`.
        gone: the names that it deleted.
        displayed: the digest of the value that it displayed as its result, and what it is; None if there was none.
        stopped: why it was stopped from outside; empty if it was not.
        may_fail: whether its author tagged it "raises-exception".
        widgets: what displayed widgets show since this cell, by their numbers, as the notebook format has it.
    """

    source: str
    outputs: list[dict[str, Any]]
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gone: Sequence[str] = ()
    may_fail: bool = False
    displayed: Mapping[str, Any] | None = None
    stopped: str = ""
    widgets: WidgetOutputs = field(default_factory=dict)

    def change(self, held: dict[str, Mapping[str, Any]]) -> None:
        """Bring what the names hold from before the cell to after it."""
        held.update(self.changed)
        for name in self.gone:
            held.pop(name, None)

    @property
    def error(self) -> str:
        """The error that it ended with; empty if there was none, or its author expects one."""
        if self.stopped:
            return self.stopped
        for output in self.outputs:
            if output["output_type"] == "error" and not self.may_fail:
                if output["ename"] == "StdinNotImplementedError":
                    return "`input()` is not available"
                return f"{output['ename']}: {output['evalue']}"
        return ""


@dataclass
class Run:
    """One run of a notebook.

    Attributes:
        cells: the code cells that ran, in order.
        error: why it did not come to its end; empty if it did.
        environment: the kernel's, where it was asked for.
        programs: number of the cell -> the programs that its code started.
        is_doubtful: whether a value was found changed that may have changed in an earlier cell than is told.
        notes: what else has to be said of it, in sentences.
    """

    cells: list[CellRun] = field(default_factory=list)
    error: str = ""
    environment: Environment | None = None
    programs: Mapping[int, Sequence[str]] = field(default_factory=dict)
    is_doubtful: bool = False
    notes: list[str] = field(default_factory=list)


class RunStoppedError(Exception):
    """The run was told to stop."""


# nbclient logs what we tell in the verdict: that a kernel died, or that it took too long.
# What a program or a C library prints reaches the cell's output, and ipykernel repeats it on the kernel's own streams.
_MUTE = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
_silent = logging.getLogger("repro_magic.nbclient")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
# The kernels that run at this moment. Whoever interrupts is on another thread than they.
_running: set[Any] = set()
_is_stopping = threading.Event()


@contextmanager
def stoppable() -> Iterator[None]:
    """While this lasts, `stop` ends all runs; afterwards new ones can begin."""
    _is_stopping.clear()
    try:
        yield
    finally:
        _is_stopping.clear()


def stop() -> None:
    """End the kernels that run, at once: their runs clean up behind them, and raise `RunStoppedError`."""
    _is_stopping.set()
    for client in list(_running):
        _kill(client)


def is_stopping() -> bool:
    """Whether `stop` was called since the last `stoppable` began."""
    return _is_stopping.is_set()


def _kill(client: Any) -> None:  # noqa: ANN401 - nbclient's
    provisioner = getattr(client.km, "provisioner", None)
    pid, group = getattr(provisioner, "pid", None), getattr(provisioner, "pgid", None)
    with suppress(OSError):
        if group:
            os.killpg(group, signal.SIGKILL)
        elif pid:
            os.kill(pid, signal.SIGTERM)  # which ends a process at once where there are no signals


def run(
    notebook: Path | NotebookFile,
    options: RunOptions = DEFAULTS,
    role: RunRole = ALONE,
    *,
    on_cell: Callable[[], object] = lambda: None,
    workspace: Workspace | None = None,
) -> Run:
    """Run a notebook once, in a fresh kernel and a copy of its project.

    A notebook that kills its kernel is run once more; so is one whose cells change values that they do not name.

    Args:
        notebook: its file, or the content of that file at the moment when the user agreed to run it.
        options: timeout, kernel and the like.
        role: what this run contributes to a comparison of several runs.
        on_cell: called after each code cell.
        workspace: makes the copies; None: in a temporary folder.

    Raises:
        NotRunnableError: there is no such notebook or kernel, its environment lacks repro_magic, or nothing can be
            copied.
        RunStoppedError: `stop` was called.
    """
    file = load(notebook) if isinstance(notebook, Path) else notebook
    if workspace is None:
        with workspace_folder() as folder:
            place = Workspace(file.path, folder, options.scope, data=file.data)
            return run(file, options, role, on_cell=on_cell, workspace=place)
    with workspace.copy(is_last=role.is_last) as copy:
        found = run_in(file.notebook(), copy.parent, options, role, on_cell=on_cell)
    if found.error.startswith(_DIED) and not _is_stopping.is_set():
        with workspace.copy() as copy:
            found = run_in(file.notebook(), copy.parent, options, role)
        if found.error.startswith(_DIED):
            found.error += ", and when it was tried once more it died again"
    if found.is_doubtful and not _is_stopping.is_set():
        _forget(role)
        with workspace.copy() as copy:
            found = run_in(file.notebook(), copy.parent, replace(options, reads_all=True), role)
        found.notes.append(_AGAIN)
    if _is_stopping.is_set():
        raise RunStoppedError
    return found


def _forget(role: RunRole) -> None:
    """Remove the numbers that a first run stored for later runs."""
    if role.reference is not None and role.is_first:
        for file in role.reference.glob("cell-*.json"):
            file.unlink()


def run_in(
    notebook: Any,  # noqa: ANN401 - nbformat's node
    folder: Path,
    options: RunOptions,
    role: RunRole = ALONE,
    *,
    on_cell: Callable[[], object] = lambda: None,
) -> Run:
    """Run a notebook's cells in a fresh kernel in `folder`, and put their outputs into `notebook`.

    Raises:
        NotRunnableError: as `run` does.
    """
    from jupyter_client.kernelspec import NoSuchKernel  # noqa: PLC0415 - slow to import
    from nbclient.exceptions import DeadKernelError  # noqa: PLC0415

    from repro_magic.proof.run.client import LostReplyError  # noqa: PLC0415

    client = _client(notebook, folder, options)
    found = Run()
    inherited = os.environ if options.variables is None else options.variables
    variables = (_WAITING if options.shares_cores else {}) | dict(inherited)
    _running.add(client)
    try:
        with _loop_of_this_thread(), _own_sockets(client), client.setup_kernel(env=variables, **_MUTE):
            if _is_stopping.is_set():
                _kill(client)
            _ask(client, "programs()")
            _run_cells(_Kernel(client, options, role), notebook, found, on_cell)
            if not found.error:
                found.programs = {int(number): names for number, names in _ask(client, "programs()").items()}
            if role.reports_environment and not found.error:
                found.environment = _ask(client, "environment()")
    except DeadKernelError:
        found.error = f"{_DIED} in cell {len(found.cells) + 1}"
    except LostReplyError:
        found.error = f"the kernel is idle, but its answer to cell {len(found.cells) + 1} never came"
    except NotRunnableError:
        raise
    except NoSuchKernel as error:
        raise NotRunnableError(f"there is no kernel {error.name!r}: choose one with --kernel") from None
    except RuntimeError as error:  # jupyter_client's, of a kernel that did not come up
        if _is_stopping.is_set():
            return found
        raise NotRunnableError(f"the kernel did not start: {short(error)}") from None
    finally:
        _running.discard(client)
    return found


@contextmanager
def _loop_of_this_thread() -> Iterator[None]:
    """Close the event loop that nbclient makes for a thread, and leaves open, with what still waits in it."""
    from jupyter_core.utils import ensure_event_loop  # noqa: PLC0415 - slow to import

    try:
        yield
    finally:
        if threading.current_thread() is not threading.main_thread():
            loop = ensure_event_loop()
            waiting = asyncio.all_tasks(loop)
            for task in waiting:
                task.cancel()
            loop.run_until_complete(_ended(waiting))
            loop.close()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _client(notebook: Any, folder: Path, options: RunOptions) -> Any:  # noqa: ANN401 - nbformat's, nbclient's
    from repro_magic.proof.run.client import Client  # noqa: PLC0415 - slow to import

    client = Client(
        notebook,
        log=_silent,
        kernel_name=options.kernel or notebook.metadata.get("kernelspec", {}).get("name", "python3"),
        shell_timeout_interval=1,  # so often it looks whether the kernel lives: a stop is not to take longer
        startup_timeout=_PATIENCE,
        iopub_timeout=_PATIENCE,
        raise_on_iopub_timeout=True,  # else what came too late is left out, and that would be a difference
        timeout_func=lambda _: options.timeout,  # of a cell; how long its values take to read is not the cell's fault
        store_widget_state=True,  # without it nbclient fails at the first output that a widget takes
        record_timing=False,
        # The history of the user's own sessions is a file of theirs.
        extra_arguments=["--log-level=CRITICAL", "--HistoryManager.hist_file=:memory:"],
        resources={"metadata": {"path": str(folder)}},
    )
    manager: Any = client.create_kernel_manager()
    if options.command:
        manager.kernel_spec.argv = list(options.command)
    return client


@contextmanager
def _own_sockets(client: Any) -> Iterator[None]:  # noqa: ANN401 - nbclient's
    """A kernel's sockets in a folder of its own, where there is such a thing.

    Jupyter looks for free TCP ports first, and a second later the kernel takes them: of two that start at once,
    anywhere on the machine, one may find them taken, and does not come up.
    """
    with workspace_folder() as folder:
        file = folder / "k.json"
        if sys.platform != "win32" and len(os.fsencode(file)) <= _LONGEST_SOCKET:
            client.km.transport, client.km.connection_file = "ipc", str(file)
        yield


@dataclass(frozen=True)
class _Kernel:
    """A fresh kernel, and what it is asked to do."""

    client: Any
    options: RunOptions
    role: RunRole


def _run_cells(kernel: _Kernel, notebook: Any, found: Run, on_cell: Callable[[], object]) -> None:  # noqa: ANN401
    cells = [
        (index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()
    ]
    sources = [cell.source for _, cell in cells]
    widgets = ShownWidgets()
    _values(kernel, 0, sources)  # before the first cell: whatever is imported for it is
    for number, (index, cell) in enumerate(cells, start=1):
        found.error, stopped = _execute(kernel, cell, index, number)
        values = {} if found.error else _values(kernel, number, sources[number:])
        if values.get("ends") and sources[number:]:
            found.error = f"cell {number} ended the kernel with {values['ends']}"
        found.is_doubtful |= values.get("is_doubtful", False)
        found.cells.append(
            replace(_cell_run(cell, values, stopped), widgets=widgets.after(cell, kernel.client.widget_state))
        )
        on_cell()
        if found.error or found.is_doubtful:
            break
    is_stopped = any(cell.stopped for cell in found.cells)  # then it may go on, and the kernel answers nothing
    if not (kernel.options.reads_all or found.is_doubtful or is_stopped):
        found.is_doubtful = _ask(kernel.client, f"check({len(found.cells)})")["is_doubtful"]


def _cell_run(cell: Any, values: Mapping[str, Any], stopped: str) -> CellRun:  # noqa: ANN401 - nbformat's node
    return CellRun(
        cell.source,
        [dict(output) for output in cell.outputs],
        changed=values.get("changed", {}),
        gone=values.get("gone", ()),
        may_fail="raises-exception" in cell.metadata.get("tags", []),
        displayed=values.get("displayed"),
        stopped=stopped,
    )


def _execute(kernel: _Kernel, cell: Any, index: int, number: int) -> tuple[str, str]:  # noqa: ANN401 - nbformat's node
    """Run a cell; why the run ends with it, and why it was stopped; both are empty if it came to its end."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError  # noqa: PLC0415 - slow to import

    client = kernel.client
    # As front ends do; a cell that a session ran twice is two cells here, with one id.
    client.kc.session.metadata["cellId"] = cell.metadata.get(CELL_ID, cell.get("id", f"cell-{index}"))
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        if error.ename == "SystemExit":
            argument = repr(error.evalue) if error.evalue else ""
            return f"cell {number} ended the run with sys.exit({argument})", ""
        return f"cell {number} failed", ""
    except CellTimeoutError as error:
        is_late = "IOPub" in str(error)  # it is over, but the kernel has not said all that it showed
        told = "showed more than arrived" if is_late else f"took more than {kernel.options.timeout} s"
        return f"cell {number} {told}", f"it {told}"
    return "", ""


def _values(kernel: _Kernel, number: int, follows: Sequence[str]) -> Mapping[str, Any]:
    options, reference = kernel.options, kernel.role.reference
    source = None if options.reads_all else "".join(follows[:1])
    folder = "" if reference is None else str(reference)
    arguments = (folder, number, options.tolerance.rtol, options.tolerance.ulp, source)
    return _ask(kernel.client, f"values(*{arguments!r}, is_last={not follows})")


def _ask(client: Any, call: str) -> dict[str, Any]:  # noqa: ANN401 - nbclient's
    """What a function of `proof.probe` says in the kernel."""
    reply: Any = None
    for _ in range(50):
        reply = client.ask(f"{_PROBE}.{call}")
        if reply is None or reply["content"]["status"] != "aborted":
            break
        time.sleep(0.1)  # for a moment after an error the kernel turns down what waits in line
    told = {} if reply is None else reply["content"].get("user_expressions", {}).get("told", {})
    if told.get("status") != "ok":
        why = told.get("evalue", "it did not answer")
        if told.get("ename") == "ModuleNotFoundError":
            raise NotRunnableError(f"the kernel's environment lacks repro_magic ({why}): pip install repro-magic there")
        raise NotRunnableError(f"the kernel could not tell what its names hold: {told.get('ename')}: {why}")
    found: dict[str, Any] = json.loads(ast.literal_eval(told["data"]["text/plain"]))
    return found
