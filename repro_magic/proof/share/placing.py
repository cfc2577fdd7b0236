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

# repo2docker ignores requirements.txt if binder/ contains any of these files.
_PREFERRED_BY_BINDER = (
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
    """Write the planned files: all of them, or none on an error.

    Args:
        plan: the files.
        folder: the root of their paths; created if missing.
        force: whether to overwrite files with other content.

    Returns:
        The files that were written. A file that exists as planned is left unchanged.

    Raises:
        ShareError: a file exists with other content, or cannot be written; nothing was changed.
    """
    try:
        _check_folder(folder)
        contents = {folder / name: _current_content(folder / name) for name in plan.files}
        pending = {
            path: file for path, file in _planned_in(folder, plan) if not _is_as_planned(path, file, contents[path])
        }
        conflicts = [str(path) for path, file in pending.items() if contents[path] not in {None, file.text.encode()}]
        if conflicts and not force:
            raise ShareError(f"there with other content, and overwritten only with --force: {', '.join(conflicts)}")
        _write_all(pending)
    except OSError as error:
        raise ShareError(f"{folder} cannot be written: {error.strerror or error}; nothing was changed") from error
    return list(pending)


def _planned_in(folder: Path, plan: Plan) -> Iterator[tuple[Path, File]]:
    return ((folder / name, file) for name, file in plan.files.items())


def _check_folder(folder: Path) -> None:
    """Reject a folder in which repo2docker would not read our files."""
    if (folder / ".binder").exists():
        raise ShareError(f"{folder / '.binder'} is there, and repo2docker takes no binder/ beside it: move it away")
    for path in (folder / "binder" / name for name in _PREFERRED_BY_BINDER):
        if path.exists():
            raise ShareError(f"{path} is there, and repo2docker takes it instead of requirements.txt: move it away")


def _current_content(path: Path) -> bytes | None:
    """The content of a file; None if it does not exist."""
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise ShareError(f"{parent} is no folder, and a file is to go into it: move it away")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ShareError(f"{path} is no ordinary file, and a file is to be there: move it away")
    return path.read_bytes() if path.exists() else None


def _is_as_planned(path: Path, file: File, content: bytes | None) -> bool:
    if content != file.text.encode():
        return False
    return not file.is_executable or os.name == "nt" or bool(path.stat().st_mode & stat.S_IXUSR)


def _write_all(pending: Mapping[Path, File]) -> None:
    # On an error these unwind from the right: restore files, remove temporary files, then remove new folders.
    with ExitStack() as new_folders, ExitStack() as left_over, ExitStack() as replaced:
        staged, before = {}, {}
        for path, file in pending.items():
            for parent in reversed([parent for parent in path.parents if not parent.exists()]):
                new_folders.callback(_quietly, parent.rmdir)
                parent.mkdir()
            staged[path] = _temporary_beside(path, left_over)
            _fill(staged[path], file)
            if path.exists():
                before[path] = _temporary_beside(path, left_over)
                shutil.copy2(path, before[path])
        for path, new in staged.items():
            undo = partial(before[path].replace, path) if path in before else path.unlink
            new.replace(path)
            replaced.callback(_quietly, undo)
        replaced.pop_all()
        new_folders.pop_all()


def _temporary_beside(path: Path, left_over: ExitStack) -> Path:
    """A name for a temporary file in the same folder, so that it can replace the file atomically."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    left_over.callback(_quietly, temporary.unlink)
    return temporary


def _fill(path: Path, file: File) -> None:
    mode = 0o777 if file.is_executable else 0o666  # reduced by the user's umask
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as opened:
        opened.write(file.text.encode())
        opened.flush()
        os.fsync(opened.fileno())


def _quietly(clean: Callable[[], object]) -> None:
    """Clean up without hiding the error that is being reported."""
    with suppress(OSError):
        clean()
