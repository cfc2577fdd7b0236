"""The command `repro-magic`: each function is a command, and its docstring is the command's help."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from repro_magic.exceptions import NotRunnableError, ReproError
from repro_magic.proof import environment as environments
from repro_magic.proof import runner
from repro_magic.proof.compare import compare
from repro_magic.proof.verdict import NotebookVerdict, Outcome
from repro_magic.views import environment as in_words
from repro_magic.views import verdict as verdict_views

REPRODUCED, DIFFERS, WRONG_USAGE, NOT_RUN = 0, 1, 2, 3

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, to be kept or compared.")]
_Diff = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="A B", help="Compare two: JSON files, or notebooks in which %repro_env ran."),
]


_Notebooks = Annotated[list[Path], typer.Argument(metavar="NB…", help="Notebooks.")]
_Runs = Annotated[int, typer.Option(min=2, help="How many fresh kernels run each notebook.")]
_Timeout = Annotated[int | None, typer.Option(min=1, metavar="S", help="Seconds that one cell may take.")]
_Kernel = Annotated[str | None, typer.Option(metavar="NAME", help="The kernel; otherwise the notebook's own.")]
_Shell = Annotated[bool, typer.Option(help="Run lines such as !pip too, without asking.")]
_JsonTo = Annotated[str | None, typer.Option("--json", metavar="PATH", help="Write the verdicts as JSON; - is stdout.")]


@app.callback()
def main() -> None:
    """Reproducible PyTorch notebooks, and the proof of it."""


@app.command()
def env(*, as_json: _AsJson = False, diff: _Diff = None) -> None:
    """Show what results depend on besides the notebook: versions, machine, variables, switches.

    With --diff, the differences that are most likely to change results come first. The exit code is 1 if there are any,
    2 if a file cannot be read.
    """
    if diff is not None:
        found = environments.differences(*map(_read, diff))
        told = [asdict(one) for one in found]
        typer.echo(json.dumps(told, indent=1) if as_json else in_words.differences(found).text())
        raise typer.Exit(DIFFERS if found else 0)
    for module in ("numpy", "torch"):  # as a notebook of this environment would
        importlib.import_module(module)
    here = environments.environment()
    typer.echo(json.dumps(here, indent=1, ensure_ascii=False) if as_json else in_words.environment(here).text())


@app.command()
def verify(  # noqa: PLR0913 - the command line has as many
    notebooks: _Notebooks,
    *,
    runs: _Runs = 2,
    timeout: _Timeout = None,
    kernel: _Kernel = None,
    allow_shell: _Shell = False,
    json_to: _JsonTo = None,
) -> None:
    """Run notebooks in fresh kernels and compare the runs cell by cell, bit for bit.

    What is compared: the values of all names (tensors, arrays, models, frames …, also those never shown), and what each
    cell shows; addresses, timings, progress bars, temporary paths and generated ids count as noise. A notebook needs to
    know nothing of repro_magic, and is not changed: it runs in a copy of its folder, a new one for each run.

    Exit code: 0 reproduced, 1 differs, 2 wrong usage, 3 could not be run to its end. Runs that agree are no proof that
    all runs do: a race shows rarely.
    """
    try:
        read = [(path, runner.read(path)) for path in notebooks]
    except NotRunnableError as error:
        raise _refused(str(error), WRONG_USAGE) from None
    if not allow_shell:
        _ask_for_shell(read)
    verdicts = [_verify(path, runs, timeout, kernel, len(runner.code_cells(notebook))) for path, notebook in read]
    if json_to is not None:
        _write(json.dumps([verdict_views.as_data(one) for one in verdicts], indent=1, ensure_ascii=False), json_to)
    raise typer.Exit(max(_exit_code(one) for one in verdicts))


def _verify(path: Path, runs: int, timeout: int | None, kernel: str | None, cells: int) -> NotebookVerdict:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done = []
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            for number in range(1, runs + 1):
                task = progress.add_task(f"{path.name}, run {number} of {runs}", total=cells)
                advance = functools.partial(progress.advance, task)
                done.append(runner.run(path, timeout=timeout, kernel=kernel, on_cell=advance))
    except NotRunnableError as error:
        raise _refused(str(error), NOT_RUN) from None
    except KeyboardInterrupt:
        raise _refused("interrupted; nothing was left behind", NOT_RUN) from None
    found = compare(str(path), done)
    typer.echo(verdict_views.notebook(found).text(), err=True)
    return found


def _exit_code(found: NotebookVerdict) -> int:
    if found.outcome is Outcome.FAILED:
        return NOT_RUN
    return REPRODUCED if found.reproduces else DIFFERS


def _ask_for_shell(read: list[tuple[Path, Any]]) -> None:
    lines = [(path, *line) for path, notebook in read for line in runner.shell_lines(notebook)]
    if not lines:
        return
    for path, number, line in lines:
        typer.echo(f"{path}, cell {number}: {line}", err=True)
    told = "these lines run programs, which can change more than the copy of the folder"
    if not sys.stdin.isatty():
        raise _refused(f"{told}; --allow-shell runs them", WRONG_USAGE)
    if not typer.confirm(f"repro-magic: {told}. Run them?", err=True):
        raise typer.Exit(WRONG_USAGE)


def _write(text: str, path: str) -> None:
    if path == "-":
        typer.echo(text)
        return
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise _refused(f"{path} cannot be written: {error}", WRONG_USAGE) from None


def _refused(why: str, code: int) -> typer.Exit:
    typer.echo(f"repro-magic: {why}", err=True)
    return typer.Exit(code)


def _read(path: Path) -> environments.Environment:
    try:
        return environments.read(path)
    except (ReproError, OSError) as error:
        raise _refused(str(error), WRONG_USAGE) from None
