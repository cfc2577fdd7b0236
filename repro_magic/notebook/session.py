"""The extension in one shell: everything it installs, and its way out."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

from repro_magic.exceptions import HookFaultWarning
from repro_magic.notebook.magics import ReproMagic, flags_of, show
from repro_magic.notebook.rewriting import CellRewriter, as_written, mark
from repro_magic.rng.seeding import note_load, resume, suspend
from repro_magic.scope import Report
from repro_magic.views import describe

_MAGIC_BEFORE_CURSOR = re.compile(r"\s*%%?(\w+)\s")

_sessions: WeakKeyDictionary[InteractiveShell, Session] = WeakKeyDictionary()


def load(shell: InteractiveShell) -> None:
    """Install the extension into `shell`; a second time changes nothing."""
    if shell not in _sessions:
        _sessions[shell] = Session(shell)


def unload(shell: InteractiveShell) -> None:
    """Take everything out again; harmless when nothing was installed."""
    session = _sessions.pop(shell, None)
    if session is not None:
        session.close()


class Session:
    """One shell's magics, transformers, hooks and completions, from loading to unloading."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Install all of it."""
        self._shell = shell
        self._is_open = True
        self._reports: list[Report] = []
        self._magics = ReproMagic(shell, note=self._note)
        self._rewriter = CellRewriter(self._magics.open_cell, lambda: shell.ast_node_interactivity)
        self._undo: list[Callable[[], object]] = [lambda: _remove(shell.configurables, self._magics)]
        note_load()
        resume()
        self._undo += [suspend, self._rewriter.close]
        self._install_magics()
        self._append(shell.input_transformers_cleanup, mark)
        self._append(shell.ast_transformers, self._rewriter)
        self._append(shell.Completer.custom_matchers, self._flag_matcher())
        self._hook("post_run_cell", self._after_cell)

    def close(self) -> None:
        """Undo what `__init__` did, last thing first."""
        self._is_open = False
        while self._undo:
            self._undo.pop()()

    def _install_magics(self) -> None:
        manager = self._shell.magics_manager
        before = [
            (table, name, table.get(name))
            for table, ours in ((manager.magics[kind], self._magics.magics[kind]) for kind in self._magics.magics)
            for name in ours
        ]
        own_name = type(self._magics).__name__
        registered_before = manager.registry.get(own_name)
        self._shell.register_magics(self._magics)

        def restore() -> None:
            for table, name, found in [*before, (manager.registry, own_name, registered_before)]:
                if found is None:
                    table.pop(name, None)
                else:
                    table[name] = found

        self._undo.append(restore)

    def _append(self, items: list[Any], item: object) -> None:
        items.append(item)
        self._undo.append(lambda: _remove(items, item))

    def _hook(self, event: str, function: Callable[[Any], object]) -> None:
        """Register an event's hook that tells of its own first fault and goes off, and lets the user's cell go on."""

        @functools.wraps(function)
        def guarded(argument: Any = None) -> None:  # noqa: ANN401 - each event has its own
            try:
                function(argument)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the user's
                off()
                warnings.warn(
                    f"repro_magic: its {event} hook failed and is off now ({error!r}); your cell is not affected",
                    HookFaultWarning,
                    stacklevel=2,
                )

        def off() -> None:
            if guarded in self._shell.events.callbacks[event]:
                self._shell.events.unregister(event, guarded)

        self._shell.events.register(event, guarded)
        self._undo.append(off)

    def _after_cell(self, result: ExecutionResult | None) -> None:
        self._show_reports()
        # While the cell ran, its own code had to read as Python (IPython looks there for a semicolon at the end).
        if result is not None and getattr(result.info, "store_history", False):
            assert self._shell.history_manager is not None  # noqa: S101 - a cell was just stored there
            history = self._shell.history_manager.input_hist_parsed
            if history:
                history[-1] = "".join(as_written(history[-1].splitlines(keepends=True)))

    def _note(self, report: Report) -> None:
        """Show the report when the cell is over; at once if the cell itself has unloaded us."""
        self._reports.append(report)
        if not self._is_open:
            self._show_reports()

    def _show_reports(self) -> None:
        reports = self._reports.copy()
        self._reports.clear()
        if reports:
            show(describe.reports(reports))

    def _flag_matches(self, text: str) -> list[str]:
        """Flags that go on with `text`, where a magic of ours stands before the cursor."""
        found = _MAGIC_BEFORE_CURSOR.match(self._shell.Completer.text_until_cursor)
        if found is None or not text.startswith("-"):
            return []
        return [flag for flag in flags_of(self._magics, found[1]) if flag.startswith(text)]

    def _flag_matcher(self) -> object:
        """The same for IPython's completer, and nothing beside it: Jedi would offer `--set` and `--sum`."""
        try:
            from IPython.core.completer import (  # noqa: PLC0415 - IPython 8.6 brought these
                SimpleCompletion,
                context_matcher,
            )
        except ImportError:
            return self._flag_matches

        @context_matcher(identifier="repro_magic.flags")
        def matcher(context: Any) -> dict[str, Any]:  # noqa: ANN401 - IPython's CompletionContext
            flags = self._flag_matches(context.token)
            return {"completions": [SimpleCompletion(flag, type="param") for flag in flags], "suppress": bool(flags)}

        return matcher


def _remove(items: list[Any], item: object) -> None:
    for position, found in enumerate(items):
        if found is item or found == item:
            del items[position]
            return
