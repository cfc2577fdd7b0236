"""Everything that watches one cell: its flagged ops, the unseeded sources it uses, the order of its sets."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repro_magic.introspection.foreign import Shield
from repro_magic.rng.seeding import hash_seed_of_this_process
from repro_magic.runtime.import_hooks import Waiting, when_imported
from repro_magic.unseeded.set_order import may_use_sets, unordered
from repro_magic.unseeded.sources import Sources

if TYPE_CHECKING:
    from repro_magic.findings import Draw, Finding
    from repro_magic.ops.tracing.recording import Recording
    from repro_magic.unseeded.libraries import LibraryDraw


class CellWatch:
    """Watches one cell, from `begin` to `end`.

    Attributes:
        draws: the random ops that drew, once it is over.
    """

    def __init__(self) -> None:
        """Nothing is watched."""
        self.draws: list[Draw] = []
        self._recording: Recording | None = None
        self._waiting: Waiting | None = None
        self._sources = Sources()
        self._is_on = False

    def begin(self) -> None:
        """Watch from here on."""
        self._is_on = True
        self._sources.open()
        self._waiting = when_imported("torch", self._open_recording)

    def _open_recording(self) -> None:
        # Only now, for the catalogue takes 30 ms to import.
        from repro_magic.ops.tracing.collector import Recorder  # noqa: PLC0415
        from repro_magic.ops.tracing.recording import Recording  # noqa: PLC0415

        if self._waiting is not None and self._waiting.is_cancelled:  # a thread imports torch, and the cell is over
            return
        self._recording = Recording(Recorder())
        self._recording.open()

    def end(self) -> None:
        """Watch no longer; a second time does nothing."""
        if self._waiting is not None:
            self._waiting.cancel()
        try:
            if self._recording is not None:
                self._recording.close()
                self.draws = self._recording.recorder.draws()
        finally:
            self._sources.close()

    def libraries(self) -> list[LibraryDraw]:
        """The libraries' functions that made a generator without a seed so far."""
        return self._sources.libraries()

    def findings(self) -> list[Finding]:
        """What is known of the cell so far, active ones first."""
        ops = [] if self._recording is None else self._recording.recorder.findings()
        sources = self._sources.findings()
        return sorted([*sources, *ops], key=lambda one: not one.warns) if sources else ops

    def orders(self, cell: ast.Module | None, source: str, names: Mapping[str, Any], file: str | None) -> list[Finding]:
        """Where a cell that ran to its end used the order of a set of strings, if that is another in each process."""
        if not self._is_on or cell is None or file is None or hash_seed_of_this_process() != "random":
            return []
        with Shield():  # the cell's names may hold anything
            return unordered(cell, names, file) if may_use_sets(source, names) else []
        return []
