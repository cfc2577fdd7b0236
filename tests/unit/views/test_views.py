"""Documents as text and as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from repro_magic.determinism.advice import Fixed
from repro_magic.determinism.applied import Change
from repro_magic.determinism.switches import CUDNN_BENCHMARK, THREADS, Reading
from repro_magic.rng.origins import UNKNOWN, By, Origin, SeedState
from repro_magic.rng.seeding import GeneratorState
from repro_magic.scope import Report
from repro_magic.views import describe
from repro_magic.views.document import Document, Line, Table


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.data += data


@given(st.text(), st.text())
def test_no_text_becomes_markup(first: str, second: str) -> None:
    document = Document((Line(first, second), Table(first, (first, second), [(second, first)])))
    parser = _Text()
    parser.feed(document.html())
    assert parser.tags <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    document.text()


def test_brackets_are_no_markup_in_text_either() -> None:
    assert "[red]x[/red]" in Document((Table("", ("a", "b"), [("[red]x[/red]", "y")]),)).text()


def test_names_are_not_broken_and_long_text_is_folded_not_cut() -> None:
    text = Document((Table("", ("name", "says"), [("n" * 50, "word " * 60)]),)).text()
    assert "n" * 50 in text
    assert text.count("word") == 60
    assert max(map(len, text.splitlines())) <= 110


def test_the_line_under_a_cell() -> None:
    change, threads = Change(CUDNN_BENCHMARK, before=True, during=False), Change(THREADS, before=2, during=1)
    report = Report(seed=1, strict=True, name="<x>", threads=1, changes=[change, threads], rng_restored=True)
    document = describe.report(report)
    assert document.text() == (
        "deterministic <x>: seed 1 · 2 switches set and restored · strict · 1 thread · generators restored"
    )
    assert "torch.backends.cudnn.benchmark: False (otherwise True)" in document.html()
    assert "&lt;x&gt;" in document.html()


def test_what_went_otherwise_is_told() -> None:
    report = Report(
        overridden=[Reading(CUDNN_BENCHMARK, value=True)],
        advice=[Fixed("CUBLAS_WORKSPACE_CONFIG", "not set", "CUDA has started", "restart")],
        rng_restored=True,
        rng_not_restored=["torch cuda:0"],
    )
    assert describe.report(report).text().splitlines() == [
        "deterministic: not reseeded · torch is not imported, so none of its switches was set · generators restored",
        "The cell set torch.backends.cudnn.benchmark to True; it was restored, too.",
        "Not restored, because their state could not be read before the cell: torch cuda:0.",
        "CUBLAS_WORKSPACE_CONFIG is not set: CUDA has started; restart.",
    ]


def test_seeds_in_words() -> None:
    states = [
        GeneratorState("a", "cpu", SeedState(Origin.SEEDED, 3, By.US, drawn=False)),
        GeneratorState("b", "", UNKNOWN),
        GeneratorState("c", "cpu", SeedState(Origin.UNSEEDED, drawn=False)),
    ]
    rows = [line.split(maxsplit=3) for line in describe.generators(states).text().splitlines()[2:]]
    assert rows == [
        ["a", "cpu", "3", "not drawn from since seeding"],
        ["b", "all", "unknown", "unknown"],
        ["c", "cpu", "unseeded", "not drawn from yet"],
    ]
