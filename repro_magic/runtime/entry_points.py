"""Plug-ins: entry points that are loaded only when somebody imports the library they are for."""

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
    """What a plug-in offers; None, with a `HookFaultWarning`, where it cannot be loaded or offers something else.

    Args:
        point: the entry point.
        kind: what it is called in warnings, e.g. `"seeder"`.
        read: makes what was loaded usable; raises `UnexpectedError` if it is of the wrong type.
    """
    try:
        return read(point.load())
    except UnexpectedError as error:
        _warn(f"repro_magic ignores the {kind} plug-in {point.value!r}: {error}")
    except Exception as error:  # noqa: BLE001 - somebody else's code; one plug-in must not take the others with it
        _warn(f"repro_magic cannot load the {kind} plug-in {point.value!r}: {error!r}")
    return None


class UnexpectedError(TypeError):
    """A plug-in offers something else than it should.

    Args:
        expected: what it should offer, e.g. `"a Library"`.
        found: the type of what it offers.
    """

    def __init__(self, expected: str, found: str) -> None:
        """Say so."""
        super().__init__(f"expected {expected}, found {found}")


def _warn(message: str) -> None:
    warnings.warn(message, HookFaultWarning, stacklevel=3)
