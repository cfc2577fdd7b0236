"""Fixtures: a process left as it was found, both ways to watch it, a shell in this process, and a real kernel."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import settings as hypothesis_settings
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

from repro_magic.determinism import settings
from repro_magic.determinism.switches import SWITCHES, deterministic_targets
from repro_magic.ops.tracing import dispatch, tracer
from repro_magic.plugins import numba
from repro_magic.rng import entropy, seeding

ROOT = Path(__file__).parents[1]  # the repository
# c10/core/GeneratorImpl.h: default_rng_seed_val
_TORCHS_OWN_SEED = 67280421310721

# How long an example takes on a crowded machine says nothing. The same examples in each run, so that a failure comes
# from what was changed; `--hypothesis-profile explore` looks for new ones.
hypothesis_settings.register_profile("same", deadline=None, derandomize=True)
hypothesis_settings.register_profile("explore", deadline=None)
hypothesis_settings.load_profile("same")


def switch_values() -> dict[str, object]:
    """Every switch that can be read, by name."""
    return {switch.name: switch.guarded_read() for switch in SWITCHES if switch.present()}


def _unseed() -> None:
    """Generators as a fresh process has them, whatever ran before."""
    random.seed()
    np.random.seed()
    torch.default_generator.manual_seed(_TORCHS_OWN_SEED)
    if "numba" in sys.modules:
        numba.LIBRARY.seed(random.getrandbits(64))


@pytest.fixture(autouse=True, scope="session")
def interrupts_as_in_a_terminal() -> Iterator[None]:
    """A shell that starts a job in the background makes it ignore Ctrl-C, and Python leaves it at that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Generators, switches, environment and what the package remembers: for each test as if it were the first."""
    turned = dict.fromkeys((*(setting.switch for setting in settings.SETTINGS), *deterministic_targets()))
    switches = [(switch, switch.read()) for switch in turned if switch.present()]
    environment = dict(os.environ)
    seeding.suspend()  # examples in docstrings come without this fixture
    _unseed()
    monkeypatch.setattr(seeding, "_ledger", seeding._Ledger())
    monkeypatch.setattr(entropy, "_globals_unseeded", {})
    yield
    seeding.suspend()
    settings.stop_waiting()
    os.environ.clear()
    os.environ.update(environment)
    for switch, value in switches:
        switch.write(value)


@pytest.fixture
def no_compilation_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compilation by an earlier test would keep hot ops unwatched in this process."""
    monkeypatch.setattr(dispatch.hot_ops, "never", False)


@pytest.fixture(params=["keys", "mode"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each of the two watchers."""
    tracer.release()
    if request.param == "mode":
        monkeypatch.setattr(tracer, "_best_watcher", dispatch.ModeWatcher)
    yield request.param
    tracer.release()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """PyTorch with two threads, however many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shell(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A fresh IPython shell in this process, without history file."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    instance = InteractiveShell.instance(config=config)
    yield instance
    instance.run_line_magic("unload_ext", "repro_magic")
    InteractiveShell.clear_instance()


@pytest.fixture
def loaded(shell: InteractiveShell) -> InteractiveShell:
    """The same with the extension loaded."""
    shell.run_line_magic("load_ext", "repro_magic")
    return shell


class Ran:
    """The cells of a notebook after a run in a real kernel."""

    def __init__(self, cells: Sequence[Any]) -> None:
        """Take nbformat's cells."""
        self._cells = cells

    def outputs(self, number: int, kind: str | None = None) -> list[Any]:
        """The outputs of a cell, all or those of one type."""
        return [output for output in self._cells[number].outputs if kind in (None, output.output_type)]

    def result(self, number: int) -> str | None:
        """The text of `Out[n]`, None if there is none."""
        found = self.outputs(number, "execute_result")
        return found[0].data["text/plain"] if found else None

    def stream(self, number: int, name: str = "stdout") -> str:
        """What a cell printed."""
        return "".join(output.text for output in self.outputs(number, "stream") if output.name == name)

    def shown(self, number: int) -> str:
        """The text of what a cell displayed."""
        return "\n".join(output.data["text/plain"] for output in self.outputs(number, "display_data"))

    def error(self, number: int) -> Any:
        """The error output of a cell, None if there is none."""
        found = self.outputs(number, "error")
        return found[0] if found else None


@contextmanager
def runner(notebook: Any, **options: Any) -> Iterator[NotebookClient]:
    """What runs a notebook in a fresh kernel.

    Its sockets are files: of two kernels that look for free TCP ports at once one may not come up.
    """
    waits = {"timeout": 240, "startup_timeout": 240, "iopub_timeout": 60, "raise_on_iopub_timeout": True}
    client = NotebookClient(notebook, kernel_name="python3", **{**waits, **options})
    manager: Any = client.create_kernel_manager()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        manager.transport, manager.connection_file = "ipc", f"{folder}/k.json"
        yield client


def run_and_store(path: Path) -> Any:
    """Run a notebook in a fresh kernel and save it with its outputs, as front ends do, less what is chance."""
    notebook = nbformat.read(path, as_version=4)
    with runner(
        notebook,
        timeout=240,
        record_timing=False,
        coalesce_streams=True,  # how a kernel cuts what is printed into messages
        store_widget_state=False,  # it holds random names; the panel leaves its last state in an output of its own
    ) as client:
        client.execute()
    nbformat.write(notebook, path)
    return notebook


def run_in_kernel(*sources: str, allow_errors: bool = True) -> Ran:
    """Run cells in a fresh kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    with runner(notebook, allow_errors=allow_errors) as client:
        client.execute()
    return Ran(notebook.cells)
