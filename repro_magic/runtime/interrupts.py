"""Delays Ctrl-C while switches are being turned.

CPython raises KeyboardInterrupt between two instructions of Python code. After a long operation in C, such as a matrix
product, that is often the first instruction of the `__exit__` that follows, and the switches would not be restored. No
code inside `__exit__` can prevent this. So while a scope is open, a handler precedes the user's own: it checks where
the interrupt occurred, and lets it through at once unless that is inside a function marked `uninterrupted`.
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
    """Mark a function that Ctrl-C must not end halfway while a `Guard` is up.

    Example:
        >>> @uninterrupted
        ... def restore():
        ...     return "everything is restored"
        >>> restore()
        'everything is restored'
    """
    _uninterrupted.add(function.__code__)
    return function


def interruptible(function: _Function) -> _Function:
    """Mark work that Ctrl-C ends at once even inside an uninterrupted function, such as the inspection of large values.

    Example:
        >>> @interruptible
        ... def inspect_values():
        ...     return "safe to end early"
        >>> inspect_values()
        'safe to end early'
    """
    _interruptible.add(function.__code__)
    return function


class Guard:
    """A SIGINT handler in front of the user's own, from `up` to `down`; does nothing outside the main thread.

    Attributes:
        pending: whether an interrupt is delayed.
    """

    def __init__(self) -> None:
        """Prepare the handler without installing it."""
        self.pending = False
        self._has_interrupted = False
        self._is_up = False
        self._before: Any = None

    def up(self) -> None:
        """Install the handler in front of the current one, if that is a Python function (as in kernels and asyncio)."""
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before, self._is_up = before, True
            signal.signal(signal.SIGINT, self)

    def down(self) -> None:
        """Uninstall the handler, and let a delayed interrupt through."""
        if self.step_back():
            self._before(signal.SIGINT, None)

    def step_back(self) -> bool:
        """Uninstall the handler.

        Returns:
            Whether an interrupt was delayed; the caller must deal with it.
        """
        if not self._is_up:
            return False
        self._is_up = False
        present: Any = signal.getsignal(signal.SIGINT)
        if present is self:  # other code, or a later scope, may have installed its own handler
            signal.signal(signal.SIGINT, self._still_up())
        was_delayed, self.pending = self.pending, False
        return was_delayed

    def _still_up(self) -> Any:  # noqa: ANN401 - a handler of any kind
        """The nearest earlier handler, without those of scopes that have ended."""
        before = self._before
        return before._still_up() if isinstance(before, Guard) and not before._is_up else before  # noqa: SLF001

    def is_meant_by(self, error: BaseException) -> bool:
        """Whether an error was caused by an interrupt that this guard received."""
        return self.pending or (self._has_interrupted and isinstance(error, KeyboardInterrupt))

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Let an interrupt through, or delay it if it occurred inside a function marked `uninterrupted`.

        Work marked `interruptible` ends either way; inside an uninterrupted function, the interrupt is also delayed.
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
        self._has_interrupted = True
        self._before(number, frame)


def is_waiting() -> bool:
    """Whether the current guard delays an interrupt, so that long work should end.

    Example:
        >>> is_waiting()
        False
    """
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Guard) and handler.pending


def is_users(error: BaseException) -> bool:
    """Whether an error is the user's own Ctrl-C, and not raised by an object under inspection.

    Example:
        >>> is_users(KeyboardInterrupt()), is_users(SystemExit())
        (True, False)
    """
    handler = signal.getsignal(signal.SIGINT)
    return handler.is_meant_by(error) if isinstance(handler, Guard) else isinstance(error, KeyboardInterrupt)
