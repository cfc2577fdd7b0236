"""Files that a notebook writes in its folder: which changed since the last look, and what is in them.

It is the kernel that looks: it has the libraries that read the formats, and nothing is imported for it.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from blake3 import blake3

from repro_magic.proof.digest.model import Digest, Gap
from repro_magic.proof.text.noise import normalised

# Folders that tools keep for themselves.
_NO_RESULTS = (
    "__pycache__",
    ".ipynb_checkpoints",
    ".git",
    "node_modules",
    ".venv*",
    "*_cache",
    ".cache",
    ".hypothesis",
)
# Formats that hold the time at which they were written, wherever it stands.
_CLOCKS = ("*.tfevents.*", "*.sqlite", "*.sqlite3", "*.db", "*.xlsx")
_TEXTS = frozenset({".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".html", ".svg", ".xml", ".yaml", ".yml", ".log"})
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_PDF_DATE = re.compile(rb"/(?:CreationDate|ModDate) ?\(D:[^)]*\)")
# A longer text or PDF is compared as it is.
_LONGEST = 8 << 20
_PIECE = 16 << 20
# A folder is looked through after each cell if that takes so few seconds, and else as often as this part of the time.
_QUICK, _SHARE = 0.02, 1 / 20

# The value of a file whose content cannot be shown: only its digest is reported.
_UNREADABLE = object()

_Stamp = tuple[int, int, int]


class Files:
    """The files below a folder, look by look.

    Attributes:
        folder: where the notebook runs.
    """

    def __init__(self, folder: Path) -> None:
        """What is there now is the notebook's own."""
        self.folder = folder
        self._cost, self._looked_at = 0.0, 0.0
        self._stamps = self._look()

    def changed(self, *, is_last: bool) -> tuple[list[str], list[str]]:
        """The paths of files that are new or were written since the last look, and of those that are gone.

        Args:
            is_last: whether this is the last look: then no folder is too large.
        """
        is_due = self._cost <= _QUICK or time.monotonic() - self._looked_at >= self._cost / _SHARE
        if not (is_due or is_last):
            return [], []
        before, self._stamps = self._stamps, self._look()
        written = [path for path, stamp in self._stamps.items() if before.get(path) != stamp]
        return sorted(written), sorted(before.keys() - self._stamps.keys())

    def _look(self) -> dict[str, _Stamp]:
        started = time.monotonic()
        found = dict(_stamps(str(self.folder), ""))
        self._looked_at = time.monotonic()
        self._cost = self._looked_at - started
        return found


def _stamps(folder: str, above: str) -> Iterator[tuple[str, _Stamp]]:
    with suppress(OSError), os.scandir(folder) as entries:  # it vanished, or nobody here may read it
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not any(fnmatch(entry.name, pattern) for pattern in _NO_RESULTS):
                    yield from _stamps(entry.path, f"{above}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                stat = entry.stat(follow_symlinks=False)
                yield f"{above}{entry.name}", (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def content(file: Path, look: Callable[[object], dict[str, Any]]) -> tuple[Digest | dict[str, Any], object]:
    """A file's digest, and its value: the numbers that its format holds, or its text.

    Args:
        file: which.
        look: gives what is told of a value.
    """
    if any(fnmatch(file.name, pattern) for pattern in _CLOCKS):
        return Digest("0" * 64, "file", gaps=(Gap("", "file", "its format holds the time of writing"),)), _UNREADABLE
    try:
        value = _loaded(file)
        told = None if value is None else look(value)
        if told is not None and not told["gaps"]:
            return {**told, "kind": "file"}, value
        text = _text_of(file)
        if isinstance(text, str) and file.suffix.lower() in _TEXTS:
            return Digest(blake3(text.encode()).hexdigest(), "file"), text
        return Digest(_bytes_of(file), "file"), text
    except Exception as error:  # noqa: BLE001 - a library's, of a file that it did not write, or that vanished
        with suppress(OSError):
            return Digest(_hashed(file.open("rb")), "file"), _UNREADABLE
        why = f"reading it failed: {type(error).__name__}"
        return Digest("0" * 64, "file", gaps=(Gap("", "file", why),)), _UNREADABLE


def _loaded(file: Path) -> object:
    """The value that a file holds, if its format is one whose bytes may differ where the value does not; else None."""
    load = _LOADERS.get(file.suffix.lower())
    return None if load is None else load(file)


def _arrays(file: Path) -> object:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    found = numpy.load(file, mmap_mode="r", allow_pickle=False)
    return dict(found) if file.suffix == ".npz" else found


def _tensors(file: Path) -> object:
    torch = sys.modules.get("torch")
    return None if torch is None else torch.load(file, map_location="cpu", weights_only=True)


def _safetensors(file: Path) -> object:
    library = sys.modules.get("safetensors.torch")
    return None if library is None else library.load_file(file)


def _table(file: Path) -> object:
    library = sys.modules.get("pyarrow.parquet")
    return None if library is None else library.read_table(file).to_pandas()


def _members(file: Path) -> object:
    with zipfile.ZipFile(file) as archive:
        return [(member.filename, member.file_size, member.CRC) for member in archive.infolist()]


_LOADERS: dict[str, Callable[[Path], object]] = {
    ".npy": _arrays,
    ".npz": _arrays,
    ".pt": _tensors,
    ".pth": _tensors,
    ".safetensors": _safetensors,
    ".parquet": _table,
    ".zip": _members,
}


def _bytes_of(file: Path) -> str:
    """The digest of a file's bytes, less what means nothing in its format."""
    suffix, is_short = file.suffix.lower(), file.stat().st_size <= _LONGEST
    if suffix == ".gz":
        return _hashed(gzip.open(file))
    if suffix == ".pdf" and is_short:
        return blake3(_PDF_DATE.sub(b"", file.read_bytes())).hexdigest()
    return _hashed(file.open("rb"))


def _text_of(file: Path) -> object:
    """A file's text, to be shown where it differs."""
    if file.stat().st_size > _LONGEST:
        return _UNREADABLE
    try:
        return _without_noise(file)
    except UnicodeDecodeError:
        return _UNREADABLE


def _without_noise(file: Path) -> str:
    suffix = file.suffix.lower()
    text = file.read_text(encoding="utf-8")
    text = normalised(text) if suffix in _TEXTS else text
    return _TIME.sub("[time]", text) if suffix == ".log" else text


def _hashed(stream: Any) -> str:  # noqa: ANN401 - a file, or what unpacks one
    hasher = blake3()
    with stream:
        while piece := stream.read(_PIECE):
            hasher.update(piece)
    return hasher.hexdigest()
