"""Findings: a flagged op or unseeded source at a line, on a device, in a direction, with a status."""

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

    ACTIVE = "active"  # with these arguments and switches, the result may differ between runs
    HANDLED = "handled"  # it would differ, but the deterministic switch is on and PyTorch uses a deterministic kernel
    LATENT = "latent"  # deterministic here; may differ on CUDA or with more elements


# Hot ops are counted until they are known, which takes a while or not, as fast as the machine is. So many calls are
# always counted; text that is saved in a notebook says no more than that, or no two runs would show the same.
SURE_CALLS = 3


@public
@dataclass(frozen=True)
class Finding:
    """A flagged op that ran.

    Attributes:
        op: the op's name, e.g. `"index_put_"`.
        public: what users write, e.g. `"torch.Tensor.index_put_"`.
        status: active, handled or latent.
        device: the type of device it ran on, e.g. `"cpu"`.
        direction: forward, or backward if a backward pass called it.
        place: the line of your code that called it; None if your code did not.
        called_from: the line of the cell or script, if `place` is in a function that it called.
        made_by: for a backward op, the line of its forward pass, if known.
        count: number of calls; 0 for an op in a compiled graph, where calls cannot be counted.
        at_least: whether there may have been more calls.
        hot: whether the op is called so often that only its first calls are counted.
        why: why the result may differ.
        remedy: how to fix it, in one sentence.
        elsewhere: for a latent finding, where the result may differ: a device type, or `"cpu"` for more elements.
        alerts: whether PyTorch itself warns or raises under `torch.use_deterministic_algorithms`.
        graph: whether it ran in a compiled graph.
        traced: whether it was called on tensors without values, such as while tracing a graph.
        accepted: whether its line has a comment `# repro: accept OP`.
        link: the documentation of the op or source.
        worker: whether it ran in a worker process of a `DataLoader`.
        is_source: whether it is an unseeded source, not an op.
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
        """The line that called it, in its cell or file."""
        return None if self.place is None else self.place.line

    @property
    def places(self) -> list[Place]:
        """All lines that it names."""
        return [place for place in (self.place, self.called_from, self.made_by) if place is not None]

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
        """Whether it is active and ran on real values."""
        return self.status is FindingStatus.ACTIVE and (self.graph or not self.traced)

    @property
    def where(self) -> tuple[str, str, str, Place | None, Place | None]:
        """Op, device, direction and lines: equal for what a user calls the same finding."""
        return self.op, self.device, self.direction.value, self.place, self.called_from


def doubt(findings: Iterable[Finding]) -> str:
    """The first finding that may differ between runs, accepted or not; empty if there is none.

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
