"""From one call of a flagged op to a status: what the catalogue says, under the switches as they are now."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, replace

from repro_magic.determinism.advice import torch_version
from repro_magic.findings import FindingStatus
from repro_magic.ops.catalogue.model import Effect, Entry, Hazard, OpCall

# Where a result may differ later; Apple's GPUs are nobody's next step on another system.
_ELSEWHERE = ("cuda", "mps") if sys.platform == "darwin" else ("cuda",)


@dataclass(frozen=True)
class Switches:
    """The switches that decide a status, at the moment of a call.

    Attributes:
        algorithms: deterministic algorithms are on.
        warn_only: they warn where there is none, instead of raising.
        attention: a deterministic scope makes fused attention take its deterministic path even in warn mode.
    """

    algorithms: bool
    warn_only: bool
    attention: bool = False

    def handle(self, hazard: Hazard) -> bool:
        """Whether a deterministic path is taken."""
        if hazard.switch is Effect.HANDLES_IF_STRICT:
            return self.algorithms and (self.attention or not self.warn_only)
        return self.algorithms and hazard.switch is Effect.HANDLES


@dataclass(frozen=True, eq=False)
class Classification:
    """What is known of one call. There is one object for each thing that can be known: it counts calls, by identity.

    Attributes:
        status: its status.
        hazard: the line of the catalogue that says so.
        elsewhere: for a latent one where it may differ; see `Finding`.
        alerts: whether PyTorch itself alerts, under the switch, in this call.
        settled: whether it stands whatever the values are; False: only a look at them could tell.
    """

    status: FindingStatus
    hazard: Hazard
    elsewhere: str | None = None
    alerts: bool = False
    settled: bool = True


_classification = functools.cache(Classification)


@functools.cache
def hazards_of(entry: Entry, version: tuple[int, int]) -> tuple[Hazard, ...]:
    """The hazards of an entry that hold for a release of PyTorch."""
    return tuple(
        hazard
        for hazard in entry.hazards
        if (hazard.since is None or hazard.since <= version) and (hazard.until is None or hazard.until > version)
    )


def classify(entry: Entry, call: OpCall, device: str, switches: Switches) -> Classification | None:
    """The status of a call; None where there is nothing to say of it.

    Args:
        entry: the op.
        call: the call.
        device: the type of device it runs on.
        switches: the switches at this moment.
    """
    hazards = hazards_of(entry, torch_version(sys.modules["torch"]))
    here = _first(hazards, call, device)
    if here is None and device != "cpu":
        return None
    alerts = here is not None and here[0].switch is Effect.ALERTS
    if here is not None and here[0].differs:
        status = FindingStatus.HANDLED if switches.handle(here[0]) else FindingStatus.ACTIVE
        return _classification(status, here[0], None, alerts, here[1])
    for other in (*_ELSEWHERE, device):
        found = _first(hazards, replace(call, at_scale=True) if other == device else call, other)
        if found is not None and found[0].differs and not switches.handle(found[0]):
            return _classification(FindingStatus.LATENT, found[0], other, alerts, found[1])
    return None if here is None else _classification(FindingStatus.LATENT, here[0], None, alerts)


def _first(hazards: tuple[Hazard, ...], call: OpCall, device: str) -> tuple[Hazard, bool] | None:
    """The first hazard on a device that is not ruled out, and whether it is certain."""
    for hazard in hazards:
        answer = hazard.condition(call) if device in hazard.devices else False
        if answer is not False:
            return hazard, answer is True
    return None
