"""The extension in a shell: its parts, from loading to unloading."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

from repro_magic.dataloading.registry import LoaderLog
from repro_magic.determinism.settings import Setting, stop_waiting
from repro_magic.exceptions import NotRunnableError, PanelError
from repro_magic.findings import doubt
from repro_magic.journal import Cell, CellDraws, Journal
from repro_magic.notebook.cell_seeds import id_of
from repro_magic.notebook.cell_watch import CellWatch
from repro_magic.notebook.completion import flag_matcher
from repro_magic.notebook.file_labels import Files
from repro_magic.notebook.installation import Installation, remove
from repro_magic.notebook.magics import ReproMagic, show, shown_by_us
from repro_magic.notebook.receipts import Receipts
from repro_magic.notebook.rewriting import CellRewriter, as_written, mark
from repro_magic.notebook.seed_keeper import Seeded, SeedKeeper
from repro_magic.ops.tracing.unprofiled import unprofiled
from repro_magic.rng.entropy import hooks_down, hooks_up
from repro_magic.rng.seeding import note_load, resume, suspend
from repro_magic.rng.tracking import trackable_names
from repro_magic.runtime.interrupts import Guard
from repro_magic.watching import release

if TYPE_CHECKING:
    from argparse import Namespace

    from repro_magic.findings import Draw, Finding
    from repro_magic.notebook.panel import Panel
    from repro_magic.notebook.replay import Replay
    from repro_magic.process_status import ProcessStatus
    from repro_magic.rng.seed_policy import SeedPolicy
    from repro_magic.scope import Report
    from repro_magic.views.document import Document

_UNWATCHED = "the cell was not watched"

_sessions: WeakKeyDictionary[InteractiveShell, Session] = WeakKeyDictionary()


def load(shell: InteractiveShell) -> None:
    """Install the extension into `shell`; does nothing if it is loaded already."""
    if shell not in _sessions:
        guard = Guard()  # inspecting the user's objects may raise KeyboardInterrupt
        guard.up()
        try:
            _sessions[shell] = Session(shell)
        finally:
            guard.down()


def unload(shell: InteractiveShell) -> None:
    """Remove the extension from `shell`; does nothing if it is not loaded."""
    session = _sessions.pop(shell, None)
    if session is not None:
        session.close()


def panel() -> None:
    """Show a live panel of seeds, settings and flagged ops, as `%repro_panel` does.

    Loads the extension if needed.

    Raises:
        PanelError: this is not a notebook.

    Example:
        >>> panel()
        Traceback (most recent call last):
            ...
        repro_magic.PanelError: the panel needs a notebook; in a script, print(repro_magic.status())
    """
    shell = get_ipython()
    if shell is None:
        raise PanelError("the panel needs a notebook; in a script, print(repro_magic.status())")
    if shell not in _sessions:
        shell.run_line_magic("load_ext", "repro_magic")  # so that %unload_ext knows of it
    _sessions[shell].show_panel()


class Session:
    """The magics, transformers, hooks and completions of a shell, from loading to unloading."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Install everything."""
        self._shell = shell
        self._is_open = True
        self._reports: list[Report] = []
        self._reported: set[object] = set()
        self._watch = CellWatch()
        self._loaders = LoaderLog()
        self._ids: dict[int, str] = {}
        self._journal = Journal(lambda: trackable_names(shell.user_ns, shell.user_ns_hidden))
        self._panel: Panel | None = None
        self._files = Files(shell)
        self._receipts = Receipts(shell)
        self._cell_receipts: dict[int, dict[str, Any]] = {}
        self._failed: dict[int, str] = {}
        self._own_texts: dict[int, frozenset[str]] = {}
        self._doubts: dict[int, str] = {}
        self._replay: Replay | None = None
        self._is_running = self._is_inside_a_cell()
        self._thread = threading.get_ident()
        self._magics = ReproMagic(shell, self)
        self._seeds = SeedKeeper(shell, self._magics.name_in)
        self._rewriter = CellRewriter(self._magics.open_cell, lambda: shell.ast_node_interactivity)
        self._installed = installed = Installation(shell)
        installed.on_undo(lambda: remove(shell.configurables, self._magics))
        note_load()
        resume()
        installed.on_undo(suspend, stop_waiting, self._rewriter.close, self._receipts.close)
        installed.add_magics(self._magics)
        installed.append(shell.input_transformers_cleanup, mark)
        installed.append(shell.ast_transformers, self._rewriter)
        installed.append(shell.Completer.custom_matchers, flag_matcher(shell, self._magics))
        hooks_up()  # from here on, it is known whether each generator was seeded
        self._loaders.up()
        self._seeds.resume()
        installed.on_undo(release, hooks_down, self._seeds.suspend, self._loaders.down, lambda: self._watch.close())
        installed.on_undo(self._journal.close)
        installed.keep_our_frames_out_of_tracebacks()
        installed.add_hook("pre_run_cell", self._before_cell)
        installed.add_hook("post_run_cell", self._after_cell)
        # The cell that loads the extension gets no pre_run_cell event, so watching its remainder starts here.
        self._journal.begin()
        self._receipts.begin(self._magics.receipts)
        self._start_watching()

    def close(self) -> None:
        """Undo `__init__`, in reverse order."""
        self._is_open = False
        if self._panel is not None:
            self._panel.detach("Extension unloaded")
        if self._replay is not None:
            self._replay.stop()
        self._installed.undo()

    @unprofiled()
    def _before_cell(self, info: Any) -> None:  # noqa: ANN401 - IPython's ExecutionInfo
        if self._is_inside_a_cell() or self._is_beside_a_cell():  # the outer cell, or the first cell, reports both
            return
        self._thread = threading.get_ident()
        self._watch.close()  # still open if a cell ended without an event
        self._rewriter.cell = None
        taken = self._seeds.begin(info)
        if taken is not None:
            from repro_magic.views import describe  # noqa: PLC0415 - few cells need it

            show(describe.taken(taken))
        self._is_running = True
        self._journal.begin()
        self._receipts.begin(self._magics.receipts)
        self._loaders.new()  # loaders created between cells appear in the table only
        self._start_watching()

    @unprofiled()
    def _after_cell(self, result: ExecutionResult | None) -> None:
        if self._is_inside_a_cell():
            return
        self._restore_history(result)
        if threading.get_ident() != self._thread:
            return
        try:
            findings, number = self._ended(result)
        finally:
            self._is_running = False  # also after a fault, so that clicks in the panel do not wait forever
        self._show_block(result, findings, number)
        if self._magics.watch and (drawn := self._journal.first_unseeded_draw()):
            self._show_unseeded(drawn, number)
        if number is not None:
            self._own_texts[number] = frozenset(shown_by_us)
        shown_by_us.clear()
        if self._panel is not None:
            self._panel.cell_ended()

    def _restore_history(self, result: ExecutionResult | None) -> None:
        """Restore the magic in the cell's history, which held Python because IPython looks there for a semicolon."""
        if result is not None and getattr(result.info, "store_history", False):
            assert self._shell.history_manager is not None  # noqa: S101 - a cell was just stored there
            history = self._shell.history_manager.input_hist_parsed
            if history:
                history[-1] = "".join(as_written(history[-1].splitlines(keepends=True)))

    def _ended(self, result: ExecutionResult | None) -> tuple[list[Finding], int | None]:
        """Write the cell's findings to the journal; returns them and the cell's number."""
        number = getattr(result, "execution_count", None)
        if number is not None and result is not None and not result.success:
            self._failed[number] = _error_in_words(result)
        self._files.know(result, number)
        cell_id = id_of(getattr(result, "info", None), self._shell)
        if number is not None and cell_id is not None:
            self._ids[number] = cell_id
        findings, draws = self._findings_of(result, number), self._watch.draws
        if number is not None:
            self._doubts[number] = doubt(findings) if self._magics.watch else _UNWATCHED
        self._journal.end(
            "a cell" if number is None else f"In[{number}]",
            cell_id,
            findings,
            self._labels(findings, draws),
            draws=draws,
            libraries=self._watch.libraries,
        )
        return findings, number

    def _is_inside_a_cell(self) -> bool:
        """Whether another cell's code runs this cell (`run_cell`, `%%capture`). A counter could miss an event."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - what inspect uses
        while frame is not None and frame.f_globals is not self._shell.user_ns:
            frame = frame.f_back
        return frame is not None

    def _is_beside_a_cell(self) -> bool:
        """Whether a cell runs on another live thread, so that this cell runs in a subshell."""
        if not self._is_running or self._thread == threading.get_ident():
            return False
        return self._thread in sys._current_frames()  # noqa: SLF001 - what faulthandler reads

    def _start_watching(self) -> None:
        self._watch = CellWatch()
        if self._magics.watch:
            self._watch.open()

    def _findings_of(self, result: ExecutionResult | None, number: int | None) -> list[Finding]:
        """The findings of the cell that has ended."""
        self._watch.close()
        cell, self._rewriter.cell = self._rewriter.cell, None
        findings = self._watch.findings
        if result is not None and result.success and self._watch.was_opened:
            source = getattr(result.info, "raw_cell", None) or ""
            findings = [*findings, *self._watch.orders(cell, source, self._shell.user_ns, self._files.of(number))]
        return findings

    def _labels(self, findings: Sequence[Finding], draws: Sequence[Draw] = ()) -> Callable[[str], str]:
        """The labels of the files in findings and draws."""
        places = [*(place for item in findings for place in item.places), *(item.place for item in draws if item.place)]
        return self._files.labels({place.file for place in places})

    def status(self) -> ProcessStatus:
        """The state of everything, the running cell included."""
        from repro_magic.process_status import status  # noqa: PLC0415 - loading does not need it

        process = status(self._journal, is_watched=self._magics.watch, seed_policy=self._seeds.policy)
        findings = self._watch.findings if self._is_running else []
        if findings:
            number = self._files.newest()
            name = "this cell" if number is None else f"In[{number}]"
            process.cells.append(Cell(name, None, findings, self._labels(findings)))
        return process

    def entered(self) -> None:
        """Called when the code of a deterministic cell starts."""
        self._receipts.look()

    def note(self, report: Report, *, quiet: bool) -> None:
        """Show the report after the cell; at once if the cell unloaded the extension."""
        if not quiet:
            self._reports.append(report)
            self._reported.update(finding.where for finding in report.findings)
        if not self._is_open:
            self._show_reports()

    def ledger(self) -> list[CellDraws]:
        """The draws of all ended cells."""
        return self._journal.ledger()

    def loaders(self) -> Document:
        """The table of the notebook's data loaders."""
        from repro_magic.views.loaders import table  # noqa: PLC0415 - most cells do not need it

        return table(self._loaders.all(self._shell.user_ns), self._files.label)

    def turned(self, setting: Setting) -> None:
        """Record that the user changed a setting, so that it is not reported as changed by code."""
        self._journal.expect(setting)

    def turn(self, setting: Setting, value: object) -> None:
        """Change a setting for the whole process.

        Raises:
            InvalidSettingError: the value is invalid.
        """
        setting.write(value)
        self.turned(setting)

    def seed(self, policy: SeedPolicy) -> Seeded:
        """Seed every generator, and follow this policy from here on.

        Raises:
            InvalidSeedError: the policy's seed is not a seed.
            ValueError: the launcher does not give a valid rank.
        """
        return self._seeds.apply(policy)

    def reseed(self, seed: int) -> Seeded:
        """Seed every generator with another seed, and keep the rest of the policy.

        Raises:
            InvalidSeedError: `seed` is not a seed.
        """
        return self._seeds.reseed(seed)

    def set_watched(self, is_watched: bool) -> None:  # noqa: FBT001 - a toggle's value
        """Turn watching of later cells on or off."""
        self._magics.watch = is_watched

    def clear(self) -> None:
        """Forget the findings so far."""
        self._journal.clear()

    @property
    def is_running(self) -> bool:
        """Whether a cell runs."""
        return self._is_running

    def show_panel(self) -> None:
        """Show the panel; a second call shows a second view of it.

        Raises:
            PanelError: a terminal has no widgets.
        """
        if any(kind.__name__ == "TerminalInteractiveShell" for kind in type(self._shell).__mro__):
            raise PanelError("the panel needs a notebook; in a terminal, %repro_status shows the same")
        from repro_magic.notebook.panel import Panel  # noqa: PLC0415 - ipywidgets takes 0.1 s to import

        if self._panel is None or self._panel.is_closed:
            self._panel = Panel(self)
        self._panel.show()

    def _show_block(self, result: ExecutionResult | None, findings: list[Finding], number: int | None) -> None:
        """Show the block of a cell, if there is anything to report."""
        reports = self._reports.copy()
        unreported = [finding for finding in findings if finding.where not in self._reported]
        self._reports.clear()
        self._reported.clear()
        label = functools.partial(self._files.label, here=number)
        receipt = self._receipts.of(result, reports, findings, lambda file: label(file) == "", self._seeds.key)
        if receipt is not None and number is not None:
            self._cell_receipts[number] = receipt
        loaders = [
            loader for loader in self._loaders.new() if loader.faults and not loader.accepted and self._magics.watch
        ]
        if not (reports or unreported or receipt or loaders):
            return
        from repro_magic.views import describe  # noqa: PLC0415 - most cells have nothing to show
        from repro_magic.views.findings import active  # noqa: PLC0415

        block = describe.reports(reports, label) + active(unreported, label)
        if loaders:
            from repro_magic.views.loaders import block as faults  # noqa: PLC0415 - most cells do not need it

            block += faults(loaders, label)
        if receipt is not None:
            from repro_magic.proof.kernel.receipt import MIME  # noqa: PLC0415 - most cells do not need it

            show(block + describe.receipt(receipt), {MIME: receipt})
        elif block.parts:
            show(block)

    def _show_unseeded(self, generators: Sequence[str], number: int | None) -> None:
        """Say, once in a session, that a cell drew from an unseeded global generator."""
        from repro_magic.proof.compare.outputs import REMARK  # noqa: PLC0415 - one cell of a session has this to show
        from repro_magic.views import describe  # noqa: PLC0415

        show(describe.unseeded_draw(generators, number), {REMARK: {"generators": list(generators)}})

    def replay(self, arguments: Namespace) -> None:
        """Replay the session's cells in a fresh kernel, or stop the replay.

        Raises:
            NotRunnableError: a replay runs already, or nothing can be replayed.
        """
        from repro_magic.notebook.replay import Replay, cells_of, texts_of  # noqa: PLC0415 - nbclient takes 0.3 s to import
        from repro_magic.proof.kernel import probe  # noqa: PLC0415
        from repro_magic.proof.run.consent import shell_lines  # noqa: PLC0415
        from repro_magic.proof.run.options import RunOptions  # noqa: PLC0415
        from repro_magic.proof.run.project import Scope  # noqa: PLC0415

        running = self._replay is not None and self._replay.is_running
        if arguments.stop:
            if self._replay is None or not running:
                raise NotRunnableError("no replay is running")
            self._replay.stop()
            return
        if running:
            raise NotRunnableError("a replay is still running; to stop it, run %repro_verify --stop")
        assert self._shell.history_manager is not None  # noqa: S101 - a shell that runs cells has one
        history = self._shell.history_manager
        present = len(history.input_hist_raw) - 1  # the execution count may be the next cell's already
        own = {**self._own_texts, present: frozenset(shown_by_us)}
        results = self._shell.user_ns.get("_oh")
        results = results if type(results) is dict else {}
        cells = [
            replace(
                cell,
                id=self._ids.get(cell.number),
                doubt=self._doubts.get(cell.number, _UNWATCHED),
                texts=texts_of(history, cell.number, self._failed.get(cell.number, "")),
                own=own.get(cell.number, frozenset()),
                displayed=probe.looked_at(results[cell.number]) if cell.number in results else None,
            )
            for cell in cells_of(history.input_hist_raw, self._cell_receipts, {*self._failed}, present)
        ]
        if not cells:
            raise NotRunnableError("no cell has run yet, so there is nothing to replay")
        scope = Scope(Path(arguments.root).expanduser() if arguments.root else None, tuple(arguments.include or ()))
        replay = Replay(cells, probe.held(), RunOptions(timeout=arguments.timeout, scope=scope))
        lines = shell_lines(replay.notebook())
        if lines and not arguments.allow_shell:
            listed = "; ".join(f"In[{cells[number - 1].number}]: {line}" for number, line in lines)
            raise NotRunnableError(f"these lines run programs; to run them again, add --allow-shell: {listed}")
        self._replay = replay
        replay.start()
        if arguments.wait:
            replay.wait()

    def _show_reports(self) -> None:
        """Show the reports at once, because no hook runs after the cell that unloads the extension."""
        from repro_magic.views import describe  # noqa: PLC0415 - most cells do not need it

        reports = self._reports.copy()
        self._reports.clear()
        if reports:
            # These reports concern the current cell, so its own lines need no label.
            show(describe.reports(reports, functools.partial(self._files.label, here=self._files.newest())))


def _error_in_words(result: ExecutionResult) -> str:
    """A cell's error as front ends write it; empty if that fails."""
    error = result.error_before_exec or result.error_in_exec
    if isinstance(error, UsageError):  # IPython prints it to stderr; the cell has no error output
        return ""
    try:
        return "" if error is None else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the user's __str__ may raise anything
        return ""
