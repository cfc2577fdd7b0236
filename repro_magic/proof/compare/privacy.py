"""What a notebook keeps to itself: names that `# repro: private NAME` leaves out of receipts, sidecars and reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from repro_magic.introspection.comments import mentions, private_names
from repro_magic.proof.verdict import CellVerdict, Outcome, Part

KIND = "private"
_SAID = "private: its value is not shown"
_SHOWED = "private: the cell uses a private name, so its output is not shown"


def is_private(name: str, private: frozenset[str]) -> bool:
    """Whether a name, or a part of what it holds (`model.grad`), is private.

    Example:
        >>> is_private("pin.__dict__", frozenset({"pin"}))
        True
    """
    return name.partition(".")[0] in private


def private_from(sources: Iterable[str]) -> Iterator[frozenset[str]]:
    """For each cell the names that are private by then: a comment holds from its cell on.

    Example:
        >>> [sorted(names) for names in private_from(["x = 1", "pin = 2  # repro: private pin", "y = 3"])]
        [[], ['pin'], ['pin']]
    """
    private: frozenset[str] = frozenset()
    for source in sources:
        private |= private_names(source)
        yield private


def withheld(cells: Sequence[CellVerdict]) -> list[CellVerdict]:
    """The cells, where of what is private no value, digest or text is told, but whether it is the same."""
    private = frozenset[str]().union(*(private_names(cell.source) for cell in cells))
    if not private:
        return list(cells)
    return [_withheld(cell, private) for cell in cells]


def _withheld(cell: CellVerdict, private: frozenset[str]) -> CellVerdict:
    names_it = mentions(cell.source, private)
    values = [
        _quiet(part, _SAID)
        if is_private(part.name, private)
        else _quiet(part, _SHOWED)
        if names_it and _is_shown(part)
        else part
        for part in cell.values
    ]
    outputs = [_quiet(part, _SHOWED) for part in cell.outputs] if names_it else cell.outputs
    return replace(cell, values=values, outputs=outputs)


def _is_shown(part: Part) -> bool:
    """Whether it is about the displayed value, which has no name."""
    return not part.name.isidentifier() and not part.name.startswith("generator ")


def _quiet(part: Part, why: str) -> Part:
    if part.outcome is Outcome.SAME:
        return part
    if part.outcome is Outcome.FAILED:  # an error's message may hold a value
        return replace(part, why=f"{part.why.partition(':')[0]} ({why})")
    return replace(part, why=why, distance=None, at="", kind=part.kind and KIND, remedy="")
