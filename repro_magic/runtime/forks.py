"""Locks that stay usable in a forked process, whatever the parent's threads were doing."""

from __future__ import annotations

import contextlib
import os
import threading
from weakref import WeakSet

_locks: WeakSet[ForkSafeLock] = WeakSet()


class ForkSafeLock:
    """A reentrant lock that is free in a forked process, where the thread that held it does not exist.

    It is reentrant because a signal handler or a `__del__` may run on the thread that holds it.

    Example:
        >>> lock = ForkSafeLock()
        >>> with lock, lock:
        ...     "held twice"
        'held twice'
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        """Create a free lock."""
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        """Wait for the lock."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Release the lock, unless a fork has freed it already."""
        with contextlib.suppress(RuntimeError):
            self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


def _renew_all() -> None:
    for lock in list(_locks):
        lock._renew()  # noqa: SLF001 - this function belongs to the class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
