"""Generators that the user's code creates, which no global seed reaches: read, restore and seed them."""

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
class UserGenerator:
    """A generator that the user's code created.

    Attributes:
        value: the object itself.
        generator: reads and restores its state.
        seed: seeds the object in place, 0 <= seed < 2**64.
        holder: the innermost object with an attribute that is, or contains, the generator; None if there is none.
        attribute: the name of that attribute.
        source: the object that draws the numbers; two of NumPy's generators may share a bit generator.
    """

    value: object
    generator: Generator
    seed: Callable[[int], object]
    holder: object = None
    attribute: str = ""
    source: object = None


def user_generator(name: str, value: Any) -> UserGenerator | None:  # noqa: ANN401 - of any library
    """Wrap a generator; None for other objects and for generators without a state (`random.SystemRandom`).

    Example:
        >>> mine = user_generator("mine", random.Random(1))
        >>> mine.generator.key, user_generator("mine", 3)
        ('private mine', None)
    """
    numpy = sys.modules["numpy.random"] if is_imported("numpy.random") else None
    torch = sys.modules["torch"] if is_imported("torch") else None
    get_state: Callable[[], Any]
    set_state: Callable[[Any], object]
    seed: Callable[[int], object]
    bits = value
    measure: state_distance.Measure = state_distance.python
    to_bytes = _python_bytes
    kind = type(value)  # not isinstance(), which follows a proxy's __class__
    if issubclass(kind, random.Random) and not issubclass(kind, random.SystemRandom):
        get_state, set_state, seed = _python_access(kind, value)
        if _is_overridden(kind):  # its states have a layout of their own
            measure = state_distance.unknown
    elif numpy is not None and issubclass(kind, numpy.Generator):
        bits = value.bit_generator
        get_state, set_state = (lambda: bits.state), functools.partial(setattr, bits, "state")
        seed = lambda number: set_state(type(bits)(number).state)  # noqa: E731 - beside its siblings
        measure, to_bytes = state_distance.of_numpy(bits), state_distance.numpy_state
    elif numpy is not None and issubclass(kind, numpy.RandomState):
        get_state, set_state = (lambda: value.get_state(legacy=False)), value.set_state
        seed = lambda number: value.seed(seed_words(number))  # noqa: E731 - beside its siblings
        bits = value._bit_generator  # noqa: SLF001 - there is no public way
        measure, to_bytes = state_distance.of_numpy(bits), state_distance.numpy_state
    elif torch is not None and issubclass(kind, torch.Generator):
        get_state, set_state, seed = value.get_state, value.set_state, value.manual_seed
        measure, to_bytes = _TORCH_MEASURES.get(value.device.type, state_distance.unknown), _tensor_bytes
    else:
        return None
    return UserGenerator(
        value, Generator(LIBRARY, name, get_state, set_state, to_bytes=to_bytes, distance=measure), seed, source=bits
    )


_Access = tuple[Callable[[], Any], Callable[[Any], object], Callable[[int], object]]


def _python_access(kind: type, value: Any) -> _Access:  # noqa: ANN401 - a random.Random
    """Functions that read, restore and seed a Python generator, bypassing the code of its class where possible."""
    if _is_overridden(kind):
        return value.getstate, value.setstate, value.seed
    twist: Any = random.Random.__mro__[1]  # written in C

    def get() -> tuple[int, Any, Any]:
        return random.Random.VERSION, twist.getstate(value), attributes(value).get("gauss_next")

    own = random.Random
    return get, functools.partial(own.setstate, value), functools.partial(own.seed, value)


def _is_overridden(kind: type) -> bool:
    """Whether a subclass of `random.Random` overrides its state or its seeding."""
    above = itertools.takewhile(lambda cls: cls is not random.Random, mro_of(kind))
    return any(name in namespace_of(cls) for cls in above for name in ("getstate", "setstate", "seed"))


def _python_bytes(state: Any) -> bytes:  # noqa: ANN401 - Python's own tuple, or a subclass's state
    if isinstance(state, tuple) and len(state) == _PYTHON_PARTS and isinstance(state[1], tuple):
        return array.array("Q", state[1]).tobytes() + repr(state[2]).encode()
    return repr(state).encode()


def _tensor_bytes(state: Any) -> bytes:  # noqa: ANN401 - a tensor; torch may not be imported here
    return bytes(state.numpy().tobytes())


_PYTHON_PARTS = 3
_TORCH_MEASURES: Mapping[str, state_distance.Measure] = {"cpu": state_distance.torch_cpu, "cuda": state_distance.cuda}


def global_generators() -> list[object]:
    """The global generators. Other objects may hold them: scikit-learn's `check_random_state(None)` returns NumPy's."""
    numpy, torch = (sys.modules[name] if is_imported(name) else None for name in ("numpy.random", "torch"))
    generators: list[object] = [random._inst]  # noqa: SLF001 - the functions are its methods
    if numpy is not None:
        generators.append(numpy.mtrand._rand)  # noqa: SLF001 - NumPy's global generator has no public name
    if torch is not None:
        generators += [torch.default_generator, *torch.cuda.default_generators]
    return generators


def _global_ids() -> set[int]:
    return {id(generator) for generator in global_generators()}


def generators_in(value: object, name: str) -> Iterator[UserGenerator]:
    """The generators in an object's attributes and in lists, tuples and dictionaries, each once; no global generators.

    Visits at most 10,000 objects, sixteen levels deep.

    Example:
        >>> [found.generator.device for found in generators_in({"a": [random.Random()], "b": 3}, "x")]
        ["x['a'][0]"]
    """
    yield from _generators_in(value, name, _global_ids())


def adopt(seed: int, names: Mapping[str, object]) -> list[str]:
    """Seed the generators that notebook variables hold, each with its own seed.

    That seed is derived from `seed` and the path to the generator, so a new generator does not change the numbers of
    the others.

    Args:
        seed: 0 <= seed < 2**64.
        names: name -> value, such as a notebook's.

    Returns:
        The paths of the seeded generators, e.g. `"rng"`, `"loader.generator"`.

    Example:
        >>> import random
        >>> adopt(42, {"mine": random.Random(), "x": 3})
        ['mine']
    """
    seen, adopted = _global_ids(), []
    for name, value in names.items():
        for owned in _generators_in(value, name, seen):
            path = owned.generator.device
            with Shield():  # the user's class may reject the seed
                owned.seed(derived(seed, *path.encode("utf-8", "surrogatepass")))
                note_seeded(owned.value)
                adopted.append(path)
    return adopted


def _is_plain(value: object) -> bool:
    return is_any(type(value), *_PLAIN)


def guarded(name: str, value: object) -> UserGenerator | None:
    """`user_generator`, or None where the object's own code raises."""
    with Shield():
        return user_generator(name, value)
    return None


def _generators_in(value: object, name: str, seen: set[int]) -> Iterator[UserGenerator]:
    """Search breadth first, so that a loader's generator is found as `loader.generator` and not in its sampler."""
    waiting: deque[tuple[object, str, int, object, str]] = deque([(value, name, 0, None, "")])
    looked = 0  # the limit is per name: a large object must not hide what other names hold
    while waiting and looked < _MOST:
        item, at, depth, holder, attribute = waiting.popleft()
        if id(item) in seen or _is_plain(item):
            continue
        looked += 1
        seen.add(id(item))
        owned = guarded(at, item)
        if owned is not None:
            yield replace(owned, holder=holder, attribute=attribute)
        elif depth < _DEEPEST:
            with Shield():  # another thread may change it during the search
                inner = ((step, part) for step, part in parts(item, _MOST) if not _is_plain(part))
                waiting += [
                    (part, at + in_words(step), depth + 1, *((holder, attribute) if is_item(step) else (item, step[1])))
                    for step, part in itertools.islice(inner, max(_MOST - looked - len(waiting), 0))
                ]
