"""Whether a call is active, latent or handled: on a CPU by threads, size and repeats, and on CUDA; no false alarm."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from watched import MANY, REPEATED, seen

import repro_magic
from repro_magic.findings import FindingStatus, OpFinding

pytestmark = pytest.mark.usefixtures("no_compilation_before")


def told(findings: list[OpFinding]) -> set[tuple[str, str, str, int]]:
    return {(one.op, one.status.value, one.direction.value, one.count) for one in findings}


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
    assert told(report.ops) == {("index_put_", "handled", "forward", 1)}
    assert either


@pytest.mark.usefixtures("two_threads")
def test_later_calls_of_a_line_are_judged_by_their_own_size() -> None:
    """GIVEN a line whose data grows WHEN it crosses the size at which threads share the work THEN that is seen."""
    with repro_magic.watch(warn=False) as report:
        for size in [100] * 40 + [MANY] * 2:
            torch.zeros(7).put_(torch.arange(size) % 7, torch.rand(size))
    assert {(one.status.value, one.count) for one in report.findings} == {("latent", 40), ("active", 2)}


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
