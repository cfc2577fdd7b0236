"""The README's example does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

import repro_magic

pytestmark = pytest.mark.kernel


def test_the_example_reproduces(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python\n(%.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(cells) == 2
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    path = tmp_path / "study.ipynb"
    nbformat.write(notebook, path)
    found = repro_magic.verify(path)
    assert found.reproduces
    assert found.all_compared
