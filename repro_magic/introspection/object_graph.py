"""What an object holds, seen without running code of its class, and the way to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import islice
from types import BuiltinMethodType, MemberDescriptorType, MethodType
from typing import Any

from repro_magic.introspection.foreign import Shield, attributes, filled, is_notebooks, module_of, mro_of, namespace_of

__all__ = ["Path", "Step", "at", "attributes", "has_parts", "in_words", "is_item", "parts"]

# From an object to one of its parts: attributes by their name, items by their key or place.
Step = tuple[Callable[[Any, Any], object], Any]
Path = tuple[Step, ...]

# Keys that have no code of the user's in their `repr`, hash and comparison.
_PLAIN_KEYS = {str, int, float, bool, bytes, type(None)}


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
        items = list(islice(dict.items(value), most))
        yield from ((_to_item(key, place), part) for place, (key, part) in enumerate(items))
    elif issubclass(kind, list | tuple):
        one_by_one: Any = list.__iter__ if issubclass(kind, list) else tuple.__iter__
        yield from (((_item, place), part) for place, part in enumerate(islice(one_by_one(value), most)))
    else:
        for name in _members(kind):
            yield (getattr, name), getattr(value, name)
    if module_of(kind) != "builtins" and not issubclass(kind, type):
        own = attributes(value)
        yield from (((_attribute, name), part) for name, part in list(islice(own.items(), most)) if type(name) is str)
        yield from (((_attribute, name), part) for name, part in _of_its_class(value) if name not in own)


def has_parts(kind: type) -> bool:
    """Whether objects of a type may hold others that `parts` sees.

    Example:
        >>> [has_parts(kind) for kind in (list, functools.partial, int, str)]
        [True, True, False, False]
    """
    return (
        issubclass(kind, list | tuple | dict)
        or bool(_members(kind))
        or bool(_DICTOFFSET.__get__(kind))
        or any(namespace_of(one).get("__slots__") is not None for one in mro_of(kind))
    )


def at(value: object, path: Path) -> object:
    """What a path leads to; None where it leads nowhere any more.

    Example:
        >>> way = (_item, "a"), (_item, 1)
        >>> at({"a": [1, 2]}, way), at({"a": []}, way)
        (2, None)
    """
    found = value
    with Shield():
        for step, key in path:
            found = step(found, key)
        return found
    return None


def in_words(step: Step) -> str:
    """A step as it is written in Python; an item whose key is an object of the user's by its place.

    Example:
        >>> in_words((_item, "a")), in_words((_attribute, "rng")), in_words((_nth, 3))
        ("['a']", '.rng', '[#3]')
    """
    way, key = step
    if way is _nth:
        return f"[#{key}]"
    return f"[{key!r}]" if way is _item else f".{key}"


def is_item(step: Step) -> bool:
    """Whether it leads to an item, and not to an attribute.

    Example:
        >>> is_item((_item, 3)), is_item((_attribute, "rng"))
        (True, False)
    """
    return step[0] in {_item, _nth}


_DICTOFFSET = type.__dict__["__dictoffset__"]
_MEMBERS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (functools.partial, ("func", "args", "keywords")),
    (MethodType, ("__self__",)),
    (BuiltinMethodType, ("__self__",)),
)


def _members(kind: type) -> tuple[str, ...]:
    return next((names for one, names in _MEMBERS if kind is one), ())


def _to_item(key: object, place: int) -> Step:
    return (_item, key) if _is_plain(key) else (_nth, place)


def _is_plain(key: object) -> bool:
    kinds = map(type, key) if type(key) is tuple else (type(key),)
    return all(type(kind) is type and kind in _PLAIN_KEYS for kind in kinds)


def _item(value: Any, key: Any) -> object:  # noqa: ANN401 - a list, tuple or dictionary
    kind: Any = next(kind for kind in (dict, list, tuple) if issubclass(type(value), kind))
    return kind.__getitem__(value, key)


def _nth(value: Any, place: int) -> object:  # noqa: ANN401 - a dictionary
    return next(islice(dict.values(value), place, None))


def _attribute(value: object, name: str) -> object:
    own = attributes(value)
    return own[name] if name in own else dict(_of_its_class(value))[name]


def _of_its_class(value: object) -> Iterator[tuple[str, object]]:
    """What an object has in slots, and what a class of the notebook's own gives all its objects."""
    for kind in mro_of(type(value)):
        space = namespace_of(kind)
        is_of_notebook = is_notebooks(kind)
        if is_of_notebook or "__slots__" in space:
            yield from filled(value, space)
        for name, part in list(space.items()) if is_of_notebook else ():
            if type(part) is not MemberDescriptorType and name[:2] != "__" and not callable(part):
                yield name, part
