"""Numbers that no seed fixes, as findings: who took entropy from the operating system, at which line of the user's.

Only what the user's own code asks for counts. Libraries draw entropy for names of temporary files, for sockets and for
messages, and nobody's results depend on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import CodeType, FrameType
from typing import Any

from repro_magic.exceptions import UnseededGeneratorError
from repro_magic.findings import Remedy, UnseededFinding
from repro_magic.introspection.call_source import call_of, value_of
from repro_magic.introspection.identity import IdentityMap
from repro_magic.introspection.location import Site, accepts, caller_of, site_of
from repro_magic.rng import entropy
from repro_magic.rng.entropy import Kind
from repro_magic.runtime.forks import ForkSafeLock
from repro_magic.unseeded.attribution import EntropyRequest, is_clocks
from repro_magic.unseeded.libraries import LibraryDraw, is_surely_unseeded, library_draw


@dataclass(frozen=True)
class Source:
    """A way to get numbers that differ between runs.

    Attributes:
        why: why they differ.
        remedy: what to do.
        makes: whether it makes or seeds a generator, so that `--strict` refuses it.
        link: where the facts come from.
        kinds: what a comment `# repro: accept …` may call it, besides the name of the function.
    """

    why: str
    remedy: Remedy
    link: str
    makes: bool = True
    kinds: tuple[str, ...] = ()


_RANDOM = "https://docs.python.org/3/library/random.html#random.seed"
_PASS_A_SEED = Remedy(
    "Pass a seed; %repro_seed N --adopt seeds generators reachable from notebook variables.", "Pass a seed."
)
_SYSTEM = "The operating system's random numbers differ between runs, and no seed controls them."
SOURCES: Mapping[Kind, Source] = {
    Kind.NUMPY: Source(
        "Without a seed, NumPy uses entropy from the operating system, different in each run; no global seed helps.",
        _PASS_A_SEED,
        "https://numpy.org/doc/stable/reference/random/generator.html#numpy.random.default_rng",
    ),
    Kind.PYTHON: Source(
        "Without a seed, Python uses entropy from the operating system, different in each run.",
        _PASS_A_SEED,
        _RANDOM,
    ),
    Kind.TORCH: Source(
        "It seeds PyTorch's generators from the operating system, with a different seed in each run.",
        Remedy(
            "Write %repro_seed N, or torch.manual_seed(N).",
            "Call repro_magic.seed_everything(N), or torch.manual_seed(N).",
        ),
        "https://docs.pytorch.org/docs/stable/generated/torch.seed.html",
    ),
    Kind.SYSTEM_MADE: Source(
        _SYSTEM,
        Remedy("Where results depend on it, use random.Random(N)."),
        "https://docs.python.org/3/library/random.html#random.SystemRandom",
    ),
    Kind.SYSTEM: Source(
        _SYSTEM,
        Remedy("Where results depend on it, use random.Random(N)."),
        "https://docs.python.org/3/library/random.html#random.SystemRandom",
        makes=False,
    ),
    Kind.URANDOM: Source(
        _SYSTEM,
        Remedy("Where results depend on it, use a seeded generator such as random.Random(N).randbytes(n)."),
        "https://docs.python.org/3/library/os.html#os.urandom",
        makes=False,
    ),
    Kind.SEEDED: Source(
        "The seed comes from the clock, the process id or a string hash, and differs between runs.",
        Remedy("Write a fixed seed: %repro_seed --new draws a seed and shows it.", "Write a fixed seed."),
        _RANDOM,
        kinds=("clock",),
    ),
}


# The position in MT19937's state words right after seeding.
_NOTHING_DRAWN = 624
_GLOBAL_SEEDS = {"random.seed", "numpy.random.seed", "torch.seed"}
_PIN = Remedy(
    "Write %repro_seed N instead, or pass a seed; %repro_seed --new draws a seed and shows it.",
    "Call repro_magic.seed_everything(N) instead, or pass a seed.",
)


@dataclass(eq=False)
class _Use:
    """One source at one site; `is_countable` is false where one call takes a number of draws that is itself chance."""

    op: str
    source: Source
    site: Site
    code: CodeType | None
    at: int
    count: int = 0
    is_countable: bool = field(default=True, kw_only=True)

    def finding(self) -> UnseededFinding:
        is_global = self.op in _GLOBAL_SEEDS and self.source is not SOURCES[Kind.SEEDED]
        return UnseededFinding(
            op=self.op,
            public=self.op,
            place=self.site.place,
            called_from=self.site.called_from,
            count=self.count if self.is_countable else 1,
            at_least=not self.is_countable,
            why=self.source.why,
            remedy=_PIN if is_global else self.source.remedy,
            accepted=accepts(self.site, self.op, *self.source.kinds),
            link=self.source.link,
        )


class Sources:
    """The unseeded sources that the user's code used, on any thread, from `open` to `close`.

    Example:
        >>> import random
        >>> sources = Sources()
        >>> sources.open()
        >>> _ = random.Random(), random.Random(1)
        >>> sources.close()
        >>> [(one.op, one.count) for one in sources.findings()]
        [('random.Random', 1)]
    """

    def __init__(self) -> None:
        """Nothing was used."""
        self._uses: dict[object, _Use] = {}
        self._made: IdentityMap[_Use] = IdentityMap()
        self._last: _Use | None = None
        # Calls of libraries' functions that asked, by the line of the library's, which may give a seed next.
        self._libraries: dict[tuple[CodeType, int], LibraryDraw] = {}
        self._lock = ForkSafeLock()
        self._is_open = False

    def open(self) -> None:
        """Begin."""
        self._is_open = True
        entropy.hooks_up()
        entropy.listen(self._take)

    def close(self) -> None:
        """End; a second time does nothing."""
        if self._is_open:
            self._is_open = False
            entropy.unlisten(self._take)
            entropy.hooks_down()

    def findings(self) -> list[UnseededFinding]:
        """What was used so far, in the order it came; calls of one line are told as one."""
        with self._lock:
            found = [use.finding() for use in self._uses.values() if use.count > 0]
        merged: dict[object, UnseededFinding] = {}
        for one in found:
            first = merged.get(one.where)
            merged[one.where] = one if first is None or one.at_least else replace(first, count=first.count + one.count)
        return list(merged.values())

    def libraries(self) -> list[LibraryDraw]:
        """The libraries' functions that made or seeded a generator without a seed, each once, in order."""
        with self._lock:
            return list(dict.fromkeys(self._libraries.values()))

    def _take_librarys(self, kind: Kind, frame: FrameType) -> None:
        place = frame.f_code, frame.f_lasti
        if kind is Kind.SEEDED:
            with self._lock:
                self._libraries.pop(place, None)
            return
        found = library_draw(kind, frame)
        if found is not None and not EntropyRequest(frame, None, call_of(frame)).is_excused(kind):
            with self._lock:
                self._libraries[place] = found

    def _take(self, kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - each kind has its own
        asked = EntropyRequest.at(frame)
        if asked is None:
            self._take_librarys(kind, frame)
            return
        if kind is Kind.SYSTEM_MADE:  # which is no draw yet
            return
        if kind is Kind.SEEDED:
            self._forget(asked)
            if not is_clocks(value, asked.call):
                return
        elif asked.is_excused(kind):
            return
        with self._lock:
            use = self._use(kind, asked)
            use.count += 1
            self._last = use
            if kind is Kind.PYTHON and value is not None:
                self._made[value] = use

    def _use(self, kind: Kind, asked: EntropyRequest) -> _Use:
        inner, inner_at, outer, outer_at = caller = caller_of(asked.caller)
        key = kind, id(inner), inner_at, id(outer), outer_at  # which the site keeps alive
        if key not in self._uses:
            is_countable = kind is not Kind.SYSTEM
            self._uses[key] = _Use(
                asked.name(kind), SOURCES[kind], Site(*caller), inner, inner_at, is_countable=is_countable
            )
        return self._uses[key]

    def _forget(self, asked: EntropyRequest) -> None:
        """A generator that was made without a seed gets one after all."""
        if not self._uses:
            return
        caller = asked.caller
        with self._lock:
            last = self._last
            is_same = last is not None and last.code is caller.f_code and last.at == caller.f_lasti
            if last is not None and is_same and asked.may_be_legacy:
                last.count -= 1  # RandomState(5): NumPy takes entropy first, and then the seed that it was given
                self._last = None
                return
        if asked.call.name != "seed":
            return
        of = value_of(asked.call.base, caller)
        with self._lock:
            made = self._made.pop(of) if issubclass(type(of), random.Random) else None
            if made is not None and random.Random.getstate(of)[1][-1] == _NOTHING_DRAWN:
                made.count -= 1


def _refuse(kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - each kind has its own
    asked = EntropyRequest.at(frame)
    if asked is None:
        _refuse_librarys(kind, frame)
        return
    if not SOURCES[kind].makes:
        return
    if asked.is_excused(kind) or (kind is Kind.NUMPY and asked.has_seed()):
        return
    if kind is Kind.SEEDED and not is_clocks(value, asked.call):
        return
    op, site = asked.name(kind), site_of(asked.caller)
    if accepts(site, op, *SOURCES[kind].kinds):
        return
    place, source = site.place, SOURCES[kind]
    where = "" if place is None else f" at line {place.line}"
    text = f" ({place.text})" if place is not None and place.text else ""
    raise UnseededGeneratorError(
        f"{op}{where}{text} was blocked because %repro_seed --strict is active. {source.why} {source.remedy.in_cell}",
        op=op,
        line=None if place is None else place.line,
        remedy=source.remedy.in_cell,
    )


def _refuse_librarys(kind: Kind, frame: FrameType) -> None:
    found = library_draw(kind, frame)
    if found is None or not is_surely_unseeded(kind, frame):
        return
    site = site_of(frame)
    if accepts(site, found.function):
        return
    place = site.place
    where = "" if place is None else f", called at line {place.line} ({place.text}),"
    raise UnseededGeneratorError(
        f"{found.function}{where} was blocked because it creates an unseeded generator and %repro_seed --strict is "
        f"active. {found.remedy}",
        op=found.function,
        line=None if place is None else place.line,
        remedy=found.remedy,
    )


_undo: list[Callable[[], None]] = []


def refuse_unseeded() -> None:
    """Make it an error to make or seed a generator without a seed in the user's code, until `allow_unseeded`."""
    if not _undo:
        entropy.hooks_up()
        entropy.listen(_refuse)
        _undo.extend([entropy.hooks_down, lambda: entropy.unlisten(_refuse)])


def allow_unseeded() -> None:
    """Make it none; harmless if it was none."""
    while _undo:
        _undo.pop()()
