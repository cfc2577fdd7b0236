"""Settings of the process, changed by `%config ReproMagic.NAME = VALUE` or in the panel.

A setting puts one or two switches under a short name, with values that are easy to write. It stores no value: it reads
the process, so changes by other code show, and writing it always sets the switches.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repro_magic.determinism import switches
from repro_magic.determinism.advice import cublas_workspace_is_read
from repro_magic.determinism.switches import Switch, Unreadable, checked_threads
from repro_magic.exceptions import InvalidSettingError
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported

_MODES: dict[str, tuple[bool, bool]] = {"off": (False, False), "warn": (True, True), "strict": (True, False)}


@dataclass(frozen=True, eq=False)
class Setting:
    """A setting of `%config ReproMagic`.

    Attributes:
        name: the name after `%config ReproMagic.`
        label: the name in the panel.
        switch: the switch that it reads and writes.
        says: what it does and what it costs.
        default: its value in a fresh process; None if that depends on the machine.
        choices: its values, if they are words; empty for on and off, and for numbers.
        is_count: whether its values are numbers from 1.
        to_switch: converts a value to the switch's value.
        from_switch: converts the switch's value back.
        and_turn: further switches to turn, with their values, for a value of the setting.
        blocked: why it can no longer be changed in this process; None if it can.
    """

    name: str
    label: str
    switch: Switch
    says: str
    default: Any
    choices: tuple[str, ...] = ()
    is_count: bool = False
    to_switch: Callable[[Any], Any] = lambda value: value
    from_switch: Callable[[Any], Any] = lambda value: value
    and_turn: Callable[[Any], dict[Switch, Any]] = lambda _value: {}
    blocked: Callable[[], str | None] = lambda: None

    @property
    def is_toggle(self) -> bool:
        """Whether it is on or off."""
        return not self.choices and not self.is_count

    def read(self) -> Any:  # noqa: ANN401 - each setting has its own type
        """The process's value, or the value that waits for PyTorch's import; None if there is neither.

        An `Unreadable` if PyTorch's getter raises.
        """
        if not self.switch.present():
            return _waiting.get(self)
        value = self.switch.guarded_read()
        return value if isinstance(value, Unreadable) else self.from_switch(value)

    def checked(self, value: object) -> Any:  # noqa: ANN401 - each setting has its own type
        """Check a value of the setting, and return it.

        Raises:
            InvalidSettingError: `value` is not one of the setting's values.

        Example:
            >>> CUDNN_BENCHMARK.checked(True)
            True
        """
        if self.is_count:
            return checked_threads(value)
        allowed: tuple[object, ...] = self.choices or (True, False)
        if type(value) in {str, bool} and value in allowed:
            return value
        raise InvalidSettingError(f"{self.name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")

    def write(self, value: object) -> None:
        """Set the value, now or right after the import of the switch's module.

        Raises:
            InvalidSettingError: `value` is not one of the setting's values, or the process can no longer change it;
                nothing was changed.
        """
        value = self.checked(value)
        reason = self.blocked()
        if reason is not None:
            raise InvalidSettingError(f"{self.name} cannot be changed: {reason}")
        for switch, turned in {self.switch: self.to_switch(value), **self.and_turn(value)}.items():
            _turn(switch, turned)
        if self.switch.present():
            _waiting.pop(self, None)
        else:
            _waiting[self] = value


# Values and switches that wait for an import. Switches belong to the process, so these do, too.
_waiting: dict[Setting, Any] = {}
_imports: dict[Switch, Waiting] = {}


def _turn(switch: Switch, value: Any) -> None:  # noqa: ANN401 - each switch has its own type
    if switch in _imports:
        _imports.pop(switch).cancel()
    if switch.module is None or is_imported(switch.module):
        if switch.present():  # this PyTorch may lack it
            switch.write(value)
    else:
        _imports[switch] = when_imported(switch.module, functools.partial(switch.write, value))


def stop_waiting() -> None:
    """Cancel the settings that wait for an import."""
    while _imports:
        _imports.popitem()[1].cancel()
    _waiting.clear()


def _toggle(name: str, label: str, switch: Switch, *, default: bool, says: str | None = None) -> Setting:
    return Setting(name, label, switch, says or switch.says, default)


def _inductor(mode: str) -> dict[Switch, Any]:
    """What else `torch.use_deterministic_algorithms` sets. Inductor starts with off, so off need not wait for it."""
    waits = switches.INDUCTOR_DETERMINISTIC in _imports
    present = switches.INDUCTOR_DETERMINISTIC.present()
    return {switches.INDUCTOR_DETERMINISTIC: mode != "off"} if mode != "off" or waits or present else {}


DETERMINISTIC_ALGORITHMS = Setting(
    name="deterministic_algorithms",
    label="Deterministic algorithms",
    switch=switches.ALGORITHMS,
    says="PyTorch uses deterministic kernels, which makes some ops slower. Where an op has none, warn lets it run and "
    "strict raises an error. Sets torch.use_deterministic_algorithms().",
    default="off",
    choices=tuple(_MODES),
    to_switch=_MODES.__getitem__,
    from_switch=lambda value: {state: mode for mode, state in _MODES.items()}.get(value, "off"),
    and_turn=_inductor,
)
CUDNN_DETERMINISTIC = _toggle("cudnn_deterministic", "cuDNN deterministic", switches.CUDNN_DETERMINISTIC, default=False)
CUDNN_BENCHMARK = _toggle(
    "cudnn_benchmark",
    "cuDNN benchmark",
    switches.CUDNN_BENCHMARK,
    default=False,
    says=f"{switches.CUDNN_BENCHMARK.says} Turning it off costs speed if input sizes stay the same.",
)
FILL_UNINITIALIZED_MEMORY = _toggle(
    "fill_uninitialized_memory", "Fill uninitialized memory", switches.FILL_MEMORY, default=True
)
MATMUL_TF32 = _toggle("matmul_tf32", "TF32 in matrix products", switches.MATMUL_TF32, default=False)
CUDNN_TF32 = _toggle("cudnn_tf32", "TF32 in cuDNN", switches.CUDNN_TF32, default=True)
_OFF = "When off, attention uses another kernel, which can be slower and need more memory."
FLASH_ATTENTION = _toggle(
    "flash_attention",
    "Flash attention",
    switches.FLASH_ATTENTION,
    default=True,
    says=f"{switches.FLASH_ATTENTION.says} {_OFF}",
)
EFFICIENT_ATTENTION = _toggle(
    "efficient_attention",
    "Memory-efficient attention",
    switches.EFFICIENT_ATTENTION,
    default=True,
    says=f"{switches.EFFICIENT_ATTENTION.says} {_OFF}",
)
CUDNN_ATTENTION = _toggle(
    "cudnn_attention",
    "cuDNN attention",
    switches.CUDNN_ATTENTION,
    default=True,
    says=f"{switches.CUDNN_ATTENTION.says} {_OFF}",
)
MATH_ATTENTION = _toggle("math_attention", "Math attention", switches.MATH_ATTENTION, default=True)
CUBLAS_WORKSPACE = Setting(
    name="cublas_workspace",
    label="cuBLAS workspace fixed",
    switch=switches.CUBLAS_WORKSPACE,
    says=f"{switches.CUBLAS_WORKSPACE.says} Costs about 24 MiB of GPU memory. Sets {switches.CUBLAS_VARIABLE}.",
    default=False,
    to_switch=lambda value: _workspace() if value else None,
    from_switch=lambda value: value in switches.CUBLAS_DETERMINISTIC,
    blocked=cublas_workspace_is_read,
)
THREADS = Setting(
    name="threads",
    label="CPU threads",
    switch=switches.THREADS,
    says=f"{switches.THREADS.says} Fewer threads are slower.",
    default=None,
    is_count=True,
)


def _workspace() -> str:
    present = os.environ.get(switches.CUBLAS_VARIABLE)
    return present if present in switches.CUBLAS_DETERMINISTIC else switches.CUBLAS_DETERMINISTIC[0]


SETTINGS: tuple[Setting, ...] = (
    DETERMINISTIC_ALGORITHMS,
    CUDNN_DETERMINISTIC,
    CUDNN_BENCHMARK,
    FILL_UNINITIALIZED_MEMORY,
    MATMUL_TF32,
    CUDNN_TF32,
    FLASH_ATTENTION,
    EFFICIENT_ATTENTION,
    CUDNN_ATTENTION,
    MATH_ATTENTION,
    THREADS,
    CUBLAS_WORKSPACE,
)
