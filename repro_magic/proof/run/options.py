"""How a notebook is run and compared: one object, from the command line to the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repro_magic.proof.kernel.numeric_distance import SAME_BITS, Tolerance
from repro_magic.proof.run.project import WHOLE, Scope


@dataclass(frozen=True)
class RunOptions:
    """How a notebook is run and compared.

    Attributes:
        runs: number of fresh kernels that run the notebook and are compared with each other.
        is_recorded: compare one fresh run with the recorded results instead.
        wants_sidecar: also write the first run as the text of a sidecar.
        is_strict: the notebook reproduces only if everything was compared.
        timeout: seconds that one cell may take; None: no limit.
        kernel: name of the kernel; None: the one that the notebook names.
        command: the command that starts the kernel, in place of the one registered for its name.
        variables: environment variables of the kernel; None: those of this process.
        tolerance: which numbers count as close.
        scope: which files are copied.
        shares_cores: other kernels run at the same time, so this one waits for its threads without spinning.
        reads_all: read all values after every cell, whatever the cell can reach.
    """

    runs: int = 2
    is_recorded: bool = False
    wants_sidecar: bool = False
    is_strict: bool = False
    timeout: int | None = None
    kernel: str | None = None
    command: tuple[str, ...] = ()
    variables: Mapping[str, str] | None = None
    tolerance: Tolerance = SAME_BITS
    scope: Scope = WHOLE
    shares_cores: bool = False
    reads_all: bool = False

    @property
    def kernels(self) -> int:
        """Number of fresh kernels that one notebook needs."""
        return 1 if self.is_recorded else self.runs


@dataclass(frozen=True)
class RunRole:
    """What one run of a notebook contributes to the comparison.

    Attributes:
        reference: a temporary folder that the runs share: the first run stores numbers there, and later runs measure
            their distance from them; None: runs report digests only.
        is_first: this run stores the numbers.
        is_last: no other run follows.
        reports_environment: this run reports the kernel's environment at its end.
    """

    reference: Path | None = None
    is_first: bool = True
    is_last: bool = False
    reports_environment: bool = False


DEFAULTS, ALONE = RunOptions(), RunRole()
