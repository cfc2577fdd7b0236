"""Verdicts as a page: complete, self-contained, and markup of ours only."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_magic.proof.environment import Difference
from repro_magic.proof.verdict import Against, CellVerdict, Distance, NotebookVerdict, Outcome, Part
from repro_magic.views.page import page
from repro_magic.views.verdict import summary

VOID = {"meta"}
TAGS = re.compile(
    "html|head|meta|title|style|body|header|main|footer|section|h[1-4]|p|div|span|b|a|code|pre|ul|ol|li|details|summary"
    "|table|caption|thead|tbody|tr|th|td"
)
# What every attribute may be. Only in these two does a notebook's text stand.
ATTRIBUTES = {
    "title": r"(?s).*",
    "aria-label": r"(?s).*",
    "lang": "en",
    "charset": "utf-8",
    "http-equiv": "Content-Security-Policy",
    "name": "viewport|color-scheme",
    "content": r"[\w ,=.'+/;:-]+",
    "id": r"overview|n\d+(h|cells|c\d+)?",
    "href": r"#(overview|n\d+(cells|c\d+)?)",
    "aria-labelledby": r"n\d+h",
    "aria-hidden": "true",
    "class": r"[a-z -]+",
    "scope": "col",
    "role": r"[a-z]+",
    "data-label": r"[a-zA-Z ]+",
    "tabindex": "-1",
}
LONG = 1_000_000


class _Page(HTMLParser):
    """A page read: its elements in order, its texts, and whether each element was closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.stack: list[str] = []
        self.others: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.stack[-1] if self.stack else "", data))

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)

    def of(self, *tags: str) -> list[str]:
        """The texts that stand directly in elements of these kinds, in order."""
        return [text for tag, text in self.texts if tag in tags]

    @property
    def text(self) -> str:
        """All that is read, in order."""
        return "".join(text for tag, text in self.texts if tag not in {"style", "title"})

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]

    def details(self, class_: str) -> list[bool]:
        """Whether each fold of this class is open."""
        return [
            "open" in attributes
            for tag, attributes in self.elements
            if tag == "details" and class_ in (attributes.get("class") or "").split()
        ]


def read(*verdicts: NotebookVerdict) -> _Page:
    return _Page(page(verdicts))


def cell(number: int, outcome: Outcome = Outcome.SAME, why: str = "", distance: Distance | None = None) -> CellVerdict:
    source = f"value_{number} = {number}"
    return CellVerdict(number, source, [Part(f"value_{number}", outcome, why, distance)], [], source)


def notebook(*cells: CellVerdict, path: str = "a.ipynb", agreed: int = 2) -> NotebookVerdict:
    return NotebookVerdict(path, 2, agreed, list(cells))


EVERY = notebook(*(cell(number, outcome) for number, outcome in enumerate(Outcome, start=1)))
REMEDY = "To leave a name out, write `# repro: accept NAME`."
OPAQUE = Part("sock", Outcome.NOT_COMPARABLE, "a handle", kind="socket.socket", at=".file", remedy=REMEDY)
PARTIAL = notebook(cell(1), CellVerdict(2, "sock", [OPAQUE], [], "sock"))
WEIGHT = Distance(".0.weight", "float32", (64, 784), 3, 50176, (0, 17), 1.1920929e-07, 2)

# Text as it may stand in a notebook: any character at all, and what browsers take for markup.
texts = st.one_of(
    st.text(st.characters(codec=None, categories=None), max_size=40),
    st.sampled_from(
        [
            "</style><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onmouseover='alert(1)",
            "<!-- ",
            "]]>",
            "&lt;b&gt;&#0;&amp",
            "</textarea></title>",
            "a\x00b\ud800c\u202ed",
            "javascript:alert(1)",
            "https://example.org/x.js",
            "\r\n\r\t\x0c\x0b",
        ]
    ),
)
numbers = st.integers(0, 2**64)
distances = st.builds(
    Distance,
    at=texts,
    dtype=texts,
    shape=st.lists(numbers, max_size=3).map(tuple),
    differing=numbers,
    size=numbers,
    first=st.lists(numbers, max_size=3).map(tuple),
    max_abs=st.none() | st.floats(),
    max_ulp=st.none() | numbers,
)
parts = st.builds(
    Part,
    texts,
    st.sampled_from(Outcome),
    texts,
    st.none() | distances,
    at=texts,
    kind=texts,
    is_declared=st.booleans(),
    remedy=texts,
)
several = st.lists(parts, max_size=3)
verdicts = st.builds(
    NotebookVerdict,
    path=texts,
    runs=st.integers(1, 9),
    agreed=st.integers(0, 9),
    cells=st.lists(st.builds(CellVerdict, st.just(0), texts, several, several, texts), max_size=3).map(
        lambda cells: [replace(one, number=number) for number, one in enumerate(cells, start=1)]
    ),
    error=st.just("") | texts,
    against=st.sampled_from(Against),
    environment=st.lists(st.builds(Difference, texts, texts, texts, texts), max_size=2),
    notes=st.lists(texts, max_size=2),
    is_strict=st.booleans(),
    from_the_top=st.just("") | texts,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(verdicts, max_size=3))
def test_no_text_of_a_notebook_becomes_markup(found: list[NotebookVerdict]) -> None:
    text = page(found)
    text.encode()  # no lone surrogate is left
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    read_back = _Page(text)
    assert read_back.stack == []
    assert read_back.others == []
    for tag, attributes in read_back.elements:
        assert TAGS.fullmatch(tag)
        for name, value in attributes.items():
            if name == "open":
                assert (tag, value) == ("details", None)
            else:
                assert re.fullmatch(ATTRIBUTES[name], value or ""), (name, value)
    ids = read_back.all("id")
    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in read_back.all("href")} <= set(ids)
    assert text == page(found)


def test_texts_are_told_as_they_are() -> None:
    part = Part("<i>loss</i>", Outcome.DIFFERS, "'<b>' in one run, \"&amp;\" in the other")
    source = "if a < b & c:\n\tprint('</pre>')\r\nüñ = '雪'"
    found = read(
        replace(EVERY, path="a <b>.ipynb", cells=[CellVerdict(1, "if a", [part], [], source)], notes=["<u>note</u>"])
    )
    told = found.text
    assert source.replace("\r\n", "\n") in told
    for text in ("a <b>.ipynb", part.name, part.why, "<u>note</u>"):
        assert text in told


def test_what_cannot_be_seen_is_written_as_python_writes_it() -> None:
    told = read(notebook(cell(1), path="a\x1b[31m\ud800\u202e.ipynb")).of("code")
    assert r"a\x1b[31m\ud800\u202e.ipynb" in told


def test_the_page_needs_nothing_else_and_forbids_it() -> None:
    text = page([EVERY])
    found = _Page(text)
    assert {"src", "style", "onclick", "onload"} & {
        name for _, attributes in found.elements for name in attributes
    } == (set())
    style = "".join(found.of("style"))
    assert not re.search(r"url\(|@import|https?:|//", style)
    assert not re.search(r"https?:", text)
    policy = next(attributes["content"] for _, attributes in found.elements if "http-equiv" in attributes) or ""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "unsafe" not in policy
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_every_outcome_is_named_and_explained_and_has_a_mark_and_a_colour_of_its_own() -> None:
    found = read(EVERY)
    named = Counter(found.all("aria-label"))
    marks = set()
    for number, outcome in enumerate(Outcome, start=1):
        assert named[f"Cell {number}: {outcome.value}"] == 1
        assert f"{outcome.value} · 1 cell" in found.text
        class_ = outcome.name.lower().replace("_", "-")
        assert f".mark.{class_} {{" in "".join(found.of("style"))
        mark = re.search(rf'<span class="mark {class_}" aria-hidden="true">(.)</span>', page([EVERY]))
        assert mark is not None
        marks.add(mark[1])
    assert len(marks) == len(Outcome)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([], "No notebook was verified"),
        ([notebook(cell(1))], "✓ The notebook reproduced"),
        ([EVERY], "⚠ The notebook did not reproduce"),
        ([PARTIAL], "≈ The same as far as can be compared"),
        ([notebook(cell(1)), PARTIAL], "≈ 1 of 2 notebooks reproduced, 1 the same as far as can be compared"),
        ([replace(PARTIAL, is_strict=True)], "⚠ The notebook did not reproduce"),
        ([notebook(cell(1))] * 3, "✓ 3 of 3 notebooks reproduced"),
        ([notebook(cell(1, Outcome.DIFFERS))] * 2, "⚠ 0 of 2 notebooks reproduced, 2 differ"),
        ([notebook(cell(1)), EVERY, notebook()], "⚠ 2 of 3 notebooks reproduced, 1 failed"),
        (
            [replace(notebook(), error="DeadKernelError"), notebook(cell(1, Outcome.DIFFERS)), EVERY],
            "⚠ 0 of 3 notebooks reproduced, 1 differs, 2 failed",
        ),
    ],
)
def test_the_heading_says_what_all_notebooks_come_to(found: list[NotebookVerdict], sentence: str) -> None:
    text = page(found)
    assert _Page(text).of("title") == [sentence]
    heading = re.search("<h1.*?</h1>", text)
    assert heading is not None
    assert _Page(heading[0]).text == sentence


def test_what_was_not_compared_stands_in_the_sentence_and_in_its_cell() -> None:
    text = page([PARTIAL])
    assert "✓ The" not in text
    found = _Page(text)
    assert found.of("code").count("sock.file") == 1
    assert "not compared: cell 2 sock.file (socket.socket)" in found.text
    assert "socket.socket: a handle" in found.text
    assert "To leave a name out, write # repro: accept NAME." in found.text
    assert _Page(page([replace(PARTIAL, notes=["a ` alone"])])).text.count("a ` alone") == 1


def test_headings_are_in_order() -> None:
    levels = [int(tag[1]) for tag, _ in read(EVERY, notebook(cell(1)), EVERY).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_one_notebook_says_its_sentence_its_notes_and_what_it_was_compared_with() -> None:
    difference = Difference("torch", "version", "2.9.1", "")
    verdict = replace(EVERY, notes=["A note."], environment=[difference], against=Against.RECORDED, agreed=1)
    found = read(verdict)
    told = found.text
    assert summary(replace(verdict, path="The notebook")).text in told
    assert "compared with the recorded results" in told
    assert "A note." in told
    assert "1 difference from the recorded environment" in told
    for text in ("torch", "version", "2.9.1", "(none)"):
        assert text in told
    assert "overview" not in found.all("id")


def test_what_differs_is_open_and_what_is_the_same_is_folded() -> None:
    bad = (Outcome.DIFFERS, Outcome.FAILED)
    assert read(EVERY).details("cell") == [outcome in bad for outcome in Outcome]


def test_a_distance_is_told_in_full() -> None:
    found = read(notebook(cell(1, Outcome.DIFFERS, "other bits", WEIGHT), agreed=1))
    told = found.text
    for text in ("value_1", ".0.weight", "other bits", "float32 [64, 784]", "3 of 50,176 (< 0.1 %)", "[0, 17]"):
        assert text in told
    assert "1.19e-07" in found.of("td")
    assert "2" in found.of("td")
    nan = replace(WEIGHT, differing=50175, max_abs=None, max_ulp=None)
    told = read(notebook(cell(1, Outcome.DIFFERS, "", nan))).text
    assert "against NaN" in told
    assert "50,175 of 50,176 (99.9 %)" in told  # not all


def test_the_worst_parts_come_first_and_the_same_ones_last() -> None:
    values = [Part(outcome.name, outcome) for outcome in Outcome]
    codes = read(notebook(CellVerdict(1, "x", values, [], "x"))).of("code")
    told = [text for text in codes if text in Outcome.__members__]
    assert told == [outcome.name for outcome in reversed(Outcome)]


def test_many_notebooks_have_an_overview_the_worst_first() -> None:
    good = [notebook(cell(1), path=f"good_{number}.ipynb") for number in range(98)]
    lost = replace(notebook(path="lost.ipynb"), error="DeadKernelError: it died")
    text = page([*good, notebook(cell(1), cell(7, Outcome.DIFFERS), path="bad.ipynb", agreed=1), lost])
    overview = _Page(re.findall(r'<section id="overview".*?</section>', text, re.DOTALL)[0])
    assert overview.all("href")[:4] == ["#n100", "#n99", "#n99c7", "#n1"]
    assert overview.of("code")[:3] == ["lost.ipynb", "bad.ipynb", "good_0.ipynb"]
    assert "1 of 2" in overview.of("td")


def test_long_sources_and_many_cells_are_folded() -> None:
    source = "\n".join(f"line_{number}" for number in range(40))
    found = read(notebook(CellVerdict(1, "line_0", [], [], source)))
    assert found.details("fold") == [False]
    assert "28 more lines" in "".join(found.of("summary"))
    assert all(f"line_{number}" in "".join(found.of("code")) for number in range(40))

    cells = [cell(number, Outcome.DIFFERS if number == 1500 else Outcome.SAME) for number in range(1, 2001)]
    found = read(notebook(*cells))
    assert found.details("run") == [False, False]
    assert "Cells 1 to 1499 are the same" in "".join(found.of("summary"))
    assert found.details("cell").count(True) == 1
    assert len([link for link in found.all("href") if link.startswith("#n1c") and link != "#n1cells"]) == 2001


def test_texts_without_end_are_shortened_and_that_is_told() -> None:
    endless = "x" * LONG
    part = Part(endless, Outcome.DIFFERS, endless, replace(WEIGHT, at=endless, dtype=endless))
    shown = [part] * 3000
    one = CellVerdict(1, endless, shown, shown, "\n".join([endless, *["y"] * 3000]))
    found = NotebookVerdict(endless, 2, 1, [one], endless, notes=[endless], environment=[Difference(*[endless] * 4)])
    text = page([found])
    assert len(text) < LONG
    assert f"{LONG - 500:,} more characters" in text
    assert "2,501 more lines in the notebook" in text
    assert "2,900 more values" in text
    assert "2,900 more outputs" in text


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_all_text_has_the_contrast_that_wcag_asks_for() -> None:
    style = importlib.resources.files("repro_magic.views").joinpath("page.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    names = [outcome.name.lower().replace("_", "-") for outcome in Outcome]
    pairs = [(f"{name}-ink", f"{name}-paper") for name in names]
    inks = ("ink", "soft", "link", "good", "alarm", "not-comparable-ink")
    pairs += [(ink, paper) for ink in inks for paper in ("page", "panel")]
    assert len(schemes) == 2
    for colours in schemes:
        for ink, paper in pairs:
            dark, light = sorted((_luminance(colours[ink]), _luminance(colours[paper])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
