"""The types of the catalogue: `Entry`, `Hazard`, `Effect`, and `OpCall`, to which conditions apply.

An `Entry` is an operation as users know it. Its `names` are its aten names; all their overloads are watched. Its
`hazards` say when the result may differ on which device. Values are read only if `OpCall.look` allows it, and nothing
imports torch: the table is data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from repro_magic.findings import Direction, Remedy
from repro_magic.runtime.public import public


@public
class Effect(Enum):
    """What `torch.use_deterministic_algorithms` does about a hazard."""

    HANDLES = "takes a deterministic path"
    HANDLES_IF_STRICT = "takes a deterministic path, but none in warn mode"
    ALERTS = "has no deterministic path: PyTorch warns, or raises"
    IGNORES = "changes nothing"


@public
@dataclass(frozen=True)
class OpCall:
    """A call of a watched op, as a condition sees it.

    Attributes:
        overload: the aten overload, e.g. `"index_put_.default"`.
        arguments: every argument by its name in the schema, defaults included.
        threads: threads per CPU op.
        look: whether values may be read; never for FakeTensors, for devices, or after the first calls.
        traced: whether the tensors have no values; written values are then assumed to differ.
        at_scale: classify as if a CPU had enough elements and threads to split the work.
    """

    overload: str
    arguments: Mapping[str, Any]
    threads: int
    look: bool
    traced: bool = False
    at_scale: bool = False


# True: may differ; False: cannot; None: unknown without reading values.
Condition = Callable[[OpCall], bool | None]


def always(_call: OpCall) -> bool:
    """No condition."""
    return True


@public
@dataclass(frozen=True, eq=False)  # compared by identity: hazards are hashed often
class Hazard:
    """A reason why the result of an op may differ: devices, condition and remedy.

    Attributes:
        devices: device types, e.g. `("cuda",)`.
        why: the reason in one sentence.
        remedy: how to fix it.
        switch: what `torch.use_deterministic_algorithms` does about it.
        condition: when it applies; see `Condition`.
        differs: False if PyTorch alerts although the result cannot differ.
        since: first release (major, minor) with the hazard; None: all supported releases.
        until: first release without the hazard; None: all later releases have it.
    """

    devices: tuple[str, ...]
    why: str
    remedy: Remedy
    switch: Effect
    condition: Condition = always
    differs: bool = True
    since: tuple[int, int] | None = None
    until: tuple[int, int] | None = None


@public
@dataclass(frozen=True, eq=False)  # compared by identity
class Entry:
    """A flagged op: its names and hazards.

    Attributes:
        op: its name in reports, e.g. `"index_add_"`.
        public: what users write, e.g. `"Tensor.index_add_"`.
        direction: forward or backward.
        names: its aten names without overload; all overloads are watched.
        hazards: in order; the first whose device and condition match counts.
        link: its documentation.
        alerts: its names in PyTorch's own alerts.
        hot: whether training calls it too often to watch each call.
    """

    op: str
    public: str
    direction: Direction
    names: tuple[str, ...]
    hazards: tuple[Hazard, ...]
    link: str
    alerts: tuple[str, ...] = ()
    hot: bool = False
