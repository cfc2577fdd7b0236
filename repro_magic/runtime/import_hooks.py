"""Calls back right after a module is imported, and leaves no trace afterwards.

`import torch` takes seconds, so `import repro_magic` must not cause it. Work on PyTorch, such as seeding and turning
switches, waits until the user imports it, even in the middle of the cell that requested the work.
"""

from __future__ import annotations

import importlib
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from weakref import WeakKeyDictionary

from repro_magic.exceptions import HookFaultWarning
from repro_magic.runtime.forks import ForkSafeLock

Callback = Callable[[], object]


class Waiting:
    """A callback that waits for the import of a module."""

    def __init__(self, module: str, callback: Callback) -> None:
        """Wait for `module`."""
        self.module = module
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        """Stop waiting; does nothing if the callback has run."""
        self.is_cancelled = True
        _finder.remove(self)


class _Finder(MetaPathFinder):
    """Extends the loader of an awaited module, which the other finders find, by a call of the callbacks."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._lock = ForkSafeLock()

    def add(self, waiting: Waiting) -> None:
        with self._lock:
            self._waiting.append(waiting)
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)

    def remove(self, waiting: Waiting) -> None:
        with self._lock:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            if not self._waiting and self in sys.meta_path:
                sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not any(waiting.module == fullname for waiting in tuple(self._waiting)):
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                self._extend(spec)
                return spec
        return None

    def _extend(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        if loader is None or isinstance(loader, type):  # a namespace package, or a class shared by all built-in modules
            return
        exec_module = loader.exec_module

        def exec_then_call(module: ModuleType) -> None:
            del loader.exec_module  # the module keeps its loader, which must stay picklable
            exec_module(module)
            self._call(spec.name)

        # Set on the instance, because pkgutil, inspect and importlib.resources depend on the loader's class.
        loader.exec_module = exec_then_call  # type: ignore[method-assign]

    def _call(self, module: str) -> None:
        _executed[sys.modules[module]] = threading.get_ident()
        with self._lock:
            due = [waiting for waiting in self._waiting if waiting.module == module]
            for waiting in due:
                self.remove(waiting)
        for waiting in due:
            if waiting.is_cancelled:  # by another thread, while earlier callbacks ran
                continue
            try:
                waiting.callback()
            except Exception as error:  # noqa: BLE001 - a fault of a callback must not make the user's import fail
                warnings.warn(
                    f"repro_magic failed after the import of {module}: {error!r}", HookFaultWarning, stacklevel=2
                )


# Modules whose code has run, with the importing thread. Their callbacks run before Python marks them as initialized;
# until then, other threads have to wait.
_executed: WeakKeyDictionary[ModuleType, int] = WeakKeyDictionary()
_finder = _Finder()


def is_imported(module: str) -> bool:
    """Whether `module` is imported completely; other threads must not use it while its import runs.

    Example:
        >>> is_imported("sys"), is_imported("a_module_that_nobody_has")
        (True, False)
    """
    loaded = sys.modules.get(module)
    if loaded is None:
        return False
    return (
        not getattr(getattr(loaded, "__spec__", None), "_initializing", False)
        or _executed.get(loaded) == threading.get_ident()
    )


def when_imported(module: str, callback: Callback) -> Waiting:
    """Call `callback()` now if `module` is imported, or else right after its import. Never imports it.

    An exception in a callback that waited becomes a `HookFaultWarning`, so that the user's import continues.

    Example:
        >>> waiting = when_imported("a_module_that_nobody_has", lambda: print("there"))
        >>> waiting.cancel()
    """
    waiting = Waiting(module, callback)
    if sys.modules.get(module) is not None:
        importlib.import_module(module)  # waits for another thread's import to end
        callback()
    else:
        _finder.add(waiting)
    return waiting


def waiting_for() -> list[str]:
    """The modules that callbacks wait for, in order."""
    return [waiting.module for waiting in _finder._waiting]  # noqa: SLF001 - private to this module
