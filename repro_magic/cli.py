"""The command `repro-magic`: each function is a command, and its docstring is the command's help."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from repro_magic.exceptions import ReproError
from repro_magic.proof import environment as environments
from repro_magic.views import environment as in_words

DIFFERS, WRONG_USAGE = 1, 2

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, to be kept or compared.")]
_Diff = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="A B", help="Compare two: JSON files, or notebooks in which %repro_env ran."),
]


@app.callback()
def main() -> None:
    """Reproducible PyTorch notebooks, and the proof of it."""


@app.command()
def env(*, as_json: _AsJson = False, diff: _Diff = None) -> None:
    """Show what results depend on besides the notebook: versions, machine, variables, switches.

    With --diff, the differences that are most likely to change results come first. The exit code is 1 if there are any,
    2 if a file cannot be read.
    """
    if diff is not None:
        found = environments.differences(*map(_read, diff))
        told = [asdict(one) for one in found]
        typer.echo(json.dumps(told, indent=1) if as_json else in_words.differences(found).text())
        raise typer.Exit(DIFFERS if found else 0)
    for module in ("numpy", "torch"):  # as a notebook of this environment would
        importlib.import_module(module)
    here = environments.environment()
    typer.echo(json.dumps(here, indent=1, ensure_ascii=False) if as_json else in_words.environment(here).text())


def _read(path: Path) -> environments.Environment:
    try:
        return environments.read(path)
    except (ReproError, OSError) as error:
        typer.echo(f"repro-magic: {error}", err=True)
        raise typer.Exit(WRONG_USAGE) from None
