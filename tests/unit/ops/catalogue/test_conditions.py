"""The catalogue of flagged ops: whole, true to the installed PyTorch, and right about single calls."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from alert_sites import READABLE_HERE, alert_names
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as some
from torch._subclasses.fake_tensor import FakeTensorMode

from repro_magic.exceptions import HookFaultWarning
from repro_magic.findings import Direction
from repro_magic.ops.catalogue import conditions
from repro_magic.ops.catalogue import lookup as catalogue
from repro_magic.ops.catalogue.entries import CATALOGUE
from repro_magic.ops.catalogue.lookup import lookup, random_ops
from repro_magic.ops.catalogue.model import Effect, Entry, Hazard, OpCall
from repro_magic.plugins import torchvision

ALL = (*CATALOGUE, *torchvision.ENTRIES)
HERE = tuple(int(part) for part in torch.__version__.split(".")[:2])
ENTRY = {entry.op: entry for entry in ALL}


def hazards_here(entry: Entry) -> list[Hazard]:
    return [
        hazard
        for hazard in entry.hazards
        if (hazard.since is None or hazard.since <= HERE) and (hazard.until is None or hazard.until > HERE)
    ]


def call_of(overload: str, *, threads: int = 1, look: bool = True, **arguments: Any) -> OpCall:
    """A call with its schema's defaults filled in, as the watcher makes it."""
    name, _, which = overload.partition(".")
    schema = getattr(getattr(torch.ops.aten, name), which)._schema
    full = {given.name: arguments.pop(given.name, given.default_value) for given in schema.arguments}
    assert not arguments, f"{overload} does not take {arguments}"
    return OpCall(overload=overload, arguments=full, threads=threads, look=look)


def judged(device: str, call: OpCall) -> tuple[bool | None, Hazard] | None:
    """The first hazard on a device that is not ruled out, and whether it holds; None: none."""
    for entry in lookup()[call.overload.partition(".")[0]]:
        for hazard in hazards_here(entry):
            if device in hazard.devices and (answer := hazard.condition(call)) is not False:
                return answer, hazard
    return None


def may_differ(device: str, call: OpCall) -> bool | None:
    found = judged(device, call)
    return bool(found[0]) and found[1].differs if found and found[0] is not None else (None if found else False)


# The table itself


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.op)
def test_every_entry_is_whole(entry: Entry) -> None:
    assert entry.hazards
    assert entry.names
    assert len(set(entry.names)) == len(entry.names)
    assert entry.link.startswith("https://")
    for hazard in entry.hazards:
        assert hazard.devices
        assert set(hazard.devices) <= {"cpu", "cuda", "mps"}
        for text in (hazard.why, hazard.remedy):
            assert text[0].isupper() or text.startswith("cuDNN"), text
            assert text.endswith("."), text
            assert 10 <= len(text) <= 120, text
        if hazard.since and hazard.until:
            assert hazard.since < hazard.until


def test_a_name_belongs_to_one_entry_of_each_direction() -> None:
    for name, entries in lookup().items():
        assert len({entry.direction for entry in entries}) == len(entries), name
    assert len({entry.op for entry in ALL}) == len(ALL)


def test_an_alert_belongs_to_one_entry() -> None:
    alerts = [alert for entry in ALL for alert in entry.alerts]
    assert len(set(alerts)) == len(alerts)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.op)
def test_every_name_exists_in_this_torch(entry: Entry) -> None:
    if hazards_here(entry):
        for name in entry.names:
            assert getattr(torch.ops.aten, name).overloads(), name


def test_what_runs_in_every_training_step_is_hot() -> None:
    for name in ("convolution", "convolution_backward", "_cudnn_rnn", "resize_", "bmm", "avg_pool3d_backward"):
        assert all(entry.hot for entry in lookup()[name]), name
    for name in ("index_put_", "index_add_", "scatter_add_", "cumsum", "put_", "bincount"):
        assert not any(entry.hot for entry in lookup()[name]), name


# Guard 1: the installed documentation

BACKWARD_ON_CUDA = "when attempting to differentiate a CUDA tensor"
ON_CUDA = "when called on CUDA tensor"
ON_A_CUDA = "when called on a CUDA tensor"
# What the documentation says, word for word, and the entries that say it here. A line that is new or changed must be
# read by somebody: then the entry is put right, and the line added here.
DOCUMENTED: dict[str, tuple[str, ...]] = {
    **{f"torch.nn.Conv{kind}d {ON_CUDA}": ("convolution", "convolution_backward") for kind in "123"},
    **{f"torch.nn.ConvTranspose{kind}d {ON_CUDA}": ("convolution", "convolution_backward") for kind in "123"},
    **{f"torch.nn.ReplicationPad{n}d {BACKWARD_ON_CUDA}": (f"replication_pad{n}d_backward",) for n in (1, 2, 3)},
    **{f"torch.nn.ReflectionPad{n}d {BACKWARD_ON_CUDA}": (f"reflection_pad{n}d_backward",) for n in (1, 2, 3)},
    **{f"torch.nn.AdaptiveAvgPool{n}d {BACKWARD_ON_CUDA}": (f"_adaptive_avg_pool{n}d_backward",) for n in (2, 3)},
    **{f"torch.nn.FractionalMaxPool{n}d {BACKWARD_ON_CUDA}": (f"fractional_max_pool{n}d_backward",) for n in (2, 3)},
    f"torch.nn.AdaptiveMaxPool2d {BACKWARD_ON_CUDA}": ("adaptive_max_pool2d_backward",),
    f"torch.nn.AvgPool3d {BACKWARD_ON_CUDA}": ("avg_pool3d_backward",),
    f"torch.nn.MaxPool3d {BACKWARD_ON_CUDA}": ("max_pool3d_with_indices_backward",),
    f"torch.nn.CTCLoss {BACKWARD_ON_CUDA}": ("_ctc_loss_backward",),
    f"torch.nn.Embedding {BACKWARD_ON_CUDA}": ("embedding_dense_backward",),
    f"torch.nn.EmbeddingBag {BACKWARD_ON_CUDA} when mode='max'": ("_embedding_bag_dense_backward",),
    "torch.nn.MaxUnpool1d": ("max_unpool2d",),
    "torch.nn.MaxUnpool2d": ("max_unpool2d",),
    "torch.nn.MaxUnpool3d": ("max_unpool3d",),
    f"torch.nn.NLLLoss {ON_A_CUDA}": ("nll_loss2d",),
    f"torch.nn.functional.grid_sample {BACKWARD_ON_CUDA}": ("grid_sampler_2d_backward", "grid_sampler_3d_backward"),
    f"torch.nn.functional.interpolate {BACKWARD_ON_CUDA} and one of the following modes is used: "
    "- linear - bilinear - bicubic - trilinear": (
        "upsample_linear1d_backward",
        "upsample_bilinear2d_backward",
        "upsample_bicubic2d_backward",
        "upsample_trilinear3d_backward",
    ),
    "torch.bmm when called on sparse-dense CUDA tensors": ("bmm",),
    "torch.Tensor.__getitem__ when attempting to differentiate a CPU tensor and the index is a list of tensors": (
        "index_put_",
    ),
    "torch.Tensor.index_put with accumulate=False": ("index_put_",),
    "torch.Tensor.index_put with accumulate=True when called on a CPU tensor": ("index_put_",),
    "torch.Tensor.put_ with accumulate=True when called on a CPU tensor": ("put_",),
    "torch.Tensor.put_ when accumulate=False": ("put_",),
    "torch.Tensor.put_ when accumulate=True and called on a CUDA tensor": ("put_",),
    f"torch.Tensor.scatter_add_ {ON_A_CUDA}": ("scatter_add_",),
    f"torch.gather {ON_A_CUDA} that requires grad": ("scatter_add_",),
    f"torch.index_add {ON_CUDA}": ("index_add_",),
    f"torch.index_select {BACKWARD_ON_CUDA}": ("index_add_",),
    f"torch.repeat_interleave {BACKWARD_ON_CUDA}": ("index_add_",),
    "torch.Tensor.index_copy when called on a CPU or CUDA tensor": ("index_copy_",),
    "torch.Tensor.scatter when src type is Tensor and called on CUDA tensor": ("scatter_",),
    "torch.Tensor.scatter_reduce when reduce='sum' or reduce='mean' and called on CUDA tensor": ("scatter_reduce_",),
    "torch.Tensor.scatter_reduce when reduce='prod' and called on CUDA tensor": ("scatter_reduce_",),
    f"torch.histc {ON_A_CUDA}": ("histc",),
    f"torch.bincount {ON_A_CUDA} and weights tensor is given": ("bincount",),
    f"torch.kthvalue {ON_A_CUDA}": ("kthvalue",),
    f"torch.median with indices output {ON_A_CUDA}": ("median",),
    f"torch.cumsum {ON_A_CUDA} when dtype is floating point or complex": ("cumsum",),
    "torch.Tensor.resize_ when called with a quantized tensor": ("resize_",),
}


def documented(docstring: str) -> list[str]:
    """The items of both lists, without mark-up, each on one line."""
    lists = docstring.partition("deterministically when ``mode=True``:")[2].partition("In addition,")[0]
    items = re.split(
        r"^\s*\* ", lists.replace("The following normally-nondeterministic", "\n* END"), flags=re.MULTILINE
    )
    plain = (" ".join(re.sub(r":\w+:|`", "", item).split()) for item in items[1:])
    return [item for item in plain if not item.startswith("END")]


def test_what_the_installed_documentation_lists_is_covered() -> None:
    """GIVEN the docstring of the switch WHEN an item is new or reworded THEN this fails: the catalogue must be read."""
    items = documented(torch.use_deterministic_algorithms.__doc__ or "")
    assert len(items) > 40, "the docstring has another form: teach this test to read it"
    assert [item for item in items if item not in DOCUMENTED] == []
    assert {op for ops in DOCUMENTED.values() for op in ops} <= set(ENTRY)


def test_a_new_item_in_the_documentation_would_be_seen() -> None:
    text = "deterministically when ``mode=True``:\n    * :func:`torch.brand_new` here\n   and there\n\nIn addition, x"
    assert documented(text) == ["torch.brand_new here and there"]


# Guard 2: the installed libraries


@pytest.mark.skipif(not READABLE_HERE, reason="machine code of Linux on x86-64 only")
def test_every_alert_in_the_installed_libraries_is_listed() -> None:
    """GIVEN the shared libraries WHEN one alerts under a name of no entry THEN this fails.

    A CPU build holds four alerts; only a CUDA build holds them all.
    """
    libraries = sorted((Path(torch.__file__).parent / "lib").glob("libtorch_c*.so"))
    found = set().union(*(alert_names(library) for library in libraries))
    assert {"put_", "max_unpooling2d_forward_out", "quantized_resize_cpu_"} <= found, "the reader has gone blind"
    assert found - {alert for entry in ALL for alert in entry.alerts} == set()


# Single calls: one that may differ, and one that cannot

Make = Callable[[str], dict[str, Any]]


def floats(*shape: int) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.arange(max(1, torch.Size(shape).numel()), device=device).reshape(shape).float() + 0.5


def whole(*shape: int) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.ones(shape, device=device, dtype=torch.int64)


def tensor(*values: Any) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.tensor(values, device=device)


def quantized(_device: str) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that they will go one day
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)


def numbers(count: int, below: int) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.arange(count, device=device) % below


def built(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    def build(value: Any) -> Any:
        if isinstance(value, list):
            return [build(item) for item in value]
        return value(device) if isinstance(value, types.FunctionType) else value

    return {name: build(value) for name, value in arguments.items()}


MANY, REPEATED, DISTINCT = 40_000, numbers(40_000, 7), numbers(40_000, 40_000)
ROWS = {"self": floats(4, 3), "dim": 0, "source": floats(2, 3)}
LANES = {"self": floats(4, 3), "dim": 0, "src": floats(2, 3)}
LANES_REPEAT, LANES_DIFFER = tensor([1, 1, 2], [0, 1, 0]), tensor([1, 1, 2], [0, 0, 0])
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
        {
            "self": floats(1),
            "weight": floats(1),
            "padding": [0],
            "stride": [1],
            "dilation": [1],
            "groups": 1,
            "benchmark": False,
            "allow_tf32": False,
        },
        {"deterministic": False},
        {"deterministic": True},
    ),
    (
        "cuda",
        "cudnn_convolution.default",
        {
            "self": floats(1),
            "weight": floats(1),
            "padding": [0],
            "stride": [1],
            "dilation": [1],
            "groups": 1,
            "deterministic": True,
            "allow_tf32": False,
        },
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
    monkeypatch.setattr(conditions, "_lane_repeats", lambda lanes: read.append(lanes))
    device, overload, both, trigger, _ = pair
    with FakeTensorMode():
        call = call_of(overload, threads=2, look=look, **built({**both, **trigger}, "cuda"))
        assert may_differ(device, call) is not False
    assert read == []


@pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
def test_real_tensors_are_not_read_under_somebody_elses_mode(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(conditions, "_lane_repeats", lambda lanes: read.append(lanes))
    device, overload, both, trigger, _ = pair
    call = call_of(overload, threads=2, **built({**both, **trigger}, "cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert may_differ(device, call) is not False
    assert read == []


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
        (conditions.rows_repeat, call),
        (conditions.places_repeat, call),
        (conditions.tuples_repeat, pairs),
    ):
        assert condition(made) is (truth if settled else None)


@settings(max_examples=60, deadline=None)
@given(pairs=some.lists(some.tuples(some.integers(-3, 2), some.integers(-4, 3)), min_size=1, max_size=8))
def test_pairs_of_indices_repeat_only_together(pairs: list[tuple[int, int]]) -> None:
    first, second = (torch.tensor([pair[part] for pair in pairs]) for part in (0, 1))
    truth = len({(row % 3, column % 4) for row, column in pairs}) < len(pairs)
    call = OpCall("any.default", {"self": torch.zeros(3, 4), "indices": [first, second]}, threads=2, look=True)
    assert conditions.tuples_repeat(call) is truth


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("count", [conditions.FIRST_CHUNK, conditions.FIRST_CHUNK + 5, conditions.LONGEST_SORT])
def test_repeats_are_found_wherever_they_stand(count: int, shuffled: bool) -> None:
    index = torch.randperm(count) if shuffled else torch.arange(count)
    call = OpCall("any.default", {"self": torch.zeros(count), "dim": 0, "index": index}, threads=2, look=True)
    assert conditions.rows_repeat(call) is False
    index[-1] = index[0]
    assert conditions.rows_repeat(call) is True


def test_long_shuffled_indices_are_told_by_marks() -> None:
    index = torch.randperm(3 * conditions.LONGEST_SORT)
    call = OpCall("any.default", {"self": torch.zeros(len(index)), "dim": 0, "index": index}, threads=2, look=True)
    assert conditions.rows_repeat(call) is False
    index[-1] = index[0]
    assert conditions.rows_repeat(call) is True


@pytest.mark.parametrize("repeated", [False, True])
def test_rows_times_columns_are_told_without_the_pairs(repeated: bool) -> None:
    """GIVEN `x[rows[:, None], columns]` WHEN looked at THEN rows and columns decide, one by one."""
    rows, columns = torch.randperm(3000), torch.randperm(3000)
    if repeated:
        columns[-1] = columns[0]
    arguments = {"self": torch.zeros(3000, 3000), "indices": [rows[:, None], columns[None]]}
    assert conditions.tuples_repeat(OpCall("any.default", arguments, threads=2, look=True)) is repeated


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
    assert conditions.different_values(call) is expected


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


# Plug-ins and random ops


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    """Install a plug-in `plugged`, whose module counts as imported."""

    def install(target: object) -> None:
        def load() -> object:
            if isinstance(target, Exception):
                raise target
            return target

        point = types.SimpleNamespace(name="plugged", value="plugged:ENTRIES", load=load)
        monkeypatch.setattr(catalogue, "plug_ins", lambda: {"plugged": point})
        monkeypatch.setitem(sys.modules, "plugged", types.ModuleType("plugged"))
        catalogue.entries_of.cache_clear()
        catalogue._index.cache_clear()

    yield install
    catalogue.entries_of.cache_clear()
    catalogue._index.cache_clear()


PLUGGED = Entry(
    "splat", "plugged.splat", Direction.FORWARD, ("plugged::splat", "index_add_"), (), "https://example.org"
)


def test_a_plug_in_adds_its_entries_once_its_module_is_there(
    plug_in: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in([PLUGGED])
    assert lookup()["plugged::splat"] == (PLUGGED,)
    assert [entry.op for entry in lookup()["index_add_"]] == ["index_add_", "splat"]
    assert lookup() is lookup(), "cached"
    monkeypatch.delitem(sys.modules, "plugged")
    assert "plugged::splat" not in lookup()


@pytest.mark.parametrize("target", [ImportError("no such thing"), 7, [PLUGGED, "no entry"]])
def test_a_faulty_plug_in_is_told_once_and_takes_no_other_with_it(
    plug_in: Callable[[object], None], target: object
) -> None:
    plug_in(target)
    with pytest.warns(HookFaultWarning, match="plugged") as told:
        found = lookup()
    assert "index_add_" in found
    assert "plugged::splat" not in found
    assert lookup() is found
    assert len(told) == 1


def test_torchvision_is_the_first_plug_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    value = project["entry-points"][catalogue.ENTRY_POINTS]["torchvision"]
    point = importlib.metadata.EntryPoint("torchvision", value, catalogue.ENTRY_POINTS)
    assert "torchvision::_roi_align_backward" in {name for entry in point.load() for name in entry.names}


def test_random_ops_are_those_that_draw() -> None:
    found = random_ops()
    assert {"rand.default", "bernoulli_.float", "native_dropout.default", "randperm.default"} <= set(found)
    assert not {"add.Tensor", "index_add_.default", "zeros.default"} & set(found)
    assert len(found) > 100
