"""The environment variables that may be recorded: each by its exact name, with the form that a harmless value has.

A record may be published. So it holds what a library is known to read, and of that only numbers and words of a closed
list: no path, no host, no token, whatever its name or value begins with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

NOT_RECORDED = "set, not recorded"
# No number of threads, level or size has more digits, and a telephone number or PIN is not among the names below.
_COUNT = r"[0-9]{1,9}"
_COUNTS = rf"{_COUNT}(,{_COUNT})*"
_SWITCH = r"(?i:0|1|true|false|yes|no|on|off|t|f|y|n)"
_ISA = (
    r"(?i:default|all|sse41|sse42|sse4_2|avx|avx2|avx2_vnni(_2)?|avx512(_\w{1,8})?|avx10_1_512(_amx(_fp16)?)?|"
    r"vsx|zvector|sve(128|256|512)?)"
)
_CPU_KINDS = (
    r"(?i:prescott|core2|penryn|nehalem|sandybridge|haswell|skylakex|cooperlake|sapphirerapids|atom|barcelona|"
    r"bobcat|bulldozer|piledriver|steamroller|excavator|zen[1-5]?|knl|skx|armv8|armv8sve|cortexa5[37]|cortexa7[236]|"
    r"neoversen[12]|neoversev1|thunderx|thunderx2t99|a64fx|power(6|8|9|10)|generic|dynamic)"
)
_PLACES = r"(?i:threads|cores|ll_caches|sockets|numa_domains)(\([0-9]{1,5}\))?|\{[{}0-9:,+-]{1,200}"
_AFFINITY_WORDS = (
    r"(?i:verbose|noverbose|warnings|nowarnings|respect|norespect|granularity=(fine|thread|core|tile|die|socket)|"
    r"compact|scatter|balanced|disabled|none|logical|physical|reset|noreset|[0-9]{1,4})"
)

_FORMS: Mapping[str, str] = {
    # Threads, and how work is shared between them
    "OMP_NUM_THREADS": _COUNTS,
    "OMP_THREAD_LIMIT": _COUNT,
    "OMP_DYNAMIC": _SWITCH,
    "OMP_NESTED": _SWITCH,
    "OMP_MAX_ACTIVE_LEVELS": _COUNT,
    "OMP_SCHEDULE": rf"(?i:((non)?monotonic:)?(static|dynamic|guided|auto))(,{_COUNT})?",
    "OMP_PROC_BIND": r"(?i:true|false|(primary|master|close|spread)(,(primary|master|close|spread))*)",
    "OMP_PLACES": _PLACES,
    "GOMP_CPU_AFFINITY": r"[0-9:, -]{1,200}",
    "KMP_AFFINITY": rf"{_AFFINITY_WORDS}(,{_AFFINITY_WORDS})*",
    "KMP_BLOCKTIME": rf"(?i:infinite|{_COUNT})",
    "KMP_DETERMINISTIC_REDUCTION": _SWITCH,
    "MKL_NUM_THREADS": _COUNT,
    "MKL_DYNAMIC": _SWITCH,
    "MKL_DOMAIN_NUM_THREADS": rf"(?i:MKL_(DOMAIN_)?(ALL|BLAS|FFT|VML|PARDISO)\W{{1,3}}{_COUNT}[,; ]*)+",
    "OPENBLAS_NUM_THREADS": _COUNT,
    "GOTO_NUM_THREADS": _COUNT,
    "BLIS_NUM_THREADS": _COUNT,
    "VECLIB_MAXIMUM_THREADS": _COUNT,
    "NUMEXPR_NUM_THREADS": _COUNT,
    "NUMEXPR_MAX_THREADS": _COUNT,
    "NUMBA_NUM_THREADS": _COUNT,
    # Which code a CPU runs
    "ATEN_CPU_CAPABILITY": _ISA,
    "DNNL_MAX_CPU_ISA": _ISA,
    "ONEDNN_MAX_CPU_ISA": _ISA,
    "DNNL_DEFAULT_FPMATH_MODE": r"(?i:strict|bf16|f16|tf32|any)",
    "ONEDNN_DEFAULT_FPMATH_MODE": r"(?i:strict|bf16|f16|tf32|any)",
    "MKL_CBWR": r"(?i:auto|off|branch|compatible|sse2|ssse3|sse4_1|sse4_2|avx|avx2|avx512(_mic)?(_e1)?)(,(?i:strict))?",
    "MKL_ENABLE_INSTRUCTIONS": r"(?i:sse4_2|avx|avx2|avx2_e1|avx512(_e[1-5])?|avx512_mic(_e1)?)",
    "MKL_THREADING_LAYER": r"(?i:intel|gnu|tbb|sequential|pgi)",
    "MKL_DEBUG_CPU_TYPE": _COUNT,
    "OPENBLAS_CORETYPE": _CPU_KINDS,
    "BLIS_ARCH_TYPE": rf"{_CPU_KINDS}|{_COUNT}",
    # CUDA, cuBLAS, cuDNN, NCCL
    "CUBLAS_WORKSPACE_CONFIG": rf"(:{_COUNT}:{_COUNT})+",
    "CUBLASLT_WORKSPACE_SIZE": _COUNT,
    "CUDA_VISIBLE_DEVICES": rf"-1|({_COUNTS})?",
    "CUDA_DEVICE_ORDER": r"(?i:fastest_first|pci_bus_id)",
    "CUDA_DEVICE_MAX_CONNECTIONS": _COUNT,
    "CUDA_LAUNCH_BLOCKING": _SWITCH,
    "CUDA_MODULE_LOADING": r"(?i:lazy|eager|default)",
    "NVIDIA_TF32_OVERRIDE": _SWITCH,
    "NCCL_ALGO": r"\^?(?i:ring|tree|collnetdirect|collnetchain|nvls|nvlstree|pat)(,(?i:ring|tree|nvls|nvlstree|pat))*",
    "NCCL_PROTO": r"\^?(?i:ll|ll128|simple)(,(?i:ll|ll128|simple))*",
    "NCCL_NTHREADS": _COUNT,
    "NCCL_MIN_NCHANNELS": _COUNT,
    "NCCL_MAX_NCHANNELS": _COUNT,
    "NCCL_BUFFSIZE": _COUNT,
    "NCCL_P2P_DISABLE": _SWITCH,
    # PyTorch
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": _SWITCH,
    "TORCH_BLAS_PREFER_CUBLASLT": _SWITCH,
    "TORCH_BLAS_PREFER_HIPBLASLT": _SWITCH,
    "TORCH_CUDNN_V8_API_DISABLED": _SWITCH,
    "TORCH_LINALG_PREFER_CUSOLVER": _SWITCH,
    "TORCH_COMPILE_DISABLE": _SWITCH,
    "TORCHDYNAMO_DISABLE": _SWITCH,
    "TORCHINDUCTOR_DETERMINISTIC": _SWITCH,
    "TORCHINDUCTOR_FALLBACK_RANDOM": _SWITCH,
    "TORCHINDUCTOR_MAX_AUTOTUNE": _SWITCH,
    "PYTORCH_ENABLE_MPS_FALLBACK": _SWITCH,
    # Python
    "PYTHONHASHSEED": r"random|[0-9]{1,10}",
    "PYTHONOPTIMIZE": r"[0-9]{0,2}",
}
_COMPILED = {name: re.compile(form, re.ASCII) for name, form in _FORMS.items()}


def is_harmless(name: str, value: str) -> bool:
    """Whether a variable may be recorded with its value.

    Example:
        >>> is_harmless("OMP_NUM_THREADS", "4"), is_harmless("OMP_NUM_THREADS", "~"), is_harmless("TORCH_KEY", "4")
        (True, False, False)
    """
    form = _COMPILED.get(name)
    return form is not None and form.fullmatch(value) is not None


def recorded(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of some variables, this process's usually, those that are on the list. A value of another form is not told.

    Example:
        >>> recorded({"OMP_NUM_THREADS": "4", "OMP_PLACES": "rack7.example.org", "TORCH_HUB_TOKEN": "hush"})
        {'OMP_NUM_THREADS': '4', 'OMP_PLACES': 'set, not recorded'}
    """
    found = os.environ if variables is None else variables
    return {
        name: found[name] if is_harmless(name, found[name]) else NOT_RECORDED
        for name in sorted(_FORMS)
        if name in found
    }
