"""The panel without a browser: what its controls do, and what it says."""

from __future__ import annotations

import random
import re
import threading
import types
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import ipywidgets as widgets
import pytest
import torch
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell as Shell
from IPython.utils.capture import capture_output

import repro_magic
from repro_magic.determinism.settings import SETTINGS
from repro_magic.exceptions import HookFaultWarning, PanelError
from repro_magic.notebook.panel import Panel
from repro_magic.notebook.session import _sessions
from repro_magic.rng.seeding import seed_in_force
from repro_magic.views.document import Document
from repro_magic.views.panel import FILTERS

SEED_BEFORE = 7


@pytest.fixture
def panel(loaded: Shell) -> Iterator[Panel]:
    """A panel that was opened in a cell of its own, in a process seeded with 7."""
    with capture_output():
        loaded.run_cell(f"%repro_seed {SEED_BEFORE}\n%repro_panel", store_history=True)
    made = _sessions[loaded]._panel
    assert made is not None
    yield made
    widgets.Widget.close_all()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def text(widget: Any) -> str:
    """What a reader of an HTML widget sees."""
    parser = _Text()
    parser.feed(re.sub(r"<style>.*?</style>|<div class=\"repro-magic-lost\">.*", "", widget.value, flags=re.DOTALL))
    return " ".join(parser.parts)


@pytest.mark.usefixtures("panel")
def test_a_cell_on_another_thread_leaves_the_running_one_alone(loaded: Shell) -> None:
    """GIVEN a cell that runs WHEN a subshell's cell runs beside it THEN the first is watched on, and clicks wait."""
    host = _sessions[loaded]
    loaded.user_ns["beside"] = lambda: loaded.run_cell("%%deterministic\ny = torch.rand(3)", store_history=True)
    loaded.user_ns["seen"] = lambda: (host.is_running, len(host._watch.findings))
    cell = (
        "import threading, torch\n"
        "torch.zeros(3).index_add_(0, torch.tensor([0, 0]), torch.ones(2))\n"
        "other = threading.Thread(target=beside); other.start(); other.join()\n"
        "torch.rand(3).cumsum(0)\n"
        "found = seen()"
    )
    with capture_output():
        assert loaded.run_cell(cell, store_history=True).success
    assert loaded.user_ns["found"] == (True, 2)
    assert loaded.user_ns["y"].shape == (3,)
    assert loaded.history_manager is not None
    assert loaded.history_manager.input_hist_parsed[-1] == "%%deterministic\ny = torch.rand(3)"
    assert not host.is_running


@pytest.mark.usefixtures("panel")
def test_after_a_fault_of_ours_clicks_do_not_wait_for_ever(loaded: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    host = _sessions[loaded]
    monkeypatch.setattr(host._journal, "end", lambda *_, **__: 1 / 0)
    with capture_output(), pytest.warns(HookFaultWarning, match="post_run_cell hook failed"):
        loaded.run_cell("x = 1", store_history=True)
    assert not host.is_running


def code(panel: Panel) -> list[str]:
    return [line for part in [text(panel._code)] for line in part.splitlines()]


def run(shell: Shell, source: str) -> None:
    with capture_output():
        shell.run_cell(source, store_history=True)


def run_here(shell: Shell, during: Any) -> None:
    """Call a function in the middle of a cell."""
    shell.user_ns["_during"] = during
    result = shell.run_cell("_during()", store_history=True)
    assert result.success, result.error_in_exec


# Controls


@pytest.mark.parametrize("name", [one.name for one in SETTINGS])
def test_each_control_turns_its_setting_and_the_code_says_so(panel: Panel, name: str) -> None:
    (setting,) = (one for one in SETTINGS if one.name == name)
    control = panel.controls[name].control
    assert control.value == setting.read()
    chosen = setting.choices[-1] if setting.choices else (control.value + 1 if setting.is_count else not control.value)
    control.value = chosen
    assert setting.read() == chosen
    assert f"%config ReproMagic.{name} = {chosen!r}" in text(panel._code).splitlines()[2].split("Copy")[0]


def test_every_control_says_in_words_what_it_does(panel: Panel) -> None:
    for name, shown in panel.controls.items():
        control = shown.control
        said = getattr(control, "tooltips", None) or [getattr(control, "tooltip", None) or control.description_tooltip]
        assert all(len(one) > 20 for one in said), name
        assert control.description


def test_watching_is_turned_off_and_on(panel: Panel, loaded: Shell) -> None:
    panel.controls["watch"].control.value = False
    assert "%config ReproMagic.watch = False" in text(panel._code)
    assert "watching is off" in text(panel._header)
    loaded.run_cell("%config ReproMagic.watch = True")
    assert panel.controls["watch"].control.value is True


@pytest.mark.parametrize("typed", ["42", " 42 ", "0", str(2**64 - 1)])
def test_a_seed_is_typed_and_used(panel: Panel, typed: str) -> None:
    panel.seed.value = typed
    assert seed_in_force() == SEED_BEFORE, "not before the button is pressed"
    panel.seed_button.click()
    assert seed_in_force() == int(typed)
    assert f"Seeded {int(typed)}" in text(panel._header)
    assert f"%repro_seed {int(typed)}" in text(panel._code)


@pytest.mark.parametrize("typed", ["", "  ", "-1", "forty-two", "1.5", str(2**70), "<b>1</b>", "9" * 5000])
def test_a_wrong_seed_changes_nothing_and_says_why(panel: Panel, typed: str) -> None:
    before = random.getstate(), torch.get_rng_state().tolist()
    panel.seed.value = typed
    panel.seed_button.click()
    assert "Nothing was changed" in text(panel._seed_note)
    assert "<b>" not in panel._seed_note.value
    assert len(text(panel._seed_note)) < 150
    assert (random.getstate(), torch.get_rng_state().tolist()) == before
    assert seed_in_force() == SEED_BEFORE


def test_a_new_seed_is_drawn_and_written_down(panel: Panel) -> None:
    panel.new_seed_button.click()
    assert panel.seed.value == str(seed_in_force())
    assert seed_in_force() != SEED_BEFORE
    assert f"%repro_seed {seed_in_force()}" in text(panel._seed_note)


def test_opening_and_using_it_draws_nothing(panel: Panel, loaded: Shell) -> None:
    before = random.getstate(), torch.get_rng_state().tolist()
    run(loaded, "%repro_panel")
    panel.controls["cudnn_benchmark"].control.value = True
    panel.narrow.value = "active"
    panel.clear_button.click()
    assert (random.getstate(), torch.get_rng_state().tolist()) == before


# What it follows


def test_it_follows_the_cells(panel: Panel, loaded: Shell) -> None:
    number = loaded.execution_count
    run(loaded, "import random, torch\nrandom.random()\ntorch.backends.cudnn.benchmark = True")
    assert f"In[{number}]" in text(panel._generators)
    assert panel.controls["cudnn_benchmark"].control.value is True
    assert f"changed by In[{number}]: off → on" in text(panel.controls["cudnn_benchmark"].note)
    panel.controls["cudnn_benchmark"].control.value = False
    assert torch.backends.cudnn.benchmark is False
    assert text(panel.controls["cudnn_benchmark"].note) == ""


FLAGGED = """import torch
torch.set_num_threads(2)
x, i = torch.zeros(10), torch.randint(10, (200_000,), generator=torch.Generator().manual_seed(1))
x[i] = torch.linspace(0, 1, 200_000)
x.index_add_(0, i, torch.ones(200_000))"""


def test_findings_are_listed_narrowed_down_and_cleared(panel: Panel, loaded: Shell) -> None:
    run(loaded, FLAGGED)
    assert "not reproducible: 1 op on cpu" in text(panel._header)
    assert "index_put_" in text(panel._findings)
    assert "index_add_" in text(panel._findings)
    panel.narrow.value = "active"
    assert "index_put_" in text(panel._findings)
    assert "index_add_" not in text(panel._findings)
    panel.narrow.value = "handled"
    assert "index_put_" not in text(panel._findings)
    panel.clear_button.click()
    panel.narrow.value = "all"
    assert "No flagged op ran" in text(panel._findings)
    assert "nothing flagged" in text(panel._header)
    assert set(panel.narrow.options) == set(FILTERS)


def test_ten_thousand_findings_stay_a_short_table(panel: Panel, loaded: Shell) -> None:
    (finding,) = repro_findings()
    for number in range(100):
        _sessions[loaded]._journal.end(f"In[{number}]", None, [finding] * 100)
    run(loaded, "pass")
    assert panel._findings.value.count("<tr>") == 201
    assert "Newest 200 of 10000" in text(panel._findings)
    assert len(panel._copy["text/html"]) < 200_000


def repro_findings() -> list[Any]:
    with repro_magic.watch(warn=False) as report:
        torch.zeros(3).index_add_(0, torch.tensor([0, 0]), torch.ones(2))
    return report.findings


def test_names_are_escaped(panel: Panel, loaded: Shell) -> None:
    (finding,) = repro_findings()
    _sessions[loaded]._journal.end("<img src=x>", None, [finding])
    run(loaded, "pass")
    for shown in (panel._findings.value, panel._copy["text/html"]):
        assert "<img" not in shown
        assert "&lt;img" in shown


# While a cell runs


def test_a_click_during_a_cell_waits_for_its_end_and_says_so(panel: Panel, loaded: Shell) -> None:
    control = panel.controls["threads"]
    before = torch.get_num_threads()
    seen: list[Any] = []

    def during() -> None:
        control.control.value = before + 1
        control.control.value = before + 2
        panel.seed.value = "99"
        panel.seed_button.click()
        seen.extend([torch.get_num_threads(), seed_in_force(), text(control.note), text(panel._seed_note)])

    run_here(loaded, during)
    assert seen[:2] == [before, SEED_BEFORE]
    assert all("after the running cell" in one for one in seen[2:])
    assert (torch.get_num_threads(), seed_in_force()) == (before + 2, 99), "the last click counts"
    assert text(control.note) == ""


def test_a_click_on_another_thread_waits_too(panel: Panel, loaded: Shell) -> None:
    """As ipykernel's subshells do it."""
    control = panel.controls["cudnn_benchmark"].control

    def during() -> None:
        clicker = threading.Thread(target=lambda: setattr(control, "value", True))
        clicker.start()
        clicker.join()
        assert torch.backends.cudnn.benchmark is False

    run_here(loaded, during)
    assert torch.backends.cudnn.benchmark is True
    assert _sessions[loaded]._journal.drifts == {}


def test_another_thread_shows_what_the_running_cell_does(panel: Panel, loaded: Shell) -> None:
    control, threads = panel.controls["cudnn_benchmark"].control, panel.controls["threads"].control
    number = threads.value

    def during() -> None:
        torch.backends.cudnn.benchmark = True
        torch.zeros(3).index_add_(0, torch.tensor([0, 0]), torch.ones(2))
        follower = threading.Thread(target=panel._refresh)
        follower.start()
        follower.join()
        assert "index_add_" in text(panel._findings)
        assert control.value is True
        assert "changed by the running cell: off → on" in text(panel.controls["cudnn_benchmark"].note)
        assert threads.value == number, "their number belongs to the thread that asks"

    run_here(loaded, during)
    assert "changed by In[" in text(panel.controls["cudnn_benchmark"].note)


# Views, copies, the end


def test_a_second_call_shows_the_same_panel(panel: Panel, loaded: Shell) -> None:
    with capture_output() as captured:
        loaded.run_cell("import repro_magic\nrepro_magic.panel()")
    view, copy, *_ = captured.outputs
    assert view.data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.box.model_id
    assert "Seeded 7" in copy.data["text/plain"]
    assert "Seeded 7" in copy.data["text/html"]
    for forbidden in ("<script", "http:", "onclick"):
        assert forbidden not in copy.data["text/html"]


@pytest.mark.usefixtures("panel")
def test_only_the_last_places_are_kept_up_to_date(loaded: Shell) -> None:
    for _ in range(10):
        run(loaded, "%repro_panel")
    with capture_output() as captured:
        loaded.run_cell("import random\nrandom.random()", store_history=True)
    assert len(captured.outputs) <= 4


def test_an_unchanged_state_is_not_drawn_anew(panel: Panel, loaded: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    run(loaded, FLAGGED)
    run(loaded, "pass")
    monkeypatch.setattr(Document, "text", lambda _self: pytest.fail("the text takes long"))
    assert loaded.run_cell("1").success
    assert "The panel failed" not in text(panel._header)


def test_the_copy_has_what_the_panel_has(panel: Panel, loaded: Shell) -> None:
    run(loaded, FLAGGED)
    for shown in (panel._copy["text/plain"], panel._copy["text/html"]):
        for part in ("not reproducible: 1 op on cpu", "python", "cuDNN benchmark", "index_put_", "%repro_seed 7"):
            assert part in shown


def test_unloading_detaches_it(panel: Panel, loaded: Shell) -> None:
    loaded.run_line_magic("unload_ext", "repro_magic")
    assert "Extension unloaded: run %load_ext repro_magic, then %repro_panel" in text(panel._header)
    assert all(shown.control.disabled for shown in panel.controls.values())
    panel.controls["cudnn_benchmark"].control.value = True
    panel.seed_button.click()
    assert torch.backends.cudnn.benchmark is False
    assert loaded.run_cell("1 + 1").success


def test_a_follower_that_wakes_after_the_unloading_shows_nothing(panel: Panel, loaded: Shell) -> None:
    def during() -> None:
        loaded.run_line_magic("unload_ext", "repro_magic")
        follower = threading.Thread(target=panel._refresh)
        follower.start()
        follower.join()

    run_here(loaded, during)
    assert "Extension unloaded: run %load_ext repro_magic, then %repro_panel" in text(panel._header)


def test_what_waits_when_it_is_unloaded_does_not_happen_and_is_not_told(panel: Panel, loaded: Shell) -> None:
    def during() -> None:
        panel.controls["cudnn_benchmark"].control.value = True
        panel.seed.value = "9"
        panel.seed_button.click()
        loaded.run_line_magic("unload_ext", "repro_magic")

    run_here(loaded, during)
    assert (torch.backends.cudnn.benchmark, seed_in_force()) == (False, SEED_BEFORE)
    assert panel.controls["cudnn_benchmark"].control.value is False
    assert text(panel._seed_note) == ""


def test_the_function_loads_the_extension_so_that_it_can_be_unloaded(shell: Shell) -> None:
    run(shell, "import repro_magic\nrepro_magic.panel()")
    assert shell in _sessions
    shell.run_line_magic("unload_ext", "repro_magic")
    assert shell not in _sessions
    widgets.Widget.close_all()


def test_a_terminal_is_told_what_to_do(loaded: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "__class__", types.new_class("TerminalInteractiveShell", (Shell,)))
    with pytest.raises(UsageError, match="in a terminal, %repro_status"):
        loaded.run_line_magic("repro_panel", "")


def test_reloading_makes_a_new_one(panel: Panel, loaded: Shell) -> None:
    loaded.run_line_magic("reload_ext", "repro_magic")
    assert "Extension unloaded: run %load_ext repro_magic, then %repro_panel" in text(panel._header)
    run(loaded, "%repro_panel")
    new = _sessions[loaded]._panel
    assert new is not None
    assert new is not panel
    assert "Seeded 7" in text(new._header)


@pytest.mark.parametrize("part", ["box", "header", "control", "all"])
def test_closed_widgets_break_no_cell(panel: Panel, loaded: Shell, part: str) -> None:
    parts = {"box": panel.box, "header": panel._header, "control": panel.controls["threads"].control}
    if part == "all":
        widgets.Widget.close_all()
    else:
        parts[part].close()
    assert loaded.run_cell("import torch\ntorch.backends.cudnn.benchmark = True").success
    run(loaded, "%repro_panel")
    assert _sessions[loaded]._panel is not panel


def test_a_fault_in_it_detaches_it_and_the_cell_goes_on(
    panel: Panel, loaded: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "_show_findings", lambda: 1 / 0)
    with pytest.warns(match="closed its panel after an error"):
        assert loaded.run_cell("value = 3").success
    assert loaded.user_ns["value"] == 3
    assert "The panel failed" in text(panel._header)
    assert loaded.run_cell("1").success


def test_a_refused_setting_says_why_and_shows_the_truth(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("<b>not today</b>")

    control = panel.controls["cudnn_benchmark"]
    with monkeypatch.context() as patched:
        patched.setattr(torch._C, "_set_cudnn_benchmark", refuse)
        control.control.value = True
    assert "not today" in text(control.note)
    assert "<b>" not in control.note.value
    assert control.control.value is False


def test_what_is_fixed_is_disabled_with_the_reason(
    panel: Panel, loaded: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert panel._hashes.disabled
    assert "before starting the kernel" in text(panel._fixed)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "default_generators", (), raising=False)
    run(loaded, "pass")
    control = panel.controls["cublas_workspace"]
    assert control.control.disabled
    assert "cuBLAS has already read it" in text(control.note)


def test_without_a_notebook_it_says_what_to_do() -> None:
    Shell.clear_instance()
    with pytest.raises(PanelError, match="needs a notebook"):
        repro_magic.panel()


@pytest.mark.parametrize(
    ("prelude", "said"),
    [
        ("pass", "Seeded 7, nothing flagged"),
        ("import torch; torch.manual_seed(3)", "Seeded 7, but the notebook seeded torch (3)"),
        ("import torch; torch.backends.cudnn.benchmark = True", "Seeded 7, but code changed 1 setting"),
    ],
)
def test_the_headline_says_what_matters_most(panel: Panel, loaded: Shell, prelude: str, said: str) -> None:
    run(loaded, prelude)
    assert said in text(panel._header)
    assert re.search(r"[✓○⚠]", text(panel._header)), "never colour alone"


def test_who_seeded_is_said_first(loaded: Shell) -> None:
    run(loaded, "import random, numpy as np, torch\nrandom.seed(3); np.random.seed(3); torch.manual_seed(3)")
    run(loaded, "%repro_panel")
    made = _sessions[loaded]._panel
    assert made is not None
    assert "Seeded 3 by the notebook" in text(made._header)
    assert "%repro_seed" not in text(made._code)
    run(loaded, FLAGGED)
    assert "not reproducible: 1 op on cpu" in text(made._header)
    widgets.Widget.close_all()
