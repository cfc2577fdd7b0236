"""Watch code: its flagged ops, its unseeded sources, and what its loaders' workers report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from repro_magic.findings import Draw, Finding, FindingStatus
from repro_magic.runtime.import_hooks import Waiting, when_imported
from repro_magic.unseeded.sources import Sources

if TYPE_CHECKING:
    from repro_magic.exceptions import NondeterministicOpError
    from repro_magic.ops.tracing.collector import Collector
    from repro_magic.unseeded.libraries import LibraryDraw

_TRACER, _WORKERS = "repro_magic.ops.tracing.tracer", "repro_magic.dataloading.workers"


class Watch:
    """Watches code between `open` and `close`, on this thread and on threads it starts.

    Args:
        strict: an op whose result may differ raises before it runs.
        attention: fused attention uses its deterministic kernel.

    Attributes:
        was_opened: whether anything was watched at all.

    Example:
        >>> import random
        >>> watch = Watch()
        >>> watch.open()
        >>> _ = random.Random()
        >>> watch.close()
        >>> [finding.op for finding in watch.findings]
        ['random.Random']
    """

    def __init__(self, *, strict: bool = False, attention: bool = False) -> None:
        """Nothing is watched yet."""
        self._strict, self._attention = strict, attention
        self._collector: Collector | None = None
        self._sources = Sources()
        self._waiting: Waiting | None = None
        self._undo = ExitStack()
        self.was_opened = False
        self._leave_workers: Callable[[], None] = lambda: None

    @property
    def findings(self) -> list[Finding]:
        """The flagged ops and unseeded sources that ran so far, active findings first."""
        ops = [] if self._collector is None else self._collector.findings()
        order = list(FindingStatus)
        return sorted([*ops, *self._sources.findings()], key=lambda finding: order.index(finding.status))

    @property
    def draws(self) -> list[Draw]:
        """The random ops that drew so far."""
        return [] if self._collector is None else self._collector.draws()

    @property
    def libraries(self) -> list[LibraryDraw]:
        """The library functions that created an unseeded generator so far."""
        return self._sources.libraries()

    @property
    def refused(self) -> NondeterministicOpError | None:
        """The error that blocked an op; None if no op was blocked."""
        return None if self._collector is None else self._collector.refused

    def open(self) -> None:
        """Start watching; flagged ops are watched once torch is imported."""
        self.was_opened = True
        self._sources.open()
        self._undo.callback(self._sources.close)
        self._waiting = when_imported("torch", self._begin)

    def _begin(self) -> None:
        # Only now, for the catalogue takes 30 ms to import.
        from repro_magic.dataloading import workers  # noqa: PLC0415
        from repro_magic.ops.tracing.collector import Collector  # noqa: PLC0415
        from repro_magic.ops.tracing.tracer import Tracer  # noqa: PLC0415

        if self._waiting is not None and self._waiting.is_cancelled:  # a thread imports torch, and this is over
            return
        self._collector = Collector(strict=self._strict, attention=self._attention)
        tracer = Tracer(self._collector)
        # Workers get what is still recorded, so the tracer closes before they are left.
        self._undo.callback(lambda: self._leave_workers())
        self._undo.callback(tracer.close)
        tracer.open()
        self._leave_workers = workers.follow(self._collector)

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._undo.close()


def is_watching() -> bool:
    """Whether flagged ops of this thread are watched."""
    tracer = sys.modules.get(_TRACER)
    return tracer is not None and tracer.is_tracing()


def release() -> None:
    """Remove all hooks, unless another watch still needs them."""
    for module in (sys.modules.get(_TRACER), sys.modules.get(_WORKERS)):
        if module is not None:
            module.release()
