"""Runs compared, cell by cell: what was shown, and what the names held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro_magic.proof.differences import different, output
from repro_magic.proof.distance import SAME_BITS, Tolerance
from repro_magic.proof.runner import CellRun, Run
from repro_magic.proof.shown import shown
from repro_magic.proof.verdict import CellVerdict, NotebookVerdict, Outcome, Part


@dataclass(frozen=True)
class _Side:
    """A cell in one run, and what the names held after it."""

    cell: CellRun
    held: Mapping[str, Mapping[str, Any]]


def compare(path: str, runs: Sequence[Run], tolerance: Tolerance = SAME_BITS) -> NotebookVerdict:
    """The verdict on a notebook: every run against the first.

    Args:
        path: as it is to be told.
        runs: two or more.
        tolerance: what counts as close.
    """
    cells: list[CellVerdict] = []
    disagreeing = {place for place, run in enumerate(runs) if len(run.cells) != len(runs[0].cells)}
    for number, sides in enumerate(_side_by_side(runs), start=1):
        first, *others = sides
        verdict = _cell(number, first, others, tolerance)
        cells.append(verdict)
        if verdict.outcome in {Outcome.DIFFERS, Outcome.CLOSE, Outcome.FAILED} and len(sides) == len(runs):
            for place, other in enumerate(others, start=1):
                if _cell(number, first, [other], tolerance).outcome in {Outcome.DIFFERS, Outcome.FAILED}:
                    disagreeing.add(place)
    error = next((run.error for run in runs if run.error), "")
    return NotebookVerdict(path, len(runs), len(runs) - len(disagreeing), cells, error)


def _side_by_side(runs: Sequence[Run]) -> Iterator[list[_Side]]:
    """Cell by cell, each run that has it, with what its names hold by then."""
    held: list[dict[str, Mapping[str, Any]]] = [{} for _ in runs]
    for number in range(len(runs[0].cells)):
        sides = []
        for run, names in zip(runs, held, strict=True):
            if number >= len(run.cells):
                continue
            cell = run.cells[number]
            cell.change(names)
            sides.append(_Side(cell, names))
        yield sides


def _cell(number: int, first: _Side, others: Sequence[_Side], tolerance: Tolerance) -> CellVerdict:
    sides = (first, *others)
    names = dict.fromkeys(name for side in sides for name in (*side.cell.changed, *side.cell.gone))
    values = [_value(name, first, others, tolerance) for name in names if any(name in side.held for side in sides)]
    twins = [side.cell for side in others]
    outputs = _outputs(first.cell, twins, tolerance)
    values += hidden(outputs, first.cell.displayed, [twin.displayed for twin in twins])
    return CellVerdict(number, first_line(first.cell.source), values, outputs, first.cell.source)


def hidden(
    outputs: Sequence[Part],
    first: Mapping[str, Any] | None,
    others: Sequence[Mapping[str, Any] | None],
    sides: tuple[str, str] = ("one run", "another"),
) -> list[Part]:
    """What a result's text leaves out: the same text of two values, long ones, that differ.

    Args:
        outputs: what the texts brought.
        first: the digest of the displayed value, and what it is; None: none is known.
        others: the same of the other runs.
        sides: what both are called.
    """
    texts = [part.outcome for part in outputs if part.name.startswith("result ")]
    if first is None or not texts or {*texts} != {Outcome.SAME}:
        return []
    other = next((one for one in others if one is not None and one["hex"] != first["hex"]), None)
    return [] if other is None else [different("the displayed value", first, other, sides)]


def first_line(source: str) -> str:
    """A cell's first line that is not blank."""
    return next((line for line in source.splitlines() if line.strip()), "")


def _value(name: str, first: _Side, others: Sequence[_Side], tolerance: Tolerance) -> Part:
    one = first.held.get(name)
    close: Part | None = None
    for side in others:
        other = side.held.get(name)
        if one is None or other is None:
            return Part(name, Outcome.DIFFERS, "it is there in one run only")
        if one["hex"] != other["hex"]:
            part = different(name, one, other, exact=tolerance.exact)
            if part.outcome is Outcome.DIFFERS:
                return part
            close = part
    if one is None:
        return Part(name, Outcome.SAME)
    return close or comparable(name, one)


def comparable(name: str, value: Mapping[str, Any]) -> Part:
    """The part for a value that is the same, as far as it can be compared."""
    if value["gaps"]:
        at, kind, why = value["gaps"][0]
        return Part(name, Outcome.NOT_COMPARABLE, f"{name}{at} is a {kind}: {why}")
    return Part(name, Outcome.SAME)


def _outputs(cell: CellRun, twins: Sequence[CellRun], tolerance: Tolerance) -> list[Part]:
    if cell.error or any(twin.error for twin in twins):
        why = cell.error or next(twin.error for twin in twins if twin.error)
        return [Part("error", Outcome.FAILED, why)]
    mine, theirs = shown(cell.outputs), [shown(twin.outputs) for twin in twins]
    names = dict.fromkeys((*mine, *(name for texts in theirs for name in texts)))
    return [output(name, [mine.get(name), *(texts.get(name) for texts in theirs)], tolerance) for name in names]
