"""torchvision's flagged ops, as a plug-in of `repro_magic.ops`."""

from __future__ import annotations

from repro_magic.findings import Direction, Remedy
from repro_magic.ops.catalogue.model import Effect, Entry, Hazard

_ON_CPU = Remedy("Pool the regions on the CPU.")
_UNDER_SWITCH = Remedy.under_deterministic(
    "Run the forward pass under {deterministic}, too: torchvision then uses a deterministic kernel."
)
_WHY = "Gradients of overlapping regions are added to the same element in no fixed order (atomicAdd)."

# Namespace and kernels as in torchvision/csrc/ops: each of these backward kernels alerts under its own name.
ENTRIES = tuple(
    Entry(
        op=f"{op}_backward",
        public=f"torchvision.ops.{op}",
        direction=Direction.BACKWARD,
        names=(f"torchvision::_{op}_backward",),
        hazards=(Hazard(("cuda", "mps"), _WHY, remedy, Effect.ALERTS),),
        link=f"https://docs.pytorch.org/vision/stable/generated/torchvision.ops.{op}.html",
        alerts=(f"{op}_backward_kernel",),
    )
    for op, remedy in (
        # With the switch on, torchvision builds roi_align from ordinary ops; the forward pass decides.
        ("roi_align", _UNDER_SWITCH),
        ("roi_pool", _ON_CPU),
        ("ps_roi_align", _ON_CPU),
        ("ps_roi_pool", _ON_CPU),
    )
)
