"""What is known of objects, by identity: a user's class may define `__eq__` and have no hash, or run code in either."""

from __future__ import annotations

import contextlib
import weakref
from typing import Generic, TypeVar

_V = TypeVar("_V")


class IdentityMap(Generic[_V]):
    """Values kept for objects as long as those live; nothing of the objects is called.

    Example:
        >>> class Unhashable:
        ...     __hash__ = None
        >>> known, key = IdentityMap(), Unhashable()
        >>> known[key] = 3
        >>> known.get(key), known.get(Unhashable()), known.pop(key), known.get(key)
        (3, None, 3, None)
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._entries: dict[int, tuple[weakref.ref[object], _V]] = {}

    def __setitem__(self, key: object, value: _V) -> None:
        """Keep a value; an object that cannot be referred to weakly is left out."""
        entries, number = self._entries, id(key)

        def forget(reference: weakref.ref[object]) -> None:
            # Another object may have the number by now.
            if number in entries and entries[number][0] is reference:
                del entries[number]

        with contextlib.suppress(TypeError):
            entries[number] = weakref.ref(key, forget), value

    def get(self, key: object) -> _V | None:
        """The value; None where there is none."""
        found = self._entries.get(id(key))
        return found[1] if found is not None and found[0]() is key else None

    def pop(self, key: object) -> _V | None:
        """The same, which is forgotten."""
        found = self.get(key)
        self._entries.pop(id(key), None)
        return found
