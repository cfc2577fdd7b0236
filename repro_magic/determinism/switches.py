"""The table of all switches that bear on determinism: how to read and write each.

Nothing here imports PyTorch, or Inductor's configuration, which takes two seconds. That is why
`torch.use_deterministic_algorithms` is not called: its first call imports that configuration. Two switches do the two
things that it does.
"""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from repro_magic.exceptions import InvalidThreadsError
from repro_magic.runtime.import_hooks import is_imported

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
# The two values that cuBLAS documents as deterministic:
# https://docs.nvidia.com/cuda/cublas/index.html#results-reproducibility
CUBLAS_DETERMINISTIC = (":4096:8", ":16:8")
_THREADS_LIMIT = 2**31


@dataclass(frozen=True)
class Unreadable:
    """The value of a switch whose getter raised, with PyTorch's reason."""

    reason: str

    def __str__(self) -> str:
        """Short form for tables."""
        return f"cannot be read: {self.reason}"


@dataclass(frozen=True)
class Switch:
    """A setting of PyTorch or its libraries that bears on determinism.

    Attributes:
        name: what a user types to reach it.
        module: the module that must be imported for it to exist; None if it always exists.
        read: returns its value.
        write: sets it to a value that `read` returned.
        says: what it does and what it costs.
        exists: whether this PyTorch has it.
        in_words: formats a value for display.
    """

    name: str
    module: str | None
    read: Callable[[], Any]
    write: Callable[[Any], object]
    says: str
    exists: Callable[[], bool] = lambda: True
    in_words: Callable[[Any], str] = str

    def present(self) -> bool:
        """Whether it exists now."""
        return (self.module is None or is_imported(self.module)) and self.exists()

    def guarded_read(self) -> Any:  # noqa: ANN401 - each switch has its own type
        """Its value, or an `Unreadable` if the getter raises, as TF32's do after a new-style setting."""
        try:
            return self.read()
        except Exception as error:  # noqa: BLE001 - the error is the value to show
            return Unreadable(textwrap.shorten(str(error), 120, placeholder=" …"))

    def value_in_words(self, value: Any) -> str:  # noqa: ANN401 - each switch has its own type
        """A value for display, unreadable values included."""
        return str(value) if isinstance(value, Unreadable) else self.in_words(value)


def _torch_value(path: str) -> Any:  # noqa: ANN401 - a module, a function or a value
    """The value of `torch.PATH`."""
    return functools.reduce(getattr, path.split("."), sys.modules["torch"])


def _attribute(path: str, *, says: str) -> Switch:
    """A switch that is an attribute below `torch`, e.g. `"backends.cudnn.enabled"`."""
    parent, _, name = path.rpartition(".")

    def exists() -> bool:
        try:
            return hasattr(_torch_value(parent), name)
        except AttributeError:
            return False
        except RuntimeError:  # TF32's getters raise after a new-style setting, but the switch exists
            return True

    return Switch(
        name=f"torch.{path}",
        module="torch",
        read=lambda: _torch_value(path),
        write=lambda value: setattr(_torch_value(parent), name, value),
        says=says,
        exists=exists,
    )


def _functions(name: str, *, read: str, write: str, says: str) -> Switch:
    """A switch behind two functions, named by their paths below `torch`."""

    def exists() -> bool:
        try:
            return callable(_torch_value(read)) and callable(_torch_value(write))
        except AttributeError:
            return False

    return Switch(
        name=name,
        module="torch",
        read=lambda: _torch_value(read)(),
        write=lambda value: _torch_value(write)(value),
        says=says,
        exists=exists,
    )


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(CUBLAS_VARIABLE, None)
    else:
        os.environ[CUBLAS_VARIABLE] = value


# Whether algorithms are deterministic, and whether an op without a deterministic algorithm only warns.
_WARN, _STRICT = (True, True), (True, False)
ALGORITHMS = Switch(
    name="torch.use_deterministic_algorithms",
    module="torch",
    read=lambda: (
        _torch_value("are_deterministic_algorithms_enabled")(),
        _torch_value("is_deterministic_algorithms_warn_only_enabled")(),
    ),
    write=lambda value: _torch_value("_C._set_deterministic_algorithms")(value[0], warn_only=value[1]),
    says="PyTorch uses deterministic kernels, and warns or raises where an op has none. Some ops get slower.",
    in_words=lambda value: {_WARN: "warn", _STRICT: "strict"}.get(value, "off"),
)
# By PyTorch's C functions: the attributes of torch.backends may be frozen (torch.backends.disable_global_flags).
CUDNN_DETERMINISTIC = _functions(
    "torch.backends.cudnn.deterministic",
    read="_C._get_cudnn_deterministic",
    write="_C._set_cudnn_deterministic",
    says="cuDNN uses deterministic convolution algorithms only. Can be slower.",
)
CUDNN_BENCHMARK = _functions(
    "torch.backends.cudnn.benchmark",
    read="_C._get_cudnn_benchmark",
    write="_C._set_cudnn_benchmark",
    says="cuDNN times its algorithms and uses the fastest, which may differ between runs.",
)
FILL_MEMORY = _functions(
    "torch.utils.deterministic.fill_uninitialized_memory",
    read="_C._get_deterministic_fill_uninitialized_memory",
    write="_C._set_deterministic_fill_uninitialized_memory",
    says="With deterministic algorithms on, torch.empty() and similar functions fill their memory, which takes time.",
)
MKLDNN_DETERMINISTIC = _functions(
    "torch.backends.mkldnn.deterministic",
    read="_C._get_mkldnn_deterministic",
    write="_C._set_mkldnn_deterministic",
    says="oneDNN uses deterministic algorithms on the CPU.",
)
INDUCTOR_DETERMINISTIC = Switch(
    name="torch._inductor.config.deterministic",
    module="torch._inductor.config",
    read=lambda: sys.modules["torch._inductor.config"].deterministic,
    write=lambda value: setattr(sys.modules["torch._inductor.config"], "deterministic", value),
    says="torch.compile chooses kernels without timing them on the device.",
    exists=lambda: hasattr(sys.modules["torch._inductor.config"], "deterministic"),
)
CUBLAS_WORKSPACE = Switch(
    name=CUBLAS_VARIABLE,
    module=None,
    read=lambda: os.environ.get(CUBLAS_VARIABLE),
    write=_set_variable,
    says="cuBLAS uses fixed workspaces. Read only once, before the first cuBLAS call.",
    in_words=lambda value: "not set" if value is None else str(value),
)
THREADS = _functions(
    "torch.set_num_threads",
    read="get_num_threads",
    write="set_num_threads",
    says="Threads per CPU op. The bits of a reduction can depend on their number.",
)


def _read_tf32(older: str, *newer: str) -> Callable[[], bool]:
    """A reader for a TF32 switch: its old getter raises once its new form (fp32_precision) was set."""

    def read() -> bool:
        try:
            return bool(_torch_value(older)())
        except RuntimeError:
            is_tf32 = {_torch_value(path) == "tf32" for path in newer}
            if len(is_tf32) > 1:
                raise RuntimeError("fp32_precision differs between convolutions and RNNs") from None
            return True in is_tf32

    return read


# By PyTorch's C functions: the attributes of torch.backends may be frozen.
CUDNN_TF32 = replace(
    _functions(
        "torch.backends.cudnn.allow_tf32",
        read="_C._get_cudnn_allow_tf32",
        write="_C._set_cudnn_allow_tf32",
        says="cuDNN may round its inputs to TF32 (10 mantissa bits), which is faster.",
    ),
    read=_read_tf32(
        "_C._get_cudnn_allow_tf32", "backends.cudnn.conv.fp32_precision", "backends.cudnn.rnn.fp32_precision"
    ),
)
MATMUL_TF32 = replace(
    _functions(
        "torch.backends.cuda.matmul.allow_tf32",
        read="_C._get_cublas_allow_tf32",
        write="_C._set_cublas_allow_tf32",
        says="cuBLAS may round its inputs to TF32 (10 mantissa bits), which is faster.",
    ),
    read=_read_tf32("_C._get_cublas_allow_tf32", "backends.cuda.matmul.fp32_precision"),
)
CUDNN_ATTENTION = _functions(
    "torch.backends.cuda.enable_cudnn_sdp",
    read="_C._get_cudnn_sdp_enabled",
    write="_C._set_sdp_use_cudnn",
    says="Attention may use cuDNN's kernel, which is always nondeterministic in the backward pass.",
)
FLASH_ATTENTION = _functions(
    "torch.backends.cuda.enable_flash_sdp",
    read="_C._get_flash_sdp_enabled",
    write="_C._set_sdp_use_flash",
    says="Attention may use the flash kernel. With deterministic algorithms off, its backward pass is "
    "nondeterministic.",
)
EFFICIENT_ATTENTION = _functions(
    "torch.backends.cuda.enable_mem_efficient_sdp",
    read="_C._get_mem_efficient_sdp_enabled",
    write="_C._set_sdp_use_mem_efficient",
    says="Attention may use the memory-efficient kernel. With deterministic algorithms off, its backward pass is "
    "nondeterministic.",
)
MATH_ATTENTION = _functions(
    "torch.backends.cuda.enable_math_sdp",
    read="_C._get_math_sdp_enabled",
    write="_C._set_sdp_use_math",
    says="Attention may use the math kernel: always deterministic, slower, needs more memory.",
)

# Switches that are only displayed, never turned.
_DISPLAYED_ONLY: tuple[Switch, ...] = (
    _attribute("backends.cudnn.enabled", says="PyTorch uses cuDNN."),
    _attribute("backends.cudnn.benchmark_limit", says="Number of algorithms that cuDNN times in benchmark mode."),
    _functions(
        "torch.set_float32_matmul_precision",
        read="get_float32_matmul_precision",
        write="set_float32_matmul_precision",
        says="Precision of float32 matrix products.",
    ),
    _functions(
        "torch.set_num_interop_threads",
        read="get_num_interop_threads",
        write="set_num_interop_threads",
        says="Threads for running CPU ops in parallel. Can be set once, before the first parallel work.",
    ),
    Switch(
        name="torch._inductor.config.fallback_random",
        module="torch._inductor.config",
        read=lambda: sys.modules["torch._inductor.config"].fallback_random,
        write=lambda value: setattr(sys.modules["torch._inductor.config"], "fallback_random", value),
        says="Compiled code draws the same random numbers as eager code.",
    ),
)

SWITCHES: tuple[Switch, ...] = (
    ALGORITHMS,
    CUDNN_DETERMINISTIC,
    CUDNN_BENCHMARK,
    FILL_MEMORY,
    MKLDNN_DETERMINISTIC,
    INDUCTOR_DETERMINISTIC,
    CUBLAS_WORKSPACE,
    THREADS,
    CUDNN_ATTENTION,
    FLASH_ATTENTION,
    EFFICIENT_ATTENTION,
    MATH_ATTENTION,
    MATMUL_TF32,
    CUDNN_TF32,
    *_DISPLAYED_ONLY,
)


def checked_threads(threads: object) -> int:
    """`threads` as an int.

    Raises:
        InvalidThreadsError: it is not an integer from 1 to 2**31 - 1.

    Example:
        >>> checked_threads(2)
        2
    """
    if isinstance(threads, bool) or not hasattr(threads, "__index__"):
        raise InvalidThreadsError.of(threads)
    value = int(threads.__index__())
    if not 1 <= value < _THREADS_LIMIT:
        raise InvalidThreadsError.of(threads)
    return value


def deterministic_targets(*, strict: bool = False, threads: int | None = None) -> dict[Switch, Any]:
    """The values that PyTorch's reproducibility notes, old and current, ask for: switch -> value.

    Args:
        strict: an op without a deterministic path raises instead of warning. If the user turned that on, it stays on.
        threads: number of threads of a CPU op; None leaves it unchanged.

    Source:
        https://docs.pytorch.org/docs/stable/notes/randomness.html

    Example:
        >>> targets = deterministic_targets(strict=True)
        >>> targets[CUDNN_DETERMINISTIC], targets[CUDNN_BENCHMARK]
        (True, False)
    """
    workspace = os.environ.get(CUBLAS_VARIABLE)
    raises = strict or (ALGORITHMS.present() and ALGORITHMS.read() == _STRICT)
    targets: dict[Switch, Any] = {
        ALGORITHMS: _STRICT if raises else _WARN,
        CUDNN_DETERMINISTIC: True,
        CUDNN_BENCHMARK: False,
        FILL_MEMORY: True,
        MKLDNN_DETERMINISTIC: True,
        INDUCTOR_DETERMINISTIC: True,
        CUBLAS_WORKSPACE: workspace if workspace in CUBLAS_DETERMINISTIC else CUBLAS_DETERMINISTIC[0],
        CUDNN_ATTENTION: False,
    }
    if threads is not None:
        targets[THREADS] = threads
    return targets


@dataclass(frozen=True)
class Reading:
    """A switch and its value at one moment."""

    switch: Switch
    value: Any

    @property
    def in_words(self) -> str:
        """The value for display."""
        return self.switch.value_in_words(self.value)


def read_all() -> list[Reading]:
    """Every switch that exists now, with its value."""
    return [Reading(switch, switch.guarded_read()) for switch in SWITCHES if switch.present()]
