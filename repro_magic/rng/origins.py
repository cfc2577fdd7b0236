"""Where a generator's state comes from: a known seed, the operating system, or unknown.

Many states reveal their seed: PyTorch stores it, and MT19937 can be run back. Other states are compared with earlier
states of the generator and with the seeds given since. A `Look` only records; the origin is computed when it is read.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import FrameType
from typing import Any, Protocol

from repro_magic.rng import state_distance
from repro_magic.rng.entropy import Kind
from repro_magic.rng.state_distance import Measure

Seed = int | float | str | bytes | tuple[int, ...]

# PyTorch may have taken a larger number from the operating system.
_SMALL = 2**32
# c10/core/GeneratorImpl.h: default_rng_seed_val
_TORCH_DEFAULT_SEED = 67280421310721
# How many looks back a state is followed, how many of the last seeds are tried, the longest seed that is kept.
_MOST_LOOKS_BACK, _MOST_SEEDS_TRIED, _LONGEST_SEED = 30, 4, 64
_MOST_LOOKS_KEPT = 64
_LONGEST_TEXT = 40
_SHA512 = 64


class Origin(Enum):
    """Where a state comes from; the value is the text shown."""

    SEEDED = "seeded"
    WAITING = "will be seeded on import"
    UNSEEDED = "unseeded"
    UNKNOWN = "unknown"


class By(Enum):
    """Who seeded a generator; the value is the text shown."""

    US = "repro_magic"
    NOTEBOOK = "the notebook"


@dataclass(frozen=True)
class SeedState:
    """What is known about a generator's seed.

    Attributes:
        origin: see `Origin`.
        seed: the number, string or array that seeded it; None if unknown.
        by: who seeded it; None if it is unseeded, or if that is unknown.
        drawn: whether the generator was drawn from since; None if unknown.
        is_certain: whether the state is proven to come from the seed. Otherwise no later seed was set, but the
            state may have been restored.
    """

    origin: Origin
    seed: Seed | None = None
    by: By | None = None
    drawn: bool | None = None
    is_certain: bool = True

    @property
    def is_seeded(self) -> bool | None:
        """Whether it comes from a seed; None if unknown."""
        return None if self.origin is Origin.UNKNOWN else self.origin is not Origin.UNSEEDED

    @property
    def number(self) -> str:
        """The seed as text, or why there is none.

        Example:
            >>> SeedState(Origin.SEEDED, 42).number, SeedState(Origin.SEEDED).number, UNKNOWN.number
            ('42', 'unknown', 'unknown')
        """
        if self.seed is not None:
            return seed_in_words(self.seed)
        return str(Origin.UNKNOWN.value) if self.is_seeded else self.origin.value

    @property
    def in_words(self) -> str:
        """Who seeded it, and whether it was drawn from since.

        Example:
            >>> SeedState(Origin.SEEDED, 7, By.NOTEBOOK, drawn=True).in_words
            'seeded by the notebook, drawn from since'
        """
        if self.origin is Origin.UNSEEDED:
            return "not drawn from yet" if self.drawn is False else "drawn from"
        if self.origin is not Origin.SEEDED:
            return str(self.origin.value)
        text = _OURS[self.drawn] if self.by is By.US else f"seeded by {By.NOTEBOOK.value}{_THEIRS[self.drawn]}"
        return text if self.is_certain else f"{text}, or restored"


_OURS: dict[bool | None, str] = {
    False: "not drawn from since seeding",
    True: "drawn from since seeding",
    None: "seeded; state not readable",
}
_THEIRS: dict[bool | None, str] = {False: ", not drawn from since", True: ", drawn from since", None: ""}

UNKNOWN, _UNSEEDED = SeedState(Origin.UNKNOWN), SeedState(Origin.UNSEEDED)


def seed_in_words(seed: Seed) -> str:
    """A seed as you would write it, shortened if long.

    Example:
        >>> seed_in_words(42), seed_in_words("abc"), seed_in_words((1, 2))
        ('42', "'abc'", '[1, 2]')
    """
    text = str(list(seed)) if isinstance(seed, tuple) else repr(seed)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


class SeedLog:
    """The seeds given while the hooks were up, and the number of seedings."""

    def __init__(self) -> None:
        """Start empty."""
        self.count = 0
        self.seeds: deque[Seed] = deque(maxlen=_LONGEST_SEED)
        # The origin of a large number that a library reports.
        self.reported: dict[int, SeedState] = {}
        # Recent looks by state: code may restore an earlier state.
        self.looks: dict[bytes, Look] = {}

    def look_with(self, state: bytes) -> Look | None:
        """An earlier look with the same state, if any."""
        return self.looks.get(state)

    def keep(self, look: Look) -> None:
        """Remember a look, in case its state is restored."""
        self.looks.setdefault(look.state, look)
        if len(self.looks) > _MOST_LOOKS_KEPT:
            del self.looks[next(iter(self.looks))]

    def __call__(self, kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - a seed of any form
        """Record a seeding (see `entropy.Listener`), except by our own code."""
        module = _module_outside(frame)
        if kind in _NO_SEEDING or module.startswith("repro_magic.") or module == _TORCH_SEED_MODULE:
            return
        self.count += 1
        seed = plain_seed(value) if kind is Kind.SEEDED else None
        if seed is not None:
            self.seeds.append(seed)


# The process's log.
SEED_LOG = SeedLog()
_HOOKS = {"repro_magic.rng.entropy", "repro_magic.runtime.patching"}


def _module_outside(frame: FrameType) -> str:
    """The module whose code seeded: the innermost outside the hooks."""
    here: FrameType | None = frame
    while here is not None and here.f_globals.get("__name__") in _HOOKS:
        here = here.f_back
    return "" if here is None else str(here.f_globals.get("__name__"))


# It passes a seed on to each device, also the entropy that `torch.seed` took.
_TORCH_SEED_MODULE = "torch.random"
_NO_SEEDING = {Kind.SYSTEM, Kind.SYSTEM_MADE, Kind.URANDOM}


def plain_seed(value: Any) -> Seed | None:  # noqa: ANN401 - a seed of any form
    """A seed as a plain immutable value; None if it is too long or of another type.

    Example:
        >>> plain_seed(3), plain_seed([1, 2]), plain_seed(object())
        (3, (1, 2), None)
    """
    if type(value).__module__ == "numpy":
        value = value.tolist()
    if type(value) in {int, float}:
        return value  # type: ignore[no-any-return]
    if type(value) in {str, bytes, bytearray}:
        return str(value) if type(value) is str else bytes(value)
    if type(value) in {list, tuple} and 0 < len(value) <= _LONGEST_SEED and all(type(word) is int for word in value):
        return tuple(value)
    return None


class HasSeedState(Protocol):
    """An object that knows where a generator's state comes from."""

    @property
    def known(self) -> SeedState:
        """What is known about the seed."""


@dataclass(frozen=True)
class Settled:
    """A seed state that is known in advance."""

    known: SeedState


@dataclass(frozen=True)
class Birth:
    """How a NumPy bit generator was created.

    Attributes:
        state: the state that its seed sequence leads to.
        seed: the seed of the sequence; None if there is none.
        is_unseeded: whether the sequence took operating-system entropy; None if unknown.
    """

    state: bytes
    seed: Seed | None = None
    is_unseeded: bool | None = None


@dataclass(eq=False)
class Look:
    """A generator at one moment: what can be read at once, and on demand where its state comes from.

    Attributes:
        state: its state.
        measure: compares states of its layout.
        seed_log: the seeds given so far.
        reported: the seed that the library itself reports.
        is_unseeded: whether the hooks saw it seeded last from the operating system; None if they saw nothing.
        is_untouched: whether its library was never given a seed; None if unknown.
        birth: how a NumPy generator was created, if it was not seeded since.
        before: the previous look at this generator.
        ours: the last seed that `repro_magic` gave, and the words that NumPy derives from it.
        settled: the seed state, if it is known in advance.
        events: the number of seedings seen so far, of any generator.
    """

    state: bytes
    measure: Measure
    seed_log: SeedLog
    reported: int | None = None
    is_unseeded: bool | None = None
    is_untouched: bool | None = None
    birth: Birth | None = None
    before: Look | None = None
    ours: Sequence[object] = ()
    settled: SeedState | None = None

    def __post_init__(self) -> None:
        """Record what cannot be computed later."""
        self.events = self.seed_log.count
        last = self.before if self.before is not None and self.before.measure is self.measure else None
        self.root: Look = self if last is None else last.root
        self.depth: int = 0 if last is None else last.depth + 1
        self.before = last
        if self.depth > _MOST_LOOKS_BACK:
            self.before, self.depth = self.root, 1
        self._had_events = self.before is not None and self._is_seeded_since(self.before)
        self.presumed = self._presumed(last)
        if self.reported is not None and self.reported >= _SMALL:
            self.seed_log.reported.setdefault(self.reported, self.known)
        self._earlier = self.seed_log.look_with(self.state)
        if self._earlier is None:
            self.seed_log.keep(self)

    def again(self) -> Look:
        """This look, at a later moment with the same state."""
        self.events = self.seed_log.count
        return self

    def _is_seeded_since(self, last: Look) -> bool:
        """Whether any generator was seeded since `last`, as far as the hooks saw it."""
        return last.events != self.events or last.is_unseeded is not self.is_unseeded

    def _presumed(self, last: Look | None) -> bool | None:
        """Whether it is seeded, without analysing the state: this runs after every cell."""
        if self.settled is not None or self.reported is not None:
            return (self.settled or self._by_report_now()).is_seeded
        if self.is_unseeded is not None and (last is None or self._is_seeded_since(last)):
            return not self.is_unseeded
        if last is not None:
            return last.presumed
        if self.birth is not None and self.birth.is_unseeded is not None:
            return not self.birth.is_unseeded
        return False if state_distance.is_as_new(self.measure, self.state) else None

    @functools.cached_property
    def known(self) -> SeedState:
        """What is known about its seed."""
        if self.settled is not None:
            return self.settled
        ways = (
            self._by_report,
            self._by_birth,
            self._by_state,
            self._by_earlier_look,
            self._by_logged_seeds,
            self._by_events,
        )
        origin = next((origin for way in ways if (origin := way()) is not None), UNKNOWN)
        self.presumed, self.before = origin.is_seeded, None
        return origin

    def _seeded(self, seed: Seed | None, *, drawn: bool | None) -> SeedState:
        if seed in self.ours:
            return SeedState(Origin.SEEDED, self.ours[0], By.US, drawn)  # type: ignore[arg-type]
        return SeedState(Origin.SEEDED, seed, By.NOTEBOOK, drawn)

    def _by_report(self) -> SeedState | None:
        if self.reported is None:
            return None
        fresh = state_distance.is_fresh(self.measure, self.state)
        has_moved = True if self.before is not None else None
        return replace(self._by_report_now(), drawn=has_moved if fresh is None else not fresh)

    def _by_report_now(self) -> SeedState:
        """The origin by the reported number alone, which costs nothing."""
        number = self.reported
        if number is None or self._is_small_or_logged(number):
            return self._seeded(number, drawn=None)
        if number in self.seed_log.reported:  # a restored state reports its old number
            return self.seed_log.reported[number]
        if self.is_unseeded is not None and (self.before is None or self._had_events):
            return _UNSEEDED if self.is_unseeded else self._seeded(number, drawn=None)
        return _UNSEEDED if self.before is None and self.is_untouched else UNKNOWN

    def _is_small_or_logged(self, number: int) -> bool:
        logged = {seed % 2**64 for seed in self.seed_log.seeds if type(seed) is int}
        return number < _SMALL or number == _TORCH_DEFAULT_SEED or number in self.ours or number in logged

    def _by_birth(self) -> SeedState | None:
        """By the state that the seed sequence leads to, which MT19937 does not reveal."""
        born = self.birth
        if born is None or born.is_unseeded is None:
            return None
        if born.state != self.state and self.before is not None and not self._had_events:
            return None
        drawn = self._drawn_since(born.state)
        if drawn is None:
            return None
        return replace(_UNSEEDED, drawn=drawn > 0) if born.is_unseeded else self._seeded(born.seed, drawn=drawn > 0)

    def _by_state(self) -> SeedState | None:
        seeding = state_distance.seeding(self.measure, self.state)
        if seeding is None:
            return None
        is_python = self.measure is state_distance.python
        seed = _python_seed(seeding.key) if is_python and isinstance(seeding.key, tuple) else seeding.key
        return self._seeded(seed, drawn=seeding.drawn > 0)

    def _by_earlier_look(self) -> SeedState | None:
        """By an earlier look: drawing does not change the origin."""
        if self._earlier is not None and self._earlier.measure is self.measure:
            return self._earlier.known
        if self.before is None:
            return None
        for earlier in dict.fromkeys((self.before, self.root)):
            if self._drawn_since(earlier.state) is not None:
                return replace(earlier.known, drawn=True)
        if not self._had_events and self.before.known.is_seeded:
            return replace(self.before.known, drawn=True, is_certain=False)
        return None

    def _drawn_since(self, state: bytes) -> int | None:
        """The number of draws that lead from `state` to this state; None if none are known to."""
        distance = self.measure(state, self.state)
        return None if distance is None or distance.is_anew else distance.count

    def _by_logged_seeds(self) -> SeedState | None:
        """By trying the last seeds given: a string, for example, is too long a key to recognise in the state."""
        for seed in list(dict.fromkeys(reversed(self.seed_log.seeds)))[:_MOST_SEEDS_TRIED]:
            key = _key(seed, self.measure)
            first = None if key is None else state_distance.right_after(self.measure, key)
            drawn = None if first is None else self._drawn_since(first)
            if drawn is not None:
                return self._seeded(seed, drawn=drawn > 0)
        return None

    def _by_events(self) -> SeedState | None:
        if self.is_unseeded is not None and (self.before is None or self._had_events):
            return _UNSEEDED if self.is_unseeded else SeedState(Origin.SEEDED, by=By.NOTEBOOK)
        return replace(_UNSEEDED, drawn=False) if state_distance.is_as_new(self.measure, self.state) else None


def is_unseeded_draw(before: Look, after: Look) -> bool:
    """Whether an unseeded generator was drawn from. Cheap for seeded generators.

    Example:
        >>> import random
        >>> from repro_magic.rng.seeding import looks
        >>> random.seed(1)
        >>> before = looks()["python cpu"]
        >>> _ = random.random()
        >>> is_unseeded_draw(before, looks()["python cpu"])
        False
    """
    if before.presumed is not False or after.presumed is not False or before.state == after.state:
        return False
    distance = after.measure(before.state, after.state)
    is_draw = distance is not None and not distance.is_anew and bool(distance.count)
    if is_draw and before.known.is_seeded is False:
        return True
    after.presumed = None  # a restored state, or too many draws to follow: do not check again
    return False


def _python_seed(key: Sequence[int]) -> Seed:
    """The seed that Python turned into this key. Of a string it uses the bytes and their SHA-512.

    Example:
        >>> _python_seed([7, 1]) == 7 + 2**32
        True
    """
    number = sum(word << 32 * place for place, word in enumerate(key))
    whole = number.to_bytes((number.bit_length() + 7) // 8, "big")
    text, checksum = whole[:-_SHA512], whole[-_SHA512:]
    if len(checksum) < _SHA512 or hashlib.sha512(text).digest() != checksum:
        return number
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _key(seed: Seed, measure: Measure) -> int | Sequence[int] | None:
    """The key that a library derives from a seed; None if it does not accept the seed."""
    if measure is state_distance.numpy_mt19937:
        is_small = type(seed) is int and 0 <= seed < _SMALL
        return seed if is_small or isinstance(seed, tuple) else None  # type: ignore[return-value]
    if measure is not state_distance.python or isinstance(seed, tuple):
        return None
    number = _python_number(seed)
    return [number >> 32 * place & 0xFFFF_FFFF for place in range(max(1, (number.bit_length() + 31) // 32))]


def _python_number(seed: int | float | str | bytes) -> int:  # noqa: PYI041 - floats are seeds of another kind
    if isinstance(seed, int):
        return abs(seed)
    if isinstance(seed, float):
        return hash(seed) % 2**64
    text = seed.encode("utf-8", "surrogatepass") if isinstance(seed, str) else seed
    return int.from_bytes(text + hashlib.sha512(text).digest(), "big")
