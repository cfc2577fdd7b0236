"""Calls that wait until no cell runs.

A message from a widget may arrive on another thread while a cell runs (ipykernel's subshells), or between two steps of
a cell that awaits. Its effect must not occur while a cell runs, and must occur on the cells' thread, because some
settings, such as the number of threads, belong to the thread that sets them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from threading import get_ident


class BetweenCells:
    """A queue of calls for the thread that creates it.

    Args:
        is_running: whether a cell runs.
    """

    def __init__(self, is_running: Callable[[], bool]) -> None:
        """Use the current thread, which runs the cells."""
        self._is_running = is_running
        self._calls: deque[Callable[[], object]] = deque()
        self._thread = get_ident()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # a terminal: calls run when the next cell ends
            self._loop = None

    def call(self, function: Callable[[], object]) -> bool:
        """Call `function` as soon as no cell runs.

        Returns:
            Whether it has to wait for a cell.
        """
        self._calls.append(function)
        has_to_wait = self._is_running()
        if not has_to_wait and get_ident() == self._thread:
            self.run()
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self.run)
        return has_to_wait

    def drop(self) -> None:
        """Drop the calls that wait."""
        self._calls.clear()

    def run(self) -> None:
        """Make the waiting calls, unless a cell runs."""
        while self._calls and not self._is_running():
            self._calls.popleft()()
