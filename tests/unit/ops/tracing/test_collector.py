"""What a collector keeps of the calls: how often it looks at values, what it reports, and what it stops."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import warnings
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from watched import MANY, REPEATED, line_of

import repro_magic
from repro_magic.exceptions import HookFaultWarning, NondeterminismWarning, NondeterministicOpError
from repro_magic.findings import FindingStatus, OpFinding, Remedy
from repro_magic.ops.tracing import collector

pytestmark = pytest.mark.usefixtures("no_compilation_before")


def test_values_are_looked_at_in_the_first_calls_of_a_line() -> None:
    """GIVEN indices that only a look can tell WHEN the first had no repeat THEN later ones are taken for the same."""
    size = MANY
    with repro_magic.watch(warn=False) as report:
        for _ in range(collector.LOOKS + 4):
            torch.zeros(size).put_(torch.randperm(size), torch.rand(size))
    assert not [one for one in report.findings if one.status is FindingStatus.ACTIVE]
    assert sum(one.count for one in report.findings) == collector.LOOKS + 4


@pytest.mark.usefixtures("two_threads")
def test_a_later_form_of_call_is_looked_at_anew() -> None:
    """GIVEN batches of varying size WHEN the first have no repeat and a later one has THEN that is seen."""
    with repro_magic.watch(warn=False) as report:
        for number in range(8):
            index = torch.randperm(200_000)[: 100_000 + number]
            if number >= 3:
                index[-1] = index[0]
            torch.zeros(200_000).index_put_((index,), torch.rand(len(index)))
    active = [one for one in report.findings if one.status is FindingStatus.ACTIVE]
    assert [one.count for one in active] == [5]


# Strict


def put(x: torch.Tensor, index: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return x.put_(index, values)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["plain", "script", "dynamo"])
def test_strict_raises_its_own_error_whoever_calls(either: str, way: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run: Any = {
            "plain": lambda: put,
            "script": lambda: torch.jit.script(put),
            "dynamo": lambda: torch.compile(put, backend="eager"),
        }[way]()
    target = torch.zeros(7)
    with pytest.raises(NondeterministicOpError) as raised, repro_magic.deterministic(strict=True):
        run(target, REPEATED, torch.rand(MANY))
    assert (raised.value.op, raised.value.device) == ("put_", "cpu")
    assert "torch.Tensor.put_" in str(raised.value)
    assert "repro_magic.deterministic()" in raised.value.remedy
    assert not target.any()
    assert either


def test_strict_does_not_stop_what_was_only_tried_out(either: str) -> None:
    with repro_magic.deterministic(strict=True, warn=False) as report, FakeTensorMode(), torch.device("cuda"):
        torch.zeros(2).put_(torch.ones(3, dtype=torch.long), torch.rand(3))
    assert [(one.op, one.status, one.traced) for one in report.ops] == [("put_", FindingStatus.ACTIVE, True)]
    assert either


RAN = OpFinding(
    op="put_",
    public="torch.Tensor.put_",
    device="cpu",
    place=None,
    why="Threads race.",
    remedy=Remedy("Sort."),
    accepted=False,
    link="",
)


def test_what_was_found_can_be_read_while_more_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a panel's thread that reads WHEN the cell runs another graph meanwhile THEN the reader goes on."""
    told = collector.Collector()

    def slow(*_: object) -> bool:
        told.ran_graph(object(), [RAN], sys._getframe())
        return False

    told.ran_graph(object(), [RAN], sys._getframe())
    told.ran_graph(object(), [RAN], sys._getframe())
    monkeypatch.setattr(collector, "accepts", slow)
    assert len(told.findings()) >= 1
    assert len(told._graphs) > 2


# What is reported


@pytest.mark.usefixtures("two_threads")
def test_a_comment_accepts_a_finding(either: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with repro_magic.watch() as report:
            torch.zeros(7).put_(
                REPEATED,
                torch.rand(MANY),
            )  # repro: accept put_
    (found,) = report.findings
    assert (found.status, found.accepted, found.warns) == (FindingStatus.ACTIVE, True, False)
    assert caught == []
    assert either


@pytest.mark.usefixtures("two_threads")
def test_scripts_are_warned_once(either: str) -> None:
    with pytest.warns(NondeterminismWarning, match="put_ on cpu") as caught, repro_magic.watch():  # noqa: PT031
        for _ in range(3):
            torch.zeros(7).put_(REPEATED, torch.rand(MANY))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert either


def test_random_ops_that_drew_are_known(either: str) -> None:
    with repro_magic.watch() as report:
        torch.rand(3)
        torch.nn.functional.dropout(torch.rand(3))  # draws line
    assert ("rand.default", 1) in {(one.op, one.count) for one in report.draws}
    assert [one.op for one in report.draws if one.place and one.place.line == line_of("draws line")]
    assert either


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    """GIVEN a thread that looks at what was found WHEN a loader's worker is forked THEN the worker runs flagged ops."""
    script = """
import os, signal, sys, threading, torch, repro_magic
from repro_magic.ops.tracing import dispatch as watcher
torch.set_num_threads(1)
with repro_magic.watch(warn=False):
    (held,) = watcher.collectors
    taken, go = threading.Event(), threading.Event()
    def hold():
        with held._lock:
            taken.set(), go.wait()
    threading.Thread(target=hold).start()
    taken.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        torch.zeros(3).index_add_(0, torch.tensor([0, 0]), torch.ones(2))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    go.set()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=300).returncode == 0


def test_ten_thousand_flagged_calls_take_no_memory() -> None:
    target, index, values = torch.zeros(4), torch.tensor([0, 0]), torch.ones(2)
    with repro_magic.watch(warn=False) as report:
        target.index_add_(0, index, values)
        tracemalloc.start()
        for size in range(10_000):
            torch.zeros(4 + size % 500).index_add_(0, index, values)
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert sum(one.count for one in report.findings) == 10_001
    assert grown < 500_000


def test_a_fault_of_ours_ends_the_watching_and_not_the_code(either: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(collector, "classify", fail)
    with pytest.warns(HookFaultWarning, match="stopped watching ops") as caught, repro_magic.watch():  # noqa: PT031
        assert torch.ones(3).cumsum(0).tolist() == [1, 2, 3]
        torch.ones(3).cumsum(0)
    assert len(caught) == 1
    assert either
