"""Watches a cell, including the order of sets in its top-level code."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repro_magic.introspection.foreign import Shield
from repro_magic.rng.seeding import hash_seed_of_this_process
from repro_magic.unseeded.set_order import may_use_sets, unordered
from repro_magic.watching import Watch

if TYPE_CHECKING:
    from repro_magic.findings import UnseededFinding


class CellWatch(Watch):
    """Watches a cell."""

    def orders(
        self, cell: ast.Module | None, source: str, names: Mapping[str, Any], file: str | None
    ) -> list[UnseededFinding]:
        """Uses of the order of a set of strings in a cell that ran to its end, if that differs between processes."""
        if cell is None or file is None or hash_seed_of_this_process() != "random":
            return []
        with Shield():  # the cell's names may hold anything
            return unordered(cell, names, file) if may_use_sets(source, names) else []
        return []
