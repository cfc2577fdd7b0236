"""The `repro-magic` command: each command is a function in a file of its own, and its docstring is its help.

Importing this package is cheap, so that `--help` is fast: a command imports what it needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from repro_magic.cli.env import env
from repro_magic.cli.share import share
from repro_magic.cli.terminal import say
from repro_magic.cli.verify import verify

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for _command in (env, verify, share):
    app.command()(_command)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's form of a callback
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - see the module's docstring

        say(f"repro-magic {version('repro-magic')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Verify that notebooks reproduce, and share them so that others can check."""
