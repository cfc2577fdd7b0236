"""What a watch sees: the same through dispatch keys and through a TorchDispatchMode, and unfelt by the user."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from watched import leaf, line_of, seen

import repro_magic
from repro_magic.exceptions import HookFaultWarning
from repro_magic.findings import Direction, FindingStatus
from repro_magic.ops.tracing import dispatch, tracer

pytestmark = pytest.mark.usefixtures("no_compilation_before")


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
    """GIVEN a layer whose gradient differs on CUDA WHEN trained on a CPU THEN it is latent, without a warning."""
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
    (found,) = report.ops
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


# Hot ops, and a torch without the keys


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
