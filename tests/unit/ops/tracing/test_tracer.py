"""Watches that open and close: on threads, nested, in any order; nothing is left behind."""

from __future__ import annotations

import os
import random
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from watched import MANY, REPEATED, line_of, seen

import repro_magic
from repro_magic.dataloading import workers
from repro_magic.findings import FindingStatus
from repro_magic.ops.tracing import collector, dispatch, tracer
from repro_magic.rng import entropy
from repro_magic.runtime.import_hooks import Waiting

pytestmark = pytest.mark.usefixtures("no_compilation_before")


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("kind", ["thread", "pool", "timer"])
def test_threads_that_the_code_starts_are_seen(either: str, kind: str) -> None:
    def work() -> None:
        torch.zeros(7).put_(REPEATED, torch.rand(MANY))  # work line

    def start() -> None:
        if kind == "pool":
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: work(), range(4)))
            return
        threads = [threading.Thread(target=work) if kind == "thread" else threading.Timer(0, work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    before = threading.Thread.start.__code__
    found = seen(start)
    assert [(one.op, one.status, one.count, one.line) for one in found] == [
        ("put_", FindingStatus.ACTIVE, 4, line_of("work line"))
    ]
    assert threading.Thread.start.__code__ is before
    assert either


def test_a_pool_that_lives_on_reports_to_the_watch_that_is_open() -> None:
    with ThreadPoolExecutor(1) as pool:
        seen(lambda: pool.submit(lambda: torch.rand(3).cumsum(0)).result())
        pool.submit(lambda: torch.rand(3).cumsum(0)).result()
        later = seen(lambda: pool.submit(lambda: torch.rand(3).cumsum(0)).result())
    assert [(one.op, one.count) for one in later] == [("cumsum", 1)]


def test_two_watches_at_once_on_two_threads_see_their_own(either: str) -> None:
    barrier = threading.Barrier(2, timeout=60)
    counts: dict[int, int] = {}

    def work(times: int) -> None:
        with repro_magic.watch(warn=False) as report:
            barrier.wait()
            for _ in range(times):
                torch.rand(3).cumsum(0)
            barrier.wait()
        counts[times] = sum(one.count for one in report.findings)

    tracer.prepare()
    threads = [threading.Thread(target=work, args=(times,)) for times in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {3: 3, 5: 5}
    assert either


def patched() -> tuple[object, object]:
    """What a watch changes outside PyTorch."""
    return threading.Thread.start.__code__, getattr(warnings, "_showwarnmsg")  # noqa: B009 - mypy knows no such name


def test_watches_that_end_in_another_order_leave_nothing(either: str) -> None:
    """GIVEN two threads' watches, one begun and ended a little later THEN Python's functions are as before."""
    before = patched()
    first, second = (tracer.Tracer(collector.Collector()) for _ in range(2))
    first.open()
    second.open()
    assert patched()[0] is not before[0]
    first.close()
    assert patched()[0] is not before[0]
    second.close()
    assert patched() == before
    assert either


def test_a_watch_that_ended_before_torch_was_imported_stays_ended(either: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN another thread that imports torch WHEN the watch ends just then THEN what waited for the import is void."""
    waited: list[Callable[[], object]] = []

    def wait(module: str, begin: Callable[[], object]) -> Waiting:
        waited.append(begin)
        return Waiting(module, begin)

    monkeypatch.setattr(tracer, "when_imported", wait)
    late = tracer.Tracer(collector.Collector())
    late.open()
    late.close()
    waited[0]()
    assert dispatch.collectors == ()
    assert either


def test_a_step_that_fails_at_the_end_keeps_no_other_from_it(either: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = patched()
    monkeypatch.setattr(workers, "follow", lambda _recorder: lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), repro_magic.watch(warn=False):
        assert patched()[0] is not before[0]
    assert (*patched(), dispatch.collectors) == (*before, ())
    assert entropy._listeners == ()
    assert either


def test_many_threads_may_begin_and_end_at_once(either: str) -> None:
    """GIVEN threads that share only the process WHEN they watch at once THEN each sees its own, and all is undone."""

    def left() -> object:
        files = [os.path.realpath(link) for link in Path("/proc/self/fd").glob("*")]  # none where there is no Linux
        functions = *patched(), random.Random.seed.__code__, os.urandom
        return functions, entropy._listeners, sum("memfd:repro_magic" in name for name in files)

    before, interval, barrier = left(), sys.getswitchinterval(), threading.Barrier(4, timeout=60)
    counts: dict[int, int] = {}

    def work(times: int) -> None:
        barrier.wait()
        with repro_magic.watch(warn=False) as report:
            for _ in range(times):
                torch.rand(3).cumsum(0)
        counts[times] = sum(one.count for one in report.findings)

    sys.setswitchinterval(1e-6)  # seconds: threads take turns at nearly every step
    try:
        for _ in range(20):
            tracer.release()
            threads = [threading.Thread(target=work, args=(times,)) for times in (1, 2, 3, 4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert counts == {1: 1, 2: 2, 3: 3, 4: 4}
            counts.clear()
    finally:
        sys.setswitchinterval(interval)
    tracer.release()
    assert left() == before
    assert (dispatch.collectors, dispatch._of_thread) == ((), {})
    assert either


def test_nested_watches_both_see(either: str) -> None:
    with repro_magic.watch(warn=False) as outer:
        torch.rand(3).cumsum(0)
        with repro_magic.watch(warn=False) as inner:
            torch.rand(3).cumsum(0)
    assert (len(inner.findings), sum(one.count for one in outer.findings)) == (1, 2)
    assert either


def test_nothing_is_left_behind() -> None:
    def registered() -> tuple[bool, ...]:
        return tuple(
            torch._C._dispatch_has_kernel_for_dispatch_key(op, key)
            for op in ("aten::index_add_", "aten::convolution", "aten::rand")
            for key in (dispatch.KEY, dispatch.HOT_KEY)
        )

    tracer.release()
    before = *patched(), registered()
    defaults = list(torch._ops._HIGHER_ORDER_OP_DEFAULT_FALLTHROUGH_DISPATCH_KEYS)
    seen(lambda: torch.rand(3).cumsum(0))
    assert any(registered())
    tracer.release()
    assert (*patched(), registered()) == before
    assert defaults == torch._ops._HIGHER_ORDER_OP_DEFAULT_FALLTHROUGH_DISPATCH_KEYS
    assert dispatch.collectors == ()
    assert dispatch._of_thread == {}
    assert torch.rand(3).cumsum(0).shape == (3,)
    assert [one.op for one in seen(lambda: torch.rand(3).cumsum(0))] == ["cumsum"], "and comes back"
