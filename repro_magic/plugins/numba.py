"""Numba's generators, as a plug-in of `repro_magic.seeders`.

Compiled code draws from two generators of its own, for `np.random` and for `random`. Each thread has both, and they
take their seeds from the operating system before their first use; seeding outside compiled code does not reach them.
The generators of a parallel loop's threads cannot be reached from here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from typing import Any

from repro_magic.rng import state_distance
from repro_magic.rng.generators import Generator, Library

_WORDS = 624
# What compiled code calls, and the function that returns the address of its generator's state on this thread.
_STATES = {"np.random": "rnd_get_np_state_ptr", "random": "rnd_get_py_state_ptr"}


def _helpers() -> Any:  # noqa: ANN401 - Numba's compiled module; private, but its tests are built on it
    return sys.modules.get("numba._helperlib")


def _state_address(state: str) -> int:
    address: int = getattr(_helpers(), _STATES[state])()
    return address


def _seed(seed: int) -> None:
    """Seed both, each with different words: with the same seed they would draw the same numbers, and NumPy's, too."""
    numpy = sys.modules["numpy"]
    for number, state in enumerate(_STATES):
        words = numpy.random.SeedSequence([seed, number]).generate_state(_WORDS)
        _helpers().rnd_seed(_state_address(state), words.tobytes())


def _get_state(state: str) -> tuple[int, list[int]]:
    content: tuple[int, list[int]] = _helpers().rnd_get_state(_state_address(state))
    return content


def _set_state(state: str, value: tuple[int, list[int]]) -> None:
    _helpers().rnd_set_state(_state_address(state), value)


def _to_bytes(value: tuple[int, list[int]]) -> bytes:
    """The state in the layout of NumPy's MT19937, which it is."""
    numpy: Any = sys.modules["numpy"]
    position, words = value
    return bytes(numpy.array(words, numpy.uint32).tobytes()) + repr((position,)).encode()


def _generators() -> Iterable[Generator]:
    if not all(hasattr(_helpers(), name) for name in ("rnd_get_state", "rnd_set_state", *_STATES.values())):
        return
    for state in _STATES:
        yield Generator(
            library="numba",
            device=state,
            get_state=functools.partial(_get_state, state),
            set_state=functools.partial(_set_state, state),
            to_bytes=_to_bytes,
            distance=state_distance.numpy_mt19937,
        )


LIBRARY = Library(name="numba", module="numba", seed=_seed, generators=_generators)
