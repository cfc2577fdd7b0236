"""What the randomness ledger adds to a cell: begin and end together, beside a journal that looks for no generators.

Run it with `make bench`.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from repro_magic.journal import CellDraws, Ledger, states

BOUND = 1.0  # ms
KINDS: Sequence[Callable[[int], object]] = (
    np.random.default_rng,
    np.random.RandomState,
    random.Random,
    lambda seed: torch.Generator().manual_seed(seed),
)


class Holder:
    """An object with a generator of its own."""

    def __init__(self, seed: int) -> None:
        """Make it."""
        self.rng = np.random.default_rng(seed)


def notebook(kinds: Sequence[Callable[[int], object]]) -> dict[str, object]:
    """Twenty generators and a thousand variables."""
    names: dict[str, object] = {f"variable_{number}": torch.zeros(3) for number in range(1000)}
    names.update({f"rng_{number}": kinds[number % len(kinds)](number) for number in range(20)})
    return names


def many(number: int) -> dict[str, object]:
    """More objects, each with a generator, than one look can search."""
    return {f"holder_{place}": Holder(place) for place in range(number)}


CASES: tuple[tuple[str, dict[str, object], float | None], ...] = (
    ("20 generators of four kinds, 1,000 variables", notebook(KINDS), BOUND),
    ("20 numpy.random.default_rng, 1,000 variables", notebook(KINDS[:1]), BOUND),
    ("20 numpy.random.RandomState, 1,000 variables", notebook(KINDS[1:2]), None),
    ("20 generators held in attributes, 1,000 variables", notebook([Holder]), BOUND),
    ("1,000 objects with attributes and 1,000 generators", many(1000), None),
)


def cell(ledger: Ledger, generators: Sequence[object]) -> float:
    """Milliseconds of the thread that a ledger takes for a cell in which generators draw."""
    before = states()
    start = time.thread_time()
    ledger.begin(before)
    spent = time.thread_time() - start
    torch.rand(3)
    for generator in generators:
        draw = getattr(generator, "random", None)
        if draw is not None:
            draw()
    after = states()
    start = time.thread_time()
    ledger.end(CellDraws("In[1]", None, (), (), str), after)
    return (spent + time.thread_time() - start) * 1e3


def main() -> None:
    """Measure and print the table."""
    table = Table("measured", "none draws, ms", "all draw, ms", "bound")
    for name, names, bound in CASES:
        ledger = Ledger(names.items)
        cell(ledger, [])
        idle = statistics.median(cell(ledger, []) for _ in range(301))
        busy = statistics.median(cell(ledger, list(names.values())[-20:]) for _ in range(301))
        verdict = "" if bound is None else f"{bound:g} ms {'held' if max(idle, busy) <= bound else 'MISSED'}"
        table.add_row(name, f"{idle:.2f}", f"{busy:.2f}", verdict)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
