"""The context that a deterministic cell runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from repro_magic.runtime.interrupts import uninterrupted

if TYPE_CHECKING:
    from repro_magic.scope import Report, deterministic


class CellScope:
    """A deterministic scope that passes on its report on exit, also after an error."""

    def __init__(self, scope: deterministic, entered: Callable[[], object], note: Callable[[Report], object]) -> None:
        """Wrap `scope`; `entered` is called on entry, `note` with the report on exit."""
        self._scope, self._entered, self._note = scope, entered, note
        self._report: Report | None = None

    @uninterrupted
    def __enter__(self) -> Report:
        """Enter the scope."""
        self._report = self._scope.__enter__()
        self._entered()
        return self._report

    @uninterrupted
    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401, PYI036 - handed on
        """Leave the scope, and pass on the report."""
        try:
            self._scope.__exit__(*exception)
        finally:
            if self._report is not None:
                self._note(self._report)
