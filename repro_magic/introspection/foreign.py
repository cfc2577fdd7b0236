"""Inspect objects of any class without running their code; where that is impossible, survive what they raise.

An object may have every attribute, refer to itself, raise anything, or take forever. So types are read with the
interpreter's own descriptors, never through a metaclass, and checks are `issubclass(type(value), …)`, because
`isinstance` reads the object's `__class__`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any

from repro_magic.runtime.interrupts import is_users

_MRO, _NAMESPACE, _MODULE, _QUALNAME = (
    type.__dict__[name] for name in ("__mro__", "__dict__", "__module__", "__qualname__")
)
NOTEBOOK = "__main__"

mro_of: Callable[[type], tuple[type, ...]] = _MRO.__get__
namespace_of: Callable[[type], Mapping[str, Any]] = _NAMESPACE.__get__


def module_of(kind: type) -> str:
    """The module of a type; empty if it has none.

    Example:
        >>> module_of(int)
        'builtins'
    """
    try:
        name = _MODULE.__get__(kind)
    except AttributeError:
        return ""
    return name if type(name) is str else ""


def is_any(kind: type, *kinds: type) -> bool:
    """Whether a type is one of `kinds`, compared by identity: `in` would run the `__eq__` of its metaclass.

    Example:
        >>> is_any(bool, int, str)
        False
    """
    return any(kind is other for other in kinds)


def is_below(kind: type, *bases: type) -> bool:
    """Whether a type is a subclass of one of `bases`. `issubclass` would let an abstract base hash the type.

    Example:
        >>> is_below(bool, int, str)
        True
    """
    return any(cls is base for base in bases for cls in mro_of(kind))


def is_notebooks(kind: type) -> bool:
    """Whether a type was defined in the notebook."""
    return module_of(kind) == NOTEBOOK


def kind_of(value: object) -> str:
    """A value's type, with its module.

    Example:
        >>> kind_of(1)
        'builtins.int'
    """
    return name_of(type(value))


def name_of(kind: type) -> str:
    """A type's name, with its module.

    Example:
        >>> name_of(int)
        'builtins.int'
    """
    return f"{module_of(kind)}.{_QUALNAME.__get__(kind)}"


def attributes(value: object) -> dict[str, Any]:
    """The attributes in an object's own dictionary, read without running code of its class.

    Example:
        >>> attributes(ValueError(1)), attributes(3)
        ({}, {})
    """
    spaces = map(namespace_of, mro_of(type(value)))
    descriptor = next((space["__dict__"] for space in spaces if "__dict__" in space), None)
    if not is_any(type(descriptor), GetSetDescriptorType, MemberDescriptorType):
        return {}
    dictionary = descriptor.__get__(value)  # type: ignore[union-attr]
    if type(dictionary) is dict:
        return dictionary
    return dict(dict.items(dictionary)) if issubclass(type(dictionary), dict) else {}


def slots(value: object) -> Iterator[tuple[str, object]]:
    """The values of an object's slots, read without running code of its class."""
    for kind in mro_of(type(value)):
        space = namespace_of(kind)
        if "__slots__" in space:
            yield from filled(value, space)


def filled(owner: object, space: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The values of the slots that a class declares, without empty slots."""
    for name, part in list(space.items()):
        if type(part) is MemberDescriptorType:
            try:
                value = part.__get__(owner)
            except AttributeError:  # the slot is empty
                continue
            yield name, value


class Shield(AbstractContextManager["Shield"]):
    """Suppresses whatever an object's code raises; the user's Ctrl-C passes.

    Example:
        >>> with Shield():
        ...     raise SystemExit
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Suppress the error."""
        return error is not None and not is_users(error)
