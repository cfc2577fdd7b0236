"""Make PyTorch notebooks reproducible, and verify it.

In a notebook::

    %load_ext repro_magic
    %repro_seed 42

and `%%deterministic --seed 42` as the first line of a cell. In a script::

    import repro_magic

    repro_magic.seed_everything(42)
    with repro_magic.deterministic(seed=42) as report:
        train()

Importing this package imports neither torch nor IPython.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from repro_magic.dataloading.options import loader_options, worker_init_fn
    from repro_magic.exceptions import (
        HookFaultWarning,
        InvalidEnvironmentError,
        InvalidSeedError,
        InvalidSettingError,
        InvalidStateError,
        InvalidThreadsError,
        NondeterminismWarning,
        NondeterministicOpError,
        NotRestorableError,
        NotRunnableError,
        NotWritableError,
        PanelError,
        ReproError,
        ReproWarning,
        ShareError,
        UnseededGeneratorError,
        UnwrappedCellError,
    )
    from repro_magic.findings import Direction, Draw, Finding, FindingStatus, OpFinding, Remedy, UnseededFinding
    from repro_magic.notebook.session import panel
    from repro_magic.ops.catalogue.model import Effect, Entry, Hazard, OpCall
    from repro_magic.process_status import ProcessStatus, status
    from repro_magic.proof.digest.digest import digest
    from repro_magic.proof.digest.model import Digest, Gap
    from repro_magic.proof.verdict import CellVerdict, NotebookVerdict, Outcome
    from repro_magic.proof.verification import verify
    from repro_magic.rng.checkpoint import rng_state, set_rng_state
    from repro_magic.rng.derive import task_seed
    from repro_magic.rng.generators import Generator, Library
    from repro_magic.rng.seeding import GeneratorState, seed_everything
    from repro_magic.scope import Report, WatchReport, deterministic, watch

__version__ = "0.1.0"

__all__ = [
    "CellVerdict",
    "Digest",
    "Direction",
    "Draw",
    "Effect",
    "Entry",
    "Finding",
    "FindingStatus",
    "Gap",
    "Generator",
    "GeneratorState",
    "Hazard",
    "HookFaultWarning",
    "InvalidEnvironmentError",
    "InvalidSeedError",
    "InvalidSettingError",
    "InvalidStateError",
    "InvalidThreadsError",
    "Library",
    "NondeterminismWarning",
    "NondeterministicOpError",
    "NotRestorableError",
    "NotRunnableError",
    "NotWritableError",
    "NotebookVerdict",
    "OpCall",
    "OpFinding",
    "Outcome",
    "PanelError",
    "ProcessStatus",
    "Remedy",
    "Report",
    "ReproError",
    "ReproWarning",
    "ShareError",
    "UnseededFinding",
    "UnseededGeneratorError",
    "UnwrappedCellError",
    "WatchReport",
    "__version__",
    "deterministic",
    "digest",
    "load_ipython_extension",
    "loader_options",
    "panel",
    "rng_state",
    "seed_everything",
    "set_rng_state",
    "status",
    "task_seed",
    "unload_ipython_extension",
    "verify",
    "watch",
    "worker_init_fn",
]

_HOMES = {
    "CellVerdict": "repro_magic.proof.verdict",
    "Digest": "repro_magic.proof.digest.model",
    "Direction": "repro_magic.findings",
    "Draw": "repro_magic.findings",
    "Effect": "repro_magic.ops.catalogue.model",
    "Entry": "repro_magic.ops.catalogue.model",
    "Finding": "repro_magic.findings",
    "FindingStatus": "repro_magic.findings",
    "Gap": "repro_magic.proof.digest.model",
    "Generator": "repro_magic.rng.generators",
    "GeneratorState": "repro_magic.rng.seeding",
    "Hazard": "repro_magic.ops.catalogue.model",
    "HookFaultWarning": "repro_magic.exceptions",
    "InvalidEnvironmentError": "repro_magic.exceptions",
    "InvalidSeedError": "repro_magic.exceptions",
    "InvalidSettingError": "repro_magic.exceptions",
    "InvalidStateError": "repro_magic.exceptions",
    "InvalidThreadsError": "repro_magic.exceptions",
    "Library": "repro_magic.rng.generators",
    "NondeterminismWarning": "repro_magic.exceptions",
    "NondeterministicOpError": "repro_magic.exceptions",
    "NotRestorableError": "repro_magic.exceptions",
    "NotRunnableError": "repro_magic.exceptions",
    "NotWritableError": "repro_magic.exceptions",
    "NotebookVerdict": "repro_magic.proof.verdict",
    "OpCall": "repro_magic.ops.catalogue.model",
    "OpFinding": "repro_magic.findings",
    "Outcome": "repro_magic.proof.verdict",
    "PanelError": "repro_magic.exceptions",
    "ProcessStatus": "repro_magic.process_status",
    "Remedy": "repro_magic.findings",
    "Report": "repro_magic.scope",
    "ReproError": "repro_magic.exceptions",
    "ReproWarning": "repro_magic.exceptions",
    "ShareError": "repro_magic.exceptions",
    "UnseededFinding": "repro_magic.findings",
    "UnseededGeneratorError": "repro_magic.exceptions",
    "UnwrappedCellError": "repro_magic.exceptions",
    "WatchReport": "repro_magic.scope",
    "deterministic": "repro_magic.scope",
    "digest": "repro_magic.proof.digest.digest",
    "loader_options": "repro_magic.dataloading.options",
    "panel": "repro_magic.notebook.session",
    "rng_state": "repro_magic.rng.checkpoint",
    "seed_everything": "repro_magic.rng.seeding",
    "set_rng_state": "repro_magic.rng.checkpoint",
    "status": "repro_magic.process_status",
    "task_seed": "repro_magic.rng.derive",
    "verify": "repro_magic.proof.verification",
    "watch": "repro_magic.scope",
    "worker_init_fn": "repro_magic.dataloading.options",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    """Load a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext repro_magic`: install the magics and hooks."""
    from repro_magic.notebook.session import load  # noqa: PLC0415 - IPython is there only now

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext repro_magic`: remove everything that loading installed."""
    from repro_magic.notebook.session import unload  # noqa: PLC0415 - IPython is there only now

    unload(shell)
