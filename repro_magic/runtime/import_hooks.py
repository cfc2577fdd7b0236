"""Do something right after a module was imported, and leave no trace once it is done.

`import torch` takes seconds and `import repro_magic` must not cause it. What has to happen in PyTorch (seed it, turn
its switches) therefore waits until the user imports it, be it in the middle of the very cell that asked for it.
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
    """A callback that waits for a module; `cancel` takes it back."""

    def __init__(self, module: str, callback: Callback) -> None:
        """Wait for `module`."""
        self.module = module
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        """Wait no longer; harmless when the callback has already run."""
        self.is_cancelled = True
        _finder.remove(self)


class _Finder(MetaPathFinder):
    """Finds nothing itself: it adds a step to the loader that the other finders give for an awaited module."""

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
            del loader.exec_module  # the module keeps its loader, which is to pickle as any other
            exec_module(module)
            self._call(spec.name)

        # On the instance, so that the loader stays what it is for pkgutil, inspect and importlib.resources.
        loader.exec_module = exec_then_call  # type: ignore[method-assign]

    def _call(self, module: str) -> None:
        _made[sys.modules[module]] = threading.get_ident()
        with self._lock:
            due = [waiting for waiting in self._waiting if waiting.module == module]
            for waiting in due:
                self.remove(waiting)
        for waiting in due:
            if waiting.is_cancelled:  # by another thread, while those before it ran
                continue
            try:
                waiting.callback()
            except Exception as error:  # noqa: BLE001 - the user's import must not fail for a fault of ours
                warnings.warn(
                    f"repro_magic failed after the import of {module}: {error!r}", HookFaultWarning, stacklevel=2
                )


# Modules whose code has run, as their callbacks find them on the thread that imports them: Python calls them whole only
# a moment later, and until then lets other threads wait.
_made: WeakKeyDictionary[ModuleType, int] = WeakKeyDictionary()
_finder = _Finder()


def is_imported(module: str) -> bool:
    """Whether `module` is there as a whole. While it is in the making another thread must not touch it.

    Example:
        >>> is_imported("sys"), is_imported("a_module_that_nobody_has")
        (True, False)
    """
    found = sys.modules.get(module)
    if found is None:
        return False
    return (
        not getattr(getattr(found, "__spec__", None), "_initializing", False)
        or _made.get(found) == threading.get_ident()
    )


def when_imported(module: str, callback: Callback) -> Waiting:
    """Call `callback()` now if `module` is imported, else right after somebody imports it. Never imports it itself.

    An exception in a callback that waited becomes a `HookFaultWarning`: the user's import goes on.

    Example:
        >>> waiting = when_imported("a_module_that_nobody_has", lambda: print("there"))
        >>> waiting.cancel()
    """
    waiting = Waiting(module, callback)
    if sys.modules.get(module) is not None:
        importlib.import_module(module)  # waits for a thread that is still at it
        callback()
    else:
        _finder.add(waiting)
    return waiting


def waiting_for() -> list[str]:
    """The modules somebody waits for, in order."""
    return [waiting.module for waiting in _finder._waiting]  # noqa: SLF001 - the module's own object
