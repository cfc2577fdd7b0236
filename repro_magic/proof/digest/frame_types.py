"""How frames, series and tables of pandas, polars and pyarrow are digested."""

from __future__ import annotations

import sys
from typing import Any

from repro_magic.introspection.foreign import attributes, is_notebooks, kind_of, namespace_of
from repro_magic.proof.digest.parts import Parts, item, named, several
from repro_magic.proof.digest.walk import Walk


def pandas_object(_walk: Walk, value: Any) -> Parts:
    """A frame, series or index."""
    return named(kind_of(value), {**_pandas_parts(value), **_declared(value)})


def _pandas_parts(value: Any) -> dict[str, object]:
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.Index):
        return _index_parts(value)
    about = {"index": value.index, "attrs": value.attrs, "duplicates": value.flags.allows_duplicate_labels}
    if isinstance(value, pandas.Series):
        return {"name": value.name, "values": _column(value), **about}
    columns = [value.iloc[:, place] for place in range(value.shape[1])]
    values = Parts("values", ((column.name, _column(column)) for column in columns), item)
    return {"columns": value.columns, **about, "": values}


def _index_parts(value: Any) -> dict[str, object]:
    freq = getattr(value, "freq", None)
    levels = [_dtype(level.dtype) for level in getattr(value, "levels", ())]
    return {"names": list(value.names), "freq": getattr(freq, "freqstr", None), "levels": levels, "": _column(value)}


def _column(value: Any) -> Parts:
    """The values of a series, index or array, without its labels."""
    is_plain = getattr(value.dtype, "kind", "O") in "biufcmM"
    array = value.to_numpy() if is_plain else None
    if array is None or str(array.dtype) != str(value.dtype):
        array = value.to_numpy(dtype=object)
    return several("column", _dtype(value.dtype), array)


def _dtype(dtype: Any) -> object:
    """A dtype by its name; a categorical dtype itself, because it also has categories and an order."""
    return dtype if type(dtype).__name__ == "CategoricalDtype" else str(dtype)


def _declared(value: Any) -> dict[str, object]:
    """The attributes that a notebook's subclass declares in `_metadata`, as pandas requires."""
    kind = type(value)
    names = namespace_of(kind).get("_metadata", ()) if is_notebooks(kind) else ()
    return {name: attributes(value).get(name) for name in names}


def extension_array(_walk: Walk, value: Any) -> Parts:
    """An extension array of pandas."""
    return several(kind_of(value), _column(value))


def polars_frame(_walk: Walk, value: Any) -> Parts:
    """A frame, by its columns."""
    return Parts(kind_of(value), ((series.name, series) for series in value.get_columns()), item)


def polars_series(_walk: Walk, value: Any) -> Parts:
    """A series. The data under missing values does not count."""
    numeric = value.dtype.is_numeric() and not value.dtype.is_decimal()
    head = (kind_of(value), repr(value.dtype), value.name, len(value))
    if not numeric:
        return several("", *head, value.to_list())
    missing = value.is_null()
    return several("", *head, value.fill_null(0).to_numpy(), missing.to_numpy() if missing.any() else None)


def polars_plan(walk: Walk, value: Any) -> bytes:
    """A lazy frame."""
    return walk.gap(value, "a lazy frame has no values before collect()")


def arrow_table(_walk: Walk, value: Any) -> Parts:
    """A table or record batch, by its schema and columns."""
    columns = ((name, column) for name, column in zip(value.schema.names, value.columns, strict=True))
    return several(kind_of(value), value.schema, value.num_rows, Parts("columns", columns, item))


def arrow_array(_walk: Walk, value: Any) -> Parts:
    """An array by its values: neither its chunks nor the data under missing values counts."""
    kind = value.type
    types = sys.modules["pyarrow"].types
    head = ("ChunkedArray" if hasattr(value, "chunks") else "Array", str(kind), len(value))
    if (types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)) and not value.null_count:
        return several("pyarrow", *head, value.to_numpy())
    return several("pyarrow", *head, value.to_pylist())


def arrow_scalar(_walk: Walk, value: Any) -> Parts:
    """A scalar, as a Python object."""
    return several(kind_of(value), str(value.type), value.as_py())


def arrow_schema(_walk: Walk, value: Any) -> Parts:
    """A schema, by its fields."""
    fields = [(field.name, str(field.type), field.nullable, field.metadata) for field in value]
    return several(kind_of(value), fields, value.metadata)
