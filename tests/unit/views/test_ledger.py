"""The ledger as text and as HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from repro_magic.findings import Draw
from repro_magic.introspection.location import Place
from repro_magic.journal import CellDraws
from repro_magic.rng.origins import UNKNOWN, Origin, SeedState, Settled
from repro_magic.rng.state_change import Move
from repro_magic.rng.state_distance import StateDistance
from repro_magic.views.ledger import ledger


def move(generator: str, count: int | None = 3, **more: Any) -> Move:
    found = None if count is None else StateDistance(count, is_anew=more.pop("is_anew", False))
    more.setdefault("device", "cpu" if generator.startswith("torch") else "")
    known = {True: SeedState(Origin.SEEDED), False: SeedState(Origin.UNSEEDED), None: UNKNOWN}[more.pop("seeded", True)]
    told = Settled(known)
    return Move(generator, before=b"", after=b"", measure=lambda _before, _after: found, was=told, now=told, **more)


def draws_at(*lines: int, op: str = "rand.default") -> list[Draw]:
    return [Draw(op, "cpu", Place("<ipython-input-1>", line, line), 1, at_least=False) for line in lines]


def one_cell(name: str, *moves: Move, draws: list[Draw] | None = None) -> CellDraws:
    return CellDraws(name, None, moves, draws or [], lambda _file: name)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.add(tag)


def test_the_picture_and_the_table() -> None:
    text = ledger(
        [
            one_cell("In[9]", move("torch cpu", 1234), draws=draws_at(2, 3, 4, 5, 6)),
            one_cell("In[10]", move("private rng", seeded=False), move("numpy cpu", is_anew=True)),
            one_cell("In[11]", move("python cpu", seeded=None), draws=draws_at(1)),
        ]
    ).text()
    lines = [line.split() for line in text.splitlines()]
    assert lines[1:3] == [["1", "1"], ["9", "0", "1"]], "the columns' names stand upright"
    assert lines[3:7] == [["torch", "cpu", "●", "↺"], ["rng", "◦"], ["numpy", "cpu", "◆"], ["python", "cpu", "◐"]]
    for row in (
        "In[9] torch cpu 1,234 words yes rand line 2, rand line 3, rand line 4 and 2 more",
        "In[10] rng 3 words no",
        "In[10] numpy cpu 3 words in this cell",
        "In[11] python cpu 3 words unknown",
        "In[11] torch cpu restored, or gone unknown rand line 1",
    ):
        assert row.split() in lines, row


def test_it_is_at_most_110_columns_wide_whatever_there_is() -> None:
    cells = [one_cell(f"In[{number}]", move(f"private {'long' * 20}[{number % 3}]")) for number in range(1000, 1100)]
    text = ledger(cells).text()
    assert max(map(len, text.splitlines())) <= 110
    assert "the last 40" in text


@given(st.text(), st.text())
def test_no_name_becomes_markup(name: str, op: str) -> None:
    document = ledger([one_cell(name, move(f"private {name}"), move("torch cpu"), draws=draws_at(1, op=op))])
    reader = _Reader()
    reader.feed(document.html())
    assert reader.tags <= {"div", "span", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    document.text()


def test_what_can_not_be_told_is_said() -> None:
    text = ledger([one_cell("In[1]", move("python cpu", None), move("numpy cpu", 0), move("private x", 1))]).text()
    assert "unknown" in text
    assert "buffered numbers only" in text
    assert "1 word " in text
