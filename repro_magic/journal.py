"""What each cell did: the flagged ops that ran, the generators that moved, the settings that changed.

It knows nothing of IPython: somebody tells it when a cell begins and when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repro_magic.determinism.settings import SETTINGS, Setting
from repro_magic.rng.generators import generators

if TYPE_CHECKING:
    from repro_magic.ops.findings import Finding

# The findings of so many cells are kept.
_CELLS = 500
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
class Drift:
    """A setting that code changed, and not its user through this package.

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
    """A setting's value for people.

    Example:
        >>> value_in_words(True), value_in_words("warn"), value_in_words(4), value_in_words(None)
        ('on', 'warn', '4', 'not there')
    """
    if value is None:
        return "not there"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


class Journal:
    """What the cells of one session did.

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

    def __init__(self) -> None:
        """Nothing has run yet."""
        self._cells: deque[Cell] = deque(maxlen=_CELLS)
        self.last_draws: dict[str, str] = {}
        self.drifts: dict[Setting, Drift] = {}
        self._states: dict[str, bytes] = {}
        self.first: dict[Setting, Any] = {}
        self._expected: dict[Setting, Any] = {}
        self._values: dict[Setting, Any] = {}
        self.look("")

    @property
    def cells(self) -> list[Cell]:
        """The cells with findings, in the order in which they ran; of a cell that ran again, the last run."""
        return list(self._cells)

    def expect(self, setting: Setting) -> None:
        """Take a setting as it is: it was set on the user's behalf."""
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
        self._states = states()

    def end(self, name: str, id: str | None = None, findings: Sequence[Finding] = (), label: Label = str) -> None:  # noqa: A002
        """End a cell: see what it did.

        Args:
            name: what the user calls it.
            id: the front end's name for it, if it gives one.
            findings: the flagged ops that ran in it.
            label: what the user calls the files of their places.
        """
        self.look(name)
        after = states()
        self.last_draws.update({key: name for key, state in after.items() if self._states.get(key, state) != state})
        self._states = after
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

    def clear(self) -> None:
        """Forget the findings."""
        self._cells.clear()


def _read() -> Iterator[tuple[Setting, Any]]:
    """Every setting that is there, with its value in the process."""
    for setting in SETTINGS:
        if setting.switch.present():
            yield setting, setting.read()


def states() -> dict[str, bytes]:
    """Each generator's state, by library and device.

    Example:
        >>> list(states())[0]
        'python cpu'
    """
    return {generator.key: generator.to_bytes(generator.get_state()) for generator in generators()}
