"""What verification says, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from repro_magic.proof.environment import Difference


class Outcome(Enum):
    """What comparing runs brought, the best first."""

    SAME = "same"
    NOISE = "only noise"  # outputs differ by addresses, timings and the like; see proof.noise
    CLOSE = "close"  # numbers differ, all within the tolerance that was given
    NOT_COMPARABLE = "not comparable"  # all that can be compared is the same, but not all can be
    DIFFERS = "differs"
    FAILED = "failed"

    def __or__(self, other: Outcome) -> Outcome:
        """The worse of two."""
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
        max_ulp: the largest distance in units in the last place; None as above, and for what is no float.
        is_close: whether every part of the value is within the tolerance that was given.
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


@dataclass(frozen=True)
class Part:
    """A value or an output of a cell.

    Attributes:
        name: the variable's, or what kind of output it is, e.g. `"stdout"`.
        outcome: what comparing it brought.
        why: in words; empty where it is the same.
        distance: how far apart two numeric values are, where it could be measured.
    """

    name: str
    outcome: Outcome
    why: str = ""
    distance: Distance | None = None


@dataclass(frozen=True)
class CellVerdict:
    """One code cell.

    Attributes:
        number: from 1, among the code cells.
        line: its first line that is not blank.
        values: the names that changed in it.
        outputs: what it showed.
        source: its text.
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


@dataclass(frozen=True)
class NotebookVerdict:
    """One notebook.

    Attributes:
        path: as it was given.
        runs: how many fresh kernels ran it.
        agreed: how many of these gave what the first gave; or what is recorded.
        cells: its code cells.
        error: why it could not be run to its end; empty where it could.
        against: what was compared with what.
        environment: how the environment differs from the recorded one; empty where none is recorded, too.
        notes: what else has to be said, in sentences.
    """

    path: str
    runs: int
    agreed: int
    cells: list[CellVerdict]
    error: str = ""
    against: Against = Against.RUNS
    environment: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """The worst of its cells; failed where it could not be run."""
        worst = Outcome.FAILED if self.error else Outcome.SAME
        for cell in self.cells:
            worst |= cell.outcome
        return worst

    @property
    def reproduces(self) -> bool:
        """Whether nothing differed and nothing failed."""
        return self.outcome not in {Outcome.DIFFERS, Outcome.FAILED}
