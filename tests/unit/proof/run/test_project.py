"""Which folder a notebook's project is, what of it is copied, and what to type where something is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.run import project
from repro_magic.proof.run.project import Contents, Scope, advice, not_copied, root_of, survey


def files(root: Path, *names: str, size: int = 1) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)
    return root


def test_the_root_is_the_work_tree_else_the_folder_with_a_projects_file_else_the_notebooks_own(tmp_path: Path) -> None:
    path = files(tmp_path, "a/b/c/study.ipynb") / "a/b/c/study.ipynb"
    assert root_of(path) == path.parent
    files(tmp_path, "a/b/pyproject.toml")
    assert root_of(path) == tmp_path / "a/b"
    (tmp_path / "a" / ".git").mkdir()
    assert root_of(path) == tmp_path / "a"


def test_a_home_folder_is_no_project_and_neither_is_one_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files(tmp_path, "home/.git/config", "home/notes/study.ipynb") / "home/notes/study.ipynb"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert root_of(path) == path.parent
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "home"))
    assert root_of(path) == path.parent


def test_environments_and_caches_stay_behind_unless_they_are_asked_for(tmp_path: Path) -> None:
    files(
        tmp_path, "n.ipynb", ".git/config", "py/pyvenv.cfg", "py/lib.py", ".venv/x", "__pycache__/x", "feature_cache/x"
    )
    assert set(survey(tmp_path / "n.ipynb").files) == {"n.ipynb", "feature_cache/x"}
    found = survey(tmp_path / "n.ipynb", Scope(include=("py", ".git/")))
    assert set(found.files) == {"n.ipynb", "feature_cache/x", "py/pyvenv.cfg", "py/lib.py", ".git/config"}


def test_of_a_project_that_is_too_large_what_is_left_out_is_a_whole_folder_and_named(tmp_path: Path) -> None:
    files(tmp_path, "pyproject.toml", "notebooks/n.ipynb", "notebooks/near/a", "src/a.py", "data/small/a")
    files(tmp_path, "data/big/a", "data/big/deep/b", size=600)
    found = survey(tmp_path / "notebooks/n.ipynb", limit=1000)
    assert set(found.files) == {"pyproject.toml", "notebooks/n.ipynb", "notebooks/near/a", "src/a.py", "data/small/a"}
    assert "data/big" not in found.folders, "an empty folder would pass for one without data"
    assert [(one.place, one.is_cut) for one in found.left_out] == [("data/big", True)]
    assert "--include data/big copies it" in not_copied(found)
    whole = survey(tmp_path / "notebooks/n.ipynb", Scope(include=("data/big",)), limit=1000)
    assert {"data/big/a", "data/big/deep/b"} <= set(whole.files)
    assert not_copied(whole) == ""


def test_what_git_ignores_is_there_if_there_is_room_and_goes_first_if_there_is_none(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: S607
    files(tmp_path, "n.ipynb", "kept/x/a", "cached/x/a", size=400)
    (tmp_path / ".gitignore").write_text("cached/\n")
    assert "cached/x/a" in survey(tmp_path / "n.ipynb").files
    found = survey(tmp_path / "n.ipynb", limit=1000)
    assert [one.place for one in found.left_out] == ["cached/x"]


def test_a_programs_name_in_the_repositorys_configuration_is_not_run(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: S607
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.fsmonitor", str(hook)], check=True)  # noqa: S607
    files(tmp_path, "n.ipynb", "a/b/c", size=400)
    survey(tmp_path / "n.ipynb", limit=500)
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_too_many_files_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_MOST_FILES", 10)
    files(tmp_path, "n.ipynb", *(f"data/images/{number}/a" for number in range(50)))
    found = survey(tmp_path / "n.ipynb")
    assert [one.place for one in found.left_out] == ["data/images"]
    assert found.left_out[0].size < 20


def test_links_lead_into_the_copy_and_what_lies_elsewhere_is_copied_in_their_place(tmp_path: Path) -> None:
    root = files(tmp_path / "root", "n.ipynb", "data/x.csv")
    files(tmp_path, "else/deep/y.csv", "else/z.csv")
    (root / "absolute.csv").symlink_to(root / "data/x.csv")
    (root / "folder").symlink_to(root / "data")
    (root / "loop").symlink_to(".")
    (root / "climbing").symlink_to("../else/deep")
    (root / "again").symlink_to(tmp_path / "else/deep/y.csv")
    (root / "dangling").symlink_to("nowhere")
    (root / "up").symlink_to(tmp_path)
    (tmp_path / "else/deep/back").symlink_to(root / "data")
    os.link(root / "data/x.csv", root / "hard.csv")
    found = survey(root / "n.ipynb")
    assert found.links["absolute.csv"] == "data/x.csv"
    assert found.links["folder"] == found.links["climbing/back"] == "data"
    assert found.links["loop"] == ""
    assert {"n.ipynb", "data/x.csv", "hard.csv", "climbing/y.csv", "again"} == {*found.files, *found.links} - {
        "absolute.csv",
        "folder",
        "loop",
        "climbing/back",
    }


def test_pipes_are_none_of_the_notebooks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert set(survey(files(tmp_path, "n.ipynb") / "n.ipynb").files) == {"n.ipynb"}


def test_a_root_must_hold_the_notebook_and_a_pattern_must_match(tmp_path: Path) -> None:
    path = files(tmp_path, "a/n.ipynb", "b/x") / "a/n.ipynb"
    assert set(survey(path, Scope(tmp_path)).files) == {"a/n.ipynb", "b/x"}
    with pytest.raises(NotRunnableError, match="give a root that holds the notebook"):
        survey(path, Scope(tmp_path / "b"))
    with pytest.raises(NotRunnableError, match="--include takes paths below it"):
        survey(path, Scope(include=("data",)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '../shared/x.csv'", "--root {0} copies both"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '{1}/copy/project/big/x'", "--include big copies it"),
        ("OSError: ../shared/x.csv not found.", "--root {0} copies both"),
        ("ModuleNotFoundError: No module named 'helper.deep'", "--root {0} copies both"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'nowhere'", ""),
        ("ModuleNotFoundError: No module named 'nowhere'", ""),
        ("ValueError: 'n.ipynb'", ""),
    ],
)
def test_where_something_is_missing_in_the_copy_what_to_type_is_said(tmp_path: Path, error: str, told: str) -> None:
    root = files(tmp_path, "project/n.ipynb", "project/big/x", "shared/x.csv", "helper/__init__.py") / "project"
    contents = Contents(root, "", files={"n.ipynb": ""}, left_out=[project.LeftOut("big", 9)])
    found = advice(contents, error.format(tmp_path, "/tmp/repro-magic-abc"))  # noqa: S108
    assert told.format(tmp_path) in found
    assert bool(told) is bool(found)
