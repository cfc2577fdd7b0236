"""When a flagged op may differ: small functions of one call, put together in the catalogue.

Each answers True (may differ), False (cannot) or None (cannot be told), and none of them ever raises: what it cannot
read (a FakeTensor, a symbolic size, a nested or sparse tensor, an odd argument) it cannot tell. Sizes and dtypes are
free to read. Values are read only if the call allows it, only from ordinary CPU tensors, and at a bounded price.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from repro_magic.determinism.switches import CUBLAS_DETERMINISTIC, CUBLAS_VARIABLE
from repro_magic.ops.catalogue.model import Condition, OpCall

# Up to here a CPU writes with one task (aten/src/ATen/native/cpu/IndexKernelUtils.h, cpu_index and cpu_take_put).
WRITES_IN_ONE_TASK = 3000
# From here on a CPU splits accumulating writes and copies (at::internal::GRAIN_SIZE).
SPLIT_FROM = 32_768
# Sorting costs most: 4 ms for 65,536 indices, 100 ms for a million. Random indices mostly repeat within the first
# chunk, ordered ones are told by one comparison, and long shuffled ones by marking the places they name.
FIRST_CHUNK = 2**14
LONGEST_SORT = 2**18
# One byte for each place marks them all: 3 ms for a million indices.
MOST_MARKS = 2**26

# Read once, before the first cuBLAS call; the second is what the documentation of torch.nn.LSTM names besides.
_CUBLAS_FIXED = (*CUBLAS_DETERMINISTIC, ":4096:2")


class _UnknownError(Exception):
    """Cannot be told."""


def careful(condition: Condition) -> Condition:
    """The same condition, but None where it would raise."""

    @functools.wraps(condition)
    def never_raises(call: OpCall) -> bool | None:
        try:
            return condition(call)
        except Exception:  # noqa: BLE001 - a watcher must not fail for an argument nobody thought of
            return None

    return never_raises


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


def _number(value: Any) -> int:  # noqa: ANN401 - an int, a SymInt, or something odd
    if type(value) is not int:
        raise _UnknownError
    return value


def _sizes(tensor: Any) -> list[int]:  # noqa: ANN401 - a tensor; torch may not be imported here
    if tensor.is_nested:
        raise _UnknownError
    return [_number(size) for size in tensor.shape]


def _count(tensor: Any) -> int:  # noqa: ANN401 - a tensor
    return math.prod(_sizes(tensor))


def _wrap(dim: Any, dims: int) -> int:  # noqa: ANN401 - an argument may be anything
    return _number(dim) % dims if dims else 0


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
    return _count(tensor) > 2 / float(sys.modules["torch"].finfo(tensor.dtype).eps)


@careful
def uneven_windows(call: OpCall) -> bool | None:
    """Adaptive pooling whose input size is no multiple of its output size."""
    dims = 3 if "3d" in call.overload else 2
    inner, outer = (_sizes(call.arguments[name])[-dims:] for name in ("self", "grad_output"))
    return any(size % windows for size, windows in zip(inner, outer, strict=True))


@careful
def overlapping_windows(call: OpCall) -> bool | None:
    """Pooling whose windows are wider than their stride."""
    kernel = [_number(size) for size in call.arguments["kernel_size"]]
    dims = 3 if "3d" in call.overload else 2
    stride = [_number(step) for step in call.arguments["stride"]] or kernel
    dilation = [_number(step) for step in call.arguments.get("dilation", (1,))]
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


def _readable(tensor: Any) -> bool:  # noqa: ANN401 - a tensor, or not
    """Whether reading values is harmless: an ordinary tensor in memory, and nobody else's mode would see it."""
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


def _lane_repeats(lanes: Any, places: int) -> bool | None:  # noqa: ANN401 - a tensor
    """Whether a value occurs twice along the last dimension; all are at least 0 and below `places`.

    By sort and comparison of neighbours, or by marking each place: neither is itself an op of the catalogue, as
    counting or scattering would be.
    """
    length = _number(lanes.shape[-1])
    if not lanes.numel():
        return False
    few = max(1, FIRST_CHUNK // length)
    first = lanes.reshape(-1, length)[:few, :FIRST_CHUNK].sort(-1).values
    if bool((first[..., 1:] == first[..., :-1]).any()):
        return True
    if lanes.numel() <= FIRST_CHUNK or bool((lanes[..., 1:] > lanes[..., :-1]).all()):
        return False
    if lanes.numel() == length and places <= MOST_MARKS:
        marks = sys.modules["torch"].zeros(places, dtype=sys.modules["torch"].bool)
        return int(marks.index_fill_(0, lanes.reshape(-1), value=True).sum()) < length
    if lanes.numel() > LONGEST_SORT:
        return None
    ordered = lanes.sort(-1).values
    return bool((ordered[..., 1:] == ordered[..., :-1]).any())


def _repeats(call: OpCall, index: Any, places: int, length: int, lanes: Callable[[], Any]) -> bool | None:  # noqa: ANN401
    """Whether an index names one of `places` twice: by counting alone if that settles it, else by looking."""
    if length <= 1:
        return False
    if length > places:
        return True
    if not call.look or not _readable(index):
        return None
    with sys.modules["torch"].no_grad():
        return _lane_repeats(lanes(), places)


@careful
def rows_repeat(call: OpCall) -> bool | None:
    """One-dimensional indices along `dim` (index_add, index_copy, index_reduce) repeat."""
    tensor, index = call.arguments["self"], call.arguments["index"]
    sizes = _sizes(tensor) or [1]
    places = sizes[_wrap(call.arguments["dim"], len(sizes))]
    return _repeats(call, index, places, _count(index), lambda: (index % places).reshape(1, -1))


@careful
def lanes_repeat(call: OpCall) -> bool | None:
    """Indices shaped like their source (scatter) repeat along `dim`."""
    tensor, index = call.arguments["self"], call.arguments["index"]
    sizes, shape = _sizes(tensor) or [1], _sizes(index) or [1]
    dim = _wrap(call.arguments["dim"], len(sizes))
    if 0 in shape:
        return False
    return _repeats(call, index, sizes[dim], shape[dim], lambda: index.reshape(shape).transpose(dim, -1))


@careful
def places_repeat(call: OpCall) -> bool | None:
    """Indices into the flattened tensor (put) repeat."""
    index = call.arguments["index"]
    places = _count(call.arguments["self"])
    return _repeats(call, index, places, _count(index), lambda: (index % places).reshape(1, -1))


@careful
def planes_repeat(call: OpCall) -> bool | None:
    """Indices into each plane (max_unpool) repeat."""
    index = call.arguments["indices"]
    sizes = [_number(size) for size in call.arguments["output_size"]]
    shape = _sizes(index)
    length = math.prod(shape[-len(sizes) :])
    if 0 in shape:
        return False
    return _repeats(call, index, math.prod(sizes), length, lambda: index.reshape(-1, length))


@careful
def values_repeat(call: OpCall) -> bool | None:
    """Values to count (bincount) repeat. They are never negative, and how many there may be is not known."""
    values = call.arguments["self"]
    return _repeats(call, values, sys.maxsize, _count(values), lambda: values.reshape(1, -1))


def _is_mask(index: Any) -> bool:  # noqa: ANN401 - a tensor
    torch, dtype = sys.modules["torch"], index.dtype
    return dtype is torch.bool or dtype is torch.uint8


def _index_list(call: OpCall) -> list[tuple[int, Any]]:
    """The index tensors of `x[i, j]` by the dimension they index; a mask counts as the indices it stands for."""
    found: list[tuple[int, Any]] = []
    dimension = 0
    for index in call.arguments["indices"]:
        if index is None:
            dimension += 1
        elif not _is_mask(index):
            found.append((dimension, index))
            dimension += 1
        elif call.look and _readable(index):
            columns = index.nonzero(as_tuple=True)
            found += [(dimension + offset, column) for offset, column in enumerate(columns)]
            dimension += len(columns)
        else:
            raise _UnknownError
    return found


def _most_written(call: OpCall) -> int:
    """At most so many elements are written where a mask stands beside other indices, whatever it holds."""
    indices = [index for index in call.arguments["indices"] if index is not None]
    sizes = _sizes(call.arguments["self"])
    rest = sizes[sum(len(_sizes(index)) if _is_mask(index) else 1 for index in indices) :] if indices else sizes
    # The indices that a mask stands for are broadcast with the others: as many as those, or as it has elements.
    lengths = [_count(index) for index in indices if not _is_mask(index)]
    longest = max(lengths, default=0)
    if longest <= 1:
        longest = max((_count(index) for index in indices if _is_mask(index)), default=1)
    return longest * math.prod(rest) if None not in call.arguments["indices"] else _count(call.arguments["self"])


def _broadcast(shapes: Sequence[Sequence[int]]) -> list[int]:
    """The shape that several shapes are broadcast to."""
    aligned = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return [0 if 0 in sizes else max(sizes) for sizes in aligned][::-1]


def _is_grid(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether each dimension of what indices are broadcast to belongs to one of them."""
    aligned = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return all(sum(size != 1 for size in sizes) <= 1 for sizes in aligned)


@careful
def tuples_repeat(call: OpCall) -> bool | None:
    """Indices as in `x[i, j]` repeat, taken together. A mask names each place once."""
    tensor = call.arguments["self"]
    given_ones = [index for index in call.arguments["indices"] if index is not None]
    if all(_is_mask(index) for index in given_ones):
        return False
    indices = _index_list(call)
    sizes = _sizes(tensor)
    shapes = [_sizes(index) for _, index in indices]
    shape = _broadcast(shapes)
    places = math.prod(sizes[place] for place, _ in indices)
    if len(indices) > 1 and _is_grid(shapes):
        # As in x[rows[:, None], columns]: a place is named twice where a row or a column is.
        answers = [
            _repeats(call, index, sizes[place], _count(index), lambda i=index, n=sizes[place]: (i % n).reshape(1, -1))  # type: ignore[misc]
            for place, index in indices
        ]
        return True if True in answers else None if None in answers else False

    def joined() -> Any:  # noqa: ANN401 - a tensor
        joint = 0
        for place, index in indices:
            joint = joint * sizes[place] + index.long() % sizes[place]
        return joint.expand(shape).reshape(1, -1)  # type: ignore[attr-defined]

    if call.look and not all(_readable(index) for _, index in indices[1:]):
        call = replace(call, look=False)
    return _repeats(call, indices[0][1], places, math.prod(shape), joined)


def _one_value(call: OpCall, tensor: Any) -> bool | None:  # noqa: ANN401 - a tensor
    """Whether all elements are one value: by shape and strides, or by looking; None if only a look could tell."""
    sizes, strides = _sizes(tensor), [_number(stride) for stride in tensor.stride()]
    if 0 in sizes or all(size == 1 or stride == 0 for size, stride in zip(sizes, strides, strict=True)):
        return True
    if call.traced:
        return False
    if not call.look or not _readable(tensor):
        return None
    plain = tensor.detach()
    return bool((plain == plain.reshape(-1)[0]).all())


def different(name: str) -> Condition:
    """What is written is not all one value."""

    @careful
    def holds(call: OpCall) -> bool | None:
        same = _one_value(call, call.arguments[name])
        return None if same is None else not same

    return holds


@careful
def different_values(call: OpCall) -> bool | None:
    """What `x[i] = v` writes is neither all one value nor, as in `x[i] = row`, the same for every index."""
    values = call.arguments["values"]
    same = _one_value(call, values)
    if same is not False:
        return None if same is None else False
    try:
        indices = _index_list(call)
    except _UnknownError:
        return True
    dims = max(len(_sizes(index)) for _, index in indices)
    places = [place for place, _ in indices]
    adjacent = places == list(range(places[0], places[0] + len(places)))
    # The dimensions of the index stand where the indexed ones stood, or first if those were not side by side.
    after = len(_sizes(call.arguments["self"])) - (places[-1] + 1 if adjacent else len(places))
    own = list(zip(_sizes(values), values.stride(), strict=True))[::-1][after : after + dims]
    return any(size > 1 and stride != 0 for size, stride in own)


def split_among_threads(written: Callable[[OpCall], int], at_least: int) -> Condition:
    """Several threads, and so many elements that the work is split."""

    @careful
    def holds(call: OpCall) -> bool | None:
        return call.at_scale or (call.threads > 1 and written(call) >= at_least)

    return holds


def elements_of(name: str) -> Callable[[OpCall], int]:
    """How many elements an argument has."""
    return lambda call: _count(call.arguments[name])


def elements_written(call: OpCall) -> int:
    """How many elements `x[i, j] = v` writes: one index tuple writes a whole slice of the dimensions not indexed."""
    sizes = _sizes(call.arguments["self"])
    if any(index is not None and _is_mask(index) for index in call.arguments["indices"]) and not call.look:
        return _most_written(call)
    indices = _index_list(call)
    for place, _ in indices:
        sizes[place] = 1
    return math.prod(sizes) * math.prod(_broadcast([_sizes(index) for _, index in indices]))
