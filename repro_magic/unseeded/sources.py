"""Reports unseeded sources as findings: lines of the user's code that took entropy from the operating system.

Only requests from the user's own code count. Libraries draw entropy for names of temporary files, for sockets and for
messages, and no result depends on it.
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
        link: where the facts come from.
        makes: whether it creates or seeds a generator, so that `--strict` blocks it.
        kinds: names that `# repro: accept …` takes besides the name of the function.
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
_FRESH_POSITION = 624
_GLOBAL_SEEDS = {"random.seed", "numpy.random.seed", "torch.seed"}
_PIN = Remedy(
    "Write %repro_seed N instead, or pass a seed; %repro_seed --new draws a seed and shows it.",
    "Call repro_magic.seed_everything(N) instead, or pass a seed.",
)


@dataclass(eq=False)
class _Use:
    """A source at a site. `is_countable` is False if the number of draws of a call varies between runs."""

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
    """Records the unseeded sources that the user's code uses, on any thread, from `open` to `close`.

    Example:
        >>> import random
        >>> sources = Sources()
        >>> sources.open()
        >>> _ = random.Random(), random.Random(1)
        >>> sources.close()
        >>> [(finding.op, finding.count) for finding in sources.findings()]
        [('random.Random', 1)]
    """

    def __init__(self) -> None:
        """Start empty."""
        self._uses: dict[object, _Use] = {}
        self._created: IdentityMap[_Use] = IdentityMap()
        self._last: _Use | None = None
        # Requests from libraries by the library's line, which may seed the generator next.
        self._libraries: dict[tuple[CodeType, int], LibraryDraw] = {}
        self._lock = ForkSafeLock()
        self._is_open = False

    def open(self) -> None:
        """Start recording."""
        self._is_open = True
        entropy.hooks_up()
        entropy.listen(self._record)

    def close(self) -> None:
        """Stop recording; further calls do nothing."""
        if self._is_open:
            self._is_open = False
            entropy.unlisten(self._record)
            entropy.hooks_down()

    def findings(self) -> list[UnseededFinding]:
        """The findings so far, in order of occurrence, one for each line."""
        with self._lock:
            findings = [use.finding() for use in self._uses.values() if use.count > 0]
        merged: dict[object, UnseededFinding] = {}
        for finding in findings:
            first = merged.get(finding.where)
            merged[finding.where] = (
                finding if first is None or finding.at_least else replace(first, count=first.count + finding.count)
            )
        return list(merged.values())

    def libraries(self) -> list[LibraryDraw]:
        """The library functions that created or seeded a generator without a seed, in order, without duplicates."""
        with self._lock:
            return list(dict.fromkeys(self._libraries.values()))

    def _record_library(self, kind: Kind, frame: FrameType) -> None:
        line = frame.f_code, frame.f_lasti
        if kind is Kind.SEEDED:
            with self._lock:
                self._libraries.pop(line, None)
            return
        draw = library_draw(kind, frame)
        if draw is not None and not EntropyRequest(frame, None, call_of(frame)).is_excused(kind):
            with self._lock:
                self._libraries[line] = draw

    def _record(self, kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - each kind has its own
        request = EntropyRequest.at(frame)
        if request is None:
            self._record_library(kind, frame)
            return
        if kind is Kind.SYSTEM_MADE:  # creating it draws nothing
            return
        if kind is Kind.SEEDED:
            self._forget(request)
            if not is_clocks(value, request.call):
                return
        elif request.is_excused(kind):
            return
        with self._lock:
            use = self._use(kind, request)
            use.count += 1
            self._last = use
            if kind is Kind.PYTHON and value is not None:
                self._created[value] = use

    def _use(self, kind: Kind, request: EntropyRequest) -> _Use:
        inner, inner_at, outer, outer_at = caller = caller_of(request.caller)
        key = kind, id(inner), inner_at, id(outer), outer_at  # the site keeps the code objects alive
        if key not in self._uses:
            is_countable = kind is not Kind.SYSTEM
            self._uses[key] = _Use(
                request.name(kind), SOURCES[kind], Site(*caller), inner, inner_at, is_countable=is_countable
            )
        return self._uses[key]

    def _forget(self, request: EntropyRequest) -> None:
        """Forget the use of a generator that is seeded after all."""
        if not self._uses:
            return
        caller = request.caller
        with self._lock:
            last = self._last
            is_same = last is not None and last.code is caller.f_code and last.at == caller.f_lasti
            if last is not None and is_same and request.may_be_legacy:
                last.count -= 1  # RandomState(5): NumPy takes entropy first, and then the seed
                self._last = None
                return
        if request.call.name != "seed":
            return
        generator = value_of(request.call.base, caller)
        with self._lock:
            use = self._created.pop(generator) if issubclass(type(generator), random.Random) else None
            if use is not None and random.Random.getstate(generator)[1][-1] == _FRESH_POSITION:
                use.count -= 1


def _refuse(kind: Kind, frame: FrameType, value: Any) -> None:  # noqa: ANN401 - each kind has its own
    request = EntropyRequest.at(frame)
    if request is None:
        _refuse_library(kind, frame)
        return
    if not SOURCES[kind].makes:
        return
    if request.is_excused(kind) or (kind is Kind.NUMPY and request.has_seed()):
        return
    if kind is Kind.SEEDED and not is_clocks(value, request.call):
        return
    op, site = request.name(kind), site_of(request.caller)
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


def _refuse_library(kind: Kind, frame: FrameType) -> None:
    draw = library_draw(kind, frame)
    if draw is None or not is_surely_unseeded(kind, frame):
        return
    site = site_of(frame)
    if accepts(site, draw.function):
        return
    place = site.place
    where = "" if place is None else f", called at line {place.line} ({place.text}),"
    raise UnseededGeneratorError(
        f"{draw.function}{where} was blocked because it creates an unseeded generator and %repro_seed --strict is "
        f"active. {draw.remedy}",
        op=draw.function,
        line=None if place is None else place.line,
        remedy=draw.remedy,
    )


_undo: list[Callable[[], None]] = []


def refuse_unseeded() -> None:
    """Raise an error when the user's code creates or seeds a generator without a seed, until `allow_unseeded`."""
    if not _undo:
        entropy.hooks_up()
        entropy.listen(_refuse)
        _undo.extend([entropy.hooks_down, lambda: entropy.unlisten(_refuse)])


def allow_unseeded() -> None:
    """Undo `refuse_unseeded`; does nothing otherwise."""
    while _undo:
        _undo.pop()()
