"""Extends watching to threads that watched code starts, because dispatch keys are set per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

from repro_magic.runtime.patching import Hooked, uncompiled

_Run = Callable[[], Any]


class ThreadStarts:
    """While it is up, `around(run)` replaces the `run` of each thread that is started."""

    def __init__(self, around: Callable[[_Run], _Run]) -> None:
        """Prepare the hook; `around` is called on the starting thread."""
        self._around = around
        self._hooked: Hooked | None = None

    def up(self) -> None:
        """Hook `Thread.start`."""
        start = threading.Thread.start
        if isinstance(start, FunctionType):  # other code may have replaced it
            self._hooked = Hooked(start, before=self._starts)

    def _starts(self, thread: threading.Thread) -> None:
        with uncompiled():
            run = self._around(thread.run)

        def watched() -> None:
            thread.__dict__.pop("run", None)  # leaves no trace, and no reference cycle, on the user's thread
            run()

        if run != thread.run and "run" not in thread.__dict__ and not thread.ident:
            thread.run = watched  # type: ignore[method-assign]

    def down(self) -> None:
        """Remove the hook; if other code has swapped the code since, the hook stays and passes everything on."""
        self._around = lambda run: run
        if self._hooked is not None:
            self._hooked.down()
