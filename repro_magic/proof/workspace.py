"""The copy that a notebook runs in, so that its own folder stays untouched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

_SCRATCH = "repro-magic-"
_LEFT_BEHIND = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "venv",
    "node_modules",
    "__pycache__",
    ".ipynb_checkpoints",
    "*_cache",
    "*.egg-info",
    ".hypothesis",
)


def _left_behind(parent: str, names: list[str]) -> set[str]:
    """What is not the notebook's, or nobody here may read. Folders of ours may lie below the notebook's, too."""
    is_above_ours = Path(parent).resolve() == Path(tempfile.gettempdir()).resolve()
    ours = {name for name in names if is_above_ours and name.startswith(_SCRATCH)}
    locked = {name for name in names if not os.access(Path(parent, name), os.R_OK)}
    return _LEFT_BEHIND(parent, names) | ours | locked


def size_of(folder: Path) -> int:
    """How many bytes a copy of a notebook's folder takes."""
    size = 0
    for parent, folders, files in os.walk(folder):
        behind = _left_behind(parent, [*folders, *files])
        folders[:] = [name for name in folders if name not in behind]
        for name in files:
            with suppress(OSError):  # it vanished meanwhile
                size += 0 if name in behind else Path(parent, name).stat().st_size
    return size


def _copy(source: str, to: str) -> str:
    """Copy a file; one that vanished meanwhile, a socket or a pipe is none of the notebook's."""
    if Path(source).is_file():
        with suppress(FileNotFoundError):
            shutil.copy2(source, to)
    return to


@contextmanager
def room() -> Iterator[Path]:
    """A folder of ours, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def scratch_copy(path: Path, below: Path | None = None) -> Iterator[Path]:
    """A copy of a notebook's folder, gone afterwards; the notebook's path in it.

    Args:
        path: the notebook.
        below: the folder that the copy is made in; None: one of its own.
    """
    with room() if below is None else nullcontext(below) as folder, _emptied(folder / "copy") as place:
        copy = place / path.resolve().parent.name
        try:
            shutil.copytree(
                path.resolve().parent,
                copy,
                ignore=_left_behind,
                copy_function=_copy,
                symlinks=True,
                ignore_dangling_symlinks=True,
            )
        except shutil.Error as error:
            if any(os.path.lexists(source) for source, *_ in error.args[0]):  # else folders vanished meanwhile
                raise
        yield copy / path.name


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A new folder, gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)  # where a process of the last run still wrote, something is left
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
