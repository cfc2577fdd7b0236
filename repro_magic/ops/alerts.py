"""PyTorch's own warnings of nondeterminism: kept beside the findings instead of printed between them."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

# Both wordings: of alertNotDeterministic (aten/src/ATen/Context.cpp), and of fused attention in warn mode.
_WORDINGS = (
    re.compile(r"\A(?P<name>.+?) does not have a deterministic implementation"),
    re.compile(r"\A(?P<name>.+?) defaults to a non-deterministic algorithm"),
)


def alerted_op(message: str) -> str | None:
    """PyTorch's name for the op that one of its warnings is about; None for any other warning.

    Example:
        >>> alerted_op("put_ does not have a deterministic implementation, but you set ...")
        'put_'
        >>> alerted_op("Memory Efficient attention defaults to a non-deterministic algorithm. To ...")
        'Memory Efficient attention'
        >>> alerted_op("something else")
    """
    for wording in _WORDINGS:
        if found := wording.match(message):
            return found["name"]
    return None


class AlertFold:
    """While it is up, those warnings go to `keep(name, first sentence, frame)`, all others where they always went."""

    def __init__(self, keep: Callable[[str, str, Any], object]) -> None:
        """Take who keeps them."""
        self._keep = keep
        self._before: Any = None
        self._ours: Any = None

    def up(self) -> None:
        """Stand before the present `warnings.showwarning`."""
        before = warnings.showwarning

        def showwarning(message: Any, category: Any, filename: str, lineno: int, *more: Any, **named: Any) -> None:  # noqa: ANN401 - as the original
            name = alerted_op(str(message)) if self._ours is not None else None
            if name is None:
                before(message, category, filename, lineno, *more, **named)
            else:
                self._keep(name, str(message).partition(". ")[0].partition(", but")[0] + ".", sys._getframe(1))  # noqa: SLF001 - what inspect uses

        self._before, self._ours = before, showwarning
        warnings.showwarning = showwarning

    def down(self) -> None:
        """Step back, unless other code stands before us: then ours passes everything on."""
        ours, self._ours = self._ours, None
        if warnings.showwarning is ours:
            warnings.showwarning = self._before
