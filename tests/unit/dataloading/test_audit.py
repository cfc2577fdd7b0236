"""What is said of a loader's options, beside loaders of which nothing of the kind must be said."""

from __future__ import annotations

import functools
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, Subset, get_worker_info
from torch.utils.data.datapipes.iter import IterableWrapper

import repro_magic
from repro_magic.dataloading import audit as auditing
from repro_magic.dataloading.audit import Remark, audit
from repro_magic.dataloading.registry import LoaderLog

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on few cores

rng = np.random.default_rng(3)


class Ten(Dataset[float]):
    """Ten items."""

    def __len__(self) -> int:
        """As it says."""
        return 10

    def __getitem__(self, index: int) -> float:
        """Nothing is drawn."""
        return float(index)


class Held(Ten):
    """Draws from a generator that it holds."""

    def __init__(self) -> None:
        """Make it."""
        self.rng = np.random.default_rng(1)

    def __getitem__(self, index: int) -> float:
        """By a method of its own."""
        return self.augmented(index)

    def augmented(self, index: int) -> float:
        """Drawn."""
        return index + float(self.rng.random())


class OnlyMade(Held):
    """Draws only while it is made."""

    def __init__(self) -> None:
        """Draw here."""
        super().__init__()
        self.items = self.rng.random(10)

    def augmented(self, index: int) -> float:
        """Drawn before."""
        return float(self.items[index])


class ForEachItem(Held):
    """Seeds its generator for each item."""

    def augmented(self, index: int) -> float:
        """Seed, then draw."""
        self.rng = np.random.default_rng(index)
        return float(self.rng.random())


class InEachWorker(Held):
    """Asks which worker it is in."""

    def augmented(self, index: int) -> float:
        """Draw from a generator of the worker's."""
        info = get_worker_info()
        assert info is not None
        return index + float(np.random.default_rng(info.seed).random())


class Noise:
    """A transform."""

    def __init__(self) -> None:
        """Hold a generator."""
        self.source = random.Random(1)

    def __call__(self, value: float) -> float:
        """Drawn."""
        return value + self.source.random()


class Transformed(Ten):
    """Hands its items through transforms."""

    def __init__(self, *transforms: Callable[[float], float]) -> None:
        """Take them."""
        self.transforms = transforms

    def __getitem__(self, index: int) -> float:
        """One after the other."""
        return functools.reduce(lambda value, transform: transform(value), self.transforms, float(index))


class Stream(IterableDataset[float]):
    """Draws as it goes."""

    def __init__(self) -> None:
        """Hold a generator."""
        self.generator = torch.Generator()

    def __iter__(self) -> Any:
        """Drawn."""
        yield float(torch.rand(1, generator=self.generator))


class FromGlobal(Ten):
    """Draws from a global name's generator."""

    def __getitem__(self, index: int) -> float:
        """By a method of its own."""
        return self.more(index)

    def more(self, index: int) -> float:
        """Drawn."""
        return index + float(rng.random())


class SameName(Ten):
    """Holds something else by that name."""

    def __init__(self) -> None:
        """No generator."""
        self.rng = [1.0] * 10

    def __getitem__(self, index: int) -> float:
        """Nothing is drawn."""
        return self.rng[index]


def plus_global(value: float) -> float:
    return value + float(rng.random())


def plus(generator: random.Random) -> Callable[[float], float]:
    return lambda value: value + generator.random()


def faults(dataset: Any, **options: Any) -> list[str]:
    options = {"num_workers": 2, **options}
    return [one.what for one in audit(DataLoader(dataset, **options)) if one.is_fault]


def remark(loader: DataLoader[Any], start: str) -> Remark | None:
    return next((one for one in audit(loader) if one.what.startswith(start)), None)


HELD: dict[str, tuple[Any, str]] = {
    "in an attribute": (Held(), "dataset.rng"),
    "of a transform": (Transformed(Noise()), "dataset.transforms[0].source"),
    "in a subset": (Subset(Held(), [1, 2]), "dataset.dataset.rng"),
    "of a stream": (Stream(), "dataset.generator"),
}
REACHED: dict[str, tuple[Any, str]] = {
    "a global name": (FromGlobal(), "rng"),
    "a function's global name": (Transformed(plus_global), "rng"),
    "a closure": (Transformed(plus(random.Random(1))), "generator"),
}


@pytest.mark.parametrize("case", HELD)
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_generator_that_the_dataset_holds(case: str, start: str) -> None:
    dataset, name = HELD[case]
    assert faults(dataset, multiprocessing_context=start) == [f"2 workers draw the same numbers from {name}"]
    assert faults(dataset, multiprocessing_context=start, **repro_magic.loader_options(1)) == []
    assert faults(dataset, num_workers=0) == []


@pytest.mark.parametrize("case", REACHED)
def test_a_generator_that_code_reaches_in_a_forked_worker(case: str) -> None:
    """GIVEN a generator outside the dataset WHEN workers are forked THEN our worker_init_fn does not reach it."""
    dataset, name = REACHED[case]
    for options in ({}, repro_magic.loader_options(1)):
        assert faults(dataset, multiprocessing_context="fork", **options) == [
            f"2 workers draw the same numbers from {name}"
        ]
    assert faults(dataset, multiprocessing_context="spawn") == [], "it is made anew there, or cannot be sent"
    (fault,) = [
        one for one in audit(DataLoader(dataset, num_workers=2, multiprocessing_context="fork")) if one.is_fault
    ]
    assert "attribute" in fault.remedy


def test_a_collate_fn_holds_generators_too() -> None:
    class Collate(Noise):
        """Draws for a batch."""

    assert faults(Ten(), collate_fn=Collate()) == ["2 workers draw the same numbers from collate_fn.source"]


@pytest.mark.parametrize(
    "dataset",
    [
        Ten(),
        OnlyMade(),
        ForEachItem(),
        InEachWorker(),
        SameName(),
        Transformed(float),
        IterableWrapper(range(4)).shuffle(),
        range(10),
        [torch.rand(2)],
    ],
    ids=lambda dataset: type(dataset).__name__,
)
def test_what_is_no_fault(dataset: Any) -> None:
    assert faults(dataset) == []
    assert faults(dataset, **repro_magic.loader_options(1)) == []


def test_a_worker_init_fn_of_the_users_own_is_not_judged() -> None:
    loader: Any = DataLoader(Held(), num_workers=2, worker_init_fn=lambda _worker: None)
    assert faults(Held(), worker_init_fn=lambda _worker: None) == []
    assert remark(loader, "custom worker_init_fn") is not None


def test_one_worker_repeats_itself_in_each_epoch_unless_it_goes_on() -> None:
    assert faults(Held(), num_workers=1) == ["the worker draws from a copy of dataset.rng"]
    assert faults(Held(), num_workers=1, persistent_workers=True) == []
    found = remark(DataLoader(Held(), num_workers=1), "the worker draws from a copy of dataset.rng")
    assert found is not None
    assert "in each epoch" in found.why
    lasting: Any = DataLoader(Held(), num_workers=1, persistent_workers=True)
    kept = remark(lasting, "the worker draws from a copy")
    assert kept is None or "in each epoch" not in kept.why


def test_the_order_of_workers() -> None:
    assert faults(Ten(), in_order=False) == ["in_order=False with 2 workers"]
    for neighbour in ({}, {"in_order": False, "num_workers": 1}, {"in_order": False, "num_workers": 0}):
        assert faults(Ten(), **neighbour) == []


def test_the_order_of_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeding sets the variable for child processes; this one's hashes were settled when it started."""
    monkeypatch.setattr(auditing, "hash_seed_of_this_process", lambda: "random")
    repro_magic.seed_everything(1)
    table: Any = {"a": 1, "b": 2}
    assert faults(table, num_workers=0, sampler={"a", "b"}) == ["the sampler is a set of strings"]
    assert faults(table, num_workers=0, sampler=["a", "b"]) == []
    assert faults(range(4), num_workers=0, sampler={1, 2}) == [], "numbers have the same order in every run"
    monkeypatch.setattr(auditing, "hash_seed_of_this_process", lambda: "fixed to 0")
    assert faults(table, num_workers=0, sampler={"a", "b"}) == []


def test_remarks_that_are_no_faults() -> None:
    shuffled = remark(DataLoader(Ten(), shuffle=True), "no generator=")
    plain = remark(DataLoader(Ten()), "no generator=")
    assert shuffled is not None
    assert plain is not None
    assert shuffled.why.startswith("Each epoch draws its order")
    assert plain.why.startswith("Each epoch draws from PyTorch")
    own = torch.Generator()
    assert remark(DataLoader(Ten(), shuffle=True, generator=own), "no generator") is None
    sampled: Any = DataLoader(Ten(), sampler=RandomSampler(Ten(), generator=own))
    assert "later draws depend on the number of epochs" in getattr(remark(sampled, "no generator"), "why", "")
    assert remark(DataLoader(Ten(), num_workers=2, persistent_workers=True), "persistent_workers") is not None
    assert remark(DataLoader(Ten(), num_workers=2), "persistent_workers") is None
    assert remark(DataLoader(Ten()), "num_workers=0") is not None
    assert remark(DataLoader(Ten(), num_workers=3), "num_workers=3") is not None


def test_what_is_said_is_true() -> None:
    """Without a generator the order follows the global one; each epoch takes a number from it either way."""

    def order(draws: int, **options: Any) -> list[int]:
        torch.manual_seed(1)
        torch.rand(draws)
        return [int(one) for one in DataLoader(range(50), shuffle=True, **options)]  # type: ignore[arg-type]

    assert order(0) != order(1)
    assert order(0, **repro_magic.loader_options(1)) == order(1, **repro_magic.loader_options(1))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(DataLoader(Ten()))
    assert not torch.equal(before, torch.get_rng_state())


def test_looking_takes_no_item_and_draws_no_number() -> None:
    class Untouchable(Held):
        """Must not be asked."""

        def __getitem__(self, index: int) -> float:
            """Never."""
            raise AssertionError(index)

    before = repro_magic.rng_state()
    audit(DataLoader(Untouchable(), num_workers=2, shuffle=True))
    assert repro_magic.rng_state() == before


def test_loaders_are_noted_where_they_are_made() -> None:
    original = DataLoader.__init__
    log = LoaderLog()
    log.up()
    try:

        class Mine(DataLoader[float]):
            """Puts things right after PyTorch's own part."""

            def __init__(self) -> None:
                """As it says."""
                super().__init__(Held(), num_workers=2)
                self.worker_init_fn = repro_magic.worker_init_fn

        mine = Mine()
        DataLoader(Held(), num_workers=2)  # which is gone at once
        gone = weakref.ref(DataLoader(Ten()))
        with pytest.raises(ValueError, match="num_workers"):
            DataLoader(Ten(), num_workers=-1)
        new = log.new()
        assert [len(one.faults) for one in new] == [0, 1, 0]
        assert all(one.place is not None and "DataLoader" in one.place.text for one in new[1:])
        assert log.new() == []
        assert [one.name for one in log.all({"mine": mine, "_": mine, "x": 1})] == ["mine"]
        assert gone() is None, "nothing is kept alive"
    finally:
        log.down()
    assert DataLoader.__init__ is original


def test_another_ones_init_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataLoader, "__init__", DataLoader.__init__)
    log = LoaderLog()
    log.up()
    ours = DataLoader.__init__

    def theirs(loader: Any, *args: Any, **kwargs: Any) -> None:
        ours(loader, *args, **kwargs)

    monkeypatch.setattr(DataLoader, "__init__", theirs)
    log.down()
    assert DataLoader.__init__ is theirs
    assert len(DataLoader(Ten())) == 10
    assert log.new() == []


def test_a_fault_of_ours_lets_the_loader_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro_magic.dataloading.audit._CHECKS", (lambda _loader: 1 / 0,))
    log = LoaderLog()
    log.up()
    try:
        with pytest.warns(repro_magic.exceptions.HookFaultWarning, match="stopped checking DataLoaders"):
            loader: Any = DataLoader(Ten())
        assert len(DataLoader(Ten())) == len(loader) == 10
    finally:
        log.down()
