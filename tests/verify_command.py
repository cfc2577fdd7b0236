"""`repro-magic verify` as a user runs it, and what it says, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
from typer.testing import CliRunner

from repro_magic.cli import app

cli = CliRunner()


def notebook(path: Path, *sources: str, tags: tuple[str, ...] = ()) -> Path:
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def verify(*arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, the first verdict as data, and what a user reads."""
    done = cli.invoke(app, ["verify", "--json", "-", *map(str, arguments)])
    return done.exit_code, (json.loads(done.stdout)[0] if done.stdout.startswith("[") else {}), done.stderr


def parts(verdict: dict[str, Any], number: int) -> dict[str, str]:
    """Values and outputs of a cell: name -> outcome."""
    cell = verdict["cells"][number - 1]
    return {part["name"]: part["outcome"] for part in (*cell["values"], *cell["outputs"])}
