"""Which generators of a notebook are found, and which of them moved."""

from __future__ import annotations

import functools
import gc
import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from making import SEEDED, draw

from repro_magic.rng import tracking
from repro_magic.rng.tracking import Tracker
from repro_magic.rng.user_generators import generators_in


class Holder:
    """An object of the user's."""

    def __init__(self, **held: Any) -> None:
        """Hold them."""
        self.__dict__.update(held)


def moved(tracker: Tracker, names: dict[str, Any]) -> list[str]:
    return [move.generator.removeprefix("private ") for move in tracker.look(names.items()) if move.drew]


HELD: dict[str, Callable[[Any], dict[str, Any]]] = {
    "rng": lambda one: {"x": 1, "rng": one},
    "first": lambda one: {"first": one, "second": one},
    "a[1]['b'][1]": lambda one: {"a": [1, {"b": (0, one)}]},
    "a.part.rng": lambda one: {"a": Holder(part=Holder(rng=one))},
}


@pytest.mark.parametrize("kind", SEEDED)
@pytest.mark.parametrize("place", HELD)
def test_a_generator_is_found_wherever_a_name_holds_it(kind: str, place: str) -> None:
    generator, tracker = SEEDED[kind](), Tracker()
    names = HELD[place](generator)
    assert moved(tracker, names) == []
    draw(generator, 3)
    assert moved(tracker, names) == [place]
    assert moved(tracker, names) == []


def test_loaders_and_samplers() -> None:
    own = torch.Generator().manual_seed(1)
    loader: Any = torch.utils.data.DataLoader(
        range(10),  # type: ignore[arg-type]
        shuffle=True,
        generator=own,
    )
    tracker = Tracker()
    assert moved(tracker, {"loader": loader}) == []
    list(loader)
    assert moved(tracker, {"loader": loader}) == ["loader.generator"]
    sampler = torch.utils.data.RandomSampler(range(10), generator=own)
    assert moved(tracker, {"sampler": sampler}) == []
    list(sampler)
    assert moved(tracker, {"sampler": sampler}) == ["sampler.generator"]


def test_two_generators_with_one_stream_are_one_and_the_global_ones_are_none() -> None:
    bits = np.random.PCG64(1)
    names = {"a": np.random.Generator(bits), "b": np.random.Generator(bits)}
    globals_ = {"mtrand": np.random.mtrand._rand, "torch": torch.default_generator, "random": random._inst}
    tracker = Tracker()
    moved(tracker, names | globals_)
    names["b"].random()
    np.random.rand(), torch.rand(1), random.random()
    assert moved(tracker, names | globals_) == ["a"]


def test_what_was_made_in_the_cell_counts_if_it_was_drawn_from() -> None:
    for make in SEEDED.values():
        tracker = Tracker()
        tracker.look([])
        drawn, idle = make(), make()
        draw(drawn, 4)
        (move,) = (move for move in tracker.look([("drawn", drawn), ("idle", idle)]) if move.drew)
        assert move.generator == "private drawn"
        assert move.is_made
        assert move.distance is not None
        assert move.distance.count == 4


def test_a_generator_that_is_added_to_an_object_is_found_within_some_cells() -> None:
    holder: Any = Holder()
    names = {"holder": holder, **{f"x{number}": [number] for number in range(50)}}
    tracker = Tracker()
    moved(tracker, names)
    holder.rng = random.Random(1)
    for _ in range(5):
        tracker.look(names.items())
    holder.rng.random()
    assert moved(tracker, names) == ["holder.rng"]


def test_nothing_of_the_users_is_kept_alive() -> None:
    tracker = Tracker()
    one = Holder(rng=random.Random(1), data=Holder())
    gone = weakref.ref(one)
    tracker.look([("one", one)])
    del one
    gc.collect()
    assert gone() is None


def test_none_of_the_users_code_is_run() -> None:
    class Strange(dict[str, Any]):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __getitem__(self, key: str) -> Any:
            raise AssertionError(key)

    rng = random.Random(1)
    strange = Strange(rng=rng)
    tracker = Tracker()
    moved(tracker, {"strange": strange})
    rng.random()
    assert moved(tracker, {"strange": strange}) == ["strange['rng']"]


class Slotted:
    """It holds its generator in a slot."""

    __slots__ = ("rng",)

    def __init__(self) -> None:
        """Make it."""
        self.rng = random.Random(1)


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (Slotted, "own.rng"),
        (lambda: [Slotted()], "own[0].rng"),
        (lambda: functools.partial(print, random.Random(1)), "own.args[0]"),
        (lambda: functools.partial(print, key=np.random.default_rng(1)), "own.keywords['key']"),
        (lambda: np.random.default_rng(1).normal, "own.__self__"),
        (lambda: random.Random(1).random, "own.__self__"),
        (lambda: random.Random(1).shuffle, "own.__self__"),
        (lambda: type("Kind", (), {"__module__": "__main__", "rng": random.Random(1)})(), "own.rng"),
    ],
)
def test_a_generator_is_followed_wherever_it_is_held(make: Callable[[], Any], place: str) -> None:
    """The same places as those where `--adopt` finds one."""
    own, tracker = make(), Tracker()
    moved(tracker, {"own": own})
    [found] = generators_in(own, "own")
    assert found.generator.device == place
    draw(found.value, 1)
    assert moved(tracker, {"own": own}) == [place]
    assert moved(tracker, {"own": own}) == []


def test_a_slot_that_holds_nothing_yet_is_no_fault() -> None:
    own, tracker = Slotted(), Tracker()
    rng = own.rng
    del own.rng
    assert moved(tracker, {"own": own}) == []
    own.rng = rng
    assert moved(tracker, {"own": own}) == []
    rng.random()
    assert moved(tracker, {"own": own}) == ["own.rng"]


def test_a_large_object_costs_no_more_than_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    original = tracking.parts  # type: ignore[attr-defined]

    def counting(value: object, most: int) -> Iterator[Any]:
        nonlocal looked
        looked += 1
        yield from original(value, most)

    monkeypatch.setattr(tracking, "parts", counting)
    big = [[[number] for number in range(1000)] for _ in range(1000)]
    Tracker().look([("big", big)])
    assert looked <= 80
