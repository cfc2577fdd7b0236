"""Files for others to run a notebook: all are written, or none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from share_makers import HERE, contents, notebook_in, planned, requirements

from repro_magic.exceptions import ReproError, ShareError
from repro_magic.proof.run.notebook_file import load
from repro_magic.proof.share import placing, share


def test_it_writes_all_and_a_second_time_nothing(tmp_path: Path) -> None:
    plan, folder = planned(notebook_in(tmp_path / "here")), tmp_path / "new" / "folder"
    written = placing.write(plan, folder, force=False)
    assert {path.relative_to(folder).as_posix() for path in written} == set(plan.files)
    assert contents(folder) == {"binder": None} | {name: file.text.encode() for name, file in plan.files.items()}
    assert os.access(folder / "binder" / "start", os.X_OK)
    assert not (folder / "study.repro.json").stat().st_mode & 0o111
    assert placing.write(plan, folder, force=False) == []


def test_a_script_that_cannot_be_run_is_made_anew(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path))
    placing.write(plan, tmp_path, force=False)
    (tmp_path / "binder" / "start").chmod(0o644)
    assert placing.write(plan, tmp_path, force=False) == [tmp_path / "binder" / "start"]
    assert os.access(tmp_path / "binder" / "start", os.X_OK)


def test_other_content_is_overwritten_only_if_forced(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path))
    (tmp_path / "binder").mkdir()
    (tmp_path / "binder" / "start").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(ShareError, match=r"binder/start") as refused:
        placing.write(plan, tmp_path, force=False)
    assert "--force" in str(refused.value)
    assert isinstance(refused.value, ReproError)
    assert contents(tmp_path) == before
    placing.write(plan, tmp_path, force=True)
    assert contents(tmp_path)["binder/start"] == plan.files["binder/start"].text.encode()


@pytest.mark.parametrize("name", [".binder", "binder/environment.yml", "binder/Dockerfile"])
def test_what_repo2docker_would_take_instead_is_refused_even_if_forced(tmp_path: Path, name: str) -> None:
    plan = planned(notebook_in(tmp_path))
    (tmp_path / name).mkdir(parents=True)
    before = contents(tmp_path)
    with pytest.raises(ShareError, match="move it away"):
        placing.write(plan, tmp_path, force=True)
    assert contents(tmp_path) == before


def test_a_folder_in_the_place_of_a_file_and_the_other_way_round(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path))
    (tmp_path / "one" / "binder" / "start").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "binder").touch()
    (tmp_path / "three").touch()
    (tmp_path / "four").mkdir()
    (tmp_path / "four" / "study.repro.json").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    for folder in ("one", "two", "three", "four"):
        with pytest.raises(ShareError, match="move it away"):
            placing.write(plan, tmp_path / folder, force=True)
    assert contents(tmp_path) == before


def test_a_name_that_the_disk_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path / "here", f"{'n' * 246}.ipynb"))
    with pytest.raises(ShareError, match="nothing was changed"):
        placing.write(plan, tmp_path / "new", force=False)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(notebook_in(tmp_path))
    before, count = contents(tmp_path), iter(range(99))

    def full(_: int) -> None:
        if next(count) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ShareError, match="No space left on device; nothing was changed"):
        placing.write(plan, tmp_path, force=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_error_between_two_files_puts_the_first_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException
) -> None:
    plan = planned(notebook_in(tmp_path))
    (tmp_path / "binder").mkdir()
    (tmp_path / "binder" / "requirements.txt").write_text("mine")
    (tmp_path / "binder" / "requirements.txt").chmod(0o640)
    before, replace, count = contents(tmp_path), Path.replace, iter(range(99))

    def failing(source: Path, to: Path) -> Path:
        if next(count) == after:
            raise error
        return replace(source, to)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises((ShareError, KeyboardInterrupt)):
        placing.write(plan, tmp_path, force=True)
    assert contents(tmp_path) == before
    assert (tmp_path / "binder" / "requirements.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path / "here"))
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(ShareError, match="Permission denied"):
        placing.write(plan, folder, force=False)


def test_repo2docker_takes_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("repo2docker", reason="repo2docker does not run on Windows")
    placing.write(planned(notebook_in(tmp_path / "my notebooks", "a study.ipynb")), tmp_path, force=False)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for part in ("python=3.12", '-r "binder/requirements.txt"', "/binder/start"):
        assert part in done.stdout + done.stderr


def test_pip_reads_the_requirements(tmp_path: Path) -> None:
    # In a process of its own: where pip was looked for, setuptools (and so `torch.compile`) cannot be imported later.
    plan = share.plan(load(notebook_in(tmp_path, "coding: x.ipynb")), HERE, "{}")
    placing.write(plan, tmp_path, force=False)
    check = (
        "import sys; from pip._internal.req.req_file import parse_requirements as parse; "
        "from pip._internal.network.session import PipSession; "
        "print(*(one.requirement for one in parse(sys.argv[1], PipSession())), sep='\\n')"
    )
    command = [sys.executable, "-c", check, str(tmp_path / "binder" / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [line for line in requirements(plan) if line[0] not in "#-"]
