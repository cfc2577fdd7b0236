"""Find an op's entries: PyTorch's, and those of plug-ins whose library is imported."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from types import MappingProxyType

from repro_magic.ops.catalogue.entries import CATALOGUE
from repro_magic.ops.catalogue.model import Entry
from repro_magic.runtime import entry_points
from repro_magic.runtime.entry_points import UnexpectedError
from repro_magic.runtime.import_hooks import is_imported

ENTRY_POINTS = "repro_magic.ops"


def plug_ins() -> dict[str, EntryPoint]:
    """Entry points of the group `repro_magic.ops` by the module they wait for."""
    return entry_points.plug_ins(ENTRY_POINTS)


@functools.cache
def entries_of(module: str) -> tuple[Entry, ...]:
    """The entries of a plug-in; empty, after a single warning, if it cannot be loaded or holds other objects.

    Example:
        A plug-in for a library `mylib`, in the `pyproject.toml` of any package::

            [project.entry-points."repro_magic.ops"]
            mylib = "mylib_repro:ENTRIES"

        where `ENTRIES` is a tuple of `Entry`, whose names carry a namespace, e.g. `"mylib::splat"`.
    """
    return entry_points.load(plug_ins()[module], "ops", _entries) or ()


def _entries(loaded: Iterable[object]) -> tuple[Entry, ...]:
    entries = tuple(loaded)
    wrong = sorted({type(entry).__name__ for entry in entries if not isinstance(entry, Entry)})
    if wrong:
        raise UnexpectedError("Entry objects", ", ".join(wrong))
    return tuple(entry for entry in entries if isinstance(entry, Entry))


@functools.cache
def _index(modules: tuple[str, ...]) -> Mapping[str, tuple[Entry, ...]]:
    index: dict[str, tuple[Entry, ...]] = {}
    for entry in (*CATALOGUE, *(entry for module in modules for entry in entries_of(module))):
        for name in entry.names:
            plain = name.removeprefix("aten::")
            index[plain] = (*index.get(plain, ()), entry)
    return MappingProxyType(index)


def lookup() -> Mapping[str, tuple[Entry, ...]]:
    """All entries by op name without overload: bare for aten, else with its namespace.

    Includes the entries of plug-ins whose module is imported.

    Example:
        >>> [entry.op for entry in lookup()["_index_put_impl_"]]
        ['index_put_']
    """
    return _index(tuple(module for module in plug_ins() if is_imported(module)))


def random_ops() -> list[str]:
    """The aten overloads that PyTorch tags as drawing random numbers, e.g. `"bernoulli_.float"`.

    PyTorch must be imported.
    """
    torch = sys.modules["torch"]
    drawing = torch.Tag.nondeterministic_seeded
    overloads = []
    for full_name in torch._C._dispatch_get_all_op_names():  # noqa: SLF001 - dir(torch.ops.aten) holds only what was used
        namespace, _, name = full_name.partition("::")
        packet, _, overload = name.partition(".")
        if namespace != "aten":
            continue
        # Not through torch.ops.aten, which creates a Python object for each of 3,000 overloads: 120 ms instead of 20.
        _, _, tags = torch._C._get_operation_overload(f"aten::{packet}", overload) or (None, None, ())  # noqa: SLF001
        if drawing in tags:
            overloads.append(f"{packet}.{overload or 'default'}")
    return sorted(overloads)
