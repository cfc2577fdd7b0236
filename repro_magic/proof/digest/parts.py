"""What a value is made of, as a visitor returns it to the walk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from repro_magic.introspection.foreign import attributes, slots
from repro_magic.proof.digest.plain_values import encoder_of


@dataclass
class Parts:
    """What a value is made of.

    Attributes:
        tag: what sort of value it is.
        steps: its parts, each with the step that leads to it.
        written: how a step is written in a gap's path.
        is_set: whether the order of the parts means nothing.
        is_own: whether a library keeps them for itself: then arrays and tensors in it count, and no plain values.
    """

    tag: str
    steps: Iterable[tuple[object, object]]
    written: Callable[[Any], str] = str
    is_set: bool = False
    is_own: bool = False


@dataclass(frozen=True)
class Missing:
    """A part that is not compared, and why."""

    kind: str
    why: str


@dataclass(frozen=True)
class Own:
    """What a library keeps for itself: it counts in `Digest.own` only."""

    value: object


def item(step: object) -> str:
    """A step to an item, in a gap's path.

    Example:
        >>> item(0), item(object())
        ('[0]', '[…]')
    """
    return f"[{step!r}]" if encoder_of(type(step)) is not None else "[…]"


def attribute(step: object) -> str:
    """A step to an attribute, in a gap's path.

    Example:
        >>> attribute("weight"), attribute(0)
        ('.weight', '[0]')
    """
    return f".{step}" if type(step) is str else item(step)


def named(tag: str, fields: Mapping[Any, object], written: Callable[[Any], str] = attribute) -> Parts:
    """Parts with names, which count as well."""
    pairs = (((name, name), (name, part)) for name, part in fields.items())
    return Parts(tag, itertools.chain.from_iterable(pairs), written)


def several(tag: str, *parts: object) -> Parts:
    """Parts that have the path of the value itself."""
    return Parts(tag, (("", part) for part in parts))


def all_attributes(value: Any) -> dict[Any, object]:
    """What an object holds in its own dictionary and in the slots of its classes."""
    own = attributes(value)
    return {**own, **{name: part for name, part in slots(value) if name not in own}}
