"""What verification says, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from repro_magic.proof.environment import Difference
from repro_magic.runtime.public import public

# The names of what is no variable: a cell's result beside the text that is shown of it, and all that it showed.
DISPLAYED, SHOWN = "the displayed value", "what it showed"


@public
class Outcome(Enum):
    """The outcome of a comparison, best first."""

    SAME = "same"
    NOISE = "only noise"  # outputs differ by addresses, timings and the like; see proof.text.noise
    CLOCK = "clock"  # values and outputs differ by what was read from a clock; see proof.compare.clocks
    CLOSE = "close"  # numbers differ, all within the tolerance that was given
    NOT_COMPARABLE = "not comparable"  # the same as far as can be compared; see `NotCompared`
    DIFFERS = "differs"
    FAILED = "failed"

    def __or__(self, other: Outcome) -> Outcome:
        """Return the worse outcome."""
        order = list(Outcome)
        return max(self, other, key=order.index)


@dataclass(frozen=True)
class Distance:
    """How far two numeric values are apart.

    Attributes:
        at: which part of the value is meant, e.g. `".weight"` of a model; empty for the value itself.
        dtype: of that part.
        shape: of that part.
        differing: how many of its elements have other bits.
        size: how many elements it has.
        first: the index of the first that has.
        max_abs: the largest absolute difference; None where a number stands against a NaN.
        max_ulp: the largest distance in units in the last place; None against a NaN, and for non-floats.
        is_close: whether every part of the value is within the tolerance that was given.
        parts: how many parts of the value differ.
    """

    at: str
    dtype: str
    shape: tuple[int, ...]
    differing: int
    size: int
    first: tuple[int, ...]
    max_abs: float | None
    max_ulp: int | None
    is_close: bool = False
    parts: int = 1


@dataclass(frozen=True)
class Part:
    """A value or an output of a cell.

    Attributes:
        name: the variable's, or what kind of output it is, e.g. `"stdout"`; empty for all values of the cell.
        outcome: what comparing it brought.
        why: in words; empty where it is the same.
        distance: how far apart two numeric values are, where it could be measured.
        at: which part of the value was not compared, e.g. `".hooks[0]"`; empty for the value itself.
        kind: the type of what was not compared, or another word for it.
        is_declared: whether the notebook itself says that it is not to be compared.
        remedy: what to type so that it is compared, or left out knowingly; empty if nothing helps.
    """

    name: str
    outcome: Outcome
    why: str = ""
    distance: Distance | None = None
    at: str = ""
    kind: str = ""
    is_declared: bool = False
    remedy: str = ""


@dataclass(frozen=True)
class NotCompared:
    """A value or an output that a verdict says nothing about.

    Attributes:
        cell: the number of its cell.
        name: the variable's, with the part that is meant, e.g. `"model.hooks[0]"`; empty for all values of the cell.
        kind: its type, e.g. `"socket.socket"`, or another word for it.
        why: in words.
        is_declared: whether the notebook itself says that it is not to be compared.
        remedy: what to type so that it is compared, or left out knowingly; empty if nothing helps.
    """

    cell: int
    name: str
    kind: str
    why: str
    is_declared: bool = False
    remedy: str = ""


@public
@dataclass(frozen=True)
class CellVerdict:
    """The verdict on a code cell.

    Attributes:
        number: its number among the code cells, from 1.
        line: its first non-blank line.
        values: the variables that changed in it.
        outputs: its outputs.
        source: its source.
    """

    number: int
    line: str
    values: list[Part] = field(default_factory=list)
    outputs: list[Part] = field(default_factory=list)
    source: str = ""

    @property
    def parts(self) -> Iterator[Part]:
        """Values, then outputs."""
        yield from self.values
        yield from self.outputs

    @property
    def outcome(self) -> Outcome:
        """The worst of its parts."""
        worst = Outcome.SAME
        for part in self.parts:
            worst |= part.outcome
        return worst


class Against(Enum):
    """What a fresh run was compared with."""

    RUNS = "fresh runs"
    RECORDED = "recorded results"
    SESSION = "the running session"


@public
@dataclass(frozen=True)
class NotebookVerdict:
    """The verdict on a notebook.

    Attributes:
        path: the notebook's path, as given.
        runs: number of fresh kernels that ran it; 0 if it has no code cells.
        agreed: number of runs with the results of the first run, or with the recorded results.
        cells: its code cells.
        error: why it did not run to the end; empty if it did.
        against: what the runs were compared with.
        environment: how the environment differs from the recorded environment; empty if none is recorded.
        notes: further remarks, as sentences.
        is_strict: whether everything must be compared.
        from_the_top: for a session that reproduces in the order it ran, why it does not reproduce from top to bottom.
    """

    path: str
    runs: int
    agreed: int
    cells: list[CellVerdict]
    error: str = ""
    against: Against = Against.RUNS
    environment: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_strict: bool = False
    from_the_top: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of its cells; failed if it did not run to the end."""
        worst = Outcome.FAILED if self.error else Outcome.SAME
        for cell in self.cells:
            worst |= cell.outcome
        return worst

    @property
    def not_compared(self) -> list[NotCompared]:
        """What was not compared, earliest cell first."""
        return [
            NotCompared(cell.number, f"{part.name}{part.at}", part.kind, part.why, part.is_declared, part.remedy)
            for cell in self.cells
            for part in cell.parts
            if part.outcome is Outcome.NOT_COMPARABLE
        ]

    @property
    def all_compared(self) -> bool:
        """Whether the notebook ran to the end and everything in it was compared."""
        return bool(self.runs) and not self.error and not self.not_compared

    @property
    def lacks_proof(self) -> bool:
        """Whether strict mode found something not compared that the notebook does not declare."""
        return self.is_strict and not (self.runs and all(one.is_declared for one in self.not_compared))

    @property
    def reproduces(self) -> bool:
        """Whether nothing differed and nothing failed; in strict mode, also whether everything was compared."""
        return self.outcome not in {Outcome.DIFFERS, Outcome.FAILED} and not self.lacks_proof
