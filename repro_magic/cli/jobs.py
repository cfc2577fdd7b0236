"""Read notebooks, ask before one runs programs, and run them with progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import typer

from repro_magic.cli.progress import Bars, terminal_progress
from repro_magic.cli.terminal import ended_as_interrupted, say
from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.record.notebook_record import recorded_in
from repro_magic.proof.run import runner
from repro_magic.proof.run.consent import shell_lines
from repro_magic.proof.verification import Job, JobResult, verify_all
from repro_magic.views import verdict as verdict_views
from repro_magic.views.visible import in_one_line


def opened(jobs: Sequence[Job], *, allow_shell: bool) -> list[Job | JobResult]:
    """The jobs with their notebooks read, so that what the user agrees to is what runs; or why they cannot run."""
    found = [_opened(job) for job in jobs]
    return found if allow_shell else _agreed(found)


def _opened(job: Job) -> Job | JobResult:
    try:
        file = job.read()
        check_root(job)
        if job.options.is_recorded:
            recorded_in(job.path, file.notebook())
    except NotRunnableError as error:
        return job.failed(str(error), is_run=False)
    return replace(job, notebook=file)


def check_root(job: Job) -> None:
    """Check that the folder to copy, if one was named, holds the notebook.

    Raises:
        NotRunnableError: it does not.
    """
    root, own = job.options.scope.root, job.path.absolute().parent.resolve()
    if root is not None and not own.is_relative_to(root.resolve()):
        raise NotRunnableError(f"{job.path} does not lie in {root}: give a --root that holds the notebook")


def _agreed(found: list[Job | JobResult]) -> list[Job | JobResult]:
    """The jobs, without those that run programs if the user does not agree to that."""
    lines = [(job.path, *line) for job in found if isinstance(job, Job) for line in shell_lines(job.read().notebook())]
    for path, number, line in lines:
        say(f"{in_one_line(str(path))}, cell {number}: {in_one_line(line)}", err=True)
    what = "these lines run programs, which can change more than the copy of the folder"
    if not lines or (sys.stdin.isatty() and typer.confirm(f"repro-magic: {what}. Run them?", err=True)):
        return found
    stopped = {path for path, *_ in lines}
    why = "was not run: it has lines that run programs, which can change more than the copy; --allow-shell runs them"
    return [
        job.failed(f"{job.path} {why}", is_run=False) if isinstance(job, Job) and job.path in stopped else job
        for job in found
    ]


def run_all(found: Sequence[Job | JobResult], side_by_side: int, tell: Callable[[str], object]) -> list[JobResult]:
    """Run the jobs that were opened.

    Args:
        found: the jobs, and the results of those that cannot run.
        side_by_side: how many run at the same time.
        tell: writes each verdict as soon as it is known.

    Returns:
        All results, in the order of the jobs; after Ctrl-C those of the jobs that ended before.
    """
    for result in found:
        if isinstance(result, JobResult):
            tell(f"⚠ {in_one_line(result.verdict.error)}")
    done: dict[int, JobResult] = {}
    jobs = [job for job in found if isinstance(job, Job)]
    try:
        _run(jobs, side_by_side, tell, done)
    except KeyboardInterrupt:
        rest = ", ".join(in_one_line(str(job.path)) for job in jobs if id(job) not in done)
        say(
            f"repro-magic: interrupted; nothing was left behind{f'; not run to the end: {rest}' if rest else ''}",
            err=True,
        )
    return [one if isinstance(one, JobResult) else done.get(id(one)) or one.failed("interrupted") for one in found]


def _run(jobs: Sequence[Job], side_by_side: int, tell: Callable[[str], object], done: dict[int, JobResult]) -> None:
    with (
        ended_as_interrupted(),
        runner.stoppable(),
        terminal_progress() as progress,
        ThreadPoolExecutor(side_by_side) as executor,
    ):
        bars = Bars(progress, len(jobs))

        def on_result(result: JobResult) -> None:
            done[id(result.job)] = result
            bars.advance()
            tell(verdict_views.notebook(result.verdict).text())

        verify_all(jobs, executor, work=bars.work, on_result=on_result)
