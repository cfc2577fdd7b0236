"""How NumPy's arrays and scalars are digested."""

from __future__ import annotations

import sys
from typing import Any

from repro_magic.introspection.foreign import kind_of
from repro_magic.proof.digest import elements
from repro_magic.proof.digest.parts import Parts, item, named, several
from repro_magic.proof.digest.plain_values import tagged
from repro_magic.proof.digest.walk import Walk

# x86's long double has 80 bits, followed by meaningless padding.
_X87_MANTISSA, _X87_BYTES = 63, 10


def array(_walk: Walk, value: Any) -> bytes | Parts:
    """An array, by its dtype, shape and elements."""
    numpy = sys.modules["numpy"]
    kind, value = kind_of(value), numpy.ndarray.view(value, numpy.ndarray)
    if value.dtype.names is not None:  # by field: there may be padding between fields
        return named(f"{kind} {value.shape}", {name: value[name] for name in value.dtype.names})
    if value.dtype.hasobject:
        about = several(value.dtype.kind, getattr(value.dtype, "na_object", None))
        return several(f"{kind} {value.shape}", about, Parts("", enumerate(value.ravel().tolist()), item))
    # Neither byte order nor memory order counts.
    head = tagged(f"{kind} {value.dtype.newbyteorder('=').str} {value.shape}".encode(), b"")
    return elements.read_elements(value, head, _array_bits)


def _array_bits(value: Any, head: bytes) -> bytes:
    numpy = sys.modules["numpy"]
    hasher = elements.hasher(head, value.nbytes)
    for piece in elements.pieces(value, value.nbytes):
        native = numpy.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("="))
        raw = native.reshape(-1).view(numpy.uint8)
        if native.dtype.char in "gG" and numpy.finfo(native.dtype).nmant == _X87_MANTISSA:
            raw = numpy.ascontiguousarray(raw.reshape(-1, numpy.dtype("g").itemsize)[:, :_X87_BYTES])
        hasher.update(raw.data)
    return bytes(hasher.digest())


def scalar(_walk: Walk, value: Any) -> Parts:
    """A scalar, as an array without dimensions."""
    return several(kind_of(value), sys.modules["numpy"].asarray(value))


def masked_array(_walk: Walk, value: Any) -> Parts:
    """A masked array. The data under its mask does not count."""
    masked = sys.modules["numpy"].ma
    mask = masked.getmaskarray(value)
    data = masked.MaskedArray.filled(value, 0) if mask.any() else masked.getdata(value, subok=False)
    about = {"fill": value.fill_value, "is hard": value.hardmask}
    return named(kind_of(value), {"data": data, "mask": mask, **about})
