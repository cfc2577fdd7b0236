"""Where a generator's state comes from: a seed and its number, the operating system, or nobody can tell.

A state often tells by itself: PyTorch keeps its seed in it, and MT19937 can be run back to its seeding. Where it does
not, it is compared with the state before, and with the seeds that were given meanwhile. Looking only notes what is
there; what that means is found out when somebody asks.
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

# A larger number that PyTorch reports may be one that it took from the operating system.
_SMALL = 2**32
# c10/core/GeneratorImpl.h: default_rng_seed_val
_TORCHS_OWN = 67280421310721
# So many looks back a state is followed, and so many of the seeds given last are tried.
_MOST_BEFORE, _MOST_GIVEN, _LONGEST_SEED = 30, 4, 64
_MOST_KEPT = 64
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


class Given:
    """The seeds that were given while the hooks were up, and how many times generators were seeded at all."""

    def __init__(self) -> None:
        """No seed was given."""
        self.count = 0
        self.seeds: deque[Seed] = deque(maxlen=_LONGEST_SEED)
        # What a large number means that a library reports.
        self.reported: dict[int, SeedState] = {}
        # The last states that were looked at: one of them may be put back.
        self.looks: dict[bytes, Look] = {}

    def look_with(self, state: bytes) -> Look | None:
        """The look at a state that was there before."""
        return self.looks.get(state)

    def keep(self, look: Look) -> None:
        """Keep a look for when its state is put back."""
        self.looks.setdefault(look.state, look)
        if len(self.looks) > _MOST_KEPT:
            del self.looks[next(iter(self.looks))]

    def __call__(self, kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - a seed of any form
        """Take note; see `entropy.Listener`. What our own code seeds is known already."""
        module = _module_outside(frame)
        if kind in _NO_SEEDING or module.startswith("repro_magic.") or module == _TORCHS:
            return
        self.count += 1
        seed = plain_seed(value) if kind is Kind.SEEDED else None
        if seed is not None:
            self.seeds.append(seed)


# What was given in this process.
GIVEN = Given()
_HOOKS = {"repro_magic.rng.entropy", "repro_magic.runtime.patching"}


def _module_outside(frame: FrameType) -> str:
    """The module whose code seeded, which is outside of what watches for that."""
    here: FrameType | None = frame
    while here is not None and here.f_globals.get("__name__") in _HOOKS:
        here = here.f_back
    return "" if here is None else str(here.f_globals.get("__name__"))


# It hands a seed on to each device: `torch.seed` the one that it took from the operating system, too.
_TORCHS = "torch.random"
_NO_SEEDING = {Kind.SYSTEM, Kind.SYSTEM_MADE, Kind.URANDOM}


def plain_seed(value: Any) -> Seed | None:  # noqa: ANN401 - a seed of any form
    """A seed without the object that held it; None for what is too long, or of a kind that cannot be kept.

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
    if type(value) in {list, tuple} and 0 < len(value) <= _LONGEST_SEED and all(type(one) is int for one in value):
        return tuple(value)
    return None


class Known(Protocol):
    """Whatever knows where a generator's state comes from."""

    @property
    def known(self) -> SeedState:
        """What is known."""


@dataclass(frozen=True)
class Told:
    """What was told, and need not be found out."""

    known: SeedState


@dataclass(frozen=True)
class Birth:
    """The seed sequence that one of NumPy's bit generators was made with.

    Attributes:
        state: the generator's state right after that.
        seed: what the sequence was given, if somebody wrote it down.
        is_unseeded: whether the operating system gave it; None: cannot be told.
    """

    state: bytes
    seed: Seed | None = None
    is_unseeded: bool | None = None


@dataclass(eq=False)
class Look:
    """One generator at one moment: what can be read off at once, and what it means.

    Attributes:
        state: its state.
        measure: how states of its layout are compared.
        reported: the seed that the library itself reports.
        is_unseeded: what the hooks know: whether it was last seeded from the operating system; None: they do not.
        is_untouched: whether its library was never given a seed; None: cannot be told.
        birth: what NumPy's generator was made with, if nobody seeded it since.
        before: the look before this one.
        ours: the last seed that `repro_magic` gave, and the words that NumPy gets of it.
        events: how many seedings had been seen by now, of any generator.
    """

    state: bytes
    measure: Measure
    given: Given
    reported: int | None = None
    is_unseeded: bool | None = None
    is_untouched: bool | None = None
    birth: Birth | None = None
    before: Look | None = None
    ours: Sequence[object] = ()
    told: SeedState | None = None

    def __post_init__(self) -> None:
        """Note what cannot be found out later."""
        self.events = self.given.count
        last = self.before if self.before is not None and self.before.measure is self.measure else None
        self.root: Look = self if last is None else last.root
        self.depth: int = 0 if last is None else last.depth + 1
        self.before = last
        if self.depth > _MOST_BEFORE:
            self.before, self.depth = self.root, 1
        self._had_events = self.before is not None and self._is_seeded_since(self.before)
        self.presumed = self._presumed(last)
        if self.reported is not None and self.reported >= _SMALL:
            self.given.reported.setdefault(self.reported, self.known)
        self._earlier = self.given.look_with(self.state)
        if self._earlier is None:
            self.given.keep(self)

    def again(self) -> Look:
        """The same state at a later moment."""
        self.events = self.given.count
        return self

    def _is_seeded_since(self, last: Look) -> bool:
        """Whether any generator was seeded since another look, as far as the hooks saw it."""
        return last.events != self.events or last.is_unseeded is not self.is_unseeded

    def _presumed(self, last: Look | None) -> bool | None:
        """Whether it is seeded, as far as that is seen without looking at the state: this is done after every cell."""
        if self.told is not None or self.reported is not None:
            return (self.told or self._by_report_now()).is_seeded
        if self.is_unseeded is not None and (last is None or self._is_seeded_since(last)):
            return not self.is_unseeded
        if last is not None:
            return last.presumed
        if self.birth is not None and self.birth.is_unseeded is not None:
            return not self.birth.is_unseeded
        return False if state_distance.is_as_new(self.measure, self.state) else None

    @functools.cached_property
    def known(self) -> SeedState:
        """What is known of its seed."""
        if self.told is not None:
            return self.told
        ways = (self._by_report, self._by_birth, self._by_state, self._by_move, self._by_given, self._by_events)
        found = next((found for way in ways if (found := way()) is not None), UNKNOWN)
        self.presumed, self.before = found.is_seeded, None
        return found

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
        """What the reported number alone tells, so that it costs nothing to ask."""
        number = self.reported
        if number is None or self._is_small_or_given(number):
            return self._seeded(number, drawn=None)
        if number in self.given.reported:  # a state that was put back has its number again
            return self.given.reported[number]
        if self.is_unseeded is not None and (self.before is None or self._had_events):
            return _UNSEEDED if self.is_unseeded else self._seeded(number, drawn=None)
        return _UNSEEDED if self.before is None and self.is_untouched else UNKNOWN

    def _is_small_or_given(self, number: int) -> bool:
        given = {seed % 2**64 for seed in self.given.seeds if type(seed) is int}
        return number < _SMALL or number == _TORCHS_OWN or number in self.ours or number in given

    def _by_birth(self) -> SeedState | None:
        """From the state that a seed sequence gave, which MT19937 does not show."""
        born = self.birth
        if born is None or born.is_unseeded is None:
            return None
        if born.state != self.state and self.before is not None and not self._had_events:
            return None
        drawn = self._moved_from(born.state)
        if drawn is None:
            return None
        return replace(_UNSEEDED, drawn=drawn > 0) if born.is_unseeded else self._seeded(born.seed, drawn=drawn > 0)

    def _by_state(self) -> SeedState | None:
        found = state_distance.seeding(self.measure, self.state)
        if found is None:
            return None
        is_python = self.measure is state_distance.python
        seed = _pythons_seed(found.key) if is_python and isinstance(found.key, tuple) else found.key
        return self._seeded(seed, drawn=found.drawn > 0)

    def _by_move(self) -> SeedState | None:
        """From the look before: drawing makes no seeded generator an unseeded one."""
        if self._earlier is not None and self._earlier.measure is self.measure:
            return self._earlier.known
        if self.before is None:
            return None
        for earlier in dict.fromkeys((self.before, self.root)):
            if self._moved_from(earlier.state) is not None:
                return replace(earlier.known, drawn=True)
        if not self._had_events and self.before.known.is_seeded:
            return replace(self.before.known, drawn=True, is_certain=False)
        return None

    def _moved_from(self, state: bytes) -> int | None:
        """How far the state is from another, by drawing only; None if it is not known to be."""
        found = self.measure(state, self.state)
        return None if found is None or found.is_anew else found.count

    def _by_given(self) -> SeedState | None:
        """From one of the seeds that were given of late: a text is a key too long to be recognised, for one."""
        for seed in list(dict.fromkeys(reversed(self.given.seeds)))[:_MOST_GIVEN]:
            key = _key(seed, self.measure)
            first = None if key is None else state_distance.right_after(self.measure, key)
            drawn = None if first is None else self._moved_from(first)
            if drawn is not None:
                return self._seeded(seed, drawn=drawn > 0)
        return None

    def _by_events(self) -> SeedState | None:
        if self.is_unseeded is not None and (self.before is None or self._had_events):
            return _UNSEEDED if self.is_unseeded else SeedState(Origin.SEEDED, by=By.NOTEBOOK)
        return replace(_UNSEEDED, drawn=False) if state_distance.is_as_new(self.measure, self.state) else None


def is_unseeded_draw(before: Look, after: Look) -> bool:
    """Whether a generator was drawn from that nobody seeded. It costs nothing where somebody did.

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
    found = after.measure(before.state, after.state)
    is_draw = found is not None and not found.is_anew and bool(found.count)
    if is_draw and before.known.is_seeded is False:
        return True
    after.presumed = None  # a state was put back, or too much was drawn to tell: do not look again
    return False


def _pythons_seed(key: Sequence[int]) -> Seed:
    """The number whose words a key is. `random.seed` makes one of a text: its bytes, and their SHA-512.

    Example:
        >>> _pythons_seed([7, 1]) == 7 + 2**32
        True
    """
    number = sum(word << 32 * place for place, word in enumerate(key))
    whole = number.to_bytes((number.bit_length() + 7) // 8, "big")
    text, sealed = whole[:-_SHA512], whole[-_SHA512:]
    if len(sealed) < _SHA512 or hashlib.sha512(text).digest() != sealed:
        return number
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _key(seed: Seed, measure: Measure) -> int | Sequence[int] | None:
    """The key that a library makes of a seed; None if it does not take it."""
    if measure is state_distance.numpy_mt19937:
        is_small = type(seed) is int and 0 <= seed < _SMALL
        return seed if is_small or isinstance(seed, tuple) else None  # type: ignore[return-value]
    if measure is not state_distance.python or isinstance(seed, tuple):
        return None
    number = _pythons_number(seed)
    return [number >> 32 * place & 0xFFFF_FFFF for place in range(max(1, (number.bit_length() + 31) // 32))]


def _pythons_number(seed: int | float | str | bytes) -> int:  # noqa: PYI041 - floats are seeds of another kind
    if isinstance(seed, int):
        return abs(seed)
    if isinstance(seed, float):
        return hash(seed) % 2**64
    text = seed.encode("utf-8", "surrogatepass") if isinstance(seed, str) else seed
    return int.from_bytes(text + hashlib.sha512(text).digest(), "big")
