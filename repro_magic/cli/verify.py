"""The command `repro-magic`: each function is a command, and its docstring is the command's help."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Annotated

import rich.progress
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from repro_magic.exceptions import NotRunnableError, NotWritableError, ReproError
from repro_magic.proof import environment as environments
from repro_magic.proof.kernel.numeric_distance import Tolerance
from repro_magic.proof.record import recorded as record
from repro_magic.proof.run import notebook_file, runner
from repro_magic.proof.run.consent import shell_lines
from repro_magic.proof.run.notebook_file import NotebookFile
from repro_magic.proof.run.options import RunOptions
from repro_magic.proof.run.project import Contents, Scope, in_bytes, not_copied
from repro_magic.proof.share import share as sharing
from repro_magic.proof.share import writing
from repro_magic.proof.share.writing import Kind
from repro_magic.proof.verdict import NotebookVerdict, Outcome
from repro_magic.proof.verification import Job, JobResult, Progress, verify_all, verify_one
from repro_magic.views import environment as in_words
from repro_magic.views import share as share_views
from repro_magic.views import verdict as verdict_views
from repro_magic.views.page import page
from repro_magic.views.visible import in_one_line, visible

# From so many bytes or files on it takes a while to copy a folder.
_LARGE, _MANY = 1 << 30, 10_000
_SOME = 100  # files, between two moves of a bar
REPRODUCED, DIFFERS, WRONG_USAGE, NOT_RUN, ELSEWHERE, NOT_COMPARED = 0, 1, 2, 3, 4, 5
# The worst last: of several notebooks, this is the order that decides on the exit code.
_SEVERITY = (REPRODUCED, NOT_COMPARED, DIFFERS, WRONG_USAGE, NOT_RUN, ELSEWHERE)

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no tolerance; expected a number such as 1e-6")
    return value


_AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, to be kept or compared.")]
_Diff = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="A B", help="Compare two: JSON files, or notebooks in which %repro_env ran."),
]


_Notebooks = Annotated[list[Path], typer.Argument(metavar="NB…", help="Notebooks; of a folder all below it.")]
_Runs = Annotated[int, typer.Option(min=2, help="How many fresh kernels run each notebook.")]
_Recorded = Annotated[bool, typer.Option("--recorded", help="Compare one fresh run with what is recorded, instead.")]
_Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="How many notebooks run side by side.")]
_Rtol = Annotated[
    float,
    typer.Option(
        min=0, metavar="X", callback=_finite, help="Numbers whose relative difference is no larger are close."
    ),
]
_Root = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder that is copied; otherwise git's work tree or that of pyproject.toml."),
]
_Include = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Paths below it that are copied whatever their size, e.g. data/raw; repeatable."),
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


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - typer's form of a callback
    if wanted:
        _say(f"repro-magic {importlib.metadata.version('repro-magic')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show it.")] = False,
) -> None:
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
        _say(json.dumps(told, indent=1) if as_json else in_words.differences(found).text())
        raise typer.Exit(DIFFERS if found else 0)
    for module in ("numpy", "torch"):  # as a notebook of this environment would
        importlib.import_module(module)
    here = environments.environment()
    _say(json.dumps(here, indent=1, ensure_ascii=False) if as_json else in_words.environment(here).text())


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
    root: _Root = None,
    include: _Include = None,
    sidecar: _Sidecar = False,
    json_to: _JsonTo = None,
    html_to: _HtmlTo = None,
) -> None:
    """Run notebooks in fresh kernels and compare, cell by cell and bit for bit.

    What is compared: the values of all names (tensors, arrays, models, frames …, also those never shown), and what each
    cell shows; addresses, timings, progress bars, temporary paths and generated ids count as noise. A notebook needs to
    know nothing of repro_magic, and is not changed: it runs in a copy of its project, a new one for each run. Of a
    folder, all notebooks below it are verified.

    With --recorded one fresh run is compared with what the notebook holds: its receipts and outputs, or its sidecar.

    What cannot be compared (an open file, a value that is not recorded …) is listed, and the verdict has no tick:
    "≈ … not compared: cell 5 `sock` (socket.socket)". The exit code is 0 then, and 5 with --strict. A comment
    # repro: accept NAME leaves a name out on purpose.

    Exit code: 0 reproduced, 1 differs, 2 wrong usage or no notebook, 3 could not be run to its end or was interrupted,
    4 recorded results differ and the environment does, too, 5 not all was compared (--strict). Of several notebooks,
    the worst: 4, 3, 2, 1, 5, 0. Runs that agree are no proof that all runs do: a race shows rarely.
    """
    if exact and (rtol or ulp):
        raise _refused("give --exact or a tolerance, not both", WRONG_USAGE)
    if recorded and sidecar:
        raise _refused("--sidecar writes what --recorded reads: give one of them", WRONG_USAGE)
    paths = _expanded(notebooks)
    _check_targets(json_to, html_to, paths if sidecar else [])
    options = RunOptions(
        runs=runs,
        is_recorded=recorded,
        wants_sidecar=sidecar,
        is_strict=strict,
        timeout=timeout,
        kernel=kernel,
        tolerance=Tolerance(rtol, ulp, exact),
        scope=Scope(root, tuple(include or ())),
        shares_cores=jobs > 1,
    )
    opened = [_opened(Job(path, options)) for path in paths]
    asked = opened if allow_shell else _agreed(opened)
    tell = functools.partial(_say, err=json_to == "-")
    found = _verify(asked, jobs, tell)
    if sidecar:
        _write_sidecars(found)
    verdicts = [one.verdict for one in found]
    if json_to is not None:
        _write(
            json.dumps([verdict_views.as_data(one) for one in verdicts], indent=1, ensure_ascii=False),
            json_to,
            writing.VERDICTS,
        )
    if html_to is not None:
        _write(page(verdicts), html_to, writing.PAGE)
    if len(verdicts) > 1:
        tell(verdict_views.overall(verdicts).text)
    codes = [_exit_code(one.verdict) if one.is_run else WRONG_USAGE for one in found]
    raise typer.Exit(max(codes, key=_SEVERITY.index))


def _expanded(paths: list[Path]) -> list[Path]:
    """The notebooks that are meant: of a folder all below it, but for copies that front ends keep."""
    found = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path's raises where the name is too long
            found.append(path)
            continue
        below = [one for one in sorted(path.rglob("*.ipynb")) if not _is_hidden(one.relative_to(path))]
        if not below:
            raise _refused(f"{path} is a folder that holds no notebook", WRONG_USAGE)
        found += below
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _opened(job: Job) -> Job | JobResult:
    """The job with its notebook read, so that what the user agrees to is what runs; or why it cannot be done."""
    try:
        file = job.read()
        if job.options.is_recorded:
            record.of(job.path, file.notebook())
    except NotRunnableError as error:
        return job.failed(str(error), is_run=False)
    return replace(job, notebook=file)


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
    root: _Root = None,
    include: _Include = None,
) -> None:
    """Write what others need to run a notebook, and to see that they get the same bits.

    It is run twice first, as verify does, and shared only if it reproduces. Written are binder/ (pinned requirements of
    what it imports, with PyTorch's CPU wheels; the Python version; what has to be set before Python starts) and the
    sidecar NB.repro.json, all of them or none; and a badge for Binder is told. Binder has no GPU: results of one cannot
    be proved there.

    Exit code: 0 shared, 1 it does not reproduce, 2 wrong usage or files are there already, 3 it could not be run.
    """
    opened = _opened(
        Job(
            notebook,
            RunOptions(wants_sidecar=True, timeout=timeout, kernel=kernel, scope=Scope(root, tuple(include or ()))),
        )
    )
    [asked] = [opened] if allow_shell else _agreed([opened])
    if isinstance(asked, JobResult):
        raise _refused(asked.verdict.error, WRONG_USAGE)
    [done] = _verify([asked], 1, functools.partial(_say, err=True))
    if not done.verdict.runs:
        raise _refused(f"{notebook} has no code cells: there is nothing to share", WRONG_USAGE)
    if not done.verdict.reproduces:
        raise _refused("nothing was written: share what reproduces", _exit_code(done.verdict))
    folder = output or sharing.root_of(notebook)
    try:
        environment = environments.checked(json.loads(done.sidecar)["environment"])
        plan = sharing.plan(asked.read(), environment, done.sidecar, repository=repository, ref=ref, output=output)
        written = sharing.write(plan, folder, force=force)
    except ReproError as error:
        raise _refused(str(error), WRONG_USAGE) from None
    _say(share_views.shared(plan, folder, written).text())


class _Bars:
    """A bar for each run, one for what is copied, and one for all notebooks if there are several."""

    def __init__(self, progress: rich.progress.Progress, jobs: int) -> None:
        self._progress = progress
        self._all = progress.add_task("notebooks", total=jobs) if jobs > 1 else None
        self._told: set[str] = set()

    def work(self, job: Job) -> JobResult:
        """Do a job, and show how far it is."""
        follower = _Follower(job, self._progress, self.say_once)
        try:
            return verify_one(job, follower)
        finally:
            follower.end()

    def say_once(self, text: str) -> None:
        """Say something above the bars that holds for several notebooks."""
        if text and text not in self._told:
            self._told.add(text)
            self._progress.console.print(Text(f"repro-magic: {in_one_line(text)}"), soft_wrap=True)

    def advance(self) -> None:
        """One notebook more is done."""
        if self._all is not None:
            self._progress.advance(self._all)


class _Follower(Progress):
    """Shows how far one job is."""

    def __init__(self, job: Job, progress: rich.progress.Progress, say: Callable[[str], object]) -> None:
        self._name, self._kernels, self._progress, self._say = (
            in_one_line(job.path.name),
            job.options.kernels,
            progress,
            say,
        )
        self._cells = (
            len(notebook_file.code_cells(job.notebook.notebook())) if isinstance(job.notebook, NotebookFile) else None
        )
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
        if total >= _SOME and (files % _SOME == 0 or files == total):
            self._show("copy", f"{self._name}: copying", files, total)

    def ran(self, run: int) -> None:
        self._hide("copy")
        of = f", run {run} of {self._kernels}" if self._kernels > 1 else ""
        self._tasks.setdefault(run, self._tasks.get(run) or self._progress.add_task(self._name + of, total=self._cells))
        self._progress.advance(self._tasks[run])

    def end(self) -> None:
        """It is over: its bars go."""
        for name in list(self._tasks):
            self._hide(name)

    def _show(self, name: object, text: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(text, total=total)
        self._progress.update(self._tasks[name], completed=done)

    def _hide(self, name: object) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """SIGTERM, by which CI ends what takes too long, and a terminal that is closed clean up as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            _forget_if_gone(stream)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Who ignores it (nohup) goes on.
    before = {one: signal.signal(one, interrupt) for one in numbers if signal.getsignal(one) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _verify(asked: list[Job | JobResult], jobs: int, tell: Callable[[str], object]) -> list[JobResult]:
    """All done, in their order: those that are, and what is to be run."""
    todo = [one for one in asked if isinstance(one, Job)]
    for one in asked:
        if isinstance(one, JobResult):
            tell(f"⚠ {in_one_line(one.verdict.error)}")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    try:
        with (
            _ended_as_interrupted(),
            runner.stoppable(),
            rich.progress.Progress(
                *columns,
                console=console,
                transient=True,
                disable=not console.is_terminal,
                redirect_stdout=sys.stdout.isatty(),
            ) as progress,
            ThreadPoolExecutor(jobs) as executor,
        ):
            bars = _Bars(progress, len(todo))

            def told(done: JobResult) -> None:
                bars.advance()
                tell(verdict_views.notebook(done.verdict).text())

            done = iter(verify_all(todo, executor, work=bars.work, on_result=told))
    except KeyboardInterrupt:
        raise _refused("interrupted; nothing was left behind", NOT_RUN) from None
    return [next(done) if isinstance(one, Job) else one for one in asked]


def _write_sidecars(found: list[JobResult]) -> None:
    for one in found:
        to = record.sidecar_of(one.job.path)
        if one.verdict.reproduces and one.sidecar:
            _write_file(one.sidecar, to, writing.SIDECAR)
            _say(f"{in_one_line(str(to))} written", err=True)
        else:
            _say(f"{in_one_line(str(to))} was not written: the notebook was not reproduced", err=True)


def _exit_code(found: NotebookVerdict) -> int:
    if found.outcome is Outcome.FAILED:
        return NOT_RUN
    if found.outcome is not Outcome.DIFFERS:
        return NOT_COMPARED if found.lacks_proof else REPRODUCED
    return ELSEWHERE if found.environment else DIFFERS


def _agreed(opened: list[Job | JobResult]) -> list[Job | JobResult]:
    """Without those that run programs, unless the user agrees to these."""
    lines = [(one.path, *line) for one in opened if isinstance(one, Job) for line in shell_lines(one.read().notebook())]
    for path, number, line in lines:
        _say(f"{in_one_line(str(path))}, cell {number}: {in_one_line(line)}", err=True)
    told = "these lines run programs, which can change more than the copy of the folder"
    if not lines or (sys.stdin.isatty() and typer.confirm(f"repro-magic: {told}. Run them?", err=True)):
        return opened
    refused = {path for path, *_ in lines}
    why = "was not run: it has lines that run programs, which can change more than the copy; --allow-shell runs them"
    return [
        one.failed(f"{one.path} {why}", is_run=False) if isinstance(one, Job) and one.path in refused else one
        for one in opened
    ]


def _check_targets(json_to: str | None, html_to: str | None, sidecars_of: list[Path]) -> None:
    """See that what is to be written can be, before the notebooks run, not after."""
    targets = [(record.sidecar_of(path), writing.SIDECAR) for path in sidecars_of]
    targets += [
        (Path(path), kind)
        for path, kind in ((json_to, writing.VERDICTS), (html_to, writing.PAGE))
        if path not in {None, "-"}
    ]
    try:
        for path, kind in targets:
            writing.check(path, kind)
    except NotWritableError as error:
        raise _refused(str(error), WRONG_USAGE) from None
    if json_to is not None and json_to == html_to:
        raise _refused(f"--json and --html would both be written to {json_to}: give each a place", WRONG_USAGE)


def _write(text: str, path: str, kind: Kind) -> None:
    if path == "-":
        _say(text)
    else:
        _write_file(text + "\n", Path(path), kind)


def _write_file(text: str, path: Path, kind: Kind) -> None:
    try:
        writing.write(path, text, kind)
    except NotWritableError as error:
        raise _refused(str(error), NOT_RUN) from None


def _say(text: str, *, err: bool = False) -> None:
    """Write to the terminal; if the reader has closed the pipe (`| head -1`), the exit code still counts."""
    try:
        typer.echo(visible(text), err=err)
    except BrokenPipeError:
        _forget(sys.stderr if err else sys.stdout)


def _forget_if_gone(stream: IO[str]) -> None:
    """A terminal that was closed takes nothing any more, not even nothing."""
    with suppress(ValueError):  # it is no file
        try:
            os.write(stream.fileno(), b"")
        except OSError:
            _forget(stream)


def _forget(stream: IO[str]) -> None:
    """Let what is still written to a stream go nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _refused(why: str, code: int) -> typer.Exit:
    _say(f"repro-magic: {in_one_line(why)}", err=True)
    return typer.Exit(code)


def _read(path: Path) -> environments.Environment:
    try:
        return environments.read(path)
    except (ReproError, OSError) as error:
        raise _refused(str(error), WRONG_USAGE) from None
