"""A change of a generator's state: how far it moved and from which seed, computed on demand."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from repro_magic.rng.origins import UNKNOWN, HasSeedState, SeedState, Settled
from repro_magic.rng.state_distance import Measure, StateDistance


@dataclass(eq=False)
class Move:
    """A generator that a cell created, or whose state it changed.

    Attributes:
        generator: library and device, or the path to it: `"torch cuda:0"`, `"private loader.generator"`.
        device: the type of device whose random ops may have drawn from it; empty if it is not PyTorch's.
        before: its state before the cell; None if the cell created it and its first state is unknown.
        after: its state after the cell.
        measure: measures the distance between the two states.
        is_made: whether the cell created it.
        was: the origin of the state before.
        now: the origin of the state after.
    """

    generator: str
    device: str
    before: bytes | None
    after: bytes
    measure: Measure
    is_made: bool = False
    was: HasSeedState = Settled(UNKNOWN)  # noqa: RUF009 - it is immutable
    now: HasSeedState = Settled(UNKNOWN)  # noqa: RUF009 - it is immutable

    @functools.cached_property
    def distance(self) -> StateDistance | None:
        """How far it moved; None if unknown."""
        return self.measure(self.before, self.after)

    @property
    def is_anew(self) -> bool:
        """Whether it was seeded or restored in the cell."""
        return self.distance is not None and self.distance.is_anew and not self.is_made

    @property
    def drew(self) -> bool:
        """Whether it moved: a generator that the cell created may not have drawn."""
        return not self.is_made or self.distance is None or self.distance.count != 0

    @property
    def known(self) -> SeedState:
        """What is known about the seed of the drawn numbers."""
        if self.is_made or self.is_anew:
            return self.now.known
        if self.distance is None and self.was.known.is_seeded != self.now.known.is_seeded:
            return self.now.known  # it was seeded in the cell, or lost its seed
        return self.was.known

    @property
    def seeded(self) -> bool | None:
        """Whether the drawn numbers came from a seed; None if unknown."""
        return self.known.is_seeded
