"""Reports the flagged ops in a `torch.compile` graph, in the cell that compiles it and in each later cell that runs it.

The dispatcher does not see the ops of Inductor's code. It sees them while Dynamo traces, on tensors without values, and
Dynamo's bytecode hook says which function they belong to. To see the graph run again, a guard that records the run and
is always true joins the guards that Dynamo checks before it runs the graph.
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
    """The graphs compiled while ops are watched.

    Args:
        compiling: called on the thread that starts to compile, before Dynamo creates guards.
        traced: returns the findings on tensors without values so far.
        ran: called with a graph's key, its findings and the frame when it runs.
    """

    def __init__(
        self,
        *,
        compiling: Callable[[], object],
        traced: Callable[[], list[OpFinding]],
        ran: Callable[[object, list[OpFinding], Any], object],
    ) -> None:
        """Wait for the first compilation, which imports Dynamo."""
        self._compiling, self._traced, self._ran = compiling, traced, ran
        self._undo: list[Callable[[], object]] = []
        self._reported: set[OpFinding] = set()
        self._pending: list[tuple[CodeType, list[OpFinding]]] = []
        self._guarded: set[int] = set()
        self._waiting: Waiting = when_imported(_DYNAMO, self._hook)

    def _hook(self) -> None:
        handle = sys.modules[_DYNAMO].register_bytecode_hook(self._compiled)
        self._undo += [handle.remove, self._remove_start_callback]
        self.renew()

    def _starts(self) -> list[Any]:
        callbacks: list[Any] = sys.modules["torch._dynamo.callback"].callback_handler.start_callbacks
        return callbacks

    def _remove_start_callback(self) -> None:
        if self._compilation_starts in self._starts():
            self._starts().remove(self._compilation_starts)

    def _compilation_starts(self, _arguments: object) -> None:
        self._compiling()

    def _compiled(self, code: CodeType, _new_code: CodeType) -> None:
        """Called by Dynamo after it generates code for a function: the graph holds the ops traced since last time."""
        findings = [finding for finding in self._traced() if finding not in self._reported]
        self._reported.update(findings)
        if findings:
            self._pending.append((code, findings))
            self._ran((code, len(self._guarded), len(self._pending)), findings, sys._getframe(1))  # noqa: SLF001 - what inspect uses

    def settle(self) -> None:
        """Add the guard to new graphs. It cannot be added in the bytecode hook, because Dynamo stores guards later."""
        pending, self._pending = self._pending, []
        for code, findings in pending:
            for entry in sys.modules["torch._dynamo.eval_frame"]._debug_get_cache_entry_list(code):  # noqa: SLF001
                manager = entry.guard_manager
                if id(manager) in self._guarded:
                    continue
                self._guarded.add(id(manager))
                key = object()

                def note(_locals: Any, key: object = key, findings: list[OpFinding] = findings) -> bool:  # noqa: ANN401 - Dynamo's
                    self._ran(key, findings, sys._getframe(1))  # noqa: SLF001 - what inspect uses
                    return True

                manager.root.add_lambda_guard(note, ["repro_magic takes note"], None)

    def renew(self) -> None:
        """Start a new watched stretch of code, and restore the callback if `torch.compiler.reset()` removed it."""
        self._reported.clear()
        if self._undo and self._compilation_starts not in self._starts():
            self._starts().append(self._compilation_starts)

    def close(self) -> None:
        """Remove the hooks. Guards stay with their code, are always true, and record nothing."""
        self._waiting.cancel()
        self._ran = lambda *_: None
        while self._undo:
            self._undo.pop()()
