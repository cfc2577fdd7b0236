"""How far a generator moved between two states, from the states alone.

Each function takes the state before, None if there was none, and the state after, both as bytes of one layout. One unit
serves all that run on the CPU: words of 32 bits, two of which make a number of 64.
"""

from __future__ import annotations

import array
import ast
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repro_magic.rng.rewinding import WORDS, drawn_since_seeding, is_new, words_of_seed

# How far MT19937 is followed: a million words, which takes 25 ms.
FARTHEST = 1600 * WORDS
# NumPy's SFC64 shows how far it went; whether it did is seen by going there: 0.1 s at most.
_FARTHEST_SFC64 = 20_000_000


@dataclass(frozen=True)
class Distance:
    """How far a generator moved.

    Attributes:
        count: how many of its units were drawn; None where that cannot be told.
        is_anew: whether it was given another state, by a seed or as it had been before; `count` is from there on.
        unit: `"words"` of 32 bits, or `"offset"`: a GPU's numbers come from a counter, and this is what it rose by.
        is_seed: whether that other state came from a seed, and not from the operating system; None: cannot be told.
    """

    count: int | None
    is_anew: bool = False
    unit: str = "words"
    is_seed: bool | None = None


Measure = Callable[[bytes | None, bytes], Distance | None]


def unknown(_before: bytes | None, _after: bytes) -> None:
    """Of a state whose making is not known, nothing can be told."""


# MT19937: a block of words, and how many of it were drawn. A new block is made of the last when it is used up.

_Twister = tuple[list[int], int]


def _to_python(before: _Twister | None) -> random.Random:
    twin = random.Random(0)  # noqa: S311 - a twin of the generator in question; an unseeded one would be told of
    if before is not None:
        twin.setstate((3, (*before[0], before[1]), None))
    return twin


def _mt19937(before: _Twister | None, after: _Twister) -> Distance | None:
    """Look for what `after` draws next in the stream that `before` draws from."""
    if before is not None:
        size = 4 * WORDS
        mark = _to_python(after).randbytes(size)
        twin = _to_python(before)
        stream, dropped, growth = twin.randbytes(2 * size), 0, 1
        while True:
            found = stream.find(mark)
            if found >= 0:
                return Distance((dropped + found) // 4)
            dropped += len(stream) - size
            if dropped >= 4 * FARTHEST:
                break
            stream = stream[-size:] + twin.randbytes(growth * size)
            growth = min(4 * growth, 100)
    since = drawn_since_seeding(*after)
    if since is not None:
        return Distance(since, is_anew=True, is_seed=True)
    return Distance(0, is_anew=True, is_seed=False) if is_new(*after) else None


def python(before: bytes | None, after: bytes) -> Distance | None:
    """Of Python's `random`: 625 numbers of eight bytes, the last one the position.

    Example:
        >>> import random
        >>> own = random.Random(1)
        >>> before = array.array("Q", own.getstate()[1]).tobytes()
        >>> _ = own.random()
        >>> python(before, array.array("Q", own.getstate()[1]).tobytes())
        Distance(count=2, is_anew=False, unit='words', is_seed=None)
    """

    def read(state: bytes) -> _Twister:
        *words, position = array.array("Q", state[: 8 * (WORDS + 1)])
        return words, position

    return _mt19937(None if before is None else read(before), read(after))


_FIRST_NUMBER = re.compile(rb"\((\d+)")


def numpy_mt19937(before: bytes | None, after: bytes) -> Distance | None:
    """Of NumPy's legacy generator: 624 words of four bytes, then a tuple as text, which begins with the position."""

    def read(state: bytes) -> _Twister:
        found = _FIRST_NUMBER.match(state, 4 * WORDS)
        return list(array.array("I", state[: 4 * WORDS])), int(found[1]) if found else 0

    return _mt19937(None if before is None else read(before), read(after))


def torch_cpu(before: bytes | None, after: bytes) -> Distance | None:
    """Of PyTorch on the CPU: the seed, how many words of the block are left, then the block.

    Source: `CPUGeneratorImplStateLegacy` in aten/src/ATen/CPUGeneratorImpl.cpp.
    """

    def read(state: bytes) -> _Twister:
        words = list(array.array("Q", state[24 : 24 + 8 * WORDS]))
        return words, WORDS + 1 - int.from_bytes(state[8:12], sys.byteorder)

    same_seed = before is not None and before[:8] == after[:8]
    found = _mt19937(read(before), read(after)) if same_seed and before is not None else None
    if found is not None:
        return found
    seed = int.from_bytes(after[:8], sys.byteorder)
    since = _mt19937((words_of_seed(seed), WORDS), read(after))
    if since is not None and since.count is not None:
        return Distance(since.count, is_anew=True)
    return None if same_seed or before is None else Distance(None, is_anew=True)


def cuda(before: bytes | None, after: bytes) -> Distance | None:
    """Of PyTorch on CUDA: seed and offset of its Philox, eight bytes each."""
    offset = int.from_bytes(after[8:16], sys.byteorder)
    if before is not None and before[:8] == after[:8]:
        moved = offset - int.from_bytes(before[8:16], sys.byteorder)
        if moved >= 0:
            return Distance(moved, unit="offset")
    return Distance(offset, is_anew=True, unit="offset")


# NumPy's other generators, as `numpy_state` writes them. Half of a number of 64 bits may be kept for the next of 32.


def numpy_state(state: Any) -> bytes:  # noqa: ANN401 - NumPy's own dictionary
    """The state of a NumPy bit generator as bytes: its arrays as they are, the rest as text."""
    inner = state["state"]
    if "key" in inner and "pos" in inner:  # MT19937, in the layout of the legacy one
        return (
            bytes(inner["key"].tobytes())
            + repr((inner["pos"], state.get("has_gauss", 0), state.get("gauss", 0.0))).encode()
        )
    arrays = [part.tobytes() for part in inner.values() if hasattr(part, "tobytes")]
    arrays += [part.tobytes() for part in state.values() if hasattr(part, "tobytes")]
    numbers = {name: part for name, part in (*inner.items(), *state.items()) if isinstance(part, int)}
    return b"".join(arrays) + repr(numbers).encode()


def _numbers(state: bytes) -> dict[str, int]:
    found: dict[str, int] = ast.literal_eval(state[state.rindex(b"{") :].decode())
    return found


def _with_halves(steps: int, before: dict[str, int], after: dict[str, int]) -> Distance:
    words = 2 * steps + before["has_uint32"] - after["has_uint32"]
    # A way of such a length leads round the whole circle: it was a step back, or `advance`.
    return Distance(words) if 0 <= words < 1 << 64 else Distance(None, is_anew=True)


def _lcg(multiplier: int) -> Measure:
    """PCG64 is a linear congruential generator: how far apart two states are is found bit by bit, the lowest first.

    Source: section 4.3.1 of M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms
    for Random Number Generation" (2014).
    """
    everything = (1 << 128) - 1

    def measure(before: bytes | None, after: bytes) -> Distance | None:
        if before is None:
            return None
        was, now = _numbers(before), _numbers(after)
        if was["inc"] != now["inc"]:
            return Distance(None, is_anew=True)
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


def philox(before: bytes | None, after: bytes) -> Distance | None:
    """Of NumPy's Philox: a counter of 256 bits, a key of 128, a buffer of four numbers, the place in it."""
    if before is None:
        return None
    if before[32:48] != after[32:48]:
        return Distance(None, is_anew=True)
    was, now = _numbers(before), _numbers(after)
    counters = [int.from_bytes(state[:32], sys.byteorder) for state in (before, after)]
    steps = 4 * (counters[1] - counters[0]) + now["buffer_pos"] - was["buffer_pos"]
    return _with_halves(steps, was, now)


def sfc64(before: bytes | None, after: bytes) -> Distance | None:
    """Of NumPy's SFC64: four words, the last of which counts."""
    if before is None:
        return None
    counts = [int.from_bytes(state[24:32], sys.byteorder) for state in (before, after)]
    steps = counts[1] - counts[0]
    if not 0 <= steps <= _FARTHEST_SFC64:
        return None if steps > 0 else Distance(None, is_anew=True)
    numpy = sys.modules["numpy"]
    twin = numpy.random.SFC64(0)
    words = numpy.frombuffer(before[:32], dtype=numpy.uint64)
    twin.state = {"bit_generator": "SFC64", "state": {"state": words}, "has_uint32": 0, "uinteger": 0}
    twin.random_raw(steps, output=False)
    same = twin.state["state"]["state"].tobytes() == after[:32]
    return _with_halves(steps, _numbers(before), _numbers(after)) if same else Distance(None, is_anew=True)


_OF_NUMPYS: dict[str, Measure] = {
    "MT19937": numpy_mt19937,
    "PCG64": pcg64,
    "PCG64DXSM": pcg64_dxsm,
    "Philox": philox,
    "SFC64": sfc64,
}


def of_numpys(bit_generator: object) -> Measure:
    """How to measure one of NumPy's bit generators.

    Example:
        >>> of_numpys("not one") is unknown
        True
    """
    return _OF_NUMPYS.get(type(bit_generator).__name__, unknown)
