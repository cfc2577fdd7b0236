"""`repro-magic verify`: fresh kernels, compared cell by cell."""

from __future__ import annotations

import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, run_and_store
from verify_command import cli, notebook, parts, verify

import repro_magic
from repro_magic.cli import app
from repro_magic.cli.exit_codes import worst
from repro_magic.proof.run import runner
from repro_magic.proof.run.options import RunOptions
from repro_magic.proof.run.runner import Run
from repro_magic.proof.verdict import Outcome
from repro_magic.proof.verification import Job, verify_all, verify_one

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
    assert f"--strict requires everything to be compared; {left_out}" in told
    accepted = notebook(tmp_path / "a.ipynb", cells[0], f"{cells[1]}  # repro: accept sock, lock")
    code, verdict, told = verify("--strict", accepted)
    assert (code, verdict["reproduces"], verdict["all_compared"]) == (0, True, False)
    assert "the same, except for what the notebook leaves out; not compared: cell 2 `sock` (socket.socket, acc" in told


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
    assert "`input()` is not available" in told


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


@pytest.mark.kernel
def test_what_a_displayed_widget_shows_counts_for_the_cell_that_wrote_it(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import random, time\nfrom IPython.display import display\nfrom ipywidgets import HBox, Output",
        "def panel():\n    box = Output()\n    display(HBox([box]))\n    return box.append_stdout\nwrite = panel()",
        "write('always the same')",
        "write(f'loss {random.random()}')",
        "def train():\n    display(box := Output())\n    with box:\n        print('took', time.time() - start, 's')",
        "start = time.time()\ntrain()",
    )
    code, verdict, _ = verify(path)
    assert code == 1
    assert parts(verdict, 3)["stdout in widget 1"] == "same"
    assert parts(verdict, 4)["stdout in widget 1"] == "differs"
    assert [cell["outcome"] for cell in verdict["cells"]].count("differs") == 1, verdict


def test_a_fault_that_nobody_foresaw_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Run:
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


def test_the_exit_code_of_several_is_that_of_the_worst() -> None:
    assert [worst(codes) for codes in ((0, 5), (5, 1), (1, 4), (3, 5))] == [5, 1, 4, 3]


@pytest.mark.kernel
def test_a_hash_seed_from_outside_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    found = repro_magic.verify(notebook(tmp_path / "n.ipynb", "x = list({'a', 'b', 'c'})"), strict=True)
    assert found.reproduces
    assert found.notes == [
        "String hashes are fixed to 7 here by PYTHONHASHSEED: the order of sets of strings may differ elsewhere."
    ]


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
    assert "some numbers differ within the tolerance" in told


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
