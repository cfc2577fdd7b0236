"""Verdicts as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from repro_magic.proof.verdict import SHOWN, Against, CellVerdict, NotCompared, NotebookVerdict, Outcome, Part
from repro_magic.views.document import Document, Line, Table, Tone

_LINE, _MOST, _MOST_DIFFERENCES, _MOST_LISTED = 34, 4, 12, 3
# Longer tables are hard to read: a longer notebook lists only the cells that are not the same.
_MOST_ROWS = 60
_BAD = frozenset({Outcome.DIFFERS, Outcome.FAILED})


def notebook(verdict: NotebookVerdict) -> Document:
    """A notebook's cells and the summary."""
    cells = verdict.cells
    if len(cells) > _MOST_ROWS:
        cells = [cell for cell in cells if cell.outcome is not Outcome.SAME][:_MOST_ROWS]
    rows = [(str(cell.number), cell.line[:_LINE], cell.outcome.value, _why(cell)) for cell in cells]
    parts: list[Line | Table] = [Table(verdict.path, ("cell", "starts with", "verdict", "what"), rows)] if rows else []
    left_out = len(verdict.cells) - len(cells)
    if left_out:
        parts.append(Line(f"{left_out} more cells are not listed."))
    parts += _environment(verdict)
    parts += [Line(note) for note in (*verdict.notes, *remedies(verdict))]
    return Document((*parts, summary(verdict)))


def _environment(verdict: NotebookVerdict) -> list[Line | Table]:
    if not verdict.environment or verdict.outcome not in _BAD:
        return []
    rows = [
        (difference.section, difference.name, difference.first or "(none)", difference.second or "(none)")
        for difference in verdict.environment
    ]
    title = "The environment also differs, most relevant first"
    parts: list[Line | Table] = [Table(title, ("of", "what", "recorded", "here"), rows[:_MOST_DIFFERENCES])]
    if len(rows) > _MOST_DIFFERENCES:
        parts.append(Line(f"… and {len(rows) - _MOST_DIFFERENCES} more"))
    return parts


def remedies(verdict: NotebookVerdict) -> list[str]:
    """What to type to compare more, without duplicates."""
    return [*dict.fromkeys(item.remedy for item in verdict.not_compared if item.remedy and not item.is_declared)]


def summary(verdict: NotebookVerdict) -> Line:
    """The verdict in one sentence; it begins with a tick only if everything was compared."""
    if not verdict.runs:
        return Line(f"○ {verdict.path} has no code cells: there is nothing to verify")
    if verdict.error:
        return Line(f"⚠ {verdict.path} did not run to the end: {verdict.error}", tone=Tone.ALARM)
    outcomes = {part.outcome for cell in verdict.cells for part in cell.parts}
    if verdict.outcome in _BAD:
        return _differs(verdict)
    if verdict.from_the_top:
        sentence = (
            f"⚠ {verdict.path} reproduces in the order it ran, but not from top to bottom: {verdict.from_the_top}"
        )
        return Line(sentence, tone=Tone.ALARM)
    if verdict.not_compared:
        return _incomplete(verdict)
    remarks = [remark for outcome, remark in _REMARKS.items() if outcome in outcomes]
    return Line(f"✓ {verdict.path} reproduced: {'; '.join([_agreed(verdict), *remarks])}", tone=Tone.GOOD)


def _differs(verdict: NotebookVerdict) -> Line:
    first = next(cell for cell in verdict.cells if cell.outcome in _BAD)
    where = f"{first.outcome.value}, first in {_cell(verdict, first.number)}"
    environment = ", and the environment differs" if verdict.environment else ""
    return Line(f"⚠ {verdict.path} {where}: {_agreed(verdict)}{environment}", tone=Tone.ALARM)


def _incomplete(verdict: NotebookVerdict) -> Line:
    left_out = not_compared(verdict)
    if verdict.lacks_proof:
        reason = "no differences, but --strict requires everything to be compared"
        return Line(f"⚠ {verdict.path}: {reason}; not compared: {left_out}", tone=Tone.ALARM)
    is_declared = all(item.is_declared for item in verdict.not_compared)
    same = "the same, except for what the notebook leaves out" if is_declared else "the same as far as can be compared"
    return Line(f"≈ {verdict.path}: {same}; not compared: {left_out}", tone=Tone.STRONG)


def _agreed(verdict: NotebookVerdict) -> str:
    if verdict.against not in _FRESH:
        return (
            f"the {verdict.runs} runs differ"
            if verdict.agreed == 1
            else f"{verdict.agreed} of {verdict.runs} runs agreed"
        )
    matches = "does not match" if verdict.outcome in _BAD else "matches"
    return f"{_FRESH[verdict.against][0]} {matches} {_FRESH[verdict.against][1]}"


def not_compared(verdict: NotebookVerdict) -> str:
    """What was not compared: in the order of the cells, exclusions that the notebook declares last.

    Example:
        >>> cell = CellVerdict(3, "", [Part("s", Outcome.NOT_COMPARABLE, kind="socket.socket")])
        >>> not_compared(NotebookVerdict("a.ipynb", 2, 2, [cell]))
        'cell 3 `s` (socket.socket)'
    """
    groups: dict[object, list[NotCompared]] = {}
    for item in sorted(verdict.not_compared, key=lambda item: item.is_declared):
        is_whole_cell = item.name in _WHOLE_CELL  # cells with the same reason share an entry
        groups.setdefault((item.name, item.kind) if is_whole_cell else id(item), []).append(item)
    sentences = [_group(verdict, group) for group in [*groups.values()][:_MOST_LISTED]]
    rest = len(groups) - len(sentences)
    return ", ".join([*sentences, *([f"and {rest} more"] if rest else [])])


def _group(verdict: NotebookVerdict, group: Sequence[NotCompared]) -> str:
    first, numbers = group[0], [*dict.fromkeys(item.cell for item in group)]
    kind = f"{first.kind}, accepted" if first.is_declared and first.kind != "private" else first.kind
    where = _several(verdict, numbers) if len(numbers) > 1 else _cell(verdict, first.cell)
    return _WHOLE_CELL.get(first.name, "{where} `{name}` ({kind})").format(where=where, name=first.name, kind=kind)


def _several(verdict: NotebookVerdict, numbers: Sequence[int]) -> str:
    is_session = verdict.against is Against.SESSION
    listed = ", ".join(f"In[{number}]" if is_session else str(number) for number in numbers[:_MOST_LISTED])
    more = f" and {len(numbers) - _MOST_LISTED} more" if numbers[_MOST_LISTED:] else ""
    return f"{'' if is_session else 'cells '}{listed}{more}"


def _cell(verdict: NotebookVerdict, number: int) -> str:
    return f"In[{number}]" if verdict.against is Against.SESSION else f"cell {number}"


# Texts for a cell as a whole: NotCompared.name -> text.
_WHOLE_CELL = {"": "{where} ({kind})", SHOWN: "the output of {where}"}
_FRESH = {
    Against.RECORDED: ("a fresh run", "the recorded results"),
    Against.SESSION: ("a fresh kernel", "the session"),
}
_REMARKS = {
    Outcome.CLOSE: "some numbers differ within the tolerance",
    Outcome.CLOCK: "clock readings differed",
    Outcome.NOISE: "only noise differed",
}


def overall(verdicts: Sequence[NotebookVerdict]) -> Line:
    """Several verdicts in one sentence; it begins with a tick only if everything was compared.

    Example:
        >>> overall([NotebookVerdict("a.ipynb", 2, 2, []), NotebookVerdict("b.ipynb", 2, 0, [], "no kernel")]).text
        '⚠ 1 of 2 notebooks reproduced, 1 failed'
    """
    counts = Counter(map(_class, verdicts))
    good, bad = counts.pop(_REPRODUCED, 0), {*counts} - {_AS_FAR, _EMPTY}
    rest = "".join(
        f", {count} {outcome if count == 1 else outcome.replace('differs', 'differ')}"
        for outcome, count in sorted(counts.items())
    )
    sentence = f"{good} of {len(verdicts)} notebooks reproduced{rest}"
    if bad:
        return Line(f"⚠ {sentence}", tone=Tone.ALARM)
    return Line(f"≈ {sentence}", tone=Tone.STRONG) if rest else Line(f"✓ {sentence}", tone=Tone.GOOD)


_REPRODUCED, _AS_FAR, _EMPTY = "reproduced", "the same as far as can be compared", "without code"


def _class(verdict: NotebookVerdict) -> str:
    """The class that a notebook is counted in."""
    if not verdict.runs:
        return _EMPTY
    if verdict.lacks_proof and verdict.outcome is Outcome.NOT_COMPARABLE:
        return "not compared in full"
    if not verdict.reproduces:
        return verdict.outcome.value
    return _REPRODUCED if verdict.all_compared else _AS_FAR


def _why(cell: CellVerdict) -> str:
    parts = [part for part in cell.parts if part.outcome is not Outcome.SAME]
    parts.sort(key=lambda part: -list(Outcome).index(part.outcome))
    lines = [why(part) for part in parts[:_MOST]]
    if len(parts) > _MOST:
        lines.append(f"… and {len(parts) - _MOST} more")
    return "; ".join(lines)


def why(part: Part) -> str:
    """The name of a part and why it is not the same.

    Example:
        >>> why(Part("model", Outcome.NOT_COMPARABLE, "it holds a handle", at=".log", kind="io.TextIOWrapper"))
        'model.log (io.TextIOWrapper): it holds a handle'
    """
    kind = f" ({part.kind})" if part.kind and part.kind != part.why and part.name else ""
    return f"{part.name}{part.at}{kind}: {part.why}" if part.name else part.why


def as_data(verdict: NotebookVerdict) -> dict[str, Any]:
    """The verdict as plain data for JSON: the notebook, its cells, their values and outputs."""
    return {
        "notebook": verdict.path,
        "outcome": verdict.outcome.value,
        "reproduces": verdict.reproduces,
        "all_compared": verdict.all_compared,
        "not_compared": [asdict(item) for item in verdict.not_compared],
        "strict": verdict.is_strict,
        "against": verdict.against.value,
        "runs": verdict.runs,
        "agreed": verdict.agreed,
        "error": verdict.error,
        "environment": [asdict(difference) for difference in verdict.environment],
        "notes": verdict.notes,
        "cells": [
            {
                "number": cell.number,
                "line": cell.line,
                "outcome": cell.outcome.value,
                "values": [_part_data(part) for part in cell.values],
                "outputs": [_part_data(part) for part in cell.outputs],
            }
            for cell in verdict.cells
        ],
    }


def _part_data(part: Part) -> dict[str, Any]:
    data = {"name": part.name, "outcome": part.outcome.value, "why": part.why}
    return data if part.distance is None else {**data, "distance": asdict(part.distance)}
