"""Locks that a forked process can take, whatever the threads that it left behind were doing."""

from __future__ import annotations

import contextlib
import os
import threading
from weakref import WeakSet

_locks: WeakSet[ForkSafeLock] = WeakSet()


class ForkSafeLock:
    """A reentrant lock that is free in a forked process: the thread that held it does not exist there.

    It is reentrant because a signal's handler, or a `__del__`, may run on the thread that holds it.

    Example:
        >>> lock = ForkSafeLock()
        >>> with lock, lock:
        ...     "held twice"
        'held twice'
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        """It is free."""
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        """Wait for the lock."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Release the lock; one that was renewed by a fork meanwhile is free already."""
        with contextlib.suppress(RuntimeError):
            self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


def _renew_all() -> None:
    for lock in list(_locks):
        lock._renew()  # noqa: SLF001 - the class and this function are one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
