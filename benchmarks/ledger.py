"""What the randomness ledger adds to a cell, begin and end together, and what the hooks for unseeded sources cost.

Run it with `make bench`.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from repro_magic.journal import CellDraws, Ledger
from repro_magic.rng.seeding import looks
from repro_magic.unseeded.sources import Sources

BOUND = 1.0  # ms
FREE = 1.05  # a ratio; what no hook is in the way of differs by noise alone
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
    before = looks()
    start = time.thread_time()
    ledger.begin(before)
    spent = time.thread_time() - start
    torch.rand(3)
    for generator in generators:
        draw = getattr(generator, "random", None)
        if draw is not None:
            draw()
    after = looks()
    start = time.thread_time()
    ledger.end(CellDraws("In[1]", None, (), (), str), after)
    return (spent + time.thread_time() - start) * 1e3


RNG, OWN = np.random.default_rng(1), random.Random(1)
# What draws, and what seeds: the hooks are in the way of the second only.
DRAWS: tuple[tuple[str, Callable[[], object], float | None], ...] = (
    ("random.random()", random.random, FREE),
    ("random.Random(1).random()", OWN.random, FREE),
    ("numpy.random.rand()", np.random.rand, FREE),
    ("default_rng(1).random()", RNG.random, FREE),
    ("torch.rand(8)", lambda: torch.rand(8), FREE),
    ("default_rng(1)", lambda: np.random.default_rng(1), None),
    ("default_rng(), which is found", np.random.default_rng, None),
    ("random.Random(1)", lambda: random.Random(1), None),
    ("os.urandom(8), which is found", lambda: os.urandom(8), None),
)


def price(call: Callable[[], object], calls: int = 3000) -> float:
    """Microseconds of the thread a call."""
    start = time.thread_time()
    for _ in range(calls):
        call()
    return (time.thread_time() - start) / calls * 1e6


def hooks() -> Table:
    """Draws and seedings with the hooks up, against the same without, in turns."""
    table = Table("with the hooks up", "bare, us", "hooked, us", "ratio", "bound")
    for name, call, bound in DRAWS:
        bare, hooked = [], []
        for _ in range(15):
            bare.append(price(call))
            sources = Sources()
            sources.open()
            hooked.append(price(call))
            sources.close()
        ratio = min(hooked) / min(bare)
        verdict = "" if bound is None else f"{bound:g} {'held' if ratio <= bound else 'MISSED'}"
        table.add_row(name, f"{min(bare):.2f}", f"{min(hooked):.2f}", f"{ratio:.2f}", verdict)
    return table


def main() -> None:
    """Measure and print the tables."""
    table = Table("measured", "none draws, ms", "all draw, ms", "bound")
    for name, names, bound in CASES:
        ledger = Ledger(names.items)
        cell(ledger, [])
        idle = statistics.median(cell(ledger, []) for _ in range(301))
        busy = statistics.median(cell(ledger, list(names.values())[-20:]) for _ in range(301))
        verdict = "" if bound is None else f"{bound:g} ms {'held' if max(idle, busy) <= bound else 'MISSED'}"
        table.add_row(name, f"{idle:.2f}", f"{busy:.2f}", verdict)
    Console(width=140).print(table)
    Console(width=140).print(hooks())


if __name__ == "__main__":
    main()
