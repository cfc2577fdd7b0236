"""Matplotlib's SVG and PDF figures, byte for byte the same in each run.

An SVG's ids come from a random salt, and both formats hold the date. While `StableFigures` is open both are fixed, also
for `savefig`, unless the user gave a salt or a date. PNGs hold neither.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from repro_magic.runtime.import_hooks import Waiting, when_imported
from repro_magic.runtime.patching import Hooked

_SALT = "repro_magic"


@dataclass(frozen=True)
class _Format:
    """Where a format is written, and what its date is called."""

    module: str
    canvas: str
    method: str
    date: str


_FORMATS = (
    _Format("matplotlib.backends.backend_svg", "FigureCanvasSVG", "print_svg", "Date"),
    _Format("matplotlib.backends.backend_pdf", "FigureCanvasPdf", "print_pdf", "CreationDate"),
)


@dataclass
class StableFigures:
    """From `open` to `close` figures come out without salt and date; Matplotlib may be imported later.

    Example:
        >>> figures = StableFigures()
        >>> figures.open()
        >>> figures.close()
    """

    _waiting: list[Waiting] = field(default_factory=list)
    _undo: list[Callable[[], object]] = field(default_factory=list)

    def open(self) -> None:
        """Begin; a second time changes nothing."""
        if not self._waiting:
            self._waiting = [when_imported(one.module, functools.partial(self._wrap, one)) for one in _FORMATS]

    def close(self) -> None:
        """End: Matplotlib is as it was."""
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting.clear()
        while self._undo:
            self._undo.pop()()

    def _wrap(self, one: _Format) -> None:
        method = getattr(getattr(sys.modules[one.module], one.canvas), one.method)
        if isinstance(method, FunctionType):  # else other code has put something else there
            self._undo.append(Hooked(method, around=functools.partial(_stable, one)).down)


def _stable(one: _Format, original: Callable[..., Any], *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as Matplotlib's
    named["metadata"] = {one.date: None, **(named.get("metadata") or {})}
    with _salted():
        return original(*args, **named)


def _salted() -> Any:  # noqa: ANN401 - a context manager of Matplotlib's
    matplotlib = sys.modules["matplotlib"]
    if matplotlib.rcParams["svg.hashsalt"] is not None:
        return nullcontext()
    return matplotlib.rc_context({"svg.hashsalt": _SALT})
