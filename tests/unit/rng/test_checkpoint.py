"""The generators' states in a checkpoint: what is resumed draws the same numbers."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import repro_magic
from repro_magic.exceptions import InvalidStateError
from repro_magic.rng import generators
from repro_magic.rng.generators import Generator, Library

PRIVATE: dict[str, Callable[[], Any]] = {
    "default_rng": lambda: np.random.default_rng(3),
    "Philox": lambda: np.random.Generator(np.random.Philox(3)),
    "SFC64": lambda: np.random.Generator(np.random.SFC64(3)),
    "MT19937": lambda: np.random.Generator(np.random.MT19937(3)),
    "RandomState": lambda: np.random.RandomState(3),
    "Random": lambda: random.Random(3),
    "torch": lambda: torch.Generator().manual_seed(3),
}


def draw(generator: Any = None) -> list[float]:
    """Some numbers of each kind, of a generator or of all global ones; an odd number of normal ones is kept halfway."""
    if generator is None:
        return [random.gauss(), *np.random.standard_normal(3), *torch.randn(3).tolist(), random.random()]
    if isinstance(generator, torch.Generator):
        return list(torch.randn(17, generator=generator).tolist())
    if isinstance(generator, random.Random):
        return [generator.gauss(), generator.random()]
    return [*generator.standard_normal(3), *(float(one) for one in generator.permutation(5))]


@given(st.integers(0, 2**64 - 1), st.integers(0, 700))
@settings(max_examples=30, deadline=None)
def test_what_is_put_back_draws_the_same(seed: int, already: int) -> None:
    repro_magic.seed_everything(seed)
    for _ in range(already):
        draw()
    kept = repro_magic.rng_state()
    first = draw()
    assert repro_magic.set_rng_state(kept) == []
    assert draw() == first


@pytest.mark.parametrize("kind", PRIVATE)
def test_so_do_generators_of_ones_own(kind: str) -> None:
    own = PRIVATE[kind]()
    draw(own)
    kept = repro_magic.rng_state(own=own)
    first = draw(own)
    other = PRIVATE[kind]()
    repro_magic.set_rng_state(kept, own=other)
    assert draw(other) == first


@pytest.mark.parametrize("way", ["torch", "json", "pickle"])
def test_it_survives_being_saved_and_loading_it_runs_no_code(way: str, tmp_path: Path) -> None:
    own = np.random.default_rng(1)
    kept = repro_magic.rng_state(own=own)
    first = [draw(), draw(own)]
    if way == "torch":
        torch.save({"rng": kept}, tmp_path / "a.pt")
        loaded = torch.load(tmp_path / "a.pt", weights_only=True)["rng"]
    else:
        loaded = json.loads(json.dumps(kept)) if way == "json" else pickle.loads(pickle.dumps(kept))
    repro_magic.set_rng_state(loaded, own=own)
    assert [draw(), draw(own)] == first


def test_another_process_goes_on_where_this_one_was(tmp_path: Path) -> None:
    repro_magic.seed_everything(5)
    draw()
    state = repro_magic.rng_state()
    # Importing another library, such as numba, may import numpy.random, too.
    state["generators"] = {key: state["generators"][key] for key in ("python cpu", "numpy cpu", "torch cpu")}
    torch.save(state, tmp_path / "a.pt")
    code = (
        "import sys, random, torch, numpy as np, repro_magic\n"
        "repro_magic.set_rng_state(torch.load(sys.argv[1], weights_only=True))\n"
        "print([random.gauss(), *np.random.standard_normal(3).tolist(), *torch.randn(3).tolist(), random.random()])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == draw()


def test_the_other_process_imports_what_this_one_drew_from() -> None:
    pytest.importorskip("numba")
    kept = json.dumps(repro_magic.rng_state())
    code = (
        "import json, sys, repro_magic\n"
        "print(repro_magic.set_rng_state(json.loads(sys.argv[1])), 'numba' in sys.modules)\n"
        "print(json.dumps(repro_magic.rng_state()))"
    )
    done = subprocess.run([sys.executable, "-c", code, kept], capture_output=True, text=True, check=True)
    told, there = done.stdout.splitlines()
    assert told == "[] True"
    assert there == kept


def damaged(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    state = json.loads(json.dumps(repro_magic.rng_state()))
    change(state)
    return dict(state)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (None, "the state has no schema"),
        ({"schema": "repro-magic.rng-state.v2", "generators": {}}, "the state has schema 'repro-magic.rng-state.v2'"),
        ({"schema": "repro-magic.rng-state.v1"}, "the state has no generators"),
        (damaged(lambda state: state["generators"].update({"torch cuda:0": 1})), "no generator torch cuda:0 here"),
        (damaged(lambda state: state["generators"].update({"python cpu": {"int": "x"}})), "python cpu is damaged"),
        (damaged(lambda state: state["generators"].update({"python cpu": {"eval": "1"}})), "python cpu is damaged"),
        (damaged(lambda state: state["generators"].update({"torch cpu": {"tensor": "AAAA"}})), "does not match"),
        (damaged(lambda state: state["generators"].update({"torch cpu": {"tensor": "_"}})), "torch cpu is damaged"),
        (damaged(lambda state: state["generators"].update({"numpy cpu": {"list": []}})), "does not match"),
    ],
)
def test_what_is_no_state_changes_nothing(state: Any, told: str) -> None:
    repro_magic.seed_everything(1)
    before = repro_magic.rng_state()
    repro_magic.seed_everything(2)
    now = repro_magic.rng_state()
    assert before != now
    with pytest.raises(InvalidStateError, match=told):
        repro_magic.set_rng_state(state)
    assert repro_magic.rng_state() == now


def replaced(state: Any, name: str, value: Any) -> Any:
    """The state with every part of that name replaced."""
    if isinstance(state, dict):
        return {key: value if key == name else replaced(part, name, value) for key, part in state.items()}
    return [replaced(part, name, value) for part in state] if isinstance(state, list) else state


@pytest.mark.parametrize("kind", ["MT19937", "Philox", "RandomState"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pos", {"int": "623623"}),
        ("pos", {"int": "-1"}),
        ("buffer_pos", {"int": "9"}),
        ("buffer_pos", {"int": "-1"}),
        ("has_uint32", {"int": "7"}),
        ("gauss", "text"),
        ("key", {"array": ["<u4", [1], "AAAAAA=="]}),
    ],
)
def test_a_state_that_would_crash_its_library_is_refused(kind: str, name: str, value: Any) -> None:
    """NumPy takes any place in its buffer, and reads beyond it then."""
    made = np.random.RandomState(1) if kind == "RandomState" else np.random.Generator(getattr(np.random, kind)(1))
    kept = repro_magic.rng_state(own=made)
    bad = replaced(kept, name, value)
    if bad == kept:
        return  # it has no such part
    made.bytes(8)
    now = repro_magic.rng_state(own=made)
    with pytest.raises(InvalidStateError, match="the state of private own is damaged"):
        repro_magic.set_rng_state(bad, own=made)
    assert repro_magic.rng_state(own=made) == now


@pytest.mark.parametrize("key", ["numpy cpu", "python cpu"])
def test_so_are_the_global_ones(key: str) -> None:
    np.random.rand(1)
    kept = repro_magic.rng_state()
    parts = kept["generators"][key]["tuple"]
    parts[2] = {"int": "99999"} if key == "numpy cpu" else "text"
    with pytest.raises(InvalidStateError, match=f"the state of {key} is damaged"):
        repro_magic.set_rng_state(kept)


def test_a_state_without_what_is_handed_over_is_refused() -> None:
    """A checkpoint that was saved without a generator would be resumed with other numbers, and nobody would know."""
    own = np.random.default_rng(1)
    kept = repro_magic.rng_state()
    with pytest.raises(InvalidStateError, match="the state does not hold private own"):
        repro_magic.set_rng_state(kept, own=own)
    assert repro_magic.set_rng_state(kept, strict=False, own=own) == []
    kept["generators"].clear()
    with pytest.raises(InvalidStateError, match="the state does not hold python cpu"):
        repro_magic.set_rng_state(kept)


def test_what_is_missing_is_named_if_it_may_be() -> None:
    own = np.random.default_rng(1)
    kept = repro_magic.rng_state(own=own)
    first = draw()
    assert repro_magic.set_rng_state(kept, strict=False) == ["private own"]
    assert draw() == first


@pytest.mark.parametrize("what", [3, random.SystemRandom(), "seed"])
def test_what_is_no_generator_is_refused(what: object) -> None:
    with pytest.raises(InvalidStateError, match="cannot save the state of own"):
        repro_magic.rng_state(own=what)


def test_a_plug_ins_state_that_cannot_be_written_down_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = Generator("strange", "cpu", object, lambda _state: None, lambda _state: b"")
    library = Library("strange", "random", lambda _seed: None, lambda: [strange])
    monkeypatch.setattr(generators, "LIBRARIES", (*generators.LIBRARIES, library))
    monkeypatch.setattr(generators, "known_modules", lambda: ["random"])
    monkeypatch.setattr(generators, "library_of", lambda _module: library)
    with pytest.raises(InvalidStateError, match="the state of strange cpu holds a object"):
        repro_magic.rng_state()
