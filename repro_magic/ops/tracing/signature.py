"""The signature of a call: everything that a status may depend on, except the values of tensors."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any


@functools.cache
def _tensor_and_strided() -> tuple[Any, Any]:
    """Looked up once because torch may be imported after this module."""
    torch = sys.modules["torch"]
    return torch.Tensor, torch.strided


def signature_of(values: Iterable[Any]) -> tuple[object, ...]:
    """The signature of arguments: shape, dtype and layout of each tensor, and all other values.

    Example:
        >>> import torch
        >>> signature_of((torch.zeros(2), [torch.tensor(1)], 0.5))
        (torch.Size([2]), torch.float32, (torch.Size([]), torch.int64), 0.5)
    """
    tensor_type, strided = _tensor_and_strided()
    signature: list[object] = []
    add = signature.append
    for value in values:
        if isinstance(value, tensor_type):
            add(value.shape)
            add(value.dtype)
            if value.layout is not strided:
                add(value.layout)
            elif not value.is_contiguous():  # a stride of 0 repeats a value
                add(value.stride())
        elif type(value) is list or type(value) is tuple:
            add(signature_of(value))
        else:
            add(value)
    return tuple(signature)


def _picker(positions: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if len(positions) > 1:
        return operator.itemgetter(*positions)
    start = positions[0] if positions else 0
    return operator.itemgetter(slice(start, start + len(positions)))  # a sequence with one element, or none


class CachedSignature:
    """Recognises calls with the signature of an earlier call, in less than half the time of `signature_of`.

    Dynamo's tensor guard compares everything in a signature, and a little more, in a single step in C++. It may reject
    an equal signature, but never accepts a different one.

    Raises:
        Exception: several lists among the arguments, or a PyTorch whose guard differs; use `signature_of` instead.

    Example:
        >>> import torch
        >>> known = CachedSignature((torch.zeros(2), 0.5))
        >>> known.fits((torch.ones(2), 0.5)), known.fits((torch.ones(3), 0.5)), known.fits((torch.ones(2), 0.25))
        (True, False, False)
    """

    __slots__ = ("_count", "_length", "_list", "_parts")

    def __init__(self, args: Sequence[Any]) -> None:
        """Read the arguments of a call. Tensors among them are not kept alive."""
        tensor_type, _ = _tensor_and_strided()
        lists = [position for position, value in enumerate(args) if type(value) is list or type(value) is tuple]
        if len(lists) > 1:
            raise ValueError("several lists: ops of that kind are few, or hot")
        self._list = lists[0] if lists else None
        flat = args if self._list is None else (*args, *args[self._list])
        self._count, self._length = len(args), len(flat)
        kinds = [None if position in lists else isinstance(value, tensor_type) for position, value in enumerate(flat)]
        tensors = _picker([position for position, is_tensor in enumerate(kinds) if is_tensor is True])
        others = _picker([position for position, is_tensor in enumerate(kinds) if is_tensor is False])
        guarded = tensors(flat)
        guard = sys.modules["torch"]._C._dynamo.guards.TensorGuards(  # noqa: SLF001 - there is no public way
            *guarded,
            dynamic_dims_sizes=[list(tensor.shape) for tensor in guarded],
            dynamic_dims_strides=[list(tensor.stride()) for tensor in guarded],
        )
        self._parts = others, others(flat), tensors, guard.check

    def fits(self, args: Sequence[Any]) -> bool:
        """Whether these arguments have the same signature."""
        if len(args) != self._count:
            return False
        if self._list is not None:
            values = args[self._list]
            if type(values) is not list and type(values) is not tuple:
                return False
            args = (*args, *values)
            if len(args) != self._length:
                return False
        others, expected, tensors, check = self._parts
        try:
            return others(args) == expected and bool(check(*tensors(args)))
        except Exception:  # noqa: BLE001 - the guard does not support all kinds of tensors
            return False
