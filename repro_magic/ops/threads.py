"""Threads that watched code starts are watched too: the dispatch keys belong to one thread each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_Run = Callable[[], Any]


class ThreadStarts:
    """While it is up, `around(run)` takes the place of the `run` of every thread that is started."""

    def __init__(self, around: Callable[[_Run], _Run]) -> None:
        """Take what is put around each thread's `run`; it is called on the thread that starts it."""
        self._around = around
        self._start: Any = None
        self._ours: Any = None

    def up(self) -> None:
        """Begin."""
        before = threading.Thread.start
        around = self._around_now

        def start(thread: threading.Thread) -> None:
            run = around(thread.run)

            def watched() -> None:
                thread.__dict__.pop("run", None)  # leaves no trace, and no cycle, on the user's thread
                run()

            if run != thread.run and "run" not in thread.__dict__ and not thread.ident:
                thread.run = watched  # type: ignore[method-assign]
            before(thread)

        self._start, self._ours = before, start
        threading.Thread.start = start  # type: ignore[method-assign, assignment]

    def _around_now(self, run: _Run) -> _Run:
        return self._around(run)

    def down(self) -> None:
        """End; if other code has put itself before ours meanwhile, that stays, and ours passes everything on."""
        self._around = lambda run: run
        if threading.Thread.start is self._ours:
            threading.Thread.start = self._start  # type: ignore[method-assign]
