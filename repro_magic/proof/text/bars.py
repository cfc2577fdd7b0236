"""Replay progress bars as a terminal does: how often they are drawn depends on the time that the work takes.

The user's text before a bar and after its rate stays as drawn last, because it may be a loss. So does the count of a
bar that was closed. Text that was overwritten or erased is dropped, as a reader of the notebook does not see it either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import zip_longest

# Cursor movements: to the start of the line, to the next line, back, and up.
_UP = "\x1b[A"
_CURSOR = re.compile(r"(\r+|\n|\x08+|\x1b\[A)")

_CLOCK = r"(?:\d+ days?, )?(?:\d+:)?\d\d:\d\d"
_COLOUR = r"(?:\x1b\[[\d;]*m|</?span[^>\n]{,200}>){,4}+"
_PERCENT = r"(?<! ) *(?:(?<!\d)(?P<percent>\d+)%(?:\|[^|\n]{,500}\|)?|\|[^|\n]{,500}\|) (?P<done>[\w.]+)/"
_SECONDS = r"[\d:]+(?:m?s)?"
_PER_STEP = r"(?: \d+[mµu]?s/\w+)?"
# " 40%|####      | 2/5 [00:00<00:01, 2.97it/s, loss=0.5]", and "2it [00:00, 2.97it/s]" without a total.
_TQDM = (
    rf"(?:{_PERCENT}(?P<total>[\w.?]+) \[{_CLOCK}<(?:\?|{_CLOCK})"
    rf"|(?<![\w.])(?P<counted>\d[\w.]*(?: [A-Za-z]{{1,20}})?) \[{_CLOCK})"
    r"(?:, *(?:\?|[\d.]+)[^,/\]\n]{,40}/[^,\]\n]{,40})?"
    r"(?P<behind>(?:, (?:[^\[\]\n]|\[[^\[\]\n]*\])*+)?)(?P<is_closed>\])"
)
_UNNAMED = re.sub(r"\?P<\w+>", "?:", _PERCENT)
_CUT_OFF = rf"{_UNNAMED}[\w.?]+ \[{_CLOCK}[^\]\n]*\Z"  # if the line was too short
# "1/2 [=====>....] - ETA: 0s - loss: 0.5", and "1/2 ━━━━━ 0s 20ms/step - loss: 0.5" since version 3
_KERAS_2 = rf"(?<! ) *(?<![\w.])\d+/\d+ \[[=>.]{{2,500}}\] - (?:ETA: {_SECONDS}|{_SECONDS}{_PER_STEP})"
_KERAS = (
    rf"(?<! ) *{_COLOUR} *(?<![\d.])\d+/\d+{_COLOUR} "
    rf"{_COLOUR}━++{_COLOUR}(?:━++{_COLOUR})? {_COLOUR}{_SECONDS}{_COLOUR}{_PER_STEP}"
)
# A line of "━━━━━╸━━━━━", and "50% 0:00:01"
_RICH = rf"{_COLOUR}(?<![━╸╺])(?:[━╸╺]++{_COLOUR}){{1,3}} +{_COLOUR} *\d+%{_COLOUR} {_COLOUR}(?:-:--:--|\d+:\d\d:\d\d)"
BAR = f"{_TQDM}|{_CUT_OFF}|{_KERAS_2}|{_KERAS}|{_RICH}"
_BAR = re.compile(BAR)
_MAY_BE_A_BAR = re.compile(r"\d%(?:\|| \w+/)|\d \[=|[\w?] \[\d+(?: days?, \d+)?:\d|[━╸╺]")
# Custom formats of tqdm's bar: they count as bars only if they overwrite a line.
_OTHER_BAR = re.compile(r"(?<! ) *(?<!\d)\d+%\|[█▏▎▍▌▋▊▉#\d ]{1,500}\|(?: [\w.]+/[\w.?]+(?: \[[^\]\n]*\])?)?")
_ROUNDED = 0.51  # percentages are whole numbers
_IS_FIRST = re.compile(r"<\?|, *\?")


def settled(text: str, name: str) -> str:
    r"""The text that remains once all bars are drawn, with each bar replaced by a name.

    Example:
        >>> settled("\r 50%|#   | 1/2 [00:00<00:01, 1it/s]\r100%|##| 2/2 [00:02<00:00, 1it/s, loss=0.5]", "bar")
        '[bar, loss=0.5]'
        >>> settled("\r 50%|#   | 1/2 [00:00<00:01, 1it/s]\n", "bar")
        '[bar 1/2]\n'
    """
    if _MAY_BE_A_BAR.search(text) is None:
        return text
    screen = _Screen(name)
    for piece in _CURSOR.split(text):
        screen.take(piece)
    return screen.text


@dataclass
class _Bar:
    """A bar as drawn last; whether the user wrote after it, and whether it was then redrawn elsewhere."""

    before: str
    name: str
    count: str
    after: str
    is_followed: bool = False
    is_past: bool = False
    is_closed: bool = False

    @property
    def text(self) -> str:
        """The bar's name, with its count once it is closed: before that, what it showed last depends on the time."""
        count = f" {self.count}" if self.is_closed and self.count else ""
        return f"{self.before}[{self.name}{count}{self.after}"


@dataclass
class _Row:
    """A line of the screen: the user's text, bars, and the carriage returns since."""

    items: list[str | _Bar] = field(default_factory=list)
    returns: str = ""
    is_erased: bool = False

    @property
    def bar(self) -> _Bar | None:
        """The bar at the end of the line."""
        return self.items[-1] if self.items and isinstance(self.items[-1], _Bar) else None

    @property
    def text(self) -> str:
        """The line, without carriage returns that belong to a bar."""
        parts = [item if isinstance(item, str) else "" if item.is_past else item.text for item in self.items]
        return "".join(parts) + ("" if self.bar or self.is_erased else self.returns)

    def write(self, piece: str) -> None:
        """Write the user's text."""
        if self.bar:
            self.bar.is_followed = True
        elif not self.is_erased:
            self.items.append(self.returns)
        self.items.append(piece)
        self.returns, self.is_erased = "", False

    def draw(self, bar: _Bar) -> None:
        """Draw a bar over the bar at the end of the line."""
        if self.bar:
            self.items.pop()
        self.items.append(bar)
        self.returns, self.is_erased = "", False

    def erases(self, piece: str) -> bool:
        """Whether a piece consists of the spaces that erase a bar; if so, drop the bar."""
        if piece.strip(" ") or not self.returns or (self.items and not self.bar):
            return False
        self.items = self.items[:-1]
        self.returns, self.is_erased = "", True
        return True


class _Screen:
    """The lines that a terminal shows, as far as bars matter."""

    def __init__(self, name: str) -> None:
        """Start with an empty screen; `name` replaces bars."""
        self._name = name
        self._rows, self._at = [_Row()], 0
        self._last: dict[str, _Bar] = {}

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(row.text for row in self._rows)

    def take(self, piece: str) -> None:
        """Process a piece of text, or a movement of the cursor."""
        row = self._rows[self._at]
        if piece == "\n":
            self._down()
        elif piece == _UP:
            self._up(row)
        elif piece[:1] in ("\r", "\b"):
            row.returns += piece
        elif piece:
            self._take_text(row, piece)

    def _down(self) -> None:
        bar = self._rows[self._at].bar
        if bar is not None:
            bar.is_closed = True
        self._at += 1
        if self._at == len(self._rows):
            self._rows.append(_Row())

    def _up(self, row: _Row) -> None:
        """Move up if a bar below others does so to be redrawn; the user's own movements stay in the text."""
        if self._at and (row.bar or row.is_erased or not row.items):
            self._at -= 1
            bar = self._rows[self._at].bar
            if bar is not None:
                bar.is_closed = False
        else:
            row.write(_UP)

    def _take_text(self, row: _Row, piece: str) -> None:
        bars = [bar for bar in _BAR.finditer(piece) if _is_consistent(bar)]
        bars = bars or ([*_OTHER_BAR.finditer(piece)][:1] if row.returns else [])
        if not bars and not row.erases(piece):
            self._write(row, piece)
        start = 0
        for bar, following in zip_longest(bars, bars[1:]):
            end = len(piece) if following is None else following.start()
            self._draw(row, piece[start : bar.start()], bar, piece[bar.end() : end].rstrip(" "))
            start = end

    def _draw(self, row: _Row, before: str, drawn: re.Match[str], after: str) -> None:
        """Draw a bar with the text before and after it in the piece, except for text that the user printed."""
        groups = drawn.groupdict()
        if before and not (row.returns or row.bar):
            row.write(before)
            before = ""
        is_whole = groups.get("is_closed") is not None  # else its end is unknown
        counted = f"{groups.get('done')}/{groups.get('total')}" if groups.get("done") else groups.get("counted") or ""
        bar = _Bar(before, self._name, counted, f"{groups.get('behind') or ''}]{'' if is_whole else after}")
        row.draw(bar)
        last = self._last.get(groups.get("total") or "")
        if last is not None and last.is_followed and not _IS_FIRST.search(drawn[0]):
            last.is_past = True
        self._last[groups.get("total") or ""] = bar
        if after and is_whole:
            row.write(after.lstrip(" "))

    def _write(self, row: _Row, piece: str) -> None:
        """Write the user's text; it overwrites a bar below others."""
        if row.bar and self._at < len(self._rows) - 1:
            row.items.pop()
        row.write(piece)


def _is_consistent(drawn: re.Match[str]) -> bool:
    """Whether the percentage is that of the count, as in every bar that tqdm draws."""
    percent, done, total = (drawn.groupdict().get(name) or "" for name in ("percent", "done", "total"))
    if not (percent and done.isdecimal() and total.isdecimal() and int(total)):
        return True
    return abs(int(percent) - 100 * int(done) / int(total)) <= _ROUNDED
