"""How Python's own containers, enums, dates and subclasses of plain types are digested."""

from __future__ import annotations

import datetime as dt
import itertools
import pathlib
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from repro_magic.introspection.foreign import attributes, is_below, kind_of
from repro_magic.proof.digest.parts import Parts, all_attributes, item, named, several
from repro_magic.proof.digest.plain_values import by_repr
from repro_magic.proof.digest.walk import Walk

SEQUENCES: tuple[Any, ...] = (list, tuple, deque)
SETS, MAPPINGS = (set, frozenset), (dict, OrderedDict, defaultdict)
_EMPTY: dict[object, object] = {}
VIEWS = type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items())
_MAXLEN: Any = deque.__dict__["maxlen"]
_FACTORY: Any = defaultdict.__dict__["default_factory"]

# Functions that read the plain value of a subclass without running its code, which may hide parts.
PLAIN_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (complex, complex.__complex__),
    (bytes, bytes.__bytes__),
    (bytearray, bytearray.copy),
    (pathlib.PurePath, pathlib.PurePath.__str__),
    (dt.date, dt.date.isoformat),
    (dt.timedelta, lambda value: dt.timedelta.__add__(value, dt.timedelta())),
)


def plain_subclass(_walk: Walk, value: Any) -> Parts:
    """An object of a subclass of a plain type."""
    plain = next(read for base, read in PLAIN_BASES if is_below(type(value), base))
    return several(kind_of(value), plain(value))


def sequence(_walk: Walk, value: Any) -> Parts:
    """A list, tuple or deque, or a subclass of one."""
    base = next(base for base in SEQUENCES if issubclass(type(value), base))
    parts = Parts(kind_of(value), enumerate(base.__iter__(value)), item)
    return several(f"{_MAXLEN.__get__(value)}", parts) if base is deque else parts


def mapping(_walk: Walk, value: Any) -> Parts:
    """A dictionary or a subclass of it: keys and values, in their order."""
    base: Any = OrderedDict if issubclass(type(value), OrderedDict) else dict  # which has its own order
    items = base.items(value)
    steps = itertools.chain.from_iterable(((at, key), (at, part)) for at, (key, part) in enumerate(items, start=1))
    # Paths do not show keys: a key may be a name or a PIN, and receipts are published.
    parts = Parts(kind_of(value), steps, lambda place: f"[key {place} of {dict.__len__(value)}]")
    if not issubclass(type(value), defaultdict):
        return parts
    return several("default", _FACTORY.__get__(value), parts)


def unordered(_walk: Walk, value: Any) -> Parts:
    """A set or frozenset, or a subclass of one."""
    base = set if issubclass(type(value), set) else frozenset
    return Parts(kind_of(value), (("", part) for part in base.__iter__(value)), lambda _step: "{…}", is_set=True)


def view(_walk: Walk, value: Any) -> Parts:
    """The keys, values or items of a dictionary."""
    return Parts(kind_of(value), enumerate(list(value)), item)


def slice_of(_walk: Walk, value: Any) -> Parts:
    """A slice."""
    return named("slice", {"start": value.start, "stop": value.stop, "step": value.step})


def enum_member(_walk: Walk, value: Any) -> Parts:
    """A member of an enum, by its name and value."""
    fields = attributes(value)
    return several(kind_of(value), fields.get("_name_"), fields.get("_value_"))


def fraction(_walk: Walk, value: Any) -> Parts:
    """A fraction."""
    return named(kind_of(value), all_attributes(value))


def moment(_walk: Walk, value: Any) -> Parts:
    """A date with a time, or a time; its time zone may be an object of any class."""
    base: Any = dt.datetime if issubclass(type(value), dt.datetime) else dt.time
    fold, zone = base.fold.__get__(value), base.tzinfo.__get__(value)
    return several(kind_of(value), base.isoformat(base.replace(value, tzinfo=None)), fold, zone)


def repr_of(_walk: Walk, value: Any) -> bytes:
    """A value with a complete `repr`, such as a dtype."""
    return by_repr(value)
