"""`%repro_verify`: replays the session's cells in a fresh kernel in the background."""

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
# The shortest time limit, in seconds, of a cell in the run from top to bottom.
_LEAST = 30
_TOO_LONG = "took more than"
_BAD = frozenset({Outcome.DIFFERS, Outcome.FAILED})
_STREAMS = {"out_stream": "stdout", "err_stream": "stderr"}
# The progress bar is updated at most once in so many seconds.
_PAUSE = 0.5
# How many seconds Python waits at exit for the replay to clean up.
_PATIENCE = 15.0
# The kernel runs on this session's Python, whatever kernels are installed.
_COMMAND = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


@dataclass(frozen=True)
class Ran:
    """A cell that ran in the session.

    Attributes:
        number: the number in `In[3]`.
        source: the source as its author wrote it.
        receipt: its receipt, if it has one.
        failed: whether it ended with an error, and so must fail again.
        id: the front end's id of the cell; the same when the cell runs again.
        doubt: why its output may differ when it runs again; empty if there is no reason.
        texts: its outputs, as far as the session keeps them; see `texts_of`.
        own: the texts that this package showed under it.
        displayed: digest and kind of its value in `Out` now; None if there is none.
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
    """A replay, from `start` until it ends or is stopped.

    Args:
        cells: the cells that ran, in order.
        values: name -> digest and kind of each value that the session holds now.
        options: the timeout per cell, and which files are copied; the kernel always runs on this session's Python.
    """

    def __init__(
        self,
        cells: Sequence[Ran],
        values: Mapping[str, Mapping[str, Any]],
        options: RunOptions = DEFAULTS,
    ) -> None:
        """Prepare the replay without starting it."""
        self._cells, self._values = cells, values
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
        """Whether the replay still runs."""
        return not self._ended.is_set()

    def notebook(self) -> Any:  # noqa: ANN401 - nbformat's node
        """The cells as a notebook."""
        return _notebook_of(self._cells)

    def start(self) -> None:
        """Start on a background thread, and show progress."""
        self._handle = display(self._bar(), raw=True, display_id=True)
        atexit.register(self.stop)
        # Not a Thread object, because threads that a cell starts are watched.
        _thread.start_new_thread(self._run, ())

    def wait(self) -> None:
        """Wait for the end of the replay; an interrupt stops it."""
        try:
            while not self._ended.wait(0.1):
                pass
        except KeyboardInterrupt:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the replay, and wait until its kernel and its files are gone."""
        atexit.unregister(self.stop)
        self._is_stopped.set()
        if self.is_running:
            runner.stop()
            self._ended.wait(_PATIENCE)

    def _run(self) -> None:
        try:
            document = self._outcome()
        except runner.RunStoppedError:
            document = Document((Line("The replay was stopped."),))
        except NotRunnableError as error:
            document = Document((Line(f"⚠ The cells could not be replayed: {error}", tone=Tone.ALARM),))
        except Exception as error:  # noqa: BLE001 - nothing else would report it on this thread
            document = Document((Line(f"⚠ repro_magic failed to replay the session ({error!r})", tone=Tone.ALARM),))
        try:
            if self._handle is not None:
                self._handle.update(document.bundle(), raw=True)
        finally:
            self._ended.set()  # last, because it ends the waiting cell

    def _outcome(self) -> Document:
        began = time.monotonic()
        with runner.stoppable():
            if self._is_stopped.is_set():  # before `stoppable` began
                raise runner.RunStoppedError
            verdict = self._compared(self._cells, self._options)
            once = each_once(self._cells)
            if verdict.reproduces and len(once) < len(self._cells):
                # The run from top to bottom may take about as long as the first replay.
                limit = max(_LEAST, int(2 * (time.monotonic() - began)))
                from_the_top = self._from_the_top(once, min(self._options.timeout or limit, limit))
                verdict = _with_order(verdict, self._cells, from_the_top)
        hashes = hash_seed_of_this_process()
        notes = [] if hashes == "random" else [fixed_hashes(hashes)]
        self.verdict = dataclasses.replace(verdict, notes=[*verdict.notes, *notes])
        return in_words.notebook(self.verdict)

    def _from_the_top(self, once: Sequence[Ran], timeout: int) -> NotebookVerdict:
        self._done, self._total, self._what = 0, len(once), "from top to bottom"
        try:
            return self._compared(once, dataclasses.replace(self._options, timeout=timeout))
        except NotRunnableError as error:  # the first replay's verdict stands
            return NotebookVerdict(_NAME, 1, 0, [], str(error))

    def _compared(self, cells: Sequence[Ran], options: RunOptions) -> NotebookVerdict:
        """Run the cells in a fresh kernel, and compare the results with the session."""
        with workspace_folder() as folder:
            workspace = Workspace(Path.cwd() / "session.ipynb", folder, options.scope)
            with workspace.copy() as copy:
                fresh = runner.run_in(_notebook_of(cells), copy.parent, options, on_cell=self._advance)
        if runner.is_stopping():
            raise runner.RunStoppedError
        ran = [
            SessionCell(cell.number, cell.source, cell.receipt, cell.doubt, cell.texts, cell.own, cell.displayed)
            for cell in cells
        ]
        verdict = compare_with_record(_NAME, recorded_in_session(ran, self._values, fresh), fresh)
        numbered = [dataclasses.replace(cell, number=cells[cell.number - 1].number) for cell in verdict.cells]
        return with_missing_files(dataclasses.replace(verdict, cells=numbered), workspace.contents)

    def _advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._handle is not None and now - self._shown_at >= _PAUSE:
            self._shown_at = now
            self._handle.update(self._bar(), raw=True)

    def _bar(self) -> dict[str, str]:
        text = f"Replaying {self._what} in a fresh kernel: {self._done} of {self._total} cells done"
        bar = f'<progress value="{self._done}" max="{self._total}" aria-label="{text}"></progress>'
        return {"text/plain": text, "text/html": f"<div>{text} {bar}</div>"}


def _notebook_of(cells: Sequence[Ran]) -> Any:  # noqa: ANN401 - nbformat's node
    nodes = []
    for cell in cells:
        metadata: dict[str, Any] = {"tags": ["raises-exception"]} if cell.failed else {}
        if cell.id is not None:
            metadata[runner.CELL_ID] = cell.id
        nodes.append(nbformat.v4.new_code_cell(cell.source, metadata=metadata))
    return nbformat.v4.new_notebook(cells=nodes)


def _variables() -> dict[str, str]:
    """This process's environment variables, with the seed of string hashes that it started with."""
    variables = {name: value for name, value in os.environ.items() if name != HASH_SEED_VARIABLE}
    return variables if HASH_SEED_AT_START is None else {**variables, HASH_SEED_VARIABLE: HASH_SEED_AT_START}


def each_once(cells: Sequence[Ran]) -> list[Ran]:
    """The cells as in the notebook: a cell that ran several times appears once, with its latest source.

    Without ids from the front end, a cell that ran again looks like a new cell, so all of them stay.

    Example:
        >>> [ran.source for ran in each_once([Ran(1, "x = 1", id="a"), Ran(2, "y", id="b"), Ran(3, "x = 2", id="a")])]
        ['x = 2', 'y']
    """
    latest: dict[object, Ran] = {}
    for cell in cells:
        latest[cell.number if cell.id is None else cell.id] = cell
    return [*latest.values()]


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"  # noqa: PLR2004


def _with_order(verdict: NotebookVerdict, cells: Sequence[Ran], from_the_top: NotebookVerdict) -> NotebookVerdict:
    """Add the result of running each cell once, from top to bottom, to the verdict."""
    runs = Counter(cell.id for cell in cells)
    again = [cell for cell in each_once(cells) if cell.id is not None and runs[cell.id] > 1]
    ran = ", ".join(f"In[{cell.number}] ran {_times(runs[cell.id])}" for cell in again)
    if from_the_top.reproduces:
        note = f"{ran}. Run once each from top to bottom in a second fresh kernel, the cells gave the same results."
        return dataclasses.replace(verdict, notes=[*verdict.notes, note])
    number, part = next(
        ((cell.number, part) for cell in from_the_top.cells for part in cell.parts if part.outcome in _BAD),
        (0, Part("", Outcome.FAILED, from_the_top.error)),
    )
    if number == 0 or _TOO_LONG in part.why:
        note = f"{ran}. What a run from top to bottom gives is unknown: {part.why}."
        return dataclasses.replace(verdict, notes=[*verdict.notes, note])
    is_error = part.outcome is Outcome.FAILED
    differs = f"In[{number}] fails ({part.why})" if is_error else f"{part.name} differs in In[{number}]"
    return dataclasses.replace(verdict, from_the_top=f"{ran} (run once each in a second fresh kernel, {differs})")


def texts_of(history: Any, number: int, error: str) -> dict[str, str]:  # noqa: ANN401 - IPython's HistoryManager
    """The outputs of a cell in IPython's history: streams and the result. Empty before IPython 9.

    Args:
        history: the session's history.
        number: the number of the cell.
        error: the text of the error that it ended with; empty if there was none.
    """
    outputs: list[dict[str, Any]] = []
    for output in list(getattr(history, "outputs", {}).get(number, ())):
        if output.output_type in _STREAMS:
            text = "".join(map(str, output.bundle.get("stream", ())))
            outputs.append({"output_type": "stream", "name": _STREAMS[output.output_type], "text": text})
        elif output.output_type == "execute_result":
            data = {mime: data for mime, data in output.bundle.items() if isinstance(data, str)}
            outputs.append({"output_type": "execute_result", "data": data})
    return shown(outputs) | ({"error": error} if error else {})


def cells_of(
    history: Sequence[str], receipts: Mapping[int, Mapping[str, Any]], failed: set[int], present: int
) -> list[Ran]:
    """The cells of a session's history, in the order in which they ran, without the lines that request a replay.

    Args:
        history: IPython's sources, by number.
        receipts: number -> the cell's receipt.
        failed: the numbers of the cells that ended with an error.
        present: the number of the requesting cell; code below the request has not run yet.

    Example:
        >>> [ran.source for ran in cells_of(["", "x = 1", "%repro_verify --wait"], {}, set(), 2)]
        ['x = 1']
    """
    sources = (
        (number, ASKS_FOR_REPLAY.split(source)[0] if number == present else ASKS_FOR_REPLAY.sub("", source))
        for number, source in enumerate(history[: present + 1])
    )
    return [Ran(number, source, receipts.get(number), number in failed) for number, source in sources if source.strip()]
