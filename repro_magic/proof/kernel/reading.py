"""The names of a notebook read after each cell: what the cell may have changed, and the rest as far as it is not known.

Which values a cell may change is a belief, drawn from its source and checked: now and then, and in the end, all bytes
are read. What the next cell may change is read before it runs, so that a change is known to be that cell's. Where a
buffer is found changed that was not read after the cell before, the belief was wrong, and the run is done once more
with everything read after every cell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from repro_magic.introspection.cell_names import as_python, bindings, words
from repro_magic.proof.digest.buffers import Buffers, Scope
from repro_magic.proof.digest.elements import reading_through
from repro_magic.proof.kernel.hidden import Threads, may_change_anything

Found = dict[str, Any]
Names = Sequence[tuple[str, object]]

# All is read as often as this takes so small a part of the time.
_SHARE = 1 / 20


class Reading:
    """The values of a notebook's names, pass by pass.

    Args:
        look: gives what is told of a value.
    """

    def __init__(self, look: Callable[[object], Found]) -> None:
        """Nothing is known; the threads that run now are not the notebook's."""
        self._look = look
        self._buffers, self._threads = Buffers(), Threads()
        self._before: Mapping[str, int] = {}
        self._source = ""  # of the cell that runs, and its words as they stood before it ran: it may redefine functions
        self._words: set[str] = set()
        self._cost, self._checked_at = 0.0, 0.0

    @property
    def is_doubtful(self) -> bool:
        """Whether a change was found that may be an earlier cell's."""
        return self._buffers.is_doubtful

    def after(self, cell: int, names: Names, follows: str | None) -> dict[str, Found]:
        """What is told of each name's value.

        Args:
            cell: which has just run.
            names: with what they hold.
            follows: the source of the next cell; None: all values are read.
        """
        started = time.monotonic()
        shell = sys.modules["IPython"].get_ipython()
        may_change = None if follows is None else self._may_change(shell, names, follows, started)
        with reading_through(self._buffers.read):
            self._buffers.begin(cell)
            if may_change is None:
                self._buffers.scope = Scope.ALL
                found = self._looked_at(names)
            else:
                found = self._in_two_steps(names, shell.user_ns, may_change)
            self._buffers.end()
        if self._buffers.scope is Scope.ALL:
            self._checked_at = time.monotonic()
            self._cost = self._checked_at - started
        self._before = bindings(dict(names)) if len(self._buffers) else {}
        return found

    def remembered(self) -> AbstractContextManager[None]:
        """While this lasts, large buffers that the last pass read are not read again."""
        return reading_through(self._buffers.read)

    def check(self, cell: int, names: Names) -> bool:
        """Read all once more, after the last cell; whether nothing changed that was not seen."""
        if not self._buffers.are_read_after(cell):
            self.after(cell + 1, names, None)
        return not self.is_doubtful

    def _may_change(self, shell: Any, names: Names, follows: str, now: float) -> set[str] | None:  # noqa: ANN401 - IPython's
        """The names whose values the last cell may have changed, or the next one may; None: any."""
        threads = self._threads.may_have_written()
        ran, self._source = self._source, follows
        if not len(self._buffers):
            self._words = set()
            return None
        space = shell.user_ns
        before, self._words = self._words, words(as_python(shell, follows), space)
        found = before | words(as_python(shell, ran), space) | self._words
        is_due = now - self._checked_at > self._cost / _SHARE
        if threads or is_due or may_change_anything(found, space):
            return None
        return found | {name for name, value in names if self._before.get(name) != id(value)}

    def _in_two_steps(self, names: Names, space: Mapping[str, object], may_change: set[str]) -> dict[str, Found]:
        reached = [(name, value) for name, value in names if name.partition(".")[0] in may_change]
        others = [(name, value) for name, value in names if name.partition(".")[0] not in may_change]
        told = dict(names)
        hidden = [(name, space[name]) for name in may_change if name in space and name not in told]
        self._buffers.scope = Scope.REACHED
        found = self._looked_at(reached)
        is_opaque = any(one["gaps"] for one in (*found.values(), *self._looked_at(hidden).values()))
        self._buffers.scope = Scope.ALL if is_opaque else Scope.OTHERS
        return found | self._looked_at(others)

    def _looked_at(self, names: Names) -> dict[str, Found]:
        return {name: self._look(value) for name, value in names}
