"""Verdicts in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from repro_magic.proof.verdict import Against, CellVerdict, NotebookVerdict, Outcome, Part
from repro_magic.views.document import Document, Line, Table, Tone

_LINE, _MOST, _MOST_DIFFERENCES = 34, 4, 12
# So many rows stay readable; of a longer notebook the cells are told in which something is to be told.
_MOST_ROWS = 60


def notebook(found: NotebookVerdict) -> Document:
    """A notebook's cells, and what it comes to."""
    cells = found.cells
    if len(cells) > _MOST_ROWS:
        cells = [cell for cell in cells if cell.outcome is not Outcome.SAME][:_MOST_ROWS]
    rows = [(str(cell.number), cell.line[:_LINE], cell.outcome.value, _why(cell)) for cell in cells]
    parts: list[Line | Table] = [Table(found.path, ("cell", "starts with", "verdict", "what"), rows)] if rows else []
    left_out = len(found.cells) - len(cells)
    if left_out:
        parts.append(Line(f"{left_out} cells are left out here."))
    parts += _environment(found)
    parts += [Line(note) for note in found.notes]
    return Document((*parts, summary(found)))


def _environment(found: NotebookVerdict) -> list[Line | Table]:
    if not found.environment or found.reproduces:
        return []
    rows = [(one.section, one.name, one.first or "(none)", one.second or "(none)") for one in found.environment]
    title = "The environment differs, too; what is most likely to change results comes first"
    parts: list[Line | Table] = [Table(title, ("of", "what", "recorded", "here"), rows[:_MOST_DIFFERENCES])]
    if len(rows) > _MOST_DIFFERENCES:
        parts.append(Line(f"… and {len(rows) - _MOST_DIFFERENCES} more"))
    return parts


def summary(found: NotebookVerdict) -> Line:
    """One sentence."""
    if found.error:
        return Line(f"⚠ {found.path} could not be run to its end: {found.error}", tone=Tone.ALARM)
    agreed = f"{found.agreed} of {found.runs} runs agreed"
    if found.against in _FRESH:
        gave = "gave" if found.reproduces else "did not give"
        agreed = f"{_FRESH[found.against][0]} {gave} what {_FRESH[found.against][1]}"
    if found.reproduces:
        outcomes = {part.outcome for cell in found.cells for part in cell.parts}
        notes = [told for outcome, told in _BESIDE.items() if outcome in outcomes]
        return Line(f"✓ {found.path} reproduced: {'; '.join([agreed, *notes])}", tone=Tone.GOOD)
    first = next(cell for cell in found.cells if cell.outcome in {Outcome.DIFFERS, Outcome.FAILED})
    elsewhere = ", and the environment differs" if found.environment else ""
    return Line(
        f"⚠ {found.path} {first.outcome.value}, first in cell {first.number}: {agreed}{elsewhere}", tone=Tone.ALARM
    )


_FRESH = {
    Against.RECORDED: ("a fresh run", "is recorded"),
    Against.SESSION: ("a fresh kernel", "the session holds"),
}
_BESIDE = {
    Outcome.CLOSE: "some numbers are close, within the tolerance",
    Outcome.NOT_COMPARABLE: "some values are not comparable",
    Outcome.NOISE: "only noise differed",
}


def overall(found: Sequence[NotebookVerdict]) -> Line:
    """One sentence on several notebooks.

    Example:
        >>> overall([NotebookVerdict("a.ipynb", 2, 2, []), NotebookVerdict("b.ipynb", 2, 0, [], "no kernel")]).text
        '⚠ 1 of 2 notebooks reproduced, 1 failed'
    """
    outcomes = Counter("reproduced" if one.reproduces else one.outcome.value for one in found)
    good = outcomes.pop("reproduced", 0)
    rest = "".join(
        f", {count} {outcome if count == 1 else outcome.replace('differs', 'differ')}"
        for outcome, count in sorted(outcomes.items())
    )
    told = f"{good} of {len(found)} notebooks reproduced{rest}"
    return Line(f"⚠ {told}", tone=Tone.ALARM) if rest else Line(f"✓ {told}", tone=Tone.GOOD)


def _why(cell: CellVerdict) -> str:
    told = [part for part in cell.parts if part.outcome is not Outcome.SAME]
    told.sort(key=lambda part: -list(Outcome).index(part.outcome))
    lines = [f"{part.name}: {part.why}" for part in told[:_MOST]]
    if len(told) > _MOST:
        lines.append(f"… and {len(told) - _MOST} more")
    return "; ".join(lines)


def as_data(found: NotebookVerdict) -> dict[str, Any]:
    """The verdict for programs: notebook, its cells, their values and outputs, with names."""

    def part(one: Part) -> dict[str, Any]:
        told = {"name": one.name, "outcome": one.outcome.value, "why": one.why}
        return told if one.distance is None else {**told, "distance": asdict(one.distance)}

    return {
        "notebook": found.path,
        "outcome": found.outcome.value,
        "reproduces": found.reproduces,
        "against": found.against.value,
        "runs": found.runs,
        "agreed": found.agreed,
        "error": found.error,
        "environment": [asdict(one) for one in found.environment],
        "notes": found.notes,
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
