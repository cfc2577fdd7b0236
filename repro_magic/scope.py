"""`deterministic()` and `watch()`: seeding, switches and watching for `with` blocks, decorators and cells."""

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
from repro_magic.determinism.applied import Applied, Change, apply
from repro_magic.determinism.switches import Reading, checked_threads, deterministic_targets
from repro_magic.exceptions import NondeterminismWarning, NondeterministicOpError
from repro_magic.findings import Direction, Draw, Finding, OpFinding, UnseededFinding
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
    """What ran in a watched scope, updated while it runs.

    Attributes:
        findings: the flagged ops and unseeded sources that ran, active findings first.
        ops: the flagged ops alone.
        unseeded: the unseeded sources alone.
        draws: the random ops that drew.
    """

    _watch: Watch = field(default_factory=Watch, repr=False)

    @property
    def findings(self) -> list[Finding]:
        """The flagged ops and unseeded sources that ran so far, active findings first."""
        return self._watch.findings

    @property
    def ops(self) -> list[OpFinding]:
        """The flagged ops that ran so far, active ones first."""
        return [finding for finding in self.findings if isinstance(finding, OpFinding)]

    @property
    def unseeded(self) -> list[UnseededFinding]:
        """The unseeded sources that were used so far."""
        return [finding for finding in self.findings if isinstance(finding, UnseededFinding)]

    @property
    def draws(self) -> list[Draw]:
        """The random ops that drew so far."""
        return self._watch.draws


@public
@dataclass
class Report(WatchReport):
    """What a deterministic scope did, updated while it runs.

    Attributes:
        findings: the flagged ops and unseeded sources that ran, active findings first.
        ops: the flagged ops alone.
        unseeded: the unseeded sources alone.
        draws: the random ops that drew.
        seed: the seed set on entry; None if the scope did not seed.
        strict: whether an op without a deterministic path raises.
        name: the name that you gave the scope.
        threads: threads per CPU op while the scope ran; None while torch is not imported.
        changes: each switch that was set, with its value before and during.
        overridden: switches that the code inside changed; they were restored, too.
        advice: what this process can no longer change.
        rng_restored: whether the generators were restored on exit.
        rng_not_restored: generators that could not be restored because they could not be read on entry.
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
        """The error that blocked an op in a strict scope, even if the code caught it; None if no op was blocked."""
        return self._watch.refused


@dataclass
class _Entry:
    """The state of an entered scope."""

    report: Report
    applied: Applied
    snapshot: Snapshot | None
    guard: Guard
    watch: Watch


# A warning lists as many findings as a cell's block; the report has all of them.
_MOST = 20


def _warn(report: WatchReport, level: int) -> None:
    """Emit one `NondeterminismWarning` for all findings; an enclosing watch reports them instead."""
    reported = [finding for finding in report.findings if finding.warns]
    if not reported or is_watching():
        return
    lines = [_in_a_line(finding) for finding in reported[:_MOST]]
    if len(reported) > _MOST:
        lines.append(f"… and {len(reported) - _MOST} more in report.findings")
    text = "results may differ between runs:\n  " + "\n  ".join(lines)
    warnings.warn(text, NondeterminismWarning, stacklevel=level + 1)


def _in_a_line(finding: Finding) -> str:
    where = "not called from your code" if finding.place is None else f"{finding.place.file} line {finding.line}"
    return f"{_name(finding)}, {where}, {_calls(finding)}: {finding.why} {finding.remedy.in_script}"


def _name(finding: Finding) -> str:
    if not isinstance(finding, OpFinding):
        return finding.op
    direction = " in the backward pass" if finding.direction is Direction.BACKWARD else ""
    return f"{finding.op}{direction} on {finding.device}"


def _calls(finding: Finding) -> str:
    if isinstance(finding, OpFinding) and finding.graph:
        calls = "in a compiled graph"
    else:
        calls = f"{finding.count} call{'s' * (finding.count != 1)}"
    return f"{calls} in DataLoader workers" if finding.worker else calls


class _Scope(Generic[_E]):
    """Common base of both scopes: entries nest per thread, and calls of a decorated function may overlap."""

    def __init__(self) -> None:
        self._entries: dict[int, list[_E]] = {}

    def _push(self, entry: _E) -> None:
        self._entries.setdefault(threading.get_ident(), []).append(entry)

    def _pop(self) -> _E:
        """The latest entry of this thread, or else of another thread, where the scope may have been entered."""
        here = self._entries.get(threading.get_ident())
        entries = here or next(filter(None, list(self._entries.values())), None)
        if not entries:
            raise RuntimeError(f"{type(self).__name__}() was exited more often than it was entered")
        return entries.pop()

    @abc.abstractmethod
    def _another(self) -> AbstractContextManager[object]:
        """A copy of the scope for another call, because calls of a decorated function may overlap."""

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Decorate `function`: each call enters the scope anew."""
        name = type(self).__name__
        if isinstance(function, type | staticmethod | classmethod) or not callable(function):
            raise TypeError(
                f"{name}() decorates functions, not {function!r}; decorate each method instead, "
                "below @staticmethod or @classmethod"
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{name}() cannot decorate the generator function {function.__qualname__!r}: its body runs "
                f"after the call returns. Write `with {name}():` around the loop that consumes it."
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
    """Report the flagged ops that run on this thread and on threads it starts; change nothing.

    Args:
        warn: emit a `NondeterminismWarning` on exit if results may differ.

    Returns:
        A context manager whose `with` target is a `WatchReport`; also a decorator for functions and coroutine
        functions.

    Raises:
        TypeError: it decorates a class, or a generator function, whose body would run after the call returns.

    Example:
        >>> import torch
        >>> with watch() as report:
        ...     _ = torch.zeros(4).index_add_(0, torch.tensor([0, 0, 1]), torch.ones(3))
        >>> [(finding.op, finding.status.value, finding.count) for finding in report.findings]
        [('index_add_', 'latent', 1)]
    """

    def __init__(self, *, warn: bool = True) -> None:
        """Nothing is watched before you enter the scope."""
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
        """Stop watching; an exception propagates, without a warning."""
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
    """Run code with PyTorch's deterministic switches on, and restore every switch afterwards.

    On entry, sets `torch.use_deterministic_algorithms` (which warns where an op has no deterministic kernel, and raises
    if `strict` or if it raised before), `cudnn.deterministic=True`, `cudnn.benchmark=False`,
    `fill_uninitialized_memory`, `mkldnn.deterministic`, Inductor's `deterministic` and `CUBLAS_WORKSPACE_CONFIG`. If
    torch (or Inductor) is imported inside the scope, the switches are set then. On exit, also after an error, Ctrl-C or
    SystemExit, each switch has its previous value.

    The scope watches flagged ops: `report.findings` lists those that ran. With `strict`, an op whose result may differ
    raises `NondeterministicOpError` before it runs. Fused attention uses its deterministic kernel even in warn mode.

    The switches are global to the process: while the scope is open, code on other threads runs under them, too.

    Args:
        seed: seed all generators on entry, as `seed_everything` does; None: do not seed. 0 <= seed < 2**64.
        strict: raise, not warn, where an op has no deterministic kernel.
        threads: threads per CPU op inside, from 1; None: do not change it.
        name: a name of your choice, kept in the report.
        restore_rng: restore all generators on exit, too.
        warn: emit a `NondeterminismWarning` on exit if results may still differ.

    Returns:
        A context manager whose `with` target is a `Report`; also a decorator for functions and coroutine functions. You
        can enter it several times, also nested.

    Raises:
        InvalidSeedError: `seed` is not in range.
        InvalidThreadsError: `threads` is not in range.
        NondeterministicOpError: `strict`, and the result of an op may differ; also if other code wrapped the error.
        TypeError: it decorates a class, or a generator function, whose body would run after the call returns.

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
        """Check the arguments; nothing changes before you enter the scope."""
        if callable(seed) and not hasattr(seed, "__index__"):
            raise TypeError("write @deterministic() or @deterministic(seed=42): the decorator needs parentheses")
        super().__init__()
        self._seed = None if seed is None else checked_seed(seed)
        self._threads = None if threads is None else checked_threads(threads)
        self._strict = strict
        self._name = name
        self._restore_rng = restore_rng
        self._should_warn = warn

    @uninterrupted
    def __enter__(self) -> Report:
        """Set the switches, then seed."""
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
        """Restore the switches, and the generators with `restore_rng`; an exception propagates."""
        entry = self._pop()
        torch = sys.modules.get("torch")
        entry.report.threads = None if torch is None else torch.get_num_threads()
        try:
            entry.watch.close()
        finally:
            self._restore(entry)
        refused = entry.report.stopped
        if error is not None:
            drop_own_frames(error.__traceback__)
        if refused is not None and isinstance(error, RuntimeError) and error is not refused:
            raise refused from error  # TorchScript and Dynamo wrap it into errors of their own
        if self._should_warn and error is None:
            _warn(entry.report, 2)

    @uninterrupted
    def _restore(self, entry: _Entry) -> None:
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
