"""The magics in a shell of this process."""

from __future__ import annotations

import random
import re

import pytest
import torch
from conftest import switch_values
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from repro_magic.notebook import session

Shell = InteractiveShell


def shown(shell: Shell, line: str) -> str:
    with capture_output() as captured:
        shell.run_line_magic(*line.partition(" ")[::2])
    return "\n".join(output.data["text/plain"] for output in captured.outputs)


def test_seeding_shows_generator_device_and_seed(loaded: Shell) -> None:
    text = shown(loaded, "repro_seed 42")
    rows = [line.split() for line in text.splitlines()]
    assert ["python", "cpu", "42"] in rows
    assert ["torch", "cpu", "42"] in rows
    assert "String hashes" not in text, "what a seeding cannot change is said by the status alone"
    assert random.random() == 0.6394267984578837


def test_a_new_seed_is_drawn_used_and_shown(loaded: Shell) -> None:
    text = shown(loaded, "repro_seed --new")
    seed = torch.initial_seed()
    assert f"write %repro_seed {seed}" in text
    assert shown(loaded, "repro_seed --new") != text


def test_the_state_is_shown_without_arguments(loaded: Shell) -> None:
    assert "unseeded" in shown(loaded, "repro_seed")
    loaded.run_line_magic("repro_seed", "3")
    random.random()
    rows = [" ".join(line.split()) for line in shown(loaded, "repro_seed").splitlines()]
    assert any(row.startswith("python cpu 3 drawn from since seeding") for row in rows)
    assert any(row.startswith("torch cpu 3 not drawn from since seeding") for row in rows)


def test_generators_of_the_notebooks_own_are_adopted_and_named(loaded: Shell) -> None:
    loaded.run_cell(
        "import numpy as np, random, torch, types\n"
        "from sklearn.utils import check_random_state\n"
        "rng, again = np.random.default_rng(), random.Random()\n"
        "held = types.SimpleNamespace(rng=rng, legacy=[np.random.RandomState()], everybodys=check_random_state(None))\n"
        "loader = torch.utils.data.DataLoader(range(4), shuffle=True, generator=torch.Generator())"
    )
    draw = "[rng.random(), again.random(), held.legacy[0].rand(), *torch.rand(1, generator=loader.generator).tolist()]"
    text = shown(loaded, "repro_seed 42 --adopt")
    assert "Also seeded, each with its own seed: rng, again, held.legacy[0], loader.generator" in text
    first = loaded.ev(draw)
    assert len(set(first)) == 4
    shown(loaded, "repro_seed 42 --adopt")
    assert loaded.ev(draw) == first
    loaded.run_cell("before = random.Random()\nrng, more = np.random.default_rng(), np.random.default_rng()")
    shown(loaded, "repro_seed 42 --adopt")
    assert loaded.ev(draw)[:2] == first[:2], "one generator more changes no other's numbers"
    shown(loaded, "repro_seed 42")
    assert loaded.ev(draw)[:2] != first[:2], "without the flag they are left alone"


def test_nothing_to_adopt_is_told(loaded: Shell) -> None:
    assert "No notebook variable holds a generator to adopt." in shown(loaded, "repro_seed 1 --adopt")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--adopt", "--adopt needs a seed"),
        ("--ranks derived", "--ranks needs a seed"),
        ("-1", "not -1"),
        ("18446744073709551616", "not 18446744073709551616"),
        ("abc", "not 'abc'"),
        ("1.5", "not '1.5'"),
        ("SEED", "not 'SEED'; for a variable, write `%repro_seed $SEED`"),
        ("1 2", "unrecognized arguments: 2"),
        ("--nwe", "unrecognized arguments: --nwe"),
        ("--help", "unrecognized arguments: --help: write `%repro_seed?`"),
        ("--new 3", "not both"),
        ("'", "No closing quotation"),
    ],
)
def test_wrong_seed_arguments_change_nothing(loaded: Shell, line: str, reason: str) -> None:
    before = random.getstate(), torch.get_rng_state().tolist()
    with pytest.raises(UsageError) as error:
        loaded.run_line_magic("repro_seed", line)
    assert reason in str(error.value)
    assert "usage: %repro_seed [SEED | --new] [--adopt]" in str(error.value)
    assert (random.getstate(), torch.get_rng_state().tolist()) == before


@pytest.mark.parametrize(
    "line", ["--seed", "--seed x", "--seed -3", "--threads 0", "--threads x", "--nonsense", "7", "--name 'a"]
)
def test_wrong_cell_arguments_run_nothing(loaded: Shell, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = switch_values()
    result = loaded.run_cell(f"%%deterministic {line}\nran = True", store_history=True)
    assert isinstance(result.error_in_exec, UsageError)
    assert "usage: %%deterministic [--seed N]" in capsys.readouterr().err + str(result.error_in_exec)
    assert "ran" not in loaded.user_ns
    assert switch_values() == before


def test_status_shows_everything_and_escapes_it(loaded: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "<b>bold</b>")
    with capture_output() as captured:
        loaded.run_line_magic("repro_status", "")
    [output] = captured.outputs
    for part in ("Generators", "Switches", "Fixed in this process", "Versions", "Devices", "PYTHONHASHSEED", "cudnn"):
        assert part in output.data["text/plain"]
        assert part in output.data["text/html"]
    assert "<b>" not in output.data["text/html"]
    assert "&lt;b&gt;" in output.data["text/html"]
    for colour in ("background", "rgb(", "<script", "http"):
        assert colour not in output.data["text/html"], "the page's own colours, light or dark; nothing from outside"
    assert set(re.findall(r"color: ([^,;]*)", output.data["text/html"])) <= {"var(--jp-warn-color0"}


def test_status_takes_no_arguments(loaded: Shell) -> None:
    with pytest.raises(UsageError, match="unrecognized"):
        loaded.run_line_magic("repro_status", "everything")


def test_a_deterministic_cell_in_this_shell(loaded: Shell) -> None:
    with capture_output() as captured:
        result = loaded.run_cell(
            "%%deterministic --seed 1 --name first\nimport random\nrandom.random()", store_history=True
        )
    assert result.result == 0.13436424411240122
    assert "deterministic first: seed 1" in captured.outputs[-1].data["text/plain"]


def test_quiet_shows_no_line(loaded: Shell) -> None:
    with capture_output() as captured:
        loaded.run_cell("%%deterministic --quiet\n1", store_history=True)
    assert not [output for output in captured.outputs if "deterministic" in str(output.data)]


def test_a_lost_transformer_fails_loudly(loaded: Shell) -> None:
    """GIVEN an AST transformer list that somebody emptied WHEN a deterministic cell runs THEN its body does not."""
    transformers = list(loaded.ast_transformers)
    loaded.ast_transformers.clear()
    result = loaded.run_cell("%%deterministic\nran = True")
    loaded.ast_transformers.extend(transformers)
    assert type(result.error_in_exec).__name__ == "UnwrappedCellError"
    assert "the cell did not run" in str(result.error_in_exec)
    assert "ran" not in loaded.user_ns


def test_a_magic_that_was_there_before_is_back_after_unloading(shell: Shell) -> None:
    def own(line: str) -> str:
        return f"mine: {line}"

    shell.register_magic_function(own, magic_kind="line", magic_name="repro_seed")  # type: ignore[arg-type, call-arg]
    shell.run_line_magic("load_ext", "repro_magic")
    shell.run_line_magic("unload_ext", "repro_magic")
    assert shell.run_line_magic("repro_seed", "x") == "mine: x"


def test_unloading_stops_waiting_for_imports_and_loading_resumes(shell: Shell) -> None:
    from repro_magic.rng.seeding import seed_everything
    from repro_magic.runtime.import_hooks import waiting_for
    from repro_magic.watching import release

    release()
    before = waiting_for()
    seed_everything(1)
    waiting = waiting_for()
    shell.run_line_magic("load_ext", "repro_magic")
    assert set(waiting_for()) >= set(waiting)
    shell.run_line_magic("unload_ext", "repro_magic")
    assert waiting_for() == before == []
    shell.run_line_magic("load_ext", "repro_magic")
    assert set(waiting_for()) >= set(waiting)


def test_unloading_what_was_never_loaded_is_harmless(shell: Shell) -> None:
    session.unload(shell)


def test_a_comment_may_stand_behind_a_magics_arguments(loaded: Shell) -> None:
    loaded.run_line_magic("repro_seed", "42  # as in the paper")
    assert random.random() == random.Random(42).random()
    ran = loaded.run_cell("%%deterministic --seed 7 --quiet  # twice\nimport random\nx = random.random()")
    assert ran.success
    assert loaded.user_ns["x"] == random.Random(7).random()
