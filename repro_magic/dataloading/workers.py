"""Workers of a `DataLoader` that watched code starts are watched too: what they draw or flag reaches its report.

A worker is another process, and may outlive the cell that started it (`persistent_workers`). So each stretch that
somebody records has a number. A worker is given the present one when it is started, and finds the one of a later epoch
in memory that all of them share; it records under that number, and posts what is new before it hands a batch over.
Nothing waits for anybody, and the file behind it has no name: however a process ends, nothing is left of it.
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
    """What a worker is to do.

    Attributes:
        number: of the stretch that is recorded; 0 if nobody records.
        strict: an op that may differ raises before it runs.
        attention: fused attention takes its deterministic path.
    """

    number: int = 0
    strict: bool = False
    attention: bool = False


_CONFIG = struct.Struct("<q??")


@dataclass(frozen=True)
class Message:
    """What one worker has seen in one stretch so far; its next message takes this one's place.

    Attributes:
        worker: its process.
        number: of the stretch.
        findings: the flagged ops that ran, and the unseeded sources that were used.
        draws: the random ops that drew.
        refused: message and attributes of the error that stopped an op.
        fault: a fault of ours that ended the watching.
    """

    worker: int
    number: int
    findings: tuple[Finding, ...] = ()
    draws: tuple[Draw, ...] = ()
    refused: tuple[str, Mapping[str, Any]] | None = None
    fault: str | None = None


class Channel:
    """Shared memory: the present config, and behind it the messages, which can only be added."""

    def __init__(self, descriptor: int) -> None:
        """Take an open file that the other processes have, too."""
        self.descriptor = descriptor
        self._config = mmap.mmap(descriptor, _CONFIG.size)

    @classmethod
    def new(cls) -> Channel:
        """An empty one.

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

        # Each message is added as a whole, whoever else writes.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
        return cls(descriptor)

    @property
    def config(self) -> WorkerConfig:
        """The present config."""
        return WorkerConfig(*_CONFIG.unpack(self._config[:]))

    @config.setter
    def config(self, config: WorkerConfig) -> None:
        self._config[:] = _CONFIG.pack(config.number, config.strict, config.attention)

    @property
    def end(self) -> int:
        """Where the next message will stand."""
        return os.fstat(self.descriptor).st_size

    def empty(self) -> None:
        """Throw all messages away."""
        os.ftruncate(self.descriptor, _CONFIG.size)

    def post(self, message: Message) -> None:
        """Add a message."""
        content = pickle.dumps(message)
        os.write(self.descriptor, _LENGTH.pack(len(content)) + content)

    def read(self, start: int, first: int) -> list[Message]:
        """The last message of each worker and stretch from `start` on, of stretches from number `first` on."""
        found = {(one.worker, one.number): one for one in self._messages(start) if one.number >= first}
        return list(found.values())

    def _messages(self, start: int) -> Iterator[Message]:
        content = os.pread(self.descriptor, max(self.end - start, 0), start)
        while len(content) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
            if len(content) < end:
                return
            yield pickle.loads(content[_LENGTH.size : end])  # noqa: S301 - only processes that share the descriptor can write there: our own
            content = content[end:]

    def close(self) -> None:
        """Give the memory back, once the last worker has, too."""
        self._config.close()
        os.close(self.descriptor)


class _Workers:
    """The parent's side: from the first recording to the last, loaders start their workers with a loop that reports."""

    def __init__(self) -> None:
        """Nothing is replaced before somebody records."""
        self._owner = os.getpid()
        self._number = 0
        self._channel: Channel | None = None
        self._patch: Patch | None = None

    def open(self, collector: Collector) -> Callable[[], None]:
        """Let workers report to a collector, which is being told already; what is returned ends it."""
        module = sys.modules.get(_LOOP)
        if os.name == "nt" or os.getpid() != self._owner or not hasattr(module, "_worker_loop"):
            return lambda: None
        try:
            channel = self._channel = self._channel or Channel.new()
        except OSError:  # too many files are open: then the user's own are more important
            return lambda: None
        if len(watchers.collectors) == 1:
            channel.empty()
        start = channel.end
        self._renew(channel, module)
        reported = functools.partial(_told, channel, start, self._number)
        collector.from_workers = lambda: reported()[:2]

        def close() -> None:
            if os.getpid() == self._owner:  # else a worker that was forked: the config is not its to change
                findings, draws, refused, fault = reported()
                collector.from_workers = lambda: (findings, draws)
                collector.refused = collector.refused or refused
                self._renew(channel, module)
                if fault is not None:
                    warnings.warn(
                        f"repro_magic stopped watching a DataLoader worker ({fault}); your code is not affected",
                        HookFaultWarning,
                        stacklevel=2,
                    )

        return close

    def _renew(self, channel: Channel, module: Any) -> None:  # noqa: ANN401 - PyTorch's
        """Another stretch begins, for somebody has begun or ended."""
        self._number += 1
        told = watchers.collectors
        channel.config = WorkerConfig(
            self._number if told else 0,
            any(one.strict for one in told),
            any(one.attention for one in told),
        )
        if told:
            if self._patch is None:  # there is no public way
                self._patch = Patch(module, "_worker_loop", lambda loop: WatchedLoop(loop, channel))
            self._patch.ours.config = channel.config
        elif self._patch is not None:
            self._patch.down()
            self._patch = None

    def close(self) -> None:
        """Give the memory back."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


_workers: _Workers | None = None
_lock = ForkSafeLock()


def follow(collector: Collector) -> Callable[[], None]:
    """Let workers report to a collector at work, until what is returned is called: once the collector is no longer."""
    global _workers  # noqa: PLW0603 - the process has one loop of workers
    with _lock:
        _workers = _workers or _Workers()
        close = _workers.open(collector)
    return functools.partial(_locked, close)


def release() -> None:
    """Give the memory back, unless somebody is still recording."""
    global _workers  # noqa: PLW0603 - the process has one loop of workers
    with _lock:
        if _workers is not None and not watchers.collectors:
            _workers.close()
            _workers = None


def _locked(step: Callable[[], None]) -> None:
    with _lock:
        step()


_Told = tuple[list[Finding], list[Draw], NondeterministicOpError | None, str | None]


def _told(channel: Channel, start: int, first: int) -> _Told:
    messages = channel.read(start, first)
    refused = next((one.refused for one in messages if one.refused is not None), None)
    return (
        [replace(found, worker=True, at_least=True) for one in messages for found in one.findings],
        [replace(draw, worker=True, at_least=True) for one in messages for draw in one.draws],
        None if refused is None else NondeterministicOpError(refused[0], **refused[1]),
        next((one.fault for one in messages if one.fault is not None), None),
    )


class WatchedLoop:
    """PyTorch's loop of a worker, watched; it goes to the worker by fork, or pickled where that is spawned.

    Attributes:
        config: for workers that are started now; a slow one begins when something else is recorded already.
    """

    def __init__(self, original: Callable[..., None], channel: Channel, config: WorkerConfig | None = None) -> None:
        """Take PyTorch's loop, and where to report to."""
        self.original, self._channel = original, channel
        self.config = config or WorkerConfig()
        self._owner = os.getpid()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """As whatever makes it anew in a spawned worker: the loop itself, if another thread's loader is to be read."""
        if context.get_spawning_popen() is None or not watchers.is_watched():
            return _original, ()
        return _rebuilt, (reduction.DupFd(self._channel.descriptor), self.config)

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the original
        """Run the loop; if anything of ours fails, untouched."""
        report = None
        with contextlib.suppress(BaseException):  # Ctrl-C reaches the parent as well, which ends the workers
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
                arguments.arguments["index_queue"] = _Asking(queues[0], report.look)
                arguments.arguments["data_queue"] = _Answering(queues[1], report.post_news)
                args, kwargs = arguments.args, arguments.kwargs
        try:
            self.original(*args, **kwargs)
        finally:
            if report is not None:
                report.end()


def _original() -> Callable[..., None]:
    from torch.utils.data._utils import worker  # noqa: PLC0415 - in a spawned worker, which is just about to need it

    found: Callable[..., None] = worker._worker_loop  # noqa: SLF001 - there is no public way
    return found


def _rebuilt(descriptor: Any, config: WorkerConfig) -> WatchedLoop | Callable[..., None]:  # noqa: ANN401 - multiprocessing's
    try:
        return WatchedLoop(_original(), Channel(descriptor.detach()), config)
    except Exception:  # noqa: BLE001 - the worker is the user's, and runs in any case
        return _original()


def _leave_inherited() -> None:
    for listener in entropy._listeners:  # noqa: SLF001 - what refuses stays
        if isinstance(getattr(listener, "__self__", None), Sources):
            entropy.unlisten(listener)
    tracer.leave_inherited()


class _Report:
    """A worker's side. A fault of ours ends the reporting, never the loop."""

    def __init__(self, channel: Channel, config: WorkerConfig) -> None:
        self._channel = channel
        self._config = config
        self._tracer: Tracer | None = None
        self._sources = Sources()
        self._told: object = None
        self._is_off = False

    def _guarded(self, step: Callable[[], None]) -> None:
        if self._is_off:
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the user's
            self._is_off = True
            with contextlib.suppress(Exception):
                self._channel.post(Message(os.getpid(), self._config.number, fault=repr(error)))
            with contextlib.suppress(Exception):
                self._close()

    def begin(self) -> None:
        """Before the first epoch."""
        self._guarded(self._begin)

    def look(self) -> None:
        """Before a further epoch: record it under the present number, if somebody records."""
        self._guarded(self._look)

    def _look(self) -> None:
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
            self._told = self._news()
            self._tracer.open()
            self._sources.open()

    def post_news(self) -> None:
        """After a batch: more calls of what is known are no news, and are told at the end."""
        if self._tracer is not None and self._news() != self._told:
            self._guarded(self._post)

    def _news(self) -> object:
        news = None if self._tracer is None else self._tracer.collector.news
        return news, len(self._sources.findings())

    def _post(self) -> None:
        if self._tracer is None:
            return
        collector = self._tracer.collector
        self._told = self._news()
        findings, draws = (*collector.findings(), *self._sources.findings()), tuple(collector.draws())
        refused = collector.refused
        fault = None if collector.fault is None else repr(collector.fault)
        if findings or draws or refused or fault:
            told = None if refused is None else (str(refused), vars(refused))
            self._channel.post(Message(os.getpid(), self._config.number, findings, draws, told, fault))

    def end(self) -> None:
        """The loop is over."""
        with contextlib.suppress(BaseException):  # Ctrl-C included: the worker is about to end
            self._guarded(self._post)
            self._close()

    def _close(self) -> None:
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            self._sources.close()
            tracer.collector.fault = None  # the parent tells of it
            tracer.close()


class _Queue:
    """One of the loop's queues, and what is done beside."""

    def __init__(self, queue: Any, step: Callable[[], None]) -> None:  # noqa: ANN401 - multiprocessing's
        self._queue, self._step = queue, step

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the queue's
        return getattr(self._queue, name)


class _Asking(_Queue):
    """The next batch is asked for here, and another epoch.

    Batches that were asked for in one cell may be made in a later one; they are not that one's.
    """

    def get(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the queue's
        asked = self._queue.get(*args, **kwargs)
        if type(asked).__name__ == "_ResumeIteration":
            self._step()
        return asked


class _Answering(_Queue):
    """A batch is handed over here."""

    def put(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the queue's
        self._step()
        self._queue.put(*args, **kwargs)
