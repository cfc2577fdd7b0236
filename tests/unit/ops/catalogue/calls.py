"""What the tests of the catalogue share: calls as a watch makes them, and what the catalogue says of one."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from typing import Any

import torch

from repro_magic.ops.catalogue.entries import CATALOGUE
from repro_magic.ops.catalogue.lookup import lookup
from repro_magic.ops.catalogue.model import Entry, Hazard, OpCall
from repro_magic.plugins import torchvision

ALL = (*CATALOGUE, *torchvision.ENTRIES)
HERE = tuple(int(part) for part in torch.__version__.split(".")[:2])


def hazards_here(entry: Entry) -> list[Hazard]:
    return [
        hazard
        for hazard in entry.hazards
        if (hazard.since is None or hazard.since <= HERE) and (hazard.until is None or hazard.until > HERE)
    ]


def call_of(overload: str, *, threads: int = 1, look: bool = True, **arguments: Any) -> OpCall:
    """A call with its schema's defaults filled in, as the watcher makes it."""
    name, _, which = overload.partition(".")
    schema = getattr(getattr(torch.ops.aten, name), which)._schema
    full = {given.name: arguments.pop(given.name, given.default_value) for given in schema.arguments}
    assert not arguments, f"{overload} does not take {arguments}"
    return OpCall(overload=overload, arguments=full, threads=threads, look=look)


def judged(device: str, call: OpCall) -> tuple[bool | None, Hazard] | None:
    """The first hazard on a device that is not ruled out, and whether it holds; None: none."""
    for entry in lookup()[call.overload.partition(".")[0]]:
        for hazard in hazards_here(entry):
            if device in hazard.devices and (answer := hazard.condition(call)) is not False:
                return answer, hazard
    return None


def may_differ(device: str, call: OpCall) -> bool | None:
    found = judged(device, call)
    return bool(found[0]) and found[1].differs if found and found[0] is not None else (None if found else False)


def floats(*shape: int) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.arange(max(1, torch.Size(shape).numel()), device=device).reshape(shape).float() + 0.5


def whole(*shape: int) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.ones(shape, device=device, dtype=torch.int64)


def tensor(*values: Any) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.tensor(values, device=device)


def quantized(_device: str) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that they will go one day
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)


def numbers(count: int, below: int) -> Callable[[str], torch.Tensor]:
    return lambda device: torch.arange(count, device=device) % below


def built(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    def build(value: Any) -> Any:
        if isinstance(value, list):
            return [build(item) for item in value]
        return value(device) if isinstance(value, types.FunctionType) else value

    return {name: build(value) for name, value in arguments.items()}


MANY, REPEATED, DISTINCT = 40_000, numbers(40_000, 7), numbers(40_000, 40_000)


ROWS = {"self": floats(4, 3), "dim": 0, "source": floats(2, 3)}
