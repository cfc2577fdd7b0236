"""Completion of the flags of our magics."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from repro_magic.notebook.magics import ReproMagic, flags_of

_MAGIC_BEFORE_CURSOR = re.compile(r"\s*%%?(\w+)\s")


def flag_matcher(shell: InteractiveShell, magics: ReproMagic) -> object:
    """A matcher for IPython's completer: it offers only our flags, where Jedi would offer `--set` and `--sum`."""

    def matches(text: str) -> list[str]:  # older completers ask a matcher for its name, which a partial has not
        return _matches(shell, magics, text)

    try:
        from IPython.core.completer import (  # noqa: PLC0415 - IPython 8.6 brought these
            SimpleCompletion,
            context_matcher,
        )
    except ImportError:
        return matches

    @context_matcher(identifier="repro_magic.flags")
    def matcher(context: Any) -> dict[str, Any]:  # noqa: ANN401 - IPython's CompletionContext
        flags = matches(context.token)
        return {"completions": [SimpleCompletion(flag, type="param") for flag in flags], "suppress": bool(flags)}

    return matcher


def _matches(shell: InteractiveShell, magics: ReproMagic, text: str) -> list[str]:
    """Flags that begin with `text`, if one of our magics stands before the cursor."""
    found = _MAGIC_BEFORE_CURSOR.match(shell.Completer.text_until_cursor)
    if found is None or not text.startswith("-"):
        return []
    return [flag for flag in flags_of(magics, found[1]) if flag.startswith(text)]
