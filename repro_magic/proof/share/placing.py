"""Write the planned files: all of them, or none on an error."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from repro_magic.exceptions import ShareError
from repro_magic.proof.share.share import File, Plan

# In binder/, repo2docker takes each of these instead of requirements.txt.
_TAKEN_INSTEAD = (
    "Dockerfile",
    "Project.toml",
    "JuliaProject.toml",
    "REQUIRE",
    "default.nix",
    "environment.yml",
    "environment.yaml",
    "Pipfile",
    "Pipfile.lock",
)


def write(plan: Plan, folder: Path, *, force: bool) -> list[Path]:
    """Write what is planned: all files, or none of them.

    Args:
        plan: the files.
        folder: where their paths start; it is made if it is not there.
        force: whether files with other content are overwritten.

    Returns:
        What was written. A file that is there as planned is left alone.

    Raises:
        ShareError: a file is there with other content, or cannot be written; nothing was changed.
    """
    try:
        _check_folder(folder)
        held = {folder / name: _held(folder / name) for name in plan.files}
        todo = {path: file for path, file in _in(folder, plan) if not _is_as_planned(path, file, held[path])}
        there = [str(path) for path, file in todo.items() if held[path] not in {None, file.text.encode()}]
        if there and not force:
            raise ShareError(f"there with other content, and overwritten only with --force: {', '.join(there)}")
        _write_all(todo)
    except OSError as error:
        raise ShareError(f"{folder} cannot be written: {error.strerror or error}; nothing was changed") from error
    return list(todo)


def _in(folder: Path, plan: Plan) -> Iterator[tuple[Path, File]]:
    return ((folder / name, file) for name, file in plan.files.items())


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which repo2docker would not read our files."""
    if (folder / ".binder").exists():
        raise ShareError(f"{folder / '.binder'} is there, and repo2docker takes no binder/ beside it: move it away")
    for path in (folder / "binder" / name for name in _TAKEN_INSTEAD):
        if path.exists():
            raise ShareError(f"{path} is there, and repo2docker takes it instead of requirements.txt: move it away")


def _held(path: Path) -> bytes | None:
    """What a file holds; None if there is none."""
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise ShareError(f"{parent} is no folder, and a file is to go into it: move it away")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ShareError(f"{path} is no ordinary file, and a file is to be there: move it away")
    return path.read_bytes() if path.exists() else None


def _is_as_planned(path: Path, file: File, held: bytes | None) -> bool:
    if held != file.text.encode():
        return False
    return not file.is_executable or os.name == "nt" or bool(path.stat().st_mode & stat.S_IXUSR)


def _write_all(todo: Mapping[Path, File]) -> None:
    # In the order in which they end: files are put back, what is left over goes, then new folders, empty by now.
    with ExitStack() as made, ExitStack() as left_over, ExitStack() as replaced:
        staged, before = {}, {}
        for path, file in todo.items():
            for parent in reversed([one for one in path.parents if not one.exists()]):
                made.callback(_quietly, parent.rmdir)
                parent.mkdir()
            staged[path] = _beside(path, left_over)
            _fill(staged[path], file)
            if path.exists():
                before[path] = _beside(path, left_over)
                shutil.copy2(path, before[path])
        for path, new in staged.items():
            undo = partial(before[path].replace, path) if path in before else path.unlink
            new.replace(path)
            replaced.callback(_quietly, undo)
        replaced.pop_all()
        made.pop_all()


def _beside(path: Path, left_over: ExitStack) -> Path:
    """The name of a temporary file in the folder of another: the one can take the other's place at once."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    left_over.callback(_quietly, temporary.unlink)
    return temporary


def _fill(path: Path, file: File) -> None:
    mode = 0o777 if file.is_executable else 0o666  # less what the user's umask takes away
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as opened:
        opened.write(file.text.encode())
        opened.flush()
        os.fsync(opened.fileno())


def _quietly(clean: Callable[[], object]) -> None:
    """The error that led here is the one to be told."""
    with suppress(OSError):
        clean()
