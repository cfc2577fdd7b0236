"""The elements of arrays and tensors as bytes: hashed in place, or copied piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from blake3 import blake3

# Size in bytes of the pieces in which data is copied (from a device, or because it is not contiguous).
PIECE = 16 << 20
# From this size in bytes on, blake3's threads save more than they cost.
LARGE = 1 << 20

# Digests the bytes of an array or tensor, given the value and a head with its type, dtype and shape.
Read = Callable[[Any, bytes], bytes]
Reader = Callable[[Any, bytes, Read], bytes]
_READER: ContextVar[Reader] = ContextVar("reader", default=lambda value, head, read: read(value, head))


@contextmanager
def reading_through(reader: Reader) -> Iterator[None]:
    """Within this context, `reader` reads arrays and tensors; it may have their digests cached."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


def read_elements(value: Any, head: bytes, read: Read) -> bytes:
    """The digest of an array or tensor, by the current reader."""
    return _READER.get()(value, head, read)


def hasher(head: bytes, size: int) -> Any:
    """A hash of `head`, ready for `size` more bytes."""
    return blake3(head, max_threads=blake3.AUTO) if size >= LARGE else blake3(head)


def pieces(value: Any, size: int) -> Iterator[Any]:
    """The value itself if it is small or need not be copied; otherwise pieces along its first dimension."""
    if size <= PIECE or not value.shape or _is_in_place(value):
        yield value
        return
    rows = max(1, PIECE * value.shape[0] // size)
    for start in range(0, value.shape[0], rows):
        piece = value[start : start + rows]
        if rows == 1 and len(value.shape) > 1:  # a single row may be too large
            yield from pieces(piece[0], size // value.shape[0])
        else:
            yield piece


def _is_in_place(value: Any) -> bool:
    """Whether the bytes can be hashed without a copy."""
    if hasattr(value, "flags"):
        return bool(value.flags.c_contiguous)
    return value.is_cpu and value.is_contiguous() and not value.is_conj() and not value.is_neg()
