"""`%repro_verify`: the session replayed in a fresh kernel beside it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import run_in_kernel, runner
from IPython.core.history import HistoryManager

from repro_magic.notebook.replay import Ran, Replay, cells_of, each_once, texts_of
from repro_magic.proof.kernel.receipt import Facts, receipt
from repro_magic.proof.record.comparison import compare_with_record
from repro_magic.proof.record.session_record import SessionCell, recorded_in_session
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import NotebookVerdict, Outcome
from repro_magic.views.verdict import summary

pytestmark = pytest.mark.kernel

LOAD = "%load_ext repro_magic\nimport torch, random\n%repro_seed 1"
VALUES = ("x = torch.rand(3)", "u = random.SystemRandom().random()", "%%deterministic --seed 3\ny = x + u", "1 / 0")


def test_the_cell_that_would_not_reproduce_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_in_kernel(
        LOAD, *VALUES, "before = (x.sum(), u)\n%repro_verify --wait\nlater = 1", "before == (x.sum(), u)"
    )
    shown = ran.shown(5)
    assert "this session differs, first in In[3]: a fresh kernel does not match the session" in shown
    assert "u: float: digest" in shown
    assert "later" not in shown, "what stands below the line that asks has not run yet"
    verdicts = re.findall(r"^ \d .*? {2,}(same|differs)", shown, re.MULTILINE)
    assert verdicts == ["same", "same", "differs", "differs", "same", "differs"]
    assert ran.result(6) == "True", "the session is untouched"
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_reproduces_in_the_background() -> None:
    waits = "from repro_magic.notebook.session import _sessions\nnext(iter(_sessions.values()))._replay.wait()"
    ran = run_in_kernel(LOAD, VALUES[0], "%repro_verify", waits)
    assert "✓ this session reproduced: a fresh kernel matches the session" in ran.shown(2)


KEEPS_OUTPUTS = hasattr(HistoryManager, "outputs")  # IPython 9


def verdicts_in(shown: str) -> list[str]:
    return re.findall(r"^ \d .*? {2,}(same|only noise|not comparable|differs|failed)", shown, re.MULTILINE)


@pytest.mark.skipif(not KEEPS_OUTPUTS, reason="the history of this IPython holds no outputs")
def test_what_a_cell_printed_and_its_result_and_error_are_compared() -> None:
    draws = "import numpy\nprint(numpy.random.default_rng().random())"
    fails = "import numpy\nraise ValueError(numpy.random.default_rng().random())"
    noise = "class Plain: ...\nPlain()"
    ran = run_in_kernel("print('before')", LOAD, "print('sure')", noise, draws, fails, "%repro_verify --wait")
    assert verdicts_in(ran.shown(6)) == ["same", "same", "same", "only noise", "differs", "differs"]


def test_a_display_is_not_kept_and_is_never_called_the_same() -> None:
    shows = "from IPython.display import HTML, display\ndisplay(HTML('<b>sure</b>'))"
    draws = "import numpy\ndisplay(HTML(str(numpy.random.default_rng().random())))"
    ran = run_in_kernel(LOAD, shows, draws, "%repro_verify --wait")
    shown = " ".join(ran.shown(3).split())
    assert verdicts_in(ran.shown(3)) == ["same", "not comparable", "not comparable"]
    assert "the session does not keep it, and it may have been something else: numpy.random.default_rng" in shown
    assert shown.endswith("the same as far as can be compared; not compared: the output of In[2], In[3]")
    assert "✓" not in shown


def run_with_ids(*cells: tuple[str, str]) -> str:
    """What the last cell displayed, run by a front end that gives each cell an id."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source, _ in cells])
    with runner(notebook, allow_errors=True) as client, client.setup_kernel():
        for index, (cell, (_, cell_id)) in enumerate(zip(notebook.cells, cells, strict=True)):
            client.kc.session.metadata["cellId"] = cell_id  # type: ignore[union-attr]
            client.execute_cell(cell, index)
    return str(notebook.cells[-1].outputs[-1].data["text/plain"])


def test_a_value_that_was_overwritten_is_not_compared() -> None:
    unseeded = "import numpy as np\nw = np.random.default_rng().random(3)"
    ran = run_in_kernel(LOAD, "w = 0", unseeded, "w = w.shape", "%repro_verify --wait")
    assert verdicts_in(ran.shown(4)) == ["same", "not comparable", "not comparable", "same"]
    assert "not compared: In[2] `w` (overwritten in In[3] before it could be compared), In[3] `w` (over" in ran.shown(4)
    assert "✓" not in ran.shown(4)


def test_a_cell_that_ran_twice_is_tried_once_too() -> None:
    twice = [("x = 1", "b"), ("x = x + 1", "c"), ("x = x + 1", "c"), ("%repro_verify --wait", "d")]
    told = run_with_ids((LOAD, "a"), *twice)
    assert "⚠ this session reproduces in the order it ran, but not from top to bottom: In[4] ran twice" in told
    assert "x differs in In[4]" in told
    told = run_with_ids((LOAD, "a"), ("x = 1", "b"), ("x = 1", "b"), ("%repro_verify --wait", "d"))
    assert (
        "In[3] ran twice. Run once each from top to bottom in a second fresh kernel, the cells gave the same results."
        in told
    )


def test_the_replay_starts_from_the_hash_seed_that_the_session_started_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a seeding, which sets the variable for child processes WHEN a session is replayed THEN it is no such."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    ran = run_in_kernel(LOAD, "order = list({f's{i}' for i in range(50)})", "%repro_verify --wait")
    assert "order" in ran.shown(2)
    assert verdicts_in(ran.shown(2)) == ["same", "differs"]
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    ran = run_in_kernel(LOAD, "order = list({f's{i}' for i in range(50)})", "%repro_verify --wait")
    assert "✓ this session reproduced" in ran.shown(2)
    assert "String hashes are fixed to 0 here by PYTHONHASHSEED: the order of sets" in ran.shown(2)


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
    assert "a replay is still running; to stop it, run %repro_verify --stop" in ran.stream(3, "stderr")
    assert ran.stream(4, "stderr") == ""
    assert "usage: %repro_verify" in ran.stream(6, "stderr")


def test_lines_that_run_programs_need_a_yes() -> None:
    ran = run_in_kernel(LOAD, "!echo hi", "%repro_verify", "%repro_verify --wait --allow-shell")
    assert "to run them again, add --allow-shell: In[2]: !echo hi" in ran.stream(2, "stderr")
    assert ("reproduced" if KEEPS_OUTPUTS else "the same as far as can be compared") in ran.shown(3)


def test_names_that_no_cell_makes_are_told() -> None:
    made = "if 'once' not in __import__('os').environ:\n    __import__('os').environ['once'] = '1'; made = [1]"
    ran = run_in_kernel(LOAD, made, "%repro_verify --wait")
    assert "No cell of this session makes made, so a replay cannot either." in ran.shown(2), "the variable is inherited"


def test_python_ends_with_a_replay_that_runs() -> None:
    began = time.monotonic()
    run_in_kernel(LOAD, "import time\ntime.sleep(1)", "%repro_verify")
    assert time.monotonic() - began < 300


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


def cell_run(source: str, *gone: str, **values: object) -> CellRun:
    changed = receipt(Facts(source, values))["values"]
    return CellRun(source, [], changed, gone)


def session(*cells: CellRun, held: dict[str, object], receipts: tuple[int, ...] = ()) -> NotebookVerdict:
    """A session of these cells that replays to the same, where some cells have receipts."""
    ran = [
        SessionCell(number, cell.source, {"values": cell.changed, "generators": {}} if number in receipts else None)
        for number, cell in enumerate(cells, start=1)
    ]
    fresh = Run([*cells])
    return compare_with_record(
        "this session", recorded_in_session(ran, receipt(Facts("", held))["values"], fresh), fresh
    )


def test_what_no_later_look_could_see_is_not_compared() -> None:
    found = session(cell_run("x = 1", x=1), cell_run("x = 2", x=2), held={"x": 2})
    assert [cell.outcome for cell in found.cells] == [Outcome.NOT_COMPARABLE, Outcome.SAME]
    assert found.not_compared[0].kind == "overwritten in In[2] before it could be compared"
    assert session(cell_run("x = 1", x=1), cell_run("x = 2", x=2), held={"x": 2}, receipts=(1,)).all_compared
    found = session(cell_run("x = 1", x=1), cell_run("del x", "x"), held={})
    assert found.not_compared[0].kind == "deleted in In[2] before it could be compared"
    found = session(cell_run("x = 1", x=1), held={})
    assert found.outcome is Outcome.DIFFERS, "the replay has a name that the session lacks"


def test_a_file_that_a_replay_writes_is_not_missing_in_the_session() -> None:
    written: dict[str, Any] = {"hex": "1" * 64, "kind": "file", "dtype": None, "shape": None, "gaps": []}
    fresh = Run([CellRun("save()", [], {"file noise.npy": written})])
    found = compare_with_record("s", recorded_in_session([SessionCell(1, "save()")], {}, fresh), fresh)
    assert [(one.name, one.kind) for one in found.not_compared] == [("file noise.npy", "file")]


def test_a_displayed_value_that_changed_since_is_not_compared() -> None:
    def displayed(in_session: object) -> list[str]:
        digests = receipt(Facts("", {"now": in_session, "then": [1]}))["values"]
        shown = {"output_type": "execute_result", "data": {"text/plain": "[1]"}}
        fresh = Run([CellRun("f()", [shown], displayed=digests["then"])])
        cell = SessionCell(1, "f()", texts={"result (text/plain)": "[1]"}, displayed=digests["now"])
        found = compare_with_record("this session", recorded_in_session([cell], {}, fresh), fresh)
        return [one.kind for one in found.not_compared]

    assert displayed([1]) == []
    assert displayed([1, 2]) == ["no longer in Out"]


def test_a_cell_that_ran_again_is_one_of_the_notebook() -> None:
    cells = [Ran(1, "a", id="1"), Ran(2, "b"), Ran(3, "a2", id="1"), Ran(4, "b")]
    assert [cell.source for cell in each_once(cells)] == ["a2", "b", "b"]


def test_a_history_without_outputs_keeps_the_error_only() -> None:
    assert texts_of(object(), 1, "ValueError: no") == {"error": "ValueError: no"}


def test_the_sentence_on_a_session_that_holds_in_its_own_order_only() -> None:
    found = NotebookVerdict("this session", 1, 1, [], from_the_top="In[4] ran twice")
    told = "⚠ this session reproduces in the order it ran, but not from top to bottom: In[4] ran twice"
    assert summary(found).text == told


def test_a_mistyped_magic_is_no_difference() -> None:
    shown = run_in_kernel(LOAD, "%repro_seed abc", "%repro_verify --wait").shown(2)
    assert "differs" not in shown
