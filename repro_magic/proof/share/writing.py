"""Files of ours: written at once or not at all, and never over anything else."""

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
        name: what it is called.
        is_one: whether a file with these bytes is of this kind.
    """

    name: str
    is_one: Callable[[bytes], bool]


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _are_verdicts(data: bytes) -> bool:
    found = _json(data)
    return isinstance(found, list) and all(
        isinstance(one, dict) and {"notebook", "outcome"} <= set(one) for one in found
    )


def _is_sidecar(data: bytes) -> bool:
    found = _json(data)
    return isinstance(found, dict) and str(found.get("schema")).startswith("repro-magic.sidecar.")


VERDICTS = Kind("verdicts of repro-magic as JSON", _are_verdicts)
PAGE = Kind("a page of repro-magic", lambda data: b"Made by <code>repro-magic verify</code>" in data)
SIDECAR = Kind("a sidecar of repro-magic", _is_sidecar)


def check(path: Path, kind: Kind) -> None:
    """See that a file can be written, before there is anything to write.

    Raises:
        NotWritableError: it cannot, or something else is there.
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
        held = path.read_bytes()
        if held and not kind.is_one(held):
            raise NotWritableError(f"{path} is there, and is not {kind.name}: move it away, or write to another file")
    if not os.access(folder, os.W_OK):
        raise NotWritableError(f"{path} cannot be written: you may not write to {folder}")


def _is_stream(path: Path) -> bool:
    """Whether it takes what is written without keeping it: a pipe, or `/dev/stdout`."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def write(path: Path, text: str, kind: Kind) -> None:
    """Write a whole file, or leave what is there as it is. A link stays, and what it leads to is written.

    Raises:
        NotWritableError: it cannot be written, or something else is there.
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
    new = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with new.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a crash may leave the new name with nothing in it
        if path.exists():
            new.chmod(stat.S_IMODE(path.stat().st_mode))
        new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink()
