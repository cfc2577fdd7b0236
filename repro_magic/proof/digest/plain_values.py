"""Encode values without parts (numbers, strings, dates, paths) as tagged bytes."""

from __future__ import annotations

import datetime as dt
import decimal
import pathlib
import struct
import uuid
from collections.abc import Callable
from typing import Any

from blake3 import blake3

from repro_magic.introspection.foreign import kind_of

# Longer strings are replaced by their hash, to save memory.
_LONGEST_TEXT = 64


def tagged(tag: bytes, data: bytes) -> bytes:
    r"""Data after a tag with its type.

    The tag's length comes first, so that different pairs have different bytes.

    Example:
        >>> tagged(b"int", b"1")
        b'\x03\x00\x00\x00int1'
    """
    return len(tag).to_bytes(4, "little") + tag + data


def by_repr(value: object) -> bytes:
    """A value's type and its `repr`, for types with a complete `repr`."""
    return tagged(kind_of(value).encode(), repr(value).encode("utf-8", "surrogatepass"))


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    is_short = len(data) <= _LONGEST_TEXT
    return tagged(b"str", data if is_short else blake3(data).digest() + len(data).to_bytes(8, "little"))


def _bytes(value: bytes | bytearray) -> bytes:
    return tagged(type(value).__name__.encode(), blake3(value).digest())


_BY_REPR = (
    *(type(None), bool, type(...), range),
    *(decimal.Decimal, uuid.UUID, dt.date, dt.timedelta, dt.timezone),
    *(pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath),
)
_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    **dict.fromkeys(_BY_REPR, by_repr),
    int: lambda value: tagged(b"int", b"%x" % value),
    float: lambda value: tagged(b"float", struct.pack("<d", value)),
    complex: lambda value: tagged(b"complex", struct.pack("<dd", value.real, value.imag)),
    str: _text,
    bytes: _bytes,
    bytearray: _bytes,
}


def encoder_of(kind: type) -> Callable[[Any], bytes] | None:
    """The encoder for a type without parts; None for any other type, and for a class with a metaclass.

    Example:
        >>> encoder_of(int)(255)[-2:], encoder_of(list)
        (b'ff', None)
    """
    return _ENCODERS.get(kind) if type(kind) is type else None
