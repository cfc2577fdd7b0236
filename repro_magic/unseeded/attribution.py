"""Attributes a request for entropy to a line of the user's code, and decides whether results depend on it."""

from __future__ import annotations

import ast
import functools
import sys
import time
from dataclasses import dataclass
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

from repro_magic.introspection.call_source import SourceCall, call_of, called_by, value_of
from repro_magic.introspection.location import is_users
from repro_magic.rng.entropy import Kind

# Modules whose frames may stand between the user's line and the entropy, besides code without a file (a dataclass's
# __init__). After a compilation, torch.manual_seed runs through the last two.
_BETWEEN = {"random", "secrets", "uuid", "torch._compile", "torch._dynamo.eval_frame"}
_NUMPY_NAMES = {
    "default_rng",
    "RandomState",
    "SeedSequence",
    "Generator",
    "MT19937",
    "PCG64",
    "PCG64DXSM",
    "Philox",
    "SFC64",
}
# In a forked process Python reseeds its global generator before the call returns.
_FORKS = {"fork", "forkpty"}
# The operating system's sources; the line may name their module in any way.
_SYSTEM_NAMES = {"urandom", "getrandom"}
_BASE_PACKAGES = {*sys.stdlib_module_names, "numpy", "torch"}
_UNPICKLING = {"load", "loads"}
# Methods that create an unseeded generator and set its state at once.
_STATE_FOLLOWS = {"jumped", "spawn"}
_CLOCKS = {
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "process_time_ns",
    "clock_gettime",
    "clock_gettime_ns",
    "now",
    "utcnow",
    "today",
}

_PROCESS_IDS = {"getpid", "getppid", "get_native_id"}


@dataclass(frozen=True)
class EntropyRequest:
    """A call in the user's code that took entropy.

    Attributes:
        caller: the frame of the user's code.
        through: the frame of the library function that it called; None if that is not written in Python.
        call: the call in the source.
    """

    caller: FrameType
    through: FrameType | None
    call: SourceCall

    @classmethod
    def at(cls, frame: FrameType) -> EntropyRequest | None:
        """Find the user's call, outwards from the innermost frame; None if a library made the request."""
        through: FrameType | None = None
        current: FrameType | None = frame
        while current is not None and not is_users(current.f_code.co_filename):
            if not _is_between(current):
                return None
            through, current = current, current.f_back
        if current is None:
            return None
        request = cls(current, through, call_of(current))
        return None if request.called in _FORKS else request

    @functools.cached_property
    def called(self) -> str:
        """The name of the called function."""
        return called_by(self.caller).rpartition(".")[2]

    @property
    def through_module(self) -> str:
        """The module of the called function; empty if it is not written in Python."""
        return "" if self.through is None else str(self.through.f_globals.get("__name__"))

    def name(self, kind: Kind) -> str:
        """The public name of the called function."""
        if kind in {Kind.NUMPY, Kind.PYTHON} and self.called == "seed":
            return self._seeding_name("numpy.random.RandomState" if kind is Kind.NUMPY else "random.Random")
        if kind is Kind.NUMPY:
            return f"numpy.random.{self.called}" if self.called in _NUMPY_NAMES else "numpy.random.Generator"
        if kind is Kind.SYSTEM and self._is_from_secrets():
            return f"secrets.{self.called}"
        if self.through_module in {"secrets", "uuid"} and self.through is not None:
            return f"{self.through_module}.{self.through.f_code.co_name}"
        if kind is Kind.URANDOM and self.called in {"getrandom", "uuid1"}:
            return {"getrandom": "os.getrandom", "uuid1": "uuid.uuid1"}[self.called]
        return _NAMES.get(kind) or self._seeding_name(self.call.base)

    def _seeding_name(self, otherwise: str) -> str:
        """The name of a seeding function, with its module's full name: `numpy.random.seed` for `np.random.seed`."""
        module = value_of(self.call.base, self.caller) if self.call.base else None
        base = module.__name__ if type(module) is ModuleType else otherwise if self.call.base else ""
        if not base and self.called == "seed":  # from numpy.random import seed
            base = str(getattr(value_of(self.call.written, self.caller), "__module__", "") or "random")
        return f"{base}.{self.called}".strip(".") or "seed"

    def _is_from_secrets(self) -> bool:
        """Whether it is a function that `secrets` takes from its private generator."""
        secrets = sys.modules.get("secrets")
        own = None if self.through is None else self.through.f_locals.get("self")
        return secrets is not None and own is secrets._sysrand and bool(self.called)  # noqa: SLF001 - the generator behind `secrets`

    def is_library_call(self, kind: Kind) -> bool:
        """Whether the line calls compiled code of a library that takes entropy for its own purposes.

        Such code has no frame between the line and the entropy. Numba, for example, calls `os.urandom` for a generator
        that the compiled function may never use.
        """
        if self.called in _SYSTEM_NAMES or (self.through is not None and self.through_module != "random"):
            return False
        module = _module_of(value_of(self.call.written, self.caller)) if self.call.written else None
        if module is None:  # unknown calls count as the user's, except for bytes from a source that they do not name
            return kind is Kind.URANDOM and self.call.node is not None and not self._names_system_source
        return module.partition(".")[0] not in _BASE_PACKAGES and not is_users(_file_of(module))

    @property
    def _names_system_source(self) -> bool:
        written = "" if self.call.node is None else ast.unparse(self.call.node)
        return any(name in written for name in _SYSTEM_NAMES)

    def is_excused(self, kind: Kind) -> bool:
        """Whether no result depends on it: a library call, or a generator whose seed or state is set at once."""
        if self.is_library_call(kind):
            return True
        if kind is Kind.PYTHON and self.called in _UNPICKLING:
            return True
        if kind is Kind.NUMPY and (self.called in _STATE_FOLLOWS or self._has_key()):
            return True
        return kind in {Kind.PYTHON, Kind.NUMPY} and self.call.is_completed_below

    def _has_key(self) -> bool:
        return self.called == "Philox" and self.call.has_keyword("key")

    @property
    def may_be_legacy(self) -> bool:
        """Whether it may be `RandomState` under any name."""
        return self.called == "RandomState" or self.called not in _NUMPY_NAMES

    def has_seed(self) -> bool:
        """Whether a seed follows: `RandomState(5)` takes entropy first, and then the seed."""
        if self.called != "RandomState" or not self.call.arguments:
            return False
        seed = self.call.arguments[0]
        if isinstance(seed, ast.Constant):
            return seed.value is not None
        return not isinstance(seed, ast.Name | ast.Attribute) or value_of(ast.unparse(seed), self.caller) is not None


def _module_of(called: object) -> str | None:
    """The module of a function or class, or of a callable object's class; None if there is none."""
    kind = type(called)
    if called is None or kind is ModuleType:
        return None
    if issubclass(kind, type):
        return str(type.__dict__["__module__"].__get__(called))
    if kind in {FunctionType, BuiltinFunctionType} or kind.__name__ == "cython_function_or_method":
        return str(getattr(called, "__module__", None))
    return str(kind.__module__)


def _file_of(module: str) -> str:
    """The file of an imported module; the notebook's module has no file, and counts as the user's."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file if isinstance(file, str) else _TYPED


_TYPED = "<stdin>"


def _is_between(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _BETWEEN or frame.f_code.co_filename.startswith("<string")


_NAMES = {
    Kind.PYTHON: "random.Random",
    Kind.TORCH: "torch.seed",
    Kind.SYSTEM: "random.SystemRandom",
    Kind.SYSTEM_MADE: "random.SystemRandom",
    Kind.URANDOM: "os.urandom",
}
# A clock reading counts from _MARGIN seconds before this module was loaded.
_STARTED, _MARGIN, _RECENT = time.time(), 60.0, 60.0
_UNITS = (1.0, 1e3, 1e6, 1e9)


def is_clocks(seed: Any, call: SourceCall) -> bool:  # noqa: ANN401 - a seed of any form
    """Whether the seed that a call passes comes from the clock or the process, and so differs between runs."""
    if call.is_constant:
        return False
    return (call.reads(_CLOCKS | _PROCESS_IDS) and not call.chooses) or call.hashes_text or _is_now(seed)


def _is_now(seed: object) -> bool:
    """Whether a number is a clock reading of this process, in seconds or fractions of seconds."""
    if type(seed) is not int and type(seed) is not float:
        return False
    now = time.time()
    in_milliseconds = int(now * 1e3)
    # NumPy's legacy seeds have 32 bits, so people truncate milliseconds. A minute covers 1 in 70,000 seeds.
    cut = 0 < seed < 2**32 and (in_milliseconds - int(seed)) % 2**32 < _RECENT * 1e3
    return cut or any(_STARTED - _MARGIN <= seed / unit <= now + 1 for unit in _UNITS)
