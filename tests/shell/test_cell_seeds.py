"""A seed for each cell: the same numbers whatever ran before."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from repro_magic.notebook.cell_seeds import CellSeeds, Key
from repro_magic.notebook.session import _sessions
from repro_magic.rng.derive import cell_seed, rank_seed, task_seed

SOURCES = ["a = 1", "a = 2", "a = 2", "%%deterministic --name x\nb = 1", "# repro: name y\nb = 2", "a = 2"]


def seeds(seed: int = 42) -> CellSeeds:
    name_in: Callable[[str], str | None] = lambda line: line.rpartition(" ")[2]  # noqa: E731
    return CellSeeds(seed, name_in, lambda _seed: None)


def drawn(cells: CellSeeds, place: int) -> float:
    cells.begin(SOURCES[place], f"id{place}")
    return random.random()


@given(order=st.lists(st.sampled_from(range(len(SOURCES)))), seed=st.integers(0, 2**64 - 1))
@budget(deadline=None, max_examples=50)
def test_cells_draw_the_same_in_any_order_and_when_run_again(order: list[int], seed: int) -> None:
    """GIVEN a run from top to bottom WHEN cells run again, alone or out of order, THEN the numbers are the same."""
    cells = seeds(seed)
    first = [drawn(cells, place) for place in range(len(SOURCES))]
    assert len(set(first)) == len(SOURCES), "cells with the same source draw other numbers"
    assert [drawn(cells, place) for place in order] == [first[place] for place in order]


@given(order=st.permutations([0, 1, 3, 4]))
@budget(deadline=None, max_examples=30)
def test_cells_that_differ_need_no_first_run_in_order(order: list[int]) -> None:
    """In a fresh kernel, in any order, with the ids of another front end or none."""
    cells, here = seeds(), {place: drawn(seeds(), place) for place in order}
    for place in order:
        cells.begin(SOURCES[place] + "\n\n", None)
        assert random.random() == here[place]


def test_a_name_that_two_cells_have_is_told() -> None:
    cells = seeds()
    assert cells.begin("# repro: name fit\na = 1", "one") is None
    assert cells.begin("# repro: name fit\na = 2", "one") is None, "it was edited"
    assert cells.begin("# repro: name fit\na = 2", "new") is None, "the notebook was opened again"
    assert cells.begin("# repro: name fit\nb = 1", "other") == "fit"
    assert cells.begin("# repro: name fit\nb = 2", None) is None, "nobody can tell"
    assert cells.begin("b = 1", "other") is None


def test_without_ids_a_second_run_is_one_more_cell() -> None:
    cells = seeds()
    cells.begin("a = 2", None)
    cells.begin("a = 2", None)
    assert cells.key is not None
    assert (cells.key.kind, cells.key.occurrence) == ("source", 1)


def test_a_name_holds_whatever_the_cell_says() -> None:
    cells = seeds()
    cells.begin("%%deterministic --name x\nb = 1", "1")
    first = random.random()
    cells.begin("# repro: name x\nsomething = 'else'", "2")
    assert random.random() == first
    assert cells.key == Key("name", "x")


def test_seeds_of_cells_ranks_and_tasks_are_no_others() -> None:
    found = [cell_seed(42, b"", 0), cell_seed(42, b"", 1), rank_seed(42, 0), rank_seed(42, 1), task_seed(42, 0)]
    assert len({*found, 42}) == 6
    assert found == [cell_seed(42, b"", 0), cell_seed(42, b"", 1), rank_seed(42, 0), rank_seed(42, 1), task_seed(42, 0)]


def run(shell: InteractiveShell, source: str) -> object:
    return shell.run_cell(source, store_history=True).result


def test_out_of_order_and_edits_elsewhere(loaded: InteractiveShell) -> None:
    run(loaded, "import random, numpy as np, torch\n%repro_seed 42 --per-cell")
    draw = "[random.random(), np.random.rand(), *torch.rand(2).tolist()]"
    first = run(loaded, f"1\n{draw}")
    assert run(loaded, f"2\n{draw}") != first
    run(loaded, "random.random()")
    run(loaded, "%repro_seed 42 --per-cell")  # as after a restart
    assert run(loaded, f"1\n{draw}") == first


def test_adopted_generators_start_anew_in_each_cell(loaded: InteractiveShell) -> None:
    run(loaded, "import numpy as np\nrng = np.random.default_rng(1)\n%repro_seed 42 --per-cell --adopt")
    first = run(loaded, "# repro: name draw\nrng.random()")
    assert run(loaded, "rng.random()") != first
    assert run(loaded, "# repro: name draw\nrng.random()") == first


@pytest.mark.parametrize("end", ["%repro_seed 42", "%unload_ext repro_magic"])
def test_it_ends(loaded: InteractiveShell, end: str) -> None:
    run(loaded, "import random\n%repro_seed 42 --per-cell")
    run(loaded, end)
    first = run(loaded, "# repro: name draw\nrandom.random()")
    assert run(loaded, "# repro: name draw\nrandom.random()") != first


def test_a_cell_inside_a_cell_is_part_of_it(loaded: InteractiveShell) -> None:
    run(loaded, "import random\n%repro_seed 42 --per-cell")
    twice = "_ = get_ipython().run_cell('a = random.random()'), get_ipython().run_cell('b = random.random()')"
    run(loaded, twice)
    assert loaded.user_ns["a"] != loaded.user_ns["b"]


def test_the_receipt_tells_the_kind_of_key(loaded: InteractiveShell) -> None:
    loaded.run_cell("%repro_seed 42 --per-cell\n%config ReproMagic.receipts = 'all'", store_history=True)
    for source in ("x = 1", "%%deterministic --name n\nx = 1"):
        run(loaded, source)
    receipts = list(_sessions[loaded]._cell_receipts.values())[-2:]
    assert [one["key"] for one in receipts] == [
        {"kind": "source", "occurrence": 0},
        {"kind": "name", "occurrence": 0},
    ]
