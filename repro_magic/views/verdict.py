"""Verdicts as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from repro_magic.proof.verdict import SHOWN, Against, CellVerdict, NotCompared, NotebookVerdict, Outcome, Part
from repro_magic.views.document import Document, Line, Table, Tone

_LINE, _MOST, _MOST_DIFFERENCES, _MOST_LISTED = 34, 4, 12, 3
# More rows are hard to read; of a longer notebook only the cells that are not the same are listed.
_MOST_ROWS = 60
_BAD = frozenset({Outcome.DIFFERS, Outcome.FAILED})


def notebook(found: NotebookVerdict) -> Document:
    """A notebook's cells and the summary."""
    cells = found.cells
    if len(cells) > _MOST_ROWS:
        cells = [cell for cell in cells if cell.outcome is not Outcome.SAME][:_MOST_ROWS]
    rows = [(str(cell.number), cell.line[:_LINE], cell.outcome.value, _why(cell)) for cell in cells]
    parts: list[Line | Table] = [Table(found.path, ("cell", "starts with", "verdict", "what"), rows)] if rows else []
    left_out = len(found.cells) - len(cells)
    if left_out:
        parts.append(Line(f"{left_out} more cells are not listed."))
    parts += _environment(found)
    parts += [Line(note) for note in (*found.notes, *remedies(found))]
    return Document((*parts, summary(found)))


def _environment(found: NotebookVerdict) -> list[Line | Table]:
    if not found.environment or found.outcome not in _BAD:
        return []
    rows = [(one.section, one.name, one.first or "(none)", one.second or "(none)") for one in found.environment]
    title = "The environment also differs, most relevant first"
    parts: list[Line | Table] = [Table(title, ("of", "what", "recorded", "here"), rows[:_MOST_DIFFERENCES])]
    if len(rows) > _MOST_DIFFERENCES:
        parts.append(Line(f"… and {len(rows) - _MOST_DIFFERENCES} more"))
    return parts


def remedies(found: NotebookVerdict) -> list[str]:
    """What to type to compare more, without duplicates."""
    return [*dict.fromkeys(one.remedy for one in found.not_compared if one.remedy and not one.is_declared)]


def summary(found: NotebookVerdict) -> Line:
    """The verdict in one sentence; it begins with a tick only if everything was compared."""
    if not found.runs:
        return Line(f"○ {found.path} has no code cells: there is nothing to verify")
    if found.error:
        return Line(f"⚠ {found.path} did not run to the end: {found.error}", tone=Tone.ALARM)
    outcomes = {part.outcome for cell in found.cells for part in cell.parts}
    if found.outcome in _BAD:
        return _differs(found)
    if found.from_the_top:
        told = f"⚠ {found.path} reproduces in the order it ran, but not from top to bottom: {found.from_the_top}"
        return Line(told, tone=Tone.ALARM)
    if found.not_compared:
        return _incomplete(found)
    beside = [told for outcome, told in _BESIDE.items() if outcome in outcomes]
    return Line(f"✓ {found.path} reproduced: {'; '.join([_agreed(found), *beside])}", tone=Tone.GOOD)


def _differs(found: NotebookVerdict) -> Line:
    first = next(cell for cell in found.cells if cell.outcome in _BAD)
    elsewhere = ", and the environment differs" if found.environment else ""
    told = f"⚠ {found.path} {first.outcome.value}, first in {_cell(found, first.number)}: {_agreed(found)}{elsewhere}"
    return Line(told, tone=Tone.ALARM)


def _incomplete(found: NotebookVerdict) -> Line:
    left_out = not_compared(found)
    if found.lacks_proof:
        told = (
            f"⚠ {found.path}: no differences, but --strict requires everything to be compared; not compared: {left_out}"
        )
        return Line(told, tone=Tone.ALARM)
    is_declared = all(one.is_declared for one in found.not_compared)
    same = "the same, except for what the notebook leaves out" if is_declared else "the same as far as can be compared"
    return Line(f"≈ {found.path}: {same}; not compared: {left_out}", tone=Tone.STRONG)


def _agreed(found: NotebookVerdict) -> str:
    if found.against not in _FRESH:
        return f"the {found.runs} runs differ" if found.agreed == 1 else f"{found.agreed} of {found.runs} runs agreed"
    matches = "does not match" if found.outcome in _BAD else "matches"
    return f"{_FRESH[found.against][0]} {matches} {_FRESH[found.against][1]}"


def not_compared(found: NotebookVerdict) -> str:
    """What was not compared: earliest cell first, what the notebook itself leaves out last.

    Example:
        >>> cell = CellVerdict(3, "", [Part("s", Outcome.NOT_COMPARABLE, kind="socket.socket")])
        >>> not_compared(NotebookVerdict("a.ipynb", 2, 2, [cell]))
        'cell 3 `s` (socket.socket)'
    """
    groups: dict[object, list[NotCompared]] = {}
    for one in sorted(found.not_compared, key=lambda one: one.is_declared):
        of_a_cell = one.name in _OF_A_CELL  # one entry for all cells of which the same is said
        groups.setdefault((one.name, one.kind) if of_a_cell else id(one), []).append(one)
    told = [_group(found, group) for group in [*groups.values()][:_MOST_LISTED]]
    rest = len(groups) - len(told)
    return ", ".join([*told, *([f"and {rest} more"] if rest else [])])


def _group(found: NotebookVerdict, group: Sequence[NotCompared]) -> str:
    first, numbers = group[0], [*dict.fromkeys(one.cell for one in group)]
    kind = f"{first.kind}, accepted" if first.is_declared and first.kind != "private" else first.kind
    where = _several(found, numbers) if len(numbers) > 1 else _cell(found, first.cell)
    return _OF_A_CELL.get(first.name, "{where} `{name}` ({kind})").format(where=where, name=first.name, kind=kind)


def _several(found: NotebookVerdict, numbers: Sequence[int]) -> str:
    is_session = found.against is Against.SESSION
    told = ", ".join(f"In[{number}]" if is_session else str(number) for number in numbers[:_MOST_LISTED])
    more = f" and {len(numbers) - _MOST_LISTED} more" if numbers[_MOST_LISTED:] else ""
    return f"{'' if is_session else 'cells '}{told}{more}"


def _cell(found: NotebookVerdict, number: int) -> str:
    return f"In[{number}]" if found.against is Against.SESSION else f"cell {number}"


# What is said of a cell as a whole.
_OF_A_CELL = {"": "{where} ({kind})", SHOWN: "the output of {where}"}
_FRESH = {
    Against.RECORDED: ("a fresh run", "the recorded results"),
    Against.SESSION: ("a fresh kernel", "the session"),
}
_BESIDE = {
    Outcome.CLOSE: "some numbers differ within the tolerance",
    Outcome.CLOCK: "clock readings differed",
    Outcome.NOISE: "only noise differed",
}


def overall(found: Sequence[NotebookVerdict]) -> Line:
    """Several verdicts in one sentence; it begins with a tick only if everything was compared.

    Example:
        >>> overall([NotebookVerdict("a.ipynb", 2, 2, []), NotebookVerdict("b.ipynb", 2, 0, [], "no kernel")]).text
        '⚠ 1 of 2 notebooks reproduced, 1 failed'
    """
    counts = Counter(map(_class, found))
    good, bad = counts.pop(_REPRODUCED, 0), {*counts} - {_AS_FAR, _EMPTY}
    rest = "".join(
        f", {count} {outcome if count == 1 else outcome.replace('differs', 'differ')}"
        for outcome, count in sorted(counts.items())
    )
    told = f"{good} of {len(found)} notebooks reproduced{rest}"
    if bad:
        return Line(f"⚠ {told}", tone=Tone.ALARM)
    return Line(f"≈ {told}", tone=Tone.STRONG) if rest else Line(f"✓ {told}", tone=Tone.GOOD)


_REPRODUCED, _AS_FAR, _EMPTY = "reproduced", "the same as far as can be compared", "without code"


def _class(found: NotebookVerdict) -> str:
    """What a notebook is counted as."""
    if not found.runs:
        return _EMPTY
    if found.lacks_proof and found.outcome is Outcome.NOT_COMPARABLE:
        return "not compared in full"
    if not found.reproduces:
        return found.outcome.value
    return _REPRODUCED if found.all_compared else _AS_FAR


def _why(cell: CellVerdict) -> str:
    told = [part for part in cell.parts if part.outcome is not Outcome.SAME]
    told.sort(key=lambda part: -list(Outcome).index(part.outcome))
    lines = [why(part) for part in told[:_MOST]]
    if len(told) > _MOST:
        lines.append(f"… and {len(told) - _MOST} more")
    return "; ".join(lines)


def why(part: Part) -> str:
    """A part and why it is not the same.

    Example:
        >>> why(Part("model", Outcome.NOT_COMPARABLE, "it holds a handle", at=".log", kind="io.TextIOWrapper"))
        'model.log (io.TextIOWrapper): it holds a handle'
    """
    kind = f" ({part.kind})" if part.kind and part.kind != part.why and part.name else ""
    return f"{part.name}{part.at}{kind}: {part.why}" if part.name else part.why


def as_data(found: NotebookVerdict) -> dict[str, Any]:
    """The verdict for programs: notebook, its cells, their values and outputs, with names."""

    def part(one: Part) -> dict[str, Any]:
        told = {"name": one.name, "outcome": one.outcome.value, "why": one.why}
        return told if one.distance is None else {**told, "distance": asdict(one.distance)}

    return {
        "notebook": found.path,
        "outcome": found.outcome.value,
        "reproduces": found.reproduces,
        "all_compared": found.all_compared,
        "not_compared": [asdict(one) for one in found.not_compared],
        "strict": found.is_strict,
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
