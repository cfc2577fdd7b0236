"""Generators that somebody made, and that no global seed reaches: read, put back and seeded as the global ones are."""

from __future__ import annotations

import array
import functools
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from repro_magic.introspection.foreign import Shield, attributes, is_any, mro_of, namespace_of
from repro_magic.introspection.object_graph import in_words, is_item, parts
from repro_magic.rng import state_distance
from repro_magic.rng.derive import derived
from repro_magic.rng.entropy import note_seeded
from repro_magic.rng.generators import Generator, seed_words
from repro_magic.runtime.import_hooks import is_imported

LIBRARY = "private"
_DEEPEST, _MOST = 16, 10_000
_PLAIN = (type(None), bool, int, float, str, bytes, ModuleType)


@dataclass(frozen=True)
class Private:
    """A generator that somebody made.

    Attributes:
        value: the object itself.
        generator: how it is read and put back.
        seed: seeds it, 0 <= seed < 2**64. A holder keeps the object, and the numbers are new.
        holder: the innermost object that has it, or the list or dictionary with it, in an attribute; None if none does.
        attribute: the name of that attribute.
        source: what the numbers really come from: two of NumPy's generators may share one.
    """

    value: object
    generator: Generator
    seed: Callable[[int], object]
    holder: object = None
    attribute: str = ""
    source: object = None


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
    bits = value
    measure: state_distance.Measure = state_distance.python
    to_bytes = _python_bytes
    kind = type(value)  # not isinstance: it asks a proxy for its class
    if issubclass(kind, random.Random) and not issubclass(kind, random.SystemRandom):
        get, put, seed = _pythons(kind, value)
        if _is_overridden(kind):  # a class of somebody's, with a state of its own
            measure = state_distance.unknown
    elif numpy is not None and issubclass(kind, numpy.Generator):
        bits = value.bit_generator
        get, put = (lambda: bits.state), functools.partial(setattr, bits, "state")
        seed = lambda number: put(type(bits)(number).state)  # noqa: E731 - beside its siblings
        measure, to_bytes = state_distance.of_numpys(bits), state_distance.numpy_state
    elif numpy is not None and issubclass(kind, numpy.RandomState):
        get, put = (lambda: value.get_state(legacy=False)), value.set_state
        seed = lambda number: value.seed(seed_words(number))  # noqa: E731 - beside its siblings
        bits = value._bit_generator  # noqa: SLF001 - there is no public way
        measure, to_bytes = state_distance.of_numpys(bits), state_distance.numpy_state
    elif torch is not None and issubclass(kind, torch.Generator):
        get, put, seed = value.get_state, value.set_state, value.manual_seed
        measure, to_bytes = _OF_TORCHS.get(value.device.type, state_distance.unknown), _tensor_bytes
    else:
        return None
    return Private(value, Generator(LIBRARY, name, get, put, to_bytes=to_bytes, distance=measure), seed, source=bits)


def _pythons(kind: type, value: Any) -> tuple[Callable[[], Any], Callable[[Any], object], Callable[[int], object]]:  # noqa: ANN401 - a random.Random
    """How one of Python's generators is read, put back and seeded: without its class's code where that changes none."""
    if _is_overridden(kind):
        return value.getstate, value.setstate, value.seed
    twist: Any = random.Random.__mro__[1]  # written in C

    def get() -> tuple[int, Any, Any]:
        return random.Random.VERSION, twist.getstate(value), attributes(value).get("gauss_next")

    own = random.Random
    return get, functools.partial(own.setstate, value), functools.partial(own.seed, value)


def _is_overridden(kind: type) -> bool:
    """Whether a class made from `random.Random` has a state, or seeding, of its own."""
    above = itertools.takewhile(lambda one: one is not random.Random, mro_of(kind))
    return any(name in namespace_of(one) for one in above for name in ("getstate", "setstate", "seed"))


def _python_bytes(state: Any) -> bytes:  # noqa: ANN401 - Python's own tuple, or that of a class made from Random
    if isinstance(state, tuple) and len(state) == _PYTHON_PARTS and isinstance(state[1], tuple):
        return array.array("Q", state[1]).tobytes() + repr(state[2]).encode()
    return repr(state).encode()


def _tensor_bytes(state: Any) -> bytes:  # noqa: ANN401 - a tensor; torch may not be imported here
    return bytes(state.numpy().tobytes())


_PYTHON_PARTS = 3
_OF_TORCHS: Mapping[str, state_distance.Measure] = {"cpu": state_distance.torch_cpu, "cuda": state_distance.cuda}


def global_ones() -> list[object]:
    """The global generators, which objects hold, too: scikit-learn's `check_random_state(None)` returns NumPy's."""
    numpy, torch = (sys.modules[name] if is_imported(name) else None for name in ("numpy.random", "torch"))
    found: list[object] = [random._inst]  # noqa: SLF001 - the functions are its methods
    if numpy is not None:
        found.append(numpy.mtrand._rand)  # noqa: SLF001 - NumPy's global generator has no public name
    if torch is not None:
        found += [torch.default_generator, *torch.cuda.default_generators]
    return found


def _globals() -> set[int]:
    return {id(one) for one in global_ones()}


def held_by(value: object, name: str) -> Iterator[Private]:
    """The generators that an object holds in its attributes and in lists, tuples and dictionaries, each once.

    The global ones are none of them. At most 10,000 objects are looked at, sixteen levels deep.

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
            with Shield():  # a class of somebody's may refuse its seed
                found.seed(derived(seed, *place.encode("utf-8", "surrogatepass")))
                note_seeded(found.value)
                adopted.append(place)
    return adopted


def _is_plain(value: object) -> bool:
    return is_any(type(value), *_PLAIN)


def _guarded(name: str, value: object) -> Private | None:
    with Shield():
        return private(name, value)
    return None


def _held_by(value: object, name: str, seen: set[int]) -> Iterator[Private]:
    """Level by level, so that a loader's generator is found as `loader.generator` and not in its sampler."""
    waiting: deque[tuple[object, str, int, object, str]] = deque([(value, name, 0, None, "")])
    looked = 0  # at each name so many: a large one before must not hide what another holds
    while waiting and looked < _MOST:
        one, at, depth, holder, attribute = waiting.popleft()
        if id(one) in seen or _is_plain(one):
            continue
        looked += 1
        seen.add(id(one))
        found = _guarded(at, one)
        if found is not None:
            yield replace(found, holder=holder, attribute=attribute)
        elif depth < _DEEPEST:
            with Shield():  # another thread may change it meanwhile
                held = ((step, part) for step, part in parts(one, _MOST) if not _is_plain(part))
                waiting += [
                    (part, at + in_words(step), depth + 1, *((holder, attribute) if is_item(step) else (one, step[1])))
                    for step, part in itertools.islice(held, max(_MOST - looked - len(waiting), 0))
                ]
