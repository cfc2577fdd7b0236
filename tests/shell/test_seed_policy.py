"""One seed policy: made by `%repro_seed`, kept by the session, shown by status and panel, given back as code."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from html import unescape

import ipywidgets as widgets
import pytest
from IPython.core.interactiveshell import InteractiveShell as Shell
from IPython.utils.capture import capture_output

import repro_magic
from repro_magic.notebook.panel import Panel
from repro_magic.notebook.session import _sessions
from repro_magic.rng.derive import rank_seed
from repro_magic.rng.seeding import seed_in_force
from repro_magic.views.panel import as_code

FLAGS = ("--adopt", "--per-cell", "--strict", "--ranks derived")
LINES = [
    " ".join(["%repro_seed 42", *chosen])
    for count in range(len(FLAGS) + 1)
    for chosen in itertools.combinations(FLAGS, count)
]
UNSEEDED = "import numpy as np\nfresh = np.random.default_rng()"
WAYS_ON = {"reloaded": "%reload_ext repro_magic", "loaded again": "%unload_ext repro_magic\n%load_ext repro_magic"}


def run(shell: Shell, source: str, cell_id: str | None = None) -> object:
    with capture_output():
        done = shell.run_cell(source, store_history=True, cell_id=cell_id)
    return done.result


def fails(shell: Shell, source: str) -> str:
    with capture_output():
        error = shell.run_cell(source, store_history=True).error_in_exec
    return type(error).__name__


def shown(shell: Shell, magic: str) -> str:
    with capture_output() as captured:
        shell.run_line_magic(magic, "")
    return "\n".join(output.data["text/plain"] for output in captured.outputs)


def code(shell: Shell) -> list[str]:
    return as_code(_sessions[shell].status()).splitlines()


@pytest.fixture
def panel(loaded: Shell) -> Iterator[Panel]:
    run(loaded, "%repro_panel")
    made = _sessions[loaded]._panel
    assert made is not None
    yield made
    widgets.Widget.close_all()


def press_seed(panel: Panel, seed: int) -> None:
    with capture_output():  # the copies of the panel are shown anew
        panel.seed.value = str(seed)
        panel.seed_button.click()


@pytest.mark.parametrize("line", LINES)
def test_as_code_gives_the_whole_line(loaded: Shell, line: str) -> None:
    run(loaded, line)
    assert line in code(loaded)
    run(loaded, code(loaded)[1])
    assert line in code(loaded), "the line gives itself again"


def test_as_code_gives_the_seed_that_was_asked_for_not_that_of_the_rank(
    loaded: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    run(loaded, "%repro_seed 42 --ranks derived")
    assert seed_in_force() == rank_seed(42, 3)
    assert "%repro_seed 42 --ranks derived" in code(loaded)


def test_as_code_follows_a_seed_given_by_code(loaded: Shell) -> None:
    run(loaded, "%repro_seed 42 --strict")
    repro_magic.seed_everything(5)
    assert "%repro_seed 5 --strict" in code(loaded)


@pytest.mark.parametrize("line", LINES)
def test_status_and_panel_show_it(loaded: Shell, panel: Panel, line: str) -> None:
    run(loaded, line)
    told = f"Seed policy: {line}"
    for text in (shown(loaded, "repro_status"), unescape(panel._generators.value), panel._copy["text/plain"]):
        assert (re.search(f"{re.escape(told)}$|{re.escape(told)}<", text, re.MULTILINE) is not None) is (
            line in LINES[1:]
        )


def test_a_seed_without_flags_ends_the_policy(loaded: Shell) -> None:
    run(loaded, "%repro_seed 42 --per-cell --strict --adopt")
    run(loaded, "%repro_seed 7")
    assert code(loaded)[1] == "%repro_seed 7"
    assert fails(loaded, UNSEEDED) == "NoneType"
    assert run(loaded, "import random\nrandom.random()", "a") != run(loaded, "import random\nrandom.random()", "a")


def test_the_panels_seed_button_keeps_the_flags(loaded: Shell, panel: Panel) -> None:
    run(loaded, "import random, numpy as np\nrng = np.random.default_rng(1)")
    run(loaded, "%repro_seed 42 --per-cell --strict --adopt")
    first = run(loaded, "[random.random(), rng.random()]", "a")
    press_seed(panel, 7)
    assert "%repro_seed 7 --adopt --per-cell --strict" in code(loaded)
    assert "write %repro_seed 7 --adopt --per-cell --strict" in unescape(panel._seed_note.value)
    other = run(loaded, "[random.random(), rng.random()]", "a")
    assert other != first
    assert run(loaded, "[random.random(), rng.random()]", "a") == other, "each cell still has its seed"
    assert fails(loaded, UNSEEDED) == "UnseededGeneratorError"
    press_seed(panel, 42)
    assert run(loaded, "[random.random(), rng.random()]", "a") == first


def test_the_panels_seed_button_adopts_as_the_line_does(loaded: Shell, panel: Panel) -> None:
    run(loaded, "import numpy as np\nrng = np.random.default_rng(1)\n%repro_seed 7 --adopt")
    first = run(loaded, "rng.random()")
    press_seed(panel, 7)
    assert run(loaded, "rng.random()") == first


def test_a_rank_that_went_missing_is_told_in_the_panel(
    loaded: Shell, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(loaded, "%repro_seed 42 --ranks derived")
    monkeypatch.setenv("RANK", "none")
    press_seed(panel, 7)
    assert "Nothing was changed" in panel._seed_note.value
    assert seed_in_force() == 42


@pytest.mark.parametrize("way", WAYS_ON)
def test_it_survives(loaded: Shell, way: str) -> None:
    run(loaded, "import random, numpy as np\nrng = np.random.default_rng(1)")
    run(loaded, "%repro_seed 42 --per-cell --strict --adopt")
    draw = "[random.random(), rng.random()]"
    first, second = run(loaded, draw, "a"), run(loaded, draw, "b")
    run(loaded, WAYS_ON[way])
    assert "%repro_seed 42 --adopt --per-cell --strict" in code(loaded)
    assert [run(loaded, draw, "b"), run(loaded, draw, "a")] == [second, first]
    assert first != second
    assert fails(loaded, UNSEEDED) == "UnseededGeneratorError"


def test_nothing_is_in_force_while_the_extension_is_unloaded(loaded: Shell) -> None:
    run(loaded, "import random\n%repro_seed 42 --per-cell --strict")
    run(loaded, "%unload_ext repro_magic")
    assert run(loaded, "random.random()", "a") != run(loaded, "random.random()", "a")
    assert fails(loaded, UNSEEDED) == "NoneType"


def test_another_shell_has_no_policy(loaded: Shell) -> None:
    run(loaded, "%repro_seed 42 --per-cell")
    Shell.clear_instance()
    other = Shell.instance()
    try:
        run(other, "%load_ext repro_magic")
        assert _sessions[other].status().seed_policy is None
    finally:
        other.run_line_magic("unload_ext", "repro_magic")


@pytest.mark.parametrize("line", ["%repro_seed -1 --strict", "%repro_seed x --per-cell", "%repro_seed --new 3"])
def test_a_wrong_line_changes_nothing(loaded: Shell, line: str) -> None:
    run(loaded, "%repro_seed 42 --strict")
    state = random.getstate()
    fails(loaded, line)
    assert random.getstate() == state
    assert "%repro_seed 42 --strict" in code(loaded)
    assert fails(loaded, UNSEEDED) == "UnseededGeneratorError"


def test_a_new_seed_is_told_with_its_flags(loaded: Shell) -> None:
    with capture_output() as captured:
        loaded.run_cell("%repro_seed --new --adopt", store_history=True)
    told = captured.outputs[0].data["text/plain"]
    assert f"write %repro_seed {seed_in_force()} --adopt" in told
