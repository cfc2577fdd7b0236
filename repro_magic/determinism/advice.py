"""Settings that this process can no longer change, and why."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from repro_magic.determinism.switches import CUBLAS_DETERMINISTIC, CUBLAS_VARIABLE
from repro_magic.runtime.import_hooks import is_imported

# Since this version PyTorch no longer rejects cuBLAS calls without the variable in deterministic mode; cuBLAS still
# reads it.
CUBLAS_UNCHECKED_SINCE = (2, 10)


@dataclass(frozen=True)
class Fixed:
    """A setting that this process can no longer change.

    Attributes:
        name: the setting.
        value: its value.
        why: the reason.
        remedy: how to change it.
    """

    name: str
    value: str
    why: str
    remedy: str


def torch_version(torch: Any) -> tuple[int, int]:  # noqa: ANN401 - the module
    """Major and minor version.

    Example:
        >>> import types
        >>> torch_version(types.SimpleNamespace(__version__="2.13.0+cpu"))
        (2, 13)
    """
    major, minor = str(torch.__version__).split(".")[:2]
    return int(major), int(minor)


def cuda_has_started(torch: Any) -> bool:  # noqa: ANN401 - the module
    """Whether CUDA is initialised in this process, so that cuBLAS may have read its environment."""
    return bool(torch.cuda.is_initialized())


def cublas_workspace_is_read() -> str | None:
    """Why the cuBLAS workspace can no longer be changed in this process; None if it can."""
    if not is_imported("torch") or not cuda_has_started(sys.modules["torch"]):
        return None
    return "cuBLAS has already read it: restart the kernel to change it"


def cublas_workspace() -> Fixed | None:
    """The cuBLAS workspace, if CUDA started in this process without a deterministic setting; else None."""
    value = os.environ.get(CUBLAS_VARIABLE)
    if not is_imported("torch") or not cuda_has_started(sys.modules["torch"]) or value in CUBLAS_DETERMINISTIC:
        return None
    checked = torch_version(sys.modules["torch"]) < CUBLAS_UNCHECKED_SINCE
    consequence = (
        "without it, this PyTorch refuses matrix products in deterministic mode"
        if checked
        else "without it, cuBLAS results may differ between streams, and this PyTorch does not check"
    )
    return Fixed(
        name=CUBLAS_VARIABLE,
        value="not set" if value is None else value,
        why=f"CUDA has started, and cuBLAS reads the variable before its first call only; {consequence}",
        remedy=f"restart the kernel and set {CUBLAS_VARIABLE}={CUBLAS_DETERMINISTIC[0]} before the first CUDA call",
    )


def fixed() -> list[Fixed]:
    """All settings that this process can no longer change."""
    return [item for item in (cublas_workspace(),) if item is not None]
