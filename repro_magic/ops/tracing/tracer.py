"""Watching as a whole: kernels, threads, PyTorch's own warnings and compiled graphs, into one collector at a time."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

from repro_magic.exceptions import HookFaultWarning
from repro_magic.findings import OpFinding
from repro_magic.introspection.location import site_of
from repro_magic.ops.tracing import dispatch as watchers
from repro_magic.ops.tracing.alerts import AlertFold
from repro_magic.ops.tracing.collector import Alert, Collector
from repro_magic.ops.tracing.compiled_graphs import Graphs
from repro_magic.runtime.forks import ForkSafeLock
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported
from repro_magic.runtime.thread_hooks import ThreadStarts


class _Process:
    """What is installed once in a process, from the first recording until it is released."""

    def __init__(self) -> None:
        self.watcher = _best_watcher()
        self.graphs = Graphs(compiling=self._compiling, traced=self._traced, ran=self._ran)

    def _compiling(self) -> None:
        # Dynamo guards on the dispatch keys: were the hot one to come and go, each function would be compiled twice.
        watchers.hot_ops.never = True
        self.watcher.rest()

    @staticmethod
    def _traced() -> list[OpFinding]:
        return [finding for collector in watchers.collectors for finding in collector.traced_findings()]

    @staticmethod
    def _ran(key: object, findings: list[OpFinding], frame: Any) -> None:  # noqa: ANN401 - a frame
        for collector in watchers.collectors:
            collector.ran_graph(key, findings, frame)

    def close(self) -> None:
        self.graphs.close()
        self.watcher.close()


class _Shared:
    """What replaces a function of Python's: it is up while anybody records, once, for recordings end in any order."""

    def __init__(self, make: Callable[[], AlertFold | ThreadStarts]) -> None:
        self._make = make
        self._users = 0

    def join(self) -> Callable[[], None]:
        """Another one records; what is returned, called once, ends that."""
        if self._users == 0:
            self._one = self._make()
            self._one.up()
        self._users += 1
        return self._leave

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._one.down()


_process: _Process | None = None
# Threads begin and end their recordings as they like, and share everything here.
_lock = ForkSafeLock()
# What records in this process, in the order in which it began.
_open: list[Tracer] = []


def _locked(step: Callable[[], object]) -> None:
    with _lock:
        step()


def _keep(name: str, message: str, frame: Any) -> None:  # noqa: ANN401 - a frame
    alert = Alert(name, message, site_of(frame))
    for collector in watchers.told():
        collector.alerts.append(alert)


def _watched(run: Callable[[], Any]) -> Callable[[], Any]:
    """A thread's `run`, watched into whatever records the one that starts it."""
    here = [one for one in tuple(_open) if watchers.is_watched(one.collector)]
    if not here:
        return run

    def watched() -> Any:  # noqa: ANN401 - a thread's own
        with contextlib.ExitStack() as stack:
            for one in here:
                one.join(stack)
            return run()

    return watched


_alerts = _Shared(lambda: AlertFold(_keep))
_starts = _Shared(lambda: ThreadStarts(_watched))


def _best_watcher() -> watchers.Watcher:
    try:
        return watchers.KeyWatcher()
    except Exception as error:  # noqa: BLE001 - private parts of PyTorch: whatever changed there, the other one works
        warnings.warn(
            f"repro_magic falls back to a TorchDispatchMode, which slows down small ops: {error!r}",
            HookFaultWarning,
            stacklevel=2,
        )
        return watchers.ModeWatcher()


def prepare() -> None:
    """Install what watching needs, or wait with it until torch is imported; 30 ms once."""
    if is_imported("torch"):
        _installed()


def _installed() -> _Process:
    global _process  # noqa: PLW0603 - the process has one dispatcher
    with _lock:
        if _process is None:
            _process = _Process()
        else:
            _process.watcher.update()
        return _process


def release() -> None:
    """Take everything out again, unless somebody is still recording."""
    global _process  # noqa: PLW0603 - the process has one dispatcher
    with _lock:
        if _process is not None and not watchers.collectors:
            _process.close()
            _process = None
            watchers.hot_ops.never = False


def leave_inherited() -> None:
    """In a process that was forked: what is recorded in the one before is not told by this one."""
    for recording in reversed(_open.copy()):
        recording.collector.fault = None
        recording.close()


def is_tracing() -> bool:
    """Whether somebody watches this thread."""
    return watchers.is_watched()


class Tracer:
    """A collector at work on this thread, and on those it starts, from `open` to `close`."""

    def __init__(self, collector: Collector) -> None:
        """Take the collector."""
        self.collector = collector
        self._undo = contextlib.ExitStack()
        self._waiting: Waiting | None = None

    def open(self) -> None:
        """Begin, at once or as soon as torch is imported."""
        with _lock:
            _open.append(self)
            self._undo.callback(_alerts.join())
        self._waiting = when_imported("torch", self._begin)

    def _begin(self) -> None:
        with _lock:
            if self not in _open:  # another thread has imported torch, and this has ended meanwhile
                return
            self._process = process = _installed()
            process.graphs.renew()
            self._undo.callback(_starts.join())
            stop = watchers.open_watch(process.watcher, self.collector)
            for step in (process.graphs.settle, stop):
                self._undo.callback(step)

    def join(self, stack: contextlib.ExitStack) -> None:
        """Watch another thread, too, until the stack is closed; unless this has ended meanwhile."""
        with _lock:
            if self in _open:
                stack.callback(_locked, watchers.join_watch(self._process.watcher, self.collector))

    def close(self) -> None:
        """End; a second time does nothing."""
        if self._waiting is not None:
            self._waiting.cancel()
        with _lock:
            if self in _open:
                _open.remove(self)
            self._undo.close()
        fault, self.collector.fault = self.collector.fault, None
        if fault is not None:
            release()
            warnings.warn(
                f"repro_magic stopped watching ops ({fault!r}); your code is not affected",
                HookFaultWarning,
                stacklevel=2,
            )
