"""A small document of lines and tables, and its two forms: plain text and self-contained HTML.

The HTML brings no script and names no colour but one for alarms: it takes the page's own, light or dark, and works
where styles of ours would be stripped (GitHub, nbviewer).
"""

from __future__ import annotations

import io
import random
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape

_TEXT_WIDTH, _LONGEST_NAME = 110, 60


class Tone(Enum):
    """How a line looks in HTML. Plain text has none: what matters is in the words, and in a symbol."""

    PLAIN = "font-size: 0.9em; opacity: 0.85"
    STRONG = "font-size: 0.9em; font-weight: 600"
    CODE = "font-size: 0.9em; font-family: monospace; white-space: pre-wrap"
    # JupyterLab's red where there is one; elsewhere one that reads on white and on black.
    ALARM = "font-weight: 600; color: var(--jp-error-color1, #e0383e)"
    CAUTION = "font-weight: 600; color: var(--jp-warn-color0, inherit)"
    GOOD = "font-weight: 600; color: var(--jp-success-color0, inherit)"


@dataclass(frozen=True)
class Line:
    """One line of text. `detail` is shown on hovering in HTML, and nowhere else: nothing needed may be in it."""

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
class Document:
    """Lines and tables in order."""

    parts: Sequence[Line | Table] = field(default=())

    def __add__(self, other: Document) -> Document:
        """One after the other."""
        return Document((*self.parts, *other.parts))

    def text(self) -> str:
        """Plain text, at most 110 columns wide."""
        return "\n".join(_line_text(part) if isinstance(part, Line) else _table_text(part) for part in self.parts)

    def html(self) -> str:
        """A self-contained HTML fragment."""
        return "".join(_line_html(part) if isinstance(part, Line) else _table_html(part) for part in self.parts)

    def bundle(self) -> dict[str, str]:
        """Both, as a MIME bundle."""
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
    return "\n".join(wrapped) if line.indent else line.text


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

    random.setstate(state)  # rich draws a number when it is imported (rich/style.py); the user's stream is not ours
    drawn = rich.table.Table(
        title=table.title or None, title_justify="left", title_style="", box=rich.box.SIMPLE, pad_edge=False
    )
    for number, column in enumerate(table.columns[:-1]):
        # Names can be copied; where one is so long that it would push the other columns out, all of them may be folded.
        is_short = all(len(row[number]) <= _LONGEST_NAME for row in table.rows)
        drawn.add_column(column, no_wrap=is_short, overflow="fold")
    drawn.add_column(table.columns[-1], overflow="fold")
    for row in table.rows:
        drawn.add_row(*(rich.text.Text(cell) for cell in row))  # Text: brackets in a cell are no markup
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
