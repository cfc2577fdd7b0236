"""Notebooks verified, one job for each, by whatever executor runs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from repro_magic.exceptions import NotRunnableError
from repro_magic.proof import record, runner
from repro_magic.proof.compare import compare, fixed_hashes
from repro_magic.proof.distance import SAME_BITS, Tolerance
from repro_magic.proof.runner import How, Run
from repro_magic.proof.verdict import NotebookVerdict
from repro_magic.proof.workspace import room
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
    """

    job: Job
    verdict: NotebookVerdict
    sidecar: str = ""


# Told the number of a run, from 1, each time one of its code cells has run.
Progress = Callable[[int], object]


def verify_one(job: Job, progress: Progress = lambda _run: None) -> Done:
    """One notebook verified; one that cannot be run has a verdict that says why.

    Raises:
        StoppedError: `runner.stop` was called meanwhile.
    """
    try:
        done = (_against_the_record if job.is_recorded else _against_each_other)(job, progress)
        notes = [*done.verdict.notes, *_hashes()]
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


def _against_each_other(job: Job, progress: Progress) -> Done:
    with room() as spool:
        how = How(job.timeout, job.kernel, room=spool, tolerance=job.tolerance, shares=job.shares)
        runs = list(_runs(job, how, progress))
    verdict = compare(str(job.path), runs, job.tolerance)
    return Done(job, verdict, record.sidecar(runs[0]) if job.wants_sidecar else "")


def _runs(job: Job, how: How, progress: Progress) -> Iterator[Run]:
    for number in range(1, job.runs + 1):
        told = replace(how, tells_environment=job.wants_sidecar and number == 1)
        yield runner.run(job.path, told, lambda number=number: progress(number))  # type: ignore[misc]


def _against_the_record(job: Job, progress: Progress) -> Done:
    recorded = record.of(job.path)
    how = How(job.timeout, job.kernel, shares=job.shares, tells_environment=recorded.is_sidecar)
    fresh = runner.run(job.path, how, lambda: progress(1))
    return Done(job, record.compare(str(job.path), recorded, fresh, job.tolerance))


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
) -> NotebookVerdict:
    """Run a notebook in fresh kernels and compare, cell by cell and bit for bit, as `repro-magic verify` does.

    Lines that run programs (`!pip`) are run, too.

    Args:
        path: the notebook; it is not written, and runs in a copy of its folder.
        runs: how many fresh kernels run it, from 2.
        recorded: compare one fresh run with the recorded results instead: receipts, outputs, or the sidecar.
        timeout: seconds that one cell may take.
        kernel: the kernel's name; None: the notebook's own.
        rtol: elements whose relative difference is no larger count as close.
        ulp: those within so many units in the last place, too.
        exact: addresses, timings and the like count as differences.
        strict: it reproduces only if everything was compared, but for what the notebook itself leaves out.

    Returns:
        The verdict: `.reproduces` says whether nothing differed and nothing failed, `.all_compared` whether everything
        was compared, `.not_compared` lists what was not.

    Raises:
        ValueError: `runs`, `rtol` or `ulp` is out of range.

    Example:
        >>> verify("nowhere.ipynb").error.startswith("nowhere.ipynb cannot be read")
        True
    """
    if runs < 2 or rtol < 0 or ulp < 0:  # noqa: PLR2004 - one run alone proves nothing
        raise ValueError("runs is at least 2; rtol and ulp are not negative")
    tolerance = Tolerance(rtol, ulp, exact)
    job = Job(Path(path), runs, recorded, timeout=timeout, kernel=kernel, tolerance=tolerance, is_strict=strict)
    with runner.stoppable(), ThreadPoolExecutor(1) as executor:
        [done] = verify_all([job], executor)
    return done.verdict
