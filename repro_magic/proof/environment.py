"""What a result may depend on besides the notebook: versions, machine, variables, switches.

An environment is a plain dictionary of sections, of names, of texts: it goes into JSON as it is, and two of them are
compared name by name. No host name, path, user, clock or process id is in it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro_magic.determinism.switches import read_all
from repro_magic.exceptions import InvalidEnvironmentError
from repro_magic.proof import variables
from repro_magic.rng.seeding import hash_seed_of_this_process
from repro_magic.runtime.import_hooks import is_imported

SCHEMA = "repro-magic.environment.v1"
MIME = "application/vnd.repro-magic.environment.v1+json"

Environment = dict[str, Any]

# Sections in the order in which a difference in them is likely to change results.
SECTIONS = ("torch", "accelerators", "cpu", "threads", "switches", "variables", "blas", "python", "packages", "system")
_BUILT_WITH = {
    "torch": re.compile(r"BLAS_INFO=(\w+)"),
    "MKL": re.compile(r"Math Kernel Library Version (\S+)"),
    "oneDNN": re.compile(r"MKL-DNN v(\S+)"),
}


def environment() -> Environment:
    """This process's environment. Nothing is imported or started for it: a GPU that nobody used yet is only counted.

    Example:
        >>> found = environment()
        >>> found["schema"], found["python"]["implementation"]
        ('repro-magic.environment.v1', 'CPython')
    """
    return {
        "schema": SCHEMA,
        "torch": _torch(),
        "accelerators": _accelerators(),
        "cpu": _cpu(),
        "threads": _threads(),
        "switches": {reading.switch.name: reading.in_words for reading in read_all()},
        "variables": variables.recorded(),
        "blas": _blas(),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "string hashes": hash_seed_of_this_process(),
        },
        "packages": _packages(),
        "system": {"name": platform.system(), "release": platform.release(), "libc": " ".join(platform.libc_ver())},
    }


def _imported(module: str) -> Any:  # noqa: ANN401 - a module, or None
    return sys.modules[module] if is_imported(module) else None


def _torch() -> dict[str, str]:
    torch = _imported("torch")
    if torch is None:
        return {}
    found = {"version": str(torch.__version__), "git": str(torch.version.git_version)}
    found |= {name: str(value) for name in ("cuda", "hip", "xpu") if (value := getattr(torch.version, name, None))}
    if torch.backends.cudnn.is_available():
        found["cudnn"] = str(torch.backends.cudnn.version())
    if torch.version.cuda and torch.distributed.is_available():
        found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
    return found


def _accelerators() -> dict[str, str]:
    torch = _imported("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    if not torch.cuda.is_initialized():
        return {"cuda": f"{torch.cuda.device_count()} not started"}
    found = {}
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{device.name}, {device.multi_processor_count} SMs, sm_{device.major}{device.minor}"
    return found


def _cpu() -> dict[str, str]:
    torch = _imported("torch")
    found = {"machine": platform.machine(), "model": _cpu_model()}
    if torch is not None:
        found["capability"] = str(torch.backends.cpu.get_cpu_capability())
    return found


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or "unknown"


def _threads() -> dict[str, str]:
    torch = _imported("torch")
    found = {"cores": str(os.cpu_count())}
    if torch is not None:
        found |= {"of one op": str(torch.get_num_threads()), "between ops": str(torch.get_num_interop_threads())}
    return found


def _blas() -> dict[str, str]:
    torch, numpy = _imported("torch"), _imported("numpy")
    found = {}
    if torch is not None:
        told = torch.__config__.show()
        found = {name: match[1] for name, pattern in _BUILT_WITH.items() if (match := pattern.search(told))}
    if numpy is not None:
        built = getattr(numpy.__config__, "CONFIG", {}).get("Build Dependencies", {}).get("blas", {})
        found |= {"numpy": f"{built.get('name')} {built.get('version')}"} if built else {}
    return found


def _packages() -> dict[str, str]:
    """The distributions whose modules are imported, with their versions."""
    tops = {name.partition(".")[0] for name in list(sys.modules)}
    names = {
        distribution
        for top, distributions in importlib.metadata.packages_distributions().items()
        if top in tops
        for distribution in distributions
        if distribution  # one whose METADATA is lost has no name
    }
    return {name: importlib.metadata.version(name) for name in sorted(names, key=str.lower)}


@dataclass(frozen=True)
class Difference:
    """One name that differs between two environments.

    Attributes:
        section: e.g. `"torch"`.
        name: e.g. `"version"`.
        first: its text in the first environment; None if it is not there.
        second: in the second.
    """

    section: str
    name: str
    first: str | None
    second: str | None


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """What differs, those first that are most likely to change results.

    Raises:
        InvalidEnvironmentError: one of them is no environment.

    Example:
        >>> one, other = environment(), environment()
        >>> other["python"]["version"] = "2.7.18"
        >>> [found.second for found in differences(one, other)]
        ['2.7.18']
    """
    return list(_differences(checked(first), checked(second)))


def _differences(first: Environment, second: Environment) -> Iterator[Difference]:
    for section in SECTIONS:
        one, other = first[section], second[section]
        for name in dict.fromkeys((*one, *other)):
            if one.get(name) != other.get(name):
                yield Difference(section, name, one.get(name), other.get(name))


def checked(found: object) -> Environment:
    """`found` as an environment.

    Raises:
        InvalidEnvironmentError: it is none, or of another schema.
    """
    if not isinstance(found, dict) or not isinstance(found.get("schema"), str):
        raise InvalidEnvironmentError("this is no environment: `repro-magic env --json` writes one")
    if found["schema"] != SCHEMA:
        raise InvalidEnvironmentError(f"this release reads {SCHEMA}, not {found['schema']!r}: update repro_magic")
    for section in SECTIONS:
        named = found.get(section)
        if not isinstance(named, dict) or not all(isinstance(text, str) for text in (*named, *named.values())):
            raise InvalidEnvironmentError(f"this is no environment: the section {section!r} does not name texts")
    return found


def read(path: Path) -> Environment:
    """An environment from a file: what `repro-magic env --json` wrote, or a notebook in which `%repro_env` ran.

    Raises:
        InvalidEnvironmentError: the file holds none.
        OSError: the file cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise InvalidEnvironmentError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict) or "cells" not in found:
        return checked(found)
    last = recorded(found)
    if last is None:
        raise InvalidEnvironmentError(f"{path} has no recorded environment: run %repro_env in it, and save it")
    return checked(last)


def recorded(notebook: Mapping[str, Any]) -> object:
    """The last environment among a notebook's outputs; None if there is none. The file may be anybody's."""
    last = None
    cells = notebook["cells"] if isinstance(notebook["cells"], list) else []
    for cell in cells:
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else []:
            data = output.get("data") if isinstance(output, dict) else None
            if isinstance(data, dict) and MIME in data:
                last = data[MIME]
    return last
