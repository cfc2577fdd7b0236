"""Generators of every kind, and a way to draw from each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

NUMPYS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
SEEDED: dict[str, Callable[[], Any]] = {
    "default_rng": lambda: np.random.default_rng(3),
    "RandomState": lambda: np.random.RandomState(3),
    "Random": lambda: random.Random(3),
    "torch": lambda: torch.Generator().manual_seed(3),
}


def draw(generator: Any, words: int) -> None:
    """Draw so many words of 32 bits."""
    if isinstance(generator, torch.Generator):
        torch.rand(words, generator=generator)
    elif isinstance(generator, random.Random):
        for _ in range(words):
            generator.getrandbits(32)
    elif isinstance(generator, np.random.RandomState):
        generator.randint(0, 2**32, words, dtype=np.uint32)
    else:
        generator.integers(0, 2**32, words, dtype=np.uint32)


def made(kind: str) -> Any:
    return np.random.Generator(getattr(np.random, kind)(3)) if kind in NUMPYS else SEEDED[kind]()
