"""Completes the flags of the extension's magics."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from repro_magic.notebook.magics import ReproMagic, flags_of

_MAGIC_BEFORE_CURSOR = re.compile(r"\s*%%?(\w+)\s")


def flag_matcher(shell: InteractiveShell, magics: ReproMagic) -> object:
    """A matcher for IPython's completer that replaces Jedi's suggestions (`--set`, `--sum`) by the magics' flags."""

    def matches(text: str) -> list[str]:  # older completers need a matcher's name, which a partial lacks
        return _matches(shell, magics, text)

    try:
        from IPython.core.completer import (  # noqa: PLC0415 - new in IPython 8.6
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
    """Flags that begin with `text`, if a magic of the extension precedes the cursor."""
    match = _MAGIC_BEFORE_CURSOR.match(shell.Completer.text_until_cursor)
    if match is None or not text.startswith("-"):
        return []
    return [flag for flag in flags_of(magics, match[1]) if flag.startswith(text)]
