"""A notebook's file: read once, checked, and its code cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from repro_magic.exceptions import NotRunnableError

_LONGEST = 300


def read(path: Path) -> Any:  # noqa: ANN401 - nbformat's node
    """A notebook of any version of the format, as version 4.

    Raises:
        NotRunnableError: there is none at `path`.
    """
    import nbformat  # noqa: PLC0415 - only the command line needs it

    if path.is_dir():
        raise NotRunnableError(f"{path} is a folder, not a notebook")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotRunnableError(f"{path} cannot be read: {error}") from None
    try:
        notebook = nbformat.reads(text, as_version=4)
    except Exception as error:  # noqa: BLE001 - nbformat raises of many kinds; each means the same here
        why = f": {short(error)}" if isinstance(error, nbformat.reader.NotJSONError) else ""
        raise NotRunnableError(f"{path} is not a notebook{why or ': its JSON does not have the form of one'}") from None
    if not code_cells(notebook):
        raise NotRunnableError(f"{path} has no code cells")
    return notebook


def code_cells(notebook: Any) -> list[Any]:  # noqa: ANN401 - nbformat's node
    """The code cells that hold anything."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def short(error: Exception) -> str:
    """An error's text, cut where it gets too long for a terminal."""
    text = str(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
