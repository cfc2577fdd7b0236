"""How far a generator moved, computed from its states before and after.

Each function takes the state before (None if there was none) and the state after, both as bytes of the same layout.
Distances of CPU generators are in 32-bit words; a 64-bit number takes two.
"""

from __future__ import annotations

import _random
import array
import ast
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from repro_magic.rng.mt19937 import WORDS, Seeding, is_new, seeding_of, words_of_key, words_of_seed
from repro_magic.runtime.import_hooks import is_imported

# How far MT19937 is followed: a million words, or eight million with NumPy, which is faster; 25 to 50 ms either way.
FARTHEST = 1600 * WORDS
_FARTHEST_WITH_NUMPY = 8 * FARTHEST
# SFC64 stores a counter, but only replaying the draws proves the distance: 0.1 s at most.
_FARTHEST_SFC64 = 20_000_000


@dataclass(frozen=True)
class StateDistance:
    """How far a generator moved.

    Attributes:
        count: how many units were drawn; None if unknown.
        is_anew: whether it was seeded or restored in between; `count` starts there.
        unit: `"words"` of 32 bits, or `"offset"`, the increase of a GPU generator's counter.
        is_seed: whether the new state came from a seed, not from the operating system; None if unknown.
    """

    count: int | None
    is_anew: bool = False
    unit: str = "words"
    is_seed: bool | None = None


Measure = Callable[[bytes | None, bytes], StateDistance | None]


def unknown(_before: bytes | None, _after: bytes) -> None:
    """Return None: the layout of the state is unknown."""


# MT19937: a block of words, and how many of them were drawn. The next block is computed from a used-up block.

_Twister = tuple[list[int], int]


class _Stream:
    """The numbers that a state draws, as bytes. Reading calls no hooked function."""

    def __init__(self, state: _Twister) -> None:
        words, position = state
        if is_imported("numpy.random"):
            self._numpy = sys.modules["numpy"]
            self._twin = _numpy_twin()
            self._twin.set_state(("MT19937", self._numpy.array(words, dtype="uint32"), position))
            self.read, self.farthest = self._by_numpy, _FARTHEST_WITH_NUMPY
        else:
            self._twin = _random.Random(0)
            self._twin.setstate((*words, position))
            self.read, self.farthest = self._by_python, FARTHEST

    def _by_numpy(self, size: int) -> bytes:
        drawn = self._twin.randint(0, 1 << 32, size // 4, dtype=self._numpy.uint32)
        return bytes(drawn.astype("<u4").tobytes())

    def _by_python(self, size: int) -> bytes:
        return int(self._twin.getrandbits(8 * size)).to_bytes(size, "little")


def _numpy_twin() -> Any:  # noqa: ANN401 - a module that may not be imported here
    """A new generator: two threads may measure at the same time."""
    numpy_random = sys.modules["numpy.random"]
    return numpy_random.RandomState(numpy_random.MT19937(numpy_random.SeedSequence(0)))


def _mt19937_distance(before: _Twister | None, after: _Twister) -> StateDistance | None:
    """Look for what `after` draws next in the stream that `before` draws from."""
    drawn = None if before is None else _drawn_between(before, after)
    if drawn is not None:
        return StateDistance(drawn)
    origin = seeding_of(*after)
    if origin is not None:
        return StateDistance(origin.drawn, is_anew=True, is_seed=True)
    return StateDistance(0, is_anew=True, is_seed=False) if is_new(*after) else None


def _drawn_between(before: _Twister, after: _Twister) -> int | None:
    size = 4 * WORDS
    mark = _Stream(after).read(size)
    ahead = _Stream(before)
    stream, dropped, growth = ahead.read(2 * size), 0, 1
    while dropped < 4 * ahead.farthest:
        index = stream.find(mark)
        if index >= 0:
            return (dropped + index) // 4
        dropped += len(stream) - size
        stream = stream[-size:] + ahead.read(growth * size)
        growth = min(4 * growth, 400)
    return None


def python(before: bytes | None, after: bytes) -> StateDistance | None:
    """Measure Python's `random`: 625 numbers of eight bytes, the last of which is the position.

    Example:
        >>> import random
        >>> own = random.Random(1)
        >>> before = array.array("Q", own.getstate()[1]).tobytes()
        >>> _ = own.random()
        >>> python(before, array.array("Q", own.getstate()[1]).tobytes())
        StateDistance(count=2, is_anew=False, unit='words', is_seed=None)
    """
    return _mt19937_distance(None if before is None else _python_twister(before), _python_twister(after))


def _python_twister(state: bytes) -> _Twister:
    *words, position = array.array("Q", state[: 8 * (WORDS + 1)])
    return words, position


_FIRST_NUMBER = re.compile(rb"\((\d+)")


def numpy_mt19937(before: bytes | None, after: bytes) -> StateDistance | None:
    """Measure NumPy's legacy generator: 624 words of four bytes, then a tuple as text that begins with the position."""
    return _mt19937_distance(None if before is None else _numpy_twister(before), _numpy_twister(after))


def _numpy_twister(state: bytes) -> _Twister:
    position = _FIRST_NUMBER.match(state, 4 * WORDS)
    return list(array.array("I", state[: 4 * WORDS])), int(position[1]) if position else 0


def torch_cpu(before: bytes | None, after: bytes) -> StateDistance | None:
    """Measure PyTorch's CPU generator: the seed, the number of words left in the block, then the block.

    Source: `CPUGeneratorImplStateLegacy` in aten/src/ATen/CPUGeneratorImpl.cpp.
    """

    def read(state: bytes) -> _Twister:
        words = list(array.array("Q", state[24 : 24 + 8 * WORDS]))
        return words, WORDS + 1 - int.from_bytes(state[8:12], sys.byteorder)

    same_seed = before is not None and before[:8] == after[:8]
    distance = _mt19937_distance(read(before), read(after)) if same_seed and before is not None else None
    if distance is not None:
        return distance
    seed = int.from_bytes(after[:8], sys.byteorder)
    since = _mt19937_distance((words_of_seed(seed), WORDS), read(after))
    if since is not None and since.count is not None:
        return StateDistance(since.count, is_anew=True)
    return None if same_seed or before is None else StateDistance(None, is_anew=True)


def cuda(before: bytes | None, after: bytes) -> StateDistance | None:
    """Measure PyTorch's CUDA generator: seed and offset of its Philox, eight bytes each."""
    offset = int.from_bytes(after[8:16], sys.byteorder)
    if before is not None and before[:8] == after[:8]:
        moved = offset - int.from_bytes(before[8:16], sys.byteorder)
        if moved >= 0:
            return StateDistance(moved, unit="offset")
    return StateDistance(offset, is_anew=True, unit="offset")


# NumPy's other generators, in the layout of `numpy_state`. They may keep half of a 64-bit number for the next 32-bit
# draw.


def numpy_state(state: Any) -> bytes:  # noqa: ANN401 - NumPy's own dictionary
    """The state of a NumPy bit generator as bytes: its arrays, then the rest as text."""
    inner = state["state"]
    if "key" in inner and "pos" in inner:  # MT19937, in the layout of the legacy generator
        return (
            bytes(inner["key"].tobytes())
            + repr((inner["pos"], state.get("has_gauss", 0), state.get("gauss", 0.0))).encode()
        )
    arrays = [part.tobytes() for part in inner.values() if hasattr(part, "tobytes")]
    arrays += [part.tobytes() for part in state.values() if hasattr(part, "tobytes")]
    numbers = {name: part for name, part in (*inner.items(), *state.items()) if isinstance(part, int)}
    return b"".join(arrays) + repr(numbers).encode()


def _numbers(state: bytes) -> dict[str, int]:
    numbers: dict[str, int] = ast.literal_eval(state[state.rindex(b"{") :].decode())
    return numbers


def _with_halves(steps: int, before: dict[str, int], after: dict[str, int]) -> StateDistance:
    words = 2 * steps + before["has_uint32"] - after["has_uint32"]
    # No program draws that many words: the state was restored, or `advance` was called.
    return StateDistance(words) if 0 <= words < 1 << 64 else StateDistance(None, is_anew=True)


def _lcg(multiplier: int) -> Measure:
    """Measure PCG64, a linear congruential generator: the distance is computed bit by bit, the lowest first.

    Source: section 4.3.1 of M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms
    for Random Number Generation" (2014).
    """
    everything = (1 << 128) - 1

    def measure(before: bytes | None, after: bytes) -> StateDistance | None:
        if before is None:
            return None
        was, now = _numbers(before), _numbers(after)
        if was["inc"] != now["inc"]:
            return StateDistance(None, is_anew=True)
        state, factor, plus, steps = was["state"], multiplier, was["inc"], 0
        for bit in range(128):
            if (state ^ now["state"]) >> bit & 1:
                state = (state * factor + plus) & everything
                steps |= 1 << bit
            plus = (factor + 1) * plus & everything
            factor = factor * factor & everything
        return _with_halves(steps, was, now)

    return measure


pcg64 = _lcg(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645)
pcg64_dxsm = _lcg(0xDA94_2042_E4DD_58B5)


def philox(before: bytes | None, after: bytes) -> StateDistance | None:
    """Measure NumPy's Philox: a 256-bit counter, a 128-bit key, a buffer of four numbers, the position in it."""
    if before is None:
        return None
    if before[32:48] != after[32:48]:
        return StateDistance(None, is_anew=True)
    was, now = _numbers(before), _numbers(after)
    counters = [int.from_bytes(state[:32], sys.byteorder) for state in (before, after)]
    steps = 4 * (counters[1] - counters[0]) + now["buffer_pos"] - was["buffer_pos"]
    return _with_halves(steps, was, now)


def sfc64(before: bytes | None, after: bytes) -> StateDistance | None:
    """Measure NumPy's SFC64: four words, the last of which is a counter."""
    if before is None:
        return None
    counts = [int.from_bytes(state[24:32], sys.byteorder) for state in (before, after)]
    steps = counts[1] - counts[0]
    if not 0 <= steps <= _FARTHEST_SFC64:
        return None if steps > 0 else StateDistance(None, is_anew=True)
    numpy = sys.modules["numpy"]
    twin = numpy.random.SFC64(0)
    words = numpy.frombuffer(before[:32], dtype=numpy.uint64)
    twin.state = {"bit_generator": "SFC64", "state": {"state": words}, "has_uint32": 0, "uinteger": 0}
    twin.random_raw(steps, output=False)
    same = twin.state["state"]["state"].tobytes() == after[:32]
    return _with_halves(steps, _numbers(before), _numbers(after)) if same else StateDistance(None, is_anew=True)


_NUMPY_MEASURES: dict[str, Measure] = {
    "MT19937": numpy_mt19937,
    "PCG64": pcg64,
    "PCG64DXSM": pcg64_dxsm,
    "Philox": philox,
    "SFC64": sfc64,
}


def of_numpy(bit_generator: object) -> Measure:
    """The measure for a NumPy bit generator.

    Example:
        >>> of_numpy("no bit generator") is unknown
        True
    """
    return _NUMPY_MEASURES.get(type(bit_generator).__name__, unknown)


def is_fresh(measure: Measure, state: bytes) -> bool | None:
    """Whether nothing was drawn since the generator was seeded; None if unknown."""
    return _FRESH.get(measure, lambda _state: None)(state)


def seeding(measure: Measure, state: bytes) -> Seeding | None:
    """How a state of Python's generator, or of NumPy's legacy generator, was seeded; None if unknown."""
    read = _TWISTERS.get(measure)
    return None if read is None else seeding_of(*read(state))


def right_after(measure: Measure, key: int | Sequence[int]) -> bytes | None:
    """The state right after seeding with a key, in the layout of `measure`; None if that is not an MT19937 layout."""
    words = words_of_seed(key) if isinstance(key, int) else words_of_key(key)
    if measure is python:
        return array.array("Q", [*words, WORDS]).tobytes()
    return array.array("I", words).tobytes() + f"({WORDS},)".encode() if measure is numpy_mt19937 else None


def is_as_new(measure: Measure, state: bytes) -> bool:
    """Whether an MT19937 state was just seeded, by a seed or by operating-system entropy."""
    read = _TWISTERS.get(measure)
    return read is not None and is_new(*read(state))


# at::mt19937 as THGenerator stored it: seed (8 bytes), left (4), seeded (4), next (8), …; a fresh state has left == 1
# and next == 0. aten/src/ATen/CPUGeneratorImpl.cpp, CPUGeneratorImplStateLegacy.
def _is_fresh_torch(state: bytes) -> bool:
    return int.from_bytes(state[8:12], sys.byteorder) == 1 and int.from_bytes(state[16:24], sys.byteorder) == 0


# CUDA's Philox is fresh as long as the offset is 0.
_FRESH: dict[Measure, Callable[[bytes], bool]] = {
    torch_cpu: _is_fresh_torch,
    cuda: lambda state: not any(state[8:16]),
}
_TWISTERS: dict[Measure, Callable[[bytes], _Twister]] = {python: _python_twister, numpy_mt19937: _numpy_twister}
