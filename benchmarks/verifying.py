"""What verification costs: beside plain nbclient runs, with two jobs beside one, and with the number of cells.

Run it with `make bench`, alone on the machine. `python benchmarks/verifying.py 100` takes 100 notebooks instead of 12.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from rich.console import Console
from rich.table import Table

from repro_magic.proof.kernel.receipt import Facts, receipt
from repro_magic.proof.run.options import RunOptions
from repro_magic.proof.run.runner import stoppable
from repro_magic.proof.verification import Job, verify_all

QUICKSTART = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"


def timed(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def notebook(path: Path, *sources: str) -> Path:
    """A notebook of some cells."""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), path)
    return path


def verified(paths: list[Path], jobs: int = 1) -> None:
    """Verify, and be sure that it was done."""
    with stoppable(), ThreadPoolExecutor(jobs) as executor:
        done = verify_all([Job(path, RunOptions(shares_cores=jobs > 1)) for path in paths], executor)
    assert all(one.verdict.reproduces for one in done), [one.verdict for one in done]  # noqa: S101


def holding(path: Path, arrays: int, cells: int) -> Path:
    """A notebook that holds so many arrays of 100 MB, and then does trifles."""
    makes = f"import numpy as np\nbig = [np.random.default_rng(n).random(12_500_000) for n in range({arrays})]"
    return notebook(path, makes, *(f"x{n} = {n}" for n in range(cells)))


def plain(path: Path) -> None:
    """Two runs with nbclient alone."""
    for _ in range(2):
        NotebookClient(nbformat.read(path, 4), kernel_name="python3", store_widget_state=False).execute()


def megabytes() -> float:
    """The most memory that this process has taken."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int) -> None:
    """Measure and print the table."""
    table = Table("measured", "beside", "ours", "bound")

    def row(  # noqa: PLR0913 - the table has as many columns
        name: str, beside: float, ours: float, ratio: float, bound: float, *, is_most: bool = True
    ) -> None:
        held = ratio <= bound if is_most else ratio >= bound
        table.add_row(name, f"{beside:.2f} s", f"{ours:.2f} s", f"{ratio:.2f}, {bound} {'held' if held else 'MISSED'}")

    names: dict[str, object] = {f"variable_{number}": torch.zeros(3) for number in range(1000)}
    prices = [timed(lambda: receipt(Facts("x", names))) * 1e3 for _ in range(31)]
    price = sorted(prices)[15]
    table.add_row(
        "a receipt of 1,000 variables",
        "",
        f"{price:.1f} ms",
        f"30 ms {'held' if price <= 30 else 'MISSED'}",  # noqa: PLR2004
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plain(QUICKSTART)  # what is cached by the first run is cached for both
        pairs = [(timed(lambda: plain(QUICKSTART)), timed(lambda: verified([QUICKSTART]))) for _ in range(5)]
        beside, ours = sorted(pairs, key=lambda pair: pair[1] / pair[0])[2]
        row("verify the quickstart, beside two runs with nbclient", beside, ours, ours / beside, 1.10)
        small = [notebook(root / f"{number}.ipynb", f"x = {number}", "y = [x] * 3\ny") for number in range(count)]
        one = timed(lambda: verified(small[: count // 2]))
        before = megabytes()
        before = megabytes()
        two = timed(lambda: verified(small, jobs=2))
        row(
            f"{count} small notebooks with --jobs 2, beside 1 (half of them)",
            one,
            two,
            2 * one / two,
            1.6,
            is_most=False,
        )
        table.add_row("memory after twice as many notebooks", f"{before:.0f} MB", f"{megabytes():.0f} MB", "")
        nets = [Path(shutil.copy(QUICKSTART, root / f"trains{number}.ipynb")) for number in range(2)]
        one, two = timed(lambda: verified(nets)), timed(lambda: verified(nets, jobs=2))
        row("2 notebooks that train, with --jobs 2, beside 1", one, two, one / two, 1.6, is_most=False)
        cells = [notebook(root / f"long{size}.ipynb", *(f"x{n} = {n}" for n in range(size))) for size in (500, 2000)]
        short, long = (timed(lambda path=path: verified([path])) for path in cells)  # type: ignore[misc]
        row("2,000 cells, beside 500: per cell", short, long, long / short / 4, 1.25)
        for arrays in (5, 30):
            path = holding(root / f"holds{arrays}.ipynb", arrays, 40)
            beside, ours = timed(lambda path=path: plain(path)), timed(lambda path=path: verified([path]))  # type: ignore[misc]
            row(
                f"40 cells with {arrays / 10} GB of arrays, beside two runs with nbclient",
                beside,
                ours,
                ours / beside,
                1.2,
            )
    Console(width=140).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
