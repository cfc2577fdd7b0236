"""Write the files that `verify` was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from repro_magic.cli.exit_codes import NOT_RUN, WRONG_USAGE
from repro_magic.cli.terminal import refused, say
from repro_magic.exceptions import NotWritableError
from repro_magic.proof.record.sidecar import sidecar_of
from repro_magic.proof.share import writing
from repro_magic.proof.share.writing import PAGE, SIDECAR, VERDICTS, Kind
from repro_magic.proof.verdict import NotebookVerdict
from repro_magic.proof.verification import JobResult
from repro_magic.views.page import page
from repro_magic.views.verdict import as_data
from repro_magic.views.visible import in_one_line

_STDOUT = "-"


def check_targets(json_to: str | None, html_to: str | None, sidecars_of: Sequence[Path]) -> None:
    """End the command if a file that it is to write could not be written: before the notebooks run, not after."""
    wanted = ((json_to, VERDICTS), (html_to, PAGE))
    targets = [(sidecar_of(path), SIDECAR) for path in sidecars_of]
    targets += [(Path(to), kind) for to, kind in wanted if to is not None and to != _STDOUT]
    try:
        for path, kind in targets:
            writing.check(path, kind)
    except NotWritableError as error:
        raise refused(str(error), WRONG_USAGE) from None
    if json_to is not None and html_to is not None and _same(json_to, html_to):
        raise refused(f"--json and --html both name {json_to}: give two different files", WRONG_USAGE)


def _same(one: str, other: str) -> bool:
    return one == other if _STDOUT in {one, other} else Path(one).resolve() == Path(other).resolve()


def write_verdicts(verdicts: Sequence[NotebookVerdict], json_to: str | None, html_to: str | None) -> None:
    """Write the verdicts as JSON and as a web page, where wanted."""
    if json_to is not None:
        text = json.dumps([as_data(verdict) for verdict in verdicts], indent=1, ensure_ascii=False)
        _write_or_show(text, json_to, VERDICTS)
    if html_to is not None:
        _write_or_show(page(verdicts), html_to, PAGE)


def write_sidecars(results: Sequence[JobResult]) -> None:
    """Write a sidecar beside each notebook that reproduces."""
    for result in results:
        to = sidecar_of(result.job.path)
        if result.verdict.reproduces and result.sidecar:
            _write(result.sidecar, to, SIDECAR)
            say(f"{in_one_line(str(to))} written", err=True)
        else:
            say(f"{in_one_line(str(to))} was not written: the notebook did not reproduce", err=True)


def _write_or_show(text: str, path: str, kind: Kind) -> None:
    if path == _STDOUT:
        say(text)
    else:
        _write(text + "\n", Path(path), kind)


def _write(text: str, path: Path, kind: Kind) -> None:
    try:
        writing.write(path, text, kind)
    except NotWritableError as error:
        raise refused(str(error), NOT_RUN) from None
