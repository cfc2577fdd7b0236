"""Parse the comments `# repro: accept NAME`, `# repro: name NAME` and `# repro: private NAME`.

The source is tokenized, because only comments count, not the same words in a string. Lines that are not Python (magics,
shell lines) are skipped.
"""

from __future__ import annotations

import functools
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

_ACCEPT_OR_PRIVATE = re.compile(
    r"#\s*repro:\s*(?P<verb>accept|private)\s+(?P<names>[\w.]+(?:\s*,\s*[\w.]+)*)", re.IGNORECASE
)
_CELL_NAME = re.compile(r"#\s*repro:\s*(?P<verb>name)\s+(?P<names>\S+)\s*", re.IGNORECASE)
_ANY_REMARK = re.compile(r"#\s*repro:", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]\w*")
# How many lines that are not Python are skipped.
_MOST_FAULTS = 200


@dataclass(frozen=True)
class Remark:
    """A `# repro:` comment.

    Attributes:
        line: its line, from 1.
        verb: `"accept"`, `"name"` or `"private"`.
        names: the names that follow.
    """

    line: int
    verb: str
    names: tuple[str, ...]


@functools.lru_cache(maxsize=256)
def remarks(source: str) -> tuple[Remark, ...]:
    """The comments of a source, in order.

    Example:
        >>> remarks("x = '# repro: accept y'  # repro: accept x")
        (Remark(line=1, verb='accept', names=('x',)),)
    """
    if not _ANY_REMARK.search(source):
        return ()
    return tuple(remark for line, text, is_alone in _comments(source) for remark in _remarks_in(line, text, is_alone))


def _remarks_in(line: int, text: str, is_alone: bool) -> Iterator[Remark]:  # noqa: FBT001 - a fact, not a mode
    for match in _ACCEPT_OR_PRIVATE.finditer(text):
        yield Remark(line, match["verb"].lower(), tuple(name.strip() for name in match["names"].split(",")))
    cell_name = _CELL_NAME.fullmatch(text) if is_alone else None  # a cell's name needs a line of its own
    if cell_name is not None:
        yield Remark(line, "name", (cell_name["names"],))


def _comments(source: str) -> Iterator[tuple[int, str, bool]]:
    """Each comment with its line, and whether it is alone there; restarts after each line that is not Python."""
    lines, start = source.splitlines(keepends=True), 0
    for _ in range(_MOST_FAULTS):
        last = start
        try:
            for token in tokenize.generate_tokens(io.StringIO("".join(lines[start:])).readline):
                if token.type == tokenize.COMMENT:
                    last = start + token.start[0]
                    yield last, token.string, not token.line[: token.start[1]].strip()
        except (tokenize.TokenError, SyntaxError) as error:
            start = max(last, start + _line_of(error))
        else:
            return
        if start >= len(lines):
            return


def _line_of(error: Exception) -> int:
    """The line, from 1, that a tokenizer's error names."""
    place = error.args[1] if len(error.args) > 1 else None
    return int(place[0] if place and isinstance(place[0], int) else getattr(error, "lineno", None) or 1)


def accepted_in(source: str, first: int = 1, last: int | None = None) -> frozenset[str]:
    """The names in comments `# repro: accept NAME[, NAME]`, between two lines or in the whole source.

    Example:
        >>> sorted(accepted_in("log = open('log')  # repro: accept log, file"))
        ['file', 'log']
    """
    accepting = (
        remark
        for remark in remarks(source)
        if remark.verb == "accept" and first <= remark.line <= (last or remark.line)
    )
    return frozenset(name for remark in accepting for name in remark.names)


def private_names(source: str) -> frozenset[str]:
    """The names that comments `# repro: private NAME[, NAME]` keep out of receipts, sidecars and reports.

    Example:
        >>> sorted(private_names("pin = input()  # repro: private pin"))
        ['pin']
    """
    return frozenset(name for remark in remarks(source) if remark.verb == "private" for name in remark.names)


def name_of(source: str) -> str | None:
    """A cell's name from a comment `# repro: name NAME` on a line of its own; None without such a comment.

    Example:
        >>> name_of("# repro: name fit"), name_of("x = 1  # repro: name fit")
        ('fit', None)
    """
    return next((remark.names[0] for remark in remarks(source) if remark.verb == "name"), None)


def mentions(source: str, names: frozenset[str]) -> bool:
    """Whether a source contains one of the names, also in a string or a comment.

    Example:
        >>> mentions("print(f'{pin:4}')", frozenset({"pin"})), mentions("pins = 3", frozenset({"pin"}))
        (True, False)
    """
    return bool(names) and not names.isdisjoint(_WORD.findall(source))
