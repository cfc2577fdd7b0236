"""What the worker processes of a loader draw or flag, forked and spawned, in the report of whoever watches."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader
from torch.utils.data._utils import worker as torchs

import repro_magic
from repro_magic import watching
from repro_magic.dataloading import workers
from repro_magic.exceptions import HookFaultWarning, NondeterminismWarning, NondeterministicOpError
from repro_magic.findings import FindingStatus

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on few cores
]

# A spawned worker imports the dataset's module, so it has to be a file.
DATASETS = """
import os

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info


class Base(Dataset):
    def __len__(self):
        return 8


class Quiet(Base):
    def __getitem__(self, index):
        return float(index)


class Augmented(Base):
    def __getitem__(self, index):
        torch.zeros(4).index_add_(0, torch.tensor([0, 0, 1]), torch.ones(3))  # flagged
        return float(torch.rand(1))  # draws


class Unseeded(Base):
    def __getitem__(self, index):
        return float(np.random.default_rng().random())  # unseeded


class Racing(Base):  # not for forked workers: OpenMP's threads would be missing there
    def __getitem__(self, index):
        torch.set_num_threads(2)
        torch.zeros(7).put_(torch.arange(40_000) % 7, torch.arange(40_000.0))  # races
        return float(index)


class Failing(Augmented):
    def __getitem__(self, index):
        if index == 6:
            raise ValueError("the user's own")
        return super().__getitem__(index)


class Dying(Augmented):
    def __getitem__(self, index):
        if index == 6:
            os._exit(3)
        return super().__getitem__(index)


class Seeds(Base):
    def __getitem__(self, index):
        return get_worker_info().seed
"""


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "datasets_of_test.py").write_text(DATASETS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    # A worker that takes longer to end is killed, and tells no counts any more: on a busy machine 5 s are short.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 30.0)
    yield importlib.import_module("datasets_of_test")
    sys.modules.pop("datasets_of_test")


def line_of(mark: str) -> int:
    return next(number for number, line in enumerate(DATASETS.splitlines(), 1) if line.endswith(f"# {mark}"))


def loader(dataset: Any, start: str, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context=start, **options)


def fail_with(loader: DataLoader[Any]) -> None:
    """Read a loader that fails; where the garbage collector has to end its workers PyTorch waits 5 s for each."""
    steps: Any = iter(loader)
    try:
        list(steps)
    finally:
        steps._shutdown_workers()


@pytest.fixture(params=["fork", "spawn"])
def start(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_workers_flag_and_draw_is_in_the_report(datasets: Any, start: str) -> None:
    with repro_magic.watch() as report:
        assert len(list(loader(datasets.Augmented(), start))) == 4
    (found,) = report.ops
    assert (found.op, found.status, found.device, found.worker) == ("index_add_", FindingStatus.LATENT, "cpu", True)
    assert (found.line, found.count, found.at_least) == (line_of("flagged"), 8, True), "all that ran is told at the end"
    assert found.place is not None
    assert found.place.file.endswith("datasets_of_test.py")
    draws = [(one.op, one.place and one.place.line, one.count) for one in report.draws if one.worker]
    assert draws == [("rand.default", line_of("draws"), 8)]


def pertinent(told: pytest.WarningsRecorder) -> warnings.WarningMessage:
    """Ours: PyTorch may warn, too, of more workers than cores."""
    return next(one for one in told if one.category is NondeterminismWarning)


def test_what_warns_in_a_worker_warns_and_says_where(datasets: Any) -> None:
    with pytest.warns(NondeterminismWarning, match="in DataLoader workers") as told, repro_magic.watch():
        list(loader(datasets.Racing(), "spawn"))
    assert f"datasets_of_test.py line {line_of('races')}" in str(pertinent(told).message)
    with repro_magic.watch(warn=False) as report:
        list(loader(datasets.Unseeded(), "fork"))
    (found,) = report.findings
    assert (found.op, found.line, found.worker) == ("numpy.random.default_rng", line_of("unseeded"), True)


def test_workers_that_do_nothing_special_are_not_told_of(datasets: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", HookFaultWarning)
        with repro_magic.watch() as report:
            list(loader(datasets.Quiet(), "fork"))
    assert (report.findings, [one for one in report.draws if one.worker]) == ([], [])


def test_persistent_workers_report_to_whoever_watches_when_they_work(datasets: Any, start: str) -> None:
    lasting = loader(datasets.Augmented(), start, persistent_workers=True)
    with repro_magic.watch() as first:
        list(lasting)
    list(lasting)
    with repro_magic.watch() as nothing:
        pass
    with repro_magic.watch() as second, repro_magic.watch() as inner:
        list(lasting)
    with repro_magic.watch() as last:
        for _batch in lasting:
            break
    assert [one.op for one in last.findings] == ["index_add_"]
    assert [one.op for one in first.findings] == ["index_add_"]
    assert not nothing.findings
    assert not nothing.draws
    for report in (second, inner):
        assert [(one.op, one.worker) for one in report.findings] == [("index_add_", True)]
        assert [one.op for one in report.draws] == ["rand.default"]


def test_each_scope_has_what_ran_in_it(datasets: Any) -> None:
    """GIVEN a scope in another WHEN workers start in both THEN the outer one has all, the inner one its own."""
    with repro_magic.watch(warn=False) as outer:
        list(loader(datasets.Augmented(), "fork"))
        with repro_magic.watch(warn=False) as inner:
            for _ in range(2):
                list(loader(datasets.Unseeded(), "fork"))
        assert [one.op for one in inner.findings] == ["numpy.random.default_rng"]
    assert {one.op for one in outer.findings} == {"numpy.random.default_rng", "index_add_"}
    assert [one.count for one in inner.findings] == [16]


def test_what_was_asked_for_before_is_not_a_later_scopes(datasets: Any) -> None:
    """GIVEN a loader's loop WHEN its body watches itself THEN what workers make ahead meanwhile is not the body's."""
    with repro_magic.watch() as around:
        for _batch in loader(datasets.Augmented(), "fork"):
            with repro_magic.watch() as inside:
                torch.rand(1)
            assert inside.findings == []
            assert [one.worker for one in inside.draws] == [False]
    assert [(one.op, one.count) for one in around.findings] == [("index_add_", 8)]


def test_a_loop_that_is_left_or_fails_is_told_too(datasets: Any, start: str) -> None:
    with repro_magic.watch() as left:
        for _batch in loader(datasets.Augmented(), start):
            break
    with pytest.raises(ValueError, match="the user's own"), repro_magic.watch() as failed:
        fail_with(loader(datasets.Failing(), start))
    for report in (left, failed):
        assert [(one.op, one.worker) for one in report.findings] == [("index_add_", True)]


def test_what_a_worker_did_before_it_died_is_told(datasets: Any) -> None:
    with pytest.raises(RuntimeError, match="exited unexpectedly"), repro_magic.watch() as report:
        list(loader(datasets.Dying(), "fork", prefetch_factor=1))
    assert [(one.op, one.worker) for one in report.findings] == [("index_add_", True)]


def test_a_strict_scope_stops_an_op_in_a_worker(datasets: Any) -> None:
    with pytest.raises(NondeterministicOpError, match="put_"), repro_magic.deterministic(strict=True) as report:
        fail_with(loader(datasets.Racing(), "spawn"))
    assert report.stopped is not None
    assert report.stopped.line == line_of("races")


def test_a_deterministic_scope_tells_what_is_active_in_workers(datasets: Any) -> None:
    with repro_magic.deterministic(warn=False) as report:
        list(loader(datasets.Racing(), "spawn"))
    assert [(one.op, one.status, one.worker) for one in report.findings] == [("put_", FindingStatus.ACTIVE, True)]


def test_the_seeds_and_the_numbers_are_those_of_unwatched_workers(datasets: Any, start: str) -> None:
    both: Any = ConcatDataset([datasets.Seeds(), datasets.Augmented()])

    def numbers() -> list[float]:
        repro_magic.seed_everything(3)
        return [number for batch in loader(both, start) for number in batch.flatten().tolist()]

    unwatched = numbers()
    with repro_magic.watch():
        assert numbers() == unwatched


def test_nothing_is_left(datasets: Any) -> None:
    def files() -> set[str]:
        """Ours only: PyTorch's pipes are closed when the garbage collector comes by."""
        found = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
        return {name for name in found if "memfd:repro_magic" in name}

    watching.release()
    loop = torchs._worker_loop
    assert files() == set()
    with repro_magic.watch():
        assert torchs._worker_loop is not loop
        list(loader(datasets.Augmented(), "fork"))
        assert files() != set()
    assert torchs._worker_loop is loop
    watching.release()
    assert files() == set()


def test_another_ones_loop_stays(datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN other code that puts itself before our loop WHEN the watch ends THEN theirs stays, and works."""
    original = torchs._worker_loop
    monkeypatch.setattr(torchs, "_worker_loop", original)
    with repro_magic.watch():
        ours = torchs._worker_loop

        def theirs(*args: Any) -> None:
            ours(*args)

        monkeypatch.setattr(torchs, "_worker_loop", theirs)
        list(loader(datasets.Quiet(), "fork"))
    assert torchs._worker_loop is theirs
    assert len(list(loader(datasets.Quiet(), "fork"))) == 4


@pytest.mark.parametrize("part", ["post_news", "begin"])
def test_a_fault_of_ours_ends_the_reporting_and_not_the_loop(
    datasets: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(self: Any) -> None:
        self._guarded(lambda: 1 / 0)

    monkeypatch.setattr(workers._Report, part, fail)
    with pytest.warns(HookFaultWarning, match="division by zero"), repro_magic.watch():
        assert len(list(loader(datasets.Augmented(), "fork"))) == 4


def test_without_what_it_takes_workers_run_unwatched(datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> workers.Channel:
        raise OSError("too many open files")

    watching.release()
    monkeypatch.setattr(workers.Channel, "new", none)
    with repro_magic.watch() as report:
        assert len(list(loader(datasets.Augmented(), "fork"))) == 4
    assert not [one for one in report.findings if one.worker]


def test_letters_of_one_worker_take_each_others_place() -> None:
    box = workers.Channel.new()
    try:
        box.config = workers.WorkerConfig(7, strict=True)
        assert box.config == workers.WorkerConfig(7, strict=True, attention=False)
        start = box.end
        for number, fault in ((6, "a"), (7, "b"), (7, "c")):
            box.post(workers.Message(1, number, fault=fault))
        assert [one.fault for one in box.read(start, 7)] == ["c"]
        os.write(box.descriptor, b"\xff\0\0\0 the beginning of a message that is being written")
        assert [one.fault for one in box.read(start, 6)] == ["a", "c"]
        box.empty()
        assert box.read(start, 0) == []
    finally:
        box.close()
