"""`repro-magic share`."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro_magic.cli.exit_codes import WRONG_USAGE, exit_code
from repro_magic.cli.options import AllowShell, Include, Kernel, Root, Timeout
from repro_magic.cli.terminal import check_folder, refused, say
from repro_magic.exceptions import ReproError

if TYPE_CHECKING:
    from repro_magic.proof.verification import Job, JobResult

_Notebook = Annotated[Path, typer.Argument(metavar="NB", help="The notebook to share.")]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Folder to write to. Default: the git repository, or the notebook's own.",
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files that have other content.")]
_Repository = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where others find the notebook, on GitHub or GitLab. Default: git's origin."),
]
_Ref = Annotated[str, typer.Option(metavar="REF", help="Branch, tag or commit that Binder opens.")]


def share(  # noqa: PLR0913 - the command line has as many
    notebook: _Notebook,
    *,
    output: _Output = None,
    force: _Force = False,
    repository: _Repository = None,
    ref: _Ref = "HEAD",
    timeout: Timeout = None,
    kernel: Kernel = None,
    allow_shell: AllowShell = False,
    root: Root = None,
    include: Include = None,
) -> None:
    """Write what others need to run and check a notebook.

    The notebook is run twice first, as verify does, and shared only if it reproduces. Then these files are written, all
    of them or none: the folder binder/ (pinned requirements, with PyTorch's CPU wheels; the Python version; variables
    to set before Python starts), and the sidecar NB.repro.json with the recorded results. The command prints a badge
    that opens the notebook on Binder. Binder has no GPU: results from a GPU cannot be checked there.

    Exit code: 0 shared, 1 the notebook does not reproduce, 2 wrong usage or files exist already, 3 the notebook could
    not be run.
    """
    check_folder(root)
    from repro_magic.proof.run.options import RunOptions  # noqa: PLC0415 - `--help` does not need it
    from repro_magic.proof.run.project import Scope  # noqa: PLC0415
    from repro_magic.proof.verification import Job  # noqa: PLC0415

    scope = Scope(root, tuple(include or ()))
    options = RunOptions(wants_sidecar=True, timeout=timeout, kernel=kernel, scope=scope)
    result = _verified(Job(notebook, options), allow_shell=allow_shell)
    _write(result, output, force=force, repository=repository, ref=ref)


def _verified(job: Job, *, allow_shell: bool) -> JobResult:
    """Run the notebook, and end the command unless it reproduces."""
    from repro_magic.cli import jobs  # noqa: PLC0415 - slow to import

    opened = jobs.opened([job], allow_shell=allow_shell)
    [result] = jobs.run_all(opened, 1, functools.partial(say, err=True))
    if not result.is_run:
        raise typer.Exit(WRONG_USAGE)
    if not result.verdict.runs:
        raise refused(f"{job.path} has no code cells: there is nothing to share", WRONG_USAGE)
    if not result.verdict.reproduces:
        raise refused("nothing was written: share what reproduces", exit_code(result))
    return result


def _write(result: JobResult, output: Path | None, *, force: bool, repository: str | None, ref: str) -> None:
    from repro_magic.proof import environment  # noqa: PLC0415 - slow to import
    from repro_magic.proof.share import placing  # noqa: PLC0415
    from repro_magic.proof.share import share as sharing  # noqa: PLC0415
    from repro_magic.views import share as in_words  # noqa: PLC0415

    file = result.job.read()
    folder = output or sharing.root_of(file.path)
    try:
        recorded = environment.checked(json.loads(result.sidecar)["environment"])
        plan = sharing.plan(file, recorded, result.sidecar, repository=repository, ref=ref, output=output)
        written = placing.write(plan, folder, force=force)
    except ReproError as error:
        raise refused(str(error), WRONG_USAGE) from None
    say(in_words.shared(plan, folder, written).text())
