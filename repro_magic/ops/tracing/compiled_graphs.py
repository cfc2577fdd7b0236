"""What a graph of `torch.compile` holds, in the cell that compiled it and in every later one that runs it.

Inductor's code is unseen when it runs. What it is made of is seen while it is traced, on tensors without values; Dynamo
tells when it has made code for a function. To see that code run again a guard that is always true, and takes note, is
added to those that Dynamo checks before it runs the graph.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from repro_magic.findings import OpFinding
from repro_magic.runtime.import_hooks import Waiting, when_imported

_DYNAMO = "torch._dynamo.convert_frame"


class Graphs:
    """Which graphs were compiled while somebody watched, and which ran.

    Args:
        compiling: called on the thread that starts to compile, before the first guard is made.
        traced: what was seen on tensors without values so far.
        ran: called with a graph's key and its findings when it runs.
    """

    def __init__(
        self,
        *,
        compiling: Callable[[], object],
        traced: Callable[[], list[OpFinding]],
        ran: Callable[[object, list[OpFinding], Any], object],
    ) -> None:
        """Wait for Dynamo: it is imported by the first compilation."""
        self._compiling, self._traced, self._ran = compiling, traced, ran
        self._undo: list[Callable[[], object]] = []
        self._told: set[OpFinding] = set()
        self._pending: list[tuple[CodeType, list[OpFinding]]] = []
        self._guarded: set[int] = set()
        self._waiting: Waiting = when_imported(_DYNAMO, self._hook)

    def _hook(self) -> None:
        handle = sys.modules[_DYNAMO].register_bytecode_hook(self._compiled)
        self._undo += [handle.remove, self._do_not_hear_of_starts]
        self.renew()

    def _starts(self) -> list[Any]:
        callbacks: list[Any] = sys.modules["torch._dynamo.callback"].callback_handler.start_callbacks
        return callbacks

    def _do_not_hear_of_starts(self) -> None:
        if self._begins in self._starts():
            self._starts().remove(self._begins)

    def _begins(self, _arguments: object) -> None:
        self._compiling()

    def _compiled(self, code: CodeType, _made: CodeType) -> None:
        """Dynamo has made code for a function: what was traced since the last time is in its graph."""
        found = [finding for finding in self._traced() if finding not in self._told]
        self._told.update(found)
        if found:
            self._pending.append((code, found))
            self._ran((code, len(self._guarded), len(self._pending)), found, sys._getframe(1))  # noqa: SLF001 - what inspect uses

    def settle(self) -> None:
        """Add the guard to graphs that were compiled meanwhile; Dynamo stores them only after it has told of them."""
        pending, self._pending = self._pending, []
        for code, found in pending:
            for entry in sys.modules["torch._dynamo.eval_frame"]._debug_get_cache_entry_list(code):  # noqa: SLF001
                manager = entry.guard_manager
                if id(manager) in self._guarded:
                    continue
                self._guarded.add(id(manager))
                key = object()

                def note(_locals: Any, key: object = key, found: list[OpFinding] = found) -> bool:  # noqa: ANN401 - Dynamo's
                    self._ran(key, found, sys._getframe(1))  # noqa: SLF001 - what inspect uses
                    return True

                manager.root.add_lambda_guard(note, ["repro_magic takes note"], None)

    def renew(self) -> None:
        """A new stretch of code begins: what it traces is its own, and torch.compiler.reset() may have unhooked us."""
        self._told.clear()
        if self._undo and self._begins not in self._starts():
            self._starts().append(self._begins)

    def close(self) -> None:
        """Ask Dynamo no longer. Guards stay with their code; they pass everything and tell nobody."""
        self._waiting.cancel()
        self._ran = lambda *_: None
        while self._undo:
            self._undo.pop()()
