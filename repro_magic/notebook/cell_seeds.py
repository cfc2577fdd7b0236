"""`%repro_seed N --per-cell`: each cell starts from a seed of its own, whatever ran before it.

A cell is known by the name that its author gave it, else by its source. The front end's cell id is no part of the key:
VS Code makes it from the notebook's path, nbconvert and papermill send none, JupyterLab invents new ones each time it
opens a notebook older than format 4.5, nbstripout renumbers them; the next person would draw other numbers. What an id
is good for is to tell a cell that is run again from a second one with the same source.
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

# A replay leaves the line that asks for it out.
ASKS_FOR_REPLAY = re.compile(r"^[ \t]*%repro_verify\b.*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Key:
    """What a cell's seed follows from, besides the notebook's.

    Attributes:
        kind: `"name"` or `"source"`.
        value: the name, or the digest of the source.
        occurrence: of cells with the same source, the how manieth, from 0, in the order in which they ran first.
    """

    kind: str
    value: str
    occurrence: int = 0

    def seed(self, seed: int) -> int:
        """The cell's seed, from the notebook's."""
        return cell_seed(seed, f"{self.kind} {self.value}".encode("utf-8", "surrogatepass"), self.occurrence)


@dataclass
class KnownCells:
    """The cells that ran: they tell a cell that runs again from a second cell with the same source or name.

    Attributes:
        by_source: digest of the source -> the cells that have it, in the order in which they ran first.
        by_name: name -> the cell that had it last: its id and source.
    """

    by_source: dict[str, list[object]] = field(default_factory=dict)
    by_name: dict[str, tuple[str, str]] = field(default_factory=dict)


class CellSeeds:
    """Seeds each cell as it begins.

    Attributes:
        seed: the notebook's.
        key: the running cell's.
    """

    def __init__(
        self,
        seed: int,
        name_in: Callable[[str], str | None],
        adopt: Callable[[int], object],
        known: KnownCells | None = None,
    ) -> None:
        """Take the notebook's seed, and what a cell needs.

        Args:
            seed: the notebook's.
            name_in: the name that the line of a deterministic cell gives; None if it gives none.
            adopt: seeds private generators, too.
            known: the cells that ran before; None: no cell did.
        """
        self.seed = seed
        self.key: Key | None = None
        self._name_in, self._adopt = name_in, adopt
        self._known = KnownCells() if known is None else known

    def begin(self, source: str, cell_id: str | None) -> str | None:
        """A cell begins.

        Returns:
            Its name, if another cell has it, too: both draw the same numbers. None if not, or if nobody can tell.
        """
        self.key = self._key(source, cell_id)
        seed = self.key.seed(self.seed)
        seed_quietly(seed)
        self._adopt(seed)
        return self.key.value if self._is_taken(self.key, cell_id, _plain(source)) else None

    def _is_taken(self, key: Key, cell_id: str | None, source: str) -> bool:
        """Whether another cell has the name. The same one may be edited, or have another id when it is opened again."""
        if key.kind != "name" or cell_id is None:
            return False
        owner, was = self._known.by_name.get(key.value, (cell_id, source))
        self._known.by_name[key.value] = cell_id, source
        return owner != cell_id and was != source

    def _key(self, source: str, cell_id: str | None) -> Key:
        line = line_of(source)
        name = name_of(source) or (None if line is None else self._name_in(line))
        if name:
            return Key("name", name)
        from repro_magic.proof.kernel.receipt import digest_of_source  # noqa: PLC0415 - only where cells have seeds

        digest = digest_of_source(_plain(source))
        cells = self._known.by_source.setdefault(digest, [])
        if cell_id is None:  # then a cell that is run again is one more cell
            cells.append(object())
            return Key("source", digest, len(cells) - 1)
        if cell_id not in cells:
            cells.append(cell_id)
        return Key("source", digest, cells.index(cell_id))


def _plain(source: str) -> str:
    """The source without what front ends add or take away: space at the ends of lines, empty lines around."""
    return "\n".join(line.rstrip() for line in ASKS_FOR_REPLAY.sub("", source).strip().splitlines())


def id_of(info: Any, shell: InteractiveShell) -> str | None:  # noqa: ANN401 - IPython's ExecutionInfo
    """The front end's id of the cell that runs; None if it gives none. IPython before 8 does not hand it on."""
    found = getattr(info, "cell_id", None)
    kernel = getattr(shell, "kernel", None)
    if found is None and kernel is not None and not hasattr(info, "cell_id"):
        found = (kernel.get_parent() or {}).get("metadata", {}).get("cellId")
    return found if isinstance(found, str) and found else None
