"""Threads that watched code starts are watched too: the dispatch keys belong to one thread each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

from repro_magic.runtime.patching import Hooked, uncompiled

_Run = Callable[[], Any]


class ThreadStarts:
    """While it is up, `around(run)` takes the place of the `run` of every thread that is started."""

    def __init__(self, around: Callable[[_Run], _Run]) -> None:
        """Take what is put around each thread's `run`; it is called on the thread that starts it."""
        self._around = around
        self._hooked: Hooked | None = None

    def up(self) -> None:
        """Begin."""
        start = threading.Thread.start
        if isinstance(start, FunctionType):  # else other code has put something else there
            self._hooked = Hooked(start, before=self._starts)

    def _starts(self, thread: threading.Thread) -> None:
        with uncompiled():
            run = self._around(thread.run)

        def watched() -> None:
            thread.__dict__.pop("run", None)  # leaves no trace, and no cycle, on the user's thread
            run()

        if run != thread.run and "run" not in thread.__dict__ and not thread.ident:
            thread.run = watched  # type: ignore[method-assign]

    def down(self) -> None:
        """End; if other code has swapped the code meanwhile, that stays, and ours passes everything on."""
        self._around = lambda run: run
        if self._hooked is not None:
            self._hooked.down()
