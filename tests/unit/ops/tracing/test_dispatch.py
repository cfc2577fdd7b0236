"""What a watch sees: the same through dispatch keys and through a TorchDispatchMode, and unfelt by the user."""

from __future__ import annotations

import inspect
import os
import random
import subprocess
import sys
import threading
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import repro_magic
from repro_magic.dataloading import workers
from repro_magic.exceptions import HookFaultWarning, NondeterminismWarning, NondeterministicOpError
from repro_magic.findings import SOURCE, Direction, Finding, FindingStatus
from repro_magic.ops.tracing import collector, dispatch, tracer
from repro_magic.rng import entropy
from repro_magic.runtime.import_hooks import Waiting

MANY = 40_000
REPEATED = torch.arange(MANY) % 7


@pytest.fixture(autouse=True)
def _no_compilation_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compilation by an earlier test would keep hot ops unwatched in this process."""
    monkeypatch.setattr(dispatch.hot_ops, "never", False)


@pytest.fixture(params=["keys", "mode"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each of the two watchers."""
    tracer.release()
    if request.param == "mode":
        monkeypatch.setattr(tracer, "_best_watcher", dispatch.ModeWatcher)
    yield request.param
    tracer.release()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def seen(run: Callable[[], object]) -> list[Finding]:
    """What a watch finds in `run`."""
    with repro_magic.watch(warn=False) as report:
        run()
    return report.findings


def told(findings: list[Finding]) -> set[tuple[str, str, str, int]]:
    return {(one.op, one.status.value, one.direction.value, one.count) for one in findings}


def line_of(text: str) -> int:
    """The line of this file that ends with a comment."""
    lines = inspect.getsource(inspect.getmodule(line_of) or line_of).splitlines()
    return 1 + next(number for number, line in enumerate(lines) if line.endswith(f"# {text}"))


def leaf(*shape: int) -> torch.Tensor:
    return torch.rand(shape, requires_grad=True)


# Counts, directions, names


def indexing_backward() -> None:
    (leaf(7)[torch.tensor([0, 0, 1])] * torch.rand(3)).sum().backward()


def grad_of_indexing() -> None:
    torch.func.grad(lambda x: x[torch.tensor([0, 0, 1])].pow(2).sum())(torch.rand(7))


def vmapped() -> None:
    torch.func.vmap(lambda x, v: x.index_add(0, torch.tensor([0, 0]), v))(torch.rand(3, 4), torch.rand(3, 2))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda: torch.zeros(4).index_add_(0, torch.tensor([0, 0]), torch.ones(2)), ("index_add_", "forward")),
        (lambda: torch.zeros(4).index_add(0, torch.tensor([0, 0]), torch.ones(2)), ("index_add_", "forward")),
        (
            lambda: torch.index_add(torch.zeros(4), 0, torch.tensor([0, 0]), torch.ones(2), out=torch.empty(4)),
            ("index_add_", "forward"),
        ),
        (lambda: torch.zeros(4).scatter_add_(0, torch.tensor([0, 0]), torch.ones(2)), ("scatter_add_", "forward")),
        (lambda: torch.bincount(torch.tensor([1, 1]), torch.ones(2)), ("bincount", "forward")),
        (lambda: torch.zeros(4).index_put_((torch.tensor([0, 0]),), torch.rand(2)), ("index_put_", "forward")),
        (indexing_backward, ("index_put_", "backward")),
        (lambda: leaf(7).take(torch.tensor([0, 0])).sum().backward(), ("put_", "backward")),
        (lambda: leaf(7).gather(0, torch.tensor([0, 0])).sum().backward(), ("scatter_add_", "backward")),
        (lambda: leaf(7).index_select(0, torch.tensor([0, 0])).sum().backward(), ("index_add_", "backward")),
        (lambda: leaf(3).repeat_interleave(2).sum().backward(), None),
        (grad_of_indexing, ("index_put_", "backward")),
        (vmapped, ("index_add_", "forward")),
        (lambda: torch.rand(7).cumsum(0), ("cumsum", "forward")),
        (lambda: nn.functional.pad(leaf(1, 4, 4), (1, 1), "reflect").sum().backward(), None),
    ],
)
def test_one_call_is_one_count(either: str, run: Callable[[], object], expected: tuple[str, str] | None) -> None:
    """GIVEN one op WHEN it is made of others, differentiated or mapped THEN it is counted once, by its own name."""
    found = [one for one in seen(run) if not one.alerts or one.status is FindingStatus.LATENT]
    if expected is not None:
        assert [(one.op, one.direction.value, one.count) for one in found] == [(*expected, 1)]
    assert all(one.count == 1 for one in found)
    assert either


BACKWARDS: list[tuple[str, Callable[[], Any]]] = [
    (
        "grid_sampler_2d_backward",
        lambda: nn.functional.grid_sample(leaf(1, 1, 4, 4), torch.rand(1, 2, 2, 2), align_corners=False),
    ),
    (
        "grid_sampler_3d_backward",
        lambda: nn.functional.grid_sample(leaf(1, 1, 4, 4, 4), torch.rand(1, 2, 2, 2, 3), align_corners=False),
    ),
    ("reflection_pad1d_backward", lambda: nn.functional.pad(leaf(1, 1, 4), (1, 1), "reflect")),
    ("reflection_pad2d_backward", lambda: nn.functional.pad(leaf(1, 1, 4, 4), (1, 1, 1, 1), "reflect")),
    ("reflection_pad3d_backward", lambda: nn.functional.pad(leaf(1, 1, 4, 4, 4), (1,) * 6, "reflect")),
    ("replication_pad1d_backward", lambda: nn.functional.pad(leaf(1, 1, 4), (1, 1), "replicate")),
    ("replication_pad2d_backward", lambda: nn.functional.pad(leaf(1, 1, 4, 4), (1, 1, 1, 1), "replicate")),
    ("replication_pad3d_backward", lambda: nn.functional.pad(leaf(1, 1, 4, 4, 4), (1,) * 6, "replicate")),
    ("upsample_linear1d_backward", lambda: nn.functional.interpolate(leaf(1, 1, 4), 8, mode="linear")),
    ("upsample_bilinear2d_backward", lambda: nn.functional.interpolate(leaf(1, 1, 4, 4), 8, mode="bilinear")),
    ("upsample_bicubic2d_backward", lambda: nn.functional.interpolate(leaf(1, 1, 4, 4), 8, mode="bicubic")),
    ("upsample_trilinear3d_backward", lambda: nn.functional.interpolate(leaf(1, 1, 4, 4, 4), 8, mode="trilinear")),
    (
        "_upsample_bilinear2d_aa_backward",
        lambda: nn.functional.interpolate(leaf(1, 1, 4, 4), 8, mode="bilinear", antialias=True),
    ),
    (
        "_upsample_bicubic2d_aa_backward",
        lambda: nn.functional.interpolate(leaf(1, 1, 4, 4), 8, mode="bicubic", antialias=True),
    ),
    ("_adaptive_avg_pool2d_backward", lambda: nn.functional.adaptive_avg_pool2d(leaf(1, 1, 5, 5), 2)),
    ("_adaptive_avg_pool3d_backward", lambda: nn.functional.adaptive_avg_pool3d(leaf(1, 1, 5, 5, 5), 2)),
    ("adaptive_max_pool2d_backward", lambda: nn.functional.adaptive_max_pool2d(leaf(1, 1, 5, 5), 2)),
    ("avg_pool3d_backward", lambda: nn.functional.avg_pool3d(leaf(1, 1, 5, 5, 5), 3, 1)),
    ("max_pool3d_with_indices_backward", lambda: nn.functional.max_pool3d(leaf(1, 1, 5, 5, 5), 3, 1)),
    ("fractional_max_pool2d_backward", lambda: nn.functional.fractional_max_pool2d(leaf(1, 1, 5, 5), 2, 2)),
    ("fractional_max_pool3d_backward", lambda: nn.functional.fractional_max_pool3d(leaf(1, 1, 5, 5, 5), 2, 2)),
    ("convolution_backward", lambda: nn.functional.conv2d(leaf(1, 1, 5, 5), torch.rand(1, 1, 3, 3))),
    (
        "_ctc_loss_backward",
        lambda: nn.functional.ctc_loss(
            leaf(5, 1, 3).log_softmax(2), torch.tensor([[1]]), torch.tensor([5]), torch.tensor([1])
        ),
    ),
    (
        "_embedding_bag_dense_backward",
        lambda: nn.functional.embedding_bag(torch.tensor([0, 1]), leaf(3, 2), torch.tensor([0]), mode="max"),
    ),
    ("_cudnn_rnn_backward", lambda: nn.LSTM(2, 2)(torch.rand(3, 1, 2))[0]),
]


@pytest.mark.parametrize(("op", "forward"), BACKWARDS, ids=[name for name, _ in BACKWARDS])
def test_backward_ops_are_seen_once_and_harmless_on_a_cpu(either: str, op: str, forward: Callable[[], Any]) -> None:
    """GIVEN a layer whose gradient differs on CUDA WHEN trained on a CPU THEN that is known, and nobody is alarmed."""
    found = [one for one in seen(lambda: forward().sum().backward()) if one.op == op]
    assert [(one.status, one.direction, one.elsewhere, one.count) for one in found] == [
        (FindingStatus.LATENT, Direction.BACKWARD, "cuda", 1)
    ]
    assert either


def test_lines_of_the_forward_and_the_backward_pass(either: str) -> None:
    """GIVEN a backward op WHEN told THEN with the line that called backward(), and with the one that made its node."""
    with repro_magic.watch(warn=False) as report:
        y = leaf(7)[torch.tensor([0, 0, 1])]  # forward line
        (y * y).sum().backward()  # backward line
    (found,) = report.findings
    assert found.line == line_of("backward line")
    assert found.made_by is not None
    assert found.made_by.line == line_of("forward line")
    assert found.place is not None
    assert found.place.text.startswith("(y * y)")
    assert either


def helper(x: torch.Tensor) -> torch.Tensor:
    return x.cumsum(0)  # helper line


def test_counts_are_exact_per_line(either: str) -> None:
    with repro_magic.watch(warn=False) as report:
        for _ in range(50):
            helper(torch.rand(3))
        for _ in range(7):
            torch.rand(3).cumsum(0)  # own line
    assert {(one.line, one.count) for one in report.findings} == {
        (line_of("helper line"), 50),
        (line_of("own line"), 7),
    }
    assert either


# Statuses on a CPU


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("size", [1000, 30_000, 100_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_active_needs_threads_size_and_repeats(either: str, size: int, threads: int) -> None:
    torch.set_num_threads(threads)
    index, values = torch.arange(size) % 7, torch.rand(size)
    target = torch.zeros(size)

    def write() -> None:
        target[index] = values

    def write_by_mask() -> None:
        target[target > 2] = values[target > 2]

    def write_one_value() -> None:
        target[index] = 1.0

    def write_all_places() -> None:
        target[torch.randperm(size)] = values

    expected = FindingStatus.ACTIVE if threads > 1 and size > 3000 else FindingStatus.LATENT
    assert [one.status for one in seen(write)] == [expected]
    for harmless in (write_by_mask, write_one_value, write_all_places):
        assert not [one for one in seen(harmless) if one.status is FindingStatus.ACTIVE], harmless
    assert either


@pytest.mark.usefixtures("two_threads")
def test_the_switch_handles(either: str) -> None:
    with repro_magic.deterministic(warn=False) as report:
        torch.zeros(7)[REPEATED] = torch.rand(MANY)
    assert told(report.findings) == {("index_put_", "handled", "forward", 1)}
    assert either


@pytest.mark.usefixtures("two_threads")
def test_later_calls_of_a_line_are_judged_by_their_own_size() -> None:
    """GIVEN a line whose data grows WHEN it crosses the size at which threads share the work THEN that is seen."""
    with repro_magic.watch(warn=False) as report:
        for size in [100] * 40 + [MANY] * 2:
            torch.zeros(7).put_(torch.arange(size) % 7, torch.rand(size))
    assert {(one.status.value, one.count) for one in report.findings} == {("latent", 40), ("active", 2)}


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


@pytest.mark.usefixtures("two_threads")
def test_an_eager_call_does_not_hide_what_a_graph_holds() -> None:
    def write(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        x = x * 2
        x[REPEATED] = values
        return x + 1

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run = torch.compile(write)
        with repro_magic.watch(warn=False) as report:
            run(torch.zeros(7), torch.rand(MANY))  # repro: accept index_put_
            torch.zeros(7).index_put_((torch.tensor([0, 0]),), torch.rand(2))
    assert {(one.status.value, one.graph, one.accepted) for one in report.findings} == {
        ("active", True, True),
        ("latent", False, False),
    }


# No false alarm

UNARY = [
    "abs",
    "acos",
    "angle",
    "argmax",
    "argmin",
    "argsort",
    "asin",
    "atan",
    "ceil",
    "clone",
    "cos",
    "cosh",
    "cov",
    "deg2rad",
    "det",
    "erf",
    "exp",
    "expm1",
    "fix",
    "flatten",
    "floor",
    "frac",
    "histc",
    "inverse",
    "isfinite",
    "isnan",
    "isinf",
    "log",
    "log10",
    "log1p",
    "log2",
    "logdet",
    "logit",
    "matrix_exp",
    "max",
    "mean",
    "median",
    "min",
    "msort",
    "nan_to_num",
    "neg",
    "nonzero",
    "norm",
    "numel",
    "positive",
    "prod",
    "rad2deg",
    "ravel",
    "reciprocal",
    "relu",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "slogdet",
    "sort",
    "sqrt",
    "square",
    "std",
    "sum",
    "svd",
    "tan",
    "tanh",
    "trace",
    "trapezoid",
    "tril",
    "triu",
    "trunc",
    "unique",
    "var",
    "zeros_like",
    "ones_like",
    "rand_like",
]
ORDINARY: list[Callable[[torch.Tensor], Any]] = [
    *((lambda x, name=name: getattr(torch, name)(x)) for name in UNARY),
    lambda x: x @ x,
    lambda x: x[x > 0.5],
    lambda x: x[0] + x[:, 1],
    lambda x: x[torch.tensor([0, 0])],
    lambda x: x.view(-1).unfold(0, 2, 1),
    lambda x: torch.einsum("ij,jk->ik", x, x),
    lambda x: torch.stack([x, x]),
    lambda x: torch.where(x > 0.5, x, 0),
    lambda x: x.topk(2),
    lambda x: x.softmax(0),
    lambda x: torch.fft.fft(x),
    lambda x: torch.linalg.qr(x),
    lambda x: torch.bincount(x.view(-1).long()),
    lambda x: x.to_sparse().to_dense(),
    lambda x: x.clone().index_fill_(0, torch.tensor([0, 0]), 1.0),
    lambda x: nn.functional.one_hot(x.long()),
    lambda x: x.cumsum(0),
    lambda x: x.cumprod(0),
    lambda x: x.logcumsumexp(0),
    lambda x: x.flip(0).roll(1, 0),
    lambda x: x.diagonal(),
    lambda x: x.expand(2, 6, 6).permute(1, 2, 0),
    lambda x: torch.cat([x, x]).chunk(2),
    lambda x: torch.cdist(x, x),
    lambda x: x.scatter_add(0, torch.zeros(2, 6, dtype=torch.long), x[:2]),
]


def test_a_hundred_ordinary_ops_give_no_warning(either: str) -> None:
    x = torch.rand(6, 6) + 3 * torch.eye(6)
    assert len(ORDINARY) >= 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings = seen(lambda: [op(x) for op in ORDINARY])
    assert not [one for one in findings if one.status is FindingStatus.ACTIVE]
    assert either


LAYERS: list[Callable[[], tuple[nn.Module, torch.Tensor]]] = [
    lambda: (nn.Linear(4, 2), torch.rand(8, 4)),
    lambda: (nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2)), torch.rand(2, 1, 9)),
    lambda: (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Dropout()),
        torch.rand(2, 1, 9, 9),
    ),
    lambda: (nn.Sequential(nn.Conv3d(1, 2, 3), nn.AvgPool3d(3, 1)), torch.rand(2, 1, 9, 9, 9)),
    lambda: (nn.ConvTranspose2d(1, 2, 3), torch.rand(2, 1, 5, 5)),
    lambda: (nn.Embedding(9, 4), torch.randint(9, (8, 3))),
    lambda: (nn.EmbeddingBag(9, 4), torch.randint(9, (8, 3))),
    lambda: (nn.LSTM(4, 3), torch.rand(5, 2, 4)),
    lambda: (nn.GRU(4, 3), torch.rand(5, 2, 4)),
    lambda: (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.rand(2, 5, 8)),
    lambda: (nn.Upsample(scale_factor=2, mode="bilinear"), torch.rand(1, 2, 4, 4, requires_grad=True)),
    lambda: (nn.AdaptiveAvgPool2d(2), torch.rand(1, 2, 5, 5, requires_grad=True)),
    lambda: (nn.ReflectionPad2d(1), torch.rand(1, 2, 5, 5, requires_grad=True)),
    lambda: (nn.LayerNorm(4), torch.rand(8, 4)),
]


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_training_common_layers_on_a_cpu_gives_no_warning(either: str, number: int) -> None:
    model, data = LAYERS[number]()
    parameters = list[torch.Tensor](model.parameters()) or [data]
    optimizer = torch.optim.Adam(parameters)

    def train() -> None:
        for _ in range(30):
            result = model(data)
            result = result[0] if isinstance(result, tuple) else result
            optimizer.zero_grad()
            result.sum().backward()
            optimizer.step()

    assert not [one for one in seen(train) if one.status is FindingStatus.ACTIVE]
    assert either


# CUDA, on tensors without values

CUDA: list[tuple[str, str, Callable[[], Any]]] = [
    ("index_add_", "active", lambda: torch.zeros(4).index_add_(0, torch.ones(3, dtype=torch.long), torch.ones(3))),
    ("scatter_add_", "active", lambda: torch.zeros(4).scatter_add_(0, torch.ones(3, dtype=torch.long), torch.ones(3))),
    ("index_put_", "active", lambda: torch.zeros(2).index_put_((torch.ones(3, dtype=torch.long),), torch.rand(3))),
    ("cumsum", "active", lambda: torch.rand(4).cumsum(0)),
    ("put_", "active", lambda: torch.zeros(2).put_(torch.ones(3, dtype=torch.long), torch.rand(3))),
    ("median", "active", lambda: torch.rand(4).median(0)),
    ("convolution", "active", lambda: nn.functional.conv2d(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 3, 3))),
    (
        "upsample_bilinear2d_backward",
        "active",
        lambda: torch.ops.aten.upsample_bilinear2d_backward(torch.rand(1, 1, 8, 8), [8, 8], [1, 1, 4, 4], False),
    ),
]


@pytest.mark.parametrize(("op", "status", "run"), CUDA, ids=[op for op, *_ in CUDA])
def test_what_differs_on_cuda_is_active_there(either: str, op: str, status: str, run: Callable[[], Any]) -> None:
    """GIVEN tensors without values on a GPU WHEN an op is tried THEN it is judged as there, without a warning."""
    with FakeTensorMode(), torch.device("cuda"):
        found = [one for one in seen(run) if one.op == op]
    assert [(one.status.value, one.device, one.traced, one.warns) for one in found] == [(status, "cuda", True, False)]
    assert either


ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_backward


def test_fused_attention_takes_its_deterministic_path_although_the_mode_is_to_warn(either: str) -> None:
    modes: list[bool] = []

    class Looking(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is ATTENTION.default:
                modes.append(torch.is_deterministic_algorithms_warn_only_enabled())
                return args[0], args[0], args[0]
            return func(*args, **(kwargs or {}))

    def attend() -> None:
        q = torch.empty(1, 1, 4, 4, device="meta")
        lse, none = torch.empty(1, 1, 4, device="meta"), torch.empty(0, device="meta")
        ATTENTION(q, q, q, q, q, lse, none, none, 4, 4, 0.0, False, none, none)

    # The mode under ours, as whatever comes after ours in the dispatcher.
    with Looking():
        with repro_magic.deterministic(warn=False):
            attend()
            assert torch.is_deterministic_algorithms_warn_only_enabled()
        attend()
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        with repro_magic.watch(warn=False):
            attend()
    assert modes == [False, False, True], "in our scope; with all switches off; a user's own setting is left alone"
    assert either


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
    assert "%%deterministic" in raised.value.remedy
    assert not target.any()
    assert either


def test_strict_does_not_stop_what_was_only_tried_out(either: str) -> None:
    with repro_magic.deterministic(strict=True, warn=False) as report, FakeTensorMode(), torch.device("cuda"):
        torch.zeros(2).put_(torch.ones(3, dtype=torch.long), torch.rand(3))
    assert [(one.op, one.status, one.traced) for one in report.findings] == [("put_", FindingStatus.ACTIVE, True)]
    assert either


# The user's code works as without us


def result_of(run: Callable[[], Any]) -> Any:
    torch.manual_seed(3)
    torch.compiler.reset()
    return run()


def compiled() -> Any:
    net = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)))
    return net(torch.rand(2, 4))


def flexible() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q = torch.rand(1, 1, 4, 8)
        return flex_attention(q, q, q)


def conditional() -> Any:
    return torch.cond(torch.tensor(1) > 0, lambda x: x + 1, lambda x: x - 1, (torch.rand(3),))


def checkpointed() -> Any:
    from torch.utils.checkpoint import checkpoint

    x = leaf(7)
    checkpoint(lambda y: y[torch.tensor([0, 0])].sum(), x, use_reentrant=False).backward()
    return x.grad


def scripted() -> Any:
    return torch.jit.trace(lambda x: x.index_add(0, torch.tensor([0, 0]), x[:2]), torch.rand(3))(torch.rand(3))


def exported() -> Any:
    return torch.export.export(nn.Linear(3, 3), (torch.rand(1, 3),)).module()(torch.rand(1, 3))


def autocast() -> Any:
    with torch.autocast("cpu"):
        return nn.Linear(3, 3)(torch.rand(2, 3))


def nested() -> Any:
    values = torch.nested.nested_tensor([torch.rand(2, 3), torch.rand(1, 3)], layout=torch.jagged)
    return (values * 2).values()


def hessian() -> Any:
    return torch.func.hessian(lambda x: x[torch.tensor([0, 0])].pow(3).sum())(torch.rand(3))


def inference() -> Any:
    with torch.inference_mode():
        return torch.rand(3).index_add(0, torch.tensor([0, 0]), torch.rand(2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "run", [compiled, flexible, conditional, checkpointed, scripted, exported, autocast, nested, hessian, inference]
)
def test_the_result_is_the_same_as_unwatched(run: Callable[[], Any]) -> None:
    expected = result_of(run)
    with repro_magic.watch(warn=False) as report:
        found = result_of(run)
    assert torch.equal(found, expected)
    assert report.findings is not None


def test_a_higher_order_op_that_came_later_works() -> None:
    from torch._ops import HigherOrderOperator

    tracer.prepare()

    class Twice(HigherOrderOperator):
        def __init__(self) -> None:
            super().__init__("repro_magic_test_twice")

        def __call__(self, x: torch.Tensor) -> Any:
            return super().__call__(x)

    twice = Twice()
    twice.fallthrough(torch._C.DispatchKey.AutogradCPU)
    twice.py_impl(torch._C.DispatchKey.CompositeExplicitAutograd)(lambda x: 2 * x)
    with repro_magic.watch(warn=False):
        assert twice(torch.ones(2)).tolist() == [2, 2]


def test_a_custom_op_made_of_flagged_ops_is_seen_through() -> None:
    @torch.library.custom_op("repro_magic_test::sums", mutates_args=())
    def sums(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(4).index_add_(0, torch.tensor([0, 0, 1]), x)

    assert [one.op for one in seen(lambda: sums(torch.rand(3)))] == ["index_add_"]


def test_tensors_of_other_layouts_are_judged_too(either: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse CSR is in beta, says PyTorch
        rows = torch.eye(3).to_sparse_csr()
        stacked = torch.stack([torch.eye(3)] * 2).to_sparse()
        found = seen(lambda: (torch.bmm(stacked, torch.rand(2, 3, 3)), rows.sum(), torch.zeros(3)[rows.col_indices()]))
    assert [(one.op, one.status, one.elsewhere) for one in found] == [("bmm", FindingStatus.LATENT, "cuda")]
    assert either


# Threads


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


def test_what_was_found_can_be_read_while_more_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a panel's thread that reads WHEN the cell runs another graph meanwhile THEN the reader goes on."""
    told = collector.Collector()

    def slow(*_: object) -> bool:
        told.ran_graph(object(), [SOURCE], sys._getframe())
        return False

    told.ran_graph(object(), [SOURCE], sys._getframe())
    told.ran_graph(object(), [SOURCE], sys._getframe())
    monkeypatch.setattr(collector, "accepts", slow)
    assert len(told.findings()) >= 1
    assert len(told._graphs) > 2


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


@pytest.mark.filterwarnings("always:mine_forward")
def test_nested_watches_are_both_told_what_pytorch_warns_of() -> None:
    def warn() -> None:
        warnings.warn("mine_forward does not have a deterministic implementation, but you set ...", stacklevel=1)

    with repro_magic.watch(warn=False) as outer, repro_magic.watch(warn=False) as inner:
        warn()
    assert [[one.op for one in report.findings] for report in (outer, inner)] == [["mine_forward"]] * 2


def test_nested_watches_both_see(either: str) -> None:
    with repro_magic.watch(warn=False) as outer:
        torch.rand(3).cumsum(0)
        with repro_magic.watch(warn=False) as inner:
            torch.rand(3).cumsum(0)
    assert (len(inner.findings), sum(one.count for one in outer.findings)) == (1, 2)
    assert either


# Graphs


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_compiled_graph_holds_is_told_whenever_it_runs() -> None:
    """GIVEN code of Inductor WHEN it is compiled, and when it runs later THEN its flagged op is told each time."""

    def write(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        x = x * 2
        x[REPEATED] = values
        return x + 1

    torch.compiler.reset()
    run = torch.compile(write)
    values = torch.rand(MANY)
    for round_number in range(3):
        with repro_magic.watch(warn=False) as report:
            run(torch.zeros(7), values)
        found = [one for one in report.findings if one.graph]
        assert [(one.op, one.status, one.count) for one in found] == [("index_put_", FindingStatus.ACTIVE, 0)], (
            round_number
        )
    assert not [one for one in seen(lambda: torch.rand(3) + 1) if one.graph]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_watching_does_not_compile_a_function_twice() -> None:
    """GIVEN hot ops around it WHEN a compiled function runs in several watches THEN it was compiled once."""
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    run = torch.compile(lambda x: torch.dropout(x, 0.5, True) + 1, backend="aot_eager")
    for _ in range(3):
        with repro_magic.watch(warn=False):
            for _ in range(100):
                torch.dropout(torch.rand(3), 0.5, True)
            run(torch.rand(3))
            run(torch.rand(3))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


# Telling


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


def test_an_alert_that_no_entry_knows_becomes_a_finding() -> None:
    """GIVEN a PyTorch that alerts of an op we never heard of WHEN it warns THEN that is not lost."""
    text = "brand_new_kernel does not have a deterministic implementation, but you set something."
    with pytest.warns(UserWarning, match="another") as others, repro_magic.watch(warn=False) as report:  # noqa: PT031
        warnings.warn(text, UserWarning, stacklevel=1)  # alert line
        warnings.warn("another matter", UserWarning, stacklevel=1)
    assert [str(one.message) for one in others] == ["another matter"]
    (found,) = report.findings
    assert (found.op, found.status, found.line) == ("brand_new_kernel", FindingStatus.ACTIVE, line_of("alert line"))


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


# Hot ops, memory, faults, leaving


@pytest.mark.parametrize(("share", "counts"), [(0.0, range(20, 30)), (float("inf"), [200])])
def test_hot_ops_go_uncounted_once_they_are_known(share: float, counts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN an op of every training step WHEN it takes more than its share of the time THEN it goes uncounted."""
    monkeypatch.setattr(dispatch, "_SHARE", share)
    weight, image = torch.rand(1, 1, 3, 3), torch.rand(1, 1, 4, 4)
    with repro_magic.watch(warn=False) as report:
        for _ in range(200):
            nn.functional.conv2d(image, weight)
    (found,) = report.findings
    assert found.op == "convolution"
    assert found.count in counts
    assert found.at_least is (share == 0)
    assert [one.count for one in seen(lambda: nn.functional.conv2d(image, weight))] == [1], "anew in the next watch"


def test_a_strict_scope_counts_hot_ops_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_SHARE", 0.0)
    weight, image = torch.rand(1, 1, 3, 3), torch.rand(1, 1, 4, 4)
    with repro_magic.deterministic(strict=True) as report:
        torch.backends.cudnn.deterministic = False
        torch.use_deterministic_algorithms(mode=False)
        for _ in range(200):
            nn.functional.conv2d(image, weight)
    assert [(one.op, one.count) for one in report.findings] == [("convolution", 200)]


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


def test_a_torch_without_the_keys_is_watched_by_a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer.release()
    monkeypatch.setattr(dispatch, "KEY", "NoSuchKey")
    with pytest.warns(HookFaultWarning, match="TorchDispatchMode") as caught:
        found = seen(lambda: torch.rand(3).cumsum(0))
    assert [one.op for one in found] == ["cumsum"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen(lambda: None)
    assert len(caught) == 1
    tracer.release()


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


@pytest.mark.usefixtures("two_threads")
def test_a_profile_holds_the_users_ops_only() -> None:
    """GIVEN flagged ops whose values are looked at WHEN a profile is taken THEN it is that of a run without us."""

    def work() -> None:
        x, index, ones = torch.zeros(20_000), torch.randint(0, 100, (20_000,)), torch.ones(20_000)
        for _ in range(3):
            x.index_add_(0, index, ones)
        x[index] = ones
        x.scatter_add_(0, index, ones)
        torch.bincount(index)
        torch.nn.Embedding(10, 4)(index % 10).sum().backward()

    def profiled() -> Counter[str]:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            work()
        return Counter(one.key for one in profile.events() or ())

    work()
    bare = profiled()
    with repro_magic.watch(warn=False) as report:
        watched = profiled()
    assert len(report.findings) >= 2
    assert watched - bare == bare - watched == Counter()
    assert sum(bare.values()) > 50
