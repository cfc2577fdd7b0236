"""The parts of a value, as a visitor returns them to the walk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from repro_magic.introspection.foreign import attributes, slots
from repro_magic.proof.digest.plain_values import encoder_of


@dataclass
class Parts:
    """The parts of a value.

    Attributes:
        tag: the kind of value.
        steps: its parts, each with the step that leads to it.
        written: formats a step for a gap's path.
        is_set: whether the order of the parts is arbitrary.
        is_own: whether they are a library's private data: then only arrays and tensors in it count, not plain values.
    """

    tag: str
    steps: Iterable[tuple[object, object]]
    written: Callable[[Any], str] = str
    is_set: bool = False
    is_own: bool = False


@dataclass(frozen=True)
class Missing:
    """A part that is not compared, with the reason."""

    kind: str
    why: str


@dataclass(frozen=True)
class Own:
    """A library's private data, which counts in `Digest.own` only."""

    value: object


def item(step: object) -> str:
    """Format a step to an item for a gap's path.

    Example:
        >>> item(0), item(object())
        ('[0]', '[…]')
    """
    return f"[{step!r}]" if encoder_of(type(step)) is not None else "[…]"


def attribute(step: object) -> str:
    """Format a step to an attribute for a gap's path.

    Example:
        >>> attribute("weight"), attribute(0)
        ('.weight', '[0]')
    """
    return f".{step}" if type(step) is str else item(step)


def named(tag: str, fields: Mapping[Any, object], written: Callable[[Any], str] = attribute) -> Parts:
    """Parts with names, which are digested, too."""
    pairs = (((name, name), (name, part)) for name, part in fields.items())
    return Parts(tag, itertools.chain.from_iterable(pairs), written)


def several(tag: str, *parts: object) -> Parts:
    """Parts that have the path of the value itself."""
    return Parts(tag, (("", part) for part in parts))


def all_attributes(value: Any) -> dict[Any, object]:
    """The attributes in an object's dictionary and in its slots."""
    own = attributes(value)
    return {**own, **{name: part for name, part in slots(value) if name not in own}}
