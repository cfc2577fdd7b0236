"""Seeds in a distributed run: two processes over gloo, as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import repro_magic
from repro_magic.rng.derive import rank, rank_seed
from repro_magic.rng.seeding import seed_of_this_rank

WORKER = """
import json, os, sys
import torch, torch.distributed as dist
import repro_magic

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(os.environ["RANK"]), world_size=2)
repro_magic.seed_everything(42)
model = torch.nn.Linear(3, 2)
repro_magic.seed_everything(42, ranks="derived")
noise = torch.rand(4)
weights = [torch.zeros(6) for _ in range(2)]
dist.all_gather(weights, model.weight.detach().flatten())
noises = [torch.zeros(4) for _ in range(2)]
dist.all_gather(noises, noise)
if dist.get_rank() == 0:
    print(json.dumps({"weights": [w.tolist() for w in weights], "noises": [n.tolist() for n in noises]}))
dist.destroy_process_group()
"""


def two_processes(folder: Path) -> dict[str, list[list[float]]]:
    folder.mkdir()
    script = folder / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    workers = [
        subprocess.Popen(
            [sys.executable, script, folder / "store"],
            env={**os.environ, "RANK": str(number), "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    told = [worker.communicate(timeout=180)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    found: dict[str, list[list[float]]] = json.loads(told[0])
    return found


@pytest.mark.kernel
def test_ranks_begin_with_one_model_and_draw_numbers_of_their_own(tmp_path: Path) -> None:
    first, second = two_processes(tmp_path / "a"), two_processes(tmp_path / "b")
    assert first["weights"][0] == first["weights"][1]
    assert first["noises"][0] != first["noises"][1]
    assert first == second


@pytest.mark.parametrize("variable", ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"])
def test_the_launcher_tells_the_rank(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert rank() == 1
    assert seed_of_this_rank(42, "same") == 42
    assert seed_of_this_rank(42, "derived") == rank_seed(42, 1)
    repro_magic.seed_everything(42, ranks="derived")
    assert torch.initial_seed() == rank_seed(42, 1)


@pytest.mark.parametrize("told", ["no number", "-1", "1.0"])
def test_a_rank_that_is_none_is_refused_where_it_matters(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise all ranks would draw the same numbers, and nobody would know."""
    monkeypatch.setenv("RANK", told)
    with pytest.raises(ValueError, match=f"invalid rank RANK='{told}'"):
        repro_magic.seed_everything(42, ranks="derived")
    repro_magic.seed_everything(42)
    assert torch.initial_seed() == 42


@pytest.mark.parametrize("told", [None, "", " "])
def test_a_process_without_a_launcher_gets_the_seed_itself(told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if told is not None:
        monkeypatch.setenv("RANK", told)
    assert rank() is None
    repro_magic.seed_everything(42, ranks="derived")
    assert torch.initial_seed() == 42


def test_another_word_is_refused_and_nothing_changes() -> None:
    before = torch.initial_seed()
    with pytest.raises(ValueError, match="ranks must be 'same' or 'derived', not 'other'"):
        repro_magic.seed_everything(7, ranks="other")
    assert torch.initial_seed() == before
