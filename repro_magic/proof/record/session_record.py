"""What a running session records of its cells, to be compared with a replay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repro_magic.proof.kernel.receipt import digest_of_source
from repro_magic.proof.record.model import Record, RecordedCell
from repro_magic.proof.run.runner import Run
from repro_magic.proof.verdict import Against

_MOST_NAMES = 8
_NOT_REACHED = "the replay ended before the session's last cell"


@dataclass(frozen=True)
class SessionCell:
    """A cell that ran in a session.

    Attributes:
        number: the one in `In[3]`.
        source: its text.
        receipt: if it has one.
        doubt: why it may show something else when it runs again; empty if nothing says so.
        texts: what it showed, by name, as far as the session keeps it.
        own: the texts of what this package showed under it.
        displayed: the digest of the value that it displayed, as that is now, and what it is.
    """

    number: int
    source: str
    receipt: Mapping[str, Any] | None = None
    doubt: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    own: Collection[str] = ()
    displayed: Mapping[str, Any] | None = None


def recorded_in_session(cells: Sequence[SessionCell], held: Mapping[str, Mapping[str, Any]], fresh: Run) -> Record:
    """What is recorded of a running session: the receipts of its cells, and what its names hold in the end.

    Args:
        cells: those that ran.
        held: name -> its digest and what it is, in the end.
        fresh: the replay. A final value is recorded with the cell that changed the name last there.
    """
    recorded: list[RecordedCell] = []
    held = {} if fresh.error else held  # its final values are not known
    lost: dict[str, str] = {}  # name -> why an earlier value of it is gone
    for cell, run in reversed([*zip(cells, fresh.cells, strict=False)]):
        receipt = cell.receipt or {}
        last = {name: held[name] for name in run.changed if name in held and name not in lost}
        why = dict.fromkeys(run.changed, _NOT_REACHED) if fresh.error else {}
        recorded.insert(
            0,
            RecordedCell(
                digest_of_source(cell.source),
                {**receipt.get("values", {}), **last},
                receipt.get("generators"),
                cell.texts,
                displayed=receipt.get("shown") or cell.displayed,
                doubt=cell.doubt,
                own=cell.own,
                lost=why | {name: lost[name] for name in run.changed if name in lost},
            ),
        )
        lost |= dict.fromkeys(run.changed, f"overwritten in In[{cell.number}] before it could be compared")
        lost |= dict.fromkeys(run.gone, f"deleted in In[{cell.number}] before it could be compared")
    unmade = sorted({*held}.difference(*(run.changed for run in fresh.cells)))
    note = f"No cell of this session makes {', '.join(unmade[:_MOST_NAMES])}, so a replay cannot either."
    return Record(recorded, against=Against.SESSION, notes=[note] if unmade and not fresh.error else [])
