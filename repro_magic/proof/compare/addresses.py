"""Values that differ in nothing but addresses that `id()` gave, which are new in every run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from repro_magic.proof.kernel.small_values import value_of
from repro_magic.proof.verdict import Outcome, Part

_ASKS = re.compile(r"(?<![\w.])id\(")
# Where objects lie, and on what boundary.
_LOWEST, _HIGHEST, _STEP = 1 << 32, 1 << 48, 16
_WHY = "only addresses from id() differ, which are new in every run"
_Held = Mapping[str, Mapping[str, Any]]


def asks_for_addresses(sources: Iterable[str]) -> bool:
    """Whether code calls `id`.

    Example:
        >>> asks_for_addresses(["seen = {id(x): x}"]), asks_for_addresses(["widget.id(3)"])
        (True, False)
    """
    return any(map(_ASKS.search, sources))


def addresses(parts: Iterable[Part], held: Sequence[_Held]) -> list[Part]:
    """Compared names; those that differ by addresses only are noise."""
    return [replace(part, outcome=Outcome.NOISE, why=_WHY) if _is_noise(part, held) else part for part in parts]


def _is_noise(part: Part, held: Sequence[_Held]) -> bool:
    if part.outcome is not Outcome.DIFFERS:
        return False
    texts = [names.get(part.name, {}).get("small", {}).get("text") for names in held]
    if None in texts:
        return False
    first, *others = map(value_of, texts)
    return all(are_apart_by_addresses(first, other) for other in others)


def are_apart_by_addresses(one: Any, other: Any) -> bool:  # noqa: ANN401 - plain values
    """Whether two values are the same, but for integers that may be addresses.

    Example:
        >>> are_apart_by_addresses({0x7F6A00000010: "a"}, {0x7F6B00000020: "a"})
        True
        >>> are_apart_by_addresses({0x7F6A00000010: "a"}, {0x7F6B00000020: "b"})
        False
    """
    if type(one) is type(other) is dict:
        pairs = zip([*one, *one.values()], [*other, *other.values()], strict=False)
        return len(one) == len(other) and all(are_apart_by_addresses(*pair) for pair in pairs)
    if type(one) is type(other) and isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(are_apart_by_addresses, one, other))
    return (_may_be_address(one) and _may_be_address(other)) or repr(one) == repr(other)


def _may_be_address(value: object) -> bool:
    return type(value) is int and _LOWEST <= value < _HIGHEST and value % _STEP == 0
