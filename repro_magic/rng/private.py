"""Generators that somebody made, and that no global seed reaches: read, put back and seeded as the global ones are."""

from __future__ import annotations

import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from repro_magic.importing import is_imported
from repro_magic.rng.deriving import derived
from repro_magic.rng.generators import Generator, seed_words

LIBRARY = "private"
_DEEPEST, _MOST = 6, 10_000
_PLAIN = (type(None), bool, int, float, str, bytes, ModuleType)


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


def _globals() -> set[int]:
    """The global generators, which objects hold, too: scikit-learn's `check_random_state(None)` returns NumPy's."""
    numpy, torch = (sys.modules[name] if is_imported(name) else None for name in ("numpy.random", "torch"))
    found: list[object] = [random._inst]  # noqa: SLF001 - the functions are its methods
    if numpy is not None:
        found.append(numpy.mtrand._rand)  # noqa: SLF001 - as above
    if torch is not None:
        found += [torch.default_generator, *torch.cuda.default_generators]
    return {id(one) for one in found}


def held_by(value: object, name: str) -> Iterator[Private]:
    """The generators that an object holds in its attributes and in lists, tuples and dictionaries, each once.

    The global ones are none of them. At most 10,000 objects are looked at, six levels deep.

    Example:
        >>> [one.generator.device for one in held_by({"a": [random.Random()], "b": 3}, "x")]
        ["x['a'][0]"]
    """
    yield from _held_by(value, name, _globals())


def adopt(seed: int, names: Mapping[str, object]) -> list[str]:
    """Seed the generators that some names hold, each with a seed of its own.

    It follows from `seed` and from where the generator is held, so that one generator more changes no other's numbers.

    Args:
        seed: 0 <= seed < 2**64.
        names: name -> value, such as a notebook's.

    Returns:
        Where they are held, e.g. `"rng"`, `"loader.generator"`.

    Example:
        >>> import random
        >>> adopt(42, {"mine": random.Random(), "x": 3})
        ['mine']
    """
    seen, adopted = _globals(), []
    for name, value in names.items():
        for found in _held_by(value, name, seen):
            place = found.generator.device
            found.seed(derived(seed, *place.encode("utf-8", "surrogatepass")))
            adopted.append(place)
    return adopted


def _held_by(value: object, name: str, seen: set[int]) -> Iterator[Private]:
    """Level by level, so that a loader's generator is found as `loader.generator` and not in its sampler."""
    waiting = deque([(value, name, 0)])
    looked = 0  # at each name so many: a large one before must not hide what another holds
    while waiting and looked < _MOST:
        one, at, depth = waiting.popleft()
        if id(one) in seen or type(one) in _PLAIN:
            continue
        looked += 1
        seen.add(id(one))
        found = private(at, one)
        if found is not None:
            yield found
        elif depth < _DEEPEST:
            waiting += [(part, at + name, depth + 1) for name, part in _parts(one)]


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in list(value.items()))
    elif isinstance(value, list | tuple):
        yield from ((f"[{place}]", part) for place, part in enumerate(value))
    if not isinstance(value, type) and type(value).__module__ != "builtins":
        yield from ((f".{key}", part) for key, part in list(getattr(value, "__dict__", {}).items()))
