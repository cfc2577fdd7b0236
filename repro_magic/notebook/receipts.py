"""The receipts of a session's cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

from repro_magic.determinism.settings import SETTINGS
from repro_magic.introspection.cell_names import as_python, bindings, reached
from repro_magic.introspection.comments import mentions, private_names
from repro_magic.introspection.foreign import Shield
from repro_magic.journal import value_in_words
from repro_magic.rng.seeding import looks
from repro_magic.runtime.interrupts import is_waiting

if TYPE_CHECKING:
    from repro_magic.findings import Finding
    from repro_magic.notebook.cell_seeds import Key
    from repro_magic.proof.kernel.figures import StableFigures
    from repro_magic.rng.origins import Look
    from repro_magic.scope import Report

# The cells that get a receipt.
OFF, DETERMINISTIC, ALL = MODES = ("off", "deterministic", "all")


class Receipts:
    """Creates the receipts of cells.

    Args:
        shell: the session's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        """Prepare for the first cell."""
        self._shell = shell
        self._mode = OFF
        self._bound: dict[str, int] | None = None
        self._looks: Mapping[str, Look] = {}
        self._figures: StableFigures | None = None
        # Cells that ran before the extension was loaded may declare private names, too.
        history = shell.history_manager.input_hist_raw if shell.history_manager is not None else []
        self._private = frozenset[str]().union(*map(private_names, history))

    def begin(self, mode: str) -> None:
        """Prepare for a cell that starts, with the current mode."""
        self._mode = mode
        self._bound = None
        if mode != OFF and self._figures is None:
            from repro_magic.proof.kernel.figures import StableFigures  # noqa: PLC0415 - with the first cell, not with loading

            self._figures = StableFigures()
            self._figures.open()
        elif mode == OFF:
            self.close()
        if mode == ALL:
            self.look()

    def look(self) -> None:
        """Record bindings and generator states just before the cell's own code starts."""
        if self._mode == OFF:
            return
        self._bound = None
        with Shield():  # if a plug-in's generator fails, the cell runs without a receipt
            self._looks = looks()
            self._bound = bindings(self._shell.user_ns)

    def close(self) -> None:
        """Restore the normal output of figures."""
        if self._figures is not None:
            self._figures.close()
            self._figures = None

    def of(
        self,
        result: ExecutionResult | None,
        reports: Sequence[Report],
        findings: Sequence[Finding],
        is_own: Callable[[str], bool],
        key: Key | None = None,
    ) -> dict[str, Any] | None:
        """The receipt of the cell that has just run; None if it gets no receipt, or was interrupted.

        Args:
            result: IPython's result.
            reports: the reports of its deterministic scopes; the receipt describes the first.
            findings: the flagged ops that ran.
            is_own: whether a file is the cell.
            key: the key of its own seed, if it has one.
        """
        raw = getattr(getattr(result, "info", None), "raw_cell", None)
        self._private |= private_names(raw or "")
        if self._bound is None or raw is None or result is None or not (reports or self._mode == ALL):
            return None
        error = result.error_before_exec or result.error_in_exec
        if issubclass(type(error), KeyboardInterrupt):
            return None
        from repro_magic.proof.kernel.probe import users_names  # noqa: PLC0415 - only cells with receipts need it
        from repro_magic.proof.kernel.receipt import Facts, ReceiptStoppedError, receipt  # noqa: PLC0415

        own = self._private
        names = set(reached(as_python(self._shell, raw), self._shell.user_ns, self._bound))
        facts = Facts(
            source=raw,
            names={name: value for name, value in users_names() if name.partition(".")[0] in names - own},
            result=[] if result.result is None or mentions(raw, own) else [result.result],
            switches=_switches(reports),
            moved=self._moved(),
            findings=findings or [finding for report in reports for finding in report.findings],
            is_own=is_own,
            error=None if error is None else type(error).__name__,
            key=None if key is None else {"kind": key.kind, "occurrence": key.occurrence},
        )
        if reports:
            facts.name, facts.seed, facts.strict = reports[0].name, reports[0].seed, reports[0].strict
        try:
            return receipt(facts, is_waiting)
        except (ReceiptStoppedError, KeyboardInterrupt):  # Ctrl-C also ends the inspection of values
            return None

    def _moved(self) -> dict[str, tuple[bytes | None, bytes]]:
        """The generators that moved; the state before is left out unless it is known to come from a seed."""
        return {
            key: (self._looks[key].state if self._looks[key].known.is_seeded else None, after.state)
            for key, after in looks().items()
            if key in self._looks and self._looks[key].state != after.state
        }


def _switches(reports: Sequence[Report]) -> dict[str, str]:
    """The switches that the scope set; in an ordinary cell, the settings that differ from a fresh process."""
    if reports:
        return {change.switch.name: change.switch.value_in_words(change.during) for change in reports[0].changes}
    values = ((setting, setting.read()) for setting in SETTINGS if setting.default is not None)
    return {
        setting.switch.name: value_in_words(value)
        for setting, value in values
        if value is not None and value != setting.default
    }
