"""That a generator moved: how far, and from which kind of seed, worked out when somebody asks."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from repro_magic.rng.distance import Distance, Measure


@dataclass(eq=False)
class Move:
    """A generator whose state a cell changed, or that it made.

    Attributes:
        generator: library and device, or where it is held: `"torch cuda:0"`, `"private loader.generator"`.
        device: the type of device whose random ops may have drawn from it; empty for none of PyTorch's.
        before: its state before the cell; None if it was not there, or made in the cell and nothing is known of it.
        after: its state after the cell.
        measure: how far apart the two are.
        is_made: whether it was not there before.
        was_seeded: whether its state before came from a seed; None: cannot be told.
        is_seeded: the same of its state now.
    """

    generator: str
    device: str
    before: bytes | None
    after: bytes
    measure: Measure
    is_made: bool = False
    was_seeded: bool | None = None
    is_seeded: bool | None = None

    @functools.cached_property
    def distance(self) -> Distance | None:
        """How far it moved; None: cannot be told."""
        return self.measure(self.before, self.after)

    @property
    def is_anew(self) -> bool:
        """Whether it was seeded, or put back, on the way."""
        return self.distance is not None and self.distance.is_anew and not self.is_made

    @property
    def drew(self) -> bool:
        """Whether it moved at all, which of one that was made in the cell is found out only now."""
        return not self.is_made or self.distance is None or self.distance.count != 0

    @property
    def seeded(self) -> bool | None:
        """Whether the numbers that were drawn came from a seed."""
        if self.is_made or self.is_anew:
            return self.is_seeded
        if self.distance is None and self.was_seeded != self.is_seeded:
            return self.is_seeded  # seeded on the way, or from no seed any more
        return self.was_seeded


def settle(moves: Iterable[Move]) -> None:
    """Complete what each move knows of seeds by what the others know, in the order in which they were made.

    A generator of Python's or NumPy's does not tell its seed. But drawing makes no seeded generator an unseeded one.
    """
    known: dict[str, tuple[bytes, bool | None]] = {}
    for move in moves:
        state, is_seeded = known.get(move.generator, (None, None))
        if move.was_seeded is None and move.before is not None:
            move.was_seeded = is_seeded if state == move.before and is_seeded is not None else _shows(move, move.before)
        if move.is_seeded is None:
            move.is_seeded = _after(move)
        known[move.generator] = (move.after, move.is_seeded)


def _after(move: Move) -> bool | None:
    if move.is_anew or move.is_made:
        return _shows(move, move.after)
    if move.distance is None and not move.was_seeded:  # drawn from for long, or seeded
        return None
    return move.was_seeded


def _shows(move: Move, state: bytes) -> bool | None:
    """Whether a state itself shows that it comes from a seed."""
    found = move.measure(None, state)
    return None if found is None else found.is_seed
