"""The elements of arrays and tensors as bytes: hashed in place, or in pieces that are copied one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from blake3 import blake3

# What has to be copied (from a device, or because it is not contiguous) is copied in pieces of so many bytes.
PIECE = 16 << 20
# From so many bytes on blake3's threads save more than they cost.
LARGE = 1 << 20

# Digests the bytes of an array or tensor: takes the value, and a head that says what it is.
Read = Callable[[Any, bytes], bytes]
Reader = Callable[[Any, bytes, Read], bytes]
_READER: ContextVar[Reader] = ContextVar("reader", default=lambda value, head, read: read(value, head))


@contextmanager
def reading_through(reader: Reader) -> Iterator[None]:
    """While this lasts, arrays and tensors are read by `reader`, which may know the digest already."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


def read_elements(value: Any, head: bytes, read: Read) -> bytes:
    """The digest of an array or tensor, by the reader that is in force."""
    return _READER.get()(value, head, read)


def hasher(head: bytes, size: int) -> Any:
    """A hash that has taken a head, and will take so many bytes after it."""
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
    """Whether the bytes can be hashed where they are."""
    if hasattr(value, "flags"):
        return bool(value.flags.c_contiguous)
    return value.is_cpu and value.is_contiguous() and not value.is_conj() and not value.is_neg()
