"""The tracer feeds a collector from all sources: the dispatcher, threads, PyTorch's own warnings, compiled graphs."""

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
    """The hooks that are installed once per process, from the first tracer until `release`."""

    def __init__(self) -> None:
        self.watcher = _best_watcher()
        self.graphs = Graphs(compiling=self._compiling, traced=self._traced, ran=self._ran)

    def _compiling(self) -> None:
        # Dynamo guards on the dispatch keys: if the hot key came and went, each function would be compiled twice.
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
    """A hook on a Python function that all tracers share: up while at least one of them is open, in any order."""

    def __init__(self, make: Callable[[], AlertFold | ThreadStarts]) -> None:
        self._make = make
        self._users = 0

    def join(self) -> Callable[[], None]:
        """Add a user of the hook; the returned function, called once, removes it."""
        if self._users == 0:
            self._hook = self._make()
            self._hook.up()
        self._users += 1
        return self._leave

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._hook.down()


_process: _Process | None = None
# Several threads may open and close tracers, and share all state of this module.
_lock = ForkSafeLock()
# The open tracers of this process, in the order of opening.
_open: list[Tracer] = []


def _locked(step: Callable[[], object]) -> None:
    with _lock:
        step()


def _keep(name: str, message: str, frame: Any) -> None:  # noqa: ANN401 - a frame
    alert = Alert(name, message, site_of(frame))
    for collector in watchers.listening():
        collector.alerts.append(alert)


def _watched(run: Callable[[], Any]) -> Callable[[], Any]:
    """Wrap a thread's `run`, so that the tracers of the starting thread watch the new thread, too."""
    here = [tracer for tracer in tuple(_open) if watchers.is_watched(tracer.collector)]
    if not here:
        return run

    def watched() -> Any:  # noqa: ANN401 - a thread's own
        with contextlib.ExitStack() as stack:
            for tracer in here:
                tracer.join(stack)
            return run()

    return watched


_alerts = _Shared(lambda: AlertFold(_keep))
_starts = _Shared(lambda: ThreadStarts(_watched))


def _best_watcher() -> watchers.Watcher:
    try:
        return watchers.KeyWatcher()
    except Exception as error:  # noqa: BLE001 - private parts of PyTorch may change; the mode works without them
        warnings.warn(
            f"repro_magic falls back to a TorchDispatchMode, which slows down small ops: {error!r}",
            HookFaultWarning,
            stacklevel=2,
        )
        return watchers.ModeWatcher()


def prepare() -> None:
    """Install the hooks, if torch is imported; takes 30 ms the first time."""
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
    """Remove the hooks, unless a tracer is still open."""
    global _process  # noqa: PLW0603 - the process has one dispatcher
    with _lock:
        if _process is not None and not watchers.collectors:
            _process.close()
            _process = None
            watchers.hot_ops.never = False


def leave_inherited() -> None:
    """Close the tracers that a forked process inherited, without a report."""
    for tracer in reversed(_open.copy()):
        tracer.collector.fault = None
        tracer.close()


def is_tracing() -> bool:
    """Whether a tracer watches this thread."""
    return watchers.is_watched()


class Tracer:
    """Feeds a collector from this thread, and from threads that it starts, from `open` to `close`."""

    def __init__(self, collector: Collector) -> None:
        """Prepare to feed `collector`."""
        self.collector = collector
        self._undo = contextlib.ExitStack()
        self._waiting: Waiting | None = None

    def open(self) -> None:
        """Start, at once or as soon as torch is imported."""
        with _lock:
            _open.append(self)
            self._undo.callback(_alerts.join())
        self._waiting = when_imported("torch", self._begin)

    def _begin(self) -> None:
        with _lock:
            if self not in _open:  # closed while another thread imported torch
                return
            self._process = process = _installed()
            process.graphs.renew()
            self._undo.callback(_starts.join())
            stop = watchers.open_watch(process.watcher, self.collector)
            for step in (process.graphs.settle, stop):
                self._undo.callback(step)

    def join(self, stack: contextlib.ExitStack) -> None:
        """Watch the current thread, too, until `stack` is closed; does nothing after `close`."""
        with _lock:
            if self in _open:
                stack.callback(_locked, watchers.join_watch(self._process.watcher, self.collector))

    def close(self) -> None:
        """Stop; further calls do nothing."""
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
