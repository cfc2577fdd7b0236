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

# Which cells have a receipt.
OFF, DETERMINISTIC, ALL = MODES = ("off", "deterministic", "all")


class Receipts:
    """Makes the receipt of each cell that has one.

    Args:
        shell: the session's.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        """No cell has begun."""
        self._shell = shell
        self._mode = OFF
        self._bound: dict[str, int] | None = None
        self._looks: Mapping[str, Look] = {}
        self._figures: StableFigures | None = None
        # Of cells that ran before the extension was loaded, too.
        history = shell.history_manager.input_hist_raw if shell.history_manager is not None else []
        self._private = frozenset[str]().union(*map(private_names, history))

    def begin(self, mode: str) -> None:
        """A cell begins, and this is now the mode."""
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
        """See what the names are bound to and which state the generators are in: the cell's own code begins."""
        if self._mode == OFF:
            return
        self._bound = None
        with Shield():  # a plug-in's generator may fail: then the cell has no receipt, and runs
            self._looks = looks()
            self._bound = bindings(self._shell.user_ns)

    def close(self) -> None:
        """Figures come out as they did before."""
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
        """The receipt of the cell that has just run; None if it is to have none, or was interrupted.

        Args:
            result: IPython's.
            reports: its deterministic scopes, the first of which it is about.
            findings: the flagged ops that ran.
            is_own: whether a file is the cell.
            key: what its own seed follows from, if it has one.
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
        found = set(reached(as_python(self._shell, raw), self._shell.user_ns, self._bound))
        facts = Facts(
            source=raw,
            names={name: value for name, value in users_names() if name.partition(".")[0] in found - own},
            result=[] if result.result is None or mentions(raw, own) else [result.result],
            switches=_switches(reports),
            moved=self._moved(),
            findings=findings or [one for report in reports for one in report.findings],
            is_own=is_own,
            error=None if error is None else type(error).__name__,
            key=None if key is None else {"kind": key.kind, "occurrence": key.occurrence},
        )
        if reports:
            facts.name, facts.seed, facts.strict = reports[0].name, reports[0].seed, reports[0].strict
        try:
            return receipt(facts, is_waiting)
        except (ReceiptStoppedError, KeyboardInterrupt):  # Ctrl-C ends the look at the values, not only the wait for it
            return None

    def _moved(self) -> dict[str, tuple[bytes | None, bytes]]:
        """The generators that moved; the state before is left out unless it is known to come from a seed."""
        return {
            key: (self._looks[key].state if self._looks[key].known.is_seeded else None, after.state)
            for key, after in looks().items()
            if key in self._looks and self._looks[key].state != after.state
        }


def _switches(reports: Sequence[Report]) -> dict[str, str]:
    """What the scope set; in an ordinary cell, the settings that a fresh process has otherwise."""
    if reports:
        return {change.switch.name: change.switch.value_in_words(change.during) for change in reports[0].changes}
    held = ((setting, setting.read()) for setting in SETTINGS if setting.default is not None)
    return {
        setting.switch.name: value_in_words(value)
        for setting, value in held
        if value is not None and value != setting.default
    }
