"""Why a generator stood elsewhere than in the record: a cell that ran again, out of order, or is gone."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from conftest import run_and_store
from typer.testing import CliRunner

from repro_magic.cli import app
from repro_magic.proof.record.standing import Standing, why_elsewhere

KEY = "torch cpu"


def cell(number: int | None, recorded: str, fresh: str) -> Standing:
    """A cell that moved a generator: its states before and after, as letters."""
    return Standing(number, *({KEY: {"before": one[0], "after": one[1]}} for one in (recorded, fresh)))


UNKNOWN = "it was in another state before the cell, so what was drawn cannot be the same"
SEEDED = cell(1, "xa", "xa")


@pytest.mark.parametrize(
    ("cells", "reasons"),
    [
        # The peek ran twice: its own record and that of the cell below start further on.
        ([SEEDED, cell(3, "bc", "ab"), cell(4, "cd", "bc")], ["further on: In[3] ran twice"] * 2),
        ([SEEDED, cell(None, "bc", "ab")], ["further on: this cell ran twice"]),
        # The peek has no receipt of its own: only numbers are missing.
        (
            [SEEDED, Standing(3), cell(4, "cy", "bz")],
            ["elsewhere: In[2] has no cell any more, for one ran again, was changed or deleted"],
        ),
        (
            [cell(2, "ab", "zx"), cell(7, "yw", "xv")],
            ["elsewhere: In[1] has no cell any more, for one ran again, was changed or deleted"] * 2,
        ),
        (
            [SEEDED, cell(3, "bc", "ab"), cell(2, "ab", "bc")],
            ["further on: In[3] ran after In[2], which stands below it"] * 2,
        ),
        ([cell(None, "bc", "ab")], ["further on: this cell ran twice"]),
        ([cell(None, "cd", "ab")], [""]),
    ],
)
def test_the_reason_is_what_the_receipts_and_numbers_show(cells: list[Standing], reasons: list[str]) -> None:
    apart = [place for place, one in enumerate(cells) if one.is_apart(KEY)]
    told = [why_elsewhere(cells, place, KEY) for place in apart]
    for reason, expected in zip(told, reasons, strict=True):
        assert reason == (f"the generator stood {expected}" if expected else UNKNOWN)


PEEK = "batch, labels = next(iter(valid))\nprint(batch.shape, labels.tolist())"
LOAD = '%load_ext repro_magic\n%config ReproMagic.receipts = "all"'
SEED = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0);
"""
DATA = """
x = torch.randn(96, 5)
y = (x.sum(1) > 0).long()
train = DataLoader(TensorDataset(x[:64], y[:64]), batch_size=8, shuffle=True)
valid = DataLoader(TensorDataset(x[64:], y[64:]), batch_size=8)
model = nn.Linear(5, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
"""
TRAIN = """
for a, b in train:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(a), b)
    loss.backward()
    optimizer.step()
print(loss.item())
"""
CELLS = [LOAD, SEED, DATA, PEEK, PEEK, TRAIN]


@pytest.mark.kernel
def test_a_cell_that_ran_twice_is_named_with_the_true_reason(tmp_path: Path) -> None:
    """GIVEN a session in which the cell that looks at a batch ran twice THEN the record says so, and not 'no seed'."""
    path = tmp_path / "study.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS]), path)
    notebook = run_and_store(path)
    del notebook.cells[3]  # what a front end keeps of a cell that ran twice is the second run
    nbformat.write(notebook, path)
    done = CliRunner().invoke(app, ["verify", "--recorded", "--json", "-", str(path)])
    [verdict] = json.loads(done.stdout[done.stdout.index("[") :])
    first = next(one for one in verdict["cells"] if one["outcome"] not in {"same", "only noise"})
    reasons = [part["why"] for part in first["values"] if part["name"] == "generator torch cpu"]
    assert (first["number"], reasons) == (4, ["the generator stood further on: In[5] ran twice"])
    assert "not seeded" not in done.stdout
    assert done.exit_code == 1
