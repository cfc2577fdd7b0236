"""The exit codes of all commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro_magic.proof.verification import JobResult

REPRODUCED, DIFFERS, WRONG_USAGE, NOT_RUN, ELSEWHERE, NOT_COMPARED = 0, 1, 2, 3, 4, 5
# The worst comes last: it decides the exit code of several notebooks.
_SEVERITY = (REPRODUCED, NOT_COMPARED, DIFFERS, WRONG_USAGE, NOT_RUN, ELSEWHERE)


def worst(codes: Iterable[int]) -> int:
    """The exit code of several notebooks.

    Example:
        >>> worst([REPRODUCED, DIFFERS, NOT_COMPARED]) == DIFFERS
        True
    """
    return max(codes, key=_SEVERITY.index)


def exit_code(result: JobResult) -> int:
    """The exit code of one notebook."""
    from repro_magic.proof.verdict import Outcome  # noqa: PLC0415 - `--help` shows no verdict

    verdict = result.verdict
    if not result.is_run:
        return WRONG_USAGE
    if verdict.outcome is Outcome.FAILED:
        return NOT_RUN
    if verdict.outcome is not Outcome.DIFFERS:
        return NOT_COMPARED if verdict.lacks_proof else REPRODUCED
    return ELSEWHERE if verdict.environment else DIFFERS
