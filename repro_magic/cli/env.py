"""`repro-magic env`."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro_magic.cli.exit_codes import DIFFERS, REPRODUCED, WRONG_USAGE
from repro_magic.cli.terminal import refused, say
from repro_magic.exceptions import ReproError

if TYPE_CHECKING:
    from repro_magic.proof.environment import Environment

_AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, to keep or to compare later.")]
_Diff = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="A B", help="Compare two files: JSON files, or notebooks in which %repro_env ran."),
]


def env(*, as_json: _AsJson = False, diff: _Diff = None) -> None:
    """Show what results depend on besides the notebook.

    That is: versions, the machine, environment variables, and PyTorch's switches. With --diff, show how two recorded
    environments differ; the differences that are most likely to change results come first. The exit code is then 0 if
    they are the same, 1 if they differ, 2 if a file cannot be read.
    """
    if diff is not None:
        _show_differences(*diff, as_json=as_json)
    from repro_magic.proof.environment import environment  # noqa: PLC0415 - `--help` does not need it
    from repro_magic.views import environment as in_words  # noqa: PLC0415

    for module in ("numpy", "torch"):  # as a notebook of this environment would
        importlib.import_module(module)
    here = environment()
    say(json.dumps(here, indent=1, ensure_ascii=False) if as_json else in_words.environment(here).text())


def _show_differences(first: Path, second: Path, *, as_json: bool) -> None:
    from repro_magic.proof.environment import differences  # noqa: PLC0415 - slow to import
    from repro_magic.views import environment as in_words  # noqa: PLC0415

    found = differences(_read(first), _read(second))
    as_data = [asdict(difference) for difference in found]
    say(json.dumps(as_data, indent=1) if as_json else in_words.differences(found).text())
    raise typer.Exit(DIFFERS if found else REPRODUCED)


def _read(path: Path) -> Environment:
    from repro_magic.proof import environment  # noqa: PLC0415 - slow to import

    try:
        return environment.read(path)
    except (ReproError, OSError) as error:
        raise refused(str(error), WRONG_USAGE) from None
