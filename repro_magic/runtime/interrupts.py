"""Ctrl-C that strikes while switches are being turned waits until that is done.

CPython raises KeyboardInterrupt between two instructions of Python code. After a long operation in C, such as a matrix
product, that is often the first instruction of the `__exit__` that follows: the switches would never be put back. No
code inside `__exit__` can prevent it. So while a scope is open, a handler stands before the user's own: it looks where
the interrupt struck, and lets it through at once unless that is a function marked `uninterrupted`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

_uninterrupted: set[CodeType] = set()
_interruptible: set[CodeType] = set()


def uninterrupted(function: _Function) -> _Function:
    """Mark a function that Ctrl-C must not leave half done while a `Guard` is up.

    Example:
        >>> @uninterrupted
        ... def put_back():
        ...     return "all is back"
        >>> put_back()
        'all is back'
    """
    _uninterrupted.add(function.__code__)
    return function


def interruptible(function: _Function) -> _Function:
    """Mark work that Ctrl-C ends at once even where an uninterrupted function does it, such as a look at large values.

    Example:
        >>> @interruptible
        ... def look():
        ...     return "nothing is half done where this ends early"
        >>> look()
        'nothing is half done where this ends early'
    """
    _interruptible.add(function.__code__)
    return function


class Guard:
    """A handler of SIGINT that stands before the user's own, from `up` to `down`; in other threads it does nothing.

    Attributes:
        pending: whether an interrupt waits.
    """

    def __init__(self) -> None:
        """Nothing is installed yet."""
        self.pending = False
        self._has_struck = False
        self._is_up = False
        self._before: Any = None

    def up(self) -> None:
        """Stand before the present handler, if that is a Python function: the default, a kernel's, asyncio's."""
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before, self._is_up = before, True
            signal.signal(signal.SIGINT, self)

    def down(self) -> None:
        """Step back, and let an interrupt through that had to wait."""
        if self.step_back():
            self._before(signal.SIGINT, None)

    def step_back(self) -> bool:
        """Step back.

        Returns:
            Whether an interrupt had to wait; it is the caller's now.
        """
        if not self._is_up:
            return False
        self._is_up = False
        present: Any = signal.getsignal(signal.SIGINT)
        if present is self:  # else other code, or a later scope, stands before us
            signal.signal(signal.SIGINT, self._still_up())
        had_to_wait, self.pending = self.pending, False
        return had_to_wait

    def _still_up(self) -> Any:  # noqa: ANN401 - a handler of any kind
        """The nearest handler before this one that is not of a scope which has ended meanwhile."""
        before = self._before
        return before._still_up() if isinstance(before, Guard) and not before._is_up else before  # noqa: SLF001

    def is_meant_by(self, error: BaseException) -> bool:
        """Whether an error comes from an interrupt that this guard has seen."""
        return self.pending or (self._has_struck and isinstance(error, KeyboardInterrupt))

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Let an interrupt through, or keep it if it struck inside a function marked `uninterrupted`.

        Work marked `interruptible` ends in either case; inside an uninterrupted function the interrupt is kept as well.
        """
        may_end = False
        inner = frame
        while inner is not None:
            may_end |= inner.f_code in _interruptible
            if inner.f_code in _uninterrupted:
                self.pending = True
                if not may_end:
                    return
                break
            inner = inner.f_back
        self._has_struck = True
        self._before(number, frame)


def is_waiting() -> bool:
    """Whether an interrupt waits for the guard that stands now: long work had better end.

    Example:
        >>> is_waiting()
        False
    """
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Guard) and handler.pending


def is_users(error: BaseException) -> bool:
    """Whether an error is the user's own Ctrl-C, and not one that an object raised while it was looked at.

    Example:
        >>> is_users(KeyboardInterrupt()), is_users(SystemExit())
        (True, False)
    """
    handler = signal.getsignal(signal.SIGINT)
    return handler.is_meant_by(error) if isinstance(handler, Guard) else isinstance(error, KeyboardInterrupt)
