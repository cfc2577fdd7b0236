"""The parts of an object, and the paths to them, read without running code of its class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import islice
from types import BuiltinMethodType, MemberDescriptorType, MethodType
from typing import Any

from repro_magic.introspection.foreign import Shield, attributes, filled, is_notebooks, module_of, mro_of, namespace_of

__all__ = ["Path", "Step", "at", "attributes", "has_parts", "in_words", "is_item", "parts"]

# From an object to a part: attributes by name, items by key or index.
Step = tuple[Callable[[Any, Any], object], Any]
Path = tuple[Step, ...]

# Types of keys whose `repr`, hash and comparison run no code of the user.
_PLAIN_KEYS = {str, int, float, bool, bytes, type(None)}


def parts(value: Any, most: int) -> Iterator[tuple[Step, object]]:  # noqa: ANN401 - whatever is held
    """The first `most` items of a list, tuple or dictionary, or attributes of another object.

    Includes slots, the members of a partial or a bound method, and class attributes if the notebook defines the class.

    Example:
        >>> [(in_words(step), part) for step, part in parts({"a": 1, "b": 2}, most=1)]
        [("['a']", 1)]
        >>> [in_words(step) for step, _ in parts(functools.partial(max, 3, key=abs), most=10)]
        ['.func', '.args', '.keywords']
    """
    kind = type(value)
    if issubclass(kind, dict):
        items = list(islice(dict.items(value), most))
        yield from ((_item_step(key, index), part) for index, (key, part) in enumerate(items))
    elif issubclass(kind, list | tuple):
        iterate: Any = list.__iter__ if issubclass(kind, list) else tuple.__iter__
        yield from (((_item, index), part) for index, part in enumerate(islice(iterate(value), most)))
    else:
        for name in _members(kind):
            yield (getattr, name), getattr(value, name)
    if module_of(kind) != "builtins" and not issubclass(kind, type):
        dictionary = attributes(value)
        yield from (
            ((_attribute, name), part) for name, part in list(islice(dictionary.items(), most)) if type(name) is str
        )
        yield from (
            ((_attribute, name), part) for name, part in _slots_and_class_attributes(value) if name not in dictionary
        )


def has_parts(kind: type) -> bool:
    """Whether objects of a type may have parts.

    Example:
        >>> [has_parts(kind) for kind in (list, functools.partial, int, str)]
        [True, True, False, False]
    """
    return (
        issubclass(kind, list | tuple | dict)
        or bool(_members(kind))
        or bool(_DICTOFFSET.__get__(kind))
        or any(namespace_of(cls).get("__slots__") is not None for cls in mro_of(kind))
    )


def at(value: object, path: Path) -> object:
    """The object at the end of a path; None if the path no longer exists.

    Example:
        >>> path = (_item, "a"), (_item, 1)
        >>> at({"a": [1, 2]}, path), at({"a": []}, path)
        (2, None)
    """
    part = value
    with Shield():
        for step, key in path:
            part = step(part, key)
        return part
    return None


def in_words(step: Step) -> str:
    """A step as Python code; an item whose key is a user's object is shown by its index.

    Example:
        >>> in_words((_item, "a")), in_words((_attribute, "rng")), in_words((_nth, 3))
        ("['a']", '.rng', '[#3]')
    """
    get, key = step
    if get is _nth:
        return f"[#{key}]"
    return f"[{key!r}]" if get is _item else f".{key}"


def is_item(step: Step) -> bool:
    """Whether a step leads to an item, not to an attribute.

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
    return next((names for cls, names in _MEMBERS if kind is cls), ())


def _item_step(key: object, index: int) -> Step:
    return (_item, key) if _is_plain(key) else (_nth, index)


def _is_plain(key: object) -> bool:
    kinds = map(type, key) if type(key) is tuple else (type(key),)
    return all(type(kind) is type and kind in _PLAIN_KEYS for kind in kinds)


def _item(value: Any, key: Any) -> object:  # noqa: ANN401 - a list, tuple or dictionary
    kind: Any = next(kind for kind in (dict, list, tuple) if issubclass(type(value), kind))
    return kind.__getitem__(value, key)


def _nth(value: Any, index: int) -> object:  # noqa: ANN401 - a dictionary
    return next(islice(dict.values(value), index, None))


def _attribute(value: object, name: str) -> object:
    dictionary = attributes(value)
    return dictionary[name] if name in dictionary else dict(_slots_and_class_attributes(value))[name]


def _slots_and_class_attributes(value: object) -> Iterator[tuple[str, object]]:
    """The slots of an object, and its class attributes if the notebook defines the class."""
    for kind in mro_of(type(value)):
        space = namespace_of(kind)
        is_of_notebook = is_notebooks(kind)
        if is_of_notebook or "__slots__" in space:
            yield from filled(value, space)
        for name, part in list(space.items()) if is_of_notebook else ():
            if type(part) is not MemberDescriptorType and name[:2] != "__" and not callable(part):
                yield name, part
