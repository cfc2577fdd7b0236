"""When a flagged op may differ: small functions of a call, combined in the catalogue.

Each returns True (may differ), False (cannot) or None (unknown), and never raises. The answer is unknown for what it
cannot read: a FakeTensor, a symbolic size, a nested or sparse tensor, an odd argument. Sizes and dtypes are free to
read. Values are read only if the call allows it, only from ordinary CPU tensors, and at a bounded cost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from repro_magic.determinism.switches import CUBLAS_DETERMINISTIC, CUBLAS_VARIABLE
from repro_magic.ops.catalogue.model import Condition, OpCall
from repro_magic.ops.catalogue.reading import careful, element_count, plain_int, sizes_of

# Up to this many elements, a CPU writes in a single task (aten/src/ATen/native/cpu/IndexKernelUtils.h, cpu_index and
# cpu_take_put).
WRITES_IN_ONE_TASK = 3000
# From this many elements on, a CPU splits accumulating writes and copies (at::internal::GRAIN_SIZE).
SPLIT_FROM = 32_768

# The documented deterministic values, and the value in the documentation of torch.nn.LSTM.
_CUBLAS_FIXED = (*CUBLAS_DETERMINISTIC, ":4096:2")


def every(*conditions: Condition) -> Condition:
    """All conditions hold: False if any is False, else None if any is None, else True. List cheap conditions first."""

    def holds(call: OpCall) -> bool | None:
        answer: bool | None = True
        for condition in conditions:
            outcome = condition(call)
            if outcome is False:
                return False
            if outcome is None:
                answer = None
        return answer

    return holds


def negated(condition: Condition) -> Condition:
    """The condition does not hold; None stays None."""

    def holds(call: OpCall) -> bool | None:
        outcome = condition(call)
        return None if outcome is None else not outcome

    return holds


def given(name: str) -> Condition:
    """An argument is passed and is not None."""
    return lambda call: call.arguments.get(name) is not None


def equals(name: str, *values: object) -> Condition:
    """An argument equals one of the given values; False if the overload has no such argument."""

    @careful
    def holds(call: OpCall) -> bool | None:
        if name not in call.arguments:
            return False
        value = call.arguments[name]
        # Comparing anything else, such as a SymBool, may have side effects.
        return value in values if isinstance(value, bool | int | str) else None

    return holds


def overload_is(*overloads: str) -> Condition:
    """The call uses one of the given overloads, e.g. `"dim"`."""
    return lambda call: call.overload.rpartition(".")[2] in overloads


@careful
def accumulates(call: OpCall) -> bool | None:
    """Values are added to the elements, not written over them."""
    if "_index_put_accumulate" in call.overload:
        return True
    value = call.arguments.get("accumulate", False)
    return value if isinstance(value, bool) else None


def floating(name: str = "self") -> Condition:
    """A tensor, or the requested dtype, is floating or complex: its sums depend on order, unlike those of integers."""

    @careful
    def holds(call: OpCall) -> bool | None:
        dtype = call.arguments.get("dtype") or call.arguments[name].dtype
        return bool(dtype.is_floating_point or dtype.is_complex)

    return holds


@careful
def single_precision(call: OpCall) -> bool | None:
    """The dtype is float32: a CPU adds all other dtypes in a single thread."""
    return bool(call.arguments["self"].dtype == sys.modules["torch"].float32)


@careful
def quantized(call: OpCall) -> bool | None:
    """The tensor is quantized."""
    return bool(call.arguments["self"].is_quantized)


@careful
def sparse(call: OpCall) -> bool | None:
    """The first factor of a product is sparse."""
    return bool(call.arguments["self"].layout != sys.modules["torch"].strided)


@careful
def input_gradient(call: OpCall) -> bool | None:
    """The gradient of the input is requested; the gradient of the grid is deterministic."""
    mask = call.arguments.get("output_mask")
    return True if mask is None else bool(mask[0])


@careful
def counts_inexactly(call: OpCall) -> bool | None:
    """Bins are floating, and the elements exceed what their dtype counts exactly: 2**24 in float32."""
    tensor = call.arguments["self"]
    if not tensor.dtype.is_floating_point:
        return False
    return element_count(tensor) > 2 / float(sys.modules["torch"].finfo(tensor.dtype).eps)


@careful
def uneven_windows(call: OpCall) -> bool | None:
    """Adaptive pooling: the input size is not a multiple of the output size."""
    dims = 3 if "3d" in call.overload else 2
    inner, outer = (sizes_of(call.arguments[name])[-dims:] for name in ("self", "grad_output"))
    return any(size % windows for size, windows in zip(inner, outer, strict=True))


@careful
def overlapping_windows(call: OpCall) -> bool | None:
    """Pooling: windows are wider than their stride."""
    kernel = [plain_int(size) for size in call.arguments["kernel_size"]]
    dims = 3 if "3d" in call.overload else 2
    stride = [plain_int(step) for step in call.arguments["stride"]] or kernel
    dilation = [plain_int(step) for step in call.arguments.get("dilation", (1,))]
    spans = zip(*(values * dims if len(values) == 1 else values for values in (kernel, stride, dilation)), strict=True)
    return any((size - 1) * spread + 1 > step for size, step, spread in spans)


def _cudnn(call: OpCall, name: str) -> bool:
    """A switch of cuDNN: the call's argument, else the process's value."""
    value = call.arguments.get(name)
    if value is None:
        value = getattr(sys.modules["torch"].backends.cudnn, name)
    return bool(value)


@careful
def cudnn_benchmarks(call: OpCall) -> bool | None:
    """CuDNN is enabled and chooses its algorithm by timing."""
    return _cudnn(call, "enabled") and _cudnn(call, "benchmark")


@careful
def cudnn_is_free(call: OpCall) -> bool | None:
    """CuDNN is enabled and may use any algorithm."""
    return _cudnn(call, "enabled") and not _cudnn(call, "deterministic")


@careful
def cublas_is_free(_call: OpCall) -> bool | None:
    """CuBLAS may share its workspaces among streams."""
    return os.environ.get(CUBLAS_VARIABLE) not in _CUBLAS_FIXED


def split_among_threads(written: Callable[[OpCall], int], at_least: int) -> Condition:
    """The CPU uses several threads, and writes enough elements that they share the work."""

    @careful
    def holds(call: OpCall) -> bool | None:
        return call.at_scale or (call.threads > 1 and written(call) >= at_least)

    return holds


def elements_of(name: str) -> Callable[[OpCall], int]:
    """The number of elements of an argument."""
    return lambda call: element_count(call.arguments[name])
