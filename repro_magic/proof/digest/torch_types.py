"""How PyTorch's tensors, optimizers and generators are digested."""

from __future__ import annotations

import functools
import sys
from typing import Any

from repro_magic.introspection.foreign import is_any, kind_of
from repro_magic.proof.digest import elements
from repro_magic.proof.digest.parts import Parts, named, several
from repro_magic.proof.digest.pinned import contiguous_bytes, overlapped, pinned_buffers
from repro_magic.proof.digest.plain_values import tagged
from repro_magic.proof.digest.walk import Walk


def tensor(walk: Walk, value: Any) -> bytes | Parts:
    """A tensor, by its dtype, shape and elements, on any device."""
    with sys.modules["torch"]._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - a subclass must not notice
        return _content_of(walk, value)


def _content_of(walk: Walk, value: Any) -> bytes | Parts:
    torch = sys.modules["torch"]
    kind = "torch.Tensor" if type(value) is torch.nn.Parameter else kind_of(value)
    if issubclass(type(value), torch.nn.parameter.UninitializedTensorMixin):
        return tagged(f"{kind} {value.dtype}".encode(), b"uninitialized")
    if value.is_meta or _is_fake(value):
        return walk.gap(value, "it has no values")
    value = value.detach()
    if value.is_nested:  # before subclasses: its shape contains a new symbol each time
        return several(f"{kind} nested", *value.unbind())
    if hasattr(value, "__tensor_flatten__"):
        names, _ = value.__tensor_flatten__()
        return named(f"{kind} {tuple(value.shape)}", {name: getattr(value, name) for name in names})
    if value.is_quantized or value.layout is not torch.strided:
        return named(f"{kind} {value.layout} {value.dtype} {tuple(value.shape)}", _dense_parts(value))
    return strided(kind, value)


def _is_fake(value: object) -> bool:
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return fake is not None and issubclass(type(value), fake.FakeTensor)


def is_plain_tensor(value: Any) -> bool:
    """Whether a value is a strided tensor in the host's memory, and not of a subclass."""
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and is_any(type(value), torch.Tensor, torch.nn.Parameter)
        and value.is_cpu
        and value.layout is torch.strided
        and not value.is_nested
        and not value.is_quantized
    )


def strided(kind: str, value: Any) -> bytes:
    """The digest of a strided tensor."""
    return elements.read_elements(value, _head(kind, value.dtype, value.shape), _bits)


@functools.lru_cache(
    maxsize=1024
)  # models have few shapes, and formatting a shape costs more than hashing a small tensor
def _head(kind: str, dtype: object, shape: tuple[int, ...]) -> bytes:
    return tagged(f"{kind} {dtype} {tuple(shape)}".encode(), b"")


def _bits(value: Any, head: bytes) -> bytes:
    size = value.nbytes
    hasher = elements.hasher(head, size)
    if size <= elements.PIECE:
        hasher.update(_on_host(value))
        return bytes(hasher.digest())
    buffers = pinned_buffers() if value.is_cuda else ()
    pieces = elements.pieces(value, size)
    for row in overlapped(pieces, buffers) if buffers else map(_on_host, pieces):
        hasher.update(row)
    return bytes(hasher.digest())


def _on_host(piece: Any) -> Any:
    """A piece's bytes in the host's memory. `Tensor.numpy` is not used: it would make the tensor unresizable."""
    return sys.modules["numpy"].from_dlpack(contiguous_bytes(piece if piece.is_cpu else piece.cpu()))


def _dense_parts(value: Any) -> dict[str, object]:
    """The plain tensors that a quantized or sparse tensor is made of."""
    torch = sys.modules["torch"]
    if value.is_quantized:
        if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return {"bits": value.int_repr(), "scale": value.q_scale(), "zero_point": value.q_zero_point()}
        scales, points = value.q_per_channel_scales(), value.q_per_channel_zero_points()
        return {"bits": value.int_repr(), "scales": scales, "points": points, "axis": value.q_per_channel_axis()}
    if value.layout == torch.sparse_coo:
        return {"indices": value._indices(), "values": value._values()}  # noqa: SLF001 - `indices()` needs a coalesced tensor
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return {"rows": value.crow_indices(), "columns": value.col_indices(), "values": value.values()}
    if value.layout in (torch.sparse_csc, torch.sparse_bsc):
        return {"columns": value.ccol_indices(), "rows": value.row_indices(), "values": value.values()}
    return {"values": value.to_dense()}


def optimizer(_walk: Walk, value: Any) -> Parts:
    """An optimizer, by its parameters in their order, each with its state."""
    states = {id(parameter): state for parameter, state in value.state.items()}
    groups = [
        {
            **group,
            "params": [
                (parameter, parameter.requires_grad, states.pop(id(parameter), None)) for parameter in group["params"]
            ],
        }
        for group in value.param_groups
    ]
    return named(kind_of(value), {"defaults": value.defaults, "groups": groups, "state": list(states.values())})


def generator(_walk: Walk, value: Any) -> Parts:
    """A generator, by its state."""
    return several(kind_of(value), value.get_state())
