"""Settings: what a user turns for the whole process, in three ways that agree."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell as Shell

from repro_magic.determinism import settings
from repro_magic.determinism.settings import SETTINGS, Setting
from repro_magic.determinism.switches import Unreadable
from repro_magic.exceptions import InvalidSettingError
from repro_magic.process_status import status
from repro_magic.views.panel import as_code

IDS = [setting.name for setting in SETTINGS]


def other_value(setting: Setting) -> Any:
    """A value that a fresh process does not have."""
    if setting.is_count:
        return torch.get_num_threads() + 1
    return setting.choices[-1] if setting.choices else not setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
def test_each_setting_turns_its_switch_and_reads_it(setting: Setting) -> None:
    value = other_value(setting)
    before = setting.switch.read()
    setting.write(value)
    assert setting.read() == value
    assert setting.switch.read() != before


@pytest.mark.parametrize("setting", [one for one in SETTINGS if one.default is not None], ids=lambda one: one.name)
def test_the_table_knows_what_a_fresh_process_has(setting: Setting) -> None:
    code = (
        "import torch\nfrom repro_magic.determinism.settings import SETTINGS\n"
        f"print([one.read() for one in SETTINGS if one.name == {setting.name!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[{setting.default!r}]"


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
@pytest.mark.parametrize("value", [None, "yes", 1.0, [], 0, -1, 2**31])
def test_wrong_values_change_nothing_and_say_what_is_right(setting: Setting, value: Any) -> None:
    before = setting.switch.read()
    with pytest.raises(InvalidSettingError, match=r"one of|an integer from 1"):
        setting.write(value)
    assert setting.switch.read() == before


@pytest.mark.parametrize("mode", ["warn", "strict", "off"])
def test_deterministic_algorithms_are_those_of_pytorchs_own_function(mode: str) -> None:
    settings.DETERMINISTIC_ALGORITHMS.write(mode)
    names = {"off": "default", "warn": "warn", "strict": "error"}
    assert torch.get_deterministic_debug_mode() == list(names).index(mode)
    torch.set_deterministic_debug_mode(names[mode])
    assert settings.DETERMINISTIC_ALGORITHMS.read() == mode


def test_tf32_set_in_the_newer_way_is_told_and_can_be_turned() -> None:
    precision: Any = torch.backends.cuda.matmul
    precision.fp32_precision = "tf32"
    try:
        assert settings.MATMUL_TF32.read() is True
        assert "%config ReproMagic.matmul_tf32 = True" in as_code(status())
    finally:
        settings.MATMUL_TF32.write(False)
    assert settings.MATMUL_TF32.read() is False


def test_what_has_no_one_value_is_said_to_have_none() -> None:
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    convolutions.fp32_precision = "ieee"
    try:
        assert isinstance(settings.CUDNN_TF32.read(), Unreadable)
        assert "differs between convolutions and RNNs" in as_code(status())
    finally:
        settings.CUDNN_TF32.write(True)
    assert settings.CUDNN_TF32.read() is True


def test_what_can_no_longer_be_changed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(InvalidSettingError, match="restart the kernel"):
        settings.CUBLAS_WORKSPACE.write(True)
    (found,) = (one for one in status().settings if one.setting is settings.CUBLAS_WORKSPACE)
    assert found.blocked is not None


def test_a_setting_waits_for_pytorch_and_the_last_word_counts() -> None:
    code = """
from repro_magic.determinism.settings import CUDNN_BENCHMARK, DETERMINISTIC_ALGORITHMS, THREADS, stop_waiting
import sys
THREADS.write(1), THREADS.write(3), CUDNN_BENCHMARK.write(True), DETERMINISTIC_ALGORITHMS.write("warn")
assert (THREADS.read(), CUDNN_BENCHMARK.read()) == (3, True) and "torch" not in sys.modules
import torch
assert torch.get_num_threads() == 3 and torch.backends.cudnn.benchmark
assert torch.is_deterministic_algorithms_warn_only_enabled()
import torch._inductor.config
assert torch._inductor.config.deterministic
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_config_turns_the_process_and_reads_it(loaded: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    loaded.run_cell("%config ReproMagic.cudnn_benchmark = True")
    assert torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    loaded.run_cell("%config ReproMagic.cudnn_benchmark = True")
    assert torch.backends.cudnn.benchmark, "though it was set to that value before"
    torch.backends.cudnn.benchmark = False
    loaded.run_cell("value = get_ipython().run_line_magic('config', 'ReproMagic.cudnn_benchmark')")
    assert loaded.user_ns["value"] is False
    loaded.run_cell("%config ReproMagic")
    shown = capsys.readouterr().out
    assert all(f"ReproMagic.{setting.name}=" in shown for setting in SETTINGS)


def test_config_refuses_wrong_values(loaded: Shell, caplog: pytest.LogCaptureFixture) -> None:
    before = torch.get_num_threads()
    loaded.run_cell("%config ReproMagic.threads = 'many'")
    assert torch.get_num_threads() == before
    assert "an integer from 1" in caplog.text


def assignments() -> list[dict[str, Any]]:
    """Every pair of settings at values that a fresh process does not have."""
    return [
        {one.name: other_value(one), other.name: other_value(other)}
        for one, other in itertools.combinations(SETTINGS, 2)
    ]


def test_as_code_gives_the_same_state_again(loaded: Shell) -> None:
    """Pairwise over the settings, each time from a fresh process's values."""
    fresh = {setting: setting.read() for setting in SETTINGS}
    for chosen in assignments():
        for setting in SETTINGS:
            setting.write(chosen.get(setting.name, fresh[setting]))
        before = {setting.name: setting.switch.read() for setting in SETTINGS}
        code = as_code(status())
        if "threads" in chosen:  # outside a notebook nobody knows what the machine had at first
            code += f"\n%config ReproMagic.threads = {chosen['threads']}"
        for setting in SETTINGS:
            setting.write(fresh[setting])
        loaded.run_cell(code)
        assert {setting.name: setting.switch.read() for setting in SETTINGS} == before, chosen
