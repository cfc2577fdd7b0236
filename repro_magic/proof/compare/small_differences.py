"""How two small values, or two texts, differ: shown themselves, where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro_magic.proof.kernel.small_values import Hashed, Thing, value_of

_LONGEST = 60  # characters of a value that are shown
_BEFORE = 30  # of a longer text, so many before the first difference
_FEW = 3

Sides = tuple[str, str]


@dataclass(frozen=True)
class _Difference:
    """Where two values differ, and how."""

    at: str
    how: str
    is_order: bool = False
    is_hashed: bool = False


def small_apart(one: Mapping[str, Any], other: Mapping[str, Any], sides: Sides, *, is_measured: bool = False) -> str:
    """How two values differ that were kept by `small`; empty where that says nothing of it.

    Args:
        one: what `small` made of the first.
        other: what it made of the other.
        sides: what both are called.
        is_measured: whether it is known how far their numbers are apart: then the first of many need not be shown.

    Example:
        >>> small_apart({"text": "'cat'"}, {"text": "'dog'"}, ("one run", "the other"))
        "'cat' in one run, 'dog' in the other"
    """
    if "text" in one and "text" in other:
        return _values_apart(value_of(one["text"]), value_of(other["text"]), sides, is_measured=is_measured)
    if "kind" not in one or one["kind"] != other.get("kind"):
        return ""
    if "begins" in one:
        return _beginnings_apart(one, other, sides)
    if one["size"] != other["size"]:
        return _sizes_apart(one, other, sides)
    return _large_apart(one, other, sides, is_measured=is_measured)


def _beginnings_apart(one: Mapping[str, Any], other: Mapping[str, Any], sides: Sides) -> str:
    """How two long texts differ, of which the beginnings are known."""
    if one["begins"] != other.get("begins", ""):
        return texts_apart(one["begins"], other.get("begins", ""), sides)
    sizes = one["size"], other["size"]
    return f"{sizes[0]:,} characters in {sides[0]}, {sizes[1]:,} in {sides[1]}" if sizes[0] != sizes[1] else ""


def _sizes_apart(one: Mapping[str, Any], other: Mapping[str, Any], sides: Sides) -> str:
    return f"a {one['kind']} of {one['size']:,} in {sides[0]}, of {other['size']:,} in {sides[1]}"


def _large_apart(one: Mapping[str, Any], other: Mapping[str, Any], sides: Sides, *, is_measured: bool) -> str:
    """How two large containers of one size differ, of which the first items are known."""
    if one.get("first") == other.get("first"):
        return ""
    firsts = f"{one.get('first')} in {sides[0]}, {other.get('first')} in {sides[1]}"
    for digest, what in (("keys", "keys"), ("unordered", "items")):
        if digest in one and one[digest] == other.get(digest):
            return f"the same {one['size']:,} {what} in another order: {firsts}"
    return "" if is_measured else f"a {one['kind']} of {one['size']:,}: {firsts}"


def _values_apart(one: object, other: object, sides: Sides, *, is_measured: bool) -> str:
    found = list(_apart(one, other, "", sides))
    if is_measured and any(difference.is_hashed for difference in found):
        return ""
    orders = [difference for difference in found if difference.is_order]
    elements = [difference for difference in found if not difference.is_order]
    parts = [_order_apart(orders)] if orders else []
    if elements:
        left, right = repr(one), repr(other)
        is_short = max(len(left), len(right)) <= _LONGEST
        shown = f"{left} in {sides[0]}, {right} in {sides[1]}" if is_short else ""
        parts = [_elements_apart(elements, _count(one), shown), *([] if is_short else parts)]
    return "; ".join(parts)


def _order_apart(orders: Sequence[_Difference]) -> str:
    first = orders[0]
    where = f"at {first.at}: {first.how}" if first.at else first.how
    return where if len(orders) == 1 else f"{len(orders):,} parts are in another order, the first {where}"


def _elements_apart(elements: Sequence[_Difference], size: int, shown: str) -> str:
    """How many elements differ, with both values if they are short, else with the first that differs."""
    first = elements[0]
    if len(elements) == 1 and not first.at:
        return first.how
    differing = f"{len(elements):,} of {size:,} elements {'differs' if len(elements) == 1 else 'differ'}"
    return f"{differing}: {shown}" if shown else f"{differing}, the first at {first.at}: {first.how}"


def _count(value: Any) -> int:  # noqa: ANN401 - a plain value
    """How many elements a value has, in all depths."""
    if isinstance(value, dict | Thing):
        return sum(map(_count, (value.parts if isinstance(value, Thing) else value).values()))
    return sum(map(_count, value)) if isinstance(value, list | tuple) else 1


def _apart(one: Any, other: Any, at: str, sides: Sides) -> Iterator[_Difference]:  # noqa: ANN401 - plain values
    if (
        isinstance(one, Thing)
        and isinstance(other, Thing)
        and one.kind == other.kind
        and [*one.parts] == [*other.parts]
    ):
        yield from _things_apart(one, other, at, sides)
    elif type(one) is not type(other) or not isinstance(one, list | tuple | dict | set):
        is_hashed = isinstance(one, Hashed) and isinstance(other, Hashed)
        yield _Difference(at, _shown_apart(one, other, sides), is_hashed=is_hashed)
    elif isinstance(one, set):
        yield _Difference(at, _only(one - other, other - one, "items", sides))
    elif isinstance(one, dict):
        yield from _dictionaries_apart(one, other, at, sides)
    else:
        yield from _sequences_apart(one, other, at, sides)


def _form(thing: Thing) -> tuple[str, list[str]]:
    return thing.kind, [*thing.parts]


def _things_apart(one: Thing, other: Thing, at: str, sides: Sides) -> Iterator[_Difference]:
    for place, mine in one.parts.items():
        if repr(mine) != repr(other.parts[place]):
            yield from _apart(mine, other.parts[place], f"{at}{place}", sides)


def _sequences_apart(one: Sequence[Any], other: Sequence[Any], at: str, sides: Sides) -> Iterator[_Difference]:
    left, right = list(map(repr, one)), list(map(repr, other))
    if len(one) != len(other):
        told = _sizes_apart(_sized(one), _sized(other), sides)
        shown = f"{one!r} in {sides[0]}, {other!r} in {sides[1]}"
        yield _Difference(at, shown if len(shown) <= 2 * _LONGEST else told)
    elif len(one) > 1 and Counter(left) == Counter(right):
        yield _Difference(at, _in_another_order("items", left, right, sides), is_order=True)
    else:
        for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            if left[place] != right[place]:
                yield from _apart(mine, theirs, f"{at}[{place}]", sides)


def _sized(value: Sequence[Any]) -> dict[str, Any]:
    return {"kind": type(value).__name__, "size": len(value)}


def _dictionaries_apart(one: dict[Any, Any], other: dict[Any, Any], at: str, sides: Sides) -> Iterator[_Difference]:
    left, right = list(map(repr, one)), list(map(repr, other))
    if {*left} != {*right}:
        mine, theirs = (
            {name for name in here if repr(name) not in there} for here, there in ((one, right), (other, left))
        )
        yield _Difference(at, _only(mine, theirs, "keys", sides))
        return
    if left != right:
        yield _Difference(at, _in_another_order("keys", left, right, sides), is_order=True)
    found = dict(zip(right, other.values(), strict=True))
    for key, value in zip(left, one.values(), strict=True):
        if repr(value) != repr(found[key]):
            yield from _apart(value, found[key], f"{at}[{key}]", sides)


def _in_another_order(what: str, one: Sequence[str], other: Sequence[str], sides: Sides) -> str:
    return f"the same {len(one):,} {what} in another order: {_few(one)} in {sides[0]}, {_few(other)} in {sides[1]}"


def _few(items: Sequence[str]) -> str:
    """The first items, as many as are read at a glance."""
    shown = items if len(", ".join(items)) <= _LONGEST else items[:_FEW]
    return ", ".join(
        [
            *(item if len(item) <= _LONGEST else f"{item[:_LONGEST]}…" for item in shown),
            *["…"][: len(items) - len(shown)],
        ]
    )


def _only(mine: set[Any], theirs: set[Any], what: str, sides: Sides) -> str:
    """What is there on one side only."""
    told = [
        f"{_few(sorted(map(repr, items)))} in {side} only"
        for items, side in ((mine, sides[0]), (theirs, sides[1]))
        if items
    ]
    count = len(mine) + len(theirs)
    return f"{count:,} {what[:-1] if count == 1 else what} not in both: {', '.join(told)}"


def _shown_apart(one: object, other: object, sides: Sides) -> str:
    """Two values that are shown themselves."""
    if isinstance(one, str) and isinstance(other, str):
        return texts_apart(one, other, sides)
    left, right = repr(one), repr(other)
    if max(len(left), len(right)) > _LONGEST:
        place = first_place(left, right)
        left, right = _around(left, place), _around(right, place)
    return f"{left} in {sides[0]}, {right} in {sides[1]}"


def texts_apart(one: str, other: str, sides: Sides) -> str:
    r"""Where two texts differ, with what stands around.

    Example:
        >>> texts_apart("loss 1", "loss 2", ("one run", "the other"))
        "'loss 1' in one run, 'loss 2' in the other"
        >>> texts_apart("a\nb\nc", "a\nx\nc", ("one run", "the other"))
        "line 2: 'b' in one run, 'x' in the other"
    """
    left, right = one.splitlines(), other.splitlines()
    if left == right or max(len(left), len(right)) == 1:
        return _lines_apart(one, other, sides)
    apart = [place for place, (a, b) in enumerate(zip(left, right, strict=False)) if a != b]
    if len(left) != len(right):
        longer, side = (left, sides[0]) if len(left) > len(right) else (right, sides[1])
        told = f"{len(left):,} lines in {sides[0]}, {len(right):,} in {sides[1]}"
        if not apart:
            return f"{told}; more in {side}: {_around(longer[min(len(left), len(right))], 0)!r}"
    elif Counter(left) == Counter(right):
        told = f"the same {len(left):,} lines in another order"
    else:
        told = "" if len(apart) == 1 else f"{len(apart):,} of {len(left):,} lines differ"
    where = f"line {apart[0] + 1:,}: {_lines_apart(left[apart[0]], right[apart[0]], sides)}"
    return f"{told}, the first is {where}" if told else where


def _lines_apart(one: str, other: str, sides: Sides) -> str:
    place = first_place(one, other)
    return f"{_around(one, place)!r} in {sides[0]}, {_around(other, place)!r} in {sides[1]}"


def first_place(one: str, other: str) -> int:
    """Where two texts first differ.

    Example:
        >>> first_place("abc", "abd"), first_place("ab", "abc")
        (2, 2)
    """
    both = min(len(one), len(other))
    return next((place for place in range(both) if one[place] != other[place]), both)


def _around(line: str, place: int) -> str:
    """A long line where it differs."""
    start = max(0, place - _BEFORE) if len(line) > _LONGEST or place > _LONGEST else 0
    end = start + _LONGEST
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"
