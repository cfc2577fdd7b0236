"""Looks at objects of foreign classes without running their code, and survives them where that cannot be avoided.

An object may answer every attribute, refer to itself, raise anything, or take forever. So a type is read with the
interpreter's own descriptors, never through a metaclass, and a class is asked for with `issubclass(type(value), …)`:
`isinstance` asks the object for its `__class__`.
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
    """The module of a type; empty where it names none.

    Example:
        >>> module_of(int)
        'builtins'
    """
    try:
        found = _MODULE.__get__(kind)
    except AttributeError:
        return ""
    return found if type(found) is str else ""


def is_any(kind: type, *kinds: type) -> bool:
    """Whether a type is one of some. `in` would ask its metaclass, which may compare as it likes.

    Example:
        >>> is_any(bool, int, str)
        False
    """
    return any(kind is one for one in kinds)


def is_below(kind: type, *bases: type) -> bool:
    """Whether a type is made from one of some. `issubclass` would let an abstract base hash it.

    Example:
        >>> is_below(bool, int, str)
        True
    """
    return any(one is base for base in bases for one in mro_of(kind))


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
    found = next((space["__dict__"] for space in spaces if "__dict__" in space), None)
    if not is_any(type(found), GetSetDescriptorType, MemberDescriptorType):
        return {}
    own = found.__get__(value)  # type: ignore[union-attr]
    if type(own) is dict:
        return own
    return dict(dict.items(own)) if issubclass(type(own), dict) else {}


def slots(value: object) -> Iterator[tuple[str, object]]:
    """What an object's slots hold, read without running code of its class."""
    for kind in mro_of(type(value)):
        space = namespace_of(kind)
        if "__slots__" in space:
            yield from filled(value, space)


def filled(value: object, space: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The slots that one class declares and that hold something."""
    for name, part in list(space.items()):
        if type(part) is MemberDescriptorType:
            try:
                found = part.__get__(value)
            except AttributeError:  # it holds nothing yet
                continue
            yield name, found


class Shield(AbstractContextManager["Shield"]):
    """Swallows whatever a foreign object raises inside; the user's own Ctrl-C passes.

    Example:
        >>> with Shield():
        ...     raise SystemExit
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Swallow it."""
        return error is not None and not is_users(error)
