"""Plug-ins: entry points that are loaded only when the library they extend is imported."""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from repro_magic.exceptions import HookFaultWarning

_T = TypeVar("_T")


@functools.cache
def plug_ins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by their names, which are modules (scanned once: about 15 ms)."""
    return {point.name: point for point in importlib.metadata.entry_points(group=group)}


def load(point: EntryPoint, kind: str, read: Callable[[Any], _T]) -> _T | None:
    """Load a plug-in; None, with a `HookFaultWarning`, if it cannot be loaded or has the wrong type.

    Args:
        point: the entry point.
        kind: the kind of plug-in for warnings, e.g. `"seeder"`.
        read: converts the loaded object; raises `UnexpectedError` if it has the wrong type.
    """
    try:
        return read(point.load())
    except UnexpectedError as error:
        _warn(f"repro_magic ignores the {kind} plug-in {point.value!r}: {error}")
    except Exception as error:  # noqa: BLE001 - a faulty plug-in must not disable the others
        _warn(f"repro_magic cannot load the {kind} plug-in {point.value!r}: {error!r}")
    return None


class UnexpectedError(TypeError):
    """A plug-in's object has the wrong type.

    Args:
        expected: the expected type, e.g. `"a Library"`.
        offered: the type of the object.
    """

    def __init__(self, expected: str, offered: str) -> None:
        """Build the message."""
        super().__init__(f"expected {expected}, found {offered}")


def _warn(message: str) -> None:
    warnings.warn(message, HookFaultWarning, stacklevel=3)
