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

# The findings of so many cells are kept, and what so many of them drew.
_CELLS, _DRAWING_CELLS = 500, 200
BETWEEN = "between cells"
# NumPy imports it, and makes its generator, when somebody uses it first.
_NUMPYS = "numpy.random"
# From a file name to what the user calls it: "" for the cell that is shown, "In[2]" for another.
Label = Callable[[str], str]


@dataclass(frozen=True)
class Cell:
    """One cell that ran.

    Attributes:
        name: e.g. `"In[3]"`.
        id: the front end's name for it; None where it gives none. A cell that is run again has the same.
        findings: the flagged ops that ran in it, active ones first.
        label: what the user calls the files of its places.
    """

    name: str
    id: str | None
    findings: Sequence[Finding]
    label: Label


@dataclass(frozen=True)
class CellDraws:
    """One cell that drew random numbers, or seeded a generator. A cell that is run again has another one.

    Attributes:
        name: e.g. `"In[3]"`; `BETWEEN` for what moved the global generators between two cells, such as a widget.
        id: as in `Cell`.
        moves: the generators whose state it changed.
        draws: the random ops of PyTorch that drew, with their lines.
        label: as in `Cell`.
        libraries: the libraries' functions that made a generator without a seed.
    """

    name: str
    id: str | None
    moves: Sequence[Move]
    draws: Sequence[Draw]
    label: Label
    libraries: Sequence[LibraryDraw] = ()


@dataclass(frozen=True)
class Drift:
    """A setting that code changed behind repro_magic's back.

    Attributes:
        setting: which.
        before: its value as it was when PyTorch was imported, or as the user set it last.
        now: its value.
        cell: which cell changed it.
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
    """What the cells of one session did.

    Args:
        names: gives the notebook's names with what they hold, in which its own generators are looked for.

    Attributes:
        last_draws: generator (library and device) -> the cell that drew from it last, or seeded it.
        drifts: the settings that code changed.
        first: the settings' values when they were seen first.

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
        """Nothing has run yet."""
        self._cells: deque[Cell] = deque(maxlen=_CELLS)
        self._ledger = Ledger(names)
        self._is_told = False
        self.last_draws: dict[str, str] = {}
        self.drifts: dict[Setting, Drift] = {}
        self._looks: dict[str, Look] = {}
        self.first: dict[Setting, Any] = {}
        self._expected: dict[Setting, Any] = {}
        self._values: dict[Setting, Any] = {}
        self.look("")

    @property
    def cells(self) -> list[Cell]:
        """The cells with findings, in the order in which they ran; of a cell that ran again, the last run."""
        return list(self._cells)

    def expect(self, setting: Setting) -> None:
        """Take a setting as it is: the user set it."""
        if setting.switch.present():
            value = setting.read()
            self.first.setdefault(setting, value)
            self._expected[setting] = self._values[setting] = value
            self.drifts.pop(setting, None)

    def last_seen(self, setting: Setting) -> Any:  # noqa: ANN401 - each has its own type
        """A setting's value at the last look; None if it was not there."""
        return self._values.get(setting)

    def begin(self) -> None:
        """Begin a cell."""
        self.look("code that ran between cells")
        self._looks = looks()
        self._ledger.begin(self._looks)

    def end(  # noqa: PLR0913 - what is known of a cell
        self,
        name: str,
        id: str | None = None,  # noqa: A002 - its name everywhere
        findings: Sequence[Finding] = (),
        label: Label = str,
        *,
        draws: Sequence[Draw] = (),
        libraries: Sequence[LibraryDraw] = (),
    ) -> None:
        """End a cell: see what it did.

        Args:
            name: what the user calls it.
            id: the front end's name for it, if it gives one.
            findings: the flagged ops that ran in it.
            label: what the user calls the files of their places.
            draws: the random ops that drew in it.
            libraries: the libraries' functions that made a generator without a seed in it.
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
        """See which settings changed since the last look, by whom that is called `name`."""
        for setting, value in _read():
            if setting not in self._values:  # torch was imported meanwhile
                self.first[setting] = self._expected[setting] = value
            elif self._values[setting] != value:
                self._note_change(setting, value, name)
            self._values[setting] = value

    def _note_change(self, setting: Setting, value: Any, name: str) -> None:  # noqa: ANN401 - each has its own type
        before = self._expected[setting]
        if value == before:
            self.drifts.pop(setting, None)
        else:
            self.drifts[setting] = Drift(setting, before, value, name)

    def ledger(self) -> list[CellDraws]:
        """The cells that drew, or seeded a generator, in the order in which they ran; the last 200 of them."""
        return self._ledger.told()

    def first_unseeded_draw(self) -> list[str]:
        """The unseeded global generators that a cell drew from, when that happens for the first time."""
        if self._is_told or not self._ledger.unseeded:
            return []
        self._is_told = True
        return self._ledger.unseeded

    def clear(self) -> None:
        """Forget the findings."""
        self._cells.clear()

    def close(self) -> None:
        """Wait for no import any longer."""
        self._ledger.close()


class Ledger:
    """Which generators moved in each cell.

    In a cell states are only read and compared; what they mean is found out when somebody asks.

    Attributes:
        unseeded: the unseeded global generators that a cell drew from, for the first such cell.

    Args:
        names: as for `Journal`.
    """

    def __init__(self, names: Callable[[], Iterable[tuple[str, object]]] = tuple) -> None:
        """No cell has begun."""
        self._names = names
        self._tracker: Tracker | None = None
        self._told: deque[CellDraws] = deque(maxlen=2 * _DRAWING_CELLS)  # and what moved between them
        self._looks: Mapping[str, Look] = {}
        self._waiting: list[Waiting] = []
        self.unseeded: list[str] = []

    def begin(self, looks: Mapping[str, Look]) -> None:
        """Begin a cell; this is what the global generators look like."""
        if self._tracker is None:
            self._tracker = Tracker()
            self._tracker.look(self._names())
            self._wait()
        else:
            self._note(CellDraws(BETWEEN, None, self._moves(looks), (), str))
        self._looks = looks

    def end(self, cell: CellDraws, looks: Mapping[str, Look]) -> None:
        """End a cell, whose moves are to be found."""
        if self._tracker is not None:
            moves = [*self._moves(looks), *self._tracker.look(self._names())]
            self._note(replace(cell, moves=moves))
            if not self.unseeded:
                was = self._looks
                self.unseeded = [key for key, now in looks.items() if key in was and is_unseeded_draw(was[key], now)]
            self._looks = looks

    def told(self) -> list[CellDraws]:
        """All that is known, with what each move means."""
        cells = list(self._told)  # at once: the panel asks from another thread while a cell may end
        found = [replace(cell, moves=[move for move in cell.moves if _counts(cell, move)]) for cell in cells]
        return [cell for cell in found if cell.moves or cell.draws or cell.libraries][-_DRAWING_CELLS:]

    def close(self) -> None:
        """Wait for no import any longer."""
        while self._waiting:
            self._waiting.pop().cancel()

    def _wait(self) -> None:
        """See generators before anybody draws from them: right after their library was imported."""
        modules = [*(library.module for library in LIBRARIES), _NUMPYS]
        absent = [module for module in modules if not is_imported(module)]
        self._waiting = [when_imported(module, self._add) for module in absent]

    def _add(self) -> None:
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

    def _note(self, cell: CellDraws) -> None:
        if cell.moves or cell.draws or cell.libraries:
            self._told.append(cell)


def _counts(cell: CellDraws, move: Move) -> bool:
    """Whether a move is worth a row: that one was seeded between two cells, the next one of its rows says as well."""
    is_seeding = cell.name == BETWEEN and move.is_anew and move.distance is not None and move.distance.count == 0
    # A global one that is there from this cell on, for its library was imported, and got its seed.
    is_first_seed = move.is_made and move.now.known.is_seeded is True and not move.generator.startswith(f"{PRIVATE} ")
    return (move.drew and not is_seeding) or (is_first_seed and cell.name != BETWEEN)


def _read() -> Iterator[tuple[Setting, Any]]:
    """Every setting that is there, with its value in the process."""
    for setting in SETTINGS:
        if setting.switch.present():
            yield setting, setting.read()


def _changed(before: Mapping[str, Look], after: Mapping[str, Look]) -> list[str]:
    """The generators, of those that were there before, whose state is another one."""
    return [key for key, look in after.items() if key in before and before[key].state != look.state]
