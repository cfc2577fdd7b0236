"""Conditions on indices, and on the values that are written through them."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from repro_magic.ops.catalogue.model import Condition, OpCall
from repro_magic.ops.catalogue.reading import (
    UnknownError,
    careful,
    element_count,
    is_readable,
    plain_int,
    sizes_of,
    wrapped_dim,
)

# Sorting costs most: 4 ms for 65,536 indices, 100 ms for a million. Random indices mostly repeat within the first
# chunk, a single comparison recognises ordered indices, and long shuffled ones are checked by marking their places.
FIRST_CHUNK = 2**14
LONGEST_SORT = 2**18
# Marking takes a byte for each place: 3 ms for a million indices.
MOST_MARKS = 2**26


def _lane_repeats(lanes: Any, places: int) -> bool | None:  # noqa: ANN401 - a tensor
    """Whether a value occurs twice along the last dimension; all values are at least 0 and below `places`.

    Sorts and compares neighbours, or marks each place. Neither is a flagged op, unlike counting and scattering.
    """
    length = plain_int(lanes.shape[-1])
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
    """Whether `length` indices into `places` repeat: by counting if that settles it, else by reading values."""
    if length <= 1:
        return False
    if length > places:
        return True
    if not call.look or not is_readable(index):
        return None
    with sys.modules["torch"].no_grad():
        return _lane_repeats(lanes(), places)


def _as_row(index: Any, places: int) -> Any:  # noqa: ANN401 - a tensor
    """Indices as a single row, counted from the front."""
    return (index % places).reshape(1, -1)


@careful
def rows_repeat(call: OpCall) -> bool | None:
    """One-dimensional indices along `dim` (index_add, index_copy, index_reduce) repeat."""
    tensor, index = call.arguments["self"], call.arguments["index"]
    sizes = sizes_of(tensor) or [1]
    places = sizes[wrapped_dim(call.arguments["dim"], len(sizes))]
    return _repeats(call, index, places, element_count(index), functools.partial(_as_row, index, places))


@careful
def lanes_repeat(call: OpCall) -> bool | None:
    """Indices shaped like their source (scatter) repeat along `dim`."""
    tensor, index = call.arguments["self"], call.arguments["index"]
    sizes, shape = sizes_of(tensor) or [1], sizes_of(index) or [1]
    dim = wrapped_dim(call.arguments["dim"], len(sizes))
    if 0 in shape:
        return False
    return _repeats(call, index, sizes[dim], shape[dim], lambda: index.reshape(shape).transpose(dim, -1))


@careful
def places_repeat(call: OpCall) -> bool | None:
    """Indices into the flattened tensor (put) repeat."""
    index = call.arguments["index"]
    places = element_count(call.arguments["self"])
    return _repeats(call, index, places, element_count(index), functools.partial(_as_row, index, places))


@careful
def planes_repeat(call: OpCall) -> bool | None:
    """Indices into each plane (max_unpool) repeat."""
    index = call.arguments["indices"]
    sizes = [plain_int(size) for size in call.arguments["output_size"]]
    shape = sizes_of(index)
    length = math.prod(shape[-len(sizes) :])
    if 0 in shape:
        return False
    return _repeats(call, index, math.prod(sizes), length, lambda: index.reshape(-1, length))


@careful
def values_repeat(call: OpCall) -> bool | None:
    """Values to count (bincount) repeat. They are never negative, and their number of places is unknown."""
    values = call.arguments["self"]
    return _repeats(call, values, sys.maxsize, element_count(values), lambda: values.reshape(1, -1))


def _is_mask(index: Any) -> bool:  # noqa: ANN401 - a tensor
    torch, dtype = sys.modules["torch"], index.dtype
    return dtype is torch.bool or dtype is torch.uint8


def _index_list(call: OpCall) -> list[tuple[int, Any]]:
    """The index tensors of `x[i, j]` with the dimensions that they index; a mask is converted to indices."""
    by_dimension: list[tuple[int, Any]] = []
    dimension = 0
    for index in call.arguments["indices"]:
        if index is None:
            dimension += 1
        elif not _is_mask(index):
            by_dimension.append((dimension, index))
            dimension += 1
        elif call.look and is_readable(index):
            columns = index.nonzero(as_tuple=True)
            by_dimension += [(dimension + offset, column) for offset, column in enumerate(columns)]
            dimension += len(columns)
        else:
            raise UnknownError
    return by_dimension


def _most_written(call: OpCall) -> int:
    """An upper bound for the elements written through indices with a mask among them, whatever its values."""
    indices = [index for index in call.arguments["indices"] if index is not None]
    sizes = sizes_of(call.arguments["self"])
    rest = sizes[sum(len(sizes_of(index)) if _is_mask(index) else 1 for index in indices) :] if indices else sizes
    # A mask's indices are broadcast with the others: as many as those, or at most its number of elements.
    lengths = [element_count(index) for index in indices if not _is_mask(index)]
    longest = max(lengths, default=0)
    if longest <= 1:
        longest = max((element_count(index) for index in indices if _is_mask(index)), default=1)
    return longest * math.prod(rest) if None not in call.arguments["indices"] else element_count(call.arguments["self"])


def _broadcast(shapes: Sequence[Sequence[int]]) -> list[int]:
    """The shape that the shapes broadcast to."""
    aligned = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return [0 if 0 in sizes else max(sizes) for sizes in aligned][::-1]


def _is_grid(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether each dimension of the broadcast shape comes from a single index."""
    aligned = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return all(sum(size != 1 for size in sizes) <= 1 for sizes in aligned)


@careful
def tuples_repeat(call: OpCall) -> bool | None:
    """Indices as in `x[i, j]` repeat, taken together. A mask selects each place once."""
    tensor = call.arguments["self"]
    passed = [index for index in call.arguments["indices"] if index is not None]
    if all(_is_mask(index) for index in passed):
        return False
    indices = _index_list(call)
    sizes = sizes_of(tensor)
    shapes = [sizes_of(index) for _, index in indices]
    shape = _broadcast(shapes)
    places = math.prod(sizes[place] for place, _ in indices)
    if len(indices) > 1 and _is_grid(shapes):
        # As in x[rows[:, None], columns]: places repeat if rows or columns do.
        answers = [
            _repeats(call, index, sizes[place], element_count(index), functools.partial(_as_row, index, sizes[place]))
            for place, index in indices
        ]
        return True if True in answers else None if None in answers else False

    def joined() -> Any:  # noqa: ANN401 - a tensor
        joint = 0
        for place, index in indices:
            joint = joint * sizes[place] + index.long() % sizes[place]
        return joint.expand(shape).reshape(1, -1)  # type: ignore[attr-defined]

    if call.look and not all(is_readable(index) for _, index in indices[1:]):
        call = replace(call, look=False)
    return _repeats(call, indices[0][1], places, math.prod(shape), joined)


def _one_value(call: OpCall, tensor: Any) -> bool | None:  # noqa: ANN401 - a tensor
    """Whether all elements are equal: by shape and strides, else by values; None if values may not be read."""
    sizes, strides = sizes_of(tensor), [plain_int(stride) for stride in tensor.stride()]
    if 0 in sizes or all(size == 1 or stride == 0 for size, stride in zip(sizes, strides, strict=True)):
        return True
    if call.traced:
        return False
    if not call.look or not is_readable(tensor):
        return None
    plain = tensor.detach()
    return bool((plain == plain.reshape(-1)[0]).all())


def different(name: str) -> Condition:
    """The written values are not all equal."""

    @careful
    def holds(call: OpCall) -> bool | None:
        same = _one_value(call, call.arguments[name])
        return None if same is None else not same

    return holds


@careful
def different_values(call: OpCall) -> bool | None:
    """The values of `x[i] = v` are neither all equal nor, as in `x[i] = row`, the same for every index."""
    values = call.arguments["values"]
    same = _one_value(call, values)
    if same is not False:
        return None if same is None else False
    try:
        indices = _index_list(call)
    except UnknownError:
        return True
    dims = max(len(sizes_of(index)) for _, index in indices)
    places = [place for place, _ in indices]
    adjacent = places == list(range(places[0], places[0] + len(places)))
    # The dimensions of the index replace the indexed dimensions, or come first if those are not adjacent.
    after = len(sizes_of(call.arguments["self"])) - (places[-1] + 1 if adjacent else len(places))
    own = list(zip(sizes_of(values), values.stride(), strict=True))[::-1][after : after + dims]
    return any(size > 1 and stride != 0 for size, stride in own)


def elements_written(call: OpCall) -> int:
    """The elements that `x[i, j] = v` writes: each index tuple writes a slice of the dimensions without an index."""
    sizes = sizes_of(call.arguments["self"])
    if any(index is not None and _is_mask(index) for index in call.arguments["indices"]) and not call.look:
        return _most_written(call)
    indices = _index_list(call)
    for place, _ in indices:
        sizes[place] = 1
    return math.prod(sizes) * math.prod(_broadcast([sizes_of(index) for _, index in indices]))
