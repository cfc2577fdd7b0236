"""Single calls, in pairs: one that may differ between runs, and one like it that cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from calls import DISTINCT, MANY, REPEATED, ROWS, built, call_of, floats, may_differ, numbers, tensor, whole
from torch._subclasses.fake_tensor import FakeTensorMode

from repro_magic.ops.catalogue import indexing

LANES = {"self": floats(4, 3), "dim": 0, "src": floats(2, 3)}
LANES_REPEAT, LANES_DIFFER = tensor([1, 1, 2], [0, 1, 0]), tensor([1, 1, 2], [0, 0, 0])
CONVOLUTION = {
    "self": floats(1),
    "weight": floats(1),
    "padding": [0],
    "stride": [1],
    "dilation": [1],
    "groups": 1,
    "allow_tf32": False,
}
POOL = {"grad_output": floats(1, 1, 2, 2, 2), "self": floats(1, 1, 6, 6, 6), "padding": [0, 0, 0], "ceil_mode": False}
MAX_POOL = {**POOL, "indices": whole(1, 1, 2, 2, 2), "dilation": [1, 1, 1]}
AVG_POOL = {**POOL, "count_include_pad": True, "divisor_override": None}
GRID = {"interpolation_mode": 0, "padding_mode": 0, "align_corners": False}
BAG = {
    "grad": floats(2, 3),
    "indices": numbers(4, 4),
    "offset2bag": numbers(4, 2),
    "bag_size": numbers(2, 2),
    "maximum_indices": whole(2, 3),
    "num_weights": 5,
    "scale_grad_by_freq": False,
    "per_sample_weights": None,
}
PUT = {"self": floats(MANY), "source": floats(MANY)}
INDEXED = {"self": floats(MANY), "values": floats(MANY)}
NLL = {"self": floats(1, 3, 2, 2), "target": whole(1, 2, 2), "weight": None, "ignore_index": -100}

# Device, overload, arguments of both, what makes it differ, what rules it out.
PAIRS: list[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("cpu", "index_put_.default", INDEXED, {"indices": [REPEATED]}, {"indices": [DISTINCT]}),
    (
        "cpu",
        "index_put_.default",
        {"self": floats(MANY), "indices": [REPEATED]},
        {"values": floats(MANY)},
        {"values": floats(1)},
    ),
    ("cpu", "index_put_.default", {**INDEXED, "accumulate": True}, {"indices": [REPEATED]}, {"indices": [DISTINCT]}),
    (
        "cpu",
        "index_put.default",
        {"self": floats(9), "values": floats(3001)},
        {"indices": [numbers(3001, 9)]},
        {"indices": [numbers(3000, 9)]},
    ),
    (
        "cpu",
        "_index_put_impl_.default",
        INDEXED,
        {"indices": [REPEATED]},
        {"indices": [lambda device: torch.ones(MANY, dtype=torch.bool, device=device)]},
    ),
    (
        "cpu",
        "index_put_.default",
        {"indices": [REPEATED], "accumulate": True, "values": floats(MANY)},
        {"self": floats(9)},
        {"self": whole(9)},
    ),
    (
        "cpu",
        "_unsafe_masked_index_put_accumulate.default",
        {**INDEXED, "mask": whole(MANY)},
        {"indices": [REPEATED]},
        {"indices": [DISTINCT]},
    ),
    (
        "cuda",
        "index_put_.default",
        {"self": floats(9), "values": floats(3)},
        {"indices": [tensor(1, 1, 2)]},
        {"indices": [tensor(1, 2, 3)]},
    ),
    (
        "cuda",
        "index_put_.default",
        {"self": floats(9), "values": floats(3), "indices": [tensor(1, 1, 2)]},
        {"accumulate": False},
        {"accumulate": True},
    ),
    (
        "mps",
        "index_put_.default",
        {"self": floats(9), "values": floats(3), "indices": [tensor(1, 1, 2)]},
        {"accumulate": True},
        {"accumulate": False},
    ),
    ("cpu", "put_.default", PUT, {"index": REPEATED}, {"index": DISTINCT}),
    ("cpu", "put_.default", {**PUT, "accumulate": True}, {"index": REPEATED}, {"index": DISTINCT}),
    (
        "cuda",
        "put.default",
        {"self": floats(9), "source": floats(3)},
        {"index": tensor(1, 1, 2)},
        {"index": tensor(1, 3, 2)},
    ),
    (
        "cuda",
        "put_.default",
        {"self": floats(9), "source": floats(3), "accumulate": True},
        {"index": tensor(1, -8, 2)},
        {"index": tensor(1, 3, 2)},
    ),
    ("cpu", "index_copy_.default", {**PUT, "dim": 0}, {"index": REPEATED}, {"index": DISTINCT}),
    ("cuda", "index_copy.default", ROWS, {"index": tensor(1, 1)}, {"index": tensor(1, 2)}),
    ("cuda", "index_add_.default", ROWS, {"index": tensor(1, 1)}, {"index": tensor(1, 2)}),
    (
        "cuda",
        "index_add.default",
        {"dim": 0, "index": tensor(1, 1)},
        {"self": floats(4, 3), "source": floats(2, 3)},
        {"self": whole(4, 3), "source": whole(2, 3)},
    ),
    ("cuda", "index_reduce_.default", {**ROWS, "index": tensor(1, 1)}, {"reduce": "prod"}, {"reduce": "amax"}),
    ("cuda", "index_reduce.default", {**ROWS, "reduce": "mean"}, {"index": tensor(1, 1)}, {"index": tensor(1, 2)}),
    ("mps", "index_reduce.default", {**ROWS, "index": tensor(1, 1)}, {"reduce": "mean"}, {"reduce": "amin"}),
    ("cuda", "scatter_.src", LANES, {"index": LANES_REPEAT}, {"index": tensor([1, 1, 2], [0, 0, 0])}),
    ("cuda", "scatter.reduce", {**LANES, "reduce": "add"}, {"index": LANES_REPEAT}, {"index": LANES_DIFFER}),
    ("cuda", "scatter.reduce", {**LANES, "reduce": "multiply"}, {"index": LANES_REPEAT}, {"index": LANES_DIFFER}),
    ("cuda", "scatter_add_.default", LANES, {"index": LANES_REPEAT}, {"index": LANES_DIFFER}),
    ("cuda", "scatter_reduce_.two", {**LANES, "index": LANES_REPEAT}, {"reduce": "sum"}, {"reduce": "amax"}),
    ("cuda", "scatter_reduce.two", {**LANES, "reduce": "prod"}, {"index": LANES_REPEAT}, {"index": LANES_DIFFER}),
    ("mps", "scatter_reduce.two", {**LANES, "index": LANES_REPEAT}, {"reduce": "prod"}, {"reduce": "amin"}),
    ("cuda", "bincount.default", {"self": tensor(1, 1, 2)}, {"weights": floats(3)}, {"weights": None}),
    ("cuda", "bincount.default", {"weights": floats(3)}, {"self": tensor(1, 1, 2)}, {"self": tensor(0, 1, 2)}),
    ("cuda", "cumsum.default", {"dim": 0}, {"self": floats(3)}, {"self": whole(3)}),
    ("cuda", "cumsum_.default", {"dim": 0, "self": whole(3)}, {"dtype": torch.float32}, {"dtype": torch.int64}),
    (
        "cuda",
        "bmm.default",
        {"mat2": floats(1, 2, 2)},
        {"self": lambda device: torch.empty(1, 2, 2, device=device, layout=torch.sparse_coo)},
        {"self": floats(1, 2, 2)},
    ),
    ("cuda", "nll_loss2d_forward.default", NLL, {"reduction": 1}, {"reduction": 0}),
    (
        "cuda",
        "max_unpool2d.default",
        {"self": floats(1, 1, 2, 2), "output_size": [4, 4]},
        {"indices": tensor([[[0, 0], [1, 2]]])},
        {"indices": tensor([[[0, 3], [1, 2]]])},
    ),
    (
        "cuda",
        "max_unpool3d.default",
        {"self": floats(1, 1, 2, 2), "output_size": [2, 2, 4], "stride": [1, 1, 1], "padding": [0, 0, 0]},
        {"indices": tensor([[[[0, 0], [1, 2]]]])},
        {"indices": tensor([[[[0, 3], [1, 2]]]])},
    ),
    (
        "cuda",
        "cudnn_convolution.default",
        {**CONVOLUTION, "benchmark": False},
        {"deterministic": False},
        {"deterministic": True},
    ),
    (
        "cuda",
        "cudnn_convolution.default",
        {**CONVOLUTION, "deterministic": True},
        {"benchmark": True},
        {"benchmark": False},
    ),
    (
        "cuda",
        "_cudnn_ctc_loss.default",
        {
            "log_probs": floats(2, 1, 3),
            "targets": whole(1),
            "input_lengths": [2],
            "target_lengths": [1],
            "blank": 0,
            "zero_infinity": False,
        },
        {"deterministic": False},
        {"deterministic": True},
    ),
    ("cuda", "_embedding_bag_dense_backward.default", BAG, {"mode": 2}, {"mode": 0}),
    (
        "cuda",
        "_adaptive_avg_pool2d_backward.default",
        {"grad_output": floats(1, 1, 2, 2)},
        {"self": floats(1, 1, 5, 4)},
        {"self": floats(1, 1, 6, 4)},
    ),
    (
        "cuda",
        "_adaptive_avg_pool3d_backward.default",
        {"grad_output": floats(1, 1, 2, 2, 2)},
        {"self": floats(1, 1, 4, 4, 5)},
        {"self": floats(1, 1, 4, 4, 4)},
    ),
    (
        "cuda",
        "adaptive_max_pool2d_backward.default",
        {"grad_output": floats(1, 2, 2), "indices": whole(1, 2, 2)},
        {"self": floats(1, 5, 4)},
        {"self": floats(1, 6, 4)},
    ),
    (
        "cuda",
        "avg_pool3d_backward.default",
        {**AVG_POOL, "kernel_size": [3, 3, 3]},
        {"stride": [2, 2, 2]},
        {"stride": []},
    ),
    ("mps", "avg_pool3d_backward.default", {**AVG_POOL, "kernel_size": [2]}, {"stride": [1]}, {"stride": [2]}),
    (
        "cuda",
        "max_pool3d_with_indices_backward.default",
        {**MAX_POOL, "stride": [2, 2, 2]},
        {"kernel_size": [3, 2, 2]},
        {"kernel_size": [2, 2, 2]},
    ),
    (
        "mps",
        "max_pool2d_with_indices_backward.default",
        {**MAX_POOL, "dilation": [1, 1], "stride": [2, 2]},
        {"kernel_size": [3, 2]},
        {"kernel_size": [2, 2]},
    ),
    (
        "cuda",
        "grid_sampler_2d_backward.default",
        {**GRID, "grad_output": floats(1), "input": floats(1), "grid": floats(1)},
        {"output_mask": [True, False]},
        {"output_mask": [False, True]},
    ),
    (
        "cuda",
        "grid_sampler_3d_backward.default",
        {**GRID, "grad_output": floats(1), "input": floats(1), "grid": floats(1)},
        {"output_mask": [True, True]},
        {"output_mask": [False, True]},
    ),
]


def pair_id(pair: Any) -> str:
    device, overload, *_, trigger, harmless = pair
    return f"{device}-{overload}-{next(iter(trigger))}-{next(iter(harmless))}"


@pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
def test_a_call_that_may_differ_and_one_that_cannot(pair: Any) -> None:
    """GIVEN real tensors on a CPU WHEN their values may be read THEN the catalogue is right about that very call."""
    device, overload, both, trigger, harmless = pair
    assert may_differ(device, call_of(overload, threads=2, **built({**both, **trigger}, "cpu"))) is True
    assert may_differ(device, call_of(overload, threads=2, **built({**both, **harmless}, "cpu"))) is False


@pytest.mark.parametrize("look", [True, False])
@pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
def test_tensors_without_values_are_judged_without_them(pair: Any, look: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN fake tensors on a GPU WHEN judged THEN nothing is read or raises, and nothing is ruled out wrongly."""
    read: list[object] = []
    monkeypatch.setattr(indexing, "_lane_repeats", lambda lanes: read.append(lanes))
    device, overload, both, trigger, _ = pair
    with FakeTensorMode():
        call = call_of(overload, threads=2, look=look, **built({**both, **trigger}, "cuda"))
        assert may_differ(device, call) is not False
    assert read == []


@pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
def test_real_tensors_are_not_read_under_somebody_elses_mode(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(indexing, "_lane_repeats", lambda lanes: read.append(lanes))
    device, overload, both, trigger, _ = pair
    call = call_of(overload, threads=2, **built({**both, **trigger}, "cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert may_differ(device, call) is not False
    assert read == []
