"""Notebooks verified, one job for each, by whatever executor runs them."""

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
from repro_magic.proof.kernel.numeric_distance import SAME_BITS, Tolerance
from repro_magic.proof.record import recorded as record
from repro_magic.proof.run import runner, workspace
from repro_magic.proof.run.notebook_file import NotebookFile, code_cells, load
from repro_magic.proof.run.project import WHOLE, Contents, Scope, advice, not_copied
from repro_magic.proof.run.runner import How, Run
from repro_magic.proof.run.workspace import Workspace, room
from repro_magic.proof.verdict import NotebookVerdict, Outcome, Part
from repro_magic.rng.seeding import HASH_SEED_VARIABLE


@dataclass(frozen=True)
class Job:
    """One notebook to be verified. It can be sent to another process or machine that has the same files.

    Attributes:
        path: the notebook.
        runs: how many fresh kernels run it, if they are compared with each other.
        is_recorded: whether one fresh run is compared with what is recorded, instead.
        wants_sidecar: whether the first run is to be told as a sidecar, too.
        timeout: seconds that one cell may take; None: as long as it likes.
        kernel: the kernel's name; None: the notebook's own.
        tolerance: what counts as close.
        shares: whether others run beside it: then its kernels wait for their threads without keeping a core busy.
        is_strict: whether it reproduces only if everything was compared.
        file: the notebook as it was when its user agreed to run it; None: it is read when the job is done.
        scope: what is copied.
    """

    path: Path
    runs: int = 2
    is_recorded: bool = False
    wants_sidecar: bool = False
    timeout: int | None = None
    kernel: str | None = None
    tolerance: Tolerance = SAME_BITS
    shares: bool = False
    is_strict: bool = False
    file: NotebookFile | None = None
    scope: Scope = WHOLE

    @property
    def kernels(self) -> int:
        """How many fresh kernels it takes."""
        return 1 if self.is_recorded else self.runs


@dataclass(frozen=True)
class Done:
    """A job that is done.

    Attributes:
        job: which.
        verdict: what it brought.
        sidecar: the text of the sidecar, where it was wanted.
        is_run: whether it was tried; else the verdict's error says why not.
    """

    job: Job
    verdict: NotebookVerdict
    sidecar: str = ""
    is_run: bool = True


class Progress(workspace.Progress):
    """What is told while a job is done. This one tells nobody."""

    def ran(self, run: int) -> None:
        """A code cell ran, in the run of this number, from 1."""


class _Stoppable(Progress):
    """Tells another, and ends the copying of a large project when the runs are told to stop."""

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
            raise runner.StoppedError


def verify_one(job: Job, progress: Progress | None = None) -> Done:
    """One notebook verified; one that cannot be run has a verdict that says why.

    Raises:
        StoppedError: `runner.stop` was called meanwhile.
    """
    try:
        done = _verified(job, job.file or load(job.path), _Stoppable(progress or Progress()))
        notes = [*done.verdict.notes, *(_hashes() if done.verdict.runs else [])]
        return replace(done, verdict=replace(done.verdict, is_strict=job.is_strict, notes=notes))
    except NotRunnableError as error:
        why = str(error)
    except runner.StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - one that nobody foresaw says nothing of the notebook, and of the others
        why = f"it could not be run: {type(error).__name__}: {error}"
    return Done(job, NotebookVerdict(str(job.path), job.kernels, 0, [], why))


def _hashes() -> list[str]:
    """What is to be said where every kernel inherits one seed for the hashes of strings."""
    found = os.environ.get(HASH_SEED_VARIABLE, "")
    return [fixed_hashes(f"fixed to {found}")] if found.isdecimal() else []


def _verified(job: Job, file: NotebookFile, progress: Progress) -> Done:
    if not code_cells(file.notebook()):
        return Done(job, NotebookVerdict(str(job.path), 0, 0, []))
    with room() as folder:
        place = Workspace(job.path, folder, job.scope, data=file.data, keeps=job.kernels > 1, progress=progress)
        how = How(job.timeout, job.kernel, tolerance=job.tolerance, shares=job.shares)
        done = (_against_the_record if job.is_recorded else _against_each_other)(job, file, place, how, progress)
    return replace(done, verdict=with_what_is_missing(done.verdict, place.contents))


def with_what_is_missing(found: NotebookVerdict, contents: Contents) -> NotebookVerdict:
    """The verdict, with what was not copied, and what to type where a cell failed because of that."""
    told = [not_copied(contents), *(advice(contents, part.why) for part in _failures(found))]
    return _noted(found, [note for note in dict.fromkeys(told) if note])


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


def _against_each_other(job: Job, file: NotebookFile, place: Workspace, how: How, progress: Progress) -> Done:
    with room() as spool:
        runs = list(_runs(job, file, place, replace(how, room=spool), progress))
    verdict = _noted(compare(str(job.path), runs, job.tolerance), _of_runs(runs))
    return Done(job, verdict, record.sidecar(runs[0]) if job.wants_sidecar else "")


def _runs(job: Job, file: NotebookFile, place: Workspace, how: How, progress: Progress) -> Iterator[Run]:
    for number in range(1, job.runs + 1):
        told = replace(how, is_first=number == 1, tells_environment=job.wants_sidecar and number == 1)
        found = runner.run(file, told, partial(progress.ran, number), place)
        how = replace(how, reads_all=how.reads_all or bool(found.notes))  # what one run needed, the others do too
        yield found


def _against_the_record(job: Job, file: NotebookFile, place: Workspace, how: How, progress: Progress) -> Done:
    recorded = record.of(job.path, file.notebook())
    told = replace(how, tells_environment=recorded.is_sidecar)
    fresh = runner.run(file, told, partial(progress.ran, 1), place)
    verdict = _noted(record.compare(str(job.path), recorded, fresh, job.tolerance), _of_runs([fresh]))
    return Done(job, verdict)


def verify_all(
    jobs: Sequence[Job],
    executor: Executor,
    *,
    work: Callable[[Job], Done] = verify_one,
    told: Callable[[Done], object] = lambda _done: None,
) -> list[Done]:
    """All jobs done, in their order.

    Args:
        jobs: the notebooks.
        executor: who runs them: a pool of threads here, or whatever has the interface of `concurrent.futures`, such as
            Dask's `Client.get_executor()`.
        work: what does one job.
        told: told each as soon as it is done.
    """
    futures = [executor.submit(work, job) for job in jobs]
    try:
        for future in as_completed(futures):
            told(future.result())
    except BaseException:
        _give_up(futures)
        raise
    return [future.result() for future in futures]


def _give_up(futures: Sequence[Future[Done]]) -> None:
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

    Lines that run programs (`!pip`) are run, too.

    Args:
        path: the notebook; it is not written, and runs in a copy of its project.
        runs: how many fresh kernels run it, from 2.
        recorded: compare one fresh run with the recorded results instead: receipts, outputs, or the sidecar.
        timeout: seconds that one cell may take.
        kernel: the kernel's name; None: the notebook's own.
        rtol: elements whose relative difference is no larger count as close.
        ulp: those within so many units in the last place, too.
        exact: addresses, timings and the like count as differences.
        strict: it reproduces only if everything was compared, but for what the notebook itself leaves out.
        root: the folder that is copied; None: the project's: its git work tree, or the folder with its pyproject.toml.
        include: patterns of paths below the root that are copied whatever their size.

    Returns:
        The verdict: `.reproduces` says whether nothing differed and nothing failed, `.all_compared` whether everything
        was compared, `.not_compared` lists what was not.

    Raises:
        ValueError: `runs`, `rtol` or `ulp` is out of range.

    Example:
        >>> verify("nowhere.ipynb").error.startswith("nowhere.ipynb cannot be read")
        True
    """
    if runs < 2 or not 0 <= rtol < math.inf or ulp < 0:  # noqa: PLR2004 - one run alone proves nothing
        raise ValueError("runs is at least 2; rtol and ulp are numbers from 0")
    tolerance, scope = Tolerance(rtol, ulp, exact), Scope(None if root is None else Path(root), tuple(include))
    job = Job(
        Path(path), runs, recorded, timeout=timeout, kernel=kernel, tolerance=tolerance, is_strict=strict, scope=scope
    )
    with runner.stoppable(), ThreadPoolExecutor(1) as executor:
        [done] = verify_all([job], executor)
    return done.verdict
