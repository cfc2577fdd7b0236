"""What is recorded of a notebook, read from its outputs or the file beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro_magic.exceptions import InvalidEnvironmentError, NotRunnableError
from repro_magic.proof import environment as environments
from repro_magic.proof.compare.outputs import shown
from repro_magic.proof.environment import Environment
from repro_magic.proof.kernel.receipt import MIME, digest_of_source
from repro_magic.proof.record.model import Record, RecordedCell
from repro_magic.proof.record.sidecar import LARGEST_RECEIPT, read_sidecar, sidecar_of
from repro_magic.proof.record.validation import checked
from repro_magic.proof.run import notebook_file

_ANY_RECEIPT = re.compile(r"application/vnd\.repro-magic\.receipt\.(v\d+)\+json")


def recorded_in(path: Path, notebook: Any = None) -> Record:  # noqa: ANN401 - nbformat's node
    """What is recorded of a notebook: its receipts and outputs; if it has no receipts, the sidecar, if there is one.

    Args:
        path: its file.
        notebook: what the file held; None: it is read.

    Raises:
        NotRunnableError: nothing is recorded, or it cannot be read; the message says what to do.
    """
    notebook = notebook_file.read(path) if notebook is None else notebook
    cells = [_recorded_cell(cell, number) for number, cell in enumerate(notebook_file.code_cells(notebook), start=1)]
    beside = sidecar_of(path)
    if not any(cell.values is not None for cell in cells) and beside.exists():
        return read_sidecar(beside)
    if not any(cell.values is not None or cell.texts for cell in cells):
        raise NotRunnableError(
            f"nothing is recorded of {path}: run it with the extension and save it, or write a sidecar with "
            f"repro-magic verify --sidecar"
        )
    return Record(cells, environment_in(cell.outputs for cell in notebook_file.code_cells(notebook)))


def _recorded_cell(cell: Any, number: int) -> RecordedCell:  # noqa: ANN401 - nbformat's node
    receipt: Mapping[str, Any] | None = None
    texts = _shown(cell, number)
    for output in cell.get("outputs", []):
        for mime, data in output["data"].items() if isinstance(output.get("data"), Mapping) else ():
            version = _ANY_RECEIPT.fullmatch(mime)
            if version:
                if mime != MIME:
                    raise NotRunnableError(
                        f"cell {number} has a receipt of {version[1]}: update repro_magic to read it"
                    )
                receipt = checked(data, "receipt.v1", f"the receipt of cell {number}", LARGEST_RECEIPT)
    return RecordedCell(
        digest_of_source(cell.source) if receipt is None else receipt["source"],
        None if receipt is None else receipt["values"],
        None if receipt is None else receipt["generators"],
        texts,
        displayed=None if receipt is None else receipt["shown"],
        number=cell.get("execution_count"),
    )


def _shown(cell: Any, number: int) -> dict[str, str]:  # noqa: ANN401 - nbformat's node
    try:
        return shown(cell.get("outputs", []))
    except (KeyError, TypeError, AttributeError):
        raise NotRunnableError(
            f"an output of cell {number} does not have the form of one: run the cell again and save the notebook"
        ) from None


def environment_in(outputs_of_cells: Any) -> Environment | None:  # noqa: ANN401 - nbformat's nodes
    """The environment that is recorded in the outputs of some cell; None if there is none.

    Raises:
        NotRunnableError: it is not valid.
    """
    cells = [{"outputs": [dict(output) for output in outputs]} for outputs in outputs_of_cells]
    environment = environments.recorded({"cells": cells})
    try:
        return None if environment is None else environments.checked(environment)
    except InvalidEnvironmentError as error:
        raise NotRunnableError(f"the recorded environment: {error}") from None
