"""Environments as text."""

from __future__ import annotations

from collections.abc import Sequence

from repro_magic.proof.environment import SECTIONS, Difference, Environment
from repro_magic.views.document import Document, Line, Table


def environment(entries: Environment) -> Document:
    """The output of `%repro_env`."""
    rows = [(section, name, text) for section in SECTIONS for name, text in entries[section].items()]
    return Document((Table("Environment", ("of", "what", "value"), rows),))


def differences(entries: Sequence[Difference]) -> Document:
    """The output of `repro-magic env --diff`."""
    if not entries:
        return Document((Line("The environments are the same."),))
    rows = [(entry.section, entry.name, entry.first or "(none)", entry.second or "(none)") for entry in entries]
    title = "Differences, most relevant first"
    return Document((Table(title, ("of", "what", "first", "second"), rows),))
