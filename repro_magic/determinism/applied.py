"""Turn switches together, and restore them exactly as they were.

A switch whose module is not imported yet is turned right after the import.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repro_magic.determinism.switches import Reading, Switch
from repro_magic.exceptions import NotRestorableError
from repro_magic.runtime.forks import ForkSafeLock
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported


@dataclass(frozen=True)
class Change:
    """A switch that was turned: its value before and since."""

    switch: Switch
    before: Any
    during: Any


@dataclass(eq=False)
class Applied:
    """Switches that were turned together.

    Attributes:
        targets: the values to set.
        changes: every switch that was set, even if it had the value already, in the order of setting.
        overridden: filled by `restore`: switches that other code turned in the meantime, with its values.
    """

    targets: Mapping[Switch, Any]
    changes: list[Change] = field(default_factory=list)
    overridden: list[Reading] = field(default_factory=list)
    _waiting: list[Waiting] = field(default_factory=list)

    def _turn(self) -> None:
        for module in dict.fromkeys(switch.module for switch in self.targets):
            if module is None or is_imported(module):
                self._turn_module(module)
            else:
                self._waiting.append(when_imported(module, functools.partial(self._turn_module, module)))

    def _turn_module(self, module: str | None) -> None:
        for switch, value in self.targets.items():
            if switch.module == module and switch.present() and self in _active:  # another thread may have restored
                before = switch.read()
                self.changes.append(
                    Change(switch, before, value)
                )  # before the write, so that an interrupt can restore it
                switch.write(value)

    def restore(self) -> None:
        """Restore every switch, whatever other code did to it since.

        Scopes may end in any order (two asyncio tasks, for example): the values from before this scope are handed to
        the scope that began after it.

        Raises:
            NotRestorableError: a switch rejected its old value. All others are restored.
        """
        with _lock:
            for waiting in self._waiting:
                waiting.cancel()
            position = _active.index(self)
            later = _active[position + 1] if position + 1 < len(_active) else None
            _active.remove(self)
            failures = self._write_back_all(later)
        if failures:
            refusals = "; ".join(f"{name}: {error}" for name, error in failures.items())
            raise NotRestorableError(f"could not restore {refusals}")

    def _write_back_all(self, later: Applied | None) -> dict[str, Exception]:
        failures: dict[str, Exception] = {}
        for change in reversed(self.changes):
            try:
                self._note_override(change, later)
                self._write_back(change, later)
            except Exception as error:  # noqa: BLE001 - a failing switch must not keep the others from being restored
                failures[change.switch.name] = error
        return failures

    def _note_override(self, change: Change, later: Applied | None) -> None:
        current = change.switch.guarded_read()
        if later is None and current != change.during:
            self.overridden.append(Reading(change.switch, current))

    def _write_back(self, change: Change, later: Applied | None) -> None:
        for position, other in enumerate(later.changes if later is not None else ()):
            if later is not None and other.switch is change.switch:
                later.changes[position] = replace(other, before=change.before)
                return
        change.switch.write(change.before)


_active: list[Applied] = []
_lock = ForkSafeLock()


def apply(targets: Mapping[Switch, Any]) -> Applied:
    """Turn switches, now or right after the import of their module.

    If a switch cannot be turned, the switches turned so far are restored and the error propagates.

    Example:
        >>> from repro_magic.determinism.switches import CUBLAS_WORKSPACE
        >>> applied = apply({CUBLAS_WORKSPACE: ":4096:8"})
        >>> import os
        >>> os.environ["CUBLAS_WORKSPACE_CONFIG"]
        ':4096:8'
        >>> applied.restore()
    """
    applied = Applied(targets)
    with _lock:
        _active.append(applied)
        try:
            applied._turn()  # noqa: SLF001 - this function is the constructor of `Applied`
        except BaseException:
            applied.restore()
            raise
    return applied
