"""Read the arguments of a call for a condition: sizes at no cost, values only where that is harmless."""

from __future__ import annotations

import functools
import math
import sys
from typing import Any

from repro_magic.ops.catalogue.model import Condition, OpCall


class UnknownError(Exception):
    """The answer is unknown."""


def careful(condition: Condition) -> Condition:
    """The same condition, but None instead of an error."""

    @functools.wraps(condition)
    def never_raises(call: OpCall) -> bool | None:
        try:
            return condition(call)
        except Exception:  # noqa: BLE001 - watching must not fail because of an unforeseen argument
            return None

    return never_raises


def plain_int(value: Any) -> int:  # noqa: ANN401 - an int, a SymInt, or something odd
    """Return `value` if it is an int.

    Raises:
        UnknownError: it is symbolic, or of another type.
    """
    if type(value) is not int:
        raise UnknownError
    return value


def sizes_of(tensor: Any) -> list[int]:  # noqa: ANN401 - a tensor; torch may not be imported here
    """Return a tensor's sizes.

    Raises:
        UnknownError: the tensor is nested, or a size is symbolic.
    """
    if tensor.is_nested:
        raise UnknownError
    return [plain_int(size) for size in tensor.shape]


def element_count(tensor: Any) -> int:  # noqa: ANN401 - a tensor
    """Return a tensor's number of elements; see `sizes_of`."""
    return math.prod(sizes_of(tensor))


def wrapped_dim(dim: Any, dims: int) -> int:  # noqa: ANN401 - an argument may be anything
    """Return a dimension counted from the front."""
    return plain_int(dim) % dims if dims else 0


def is_readable(tensor: Any) -> bool:  # noqa: ANN401 - a tensor, or not
    """Whether reading values is harmless: an ordinary tensor in memory, and no dispatch mode would notice."""
    torch = sys.modules["torch"]
    return bool(
        type(tensor) in {torch.Tensor, torch.nn.Parameter}
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # noqa: SLF001 - there is no public question
        and not torch._is_functional_tensor(tensor)  # noqa: SLF001 - the same
        and not torch._C._len_torch_dispatch_stack()  # noqa: SLF001 - the same
    )
