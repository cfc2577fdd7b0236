"""What was found of a flagged op: at one place, on one device, in one direction, with one status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

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

    ACTIVE = "active"  # here, with these arguments and switches, it may differ from run to run
    HANDLED = "handled"  # it would, but the deterministic switch is on and PyTorch takes a deterministic path
    LATENT = "latent"  # it is deterministic here, and may differ on CUDA or with more elements


# Hot ops are counted until they are known, which takes a while or not, as fast as the machine is. So many calls are
# always counted; text that is saved in a notebook says no more than that, or no two runs would show the same.
SURE_CALLS = 3


@public
@dataclass(frozen=True)
class Finding:
    """A flagged op that ran.

    Attributes:
        op: the op, e.g. `"index_put_"`.
        public: what users write, e.g. `"torch.Tensor.index_put_"`.
        status: active, handled or latent.
        device: the type of device it ran on, e.g. `"cpu"`.
        direction: forward, or backward if a backward pass called it.
        place: the line of the user's code that called it; None if none did.
        called_from: the cell's or script's own line, where `place` is in a function that it called.
        made_by: for a backward op the line of the forward pass that it belongs to, where that is known.
        count: calls; 0 for an op inside a compiled graph, whose calls cannot be seen.
        at_least: whether there may have been more.
        hot: whether it is one of the ops that are called so often that they are counted only until they are known.
        why: why the result may differ.
        remedy: what to do, in one sentence.
        elsewhere: for a latent one where it may differ: a type of device, or `"cpu"` for more elements.
        alerts: whether PyTorch itself warns of it, or raises, under `torch.use_deterministic_algorithms`.
        graph: whether it is part of a compiled graph that ran.
        traced: whether it was called on tensors without values, while a graph was made or a model tried out.
        accepted: whether a comment `# repro: accept OP` stands on its line.
        link: where the facts come from.
        worker: whether it ran in a worker process of a `DataLoader`.
        is_source: whether it is no op of PyTorch but a source of numbers that no seed fixes.
    """

    op: str
    public: str
    status: FindingStatus
    device: str
    direction: Direction
    place: Place | None
    called_from: Place | None
    made_by: Place | None
    count: int
    at_least: bool
    hot: bool
    why: str
    remedy: str
    elsewhere: str | None
    alerts: bool
    graph: bool
    traced: bool
    accepted: bool
    link: str
    worker: bool = False
    is_source: bool = False

    @property
    def line(self) -> int | None:
        """The line that called it, in its own cell or file."""
        return None if self.place is None else self.place.line

    @property
    def places(self) -> list[Place]:
        """Every place that it names."""
        return [place for place in (self.place, self.called_from, self.made_by) if place is not None]

    @property
    def outermost(self) -> Place | None:
        """The cell's or script's own line."""
        return self.called_from or self.place

    @property
    def warns(self) -> bool:
        """Whether the user should be told: it may differ, and is not accepted on its line."""
        return self.may_differ and not self.accepted

    @property
    def may_differ(self) -> bool:
        """Whether it is active, and really ran."""
        return self.status is FindingStatus.ACTIVE and (self.graph or not self.traced)

    @property
    def where(self) -> tuple[str, str, str, Place | None, Place | None]:
        """Op, device, direction and places: what a user would call the same finding."""
        return self.op, self.device, self.direction.value, self.place, self.called_from


def doubt(findings: Iterable[Finding]) -> str:
    """The first of what may give something else in another run, accepted or not; empty if nothing may.

    Example:
        >>> doubt([])
        ''
    """
    for one in findings:
        if one.may_differ:
            return one.op if one.line is None else f"{one.op} in line {one.line}"
    return ""


# What all sources of numbers that no seed fixes have in common: they belong to no device and no pass, and are active
# wherever they are used.
SOURCE = Finding(
    op="",
    public="",
    status=FindingStatus.ACTIVE,
    device="cpu",
    direction=Direction.FORWARD,
    place=None,
    called_from=None,
    made_by=None,
    count=1,
    at_least=False,
    hot=False,
    why="",
    remedy="",
    elsewhere=None,
    alerts=False,
    graph=False,
    traced=False,
    accepted=False,
    link="",
    is_source=True,
)


@public
@dataclass(frozen=True)
class Draw:
    """A random op that drew from a generator.

    Attributes:
        op: the overload, e.g. `"bernoulli_.float"`.
        device: the type of device.
        place: the line of the user's code that called it; None if none did.
        count: calls.
        at_least: whether there may have been more: hot ops are counted until they are known.
        worker: whether it drew in a worker process of a `DataLoader`.
    """

    op: str
    device: str
    place: Place | None
    count: int
    at_least: bool
    worker: bool = False
