"""`%repro_verify`: the session's cells once more, in a fresh kernel beside it, while the user goes on."""

from __future__ import annotations

import _thread
import atexit
import dataclasses
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from IPython.display import DisplayHandle, display

from repro_magic.exceptions import NotRunnableError
from repro_magic.notebook.cell_seeds import ASKS_FOR_REPLAY
from repro_magic.proof.compare.outputs import shown
from repro_magic.proof.compare.runs import fixed_hashes
from repro_magic.proof.record.comparison import compare_with_record
from repro_magic.proof.record.session_record import SessionCell, recorded_in_session
from repro_magic.proof.run import runner
from repro_magic.proof.run.options import DEFAULTS, RunOptions
from repro_magic.proof.run.workspace import Workspace, workspace_folder
from repro_magic.proof.verdict import NotebookVerdict, Outcome, Part
from repro_magic.proof.verification import with_missing_files
from repro_magic.rng.seeding import HASH_SEED_AT_START, HASH_SEED_VARIABLE, hash_seed_of_this_process
from repro_magic.views import verdict as in_words
from repro_magic.views.document import Document, Line, Tone

_NAME = "this session"
# A cell that is replayed from top to bottom may take so many seconds, at least.
_LEAST = 30
_TOO_LONG = "took more than"
_BAD = frozenset({Outcome.DIFFERS, Outcome.FAILED})
_STREAMS = {"out_stream": "stdout", "err_stream": "stderr"}
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
        texts: what it showed, as far as the session keeps it; see `texts_of`.
        own: the texts of what this package showed under it.
        displayed: the digest of what `Out` holds of it now, and what that is; None if it holds nothing.
    """

    number: int
    source: str
    receipt: Mapping[str, Any] | None = None
    failed: bool = False
    id: str | None = None
    doubt: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    displayed: Mapping[str, Any] | None = None


class Replay:
    """One replay, from `start` until it is told or stopped.

    Args:
        cells: what ran, in order.
        held: name -> its digest and what it is, of what the session holds now.
        options: the timeout per cell, and which files are copied; the kernel is always the one that runs here.
    """

    def __init__(
        self,
        cells: Sequence[Ran],
        held: Mapping[str, Mapping[str, Any]],
        options: RunOptions = DEFAULTS,
    ) -> None:
        """Nothing runs yet."""
        self._cells, self._held = cells, held
        self._options = dataclasses.replace(
            options, command=_COMMAND, variables=_variables(), shares_cores=True, reads_all=True
        )
        self._done, self._total, self._what = 0, len(cells), "this session"
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
        return _notebook_of(self._cells)

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
        except runner.RunStoppedError:
            shown = Document((Line("The replay was stopped."),))
        except NotRunnableError as error:
            shown = Document((Line(f"⚠ The cells could not be replayed: {error}", tone=Tone.ALARM),))
        except Exception as error:  # noqa: BLE001 - on a thread nobody else would tell it
            shown = Document((Line(f"⚠ repro_magic failed to replay the session ({error!r})", tone=Tone.ALARM),))
        try:
            if self._handle is not None:
                self._handle.update(shown.bundle(), raw=True)
        finally:
            self._ended.set()  # last: the cell that waits is over then

    def _outcome(self) -> Document:
        began = time.monotonic()
        with runner.stoppable():
            if self._is_stopped.is_set():  # before `stoppable` began
                raise runner.RunStoppedError
            found = self._compared(self._cells, self._options)
            once = each_once(self._cells)
            if found.reproduces and len(once) < len(self._cells):
                # It may take about as long as the session's own order did.
                limit = max(_LEAST, int(2 * (time.monotonic() - began)))
                from_the_top = self._from_the_top(once, min(self._options.timeout or limit, limit))
                found = _with_order(found, self._cells, from_the_top)
        hashes = hash_seed_of_this_process()
        notes = [] if hashes == "random" else [fixed_hashes(hashes)]
        self.verdict = dataclasses.replace(found, notes=[*found.notes, *notes])
        return in_words.notebook(self.verdict)

    def _from_the_top(self, once: Sequence[Ran], timeout: int) -> NotebookVerdict:
        self._done, self._total, self._what = 0, len(once), "from top to bottom"
        try:
            return self._compared(once, dataclasses.replace(self._options, timeout=timeout))
        except NotRunnableError as error:  # what the first replay found stands
            return NotebookVerdict(_NAME, 1, 0, [], str(error))

    def _compared(self, cells: Sequence[Ran], options: RunOptions) -> NotebookVerdict:
        """What the session holds, against these cells in a fresh kernel."""
        with workspace_folder() as folder:
            place = Workspace(Path.cwd() / "session.ipynb", folder, options.scope)
            with place.copy() as copy:
                fresh = runner.run_in(_notebook_of(cells), copy.parent, options, on_cell=self._advance)
        if runner.is_stopping():
            raise runner.RunStoppedError
        ran = [
            SessionCell(one.number, one.source, one.receipt, one.doubt, one.texts, one.own, one.displayed)
            for one in cells
        ]
        found = compare_with_record(_NAME, recorded_in_session(ran, self._held, fresh), fresh)
        numbered = [dataclasses.replace(cell, number=cells[cell.number - 1].number) for cell in found.cells]
        return with_missing_files(dataclasses.replace(found, cells=numbered), place.contents)

    def _advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._handle is not None and now - self._shown_at >= _PAUSE:
            self._shown_at = now
            self._handle.update(self._bar(), raw=True)

    def _bar(self) -> dict[str, str]:
        told = f"Replaying {self._what} in a fresh kernel: {self._done} of {self._total} cells done"
        bar = f'<progress value="{self._done}" max="{self._total}" aria-label="{told}"></progress>'
        return {"text/plain": told, "text/html": f"<div>{told} {bar}</div>"}


def _notebook_of(cells: Sequence[Ran]) -> Any:  # noqa: ANN401 - nbformat's node
    found = []
    for one in cells:
        metadata: dict[str, Any] = {"tags": ["raises-exception"]} if one.failed else {}
        if one.id is not None:
            metadata[runner.CELL_ID] = one.id
        found.append(nbformat.v4.new_code_cell(one.source, metadata=metadata))
    return nbformat.v4.new_notebook(cells=found)


def _variables() -> dict[str, str]:
    """The variables of this process, but for the seed of string hashes: the one that it started with itself."""
    found = {name: value for name, value in os.environ.items() if name != HASH_SEED_VARIABLE}
    return found if HASH_SEED_AT_START is None else {**found, HASH_SEED_VARIABLE: HASH_SEED_AT_START}


def each_once(cells: Sequence[Ran]) -> list[Ran]:
    """The cells as their notebook has them: of one that ran several times only its last text, where it ran first.

    A front end that gives no ids tells no cell that ran again from a new one: then all of them stay.

    Example:
        >>> [ran.source for ran in each_once([Ran(1, "x = 1", id="a"), Ran(2, "y", id="b"), Ran(3, "x = 2", id="a")])]
        ['x = 2', 'y']
    """
    found: dict[object, Ran] = {}
    for cell in cells:
        found[cell.number if cell.id is None else cell.id] = cell
    return [*found.values()]


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"  # noqa: PLR2004


def _with_order(found: NotebookVerdict, cells: Sequence[Ran], from_the_top: NotebookVerdict) -> NotebookVerdict:
    """The verdict, with what came of running each cell once."""
    runs = Counter(cell.id for cell in cells)
    again = [cell for cell in each_once(cells) if cell.id is not None and runs[cell.id] > 1]
    ran = ", ".join(f"In[{cell.number}] ran {_times(runs[cell.id])}" for cell in again)
    if from_the_top.reproduces:
        note = f"{ran}. Run once each from top to bottom in a second fresh kernel, the cells gave the same results."
        return dataclasses.replace(found, notes=[*found.notes, note])
    number, part = next(
        ((cell.number, part) for cell in from_the_top.cells for part in cell.parts if part.outcome in _BAD),
        (0, Part("", Outcome.FAILED, from_the_top.error)),
    )
    if number == 0 or _TOO_LONG in part.why:
        note = f"{ran}. What a run from top to bottom gives is unknown: {part.why}."
        return dataclasses.replace(found, notes=[*found.notes, note])
    is_error = part.outcome is Outcome.FAILED
    differs = f"In[{number}] fails ({part.why})" if is_error else f"{part.name} differs in In[{number}]"
    return dataclasses.replace(found, from_the_top=f"{ran} (run once each in a second fresh kernel, {differs})")


def texts_of(history: Any, number: int, error: str) -> dict[str, str]:  # noqa: ANN401 - IPython's HistoryManager
    """What a cell showed, as far as IPython's history keeps it: streams and its result. Before IPython 9: nothing.

    Args:
        history: the session's.
        number: of the cell.
        error: the error that it ended with, in words; empty if there was none.
    """
    outputs: list[dict[str, Any]] = []
    for one in list(getattr(history, "outputs", {}).get(number, ())):
        if one.output_type in _STREAMS:
            text = "".join(map(str, one.bundle.get("stream", ())))
            outputs.append({"output_type": "stream", "name": _STREAMS[one.output_type], "text": text})
        elif one.output_type == "execute_result":
            kept = {mime: data for mime, data in one.bundle.items() if isinstance(data, str)}
            outputs.append({"output_type": "execute_result", "data": kept})
    return shown(outputs) | ({"error": error} if error else {})


def cells_of(
    history: Sequence[str], receipts: Mapping[int, Mapping[str, Any]], failed: set[int], present: int
) -> list[Ran]:
    """The cells of a session's history, in the order in which they ran, without the lines that ask for a replay.

    Args:
        history: IPython's, by number.
        receipts: number -> the cell's receipt.
        failed: the numbers of those that ended with an error.
        present: the number of the cell that asks: what stands below the line that asks has not run yet.

    Example:
        >>> [ran.source for ran in cells_of(["", "x = 1", "%repro_verify --wait"], {}, set(), 2)]
        ['x = 1']
    """
    sources = (
        (number, ASKS_FOR_REPLAY.split(source)[0] if number == present else ASKS_FOR_REPLAY.sub("", source))
        for number, source in enumerate(history[: present + 1])
    )
    return [Ran(number, source, receipts.get(number), number in failed) for number, source in sources if source.strip()]
