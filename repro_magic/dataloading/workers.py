"""Watch `DataLoader` workers that watched code starts: their flagged ops and draws reach its report.

A worker is another process, and may outlive the cell that started it (`persistent_workers`). So each recorded stretch
has a number. A worker gets the current number when it starts, and reads the number of a later epoch from shared memory.
It records under that number, and posts its news before it hands over a batch. No process waits for another, and the
file behind the memory has no name, so it goes away with the processes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import mmap
import os
import pickle
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing import context, reduction
from typing import Any

from repro_magic.exceptions import HookFaultWarning, NondeterministicOpError
from repro_magic.findings import Draw, Finding
from repro_magic.ops.tracing import dispatch as watchers
from repro_magic.ops.tracing import tracer
from repro_magic.ops.tracing.collector import Collector
from repro_magic.ops.tracing.tracer import Tracer
from repro_magic.rng import entropy
from repro_magic.runtime.forks import ForkSafeLock
from repro_magic.runtime.patching import Patch
from repro_magic.unseeded.sources import Sources

_LOOP = "torch.utils.data._utils.worker"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker records, and how.

    Attributes:
        number: the recorded stretch; 0 if nothing is recorded.
        strict: a flagged op raises before it runs.
        attention: fused attention takes its deterministic path.
    """

    number: int = 0
    strict: bool = False
    attention: bool = False


_CONFIG = struct.Struct("<q??")


@dataclass(frozen=True)
class Message:
    """What a worker has recorded in a stretch so far; its next message replaces this.

    Attributes:
        worker: the worker's process id.
        number: the stretch.
        findings: the flagged ops that ran, and the unseeded sources that were used.
        draws: the random ops that drew.
        refused: message and attributes of the error that stopped an op.
        fault: an error of ours that ended the watching.
    """

    worker: int
    number: int
    findings: tuple[Finding, ...] = ()
    draws: tuple[Draw, ...] = ()
    refused: tuple[str, Mapping[str, Any]] | None = None
    fault: str | None = None


class Channel:
    """Shared memory: the current config, followed by append-only messages."""

    def __init__(self, descriptor: int) -> None:
        """Use an open file that the processes share."""
        self.descriptor = descriptor
        self._config = mmap.mmap(descriptor, _CONFIG.size)

    @classmethod
    def new(cls) -> Channel:
        """Create an empty channel.

        Raises:
            OSError: too many files are open.
        """
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("repro_magic")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _CONFIG.size)
        import fcntl  # noqa: PLC0415 - Windows has none

        # With O_APPEND each write adds a whole message, whoever else writes.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
        return cls(descriptor)

    @property
    def config(self) -> WorkerConfig:
        """The current config."""
        return WorkerConfig(*_CONFIG.unpack(self._config[:]))

    @config.setter
    def config(self, config: WorkerConfig) -> None:
        self._config[:] = _CONFIG.pack(config.number, config.strict, config.attention)

    @property
    def end(self) -> int:
        """The offset of the next message."""
        return os.fstat(self.descriptor).st_size

    def empty(self) -> None:
        """Discard all messages."""
        os.ftruncate(self.descriptor, _CONFIG.size)

    def post(self, message: Message) -> None:
        """Add a message."""
        content = pickle.dumps(message)
        os.write(self.descriptor, _LENGTH.pack(len(content)) + content)

    def read(self, start: int, first: int) -> list[Message]:
        """The last message of each worker and stretch, from the offset `start` and the stretch `first` on."""
        latest = {
            (message.worker, message.number): message for message in self._messages(start) if message.number >= first
        }
        return list(latest.values())

    def _messages(self, start: int) -> Iterator[Message]:
        content = os.pread(self.descriptor, max(self.end - start, 0), start)
        while len(content) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
            if len(content) < end:
                return
            yield pickle.loads(content[_LENGTH.size : end])  # noqa: S301 - only our own processes share the descriptor
            content = content[end:]

    def close(self) -> None:
        """Close this process's end; the memory is freed when the last worker closes its own."""
        self._config.close()
        os.close(self.descriptor)


class _Workers:
    """The parent's side: while anything is recorded, loaders start their workers with a loop that reports."""

    def __init__(self) -> None:
        """Replace nothing before the first recording."""
        self._owner = os.getpid()
        self._number = 0
        self._channel: Channel | None = None
        self._patch: Patch | None = None

    def open(self, collector: Collector) -> Callable[[], None]:
        """Let workers report to an active collector; the returned function ends it."""
        module = sys.modules.get(_LOOP)
        if os.name == "nt" or os.getpid() != self._owner or not hasattr(module, "_worker_loop"):
            return lambda: None
        try:
            channel = self._channel = self._channel or Channel.new()
        except OSError:  # too many files are open, and the user's files matter more
            return lambda: None
        if len(watchers.collectors) == 1:
            channel.empty()
        start = channel.end
        self._begin_stretch(channel, module)
        reported = functools.partial(_worker_reports, channel, start, self._number)
        collector.from_workers = lambda: reported()[:2]

        def close() -> None:
            if os.getpid() == self._owner:  # a forked worker must not change the config
                findings, draws, refused, fault = reported()
                collector.from_workers = lambda: (findings, draws)
                collector.refused = collector.refused or refused
                self._begin_stretch(channel, module)
                if fault is not None:
                    warnings.warn(
                        f"repro_magic stopped watching a DataLoader worker ({fault}); your code is not affected",
                        HookFaultWarning,
                        stacklevel=2,
                    )

        return close

    def _begin_stretch(self, channel: Channel, module: Any) -> None:  # noqa: ANN401 - PyTorch's
        """Begin a new stretch, because a recording began or ended."""
        self._number += 1
        collectors = watchers.collectors
        channel.config = WorkerConfig(
            self._number if collectors else 0,
            any(collector.strict for collector in collectors),
            any(collector.attention for collector in collectors),
        )
        if collectors:
            if self._patch is None:  # there is no public way
                self._patch = Patch(module, "_worker_loop", lambda loop: WatchedLoop(loop, channel))
            self._patch.ours.config = channel.config
        elif self._patch is not None:
            self._patch.down()
            self._patch = None

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


_workers: _Workers | None = None
_lock = ForkSafeLock()


def follow(collector: Collector) -> Callable[[], None]:
    """Let workers report to an active collector; call the returned function once the collector has stopped."""
    global _workers  # noqa: PLW0603 - the process has one loop of workers
    with _lock:
        _workers = _workers or _Workers()
        close = _workers.open(collector)
    return functools.partial(_locked, close)


def release() -> None:
    """Free the shared memory, unless a recording is active."""
    global _workers  # noqa: PLW0603 - the process has one loop of workers
    with _lock:
        if _workers is not None and not watchers.collectors:
            _workers.close()
            _workers = None


def _locked(step: Callable[[], None]) -> None:
    with _lock:
        step()


_WorkerReports = tuple[list[Finding], list[Draw], NondeterministicOpError | None, str | None]


def _worker_reports(channel: Channel, start: int, first: int) -> _WorkerReports:
    messages = channel.read(start, first)
    refused = next((message.refused for message in messages if message.refused is not None), None)
    return (
        [replace(finding, worker=True, at_least=True) for message in messages for finding in message.findings],
        [replace(draw, worker=True, at_least=True) for message in messages for draw in message.draws],
        None if refused is None else NondeterministicOpError(refused[0], **refused[1]),
        next((message.fault for message in messages if message.fault is not None), None),
    )


class WatchedLoop:
    """PyTorch's worker loop with watching added; forked workers inherit it, spawned workers unpickle it.

    Attributes:
        config: for workers that start now; a slow worker may begin when another stretch is already recorded.
    """

    def __init__(self, original: Callable[..., None], channel: Channel, config: WorkerConfig | None = None) -> None:
        """Wrap PyTorch's loop, and report to `channel`."""
        self.original, self._channel = original, channel
        self.config = config or WorkerConfig()
        self._owner = os.getpid()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle as this loop for the workers of a watched thread, else as PyTorch's loop."""
        if context.get_spawning_popen() is None or not watchers.is_watched():
            return _pytorch_loop, ()
        return _unpickled, (reduction.DupFd(self._channel.descriptor), self.config)

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the original
        """Run the loop; unwatched if our set-up fails."""
        report = None
        with contextlib.suppress(BaseException):  # Ctrl-C also reaches the parent, which ends the workers
            arguments = inspect.signature(self.original).bind(*args, **kwargs)
            queues = arguments.arguments["index_queue"], arguments.arguments["data_queue"]
            if os.getpid() != self._owner:
                is_watched = watchers.is_watched()
                _leave_inherited()
                report = _Report(self._channel, self.config) if is_watched else None
            else:
                report = _Report(self._channel, self.config)
            if report is not None:
                report.begin()
                arguments.arguments["index_queue"] = _IndexQueue(queues[0], report.begin_epoch)
                arguments.arguments["data_queue"] = _DataQueue(queues[1], report.post_news)
                args, kwargs = arguments.args, arguments.kwargs
        try:
            self.original(*args, **kwargs)
        finally:
            if report is not None:
                report.end()


def _pytorch_loop() -> Callable[..., None]:
    from torch.utils.data._utils import worker  # noqa: PLC0415 - runs in a spawned worker, which needs it next

    loop: Callable[..., None] = worker._worker_loop  # noqa: SLF001 - there is no public way
    return loop


def _unpickled(descriptor: Any, config: WorkerConfig) -> WatchedLoop | Callable[..., None]:  # noqa: ANN401 - multiprocessing's
    try:
        return WatchedLoop(_pytorch_loop(), Channel(descriptor.detach()), config)
    except Exception:  # noqa: BLE001 - the user's worker must run in any case
        return _pytorch_loop()


def _leave_inherited() -> None:
    for listener in entropy._listeners:  # noqa: SLF001 - only our sources are removed: listeners that block stay
        if isinstance(getattr(listener, "__self__", None), Sources):
            entropy.unlisten(listener)
    tracer.leave_inherited()


class _Report:
    """The worker's side. An error of ours ends the reporting, never the loop."""

    def __init__(self, channel: Channel, config: WorkerConfig) -> None:
        self._channel = channel
        self._config = config
        self._tracer: Tracer | None = None
        self._sources = Sources()
        self._posted_news: object = None
        self._is_off = False

    def _guarded(self, step: Callable[[], None]) -> None:
        if self._is_off:
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not reach the user's code
            self._is_off = True
            with contextlib.suppress(Exception):
                self._channel.post(Message(os.getpid(), self._config.number, fault=repr(error)))
            with contextlib.suppress(Exception):
                self._close()

    def begin(self) -> None:
        """Start recording, before the first epoch."""
        self._guarded(self._begin)

    def begin_epoch(self) -> None:
        """Switch to the current stretch, before a further epoch."""
        self._guarded(self._begin_epoch)

    def _begin_epoch(self) -> None:
        config = self._channel.config
        if config != self._config:
            self._post()
            self._close()
            self._config = config
            self._begin()

    def _begin(self) -> None:
        config = self._config
        if config.number:
            self._tracer = Tracer(Collector(strict=config.strict, attention=config.attention))
            self._sources = Sources()
            self._posted_news = self._news()
            self._tracer.open()
            self._sources.open()

    def post_news(self) -> None:
        """Post news after a batch; more calls of known ops are not news, and are posted at the end."""
        if self._tracer is not None and self._news() != self._posted_news:
            self._guarded(self._post)

    def _news(self) -> object:
        news = None if self._tracer is None else self._tracer.collector.news
        return news, len(self._sources.findings())

    def _post(self) -> None:
        if self._tracer is None:
            return
        collector = self._tracer.collector
        self._posted_news = self._news()
        findings, draws = (*collector.findings(), *self._sources.findings()), tuple(collector.draws())
        refused = collector.refused
        fault = None if collector.fault is None else repr(collector.fault)
        if findings or draws or refused or fault:
            refusal = None if refused is None else (str(refused), vars(refused))
            self._channel.post(Message(os.getpid(), self._config.number, findings, draws, refusal, fault))

    def end(self) -> None:
        """Post the rest, and stop recording."""
        with contextlib.suppress(BaseException):  # Ctrl-C included: the worker is about to end
            self._guarded(self._post)
            self._close()

    def _close(self) -> None:
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            self._sources.close()
            tracer.collector.fault = None  # the parent reports it
            tracer.close()


class _Queue:
    """A queue of the loop, with a step added to its use."""

    def __init__(self, queue: Any, step: Callable[[], None]) -> None:  # noqa: ANN401 - multiprocessing's
        self._queue, self._step = queue, step

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the queue's
        return getattr(self._queue, name)


class _IndexQueue(_Queue):
    """The queue of requests, for a batch or a new epoch.

    The step runs per epoch, not per request: a cell may request batches that are made while a later cell runs.
    """

    def get(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the queue's
        request = self._queue.get(*args, **kwargs)
        if type(request).__name__ == "_ResumeIteration":
            self._step()
        return request


class _DataQueue(_Queue):
    """The queue of finished batches."""

    def put(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the queue's
        self._step()
        self._queue.put(*args, **kwargs)
