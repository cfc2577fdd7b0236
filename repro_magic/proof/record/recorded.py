"""What is recorded of a notebook, in its outputs or in a file beside it, and a fresh run compared with that."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from blake3 import blake3

from repro_magic.exceptions import InvalidEnvironmentError, NotRunnableError
from repro_magic.introspection.cell_names import reached
from repro_magic.introspection.comments import mentions, private_names
from repro_magic.proof import environment as environments
from repro_magic.proof.compare.clocks import CellClocks, clocks_of
from repro_magic.proof.compare.differences import output
from repro_magic.proof.compare.outputs import shown, without_noise
from repro_magic.proof.compare.privacy import KIND, is_private, private_from
from repro_magic.proof.compare.runs import declared, first_line, hidden, value
from repro_magic.proof.environment import Environment
from repro_magic.proof.kernel.numeric_distance import SAME_BITS, Tolerance
from repro_magic.proof.kernel.receipt import MIME, digest_of_source
from repro_magic.proof.record.standing import Standing, why_elsewhere
from repro_magic.proof.run import notebook_file
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import DISPLAYED, SHOWN, Against, CellVerdict, NotebookVerdict, Outcome, Part

SIDECAR = "repro-magic.sidecar.v1"
_FRESH = "the fresh run"
_SIDES = {Against.RECORDED: ("the record", _FRESH), Against.SESSION: ("the session", _FRESH)}
# Nobody's receipt is that long; a forged one might be.
_LARGEST_RECEIPT, _LARGEST_SIDECAR = 8 << 20, 256 << 20
_MOST_NAMES = 8
_LACKING = "the record lacks it, though the cell gives it: run the notebook again and save it, to record all of it"
_RECEIPTS = 'To keep what each cell gave, start the session with `%config ReproMagic.receipts = "all"`.'
_RECORD = (
    'To record the values of all cells, put `%config ReproMagic.receipts = "all"` into the first one, run and save; or '
    "use `repro-magic verify --sidecar NB`."
)
_ANEW = {
    "receipt.v1": "Run the cell and save the notebook to replace it.",
    "sidecar.v1": "To write a new one: repro-magic verify --sidecar NB",
}
_NOT_REACHED = "the replay ended before the session's last cell"
_WRITTEN = "the session's own file was not looked at"
_PRIVATE = "the notebook keeps it out of what is recorded"
_ANY_RECEIPT = re.compile(r"application/vnd\.repro-magic\.receipt\.(v\d+)\+json")


@dataclass(frozen=True)
class RecordedCell:
    """What is recorded of one code cell.

    Attributes:
        source: the digest of its text.
        values: name -> its digest and what it is; None if no values are recorded.
        generators: those that moved, before and after; None if that is not recorded.
        texts: what it showed, by name; None if only digests are recorded.
        digests: the same as digests of the texts without noise; None if it is not recorded either.
        gone: the names that it deleted.
        displayed: the digest of the value that it displayed, and what it is; None if that is not known.
        doubt: where nothing is recorded of what it showed, why that may have been something else; empty if nothing
            says so.
        lost: name -> why the value that it had after the cell is not recorded.
        own: the texts of what this package showed under the cell, which is no result.
        number: the number under which it ran; None if that is not known.
    """

    source: str
    values: Mapping[str, Mapping[str, Any]] | None
    generators: Mapping[str, Any] | None = None
    texts: Mapping[str, str] | None = None
    digests: Mapping[str, str] | None = None
    gone: Sequence[str] = ()
    displayed: Mapping[str, Any] | None = None
    doubt: str = ""
    lost: Mapping[str, str] = field(default_factory=dict)
    own: Collection[str] = ()
    number: int | None = None

    @property
    def names(self) -> set[str]:
        """The names that it says something about."""
        return {*(self.values or {}), *self.gone}

    def change(self, known: dict[str, Mapping[str, Any]]) -> None:
        """Bring what is known of the names from before the cell to after it."""
        known.update(self.values or {})
        for name in self.gone:
            known.pop(name, None)


@dataclass(frozen=True)
class Record:
    """What is recorded of a notebook.

    Attributes:
        cells: its code cells, in order.
        environment: where it was recorded; None if that is not known.
        is_sidecar: whether it comes from the file beside the notebook: then `values` of a cell are all that it changed,
            and else those that it reaches.
        against: what it is called.
        notes: what has to be said of it.
    """

    cells: Sequence[RecordedCell]
    environment: Environment | None = None
    is_sidecar: bool = False
    against: Against = Against.RECORDED
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class _Held:
    """What the names hold after a cell, in the fresh run and as far as it is recorded; and which a later cell has."""

    fresh: Mapping[str, Mapping[str, Any]]
    recorded: Mapping[str, Mapping[str, Any]]
    later: Collection[str]

    def has(self, name: str) -> bool:
        """Whether one of both has the name."""
        return name in self.fresh or name in self.recorded


@dataclass(frozen=True)
class _Terms:
    """On what terms cells are compared: what is close, what both sides are called, which names are not recorded."""

    tolerance: Tolerance
    sides: tuple[str, str]
    record: Record
    private: frozenset[str]
    standings: Sequence[Standing]
    clocks: Sequence[CellClocks]


def sidecar_of(path: Path) -> Path:
    """The file beside a notebook.

    Example:
        >>> sidecar_of(Path("study.ipynb")).name
        'study.repro.json'
    """
    return path.with_name(f"{path.stem}.repro.json")


def sidecar(run: Run) -> str:
    """A run as the text of a sidecar."""
    private = private_from(cell.source for cell in run.cells)
    cells = [_sidecars_cell(cell, names) for cell, names in zip(run.cells, private, strict=True)]
    return json.dumps({"schema": SIDECAR, "environment": run.environment, "cells": cells}, indent=1) + "\n"


def _sidecars_cell(cell: CellRun, private: frozenset[str]) -> dict[str, Any]:
    is_open = not mentions(cell.source, private)  # else the digest of what it showed may be that of what is private
    values = {name: value for name, value in sorted(cell.changed.items()) if not is_private(name, private)}
    return {
        "source": digest_of_source(cell.source),
        "values": {name: _plain(value) for name, value in values.items()},
        "gone": sorted(cell.gone),
        "shown": {name: _digest_of_text(name, text) for name, text in shown(cell.outputs).items() if is_open},
        "displayed": cell.displayed if is_open else None,
    }


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name not in {"distance", "from", "small"}}


def _digest_of_text(name: str, text: str) -> str:
    return blake3(without_noise(name, text).encode("utf-8", "surrogatepass")).hexdigest()


def of(path: Path, notebook: Any = None) -> Record:  # noqa: ANN401 - nbformat's node
    """What is recorded of a notebook: its receipts and outputs; if it has no receipts, the sidecar, if there is one.

    Args:
        path: its file.
        notebook: what the file held; None: it is read.

    Raises:
        NotRunnableError: nothing is recorded, or it cannot be read; the message says what to do.
    """
    notebook = notebook_file.read(path) if notebook is None else notebook
    cells = [_recorded_cell(cell, number) for number, cell in enumerate(notebook_file.code_cells(notebook), start=1)]
    beside = sidecar_of(path)
    if not any(cell.values is not None for cell in cells) and beside.exists():
        return _read_sidecar(beside)
    if not any(cell.values is not None or cell.texts for cell in cells):
        raise NotRunnableError(
            f"nothing is recorded of {path}: run it with the extension and save it, or write a sidecar with "
            f"repro-magic verify --sidecar"
        )
    return Record(cells, _environment(cell.outputs for cell in notebook_file.code_cells(notebook)))


@dataclass(frozen=True)
class SessionCell:
    """A cell that ran in a session.

    Attributes:
        number: the one in `In[3]`.
        source: its text.
        receipt: if it has one.
        doubt: why it may show something else when it runs again; empty if nothing says so.
        texts: what it showed, by name, as far as the session keeps it.
        own: the texts of what this package showed under it.
        displayed: the digest of the value that it displayed, as that is now, and what it is.
    """

    number: int
    source: str
    receipt: Mapping[str, Any] | None = None
    doubt: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    own: Collection[str] = ()
    displayed: Mapping[str, Any] | None = None


def of_session(cells: Sequence[SessionCell], held: Mapping[str, Mapping[str, Any]], fresh: Run) -> Record:
    """What a running session has to be compared with its own replay: receipts, and what its names hold in the end.

    Args:
        cells: those that ran.
        held: name -> its digest and what it is, in the end.
        fresh: the replay. A name is the affair of the cell that changed it last there.
    """
    recorded: list[RecordedCell] = []
    held = {} if fresh.error else held  # what it would have come to is not known
    lost: dict[str, str] = {}  # name -> why a value of it is not there any more, seen from the end
    for cell, run in reversed([*zip(cells, fresh.cells, strict=False)]):
        receipt = cell.receipt or {}
        last = {name: held[name] for name in run.changed if name in held and name not in lost}
        why = dict.fromkeys(run.changed, _NOT_REACHED) if fresh.error else {}
        recorded.insert(
            0,
            RecordedCell(
                digest_of_source(cell.source),
                {**receipt.get("values", {}), **last},
                receipt.get("generators"),
                cell.texts,
                displayed=receipt.get("shown") or cell.displayed,
                doubt=cell.doubt,
                own=cell.own,
                lost=why | {name: lost[name] for name in run.changed if name in lost},
            ),
        )
        lost |= dict.fromkeys(run.changed, f"overwritten in In[{cell.number}] before it could be compared")
        lost |= dict.fromkeys(run.gone, f"deleted in In[{cell.number}] before it could be compared")
    unmade = sorted({*held}.difference(*(run.changed for run in fresh.cells)))
    told = f"No cell of this session makes {', '.join(unmade[:_MOST_NAMES])}, so a replay cannot either."
    return Record(recorded, against=Against.SESSION, notes=[told] if unmade and not fresh.error else [])


def _recorded_cell(cell: Any, number: int) -> RecordedCell:  # noqa: ANN401 - nbformat's node
    found: Mapping[str, Any] | None = None
    texts = _shown(cell, number)
    for one in cell.get("outputs", []):
        for mime, data in one["data"].items() if isinstance(one.get("data"), Mapping) else ():
            version = _ANY_RECEIPT.fullmatch(mime)
            if version:
                if mime != MIME:
                    raise NotRunnableError(
                        f"cell {number} has a receipt of {version[1]}: update repro_magic to read it"
                    )
                found = checked(data, "receipt.v1", f"the receipt of cell {number}", _LARGEST_RECEIPT)
    return RecordedCell(
        digest_of_source(cell.source) if found is None else found["source"],
        None if found is None else found["values"],
        None if found is None else found["generators"],
        texts,
        displayed=None if found is None else found["shown"],
        number=cell.get("execution_count"),
    )


def _shown(cell: Any, number: int) -> dict[str, str]:  # noqa: ANN401 - as above
    try:
        return shown(cell.get("outputs", []))
    except (KeyError, TypeError, AttributeError):
        raise NotRunnableError(
            f"an output of cell {number} does not have the form of one: run the cell again and save the notebook"
        ) from None


def _environment(outputs_of_cells: Any) -> Environment | None:  # noqa: ANN401 - nbformat's nodes
    cells = [{"outputs": [dict(one) for one in outputs]} for outputs in outputs_of_cells]
    found = environments.recorded({"cells": cells})
    try:
        return None if found is None else environments.checked(found)
    except InvalidEnvironmentError as error:
        raise NotRunnableError(f"the recorded environment: {error}") from None


def _read_sidecar(path: Path) -> Record:
    try:
        if path.stat().st_size > _LARGEST_SIDECAR:
            raise NotRunnableError(f"{path} is too large to be a sidecar")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotRunnableError(f"{path} cannot be read: {error}") from None
    checked(found, "sidecar.v1", str(path), _LARGEST_SIDECAR)
    cells = [
        RecordedCell(
            cell["source"],
            cell["values"],
            digests=cell["shown"],
            gone=cell["gone"],
            displayed=cell["displayed"],
        )
        for cell in found["cells"]
    ]
    try:
        return Record(cells, environments.checked(found["environment"]), is_sidecar=True)
    except InvalidEnvironmentError as error:
        raise NotRunnableError(f"{path}: {error}") from None


def checked(found: Any, schema: str, what: str, largest: int) -> dict[str, Any]:  # noqa: ANN401 - anybody's JSON
    """`found`, if it keeps to a published schema.

    Raises:
        NotRunnableError: it does not; the message says where.
    """
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - 0.3 s that only this needs

    try:
        size = len(json.dumps(found, default=str))
    except (ValueError, RecursionError) as error:
        raise NotRunnableError(f"{what} is not valid: {type(error).__name__}") from None
    if size > largest:
        raise NotRunnableError(f"{what} is too large to be one")
    name = found.get("schema") if isinstance(found, dict) else None
    expected = f"repro-magic.{schema}"
    if isinstance(name, str) and name != expected and name.startswith(expected[:-1]):
        raise NotRunnableError(f"{what} is of {name}, and this release reads {expected}: update repro_magic")
    wrong = best_match(_validator(schema).iter_errors(found))
    if wrong is not None:
        told = f"{str(wrong.message)[:200]} (at {wrong.json_path[:80]})"
        raise NotRunnableError(f"{what} is not valid: {told}. {_ANEW[schema]}")
    return dict(found)


@cache
def _validator(schema: str) -> Any:  # noqa: ANN401 - jsonschema carries no types
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above
    from referencing import Registry, Resource  # noqa: PLC0415

    receipts = _schema("receipt.v1")
    registry: Any = Registry().with_resource(receipts["$id"], Resource.from_contents(receipts))
    return Draft202012Validator(_schema(schema), registry=registry)


def _schema(name: str) -> dict[str, Any]:
    text = resources.files("repro_magic.proof.record").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def compare(path: str, record: Record, fresh: Run, tolerance: Tolerance = SAME_BITS) -> NotebookVerdict:
    """The verdict on a notebook: a fresh run against what is recorded.

    Args:
        path: as it is to be told.
        record: what is recorded.
        fresh: the run.
        tolerance: what counts as close: only what is shown can be, for of values the digests are recorded.
    """
    twins = _aligned(record.cells, [digest_of_source(cell.source) for cell in fresh.cells])
    held: dict[str, Mapping[str, Any]] = {}
    known: dict[str, Mapping[str, Any]] = {}
    private = frozenset[str]().union(*(private_names(cell.source) for cell in fresh.cells))
    standings = [
        Standing(None, {}, {})
        if recorded is None
        else Standing(recorded.number, recorded.generators or {}, (_receipt(cell) or {}).get("generators", {}))
        for cell, recorded in zip(fresh.cells, twins, strict=True)
    ]
    clocks = clocks_of("" if tolerance.exact else cell.source for cell in fresh.cells)
    terms = _Terms(tolerance, _SIDES[record.against], record, private, standings, clocks)
    cells = []
    later = _compared_later(fresh.cells, twins)
    for number, (cell, recorded) in enumerate(zip(fresh.cells, twins, strict=True), start=1):
        cell.change(held)
        if recorded is not None:
            recorded.change(known)
        cells.append(_cell(number, cell, recorded, _Held(held, known, later[number - 1]), terms))
    matched = len(twins) - twins.count(None)
    error = fresh.error or ("" if matched else "no cell of the notebook is recorded as it is now")
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
    """For each cell the names whose values after it are recorded with a later cell, which did not change them."""
    found: list[set[str]] = []
    later: set[str] = set()
    for cell, recorded in reversed([*zip(cells, twins, strict=True)]):
        found.insert(0, later)
        later = (later | ({*(recorded.values or {})} if recorded is not None else set())) - {*cell.changed, *cell.gone}
    return found


def _aligned(cells: Sequence[RecordedCell], fresh: Sequence[str]) -> list[RecordedCell | None]:
    """For each fresh cell the recorded one with the same text, in the same order."""
    found: list[RecordedCell | None] = [None] * len(fresh)
    matcher = difflib.SequenceMatcher(a=[cell.source for cell in cells], b=list(fresh), autojunk=False)
    for block in matcher.get_matching_blocks():
        for place in range(block.size):
            found[block.b + place] = cells[block.a + place]
    return found


def _cell(
    number: int,
    cell: CellRun,
    recorded: RecordedCell | None,
    held: _Held,
    terms: _Terms,
) -> CellVerdict:
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
    recorded: RecordedCell, cell: CellRun, outputs: Sequence[Part], held: _Held, terms: _Terms
) -> list[Part]:
    if terms.record.against is Against.SESSION:
        return _displayed_once(recorded, cell, held, terms)
    if mentions(cell.source, terms.private):
        return [Part(DISPLAYED, Outcome.NOT_COMPARABLE, _PRIVATE, kind=KIND, is_declared=True)] * bool(cell.displayed)
    has_values = recorded.values is not None and terms.record.against is Against.RECORDED
    if has_values and recorded.displayed is None and cell.displayed is not None:
        return [Part(DISPLAYED, Outcome.DIFFERS, _LACKING)]
    return hidden(outputs, recorded.displayed, [cell.displayed], held.fresh, terms.sides)


def _displayed_once(recorded: RecordedCell, cell: CellRun, held: _Held, terms: _Terms) -> list[Part]:
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


def _values(number: int, recorded: RecordedCell, cell: CellRun, held: _Held, terms: _Terms) -> Iterator[Part]:
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


def _lacking(recorded: RecordedCell, cell: CellRun, held: _Held, terms: _Terms) -> Iterator[Part]:
    """What the cell reaches, and its receipt does not hold."""
    is_session = terms.record.against is Against.SESSION
    of_fresh = () if is_session else (_receipt(cell) or {}).get("values", ())
    names = [name for name in dict.fromkeys((*of_fresh, *cell.changed)) if name not in recorded.names]
    reaches = {*of_fresh, *_standing_in(cell)} if names and not is_session else set()
    for name in names:
        if name in recorded.lost and name not in held.later:
            yield Part(name, Outcome.NOT_COMPARABLE, recorded.lost[name], kind=recorded.lost[name], remedy=_RECEIPTS)
        elif is_session and cell.changed[name]["kind"] == "file":
            yield Part(name, Outcome.NOT_COMPARABLE, _WRITTEN, kind="file")
        elif is_private(name, terms.private):
            yield Part(name, Outcome.NOT_COMPARABLE, _PRIVATE, kind=KIND, is_declared=True)
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


def _receipt(cell: CellRun) -> dict[str, Any] | None:
    return next((one["data"][MIME] for one in cell.outputs if MIME in one.get("data", {})), None)


def _value(name: str, held: _Held, terms: _Terms) -> Part:
    recorded, found = held.recorded.get(name), held.fresh.get(name)
    if recorded is not None and found is not None:
        return value(name, recorded, found, terms.sides, exact=terms.tolerance.exact)
    if found is not None and is_private(name, terms.private):
        return Part(name, Outcome.NOT_COMPARABLE, _PRIVATE, kind=KIND, is_declared=True)
    return Part(name, Outcome.DIFFERS, f"it is not there in {terms.sides[0 if recorded is None else 1]}")


def _generators(number: int, recorded: RecordedCell, cell: CellRun, terms: _Terms) -> list[Part]:
    fresh, sides = _receipt(cell), terms.sides
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
            parts.append(Part(f"generator {key}", Outcome.DIFFERS, "from the same state it came to another"))
    return parts


def _outputs(recorded: RecordedCell, cell: CellRun, terms: _Terms) -> list[Part]:
    if terms.record.against is Against.SESSION:
        return [*_of_history(recorded, cell, terms)]
    fresh = shown(cell.outputs)
    if terms.record.is_sidecar and mentions(cell.source, terms.private):
        return [Part(SHOWN, Outcome.NOT_COMPARABLE, _PRIVATE, kind=KIND, is_declared=True)] * bool(fresh)
    if recorded.texts is not None:
        names = dict.fromkeys((*recorded.texts, *fresh))
        return [
            output(name, [recorded.texts.get(name), fresh.get(name)], terms.tolerance, terms.sides) for name in names
        ]
    digests = {name: _digest_of_text(name, text) for name, text in fresh.items()}
    known = recorded.digests or {}
    return [
        Part(name, Outcome.SAME)
        if known.get(name) == digests.get(name)
        else Part(name, Outcome.DIFFERS, "it is not what is recorded")
        for name in dict.fromkeys((*known, *digests))
    ]


def _of_history(recorded: RecordedCell, cell: CellRun, terms: _Terms) -> Iterator[Part]:
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


def _kept(name: str, texts: Sequence[str | None], terms: _Terms) -> Part:
    """A stream in the history holds also what was captured or cleared, and lacks what programs wrote."""
    part = output(name, texts, terms.tolerance, terms.sides)
    lines = {None if text is None else text.count("\n") for text in texts}
    if part.outcome is not Outcome.DIFFERS or name not in {"stdout", "stderr"} or len(lines) == 1:
        return part
    why = "the session's history holds other lines of it: some were cleared, captured or written by a program"
    return Part(name, Outcome.NOT_COMPARABLE, why, kind="cleared or captured")


def _environments_apart(record: Record, fresh: Run) -> list[environments.Difference]:
    """How the environments differ, each taken at the same moment: by `%repro_env` in its cell, or at the end."""
    here = fresh.environment if record.is_sidecar else _environment(cell.outputs for cell in fresh.cells)
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
