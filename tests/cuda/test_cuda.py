"""What the catalogue says of CUDA, on a GPU: run where there is one with `pytest -m cuda`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import repro_magic
from repro_magic.findings import FindingStatus
from repro_magic.proof.digest import elements

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

MANY = 200_000
RUNS = 20


def index() -> torch.Tensor:
    return torch.arange(MANY, device="cuda") % 7


def values() -> torch.Tensor:
    return torch.linspace(-1, 1, MANY, device="cuda")


HANDLED: dict[str, Callable[[], torch.Tensor]] = {
    "index_add_": lambda: torch.zeros(7, device="cuda").index_add_(0, index(), values()),
    "scatter_add_": lambda: torch.zeros(7, device="cuda").scatter_add_(0, index(), values()),
    "index_put_": lambda: torch.zeros(7, device="cuda").index_put_((index(),), values()),
    "cumsum": lambda: values().cumsum(0),
}
ALERTING: dict[str, Callable[[], torch.Tensor]] = {
    "bincount": lambda: torch.bincount(index(), values()),
    "put_": lambda: torch.zeros(7, device="cuda").put_(index(), values()),
}


@pytest.mark.parametrize("op", HANDLED)
def test_what_is_handled_agrees_in_all_runs(op: str) -> None:
    with repro_magic.watch(warn=False) as bare:
        HANDLED[op]()
    assert [(one.op, one.status, one.device) for one in bare.ops] == [(op, FindingStatus.ACTIVE, "cuda")]
    with repro_magic.deterministic(warn=False) as report:
        results = {HANDLED[op]().cpu().numpy().tobytes() for _ in range(RUNS)}
    assert len(results) == 1
    assert [(one.op, one.status, one.count) for one in report.findings] == [(op, FindingStatus.HANDLED, RUNS)]


@pytest.mark.parametrize("op", ALERTING)
def test_what_has_no_deterministic_path_stays_active_and_strict_stops_it(op: str) -> None:
    with repro_magic.deterministic(warn=False) as report:
        ALERTING[op]()
    assert [(one.op, one.status, one.alerts) for one in report.ops] == [(op, FindingStatus.ACTIVE, True)]
    with pytest.raises(repro_magic.NondeterministicOpError, match=op), repro_magic.deterministic(strict=True):
        ALERTING[op]()


def test_a_backward_pass_on_a_device_thread_is_seen_with_its_line() -> None:
    weight = torch.rand(7, device="cuda", requires_grad=True)
    with repro_magic.watch(warn=False) as report:
        weight.index_select(0, index()).sum().backward()
    (found,) = report.ops
    assert (found.op, found.direction.value, found.status) == ("index_add_", "backward", FindingStatus.ACTIVE)
    assert found.place is not None
    assert "backward()" in found.place.text


@pytest.mark.parametrize("backend", ["FLASH_ATTENTION", "EFFICIENT_ATTENTION"])
def test_fused_attention_agrees_in_all_runs(backend: str) -> None:
    kind = getattr(torch.nn.attention.SDPBackend, backend)

    def gradient() -> bytes:
        torch.manual_seed(0)
        q, k, v = (torch.rand(2, 4, 512, 64, device="cuda", dtype=torch.float16, requires_grad=True) for _ in range(3))
        with torch.nn.attention.sdpa_kernel(kind):
            torch.nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()
        assert q.grad is not None
        return q.grad.cpu().numpy().tobytes()

    with repro_magic.deterministic(warn=False) as report:
        assert len({gradient() for _ in range(RUNS)}) == 1
    assert FindingStatus.ACTIVE not in {one.status for one in report.findings}


PIECES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "itself": lambda value: value,
    "transposed": lambda value: value.T,
    "every other": lambda value: value[:, ::2],
    "backwards": lambda value: value.flip(0).T,
    "a row too large for a piece": lambda value: value.reshape(1, -1),
    "conjugate": torch.conj,
    "conjugate and transposed": lambda value: value.conj().T,
}
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.complex64, torch.bool, torch.uint8, torch.int64),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("look", PIECES)
@pytest.mark.parametrize("piece", [1 << 10, 1 << 30])
def test_a_tensor_has_one_digest_on_any_device(
    dtype: torch.dtype, look: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "PIECE", piece)
    value = (torch.arange(30 * 101).reshape(30, 101) % 7 - 2).to(dtype)
    assert repro_magic.digest(PIECES[look](value.cuda())).hex == repro_magic.digest(PIECES[look](value)).hex


@pytest.mark.parametrize("look", PIECES)
def test_a_digest_takes_no_more_than_two_pieces_of_the_gpus_memory(look: str) -> None:
    value = PIECES[look](torch.arange(5 * elements.PIECE // 8, device="cuda").to(torch.complex64).reshape(1024, -1))
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    found = repro_magic.digest(value)
    assert torch.cuda.max_memory_allocated() - before <= 2 * elements.PIECE
    assert found.hex == repro_magic.digest(value.cpu()).hex
