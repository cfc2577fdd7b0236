"""Verdicts as one self-contained page: no script, no network, and the same bytes for the same verdicts.

Every text is escaped when it enters the page (`_tag`), so none of a notebook's can become markup; the page's own policy
forbids scripts and requests on top of that.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby, islice

from repro_magic.proof.environment import Difference
from repro_magic.proof.verdict import Against, CellVerdict, Distance, NotebookVerdict, Outcome, Part
from repro_magic.views.verdict import overall, remedies, summary
from repro_magic.views.visible import visible

# What one cell may take of the page: source lines that are seen at once, and in all; their length; rows; names in one.
_SEEN, _LINES, _LINE, _ROWS, _NAMES = 12, 500, 500, 100, 100
_NAME, _TEXT, _HINT, _PATH = 120, 600, 200, 300  # characters
# A page with more cells than this folds what is the same, in runs of this many or more, into one line.
_MANY, _RUN = 200, 5
_OPEN = 50  # where all cells differ, the first ones tell why
_DENSE = 250  # a map of more cells than this has smaller squares
_FEW_DIFFERENCES = 12  # of the environment: these are read at a glance


@dataclass(frozen=True)
class _Look:
    """How an outcome is shown: a mark that needs no colour, and what it means."""

    mark: str
    means: str


_LOOKS: Mapping[Outcome, _Look] = {
    Outcome.SAME: _Look("✓", "Every bit is equal."),
    Outcome.NOISE: _Look("~", "Only addresses, timings, temporary paths or generated names differ."),
    Outcome.CLOCK: _Look("◷", "Only clock readings differ."),
    Outcome.CLOSE: _Look("±", "Numbers differ within the given tolerance."),
    Outcome.NOT_COMPARABLE: _Look("≈", "Nothing differs, but not everything could be compared."),
    Outcome.DIFFERS: _Look("≠", "A value or an output differs."),
    Outcome.FAILED: _Look("✗", "The cell ended with an error."),
}
_BAD = (Outcome.DIFFERS, Outcome.FAILED)
# The symbol that a sentence begins with, and how the sentence looks.
_TONES = {"✓": "good", "≈": "partial", "⚠": "alarm"}
_COMPARED = {
    Against.RUNS: "compared with each other",
    Against.RECORDED: "compared with the recorded results",
    Against.SESSION: "compared with the running session",
}

_BLOCKS = frozenset({"section", "details", "summary", "div", "p", "ul", "ol", "li", "table", "tr", "header", "pre"})


class _Html(str):
    """Markup that is ready. Any other text is escaped where it becomes part of it."""

    __slots__ = ()


def page(verdicts: Sequence[NotebookVerdict]) -> str:
    """A whole HTML document.

    Args:
        verdicts: in the order in which they are to be told.

    Example:
        >>> "✓ The notebook reproduced" in page([NotebookVerdict("a.ipynb", runs=2, agreed=2, cells=[])])
        True
    """
    style = importlib.resources.files("repro_magic.views").joinpath("page.css").read_text(encoding="utf-8")
    is_long = sum(len(found.cells) for found in verdicts) > _MANY
    sections = [
        _notebook(f"n{number}", found, is_only=len(verdicts) == 1, is_long=is_long)
        for number, found in enumerate(verdicts, start=1)
    ]
    body = _tag("body", _header(verdicts), _tag("main", _overview(verdicts), *sections), _footer())
    return f'<!DOCTYPE html>\n<html lang="en">\n{_head(_overall(verdicts), style)}\n{body}\n</html>\n'


def _tag(name: str, *content: str, **attributes: str | bool) -> _Html:
    """An element. An attribute that is False or empty is left out; `class_` and `aria_label` read as in HTML."""
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escaped(str(value))}"')
        for key, value in attributes.items()
        if value
    )
    end = "\n" if name in _BLOCKS else ""
    return _Html(f"<{name}{told}>{_all(content)}</{name}>{end}")


def _all(parts: Iterable[str]) -> _Html:
    return _Html("".join(map(_escaped, parts)))


def _escaped(text: str) -> _Html:
    return text if isinstance(text, _Html) else _Html(escape(visible(text)))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _class(outcome: Outcome) -> str:
    return outcome.name.lower().replace("_", "-")


def _mark(outcome: Outcome) -> _Html:
    return _tag("span", _LOOKS[outcome].mark, class_=f"mark {_class(outcome)}", aria_hidden="true")


def _verdict(outcome: Outcome) -> _Html:
    return _tag("span", _mark(outcome), " ", outcome.value, class_="verdict")


def _head(title: str, style: str) -> _Html:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _Html(
        f'<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{_tag('title', title)}\n<style>{style}</style>\n</head>"
    )


def _overall(verdicts: Sequence[NotebookVerdict]) -> str:
    """One sentence on all notebooks."""
    if not verdicts:
        return "No notebook was verified"
    if len(verdicts) > 1:
        return overall(verdicts).text
    if not verdicts[0].reproduces:
        return "⚠ The notebook did not reproduce"
    return "✓ The notebook reproduced" if verdicts[0].all_compared else "≈ The same as far as can be compared"


def _header(verdicts: Sequence[NotebookVerdict]) -> _Html:
    told = _overall(verdicts)
    counts = Counter(cell.outcome for found in verdicts for cell in found.cells)
    return _tag("header", _tag("h1", *_sign(told), class_=_TONES.get(told[0], "")), _legend(counts))


def _sign(text: str) -> tuple[str, ...]:
    """A sentence's leading symbol apart from its words, so that it can stand out."""
    symbol, gap, words = text.partition(" ")
    return (_tag("span", symbol, class_="sign"), gap, words) if symbol in _TONES else (text,)


def _with_code(text: str) -> _Html:
    """A sentence whose `names` stand out."""
    if isinstance(text, _Html):
        return text
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one stands alone
        return _all((text,))
    return _all(_tag("code", one) if place % 2 else one for place, one in enumerate(pieces))


def _legend(counts: Mapping[Outcome, int]) -> _Html:
    entries = [
        _tag(
            "li",
            _mark(outcome),
            _tag("span", _tag("b", outcome.value), " · " + _counted(counts[outcome], "cell")),
            _tag("span", look.means, class_="means"),
            class_="" if counts[outcome] else "none",
        )
        for outcome, look in _LOOKS.items()
    ]
    return _tag("ul", *entries, class_="legend", aria_label="Meaning of the marks, and number of cells")


def _footer() -> _Html:
    return _tag(
        "footer",
        "Made by ",
        _tag("code", "repro-magic verify"),
        ". Runs that agree do not prove that all runs will: races between threads show rarely. Pass more ",
        _tag("code", "--runs"),
        " to be more certain.",
    )


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, class_: str = "") -> _Html:
    """A table. Its roles are told, for a narrow page shows each row as a block, which takes them away in Safari."""
    head = [_tag("th", column, scope="col", role="columnheader") for column in columns]
    body = [
        _tag(
            "tr",
            *(
                _tag("td", content, role="cell", data_label=column)
                for column, content in zip(columns, row, strict=True)
            ),
            role="row",
        )
        for row in rows
    ]
    return _tag(
        "table",
        _tag("caption", caption) if caption else "",
        _tag("thead", _tag("tr", *head, role="row"), role="rowgroup"),
        _tag("tbody", *body, role="rowgroup"),
        role="table",
        class_=class_,
    )


def _overview(verdicts: Sequence[NotebookVerdict]) -> _Html:
    """All notebooks at a glance, the worst first."""
    if len(verdicts) <= 1:
        return _all(())
    numbered = sorted(enumerate(verdicts, start=1), key=lambda one: -list(Outcome).index(one[1].outcome))
    rows = [
        (
            _tag("a", _tag("code", _short(found.path, _PATH)), href=f"#n{number}"),
            _verdict(found.outcome),
            f"{found.agreed} of {found.runs}",
            _link_to_first(f"n{number}", found),
        )
        for number, found in numbered
    ]
    columns = ("notebook", "verdict", "runs agreed", "first differing cell")
    return _tag("section", _tag("h2", "Overview"), _table("", columns, rows, class_="overview"), id="overview")


def _first_bad(found: NotebookVerdict) -> CellVerdict | None:
    return next((cell for cell in found.cells if cell.outcome in _BAD), None)


def _link_to_first(section: str, found: NotebookVerdict) -> _Html:
    first = _first_bad(found)
    return _tag("a", f"cell {first.number}", href=f"#{section}c{first.number}") if first is not None else _all(())


def _notebook(name: str, found: NotebookVerdict, *, is_only: bool, is_long: bool) -> _Html:
    # The path is the heading: the sentence need not say it again.
    told = summary(replace(found, path="The notebook", error=_short(found.error, _TEXT))).text
    notes = [*found.notes, *remedies(found)]
    return _tag(
        "section",
        _tag("h2", _tag("code", _short(found.path, _PATH)), id=f"{name}h"),
        _tag("p", *map(_with_code, _sign(told)), class_=f"summary {_TONES.get(told[0], '')}"),
        _tag("p", *_facts(name, found, is_only=is_only), class_="facts"),
        _tag("ul", *(_tag("li", _with_code(_short(note, _TEXT))) for note in notes), class_="notes") if notes else "",
        _environment(found.environment),
        _map(name, found),
        _tag("div", *_cells(name, found.cells, is_long=is_long), id=f"{name}cells", class_="cells", tabindex="-1")
        if found.cells
        else "",
        id=name,
        aria_labelledby=f"{name}h",
    )


def _facts(name: str, found: NotebookVerdict, *, is_only: bool) -> Iterator[str]:
    yield f"{_counted(len(found.cells), 'cell')} · {_counted(found.runs, 'fresh run')} {_COMPARED[found.against]}"
    if _first_bad(found) is not None:
        yield from (" · go to ", _link_to_first(name, found))
    if not is_only:
        yield from (" · ", _tag("a", "all notebooks", href="#overview"))


def _environment(found: Sequence[Difference]) -> _Html:
    if not found:
        return _all(())
    rows = [
        (
            _short(one.section, _NAME),
            _tag("code", _short(one.name, _NAME)),
            _tag("code", _short(one.first or "(none)", _HINT)),
            _tag("code", _short(one.second or "(none)", _HINT)),
        )
        for one in found
    ]
    return _all(
        (
            _tag("h3", "Environment"),
            _tag(
                "details",
                _tag("summary", f"{_counted(len(found), 'difference')} from the recorded environment"),
                _table(
                    "Most relevant first",
                    ("of", "what", "recorded", "here"),
                    rows,
                    class_="environment",
                ),
                open=len(found) <= _FEW_DIFFERENCES,
                class_="fold",
            ),
        )
    )


def _map(name: str, found: NotebookVerdict) -> _Html:
    """A square for each cell."""
    if not found.cells:
        return _all(())
    squares = [
        _tag(
            "li",
            _tag(
                "a",
                _LOOKS[cell.outcome].mark,
                href=f"#{name}c{cell.number}",
                class_=f"mark {_class(cell.outcome)}",
                title=f"Cell {cell.number}: {cell.outcome.value}\n{_short(cell.line, _NAME)}",
                aria_label=f"Cell {cell.number}: {cell.outcome.value}",
            ),
        )
        for cell in found.cells
    ]
    return _all(
        (
            _tag("h3", "Cells"),
            _tag("a", "Skip the map of cells", href=f"#{name}cells", class_="skip"),
            _tag("ol", *squares, class_="map dense" if len(squares) > _DENSE else "map", aria_label="Map of cells"),
        )
    )


def _cells(name: str, cells: Sequence[CellVerdict], *, is_long: bool) -> Iterator[_Html]:
    opened = {cell.number for cell in [cell for cell in cells if cell.outcome in _BAD][:_OPEN]}
    for is_same, group in groupby(cells, key=lambda cell: cell.outcome is Outcome.SAME):
        run = list(group)
        shown = [_cell(f"{name}c{cell.number}", cell, is_open=cell.number in opened) for cell in run]
        if is_long and is_same and len(run) >= _RUN:
            told = f"Cells {run[0].number} to {run[-1].number} are the same"
            yield _tag("details", _tag("summary", _mark(Outcome.SAME), " ", told), *shown, class_="run")
        else:
            yield from shown


def _cell(name: str, cell: CellVerdict, *, is_open: bool) -> _Html:
    names = (part.name or part.kind for part in cell.parts if part.outcome is not Outcome.SAME)
    told = ", ".join(_short(name, _NAME) for name in islice(names, _SEEN))
    return _tag(
        "details",
        _tag(
            "summary",
            _mark(cell.outcome),
            _tag("h4", f"Cell {cell.number}"),
            _tag("span", cell.outcome.value, class_="outcome"),
            _tag("code", _short(cell.line, _HINT), class_="line"),
            _tag("span", _short(told, _HINT), class_="told") if told else "",
        ),
        _tag(
            "div",
            _source(cell.source or cell.line),
            _parts("value", cell.values),
            _parts("output", cell.outputs),
            class_="body",
        ),
        id=name,
        open=is_open,
        class_=f"cell {_class(cell.outcome)}",
    )


def _source(text: str) -> _Html:
    lines = [_short(line, _LINE) for line in text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")]
    seen, rest, lost = lines[:_SEEN], lines[_SEEN:_LINES], len(lines[_LINES:])
    if len(lines) == _SEEN + 1:  # a fold takes a line, too
        seen, rest = lines, []
    if lost:
        rest.append(f"… {_counted(lost, 'more line')} in the notebook")
    folded = _tag("details", _tag("summary", _counted(len(rest), "more line")), _code(rest), class_="fold")
    return _all((_code(seen), folded if rest else ""))


def _code(lines: Sequence[str]) -> _Html:
    return _tag("pre", _tag("code", "\n".join(lines)))


def _share(found: Distance) -> str:
    percent = 100 * found.differing / found.size if found.size else 0
    # Neither a few of many nor all but a few are rounded to none or all.
    told = "< 0.1 %" if 0 < percent < 0.1 else f"{math.floor(10 * percent) / 10:g} %"  # noqa: PLR2004
    return f"{found.differing:,} of {found.size:,} ({told})"


# The columns that a distance fills.
_MEASURES: Mapping[str, Callable[[Distance], str]] = {
    "type": lambda found: f"{_short(found.dtype, _NAME)} {list(found.shape)}",
    "differing": _share,
    "first at": lambda found: str(list(found.first)),
    "max abs": lambda found: "against NaN" if found.max_abs is None else f"{found.max_abs:.3g}",
    "max ULP": lambda found: "" if found.max_ulp is None else f"{found.max_ulp:,}",
}


def _parts(noun: str, parts: Sequence[Part]) -> _Html:
    """What is not the same as a table, the worst first; what is the same in one line."""
    told = [part for part in parts if part.outcome is not Outcome.SAME]
    told.sort(key=lambda part: -list(Outcome).index(part.outcome))
    same = [part.name for part in parts if part.outcome is Outcome.SAME]
    measures = _MEASURES if any(part.distance is not None for part in told) else {}
    rows = [_row(part, measures.values()) for part in told[:_ROWS]]
    class_ = "parts measured" if measures else "parts"
    return _all(
        (
            _table(f"{noun.capitalize()}s", ("name", "verdict", "why", *measures), rows, class_=class_) if rows else "",
            _tag("p", f"… and {_counted(len(told) - _ROWS, f'more {noun}')}", class_="more")
            if len(told) > _ROWS
            else "",
            _same(noun, same) if same else "",
        )
    )


def _row(part: Part, measures: Iterable[Callable[[Distance], str]]) -> tuple[str, ...]:
    distance = part.distance
    at = _short(part.at or ("" if distance is None else distance.at), _NAME)
    kind = "" if part.kind in {"", part.why} else f"{_short(part.kind, _NAME)}: "
    return (
        _all((_tag("code", _short(part.name or "all values", _NAME)), _tag("code", at, class_="at") if at else "")),
        _verdict(part.outcome),
        kind + _short(part.why, _TEXT),
        *("" if distance is None else measure(distance) for measure in measures),
    )


def _same(noun: str, names: Sequence[str]) -> _Html:
    listed: list[str] = []
    for name in names[:_NAMES]:
        listed += [", " if listed else "", _tag("code", _short(name, _NAME))]
    if len(names) > _NAMES:
        listed.append(f" and {len(names) - _NAMES:,} more")
    are = "is" if len(names) == 1 else "are"
    return _tag(
        "p", _mark(Outcome.SAME), f" {_counted(len(names), noun)} {are} the same: ", *listed, class_="same-parts"
    )
