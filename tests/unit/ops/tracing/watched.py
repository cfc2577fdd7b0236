"""What the tests of watching share: a watch around a function, and what is found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

import repro_magic
from repro_magic.findings import OpFinding

MANY = 40_000
REPEATED = torch.arange(MANY) % 7


def seen(run: Callable[[], object]) -> list[OpFinding]:
    """What a watch finds in `run`."""
    with repro_magic.watch(warn=False) as report:
        run()
    return report.ops


def line_of(text: str) -> int:
    """The line of the calling test's file that ends with a comment."""
    lines = Path(sys._getframe(1).f_code.co_filename).read_text(encoding="utf-8").splitlines()
    return 1 + next(number for number, line in enumerate(lines) if line.endswith(f"# {text}"))


def leaf(*shape: int) -> torch.Tensor:
    return torch.rand(shape, requires_grad=True)
