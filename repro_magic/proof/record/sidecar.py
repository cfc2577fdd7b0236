"""The file beside a notebook that records what each cell gave: written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from repro_magic.exceptions import InvalidEnvironmentError, NotRunnableError
from repro_magic.introspection.comments import mentions
from repro_magic.proof import environment as environments
from repro_magic.proof.compare.outputs import shown, without_noise
from repro_magic.proof.compare.privacy import is_private, private_from
from repro_magic.proof.kernel.receipt import digest_of_source
from repro_magic.proof.record.model import Record, RecordedCell
from repro_magic.proof.record.validation import checked
from repro_magic.proof.run.runner import CellRun, Run

SIDECAR = "repro-magic.sidecar.v1"
# A forged document might be longer; a real one never is.
LARGEST_RECEIPT, LARGEST_SIDECAR = 8 << 20, 256 << 20


def sidecar_of(path: Path) -> Path:
    """The file beside a notebook.

    Example:
        >>> sidecar_of(Path("study.ipynb")).name
        'study.repro.json'
    """
    return path.with_name(f"{path.stem}.repro.json")


def sidecar_text(run: Run) -> str:
    """The text of the sidecar that records a run."""
    private = private_from(cell.source for cell in run.cells)
    cells = [_sidecars_cell(cell, names) for cell, names in zip(run.cells, private, strict=True)]
    return json.dumps({"schema": SIDECAR, "environment": run.environment, "cells": cells}, indent=1) + "\n"


def _sidecars_cell(cell: CellRun, private: frozenset[str]) -> dict[str, Any]:
    is_open = not mentions(cell.source, private)  # else the digest of its output may be that of a private value
    values = {name: value for name, value in sorted(cell.changed.items()) if not is_private(name, private)}
    return {
        "source": digest_of_source(cell.source),
        "values": {name: _plain(value) for name, value in values.items()},
        "gone": sorted(cell.gone),
        "shown": {name: digest_of_text(name, text) for name, text in shown(cell.outputs).items() if is_open},
        "displayed": cell.displayed if is_open else None,
    }


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name not in {"distance", "from", "small"}}


def digest_of_text(name: str, text: str) -> str:
    """The digest of what a cell showed under a name, without its noise."""
    return blake3(without_noise(name, text).encode("utf-8", "surrogatepass")).hexdigest()


def read_sidecar(path: Path) -> Record:
    """What a sidecar records.

    Raises:
        NotRunnableError: it cannot be read, or is not valid.
    """
    try:
        if path.stat().st_size > LARGEST_SIDECAR:
            raise NotRunnableError(f"{path} is too large to be a sidecar")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotRunnableError(f"{path} cannot be read: {error}") from None
    checked(content, "sidecar.v1", str(path), LARGEST_SIDECAR)
    cells = [
        RecordedCell(
            cell["source"],
            cell["values"],
            digests=cell["shown"],
            gone=cell["gone"],
            displayed=cell["displayed"],
        )
        for cell in content["cells"]
    ]
    try:
        return Record(cells, environments.checked(content["environment"]), is_sidecar=True)
    except InvalidEnvironmentError as error:
        raise NotRunnableError(f"{path}: {error}") from None
