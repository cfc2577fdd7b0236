"""What an entry of the catalogue says, and what it is asked about.

An `Entry` is one operation as a user knows it; its `names` are all the aten names under which it may be seen, every
overload of which is watched. Its `hazards` say for each kind of device when the result may differ. Nothing here
looks at a value unless `OpCall.look` allows it, and nothing imports torch: the table is data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from repro_magic.findings import Direction
from repro_magic.runtime.public import public


@public
class Effect(Enum):
    """What the deterministic switch does to a hazard."""

    HANDLES = "takes a deterministic path"
    HANDLES_IF_STRICT = "takes a deterministic path, but none in warn mode"
    ALERTS = "has no deterministic path: PyTorch warns, or raises"
    IGNORES = "changes nothing"


@public
@dataclass(frozen=True)
class OpCall:
    """One call of a watched op, as a condition sees it.

    Attributes:
        overload: the aten overload, e.g. `"index_put_.default"`.
        arguments: every argument by its schema's name, defaults filled in.
        threads: threads of one CPU op.
        look: whether values may be read (never those of FakeTensors, nor of a device, nor after the first calls).
        traced: the tensors have no values; what is written is then taken to be different.
        at_scale: judge as if there were enough elements and threads for a CPU to split the work.
    """

    overload: str
    arguments: Mapping[str, Any]
    threads: int
    look: bool
    traced: bool = False
    at_scale: bool = False


# True: may differ; False: cannot; None: cannot be told without looking at values.
Condition = Callable[[OpCall], bool | None]


def always(_call: OpCall) -> bool:
    """No condition."""
    return True


@public
@dataclass(frozen=True, eq=False)  # one line of the table is that line: hashed often, by identity
class Hazard:
    """On which devices, when and why the result may differ, and what helps.

    Attributes:
        devices: device types, e.g. `("cuda",)`.
        why: the reason in one sentence.
        remedy: what to do, in one sentence.
        switch: what `torch.use_deterministic_algorithms` does to it.
        condition: when it applies; see `Condition`.
        differs: False where PyTorch alerts although the result cannot differ here.
        since: first release (major, minor) it holds for; None: all supported.
        until: first release it no longer holds for; None: all later ones too.
    """

    devices: tuple[str, ...]
    why: str
    remedy: str
    switch: Effect
    condition: Condition = always
    differs: bool = True
    since: tuple[int, int] | None = None
    until: tuple[int, int] | None = None


@public
@dataclass(frozen=True, eq=False)  # compared by identity
class Entry:
    """One operation.

    Attributes:
        op: its name in reports, e.g. `"index_add_"`.
        public: what users write, e.g. `"Tensor.index_add_"`.
        direction: forward or backward.
        names: aten names without overload under which it may be seen; all their overloads are watched.
        hazards: by device; the first whose device and condition fit counts.
        link: where the facts come from.
        alerts: PyTorch's names for it in its own alerts, as they stand in the libraries.
        hot: called so often in ordinary training that watching each call would cost too much.
    """

    op: str
    public: str
    direction: Direction
    names: tuple[str, ...]
    hazards: tuple[Hazard, ...]
    link: str
    alerts: tuple[str, ...] = ()
    hot: bool = False
