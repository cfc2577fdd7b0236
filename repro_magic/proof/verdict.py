"""What verification says, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """What comparing runs brought, the best first."""

    SAME = "same"
    NOISE = "only noise"  # outputs differ by addresses, timings and the like; see proof.noise
    NOT_COMPARABLE = "not comparable"  # all that can be compared is the same, but not all can be
    DIFFERS = "differs"
    FAILED = "failed"

    def __or__(self, other: Outcome) -> Outcome:
        """The worse of two."""
        order = list(Outcome)
        return max(self, other, key=order.index)


@dataclass(frozen=True)
class Part:
    """A value or an output of a cell.

    Attributes:
        name: the variable's, or what kind of output it is, e.g. `"stdout"`.
        outcome: what comparing it brought.
        why: in words; empty where it is the same.
    """

    name: str
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class CellVerdict:
    """One code cell.

    Attributes:
        number: from 1, among the code cells.
        line: its first line that is not blank.
        values: the names that changed in it.
        outputs: what it showed.
    """

    number: int
    line: str
    values: list[Part] = field(default_factory=list)
    outputs: list[Part] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """The worst of its parts."""
        worst = Outcome.SAME
        for part in (*self.values, *self.outputs):
            worst |= part.outcome
        return worst


@dataclass(frozen=True)
class NotebookVerdict:
    """One notebook.

    Attributes:
        path: as it was given.
        runs: how many fresh kernels ran it.
        agreed: how many of these gave what the first gave.
        cells: its code cells.
        error: why it could not be run to its end; empty where it could.
    """

    path: str
    runs: int
    agreed: int
    cells: list[CellVerdict]
    error: str = ""

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
        return self.outcome in {Outcome.SAME, Outcome.NOISE, Outcome.NOT_COMPARABLE}
