"""Small values of plain types, kept as text: two that differ are shown themselves, not by their digests."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from typing import Any

from blake3 import blake3

# Longer texts are not kept, nor is the order of more items looked at.
LARGEST, MOST_ITEMS = 2_000, 100_000
_FIRST = 5
_DEEPEST = 10
_LONGEST_INT = 10_000  # bits; to write a longer one takes time
_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, set, dict)
_NUMBERS = {"nan": float("nan"), "inf": float("inf")}


def small(value: object) -> dict[str, Any]:
    """A value as data; empty if it is of no plain type.

    Of a value that is too large there are its size, its first items, and digests that no order changes. Nothing of the
    user's is called: the types are exact.

    Example:
        >>> small([1, "a"])
        {'kind': 'list', 'size': 2, 'text': "[1, 'a']"}
        >>> small(0.5), small(object())
        ({'text': '0.5'}, {})
    """
    kind = type(value)
    if kind not in _SCALARS and kind not in _CONTAINERS:
        return {}
    try:
        return _kept(value)
    except RuntimeError:  # a thread of the user's changes it at this moment
        return {}


def _kept(value: object) -> dict[str, Any]:
    found = _sized(value) if type(value) in _CONTAINERS else {}
    if _room_left(value, LARGEST) > 0 and len(text := repr(value)) <= LARGEST:
        return {**found, "text": text}
    if isinstance(value, str):
        return {"kind": "str", "size": len(value), "begins": value[:LARGEST]}
    return {**found, **_in_any_order(value)} if found else {}


def _sized(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a container
    return {"kind": type(value).__name__, "size": len(value)}


def _room_left(value: object, room: int, depth: int = 0) -> int:
    """Of `room` characters, what a value's text leaves at most; nothing or less for what is too large, or not plain."""
    kind = type(value)
    if kind in (str, bytes):
        return room - len(value)  # type: ignore[arg-type]
    if kind is int:
        return room - 1 if value.bit_length() < _LONGEST_INT else 0  # type: ignore[attr-defined]
    if kind in _SCALARS:
        return room - 1
    if kind not in _CONTAINERS or depth > _DEEPEST:
        return 0
    for part in _parts(value):
        room = _room_left(part, room - 1, depth + 1)
        if room <= 0:
            return 0
    return room - 1


def _parts(value: Any) -> Iterable[object]:  # noqa: ANN401 - a container
    return itertools.chain.from_iterable(value.items()) if type(value) is dict else value


def _in_any_order(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a container
    """The first items, and digests of all without their order, if they are plain and not too many."""
    if len(value) > MOST_ITEMS or not all(_room_left(part, LARGEST) > 0 for part in _parts(value)):
        return {}
    found = {"unordered": _digest(value.items() if type(value) is dict else value)}
    if type(value) is dict:
        found["keys"] = _digest(value)
    return {**found, "first": f"{', '.join(map(repr, itertools.islice(value, _FIRST)))}, …"[:LARGEST]}


def _digest(items: Iterable[object]) -> str:
    return blake3("\0".join(sorted(map(repr, items))).encode("utf-8", "surrogatepass")).hexdigest()


class _Numbers(ast.NodeTransformer):
    """`nan` and `inf` as the numbers that they are."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_NUMBERS[node.id]) if node.id in _NUMBERS else node


def value_of(text: str) -> object:
    """The value of a text that `small` made.

    Example:
        >>> value_of("{'a': [1, -inf]}")
        {'a': [1, -inf]}

    Raises:
        ValueError: it is no such text.
    """
    try:
        return ast.literal_eval(_Numbers().visit(ast.parse(text, mode="eval")))
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"not the text of a value: {error}") from None
