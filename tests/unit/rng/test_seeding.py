"""Seeding every generator, and knowing afterwards whether that still holds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import types
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import repro_magic
from repro_magic.exceptions import HookFaultWarning, InvalidSeedError
from repro_magic.rng import generators, seeding
from repro_magic.rng.generators import Library, checked_seed, seed_words
from repro_magic.rng.seeding import Snapshot, generator_states, seed_everything

SEEDS = st.integers(0, 2**64 - 1)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


OURS = "not drawn from since seeding"
OURS_DRAWN = "drawn from since seeding"
THEIRS = "seeded by the notebook, not drawn from since"
THEIRS_DRAWN = "seeded by the notebook, drawn from since"


def status_of(library: str) -> str:
    return {state.library: state.known.in_words for state in generator_states()}[library]


def seed_of(library: str) -> object:
    return {state.library: state.seed for state in generator_states()}[library]


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_seed_gives_the_same_numbers(seed: int) -> None:
    seed_everything(seed)
    first = draw()
    seed_everything(seed)
    assert draw() == first


def test_the_numbers_are_those_of_each_librarys_own_seeding() -> None:
    """A seed below 2**32 gives what `random.seed`, `np.random.seed` and `torch.manual_seed` give."""
    seed_everything(42)
    ours = draw()
    random.seed(42)
    np.random.seed(42)
    torch.manual_seed(42)
    assert draw() == ours


@given(seed=SEEDS)
def test_numpys_words_hold_the_whole_seed(seed: int) -> None:
    words = seed_words(seed)
    assert (words if isinstance(words, int) else words[0] + (words[1] << 32)) == seed


def test_seeds_that_differ_above_32_bits_differ_in_numpy() -> None:
    seed_everything(7)
    low = np.random.rand()
    seed_everything(7 + 2**32)
    assert np.random.rand() != low


@pytest.mark.parametrize(
    "seed", [-1, 2**64, 1.0, "1", None, True, np.array([1, 2]), torch.tensor([1, 2])], ids=lambda seed: repr(seed)[:20]
)
def test_what_is_no_seed_is_refused_and_nothing_changes(seed: object) -> None:
    before = (
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        torch.get_rng_state().tolist(),
        dict(os.environ),
    )
    with pytest.raises(InvalidSeedError, match=r"from 0 to 2\*\*64 - 1"):
        seed_everything(seed)  # type: ignore[arg-type]
    after = (
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        torch.get_rng_state().tolist(),
        dict(os.environ),
    )
    assert after == before


@pytest.mark.parametrize("seed", [np.int64(3), np.uint64(2**64 - 1), torch.tensor(3)], ids=repr)
def test_integers_of_other_libraries_are_seeds(seed: object) -> None:
    assert checked_seed(seed) == int(seed)  # type: ignore[call-overload]


@pytest.mark.parametrize(("seed", "expected"), [(42, "42"), (2**64 - 1, str(2**32 - 1)), (0, "0")])
def test_child_processes_hash_by_the_seed(seed: int, expected: str) -> None:
    seed_everything(seed)
    assert os.environ["PYTHONHASHSEED"] == expected
    hashes = {
        subprocess.run([sys.executable, "-c", "print(hash('x'))"], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(hashes) == 1


def test_the_state_of_each_generator_is_told() -> None:
    """GIVEN generators WHEN they are seeded, drawn from and re-seeded by others THEN each step is seen."""
    seed_everything(5)
    assert [status_of(name) for name in SEED_ALL] == [OURS] * 3
    draw()
    assert [status_of(name) for name in SEED_ALL] == [OURS_DRAWN] * 3
    for seed in SEED_ALL.values():
        seed(6)
    assert [status_of(name) for name in SEED_ALL] == [THEIRS] * 3
    draw()
    assert [status_of(name) for name in SEED_ALL] == [THEIRS_DRAWN] * 3
    assert [seed_of(name) for name in SEED_ALL] == [6] * 3


SEED_ALL: dict[str, Callable[[int], object]] = {
    "python": random.seed,
    "numpy": np.random.seed,
    "torch": torch.manual_seed,
}
DRAW: dict[str, Callable[[int], object]] = {
    "python": lambda count: [random.getrandbits(32) for _ in range(count)],
    "numpy": lambda count: np.random.randint(0, 2**32, count, dtype=np.uint32),
    "torch": lambda count: torch.empty(count).uniform_(),
}


@pytest.mark.parametrize("library", ["python", "numpy", "torch"])
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([0, 1, 2, 623, 624, 625, 1248]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fresh_generators_are_told_from_used_ones(library: str, seed: int, count: int) -> None:
    """Also after exactly 624 words, when MT19937's position is what it was at the start."""
    SEED_ALL[library](seed)
    DRAW[library](count)
    assert status_of(library) == (THEIRS if count == 0 else THEIRS_DRAWN)


@given(seed=SEEDS, count=st.integers(1, 5000))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_draws_are_told_from_other_codes_seeding(seed: int, count: int) -> None:
    seed_everything(seed)
    DRAW["python"](count)
    DRAW["numpy"](count)
    assert [status_of(name) for name in ("python", "numpy")] == [OURS_DRAWN] * 2
    random.seed(seed ^ 1)
    np.random.seed((seed ^ 1) & 0xFFFF)
    DRAW["python"](count)
    DRAW["numpy"](count)
    assert [seed_of(name) for name in ("python", "numpy")] == [seed ^ 1, (seed ^ 1) & 0xFFFF]


def test_looking_draws_nothing() -> None:
    seed_everything(3)
    expected = draw()
    seed_everything(3)
    for _ in range(3):
        generator_states()
        repro_magic.status()
    assert draw() == expected


@given(draws=st.integers(0, 700))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_snapshot_brings_everything_back(draws: int) -> None:
    """GIVEN a snapshot WHEN others seed and draw THEN restoring gives the numbers, the record and the variable back."""
    seed_everything(1)
    DRAW["numpy"](draws)
    before = [state.fingerprint for state in generator_states()], os.environ["PYTHONHASHSEED"]
    snapshot = Snapshot.take()
    seed_everything(2)
    draw()
    assert snapshot.restore() == []
    assert ([state.fingerprint for state in generator_states()], os.environ["PYTHONHASHSEED"]) == before
    assert seeding.seed_in_force() == 1
    assert status_of("python") == OURS
    first = draw()
    snapshot.restore()
    assert draw() == first


def test_another_bit_generator_of_numpy_is_seeded_no_worse() -> None:
    """GIVEN numpy.random.set_bit_generator(PCG64) WHEN snapshot and status look THEN neither fails."""
    old = np.random.get_bit_generator()  # type: ignore[attr-defined]
    np.random.set_bit_generator(np.random.PCG64(1))  # type: ignore[attr-defined]
    try:
        snapshot = Snapshot.take()
        first = np.random.rand()
        snapshot.restore()
        assert np.random.rand() == first
        assert (seed_of("numpy"), status_of("numpy")) == (1, THEIRS_DRAWN)
        seed_everything(6)
        first = np.random.rand()
        assert (seed_of("numpy"), status_of("numpy")) == (6, OURS_DRAWN)
        seed_everything(6)
        assert np.random.rand() == first
    finally:
        np.random.set_bit_generator(old)  # type: ignore[attr-defined]


class _EntryPoint:
    """An entry point as importlib.metadata gives it."""

    def __init__(self, name: str, target: object) -> None:
        self.name, self.value, self._target = name, f"{name}:LIBRARY", target

    def load(self) -> object:
        if isinstance(self._target, Exception):
            raise self._target
        return self._target


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, object], None]]:
    """Install a plug-in whose module counts as imported."""

    def install(name: str, target: object) -> None:
        monkeypatch.setattr(generators, "plug_ins", lambda: {name: _EntryPoint(name, target)})
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        generators.library_of.cache_clear()
        monkeypatch.setattr(seeding, "known_modules", generators.known_modules)

    yield install
    generators.library_of.cache_clear()


def test_a_plug_in_is_seeded_and_shown(plug_in: Callable[[str, object], None]) -> None:
    seen: list[int] = []
    plug_in("plugged", Library(name="plugged", module="plugged", seed=seen.append))
    seed_everything(8)
    assert seen == [8]
    assert (seed_of("plugged"), status_of("plugged")) == (8, "seeded; state not readable")
    assert Snapshot.take().restore() == ["plugged"], "what cannot be read is told as not put back"


def _raise(seed: int) -> None:
    raise RuntimeError(seed)


@pytest.mark.parametrize(
    "target",
    [ImportError("no such thing"), "no library", Library(name="plugged", module="plugged", seed=_raise)],
    ids=["broken", "wrong type", "raises"],
)
def test_a_faulty_plug_in_is_told_and_takes_no_other_with_it(
    plug_in: Callable[[str, object], None], target: object
) -> None:
    plug_in("plugged", target)
    with pytest.warns(HookFaultWarning, match="plugged"):
        seed_everything(8)
    ours = draw()
    random.seed(8)
    np.random.seed(8)
    torch.manual_seed(8)
    assert draw() == ours


def test_cupy_is_seeded_on_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN CuPy with two devices (a stand-in: CuPy needs a GPU) WHEN seeded THEN each device's generator is."""
    current: list[int] = []
    seen: list[tuple[int, object]] = []

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        def __enter__(self) -> None:
            current.append(self.index)

        def __exit__(self, *exception: object) -> None:
            current.pop()

    cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 2), Device=Device),
        random=types.SimpleNamespace(seed=lambda seed: seen.append((current[-1], seed))),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    generators.library_of.cache_clear()
    seed_everything(2**40)
    assert seen == [(0, np.uint64(2**40)), (1, np.uint64(2**40))]


def test_a_library_is_seeded_when_it_is_imported_later() -> None:
    code = (
        "import repro_magic\n"
        "states = repro_magic.seed_everything(42)\n"
        "print([state.known.in_words for state in states])\n"
        "import numpy as np, torch\n"
        "print(np.random.rand(), torch.rand(1).item(), torch.initial_seed())\n"
        "print(sorted({state.known.in_words for state in repro_magic.status().generators}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    waiting, numbers, after = done.stdout.splitlines()
    assert waiting == "['not drawn from since seeding', 'will be seeded on import', 'will be seeded on import']"
    assert numbers == "0.3745401188473625 0.8822692632675171 42"
    assert after == "['drawn from since seeding', 'not drawn from since seeding']"


@pytest.mark.cuda
def test_cuda_generators_are_seeded_read_and_put_back() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    seed_everything(4)
    first = torch.rand(3, device="cuda")
    [cuda] = [state for state in generator_states() if state.device == "cuda:0"]
    assert (cuda.seed, cuda.known.in_words) == (4, OURS_DRAWN)
    snapshot = Snapshot.take()
    second = torch.rand(3, device="cuda")
    snapshot.restore()
    assert torch.equal(torch.rand(3, device="cuda"), second)
    seed_everything(4)
    assert torch.equal(torch.rand(3, device="cuda"), first)
