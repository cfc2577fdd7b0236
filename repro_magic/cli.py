"""The command `repro-magic`: each function is a command, and its docstring is the command's help."""

from __future__ import annotations

import functools
import importlib
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from repro_magic.exceptions import NotRunnableError, ReproError
from repro_magic.proof import environment as environments
from repro_magic.proof import notebook_file, record, runner
from repro_magic.proof import share as sharing
from repro_magic.proof.consent import shell_lines
from repro_magic.proof.distance import Tolerance
from repro_magic.proof.verdict import NotebookVerdict, Outcome
from repro_magic.proof.verification import Done, Job, verify_all, verify_one
from repro_magic.proof.workspace import size_of
from repro_magic.views import environment as in_words
from repro_magic.views import share as share_views
from repro_magic.views import verdict as verdict_views
from repro_magic.views.page import page

# From so many bytes on it takes a while to copy a folder.
_LARGE = 1 << 30
REPRODUCED, DIFFERS, WRONG_USAGE, NOT_RUN, ELSEWHERE, NOT_COMPARED = 0, 1, 2, 3, 4, 5
# The worst last: of several notebooks, this is the order that decides on the exit code.
_SEVERITY = (REPRODUCED, NOT_COMPARED, DIFFERS, WRONG_USAGE, NOT_RUN, ELSEWHERE)

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, to be kept or compared.")]
_Diff = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="A B", help="Compare two: JSON files, or notebooks in which %repro_env ran."),
]


_Notebooks = Annotated[list[Path], typer.Argument(metavar="NB…", help="Notebooks.")]
_Runs = Annotated[int, typer.Option(min=2, help="How many fresh kernels run each notebook.")]
_Recorded = Annotated[bool, typer.Option("--recorded", help="Compare one fresh run with what is recorded, instead.")]
_Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="How many notebooks run side by side.")]
_Rtol = Annotated[
    float, typer.Option(min=0, metavar="X", help="Numbers whose relative difference is no larger are close.")
]
_Ulp = Annotated[int, typer.Option(min=0, metavar="N", help="So are those within N units in the last place.")]
_Exact = Annotated[bool, typer.Option("--exact", help="Addresses, timings and the like are differences, too.")]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 5 unless all was compared (or accepted, or private).")
]
_Sidecar = Annotated[
    bool, typer.Option("--sidecar", help="Write NB.repro.json, for notebooks whose outputs are stripped.")
]
_OneNotebook = Annotated[Path, typer.Argument(metavar="NB", help="The notebook.")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Where to; otherwise the repository's root, or its folder."),
]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there with other content.")]
_Repository = Annotated[
    str | None, typer.Option(metavar="URL", help="Where others find it, on GitHub or GitLab; otherwise git's origin.")
]
_Ref = Annotated[str, typer.Option(metavar="REF", help="The branch, tag or commit that Binder opens.")]
_HtmlTo = Annotated[str | None, typer.Option("--html", metavar="PATH", help="Write a page for people.")]
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
    recorded: _Recorded = False,
    jobs: _Jobs = 1,
    timeout: _Timeout = None,
    kernel: _Kernel = None,
    rtol: _Rtol = 0.0,
    ulp: _Ulp = 0,
    exact: _Exact = False,
    strict: _Strict = False,
    allow_shell: _Shell = False,
    sidecar: _Sidecar = False,
    json_to: _JsonTo = None,
    html_to: _HtmlTo = None,
) -> None:
    """Run notebooks in fresh kernels and compare, cell by cell and bit for bit.

    What is compared: the values of all names (tensors, arrays, models, frames …, also those never shown), and what each
    cell shows; addresses, timings, progress bars, temporary paths and generated ids count as noise. A notebook needs to
    know nothing of repro_magic, and is not changed: it runs in a copy of its folder, a new one for each run.

    With --recorded one fresh run is compared with what the notebook holds: its receipts and outputs, or its sidecar.

    What cannot be compared (an open file, a value that is not recorded …) is listed, and the verdict has no tick:
    "≈ … not compared: cell 5 `sock` (socket.socket)". The exit code is 0 then, and 5 with --strict. A comment
    # repro: accept NAME leaves a name out on purpose.

    Exit code: 0 reproduced, 1 differs, 2 wrong usage, 3 could not be run to its end or was interrupted, 4 recorded
    results differ and the environment does, too, 5 not all was compared (--strict). Of several notebooks, the worst:
    4, 3, 2, 1, 5, 0. Runs that agree are no proof that all runs do: a race shows rarely.
    """
    if exact and (rtol or ulp):
        raise _refused("give --exact or a tolerance, not both", WRONG_USAGE)
    if recorded and sidecar:
        raise _refused("--sidecar writes what --recorded reads: give one of them", WRONG_USAGE)
    read = _read_all(notebooks, is_recorded=recorded)
    if not allow_shell:
        _ask_for_shell(read)
    for path in (json_to, html_to):
        _check_folder(path)
    _tell_of_large_folders(notebooks)
    tolerance = Tolerance(rtol, ulp, exact)
    todo = [Job(path, runs, recorded, sidecar, timeout, kernel, tolerance, jobs > 1, strict) for path in notebooks]
    found = _verify(todo, jobs, {path: len(notebook_file.code_cells(notebook)) for path, notebook in read})
    if sidecar:
        _write_sidecars(found)
    verdicts = [one.verdict for one in found]
    if json_to is not None:
        _write(json.dumps([verdict_views.as_data(one) for one in verdicts], indent=1, ensure_ascii=False), json_to)
    if html_to is not None:
        _write(page(verdicts), html_to)
    if len(verdicts) > 1:
        typer.echo(verdict_views.overall(verdicts).text, err=True)
    raise typer.Exit(max((_exit_code(one) for one in verdicts), key=_SEVERITY.index))


def _read_all(notebooks: list[Path], *, is_recorded: bool) -> list[tuple[Path, Any]]:
    """The notebooks, so that what is wrong with one is told before anything runs."""
    try:
        if is_recorded:
            for path in notebooks:
                record.of(path)
        return [(path, notebook_file.read(path)) for path in notebooks]
    except NotRunnableError as error:
        raise _refused(str(error), WRONG_USAGE) from None


@app.command()
def share(  # noqa: PLR0913 - as above
    notebook: _OneNotebook,
    *,
    output: _Output = None,
    force: _Force = False,
    repository: _Repository = None,
    ref: _Ref = "HEAD",
    timeout: _Timeout = None,
    kernel: _Kernel = None,
    allow_shell: _Shell = False,
) -> None:
    """Write what others need to run a notebook, and to see that they get the same bits.

    It is run twice first, as verify does, and shared only if it reproduces. Written are binder/ (pinned requirements of
    what it imports, with PyTorch's CPU wheels; the Python version; what has to be set before Python starts) and the
    sidecar NB.repro.json, all of them or none; and a badge for Binder is told. Binder has no GPU: results of one cannot
    be proved there.

    Exit code: 0 shared, 1 it does not reproduce, 2 wrong usage or files are there already, 3 it could not be run.
    """
    read = _read_all([notebook], is_recorded=False)
    if not allow_shell:
        _ask_for_shell(read)
    _tell_of_large_folders([notebook])
    todo = [Job(notebook, wants_sidecar=True, timeout=timeout, kernel=kernel)]
    [done] = _verify(todo, 1, {path: len(notebook_file.code_cells(found)) for path, found in read})
    if not done.verdict.reproduces:
        raise _refused("nothing was written: share what reproduces", _exit_code(done.verdict))
    folder = output or sharing.root_of(notebook)
    try:
        environment = environments.checked(json.loads(done.sidecar)["environment"])
        plan = sharing.plan(notebook, environment, done.sidecar, repository=repository, ref=ref, output=output)
        written = sharing.write(plan, folder, force=force)
    except ReproError as error:
        raise _refused(str(error), WRONG_USAGE) from None
    typer.echo(share_views.shared(plan, folder, written).text())


class _Bars:
    """A bar for each run, and one for all notebooks if there are several."""

    def __init__(self, progress: Progress, jobs: list[Job], cells: Mapping[Path, int]) -> None:
        self._progress, self._cells = progress, cells
        self._all = progress.add_task("notebooks", total=len(jobs)) if len(jobs) > 1 else None
        self._tasks: dict[tuple[int, int], TaskID] = {}

    def work(self, job: Job) -> Done:
        """Do a job, and show how far it is."""
        return verify_one(job, functools.partial(self._advance, job))

    def _advance(self, job: Job, run: int) -> None:
        key = (id(job), run)
        if key not in self._tasks:
            of = f", run {run} of {job.kernels}" if job.kernels > 1 else ""
            self._tasks[key] = self._progress.add_task(f"{job.path.name}{of}", total=self._cells[job.path])
        self._progress.advance(self._tasks[key])

    def told(self, done: Done) -> None:
        """A job is done: its verdict takes the place of its bars."""
        for key in [key for key in self._tasks if key[0] == id(done.job)]:
            self._progress.remove_task(self._tasks.pop(key))
        if self._all is not None:
            self._progress.advance(self._all)
        self._progress.console.print(Text(verdict_views.notebook(done.verdict).text()), soft_wrap=True)


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """SIGTERM, by which CI ends what takes too long, cleans up as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _verify(todo: list[Job], jobs: int, cells: Mapping[Path, int]) -> list[Done]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with (
            _ended_as_interrupted(),
            runner.stoppable(),
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
            ThreadPoolExecutor(jobs) as executor,
        ):
            bars = _Bars(progress, todo, cells)
            return verify_all(todo, executor, work=bars.work, told=bars.told)
    except KeyboardInterrupt:
        raise _refused("interrupted; nothing was left behind", NOT_RUN) from None


def _write_sidecars(found: list[Done]) -> None:
    for one in found:
        to = record.sidecar_of(one.job.path)
        if one.verdict.reproduces:
            _write(one.sidecar.rstrip("\n"), str(to))
            typer.echo(f"{to} written", err=True)
        else:
            typer.echo(f"{to} was not written: the notebook was not reproduced", err=True)


def _exit_code(found: NotebookVerdict) -> int:
    if found.outcome is Outcome.FAILED:
        return NOT_RUN
    if found.outcome is not Outcome.DIFFERS:
        return NOT_COMPARED if found.lacks_proof else REPRODUCED
    return ELSEWHERE if found.environment else DIFFERS


def _ask_for_shell(read: list[tuple[Path, Any]]) -> None:
    lines = [(path, *line) for path, notebook in read for line in shell_lines(notebook)]
    if not lines:
        return
    for path, number, line in lines:
        typer.echo(f"{path}, cell {number}: {line}", err=True)
    told = "these lines run programs, which can change more than the copy of the folder"
    if not sys.stdin.isatty():
        raise _refused(f"{told}; --allow-shell runs them", WRONG_USAGE)
    if not typer.confirm(f"repro-magic: {told}. Run them?", err=True):
        raise typer.Exit(WRONG_USAGE)


def _tell_of_large_folders(notebooks: list[Path]) -> None:
    """A home folder, say. It is copied all the same: who knows what the notebook reads."""
    for folder in dict.fromkeys(path.resolve().parent for path in notebooks):
        size = size_of(folder)
        if size > _LARGE:
            told = f"{folder} holds {size / 2**30:.1f} GiB, which are copied for each run"
            typer.echo(f"repro-magic: {told}; a notebook in a folder of its own is verified sooner", err=True)


def _check_folder(path: str | None) -> None:
    """Say that a file cannot be written before the notebooks run, not after."""
    if path not in (None, "-") and not Path(str(path)).absolute().parent.is_dir():
        raise _refused(f"{path} cannot be written: there is no folder {Path(str(path)).parent}", WRONG_USAGE)


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
