"""The watchers intercept calls of the flagged ops, and only those, on the threads that are watched.

PyTorch's dispatcher has two keys that nothing else uses. A watcher registers Python kernels for the flagged ops on
them, and a thread calls these kernels while it includes the key; all other ops fall through in C++, at no cost. Hot ops
(convolutions, pools, random ops: many calls in each training step) use the second key, which is turned off once their
calls bring no news. If this PyTorch lacks the keys, a `TorchDispatchMode` does the same, but slows down all ops.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import get_ident
from types import FrameType
from typing import Any

from repro_magic.exceptions import NondeterministicOpError
from repro_magic.findings import SURE_CALLS
from repro_magic.ops.catalogue.entries import MAKERS
from repro_magic.ops.catalogue.lookup import lookup, random_ops
from repro_magic.ops.tracing.collector import Collector, first_tensor
from repro_magic.ops.tracing.sites import WatchedOp

KEY, HOT_KEY = "TESTING_ONLY_GenericMode", "TESTING_ONLY_GenericWrapper"

# The first calls of a hot op are news. After _STALE calls in a row without news, hot ops run uncounted, but only if
# watching them (_PRICE seconds a call, measured) has taken more than _SHARE of the time.
_STALE, _PRICE, _SHARE = 20, 12e-6, 0.02
_ATTENTION = "_attention_backward"

# All open collectors, and those of each watched thread. Other threads (autograd's own) report to all of them.
collectors: tuple[Collector, ...] = ()
_of_thread: dict[int, tuple[Collector, ...]] = {}


class _HotOpBudget:
    """Decides whether hot ops are still worth watching; shared by all threads, renewed by each outermost watch."""

    def __init__(self) -> None:
        self.renew()
        self.never = False

    def renew(self) -> None:
        self.spent = False
        self.calls = self.stale = 0
        self.started = time.perf_counter()
        self.seen: dict[str, int] = {}

    def call(self, name: str) -> None:
        """Count a call of a hot op."""
        self.calls += 1
        count = self.seen[name] = self.seen.get(name, 0) + 1
        self.stale = 0 if count <= SURE_CALLS else self.stale + 1
        if self.stale >= _STALE and self.calls * _PRICE > _SHARE * (time.perf_counter() - self.started):
            self.spent = not any(collector.strict for collector in collectors)


hot_ops = _HotOpBudget()


def _schema_op(overload: Any, **marks: bool) -> WatchedOp:  # noqa: ANN401 - an OpOverload
    arguments = overload._schema.arguments  # noqa: SLF001 - its public form
    name = str(overload).removeprefix("aten.") if overload.namespace == "aten" else str(overload).replace(".", "::", 1)
    plain = name.rpartition(".")[0]
    entries = lookup().get(plain, ())
    return WatchedOp(
        name=name,
        entries=entries,
        names=tuple(argument.name for argument in arguments),
        defaults={argument.name: argument.default_value for argument in arguments if argument.has_default_value()},
        # An op with several entries is hot only if all of them are.
        hot=all(entry.hot for entry in entries),
        **marks,
    )


def _packet(name: str) -> Any:  # noqa: ANN401 - an OpOverloadPacket, or None
    namespace, _, plain = name.rpartition("::")
    return getattr(getattr(sys.modules["torch"].ops, namespace or "aten"), plain, None)


def watched_ops() -> dict[Any, WatchedOp]:
    """All overloads to watch: in the catalogue, drawing random numbers, or with a flagged backward pass."""
    drawing = set(random_ops())
    aten = sys.modules["torch"].ops.aten
    names = dict.fromkeys((*lookup(), *MAKERS))
    overloads = [
        getattr(packet, which) for packet in map(_packet, names) if packet is not None for which in packet.overloads()
    ]
    overloads += [getattr(getattr(aten, name.partition(".")[0]), name.partition(".")[2]) for name in drawing]
    return {
        overload: _schema_op(
            overload,
            draws=str(overload).removeprefix("aten.") in drawing,
            makes=overload.__name__.partition(".")[0] in MAKERS,
        )
        for overload in dict.fromkeys(overloads)
    }


def is_traced(tensor: Any) -> bool:  # noqa: ANN401 - the first tensor of a call, or None
    """Whether a call runs on tensors without values (FakeTensors or meta tensors), as during tracing."""
    torch = sys.modules["torch"]
    if getattr(tensor, "is_meta", False):
        return True
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    if fake is None or type(tensor) in {torch.Tensor, torch.nn.Parameter}:
        return False
    mode = torch._C._TorchDispatchModeKey.FAKE  # noqa: SLF001 - no public question
    return isinstance(tensor, fake.FakeTensor) or torch._C._get_dispatch_mode(mode) is not None  # noqa: SLF001


@functools.cache
def _plain_tensor() -> Any:  # noqa: ANN401 - torch.Tensor
    return sys.modules["torch"].Tensor


def note(op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> None:
    """Report a call that is about to run to all collectors of this thread.

    Raises:
        NondeterministicOpError: a collector is strict, and the op may differ.
    """
    tensor: Any = args[0] if args else None
    if type(tensor) is _plain_tensor():  # the fast path of nearly all calls
        traced = tensor.is_meta
    else:
        tensor = first_tensor(args)
        if tensor is None and kwargs:
            tensor = first_tensor(kwargs.values())
        traced = is_traced(tensor)
    if op.hot:
        hot_ops.call(op.name)
    # The innermost first: an op that a strict scope blocks does not run, so outer collectors must not see it.
    for collector in reversed(listening()):
        if collector.fault is None:
            try:
                collector.call(op, args, kwargs, tensor, frame, traced)
            except NondeterministicOpError:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of repro_magic must not reach the user's code
                collector.fault = error


def listening() -> tuple[Collector, ...]:
    """The collectors that this thread reports to, the outermost first."""
    return _of_thread.get(get_ident(), collectors)


def _deterministic_path(op: WatchedOp) -> AbstractContextManager[None]:
    """Wraps the backward pass of fused attention in error mode, the only mode with a deterministic path."""
    if not op.name.partition(".")[0].endswith(_ATTENTION) or not any(collector.attention for collector in collectors):
        return nullcontext()
    return _error_mode()


@contextlib.contextmanager
def _error_mode() -> Iterator[None]:
    torch = sys.modules["torch"]
    before = torch._C._get_deterministic_algorithms(), torch._C._get_deterministic_algorithms_warn_only()  # noqa: SLF001
    if before != (True, True):
        yield
        return
    torch._C._set_deterministic_algorithms(True, warn_only=False)  # noqa: SLF001, FBT003 - see determinism.switches
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(*before[:1], warn_only=before[1])  # noqa: SLF001


def _is_torchscript_only(overload: Any) -> bool:  # noqa: ANN401 - an OpOverload
    """Whether an overload exists in TorchScript only (`hacked_twin`), unknown to the dispatcher."""
    name = overload._schema.name, overload._schema.overload_name  # noqa: SLF001 - its public form
    return not sys.modules["torch"]._C._dispatch_has_kernel(".".join(filter(None, name)))  # noqa: SLF001 - no public way


def _redispatch(overload: Any) -> Callable[..., Any]:  # noqa: ANN401 - an OpOverload
    """`OpOverload.redispatch`, if possible without its layer of Python."""
    handle = getattr(overload, "_handle", None)
    redispatch: Callable[..., Any] = getattr(handle, "redispatch_boxed", overload.redispatch)
    return redispatch


class KeyWatcher:
    """Watches with kernels for the flagged ops on two dispatch keys.

    Raises:
        RuntimeError: this PyTorch lacks the keys, or a kernel on them is not called.
    """

    _fallbacks: Any = None  # registered once per process, because a second registration raises

    def __init__(self) -> None:
        """Register the kernels, and check that they are called."""
        torch = sys.modules["torch"]
        private = torch._C  # noqa: SLF001 - there is no public way to a dispatch key
        self._keys = [private._parse_dispatch_key(name) for name in (KEY, HOT_KEY)]  # noqa: SLF001
        self._below = [private._dispatch_keyset_full_after(key) for key in self._keys]  # noqa: SLF001
        self._include = private._dispatch_tls_set_dispatch_key_included  # noqa: SLF001
        self._exclude = private._dispatch_tls_set_dispatch_key_excluded  # noqa: SLF001
        self._libraries: dict[str, Any] = {}
        self._known: set[Any] = set()
        self._index: Any = None
        self._add_fallbacks()
        self._pass_higher_order_ops()
        try:
            self.update()
            self._probe()
        except BaseException:
            self.close()
            raise

    def _add_fallbacks(self) -> None:
        torch = sys.modules["torch"]
        if KeyWatcher._fallbacks is not None:
            return
        library = torch.library.Library("_", "IMPL")  # never destroyed, see close()
        for name, key in zip((KEY, HOT_KEY), self._keys, strict=True):
            if not torch._C._dispatch_has_backend_fallback(key):  # noqa: SLF001 - PyTorch has no public way to ask
                library.fallback(torch.library.fallthrough_kernel, name)
        KeyWatcher._fallbacks = library

    def _pass_higher_order_ops(self) -> None:
        """Make higher-order ops (cond, scan, flex_attention …) ignore the keys, because they fail on unknown keys."""
        ops = sys.modules["torch._ops"]
        self._defaults = ops._HIGHER_ORDER_OP_DEFAULT_FALLTHROUGH_DISPATCH_KEYS  # noqa: SLF001 - there is no public way
        for key in self._keys:
            if key not in self._defaults:
                self._defaults.append(key)
            for op in ops._higher_order_ops.values():  # noqa: SLF001 - PyTorch has no public way to ask
                op.fallthrough(key)

    def update(self) -> None:
        """Watch new ops, too, such as those of a plug-in whose module was imported since."""
        if lookup() is self._index:
            return
        self._index = lookup()
        torch = sys.modules["torch"]
        for overload, op in watched_ops().items():
            if overload in self._known or _is_torchscript_only(overload):
                continue
            self._known.add(overload)
            namespace = overload.namespace
            library = self._libraries.get(namespace)
            if library is None:
                library = self._libraries[namespace] = torch.library.Library(namespace, "IMPL")
            library.impl(overload, self._kernel(overload, op), HOT_KEY if op.hot else KEY, with_keyset=True)

    def _kernel(self, overload: Any, op: WatchedOp) -> Callable[..., Any]:  # noqa: ANN401 - an OpOverload
        torch = sys.modules["torch"]
        redispatch = _redispatch(overload)
        below = self._below[int(op.hot)]
        exclude, (key, hot_key) = self._exclude, self._keys
        guard, both = torch._C._ExcludeDispatchKeyGuard, torch._C.DispatchKeySet(key).add(hot_key)  # noqa: SLF001
        number = torch._C._autograd._get_sequence_nr  # noqa: SLF001 - PyTorch has no public way to ask
        frame_at = sys._getframe  # noqa: SLF001 - what inspect uses

        def flagged(keyset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any op's
            # The keys are excluded because neither the op's own parts nor repro_magic's ops are the user's calls.
            try:
                exclude(key, True)  # noqa: FBT003 - PyTorch's signature; its guard object takes twice the time
                exclude(hot_key, True)  # noqa: FBT003
                note(op, args, kwargs, frame_at(1))
                return redispatch(keyset & below, *args, **kwargs)
            finally:
                exclude(key, False)  # noqa: FBT003
                exclude(hot_key, False)  # noqa: FBT003

        def attention(keyset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any op's
            with guard(both):
                note(op, args, kwargs, frame_at(1))
                with _deterministic_path(op):
                    return redispatch(keyset & below, *args, **kwargs)

        def hot(keyset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any op's
            if hot_ops.spent or hot_ops.never:
                self.rest()
                return redispatch(keyset & below, *args, **kwargs)
            before = number()
            with guard(both):
                note(op, args, kwargs, frame_at(1))
                result = redispatch(keyset & below, *args, **kwargs)
            if op.makes:
                for collector in _of_thread.get(get_ident(), ()):
                    collector.remember_nodes(op.name, range(before, number()), frame_at(1))
            return result

        if op.name.partition(".")[0].endswith(_ATTENTION):
            return attention
        return hot if op.hot else flagged

    def rest(self) -> None:
        """Stop counting hot ops on this thread."""
        for collector in collectors:
            collector.exhausted = True
        self._include(self._keys[1], False)  # noqa: FBT003 - PyTorch's signature

    def _probe(self) -> None:
        torch = sys.modules["torch"]
        from torch.utils._python_dispatch import _disable_current_modes  # noqa: PLC0415 - torch is imported only now

        collector = Collector()
        with _disable_current_modes():  # the user's modes (FakeTensorMode, for example) must not see the probe
            stop = open_watch(self, collector)
            try:
                values = torch.zeros(3, device="cpu")
                values.index_add_(0, torch.tensor([0, 1, 1], device="cpu"), torch.ones(3, device="cpu"))
            finally:
                stop()
            is_right = values.tolist() == [1, 2, 0]
        if not is_right or not collector.is_used:
            raise RuntimeError("a kernel on PyTorch's testing keys is not called as expected")

    def on(self) -> None:
        """Watch this thread."""
        for key in self._keys:
            self._exclude(key, False)  # noqa: FBT003 - PyTorch's signature; an interrupted kernel may have left the key excluded
        self._include(self._keys[0], True)  # noqa: FBT003
        self._include(self._keys[1], not (hot_ops.spent or hot_ops.never))

    def off(self) -> None:
        """Stop watching this thread."""
        for key in self._keys:
            self._include(key, False)  # noqa: FBT003 - PyTorch's signature

    def close(self) -> None:
        """Remove the kernels. The fallbacks stay, because a thread that includes a key cannot compute without them."""
        for library in self._libraries.values():
            library._destroy()  # noqa: SLF001 - there is no public way
        self._libraries.clear()
        ops = sys.modules["torch._ops"]
        for key in self._keys:
            if key in self._defaults:
                self._defaults.remove(key)
            for op in ops._higher_order_ops.values():  # noqa: SLF001 - PyTorch has no public way to ask
                op.non_fallthrough_keys = op.non_fallthrough_keys.add(key)


class ModeWatcher:
    """Watches with a `TorchDispatchMode`: slows down all ops, but uses public parts only."""

    def __init__(self) -> None:
        """Create the mode."""
        self._index: Any = None
        self.update()
        self._mode = _mode_class()(self)

    def update(self) -> None:
        """Watch new ops, too."""
        if lookup() is not self._index:
            self._index, self.ops = lookup(), watched_ops()

    def on(self) -> None:
        """Watch this thread."""
        self._mode.__enter__()

    def off(self) -> None:
        """Stop watching this thread."""
        self._mode.__exit__(None, None, None)

    def rest(self) -> None:
        """Does nothing: a mode sees all ops."""

    def close(self) -> None:
        """Does nothing: nothing is registered."""


@functools.cache
def _mode_class() -> Any:  # noqa: ANN401 - torch is imported only now
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    torch = sys.modules["torch"]
    number = torch._C._autograd._get_sequence_nr  # noqa: SLF001 - there is no public way

    class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
        supports_higher_order_operators = True

        def __init__(self, watcher: ModeWatcher) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._watcher = watcher

        @classmethod
        def ignore_compile_internals(cls) -> bool:
            return True  # otherwise torch.compile silently compiles nothing

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
            kwargs = kwargs or {}
            op = self._watcher.ops.get(func)
            if op is None:
                return func(*args, **kwargs)
            frame = sys._getframe(1)  # noqa: SLF001 - what inspect uses
            note(op, args, kwargs, frame)
            if op.makes:
                # Modes run below autograd, where the node already has its number.
                for collector in _of_thread.get(get_ident(), ()):
                    collector.remember_nodes(op.name, range(number() - 1, number()), frame)
            with _deterministic_path(op):
                return func(*args, **kwargs)

    return Watching


Watcher = KeyWatcher | ModeWatcher


def open_watch(watcher: Watcher, collector: Collector) -> Callable[[], None]:
    """Watch this thread for a new collector; the returned function ends it."""
    global collectors  # noqa: PLW0603 - the process has one dispatcher
    if not collectors:
        hot_ops.renew()
    collectors = (*collectors, collector)
    leave = join_watch(watcher, collector)

    def close() -> None:
        global collectors  # noqa: PLW0603 - the process has one dispatcher
        collectors = tuple(other for other in collectors if other is not collector)
        leave()
        # A thread that lives on (in a pool) now reports to all collectors that are open when it works.
        for thread, reported_to in list(_of_thread.items()):
            left = tuple(other for other in reported_to if other is not collector)
            if left:
                _of_thread[thread] = left
            else:
                _of_thread.pop(thread, None)

    return close


def is_watched(collector: Collector | None = None) -> bool:
    """Whether this thread reports to a collector, or to any collector."""
    reported_to = _of_thread.get(get_ident(), ())
    return bool(reported_to) if collector is None else collector in reported_to


def join_watch(watcher: Watcher, collector: Collector) -> Callable[[], None]:
    """Watch this thread for an open collector; the returned function ends it."""
    thread = get_ident()
    before = _of_thread.get(thread, ())
    _of_thread[thread] = (*before, collector)
    if not before:
        watcher.on()

    def leave() -> None:
        left = tuple(other for other in _of_thread.get(thread, ()) if other is not collector)
        if left:
            _of_thread[thread] = left
            return
        _of_thread.pop(thread, None)
        if get_ident() == thread:
            watcher.off()

    return leave
