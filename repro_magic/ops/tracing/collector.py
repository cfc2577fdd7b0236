"""What ran while somebody watched: calls of flagged ops, aggregated as they come, and told as findings.

One call must stay cheap, so nothing is computed before somebody asks for it: places stay code objects, a call with the
signature of an earlier one is classified as that one was, and values are read in the first calls of a line only.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

from repro_magic.exceptions import NondeterministicOpError
from repro_magic.findings import Direction, Draw, Finding, FindingStatus, OpFinding, Remedy
from repro_magic.introspection.location import NOBODY, Caller, Place, Site, accepts, caller_of, site_of
from repro_magic.ops.catalogue.model import Entry, OpCall
from repro_magic.ops.tracing.classify import Classification, Switches, classify
from repro_magic.ops.tracing.signature import CachedSignature, signature_of
from repro_magic.ops.tracing.unprofiled import unprofiled
from repro_magic.runtime.forks import ForkSafeLock

# Values are looked at in so many calls of one form of one op at one place, and in so many of all forms together.
LOOKS, ALL_LOOKS = 3, 60
# So many forms of call (shapes, dtypes, switches) are remembered of one op at one place.
_FORMS = 128
# So many times the form of the last call at a place is made ready to be recognised; where forms go on changing, that
# would cost more than it saves.
_KNOWABLE = 8
# So many nodes of the autograd graph are remembered with the line that made them.
_NODES = 2048


@dataclass(frozen=True)
class WatchedOp:
    """One overload that is watched.

    Attributes:
        name: the overload, e.g. `"index_add_.default"`; with its namespace if that is not aten's.
        entries: what the catalogue says of it.
        names: its arguments, in order.
        defaults: argument -> value, for those that may be left out.
        hot: called so often that it is counted only until it is known.
        draws: whether it draws random numbers.
        makes: whether the backward pass of what it makes is flagged, so that its line is worth remembering.
    """

    name: str
    entries: tuple[Entry, ...]
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    hot: bool = False
    draws: bool = False
    makes: bool = False

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Every argument by its name."""
        return {**self.defaults, **dict(zip(self.names, args, strict=False)), **kwargs}


@dataclass(eq=False)
class _Signature:
    """One form of call: its classification without a look, and what looks at its first calls brought."""

    classification: Classification | None
    looks: int = 0
    looked: Classification | None = None


@dataclass(eq=False)
class _Seen:
    """One entry at one site on one device in one direction."""

    entry: Entry
    device: str
    backward: bool
    site: Site
    made_by: Site | None
    hot: bool
    traced: bool
    looks: int = 0
    looked: Classification | None = None
    forms: dict[object, _Signature] = field(default_factory=dict)
    calls: dict[Classification | None, int] = field(default_factory=dict)


class _Known:
    """A form of call at one site, the classifications of every further call of it, and how many there were.

    Attributes:
        count: counts a call; in C, so that no thread comes between, and in a third of the time that a lock takes.
    """

    def __init__(
        self, form: CachedSignature, switches: tuple[Any, ...], classifications: list[Classification | None]
    ) -> None:
        self.form, self.switches, self.classifications = form, switches, classifications
        self.count = itertools.count().__next__
        self._not_calls = 0

    def new_calls(self) -> int:
        """How many calls were counted since this was asked last."""
        calls = self.count() - self._not_calls
        self._not_calls += calls + 1  # and the one that asked
        return calls


@dataclass(eq=False)
class _OpAtSite:
    """One overload at one site on one device, and what is known of it by each of its entries."""

    op: WatchedOp
    device: str
    site: Site
    seen: tuple[_Seen, ...]
    draws: int = 0
    known: _Known | None = None
    knowable: int = _KNOWABLE

    def count(self, classifications: Iterable[Classification | None], calls: int) -> None:
        """Count calls of one form."""
        for seen, classification in zip(self.seen, classifications, strict=True):
            seen.calls[classification] = seen.calls.get(classification, 0) + calls

    def settle(self) -> None:
        """Count the calls of the known form, too."""
        if self.known is not None and (calls := self.known.new_calls()):
            self.count(self.known.classifications, calls)


@dataclass(frozen=True)
class Alert:
    """One of PyTorch's own warnings of nondeterminism, kept instead of shown.

    Attributes:
        name: PyTorch's name for the op, as in `Entry.alerts`.
        message: the first sentence of its warning.
        site: where it came from.
    """

    name: str
    message: str
    site: Site


class _Torch:
    """The few things of PyTorch that every call needs, looked up once: torch may be imported after this module."""

    def __init__(self) -> None:
        torch = sys.modules["torch"]
        private = torch._C  # noqa: SLF001 - the attributes of torch.backends cost ten times as much
        self.tensor = torch.Tensor
        self.node = private._current_autograd_node  # noqa: SLF001 - there is no public question
        self.threads = threads = torch.get_num_threads
        algorithms = private._get_deterministic_algorithms  # noqa: SLF001 - the public functions do more, and take longer
        warn_only = private._get_deterministic_algorithms_warn_only  # noqa: SLF001 - the public functions do more, and take longer
        benchmark = private._get_cudnn_benchmark  # noqa: SLF001 - the public functions do more, and take longer
        deterministic = private._get_cudnn_deterministic  # noqa: SLF001 - the public functions do more, and take longer

        def switches() -> tuple[Any, ...]:
            """What a status can depend on."""
            return algorithms(), warn_only(), threads()

        def hot_switches() -> tuple[Any, ...]:
            """The same for hot ops, which are the only ones that cuDNN has."""
            return algorithms(), warn_only(), threads(), benchmark(), deterministic()

        self.switches, self.hot_switches = switches, hot_switches


_torch = functools.cache(_Torch)


def first_tensor(values: Iterable[Any]) -> Any:  # noqa: ANN401 - a tensor or None; torch may not be imported here
    """The first tensor among arguments and lists of them."""
    tensor = _torch().tensor
    for value in values:
        if isinstance(value, tensor):
            return value
        if type(value) in {list, tuple} and (found := first_tensor(value)) is not None:
            return found
    return None


class Collector:
    """What ran in one watched stretch of code.

    Attributes:
        strict: an op that may differ raises before it runs.
        attention: fused attention takes its deterministic path even in warn mode.
        alerts: PyTorch's own warnings, kept instead of shown.
        refused: the error that stopped an op, since other code may have caught or wrapped it.
        fault: a fault of ours that ended the watching; told once at the end.
        exhausted: whether hot ops went on uncounted.
        from_workers: what other processes, a loader's workers, found and drew so far.
    """

    def __init__(self, *, strict: bool = False, attention: bool = False) -> None:
        """Start with nothing seen."""
        self.strict, self.attention = strict, attention
        self.alerts: list[Alert] = []
        self.refused: NondeterministicOpError | None = None
        self.fault: BaseException | None = None
        self.exhausted = False
        self.from_workers: Callable[[], tuple[list[Finding], list[Draw]]] = lambda: ([], [])
        self._sites: dict[object, _OpAtSite] = {}
        self._makers: dict[int, tuple[str, Site]] = {}
        self._graphs: dict[object, tuple[list[OpFinding], Site]] = {}
        self._lock = ForkSafeLock()
        self._thread = threading.get_ident()

    @functools.cached_property
    def _torch(self) -> _Torch:
        return _torch()

    def call(  # noqa: PLR0913, PLR0917 - what a call is made of; by keyword it takes longer
        self,
        op: WatchedOp,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensor: Any,  # noqa: ANN401 - torch may not be imported here
        frame: FrameType,
        traced: bool,  # noqa: FBT001 - by keyword it takes longer
    ) -> None:
        """Take note of a call that is about to run.

        Raises:
            NondeterministicOpError: the scope is strict, and the op may differ.
        """
        torch = self._torch
        node = torch.node()
        caller = caller_of(frame)
        if caller is NOBODY:
            caller = self._waiting_caller()
        # By identity: hashing a code object costs as much as the whole call. What is kept keeps the code alive.
        inner, inner_at, outer, outer_at = caller
        if tensor is None:
            device = getattr(kwargs.get("device"), "type", "cpu")
        else:
            device = "cpu" if tensor.is_cpu else tensor.device.type  # which takes 1 µs
        key = (op.name, device, node is None, traced, id(inner), inner_at, id(outer), outer_at)
        site = self._sites.get(key)
        if site is None:
            site = self._new_site(key, op, caller, device, node, traced=traced)
        if site.seen:
            switches = torch.hot_switches() if op.hot else torch.switches()
            known = site.known
            if known is not None and known.switches == switches and not kwargs and known.form.fits(args):
                known.count()
            else:
                with unprofiled():
                    self._judge_call(site, args, kwargs, switches, traced=traced)
        if op.draws and not traced:
            with self._lock:
                site.draws += 1

    def _new_site(  # noqa: PLR0913 - what makes a site
        self,
        key: object,
        op: WatchedOp,
        caller: Caller,
        device: str,
        node: Any,  # noqa: ANN401 - torch's Node, or None
        *,
        traced: bool,
    ) -> _OpAtSite:
        place, maker = Site(*caller), self._maker(node)
        seen = tuple(
            _Seen(
                entry,
                device,
                backward=node is not None or entry.direction is Direction.BACKWARD,
                site=place,
                made_by=maker,
                hot=op.hot,
                traced=traced,
            )
            for entry in op.entries
        )
        with self._lock:
            return self._sites.setdefault(key, _OpAtSite(op, device, place, seen))

    def _waiting_caller(self) -> Caller:
        """On one of autograd's own threads: whoever waits for it is the one that called."""
        if threading.get_ident() == self._thread:
            return NOBODY
        return caller_of(sys._current_frames().get(self._thread))  # noqa: SLF001 - there is no public way

    def _maker(self, node: Any) -> Site | None:  # noqa: ANN401 - torch's Node
        if node is None:
            return None
        name, site = self._makers.get(node._sequence_nr(), ("", None))  # noqa: SLF001 - there is no public way
        # A number that another thread gave, or that was passed on to another op, would name the wrong line.
        return (
            site
            if site is not None and name == _plain(node.name().removesuffix("0").removesuffix("Backward"))
            else None
        )

    def made(self, name: str, numbers: range, frame: FrameType) -> None:
        """Remember the line that made some nodes of the autograd graph."""
        if not numbers or threading.get_ident() != self._thread:
            return
        if len(self._makers) > _NODES:
            self._makers.clear()
        site = site_of(frame)
        for number in numbers:
            self._makers[number] = (_plain(name.partition(".")[0]), site)

    def _judge_call(
        self,
        site: _OpAtSite,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        switches: tuple[Any, ...],
        *,
        traced: bool,
    ) -> None:
        if traced:
            found = [(self._judge_traced(seen, site.op, args, kwargs, switches), False) for seen in site.seen]
        else:
            form = switches, signature_of(args), signature_of(kwargs.values()) if kwargs else ()
            found = [self._judge(seen, form, site.op, args, kwargs) for seen in site.seen]
        classifications = [classification for classification, _ in found]
        if self.strict and not traced:
            for seen, classification in zip(site.seen, classifications, strict=True):
                if classification is not None and classification.status is FindingStatus.ACTIVE:
                    self.refused = _refusal(seen, classification)
                    raise self.refused
        algorithms, warn_only, *_ = switches
        if algorithms and not warn_only and not traced:  # PyTorch refuses what it alerts of: that does not run
            classifications = [
                None if classification is None or classification.alerts else classification
                for classification in classifications
            ]
        known = None
        if site.knowable and not kwargs and all(is_final for _, is_final in found):
            site.knowable -= 1
            try:
                known = _Known(CachedSignature(args), switches, classifications)
            except Exception:  # noqa: BLE001 - private parts of PyTorch: whatever it is, only time is lost
                site.knowable = 0
        with self._lock:
            site.count(classifications, 1)
            if known is not None:
                site.settle()
                site.known = known

    def _judge_traced(
        self, seen: _Seen, op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any], switches: tuple[Any, ...]
    ) -> Classification | None:
        # A symbolic size must not be compared: the comparison would become a guard.
        call = replace(self._call(op, args, kwargs), traced=True)
        classification = classify(seen.entry, call, seen.device, self._as_switches(switches))
        # On a CPU nearly every index is without the repeats that it takes: unknown is no reason to warn.
        return classification if classification is None or classification.settled or seen.device != "cpu" else None

    def _judge(
        self, seen: _Seen, key: tuple[Any, ...], op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Classification | None, bool]:
        """The classification of one call, and whether it is that of every further call of the form."""
        switches = self._as_switches(key[0])
        form = seen.forms.get(key)
        if form is None:
            classification = classify(seen.entry, self._call(op, args, kwargs), seen.device, switches)
            if len(seen.forms) >= _FORMS:
                seen.forms.clear()
            form = seen.forms[key] = _Signature(classification)
        classification = form.classification
        if classification is None or classification.settled:
            return classification, True
        # Only the values can tell: look at those of the first calls, and take the others for the same.
        if form.looks < LOOKS and seen.looks < ALL_LOOKS:
            call = replace(self._call(op, args, kwargs), look=True)
            found = classify(seen.entry, call, seen.device, switches)
            for known in (form, seen):
                if known.looked is None or known.looked.status is not FindingStatus.ACTIVE:
                    known.looked = found
                known.looks += 1  # only now: another thread may come by meanwhile
            return found, False
        if seen.device != "cpu":
            return classification, True
        return (form.looked if form.looks else seen.looked), True

    def _as_switches(self, switches: tuple[Any, ...]) -> Switches:
        algorithms, warn_only, *_ = switches
        return Switches(algorithms, warn_only, self.attention)

    @staticmethod
    def _call(op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpCall:
        return OpCall(op.name, op.bind(args, kwargs), _torch().threads(), look=False)

    def ran_graph(self, key: object, findings: list[OpFinding], frame: FrameType) -> None:
        """Take note that a compiled graph runs, whose ops cannot be seen."""
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = (findings, site_of(frame))

    @property
    def is_used(self) -> bool:
        """Whether a flagged op was seen at all."""
        return bool(self._sites)

    @property
    def news(self) -> object:
        """Another value when there is something new to tell; more calls of a known form are not."""
        with self._lock:
            sites = list(self._sites.values())
        classifications = sum(len(seen.calls) for site in sites for seen in site.seen)
        drawing = sum(1 for site in sites if site.draws)
        return len(sites), classifications, drawing, len(self.alerts), len(self._graphs), self.refused, self.fault

    def traced_findings(self) -> list[OpFinding]:
        """What was seen on tensors without values so far."""
        return [finding for finding in self._calls() if finding.traced]

    def findings(self) -> list[Finding]:
        """All that was found, active ones first, in the order they came."""
        ran = list(self._calls())
        # A graph that runs op by op is seen doing so, from the same line: then it need not be told a second time.
        eager = {(one.op, one.device, one.outermost) for one in ran if not one.traced}
        graphs = [one for one in self._in_graphs() if (one.op, one.device, one.outermost) not in eager]
        known = eager | {(one.op, one.device, one.outermost) for one in graphs}
        told = [one for one in ran if not one.traced or (one.op, one.device, one.outermost) not in known]
        merged = _merged([*told, *graphs, *self._from_alerts(ran), *self.from_workers()[0]])
        order = list(FindingStatus)
        return sorted(merged, key=lambda finding: order.index(finding.status))

    def draws(self) -> list[Draw]:
        """The random ops that drew, in the order they came."""
        with self._lock:
            sites = [site for site in self._sites.values() if site.draws]
        merged: Counter[tuple[str, str, Place | None, bool]] = Counter()
        for site in sites:
            merged[site.op.name, site.device, site.site.place, False] += site.draws
        for draw in self.from_workers()[1]:
            merged[draw.op, draw.device, draw.place, True] += draw.count
        return [
            Draw(op, device, place, count, at_least=self.exhausted or worker, worker=worker)
            for (op, device, place, worker), count in merged.items()
        ]

    def _calls(self) -> Iterator[OpFinding]:
        with self._lock:
            sites = list(self._sites.values())
            for site in sites:
                site.settle()
            found = [(seen, dict(seen.calls)) for site in sites for seen in site.seen]
        for seen, calls in found:
            for classification, count in calls.items():
                if classification is not None:
                    yield _finding(seen, classification, count, at_least=seen.hot and self.exhausted)

    def _in_graphs(self) -> Iterator[OpFinding]:
        for findings, site in list(self._graphs.values()):  # as they are now: the cell may still run
            for one in findings:
                accepted = one.accepted or accepts(site, one.op, one.public)
                yield replace(
                    one, place=site.place, called_from=site.called_from, graph=True, count=0, accepted=accepted
                )

    def _from_alerts(self, ran: list[OpFinding]) -> Iterator[OpFinding]:
        """PyTorch's warnings of ops that were not seen to be active: the catalogue does not know them."""
        sites, alerts = list(self._sites.values()), list(self.alerts)
        known = {alert for site in sites for entry in site.op.entries for alert in entry.alerts}
        counts = Counter((alert.name, alert.site.place) for alert in alerts)
        told = set()
        for alert in alerts:
            key = alert.name, alert.site.place
            if alert.name in known or key in told or any(alert.name in finding.op for finding in ran):
                continue
            told.add(key)
            yield OpFinding(
                op=alert.name,
                public=alert.name,
                device="unknown",
                place=alert.site.place,
                called_from=alert.site.called_from,
                count=counts[key],
                at_least=True,
                why=f"PyTorch says: {alert.message}",
                remedy=Remedy("Look up the op in the documentation of torch.use_deterministic_algorithms."),
                alerts=True,
                accepted=accepts(alert.site, alert.name, alert.name),
                link="https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html",
            )


def _plain(name: str) -> str:
    """An op's name as the autograd graph spells it: `"index_select"` is IndexSelect there."""
    return name.replace("_", "").lower()


def _finding(seen: _Seen, classification: Classification, count: int, *, at_least: bool) -> OpFinding:
    entry, hazard, site = seen.entry, classification.hazard, seen.site
    return OpFinding(
        op=entry.op,
        public=entry.public,
        status=classification.status,
        device=seen.device,
        direction=Direction.BACKWARD if seen.backward else Direction.FORWARD,
        place=site.place,
        called_from=site.called_from,
        made_by=None if seen.made_by is None else seen.made_by.place,
        count=0 if seen.traced else count,
        at_least=at_least,
        hot=seen.hot,
        why=hazard.why,
        remedy=hazard.remedy,
        elsewhere=classification.elsewhere,
        alerts=classification.alerts,
        traced=seen.traced,
        accepted=accepts(site, entry.op, entry.public, *entry.names),
        link=entry.link,
    )


def _merged(findings: list[Finding]) -> list[Finding]:
    """Calls of one line, seen at several of its instructions or with several signatures, become one finding."""
    merged: dict[object, Finding] = {}
    for finding in findings:
        first = merged.get(finding.key)
        merged[finding.key] = finding if first is None else first.plus(finding)
    return list(merged.values())


def _refusal(seen: _Seen, classification: Classification) -> NondeterministicOpError:
    place, remedy = seen.site.place, classification.hazard.remedy.here
    where = "" if place is None else f" at line {place.line} ({place.text})"
    return NondeterministicOpError(
        f"{seen.entry.op} ({seen.entry.public}) on {seen.device}{where} was blocked because its result may differ "
        f"between runs and the scope is strict. {classification.hazard.why} {remedy}",
        op=seen.entry.op,
        line=None if place is None else place.line,
        device=seen.device,
        remedy=remedy,
    )
