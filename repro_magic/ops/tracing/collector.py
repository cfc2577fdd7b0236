"""The collector aggregates calls of flagged ops while code is watched, and reports them as findings.

Each call must stay cheap, so work is deferred until findings are asked for: locations stay code objects, a call with a
known signature gets the known classification, and values are read only in the first calls of a line.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from repro_magic.exceptions import NondeterministicOpError
from repro_magic.findings import Direction, Draw, Finding, FindingStatus, OpFinding, Remedy
from repro_magic.introspection.location import NOBODY, Caller, Place, Site, accepts, caller_of, site_of
from repro_magic.ops.catalogue.model import OpCall
from repro_magic.ops.tracing.classify import Classification, Switches, classify
from repro_magic.ops.tracing.signature import CachedSignature, signature_of
from repro_magic.ops.tracing.sites import CachedCall, EntryAtSite, OpAtSite, SignatureClassification, WatchedOp
from repro_magic.ops.tracing.unprofiled import unprofiled
from repro_magic.runtime.forks import ForkSafeLock

# The largest number of calls of an op on a line whose values are read: per signature, and for all signatures together.
LOOKS, ALL_LOOKS = 3, 60
# The largest number of signatures (shapes, dtypes, switches) remembered for an op on a line.
_MOST_SIGNATURES = 128
# The largest number of nodes of the autograd graph remembered with the line that created them.
_MOST_NODES = 2048


@dataclass(frozen=True)
class Alert:
    """One of PyTorch's own warnings about nondeterminism, collected instead of shown.

    Attributes:
        name: PyTorch's name for the op, as in `Entry.alerts`.
        message: the first sentence of its warning.
        site: the line that caused it.
    """

    name: str
    message: str
    site: Site


class _Torch:
    """The parts of PyTorch that every call needs, looked up once because torch may be imported after this module."""

    def __init__(self) -> None:
        torch = sys.modules["torch"]
        private = torch._C  # noqa: SLF001 - the attributes of torch.backends cost ten times as much
        self.tensor = torch.Tensor
        self.node = private._current_autograd_node  # noqa: SLF001 - there is no public way to ask
        self.threads = threads = torch.get_num_threads
        algorithms = private._get_deterministic_algorithms  # noqa: SLF001 - the public functions do more, and take longer
        warn_only = private._get_deterministic_algorithms_warn_only  # noqa: SLF001 - the public functions do more, and take longer
        benchmark = private._get_cudnn_benchmark  # noqa: SLF001 - the public functions do more, and take longer
        deterministic = private._get_cudnn_deterministic  # noqa: SLF001 - the public functions do more, and take longer

        def switches() -> tuple[Any, ...]:
            """The switches that a status may depend on."""
            return algorithms(), warn_only(), threads()

        def hot_switches() -> tuple[Any, ...]:
            """The switches for hot ops, which include all ops that cuDNN runs."""
            return algorithms(), warn_only(), threads(), benchmark(), deterministic()

        self.switches, self.hot_switches = switches, hot_switches


_torch = functools.cache(_Torch)


def first_tensor(values: Iterable[Any]) -> Any:  # noqa: ANN401 - a tensor or None; torch may not be imported here
    """The first tensor among arguments, or in lists and tuples among them."""
    tensor = _torch().tensor
    for value in values:
        if isinstance(value, tensor):
            return value
        if type(value) in {list, tuple} and (nested := first_tensor(value)) is not None:
            return nested
    return None


class Collector:
    """The flagged ops and random ops that ran in a watched stretch of code.

    Attributes:
        strict: whether an op that may differ raises before it runs.
        attention: whether fused attention takes its deterministic path even in warn mode.
        alerts: PyTorch's own warnings, collected instead of shown.
        refused: the error that blocked an op; kept because other code may have caught or wrapped it.
        fault: an error of repro_magic that ended watching; reported once at the end.
        exhausted: whether hot ops ran uncounted.
        from_workers: returns the findings and draws of DataLoader workers so far.
    """

    def __init__(self, *, strict: bool = False, attention: bool = False) -> None:
        """Start empty."""
        self.strict, self.attention = strict, attention
        self.alerts: list[Alert] = []
        self.refused: NondeterministicOpError | None = None
        self.fault: BaseException | None = None
        self.exhausted = False
        self.from_workers: Callable[[], tuple[list[Finding], list[Draw]]] = lambda: ([], [])
        self._sites: dict[object, OpAtSite] = {}
        self._node_sites: dict[int, tuple[str, Site]] = {}
        self._graphs: dict[object, tuple[list[OpFinding], Site]] = {}
        self._lock = ForkSafeLock()
        self._thread = threading.get_ident()

    @functools.cached_property
    def _torch(self) -> _Torch:
        return _torch()

    def call(  # noqa: PLR0913, PLR0917 - positional arguments are faster
        self,
        op: WatchedOp,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensor: Any,  # noqa: ANN401 - torch may not be imported here
        frame: FrameType,
        traced: bool,  # noqa: FBT001 - positional arguments are faster
    ) -> None:
        """Record a call that is about to run.

        Raises:
            NondeterministicOpError: the scope is strict, and the op may differ.
        """
        torch = self._torch
        node = torch.node()
        caller = caller_of(frame)
        if caller is NOBODY:
            caller = self._waiting_caller()
        # By id, because hashing a code object costs as much as the whole call; the site keeps the code objects alive.
        inner, inner_at, outer, outer_at = caller
        if tensor is None:
            device = getattr(kwargs.get("device"), "type", "cpu")
        else:
            device = "cpu" if tensor.is_cpu else tensor.device.type  # which takes 1 µs
        key = (op.name, device, node is None, traced, id(inner), inner_at, id(outer), outer_at)
        site = self._sites.get(key)
        if site is None:
            site = self._new_site(key, op, caller, device, node, traced=traced)
        if site.entries:
            switches = torch.hot_switches() if op.hot else torch.switches()
            cached = site.cached
            if cached is not None and cached.switches == switches and not kwargs and cached.signature.fits(args):
                cached.count()
            else:
                with unprofiled():
                    self._classify_call(site, args, kwargs, switches, traced=traced)
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
    ) -> OpAtSite:
        place, forward = Site(*caller), self._node_site(node)
        entries = tuple(
            EntryAtSite(
                entry,
                device,
                backward=node is not None or entry.direction is Direction.BACKWARD,
                site=place,
                made_by=forward,
                hot=op.hot,
                traced=traced,
            )
            for entry in op.entries
        )
        with self._lock:
            return self._sites.setdefault(key, OpAtSite(op, device, place, entries))

    def _waiting_caller(self) -> Caller:
        """The caller, if this is one of autograd's own threads: the thread that waits for it."""
        if threading.get_ident() == self._thread:
            return NOBODY
        return caller_of(sys._current_frames().get(self._thread))  # noqa: SLF001 - there is no public way

    def _node_site(self, node: Any) -> Site | None:  # noqa: ANN401 - torch's Node
        if node is None:
            return None
        name, site = self._node_sites.get(node._sequence_nr(), ("", None))  # noqa: SLF001 - there is no public way
        # A sequence number from another thread, or handed on to another op, would give the wrong line.
        return (
            site
            if site is not None and name == _plain(node.name().removesuffix("0").removesuffix("Backward"))
            else None
        )

    def remember_nodes(self, name: str, numbers: range, frame: FrameType) -> None:
        """Remember the line that created nodes of the autograd graph."""
        if not numbers or threading.get_ident() != self._thread:
            return
        if len(self._node_sites) > _MOST_NODES:
            self._node_sites.clear()
        site = site_of(frame)
        for number in numbers:
            self._node_sites[number] = (_plain(name.partition(".")[0]), site)

    def _classify_call(
        self,
        site: OpAtSite,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        switches: tuple[Any, ...],
        *,
        traced: bool,
    ) -> None:
        if traced:
            results = [(self._classify_traced(entry, site.op, args, kwargs, switches), False) for entry in site.entries]
        else:
            key = switches, signature_of(args), signature_of(kwargs.values()) if kwargs else ()
            results = [self._classify_values(entry, key, site.op, args, kwargs) for entry in site.entries]
        classifications = [classification for classification, _ in results]
        if self.strict and not traced:
            for entry, classification in zip(site.entries, classifications, strict=True):
                if classification is not None and classification.status is FindingStatus.ACTIVE:
                    self.refused = entry.refusal(classification)
                    raise self.refused
        algorithms, warn_only, *_ = switches
        if algorithms and not warn_only and not traced:  # PyTorch raises for ops that alert, so they do not run
            classifications = [
                None if classification is None or classification.alerts else classification
                for classification in classifications
            ]
        cached = None
        if site.cache_attempts and not kwargs and all(is_final for _, is_final in results):
            site.cache_attempts -= 1
            try:
                cached = CachedCall(CachedSignature(args), switches, classifications)
            except Exception:  # noqa: BLE001 - private parts of PyTorch may change; without the cache, only speed is lost
                site.cache_attempts = 0
        with self._lock:
            site.count(classifications, 1)
            if cached is not None:
                site.settle()
                site.cached = cached

    def _classify_traced(
        self, at: EntryAtSite, op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any], switches: tuple[Any, ...]
    ) -> Classification | None:
        # A symbolic size must not be compared: the comparison would become a guard.
        call = replace(self._call(op, args, kwargs), traced=True)
        classification = classify(at.entry, call, at.device, self._as_switches(switches))
        # On a CPU, few indices have the repeats that make an op differ, so an unknown index is no reason to warn.
        return classification if classification is None or classification.settled or at.device != "cpu" else None

    def _classify_values(
        self, at: EntryAtSite, key: tuple[Any, ...], op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Classification | None, bool]:
        """The classification of a call, and whether it holds for all further calls with this signature."""
        switches = self._as_switches(key[0])
        signature = at.signatures.get(key)
        if signature is None:
            classification = classify(at.entry, self._call(op, args, kwargs), at.device, switches)
            if len(at.signatures) >= _MOST_SIGNATURES:
                at.signatures.clear()
            signature = at.signatures[key] = SignatureClassification(classification)
        classification = signature.classification
        if classification is None or classification.settled:
            return classification, True
        # The status depends on values: read those of the first calls, and assume that later calls are alike.
        if signature.looks < LOOKS and at.looks < ALL_LOOKS:
            call = replace(self._call(op, args, kwargs), look=True)
            classification = classify(at.entry, call, at.device, switches)
            for reader in (signature, at):
                if reader.looked is None or reader.looked.status is not FindingStatus.ACTIVE:
                    reader.looked = classification
                reader.looks += 1  # last, because another thread may use `looked` as soon as this is counted
            return classification, False
        if at.device != "cpu":
            return classification, True
        return (signature.looked if signature.looks else at.looked), True

    def _as_switches(self, switches: tuple[Any, ...]) -> Switches:
        algorithms, warn_only, *_ = switches
        return Switches(algorithms, warn_only, self.attention)

    @staticmethod
    def _call(op: WatchedOp, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpCall:
        return OpCall(op.name, op.bind(args, kwargs), _torch().threads(), look=False)

    def ran_graph(self, key: object, findings: list[OpFinding], frame: FrameType) -> None:
        """Record that a compiled graph runs, with the ops seen while it was traced."""
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = (findings, site_of(frame))

    @property
    def is_used(self) -> bool:
        """Whether a watched op ran."""
        return bool(self._sites)

    @property
    def news(self) -> object:
        """A value that changes when findings change other than in their number of calls."""
        with self._lock:
            sites = list(self._sites.values())
        classifications = sum(len(entry.calls) for site in sites for entry in site.entries)
        drawing = sum(1 for site in sites if site.draws)
        return len(sites), classifications, drawing, len(self.alerts), len(self._graphs), self.refused, self.fault

    def traced_findings(self) -> list[OpFinding]:
        """The findings on tensors without values so far."""
        return [finding for finding in self._calls() if finding.traced]

    def findings(self) -> list[Finding]:
        """All findings, active ones first, then in order of occurrence."""
        ran = list(self._calls())
        # A graph that runs op by op was seen doing so from the same line; do not report its ops twice.
        eager = {_op_on_line(finding) for finding in ran if not finding.traced}
        graphs = [finding for finding in self._in_graphs() if _op_on_line(finding) not in eager]
        known = eager | set(map(_op_on_line, graphs))
        calls = [finding for finding in ran if not finding.traced or _op_on_line(finding) not in known]
        merged = _merged([*calls, *graphs, *self._from_alerts(ran), *self.from_workers()[0]])
        order = list(FindingStatus)
        return sorted(merged, key=lambda finding: order.index(finding.status))

    def draws(self) -> list[Draw]:
        """The random ops that drew, in order of occurrence."""
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
            counted = [(entry, dict(entry.calls)) for site in sites for entry in site.entries]
        for entry, calls in counted:
            for classification, count in calls.items():
                if classification is not None:
                    yield entry.finding(classification, count, at_least=entry.hot and self.exhausted)

    def _in_graphs(self) -> Iterator[OpFinding]:
        for findings, site in list(self._graphs.values()):  # a copy, because the cell may still run
            for finding in findings:
                accepted = finding.accepted or accepts(site, finding.op, finding.public)
                yield replace(
                    finding, place=site.place, called_from=site.called_from, graph=True, count=0, accepted=accepted
                )

    def _from_alerts(self, ran: list[OpFinding]) -> Iterator[OpFinding]:
        """PyTorch's warnings about ops that the catalogue does not know."""
        sites, alerts = list(self._sites.values()), list(self.alerts)
        known = {alert for site in sites for entry in site.op.entries for alert in entry.alerts}
        counts = Counter((alert.name, alert.site.place) for alert in alerts)
        reported = set()
        for alert in alerts:
            key = alert.name, alert.site.place
            if alert.name in known or key in reported or any(alert.name in finding.op for finding in ran):
                continue
            reported.add(key)
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


def _op_on_line(finding: OpFinding) -> object:
    return finding.op, finding.device, finding.outermost


def _plain(name: str) -> str:
    """A name that compares equal for an op and its autograd node (`index_select` and `IndexSelect`)."""
    return name.replace("_", "").lower()


def _merged(findings: list[Finding]) -> list[Finding]:
    """Merge the findings of a line that come from several instructions or signatures."""
    merged: dict[object, Finding] = {}
    for finding in findings:
        first = merged.get(finding.key)
        merged[finding.key] = finding if first is None else first.plus(finding)
    return list(merged.values())
