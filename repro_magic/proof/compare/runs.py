"""Runs compared, cell by cell: what was shown, and what the names held."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from repro_magic.introspection.comments import accepted_in
from repro_magic.proof.compare.addresses import addresses, asks_for_addresses
from repro_magic.proof.compare.clocks import CellClocks, clocks_of
from repro_magic.proof.compare.differences import RUNS, different, output, runs_called
from repro_magic.proof.compare.outputs import shown, shown_in_widgets
from repro_magic.proof.compare.privacy import withheld
from repro_magic.proof.kernel.numeric_distance import SAME_BITS, Tolerance
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import DISPLAYED, CellVerdict, NotebookVerdict, Outcome, Part

_OWN = "it is the same but for private attributes of its library, which may be paths, counters or clocks"
_ACCEPT = "To leave a name out on purpose, write `# repro: accept NAME` in its cell, or `del NAME` after its last use."


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
    asks = not tolerance.exact and asks_for_addresses(cell.source for cell in runs[0].cells)
    clocks = clocks_of("" if tolerance.exact else cell.source for cell in runs[0].cells)
    for (number, sides), reads in zip(enumerate(_side_by_side(runs), start=1), clocks, strict=True):
        first, *others = sides
        verdict = _cell(number, first, others, tolerance, reads, asks=asks)
        cells.append(verdict)
        if verdict.outcome in {Outcome.DIFFERS, Outcome.CLOSE, Outcome.FAILED} and len(sides) == len(runs):
            for place, other in enumerate(others, start=1):
                if _cell(number, first, [other], tolerance, reads, asks=asks).outcome in {
                    Outcome.DIFFERS,
                    Outcome.FAILED,
                }:
                    disagreeing.add(place)
    error = next((run.error for run in runs if run.error), "")
    notes = _before_the_end(cells) if error else []
    return NotebookVerdict(path, len(runs), len(runs) - len(disagreeing), declared(cells), error, notes=notes)


def _before_the_end(cells: Sequence[CellVerdict]) -> list[str]:
    """What is to be said of the cells that ran to their end, where a later one did not."""
    ran = [cell for cell in cells if cell.outcome is not Outcome.FAILED]
    if not ran:
        return []
    first = next((cell.number for cell in ran if cell.outcome is Outcome.DIFFERS), None)
    what = "the cell" if len(ran) == 1 else f"the {len(ran)} cells"
    said = "agree between the runs" if first is None else f"differ, first in cell {first}"
    said = said.replace("agree", "agrees").replace("differ,", "differs,") if len(ran) == 1 else said
    return [f"Until then {what} that ran {said}."]


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


def _cell(  # noqa: PLR0913 - all that a comparison needs
    number: int, first: _Side, others: Sequence[_Side], tolerance: Tolerance, reads: CellClocks, *, asks: bool
) -> CellVerdict:
    sides = (first, *others)
    names = dict.fromkeys(name for side in sides for name in (*side.cell.changed, *side.cell.gone))
    values = [_value(name, first, others, tolerance) for name in names if any(name in side.held for side in sides)]
    values = [_clocks_less_gaps(part, first.held) for part in reads.values(values, [side.held for side in sides])]
    values = addresses(values, [side.held for side in sides]) if asks else values
    twins = [side.cell for side in others]
    outputs = _outputs(first.cell, twins, tolerance)
    outputs = reads.outputs(outputs, [_shown(side.cell) for side in sides])
    values += hidden(outputs, first.cell.displayed, [twin.displayed for twin in twins], first.held)
    return CellVerdict(number, first_line(first.cell.source), values, outputs, first.cell.source)


def hidden(
    outputs: Sequence[Part],
    first: Mapping[str, Any] | None,
    others: Sequence[Mapping[str, Any] | None],
    held: Mapping[str, Mapping[str, Any]],
    sides: tuple[str, str] = RUNS,
) -> list[Part]:
    """What the text of a displayed value leaves out: of long values that differ it may be the same.

    Args:
        outputs: what comparing the texts brought.
        first: the digest of the displayed value, and what it is; None if it is not known.
        others: the same of the other runs.
        held: what the names hold: a value that one of them holds is compared under its name.
        sides: what both are called.
    """
    texts = {part.outcome for part in outputs if part.name.startswith("result ")}
    if first is None or not texts or not texts <= {Outcome.SAME, Outcome.NOISE}:
        return []
    other = next((one for one in others if one is not None and one["hex"] != first["hex"]), None)
    if other is not None and texts == {Outcome.SAME}:
        return [value(DISPLAYED, first, other, sides)]
    is_named = any(one["hex"] == first["hex"] for one in held.values())
    return [comparable(DISPLAYED, first)] if first["gaps"] and not is_named else []


def declared(cells: Sequence[CellVerdict]) -> list[CellVerdict]:
    """The cells, where each name that a comment `# repro: accept NAME` leaves out of the comparison is marked."""
    accepted = frozenset[str]().union(*(accepted_in(cell.source) for cell in cells))
    told = [replace(cell, values=[_declared(part, accepted) for part in cell.values]) for cell in cells]
    return withheld(told)


def _declared(part: Part, accepted: Collection[str]) -> Part:
    names = (part.name.partition(".")[0], part.name.removeprefix("file "))
    name = next((name for name in names if name in accepted), "")
    if part.outcome is not Outcome.NOT_COMPARABLE or not name:
        return part
    return replace(part, is_declared=True, why=f"left out on purpose (# repro: accept {name})")


def fixed_hashes(what: str) -> str:
    """The note that string hashes do not vary here, as they do elsewhere.

    Args:
        what: what they are, e.g. `"fixed to 0"`.
    """
    return f"String hashes are {what} here by PYTHONHASHSEED: the order of sets of strings may differ elsewhere."


def first_line(source: str) -> str:
    """A cell's first line that is not blank."""
    return next((line for line in source.splitlines() if line.strip()), "")


def _value(name: str, first: _Side, others: Sequence[_Side], tolerance: Tolerance) -> Part:
    one = first.held.get(name)
    worst = Part(name, Outcome.SAME)
    for number, side in enumerate(others, start=2):
        other = side.held.get(name)
        if one is None or other is None:
            return Part(name, Outcome.DIFFERS, "it is there in one run only")
        worst = _worse(worst, value(name, one, other, runs_called(len(others) + 1, number), exact=tolerance.exact))
    return worst


def _worse(one: Part, other: Part) -> Part:
    return other if one.outcome | other.outcome is not one.outcome else one


def value(
    name: str,
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    sides: tuple[str, str] = RUNS,
    *,
    exact: bool = False,
) -> Part:
    """The part for a value that both sides hold."""
    unseen = next((found for found in (one, other) if _is_opaque(found)), None)
    if one["hex"] == other["hex"] and unseen is None and one.get("own") != other.get("own"):
        return Part(name, Outcome.NOT_COMPARABLE, _OWN, kind=one["kind"], remedy=_ACCEPT)
    if one["hex"] == other["hex"] or (unseen is not None and _class(one) == _class(other)):
        return comparable(name, unseen or one)
    return _less_gaps(different(name, one, other, sides, exact=exact), one)


def _is_opaque(found: Mapping[str, Any]) -> bool:
    """Whether nothing of a value could be compared."""
    return any(not at for at, _, _ in found["gaps"])


def _class(found: Mapping[str, Any]) -> str:
    name: str = found["kind"]
    return name.rpartition(".")[2]


def comparable(name: str, found: Mapping[str, Any]) -> Part:
    """The part for a value that is the same, as far as it can be compared."""
    if not found["gaps"]:
        return Part(name, Outcome.SAME)
    (at, kind, why), *others = found["gaps"]
    more = f", and {len(others)} more of its parts" if others else ""
    remedy = "" if name == DISPLAYED else _ACCEPT
    return Part(name, Outcome.NOT_COMPARABLE, f"{why}{more}", at=at, kind=kind.removeprefix("builtins."), remedy=remedy)


def _less_gaps(part: Part, found: Mapping[str, Any]) -> Part:
    """A value within the tolerance is so as far as it can be compared, too."""
    gap = comparable(part.name, found)
    if part.outcome is Outcome.DIFFERS or gap.outcome is Outcome.SAME:
        return part
    return replace(gap, why=f"{gap.why}; else {part.why}", distance=part.distance)


def _clocks_less_gaps(part: Part, held: Mapping[str, Mapping[str, Any]]) -> Part:
    return _less_gaps(part, held[part.name]) if part.outcome is Outcome.CLOCK else part


def _shown(cell: CellRun) -> dict[str, str]:
    return shown(cell.outputs) | shown_in_widgets(cell.widgets)


def _outputs(cell: CellRun, twins: Sequence[CellRun], tolerance: Tolerance) -> list[Part]:
    if cell.error or any(twin.error for twin in twins):
        why = cell.error or next(twin.error for twin in twins if twin.error)
        return [Part("error", Outcome.FAILED, why)]
    mine, theirs = _shown(cell), [_shown(twin) for twin in twins]
    names = dict.fromkeys((*mine, *(name for texts in theirs for name in texts)))
    return [output(name, [mine.get(name), *(texts.get(name) for texts in theirs)], tolerance) for name in names]
