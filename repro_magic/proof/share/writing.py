"""Write files of ours atomically, and never over files of another kind."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from repro_magic.exceptions import NotWritableError


@dataclass(frozen=True)
class Kind:
    """A kind of file that we write.

    Attributes:
        name: its name in messages.
        matches: whether a file with these bytes is of this kind.
    """

    name: str
    matches: Callable[[bytes], bool]


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _is_verdicts(data: bytes) -> bool:
    content = _json(data)
    return isinstance(content, list) and all(
        isinstance(verdict, dict) and {"notebook", "outcome"} <= set(verdict) for verdict in content
    )


def _is_sidecar(data: bytes) -> bool:
    content = _json(data)
    return isinstance(content, dict) and str(content.get("schema")).startswith("repro-magic.sidecar.")


VERDICTS = Kind("verdicts of repro-magic as JSON", _is_verdicts)
PAGE = Kind("a page of repro-magic", lambda data: b"Made by <code>repro-magic verify</code>" in data)
SIDECAR = Kind("a sidecar of repro-magic", _is_sidecar)


def check(path: Path, kind: Kind) -> None:
    """Check in advance that a file can be written.

    Raises:
        NotWritableError: it cannot, or a file of another kind exists.
    """
    try:
        _check(path, kind)
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror or error}") from None


def _check(path: Path, kind: Kind) -> None:
    if path.suffix == ".ipynb":
        raise NotWritableError(f"{path} is the name of a notebook, and {kind.name} would be written there")
    if path.is_dir():
        raise NotWritableError(f"{path} cannot be written: it is a folder")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise NotWritableError(f"{path} cannot be written: there is no folder {path.parent}")
    if _is_stream(path):
        return
    if path.exists():
        content = path.read_bytes()
        if content and not kind.matches(content):
            raise NotWritableError(f"{path} is there, and is not {kind.name}: move it away, or write to another file")
    if not os.access(folder, os.W_OK):
        raise NotWritableError(f"{path} cannot be written: you may not write to {folder}")


def _is_stream(path: Path) -> bool:
    """Whether a path is not a regular file but, for example, a pipe or `/dev/stdout`."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def write(path: Path, text: str, kind: Kind) -> None:
    """Write a whole file, or change nothing. A link is followed, not replaced.

    Raises:
        NotWritableError: it cannot be written, or a file of another kind exists.
    """
    check(path, kind)
    try:
        if _is_stream(path):
            path.write_text(text, encoding="utf-8")
        else:
            _replace(Path(os.path.realpath(path)), text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror or error}") from None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a crash may leave an empty file under the new name
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
