"""Verify notebooks, each as one job, on any executor."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.compare.runs import compare, fixed_hashes
from repro_magic.proof.kernel.numeric_distance import Tolerance
from repro_magic.proof.record.comparison import compare_with_record
from repro_magic.proof.record.notebook_record import recorded_in
from repro_magic.proof.record.sidecar import sidecar_text
from repro_magic.proof.run import runner, workspace
from repro_magic.proof.run.notebook_file import NotebookFile, code_cells, load
from repro_magic.proof.run.options import DEFAULTS, RunOptions, RunRole
from repro_magic.proof.run.project import Contents, Scope, advice, not_copied
from repro_magic.proof.run.runner import Run
from repro_magic.proof.run.workspace import Workspace, workspace_folder
from repro_magic.proof.verdict import NotebookVerdict, Outcome, Part
from repro_magic.rng.seeding import HASH_SEED_VARIABLE


@dataclass(frozen=True)
class Job:
    """A notebook, and the options to run it with; it can be sent to another process or machine that has the same files.

    Attributes:
        notebook: its file, or the content of that file at the moment when the user agreed to run it.
        options: how it is run and compared.
    """

    notebook: Path | NotebookFile
    options: RunOptions = DEFAULTS

    @property
    def path(self) -> Path:
        """Where the notebook lies."""
        return self.notebook if isinstance(self.notebook, Path) else self.notebook.path

    def read(self) -> NotebookFile:
        """The notebook's content; the file is read only if it was not read before.

        Raises:
            NotRunnableError: there is no notebook.
        """
        return load(self.notebook) if isinstance(self.notebook, Path) else self.notebook

    def failed(self, why: str, *, is_run: bool = True) -> JobResult:
        """The result of a job that could not be run to its end."""
        return JobResult(self, NotebookVerdict(str(self.path), self.options.kernels, 0, [], why), is_run=is_run)


@dataclass(frozen=True)
class JobResult:
    """The result of a job.

    Attributes:
        job: the job.
        verdict: whether the notebook reproduces.
        sidecar: the text of the sidecar, if the options ask for one.
        is_run: whether the notebook was run at all; otherwise the verdict's error says why not.
    """

    job: Job
    verdict: NotebookVerdict
    sidecar: str = ""
    is_run: bool = True


class Progress(workspace.Progress):
    """What a job reports while it runs. This class ignores all of it."""

    def ran(self, run: int) -> None:
        """A code cell ran, in the run of this number, from 1."""


class _Stoppable(Progress):
    """Passes reports on, and ends the copying of a large project once `runner.stop` was called."""

    def __init__(self, other: Progress) -> None:
        self._other = other

    def counted(self, files: int) -> None:
        self._check()
        self._other.counted(files)

    def surveyed(self, contents: Contents) -> None:
        self._check()
        self._other.surveyed(contents)

    def copied(self, files: int, total: int) -> None:
        self._check()
        self._other.copied(files, total)

    def ran(self, run: int) -> None:
        self._other.ran(run)

    @staticmethod
    def _check() -> None:
        if runner.is_stopping():
            raise runner.RunStoppedError


def verify_one(job: Job, progress: Progress | None = None) -> JobResult:
    """Verify one notebook; if it cannot be run, the verdict says why.

    Raises:
        RunStoppedError: `runner.stop` was called meanwhile.
    """
    try:
        result = _verified(job, job.read(), _Stoppable(progress or Progress()))
        notes = [*result.verdict.notes, *(_hashes() if result.verdict.runs else [])]
        verdict = replace(result.verdict, is_strict=job.options.is_strict, notes=notes)
        return replace(result, verdict=verdict)
    except NotRunnableError as error:
        why = str(error)
    except runner.RunStoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - an unforeseen fault says nothing about the notebook, or about others
        why = f"it could not be run: {type(error).__name__}: {error}"
    return job.failed(why)


def _hashes() -> list[str]:
    """What is to be said where every kernel inherits one seed for the hashes of strings."""
    found = os.environ.get(HASH_SEED_VARIABLE, "")
    return [fixed_hashes(f"fixed to {found}")] if found.isdecimal() else []


def _verified(job: Job, file: NotebookFile, progress: Progress) -> JobResult:
    if not code_cells(file.notebook()):
        return JobResult(job, NotebookVerdict(str(job.path), 0, 0, []))
    options = job.options
    with workspace_folder() as folder:
        place = Workspace(job.path, folder, options.scope, data=file.data, keeps=options.kernels > 1, progress=progress)
        compared = _against_the_record if options.is_recorded else _against_each_other
        result = compared(job, file, place, progress)
    return replace(result, verdict=with_missing_files(result.verdict, place.contents))


def with_missing_files(found: NotebookVerdict, contents: Contents) -> NotebookVerdict:
    """The verdict, with the files that were not copied, and what to type where a cell failed without them."""
    notes = [not_copied(contents), *(advice(contents, part.why) for part in _failures(found))]
    return _noted(found, [note for note in dict.fromkeys(notes) if note])


def _noted(found: NotebookVerdict, notes: Sequence[str]) -> NotebookVerdict:
    return replace(found, notes=[*found.notes, *notes])


def _programs(runs: Sequence[Run]) -> list[str]:
    """What the notebook's code started besides Python, a sentence for each cell."""
    cells = {number: names for found in runs for number, names in found.programs.items()}
    return [
        f"Cell {number} ran programs, which can change more than the copy: {', '.join(names)}."
        for number, names in sorted(cells.items())
    ]


def _of_runs(runs: Sequence[Run]) -> list[str]:
    return [*_programs(runs), *dict.fromkeys(note for run in runs for note in run.notes)]


def _failures(found: NotebookVerdict) -> Iterator[Part]:
    return (part for cell in found.cells for part in cell.parts if part.outcome is Outcome.FAILED)


def _against_each_other(job: Job, file: NotebookFile, place: Workspace, progress: Progress) -> JobResult:
    with workspace_folder() as reference:
        runs = list(_runs(job.options, file, place, reference, progress))
    verdict = _noted(compare(str(job.path), runs, job.options.tolerance), _of_runs(runs))
    return JobResult(job, verdict, sidecar_text(runs[0]) if job.options.wants_sidecar else "")


def _runs(
    options: RunOptions, file: NotebookFile, place: Workspace, reference: Path, progress: Progress
) -> Iterator[Run]:
    for number in range(1, options.runs + 1):
        is_first = number == 1
        is_last = number == options.runs
        reports = is_first and options.wants_sidecar
        role = RunRole(reference, is_first=is_first, is_last=is_last, reports_environment=reports)
        found = runner.run(file, options, role, on_cell=partial(progress.ran, number), workspace=place)
        if found.notes:  # the other runs need what this one needed
            options = replace(options, reads_all=True)
        yield found


def _against_the_record(job: Job, file: NotebookFile, place: Workspace, progress: Progress) -> JobResult:
    recorded = recorded_in(job.path, file.notebook())
    role = RunRole(reports_environment=recorded.is_sidecar)
    fresh = runner.run(file, job.options, role, on_cell=partial(progress.ran, 1), workspace=place)
    verdict = _noted(compare_with_record(str(job.path), recorded, fresh, job.options.tolerance), _of_runs([fresh]))
    return JobResult(job, verdict)


def verify_all(
    jobs: Sequence[Job],
    executor: Executor,
    *,
    work: Callable[[Job], JobResult] = verify_one,
    on_result: Callable[[JobResult], object] = lambda _result: None,
) -> list[JobResult]:
    """Do all jobs, and return their results in the order of the jobs.

    Args:
        jobs: the notebooks.
        executor: runs the jobs: a pool of threads here, or anything with the interface of `concurrent.futures`, such as
            Dask's `Client.get_executor()`.
        work: does one job.
        on_result: called with each result as soon as it is there.
    """
    futures = [executor.submit(work, job) for job in jobs]
    try:
        for future in as_completed(futures):
            on_result(future.result())
    except BaseException:
        _give_up(futures)
        raise
    return [future.result() for future in futures]


def _give_up(futures: Sequence[Future[JobResult]]) -> None:
    for future in futures:
        future.cancel()
    runner.stop()


def verify(  # noqa: PLR0913 - as the command has
    path: str | Path,
    *,
    runs: int = 2,
    recorded: bool = False,
    timeout: int | None = None,
    kernel: str | None = None,
    rtol: float = 0.0,
    ulp: int = 0,
    exact: bool = False,
    strict: bool = False,
    root: str | Path | None = None,
    include: Sequence[str] = (),
) -> NotebookVerdict:
    """Run a notebook in fresh kernels and compare, cell by cell and bit for bit, as `repro-magic verify` does.

    Lines that run programs (`!pip`) run, too.

    Args:
        path: the notebook. It runs in a copy of its project; the file is never written.
        runs: number of fresh kernels that run it, at least 2.
        recorded: compare a single fresh run with the recorded results: receipts, outputs, or the sidecar.
        timeout: time limit per cell, in seconds.
        kernel: name of the kernel; None: the notebook's kernel.
        rtol: relative tolerance; elements within it count as close.
        ulp: tolerance in units in the last place; elements within it count as close.
        exact: count addresses, timings and similar noise as differences.
        strict: require that everything is compared, except for what the notebook itself leaves out.
        root: the folder to copy; None: the project, which is the git work tree or the folder with pyproject.toml.
        include: patterns of paths below the root to copy, whatever their size.

    Returns:
        The verdict: `.reproduces` is true if nothing differed and nothing failed, `.all_compared` if everything was
        compared; `.not_compared` lists what was not.

    Raises:
        ValueError: `runs`, `rtol` or `ulp` is out of range.

    Example:
        >>> verify("nowhere.ipynb").error.startswith("nowhere.ipynb cannot be read")
        True
    """
    if runs < 2 or not 0 <= rtol < math.inf or ulp < 0:  # noqa: PLR2004 - one run alone proves nothing
        raise ValueError("runs must be at least 2; rtol and ulp must not be negative")
    options = RunOptions(
        runs=runs,
        is_recorded=recorded,
        is_strict=strict,
        timeout=timeout,
        kernel=kernel,
        tolerance=Tolerance(rtol, ulp, exact),
        scope=Scope(None if root is None else Path(root), tuple(include)),
    )
    with runner.stoppable(), ThreadPoolExecutor(1) as executor:
        [result] = verify_all([Job(Path(path), options)], executor)
    return result.verdict
