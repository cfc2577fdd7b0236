"""The shipped notebook, and the Binder folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import IPython
import nbformat
import pytest
from conftest import ROOT, run_and_store

QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.mark.kernel
def test_the_quickstart_shows_what_its_text_tells(tmp_path: Path) -> None:
    cells = run_and_store(Path(shutil.copy(QUICKSTART, tmp_path))).cells
    text = "".join(str(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))
    assert "same bits: True\nsame bits: False\n" in text
    assert "unseeded, same numbers: False\nseeded,   same numbers: True\n" in text
    assert "deterministic algorithms: False\n" in text
    assert "put_ on cpu, line 5, was stopped." in text
    assert "index_add_: latent, may differ on cuda." in text
    shown = "".join(
        str(output.get("data", {}).get("text/plain", "")) for cell in cells for output in cell.get("outputs", [])
    )
    assert shown.count("⚠") == 3, "under two cells, and in the panel"
    assert "index_put_ on cpu, line 4, 1 call" in shown
    assert "handled: index_put_" in shown


def test_the_quickstart_is_committed_with_its_outputs() -> None:
    notebook = nbformat.read(QUICKSTART, as_version=4)
    nbformat.validate(notebook)
    shown = [bool(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    assert shown == [True, True, False, *[True] * 11]
    assert "[2m" not in str(notebook), "no escape codes"


@pytest.mark.kernel
@pytest.mark.skipif(IPython.version_info < (8,), reason="the outputs that nbval compares were made with a newer one")
@pytest.mark.parametrize("tool", ["--nbval", "--nbmake"])
def test_others_tools_find_it_green(tmp_path: Path, tool: str) -> None:
    """GIVEN the notebook as this machine saves it (its last bits may be its own) WHEN they run it THEN it passes.

    Cells whose text names cells by their number are tagged for nbval, which runs all of them as number 1.
    """
    copy = Path(shutil.copy(QUICKSTART, tmp_path))
    run_and_store(copy)
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", tool, QUICKSTART.name, "--rootdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_repo2docker_accepts_the_binder_folder(tmp_path: Path) -> None:
    """GIVEN binder/ WHEN repo2docker plans the image THEN it takes requirements, Python and start from there."""
    pytest.importorskip("repo2docker", reason="repo2docker does not run on Windows")
    shutil.copytree(ROOT / "binder", tmp_path / "binder")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    planned = done.stdout + done.stderr
    assert done.returncode == 0, planned
    for part in ("python=3.11", '-r "binder/requirements.txt"', "/binder/start"):
        assert part in planned
    copied, installed = planned.index(" src/ ${REPO_DIR}/"), planned.index('-r "binder/requirements')
    assert copied < installed, "the package itself is one of the requirements"


def test_the_binder_start_script_sets_what_python_reads_at_its_start() -> None:
    check = "import os, sys; print(os.environ['PYTHONHASHSEED'], os.environ['CUBLAS_WORKSPACE_CONFIG'], sys.argv[1:])"
    command = [str(ROOT / "binder" / "start"), sys.executable, "-c", check, "an argument"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 :4096:8 ['an argument']"
