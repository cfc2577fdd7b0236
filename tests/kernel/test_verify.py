"""`repro-magic verify`: fresh kernels, compared cell by cell."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT, run_and_store
from verify_command import cli, notebook, parts, verify

import repro_magic
from repro_magic.cli import app
from repro_magic.cli.exit_codes import worst
from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.compare.differences import output
from repro_magic.proof.compare.runs import compare
from repro_magic.proof.kernel.numeric_distance import Tolerance
from repro_magic.proof.run import notebook_file, runner
from repro_magic.proof.run.consent import shell_lines
from repro_magic.proof.run.options import RunOptions
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import CellVerdict, NotebookVerdict, Outcome, Part
from repro_magic.proof.verification import Job, verify_all, verify_one
from repro_magic.views.verdict import overall, summary

QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"


AS_FAR = ("not comparable", True, False)


@pytest.mark.kernel
def test_values_that_were_never_shown_are_compared(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "with space é.ipynb",
        "import torch, os\nseeded = torch.rand(3, generator=torch.Generator().manual_seed(1))",
        "unseeded = torch.rand(3)\nprint('looks the same')",
        "kept = seeded + 1",
        "def train(held):\n    held.append(os.urandom(8))\nheld = []",
        "train(held)",
    )
    before = path.read_bytes()
    code, verdict, told = verify(path)
    assert code == 1
    assert (verdict["outcome"], verdict["runs"], verdict["agreed"]) == ("differs", 2, 1)
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "differs", "same", "same", "differs"]
    assert parts(verdict, 2) == {"unseeded": "differs", "stdout": "same"}
    assert parts(verdict, 5) == {"held": "differs"}, "a call that assigns nothing, and changes a name"
    assert "unseeded: torch.Tensor torch.float32 [3]:" in told
    assert path.read_bytes() == before


@pytest.mark.kernel
def test_changes_behind_a_tensors_back_are_seen(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import numpy, torch\nx = torch.zeros(4)",
        "x.numpy()[:] = numpy.random.default_rng().random(4)",
    )
    _, verdict, _ = verify(path)
    assert [parts(verdict, number)["x"] for number in (1, 2)] == ["same", "differs"]


@pytest.mark.kernel
def test_noise_alone_reproduces(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "noise.ipynb",
        "print(object())",
        "%%time\nsum(range(3_000_000))",
        "class Model: pass\nmodel = Model()\nmodel",
    )
    code, verdict, told = verify(path)
    assert code == 0
    assert [cell["outcome"] for cell in verdict["cells"]] == ["only noise"] * 3
    assert "2 of 2 runs agreed; only noise differed" in told


@pytest.mark.kernel
def test_what_cannot_be_compared_is_listed_and_is_no_tick(tmp_path: Path) -> None:
    cells = "import socket\nx = 1", "sock = socket.socket()\nlock = __import__('threading').Lock()"
    path = notebook(tmp_path / "n.ipynb", *cells)
    code, verdict, told = verify(path)
    assert (code, verdict["outcome"], verdict["reproduces"], verdict["all_compared"]) == (0, *AS_FAR)
    entries = [(one["cell"], one["name"], one["kind"]) for one in verdict["not_compared"]]
    assert entries == [(2, "sock", "socket.socket"), (2, "lock", "_thread.lock")]
    left_out = "not compared: cell 2 `sock` (socket.socket), cell 2 `lock` (_thread.lock)"
    assert f"≈ {path}: the same as far as can be compared; {left_out}" in told
    assert "✓" not in told
    assert "`# repro: accept NAME`" in told
    code, verdict, told = verify("--strict", path)
    assert (code, verdict["reproduces"]) == (5, False)
    assert f"--strict asks for all to be compared; {left_out}" in told
    accepted = notebook(tmp_path / "a.ipynb", cells[0], f"{cells[1]}  # repro: accept sock, lock")
    code, verdict, told = verify("--strict", accepted)
    assert (code, verdict["reproduces"], verdict["all_compared"]) == (0, True, False)
    assert "the same but for what the notebook leaves out; not compared: cell 2 `sock` (socket.socket, acc" in told


@pytest.mark.kernel
def test_errors_fail_unless_their_author_expects_them(tmp_path: Path) -> None:
    code, verdict, told = verify(notebook(tmp_path / "f.ipynb", "1 / 0", "x = 1"))
    assert code == 3
    assert [cell["outcome"] for cell in verdict["cells"]] == ["failed"]
    assert "ZeroDivisionError" in told
    code, verdict, _ = verify(notebook(tmp_path / "g.ipynb", "1 / 0", tags=("raises-exception",)))
    assert (code, verdict["outcome"]) == (0, "same")


@pytest.mark.kernel
def test_a_cell_that_never_ends_and_one_that_asks(tmp_path: Path) -> None:
    code, verdict, told = verify("--timeout", "2", notebook(tmp_path / "t.ipynb", "while True: pass"))
    assert code == 3
    assert "cell 1 took more than 2 s" in told
    assert [cell["outcome"] for cell in verdict["cells"]] == ["failed"]
    code, _, told = verify(notebook(tmp_path / "i.ipynb", "input()"))
    assert code == 3
    assert "it asks for input, and nobody is there to give any" in told


@pytest.mark.kernel
def test_values_that_take_longer_to_read_than_a_cell_may_are_read_all_the_same(tmp_path: Path) -> None:
    slow = (
        "import time\nfrom repro_magic.proof.kernel import probe\nvalues = probe.values\n"
        "probe.values = lambda *given, **more: (time.sleep(6), values(*given, **more))[1]\nx = 1"
    )
    code, verdict, _ = verify("--timeout", "4", notebook(tmp_path / "n.ipynb", slow))
    assert (code, parts(verdict, 1)["x"]) == (0, "same")


@pytest.mark.kernel
def test_what_a_widget_shows_is_read(tmp_path: Path) -> None:
    widget = "import random, ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print(random.random())\nout"
    code, verdict, _ = verify(notebook(tmp_path / "n.ipynb", "import random\nrandom.seed(1)", widget))
    assert code == 0, verdict


def test_a_fault_that_nobody_foresaw_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Run:
        raise KeyError("strange")

    monkeypatch.setattr(runner, "run", fail)
    code, verdict, told = verify(notebook(tmp_path / "n.ipynb", "1"))
    assert (code, verdict["outcome"]) == (3, "failed")
    assert "it could not be run: KeyError: 'strange'" in told


@pytest.mark.kernel
def test_plots_that_differ_are_told_in_pixels(tmp_path: Path) -> None:
    plot = "import random\nimport matplotlib.pyplot as plt\nplt.axis([0, 1, 0, 1])\nplt.plot([0, {}]);"
    code, verdict, _ = verify(notebook(tmp_path / "n.ipynb", plot.format("1"), plot.format("random.random()")))
    assert (code, [cell["outcome"] for cell in verdict["cells"]]) == (1, ["same", "differs"])
    [told] = [part["why"] for part in verdict["cells"][1]["outputs"] if part["name"] == "display 1 (image/png)"]
    assert re.fullmatch(r"[\d,]+ of [\d,]+ pixels differ, by at most \d+ of 255", told)


@pytest.mark.kernel
def test_a_kernel_that_dies_is_reported(tmp_path: Path) -> None:
    code, _, told = verify(notebook(tmp_path / "d.ipynb", "import os\nos._exit(1)"))
    assert code == 3
    assert "the kernel died in cell 1, and when it was tried once more it died again" in told


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
def test_temporary_paths_are_noise_in_values_as_in_texts(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import tempfile, uuid, pathlib\nfolder = tempfile.mkdtemp()\nfile = pathlib.Path(folder) / 'x.csv'",
        "import pandas as pd\npd.DataFrame({'a': [1, 2]}).style.highlight_max()",
    )
    code, verdict, told = verify(path)
    assert code == 0, told
    assert parts(verdict, 1) == {"folder": "only noise", "file": "only noise"}
    assert verify("--exact", path)[0] == 1
    assert verify("--sidecar", path)[0] == 0
    code, verdict, told = verify("--recorded", path)
    assert code == 0, told
    assert parts(verdict, 1) == {"folder": "only noise", "file": "only noise"}
    assert verify(notebook(path, "import uuid\nfolder = f'/tmp/a {uuid.uuid4()}'"))[0] == 1


@pytest.mark.kernel
def test_what_the_text_of_a_result_leaves_out_counts(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "%load_ext repro_magic\nimport numpy as np, os, uuid",
        "%%deterministic --seed 1\nnp.r_[np.zeros(3000), int.from_bytes(os.urandom(4)), np.zeros(3000)]",
        "np.zeros(3000)",
        "[uuid.uuid4()]",
        "from sklearn.linear_model import Ridge\nfrom sklearn.model_selection import GridSearchCV\n"
        "GridSearchCV(Ridge(), {'alpha': [1, 2]}, cv=2).fit([[1], [2], [3], [4]], [1, 2, 3, 4])",
    )
    told = {"result (text/plain)": "same", "the displayed value": "differs"}
    code, verdict, _ = verify(path)
    assert code == 1
    assert parts(verdict, 2) == told
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "differs", "same", "only noise", "only noise"]
    run_and_store(path)
    code, verdict, _ = verify("--recorded", path)
    assert code == 1
    assert parts(verdict, 2) == told


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


@pytest.mark.kernel
def test_the_quickstart_is_reproduced() -> None:
    code, verdict, told = verify(QUICKSTART)
    assert code == 0, told
    assert (verdict["runs"], verdict["agreed"]) == (2, 2)


@pytest.mark.kernel
def test_the_quickstart_without_its_seed_is_not_reproduced(tmp_path: Path) -> None:
    read = nbformat.read(QUICKSTART, as_version=4)
    for cell in read.cells:
        cell.source = cell.source.replace("%repro_seed 42", "").replace(" --seed 42", "")
    copy = tmp_path / "unseeded.ipynb"
    nbformat.write(read, copy)
    code, verdict, told = verify(copy)
    assert code == 1
    assert parts(verdict, 2)["order"] == "differs"
    assert "order: torch.Tensor torch.int64 [1797]: " in told


# Without kernels


def run(*values: dict[str, str], error: str = "") -> Run:
    cells = [
        CellRun(
            "x",
            [],
            {name: {"hex": text, "kind": "k", "dtype": None, "shape": None, "gaps": []} for name, text in one.items()},
        )
        for one in values
    ]
    return Run(cells, error)


def test_a_name_that_is_there_in_one_run_only_differs() -> None:
    found = compare("n", [run({"a": "1"}), run({})])
    assert found.outcome is Outcome.DIFFERS
    assert compare("n", [run({}), run({"a": "1"})]).outcome is Outcome.DIFFERS


def held_as(hex_: str, *gaps: tuple[str, str, str], kind: str = "k", **more: Any) -> dict[str, Any]:
    return {"hex": hex_, "kind": kind, "dtype": None, "shape": None, "gaps": [list(gap) for gap in gaps], **more}


def run_of(
    found: dict[str, Any], *, shown: str = "", displayed: dict[str, Any] | None = None, source: str = "x"
) -> Run:
    outputs = [{"output_type": "execute_result", "data": {"text/plain": shown}}] if shown else []
    return Run([CellRun(source, outputs, found, displayed=displayed)])


OPAQUE = ("", "socket.socket", "a handle")


def test_a_part_that_cannot_be_compared_keeps_the_tick_away() -> None:
    part = (".log", "_io.TextIOWrapper", "a handle")
    found = compare("n", [run_of({"m": held_as("1", part)})] * 2)
    assert (found.outcome, found.reproduces, found.all_compared) == (Outcome.NOT_COMPARABLE, True, False)
    assert [(one.name, one.kind) for one in found.not_compared] == [("m.log", "_io.TextIOWrapper")]
    other = run_of({"m": held_as("2", part)})
    assert compare("n", [run_of({"m": held_as("1", part)}), other]).outcome is Outcome.DIFFERS, "the rest differs"


def test_what_one_run_could_look_at_and_another_could_not_is_not_compared() -> None:
    seen, unseen = held_as("1", kind="a.M"), held_as("0", ("", "M", "it took too long"), kind="M")
    for pair in ((seen, unseen), (unseen, seen)):
        assert compare("n", [run_of({"m": one}) for one in pair]).outcome is Outcome.NOT_COMPARABLE
    assert compare("n", [run_of({"m": one}) for one in (held_as("1"), unseen)]).outcome is Outcome.DIFFERS


def test_what_is_close_is_so_as_far_as_it_can_be_compared() -> None:
    near = {"at": "", "dtype": "float", "shape": [], "differing": 1, "size": 1, "first": [], "max_abs": 1e-12}
    near |= {"max_ulp": 3, "is_close": True}
    gap = (".log", "file", "a handle")
    one, other = held_as("1", gap), held_as("2", gap, distance=near, **{"from": "1"})
    found = compare("n", [run_of({"m": one}), run_of({"m": other})], Tolerance(rtol=1e-6))
    assert found.outcome is Outcome.NOT_COMPARABLE
    assert "else " in found.not_compared[0].why


def test_a_displayed_value_that_cannot_be_compared_is_listed_unless_a_name_holds_it() -> None:
    opaque = held_as("1", OPAQUE)
    found = compare("n", [run_of({}, shown="<frame>", displayed=opaque)] * 2)
    assert [one.name for one in found.not_compared] == ["the displayed value"]
    found = compare("n", [run_of({"s": opaque}, shown="<frame>", displayed=opaque)] * 2)
    assert [one.name for one in found.not_compared] == ["s"]


def test_strict_takes_only_what_the_notebook_accepts() -> None:
    def of(source: str) -> NotebookVerdict:
        return replace(compare("n", [run_of({"s": held_as("1", OPAQUE)}, source=source)] * 2), is_strict=True)

    assert (of("s = 1").reproduces, of("s = 1").lacks_proof) == (False, True)
    gap = held_as("1", ("", "file", "its format holds the time of writing"), kind="file")
    found = compare("n", [run_of({"file m.npz": gap}, source="save()  # repro: accept m.npz")] * 2)
    assert [one.is_declared for one in found.not_compared] == [True]
    assert (of("s = 1  # repro: accept s").reproduces, of("s = 1  # repro: accept t").reproduces) == (True, False)


def test_the_exit_code_of_several_is_that_of_the_worst() -> None:
    assert [worst(codes) for codes in ((0, 5), (5, 1), (1, 4), (3, 5))] == [5, 1, 4, 3]


def test_many_cells_of_which_the_same_is_said_are_one_entry() -> None:
    part = Part("", Outcome.NOT_COMPARABLE, "w", kind="no values recorded")
    cells = [CellVerdict(number, "x", [part]) for number in range(1, 7)]
    cells.append(CellVerdict(7, "x", [Part("s", Outcome.NOT_COMPARABLE, kind="socket.socket")]))
    told = summary(NotebookVerdict("a.ipynb", 1, 1, cells)).text
    assert told.endswith("cells 1, 2, 3 and 3 more (no values recorded), cell 7 `s` (socket.socket)")


def test_several_notebooks_are_ticked_only_if_all_of_each_was_compared() -> None:
    whole = compare("n", [run_of({"x": held_as("1")})] * 2)
    part = compare("n", [run_of({"s": held_as("1", OPAQUE)})] * 2)
    assert overall([whole, whole]).text == "✓ 2 of 2 notebooks reproduced"
    assert overall([whole, part]).text == "≈ 1 of 2 notebooks reproduced, 1 the same as far as can be compared"
    assert overall([whole, replace(part, is_strict=True)]).text.startswith("⚠ 1 of 2 notebooks reproduced, 1 not comp")


@pytest.mark.kernel
def test_a_hash_seed_from_outside_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    found = repro_magic.verify(notebook(tmp_path / "n.ipynb", "x = list({'a', 'b', 'c'})"), strict=True)
    assert found.reproduces
    assert found.notes == [
        "String hashes are fixed to 7 here by PYTHONHASHSEED: the order of sets of strings may differ elsewhere."
    ]


def test_only_the_names_that_a_cell_changed_are_told_of_it() -> None:
    found = compare("n", [run({"a": "1"}, {"b": "2"})] * 2)
    assert [[part.name for part in cell.values] for cell in found.cells] == [["a"], ["b"]]


def test_runs_that_agree_are_counted() -> None:
    same, other = run({"a": "1"}), run({"a": "2"})
    assert compare("n", [same, same, other, same]).agreed == 3
    assert compare("n", [same, run(error="it died")]).outcome is Outcome.FAILED


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


# Side by side, distances, tolerances, pages, sharing


@pytest.mark.kernel
def test_how_far_values_are_apart_and_what_is_close(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "d.ipynb",
        "import numpy, os, time",
        "x = numpy.ones((2, 2), 'float32')\nx[1, 0] += (time.time_ns() % 999_983) * numpy.float32(2) ** -23",
        "print('x is', x[1, 0])",
    )
    code, verdict, told = verify(path)
    [part] = [part for part in verdict["cells"][1]["values"] if part["name"] == "x"]
    distance = part["distance"]
    assert code == 1
    assert (distance["dtype"], distance["shape"], distance["size"], distance["differing"]) == ("float32", [2, 2], 4, 1)
    assert distance["first"] == [1, 0]
    assert 0 < distance["max_ulp"] < 10**6
    assert "1 of 4 elements differs, the first at [1, 0]; by at most" in part["why"]
    assert "x: numpy.ndarray float32" in told
    code, verdict, told = verify("--rtol", "0.5", "--runs", "3", path)
    assert (code, verdict["outcome"], verdict["agreed"]) == (0, "close", 3)
    assert "some numbers are close, within the tolerance" in told


def test_a_distance_from_an_earlier_value_is_none_of_this_one() -> None:
    """GIVEN one run that goes on to another value WHEN the other keeps its close one THEN they are not close."""
    near = {"at": "", "dtype": "float", "shape": [], "differing": 1, "size": 1, "first": [], "max_abs": 1e-12}
    near |= {"max_ulp": 3, "is_close": True}
    first, second = run({"x": "1"}, {"x": "100"}), run({"x": "2"}, {})
    second.cells[0] = CellRun("x", [], {"x": {**second.cells[0].changed["x"], "distance": near, "from": "1"}})
    found = compare("n", [first, second], Tolerance(rtol=1e-6))
    assert [cell.outcome for cell in found.cells] == [Outcome.CLOSE, Outcome.DIFFERS]


@pytest.mark.parametrize(
    ("one", "other", "is_close"),
    [
        ("0.12345", "0.12346", True),
        ("0.9", "1.0", False),
        ("1e-03", "2e-03", False),
        ("3.", "4.", False),
        ("7", "8", False),
    ],
)
def test_printed_numbers_are_close_but_for_a_last_digit_that_is_a_trifle(
    one: str, other: str, *, is_close: bool
) -> None:
    part = output("stdout", [f"x = {one}", f"x = {other}"], Tolerance(rtol=1e-9))
    assert (part.outcome is Outcome.CLOSE) is is_close


@pytest.mark.kernel
def test_gradients_and_objects_that_defend_themselves(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "g.ipynb",
        "import torch, os\nw, model = torch.ones(2, requires_grad=True), torch.nn.Linear(2, 1)",
        "(w * int.from_bytes(os.urandom(3))).sum().backward()",
        "class Odd:\n    def __getattr__(self, name):\n        raise ValueError(name)\nodd = Odd()\nglobals()[3] = 4",
        "class Sys:\n    @property\n    def __class__(self):\n        raise SystemExit\nleaves = Sys()",
    )
    code, verdict, _ = verify(path)
    assert (code, parts(verdict, 2)) == (1, {"w.grad": "differs"})
    assert len(verdict["cells"]) == 4, "no name stops the others"


@pytest.mark.kernel
def test_what_code_holds_is_compared(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "c.ipynb",
        "import os, functools, torch\nfrom enum import Enum\n"
        "class Kept:\n    rate = 0.1\n    seen = None\n    def method(self): ...\n"
        "class Colour(Enum):\n    RED = 1\n"
        "def counter():\n    n = 0\n    def step(k):\n        nonlocal n\n        n += k\n    return step\n"
        "step = counter()\n"
        "def remember(x, held=[]):\n    held.append(x)\n"
        "@functools.wraps(remember)\ndef outer(*a):\n    return remember(*a)\n"
        "@torch.no_grad()\ndef decorated(): ...\ncompiled = torch.compile(lambda x: x)",
        "step(int.from_bytes(os.urandom(4)))",
        "remember(os.urandom(4))",
        "Kept.seen = os.urandom(4)",
    )
    code, verdict, _ = verify(path)
    assert code == 1
    held = ("Colour.__dict__", "Kept.__dict__", "remember.__defaults__", "step.__closure__")
    assert parts(verdict, 1) == dict.fromkeys(held, "same")
    assert parts(verdict, 2) == {"step.__closure__": "differs"}
    assert parts(verdict, 3) == {"remember.__defaults__": "differs"}
    assert parts(verdict, 4) == {"Kept.__dict__": "differs"}


@pytest.mark.kernel
def test_noise_counts_if_bits_are_all_that_counts(tmp_path: Path) -> None:
    path = notebook(tmp_path / "n.ipynb", "print(object())")
    assert verify(path)[0] == 0
    assert verify("--exact", path)[0] == 1


@pytest.mark.kernel
def test_figures_addresses_and_timings_alone_reproduce(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "f.ipynb",
        "import matplotlib.pyplot as plt\n%config InlineBackend.figure_formats = ['svg']\nplt.plot([1, 2, 3])",
        "%%time\nprint(object())",
    )
    code, verdict, _ = verify(path)
    assert (code, [cell["outcome"] for cell in verdict["cells"]]) == (0, ["only noise", "only noise"])


@pytest.mark.kernel
def test_notebooks_side_by_side_and_a_page_of_them(tmp_path: Path) -> None:
    paths = [notebook(tmp_path / f"{number}.ipynb", f"x = {number}", "'<b>'") for number in range(3)]
    bad = notebook(tmp_path / "bad.ipynb", "import os\n'<script>' + str(os.getpid())")
    page = tmp_path / "page.html"
    done = cli.invoke(app, ["verify", "--jobs", "2", "--html", str(page), "--json", "-", *map(str, [*paths, bad])])
    assert done.exit_code == 1, done.stderr
    told = json.loads(done.stdout)
    assert [Path(one["notebook"]).name for one in told] == ["0.ipynb", "1.ipynb", "2.ipynb", "bad.ipynb"]
    assert [one["reproduces"] for one in told] == [True, True, True, False]
    assert "3 of 4 notebooks reproduced, 1 differs" in done.stderr
    assert "3 of 4 notebooks reproduced" in page.read_text()
    assert "<script>" not in page.read_text()


@pytest.mark.kernel
@pytest.mark.parametrize("own", ["", "ACTIVE"])
def test_kernels_side_by_side_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    path = notebook(tmp_path / "n.ipynb", f"import os\nassert os.environ['OMP_WAIT_POLICY'] == '{own or 'PASSIVE'}'")
    assert verify_one(Job(path, RunOptions(shares_cores=True))).verdict.reproduces
    assert verify_one(Job(path)).verdict.reproduces is bool(own), "alone, nothing is set"


@pytest.mark.kernel
def test_any_executor_will_do(tmp_path: Path) -> None:
    jobs = [Job(notebook(tmp_path / f"{number}.ipynb", f"x = {number}")) for number in range(2)]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert [done.verdict.reproduces for done in verify_all(jobs, executor)] == [True, True]


@pytest.mark.kernel
def test_the_function_says_what_the_command_says(tmp_path: Path) -> None:
    found = repro_magic.verify(notebook(tmp_path / "n.ipynb", "import os\nx = os.urandom(3)"), timeout=60)
    assert (found.outcome, found.reproduces) == (Outcome.DIFFERS, False)
    with pytest.raises(ValueError, match="at least 2"):
        repro_magic.verify(tmp_path / "n.ipynb", runs=1)


@pytest.mark.kernel
def test_what_reproduces_is_shared_and_nothing_else(tmp_path: Path) -> None:
    good, bad = (
        notebook(tmp_path / "good.ipynb", "x = 1"),
        notebook(tmp_path / "bad.ipynb", "import os; x = os.urandom(8)"),
    )
    out = tmp_path / "out"
    done = cli.invoke(app, ["share", str(bad), "-o", str(out)])
    assert (done.exit_code, out.exists()) == (1, False)
    assert "share what reproduces" in done.stderr
    done = cli.invoke(app, ["share", str(good), "-o", str(out)])
    assert done.exit_code == 0, done.stderr
    assert "Binder has no GPU" in done.stdout
    shared = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert shared == {"binder/requirements.txt", "binder/runtime.txt", "binder/start", "good.repro.json"}
    (out / "binder" / "runtime.txt").write_text("mine")
    assert cli.invoke(app, ["share", str(good), "-o", str(out)]).exit_code == 2
    assert (out / "binder" / "runtime.txt").read_text() == "mine"
    assert cli.invoke(app, ["share", str(good), "-o", str(out), "--force"]).exit_code == 0


@pytest.mark.kernel
def test_a_change_that_no_code_names_is_told_of_the_cell_that_made_it(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import os, numpy as np, torch\n_ = torch.manual_seed(0)\nx = np.zeros(200_000)\nn = torch.nn.Linear(1, 1)",
        "_ = n.register_forward_hook(lambda *_: x.fill(os.getpid()))",
        "a = 1",
        "_ = n(torch.zeros(1, 1))",
        "b = 2",
    )
    code, verdict, _ = verify(path)
    assert code == 1
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "same", "same", "differs", "same"]
    assert parts(verdict, 4) == {"x": "differs"}
    assert verdict["cells"][3]["values"][0]["distance"]["differing"] == 200_000
    again = "A cell changed a value that its code does not name: run again, comparing everything after each cell."
    assert verdict["notes"] == [again]
