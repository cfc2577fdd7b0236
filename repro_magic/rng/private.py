"""Generators that somebody made, and that no global seed reaches: read, put back and seeded as the global ones are."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from repro_magic.importing import is_imported
from repro_magic.rng.generators import Generator, seed_words

LIBRARY = "private"
_DEEPEST = 6


@dataclass(frozen=True)
class Private:
    """A generator that somebody made.

    Attributes:
        value: the object itself.
        generator: how it is read and put back.
        seed: seeds it, 0 <= seed < 2**64. A holder keeps the object, and the numbers are new.
    """

    value: object
    generator: Generator
    seed: Callable[[int], object]


def private(name: str, value: Any) -> Private | None:  # noqa: ANN401 - of any library
    """A generator under a name; None for what is none, or has no state that can be kept (`random.SystemRandom`).

    Example:
        >>> found = private("mine", random.Random(1))
        >>> found.generator.key, private("mine", 3)
        ('private mine', None)
    """
    numpy = sys.modules["numpy.random"] if is_imported("numpy.random") else None
    torch = sys.modules["torch"] if is_imported("torch") else None
    get: Callable[[], Any]
    put: Callable[[Any], object]
    seed: Callable[[int], object]
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        get, put, seed = value.getstate, value.setstate, value.seed
    elif numpy is not None and isinstance(value, numpy.Generator):
        bits = value.bit_generator
        get, put = (lambda: bits.state), functools.partial(setattr, bits, "state")
        seed = lambda number: put(type(bits)(number).state)  # noqa: E731 - beside its siblings
    elif numpy is not None and isinstance(value, numpy.RandomState):
        get, put = (lambda: value.get_state(legacy=False)), value.set_state
        seed = lambda number: value.seed(seed_words(number))  # noqa: E731 - as above
    elif torch is not None and isinstance(value, torch.Generator):
        get, put, seed = value.get_state, value.set_state, value.manual_seed
    else:
        return None
    return Private(value, Generator(LIBRARY, name, get, put, to_bytes=lambda state: repr(state).encode()), seed)


def held_by(value: object, name: str) -> Iterator[Private]:
    """The generators that an object holds in its attributes and in lists, tuples and dictionaries, each once.

    Example:
        >>> [one.generator.device for one in held_by({"a": [random.Random()], "b": 3}, "x")]
        ["x['a'][0]"]
    """
    yield from _held_by(value, name, set(), 0)


def _held_by(value: object, name: str, seen: set[int], depth: int) -> Iterator[Private]:
    if id(value) in seen or depth > _DEEPEST:
        return
    seen.add(id(value))
    found = private(name, value)
    if found is not None:
        yield found
        return
    for at, part in _parts(value):
        yield from _held_by(part, f"{name}{at}", seen, depth + 1)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in list(value.items()))
    elif isinstance(value, list | tuple):
        yield from ((f"[{place}]", part) for place, part in enumerate(value))
    if not isinstance(value, type) and type(value).__module__ != "builtins":
        yield from ((f".{key}", part) for key, part in list(getattr(value, "__dict__", {}).items()))
