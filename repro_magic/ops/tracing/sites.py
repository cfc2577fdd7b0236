"""The lines that call flagged ops: what is known of an op there, and how often it was called."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from repro_magic.exceptions import NondeterministicOpError
from repro_magic.findings import Direction, OpFinding
from repro_magic.introspection.location import Site, accepts
from repro_magic.ops.catalogue.model import Entry
from repro_magic.ops.tracing.classify import Classification
from repro_magic.ops.tracing.signature import CachedSignature

# How often a line's latest call is cached for quick recognition. If signatures keep changing, caching costs more than
# it saves.
_CACHE_ATTEMPTS = 8


@dataclass(frozen=True)
class WatchedOp:
    """An overload that is watched.

    Attributes:
        name: the overload, e.g. `"index_add_.default"`, with its namespace unless that is aten.
        entries: its entries in the catalogue.
        names: the names of its arguments, in order.
        defaults: argument -> default value.
        hot: whether it is called so often that counting stops once its calls bring no news.
        draws: whether it draws random numbers.
        makes: whether the backward pass of its result is flagged, so that its line must be remembered.
    """

    name: str
    entries: tuple[Entry, ...]
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    hot: bool = False
    draws: bool = False
    makes: bool = False

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """All arguments, defaults included, by name."""
        return {**self.defaults, **dict(zip(self.names, args, strict=False)), **kwargs}


@dataclass(eq=False)
class SignatureClassification:
    """The classification of a signature: without values (`classification`), and from the values read (`looked`)."""

    classification: Classification | None
    looks: int = 0
    looked: Classification | None = None


@dataclass(eq=False)
class EntryAtSite:
    """A catalogue entry at a site, on a device, in a direction, with its calls."""

    entry: Entry
    device: str
    backward: bool
    site: Site
    made_by: Site | None
    hot: bool
    traced: bool
    looks: int = 0
    looked: Classification | None = None
    signatures: dict[object, SignatureClassification] = field(default_factory=dict)
    calls: dict[Classification | None, int] = field(default_factory=dict)

    def finding(self, classification: Classification, count: int, *, at_least: bool) -> OpFinding:
        """The finding for calls with a classification."""
        entry, hazard, site = self.entry, classification.hazard, self.site
        return OpFinding(
            op=entry.op,
            public=entry.public,
            status=classification.status,
            device=self.device,
            direction=Direction.BACKWARD if self.backward else Direction.FORWARD,
            place=site.place,
            called_from=site.called_from,
            made_by=None if self.made_by is None else self.made_by.place,
            count=0 if self.traced else count,
            at_least=at_least,
            hot=self.hot,
            why=hazard.why,
            remedy=hazard.remedy,
            elsewhere=classification.elsewhere,
            alerts=classification.alerts,
            traced=self.traced,
            accepted=accepts(site, entry.op, entry.public, *entry.names),
            link=entry.link,
        )

    def refusal(self, classification: Classification) -> NondeterministicOpError:
        """The error that blocks a call in a strict scope."""
        place, remedy = self.site.place, classification.hazard.remedy.here
        where = "" if place is None else f" at line {place.line} ({place.text})"
        return NondeterministicOpError(
            f"{self.entry.op} ({self.entry.public}) on {self.device}{where} was blocked because its result may differ "
            f"between runs and the scope is strict. {classification.hazard.why} {remedy}",
            op=self.entry.op,
            line=None if place is None else place.line,
            device=self.device,
            remedy=remedy,
        )


class CachedCall:
    """The latest call at a site: its signature, the classifications of all calls that match it, and their number.

    Attributes:
        count: counts a call. It is atomic because it runs in C, and takes a third of the time of a lock.
    """

    def __init__(
        self, signature: CachedSignature, switches: tuple[Any, ...], classifications: list[Classification | None]
    ) -> None:
        """Start with no calls."""
        self.signature, self.switches, self.classifications = signature, switches, classifications
        self.count = itertools.count().__next__
        self._not_calls = 0

    def new_calls(self) -> int:
        """The number of calls counted since the last call of this method."""
        calls = self.count() - self._not_calls
        self._not_calls += calls + 1  # reading the counter counts, too
        return calls


@dataclass(eq=False)
class OpAtSite:
    """An overload at a site on a device, with its catalogue entries there."""

    op: WatchedOp
    device: str
    site: Site
    entries: tuple[EntryAtSite, ...]
    draws: int = 0
    cached: CachedCall | None = None
    cache_attempts: int = _CACHE_ATTEMPTS

    def count(self, classifications: Iterable[Classification | None], calls: int) -> None:
        """Count calls with the same classifications."""
        for entry, classification in zip(self.entries, classifications, strict=True):
            entry.calls[classification] = entry.calls.get(classification, 0) + calls

    def settle(self) -> None:
        """Add the calls counted by the cached call."""
        if self.cached is not None and (calls := self.cached.new_calls()):
            self.count(self.cached.classifications, calls)
