"""The output of `repro-magic share`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from repro_magic.proof.share.share import Plan
from repro_magic.views.document import Document, Line, Table, Tone


def shared(plan: Plan, folder: Path, written: Collection[Path]) -> Document:
    """The files, the badge, and notes.

    Args:
        plan: the planned files.
        folder: the folder they were written to.
        written: the paths that `write` returned.
    """
    rows = [(name, "written" if folder / name in written else "unchanged") for name in plan.files]
    return Document(
        (
            Table(f"In {folder}", ("file", "what"), rows),
            Line("Commit and push these files with the notebook. Badge for a README:"),
            Line(plan.badge, tone=Tone.CODE),
            Line("Notes:"),
            *(Line(f"- {note}", indent=1) for note in plan.notes),
        )
    )
