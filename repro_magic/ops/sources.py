"""Numbers that no seed fixes, as findings: who took entropy from the operating system, at which line of the user's.

Only what the user's own code asks for counts. Libraries draw entropy for names of temporary files, for sockets and for
messages, and nobody's results depend on it.
"""

from __future__ import annotations

import ast
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from repro_magic.exceptions import UnseededGeneratorError
from repro_magic.ops.calls import call_at, called_by, value_of
from repro_magic.ops.findings import Direction, Finding, Status
from repro_magic.ops.source import Site, accepts, is_users, site_of
from repro_magic.rng import entropy
from repro_magic.rng.entropy import Kind

# Between the user's line and the entropy stand these, and code that has no file (a dataclass's __init__).
_BETWEEN = {"random", "secrets", "uuid"}
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
    "seed",
}
_UNPICKLING = {"load", "loads"}
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


@dataclass(frozen=True)
class Source:
    """A way to get numbers that are others in every run.

    Attributes:
        why: why they are.
        remedy: what to do.
        makes: whether it makes or seeds a generator, so that `--strict` refuses it.
        link: where the facts come from.
    """

    why: str
    remedy: str
    link: str
    makes: bool = True


_RANDOM = "https://docs.python.org/3/library/random.html#random.seed"
_SYSTEM = "The operating system's random numbers are others in every run, and no seed reaches them."
SOURCES: Mapping[Kind, Source] = {
    Kind.NUMPY: Source(
        "Without a seed NumPy takes one from the operating system, another in every run; no global seed reaches it.",
        "Give it a seed; %repro_seed N --adopt seeds those that the notebook holds.",
        "https://numpy.org/doc/stable/reference/random/generator.html#numpy.random.default_rng",
    ),
    Kind.PYTHON: Source(
        "Without a seed Python takes one from the operating system, another in every run.",
        "Give it a seed; %repro_seed N --adopt seeds those that the notebook holds.",
        _RANDOM,
    ),
    Kind.TORCH: Source(
        "It seeds PyTorch's generators from the operating system, with another seed in every run.",
        "Write %repro_seed N, or torch.manual_seed(N).",
        "https://docs.pytorch.org/docs/stable/generated/torch.seed.html",
    ),
    Kind.SYSTEM_MADE: Source(
        _SYSTEM,
        "Use random.Random(N) where results depend on it.",
        "https://docs.python.org/3/library/random.html#random.SystemRandom",
    ),
    Kind.SYSTEM: Source(
        _SYSTEM,
        "Use random.Random(N) where results depend on it.",
        "https://docs.python.org/3/library/random.html#random.SystemRandom",
        makes=False,
    ),
    Kind.URANDOM: Source(
        _SYSTEM,
        "Use a seeded generator where results depend on it: random.Random(N).randbytes(n), for example.",
        "https://docs.python.org/3/library/os.html#os.urandom",
        makes=False,
    ),
    Kind.SEEDED: Source(
        "The seed is read from the clock, and another in every run.",
        "Write the seed down: %repro_seed --new draws one and shows it.",
        _RANDOM,
    ),
}


_PIN = "Write %repro_seed N instead, or give it a seed; %repro_seed --new draws one and shows it."


@dataclass(eq=False)
class _Use:
    """One source at one site; `is_countable` is false where one call takes a number of draws that is itself chance."""

    op: str
    source: Source
    site: Site
    code: CodeType
    at: int
    count: int = 0
    is_countable: bool = True

    def finding(self) -> Finding:
        place = self.site.place
        is_global = self.op.endswith(".seed") and self.source is not SOURCES[Kind.SEEDED]
        return Finding(
            op=self.op,
            public=self.op,
            status=Status.ACTIVE,
            device="cpu",
            direction=Direction.FORWARD,
            place=place,
            called_from=self.site.called_from,
            made_by=None,
            count=self.count if self.is_countable else 1,
            at_least=not self.is_countable,
            hot=False,
            why=self.source.why,
            remedy=_PIN if is_global else self.source.remedy,
            elsewhere=None,
            alerts=False,
            graph=False,
            traced=False,
            accepted=accepts(self.site, self.op),
            link=self.source.link,
            is_source=True,
        )


class Sources:
    """The unseeded sources that the user's code used, on any thread, from `open` to `close`.

    Example:
        >>> import random
        >>> sources = Sources()
        >>> sources.open()
        >>> _ = random.Random(), random.Random(1)
        >>> sources.close()
        >>> [(one.op, one.count) for one in sources.findings()]
        [('random.Random', 1)]
    """

    def __init__(self) -> None:
        """Nothing was used."""
        self._uses: dict[object, _Use] = {}
        self._made: WeakKeyDictionary[Any, _Use] = WeakKeyDictionary()
        self._last: _Use | None = None
        self._lock = threading.Lock()
        self._is_open = False

    def open(self) -> None:
        """Begin."""
        self._is_open = True
        entropy.hooks_up()
        entropy.listen(self._take)

    def close(self) -> None:
        """End; a second time does nothing."""
        if self._is_open:
            self._is_open = False
            entropy.unlisten(self._take)
            entropy.hooks_down()

    def findings(self) -> list[Finding]:
        """What was used so far, in the order it came."""
        with self._lock:
            return [use.finding() for use in self._uses.values() if use.count > 0]

    def _take(self, kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - each kind has its own
        asked = _asked(frame)
        if asked is None or kind is Kind.SYSTEM_MADE:  # which is no draw yet
            return
        caller, through = asked
        if kind is Kind.SEEDED:
            self._forget(caller)
            if not is_clocks(value, caller):
                return
        if kind is Kind.PYTHON and called_by(caller).rpartition(".")[2] in _UNPICKLING:
            return  # its state follows
        with self._lock:
            use = self._use(kind, caller, through)
            use.count += 1
            self._last = use
            if kind is Kind.PYTHON and value is not None:
                self._made[value] = use

    def _use(self, kind: Kind, caller: FrameType, through: FrameType | None) -> _Use:
        site = site_of(caller)
        key = kind, id(caller.f_code), caller.f_lasti, site.called_from
        if key not in self._uses:
            op = _name(kind, caller, through)
            countable = kind is not Kind.SYSTEM
            self._uses[key] = _Use(op, SOURCES[kind], site, caller.f_code, caller.f_lasti, is_countable=countable)
        return self._uses[key]

    def _forget(self, caller: FrameType) -> None:
        """A generator that was made without a seed gets one after all."""
        with self._lock:
            last = self._last
            if last is not None and (last.code, last.at) == (caller.f_code, caller.f_lasti):
                last.count -= 1  # RandomState(5): NumPy takes entropy first, and then the seed that it was given
                self._last = None
                return
        base, _, method = called_by(caller).rpartition(".")
        if method != "seed":
            return
        of = value_of(base, caller)
        with self._lock:
            made = self._made.pop(of, None) if _is_weak_key(of) else None
            if made is None:  # NumPy's legacy generators cannot be told apart: by the name that each was bound to
                made = next((use for use in self._uses.values() if use.count > 0 and _binds(use, base)), None)
            if made is not None:
                made.count -= 1


def _is_weak_key(value: object) -> bool:
    return value is not None and getattr(type(value), "__weakrefoffset__", 0) != 0 and type(value).__hash__ is not None


def _binds(use: _Use, name: str) -> bool:
    place = use.site.place
    return place is not None and "".join(place.text.split()).startswith(f"{name}=")


def _asked(frame: FrameType) -> tuple[FrameType, FrameType | None] | None:
    """The frame of the user's that asked, and the library's function that it called; None if a library asked."""
    through: FrameType | None = None
    here: FrameType | None = frame
    while here is not None and not is_users(here.f_code.co_filename):
        if here.f_globals.get("__name__") not in _BETWEEN and not here.f_code.co_filename.startswith("<string"):
            return None
        through, here = here, here.f_back
    return None if here is None else (here, through)


def _name(kind: Kind, caller: FrameType, through: FrameType | None) -> str:
    """What people call it."""
    called = called_by(caller).rpartition(".")[2]
    if kind is Kind.NUMPY:
        return f"numpy.random.{called}" if called in _NUMPYS else "numpy.random.Generator"
    if kind is Kind.PYTHON:
        return "random.seed" if through is None or called == "seed" else "random.Random"
    if kind is Kind.TORCH:
        return "torch.seed"
    if through is not None and through.f_globals.get("__name__") in {"secrets", "uuid"}:
        return f"{through.f_globals['__name__']}.{through.f_code.co_name}"
    if kind is Kind.SYSTEM:
        secrets = sys.modules.get("secrets")
        own = through is not None and through.f_locals.get("self")
        is_secrets = secrets is not None and own is secrets._sysrand  # noqa: SLF001 - secrets.choice is its method
        return f"secrets.{called}" if is_secrets and called else "random.SystemRandom"
    return "os.urandom" if kind is Kind.URANDOM else _full_name(caller)


def _full_name(caller: FrameType) -> str:
    """The seeding function with its module's own name: `np.random.seed` is numpy.random's."""
    base, _, called = called_by(caller).rpartition(".")
    module = value_of(base, caller) if base else None
    base = module.__name__ if isinstance(module, ModuleType) else base
    return f"{base}.{called}".strip(".") or "seed"


# Clocks read before this count too, but not by much.
_STARTED, _BEFORE, _LATELY = time.time(), 60.0, 60.0
_UNITS = (1.0, 1e3, 1e6, 1e9)


def is_clocks(seed: object, frame: FrameType) -> bool:
    """Whether a seed that the frame gives at this moment is read from the clock."""
    call = call_at(frame.f_code, frame.f_lasti)
    arguments = [] if call is None else [*call.args, *(one.value for one in call.keywords)]
    if arguments and all(isinstance(one, ast.Constant) for one in arguments):
        return False
    nodes = [node for one in arguments for node in ast.walk(one)]
    reads = any(_is_clock(node) for node in nodes)
    chooses = any(isinstance(node, ast.IfExp | ast.BoolOp) for node in nodes)
    return (reads and not chooses) or _is_now(seed)


def _is_clock(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    return name in _CLOCKS


def _is_now(seed: object) -> bool:
    """Whether a number is the time since this process loaded us, in seconds or parts of them."""
    if isinstance(seed, bool) or not isinstance(seed, int | float):
        return False
    now = time.time()
    in_milliseconds = int(now * 1e3)
    # NumPy's legacy seeds have 32 bits, so that people cut their milliseconds; 60 s of those are 1 in 70,000 seeds.
    cut = 0 < seed < 2**32 and (in_milliseconds - int(seed)) % 2**32 < _LATELY * 1e3
    return cut or any(_STARTED - _BEFORE <= seed / unit <= now + 1 for unit in _UNITS)


def _refuse(kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - each kind has its own
    asked = _asked(frame)
    if asked is None or not SOURCES[kind].makes:
        return
    caller, through = asked
    if kind is Kind.SEEDED and not is_clocks(value, caller):
        return
    if kind is Kind.NUMPY and _has_seed(caller):
        return
    if kind is Kind.PYTHON and called_by(caller).rpartition(".")[2] in _UNPICKLING:
        return
    op, site = ("random.SystemRandom" if kind is Kind.SYSTEM_MADE else _name(kind, caller, through)), site_of(caller)
    if accepts(site, op):
        return
    place, source = site.place, SOURCES[kind]
    where = "" if place is None else f" at line {place.line} ({place.text})"
    raise UnseededGeneratorError(
        f"{op}{where} was stopped, for %repro_seed --strict is in force. {source.why} {source.remedy}",
        op=op,
        line=None if place is None else place.line,
        remedy=source.remedy,
    )


def _has_seed(caller: FrameType) -> bool:
    """Whether NumPy takes entropy only for a moment: `RandomState(5)` does, before it takes the seed."""
    call = call_at(caller.f_code, caller.f_lasti)
    if call is None or called_by(caller).rpartition(".")[2] != "RandomState":
        return False
    given = [*call.args, *(one.value for one in call.keywords)]
    if not given:
        return False
    seed = given[0]
    if isinstance(seed, ast.Constant):
        return seed.value is not None
    return not isinstance(seed, ast.Name | ast.Attribute) or value_of(ast.unparse(seed), caller) is not None


_undo: list[Callable[[], None]] = []


def refuse_unseeded() -> None:
    """Make it an error to make or seed a generator without a seed in the user's code, until `allow_unseeded`."""
    if not _undo:
        entropy.hooks_up()
        entropy.listen(_refuse)
        _undo.extend([entropy.hooks_down, lambda: entropy.unlisten(_refuse)])


def allow_unseeded() -> None:
    """Make it none; harmless if it was none."""
    while _undo:
        _undo.pop()()
