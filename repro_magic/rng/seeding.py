"""Seed every generator of the process, and know afterwards whether that still holds.

Generators belong to the process, so what is known about them does too: one `_Ledger`, whoever asks.
"""

from __future__ import annotations

import functools
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from repro_magic.exceptions import HookFaultWarning
from repro_magic.importing import Waiting, is_imported, when_imported
from repro_magic.rng.deriving import rank, rank_seed
from repro_magic.rng.entropy import note_global_seeded
from repro_magic.rng.generators import (
    LIBRARIES,
    Generator,
    Library,
    checked_seed,
    fingerprint,
    generators,
    known_modules,
    libraries,
    library_of,
)

HASH_SEED_VARIABLE = "PYTHONHASHSEED"
_SMALL_SEED = 2**32
HASH_SEED_AT_START = os.environ.get(HASH_SEED_VARIABLE)


RANKS = SAME, DERIVED = ("same", "derived")


class Status(Enum):
    """What is known of a generator. The value is the wording."""

    UNTOUCHED = "untouched since seeding"
    DRAWN = "drawn from since seeding"
    RESEEDED = "seeded by other code"
    OPAQUE = "seeded; its state cannot be read"
    MOVED = "drawn from since seeding, or seeded by other code"
    WAITING = "seeded when it is imported"
    UNSEEDED = "cannot be told"
    UNSEEDED_FRESH = "not drawn from yet"
    UNSEEDED_DRAWN = "drawn from"
    UNSEEDED_DRAWN_BEFORE = "drawn from before the extension was loaded"


@dataclass(frozen=True)
class GeneratorState:
    """One generator at one moment.

    Attributes:
        library: name of the library that owns it.
        device: where it draws; empty where the library does not tell.
        seed: the seed given through `repro_magic`, or the one that the library reports after other code seeded it.
        status: see `Status`.
        fingerprint: eight hexadecimal digits of its state; empty where it cannot be read.
    """

    library: str
    device: str
    seed: int | None
    status: Status
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """Library and device, e.g. `"torch cuda:0"`."""
        return f"{self.library} {self.device}".strip()


class _Reading:
    """One look at a generator."""

    def __init__(self, generator: Generator) -> None:
        self._state = generator.get_state()
        self.seed_in_force = generator.seed_in_force()
        self._to_bytes = generator.to_bytes
        self._is_fresh = generator.is_fresh
        self._follows = generator.follows

    @functools.cached_property
    def fingerprint(self) -> str:
        """The state in short. Worked out when asked for: most seedings are never looked at."""
        return fingerprint(self._to_bytes(self._state))

    @functools.cached_property
    def fresh(self) -> bool | None:
        """Whether nothing was drawn at that moment. Found out when asked for: NumPy's answer takes 0.4 ms."""
        return self._is_fresh(self._state)

    def follows(self, seed: int | None) -> bool:
        """Whether this state is known to come from drawing after seeding with `seed`."""
        return seed is not None and self._follows(seed, self._state) is True


@dataclass
class _Ledger:
    """What is known of the process's generators.

    Attributes:
        seed: the last seed that all of them were given, None before.
        hash_seed_before: `PYTHONHASHSEED` before the first seeding.
        seeded: by library, what its generators looked like right after they were seeded.
        at_load: by generator, what it looked like when the extension was loaded, and nobody had seeded it.
    """

    seed: int | None = None
    hash_seed_before: str | None = None
    seeded: dict[str, dict[str, _Reading]] = field(default_factory=dict)
    at_load: dict[str, _Reading] = field(default_factory=dict)


_ledger = _Ledger()
_waiting: list[Waiting] = []


def _seed_library(library: Library, seed: int) -> None:
    try:
        library.seed(seed)
    except Exception as error:
        if library in LIBRARIES:
            raise
        # A plug-in's fault must not keep the others from their seed; the tables go on calling its library unseeded.
        warnings.warn(f"repro_magic could not seed {library.name}: {error!r}", HookFaultWarning, stacklevel=3)
        return
    note_global_seeded(library.name)
    _ledger.seeded[library.name] = {generator.key: _Reading(generator) for generator in library.generators()}


def _seed_later(module: str, seed: int) -> Callable[[], None]:
    def seed_now() -> None:
        library = library_of(module)
        if library is not None:
            _seed_library(library, seed)

    return seed_now


def _stop_waiting() -> None:
    while _waiting:
        _waiting.pop().cancel()


def suspend() -> None:
    """Let later imports and child processes alone from here on. Seeded generators stay as they are."""
    _stop_waiting()
    if _ledger.seed is not None and os.environ.get(HASH_SEED_VARIABLE) == str(hash_seed(_ledger.seed)):
        _set_hash_seed(_ledger.hash_seed_before)


def resume() -> None:
    """Take up again what `suspend` stopped; does nothing when no seed was given."""
    if _ledger.seed is not None:
        _set_hash_seed(str(hash_seed(_ledger.seed)))
    _seed_on_import()


def _set_hash_seed(value: str | None) -> None:
    if value is None:
        os.environ.pop(HASH_SEED_VARIABLE, None)
    else:
        os.environ[HASH_SEED_VARIABLE] = value


def _seed_on_import() -> None:
    """Wait for the libraries that the last seed has not reached yet; does nothing when no seed was given."""
    _stop_waiting()
    if _ledger.seed is None:
        return
    absent = [module for module in known_modules() if not is_imported(module)]
    _waiting.extend(when_imported(module, _seed_later(module, _ledger.seed)) for module in absent)


def seed_everything(seed: int, *, ranks: str = SAME) -> list[GeneratorState]:
    """Seed Python, NumPy's global generator, PyTorch on every device, and each library that has a plug-in.

    A library that is not imported yet is seeded right after it is: nothing is imported for it. The same holds for an
    accelerator that has not started. `PYTHONHASHSEED` is set for child processes; this process's own hashes were fixed
    when it started. Generators that the program made itself (`numpy.random.default_rng()`, `torch.Generator()`) are
    not reached.

    Python takes the whole seed, PyTorch's generator on the CPU the low 32 bits of it. NumPy's global generator takes it
    as it is below 2**32, and as two 32-bit words and a 1 above (`numpy.random.seed([low, high, 1])`: Python makes the
    same two words of it, and both would draw the same numbers); `PYTHONHASHSEED` gets the low 32 bits.

    Args:
        seed: an integer, 0 <= seed < 2**64.
        ranks: in a distributed run, `"same"` gives every process the seed itself, as the initialisation of a model
            needs it; `"derived"` gives each one of its own, from the seed and its rank, as data and dropout need it.
            The rank is what the launcher tells in RANK (torchrun), OMPI_COMM_WORLD_RANK, PMI_RANK or SLURM_PROCID;
            a process without a launcher gets the seed itself.

    Returns:
        The generators as they are now, one row for each, those that wait for an import included.

    Raises:
        InvalidSeedError: `seed` is no such integer; then nothing was changed.
        ValueError: `ranks` is neither of the two; or it is `"derived"`, and the launcher's variable holds no number.

    Source:
        https://docs.pytorch.org/docs/stable/notes/randomness.html

    Example:
        >>> import random
        >>> _ = seed_everything(42)
        >>> random.random()
        0.6394267984578837
    """
    seed_quietly(seed_of_this_rank(seed, ranks))
    return generator_states()


def seed_of_this_rank(seed: object, ranks: str) -> int:
    """What a seed means in this process.

    Raises:
        InvalidSeedError: it is no seed.
        ValueError: `ranks` is neither `"same"` nor `"derived"`.

    Example:
        >>> seed_of_this_rank(42, "same")
        42
    """
    checked = checked_seed(seed)
    if ranks not in RANKS:
        raise ValueError(f"ranks is 'same' or 'derived', not {ranks!r}")
    own = None if ranks == SAME else rank()
    return checked if own is None else rank_seed(checked, own)


def seed_quietly(seed: int) -> None:
    """Do what `seed_everything` does to a seed that was checked, without looking at the outcome."""
    if _ledger.seed is None:
        _ledger.hash_seed_before = os.environ.get(HASH_SEED_VARIABLE)
    _set_hash_seed(str(hash_seed(seed)))
    _ledger.seed = seed
    _ledger.seeded.clear()
    for library in libraries():
        _seed_library(library, seed)
    _seed_on_import()


def hash_seed(seed: int) -> int:
    """The value of `PYTHONHASHSEED` for a seed: its low 32 bits, which is all that Python takes."""
    return seed & 0xFFFF_FFFF


def hash_seed_of_this_process() -> str:
    """In words, what the string hashes of this process start from. It cannot be changed after the start.

    Example:
        >>> hash_seed_of_this_process() in ("fixed to 0", "random") or hash_seed_of_this_process().startswith("fixed")
        True
    """
    if not sys.flags.hash_randomization:
        return "fixed to 0"
    if HASH_SEED_AT_START in (None, "", "random") or sys.flags.ignore_environment:
        return "random"
    return f"fixed to {HASH_SEED_AT_START}"


def new_seed() -> int:
    """A fresh seed from the operating system, to be written down. It has 32 bits: every library takes it as it is."""
    return secrets.randbits(32)


def note_load() -> None:
    """Remember what the generators look like now, so that draws made before can be told from later ones."""
    if _ledger.seed is None:
        _ledger.at_load = {generator.key: _Reading(generator) for generator in generators()}


def seed_in_force() -> int | None:
    """The seed that `seed_everything` gave last, None if it was never called."""
    return _ledger.seed


def unseeded() -> set[str]:
    """The generators, by library and device, whose state came from the operating system, as far as can be told.

    Quick, unlike `generator_states`: nothing is looked for among the states that a seed leads to.

    Example:
        >>> _ = seed_everything(1)
        >>> unseeded()
        set()
    """
    return {
        generator.key
        for library in libraries()
        if library.name not in _ledger.seeded
        for generator in library.generators()
        if _unseeded_status(_Reading(generator), _ledger.at_load.get(generator.key)) is not Status.RESEEDED
    }


def seeded() -> dict[str, bool | None]:
    """Of each global generator, by library and device, whether its state comes from a seed; None: cannot be told.

    Quick: the states themselves are not looked at. A seed that PyTorch drew itself has more bits than people write
    down; another large one may be either.

    Example:
        >>> _ = seed_everything(1)
        >>> seeded()["python cpu"]
        True
    """
    return {
        generator.key: (library.name in _ledger.seeded and not generator.is_unseeded())
        or _is_seeded_by_others(generator)
        for library in libraries()
        for generator in library.generators()
    }


def _is_seeded_by_others(generator: Generator) -> bool | None:
    unseeded = generator.is_unseeded()
    seed = generator.seed_in_force()
    if seed is None or unseeded is not None:
        return None if unseeded is None else not unseeded
    first = _ledger.at_load.get(generator.key)
    return True if seed < _SMALL_SEED else False if first is None or first.seed_in_force == seed else None


def generator_states() -> list[GeneratorState]:
    """Every generator that is known at this moment, with what is known of it.

    "Unseeded" means: not through `repro_magic`. A generator that other code seeded is told as such where that can be
    seen: PyTorch reports its seed; Python and NumPy show it until the first draw. After that, their state is looked for
    among those that the seed leads to, as far as 124,800 words; what is not found there may be either.

    Example:
        >>> [state.status.value for state in seed_everything(1) if state.library == "python"]
        ['untouched since seeding']
    """
    states = []
    for library in libraries():
        found = [_state(library, generator) for generator in library.generators()]
        if not found and library not in LIBRARIES:  # a plug-in without readable generators
            seeded = library.name in _ledger.seeded
            status = Status.OPAQUE if seeded else Status.UNSEEDED
            found = [GeneratorState(library.name, "", _ledger.seed if seeded else None, status)]
        states += found
    # A plug-in's library that nobody imported is not worth a row.
    waited_for = {waiting.module for waiting in _waiting}
    states += [
        GeneratorState(library.name, "", _ledger.seed, Status.WAITING)
        for library in LIBRARIES
        if library.module in waited_for and not is_imported(library.module)
    ]
    order = {library.name: position for position, library in enumerate(LIBRARIES)}
    return sorted(states, key=lambda state: order.get(state.library, len(order)))


def _state(library: Library, generator: Generator) -> GeneratorState:
    now = _Reading(generator)
    seeded = _ledger.seeded.get(library.name)
    if seeded is None:
        status = _unseeded_status(now, _ledger.at_load.get(generator.key))
    else:
        status = _seeded_status(now, seeded.get(generator.key), _ledger.seed)
    ours = None if seeded is None else _ledger.seed
    seed = now.seed_in_force if status is Status.RESEEDED else ours
    return GeneratorState(generator.library, generator.device, seed, status, now.fingerprint)


def _seeded_status(now: _Reading, then: _Reading | None, seed: int | None) -> Status:
    if then is None:  # its device started after the seeding, with the seed that waited for it
        if now.seed_in_force not in (None, seed):
            return Status.RESEEDED
        return Status.UNTOUCHED if now.fresh else Status.DRAWN
    if now.fingerprint == then.fingerprint:
        return Status.UNTOUCHED
    if now.seed_in_force != then.seed_in_force or now.fresh:
        return Status.RESEEDED
    tells_its_seed = now.seed_in_force is not None
    return Status.DRAWN if tells_its_seed or now.follows(seed) else Status.MOVED


def _unseeded_status(now: _Reading, at_load: _Reading | None) -> Status:
    if now.fresh is None:
        return Status.UNSEEDED
    if at_load is not None and now.seed_in_force != at_load.seed_in_force:
        return Status.RESEEDED
    if now.fresh:
        same = at_load is None or now.fingerprint == at_load.fingerprint
        return Status.UNSEEDED_FRESH if same else Status.RESEEDED
    if at_load is not None and at_load.fresh is False:
        return Status.UNSEEDED_DRAWN_BEFORE
    return Status.UNSEEDED_DRAWN


@dataclass(frozen=True)
class Snapshot:
    """The states of all generators at one moment, and what was known of them."""

    states: Mapping[str, tuple[Generator, Any]]
    ledger: _Ledger
    hash_seed: str | None

    @classmethod
    def take(cls) -> Snapshot:
        """Read every generator."""
        return cls(
            states={generator.key: (generator, generator.get_state()) for generator in generators()},
            ledger=replace(_ledger, seeded=dict(_ledger.seeded), at_load=dict(_ledger.at_load)),
            hash_seed=os.environ.get(HASH_SEED_VARIABLE),
        )

    def restore(self) -> list[str]:
        """Put every generator back, and the record of it.

        Returns:
            The generators that could not be put back because they did not exist, or could not be read, before.
        """
        for generator, state in self.states.values():
            generator.set_state(state)
        _set_hash_seed(self.hash_seed)
        late = [generator.key for generator in generators() if generator.key not in self.states]
        opaque = [library.name for library in libraries() if library not in LIBRARIES and not [*library.generators()]]
        for recorded in fields(_Ledger):
            setattr(_ledger, recorded.name, getattr(self.ledger, recorded.name))
        _seed_on_import()
        return late + opaque
