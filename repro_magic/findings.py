"""Findings: a flagged op or an unseeded source at a line, with a status, a reason and a remedy."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

from repro_magic.introspection.location import Place
from repro_magic.runtime.public import public


@public
class Direction(Enum):
    """Whether the op computes a result or a gradient."""

    FORWARD = "forward"
    BACKWARD = "backward"


@public
class FindingStatus(Enum):
    """What a finding means for the result."""

    ACTIVE = "active"  # with these arguments and switches, the result may differ between runs
    HANDLED = "handled"  # it would differ, but the deterministic switch is on and PyTorch uses a deterministic kernel
    LATENT = "latent"  # deterministic here; may differ on CUDA or with more elements


# How long hot ops are counted depends on the speed of the machine, but at least so many calls are. Saved text shows no
# larger number, so that it does not differ between runs.
SURE_CALLS = 3


@public
@dataclass(frozen=True)
class Remedy:
    """How to fix a finding, in one sentence: as written in a cell, and in a script, which has no magics.

    Attributes:
        in_cell: for a cell.
        in_script: for a script; the same if left out.

    Example:
        >>> Remedy("Use each index at most once.").in_script
        'Use each index at most once.'
    """

    in_cell: str
    in_script: str = ""

    def __post_init__(self) -> None:
        """One sentence may serve both."""
        object.__setattr__(self, "in_script", self.in_script or self.in_cell)

    @classmethod
    def under_deterministic(cls, remedy: str) -> Remedy:
        """A remedy that names `%%deterministic`; in a script it names the function.

        Example:
            >>> Remedy.under_deterministic("Pad with zeros under {deterministic}.").in_script
            'Pad with zeros under repro_magic.deterministic().'
        """
        return cls(*(remedy.format(deterministic=name) for name in ("%%deterministic", "repro_magic.deterministic()")))

    @property
    def here(self) -> str:
        """The form for the code that runs now: IPython makes `get_ipython` a builtin while a cell runs."""
        return self.in_cell if hasattr(builtins, "get_ipython") else self.in_script


@public
@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that ran and may give different results between runs: an `OpFinding` or an `UnseededFinding`.

    Attributes:
        op: its name, e.g. `"index_put_"` or `"numpy.random.default_rng"`.
        public: what users write, e.g. `"torch.Tensor.index_put_"`.
        status: active, handled or latent.
        place: the line of your code that called it; None if your code did not.
        called_from: the line of the cell or script, if `place` is in a function that it called.
        count: number of calls; 0 for an op in a compiled graph, where calls cannot be counted.
        at_least: whether there may have been more calls.
        why: why the result may differ.
        remedy: how to fix it.
        accepted: whether its line has a comment `# repro: accept OP`.
        link: its documentation.
        worker: whether it ran in a worker process of a `DataLoader`.
    """

    op: str
    public: str
    status: FindingStatus = FindingStatus.ACTIVE
    place: Place | None
    called_from: Place | None = None
    count: int = 1
    at_least: bool = False
    why: str
    remedy: Remedy
    accepted: bool
    link: str
    worker: bool = False

    @property
    def line(self) -> int | None:
        """The line that called it, in its cell or file."""
        return None if self.place is None else self.place.line

    @property
    def places(self) -> list[Place]:
        """All lines that it names."""
        return [place for place in (self.place, self.called_from) if place is not None]

    @property
    def outermost(self) -> Place | None:
        """The line of the cell or script."""
        return self.called_from or self.place

    @property
    def warns(self) -> bool:
        """Whether it is reported: the result may differ, and its line does not accept it."""
        return self.may_differ and not self.accepted

    @property
    def may_differ(self) -> bool:
        """Whether it is active."""
        return self.status is FindingStatus.ACTIVE

    @property
    def where(self) -> tuple[object, ...]:
        """Its name and lines: equal for what a user calls the same finding."""
        return self.op, self.place, self.called_from

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for findings that are reported as one, their calls added up."""
        return *self.where, self.status, self.why, self.worker

    def plus(self, other: Self) -> Self:
        """This finding with the calls of another of the same key."""
        return replace(self, count=self.count + other.count, at_least=self.at_least or other.at_least)


@public
@dataclass(frozen=True, kw_only=True)
class OpFinding(Finding):
    """A flagged op that ran.

    Attributes:
        device: the type of device it ran on, e.g. `"cpu"`.
        direction: forward, or backward if a backward pass called it.
        made_by: for a backward op, the line of its forward pass, if known.
        hot: whether the op is called so often that only its first calls are counted.
        elsewhere: for a latent finding, where the result may differ: a device type, or `"cpu"` for more elements.
        alerts: whether PyTorch itself warns or raises under `torch.use_deterministic_algorithms`.
        graph: whether it ran in a compiled graph.
        traced: whether it was called on tensors without values, such as while tracing a graph.
    """

    device: str
    direction: Direction = Direction.FORWARD
    made_by: Place | None = None
    hot: bool = False
    elsewhere: str | None = None
    alerts: bool = False
    graph: bool = False
    traced: bool = False

    @property
    def places(self) -> list[Place]:
        """All lines that it names."""
        return [*super().places, *([] if self.made_by is None else [self.made_by])]

    @property
    def may_differ(self) -> bool:
        """Whether it is active and ran on real values."""
        return super().may_differ and (self.graph or not self.traced)

    @property
    def where(self) -> tuple[object, ...]:
        """Op, device, direction and lines: equal for what a user calls the same finding."""
        return *super().where, self.device, self.direction

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for findings that are reported as one, their calls added up."""
        return *super().key, self.elsewhere, self.traced, self.graph

    def plus(self, other: Self) -> Self:
        """This finding with the calls of another of the same key."""
        both = super().plus(other)
        return replace(both, made_by=self.made_by or other.made_by, alerts=self.alerts or other.alerts)


@public
@dataclass(frozen=True, kw_only=True)
class UnseededFinding(Finding):
    """An unseeded source of randomness that your code used; it is active on every device."""


def doubt(findings: Iterable[Finding]) -> str:
    """The first finding that may differ between runs, accepted or not; empty if there is none.

    Example:
        >>> doubt([])
        ''
    """
    for finding in findings:
        if finding.may_differ:
            return finding.op if finding.line is None else f"{finding.op} in line {finding.line}"
    return ""


@public
@dataclass(frozen=True)
class Draw:
    """A random op that drew from a generator.

    Attributes:
        op: the overload, e.g. `"bernoulli_.float"`.
        device: the type of device.
        place: the line of your code that called it; None if your code did not.
        count: calls.
        at_least: whether there may have been more calls: hot ops are not counted to the end.
        worker: whether it drew in a worker process of a `DataLoader`.
    """

    op: str
    device: str
    place: Place | None
    count: int
    at_least: bool
    worker: bool = False
