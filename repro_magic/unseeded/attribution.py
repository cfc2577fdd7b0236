"""Who asked for a number that no seed fixes, what they called, and whether it matters: one event, judged."""

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

# Between the user's line and the entropy stand these, and code without a file (a dataclass's __init__). The last two
# are what torch.manual_seed becomes once something was compiled.
_BETWEEN = {"random", "secrets", "uuid", "torch._compile", "torch._dynamo.eval_frame"}
_NUMPYS = {
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
# In a forked process Python seeds its global generator anew, before the call returns.
_FORKS = {"fork", "forkpty"}
# The operating system's own, by whatever name the line has for their module.
_SYSTEMS = {"urandom", "getrandom"}
_PYTHONS = {*sys.stdlib_module_names, "numpy", "torch"}
_UNPICKLING = {"load", "loads"}
# What makes a generator without a seed and gives it a state at once.
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
    """Where the user's code asked.

    Attributes:
        caller: the frame.
        through: the library's function that it called; None where what it called is no Python.
        call: what it called, as its source has it.
    """

    caller: FrameType
    through: FrameType | None
    call: SourceCall

    @classmethod
    def at(cls, frame: FrameType) -> EntropyRequest | None:
        """Look outwards from the frame that led to the entropy; None if it is a library's business."""
        through: FrameType | None = None
        here: FrameType | None = frame
        while here is not None and not is_users(here.f_code.co_filename):
            if not _is_between(here):
                return None
            through, here = here, here.f_back
        if here is None:
            return None
        asked = cls(here, through, call_of(here))
        return None if asked.called in _FORKS else asked

    @functools.cached_property
    def called(self) -> str:
        """The function's own name."""
        return called_by(self.caller).rpartition(".")[2]

    @property
    def through_module(self) -> str:
        """The library whose function was called; empty where that is no Python."""
        return "" if self.through is None else str(self.through.f_globals.get("__name__"))

    def name(self, kind: Kind) -> str:
        """What people call it."""
        if kind in {Kind.NUMPY, Kind.PYTHON} and self.called == "seed":
            return self._of_a_seed("numpy.random.RandomState" if kind is Kind.NUMPY else "random.Random")
        if kind is Kind.NUMPY:
            return f"numpy.random.{self.called}" if self.called in _NUMPYS else "numpy.random.Generator"
        if kind is Kind.SYSTEM and self._is_of_secrets():
            return f"secrets.{self.called}"
        if self.through_module in {"secrets", "uuid"} and self.through is not None:
            return f"{self.through_module}.{self.through.f_code.co_name}"
        if kind is Kind.URANDOM and self.called in {"getrandom", "uuid1"}:
            return {"getrandom": "os.getrandom", "uuid1": "uuid.uuid1"}[self.called]
        return _NAMES.get(kind) or self._of_a_seed(self.call.base)

    def _of_a_seed(self, otherwise: str) -> str:
        """A seeding function with its module's own name: `np.random.seed` is numpy.random's."""
        module = value_of(self.call.base, self.caller) if self.call.base else None
        base = module.__name__ if type(module) is ModuleType else otherwise if self.call.base else ""
        if not base and self.called == "seed":  # from numpy.random import seed
            base = str(getattr(value_of(self.call.written, self.caller), "__module__", "") or "random")
        return f"{base}.{self.called}".strip(".") or "seed"

    def _is_of_secrets(self) -> bool:
        """Whether it is one of those that `secrets` has from a generator of its own."""
        secrets = sys.modules.get("secrets")
        own = None if self.through is None else self.through.f_locals.get("self")
        return secrets is not None and own is secrets._sysrand and bool(self.called)  # noqa: SLF001 - the generator behind `secrets`

    def is_librarys(self, kind: Kind) -> bool:
        """Whether the line calls compiled code of some library, which takes entropy for purposes of its own.

        Such code has no frame between the line and the entropy. Numba, for one, calls `os.urandom` for a generator that
        the compiled function may never use.
        """
        if self.called in _SYSTEMS or (self.through is not None and self.through_module != "random"):
            return False
        module = _module_of(value_of(self.call.written, self.caller)) if self.call.written else None
        if module is None:  # what cannot be looked up is the user's, but for bytes that the call does not name
            return kind is Kind.URANDOM and self.call.node is not None and not self._names_the_systems
        return module.partition(".")[0] not in _PYTHONS and not is_users(_file_of(module))

    @property
    def _names_the_systems(self) -> bool:
        written = "" if self.call.node is None else ast.unparse(self.call.node)
        return any(name in written for name in _SYSTEMS)

    def is_excused(self, kind: Kind) -> bool:
        """Whether nothing depends on it: a library asked, or a generator gets its seed, or its state, at once."""
        if self.is_librarys(kind):
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
        """Whether it may be `RandomState`, by whatever name."""
        return self.called == "RandomState" or self.called not in _NUMPYS

    def has_seed(self) -> bool:
        """Whether NumPy takes entropy for a moment only: `RandomState(5)` does, before it takes the seed."""
        if self.called != "RandomState" or not self.call.arguments:
            return False
        seed = self.call.arguments[0]
        if isinstance(seed, ast.Constant):
            return seed.value is not None
        return not isinstance(seed, ast.Name | ast.Attribute) or value_of(ast.unparse(seed), self.caller) is not None


def _module_of(called: object) -> str | None:
    """The module of a function or class, or of a callable object's class; None where there is none."""
    kind = type(called)
    if called is None or kind is ModuleType:
        return None
    if issubclass(kind, type):
        return str(type.__dict__["__module__"].__get__(called))
    if kind in {FunctionType, BuiltinFunctionType} or kind.__name__ == "cython_function_or_method":
        return str(getattr(called, "__module__", None))
    return str(kind.__module__)


def _file_of(module: str) -> str:
    """The file of an imported module; the notebook's own has none, and is the user's."""
    found = getattr(sys.modules.get(module), "__file__", None)
    return found if isinstance(found, str) else _TYPED


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
# Clocks read before this count too, but not by much.
_STARTED, _BEFORE, _LATELY = time.time(), 60.0, 60.0
_UNITS = (1.0, 1e3, 1e6, 1e9)


def is_clocks(seed: Any, call: SourceCall) -> bool:  # noqa: ANN401 - a seed of any form
    """Whether a seed that a call gives is read from the clock or the process, and so differs between runs."""
    if call.is_constant:
        return False
    return (call.reads(_CLOCKS | _PROCESS_IDS) and not call.chooses) or call.hashes_text or _is_now(seed)


def _is_now(seed: object) -> bool:
    """Whether a number is the time since this process loaded us, in seconds or parts of them."""
    if type(seed) is not int and type(seed) is not float:
        return False
    now = time.time()
    in_milliseconds = int(now * 1e3)
    # NumPy's legacy seeds have 32 bits, so that people cut their milliseconds; 60 s of those are 1 in 70,000 seeds.
    cut = 0 < seed < 2**32 and (in_milliseconds - int(seed)) % 2**32 < _LATELY * 1e3
    return cut or any(_STARTED - _BEFORE <= seed / unit <= now + 1 for unit in _UNITS)
