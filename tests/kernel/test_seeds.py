"""Draws from a generator that nobody seeded, told once and quietly; seeds that other code gave, in a real kernel."""

from __future__ import annotations

import pytest
from conftest import run_in_kernel

from repro_magic.proof.compare.outputs import REMARK, shown

pytestmark = pytest.mark.kernel

QUIET = "global generator, which has no seed: numbers change between runs. Type %repro_seed 42"


def quiet_lines(*cells: str) -> list[str]:
    """What the cells say of unseeded draws."""
    ran = run_in_kernel("%load_ext repro_magic", *cells)
    told = [output for number in range(len(cells) + 1) for output in ran.outputs(number, "display_data")]
    assert shown(one for one in told if REMARK in one.data) == {}, "it is no result, and never compared"
    return [" ".join(output.data["text/plain"].split()) for output in told]


def test_the_first_draw_without_a_seed_is_told_once() -> None:
    first, *others = quiet_lines(
        "import numpy as np\nx = 1", "y = np.random.rand(3)", "np.random.rand(3)", "import random; z = random.random()"
    )
    assert first == f"○ In[3] draws from NumPy's {QUIET} in a cell above."
    assert others == []


@pytest.mark.parametrize(
    "cells",
    [
        ["import torch\nfrom torch.utils.data import DataLoader\nfor batch in DataLoader([1, 2]): pass"],
        ["import random, numpy.random", "x = random.random() + numpy.random.rand()"],
        ["import numpy as np\nX = np.random.randn(600, 600)"],
    ],
)
def test_each_kind_of_draw_is_told(cells: list[str]) -> None:
    [told] = quiet_lines(*cells, "1 + 1")
    assert "no seed: numbers change between runs" in told


def test_nothing_is_said_where_a_seed_was_given() -> None:
    assert (
        quiet_lines(
            "import random, numpy as np, torch",
            "torch.manual_seed(0); np.random.seed(0); random.seed('a')\n"
            "_ = torch.rand(2), np.random.rand(3), random.random()",
            "_ = torch.rand(2), np.random.randn(600, 600), random.random()",
            "state = np.random.RandomState(5).get_state()",
            "with torch.random.fork_rng():\n    torch.rand(1)",
        )
        == []
    )


def test_nothing_is_said_where_a_state_is_put_back_or_the_cell_seeds_or_nobody_watches() -> None:
    assert (
        quiet_lines(
            "import numpy as np\nnp.random.set_state(np.random.RandomState(5).get_state()); _ = np.random.rand()"
        )
        == []
    )
    assert quiet_lines("%config ReproMagic.watch = False", "import random; _ = random.random()") == []
    told = quiet_lines("import random", "%%deterministic --seed 1 --restore-rng\nx = random.random()", "y = 2")
    assert not any("no seed" in one for one in told)


def test_the_seed_that_a_library_gave_is_the_same_everywhere() -> None:
    """GIVEN Lightning's and Transformers' seeding THEN the table, the status and the ledger name the seed."""
    ran = run_in_kernel(
        "%load_ext repro_magic\nimport lightning, torch, transformers\nlightning.seed_everything(7, verbose=False);",
        "x = torch.randn(3)\n%repro_seed",
        "transformers.set_seed(3)\ny = torch.randn(3)",
        "%repro_seed",
        "%%deterministic --name z\nz = torch.randn(2)",
        "%repro_status",
        "%repro_ledger",
        "%%deterministic --seed 5\nz = torch.randn(2)",
        "%repro_status",
    )
    rows = [" ".join(line.split()) for line in ran.shown(1).splitlines()]
    assert any(row.startswith("torch cpu 7 seeded by the notebook, drawn from since") for row in rows)
    rows = [" ".join(line.split()) for line in ran.shown(3).splitlines()]
    assert any(row.startswith("numpy cpu 3 seeded by the notebook, not drawn from since") for row in rows)
    receipt = next(one.data for one in ran.outputs(4, "display_data"))["application/vnd.repro-magic.receipt.v1+json"]
    assert receipt["generators"]["torch cpu"]["before"] is not None, "it had a seed"
    assert ran.shown(5).startswith("✓ Seeded 3 by the notebook, nothing flagged")
    ledger = [" ".join(line.split()) for line in ran.shown(6).splitlines()]
    assert any(row.startswith("In[5] torch cpu 4 words yes (3)") for row in ledger)
    assert any(row.startswith("In[3] numpy cpu nothing in this cell (3)") for row in ledger)
    assert ran.shown(8).startswith("✓ Seeded 5, nothing flagged")
