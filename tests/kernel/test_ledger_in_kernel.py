"""The randomness ledger as a user sees it, in a real kernel."""

from __future__ import annotations

import re

import pytest
from conftest import run_in_kernel

pytestmark = pytest.mark.kernel

SETUP = """%load_ext repro_magic
import random, torch
import numpy as np
from torch.utils.data import DataLoader
class Sampler:
    def __init__(self): self.rng = np.random.default_rng(1)
sampler, legacy, own = Sampler(), np.random.RandomState(2), random.Random(3)
mine = torch.Generator().manual_seed(4)
drop = torch.nn.Dropout(0.5)"""


def rows(shown: str) -> list[str]:
    """The table's rows, the oldest cell first, with single spaces."""
    table = shown.partition("What each cell drew")[2].partition("\nLoaders\n")[0]
    return [" ".join(line.split()) for line in reversed(table.splitlines()[3:])]


def test_what_each_cell_drew() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic\n%repro_ledger",
        SETUP,
        "%repro_seed 42",
        "random.random()\nnp.random.rand(3)\nnoise = torch.rand(4)",
        "sampler.rng.random(2)\nlegacy.rand(2)\nown.random()\ntorch.rand(3, generator=mine)",
        "x = drop(\n    torch.ones(600))",
        "loader = DataLoader(range(9), shuffle=True, generator=mine)\nfor batch in loader: pass",
        "'nothing is drawn here'",
        "fresh = np.random.default_rng(5)\nfresh.random()",
        "%repro_ledger",
        "%repro_ledger 3",
        "%unload_ext repro_magic\n%repro_ledger",
    )
    assert ran.shown(0) == "No cell has drawn random numbers yet."
    assert rows(ran.shown(9)) == [
        "In[3] python cpu nothing in this cell (42)",
        "In[3] numpy cpu nothing in this cell (42)",
        "In[3] torch cpu nothing in this cell (42)",
        "In[4] python cpu 2 words yes (42)",
        "In[4] numpy cpu 6 words yes (42)",
        "In[4] torch cpu 4 words yes (42) rand line 3",
        "In[5] sampler.rng 4 words yes (1)",
        "In[5] legacy 4 words yes (2)",
        "In[5] own 2 words yes (3)",
        "In[5] mine 3 words yes (4) rand line 4",
        "In[6] torch cpu 1,200 words yes (42) dropout line 1",
        *(row for row in rows(ran.shown(9)) if row.startswith("In[7]")),
        "In[9] fresh 2 words in this cell (5)",
    ]
    (mine,) = (row for row in rows(ran.shown(9)) if row.startswith("In[7] mine"))
    assert "randperm line 2" in mine
    (html,) = [output.data["text/html"] for output in ran.outputs(9, "display_data")]
    assert "<script" not in html
    assert "In[4]: 6 words; seeded: yes" in html
    assert "usage: %repro_ledger" in ran.shown(10) + ran.stream(10, "stderr")
    assert "not found" in ran.stream(11, "stderr") + str(ran.error(11))


def test_a_cell_that_runs_again_has_both_its_rows_and_the_unseeded_are_told() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic\nimport numpy as np\ntorch_free = np.random.default_rng()  # repro: accept default_rng",
        "_ = get_ipython().user_ns.setdefault('kept', []).append(torch_free.random())\nnp.random.rand(1)",
        "_ = get_ipython().user_ns.setdefault('kept', []).append(torch_free.random())\nnp.random.rand(1)",
        "np.random.seed(7)\nnp.random.rand(2)",
        "np.random.rand(2)",
        "%repro_ledger",
    )
    assert rows(ran.shown(5)) == [
        "In[2] numpy cpu 2 words no",
        "In[2] torch_free 2 words no",
        "In[3] numpy cpu 2 words no",
        "In[3] torch_free 2 words no",
        "In[4] numpy cpu 4 words in this cell (7)",
        "In[5] numpy cpu 4 words yes (7)",
    ]
    assert "◦ ○ drew from an unseeded generator" in ran.shown(5)


def test_a_deterministic_cell_and_seeds_of_cells() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic\nimport torch",
        "%%deterministic --seed 1\ntorch.rand(2)",
        "%%deterministic --seed 1 --restore-rng\ntorch.rand(2)",
        "%repro_seed 1 --per-cell",
        "torch.rand(3)",
        "%repro_ledger",
    )
    found = rows(ran.shown(5))
    assert "In[2] torch cpu 2 words in this cell (1) rand line 2" in found
    assert "In[3] torch cpu restored, or gone unknown rand line 2" in found
    (drawn,) = (row for row in found if row.startswith("In[5]"))
    assert re.fullmatch(r"In\[5\] torch cpu 3 words yes \(\d+\) rand line 1", drawn), "from the cell's own seed"
    assert not any("between" in row for row in found)
