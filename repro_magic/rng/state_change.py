"""That a generator moved: how far, and from which kind of seed, worked out when somebody asks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from repro_magic.rng.origins import UNKNOWN, Known, SeedState, Told
from repro_magic.rng.state_distance import Measure, StateDistance


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
        was: knows where its state before came from.
        now: the same of its state after.
    """

    generator: str
    device: str
    before: bytes | None
    after: bytes
    measure: Measure
    is_made: bool = False
    was: Known = Told(UNKNOWN)  # noqa: RUF009 - it is immutable
    now: Known = Told(UNKNOWN)  # noqa: RUF009 - it is immutable

    @functools.cached_property
    def distance(self) -> StateDistance | None:
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
    def known(self) -> SeedState:
        """What is known of the seed that the drawn numbers came from."""
        if self.is_made or self.is_anew:
            return self.now.known
        if self.distance is None and self.was.known.is_seeded != self.now.known.is_seeded:
            return self.now.known  # seeded on the way, or from no seed any more
        return self.was.known

    @property
    def seeded(self) -> bool | None:
        """Whether the numbers that were drawn came from a seed; None: cannot be told."""
        return self.known.is_seeded
