"""Verdicts as one self-contained page: no script, no network, and the same bytes for the same verdicts.

`_tag` escapes every text that enters the page, so a notebook's text cannot become markup. In addition, the page's
content security policy forbids scripts and requests.
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

# Limits for a cell: source lines before the fold, and in all; characters of a line; rows of a table; names in a line.
_SEEN, _LINES, _LINE, _ROWS, _NAMES = 12, 500, 500, 100, 100
_NAME, _TEXT, _HINT, _PATH = 120, 600, 200, 300  # characters
# A page with more cells than this folds each run of at least so many equal cells into one line.
_MANY, _RUN = 200, 5
_OPEN = 50  # number of differing cells that start unfolded
_DENSE = 250  # a map of more cells has smaller squares
_FEW_DIFFERENCES = 12  # up to so many differences of the environment start unfolded


@dataclass(frozen=True)
class _Look:
    """The look of an outcome: a mark that needs no colour, and its meaning."""

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
# The CSS class of a sentence by the symbol that it begins with.
_TONES = {"✓": "good", "≈": "partial", "⚠": "alarm"}
_COMPARED = {
    Against.RUNS: "compared with each other",
    Against.RECORDED: "compared with the recorded results",
    Against.SESSION: "compared with the running session",
}

_BLOCKS = frozenset({"section", "details", "summary", "div", "p", "ul", "ol", "li", "table", "tr", "header", "pre"})


class _Html(str):
    """Finished markup. `_tag` escapes all other strings."""

    __slots__ = ()


def page(verdicts: Sequence[NotebookVerdict]) -> str:
    """A whole HTML document.

    Args:
        verdicts: in the order of the page.

    Example:
        >>> "✓ The notebook reproduced" in page([NotebookVerdict("a.ipynb", runs=2, agreed=2, cells=[])])
        True
    """
    style = importlib.resources.files("repro_magic.views").joinpath("page.css").read_text(encoding="utf-8")
    is_long = sum(len(verdict.cells) for verdict in verdicts) > _MANY
    sections = [
        _notebook(f"n{number}", verdict, is_only=len(verdicts) == 1, is_long=is_long)
        for number, verdict in enumerate(verdicts, start=1)
    ]
    body = _tag("body", _header(verdicts), _tag("main", _overview(verdicts), *sections), _footer())
    return f'<!DOCTYPE html>\n<html lang="en">\n{_head(_overall(verdicts), style)}\n{body}\n</html>\n'


def _tag(name: str, *content: str, **attributes: str | bool) -> _Html:
    """An element. Attributes that are False or empty are left out; `class_` and `aria_label` are spelled as in HTML."""
    assignments = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escaped(str(value))}"')
        for key, value in attributes.items()
        if value
    )
    end = "\n" if name in _BLOCKS else ""
    return _Html(f"<{name}{assignments}>{_all(content)}</{name}>{end}")


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
    """The heading: a sentence on all notebooks."""
    if not verdicts:
        return "No notebook was verified"
    if len(verdicts) > 1:
        return overall(verdicts).text
    if not verdicts[0].reproduces:
        return "⚠ The notebook did not reproduce"
    return "✓ The notebook reproduced" if verdicts[0].all_compared else "≈ The same as far as can be compared"


def _header(verdicts: Sequence[NotebookVerdict]) -> _Html:
    sentence = _overall(verdicts)
    counts = Counter(cell.outcome for verdict in verdicts for cell in verdict.cells)
    return _tag("header", _tag("h1", *_sign(sentence), class_=_TONES.get(sentence[0], "")), _legend(counts))


def _sign(text: str) -> tuple[str, ...]:
    """Split off the leading symbol of a sentence, so that it can stand out."""
    symbol, gap, words = text.partition(" ")
    return (_tag("span", symbol, class_="sign"), gap, words) if symbol in _TONES else (text,)


def _with_code(text: str) -> _Html:
    """A sentence with its `names` in code style."""
    if isinstance(text, _Html):
        return text
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without a partner
        return _all((text,))
    return _all(_tag("code", piece) if position % 2 else piece for position, piece in enumerate(pieces))


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
    """A table. Roles are explicit because Safari drops them on narrow pages, where each row is shown as a block."""
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
    """All notebooks in a table, the worst first."""
    if len(verdicts) <= 1:
        return _all(())
    numbered = sorted(enumerate(verdicts, start=1), key=lambda pair: -list(Outcome).index(pair[1].outcome))
    rows = [
        (
            _tag("a", _tag("code", _short(verdict.path, _PATH)), href=f"#n{number}"),
            _verdict(verdict.outcome),
            f"{verdict.agreed} of {verdict.runs}",
            _link_to_first(f"n{number}", verdict),
        )
        for number, verdict in numbered
    ]
    columns = ("notebook", "verdict", "runs agreed", "first differing cell")
    return _tag("section", _tag("h2", "Overview"), _table("", columns, rows, class_="overview"), id="overview")


def _first_bad(verdict: NotebookVerdict) -> CellVerdict | None:
    return next((cell for cell in verdict.cells if cell.outcome in _BAD), None)


def _link_to_first(section: str, verdict: NotebookVerdict) -> _Html:
    first = _first_bad(verdict)
    return _tag("a", f"cell {first.number}", href=f"#{section}c{first.number}") if first is not None else _all(())


def _notebook(name: str, verdict: NotebookVerdict, *, is_only: bool, is_long: bool) -> _Html:
    # The path is the heading, so the sentence does not repeat it.
    sentence = summary(replace(verdict, path="The notebook", error=_short(verdict.error, _TEXT))).text
    notes = [*verdict.notes, *remedies(verdict)]
    return _tag(
        "section",
        _tag("h2", _tag("code", _short(verdict.path, _PATH)), id=f"{name}h"),
        _tag("p", *map(_with_code, _sign(sentence)), class_=f"summary {_TONES.get(sentence[0], '')}"),
        _tag("p", *_facts(name, verdict, is_only=is_only), class_="facts"),
        _tag("ul", *(_tag("li", _with_code(_short(note, _TEXT))) for note in notes), class_="notes") if notes else "",
        _environment(verdict.environment),
        _map(name, verdict),
        _tag("div", *_cells(name, verdict.cells, is_long=is_long), id=f"{name}cells", class_="cells", tabindex="-1")
        if verdict.cells
        else "",
        id=name,
        aria_labelledby=f"{name}h",
    )


def _facts(name: str, verdict: NotebookVerdict, *, is_only: bool) -> Iterator[str]:
    yield f"{_counted(len(verdict.cells), 'cell')} · {_counted(verdict.runs, 'fresh run')} {_COMPARED[verdict.against]}"
    if _first_bad(verdict) is not None:
        yield from (" · go to ", _link_to_first(name, verdict))
    if not is_only:
        yield from (" · ", _tag("a", "all notebooks", href="#overview"))


def _environment(differences: Sequence[Difference]) -> _Html:
    if not differences:
        return _all(())
    rows = [
        (
            _short(difference.section, _NAME),
            _tag("code", _short(difference.name, _NAME)),
            _tag("code", _short(difference.first or "(none)", _HINT)),
            _tag("code", _short(difference.second or "(none)", _HINT)),
        )
        for difference in differences
    ]
    return _all(
        (
            _tag("h3", "Environment"),
            _tag(
                "details",
                _tag("summary", f"{_counted(len(differences), 'difference')} from the recorded environment"),
                _table(
                    "Most relevant first",
                    ("of", "what", "recorded", "here"),
                    rows,
                    class_="environment",
                ),
                open=len(differences) <= _FEW_DIFFERENCES,
                class_="fold",
            ),
        )
    )


def _map(name: str, verdict: NotebookVerdict) -> _Html:
    """A map of the cells, one square each."""
    if not verdict.cells:
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
        for cell in verdict.cells
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
            sentence = f"Cells {run[0].number} to {run[-1].number} are the same"
            yield _tag("details", _tag("summary", _mark(Outcome.SAME), " ", sentence), *shown, class_="run")
        else:
            yield from shown


def _cell(name: str, cell: CellVerdict, *, is_open: bool) -> _Html:
    names = (part.name or part.kind for part in cell.parts if part.outcome is not Outcome.SAME)
    listed = ", ".join(_short(name, _NAME) for name in islice(names, _SEEN))
    return _tag(
        "details",
        _tag(
            "summary",
            _mark(cell.outcome),
            _tag("h4", f"Cell {cell.number}"),
            _tag("span", cell.outcome.value, class_="outcome"),
            _tag("code", _short(cell.line, _HINT), class_="line"),
            _tag("span", _short(listed, _HINT), class_="told") if listed else "",
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
    if len(lines) == _SEEN + 1:  # a fold for a single line saves no space
        seen, rest = lines, []
    if lost:
        rest.append(f"… {_counted(lost, 'more line')} in the notebook")
    folded = _tag("details", _tag("summary", _counted(len(rest), "more line")), _code(rest), class_="fold")
    return _all((_code(seen), folded if rest else ""))


def _code(lines: Sequence[str]) -> _Html:
    return _tag("pre", _tag("code", "\n".join(lines)))


def _share(distance: Distance) -> str:
    percent = 100 * distance.differing / distance.size if distance.size else 0
    # Rounded down, and never down to 0 %, so that only none and all are shown as 0 % and 100 %.
    rounded = "< 0.1 %" if 0 < percent < 0.1 else f"{math.floor(10 * percent) / 10:g} %"  # noqa: PLR2004
    return f"{distance.differing:,} of {distance.size:,} ({rounded})"


# The columns of a distance: name -> cell text.
_MEASURES: Mapping[str, Callable[[Distance], str]] = {
    "type": lambda distance: f"{_short(distance.dtype, _NAME)} {list(distance.shape)}",
    "differing": _share,
    "first at": lambda distance: str(list(distance.first)),
    "max abs": lambda distance: "against NaN" if distance.max_abs is None else f"{distance.max_abs:.3g}",
    "max ULP": lambda distance: "" if distance.max_ulp is None else f"{distance.max_ulp:,}",
}


def _parts(noun: str, parts: Sequence[Part]) -> _Html:
    """A table of the parts that are not the same, the worst first, and a line for the parts that are."""
    different = [part for part in parts if part.outcome is not Outcome.SAME]
    different.sort(key=lambda part: -list(Outcome).index(part.outcome))
    same = [part.name for part in parts if part.outcome is Outcome.SAME]
    measures = _MEASURES if any(part.distance is not None for part in different) else {}
    rows = [_row(part, measures.values()) for part in different[:_ROWS]]
    class_ = "parts measured" if measures else "parts"
    return _all(
        (
            _table(f"{noun.capitalize()}s", ("name", "verdict", "why", *measures), rows, class_=class_) if rows else "",
            _tag("p", f"… and {_counted(len(different) - _ROWS, f'more {noun}')}", class_="more")
            if len(different) > _ROWS
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
