"""Progress bars on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from repro_magic.proof.run import notebook_file
from repro_magic.proof.run.project import Contents, in_bytes, not_copied
from repro_magic.proof.verification import Job, JobResult, Progress, verify_one
from repro_magic.views.visible import in_one_line

# Copying more bytes or files than this takes a while.
_LARGE, _MANY = 1 << 30, 10_000
_STEP = 100  # files between two updates of a bar


def terminal_progress() -> rich.progress.Progress:
    """Bars on stderr, if that is a terminal, which disappear at the end."""
    console = Console(stderr=True)
    is_live = console.is_terminal and _is_terminal()
    return rich.progress.Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not is_live,
        redirect_stdout=sys.stdout.isatty(),
    )


def _is_terminal() -> bool:
    """Whether stderr is a terminal whose lines can be drawn anew.

    `FORCE_COLOR`, which ipykernel and CI set, asks for colours only; and the terminal that IPython makes for `!command`
    appends every drawing to the cell's output.
    """
    return sys.stderr.isatty() and "JPY_PARENT_PID" not in os.environ


class Bars:
    """A bar for each run, for each copy of a folder, and for all notebooks if there are several."""

    def __init__(self, progress: rich.progress.Progress, jobs: int) -> None:
        """Show the bar for all notebooks.

        Args:
            progress: where the bars are shown.
            jobs: number of notebooks.
        """
        self._progress = progress
        self._all = progress.add_task("notebooks", total=jobs) if jobs > 1 else None
        self._said: set[str] = set()

    def work(self, job: Job) -> JobResult:
        """Do a job, and show its progress."""
        bars = _JobBars(job, self._progress, self.say_once)
        try:
            return verify_one(job, bars)
        finally:
            bars.end()

    def say_once(self, text: str) -> None:
        """Print a line above the bars, unless it was printed for another notebook."""
        if text and text not in self._said:
            self._said.add(text)
            self._progress.console.print(Text(f"repro-magic: {in_one_line(text)}"), soft_wrap=True)

    def advance(self) -> None:
        """Count one more notebook as done."""
        if self._all is not None:
            self._progress.advance(self._all)


class _JobBars(Progress):
    """The bars of one job."""

    def __init__(self, job: Job, progress: rich.progress.Progress, say: Callable[[str], object]) -> None:
        self._name, self._kernels = in_one_line(job.path.name), job.options.kernels
        self._progress, self._say = progress, say
        self._cells = len(notebook_file.code_cells(job.read().notebook()))
        self._tasks: dict[object, TaskID] = {}

    def counted(self, files: int) -> None:
        self._show("folder", f"{self._name}: looking at its folder", files, None)

    def surveyed(self, contents: Contents) -> None:
        self._hide("folder")
        if contents.size >= _LARGE or contents.count >= _MANY:
            what = f"{contents.count:,} files, {in_bytes(contents.size)}"
            self._say(f"{contents.root} is copied for each run: {what}; --root FOLDER copies less")
        self._say(not_copied(contents))

    def copied(self, files: int, total: int) -> None:
        if total >= _STEP and (files % _STEP == 0 or files == total):
            self._show("copy", f"{self._name}: copying", files, total)

    def ran(self, run: int) -> None:
        self._hide("copy")
        if run not in self._tasks:
            of = f", run {run} of {self._kernels}" if self._kernels > 1 else ""
            self._tasks[run] = self._progress.add_task(self._name + of, total=self._cells)
        self._progress.advance(self._tasks[run])

    def end(self) -> None:
        """Remove the bars."""
        for name in list(self._tasks):
            self._hide(name)

    def _show(self, name: object, text: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(text, total=total)
        self._progress.update(self._tasks[name], completed=done)

    def _hide(self, name: object) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
