"""Keeps repro_magic's own tensor ops out of profiles that the user records."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from repro_magic.runtime.import_hooks import is_imported


@contextlib.contextmanager
def unprofiled() -> Iterator[None]:
    """Hide the ops that this thread runs inside from the profiler.

    Example:
        >>> with unprofiled():
        ...     pass
    """
    # Without a profiler the switch stays as it is, because other code may have turned it off.
    autograd = sys.modules["torch"]._C._autograd if is_imported("torch") else None  # noqa: SLF001 - there is no public way
    if autograd is None or not autograd._profiler_enabled():  # noqa: SLF001 - PyTorch has no public switch
        yield
        return
    autograd._enable_record_function(False)  # noqa: SLF001, FBT003 - PyTorch has no public switch
    try:
        yield
    finally:
        autograd._enable_record_function(True)  # noqa: SLF001, FBT003 - PyTorch has no public switch
