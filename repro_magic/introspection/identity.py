"""A weak map keyed by identity: a user's class may have no hash, or run code in `__eq__` or `__hash__`."""

from __future__ import annotations

import contextlib
import weakref
from typing import Generic, TypeVar

_V = TypeVar("_V")


class IdentityMap(Generic[_V]):
    """Maps objects to values as long as the objects live, without running their code.

    Example:
        >>> class Unhashable:
        ...     __hash__ = None
        >>> known, key = IdentityMap(), Unhashable()
        >>> known[key] = 3
        >>> known.get(key), known.get(Unhashable()), known.pop(key), known.get(key)
        (3, None, 3, None)
    """

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[int, tuple[weakref.ref[object], _V]] = {}

    def __setitem__(self, key: object, value: _V) -> None:
        """Set a value; does nothing for an object that does not support weak references."""
        entries, number = self._entries, id(key)

        def forget(reference: weakref.ref[object]) -> None:
            # Another object may have the same id by now.
            if number in entries and entries[number][0] is reference:
                del entries[number]

        with contextlib.suppress(TypeError):
            entries[number] = weakref.ref(key, forget), value

    def get(self, key: object) -> _V | None:
        """The value; None if there is none."""
        entry = self._entries.get(id(key))
        return entry[1] if entry is not None and entry[0]() is key else None

    def pop(self, key: object) -> _V | None:
        """Remove and return the value; None if there is none."""
        value = self.get(key)
        self._entries.pop(id(key), None)
        return value
