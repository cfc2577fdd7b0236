"""The notebook on randomness."""

from __future__ import annotations

import nbformat
import pytest
from conftest import ROOT

import repro_magic

NOTEBOOK = ROOT / "notebooks" / "randomness.ipynb"


@pytest.mark.kernel
def test_it_reproduces() -> None:
    verdict = repro_magic.verify(NOTEBOOK)
    assert verdict.reproduces, verdict


def test_it_is_committed_with_outputs_that_show_what_its_text_tells() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    shown = "".join(str(output.get("data", {}).get("text/plain", "")) for output in outputs)
    assert [line.rpartition(" ")[2] for line in lines if "same weights" in line] == ["False", "True"]
    assert "same noise: False" in lines
    assert "numpy.random.default_rng, line 2, 2 calls" in shown
    assert "each with its own seed: noise.rng" in shown
    assert "numpy.random.default_rng was stopped at line 2." in lines
    assert [line.rpartition(" ")[2] for line in lines if "different shifts" in line] == ["32", "64"]
    assert "same in the next run: True" in lines
    whole, resumed, without = (line.rpartition(" ")[2] for line in lines[-3:])
    assert whole == resumed != without
