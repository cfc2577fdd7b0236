"""Command-line options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AllowShell = Annotated[bool, typer.Option(help="Run cells that start programs (such as !pip) without asking.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="Also copy these paths, however large, e.g. data/raw. Relative to DIR; repeatable."
    ),
]
Kernel = Annotated[str | None, typer.Option(metavar="NAME", help="Kernel to use instead of the notebook's own.")]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder to copy for each run. Default: the git work tree, or the folder of pyproject.toml."
    ),
]
Timeout = Annotated[int | None, typer.Option(min=1, metavar="S", help="Seconds that one cell may take.")]
