"""Derives the status of a call of a flagged op from the catalogue and the current switches."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, replace

from repro_magic.determinism.advice import torch_version
from repro_magic.findings import FindingStatus
from repro_magic.ops.catalogue.model import Effect, Entry, Hazard, OpCall

# Devices that latent findings warn about; Apple's GPUs matter on macOS only.
_ELSEWHERE = ("cuda", "mps") if sys.platform == "darwin" else ("cuda",)


@dataclass(frozen=True)
class Switches:
    """The switches that decide a status, at the moment of a call.

    Attributes:
        algorithms: whether deterministic algorithms are on.
        warn_only: whether ops without a deterministic algorithm warn instead of raising.
        attention: whether a deterministic scope makes fused attention take its deterministic path even in warn mode.
    """

    algorithms: bool
    warn_only: bool
    attention: bool = False

    def handle(self, hazard: Hazard) -> bool:
        """Whether PyTorch takes a deterministic path."""
        if hazard.switch is Effect.HANDLES_IF_STRICT:
            return self.algorithms and (self.attention or not self.warn_only)
        return self.algorithms and hazard.switch is Effect.HANDLES


@dataclass(frozen=True, eq=False)
class Classification:
    """The status of a call, and its reason. Equal classifications are the same object, so identity can count calls.

    Attributes:
        status: the status.
        hazard: the hazard in the catalogue that leads to the status.
        elsewhere: the device on which a latent finding may differ; see `Finding`.
        alerts: whether PyTorch itself warns or raises for this call, under the switch.
        settled: whether the status holds for all values; if False, it depends on the values of tensors.
    """

    status: FindingStatus
    hazard: Hazard
    elsewhere: str | None = None
    alerts: bool = False
    settled: bool = True


_classification = functools.cache(Classification)


@functools.cache
def hazards_of(entry: Entry, version: tuple[int, int]) -> tuple[Hazard, ...]:
    """The hazards of an entry that apply to a release of PyTorch."""
    return tuple(
        hazard
        for hazard in entry.hazards
        if (hazard.since is None or hazard.since <= version) and (hazard.until is None or hazard.until > version)
    )


def classify(entry: Entry, call: OpCall, device: str, switches: Switches) -> Classification | None:
    """Classify a call; None if it is deterministic everywhere.

    Args:
        entry: the op's entry in the catalogue.
        call: the call.
        device: the type of device it runs on.
        switches: the current switches.
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
        hazard = _first(hazards, replace(call, at_scale=True) if other == device else call, other)
        if hazard is not None and hazard[0].differs and not switches.handle(hazard[0]):
            return _classification(FindingStatus.LATENT, hazard[0], other, alerts, hazard[1])
    return None if here is None else _classification(FindingStatus.LATENT, here[0], None, alerts)


def _first(hazards: tuple[Hazard, ...], call: OpCall, device: str) -> tuple[Hazard, bool] | None:
    """The first hazard on a device that is not ruled out, and whether it is certain."""
    for hazard in hazards:
        answer = hazard.condition(call) if device in hazard.devices else False
        if answer is not False:
            return hazard, answer is True
    return None
