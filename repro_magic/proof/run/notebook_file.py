"""A notebook's file: read once and checked, so that what was looked at is what runs."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro_magic.exceptions import NotRunnableError

_LONGEST = 300
_LARGEST = 1 << 30  # no front end opens a larger notebook


@dataclass(frozen=True)
class NotebookFile:
    """A notebook as its file held it at one moment.

    Attributes:
        path: the file.
        data: its bytes.
    """

    path: Path
    data: bytes

    def notebook(self) -> Any:  # noqa: ANN401 - nbformat's node
        """A new object of the notebook, as version 4 of the format: a run writes outputs into it.

        Raises:
            NotRunnableError: the bytes are no notebook.
        """
        return _parsed(self.path, self.data)


def load(path: Path) -> NotebookFile:
    """Read and check a notebook.

    Raises:
        NotRunnableError: there is none at `path`; the message says why.
    """
    file = NotebookFile(path, _bytes(path))
    file.notebook()
    return file


def read(path: Path) -> Any:  # noqa: ANN401 - nbformat's node
    """A notebook of any version of the format, as version 4.

    Raises:
        NotRunnableError: there is none at `path`.
    """
    return NotebookFile(path, _bytes(path)).notebook()


def code_cells(notebook: Any) -> list[Any]:  # noqa: ANN401 - nbformat's node
    """The code cells that hold anything."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def short(error: Exception) -> str:
    """An error's text, cut where it gets too long for a terminal."""
    text = str(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _bytes(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise NotRunnableError(f"{path} is not a notebook: it is not an ordinary file")
            if found.st_size > _LARGEST:
                raise NotRunnableError(f"{path} is not a notebook: it has {found.st_size / 2**30:.1f} GiB")
            return file.read()
    except IsADirectoryError:
        raise NotRunnableError(f"{path} is a folder, not a notebook") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise NotRunnableError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _open(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would hold up the batch


def _parsed(path: Path, data: bytes) -> Any:  # noqa: ANN401 - nbformat's node
    import nbformat  # noqa: PLC0415 - only the command line needs it

    try:
        # Not nbformat.reads: it logs what does not keep to the schema, and most such notebooks run.
        notebook = nbformat.convert(nbformat.reader.reads(data.decode("utf-8-sig")), 4)
        fault = _fault(notebook)
    except UnicodeDecodeError:
        fault = "its text is not UTF-8"
    except Exception as error:  # noqa: BLE001 - nbformat raises of many kinds; each means the same here
        is_told = isinstance(error, nbformat.reader.NotJSONError) or "Unsupported nbformat" in str(error)
        fault = short(error) if is_told else "its JSON does not have the form of one"
    if fault:
        raise NotRunnableError(f"{path} is not a notebook: {fault}")
    return notebook


def _fault(notebook: Any) -> str:  # noqa: ANN401 - nbformat's node
    """What keeps a notebook from being run; empty if nothing does. Metadata that nothing can be made of goes."""
    if not _names_a_kernel(notebook["metadata"].get("kernelspec")):
        notebook["metadata"].pop("kernelspec", None)
    faults = (_fault_of_cell(cell) for cell in notebook["cells"])
    return next((f"cell {number}: {fault}" for number, fault in enumerate(faults, start=1) if fault), "")


def _names_a_kernel(found: object) -> bool:
    return isinstance(found, dict) and isinstance(found.get("name"), str)


def _fault_of_cell(cell: Any) -> str:  # noqa: ANN401 - nbformat's node
    if not isinstance(cell.get("cell_type"), str):
        return "it has no type"
    if not isinstance(cell.get("source"), str) or not _is_text(cell["source"]):
        return "its source is not text"
    tags = cell["metadata"].get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        del cell["metadata"]["tags"]
    outputs = cell.setdefault("outputs", []) if cell["cell_type"] == "code" else []
    is_right = isinstance(outputs, list) and all(map(_is_output, outputs))
    return "" if is_right else "its outputs do not have their form"


_TEXTS = {"stream": ("name", "text"), "error": ("ename", "evalue")}


def _is_output(found: object) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("output_type"), str):
        return False
    texts = (found.get(name) for name in _TEXTS.get(found["output_type"], ()))
    return all(isinstance(text, str) for text in texts) and isinstance(found.get("data", {}), dict)


def _is_text(text: str) -> bool:
    """Whether a kernel can be sent it: half a surrogate pair cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
