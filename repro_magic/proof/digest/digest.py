"""A value's digest: equal if, and only if, type, dtype, shape and every bit are equal.

`digest` covers the whole value: NaN payloads count, and -0.0 differs from 0.0. Parts without comparable bits (a file, a
lock, an iterator) are listed as gaps, never left out silently. The hash is blake3, a cryptographic hash, so permuted
tensors have different digests. It depends only on the value, not on addresses, memory order, set order or time.
"""

from __future__ import annotations

from typing import Any

from blake3 import blake3

from repro_magic.introspection.foreign import Shield, kind_of, module_of, mro_of
from repro_magic.proof.digest.model import Digest, Gap
from repro_magic.proof.digest.plain_values import encoder_of
from repro_magic.proof.digest.torch_types import is_plain_tensor, strided
from repro_magic.proof.digest.visitors import visitor_for
from repro_magic.proof.digest.walk import TooLargeError, Walk

# Libraries whose values have a reliable dtype and shape.
_SHAPED = {"numpy", "torch", "pandas", "scipy", "polars", "pyarrow"}


def digest(value: object) -> Digest:
    """Return the digest of a value: equal only if every bit is equal.

    Accepts numbers, strings and the like, containers (cycles too), NumPy arrays, tensors on any device (views, sparse,
    quantized, nested, subclasses), modules, optimizers, pandas, polars and pyarrow objects, graphs of networkx, PIL
    images, matplotlib figures, and objects of other Python classes through their attributes. Device, strides and
    gradients do not count. `requires_grad` counts in modules and optimizers, where it says what is trained.

    Code of an object's class runs only if there is no other way; if it raises, the digest has a gap.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C.

    Example:
        >>> digest([1.0, 2.0]).hex == digest([1.0, 2.0]).hex, digest(0.0).hex == digest(-0.0).hex
        (True, False)
        >>> digest({"f": iter([1])}).gaps
        (Gap(path='[key 1 of 1]', kind='builtins.list_iterator', why='this kind of object is not known'),)
    """
    plain = _without_walk(value)
    bits, gaps, own = _walked(value) if plain is None else (plain, (), b"")
    whole = blake3(own).hexdigest() if own else ""
    return Digest(blake3(bits).hexdigest(), kind_of(value), *_dtype_and_shape(value), gaps, whole)


def _dtype_and_shape(value: Any) -> tuple[str | None, tuple[int, ...] | None]:
    """The dtype and shape of a library's value; other classes may return anything."""
    kind = type(value)
    if encoder_of(kind) is not None or not any(module_of(base).partition(".")[0] in _SHAPED for base in mro_of(kind)):
        return None, None
    with Shield():
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        is_option = dtype is None or isinstance(dtype, type)  # an option of an estimator
        return None if is_option else str(dtype), _sizes(shape)
    return None, None


def _sizes(shape: object) -> tuple[int, ...] | None:
    """A shape; None for a nested tensor's shape, which is symbolic."""
    return tuple(shape) if isinstance(shape, tuple) and {*map(type, shape)} <= {int} else None


def _without_walk(value: object) -> bytes | None:
    """The bits of a plain value or tensor, for which setting up a walk would dominate; None for other values."""
    encode = encoder_of(type(value))
    if encode is not None:
        return encode(value)
    if not is_plain_tensor(value):
        return None
    with Shield():  # the walk reports the error
        return strided("torch.Tensor", value)
    return None


def _walked(value: object) -> tuple[bytes, tuple[Gap, ...], bytes]:
    walk = Walk(visitor_for)
    try:
        bits = walk.over(value)
        whole = Walk(visitor_for, is_whole=True).over(value) if walk.has_own else b""
    except TooLargeError as error:
        return b"", (Gap("", kind_of(value), str(error)),), b""
    return bits, tuple(walk.gaps), whole
