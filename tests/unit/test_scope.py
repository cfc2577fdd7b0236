"""`deterministic()` as a context manager and as a decorator."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import torch
from conftest import switch_values

import repro_magic
from repro_magic import NondeterminismWarning, NondeterministicOpError
from repro_magic.exceptions import InvalidSeedError, InvalidThreadsError
from repro_magic.findings import FindingStatus
from repro_magic.ops.tracing import dispatch
from repro_magic.rng.seeding import seed_in_force

MANY = 40_000


def test_the_report_tells_what_was_done() -> None:
    with repro_magic.deterministic(seed=42, strict=True, threads=1, name="train") as report:
        assert torch.get_num_threads() == 1
    assert (report.seed, report.strict, report.threads, report.name) == (42, True, 1, "train")
    assert "torch.backends.cudnn.deterministic" in [change.switch.name for change in report.changes]
    assert (report.advice, report.overridden, report.rng_restored) == ([], [], False)


@pytest.mark.parametrize("leave", [None, ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_every_way_out_puts_everything_back(leave: type[BaseException] | None) -> None:
    torch.use_deterministic_algorithms(mode=True)
    random.seed(3)
    before = switch_values(), random.getstate(), torch.get_rng_state().tolist()
    try:
        with repro_magic.deterministic(seed=1, restore_rng=True, threads=1):
            random.random(), torch.rand(1)
            if leave is not None:
                raise leave
    except BaseException as error:  # noqa: BLE001
        assert type(error) is leave  # noqa: PT017
    assert (switch_values(), random.getstate(), torch.get_rng_state().tolist()) == before
    assert seed_in_force() is None


def test_without_restore_the_generators_go_on() -> None:
    with repro_magic.deterministic(seed=1):
        random.random()
    first = random.random()
    random.seed(1)
    random.random()
    assert random.random() == first


def test_nesting_and_entering_twice() -> None:
    before = switch_values()
    scope = repro_magic.deterministic(seed=5)
    with scope as outer:
        first = torch.rand(1)
        with scope as inner, repro_magic.deterministic(strict=True):
            assert torch.get_deterministic_debug_mode() == 2
            assert torch.equal(torch.rand(1), first)
        assert torch.get_deterministic_debug_mode() == 1
    assert outer is not inner
    assert switch_values() == before


def test_a_decorated_function_is_seeded_at_each_call() -> None:
    @repro_magic.deterministic(seed=2)
    def draw(count: int, *, scale: float = 1.0) -> list[float]:
        """Draws."""
        assert torch.are_deterministic_algorithms_enabled()
        return [random.random() * scale for _ in range(count)]

    assert draw(2) == draw(2, scale=1.0)
    assert (draw.__name__, draw.__doc__) == ("draw", "Draws.")
    assert not torch.are_deterministic_algorithms_enabled()


def test_overlapping_coroutines_leave_the_switches_as_they_were() -> None:
    """GIVEN a decorated coroutine function WHEN two calls overlap and end in either order THEN all is back."""
    before = switch_values()

    @repro_magic.deterministic(seed=2)
    async def work(seconds: float) -> bool:
        await asyncio.sleep(seconds)
        return torch.are_deterministic_algorithms_enabled()

    async def both() -> tuple[bool, bool]:
        return await asyncio.gather(work(0.02), work(0.01))

    assert tuple(asyncio.run(both())) == (True, True)
    assert switch_values() == before


@pytest.mark.parametrize("scope", [repro_magic.watch, repro_magic.deterministic])
@pytest.mark.parametrize("shared", [True, False], ids=["one object", "a decorator"])
def test_calls_on_threads_that_overlap_see_their_own(scope: Any, shared: bool) -> None:
    """GIVEN two threads in one scope WHEN the one that came first leaves first THEN both end, and all is back."""
    before = switch_values(), signal.getsignal(signal.SIGINT)
    both_in, first_out = threading.Barrier(2, timeout=60), threading.Event()
    one = scope(warn=False)
    counts: dict[str, int] = {}

    def inside(name: str) -> None:
        both_in.wait()
        torch.rand(3)
        if name == "second":
            first_out.wait(60)
            torch.rand(3)

    def work(name: str) -> None:
        if shared:
            with one as report:
                inside(name)
            counts[name] = sum(draw.count for draw in report.draws)
        else:
            one(inside)(name)

    second = threading.Thread(target=work, args=("second",))
    with pytest.MonkeyPatch.context() as patch:
        failed: list[Any] = []
        patch.setattr(threading, "excepthook", failed.append)
        second.start()
        work("first")
        first_out.set()
        second.join()
    assert failed == []
    assert counts == ({"first": 1, "second": 2} if shared else {})
    assert (switch_values(), signal.getsignal(signal.SIGINT)) == before
    assert dispatch.collectors == ()


def test_a_watched_coroutine_function_is_watched_while_it_is_awaited() -> None:
    @repro_magic.watch()
    async def work() -> int:
        await asyncio.sleep(0)
        repeated = torch.arange(MANY) % 7
        torch.zeros(7).index_put_((repeated,), torch.rand(MANY))
        return 3

    torch.set_num_threads(2)
    with pytest.warns(NondeterminismWarning, match="index_put_"):
        assert asyncio.run(work()) == 3


def test_generator_functions_are_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def more() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, more):
        for scope in (repro_magic.deterministic(), repro_magic.watch()):
            with pytest.raises(TypeError, match="generator function"):
                scope(function)


def test_what_is_no_function_is_refused_as_a_decorator_with_what_to_do() -> None:
    class Model:
        pass

    with pytest.raises(TypeError, match="decorate each method"):
        repro_magic.deterministic()(Model)
    with pytest.raises(TypeError, match="below @staticmethod"):
        repro_magic.deterministic()(staticmethod(len))
    with pytest.raises(TypeError, match="needs parentheses"):

        @repro_magic.deterministic  # type: ignore[arg-type]
        def function() -> None:
            pass


def test_leaving_without_entering_says_so() -> None:
    with pytest.raises(RuntimeError, match="exited more often"):
        repro_magic.deterministic().__exit__(None, None, None)


@pytest.mark.parametrize("threads", [0, -1, 2**31, 1.5, True, "2"])
def test_wrong_threads_are_refused(threads: Any) -> None:
    with pytest.raises(InvalidThreadsError, match="from 1"):
        repro_magic.deterministic(threads=threads)


def test_a_wrong_seed_is_refused_before_anything_is_touched() -> None:
    before = switch_values()
    with pytest.raises(InvalidSeedError):
        repro_magic.deterministic(seed=-1)
    assert switch_values() == before


def test_strict_raises_where_an_op_can_differ_and_the_default_warns() -> None:
    """`put_` with accumulate=False has no deterministic path, on a CPU too."""
    torch.set_num_threads(2)
    index = torch.arange(40_000) % 7
    target, source = torch.zeros(40_000), torch.rand(40_000)
    with pytest.raises(NondeterministicOpError, match="put_") as raised, repro_magic.deterministic(strict=True):
        target.put_(index, source)
    assert (raised.value.op, raised.value.device) == ("put_", "cpu")
    assert (raised.value.line or 0) > 0
    assert not target.any(), "it was stopped before it ran"
    with pytest.warns(NondeterminismWarning, match="put_"), repro_magic.deterministic():
        target.put_(index, source)


def test_what_the_user_made_strict_stays_strict() -> None:
    torch.use_deterministic_algorithms(mode=True)
    index = torch.arange(MANY) % 7
    with repro_magic.deterministic() as report:
        for _ in range(3):
            with pytest.raises(RuntimeError, match="put_ does not have a deterministic"):
                torch.zeros(MANY).put_(index, torch.rand(MANY))
    assert report.findings == [], "what is refused does not run"


@pytest.mark.filterwarnings("default")
def test_what_pytorch_warns_of_without_reason_is_no_warning_of_ours() -> None:
    """GIVEN no index twice WHEN PyTorch warns of `put_` all the same THEN that is kept beside the finding."""
    with repro_magic.deterministic() as report:
        torch.zeros(4).put_(torch.tensor([0, 1]), torch.ones(2))
    (found,) = report.ops
    assert (found.op, found.status, found.alerts) == ("put_", FindingStatus.LATENT, True)


def test_uninitialized_memory_is_filled_inside() -> None:
    with repro_magic.deterministic():
        assert torch.empty(3).isnan().all()
