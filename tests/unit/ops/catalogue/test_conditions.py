"""Conditions: right about single calls, whatever their arguments, and true to what a CPU does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from calls import ALL, MANY, ROWS, built, call_of, floats, judged, may_differ, quantized, tensor, whole
from hypothesis import given, settings
from hypothesis import strategies as some
from torch._subclasses.fake_tensor import FakeTensorMode

from repro_magic.ops.catalogue import indexing
from repro_magic.ops.catalogue.model import Effect, Entry, OpCall


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.op)
def test_no_condition_raises_whatever_the_call_holds(entry: Entry) -> None:
    """GIVEN every op WHEN called with odd arguments THEN each condition answers True, False or None."""
    odd: list[Any] = [
        None,
        "text",
        [None, None],
        torch.ones(2, 2, device="meta"),
        torch.eye(2).to_sparse(),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        quantized("cpu"),
        torch.empty(0, dtype=torch.int64),
        torch.tensor(3),
        [None, torch.ones(2, dtype=torch.bool), torch.ones(2, device="meta")],
    ]
    names = ("self", "index", "indices", "values", "source", "src", "dim", "reduce", "output_size", "weights", "mode")
    for value in odd:
        for hazard in entry.hazards:
            for arguments in ({}, dict.fromkeys(names, value), {**dict.fromkeys(names, value), "self": torch.ones(3)}):
                call = OpCall(overload=f"{entry.names[0]}.default", arguments=arguments, threads=2, look=True)
                assert hazard.condition(call) in (True, False, None)


@pytest.mark.parametrize(
    ("device", "overload", "arguments"),
    [
        ("cuda", "median.dim", {"self": floats(3), "dim": 0}),
        ("cuda", "nanmedian.dim_values", {"self": floats(3), "dim": 0, "values": floats(1), "indices": whole(1)}),
        ("mps", "kthvalue.default", {"self": floats(3), "k": 1}),
        ("cuda", "histc.default", {"self": lambda _device: torch.empty(2**24 + 1, device="meta")}),
    ],
)
def test_other_calls_that_may_differ(device: str, overload: str, arguments: dict[str, Any]) -> None:
    assert may_differ(device, call_of(overload, **built(arguments, "cpu"))) is True


@pytest.mark.parametrize(
    ("device", "overload", "arguments"),
    [
        ("cuda", "median.default", {"self": floats(3)}),
        ("cuda", "histc.default", {"self": whole(3)}),
        ("cuda", "scatter_.value", {"self": floats(3), "dim": 0, "index": whole(3), "value": 1.0}),
        (
            "cuda",
            "scatter_.value_reduce",
            {"self": floats(3), "dim": 0, "index": whole(3), "value": 2, "reduce": "add"},
        ),
        ("cpu", "index_add_.default", {"self": floats(3), "dim": 0, "index": whole(3), "source": floats(3)}),
        ("cpu", "resize_.default", {"self": floats(3), "size": [4]}),
    ],
)
def test_other_calls_are_no_matter(device: str, overload: str, arguments: dict[str, Any]) -> None:
    assert judged(device, call_of(overload, **built(arguments, "cpu"))) is None


@pytest.mark.parametrize(
    ("device", "overload", "arguments"),
    [
        ("cpu", "max_unpool2d.default", {"self": floats(1, 1, 1), "indices": whole(1, 1, 1), "output_size": [2, 2]}),
        (
            "cpu",
            "resize_.default",
            {"self": quantized, "size": [3]},
        ),
        ("cpu", "put_.default", {"self": floats(9), "index": tensor(1, 1), "source": floats(2)}),
        ("cuda", "put_.default", {"self": floats(9), "index": tensor(1, 2), "source": floats(2)}),
        ("cuda", "histc.default", {"self": floats(9)}),
        ("cuda", "bincount.default", {"self": tensor(1, 2), "weights": floats(2)}),
        ("cuda", "index_reduce.default", {**ROWS, "index": tensor(1, 1), "reduce": "amax"}),
    ],
)
def test_what_only_alerts_is_told_apart_from_what_may_differ(
    device: str, overload: str, arguments: dict[str, Any]
) -> None:
    found = judged(device, call_of(overload, **built(arguments, "cpu")))
    assert found is not None
    assert found[0] is True
    assert found[1].switch is Effect.ALERTS
    assert not found[1].differs


# What a CPU really does


def results(write: Callable[[], torch.Tensor], runs: int) -> int:
    """How many different results some runs give, by their bits."""
    return len({write().numpy().tobytes() for _ in range(runs)})


@pytest.mark.parametrize(
    ("overload", "size", "dtype", "accumulate", "active"),
    [
        ("index_put_.default", 3000, torch.float32, False, False),
        ("index_put_.default", 3001, torch.float32, False, True),
        ("index_put_.default", 32_767, torch.float32, True, False),
        ("index_put_.default", 32_768, torch.float32, True, True),
        ("index_put_.default", 100_000, torch.float64, True, False),
        ("put_.default", 3000, torch.float32, False, False),
        ("put_.default", 100_000, torch.float64, True, False),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_called_safe_on_a_cpu_is_the_same_in_every_run(  # noqa: PLR0913, PLR0917 - the columns of a table
    overload: str, size: int, dtype: torch.dtype, accumulate: bool, active: bool, threads: int
) -> None:
    index, values = torch.arange(size) % 7, torch.randn(size, dtype=dtype)
    into = torch.zeros(7, dtype=dtype)
    name = overload.partition(".")[0]
    arguments = {"indices": [index], "values": values} if name == "index_put_" else {"index": index, "source": values}
    call = call_of(overload, threads=threads, self=into, accumulate=accumulate, **arguments)
    expected = active and threads > 1
    assert may_differ("cpu", call) is expected
    if not expected:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        op = getattr(torch.ops.aten, name)
        places = [index] if name == "index_put_" else index
        try:
            assert results(lambda: op(torch.zeros(7, dtype=dtype), places, values, accumulate), 10) == 1
        finally:
            torch.set_num_threads(before)


@settings(max_examples=60, deadline=None)
@given(indices=some.lists(some.integers(-6, 5), max_size=8), look=some.booleans())
def test_repeats_are_found_whatever_the_indices(indices: list[int], look: bool) -> None:
    """GIVEN any indices, negative ones too WHEN looked at THEN a place named twice, and only that, is a repeat."""
    index = torch.tensor(indices, dtype=torch.int64)
    truth = len({place % 6 for place in indices}) < len(indices)
    arguments = {"self": torch.zeros(6), "dim": 0, "index": index, "indices": [None, index]}
    call = OpCall("any.default", arguments, threads=2, look=look)
    pairs = OpCall("any.default", {**arguments, "self": torch.zeros(2, 6)}, threads=2, look=look)
    settled = look or len(indices) <= 1 or len(indices) > 6
    for condition, made in (
        (indexing.rows_repeat, call),
        (indexing.places_repeat, call),
        (indexing.tuples_repeat, pairs),
    ):
        assert condition(made) is (truth if settled else None)


@settings(max_examples=60, deadline=None)
@given(pairs=some.lists(some.tuples(some.integers(-3, 2), some.integers(-4, 3)), min_size=1, max_size=8))
def test_pairs_of_indices_repeat_only_together(pairs: list[tuple[int, int]]) -> None:
    first, second = (torch.tensor([pair[part] for pair in pairs]) for part in (0, 1))
    truth = len({(row % 3, column % 4) for row, column in pairs}) < len(pairs)
    call = OpCall("any.default", {"self": torch.zeros(3, 4), "indices": [first, second]}, threads=2, look=True)
    assert indexing.tuples_repeat(call) is truth


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("count", [indexing.FIRST_CHUNK, indexing.FIRST_CHUNK + 5, indexing.LONGEST_SORT])
def test_repeats_are_found_wherever_they_stand(count: int, shuffled: bool) -> None:
    index = torch.randperm(count) if shuffled else torch.arange(count)
    call = OpCall("any.default", {"self": torch.zeros(count), "dim": 0, "index": index}, threads=2, look=True)
    assert indexing.rows_repeat(call) is False
    index[-1] = index[0]
    assert indexing.rows_repeat(call) is True


def test_long_shuffled_indices_are_told_by_marks() -> None:
    index = torch.randperm(3 * indexing.LONGEST_SORT)
    call = OpCall("any.default", {"self": torch.zeros(len(index)), "dim": 0, "index": index}, threads=2, look=True)
    assert indexing.rows_repeat(call) is False
    index[-1] = index[0]
    assert indexing.rows_repeat(call) is True


@pytest.mark.parametrize("repeated", [False, True])
def test_rows_times_columns_are_told_without_the_pairs(repeated: bool) -> None:
    """GIVEN `x[rows[:, None], columns]` WHEN looked at THEN rows and columns decide, one by one."""
    rows, columns = torch.randperm(3000), torch.randperm(3000)
    if repeated:
        columns[-1] = columns[0]
    arguments = {"self": torch.zeros(3000, 3000), "indices": [rows[:, None], columns[None]]}
    assert indexing.tuples_repeat(OpCall("any.default", arguments, threads=2, look=True)) is repeated


@pytest.mark.parametrize(("size", "unlooked"), [(100, False), (20_000, None)])
def test_a_mask_beside_an_index_is_judged_by_what_it_stands_for(size: int, unlooked: bool | None) -> None:
    """GIVEN `x[mask, index] = v` WHEN small THEN nothing is split; WHEN large THEN the rows it stands for decide."""
    mask = torch.arange(size) % 2 == 0
    into, values = torch.zeros(size, 5), torch.rand(size // 2)
    indices = [mask, torch.arange(size // 2) % 5]
    torch.ops.aten.index_put_(into, indices, values)
    for look, expected in ((False, unlooked), (True, False)):
        call = call_of("index_put_.default", threads=2, look=look, self=into, indices=indices, values=values)
        assert may_differ("cpu", call) is expected


def test_values_that_are_all_one_cannot_differ() -> None:
    arguments = {"self": torch.zeros(7), "indices": [torch.arange(MANY) % 7], "values": torch.ones(MANY)}
    for look, expected in ((True, False), (False, None)):
        assert may_differ("cpu", OpCall("index_put_.default", arguments, threads=2, look=look)) is expected


@pytest.mark.parametrize(
    ("shape", "indices", "values", "expected"),
    [
        ((3, 4), [tensor(0, 0)], floats(4), False),
        ((3, 4), [tensor(0, 0)], floats(1, 4), False),
        ((3, 4), [tensor(0, 0)], floats(2, 4), True),
        ((3, 4), [tensor(0, 0)], floats(2, 1), True),
        ((3, 4), [None, tensor(0, 0)], floats(3, 1), False),
        ((3, 4), [None, tensor(0, 0)], floats(2), True),
        ((2, 3, 4), [tensor(0, 0), None, tensor(1, 1)], floats(3), False),
        ((2, 3, 4), [tensor(0, 0), None, tensor(1, 1)], floats(2, 1), True),
        ((3, 4), [tensor(0, 0)], lambda _device: torch.ones(2, 4), False),
        ((3, 4), [tensor(0, 0)], lambda _device: torch.rand(2, 1)[:1].expand(2, 4), False),
    ],
)
def test_writing_the_same_to_every_index_cannot_differ(shape: Any, indices: Any, values: Any, expected: bool) -> None:
    """GIVEN `x[i] = v` WHEN v is broadcast along i THEN a repeated index gets the same again (and v fits)."""
    arguments = built({"self": floats(*shape), "indices": indices, "values": values}, "cpu")
    torch.ops.aten.index_put(*arguments.values())
    call = OpCall("index_put_.default", arguments, threads=2, look=True)
    assert indexing.different_values(call) is expected


def test_a_symbolic_size_is_left_alone() -> None:
    """GIVEN a graph being traced with unknown sizes WHEN judged THEN no comparison becomes a guard of that graph."""
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    environment = ShapeEnv()
    unknown: Any = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC])
    mode = FakeTensorMode(shape_env=environment)
    values, index = (
        mode.from_tensor(made, symbolic_context=unknown) for made in (torch.rand(5000), torch.arange(5000))
    )
    with mode:
        assert isinstance(values.shape[0], torch.SymInt)
        call = call_of("index_put_.default", threads=2, self=values, indices=[index], values=values)
        assert may_differ("cpu", call) is None
        assert may_differ("cuda", call) is None
    assert environment.guards == []


@pytest.mark.parametrize("overload", ["convolution.default", "convolution_backward.default"])
@pytest.mark.parametrize(
    ("enabled", "benchmark", "deterministic", "expected"),
    [
        (True, False, False, Effect.HANDLES),
        (True, True, False, Effect.IGNORES),
        (True, True, True, Effect.IGNORES),
        (True, False, True, None),
        (False, True, False, None),
    ],
)
def test_convolutions_follow_the_switches_of_cudnn(
    overload: str, enabled: bool, benchmark: bool, deterministic: bool, expected: Effect | None
) -> None:
    with torch.backends.cudnn.flags(enabled=enabled, benchmark=benchmark, deterministic=deterministic):
        found = judged("cuda", OpCall(overload, {}, threads=1, look=False))
    assert (found[1].switch if found else None) is expected


@pytest.mark.parametrize(("workspace", "expected"), [(None, True), (":4096:8", False), (":0:0", True)])
def test_recurrent_layers_follow_the_workspace(
    workspace: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    for name in ("_cudnn_rnn", "_cudnn_rnn_backward"):
        assert may_differ("cuda", OpCall(f"{name}.default", {}, threads=1, look=False)) is expected
