"""What watches one cell: all that watches any code, and the order of the sets at its top level."""

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
    """Watches one cell."""

    def orders(
        self, cell: ast.Module | None, source: str, names: Mapping[str, Any], file: str | None
    ) -> list[UnseededFinding]:
        """Where a cell that ran to its end used the order of a set of strings, if that is another in each process."""
        if cell is None or file is None or hash_seed_of_this_process() != "random":
            return []
        with Shield():  # the cell's names may hold anything
            return unordered(cell, names, file) if may_use_sets(source, names) else []
        return []
