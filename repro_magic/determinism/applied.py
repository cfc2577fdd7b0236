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
        changes: every switch that was set, also one that had the value already, in the order of setting.
        overridden: found while restoring: switches that other code had turned in the meantime, with its value.
    """

    targets: Mapping[Switch, Any]
    changes: list[Change] = field(default_factory=list)
    overridden: list[Reading] = field(default_factory=list)
    _waiting: list[Waiting] = field(default_factory=list)

    def _turn(self) -> None:
        for module in dict.fromkeys(switch.module for switch in self.targets):
            if module is None or is_imported(module):
                self._turn_those_of(module)
            else:
                self._waiting.append(when_imported(module, functools.partial(self._turn_those_of, module)))

    def _turn_those_of(self, module: str | None) -> None:
        for switch, value in self.targets.items():
            if switch.module == module and switch.present() and self in _active:  # else restored by another thread
                before = switch.read()
                self.changes.append(Change(switch, before, value))  # first, so that an interrupt finds it
                switch.write(value)

    def restore(self) -> None:
        """Put every switch back as it was, whatever was done to it since.

        Scopes that end in another order than they began (two asyncio tasks, say) leave the right values too: what was
        before this one is handed to the one that began after it.

        Raises:
            NotRestorableError: a switch refused its old value. All others are back.
        """
        with _lock:
            for waiting in self._waiting:
                waiting.cancel()
            position = _active.index(self)
            later = _active[position + 1] if position + 1 < len(_active) else None
            _active.remove(self)
            failures = self._put_all_back(later)
        if failures:
            told = "; ".join(f"{name}: {error}" for name, error in failures.items())
            raise NotRestorableError(f"could not restore {told}")

    def _put_all_back(self, later: Applied | None) -> dict[str, Exception]:
        failures: dict[str, Exception] = {}
        for change in reversed(self.changes):
            try:
                self._note_override(change, later)
                self._put_back(change, later)
            except Exception as error:  # noqa: BLE001 - one switch must not keep the others from it
                failures[change.switch.name] = error
        return failures

    def _note_override(self, change: Change, later: Applied | None) -> None:
        found = change.switch.guarded_read()
        if later is None and found != change.during:
            self.overridden.append(Reading(change.switch, found))

    def _put_back(self, change: Change, later: Applied | None) -> None:
        for position, kept in enumerate(later.changes if later is not None else ()):
            if later is not None and kept.switch is change.switch:
                later.changes[position] = replace(kept, before=change.before)
                return
        change.switch.write(change.before)


_active: list[Applied] = []
_lock = ForkSafeLock()


def apply(targets: Mapping[Switch, Any]) -> Applied:
    """Turn switches. Those whose module is not imported yet follow right after its import.

    If one cannot be turned, those before it are put back and the error goes on.

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
            applied._turn()  # noqa: SLF001 - the class and this function are one
        except BaseException:
            applied.restore()
            raise
    return applied
