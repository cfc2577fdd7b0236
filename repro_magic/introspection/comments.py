"""Comments that speak to this package: `# repro: accept NAME`, `# repro: name NAME`, `# repro: private NAME`.

Only a comment counts, so the source is read as Python's own tokens: the same words in a text, or in a docstring, mean
nothing. What is no Python (a magic, a shell line) is passed over.
"""

from __future__ import annotations

import functools
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

_LISTED = re.compile(r"#\s*repro:\s*(?P<verb>accept|private)\s+(?P<names>[\w.]+(?:\s*,\s*[\w.]+)*)", re.IGNORECASE)
_NAMED = re.compile(r"#\s*repro:\s*(?P<verb>name)\s+(?P<names>\S+)\s*", re.IGNORECASE)
_ANY = re.compile(r"#\s*repro:", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]\w*")
# So many lines that are no Python are passed over.
_MOST_FAULTS = 200


@dataclass(frozen=True)
class Remark:
    """One such comment.

    Attributes:
        line: where it stands, from 1.
        verb: what it asks for: `"accept"`, `"name"` or `"private"`.
        names: what it is about.
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
    if not _ANY.search(source):
        return ()
    return tuple(found for line, text, is_alone in _comments(source) for found in _remarks_in(line, text, is_alone))


def _remarks_in(line: int, text: str, is_alone: bool) -> Iterator[Remark]:  # noqa: FBT001 - a fact, not a mode
    for found in _LISTED.finditer(text):
        yield Remark(line, found["verb"].lower(), tuple(name.strip() for name in found["names"].split(",")))
    named = _NAMED.fullmatch(text) if is_alone else None  # a cell's name stands in a line of its own
    if named is not None:
        yield Remark(line, "name", (named["names"],))


def _comments(source: str) -> Iterator[tuple[int, str, bool]]:
    """Each comment with its line, and whether it stands there alone; from behind each line that is no Python again."""
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
    """What comments `# repro: accept NAME[, NAME]` name, between two lines or in the whole source.

    Example:
        >>> sorted(accepted_in("log = open('log')  # repro: accept log, file"))
        ['file', 'log']
    """
    found = (one for one in remarks(source) if one.verb == "accept" and first <= one.line <= (last or one.line))
    return frozenset(name for one in found for name in one.names)


def private_names(source: str) -> frozenset[str]:
    """The names that comments `# repro: private NAME[, NAME]` keep out of receipts, sidecars and reports.

    Example:
        >>> sorted(private_names("pin = input()  # repro: private pin"))
        ['pin']
    """
    return frozenset(name for one in remarks(source) if one.verb == "private" for name in one.names)


def name_of(source: str) -> str | None:
    """The name that a comment `# repro: name NAME` in a line of its own gives a cell; None if none does.

    Example:
        >>> name_of("# repro: name fit"), name_of("x = 1  # repro: name fit")
        ('fit', None)
    """
    return next((one.names[0] for one in remarks(source) if one.verb == "name"), None)


def mentions(source: str, names: frozenset[str]) -> bool:
    """Whether a source has one of some names in it, in a text or a comment, too.

    Example:
        >>> mentions("print(f'{pin:4}')", frozenset({"pin"})), mentions("pins = 3", frozenset({"pin"}))
        (True, False)
    """
    return bool(names) and not names.isdisjoint(_WORD.findall(source))
