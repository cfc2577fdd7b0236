"""When a flagged op may differ: small functions of one call, put together in the catalogue.

Each answers True (may differ), False (cannot) or None (cannot be told), and none of them ever raises: what it cannot
read (a FakeTensor, a symbolic size, a nested or sparse tensor, an odd argument) it cannot tell. Sizes and dtypes are
free to read. Values are read only if the call allows it, only from ordinary CPU tensors, and at a bounded price.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from repro_magic.determinism.switches import CUBLAS_DETERMINISTIC, CUBLAS_VARIABLE
from repro_magic.ops.catalogue.model import Condition, OpCall
from repro_magic.ops.catalogue.reading import careful, element_count, plain_int, sizes_of

# Up to here a CPU writes with one task (aten/src/ATen/native/cpu/IndexKernelUtils.h, cpu_index and cpu_take_put).
WRITES_IN_ONE_TASK = 3000
# From here on a CPU splits accumulating writes and copies (at::internal::GRAIN_SIZE).
SPLIT_FROM = 32_768

# Read once, before the first cuBLAS call; the second is what the documentation of torch.nn.LSTM names besides.
_CUBLAS_FIXED = (*CUBLAS_DETERMINISTIC, ":4096:2")


def every(*conditions: Condition) -> Condition:
    """All of them: False if one is False, else None if one cannot be told, else True. The cheap ones come first."""

    def holds(call: OpCall) -> bool | None:
        answer: bool | None = True
        for condition in conditions:
            found = condition(call)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return holds


def negated(condition: Condition) -> Condition:
    """The opposite; what cannot be told stays so."""

    def holds(call: OpCall) -> bool | None:
        found = condition(call)
        return None if found is None else not found

    return holds


def given(name: str) -> Condition:
    """An argument is there and is not None."""
    return lambda call: call.arguments.get(name) is not None


def equals(name: str, *values: object) -> Condition:
    """An argument has one of these values; an overload that does not take it has none of them."""

    @careful
    def holds(call: OpCall) -> bool | None:
        if name not in call.arguments:
            return False
        value = call.arguments[name]
        # A bool, a number or a text; of anything else (a SymBool) the comparison is not ours to make.
        return value in values if isinstance(value, bool | int | str) else None

    return holds


def overload_is(*overloads: str) -> Condition:
    """The call is of one of these overloads, e.g. `"dim"`."""
    return lambda call: call.overload.rpartition(".")[2] in overloads


@careful
def accumulates(call: OpCall) -> bool | None:
    """Values are added to what is there, not written over it."""
    if "_index_put_accumulate" in call.overload:
        return True
    value = call.arguments.get("accumulate", False)
    return value if isinstance(value, bool) else None


def floating(name: str = "self") -> Condition:
    """A tensor, or the dtype asked for, is floating or complex: the order of a sum shows. Integers add up exactly."""

    @careful
    def holds(call: OpCall) -> bool | None:
        dtype = call.arguments.get("dtype") or call.arguments[name].dtype
        return bool(dtype.is_floating_point or dtype.is_complex)

    return holds


@careful
def single_precision(call: OpCall) -> bool | None:
    """float32: the only dtype in which a CPU adds with several threads; it adds all others in one."""
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
    """The gradient of the input is asked for; that of the grid is deterministic."""
    mask = call.arguments.get("output_mask")
    return True if mask is None else bool(mask[0])


@careful
def counts_inexactly(call: OpCall) -> bool | None:
    """Floating bins with more elements than their dtype counts exactly: 2**24 in float32."""
    tensor = call.arguments["self"]
    if not tensor.dtype.is_floating_point:
        return False
    return element_count(tensor) > 2 / float(sys.modules["torch"].finfo(tensor.dtype).eps)


@careful
def uneven_windows(call: OpCall) -> bool | None:
    """Adaptive pooling whose input size is no multiple of its output size."""
    dims = 3 if "3d" in call.overload else 2
    inner, outer = (sizes_of(call.arguments[name])[-dims:] for name in ("self", "grad_output"))
    return any(size % windows for size, windows in zip(inner, outer, strict=True))


@careful
def overlapping_windows(call: OpCall) -> bool | None:
    """Pooling whose windows are wider than their stride."""
    kernel = [plain_int(size) for size in call.arguments["kernel_size"]]
    dims = 3 if "3d" in call.overload else 2
    stride = [plain_int(step) for step in call.arguments["stride"]] or kernel
    dilation = [plain_int(step) for step in call.arguments.get("dilation", (1,))]
    spans = zip(*(values * dims if len(values) == 1 else values for values in (kernel, stride, dilation)), strict=True)
    return any((size - 1) * spread + 1 > step for size, step, spread in spans)


def _cudnn(call: OpCall, name: str) -> bool:
    """A switch of cuDNN: as the call got it, else as it stands."""
    value = call.arguments.get(name)
    if value is None:
        value = getattr(sys.modules["torch"].backends.cudnn, name)
    return bool(value)


@careful
def cudnn_benchmarks(call: OpCall) -> bool | None:
    """CuDNN is on and chooses its algorithm by timing."""
    return _cudnn(call, "enabled") and _cudnn(call, "benchmark")


@careful
def cudnn_is_free(call: OpCall) -> bool | None:
    """CuDNN is on and may take any algorithm."""
    return _cudnn(call, "enabled") and not _cudnn(call, "deterministic")


@careful
def cublas_is_free(_call: OpCall) -> bool | None:
    """CuBLAS may share its workspaces among streams."""
    return os.environ.get(CUBLAS_VARIABLE) not in _CUBLAS_FIXED


def split_among_threads(written: Callable[[OpCall], int], at_least: int) -> Condition:
    """Several threads, and so many elements that the work is split."""

    @careful
    def holds(call: OpCall) -> bool | None:
        return call.at_scale or (call.threads > 1 and written(call) >= at_least)

    return holds


def elements_of(name: str) -> Callable[[OpCall], int]:
    """How many elements an argument has."""
    return lambda call: element_count(call.arguments[name])
