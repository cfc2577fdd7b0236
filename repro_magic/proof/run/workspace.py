"""The copies that a notebook runs in, so that the user's own files stay untouched."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.run.notebook_file import short
from repro_magic.proof.run.project import LIMIT, SCRATCH, WHOLE, Contents, Scope, in_bytes, survey

_OWNER = "owner.lock"
_CLONE = 0x40049409  # Linux's FICLONE: both files share their blocks until one is written


class Progress:
    """What is told while a project is copied. This one tells nobody."""

    def counted(self, files: int) -> None:
        """So many files were seen so far."""

    def surveyed(self, contents: Contents) -> None:
        """It is known what will be copied; nothing is yet."""

    def copied(self, files: int, total: int) -> None:
        """So many of all files are copied."""


class Workspace:
    """A notebook's project, copied anew for each run.

    Args:
        path: the notebook.
        folder: a folder of ours, for the copies. All lie at the same place in it.
        scope: what is copied.
        data: what its file is to hold in the copy, whatever it holds meanwhile; None: what it holds.
        keeps: whether each run is to start from the same files, even if the user goes on working: then they are copied
            once, and each run has a copy of that copy; the last has that copy itself.
        progress: told how far it is.
    """

    def __init__(  # noqa: PLR0913 - as the docstring says
        self,
        path: Path,
        folder: Path,
        scope: Scope = WHOLE,
        *,
        data: bytes | None = None,
        keeps: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is copied yet."""
        self._path, self._folder, self._scope, self._data = path, folder, scope, data
        self._keeps = keeps
        self._progress = progress or Progress()

    @cached_property
    def contents(self) -> Contents:
        """What is copied.

        Raises:
            NotRunnableError: it cannot be, or there is no room for it.
        """
        clones = _clone(self._path, self._folder / "clone")
        found = survey(self._path, self._scope, None if clones else LIMIT, self._progress.counted)
        needed, free = found.size * (2 if self._keeps else 1), shutil.disk_usage(self._folder).free
        if needed > free and not clones:
            raise NotRunnableError(
                f"{found.root} cannot be copied: that takes {in_bytes(needed)} in {tempfile.gettempdir()}, which has "
                f"{in_bytes(free)} left; set TMPDIR to a folder with more room"
            )
        self._progress.surveyed(found)
        return found

    @contextmanager
    def copy(self, *, is_last: bool = False) -> Iterator[Path]:
        """A copy of the project, gone afterwards; the notebook's path in it.

        Args:
            is_last: whether no other is to follow. If one does all the same, the project is copied anew.

        Raises:
            NotRunnableError: it cannot be made.
        """
        with _emptied(self._folder / "copy") as place:
            copy = place / self.contents.root.name if self.contents.root.name else place / "root"
            with self._told():
                if is_last and self._keeps:
                    self._origin.rename(copy)
                    del self._origin
                else:
                    self._copy(self._again if self._keeps else self.contents, copy)
            yield copy / self.contents.own / self._path.name

    @cached_property
    def _origin(self) -> Path:
        origin = self._folder / "origin"
        self._copy(self.contents, origin)
        return origin

    @property
    def _again(self) -> Contents:
        """The same files in the same order, which decides in what order a file system lists them, from our copy."""
        files = {place: str(self._origin / place) for place in self.contents.files}
        return replace(self.contents, files=files)

    def _copy(self, contents: Contents, to: Path) -> None:
        _copy_all(contents, to, self._progress.copied)
        self._put_notebook(to)

    def _put_notebook(self, copy: Path) -> None:
        if self._data is None:
            return
        path = copy / self.contents.own / self._path.name
        with suppress(FileNotFoundError):
            path.unlink()  # it may be a link, or not be writable
        path.write_bytes(self._data)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, shutil.Error) as error:
            what = f"{self.contents.root} cannot be copied: {short(error)}"
            raise NotRunnableError(what) from None


def _copy_all(contents: Contents, to: Path, told: Callable[[int, int], object]) -> None:
    copier = _Copier()
    to.mkdir(parents=True)
    for place in contents.folders:
        (to / place).mkdir(parents=True, exist_ok=True)
    for done, (place, source) in enumerate(contents.files.items(), start=1):
        with suppress(FileNotFoundError):  # one that vanished meanwhile is none of the notebook's
            copier(source, str(to / place))
        told(done, contents.count)
    for place, target in contents.links.items():
        link = to / place
        link.symlink_to(os.path.relpath(to / target, link.parent), target_is_directory=(to / target).is_dir())


class _Copier:
    """Copies files with their times and permissions, by sharing their blocks as long as the file system can."""

    def __init__(self) -> None:
        self._clones = True

    def __call__(self, source: str, to: str) -> None:
        self._clones = self._clones and _clone(Path(source), Path(to))
        if self._clones:
            shutil.copystat(source, to)
        else:
            shutil.copy2(source, to)


def _clone(source: Path, to: Path) -> bool:
    """Make a file that shares the blocks of another until one of both is written; False where that cannot be."""
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - there is none on Windows

    try:
        with source.open("rb") as read, to.open("xb") as written:
            fcntl.ioctl(written.fileno(), _CLONE, read.fileno())
    except OSError:
        to.unlink(missing_ok=True)
        return False
    return True


@contextmanager
def workspace_folder() -> Iterator[Path]:
    """A temporary folder for copies, removed afterwards; after a kill, the next process that makes one removes it.

    Raises:
        NotRunnableError: none can be made.
    """
    _collect()
    try:
        made = tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True)
    except OSError as error:
        why = f"no folder for a copy can be made: {short(error)}; set TMPDIR to one that you may write to"
        raise NotRunnableError(why) from None
    with made as folder, _owned(Path(folder)):
        yield Path(folder)


if sys.platform == "win32":

    @contextmanager
    def _owned(_folder: Path) -> Iterator[None]:
        yield

    def _collect() -> None:
        return

else:
    import fcntl

    @contextmanager
    def _owned(folder: Path) -> Iterator[None]:
        """Hold a lock that ends with this process, however it ends."""
        new = folder / f".{_OWNER}"
        with new.open("xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(folder / _OWNER)  # under its name it is locked from the first moment
            yield

    def _collect() -> None:
        """Remove the folders of processes that were killed, and the kernels that they left behind."""
        for lock in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/{_OWNER}"):
            with suppress(OSError), lock.open("rb") as held:
                if os.fstat(held.fileno()).st_uid == os.getuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its owner lives
                    _end_kernels(lock.parent)
                    shutil.rmtree(lock.parent, ignore_errors=True)

    def _end_kernels(folder: Path) -> None:
        """End the kernels whose connection file lies in a folder; Linux tells which these are."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.fsencode(folder / "k") in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A new folder, gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)  # where a process of the last run still wrote, something is left
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
