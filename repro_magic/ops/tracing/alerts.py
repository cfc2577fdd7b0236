"""PyTorch's own warnings of nondeterminism: kept beside the findings instead of printed between them."""

from __future__ import annotations

import functools
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

from repro_magic.runtime.patching import Patch

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
    """While it is up, those warnings go to `keep(name, first sentence, frame)`, all others where they always went.

    The module `warnings` hands each one that is to be shown to a function under a private name, which then looks for
    the public one, `warnings.showwarning`; that stays, for other code to replace and to compare.
    """

    def __init__(self, keep: Callable[[str, str, Any], object]) -> None:
        """Take who keeps them."""
        self._keep = keep
        self._patch: Patch | None = None

    def up(self) -> None:
        """Stand before the present functions that show warnings."""
        self._patch = Patch(warnings, "_showwarnmsg", functools.partial(self._showing, _shown_by()))

    def _showing(self, shown_by: tuple[Any, Any], before: Callable[[Any], object]) -> Callable[[Any], None]:
        def show(message: Any) -> None:  # noqa: ANN401 - a warnings.WarningMessage
            # Whoever records warnings, or shows them in another way, in the meantime gets all of them.
            is_ours = self._patch is not None and _shown_by() == shown_by
            name = alerted_op(str(message.message)) if is_ours else None
            if name is None:
                before(message)
            else:
                text = str(message.message).partition(". ")[0].partition(", but")[0] + "."
                self._keep(name, text, sys._getframe(1))  # noqa: SLF001 - what inspect uses

        return show

    def down(self) -> None:
        """Step back; if other code stands before us, ours passes everything on."""
        patch, self._patch = self._patch, None
        if patch is not None:
            patch.down()


def _shown_by() -> tuple[Any, Any]:
    module: Any = warnings
    return module.showwarning, module._showwarnmsg_impl  # noqa: SLF001 - warnings has no public hook here
