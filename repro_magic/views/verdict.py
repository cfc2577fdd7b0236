"""Verdicts in words."""

from __future__ import annotations

from typing import Any

from repro_magic.proof.verdict import CellVerdict, NotebookVerdict, Outcome, Part
from repro_magic.views.document import Document, Line, Table, Tone

_LINE, _MOST = 34, 4


def notebook(found: NotebookVerdict) -> Document:
    """A notebook's cells, and what it comes to."""
    rows = [(str(cell.number), cell.line[:_LINE], cell.outcome.value, _why(cell)) for cell in found.cells]
    parts: list[Line | Table] = [Table(found.path, ("cell", "starts with", "verdict", "what"), rows)] if rows else []
    return Document((*parts, summary(found)))


def summary(found: NotebookVerdict) -> Line:
    """One sentence."""
    runs = f"{found.agreed} of {found.runs} runs agreed"
    if found.error:
        return Line(f"⚠ {found.path} could not be run to its end: {found.error}", tone=Tone.ALARM)
    if found.reproduces:
        notes = []
        if any(part.outcome is Outcome.NOT_COMPARABLE for cell in found.cells for part in cell.values):
            notes.append("some values are not comparable")
        if any(part.outcome is Outcome.NOISE for cell in found.cells for part in cell.outputs):
            notes.append("only noise differed")
        return Line(f"✓ {found.path} reproduced: {'; '.join([runs, *notes])}", tone=Tone.GOOD)
    first = next(cell for cell in found.cells if cell.outcome in {Outcome.DIFFERS, Outcome.FAILED})
    return Line(f"⚠ {found.path} {first.outcome.value}, first in cell {first.number}: {runs}", tone=Tone.ALARM)


def _why(cell: CellVerdict) -> str:
    told = [part for part in (*cell.values, *cell.outputs) if part.outcome is not Outcome.SAME]
    told.sort(key=lambda part: -list(Outcome).index(part.outcome))
    lines = [f"{part.name}: {part.why}" for part in told[:_MOST]]
    if len(told) > _MOST:
        lines.append(f"… and {len(told) - _MOST} more")
    return "; ".join(lines)


def as_data(found: NotebookVerdict) -> dict[str, Any]:
    """The verdict for programs: notebook, its cells, their values and outputs, with names."""

    def part(one: Part) -> dict[str, str]:
        return {"name": one.name, "outcome": one.outcome.value, "why": one.why}

    return {
        "notebook": found.path,
        "outcome": found.outcome.value,
        "reproduces": found.reproduces,
        "runs": found.runs,
        "agreed": found.agreed,
        "error": found.error,
        "cells": [
            {
                "number": cell.number,
                "line": cell.line,
                "outcome": cell.outcome.value,
                "values": [part(one) for one in cell.values],
                "outputs": [part(one) for one in cell.outputs],
            }
            for cell in found.cells
        ],
    }
