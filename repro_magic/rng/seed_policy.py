"""The options of `%repro_seed` as an object."""

from __future__ import annotations

from dataclasses import dataclass

from repro_magic.rng.seeding import SAME, seed_of_this_rank

_FLAGS = {"adopt": "--adopt", "per_cell": "--per-cell", "strict": "--strict"}


@dataclass(frozen=True)
class SeedPolicy:
    """A notebook's seed, and how it is applied from here on.

    Attributes:
        seed: the seed as the user gave it.
        per_cell: each later cell starts from its own seed, derived from `seed` and the cell.
        adopt: generators reachable from notebook variables are seeded, too.
        strict: creating an unseeded generator raises.
        ranks: in a distributed run, `"same"` gives every process the seed, `"derived"` a seed of its own.
    """

    seed: int
    per_cell: bool = False
    adopt: bool = False
    strict: bool = False
    ranks: str = SAME

    @property
    def line(self) -> str:
        """The line of code that sets this policy.

        Example:
            >>> SeedPolicy(42, per_cell=True, ranks="derived").line
            '%repro_seed 42 --per-cell --ranks derived'
        """
        flags = [flag for name, flag in _FLAGS.items() if getattr(self, name)]
        ranks = [] if self.ranks == SAME else [f"--ranks {self.ranks}"]
        return " ".join([f"%repro_seed {self.seed}", *flags, *ranks])

    @property
    def is_plain(self) -> bool:
        """Whether all options besides the seed have their defaults."""
        return self == SeedPolicy(self.seed)

    def seed_here(self) -> int:
        """The seed of this process.

        Raises:
            InvalidSeedError: `seed` is not a seed.
            ValueError: `ranks` is unknown, or the launcher gives no valid rank.
        """
        return seed_of_this_rank(self.seed, self.ranks)
