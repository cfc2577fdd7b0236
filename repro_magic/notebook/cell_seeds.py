"""`%repro_seed N --per-cell`: each cell starts from its own seed, whatever ran before it.

A cell is identified by the name that its author gave it, or else by its source. The front end's cell id is not part of
the key, because it changes between users: VS Code derives it from the notebook's path, nbconvert and papermill send
none, JupyterLab creates new ids each time it opens a notebook older than format 4.5, and nbstripout renumbers them. The
id only serves to distinguish a cell that runs again from a second cell with the same source.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from repro_magic.introspection.comments import name_of
from repro_magic.notebook.rewriting import line_of
from repro_magic.rng.derive import cell_seed
from repro_magic.rng.seeding import seed_quietly

# Lines that request a replay; the replay leaves them out.
ASKS_FOR_REPLAY = re.compile(r"^[ \t]*%repro_verify\b.*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Key:
    """The key that a cell's seed is derived from, together with the notebook's seed.

    Attributes:
        kind: `"name"` or `"source"`.
        value: the name, or the digest of the source.
        occurrence: the index, from 0, among cells with the same source, in the order in which they first ran.
    """

    kind: str
    value: str
    occurrence: int = 0

    def seed(self, seed: int) -> int:
        """Derive the cell's seed from the notebook's."""
        return cell_seed(seed, f"{self.kind} {self.value}".encode("utf-8", "surrogatepass"), self.occurrence)


@dataclass
class KnownCells:
    """The cells that ran, to distinguish a cell that runs again from a second cell with the same source or name.

    Attributes:
        by_source: digest of the source -> its cells, in the order in which they first ran.
        by_name: name -> id and source of the latest cell with that name.
    """

    by_source: dict[str, list[object]] = field(default_factory=dict)
    by_name: dict[str, tuple[str, str]] = field(default_factory=dict)


class CellSeeds:
    """Seeds each cell when it starts.

    Attributes:
        seed: the notebook's seed.
        key: the running cell's key.
    """

    def __init__(
        self,
        seed: int,
        name_in: Callable[[str], str | None],
        adopt: Callable[[int], object],
        known: KnownCells | None = None,
    ) -> None:
        """Prepare to seed cells.

        Args:
            seed: the notebook's seed.
            name_in: returns the name in the line of a deterministic cell, or None.
            adopt: seeds the user's own generators, too.
            known: the cells that ran before; None if none did.
        """
        self.seed = seed
        self.key: Key | None = None
        self._name_in, self._adopt = name_in, adopt
        self._known = KnownCells() if known is None else known

    def begin(self, source: str, cell_id: str | None) -> str | None:
        """Seed a cell that starts.

        Returns:
            The cell's name if another cell has the same name, and so draws the same numbers; otherwise None.
        """
        self.key = self._key(source, cell_id)
        seed = self.key.seed(self.seed)
        seed_quietly(seed)
        self._adopt(seed)
        return self.key.value if self._is_taken(self.key, cell_id, _plain(source)) else None

    def _is_taken(self, key: Key, cell_id: str | None, source: str) -> bool:
        """Whether another cell has this name: one with another id and another source, as either of them may change."""
        if key.kind != "name" or cell_id is None:
            return False
        owner, previous = self._known.by_name.get(key.value, (cell_id, source))
        self._known.by_name[key.value] = cell_id, source
        return owner != cell_id and previous != source

    def _key(self, source: str, cell_id: str | None) -> Key:
        line = line_of(source)
        name = name_of(source) or (None if line is None else self._name_in(line))
        if name:
            return Key("name", name)
        from repro_magic.proof.kernel.receipt import digest_of_source  # noqa: PLC0415 - only where cells have seeds

        digest = digest_of_source(_plain(source))
        cells = self._known.by_source.setdefault(digest, [])
        if cell_id is None:  # without ids, a cell that runs again counts as a new cell
            cells.append(object())
            return Key("source", digest, len(cells) - 1)
        if cell_id not in cells:
            cells.append(cell_id)
        return Key("source", digest, cells.index(cell_id))


def _plain(source: str) -> str:
    """The source without the white space that front ends change: at the ends of lines, and empty lines around."""
    return "\n".join(line.rstrip() for line in ASKS_FOR_REPLAY.sub("", source).strip().splitlines())


def id_of(info: Any, shell: InteractiveShell) -> str | None:  # noqa: ANN401 - IPython's ExecutionInfo
    """The front end's id of the running cell, or None. Before IPython 8, it is read from the kernel's message."""
    cell_id = getattr(info, "cell_id", None)
    kernel = getattr(shell, "kernel", None)
    if cell_id is None and kernel is not None and not hasattr(info, "cell_id"):
        cell_id = (kernel.get_parent() or {}).get("metadata", {}).get("cellId")
    return cell_id if isinstance(cell_id, str) and cell_id else None
