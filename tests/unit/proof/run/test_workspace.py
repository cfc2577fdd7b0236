"""The copies that notebooks run in, and what is left of processes that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.run import workspace
from repro_magic.proof.run.workspace import Progress, Workspace, workspace_folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "notebooks").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "notebooks" / "n.ipynb").write_text("first")
    (root / "data.csv").write_text("1")
    (root / "notebooks" / "link.csv").symlink_to(root / "data.csv")
    return root


@pytest.mark.parametrize("keeps", [False, True])
def test_what_a_run_writes_reaches_neither_the_user_nor_the_next_run(project: Path, *, keeps: bool) -> None:
    with workspace_folder() as folder:
        place = Workspace(project / "notebooks" / "n.ipynb", folder, keeps=keeps)
        for _ in range(2):
            with place.copy() as copy:
                assert copy.name == "n.ipynb"
                assert (copy.parent / "link.csv").read_text() == "1"
                (copy.parent / "link.csv").write_text("spoilt")
                (copy.parent.parent / "data.csv").write_text("spoilt")
    assert (project / "data.csv").read_text() == "1"


def test_every_run_starts_from_the_same_files_and_the_same_bytes_of_the_notebook(project: Path) -> None:
    path = project / "notebooks" / "n.ipynb"
    found = []
    with workspace_folder() as folder:
        place = Workspace(path, folder, data=b"agreed", keeps=True)
        for _ in range(2):
            with place.copy() as copy:
                found.append((copy.read_text(), (copy.parent.parent / "data.csv").read_text(), str(copy)))
            path.write_text("another")
            (project / "data.csv").write_text("2")
    assert found[0] == found[1]
    assert found[0][:2] == ("agreed", "1")


def test_what_vanishes_while_it_is_copied_is_none_of_the_notebooks(project: Path) -> None:
    class Vanishing(Progress):
        def surveyed(self, _contents: object) -> None:
            (project / "data.csv").unlink()

    with (
        workspace_folder() as folder,
        Workspace(project / "notebooks" / "n.ipynb", folder, progress=Vanishing()).copy() as copy,
    ):
        assert not (copy.parent.parent / "data.csv").exists()


def test_no_room_and_no_folder_for_a_copy_are_sentences(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace_folder() as folder:
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1}))
        with pytest.raises(NotRunnableError, match="set TMPDIR to a folder with more room"):
            _ = Workspace(project / "notebooks" / "n.ipynb", folder).contents
    monkeypatch.setattr(tempfile, "tempdir", str(project / "nowhere"))
    with pytest.raises(NotRunnableError, match="set TMPDIR to one that you may write to"), workspace_folder():
        pass


def test_where_blocks_can_be_shared_nothing_is_too_large(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(source: Path, to: Path) -> bool:
        to.write_bytes(source.read_bytes())
        return True

    monkeypatch.setattr(workspace, "_clone", shared)
    monkeypatch.setattr(workspace, "LIMIT", 0)
    with workspace_folder() as folder, Workspace(project / "notebooks" / "n.ipynb", folder, keeps=True).copy() as copy:
        assert (copy.parent.parent / "data.csv").read_text() == "1"


def test_the_last_run_takes_the_first_copy_and_a_further_one_copies_anew(project: Path) -> None:
    """GIVEN two runs WHEN the user changes a file meanwhile THEN both start from the same files, copied twice."""
    copied: list[float] = []

    class Count(Progress):
        def copied(self, files: int, total: int) -> None:
            copied.append(files / total)

    with workspace_folder() as folder:
        place = Workspace(project / "notebooks" / "n.ipynb", folder, keeps=True, progress=Count())
        with place.copy() as copy:
            first = sorted(path.relative_to(copy.parent.parent) for path in copy.parent.parent.rglob("*"))
            (copy.parent.parent / "data.csv").write_text("written by the notebook")
        (project / "data.csv").write_text("2")
        with place.copy(is_last=True) as last:
            assert last == copy
            assert sorted(path.relative_to(copy.parent.parent) for path in copy.parent.parent.rglob("*")) == first
            assert (last.parent.parent / "data.csv").read_text() == "1"
        assert len(copied) == 2 * place.contents.count
        with place.copy() as further:
            assert (further.parent.parent / "data.csv").read_text() == "2"


HOLDS = """
import sys, time
from repro_magic.proof.run.workspace import workspace_folder
with workspace_folder() as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_what_a_killed_run_left_behind_goes_with_the_next_and_what_a_living_one_holds_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    owners = [
        subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    try:
        folders = [Path(owner.stdout.readline().strip()) for owner in owners if owner.stdout]
        orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(folders[0] / "k.json")])
        owners[0].kill()
        owners[0].wait()
        with workspace_folder():
            assert [folder.exists() for folder in folders] == [False, True]
        if sys.platform == "linux":
            assert orphan.wait(timeout=60) == -signal.SIGKILL
    finally:
        orphan.kill()
        orphan.wait()
        for owner in owners:
            owner.kill()
            owner.communicate()
