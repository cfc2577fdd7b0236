"""The reproducibility of this process at one moment, as an object."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repro_magic.determinism.advice import Fixed, fixed
from repro_magic.determinism.settings import SETTINGS, Setting
from repro_magic.determinism.switches import Reading, read_all
from repro_magic.journal import Cell, CellDraws, Drift, Journal
from repro_magic.rng.seed_policy import SeedPolicy
from repro_magic.rng.seeding import (
    HASH_SEED_VARIABLE,
    GeneratorState,
    generator_states,
    hash_seed_of_this_process,
    seed_in_force,
)
from repro_magic.runtime.import_hooks import is_imported
from repro_magic.runtime.public import public

_DISTRIBUTIONS = ("repro-magic", "torch", "numpy", "ipython", "ipykernel", "ipywidgets")


@dataclass(frozen=True)
class SettingState:
    """A setting at one moment.

    Attributes:
        setting: the setting.
        value: its value; None if it is not available yet, `Unreadable` if PyTorch's getter fails.
        blocked: why this process can no longer change it; None if it can.
        drift: how code changed it; None if it did not.
        is_usual: whether a fresh process has the same value.
        before_cell: its value before the running cell, if the cell changed it; else None.
    """

    setting: Setting
    value: Any
    blocked: str | None
    drift: Drift | None
    is_usual: bool
    before_cell: Any = None


@public
@dataclass(frozen=True)
class ProcessStatus:
    """The state of generators, switches, versions and devices.

    Attributes:
        seed: the last seed set through `repro_magic`; None if there is none.
        generators: one row for each generator.
        switches: each available switch, with its value or the reason why it cannot be read.
        fixed: settings that this process can no longer change.
        versions: distribution -> version, Python first.
        devices: PyTorch's devices, as text; says so if torch is not imported.
        settings: the settings of the process, with their values.
        cells: in a notebook, the cells in which flagged ops ran.
        last_draws: in a notebook, generator (library and device) -> the cell that drew from it last.
        is_watched: in a notebook, whether its cells are watched; else None.
        seed_policy: in a notebook, the policy set by the last `%repro_seed` or the panel; None if there is none.
        libraries: in a notebook, the cells in which a library function created an unseeded generator.
    """

    seed: int | None
    generators: list[GeneratorState]
    switches: list[Reading]
    fixed: list[Fixed]
    versions: dict[str, str]
    devices: list[str]
    settings: list[SettingState] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    last_draws: Mapping[str, str] = field(default_factory=dict)
    is_watched: bool | None = None
    seed_policy: SeedPolicy | None = None
    libraries: list[CellDraws] = field(default_factory=list)


def status(
    journal: Journal | None = None, *, is_watched: bool | None = None, seed_policy: SeedPolicy | None = None
) -> ProcessStatus:
    """Return the state of this process; change and start nothing (no torch import, no CUDA start).

    Args:
        journal: the record of a notebook's cells.
        is_watched: whether the cells are watched.
        seed_policy: the policy set by the last `%repro_seed` or the panel.

    Example:
        >>> import repro_magic
        >>> sorted(repro_magic.status().versions)[0]
        'Python'
    """
    value = hash_seed_of_this_process()
    hashes = Fixed(
        name=HASH_SEED_VARIABLE,
        value=value,
        why="set order varies between kernels" if value == "random" else "Python reads it only when it starts",
        remedy=f"set {HASH_SEED_VARIABLE} before starting the kernel",
    )
    return ProcessStatus(
        seed=seed_in_force(),
        generators=generator_states(),
        switches=read_all(),
        fixed=[hashes, *fixed()],
        versions=_versions(),
        devices=_devices(),
        settings=[_setting_state(setting, journal) for setting in SETTINGS],
        cells=[] if journal is None else journal.cells,
        last_draws={} if journal is None else dict(journal.last_draws),
        is_watched=is_watched,
        seed_policy=seed_policy,
        libraries=[] if journal is None else [cell for cell in journal.ledger() if cell.libraries],
    )


def _setting_state(setting: Setting, journal: Journal | None) -> SettingState:
    value = setting.read()
    usual = setting.default
    if usual is None and journal is not None:  # the default depends on the machine: take the first value
        usual = journal.first.get(setting)
    drift = None if journal is None else journal.drifts.get(setting)
    before = None if journal is None else journal.last_seen(setting)
    return SettingState(
        setting,
        value,
        setting.blocked(),
        drift,
        is_usual=value is None or usual in (value, None),
        before_cell=None if before == value else before,
    )


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _devices() -> list[str]:
    if not is_imported("torch"):
        return ["torch is not imported yet"]
    torch = sys.modules["torch"]
    threads = torch.get_num_threads()
    devices = [f"cpu: {platform.machine()}, {threads} {'thread' if threads == 1 else 'threads'}"]
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is None or not module.is_available():
            continue
        is_started = module.is_initialized()
        for index in range(module.device_count()):
            # Reading a device's name starts the device, and a status must start nothing.
            name = module.get_device_name(index) if is_started else "not started yet"
            devices.append(f"{kind}:{index}: {name}")
    if torch.backends.mps.is_available():  # pragma: no cover - Apple hardware
        devices.append("mps")
    return devices
