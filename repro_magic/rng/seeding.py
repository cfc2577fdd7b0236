"""Seed every generator of the process, and report whether the seeds still hold.

Generators belong to the process, so it has a single `_Ledger` of what is known about them.
"""

from __future__ import annotations

import os
import secrets
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from repro_magic.exceptions import HookFaultWarning
from repro_magic.rng.derive import rank, rank_seed
from repro_magic.rng.entropy import listen, note_global_seeded, unlisten
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
    seed_words,
)
from repro_magic.rng.origins import SEED_LOG, UNKNOWN, By, Look, Origin, Seed, SeedState
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported
from repro_magic.runtime.public import public

HASH_SEED_VARIABLE = "PYTHONHASHSEED"
HASH_SEED_AT_START = os.environ.get(HASH_SEED_VARIABLE)


RANKS = SAME, DERIVED = ("same", "derived")


@public
@dataclass(frozen=True)
class GeneratorState:
    """The state of a generator at one moment.

    Attributes:
        library: name of the library that owns it.
        device: where it draws; empty if unknown.
        known: its seed, who set it, and whether it was drawn from since.
        fingerprint: eight hexadecimal digits of its state; empty if the state is not readable.
    """

    library: str
    device: str
    known: SeedState
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """Library and device, e.g. `"torch cuda:0"`."""
        return f"{self.library} {self.device}".strip()

    @property
    def seed(self) -> Seed | None:
        """The seed; None if it was not seeded, or the seed is unknown."""
        return self.known.seed


@dataclass
class _Ledger:
    """What is known about the process's generators.

    Attributes:
        seed: the last seed given to all of them; None before the first.
        hash_seed_before: `PYTHONHASHSEED` before the first seeding.
        seeded: the libraries that were given `seed`.
        looks: the last look at each generator, by key.
    """

    seed: int | None = None
    hash_seed_before: str | None = None
    seeded: set[str] = field(default_factory=set)
    looks: dict[str, Look] = field(default_factory=dict)


_ledger = _Ledger()
_waiting: list[Waiting] = []


def _seed_library(library: Library, seed: int) -> None:
    try:
        library.seed(seed)
    except Exception as error:
        if library in LIBRARIES:
            raise
        # A broken plug-in must not keep the other libraries from being seeded; its seed is shown as unknown.
        warnings.warn(f"repro_magic could not seed {library.name}: {error!r}", HookFaultWarning, stacklevel=3)
        return
    note_global_seeded(library.name)
    _ledger.seeded.add(library.name)
    settled = SeedState(Origin.SEEDED, seed, By.US, drawn=False)
    _ledger.looks.update({generator.key: _look(generator, settled=settled) for generator in library.generators()})


def _look(generator: Generator, settled: SeedState | None = None) -> Look:
    state = generator.to_bytes(generator.get_state())
    last = None if settled else _ledger.looks.get(generator.key)
    if last is not None and last.state == state:
        return last.again()
    ours = () if _ledger.seed is None else (_ledger.seed, _as_tuple(seed_words(_ledger.seed)))
    return Look(
        state,
        generator.distance,
        SEED_LOG,
        reported=generator.seed_in_force(),
        is_unseeded=generator.is_unseeded(),
        is_untouched=generator.is_untouched(),
        birth=generator.birth(),
        before=last,
        ours=ours if generator.library in _ledger.seeded else (),
        settled=settled,
    )


def _as_tuple(words: int | list[int]) -> int | tuple[int, ...]:
    return words if isinstance(words, int) else tuple(words)


def looks() -> dict[str, Look]:
    """Look at every readable global generator; the looks by library and device.

    Example:
        >>> _ = seed_everything(1)
        >>> looks()["python cpu"].known.number
        '1'
    """
    current = {generator.key: _look(generator) for generator in generators()}
    _ledger.looks.update(current)
    return current


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
    """Stop seeding later imports and child processes. Generator states do not change."""
    _stop_waiting()
    unlisten(SEED_LOG)
    if _ledger.seed is not None and os.environ.get(HASH_SEED_VARIABLE) == str(hash_seed(_ledger.seed)):
        _set_hash_seed(_ledger.hash_seed_before)


def resume() -> None:
    """Resume what `suspend` stopped, and log the seeds that other code sets."""
    unlisten(SEED_LOG)
    listen(SEED_LOG)
    if _ledger.seed is not None:
        _set_hash_seed(str(hash_seed(_ledger.seed)))
    _seed_on_import()


def _set_hash_seed(value: str | None) -> None:
    if value is None:
        os.environ.pop(HASH_SEED_VARIABLE, None)
    else:
        os.environ[HASH_SEED_VARIABLE] = value


def _seed_on_import() -> None:
    """Seed libraries that are not imported yet on their import; does nothing if there is no seed."""
    _stop_waiting()
    if _ledger.seed is None:
        return
    absent = [module for module in known_modules() if not is_imported(module)]
    _waiting.extend(when_imported(module, _seed_later(module, _ledger.seed)) for module in absent)


def seed_everything(seed: int, *, ranks: str = SAME) -> list[GeneratorState]:
    """Seed Python, NumPy's global generator, PyTorch on every device, and every library with a plug-in.

    Imports nothing and starts no accelerator: libraries that are not imported yet are seeded right after their import,
    devices when they start. Sets `PYTHONHASHSEED` for child processes; the string hashes of this process cannot change.
    Does not reach generators that your program creates (`numpy.random.default_rng()`, `torch.Generator()`).

    Python uses the whole seed, PyTorch's CPU generator the low 32 bits. NumPy's global generator gets seeds below 2**32
    unchanged, larger ones as `numpy.random.seed([low, high, 1])`: two 32-bit words, and a third word without which it
    would draw the same numbers as Python's generator. `PYTHONHASHSEED` gets the low 32 bits.

    Args:
        seed: an integer, 0 <= seed < 2**64.
        ranks: in a distributed run, `"same"` gives every process the same seed, as model initialization needs;
            `"derived"` gives each process a seed derived from `seed` and its rank, as data and dropout need. The rank
            comes from RANK (torchrun), OMPI_COMM_WORLD_RANK, PMI_RANK or SLURM_PROCID; without a launcher the process
            gets `seed`.

    Returns:
        The state of each generator, including those to be seeded on import.

    Raises:
        InvalidSeedError: `seed` is not an integer in range; nothing was changed.
        ValueError: `ranks` is neither value, or it is `"derived"` and the launcher's variable holds no rank.

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
    """The seed of this process, for a seed common to all ranks.

    Raises:
        InvalidSeedError: `seed` is not a seed.
        ValueError: `ranks` is neither `"same"` nor `"derived"`.

    Example:
        >>> seed_of_this_rank(42, "same")
        42
    """
    checked = checked_seed(seed)
    if ranks not in RANKS:
        raise ValueError(f"ranks must be 'same' or 'derived', not {ranks!r}")
    this_rank = None if ranks == SAME else rank()
    return checked if this_rank is None else rank_seed(checked, this_rank)


def seed_quietly(seed: int) -> None:
    """Do what `seed_everything` does with a checked seed, without reading the new states."""
    if _ledger.seed is None:
        _ledger.hash_seed_before = os.environ.get(HASH_SEED_VARIABLE)
    _set_hash_seed(str(hash_seed(seed)))
    _ledger.seed = seed
    _ledger.seeded.clear()
    for library in libraries():
        _seed_library(library, seed)
    _seed_on_import()


def hash_seed(seed: int) -> int:
    """The value of `PYTHONHASHSEED` for a seed: its low 32 bits, which is the most that Python accepts."""
    return seed & 0xFFFF_FFFF


def hash_seed_of_this_process() -> str:
    """Whether string hashes are random or fixed in this process, as text; decided when Python starts.

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
    """A new 32-bit seed from the operating system; every library accepts it unchanged."""
    return secrets.randbits(32)


def note_load() -> None:
    """Look at the generators when the extension loads: later states are traced back to these."""
    looks()


def seed_in_force() -> int | None:
    """The last seed that `seed_everything` set; None if it was never called."""
    return _ledger.seed


def generator_states() -> list[GeneratorState]:
    """Return every known generator, with what is known about its seed.

    Seeds set by other code are found where possible: PyTorch reports its seed; the states of Python's and NumPy's
    generators are run back for up to 25,000 words, or followed for millions from the last known state.

    Example:
        >>> [state.known.in_words for state in seed_everything(1) if state.library == "python"]
        ['not drawn from since seeding']
    """
    states = []
    seen = looks()
    for library in libraries():
        rows = [_state(generator, seen[generator.key]) for generator in library.generators() if generator.key in seen]
        if not rows and library not in LIBRARIES:  # a plug-in without readable generators
            known = SeedState(Origin.SEEDED, _ledger.seed, By.US) if library.name in _ledger.seeded else UNKNOWN
            rows = [GeneratorState(library.name, "", known)]
        states += rows
    # The library of a plug-in gets no row before its import.
    waited_for = {waiting.module for waiting in _waiting}
    states += [
        GeneratorState(library.name, "", SeedState(Origin.WAITING, _ledger.seed, By.US))
        for library in LIBRARIES
        if library.module in waited_for and not is_imported(library.module)
    ]
    order = {library.name: position for position, library in enumerate(LIBRARIES)}
    return sorted(states, key=lambda state: order.get(state.library, len(order)))


def _state(generator: Generator, look: Look) -> GeneratorState:
    return GeneratorState(generator.library, generator.device, look.known, fingerprint(look.state))


@dataclass(frozen=True)
class Snapshot:
    """The states of all generators at one moment, and what was known about them."""

    states: Mapping[str, tuple[Generator, Any]]
    ledger: _Ledger
    hash_seed: str | None

    @classmethod
    def take(cls) -> Snapshot:
        """Read every generator."""
        return cls(
            states={generator.key: (generator, generator.get_state()) for generator in generators()},
            ledger=replace(_ledger, seeded=set(_ledger.seeded), looks=looks()),
            hash_seed=os.environ.get(HASH_SEED_VARIABLE),
        )

    def restore(self) -> list[str]:
        """Restore every generator, and the ledger.

        Returns:
            The generators that could not be restored because they did not exist, or were not readable, before.
        """
        for generator, state in self.states.values():
            generator.set_state(state)
        _set_hash_seed(self.hash_seed)
        late = [generator.key for generator in generators() if generator.key not in self.states]
        opaque = [library.name for library in libraries() if library not in LIBRARIES and not [*library.generators()]]
        ledger = replace(self.ledger, seeded=set(self.ledger.seeded), looks=dict(self.ledger.looks))
        for attribute in fields(_Ledger):
            setattr(_ledger, attribute.name, getattr(ledger, attribute.name))
        _seed_on_import()
        return late + opaque
