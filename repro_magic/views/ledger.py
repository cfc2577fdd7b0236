"""The randomness ledger: which generators each cell moved, as a grid and a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from repro_magic.findings import Draw
from repro_magic.journal import CellDraws
from repro_magic.rng.state_change import Move
from repro_magic.rng.user_generators import LIBRARY
from repro_magic.unseeded.libraries import LibraryDraw
from repro_magic.views.document import Document, Grid, Line, Mark, Table, Tone

_COLUMNS, _ROWS, _OPS = 40, 200, 3
_NUMBER = re.compile(r"In\[(\d+)\]")

# From this many words, the larger of two symbols is used; in HTML, symbols also grow with each power of ten.
_MANY_WORDS = 1_000
_SEEDED, _UNSEEDED = "•●", "◦○"
_RESEEDED, _UNKNOWN, _BACK = "◆", "◐", "↺"
# Worker processes have their own generators, which each loader seeds.
_WORKERS = "DataLoader workers"
_MEANINGS = {
    _SEEDED: "drew from a seeded generator (larger mark: 1,000 words or more)",
    _UNSEEDED: "drew from an unseeded generator: the numbers differ between runs",
    _RESEEDED: "seeded, restored or created in this cell",
    _UNKNOWN: "drew; whether from a seed is unknown",
    _BACK: "drew, but was restored by the end of the cell, or is gone",
}


def ledger(cells: Sequence[CellDraws]) -> Document:
    """The output of `%repro_ledger`.

    Args:
        cells: in the order in which they ran.

    Example:
        >>> ledger([]).text()
        'No cell has drawn random numbers yet.'
    """
    entries = [entry for cell in cells for entry in _entries(cell)]
    if not entries and not any(cell.libraries for cell in cells):
        return Document((Line("No cell has drawn random numbers yet."),))
    tables = (_picture([cell for cell in cells if cell.moves or cell.draws]), _table(entries)) if entries else ()
    return Document((*tables, *library_lines(cells)))


def library_lines(cells: Sequence[CellDraws]) -> list[Line]:
    """A line per library function that created an unseeded generator, with the cells that called it."""
    callers: dict[LibraryDraw, dict[str, None]] = {}
    for cell in cells:
        for draw in cell.libraries:
            callers.setdefault(draw, {})[cell.name] = None
    return [
        Line(f"○ {draw.what} in {', '.join(names)}. {draw.remedy}", tone=Tone.CAUTION)
        for draw, names in callers.items()
    ]


@dataclass(frozen=True)
class _Entry:
    """A generator in a cell. `move` is None if the cell left the generator's state unchanged."""

    cell: CellDraws
    generator: str
    move: Move | None
    draws: Sequence[Draw]


def _entries(cell: CellDraws) -> Iterator[_Entry]:
    for move in cell.moves:
        draws = [draw for draw in cell.draws if draw.device == move.device and not draw.worker]
        yield _Entry(cell, move.generator.removeprefix(f"{LIBRARY} "), move, draws)
    moved = {move.device for move in cell.moves}
    own = [draw for draw in cell.draws if not draw.worker]
    for device in dict.fromkeys(draw.device for draw in own):
        if device not in moved:
            yield _Entry(cell, f"torch {device}", None, [draw for draw in own if draw.device == device])
    if len(own) < len(cell.draws):
        yield _Entry(cell, _WORKERS, None, [draw for draw in cell.draws if draw.worker])


def _picture(cells: Sequence[CellDraws]) -> Grid:
    shown = [list(_entries(cell)) for cell in cells[-_COLUMNS:]]
    rows: dict[str, list[Mark | None]] = {}
    for column, entries in enumerate(shown):
        for entry in entries:
            rows.setdefault(entry.generator, [None] * len(shown))[column] = _mark(entry)
    used = {mark.symbol for marks in rows.values() for mark in marks if mark is not None}
    title = "Generators by cell, newest last" + (f" (the last {_COLUMNS})" if len(cells) > _COLUMNS else "")
    return Grid(
        title,
        [_short(cell.name) for cell in cells[-_COLUMNS:]],
        rows,
        {" ".join(signs): meaning for signs, meaning in _MEANINGS.items() if used & set(signs)},
    )


def _short(cell: str) -> str:
    number = _NUMBER.fullmatch(cell)
    return number[1] if number else "-"


def _mark(entry: _Entry) -> Mark:
    detail = f"{entry.generator} in {entry.cell.name}: {_drew(entry)}; seeded: {_seeded(entry.move)}"
    move = entry.move
    count = 0 if move is None or move.distance is None else move.distance.count or 0
    size = min(1 + 0.12 * math.log10(count + 1), 2)
    grown = count >= _MANY_WORDS
    if move is None:
        symbol = _UNKNOWN if entry.generator == _WORKERS else _BACK
    elif move.seeded is False:
        symbol = _UNSEEDED[grown]
    elif move.is_made or move.is_anew:
        symbol = _RESEEDED
    else:
        symbol = _SEEDED[grown] if move.seeded else _UNKNOWN
    return Mark(symbol, detail, size)


def _table(entries: Sequence[_Entry]) -> Table:
    rows = [
        (entry.cell.name, entry.generator, _drew(entry), _seeded(entry.move), _ops(entry))
        for entry in reversed(entries)
    ]
    more = f" ({_ROWS} of {len(rows)})" if len(rows) > _ROWS else ""
    columns = ("cell", "generator", "drew", "seeded", "random ops on its device")
    return Table(f"What each cell drew, newest cell first{more}", columns, rows[:_ROWS])


def _drew(entry: _Entry) -> str:
    if entry.move is None:
        return "in other processes" if entry.generator == _WORKERS else "restored, or gone"
    distance = entry.move.distance
    if distance is None or distance.count is None:
        return "unknown"
    if distance.count == 0:
        return "nothing" if distance.is_anew else "buffered numbers only"
    if distance.unit == "offset":
        return f"offset +{distance.count:,}"
    return f"{distance.count:,} {'word' if distance.count == 1 else distance.unit}"


def _seeded(move: Move | None) -> str:
    if move is None or move.seeded is None:
        return "unknown"
    if not move.seeded:
        return "no"
    number = "" if move.known.seed is None else f" ({move.known.number})"
    return f"{'in this cell' if move.is_made or move.is_anew else 'yes'}{number}"


def _ops(entry: _Entry) -> str:
    listed = [f"{draw.op.partition('.')[0]} {_where(entry.cell, draw)}" for draw in entry.draws]
    listed = list(dict.fromkeys(listed))
    return ", ".join(listed[:_OPS]) + (f" and {len(listed) - _OPS} more" if len(listed) > _OPS else "")


def _where(cell: CellDraws, draw: Draw) -> str:
    if draw.place is None:
        return "not in your code"
    label = cell.label(draw.place.file)
    return f"{'' if label == cell.name else label} line {draw.place.line}".strip()
