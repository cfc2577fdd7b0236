"""`repro-magic verify` and the world around the notebook: files, folders, programs, arguments, Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from verify_command import cli, notebook, parts, verify

from repro_magic.cli import app
from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.run import notebook_file, runner
from repro_magic.proof.run.consent import shell_lines


@pytest.mark.kernel
def test_what_a_run_leaves_behind_reaches_neither_the_next_nor_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("7")
    path = notebook(
        tmp_path / "n.ipynb",
        "from pathlib import Path\nfound = sorted(one.name for one in Path().iterdir())",
        "data = Path('data.txt').read_text()",
        "Path('left.txt').write_text('x'); Path('data.txt').write_text('8')",
    )
    code, verdict, _ = verify("--runs", "3", path)
    assert (code, verdict["agreed"]) == (0, 3)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data.txt", "n.ipynb"]
    assert (tmp_path / "data.txt").read_text() == "7"


@pytest.mark.kernel
def test_an_older_format_is_run(tmp_path: Path) -> None:
    path = tmp_path / "old.ipynb"
    nbformat.write(
        nbformat.v3.new_notebook(
            worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell(input="x = 1")])]
        ),
        path,
        version=3,
    )
    assert verify(path)[0] == 0


SHELL = [
    "!pip install torch",
    "%pip install torch",
    "x = !ls",
    "%%bash\nls",
    "    !ls",
    "%sx ls",
    "%%!\nls",
    "%conda list",
]


@pytest.mark.parametrize("source", SHELL)
def test_lines_that_run_programs_are_listed_and_not_run(tmp_path: Path, source: str) -> None:
    code, _, told = verify(notebook(tmp_path / "s.ipynb", f"x = 1\n{source}" if source[0] != "%" else source))
    assert code == 2
    assert "cell 1:" in told
    assert "--allow-shell runs them" in told


@pytest.mark.parametrize("source", ["x != 1", "print('!')", "%timeit 1", "%%time\n1", "assert x!= 2", "'!ls'"])
def test_other_lines_are_not(tmp_path: Path, source: str) -> None:
    read = notebook_file.read(notebook(tmp_path / "s.ipynb", source))
    assert shell_lines(read) == []


@pytest.mark.kernel
def test_programs_are_run_if_allowed(tmp_path: Path) -> None:
    assert verify("--allow-shell", notebook(tmp_path / "s.ipynb", "!echo hi"))[0] == 0


BAD = {
    "not JSON": "{",
    "empty": "",
    "a list": "[]",
    "no cells": "{}",
    "text": "hello",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_notebook_is_wrong_usage(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_text(BAD[name])
    code, _, told = verify(path)
    assert code == 2
    assert "bad.ipynb is not a notebook" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.ipynb"],
        ["tests"],
        [],
        ["--rtol", "inf", "x.ipynb"],
        ["--rtol", "nan", "x.ipynb"],
        ["--runs", "1", "x.ipynb"],
        ["--nonsense"],
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    assert cli.invoke(app, ["verify", *arguments]).exit_code == 2


def test_a_missing_kernel_is_named(tmp_path: Path) -> None:
    code, _, told = verify("--kernel", "nobody", notebook(tmp_path / "n.ipynb", "1"))
    assert code == 3
    assert "there is no kernel 'nobody'" in told


@pytest.mark.kernel
def test_a_kernel_without_the_package_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_PROBE", '__import__("repro_magic_that_is_not_there")')
    code, _, told = verify(notebook(tmp_path / "n.ipynb", "1"))
    assert code == 3
    assert "pip install repro-magic" in told


@pytest.mark.kernel
def test_the_verdicts_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    path, to = notebook(tmp_path / "n.ipynb", "x = 1"), tmp_path / "verdict.json"
    assert cli.invoke(app, ["verify", str(path), str(path), "--json", str(to)]).exit_code == 0
    assert [one["outcome"] for one in json.loads(to.read_text())] == ["same", "same"]
    assert cli.invoke(app, ["verify", str(path), "--json", str(tmp_path / "no" / "where")]).exit_code == 2


@pytest.mark.kernel
def test_what_nobody_here_may_read_and_what_is_not_the_notebooks_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(tmp_path / "n.ipynb", "from pathlib import Path\nsorted(one.name for one in Path('.').rglob('*'))")
    for name in ("data/kept.csv", "secret/key", ".git/config", ".old_cache/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    may = os.access  # as root, for whom there are no locked doors
    monkeypatch.setattr(os, "access", lambda at, mode: Path(at).name != "secret" and may(at, mode))
    code, verdict, told = verify("--recorded", record_of(path, "['data', 'kept.csv', 'n.ipynb']"))
    assert code == 0, told
    assert verdict["outcome"] == "same"


def record_of(path: Path, shown: str) -> Path:
    """The notebook with what its only cell is said to have shown."""
    read = nbformat.read(path, as_version=4)
    read.cells[0].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": shown}, execution_count=1)]
    nbformat.write(read, path)
    return path


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: str, _to: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copy2", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    code, _, told = verify(notebook(tmp_path / "n.ipynb", "1"))
    assert code == 3
    assert "cannot be copied" in told
    assert "No space left on device" in told
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.kernel
def test_every_run_has_the_same_working_directory(tmp_path: Path) -> None:
    code, verdict, _ = verify(
        notebook(tmp_path / "n.ipynb", "import os\nhere = os.getcwd()\nopen('left', 'x').close()")
    )
    assert (code, parts(verdict, 1)) == (0, {"here": "same", "file left": "same"})


@pytest.mark.kernel
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    runs = tmp_path / "runs"
    path = notebook(tmp_path / "n.ipynb", f"import time\nopen({str(runs)!r}, 'w').close()\ntime.sleep(120)")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "repro_magic", "verify", str(path)],
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if runs.exists():
            break
        time.sleep(0.1)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "interrupted" in told
    for logged in ("Traceback", "Kernel died", "was destroyed"):
        assert logged not in told
    assert list(scratch.glob("repro-magic-*")) == []


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NotRunnableError, match="is a folder, not a notebook"):
        notebook_file.read(tmp_path)
    with pytest.raises(NotRunnableError, match="cannot be read"):
        notebook_file.read(tmp_path / "none.ipynb")
    for text in (
        "[1]",
        '{"cells": {"a": 1}}',
        '{"cells": [1, null], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    ):
        (tmp_path / "x.ipynb").write_text(text)
        with pytest.raises(
            NotRunnableError, match=r"x\.ipynb is not a notebook: its JSON does not have the form of one"
        ):
            notebook_file.read(tmp_path / "x.ipynb")
