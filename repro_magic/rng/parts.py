"""What an object holds, seen without running code of its class, and the way to it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from itertools import islice
from types import BuiltinMethodType, GetSetDescriptorType, MemberDescriptorType, MethodType
from typing import Any

# From an object to one of its parts: attributes by their name, items by their key or place.
Step = tuple[Callable[[Any, Any], object], Any]
Path = tuple[Step, ...]


def attributes(value: object) -> dict[str, Any]:
    """An object's own attributes, without running code of its class: some proxies raise, and some take their time.

    Example:
        >>> attributes(functools.partial(int)), attributes(3)
        ({}, {})
    """
    found = next((kind.__dict__["__dict__"] for kind in type(value).__mro__ if "__dict__" in kind.__dict__), None)
    if found is None or type(found) not in {GetSetDescriptorType, MemberDescriptorType}:
        return {}
    own = found.__get__(value)
    return own if isinstance(own, dict) else {}


def parts(value: Any, most: int) -> Iterator[tuple[Step, object]]:  # noqa: ANN401 - whatever is held
    """The items of a list, tuple or dictionary and the attributes of other objects; of many the first ones.

    Also what a partial and a bound method keep, what slots hold, and what a class of the notebook's own gives all its
    objects.

    Example:
        >>> [(in_words(step), part) for step, part in parts({"a": 1, "b": 2}, most=1)]
        [("['a']", 1)]
        >>> [in_words(step) for step, _ in parts(functools.partial(max, 3, key=abs), most=10)]
        ['.func', '.args', '.keywords']
    """
    kind = type(value)
    if issubclass(kind, dict):
        yield from (((_item, key), part) for key, part in list(islice(dict.items(value), most)))
    elif issubclass(kind, list | tuple):
        one_by_one: Any = list.__iter__ if issubclass(kind, list) else tuple.__iter__
        yield from (((_item, place), part) for place, part in enumerate(islice(one_by_one(value), most)))
    else:
        for name in _MEMBERS.get(kind, ()):
            yield (getattr, name), getattr(value, name)
    if kind.__module__ != "builtins" and not issubclass(kind, type):
        own = attributes(value)
        yield from (((_attribute, name), part) for name, part in list(islice(own.items(), most)))
        yield from (((_attribute, name), part) for name, part in _of_its_class(value) if name not in own)


def has_parts(kind: type) -> bool:
    """Whether objects of a type may hold others that `parts` sees.

    Example:
        >>> [has_parts(kind) for kind in (list, functools.partial, int, str)]
        [True, True, False, False]
    """
    return (
        issubclass(kind, list | tuple | dict)
        or kind in _MEMBERS
        or bool(kind.__dictoffset__)
        or any(vars(one).get("__slots__") for one in kind.__mro__)
    )


def at(value: object, path: Path) -> object:
    """What a path leads to; None where it leads nowhere any more.

    Example:
        >>> way = (_item, "a"), (_item, 1)
        >>> at({"a": [1, 2]}, way), at({"a": []}, way)
        (2, None)
    """
    try:
        for step, key in path:
            value = step(value, key)
    except Exception:  # noqa: BLE001 - a key may be of any class
        return None
    return value


def in_words(step: Step) -> str:
    """A step as it is written in Python.

    Example:
        >>> in_words((_item, "a")), in_words((_attribute, "rng"))
        ("['a']", '.rng')
    """
    way, key = step
    return f"[{key!r}]" if way is _item else f".{key}"


def is_item(step: Step) -> bool:
    """Whether it leads to an item, and not to an attribute.

    Example:
        >>> is_item((_item, 3)), is_item((_attribute, "rng"))
        (True, False)
    """
    return step[0] is _item


_MEMBERS: dict[type, tuple[str, ...]] = {
    functools.partial: ("func", "args", "keywords"),
    MethodType: ("__self__",),
    BuiltinMethodType: ("__self__",),
}


def _item(value: Any, key: Any) -> object:  # noqa: ANN401 - a list, tuple or dictionary
    kind = next(kind for kind in (dict, list, tuple) if issubclass(type(value), kind))
    return kind.__getitem__(value, key)


def _attribute(value: object, name: str) -> object:
    own = attributes(value)
    return own[name] if name in own else dict(_of_its_class(value))[name]


def _of_its_class(value: object) -> Iterator[tuple[str, object]]:
    """What an object has in slots, and what a class of the notebook's own gives all its objects."""
    for kind in type(value).__mro__:
        own = vars(kind)
        is_of_notebook = kind.__module__ == "__main__"
        for name, part in list(own.items()) if is_of_notebook or own.get("__slots__") else ():
            if type(part) is MemberDescriptorType:
                with contextlib.suppress(AttributeError):  # it holds nothing yet
                    yield name, part.__get__(value)
            elif is_of_notebook and name[:2] != "__" and not callable(part):
                yield name, part
