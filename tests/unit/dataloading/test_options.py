"""Loaders: the order, and what workers draw."""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import repro_magic
from repro_magic.exceptions import InvalidSeedError
from repro_magic.rng.user_generators import adopt, generators_in

KINDS: dict[str, Callable[[], Any]] = {
    "default_rng": lambda: np.random.default_rng(7),
    "RandomState": lambda: np.random.RandomState(7),
    "Random": lambda: random.Random(7),
}


class Noisy(Dataset[float]):
    """Draws what it gives from a generator that it holds, as augmentations do."""

    def __init__(self, kind: str) -> None:
        """Hold one of `KINDS`, somewhere below."""
        self.transforms = [{"rng": KINDS[kind]()}]

    def __len__(self) -> int:
        """Four for each worker."""
        return 8

    def __getitem__(self, index: int) -> float:
        """A number that was drawn."""
        draw: Any = self.transforms[0]["rng"]
        return float(draw.random() if hasattr(draw, "random") else draw.random_sample())


def drawn(kind: str, start: str, **options: Any) -> list[list[float]]:
    """What two workers draw, by epoch. A spawned worker imports PyTorch anew: one epoch has to do."""
    loader: Any = DataLoader(Noisy(kind), num_workers=2, multiprocessing_context=start, **options)
    return [[float(number) for batch in loader for number in batch] for _ in range(2 if start == "fork" else 1)]


@pytest.mark.kernel
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(("kind", "start"), [*((kind, "fork") for kind in KINDS), ("default_rng", "spawn")])
def test_workers_draw_duplicates_and_what_cures_it(kind: str, start: str) -> None:
    """GIVEN a generator held by the dataset WHEN two workers draw THEN all is doubled; with the options nothing is."""
    sick = drawn(kind, start, generator=torch.Generator().manual_seed(1))
    assert [len(set(epoch)) for epoch in sick] == [len(Noisy(kind)) / 2] * len(sick), "both workers draw the same"
    assert all(epoch == sick[0] for epoch in sick), "both epochs, too"
    cured = drawn(kind, start, **repro_magic.loader_options(1))
    numbers = [number for epoch in cured for number in epoch]
    assert len(set(numbers)) == len(numbers)
    assert cured == drawn(kind, start, **repro_magic.loader_options(1))
    if start == "fork":
        assert cured != drawn(kind, start, **repro_magic.loader_options(2))


def test_a_large_name_hides_no_generator_of_another() -> None:
    large = [[number] for number in range(20_000)]
    assert adopt(1, {"large": large, "rng": random.Random(1)}) == ["rng"]


def test_outside_a_worker_nothing_is_done() -> None:
    before = repro_magic.rng_state()
    repro_magic.worker_init_fn(0)
    assert repro_magic.rng_state() == before


def test_the_order_does_not_depend_on_what_ran_before() -> None:
    def order() -> list[int]:
        torch.rand(random.randrange(9))
        return [int(one) for one in DataLoader(range(50), shuffle=True, **repro_magic.loader_options(3))]  # type: ignore[arg-type]

    assert order() == order()


def test_each_call_makes_a_generator_of_its_own() -> None:
    assert repro_magic.loader_options(1)["generator"] is not repro_magic.loader_options(1)["generator"]
    with pytest.raises(InvalidSeedError):
        repro_magic.loader_options(-1)


def test_generators_are_found_once_wherever_they_are_held() -> None:
    class Holder:
        """Holds itself, too."""

    one, other = np.random.default_rng(1), torch.Generator()
    holder: Any = Holder()
    holder.a, holder.me, holder.rest = one, holder, [{"x": (other, one)}, random.SystemRandom(), np.ones(3), "text"]
    assert [found.generator.device for found in generators_in(holder, "h")] == ["h.a", "h.rest[0]['x'][0]"]


@pytest.mark.parametrize("kind", [*KINDS, "torch", "MT19937"])
def test_a_seed_gives_a_private_generator_new_numbers_and_the_same_ones_again(kind: str) -> None:
    made: dict[str, Callable[[], Any]] = {
        **KINDS,
        "torch": torch.Generator,
        "MT19937": lambda: np.random.Generator(np.random.MT19937(1)),
    }
    [found] = generators_in([made[kind]()], "x")

    def state() -> bytes:
        return found.generator.to_bytes(found.generator.get_state())

    found.seed(2**64 - 1)
    one = state()
    found.seed(5)
    assert state() != one
    found.seed(2**64 - 1)
    assert state() == one


def test_tasks_have_seeds_of_their_own() -> None:
    seeds = {repro_magic.task_seed(seed, task) for seed in range(20) for task in range(20)}
    assert len(seeds) == 400, "task 1 of one seed is not task 0 of the next"
    assert repro_magic.task_seed(2**64 - 1, 10**6) == repro_magic.task_seed(2**64 - 1, 10**6)
    for wrong in (-1, 0.5, "1", None):
        with pytest.raises(InvalidSeedError, match="task_index"):
            repro_magic.task_seed(1, wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidSeedError, match="a seed is"):
            repro_magic.task_seed(wrong, 1)  # type: ignore[arg-type]


class Slotted:
    """It holds its generator in a slot."""

    __slots__ = ("rng",)

    def __init__(self) -> None:
        """Make it."""
        self.rng = random.Random(1)


def test_generators_are_found_in_slots_partials_methods_and_deep_down() -> None:
    def drawing(rng: random.Random) -> float:
        return rng.random()

    deep: object = random.Random(5)
    for _ in range(5):
        deep = types.SimpleNamespace(inner=[deep])
    held = {
        "slot": Slotted(),
        "partial": functools.partial(drawing, rng=random.Random(2)),
        "method": random.Random(3).random,
        "bound": random.Random(4).shuffle,
        "deep": deep,
    }
    found = {one.generator.device for one in generators_in(held, "x")}
    assert "x['method'].__self__" in found
    assert {"x['slot'].rng", "x['partial'].keywords['rng']", "x['bound'].__self__"} <= found
    assert any(name.startswith("x['deep'].inner") for name in found)
