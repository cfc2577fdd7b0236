"""`repro-magic verify` with several notebooks, some of which cannot be run, and with files of all kinds."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import pytest
from typer.testing import CliRunner

from repro_magic.cli import app
from repro_magic.cli.progress import terminal_progress
from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.run import notebook_file
from repro_magic.proof.run.project import Contents, in_bytes
from repro_magic.proof.run.workspace import Progress, Workspace
from repro_magic.proof.verdict import NotebookVerdict
from repro_magic.proof.verification import Job, JobResult

cli = CliRunner()


def notebook(path: Path, *sources: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), path)
    return path


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every notebook that is run reproduces; those that were run, in order."""
    ran = []

    def verified(job: Job, _progress: object) -> JobResult:
        ran.append(job.path)
        return JobResult(job, NotebookVerdict(str(job.path), 2, 2, []))

    monkeypatch.setattr("repro_magic.cli.progress.verify_one", verified)
    return ran


@pytest.mark.kernel
def test_a_large_project_is_announced_with_what_copies_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.txt").touch()
    path = notebook(tmp_path / "notebooks" / "study.ipynb", "x = 1")
    monkeypatch.setattr("repro_magic.cli.progress._MANY", 3)
    assert "is copied for each run" not in cli.invoke(app, ["verify", str(path)]).stderr
    (tmp_path / "third.txt").write_text("text")
    told = cli.invoke(app, ["verify", str(path)]).stderr.splitlines()
    size = in_bytes(path.stat().st_size + len("text"))
    assert f"repro-magic: {tmp_path} is copied for each run: 3 files, {size}; --root FOLDER copies less" in told


def test_the_size_of_a_project_is_known_before_the_first_file_is_copied(tmp_path: Path) -> None:
    class Events(Progress):
        seen: ClassVar[list[str]] = []

        def surveyed(self, contents: Contents) -> None:
            self.seen.append(f"{contents.count} files")

        def copied(self, files: int, total: int) -> None:
            self.seen.append(f"copied {files} of {total}")

    path = notebook(tmp_path / "project" / "study.ipynb", "x = 1")
    (path.parent / "data.txt").touch()
    (tmp_path / "room").mkdir()
    with Workspace(path, tmp_path / "room", progress=Events()).copy():
        assert Events.seen == ["2 files", "copied 1 of 2", "copied 2 of 2"]


@pytest.mark.kernel
def test_what_lies_beside_the_notebooks_folder_is_read_and_not_written(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "notebooks" / "study.ipynb",
        "import sys, os\nsys.path.append('..')\nfrom src.helper import x\ny = open('../data/d.csv').read()",
        "open('../data/d.csv', 'w').write('spoilt')\nopen('link', 'w').write('spoilt')\nwhere = os.getcwd()",
    )
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "helper.py").write_text("x = 41")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "d.csv").write_text("1,2")
    (tmp_path / "notebooks" / "link").symlink_to(tmp_path / "data" / "d.csv")
    done = cli.invoke(app, ["verify", "--json", "-", str(path)])
    assert done.exit_code == 0, done.stderr
    [verdict] = json.loads(done.stdout)
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "same"]
    assert (tmp_path / "data" / "d.csv").read_text() == "1,2"
    done = cli.invoke(app, ["verify", "--root", str(path.parent), str(path)])
    assert done.exit_code == 3
    assert f"--root {tmp_path} copies both" in " ".join(done.stdout.split())


@pytest.mark.kernel
def test_the_history_of_the_users_sessions_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    assert cli.invoke(app, ["verify", str(notebook(tmp_path / "n.ipynb", "x = 1"))]).exit_code == 0
    assert not list((tmp_path / "ipython").rglob("history.sqlite"))


@pytest.mark.kernel
def test_what_was_agreed_to_runs_in_every_run(tmp_path: Path) -> None:
    path = notebook(tmp_path / "n.ipynb", f"open({str(tmp_path / 'n.ipynb')!r}, 'w').write('{{}}')\nx = 1")
    assert cli.invoke(app, ["verify", str(path)]).exit_code == 0
    assert path.read_text() == "{}", "the notebook itself wrote it, through a path of its own"


@pytest.mark.kernel
def test_programs_that_the_notebooks_code_starts_are_told(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import os, subprocess, helper\nfrom concurrent.futures import ProcessPoolExecutor",
        "done = subprocess.run('true && true', shell=True).returncode, os.system('false'), os.popen('echo').read()",
        "pair = subprocess.run(['cat'], stdin=subprocess.DEVNULL).returncode\nhelper.go()",
        "import ctypes.util\nfound = ctypes.util.find_library('c')\n"
        "with ProcessPoolExecutor(1) as pool:\n    three = pool.submit(len, 'abc').result()",
    )
    (tmp_path / "helper.py").write_text("import subprocess\ngo = lambda: subprocess.check_output(['uname']) and None")
    done = cli.invoke(app, ["verify", "--json", "-", str(path)])
    assert done.exit_code == 0, done.stderr
    told = [note for note in json.loads(done.stdout)[0]["notes"] if "programs" in note]
    assert [note.partition(":")[0][:6] for note in told] == ["Cell 2", "Cell 3"]
    assert [note.partition(": ")[2] for note in told] == ["true, false, echo.", "cat, uname."]


def test_a_batch_goes_on(tmp_path: Path, no_kernel: list[Path]) -> None:
    bad = tmp_path / "bad.ipynb"
    bad.write_text("{")
    shell, good = notebook(tmp_path / "shell.ipynb", "!ls"), notebook(tmp_path / "data[old].ipynb", "1")
    paths = [bad, shell, tmp_path / "nowhere.ipynb", good]
    done = cli.invoke(app, ["verify", "--json", "-", *map(str, paths)])
    assert done.exit_code == 2
    assert no_kernel == [good]
    told = json.loads(done.stdout)
    assert [Path(one["notebook"]) for one in told] == paths
    assert [one["reproduces"] for one in told] == [False, False, False, True]
    for text in (
        "bad.ipynb is not a notebook",
        "shell.ipynb, cell 1: !ls",
        "--allow-shell",
        "No such file or directory",
    ):
        assert text in done.stderr
    assert "1 of 4 notebooks reproduced, 3 failed" in done.stderr


def test_a_notebook_without_code_is_no_fault_and_no_proof(tmp_path: Path) -> None:
    done = cli.invoke(app, ["verify", str(notebook(tmp_path / "text.ipynb"))])
    assert done.exit_code == 0
    assert "text.ipynb has no code cells: there is nothing to verify" in done.stdout
    assert "✓" not in done.stdout


def test_of_a_folder_all_notebooks_are_meant(tmp_path: Path, no_kernel: list[Path]) -> None:
    paths = [notebook(tmp_path / name, "1") for name in ("a.ipynb", "b/c.ipynb", ".ipynb_checkpoints/a.ipynb")]
    assert cli.invoke(app, ["verify", str(tmp_path)]).exit_code == 0
    assert no_kernel == paths[:2]
    (tmp_path / "empty").mkdir()
    assert cli.invoke(app, ["verify", str(tmp_path / "empty")]).exit_code == 2


def test_verdicts_go_to_stdout_and_the_rest_to_stderr(tmp_path: Path, no_kernel: list[Path]) -> None:
    path = notebook(tmp_path / "n.ipynb", "1")
    done = cli.invoke(app, ["verify", str(path), str(path)])
    assert (done.stdout.count("✓"), done.stderr) == (3, "")
    assert len(no_kernel) == 2


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize("option", ["--json", "--html"])
def test_nothing_of_the_users_is_written_over(tmp_path: Path, option: str) -> None:
    path, other = notebook(tmp_path / "a.ipynb", "1"), notebook(tmp_path / "b.ipynb", "1")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for target in (other, mine):
        before = target.read_bytes()
        done = cli.invoke(app, ["verify", option, str(target), str(path)])
        assert (done.exit_code, target.read_bytes()) == (2, before)
    sidecar = tmp_path / "a.repro.json"
    sidecar.write_text("mine")
    assert cli.invoke(app, ["verify", "--sidecar", str(path)]).exit_code == 2
    assert sidecar.read_text() == "mine"
    assert cli.invoke(app, ["verify", option, str(tmp_path / "new"), str(path)]).exit_code == 0
    assert cli.invoke(app, ["verify", option, str(tmp_path / "new"), str(path)]).exit_code == 0


def cell(**changes: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": None, **changes}


def document(*cells: Any, **changes: Any) -> str:
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **changes})


MALFORMED = {
    "cells are no list": document(cells={"a": 1}),
    "a cell is no object": document(1),
    "a cell without a type": document({"source": "1"}),
    "a source that is a number": document(cell(source=1)),
    "a source of numbers": document(cell(source=[1])),
    "no source": document({"cell_type": "code", "metadata": {}, "outputs": []}),
    "half a surrogate pair": document(cell(source="x = '\ud800'")),
    "outputs that are no list": document(cell(outputs={"a": 1})),
    "an output that is no object": document(cell(outputs=[1])),
    "a stream without text": document(cell(outputs=[{"output_type": "stream", "name": "stdout", "text": None}])),
    "data that is no object": document(cell(outputs=[{"output_type": "display_data", "data": [], "metadata": {}}])),
    "nested too deep": "[" * 100_000,
    "metadata null": document(cell(), metadata=None),
    "a cell's metadata null": document(cell(metadata=None)),
    "outputs null": document(cell(outputs=None)),
    "a later format": document(nbformat=99),
}
ODD = {
    "tags that are no list": document(cell(metadata={"tags": None})),
    "a kernel without a name": document(cell(), metadata={"kernelspec": {"name": 1}}),
    "no outputs": document({"cell_type": "code", "source": "1", "metadata": {}}),
    "keys twice": document(cell())[:-1] + ', "metadata": {}}',
    "a byte order mark": "\ufeff" + document(cell()),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("option", ["--runs=2", "--recorded"])
def test_what_is_malformed_is_a_sentence(tmp_path: Path, name: str, option: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(MALFORMED[name])
    done = cli.invoke(app, ["verify", option, str(path)])
    assert (done.exit_code, done.exception.__class__) == (2, SystemExit), done.exception
    assert "n.ipynb is not a notebook: " in done.stdout


@pytest.mark.parametrize("name", ODD)
def test_what_is_merely_odd_is_run(tmp_path: Path, no_kernel: list[Path], name: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(ODD[name], encoding="utf-8")
    assert cli.invoke(app, ["verify", str(path)]).exit_code == 0
    assert no_kernel == [path]


def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "utf16.ipynb").write_text(document(cell()), encoding="utf-16")
    with socket.socket(socket.AF_UNIX) as opened:
        os.chdir(tmp_path)  # a socket's path is short
        opened.bind("socket.ipynb")
        for path in ("pipe.ipynb", "/dev/zero", "socket.ipynb", "utf16.ipynb", "x" * 5000, "a\0b"):
            with pytest.raises(NotRunnableError, match=r"is not a notebook|cannot be read"):
                notebook_file.load(Path(path))
    done = cli.invoke(app, ["verify", "x" * 5000])
    assert (done.exit_code, "File name too long" in done.stdout) == (2, True)


def test_names_and_errors_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    name = "a\n✓ b\x1b[31m\u202e.ipynb"
    (tmp_path / name).write_text("{")
    done = cli.invoke(app, ["verify", str(tmp_path / name)])
    assert r"a\n✓ b\x1b[31m\u202e.ipynb is not a notebook" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    notebook(tmp_path / name, "!echo \x1b[2J")
    done = cli.invoke(app, ["verify", str(tmp_path / name)])
    assert r"cell 1: !echo \x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_who_stops_reading_gets_the_exit_code_all_the_same(tmp_path: Path) -> None:
    path = notebook(tmp_path / "text.ipynb")
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "repro_magic", "verify", str(path), str(path), str(tmp_path / "no.ipynb")]
    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, text=True, check=False)
    os.close(written)
    assert (done.returncode, done.stderr) == (2, "")


def test_the_version_is_told() -> None:
    done = cli.invoke(app, ["--version"])
    assert (done.exit_code, done.stdout.split()[0]) == (0, "repro-magic")


@pytest.mark.kernel
def test_what_programs_print_is_in_no_verdict(tmp_path: Path) -> None:
    loud = (
        "import ctypes, os, subprocess\n"
        "_ = subprocess.run(['printf', '\\033[31mfrom a program'])\n"
        "_ = os.write(1, b'from Python\\n'), os.write(2, b'an error\\n')\n"
        "_ = ctypes.CDLL(None).puts(b'from C')"
    )
    command = [sys.executable, "-m", "repro_magic", "verify", "--json", "-", str(notebook(tmp_path / "n.ipynb", loud))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [verdict] = json.loads(done.stdout)
    assert verdict["outcome"] == "same"
    for text in ("from a program", "from Python", "an error", "from C", "\x1b[31m"):
        assert text not in done.stderr


def test_an_interrupted_batch_writes_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN three notebooks WHEN Ctrl-C comes in the second THEN the files hold the first; the others did not run."""

    def verified(job: Job, _progress: object) -> JobResult:
        if job.path.stem != "a":
            raise KeyboardInterrupt
        return JobResult(job, NotebookVerdict(str(job.path), 2, 2, []))

    monkeypatch.setattr("repro_magic.cli.progress.verify_one", verified)
    paths = [str(notebook(tmp_path / f"{name}.ipynb", "x = 1")) for name in "abc"]
    to = tmp_path / "v.json"
    done = cli.invoke(app, ["verify", "--json", str(to), "--html", str(tmp_path / "v.html"), *paths])
    assert done.exit_code == 3
    told = "repro-magic: interrupted; nothing was left behind; not run to the end: "
    assert f"{told}{paths[1]}, {paths[2]}" in done.stderr
    assert [found["error"] for found in json.loads(to.read_text())] == ["", "interrupted", "interrupted"]
    assert (tmp_path / "v.html").exists()
    assert "⚠ 1 of 3 notebooks reproduced, 2 failed" in done.stdout


CONTRADICTIONS = [
    (["--recorded", "--runs", "3"], "give --runs, or --recorded, which compares a single run with the record"),
    (["--recorded", "--sidecar"], "give --sidecar, which writes a record, or --recorded"),
    (["--exact", "--ulp", "1"], "give --exact or a tolerance, not both"),
    (["--root", "nowhere"], "--root nowhere is not there"),
    (["--root", "a.ipynb"], "--root a.ipynb is not a folder"),
    (["--root", "below"], "a.ipynb does not lie in below: give a --root that holds the notebook"),
    (["--json", "a", "--html", "./a"], "--json and --html both name a: give two different files"),
]


@pytest.mark.parametrize(("options", "told"), CONTRADICTIONS, ids=lambda value: str(value))
def test_options_that_cannot_be_followed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kernel: list[Path], options: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook(tmp_path / "a.ipynb", "x = 1")
    (tmp_path / "below").mkdir()
    done = cli.invoke(app, ["verify", *options, "a.ipynb"])
    assert (done.exit_code, no_kernel) == (2, [])
    assert told in done.output


TERMINALS = [(True, "A", True), (True, "JPY_PARENT_PID", False), (False, "FORCE_COLOR", False)]


@pytest.mark.parametrize(("is_tty", "variable", "is_shown"), TERMINALS)
def test_bars_are_drawn_on_terminals_only(
    monkeypatch: pytest.MonkeyPatch, *, is_tty: bool, variable: str, is_shown: bool
) -> None:
    """GIVEN a notebook's `!command`, or colours forced on a log THEN no bar floods the output."""
    for name in ("JPY_PARENT_PID", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    monkeypatch.setattr(stderr, "isatty", lambda: is_tty)
    assert terminal_progress().disable is not is_shown


ENDS = [
    ("exit()", "cell 2 ended the kernel with exit()", "the 2 cells that ran agree between the runs"),
    ("quit", "cell 2 ended the kernel with exit()", "the 2 cells that ran agree between the runs"),
    ("import sys\nsys.exit('no data')", "cell 2 ended the run with sys.exit('no data')", "the cell that ran agrees"),
]


@pytest.mark.kernel
def test_a_notebook_that_ends_itself_says_so(tmp_path: Path) -> None:
    """GIVEN cells that call `exit()` and the like THEN they are named, and what ran before is compared."""
    for place, (code, _, _) in enumerate(ENDS):
        notebook(tmp_path / f"{place}.ipynb", "x = 1", code, "import os\nos._exit(1)")
    notebook(tmp_path / "last.ipynb", "x = 1", "exit()")
    done = cli.invoke(app, ["verify", str(tmp_path)])
    assert done.exit_code == 3
    for place, (_, error, before) in enumerate(ENDS):
        assert f"{place}.ipynb did not run to the end: {error}\n" in done.stdout
        assert f"Until then {before}" in done.stdout
    assert "last.ipynb reproduced" in done.stdout
    assert "died" not in done.output
