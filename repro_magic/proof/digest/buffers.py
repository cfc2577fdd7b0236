"""Cache the digests of large buffers, so that bytes no cell can have written are not read again after every cell."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from repro_magic.proof.digest.elements import Read

# Below this size in bytes, reading costs less than caching.
_LARGE = 1 << 20

# A device, and the start and end of an owner's memory there.
_Range = tuple[str, int, int]


@dataclass(frozen=True)
class _Place:
    """Where a value's bytes are in memory.

    Attributes:
        range: all the memory of its owner, because views share it.
        address: the start of the value itself.
        layout: strides and the like.
        owner: the array or storage that owns the memory; None if something unseen may write it, as in a mapped file.
    """

    range: _Range
    address: int
    layout: tuple[object, ...]
    owner: object


@dataclass
class _KnownBuffer:
    """A cached digest: its owner, the cell after which it was read, and the last pass that saw it."""

    bits: bytes
    is_owned_by: Callable[[Any], bool]
    cell: int
    seen: int


class Scope(Enum):
    """Which values are being read."""

    ALL = "all values"  # always read
    REACHED = "those that the cell may have written"  # always read, and their memory is recorded
    OTHERS = "all others"  # taken from the cache, unless they share memory with those


class Buffers:
    """Reads arrays and tensors for `elements.reading_through`, with a cache for large buffers.

    Attributes:
        scope: which values are being read.
        is_doubtful: whether a buffer changed that was not read after the previous cell: an earlier cell may have
            changed it.
    """

    def __init__(self) -> None:
        """Start with an empty cache."""
        self.scope, self.is_doubtful = Scope.ALL, False
        self._known: dict[tuple[object, ...], _KnownBuffer] = {}
        self._reached: set[_Range] = set()
        self._cell = self._pass = 0

    def __len__(self) -> int:
        """The number of cached buffers."""
        return len(self._known)

    def begin(self, cell: int) -> None:
        """Begin a pass over all values, after a cell."""
        self._cell, self._pass = cell, self._pass + 1
        self._reached.clear()

    def end(self) -> None:
        """Drop the buffers that no value used in this pass."""
        self._known = {key: known for key, known in self._known.items() if known.seen == self._pass}

    def are_read_after(self, cell: int) -> bool:
        """Whether all cached buffers were read after this cell."""
        return all(known.cell == cell for known in self._known.values())

    def read(self, value: Any, head: bytes, read: Read) -> bytes:
        """The digest of a value's bytes, from the cache or read."""
        is_large = value.nbytes >= _LARGE
        place = _place(value) if is_large or self.scope is Scope.REACHED else None
        if place is None:
            return read(value, head)
        if self.scope is Scope.REACHED:
            self._reached.add(place.range)
        return self._remembered(value, head, read, place) if is_large and place.owner is not None else read(value, head)

    def _remembered(self, value: Any, head: bytes, read: Read, place: _Place) -> bytes:
        key = (head, place.range, place.address, place.layout)
        known = self._known.get(key)
        if known is not None and not known.is_owned_by(place.owner):  # other memory at the same address
            known = None
        if known is not None and (known.seen == self._pass or self._is_trusted(place.range)):
            known.seen = self._pass
            return known.bits
        bits = read(value, head)
        if known is not None and known.bits != bits and known.cell < self._cell - 1:
            self.is_doubtful = True
        self._known[key] = _KnownBuffer(bits, _ownership_test(place.owner), self._cell, self._pass)
        return bits

    def _is_trusted(self, memory: _Range) -> bool:
        device, start, end = memory
        return self.scope is Scope.OTHERS and not any(
            other == device and first < end and start < last for other, first, last in self._reached
        )


def _place(value: Any) -> _Place | None:
    numpy = sys.modules.get("numpy")
    try:
        is_array = numpy is not None and isinstance(value, numpy.ndarray)
        return _array_place(value) if is_array else _tensor_place(value)
    except (RuntimeError, NotImplementedError):  # a tensor without storage
        return None


def _array_place(value: Any) -> _Place:
    numpy, torch = sys.modules["numpy"], sys.modules.get("torch")
    address = value.__array_interface__["data"][0]
    owner = value
    while isinstance(owner.base, numpy.ndarray):
        owner = owner.base
    if torch is not None and isinstance(owner.base, torch.Tensor):
        base = _tensor_place(owner.base)
        return _Place(base.range, address, value.strides, base.owner)
    return _Place(("cpu", *_bounds(owner)), address, value.strides, owner if owner.flags.owndata else None)


def _bounds(array: Any) -> tuple[int, int]:
    start = end = array.__array_interface__["data"][0]
    if array.size:
        steps = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
        start += sum(step for step in steps if step < 0)
        end += sum(step for step in steps if step > 0) + array.itemsize
    return start, end


def _tensor_place(value: Any) -> _Place:
    storage, device = value.untyped_storage(), str(value.device)
    start = storage.data_ptr()
    is_shared = value.is_cpu and storage.is_shared()  # with another process, or a file
    layout = (value.stride(), value.is_conj(), value.is_neg())
    return _Place((device, start, start + storage.nbytes()), value.data_ptr(), layout, None if is_shared else storage)


def _ownership_test(owner: Any) -> Callable[[Any], bool]:
    """A test whether an object is this owner, which is referenced weakly."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(
        owner, torch.UntypedStorage
    ):  # its Python wrapper may be a new object each time
        storage = torch.multiprocessing.reductions.StorageWeakRef(owner)
        return lambda other: not storage.expired() and getattr(other, "_cdata", None) == storage.cdata
    array = weakref.ref(owner)
    return lambda other: array() is other
