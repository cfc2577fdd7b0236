"""The session's seed policy: applied by `%repro_seed` and the panel, followed by every later cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import InteractiveShell

from repro_magic.notebook.cell_seeds import CellSeeds, Key, KnownCells, id_of
from repro_magic.rng.seed_policy import SeedPolicy
from repro_magic.rng.seeding import SAME, GeneratorState, generator_states, seed_in_force, seed_quietly
from repro_magic.unseeded.sources import allow_unseeded, refuse_unseeded


@dataclass(frozen=True)
class Seeded:
    """The outcome of a seeding.

    Attributes:
        policy: the policy that was applied.
        seed: this process's seed, derived from the policy's seed.
        generators: all global generators afterwards.
        adopted: variables whose generators were seeded, too; None if the policy does not adopt generators.
    """

    policy: SeedPolicy
    seed: int
    generators: list[GeneratorState]
    adopted: list[str] | None


@dataclass
class _State:
    """State that survives `%reload_ext`, as the generators' seeds do."""

    policy: SeedPolicy | None = None
    seed: int = 0
    cells: KnownCells = field(default_factory=KnownCells)


_states: WeakKeyDictionary[InteractiveShell, _State] = WeakKeyDictionary()


class SeedKeeper:
    """Holds a session's seed policy, and puts it into effect.

    Args:
        shell: the session's shell.
        name_in: returns the name in the line of a deterministic cell, or None.
    """

    def __init__(self, shell: InteractiveShell, name_in: Callable[[str], str | None]) -> None:
        """Prepare; `resume` or `apply` puts a policy into effect."""
        self._shell, self._name_in = shell, name_in
        self._state = _states.setdefault(shell, _State())
        self._cell_seeds: CellSeeds | None = None

    @property
    def policy(self) -> SeedPolicy | None:
        """The policy behind the current seeds; None if neither `%repro_seed` nor the panel set one."""
        policy, present = self._state.policy, seed_in_force()
        if policy is None or policy.per_cell or present in {None, self._state.seed}:
            return policy
        return replace(policy, seed=present, ranks=SAME)  # other code seeded since

    @property
    def key(self) -> Key | None:
        """The key of the running cell's seed; None if cells do not have their own seeds."""
        return None if self._cell_seeds is None else self._cell_seeds.key

    def apply(self, policy: SeedPolicy) -> Seeded:
        """Seed every generator, and follow this policy from here on instead of an earlier one.

        Raises:
            InvalidSeedError: the policy's seed is not a seed; nothing was changed.
            ValueError: the launcher does not give a valid rank; nothing was changed.
        """
        seed = policy.seed_here()
        seed_quietly(seed)
        adopted = self._adopt(seed) if policy.adopt else None
        self._state.policy, self._state.seed, self._state.cells = policy, seed, KnownCells()
        self.resume()
        return Seeded(policy, seed, generator_states(), adopted)

    def reseed(self, seed: int) -> Seeded:
        """Seed every generator with another seed, and keep the rest of the policy.

        Raises:
            InvalidSeedError: it is not a seed; nothing was changed.
        """
        return self.apply(replace(self._state.policy or SeedPolicy(seed), seed=seed))

    def begin(self, info: Any) -> str | None:  # noqa: ANN401 - IPython's ExecutionInfo
        """Seed a cell that starts, if cells have their own seeds.

        Returns:
            The cell's name if another cell has the same name, and so draws the same numbers; else None.
        """
        return None if self._cell_seeds is None else self._cell_seeds.begin(info.raw_cell, id_of(info, self._shell))

    def resume(self) -> None:
        """Put the policy into effect for later cells."""
        self.suspend()
        policy = self._state.policy
        if policy is None:
            return
        if policy.per_cell:
            adopt = self._adopt if policy.adopt else lambda _seed: None
            self._cell_seeds = CellSeeds(self._state.seed, self._name_in, adopt, self._state.cells)
        if policy.strict:
            refuse_unseeded()

    def suspend(self) -> None:
        """Stop following the policy until `resume`."""
        self._cell_seeds = None
        allow_unseeded()

    def _adopt(self, seed: int) -> list[str]:
        """Seed the generators in notebook variables; returns where they were found."""
        from repro_magic.introspection.cell_names import own_names  # noqa: PLC0415 - few notebooks ask for it
        from repro_magic.rng.user_generators import adopt  # noqa: PLC0415

        return adopt(seed, own_names(self._shell))
