"""A small document of lines, tables and grids, rendered as plain text and as self-contained HTML.

The HTML has no scripts, and no colours of its own except for alarms: it takes the page's colours, light or dark, and
works on sites that strip style sheets (GitHub, nbviewer).
"""

from __future__ import annotations

import io
import random
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from typing import Any

from repro_magic.views.visible import in_one_line, visible

_TEXT_WIDTH, _LONGEST_NAME = 110, 60
_LONGEST_LABEL = 26


class Tone(Enum):
    """The style of a line in HTML. Plain text has no styles, so the words and a symbol must carry the meaning."""

    PLAIN = "font-size: 0.9em; opacity: 0.85"
    STRONG = "font-size: 0.9em; font-weight: 600"
    CODE = "font-size: 0.9em; font-family: monospace; white-space: pre-wrap"
    # JupyterLab's red, or a red that is readable on white and on black.
    ALARM = "font-weight: 600; color: var(--jp-error-color1, #e0383e)"
    CAUTION = "font-weight: 600; color: var(--jp-warn-color0, inherit)"
    GOOD = "font-weight: 600; color: var(--jp-success-color0, inherit)"


@dataclass(frozen=True)
class Line:
    """A line of text. Only HTML shows `detail`, as a tooltip, so it must not hold anything that readers need."""

    text: str
    detail: str = ""
    tone: Tone = Tone.PLAIN
    indent: int = 0


@dataclass(frozen=True)
class Table:
    """Rows of text under a title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Mark:
    """A mark in a grid: the symbol carries the meaning, `size` (in em) emphasises it, `detail` spells it out."""

    symbol: str
    detail: str = ""
    size: float = 1.0


@dataclass(frozen=True)
class Grid:
    """A grid of marks: a row for each name, under columns with short names. Wide grids scroll.

    Attributes:
        title: the line above the grid.
        columns: names of the columns; plain text has room for 40.
        rows: name -> a mark or None for each column.
        legend: symbol -> meaning.
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Mark | None]]
    legend: Mapping[str, str]


Part = Line | Table | Grid


@dataclass(frozen=True)
class Document:
    """Lines, tables and grids in order."""

    parts: Sequence[Part] = field(default=())

    def __add__(self, other: Document) -> Document:
        """This document followed by `other`."""
        return Document((*self.parts, *other.parts))

    def text(self) -> str:
        """Plain text, at most 110 columns wide."""
        return "\n".join(_RENDERERS[type(part)][0](part) for part in self.parts)

    def html(self) -> str:
        """A self-contained HTML fragment."""
        return "".join(_RENDERERS[type(part)][1](part) for part in self.parts)

    def bundle(self) -> dict[str, str]:
        """Plain text and HTML as a MIME bundle."""
        return {"text/plain": self.text(), "text/html": self.html()}


def _line_text(line: Line) -> str:
    margin = "  " * line.indent
    wrapped = textwrap.wrap(
        line.text,
        _TEXT_WIDTH,
        initial_indent=margin,
        subsequent_indent=f"{margin}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(map(visible, wrapped)) if line.indent else in_one_line(line.text)


def _line_html(line: Line) -> str:
    detail = f' title="{escape(line.detail)}"' if line.detail else ""
    margin = f"; margin-left: {1.2 * line.indent:.1f}em" if line.indent else ""
    return f'<div style="{line.tone.value}{margin}"{detail}>{escape(line.text)}</div>'


def _table_text(table: Table) -> str:
    state = random.getstate()
    import rich.box  # noqa: PLC0415 - 80 ms that only a table needs
    import rich.console  # noqa: PLC0415
    import rich.table  # noqa: PLC0415
    import rich.text  # noqa: PLC0415

    random.setstate(state)  # importing rich draws from the user's generator (rich/style.py)
    drawn = rich.table.Table(
        title=rich.text.Text(in_one_line(table.title)) if table.title else None,
        title_justify="left",
        title_style="",
        box=rich.box.SIMPLE,
        pad_edge=False,
    )
    for number, column in enumerate(table.columns[:-1]):
        # Names stay on a line so that they can be copied, unless a name is long enough to push out other columns.
        is_short = all(len(row[number]) <= _LONGEST_NAME for row in table.rows)
        drawn.add_column(column, no_wrap=is_short, overflow="fold")
    drawn.add_column(table.columns[-1], overflow="fold")
    for row in table.rows:
        drawn.add_row(*(rich.text.Text(visible(cell)) for cell in row))  # Text: rich must not read brackets as markup
    console = rich.console.Console(file=io.StringIO(), width=_TEXT_WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines() if line.strip())


def _table_html(table: Table) -> str:
    head = "".join(f'<th scope="col" style="text-align: left">{escape(column)}</th>' for column in table.columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in table.rows
    )
    title = f'<caption style="text-align: left; caption-side: top">{escape(table.title)}</caption>'
    return f"<table>{title if table.title else ''}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _grid_text(grid: Grid) -> str:
    """Write the names of columns vertically, so that 40 columns fit."""
    labels = [_short(name) for name in grid.rows]
    margin = max(map(len, labels), default=0) + 1
    height = max(map(len, grid.columns), default=0)
    upright = [column.rjust(height) for column in grid.columns]
    head = [" " * margin + "".join(f" {column[line]}" for column in upright) for line in range(height)]
    body = [
        label.ljust(margin) + "".join(f" {mark.symbol if mark else ' '}" for mark in marks)
        for label, marks in zip(labels, grid.rows.values(), strict=True)
    ]
    return "\n".join(line.rstrip() for line in (grid.title, *head, *body, *_legend(grid)) if line)


def _legend(grid: Grid) -> list[str]:
    return [f"{symbol} {meaning}" for symbol, meaning in grid.legend.items()]


def _short(name: str) -> str:
    name = in_one_line(" ".join(name.split()))
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"


def _grid_html(grid: Grid) -> str:
    style = "text-align: center; padding: 1px 4px"
    head = "".join(f'<th scope="col" style="{style}; font-weight: normal">{escape(name)}</th>' for name in grid.columns)
    body = "".join(
        f'<tr><th scope="row" style="text-align: left; font-weight: normal; white-space: nowrap">{escape(name)}</th>'
        + "".join(f'<td style="{style}">{_mark_html(mark) if mark else ""}</td>' for mark in marks)
        + "</tr>"
        for name, marks in grid.rows.items()
    )
    caption = f'<caption style="text-align: left; caption-side: top">{escape(grid.title)}</caption>'
    legend = "".join(_line_html(Line(entry)) for entry in _legend(grid))
    return (
        f'<div style="overflow-x: auto"><table>{caption if grid.title else ""}<thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{legend}"
    )


def _mark_html(mark: Mark) -> str:
    detail = escape(mark.detail)
    return (
        f'<span role="img" aria-label="{detail}" title="{detail}" style="font-size: {mark.size:.2f}em; line-height: 1">'
        f"{escape(mark.symbol)}</span>"
    )


_RENDERERS: Mapping[type, tuple[Callable[[Any], str], Callable[[Any], str]]] = {
    Line: (_line_text, _line_html),
    Table: (_table_text, _table_html),
    Grid: (_grid_text, _grid_html),
}
