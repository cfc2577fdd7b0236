"""Environments as text."""

from __future__ import annotations

from collections.abc import Sequence

from repro_magic.proof.environment import SECTIONS, Difference, Environment
from repro_magic.views.document import Document, Line, Table


def environment(found: Environment) -> Document:
    """What `%repro_env` shows."""
    rows = [(section, name, text) for section in SECTIONS for name, text in found[section].items()]
    return Document((Table("Environment", ("of", "what", "value"), rows),))


def differences(found: Sequence[Difference]) -> Document:
    """What `repro-magic env --diff` shows."""
    if not found:
        return Document((Line("The environments are the same."),))
    rows = [(one.section, one.name, one.first or "(none)", one.second or "(none)") for one in found]
    title = "Differences, most relevant first"
    return Document((Table(title, ("of", "what", "first", "second"), rows),))
