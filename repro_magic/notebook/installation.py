"""Installs the extension's parts into a shell, and removes them again."""

from __future__ import annotations

import _thread
import functools
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics

from repro_magic.exceptions import HookFaultWarning
from repro_magic.introspection.foreign import Shield
from repro_magic.introspection.location import drop_own_frames
from repro_magic.runtime.interrupts import Guard, is_users, uninterrupted
from repro_magic.runtime.patching import Patch


class Installation:
    """Everything that a session installed into its shell.

    Args:
        shell: the shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        """Nothing is installed yet."""
        self._shell = shell
        self._undo: list[Callable[[], object]] = []
        self._faulty: set[str] = set()

    def on_undo(self, *actions: Callable[[], object]) -> None:
        """Register actions for `undo`, which calls the latest first."""
        self._undo += actions

    def undo(self) -> None:
        """Remove everything, the latest part first."""
        while self._undo:
            self._undo.pop()()

    def add_magics(self, magics: Magics) -> None:
        """Register magics; undoing restores earlier magics of the same names."""
        manager = self._shell.magics_manager
        before = [
            (table, name, table.get(name))
            for table, ours in ((manager.magics[kind], magics.magics[kind]) for kind in magics.magics)
            for name in ours
        ]
        own_name = type(magics).__name__
        registered_before = manager.registry.get(own_name)
        self._shell.register_magics(magics)

        def restore() -> None:
            for table, name, original in [*before, (manager.registry, own_name, registered_before)]:
                if original is None:
                    table.pop(name, None)
                else:
                    table[name] = original

        self.on_undo(restore)

    def append(self, items: list[Any], item: object) -> None:
        """Add an item to one of the shell's lists."""
        items.append(item)
        self.on_undo(lambda: remove(items, item))

    def keep_our_frames_out_of_tracebacks(self) -> None:
        """Hide repro_magic's frames in tracebacks: errors of watched ops should end at the user's line."""
        self.on_undo(Patch(self._shell.InteractiveTB, "structured_traceback", _without_our_frames).down)

    def add_hook(self, event: str, function: Callable[[Any], object]) -> None:
        """Register a hook that warns of its first fault, and lets only Ctrl-C reach the user's cell."""

        @functools.wraps(function)
        @uninterrupted
        def guarded(argument: Any = None) -> None:  # noqa: ANN401 - each event has its own
            guard = Guard()  # delays Ctrl-C for the few milliseconds of the hook
            guard.up()
            try:
                function(argument)
            except BaseException as error:  # noqa: BLE001 - IPython would let a SystemExit end the kernel
                if not is_users(error):
                    self._warn_of_fault(event, error)
            finally:
                # IPython would print an interrupt here as a fault of the hook, and continue. Before a cell, it is meant
                # for the cell; after it, the cell has ended already.
                if guard.step_back() and event == "pre_run_cell":
                    _thread.start_new_thread(_interrupt_soon, ())

        def off() -> None:
            if guarded in self._shell.events.callbacks[event]:
                self._shell.events.unregister(event, guarded)

        self._shell.events.register(event, guarded)
        self.on_undo(off)

    def _warn_of_fault(self, event: str, error: BaseException) -> None:
        """Warn of a hook's first fault; the hook stays, because it may work for the next cell."""
        if event in self._faulty:
            return
        self._faulty.add(event)
        with Shield():  # warnings may be errors here, and the error's own repr() may fail
            warnings.warn(
                f"repro_magic's {event} hook failed ({error!r}); your cell is not affected",
                HookFaultWarning,
                stacklevel=3,
            )


def _without_our_frames(original: Callable[..., Any]) -> Callable[..., Any]:
    def structured_traceback(kind: Any, error: Any, traceback: Any, *more: Any, **named: Any) -> Any:  # noqa: ANN401 - as IPython's
        if isinstance(traceback, TracebackType):
            drop_own_frames(traceback)
        return original(kind, error, traceback, *more, **named)

    return structured_traceback


def _interrupt_soon() -> None:
    time.sleep(0.02)
    _thread.interrupt_main()


def remove(items: list[Any], item: object) -> None:
    """Remove an item from a list, if it is still there."""
    for position, candidate in enumerate(items):
        if candidate is item or candidate == item:
            del items[position]
            return
