"""Which visitor takes which type: one table, the library's own types first."""

from __future__ import annotations

import datetime as dt
import fractions
from collections.abc import Callable
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

from repro_magic.introspection.foreign import Shield, is_any, is_below, is_notebooks, kind_of, name_of
from repro_magic.proof.digest import builtin_types, frame_types, image_types, numpy_types, objects, torch_types
from repro_magic.proof.digest.object_parts import is_code, kinds_in, known_parts
from repro_magic.proof.digest.parts import Own, Parts, all_attributes, named, several
from repro_magic.proof.digest.torch_modules import module_attributes, parameters
from repro_magic.proof.digest.walk import Visitor, Walk
from repro_magic.runtime.interrupts import is_users


def _module(_walk: Walk, value: Any) -> Parts:
    return named(kind_of(value), {**parameters(value), **module_attributes(value, _is_tool)})


def _is_tool(value: object) -> bool:
    """Whether it is an object of a library's class that the walk knows nothing of, and visits by its attributes."""
    kind = type(value)
    if is_code(value) or is_notebooks(kind) or known_parts(kind) is not None:
        return False
    return _from_table(kind) is None


def _is(module: str, *names: str) -> Callable[[type], bool]:
    """Whether a type is made from one of a module's classes; no, as long as the module is not imported."""
    return lambda kind: is_below(kind, *kinds_in(module, *names))


def _is_a(*kinds: type) -> Callable[[type], bool]:
    return lambda kind: is_below(kind, *kinds)


_PANDAS_MISSING = {"pandas._libs.missing.NAType", "pandas._libs.tslibs.nattype.NaTType"}

# The first row that fits a type is taken.
_TABLE: tuple[tuple[Callable[[type], bool], Visitor], ...] = (
    (_is("torch", "Tensor"), torch_types.tensor),
    (_is("numpy.ma", "MaskedArray"), numpy_types.masked_array),
    (_is("numpy", "ndarray"), numpy_types.array),
    (_is("numpy", "generic"), numpy_types.scalar),
    (_is("torch", "nn.Module"), _module),
    (_is("torch", "optim.Optimizer"), torch_types.optimizer),
    (_is("torch", "Generator"), torch_types.generator),
    (
        _is("torch", "dtype", "device", "Size", "layout", "memory_format", "finfo", "iinfo"),
        builtin_types.repr_of,
    ),
    (_is("numpy", "dtype"), builtin_types.repr_of),
    (_is("pandas", "DataFrame", "Series", "Index"), frame_types.pandas_object),
    (_is("pandas", "api.extensions.ExtensionArray"), frame_types.extension_array),
    (
        _is("pandas", "Timestamp", "Timedelta", "Period", "Interval", "offsets.BaseOffset"),
        builtin_types.repr_of,
    ),
    (lambda kind: name_of(kind) in _PANDAS_MISSING, builtin_types.repr_of),
    (_is("polars", "DataFrame"), frame_types.polars_frame),
    (_is("polars", "Series"), frame_types.polars_series),
    (_is("polars", "LazyFrame"), frame_types.polars_plan),
    (_is("pyarrow", "Table", "RecordBatch"), frame_types.arrow_table),
    (_is("pyarrow", "Array", "ChunkedArray"), frame_types.arrow_array),
    (_is("pyarrow", "Schema"), frame_types.arrow_schema),
    (_is("pyarrow", "Scalar"), frame_types.arrow_scalar),
    (_is("pyarrow", "DataType", "Field"), builtin_types.repr_of),
    (_is("PIL.Image", "Image"), image_types.image),
    (_is("matplotlib.figure", "Figure"), image_types.figure),
    (_is("repro_magic.scope", "WatchReport"), objects.report),
    (_is_a(Enum), builtin_types.enum_member),
    (_is_a(dt.datetime, dt.time), builtin_types.moment),
    (_is_a(*builtin_types.SEQUENCES), builtin_types.sequence),
    (_is_a(*builtin_types.SETS), builtin_types.unordered),
    (_is_a(*builtin_types.MAPPINGS), builtin_types.mapping),
    (_is_a(*builtin_types.VIEWS), builtin_types.view),
    (_is_a(slice), builtin_types.slice_of),
    (_is_a(fractions.Fraction), builtin_types.fraction),
    (_is_a(*(base for base, _ in builtin_types.PLAIN_BASES)), builtin_types.plain_subclass),
)
_CONTAINERS = (*builtin_types.SEQUENCES, *builtin_types.SETS, *builtin_types.MAPPINGS)
_OF_CONTAINERS = (builtin_types.sequence, builtin_types.unordered, builtin_types.mapping)
_OF_DATA = (torch_types.tensor, numpy_types.array, builtin_types.plain_subclass)

# Filled as types are met. Weak, because a cell that runs again defines its classes anew.
_visitor_of: WeakKeyDictionary[type, Visitor] = WeakKeyDictionary()


def visitor_for(value: object) -> Visitor:
    """The visitor for a value, found once for each type."""
    kind = type(value)
    try:
        return _visitor_of[kind]
    except KeyError:
        pass
    except BaseException as error:
        if is_users(error):
            raise
    visitor = _by_type(value)
    if _has_attributes_beside(kind, visitor):
        visitor = _and_attributes(visitor)
    # Of two objects of a library's callable class, one may be code and the other not.
    if visitor is not objects.code and (is_notebooks(kind) or not callable(value)):
        with Shield():
            _visitor_of[kind] = visitor
    return visitor


def _by_type(value: object) -> Visitor:
    kind = type(value)
    return _from_table(kind) or (objects.code if is_code(value) else objects.visitor_of_objects(kind))


def _from_table(kind: type) -> Visitor | None:
    return next((visitor for fits, visitor in _TABLE if fits(kind)), None)


def _has_attributes_beside(kind: type, visitor: Visitor) -> bool:
    """Whether objects of a class may hold more than its base does. What libraries add to theirs does not count."""
    if visitor in _OF_CONTAINERS:
        return not is_any(kind, *_CONTAINERS)
    return visitor in _OF_DATA and is_notebooks(kind)


def _and_attributes(visitor: Visitor) -> Visitor:
    """The visitor for a subclass: as its base is visited, and then its attributes."""

    def both(walk: Walk, value: Any) -> bytes | Parts:
        content, held = visitor(walk, value), all_attributes(value)
        if not held:
            return content
        rest = named("with", held)
        return several(content.hex(), rest) if isinstance(content, bytes) else several("attributes", content, rest)

    return both


def beside(value: Any) -> dict[str, object]:
    """The attributes of a value that count besides its elements, parameters and buffers.

    Example:
        >>> beside([1, 2])
        {}
    """
    visitor = _by_type(value)
    if visitor is _module:
        fields = module_attributes(value, _is_tool).items()
        return {name: part for name, part in fields if type(part) is not Own}
    return all_attributes(value) if _has_attributes_beside(type(value), visitor) else {}
