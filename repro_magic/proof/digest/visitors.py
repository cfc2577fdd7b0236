"""The table of visitors by type, with libraries' types first."""

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
    """Whether a value is an object of a library's class that has no visitor, and is visited by its attributes."""
    kind = type(value)
    if is_code(value) or is_notebooks(kind) or known_parts(kind) is not None:
        return False
    return _from_table(kind) is None


def _is_named(module: str, *names: str) -> Callable[[type], bool]:
    """Whether a type is a subclass of one of a module's classes; False while the module is not imported."""
    return lambda kind: is_below(kind, *kinds_in(module, *names))


def _is_subclass(*kinds: type) -> Callable[[type], bool]:
    return lambda kind: is_below(kind, *kinds)


_PANDAS_MISSING = {"pandas._libs.missing.NAType", "pandas._libs.tslibs.nattype.NaTType"}

# The first matching row counts.
_TABLE: tuple[tuple[Callable[[type], bool], Visitor], ...] = (
    (_is_named("torch", "Tensor"), torch_types.tensor),
    (_is_named("numpy.ma", "MaskedArray"), numpy_types.masked_array),
    (_is_named("numpy", "ndarray"), numpy_types.array),
    (_is_named("numpy", "generic"), numpy_types.scalar),
    (_is_named("torch", "nn.Module"), _module),
    (_is_named("torch", "optim.Optimizer"), torch_types.optimizer),
    (_is_named("torch", "Generator"), torch_types.generator),
    (
        _is_named("torch", "dtype", "device", "Size", "layout", "memory_format", "finfo", "iinfo"),
        builtin_types.repr_of,
    ),
    (_is_named("numpy", "dtype"), builtin_types.repr_of),
    (_is_named("pandas", "DataFrame", "Series", "Index"), frame_types.pandas_object),
    (_is_named("pandas", "api.extensions.ExtensionArray"), frame_types.extension_array),
    (
        _is_named("pandas", "Timestamp", "Timedelta", "Period", "Interval", "offsets.BaseOffset"),
        builtin_types.repr_of,
    ),
    (lambda kind: name_of(kind) in _PANDAS_MISSING, builtin_types.repr_of),
    (_is_named("polars", "DataFrame"), frame_types.polars_frame),
    (_is_named("polars", "Series"), frame_types.polars_series),
    (_is_named("polars", "LazyFrame"), frame_types.polars_plan),
    (_is_named("pyarrow", "Table", "RecordBatch"), frame_types.arrow_table),
    (_is_named("pyarrow", "Array", "ChunkedArray"), frame_types.arrow_array),
    (_is_named("pyarrow", "Schema"), frame_types.arrow_schema),
    (_is_named("pyarrow", "Scalar"), frame_types.arrow_scalar),
    (_is_named("pyarrow", "DataType", "Field"), builtin_types.repr_of),
    (_is_named("PIL.Image", "Image"), image_types.image),
    (_is_named("matplotlib.figure", "Figure"), image_types.figure),
    (_is_named("repro_magic.scope", "WatchReport"), objects.report),
    (_is_subclass(Enum), builtin_types.enum_member),
    (_is_subclass(dt.datetime, dt.time), builtin_types.moment),
    (_is_subclass(*builtin_types.SEQUENCES), builtin_types.sequence),
    (_is_subclass(*builtin_types.SETS), builtin_types.unordered),
    (_is_subclass(*builtin_types.MAPPINGS), builtin_types.mapping),
    (_is_subclass(*builtin_types.VIEWS), builtin_types.view),
    (_is_subclass(slice), builtin_types.slice_of),
    (_is_subclass(fractions.Fraction), builtin_types.fraction),
    (_is_subclass(*(base for base, _ in builtin_types.PLAIN_BASES)), builtin_types.plain_subclass),
)
_CONTAINERS = (*builtin_types.SEQUENCES, *builtin_types.SETS, *builtin_types.MAPPINGS)
_CONTAINER_VISITORS = (builtin_types.sequence, builtin_types.unordered, builtin_types.mapping)
_DATA_VISITORS = (torch_types.tensor, numpy_types.array, builtin_types.plain_subclass)

# Filled on demand. Weak, because cells redefine their classes.
_visitor_of: WeakKeyDictionary[type, Visitor] = WeakKeyDictionary()


def visitor_for(value: object) -> Visitor:
    """The visitor for a value, looked up once for each type."""
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
        visitor = _with_attributes(visitor)
    # Not cached for a library's callable class: some of its objects may be code, others not.
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
    """Whether objects of a subclass may have attributes that count; those of libraries' subclasses of data do not."""
    if visitor in _CONTAINER_VISITORS:
        return not is_any(kind, *_CONTAINERS)
    return visitor in _DATA_VISITORS and is_notebooks(kind)


def _with_attributes(visitor: Visitor) -> Visitor:
    """The visitor for a subclass: visits the value as its base, then its attributes."""

    def both(walk: Walk, value: Any) -> bytes | Parts:
        content, fields = visitor(walk, value), all_attributes(value)
        if not fields:
            return content
        rest = named("with", fields)
        return several(content.hex(), rest) if isinstance(content, bytes) else several("attributes", content, rest)

    return both


def beside(value: Any) -> dict[str, object]:
    """The attributes of a value that count, without its elements, parameters and buffers.

    Example:
        >>> beside([1, 2])
        {}
    """
    visitor = _by_type(value)
    if visitor is _module:
        fields = module_attributes(value, _is_tool).items()
        return {name: part for name, part in fields if type(part) is not Own}
    return all_attributes(value) if _has_attributes_beside(type(value), visitor) else {}
