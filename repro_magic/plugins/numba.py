"""Numba's generators, as a plug-in of `repro_magic.seeders`.

Compiled code draws from two generators of its own, one for `np.random` and one for `random`. They belong to the thread,
and each takes its seed from the operating system before its first use; a seed that is given outside compiled code does
not reach them. Those of the threads of a parallel loop cannot be reached from here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from typing import Any

from repro_magic.rng import state_distance
from repro_magic.rng.generators import Generator, Library

_WORDS = 624
# What compiled code calls, and the function that tells where its generator's state is on this thread.
_STATES = {"np.random": "rnd_get_np_state_ptr", "random": "rnd_get_py_state_ptr"}


def _helpers() -> Any:  # noqa: ANN401 - Numba's compiled module; private, but its tests are built on it
    return sys.modules.get("numba._helperlib")


def _place(state: str) -> int:
    place: int = getattr(_helpers(), _STATES[state])()
    return place


def _seed(seed: int) -> None:
    """Seed both, each from numbers of its own: with one seed they would draw the same, and the same as NumPy does."""
    numpy = sys.modules["numpy"]
    for number, state in enumerate(_STATES):
        words = numpy.random.SeedSequence([seed, number]).generate_state(_WORDS)
        _helpers().rnd_seed(_place(state), words.tobytes())


def _get(state: str) -> tuple[int, list[int]]:
    found: tuple[int, list[int]] = _helpers().rnd_get_state(_place(state))
    return found


def _put(state: str, value: tuple[int, list[int]]) -> None:
    _helpers().rnd_set_state(_place(state), value)


def _to_bytes(value: tuple[int, list[int]]) -> bytes:
    """As NumPy's own MT19937, which these are."""
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
            get_state=functools.partial(_get, state),
            set_state=functools.partial(_put, state),
            to_bytes=_to_bytes,
            distance=state_distance.numpy_mt19937,
        )


LIBRARY = Library(name="numba", module="numba", seed=_seed, generators=_generators)
