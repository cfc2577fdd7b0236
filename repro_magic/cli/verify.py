"""`repro-magic verify`."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from repro_magic.cli.exit_codes import WRONG_USAGE, exit_code, worst
from repro_magic.cli.options import AllowShell, Include, Kernel, Root, Timeout
from repro_magic.cli.terminal import check_folder, refused, say

_TWO = 2  # one run alone proves nothing


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a tolerance; expected a number such as 1e-6")
    return value


_Notebooks = Annotated[
    list[Path], typer.Argument(metavar="NB…", help="Notebooks, or folders with notebooks at any depth.")
]
_Runs = Annotated[
    int | None,
    typer.Option(min=_TWO, show_default=str(_TWO), help="Number of fresh kernels that run each notebook."),
]
_Recorded = Annotated[bool, typer.Option("--recorded", help="Compare one fresh run with the recorded results instead.")]
_Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="Number of notebooks that run at the same time.")]
_Rtol = Annotated[
    float,
    typer.Option(min=0, metavar="X", callback=_finite, help="Accept numbers with a relative difference of at most X."),
]
_Ulp = Annotated[int, typer.Option(min=0, metavar="N", help="Accept numbers within N units in the last place.")]
_Exact = Annotated[bool, typer.Option("--exact", help="Count noise such as addresses and timings as differences.")]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 5 unless everything was compared, accepted or private.")
]
_Sidecar = Annotated[
    bool, typer.Option("--sidecar", help="Write NB.repro.json with the results, for notebooks without outputs.")
]
_JsonTo = Annotated[
    str | None, typer.Option("--json", metavar="PATH", help="Write the verdicts as JSON; - means stdout.")
]
_HtmlTo = Annotated[str | None, typer.Option("--html", metavar="PATH", help="Write the verdicts as a web page.")]


def verify(  # noqa: PLR0913 - the command line has as many
    notebooks: _Notebooks,
    *,
    runs: _Runs = None,
    recorded: _Recorded = False,
    jobs: _Jobs = 1,
    timeout: Timeout = None,
    kernel: Kernel = None,
    rtol: _Rtol = 0.0,
    ulp: _Ulp = 0,
    exact: _Exact = False,
    strict: _Strict = False,
    allow_shell: AllowShell = False,
    root: Root = None,
    include: Include = None,
    sidecar: _Sidecar = False,
    json_to: _JsonTo = None,
    html_to: _HtmlTo = None,
) -> None:
    """Run notebooks in fresh kernels and compare the runs.

    The comparison is cell by cell and bit for bit. It covers the values of all variables (tensors, arrays, models,
    frames …, whether shown or not) and what each cell shows. Addresses, timings, progress bars, temporary paths and
    generated ids are ignored as noise. The notebook need not use repro_magic. It is not changed: each run uses a new
    copy of its project. For a folder, all notebooks in it are verified.

    With --recorded, one fresh run is compared with the results in the notebook (its receipts and outputs) or in its
    sidecar.

    What cannot be compared (an open file, a value that is not recorded …) is listed, and the verdict shows no tick:
    "≈ … not compared: cell 5 `sock` (socket.socket)". The exit code is then 0, or 5 with --strict. To leave out a
    variable on purpose, add the comment # repro: accept NAME to the cell.

    Exit code: 0 reproduced, 1 differs, 2 wrong usage or no notebook, 3 a notebook could not be run to its end or was
    interrupted, 4 differs from the record and so does the environment, 5 not everything was compared (--strict). For
    several notebooks, the first that applies of 4, 3, 2, 1, 5, 0. Runs that agree do not prove that all runs do: races
    show up rarely.
    """
    if exact and (rtol or ulp):
        raise refused("give --exact or a tolerance, not both", WRONG_USAGE)
    if recorded and sidecar:
        raise refused("give --sidecar, which writes a record, or --recorded, which reads it, not both", WRONG_USAGE)
    if recorded and runs is not None:
        raise refused("give --runs, or --recorded, which compares a single run with the record, not both", WRONG_USAGE)
    check_folder(root)
    from repro_magic.cli import files  # noqa: PLC0415 - `--help` does not need it
    from repro_magic.cli.jobs import opened, run_all  # noqa: PLC0415
    from repro_magic.proof.kernel.numeric_distance import Tolerance  # noqa: PLC0415
    from repro_magic.proof.run.options import RunOptions  # noqa: PLC0415
    from repro_magic.proof.run.project import Scope  # noqa: PLC0415
    from repro_magic.proof.verification import Job  # noqa: PLC0415
    from repro_magic.views.verdict import overall  # noqa: PLC0415

    paths = _expanded(notebooks)
    files.check_targets(json_to, html_to, paths if sidecar else [])
    options = RunOptions(
        runs=runs or _TWO,
        is_recorded=recorded,
        wants_sidecar=sidecar,
        is_strict=strict,
        timeout=timeout,
        kernel=kernel,
        tolerance=Tolerance(rtol, ulp, exact),
        scope=Scope(root, tuple(include or ())),
        shares_cores=jobs > 1,
    )
    tell = functools.partial(say, err=json_to == "-")
    results = run_all(opened([Job(path, options) for path in paths], allow_shell=allow_shell), jobs, tell)
    if sidecar:
        files.write_sidecars(results)
    verdicts = [result.verdict for result in results]
    files.write_verdicts(verdicts, json_to, html_to)
    if len(verdicts) > 1:
        tell(overall(verdicts).text)
    raise typer.Exit(worst(map(exit_code, results)))


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """The notebooks that are meant: for a folder, all notebooks in it except hidden copies made by front ends."""
    found: list[Path] = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path's raises where the name is too long
            found.append(path)
            continue
        below = [inside for inside in sorted(path.rglob("*.ipynb")) if not _is_hidden(inside.relative_to(path))]
        if not below:
            raise refused(f"{path} is a folder without notebooks", WRONG_USAGE)
        found += below
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
