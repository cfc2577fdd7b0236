"""Receipts: what a cell's last block holds, and that it is a pure function of code, inputs and results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Ran, run_and_store, run_in_kernel
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_magic.proof.kernel.receipt import MIME, Facts, ReceiptStoppedError, fingerprint, receipt
from repro_magic.proof.record.validation import checked

QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
LOAD = """%load_ext repro_magic
import torch, numpy as np
model, data = torch.nn.Linear(2, 2), np.ones(3)
def train(held):
    with torch.no_grad():
        held.weight.add_(1)
    return data.sum()"""


def receipts(ran: Ran, number: int) -> list[dict[str, Any]]:
    return [output.data[MIME] for output in ran.outputs(number, "display_data") if MIME in output.data]


def receipt_of(ran: Ran, number: int) -> dict[str, Any]:
    [found] = receipts(ran, number)
    checked(found, "receipt.v1", "it", 1 << 20)
    return found


@pytest.mark.kernel
def test_a_deterministic_cells_receipt() -> None:
    ran = run_in_kernel(
        LOAD,
        "%%deterministic --seed 3 --name fit\nloss = train(model)\nx = torch.rand(2)\nx",
        "y = 1",
        "%%deterministic --quiet\ny",
        "%%deterministic\n1 / 0",
        "%%time\ny",
    )
    found = receipt_of(ran, 1)
    assert set(found["values"]) == {"data", "loss", "model", "x"}, "read, written, and reached through a function"
    assert found["values"]["x"] == found["shown"]
    assert (found["values"]["x"]["dtype"], found["values"]["x"]["shape"]) == ("torch.float32", [2])
    assert (found["seed"], found["name"], found["strict"], found["error"]) == ("3", "fit", False, None)
    assert found["switches"]["torch.use_deterministic_algorithms"] == "warn"
    assert list(found["generators"]) == ["torch cpu"]
    assert f"receipt {fingerprint(found)}: 4 values" in ran.shown(1)
    assert receipt_of(ran, 4)["error"] == "ZeroDivisionError"
    assert [receipts(ran, number) for number in (0, 2, 3, 5)] == [[], [], [], []], "no other cell has one"


@pytest.mark.kernel
def test_all_cells_have_one_if_that_is_wanted_or_none() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic\nimport torch",
        "%config ReproMagic.receipts = 'all'",
        "x = [1, 2]",
        "x.append(3)",
        "%time y = x + [4]",
        "torch.zeros(3)",
        "torch.backends.cudnn.benchmark = True",
        "%config ReproMagic.receipts = 'off'",
        "%%deterministic\nx",
    )
    assert set(receipt_of(ran, 2)["values"]) == {"x"}
    assert receipt_of(ran, 2)["values"]["x"] != receipt_of(ran, 3)["values"]["x"], "nothing was assigned"
    assert set(receipt_of(ran, 4)["values"]) == {"x", "y"}, "through a magic"
    assert receipt_of(ran, 5)["shown"]["shape"] == [3]
    assert receipt_of(ran, 6)["switches"] == {"torch.backends.cudnn.benchmark": "on"}
    assert receipts(ran, 8) == []
    assert "deterministic" in ran.shown(8)


@pytest.mark.kernel
def test_a_cell_that_is_run_again_has_the_same_receipt() -> None:
    cell = "%%deterministic --seed 1\nz = torch.rand(3)\nz.sum()"
    ran = run_in_kernel("%load_ext repro_magic\nimport torch", cell, "torch.rand(5); more = 1", cell)
    assert receipt_of(ran, 1) == receipt_of(ran, 3)


@pytest.mark.kernel
def test_what_an_unseeded_generator_held_is_in_no_receipt() -> None:
    cells = (
        "%load_ext repro_magic\nimport torch\n%config ReproMagic.receipts = 'all'",
        "%repro_seed 3",
        "torch.rand(2)",
    )
    one, other = run_in_kernel(*cells), run_in_kernel(*cells)
    assert receipt_of(one, 1)["generators"]["torch cpu"]["before"] is None
    assert [receipt_of(one, number) for number in (1, 2)] == [receipt_of(other, number) for number in (1, 2)]
    seeded = receipt_of(one, 1)["generators"]["torch cpu"]["after"]
    assert receipt_of(one, 2)["generators"]["torch cpu"]["before"] == seeded


@pytest.mark.kernel
def test_figures_in_a_notebook_are_the_same_bytes() -> None:
    cells = (
        "%load_ext repro_magic\nimport matplotlib.pyplot as plt\n%config InlineBackend.figure_formats = ['svg']",
        "plt.plot([1, 3, 2]); plt.title('a')\nplt.savefig('/dev/stdout', format='svg') if False else None",
    )
    one, other = run_in_kernel(*cells), run_in_kernel(*cells)
    shown = [ran.outputs(1, "display_data")[0].data["image/svg+xml"] for ran in (one, other)]
    assert shown[0] == shown[1]


@pytest.mark.kernel
def test_the_quickstart_run_twice_is_the_same_file_byte_for_byte(tmp_path: Path) -> None:
    texts = []
    for number in (1, 2):
        copy = Path(shutil.copy(QUICKSTART, tmp_path / f"{number}.ipynb"))
        run_and_store(copy)
        texts.append(copy.read_bytes())
    assert MIME.encode() in texts[0]
    assert texts[0] == texts[1]


# Without a kernel


@given(st.text(), st.dictionaries(st.text(min_size=1), st.one_of(st.floats(), st.integers(), st.text(), st.none())))
@settings(max_examples=50)
def test_every_receipt_is_valid_and_survives_json(source: str, values: dict[str, object]) -> None:
    found = receipt(Facts(source, values))
    assert checked(json.loads(json.dumps(found)), "receipt.v1", "it", 1 << 20) == found
    assert found == receipt(Facts(source, dict(reversed(values.items()))))


def test_whoever_waits_no_longer_gets_none() -> None:
    with pytest.raises(ReceiptStoppedError):
        receipt(Facts("x", {"x": 1}), lambda: True)
