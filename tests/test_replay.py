"""`%repro_verify`: the session replayed in a fresh kernel beside it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from conftest import run_in_kernel

from repro_magic.notebook.replay import Ran, Replay, cells_of
from repro_magic.proof.runner import CellRun, Run

pytestmark = pytest.mark.kernel

LOAD = "%load_ext repro_magic\nimport torch, random\n%repro_seed 1"
VALUES = ("x = torch.rand(3)", "u = random.SystemRandom().random()", "%%deterministic --seed 3\ny = x + u", "1 / 0")


def test_the_cell_that_would_not_reproduce_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_in_kernel(
        LOAD, *VALUES, "before = (x.sum(), u)\n%repro_verify --wait\nlater = 1", "before == (x.sum(), u)"
    )
    shown = ran.shown(5)
    assert "this session differs, first in cell 3: a fresh kernel did not give what the session holds" in shown
    assert "u: builtins.float" in shown
    verdicts = re.findall(r"^ \d .*? {2,}(same|differs)", shown, re.MULTILINE)
    assert verdicts == ["same", "same", "differs", "differs", "same", "differs"]
    assert ran.result(6) == "True", "the session is untouched"
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_reproduces_in_the_background() -> None:
    waits = "from repro_magic.notebook.session import _sessions\nnext(iter(_sessions.values()))._replay.wait()"
    ran = run_in_kernel(LOAD, VALUES[0], "%repro_verify", waits)
    assert "✓ this session reproduced: a fresh kernel gave what the session holds" in ran.shown(2)


def test_what_a_cell_showed_is_not_kept_so_one_that_may_show_something_else_is_not_the_same() -> None:
    draws = "import numpy\nprint(numpy.random.default_rng().random())"
    fails = "import numpy\nraise ValueError(numpy.random.default_rng().random())"
    ran = run_in_kernel("print('before')", LOAD, "print('sure')", draws, fails, "%repro_verify --wait")
    shown = ran.shown(5)
    verdicts = re.findall(r"^ \d .*? {2,}(same|not comparable|differs)", shown, re.MULTILINE)
    assert verdicts == ["not comparable", "same", "same", "not comparable", "not comparable"]
    told = " ".join(shown.split())
    for why in ("it was not watched", "numpy.random.default_rng in line 2"):
        assert f"what it showed: it is not kept, and may have been something else: {why}" in told
    assert told.count("it is not kept") == 3, "once for each cell, however much it showed"


def test_it_can_be_stopped_and_runs_but_once() -> None:
    ran = run_in_kernel(
        LOAD,
        "y = 1",
        "%repro_verify",
        "%repro_verify",
        "%repro_verify --stop",
        "%repro_verify --stop",
        "%repro_verify --timeout 0",
    )
    assert "The replay was stopped." in ran.shown(2)
    assert "no replay is running" in ran.stream(5, "stderr")
    assert "a replay is still running; %repro_verify --stop ends it" in ran.stream(3, "stderr")
    assert ran.stream(4, "stderr") == ""
    assert "usage: %repro_verify" in ran.stream(6, "stderr")


def test_lines_that_run_programs_need_a_yes() -> None:
    ran = run_in_kernel(LOAD, "!echo hi", "%repro_verify", "%repro_verify --wait --allow-shell")
    assert "--allow-shell runs them once more: In[2]: !echo hi" in ran.stream(2, "stderr")
    assert "reproduced" in ran.shown(3)


def test_names_that_no_cell_makes_are_told() -> None:
    made = "if 'once' not in __import__('os').environ:\n    __import__('os').environ['once'] = '1'; made = [1]"
    ran = run_in_kernel(LOAD, made, "%repro_verify --wait")
    assert "No cell of this session makes made: a replay cannot either." in ran.shown(2), "the variable is inherited"


def test_python_ends_with_a_replay_that_runs() -> None:
    began = time.monotonic()
    run_in_kernel(LOAD, "import time\ntime.sleep(1)", "%repro_verify")
    assert time.monotonic() - began < 150


def test_what_has_run_is_what_counts() -> None:
    history = ["", "x = 1", " ", "y = 2\n%repro_verify\nz = 3", "%repro_verify --wait", "later"]
    assert [ran.source for ran in cells_of(history, {}, set(), 3)] == ["x = 1", "y = 2\n"]
    assert [ran.source for ran in cells_of(history, {}, {1}, 4)] == ["x = 1", "y = 2\nz = 3"]
    assert cells_of(history, {}, {1}, 4)[0].failed


def test_a_replay_knows_its_notebook() -> None:
    replay = Replay([Ran(1, "1 / 0", failed=True), Ran(2, "x = 1")], {})
    tags = [cell.metadata.get("tags", []) for cell in replay.notebook().cells]
    assert tags == [["raises-exception"], []]
    assert Run([CellRun("1 / 0", [], may_fail=True)]).error == ""
