"""Record what each cell did: flagged ops, generators that moved, settings that changed.

Independent of IPython: the caller says when a cell begins and ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from repro_magic.determinism.settings import SETTINGS, Setting
from repro_magic.rng.generators import LIBRARIES, Generator, generators
from repro_magic.rng.origins import UNKNOWN, Look, Settled, is_unseeded_draw
from repro_magic.rng.seeding import looks
from repro_magic.rng.state_change import Move
from repro_magic.rng.tracking import Tracker
from repro_magic.rng.user_generators import LIBRARY as PRIVATE
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported

if TYPE_CHECKING:
    from repro_magic.findings import Draw, Finding
    from repro_magic.unseeded.libraries import LibraryDraw

# How many cells with findings are kept, and how many cells that drew.
_CELLS, _DRAWING_CELLS = 500, 200
BETWEEN = "between cells"
# NumPy imports it, and creates its generator, on first use.
_NUMPY_RANDOM = "numpy.random"
# File name -> label for users: "" for the displayed cell, "In[2]" for another cell.
Label = Callable[[str], str]


@dataclass(frozen=True)
class Cell:
    """A run of a cell with flagged ops.

    Attributes:
        name: e.g. `"In[3]"`.
        id: the front end's id, the same when the cell runs again; None if the front end sends none.
        findings: the flagged ops that ran in it, active ops first.
        label: labels the files of its places for users.
    """

    name: str
    id: str | None
    findings: Sequence[Finding]
    label: Label


@dataclass(frozen=True)
class CellDraws:
    """A run of a cell that drew random numbers, or seeded a generator.

    Attributes:
        name: e.g. `"In[3]"`; `BETWEEN` for code between cells that moved the global generators, such as a widget's.
        id: as in `Cell`.
        moves: the generators whose state it changed.
        draws: PyTorch's random ops that drew, with their lines.
        label: as in `Cell`.
        libraries: library functions that created an unseeded generator.
    """

    name: str
    id: str | None
    moves: Sequence[Move]
    draws: Sequence[Draw]
    label: Label
    libraries: Sequence[LibraryDraw] = ()


@dataclass(frozen=True)
class Drift:
    """A setting that code changed without `repro_magic`.

    Attributes:
        setting: the setting.
        before: its value when PyTorch was imported, or as the user set it last.
        now: its value.
        cell: the cell that changed it.
    """

    setting: Setting
    before: Any
    now: Any
    cell: str

    @property
    def in_words(self) -> str:
        """One sentence.

        Example:
            >>> from repro_magic.determinism.settings import CUDNN_BENCHMARK
            >>> Drift(CUDNN_BENCHMARK, False, True, "In[4]").in_words
            'changed by In[4]: off → on'
        """
        return f"changed by {self.cell}: {value_in_words(self.before)} → {value_in_words(self.now)}"


def value_in_words(value: object) -> str:
    """A setting's value, as text.

    Example:
        >>> value_in_words(True), value_in_words("warn"), value_in_words(4), value_in_words(None)
        ('on', 'warn', '4', 'not available')
    """
    if value is None:
        return "not available"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


class Journal:
    """Records what the cells of a session did.

    Args:
        names: returns the notebook's variables, which are searched for generators.

    Attributes:
        last_draws: generator (library and device) -> the cell that drew from it last, or seeded it.
        drifts: the settings that code changed.
        first: the first known value of each setting.

    Example:
        >>> import random
        >>> journal = Journal()
        >>> journal.begin()
        >>> _ = random.random()
        >>> journal.end("In[1]")
        >>> journal.last_draws["python cpu"]
        'In[1]'
    """

    def __init__(self, names: Callable[[], Iterable[tuple[str, object]]] = tuple) -> None:
        """Start with no cells."""
        self._cells: deque[Cell] = deque(maxlen=_CELLS)
        self._ledger = Ledger(names)
        self._is_first_draw_reported = False
        self.last_draws: dict[str, str] = {}
        self.drifts: dict[Setting, Drift] = {}
        self._looks: dict[str, Look] = {}
        self.first: dict[Setting, Any] = {}
        self._expected: dict[Setting, Any] = {}
        self._values: dict[Setting, Any] = {}
        self.look("")

    @property
    def cells(self) -> list[Cell]:
        """The cells with findings, in the order in which they ran; only the last run of each cell."""
        return list(self._cells)

    def expect(self, setting: Setting) -> None:
        """Accept a setting's current value, which the user set."""
        if setting.switch.present():
            value = setting.read()
            self.first.setdefault(setting, value)
            self._expected[setting] = self._values[setting] = value
            self.drifts.pop(setting, None)

    def last_seen(self, setting: Setting) -> Any:  # noqa: ANN401 - each has its own type
        """A setting's value at the last look; None if it did not exist."""
        return self._values.get(setting)

    def begin(self) -> None:
        """Begin a cell."""
        self.look("code that ran between cells")
        self._looks = looks()
        self._ledger.begin(self._looks)

    def end(  # noqa: PLR0913 - the facts about a cell
        self,
        name: str,
        id: str | None = None,  # noqa: A002 - the name of the attribute everywhere
        findings: Sequence[Finding] = (),
        label: Label = str,
        *,
        draws: Sequence[Draw] = (),
        libraries: Sequence[LibraryDraw] = (),
    ) -> None:
        """End a cell, and record what it did.

        Args:
            name: its name for users.
            id: the front end's id, if any.
            findings: the flagged ops that ran in it.
            label: labels the files of their places for users.
            draws: the random ops that drew in it.
            libraries: library functions that created an unseeded generator in it.
        """
        self.look(name)
        after = looks()
        self._ledger.end(CellDraws(name, id, (), draws, label, libraries), after)
        self.last_draws.update(dict.fromkeys(_changed(self._looks, after), name))
        self._looks = after
        if id is not None:
            self._cells = deque((cell for cell in self._cells if cell.id != id), maxlen=_CELLS)
        if findings:
            self._cells.append(Cell(name, id, findings, label))

    def look(self, name: str) -> None:
        """Record which settings changed since the last look; `name` names the code that ran since."""
        for setting, value in _present_settings():
            if setting not in self._values:  # torch was imported since
                self.first[setting] = self._expected[setting] = value
            elif self._values[setting] != value:
                self._update_drift(setting, value, name)
            self._values[setting] = value

    def _update_drift(self, setting: Setting, value: Any, name: str) -> None:  # noqa: ANN401 - each has its own type
        before = self._expected[setting]
        if value == before:
            self.drifts.pop(setting, None)
        else:
            self.drifts[setting] = Drift(setting, before, value, name)

    def ledger(self) -> list[CellDraws]:
        """The last 200 cells that drew, or seeded a generator, in the order in which they ran."""
        return self._ledger.cells()

    def first_unseeded_draw(self) -> list[str]:
        """The unseeded global generators that a cell drew from, returned once, for the first such cell."""
        if self._is_first_draw_reported or not self._ledger.unseeded:
            return []
        self._is_first_draw_reported = True
        return self._ledger.unseeded

    def clear(self) -> None:
        """Forget the findings."""
        self._cells.clear()

    def close(self) -> None:
        """Cancel the waits for imports."""
        self._ledger.close()


class Ledger:
    """Records which generators moved in each cell.

    Around a cell, states are only read and compared; the moves are analysed on demand.

    Attributes:
        unseeded: the unseeded global generators that the first such cell drew from.

    Args:
        names: as for `Journal`.
    """

    def __init__(self, names: Callable[[], Iterable[tuple[str, object]]] = tuple) -> None:
        """Start with no cells."""
        self._names = names
        self._tracker: Tracker | None = None
        self._drawing_cells: deque[CellDraws] = deque(maxlen=2 * _DRAWING_CELLS)  # and the entries between them
        self._looks: Mapping[str, Look] = {}
        self._waiting: list[Waiting] = []
        self.unseeded: list[str] = []

    def begin(self, looks: Mapping[str, Look]) -> None:
        """Begin a cell; `looks` are the global generators now."""
        if self._tracker is None:
            self._tracker = Tracker()
            self._tracker.look(self._names())
            self._wait()
        else:
            self._record(CellDraws(BETWEEN, None, self._moves(looks), (), str))
        self._looks = looks

    def end(self, cell: CellDraws, looks: Mapping[str, Look]) -> None:
        """End a cell, and record its moves."""
        if self._tracker is not None:
            moves = [*self._moves(looks), *self._tracker.look(self._names())]
            self._record(replace(cell, moves=moves))
            if not self.unseeded:
                was = self._looks
                self.unseeded = [key for key, now in looks.items() if key in was and is_unseeded_draw(was[key], now)]
            self._looks = looks

    def cells(self) -> list[CellDraws]:
        """The recorded cells, with the moves that deserve a row."""
        recorded = list(self._drawing_cells)  # a copy: the panel reads from another thread while a cell may end
        shown = [replace(cell, moves=[move for move in cell.moves if _has_row(cell, move)]) for cell in recorded]
        return [cell for cell in shown if cell.moves or cell.draws or cell.libraries][-_DRAWING_CELLS:]

    def close(self) -> None:
        """Cancel the waits for imports."""
        while self._waiting:
            self._waiting.pop().cancel()

    def _wait(self) -> None:
        """Look at new generators right after the import of their library, before any code draws from them."""
        modules = [*(library.module for library in LIBRARIES), _NUMPY_RANDOM]
        absent = [module for module in modules if not is_imported(module)]
        self._waiting = [when_imported(module, self._look_at_new) for module in absent]

    def _look_at_new(self) -> None:
        self._looks = {**looks(), **self._looks}

    def _moves(self, looks: Mapping[str, Look]) -> list[Move]:
        changed = [key for key, look in looks.items() if key not in self._looks or self._looks[key].state != look.state]
        if not changed:
            return []
        by_key = {generator.key: generator for generator in generators()}
        return [self._move(by_key[key], self._looks.get(key), looks[key]) for key in changed if key in by_key]

    def _move(self, generator: Generator, was: Look | None, now: Look) -> Move:
        return Move(
            generator.key,
            generator.device.partition(":")[0] if generator.library == "torch" else "",
            was.state if was is not None and was.measure is now.measure else None,
            now.state,
            now.measure,
            is_made=was is None,
            was=Settled(UNKNOWN) if was is None else was,
            now=now,
        )

    def _record(self, cell: CellDraws) -> None:
        if cell.moves or cell.draws or cell.libraries:
            self._drawing_cells.append(cell)


def _has_row(cell: CellDraws, move: Move) -> bool:
    """Whether a move deserves a row. A seeding between cells does not: the generator's next row shows it."""
    is_seeding = cell.name == BETWEEN and move.is_anew and move.distance is not None and move.distance.count == 0
    # A global generator that was seeded because this cell imported its library.
    is_first_seed = move.is_made and move.now.known.is_seeded is True and not move.generator.startswith(f"{PRIVATE} ")
    return (move.drew and not is_seeding) or (is_first_seed and cell.name != BETWEEN)


def _present_settings() -> Iterator[tuple[Setting, Any]]:
    """Every setting whose switch exists, with its value."""
    for setting in SETTINGS:
        if setting.switch.present():
            yield setting, setting.read()


def _changed(before: Mapping[str, Look], after: Mapping[str, Look]) -> list[str]:
    """The generators whose state changed, without new generators."""
    return [key for key, look in after.items() if key in before and before[key].state != look.state]
