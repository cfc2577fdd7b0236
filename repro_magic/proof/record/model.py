"""What is recorded of a notebook, as data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repro_magic.proof.environment import Environment
from repro_magic.proof.verdict import Against


@dataclass(frozen=True)
class RecordedCell:
    """What is recorded of one code cell.

    Attributes:
        source: the digest of its text.
        values: name -> its digest and what it is; None if no values are recorded.
        generators: those that moved, before and after; None if that is not recorded.
        texts: what it showed, by name; None if only digests are recorded.
        digests: the same as digests of the texts without noise; None if it is not recorded either.
        gone: the names that it deleted.
        displayed: the digest of the value that it displayed, and what it is; None if that is not known.
        doubt: where nothing is recorded of what it showed, why that may have been something else; empty if nothing
            says so.
        lost: name -> why the value that it had after the cell is not recorded.
        own: the texts of what this package showed under the cell, which is no result.
        number: the number under which it ran; None if that is not known.
    """

    source: str
    values: Mapping[str, Mapping[str, Any]] | None
    generators: Mapping[str, Any] | None = None
    texts: Mapping[str, str] | None = None
    digests: Mapping[str, str] | None = None
    gone: Sequence[str] = ()
    displayed: Mapping[str, Any] | None = None
    doubt: str = ""
    lost: Mapping[str, str] = field(default_factory=dict)
    own: Collection[str] = ()
    number: int | None = None

    @property
    def names(self) -> set[str]:
        """The names that it says something about."""
        return {*(self.values or {}), *self.gone}

    def change(self, known: dict[str, Mapping[str, Any]]) -> None:
        """Bring what is known of the names from before the cell to after it."""
        known.update(self.values or {})
        for name in self.gone:
            known.pop(name, None)


@dataclass(frozen=True)
class Record:
    """What is recorded of a notebook.

    Attributes:
        cells: its code cells, in order.
        environment: where it was recorded; None if that is not known.
        is_sidecar: whether it comes from the file beside the notebook: then `values` of a cell are all that it changed,
            and else those that it reaches.
        against: what it is called.
        notes: what has to be said of it.
    """

    cells: Sequence[RecordedCell]
    environment: Environment | None = None
    is_sidecar: bool = False
    against: Against = Against.RECORDED
    notes: Sequence[str] = ()
