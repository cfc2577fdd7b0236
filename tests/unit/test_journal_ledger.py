"""What the journal makes of the generators that moved: which cell, how far, from a seed or not."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

import repro_magic
from repro_magic.findings import Draw
from repro_magic.journal import BETWEEN, CellDraws, Journal
from repro_magic.rng import entropy
from repro_magic.rng.state_change import Move


def cell(journal: Journal, name: str, body: Callable[[], object], *draws: Draw) -> None:
    journal.begin()
    body()
    journal.end(name, draws=draws)


def told(journal: Journal) -> list[tuple[str, str, int | None, bool | None]]:
    return [
        (one.name, move.generator, None if move.distance is None else move.distance.count, move.seeded)
        for one in journal.ledger()
        for move in one.moves
    ]


def test_each_run_of_a_cell_has_its_rows_and_a_cell_that_draws_nothing_has_none() -> None:
    random.seed(1)
    journal = Journal()
    cell(journal, "In[1]", random.random)
    cell(journal, "In[2]", lambda: None)
    cell(journal, "In[3]", random.random)
    assert told(journal) == [("In[1]", "python cpu", 2, True), ("In[3]", "python cpu", 2, True)]


def test_a_seed_that_other_code_gave_is_known_even_after_draws() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: None)
    cell(journal, "In[2]", lambda: (np.random.seed(0), np.random.rand(3)))
    cell(journal, "In[3]", lambda: np.random.rand(1))
    assert told(journal) == [
        ("In[2]", "numpy cpu", 6, True),
        ("In[3]", "numpy cpu", 2, True),
    ]
    assert [move.is_anew for one in journal.ledger() for move in one.moves] == [True, False]


def test_after_seed_everything_all_are_seeded() -> None:
    journal = Journal()
    repro_magic.seed_everything(5)
    cell(journal, "In[1]", lambda: (random.random(), np.random.rand(), torch.rand(3)))
    assert told(journal) == [
        ("In[1]", "python cpu", 2, True),
        ("In[1]", "numpy cpu", 2, True),
        ("In[1]", "torch cpu", 3, True),
    ]


def test_drawing_for_long_and_seeding_cannot_always_be_told_apart() -> None:
    random.seed()
    journal = Journal()
    cell(journal, "In[1]", lambda: random.randbytes(50_000_000))
    cell(journal, "In[2]", random.random)
    assert told(journal)[1] == ("In[2]", "python cpu", 2, None)


def test_what_moves_between_cells_is_told_as_such_but_not_a_mere_seeding() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: None)
    random.random()
    cell(journal, "In[2]", lambda: None)
    torch.manual_seed(1)
    cell(journal, "In[3]", lambda: torch.rand(2))
    assert [(name, generator) for name, generator, *_ in told(journal)] == [
        (BETWEEN, "python cpu"),
        ("In[3]", "torch cpu"),
    ]


def test_so_many_cells_are_kept() -> None:
    journal = Journal()
    for number in range(210):
        cell(journal, f"In[{number}]", random.random)
    assert [one.name for one in journal.ledger()] == [f"In[{number}]" for number in range(10, 210)]


@pytest.mark.parametrize(
    ("unseed", "generator"),
    [
        (lambda: (random.seed(), random.random()), "python cpu"),
        (lambda: (np.random.seed(), np.random.rand(1)), "numpy cpu"),
        (lambda: (torch.seed(), torch.rand(1)), "torch cpu"),
    ],
)
def test_who_takes_a_seed_from_the_system_is_unseeded_whatever_was_before(
    unseed: Callable[[], object], generator: str
) -> None:
    entropy.hooks_up()
    journal = Journal()
    repro_magic.seed_everything(42)
    cell(journal, "In[1]", unseed)
    cell(journal, "In[2]", lambda: (random.random(), np.random.rand(1), torch.rand(1)))
    repro_magic.seed_everything(42)
    cell(journal, "In[3]", lambda: (random.random(), np.random.rand(1), torch.rand(1)))
    found = {(name, key): seeded for name, key, _, seeded in told(journal) if key == generator}
    assert found == {("In[1]", generator): False, ("In[2]", generator): False, ("In[3]", generator): True}
    entropy.hooks_down()


def test_a_cell_may_end_while_another_thread_reads_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """As happens to the panel, which follows a running cell from a thread of its own."""
    book = Journal()
    for number in (1, 2):
        book.begin()
        random.random()
        book.end(f"In[{number}]")

    def ends_meanwhile(cell: CellDraws, _move: Move) -> bool:
        monkeypatch.undo()
        book._ledger._record(cell)
        return True

    monkeypatch.setattr("repro_magic.journal._has_row", ends_meanwhile)
    assert [cell.name for cell in book.ledger()] == ["In[1]", "In[2]"]
