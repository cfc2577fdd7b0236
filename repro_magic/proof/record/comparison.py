"""A fresh run of a notebook compared with what is recorded."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from repro_magic.introspection.comments import private_names
from repro_magic.proof import environment as environments
from repro_magic.proof.compare.clocks import clocks_of
from repro_magic.proof.compare.runs import declared
from repro_magic.proof.kernel.numeric_distance import SAME_BITS, Tolerance
from repro_magic.proof.kernel.receipt import digest_of_source
from repro_magic.proof.record.cell_comparison import KnownValues, Terms, cell_verdict, receipt_of
from repro_magic.proof.record.model import Record, RecordedCell
from repro_magic.proof.record.notebook_record import environment_in
from repro_magic.proof.record.standing import Standing
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import Against, NotebookVerdict, Outcome

_FRESH = "the fresh run"
_SIDES = {Against.RECORDED: ("the record", _FRESH), Against.SESSION: ("the session", _FRESH)}


def compare_with_record(path: str, record: Record, fresh: Run, tolerance: Tolerance = SAME_BITS) -> NotebookVerdict:
    """The verdict on a notebook: a fresh run against what is recorded.

    Args:
        path: as the verdict names it.
        record: what is recorded.
        fresh: the run.
        tolerance: what counts as close: it applies to outputs only, because of values only digests are recorded.
    """
    twins = _aligned(record.cells, [digest_of_source(cell.source) for cell in fresh.cells])
    held: dict[str, Mapping[str, Any]] = {}
    known: dict[str, Mapping[str, Any]] = {}
    private = frozenset[str]().union(*(private_names(cell.source) for cell in fresh.cells))
    standings = [
        Standing(None, {}, {})
        if recorded is None
        else Standing(recorded.number, recorded.generators or {}, (receipt_of(cell) or {}).get("generators", {}))
        for cell, recorded in zip(fresh.cells, twins, strict=True)
    ]
    clocks = clocks_of("" if tolerance.exact else cell.source for cell in fresh.cells)
    terms = Terms(tolerance, _SIDES[record.against], record, private, standings, clocks)
    cells = []
    later = _compared_later(fresh.cells, twins)
    for number, (cell, recorded) in enumerate(zip(fresh.cells, twins, strict=True), start=1):
        cell.change(held)
        if recorded is not None:
            recorded.change(known)
        cells.append(cell_verdict(number, cell, recorded, KnownValues(held, known, later[number - 1]), terms))
    matched = len(twins) - twins.count(None)
    error = fresh.error or ("" if matched else "no recorded cell matches the notebook: its cells have changed")
    differs = any(cell.outcome in {Outcome.DIFFERS, Outcome.FAILED} for cell in cells) or bool(error)
    return NotebookVerdict(
        path,
        1,
        0 if differs else 1,
        declared(cells),
        error,
        record.against,
        _environments_apart(record, fresh),
        [*record.notes, *_notes(record, matched, is_complete=not fresh.error)],
    )


def _compared_later(cells: Sequence[CellRun], twins: Sequence[RecordedCell | None]) -> list[set[str]]:
    """For each cell, the names whose values after it are recorded with a later cell that did not change them."""
    names: list[set[str]] = []
    later: set[str] = set()
    for cell, recorded in reversed([*zip(cells, twins, strict=True)]):
        names.insert(0, later)
        later = (later | ({*(recorded.values or {})} if recorded is not None else set())) - {*cell.changed, *cell.gone}
    return names


def _aligned(cells: Sequence[RecordedCell], fresh: Sequence[str]) -> list[RecordedCell | None]:
    """For each fresh cell, the recorded cell with the same text, in the same order."""
    aligned: list[RecordedCell | None] = [None] * len(fresh)
    matcher = difflib.SequenceMatcher(a=[cell.source for cell in cells], b=list(fresh), autojunk=False)
    for block in matcher.get_matching_blocks():
        for place in range(block.size):
            aligned[block.b + place] = cells[block.a + place]
    return aligned


def _environments_apart(record: Record, fresh: Run) -> list[environments.Difference]:
    """How the environments differ, both taken at the same moment: by `%repro_env` in its cell, or at the end."""
    here = fresh.environment if record.is_sidecar else environment_in(cell.outputs for cell in fresh.cells)
    if record.environment is None or here is None:
        return []
    return environments.differences(record.environment, here)


def _notes(record: Record, matched: int, *, is_complete: bool) -> list[str]:
    if record.against is Against.SESSION:
        return []
    notes = []
    lost = len(record.cells) - matched
    if lost and is_complete:
        notes.append(f"{lost} recorded {'cell is' if lost == 1 else 'cells are'} not in the notebook any more.")
    if record.environment is None:
        notes.append("No environment is recorded: %repro_env in a cell of the notebook records it.")
    return notes
