"""One cell of a fresh run compared with what is recorded of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro_magic.introspection.cell_names import reached
from repro_magic.introspection.comments import mentions
from repro_magic.proof.compare.clocks import CellClocks
from repro_magic.proof.compare.differences import output
from repro_magic.proof.compare.outputs import shown, without_noise
from repro_magic.proof.compare.privacy import KIND, is_private
from repro_magic.proof.compare.runs import first_line, hidden, value
from repro_magic.proof.kernel.numeric_distance import Tolerance
from repro_magic.proof.kernel.receipt import MIME
from repro_magic.proof.record.model import Record, RecordedCell
from repro_magic.proof.record.sidecar import digest_of_text
from repro_magic.proof.record.standing import Standing, why_elsewhere
from repro_magic.proof.run.runner import CellRun
from repro_magic.proof.verdict import DISPLAYED, SHOWN, Against, CellVerdict, Outcome, Part

_LACKING = "the record lacks it, though the cell gives it: run the notebook again and save it, to record all of it"
_RECEIPTS = 'To keep what each cell gave, start the session with `%config ReproMagic.receipts = "all"`.'
_RECORD = (
    'To record the values of all cells, put `%config ReproMagic.receipts = "all"` into the first one, run and save; or '
    "use `repro-magic verify --sidecar NB`."
)
_WRITTEN = "the session's own file was not looked at"
PRIVATE = "the notebook keeps it out of what is recorded"


@dataclass(frozen=True)
class KnownValues:
    """What is known of the names' values after a cell.

    Attributes:
        fresh: name -> its digest and what it is, in the fresh run.
        recorded: the same, as far as it is recorded.
        later: the names whose values are recorded with a later cell.
    """

    fresh: Mapping[str, Mapping[str, Any]]
    recorded: Mapping[str, Mapping[str, Any]]
    later: Collection[str]

    def has(self, name: str) -> bool:
        """Whether the name has a value on either side."""
        return name in self.fresh or name in self.recorded


@dataclass(frozen=True)
class Terms:
    """What the comparison of a cell depends on, besides the cell.

    Attributes:
        tolerance: what counts as close.
        sides: what both sides are called.
        record: what is recorded of the notebook.
        private: the names that the notebook keeps out of what is recorded.
        standings: the generators around each cell.
        clocks: what each cell reads from a clock.
    """

    tolerance: Tolerance
    sides: tuple[str, str]
    record: Record
    private: frozenset[str]
    standings: Sequence[Standing]
    clocks: Sequence[CellClocks]


def cell_verdict(
    number: int,
    cell: CellRun,
    recorded: RecordedCell | None,
    held: KnownValues,
    terms: Terms,
) -> CellVerdict:
    """The verdict on one cell; `recorded` is None where nothing is recorded of it."""
    line = first_line(cell.source)
    if cell.error:
        return CellVerdict(number, line, [], [Part("error", Outcome.FAILED, cell.error)], cell.source)
    if recorded is None:
        why = "nothing is recorded of this cell: it was added, or changed since"
        return CellVerdict(number, line, [Part("source", Outcome.DIFFERS, why)], [], cell.source)
    reads = terms.clocks[number - 1]
    values = reads.values(_values(number, recorded, cell, held, terms), [held.recorded, held.fresh])
    outputs = reads.outputs(_outputs(recorded, cell, terms), [recorded.texts or {}, shown(cell.outputs)])
    if recorded.texts is not None or not _is_noisy(cell):  # of texts that are not recorded, noise was put aside
        values += _displayed(recorded, cell, outputs, held, terms)
    return CellVerdict(number, line, [*values, *_generators(number, recorded, cell, terms)], outputs, cell.source)


def _displayed(
    recorded: RecordedCell, cell: CellRun, outputs: Sequence[Part], held: KnownValues, terms: Terms
) -> list[Part]:
    if terms.record.against is Against.SESSION:
        return _displayed_once(recorded, cell, held, terms)
    if mentions(cell.source, terms.private):
        return [Part(DISPLAYED, Outcome.NOT_COMPARABLE, PRIVATE, kind=KIND, is_declared=True)] * bool(cell.displayed)
    has_values = recorded.values is not None and terms.record.against is Against.RECORDED
    if has_values and recorded.displayed is None and cell.displayed is not None:
        return [Part(DISPLAYED, Outcome.DIFFERS, _LACKING)]
    return hidden(outputs, recorded.displayed, [cell.displayed], held.fresh, terms.sides)


def _displayed_once(recorded: RecordedCell, cell: CellRun, held: KnownValues, terms: Terms) -> list[Part]:
    """Whether `Out` still holds what a session's cell displayed. Without its text, nothing of it was kept anyway."""
    found, known = cell.displayed, recorded.displayed
    is_shown = any(name.startswith("result ") for name in recorded.texts or {})
    if found is None or not is_shown or any(one["hex"] == found["hex"] for one in held.fresh.values()):
        return []
    if known is not None and known["hex"] == found["hex"]:
        return [part for part in [value(DISPLAYED, known, found, terms.sides)] if part.outcome is not Outcome.SAME]
    why = "its text was compared; `Out` no longer holds the value"
    return [Part(DISPLAYED, Outcome.NOT_COMPARABLE, why, kind="no longer in Out", remedy=_RECEIPTS)]


def _is_noisy(cell: CellRun) -> bool:
    return any(without_noise(name, text) != text for name, text in shown(cell.outputs).items())


def _values(number: int, recorded: RecordedCell, cell: CellRun, held: KnownValues, terms: Terms) -> Iterator[Part]:
    """Each name that is recorded, or that the fresh run has beside them."""
    fresh = (*cell.changed, *cell.gone)
    if recorded.values is None:
        yield from _unrecorded(number, {*cell.changed} - {*held.later})
        return
    whole = fresh if terms.record.is_sidecar else ()
    for name in dict.fromkeys((*recorded.values, *recorded.gone, *whole)):
        if held.has(name):
            yield _value(name, held, terms)
    if not terms.record.is_sidecar:
        yield from _lacking(recorded, cell, held, terms)


def _unrecorded(number: int, names: Collection[str]) -> Iterator[Part]:
    if names:
        why = f"nothing is recorded of the values of cell {number}"
        yield Part("", Outcome.NOT_COMPARABLE, why, kind="no values recorded", remedy=_RECORD)


def _lacking(recorded: RecordedCell, cell: CellRun, held: KnownValues, terms: Terms) -> Iterator[Part]:
    """What the cell reaches, and its receipt does not hold."""
    is_session = terms.record.against is Against.SESSION
    of_fresh = () if is_session else (receipt_of(cell) or {}).get("values", ())
    names = [name for name in dict.fromkeys((*of_fresh, *cell.changed)) if name not in recorded.names]
    reaches = {*of_fresh, *_standing_in(cell)} if names and not is_session else set()
    for name in names:
        if name in recorded.lost and name not in held.later:
            yield Part(name, Outcome.NOT_COMPARABLE, recorded.lost[name], kind=recorded.lost[name], remedy=_RECEIPTS)
        elif is_session and cell.changed[name]["kind"] == "file":
            yield Part(name, Outcome.NOT_COMPARABLE, _WRITTEN, kind="file")
        elif is_private(name, terms.private):
            yield Part(name, Outcome.NOT_COMPARABLE, PRIVATE, kind=KIND, is_declared=True)
        elif is_session and name not in recorded.lost:
            yield Part(name, Outcome.DIFFERS, f"it is not there in {terms.sides[0]}")
        elif name in reaches:
            yield Part(name, Outcome.DIFFERS, _LACKING)
        elif name not in held.later:
            yield Part(name, Outcome.NOT_COMPARABLE, "the cell's receipt does not hold it", kind="not recorded")


def _standing_in(cell: CellRun) -> set[str]:
    """Of the names that a cell changed, those that stand in its text: its receipt holds each of them."""
    from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - where a receipt lacks something

    source = TransformerManager().transform_cell(cell.source)
    roots = reached(source, {name.partition(".")[0]: None for name in cell.changed})
    return {name for name in cell.changed if name.partition(".")[0] in roots}


def receipt_of(cell: CellRun) -> dict[str, Any] | None:
    """The receipt among the outputs of a cell; None if it has none."""
    return next((one["data"][MIME] for one in cell.outputs if MIME in one.get("data", {})), None)


def _value(name: str, held: KnownValues, terms: Terms) -> Part:
    recorded, found = held.recorded.get(name), held.fresh.get(name)
    if recorded is not None and found is not None:
        return value(name, recorded, found, terms.sides, exact=terms.tolerance.exact)
    if found is not None and is_private(name, terms.private):
        return Part(name, Outcome.NOT_COMPARABLE, PRIVATE, kind=KIND, is_declared=True)
    return Part(name, Outcome.DIFFERS, f"it is not there in {terms.sides[0 if recorded is None else 1]}")


def _generators(number: int, recorded: RecordedCell, cell: CellRun, terms: Terms) -> list[Part]:
    fresh, sides = receipt_of(cell), terms.sides
    if recorded.generators is None or fresh is None:
        return []
    parts = []
    for key in dict.fromkeys((*recorded.generators, *fresh["generators"])):
        one, other = recorded.generators.get(key), fresh["generators"].get(key)
        if one is None or other is None:
            why = f"it moved in {sides[0 if other is None else 1]} only"
            parts.append(Part(f"generator {key}", Outcome.DIFFERS, why))
        elif one != other and None in (one["before"], other["before"]):
            why = "it was not seeded before the cell, so what was drawn cannot be the same"
            parts.append(Part(f"generator {key}", Outcome.NOT_COMPARABLE, why, kind="another state before the cell"))
        elif one["before"] != other["before"]:
            why = why_elsewhere(terms.standings, number - 1, key)
            parts.append(Part(f"generator {key}", Outcome.NOT_COMPARABLE, why, kind="another state before the cell"))
        elif one != other:
            parts.append(Part(f"generator {key}", Outcome.DIFFERS, "same start, different end state"))
    return parts


def _outputs(recorded: RecordedCell, cell: CellRun, terms: Terms) -> list[Part]:
    if terms.record.against is Against.SESSION:
        return [*_of_history(recorded, cell, terms)]
    fresh = shown(cell.outputs)
    if terms.record.is_sidecar and mentions(cell.source, terms.private):
        return [Part(SHOWN, Outcome.NOT_COMPARABLE, PRIVATE, kind=KIND, is_declared=True)] * bool(fresh)
    if recorded.texts is not None:
        names = dict.fromkeys((*recorded.texts, *fresh))
        return [
            output(name, [recorded.texts.get(name), fresh.get(name)], terms.tolerance, terms.sides) for name in names
        ]
    digests = {name: digest_of_text(name, text) for name, text in fresh.items()}
    known = recorded.digests or {}
    return [
        Part(name, Outcome.SAME)
        if known.get(name) == digests.get(name)
        else Part(name, Outcome.DIFFERS, "it is not what is recorded")
        for name in dict.fromkeys((*known, *digests))
    ]


def _of_history(recorded: RecordedCell, cell: CellRun, terms: Terms) -> Iterator[Part]:
    """What a session's cell showed, as far as its history keeps that: streams, results and errors, but no displays."""
    fresh = shown(one for one in cell.outputs if one.get("data", {}).get("text/plain") not in recorded.own)
    kept = recorded.texts or {}
    for name in dict.fromkeys((*kept, *fresh)):
        if name in kept or name == "error":
            yield _kept(name, [kept.get(name), fresh.get(name)], terms)
    if not {*fresh} <= {*kept, "error"}:
        why = "the session does not keep it"
        why += f", and it may have been something else: {recorded.doubt}" if recorded.doubt else ""
        yield Part(SHOWN, Outcome.NOT_COMPARABLE, why, kind="not kept")


def _kept(name: str, texts: Sequence[str | None], terms: Terms) -> Part:
    """A stream in the history holds also what was captured or cleared, and lacks what programs wrote."""
    part = output(name, texts, terms.tolerance, terms.sides)
    lines = {None if text is None else text.count("\n") for text in texts}
    if part.outcome is not Outcome.DIFFERS or name not in {"stdout", "stderr"} or len(lines) == 1:
        return part
    why = "the session's history holds other lines of it: some were cleared, captured or written by a program"
    return Part(name, Outcome.NOT_COMPARABLE, why, kind="cleared or captured")
