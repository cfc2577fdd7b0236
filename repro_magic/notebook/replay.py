"""`%repro_verify`: the session's cells once more, in a fresh kernel beside it, while the user goes on."""

from __future__ import annotations

import _thread
import atexit
import dataclasses
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nbformat
from IPython.display import DisplayHandle, display

from repro_magic.exceptions import NotRunnableError
from repro_magic.notebook.cell_seeds import ASKS_FOR_REPLAY
from repro_magic.proof import record, runner
from repro_magic.proof.runner import How
from repro_magic.proof.verdict import NotebookVerdict
from repro_magic.proof.workspace import scratch_copy
from repro_magic.views import verdict as in_words
from repro_magic.views.document import Document, Line, Tone

_NAME = "this session"
# So often, in seconds, the bar moves at most.
_PAUSE = 0.5
# How long Python's end waits for the replay to clean up behind it.
_PATIENCE = 15.0
# The Python that runs here, whatever kernels are installed.
_COMMAND = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


@dataclass(frozen=True)
class Ran:
    """A cell that ran in the session.

    Attributes:
        number: the one in `In[3]`.
        source: as its author wrote it.
        receipt: if it has one.
        failed: whether it ended with an error; then it is to do so again.
        id: the front end's; a cell that ran again has the same.
        doubt: why it may show something else when it runs again; empty if nothing says so.
    """

    number: int
    source: str
    receipt: Mapping[str, Any] | None = None
    failed: bool = False
    id: str | None = None
    doubt: str = ""


class Replay:
    """One replay, from `start` until it is told or stopped.

    Args:
        cells: what ran, in order.
        held: name -> its digest and what it is, of what the session holds now.
        timeout: seconds that one cell may take; None: as long as it likes.
    """

    def __init__(self, cells: Sequence[Ran], held: Mapping[str, Mapping[str, Any]], timeout: int | None = None) -> None:
        """Nothing runs yet."""
        self._cells, self._held, self._timeout = cells, held, timeout
        self._done = 0
        self._shown_at = 0.0
        self._handle: DisplayHandle | None = None
        self._ended, self._is_stopped = threading.Event(), threading.Event()
        self.verdict: NotebookVerdict | None = None

    @property
    def is_running(self) -> bool:
        """Whether it still runs."""
        return not self._ended.is_set()

    def notebook(self) -> Any:  # noqa: ANN401 - nbformat's node
        """The cells as a notebook."""
        cells = []
        for one in self._cells:
            metadata: dict[str, Any] = {"tags": ["raises-exception"]} if one.failed else {}
            if one.id is not None:
                metadata[runner.CELL_ID] = one.id
            cells.append(nbformat.v4.new_code_cell(one.source, metadata=metadata))
        return nbformat.v4.new_notebook(cells=cells)

    def start(self) -> None:
        """Begin, on a thread of ours, and show how far it is."""
        self._handle = display(self._bar(), raw=True, display_id=True)
        atexit.register(self.stop)
        # Not a Thread object: those that a cell starts are watched, and this one is ours.
        _thread.start_new_thread(self._run, ())

    def wait(self) -> None:
        """Until it is over; an interrupt stops it."""
        try:
            while not self._ended.wait(0.1):
                pass
        except KeyboardInterrupt:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, and wait until its kernel and its files are gone."""
        atexit.unregister(self.stop)
        self._is_stopped.set()
        if self.is_running:
            runner.stop()
            self._ended.wait(_PATIENCE)

    def _run(self) -> None:
        try:
            shown = self._outcome()
        except runner.StoppedError:
            shown = Document((Line("The replay was stopped."),))
        except NotRunnableError as error:
            shown = Document((Line(f"⚠ The cells could not be replayed: {error}", tone=Tone.ALARM),))
        except Exception as error:  # noqa: BLE001 - on a thread nobody else would tell it
            shown = Document((Line(f"⚠ repro_magic: the replay failed ({error!r})", tone=Tone.ALARM),))
        try:
            if self._handle is not None:
                self._handle.update(shown.bundle(), raw=True)
        finally:
            self._ended.set()  # last: the cell that waits is over then

    def _outcome(self) -> Document:
        with runner.stoppable(), scratch_copy(Path.cwd() / "session.ipynb") as copy:
            if self._is_stopped.is_set():  # before `stoppable` began
                raise runner.StoppedError
            notebook = self.notebook()
            fresh = runner.run_in(
                notebook, copy.parent, How(self._timeout, command=_COMMAND, shares=True), self._advance
            )
            if runner.is_stopping():
                raise runner.StoppedError
        ran = [record.SessionCell(one.number, one.source, one.receipt, one.doubt) for one in self._cells]
        recorded = record.of_session(ran, self._held, fresh)
        found = record.compare(_NAME, recorded, fresh)
        numbers = [one.number for one in self._cells]
        cells = [dataclasses.replace(cell, number=numbers[cell.number - 1]) for cell in found.cells]
        self.verdict = dataclasses.replace(found, cells=cells)
        return in_words.notebook(self.verdict)

    def _advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._handle is not None and now - self._shown_at >= _PAUSE:
            self._shown_at = now
            self._handle.update(self._bar(), raw=True)

    def _bar(self) -> dict[str, str]:
        told = f"Replaying in a fresh kernel: {self._done} of {len(self._cells)} cells done"
        bar = f'<progress value="{self._done}" max="{len(self._cells)}" aria-label="{told}"></progress>'
        return {"text/plain": told, "text/html": f"<div>{told} {bar}</div>"}


def cells_of(  # noqa: PLR0913 - each is what is kept of cells, by number
    history: Sequence[str],
    receipts: Mapping[int, Mapping[str, Any]],
    failed: set[int],
    present: int,
    *,
    ids: Mapping[int, str] = MappingProxyType({}),
    doubts: Mapping[int, str] = MappingProxyType({}),
) -> list[Ran]:
    """The cells of a session's history, in the order in which they ran, without the lines that ask for a replay.

    Args:
        history: IPython's, by number.
        receipts: number -> the cell's receipt.
        failed: the numbers of those that ended with an error.
        present: the number of the cell that asks: what stands below the line that asks has not run yet.
        ids: number -> the front end's id of the cell.
        doubts: number -> why the cell may show something else when it runs again.

    Example:
        >>> [ran.source for ran in cells_of(["", "x = 1", "%repro_verify --wait"], {}, set(), 2)]
        ['x = 1']
    """
    sources = (
        (number, ASKS_FOR_REPLAY.split(source)[0] if number == present else ASKS_FOR_REPLAY.sub("", source))
        for number, source in enumerate(history[: present + 1])
    )
    return [
        Ran(number, source, receipts.get(number), number in failed, ids.get(number), doubts.get(number, ""))
        for number, source in sources
        if source.strip()
    ]
