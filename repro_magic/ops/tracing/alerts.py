"""Collects PyTorch's own warnings about nondeterminism, so that they join the findings instead of being printed."""

from __future__ import annotations

import functools
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

from repro_magic.runtime.patching import Patch

# The wordings of alertNotDeterministic (aten/src/ATen/Context.cpp) and of fused attention in warn mode.
_WORDINGS = (
    re.compile(r"\A(?P<name>.+?) does not have a deterministic implementation"),
    re.compile(r"\A(?P<name>.+?) defaults to a non-deterministic algorithm"),
)


def alerted_op(message: str) -> str | None:
    """PyTorch's name for the op that a warning about nondeterminism names; None for other warnings.

    Example:
        >>> alerted_op("put_ does not have a deterministic implementation, but you set ...")
        'put_'
        >>> alerted_op("Memory Efficient attention defaults to a non-deterministic algorithm. To ...")
        'Memory Efficient attention'
        >>> alerted_op("something else")
    """
    for wording in _WORDINGS:
        if match := wording.match(message):
            return match["name"]
    return None


class AlertFold:
    """While it is up, warnings about nondeterminism go to `keep(name, first sentence, frame)`; others are shown.

    It patches the private `warnings._showwarnmsg`, which calls the public `warnings.showwarning`. The public function
    stays untouched, because other code replaces and compares it.
    """

    def __init__(self, keep: Callable[[str, str, Any], object]) -> None:
        """Prepare the patch without applying it."""
        self._keep = keep
        self._patch: Patch | None = None

    def up(self) -> None:
        """Patch the function that shows warnings."""
        self._patch = Patch(warnings, "_showwarnmsg", functools.partial(self._showing, _shown_by()))

    def _showing(self, shown_by: tuple[Any, Any], before: Callable[[Any], object]) -> Callable[[Any], None]:
        def show(message: Any) -> None:  # noqa: ANN401 - a warnings.WarningMessage
            # Code that has replaced the display since (to record warnings, for example) gets all warnings.
            is_ours = self._patch is not None and _shown_by() == shown_by
            name = alerted_op(str(message.message)) if is_ours else None
            if name is None:
                before(message)
            else:
                text = str(message.message).partition(". ")[0].partition(", but")[0] + "."
                self._keep(name, text, sys._getframe(1))  # noqa: SLF001 - what inspect uses

        return show

    def down(self) -> None:
        """Restore the function; if other code has patched it since, the patch stays and passes everything on."""
        patch, self._patch = self._patch, None
        if patch is not None:
            patch.down()


def _shown_by() -> tuple[Any, Any]:
    module: Any = warnings
    return module.showwarning, module._showwarnmsg_impl  # noqa: SLF001 - warnings has no public hook here
