"""What a cell may change besides the names that it reaches: then all values are read again after it."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

# What runs code from texts, or gives a namespace away.
_ANYTHING = frozenset({"exec", "eval", "compile", "globals", "locals", "vars", "__import__", "get_ipython"})
# Magics whose words `proof.reach` reads, and those that touch no values.
_PLAIN_MAGICS = frozenset({"time", "timeit", "capture", "matplotlib", "config"})
# Modules that write memory by its address, or find objects without a name.
_BY_ADDRESS = frozenset({"ctypes", "_ctypes", "cffi", "mmap", "gc", "inspect"})
_OURS = __name__.partition(".")[0]


def may_change_anything(words: Iterable[str], names: Mapping[str, object]) -> bool:
    """Whether a cell with these words, its functions' included, may change values that it does not name."""
    found = set(words)
    if found & _ANYTHING and not (found & _ANYTHING == {"get_ipython"} and found & _PLAIN_MAGICS):
        return True
    return any(_has_state(_module_of(names[word])) for word in found if word in names)


def _module_of(value: object) -> str:
    """The top-level package that a module, function, class or object comes from."""
    if isinstance(value, ModuleType):
        name = ModuleType.__getattribute__(value, "__dict__").get("__name__")
    elif isinstance(value, FunctionType | BuiltinFunctionType):
        name = value.__module__
    else:
        name = (value if isinstance(value, type) else type(value)).__module__
    return name.partition(".")[0] if isinstance(name, str) else ""


@functools.cache
def _has_state(package: str) -> bool:
    """Whether a package may hold the notebook's arrays in variables of its own: one that is not installed."""
    if package in _BY_ADDRESS:
        return True
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None or package in {"__main__", _OURS}:
        return False
    folders = {*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib")}
    return not any(Path(file).is_relative_to(folder) for folder in folders)


class Threads:
    """The threads that were not there in the beginning: while they live, they may write at any time."""

    def __init__(self) -> None:
        """Those that run now are known."""
        self._known = {thread.ident for thread in threading.enumerate()}
        self._were_there = False

    def may_have_written(self) -> bool:
        """Whether there are others now, or were when it was asked last."""
        were_there, self._were_there = self._were_there, any(map(self._is_other, threading.enumerate()))
        return were_there or self._were_there

    def _is_other(self, thread: threading.Thread) -> bool:
        return thread.ident not in self._known and not type(thread).__module__.startswith("tqdm.")  # its monitor
