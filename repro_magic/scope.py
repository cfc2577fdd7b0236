"""`deterministic()` and `watch()`: seed, switches and watching, put together for `with`, decorators and cells alike."""

from __future__ import annotations

import abc
import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from repro_magic.determinism.advice import Fixed, cublas_workspace
from repro_magic.determinism.switches import (
    Applied,
    Change,
    Reading,
    apply,
    checked_threads,
    deterministic_targets,
)
from repro_magic.exceptions import NondeterminismWarning, NondeterministicOpError
from repro_magic.findings import Direction, Draw, Finding
from repro_magic.introspection.location import drop_own_frames
from repro_magic.rng.generators import checked_seed
from repro_magic.rng.seeding import Snapshot, seed_quietly
from repro_magic.runtime.interrupts import Guard, uninterrupted
from repro_magic.runtime.public import public
from repro_magic.watching import Watch, is_watching

_P = ParamSpec("_P")
_R = TypeVar("_R")
_E = TypeVar("_E")


@public
@dataclass
class WatchReport:
    """What ran in a watched scope. It fills while the scope runs.

    Attributes:
        findings: the flagged ops that ran and the unseeded sources that were used, active ones first.
        draws: the random ops that drew.
    """

    _watch: Watch = field(default_factory=Watch, repr=False)

    @property
    def findings(self) -> list[Finding]:
        """The flagged ops that ran so far and the unseeded sources that were used, active ones first."""
        return self._watch.findings

    @property
    def draws(self) -> list[Draw]:
        """The random ops that drew so far."""
        return self._watch.draws


@public
@dataclass
class Report(WatchReport):
    """What a deterministic scope did. It fills while the scope runs.

    Attributes:
        findings: the flagged ops that ran and the unseeded sources that were used, active ones first.
        draws: the random ops that drew.
        seed: the seed given at the start, None when the generators were left alone.
        strict: whether an op without a deterministic path raises.
        name: the name given by the user.
        threads: threads of one CPU op while the scope ran; None as long as torch is not imported.
        changes: each switch that was set, its value before and during. Without torch only the variable is.
        overridden: switches that the code inside turned away from what the scope had set; they were put back too.
        advice: what could not be had in this process any more.
        rng_restored: whether the generators were put back at the end.
        rng_not_restored: generators that did not exist, or could not be read, at the start.
    """

    seed: int | None = None
    strict: bool = False
    name: str | None = None
    threads: int | None = None
    changes: list[Change] = field(default_factory=list)
    overridden: list[Reading] = field(default_factory=list)
    advice: list[Fixed] = field(default_factory=list)
    rng_restored: bool = False
    rng_not_restored: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> NondeterministicOpError | None:
        """The error by which a strict scope stopped an op, also if the code inside caught it; None if none."""
        return self._watch.refused


@dataclass
class _Entry:
    """One entry of a scope, until it is left."""

    report: Report
    applied: Applied
    snapshot: Snapshot | None
    guard: Guard
    watch: Watch


# A cell block has as many; the rest is in the report.
_MOST = 20


def _warn(report: WatchReport, level: int) -> None:
    """One `NondeterminismWarning` for all that may differ; nothing if nothing does, or if a watch around tells it."""
    told = [finding for finding in report.findings if finding.warns]
    if not told or is_watching():
        return
    lines = [_in_a_line(finding) for finding in told[:_MOST]]
    if len(told) > _MOST:
        lines.append(f"… and {len(told) - _MOST} more in report.findings")
    text = "results may differ from run to run\n  " + "\n  ".join(lines)
    warnings.warn(text, NondeterminismWarning, stacklevel=level + 1)


def _in_a_line(finding: Finding) -> str:
    direction = " in the backward pass" if finding.direction is Direction.BACKWARD else ""
    where = "no line of yours" if finding.place is None else f"{finding.place.file} line {finding.line}"
    calls = "in a compiled graph" if finding.graph else f"{finding.count} call{'s' * (finding.count != 1)}"
    calls += " in DataLoader workers" * finding.worker
    remedy = _in_a_script(finding.remedy)
    return f"{finding.op}{direction} on {finding.device}, {where}, {calls}: {finding.why} {remedy}"


_FOR_SCRIPTS = {
    "un the cell under %%deterministic": "un it under repro_magic.deterministic()",
    "%%deterministic": "repro_magic.deterministic()",
    "; %repro_seed N --adopt seeds those that the notebook holds": "",
    "; %repro_seed --new draws one and shows it": "",
    ": %repro_seed --new draws one and shows it": "",
    "%repro_seed N": "repro_magic.seed_everything(N)",
}


def _in_a_script(remedy: str) -> str:
    """A remedy for people without cells and magics."""
    for magic, function in _FOR_SCRIPTS.items():
        remedy = remedy.replace(magic, function)
    return remedy


class _Scope(Generic[_E]):
    """What both scopes have in common: entries that nest on each thread, and calls of a function that may overlap."""

    def __init__(self) -> None:
        self._entries: dict[int, list[_E]] = {}

    def _push(self, entry: _E) -> None:
        self._entries.setdefault(threading.get_ident(), []).append(entry)

    def _pop(self) -> _E:
        """The last entry of this thread; where it has none, of another: whoever hands a scope on wants it closed."""
        here = self._entries.get(threading.get_ident())
        entries = here or next(filter(None, list(self._entries.values())), None)
        if not entries:
            raise RuntimeError(f"{type(self).__name__}() was left more often than it was entered")
        return entries.pop()

    @abc.abstractmethod
    def _another(self) -> AbstractContextManager[object]:
        """The same scope for another call: calls of a decorated function may overlap, on threads or as tasks."""

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Decorate `function`: each call enters the scope anew."""
        name = type(self).__name__
        if isinstance(function, type | staticmethod | classmethod) or not callable(function):
            raise TypeError(
                f"{name}() decorates functions, not {function!r}; decorate its methods, "
                "below @staticmethod or @classmethod"
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{name}() cannot decorate the generator function {function.__qualname__!r}: its body "
                f"runs after the call has returned. Use `with {name}():` around the loop that consumes it."
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: _P.args, **kwargs: _P.kwargs) -> Any:  # noqa: ANN401 - as the function
                with self._another():
                    return await function(*args, **kwargs)

            return cast("Callable[_P, _R]", awaited)

        @functools.wraps(function)
        def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self._another():
                return function(*args, **kwargs)

        return called


@public
class watch(_Scope["tuple[WatchReport, Watch, Guard]"]):  # noqa: N801 - used like a function, as torch.no_grad is
    """See which flagged ops run, on this thread and on those it starts; nothing else is changed.

    Args:
        warn: emit one `NondeterminismWarning` at the end if results may differ.

    Returns:
        The context manager; its `with` target is a `WatchReport`. It is a decorator as well, of functions and of
        coroutine functions.

    Raises:
        TypeError: used as a decorator of a class, or of a generator function, whose body would run after the call.

    Example:
        >>> import torch
        >>> with watch() as report:
        ...     _ = torch.zeros(4).index_add_(0, torch.tensor([0, 0, 1]), torch.ones(3))
        >>> [(one.op, one.status.value, one.count) for one in report.findings]
        [('index_add_', 'latent', 1)]
    """

    def __init__(self, *, warn: bool = True) -> None:
        """Nothing is watched before the scope is entered."""
        super().__init__()
        self._should_warn = warn

    @uninterrupted
    def __enter__(self) -> WatchReport:
        """Begin."""
        guard = Guard()
        guard.up()
        watching = Watch()
        report = WatchReport(watching)
        try:
            watching.open()
        except BaseException:
            watching.close()
            guard.down()
            raise
        self._push((report, watching, guard))
        if guard.pending:
            self.__exit__(None, None, None)  # which raises it
        return report

    @uninterrupted
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End; the exception goes on, and then there is no warning beside it."""
        report, watching, guard = self._pop()
        try:
            watching.close()
        finally:
            guard.down()
        if error is not None:
            drop_own_frames(error.__traceback__)
        elif self._should_warn:
            _warn(report, 2)

    def _another(self) -> watch:
        return watch(warn=self._should_warn)


@public
class deterministic(_Scope[_Entry]):  # noqa: N801 - used like a function, as torch.no_grad is
    """Run code with PyTorch's deterministic switches on, and put every switch back afterwards.

    On entry: `torch.use_deterministic_algorithms` (it warns where an op has no deterministic path; it raises if
    `strict`, or if you had it raise before), `cudnn.deterministic=True`, `cudnn.benchmark=False`,
    `fill_uninitialized_memory`, `mkldnn.deterministic`, Inductor's `deterministic`, and `CUBLAS_WORKSPACE_CONFIG`. If
    torch (or Inductor) is imported only inside, they are turned then. On exit, be it by an error, Ctrl-C or SystemExit,
    each is what it was, a user's own value included.

    Flagged ops are watched: `report.findings` tells which ran, and if strict, one that may differ raises
    `NondeterministicOpError` before it runs. Fused attention takes its deterministic path although the mode is to warn.

    The switches belong to the process: code on other threads runs under them too, while the scope is open.

    Args:
        seed: seed all generators on entry, as `seed_everything` does; None leaves them alone. 0 <= seed < 2**64.
        strict: an op without a deterministic path raises instead of warning.
        threads: threads of one CPU op inside, from 1; None leaves the number alone.
        name: a name of the user's, kept in the report.
        restore_rng: put all generators back on exit, too.
        warn: emit one `NondeterminismWarning` at the end if results may differ all the same.

    Returns:
        The context manager; its `with` target is a `Report`. It is a decorator as well, of functions and of coroutine
        functions, and one object may be entered several times, also nested.

    Raises:
        InvalidSeedError: `seed` is no such integer.
        InvalidThreadsError: `threads` is no such integer.
        NondeterministicOpError: `strict`, and an op may differ; also where other code wrapped that error.
        TypeError: used as a decorator of a class, or of a generator function, whose body would run after the call.

    Source:
        https://docs.pytorch.org/docs/stable/notes/randomness.html

    Example:
        >>> import random
        >>> with deterministic(seed=42) as report:
        ...     random.random()
        0.6394267984578837
        >>> report.seed
        42
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the user's
        self,
        seed: int | None = None,
        *,
        strict: bool = False,
        threads: int | None = None,
        name: str | None = None,
        restore_rng: bool = False,
        warn: bool = True,
    ) -> None:
        """Check the arguments; nothing is changed before the scope is entered."""
        if callable(seed) and not hasattr(seed, "__index__"):
            raise TypeError("as a decorator it takes parentheses: @deterministic() or @deterministic(seed=42)")
        super().__init__()
        self._seed = None if seed is None else checked_seed(seed)
        self._threads = None if threads is None else checked_threads(threads)
        self._strict = strict
        self._name = name
        self._restore_rng = restore_rng
        self._should_warn = warn

    @uninterrupted
    def __enter__(self) -> Report:
        """Turn the switches, then seed."""
        guard = Guard()
        guard.up()
        try:
            entry = self._open(guard)
        except BaseException:
            guard.down()
            raise
        self._push(entry)
        if guard.pending:
            self.__exit__(None, None, None)  # which raises it
        return entry.report

    def _open(self, guard: Guard) -> _Entry:
        late = cublas_workspace()
        watching = Watch(strict=self._strict, attention=True)
        report = Report(
            watching, seed=self._seed, strict=self._strict, name=self._name, advice=[] if late is None else [late]
        )
        snapshot = Snapshot.take() if self._restore_rng else None
        applied = apply(deterministic_targets(strict=self._strict, threads=self._threads))
        report.changes = applied.changes
        try:
            if self._seed is not None:
                seed_quietly(self._seed)
            watching.open()
        except BaseException:
            watching.close()
            applied.restore()
            raise
        return _Entry(report, applied, snapshot, guard, watching)

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the switches back, and the generators if that was asked for; the exception goes on."""
        entry = self._pop()
        torch = sys.modules.get("torch")
        entry.report.threads = None if torch is None else torch.get_num_threads()
        try:
            entry.watch.close()
        finally:
            self._put_back(entry)
        refused = entry.report.stopped
        if error is not None:
            drop_own_frames(error.__traceback__)
        if refused is not None and isinstance(error, RuntimeError) and error is not refused:
            raise refused from error  # TorchScript and Dynamo wrap it into errors of their own
        if self._should_warn and error is None:
            _warn(entry.report, 2)

    @uninterrupted
    def _put_back(self, entry: _Entry) -> None:
        try:
            entry.applied.restore()
        finally:
            entry.report.overridden = entry.applied.overridden
            if entry.snapshot is not None:
                entry.report.rng_not_restored = entry.snapshot.restore()
                entry.report.rng_restored = True
            entry.guard.down()

    def _another(self) -> deterministic:
        return deterministic(
            self._seed,
            strict=self._strict,
            threads=self._threads,
            name=self._name,
            restore_rng=self._restore_rng,
            warn=self._should_warn,
        )
