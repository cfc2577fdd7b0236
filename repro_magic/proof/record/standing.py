"""Why a generator stood elsewhere before a cell than in the record: which cell ran again, out of order, or is gone.

The record is of the session as it ran, and a fresh run goes from top to bottom. A receipt has a generator's states
before and after its cell, and a saved notebook the number under which each cell ran last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

_MOST = 3


@dataclass(frozen=True)
class Standing:
    """The generators around one cell, as recorded and in the fresh run.

    Attributes:
        number: the number under which the cell ran last when it was saved; None if that is not known.
        recorded: generator -> its states `before` and `after`, of those that moved.
        fresh: the same of the fresh run.
    """

    number: int | None
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fresh: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def is_apart(self, key: str) -> bool:
        """Whether a generator was in another state before the cell than in the record."""
        one, other = self.recorded.get(key), self.fresh.get(key)
        return one is not None and other is not None and one["before"] != other["before"]

    @property
    def name(self) -> str:
        """The cell's name in the session."""
        return "this cell" if self.number is None else f"In[{self.number}]"


def why_elsewhere(cells: Sequence[Standing], place: int, key: str) -> str:
    """Why a generator was in another state before a cell than in the record, in words.

    Args:
        cells: all cells of the notebook, in order.
        place: which of them, from 0.
        key: library and device of the generator.

    Example:
        >>> recorded, fresh = {"before": "b", "after": "c"}, {"before": "a", "after": "b"}
        >>> peek = Standing(4, {"torch cpu": recorded}, {"torch cpu": fresh})
        >>> why_elsewhere([peek], 0, "torch cpu")
        'the generator stood further on: In[4] ran twice'
    """
    first = next(number for number, cell in enumerate(cells[: place + 1]) if number == place or cell.is_apart(key))
    causes = [*_out_of_order(cells, first, key), *_again(cells[first], key), *_missing(cells, first, key)]
    if not causes:
        return "it was in another state before the cell, so what was drawn cannot be the same"
    return f"the generator stood {causes[0]}"


def _again(cell: Standing, key: str) -> Iterator[str]:
    if cell.is_apart(key) and cell.recorded[key]["before"] == cell.fresh[key]["after"]:
        yield f"further on: {cell.name} ran twice"


def _out_of_order(cells: Sequence[Standing], place: int, key: str) -> Iterator[str]:
    here = cells[place]
    states = here.recorded.get(key, {})
    for other in cells[place + 1 :]:
        if states and other.recorded.get(key, {}).get("after") == states["before"]:
            yield f"further on: {here.name} ran after {other.name}, which stands below it"
    if here.number is None:
        return
    for other in cells[:place]:
        if other.number is not None and other.number > here.number and key in other.fresh:
            yield f"elsewhere: {here.name} ran before {other.name}, which stands above it"


def _missing(cells: Sequence[Standing], place: int, key: str) -> Iterator[str]:
    """Numbers that no cell has any more, since the last cell before which the generator stood where it does now."""
    agreed = [number for number, cell in enumerate(cells[:place]) if key in cell.recorded and not cell.is_apart(key)]
    numbers = [cell.number for cell in cells[agreed[-1] if agreed else 0 : place + 1] if cell.number is not None]
    start = [] if agreed else [0]
    gone = [number for one, other in pairwise([*start, *numbers]) for number in range(one + 1, other)]
    if gone:
        names = ", ".join(f"In[{number}]" for number in gone[:_MOST]) + (", …" if len(gone) > _MOST else "")
        has = "has" if len(gone) == 1 else "have"
        yield f"elsewhere: {names} {has} no cell any more, for one ran again, was changed or deleted"
