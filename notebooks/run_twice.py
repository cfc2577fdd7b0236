"""Run a notebook twice, each time in a fresh kernel, and say cell by cell whether both runs showed the same bits.

Exit status: 0 the same, 1 a cell differs, 3 a cell failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

SAME, DIFFERS, FAILED = 0, 1, 3


def run(path: Path, on_cell: Callable[[], object]) -> Any:  # noqa: ANN401 - nbformat's node
    """A copy of the notebook, executed in a fresh kernel; `on_cell()` is called after each code cell."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        record_timing=False,
        coalesce_streams=True,  # how a kernel cuts what is printed into messages is chance
        store_widget_state=False,  # it holds random names; the panel leaves its last state in an output of its own
        extra_arguments=["--log-level=ERROR"],  # a warning about TCP on loopback is nobody's news here
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_executed=lambda **_: on_cell(),
    )
    client.execute()
    return notebook


def shown_bits(cell: Any) -> str:  # noqa: ANN401 - nbformat's node
    """A digest of all that a cell showed: streams, results and displays, to the last digit."""
    return hashlib.sha256(json.dumps(cell.outputs, sort_keys=True).encode()).hexdigest()


def code_cells(notebook: Any) -> list[Any]:  # noqa: ANN401 - nbformat's node
    """The notebook's code cells in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def compare(runs: list[Any]) -> tuple[Table, int, int]:
    """A table with a row for each code cell; how many cells show something, and how many of these differ."""
    table = Table("cell", "starts with", "run 1", "run 2", "verdict")
    showing = differing = 0
    for number, (first, second) in enumerate(zip(*map(code_cells, runs), strict=True), start=1):
        start = next((line for line in first.source.splitlines() if line.strip()), "")
        if not first.outputs and not second.outputs:
            table.add_row(str(number), Text(start[:30]), "", "", "shows nothing")
            continue
        bits = shown_bits(first), shown_bits(second)
        showing += 1
        differing += bits[0] != bits[1]
        verdict = Text("same bits", "green") if bits[0] == bits[1] else Text("DIFFERS", "bold red")
        table.add_row(str(number), Text(start[:30]), bits[0][:8], bits[1][:8], verdict)
    return table, showing, differing


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--store", action="store_true", help="if both runs agree, write the outputs into the notebook")
    options = parser.parse_args(arguments)
    console = Console()
    if not options.notebook.is_file():
        parser.error(f"there is no file {options.notebook}")
    cells = len(code_cells(nbformat.read(options.notebook, as_version=4)))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    runs = []
    with Progress(*columns, console=console) as progress:
        for number in (1, 2):
            task = progress.add_task(f"run {number} in a fresh kernel", total=cells)
            try:
                runs.append(run(options.notebook, lambda task=task: progress.advance(task)))  # type: ignore[misc]
            except CellExecutionError as error:
                console.print(Text.from_ansi(str(error)))
                return FAILED
    table, showing, differing = compare(runs)
    console.print(table)
    if differing:
        console.print(f"{differing} of {showing} cells that show something differ.", style="red")
        return DIFFERS
    if options.store:
        nbformat.write(runs[0], options.notebook)
    console.print(f"Both runs showed the same bits in all {showing} cells that show something.", style="green")
    return SAME


if __name__ == "__main__":
    sys.exit(main())
