"""What proof costs: digests beside the bare hash, in the same run.

Run it with `make bench`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from blake3 import blake3
from rich.console import Console
from rich.table import Table

from repro_magic.proof.digest.digest import digest

# What it is, the value, and the bound in µs.
SMALL: tuple[tuple[str, object, int | None], ...] = (
    ("a small tensor", torch.rand(10), 25),
    ("a small parameter", torch.nn.Parameter(torch.rand(10)), 25),
    ("a number", 1, None),
    ("a string", "a name", None),
)


def timed(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    table = Table("measured", "beside", "ours", "bound")
    large = torch.rand(16 << 20)
    view = large.view(torch.uint8).numpy().data
    pairs = [
        (timed(lambda: blake3(view, max_threads=blake3.AUTO).digest()), timed(lambda: digest(large))) for _ in range(31)
    ]
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    verdict = "held" if bare / ours >= 0.8 else "MISSED"  # noqa: PLR2004 - the bound
    rates = [f"{large.nbytes / seconds / 1e9:.2f} GB/s" for seconds in (bare, ours)]
    table.add_row(
        "a tensor of 64 MB, beside blake3 with its threads", *rates, f"{bare / ours:.2f} of it, 0.80 {verdict}"
    )
    for name, value, bound in SMALL:
        prices = [timed(lambda value=value: [digest(value) for _ in range(100)]) * 1e4 for _ in range(301)]  # type: ignore[misc]
        price, best = statistics.median(prices), min(prices)
        verdict = "" if bound is None else f"{bound} µs {'held' if price <= bound else 'MISSED'}"
        table.add_row(name, "", f"{price:.1f} µs (at best {best:.1f})", verdict)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
