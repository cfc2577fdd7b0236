"""The switches: turned together, put back exactly, also by the value that the user had."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from conftest import switch_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro_magic.determinism import advice, switches
from repro_magic.determinism.applied import apply
from repro_magic.determinism.switches import (
    ALGORITHMS,
    CUBLAS_WORKSPACE,
    CUDNN_BENCHMARK,
    CUDNN_DETERMINISTIC,
    FILL_MEMORY,
    MKLDNN_DETERMINISTIC,
    SWITCHES,
    THREADS,
    Switch,
    Unreadable,
    deterministic_targets,
    read_all,
)
from repro_magic.exceptions import NotRestorableError

USER_SETTINGS = st.fixed_dictionaries(
    {
        ALGORITHMS: st.tuples(st.booleans(), st.booleans()),
        CUDNN_DETERMINISTIC: st.booleans(),
        CUDNN_BENCHMARK: st.booleans(),
        FILL_MEMORY: st.booleans(),
        MKLDNN_DETERMINISTIC: st.booleans(),
        CUBLAS_WORKSPACE: st.sampled_from([None, ":16:8", ":4096:8", ":0:0"]),
        THREADS: st.integers(1, 4),
    }
)
QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(user=USER_SETTINGS, strict=st.booleans(), threads=st.none() | st.integers(1, 4))
@QUICK
def test_whatever_the_user_had_is_back(user: dict[Switch, Any], strict: bool, threads: int | None) -> None:
    for switch, value in user.items():
        switch.write(value)
    before = switch_values()
    applied = apply(deterministic_targets(strict=strict, threads=threads))
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled() is not (strict or user[ALGORITHMS] == (True, False))
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert torch.backends.mkldnn.deterministic
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")
    assert threads is None or torch.get_num_threads() == threads
    applied.restore()
    assert switch_values() == before
    assert applied.overridden == []


@given(order=st.permutations(range(4)), benchmark=st.booleans())
@QUICK
def test_scopes_may_end_in_any_order(order: list[int], benchmark: bool) -> None:
    """GIVEN four scopes opened one after the other WHEN they end in any order THEN the user's values are back."""
    torch.backends.cudnn.benchmark = benchmark
    before = switch_values()
    opened = [apply(deterministic_targets(strict=number % 2 == 0, threads=number + 1)) for number in range(4)]
    for number in order:
        assert torch.are_deterministic_algorithms_enabled()
        opened[number].restore()
    assert switch_values() == before


def test_what_the_code_inside_turned_is_told_and_put_back() -> None:
    applied = apply(deterministic_targets())
    torch.backends.cudnn.benchmark = True
    applied.restore()
    assert [(reading.switch, reading.value) for reading in applied.overridden] == [(CUDNN_BENCHMARK, True)]
    assert torch.backends.cudnn.benchmark is False


def _switch(name: str, write: Any) -> Switch:
    return Switch(name=name, module=None, read=lambda: 0, write=write, says="a stand-in")


def test_a_switch_that_refuses_is_named_and_the_others_are_back() -> None:
    def refuse(value: int) -> None:
        if value == 0:
            raise RuntimeError("frozen")

    values: list[int] = []
    applied = apply(
        {_switch("first", values.append): 1, _switch("stubborn", refuse): 1, _switch("last", values.append): 1}
    )
    with pytest.raises(NotRestorableError, match="stubborn: frozen"):
        applied.restore()
    assert values == [1, 1, 0, 0]


def test_a_switch_that_cannot_be_turned_takes_the_others_back() -> None:
    def refuse(_value: int) -> None:
        raise RuntimeError("no")

    before = switch_values()
    with pytest.raises(Exception, match="no"):
        apply({**deterministic_targets(), _switch("stubborn", refuse): 1})
    assert switch_values() == before


def test_frozen_backend_flags_do_not_stand_in_the_way() -> None:
    """`torch.backends.disable_global_flags()` freezes the attributes, for good: so in a process of its own."""
    code = (
        "import torch, repro_magic\n"
        "torch.backends.disable_global_flags()\n"
        "with repro_magic.deterministic():\n"
        "    print(torch.backends.cudnn.deterministic)\n"
        "print(torch.backends.cudnn.deterministic)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_what_is_imported_after_the_end_is_not_turned() -> None:
    """GIVEN a thread that imports torch WHEN the scope ends just before its switches are turned THEN none is."""
    before = switch_values()
    applied = apply(deterministic_targets())
    applied.restore()
    applied._turn_module("torch")
    assert switch_values() == before


@pytest.mark.parametrize("own", [True, False])
def test_inductors_flag_is_turned_when_it_is_imported_and_a_users_own_value_kept(own: bool) -> None:
    """GIVEN Inductor not imported WHEN a scope opens THEN it is not imported; imported inside, it is deterministic."""
    code = (
        "import sys, torch, repro_magic\n"
        "with repro_magic.deterministic():\n"
        "    print('torch._inductor.config' in sys.modules)\n"
        "    import torch._inductor.config as config\n"
        "    print(config.deterministic)\n"
        "print(config.deterministic)\n"
        f"config.deterministic = {own}\n"
        "with repro_magic.deterministic(strict=True):\n"
        "    print(config.deterministic)\n"
        "print(config.deterministic)\n"
        "torch.use_deterministic_algorithms(True)\n"
        "with repro_magic.deterministic():\n"
        "    pass\n"
        "print(config.deterministic, torch.get_deterministic_debug_mode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "True", str(own), "True", "2"]


def test_an_own_inductor_setting_from_the_environment_is_kept() -> None:
    code = (
        "import torch, repro_magic\n"
        "with repro_magic.deterministic():\n"
        "    import torch._inductor.config as config\n"
        "print(config.deterministic)\n"
    )
    environment = {**os.environ, "TORCHINDUCTOR_DETERMINISTIC": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["True"]


def test_our_switches_are_what_pytorchs_own_function_sets() -> None:
    """`use_deterministic_algorithms` is not called, as it imports Inductor's configuration; nothing may be missing."""
    import inspect

    source = inspect.getsource(torch.use_deterministic_algorithms)
    body = source[source.rindex('"""') + 3 :].split("\n")
    statements = [line.strip() for line in body if line.strip()]
    assert statements == [
        "import torch._inductor.config as inductor_config",
        "inductor_config.deterministic = mode",
        "_C._set_deterministic_algorithms(mode, warn_only=warn_only)",
    ]


def test_a_getter_that_raises_is_told_as_such() -> None:
    """GIVEN the new-style TF32 setting WHEN the old getters raise THEN reading all switches says so and goes on."""
    code = (
        "import torch\n"
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'\n"
        "from repro_magic.determinism.switches import read_all, Unreadable\n"
        "print([reading.switch.name for reading in read_all() if isinstance(reading.value, Unreadable)])\n"
        "print(max(len(reading.in_words) for reading in read_all()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, longest = done.stdout.splitlines()
    assert "torch.set_float32_matmul_precision" in names
    assert int(longest) < 200


def test_every_switch_tells_its_value_and_its_meaning() -> None:
    readings = read_all()
    assert len(readings) > 12
    assert all(reading.in_words and reading.switch.says for reading in readings)
    assert len({switch.name for switch in SWITCHES}) == len(SWITCHES)
    assert str(Unreadable("why")) == "cannot be read: why"


@pytest.mark.parametrize(
    ("version", "started", "value", "expected"),
    [
        ("2.9.1", True, None, "refuses matrix products"),
        ("2.13.0+cpu", True, None, "does not check"),
        ("2.13.0", True, ":0:0", "does not check"),
        ("2.13.0", True, ":4096:8", None),
        ("2.13.0", False, None, None),
    ],
)
def test_cublas_advice_depends_on_version_and_moment(
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    started: bool,
    value: str | None,
    expected: str | None,
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    switches.CUBLAS_WORKSPACE.write(value)
    found = advice.cublas_workspace()
    assert (found is None) if expected is None else (found is not None and expected in found.why)
