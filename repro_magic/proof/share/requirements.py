"""Pin the distributions that a notebook needs, for Binder's requirements.txt."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from repro_magic.exceptions import ShareError
from repro_magic.proof.environment import Environment
from repro_magic.proof.run.notebook_file import NotebookFile, code_cells
from repro_magic.proof.share.addresses import public_address

OURS = "repro-magic"
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*==[A-Za-z0-9][\w.!+-]*", re.ASCII)
_CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/{}cpu"
# On the index of CPU wheels. `torch==2.9.0` installs `2.9.0+cpu` from it, because a local version sorts above none.
_HAS_CPU_WHEELS = frozenset({"torch", "torchaudio", "torchvision"})
_PYTORCH_BUILD = re.compile(r"cpu(\.cxx11\.abi)?|cu\d+|rocm[\d.]+|xpu")
# Packages of the kernel, not of the notebook: repo2docker installs releases that fit its JupyterLab.
_KERNEL_PACKAGES = frozenset(
    {"comm", "debugpy", "ipykernel", "jupyter-client", "jupyter-core", "pyzmq", "tornado", "traitlets"}
)
NOT_ON_BINDER = re.compile(
    r"nvidia-.*|cuda-.*|triton|pytorch-triton.*|triton-.*|google-colab|pywin32|pywinpty|appnope|pyobjc-.*"
)
_IMPORTS = re.compile(r"^\s*(?:import|from|%(?:re)?load_ext)\s+([^#;\n]+)", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """A line of requirements.txt, and a note to report."""

    line: str
    note: str = ""


def needed_distributions(file: NotebookFile, environment: Environment, root: Path) -> list[tuple[str, str]]:
    """The names and versions of the distributions that a notebook needs, sorted."""
    needed = {
        name: version
        for name, version in environment["packages"].items()
        if normalised_name(name) not in _KERNEL_PACKAGES and not NOT_ON_BINDER.fullmatch(normalised_name(name))
    }
    known = {normalised_name(name) for name in needed}
    needed |= {
        name: version for name, version in _unrecorded(file, root) if normalised_name(name) not in known
    }  # a recorded version counts: it is the version that ran
    return sorted(needed.items(), key=lambda item: normalised_name(item[0]))


def _unrecorded(file: NotebookFile, root: Path) -> Iterator[tuple[str, str]]:
    """Distributions missing in the recorded environment: editable installs, whose files Python does not list, and ours.

    Ours is needed to verify anything. An editable install counts if it is in the notebook's repository, or if the
    notebook imports it.
    """
    modules = _imported_by(file)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        folder = _folder_of(distribution)
        is_needed = folder is not None and (
            folder.is_relative_to(root) or any(map(partial(_is_installed_from, folder), modules))
        )
        if name and (is_needed or normalised_name(name) == OURS):
            yield name, distribution.version


def _imported_by(file: NotebookFile) -> set[str]:
    """The top-level modules that a notebook imports."""
    text = "\n".join(cell.source for cell in code_cells(file.notebook()))
    named = (part.split() for line in _IMPORTS.findall(text) for part in line.split(","))
    return {words[0].partition(".")[0] for words in named if words}


def _is_installed_from(folder: Path, module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError, AttributeError):  # from import hooks, or from a `__main__` without spec
        return False
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    inside = [Path(place).relative_to(folder) for place in places if place and Path(place).is_relative_to(folder)]
    return any(
        "site-packages" not in path.parts for path in inside
    )  # the project's folder may hold its environment, too


def _folder_of(distribution: Distribution) -> Path | None:
    """The local folder that a distribution was installed from; None if it was installed from elsewhere."""
    source = _recorded_source(distribution)
    if "dir_info" not in source or urlsplit(source["url"]).scheme != "file":
        return None
    return Path(url2pathname(urlsplit(source["url"]).path)).resolve()


def _recorded_source(distribution: Distribution) -> dict[str, Any]:
    """Where a distribution was installed from, as pip recorded it; empty for an index.

    https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    # Conda's packages record the folder on the machine that built them.
    if (distribution.read_text("INSTALLER") or "").strip() == "conda":
        return {}
    try:
        source = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return source if isinstance(source, dict) and isinstance(source.get("url"), str) else {}


def pin_of(name: str, version: str, root: Path) -> Pin:
    """The line of requirements.txt for a distribution.

    Raises:
        ShareError: the name or the version is not valid.
    """
    release, _, local = version.partition("+")
    pinned = f"{name}=={release}"
    if not _REQUIREMENT.fullmatch(f"{name}=={version}"):
        raise ShareError(f"{name!r} {version!r} cannot be pinned: that is no name and version of a distribution")
    if normalised_name(name) in _HAS_CPU_WHEELS and (not local or _PYTORCH_BUILD.fullmatch(local)):
        is_another = local and not local.startswith("cpu")
        return Pin(pinned, f"{name} {version} ran; Binder gets the CPU build of {release}." if is_another else "")
    distribution = _installed_as_ran(name, version)
    source = {} if distribution is None else _recorded_source(distribution)
    if distribution is not None and (kind := next((kind for kind in _PINNED_BY_SOURCE if kind in source), None)):
        return _PINNED_BY_SOURCE[kind](distribution, source, root)
    return Pin(
        pinned, f"{name} {version} is a build of its own: {release} may be another, or missing." if local else ""
    )


def _installed_as_ran(name: str, version: str) -> Distribution | None:
    """The distribution, if it is installed here in the version that ran."""
    try:
        distribution = importlib.metadata.distribution(name)
    except PackageNotFoundError:
        return None
    return distribution if distribution.version == version else None


def _from_folder(distribution: Distribution, _: Mapping[str, Any], root: Path) -> Pin:
    folder = _folder_of(distribution)
    if folder is None or not folder.is_relative_to(root):
        return _not_public(distribution, "a local folder")
    # pip resolves the path relative to its working directory, and repo2docker runs pip in the repository's root.
    inside = folder.relative_to(root).as_posix()
    return Pin("." if inside == "." else f"./{inside}")


def _from_git(distribution: Distribution, source: Mapping[str, Any], _: Path) -> Pin:
    address, version = public_address(source["url"]), source["vcs_info"]
    if address is None or not re.fullmatch(r"[0-9A-Za-z]+", f"{version.get('vcs')}{version.get('commit_id')}"):
        return _not_public(distribution, "a repository on this machine")
    inside = f"#subdirectory={quote(source['subdirectory'])}" if source.get("subdirectory") else ""
    return Pin(f"{distribution.metadata['Name']} @ {version['vcs']}+{address}@{version['commit_id']}{inside}")


def _from_archive(distribution: Distribution, source: Mapping[str, Any], _: Path) -> Pin:
    address = public_address(source["url"])
    if address is None:
        return _not_public(distribution, "a file on this machine")
    return Pin(f"{distribution.metadata['Name']} @ {address}")


def _not_public(distribution: Distribution, where: str) -> Pin:
    what = f"{distribution.metadata['Name']} {distribution.version}"
    return Pin(
        f"# {what}: installed from {where}",
        f"{what} is installed from {where}: others cannot get it. Publish it, and put where into requirements.txt.",
    )


_PINNED_BY_SOURCE: dict[str, Callable[[Distribution, Mapping[str, Any], Path], Pin]] = {
    "dir_info": _from_folder,
    "vcs_info": _from_git,
    "archive_info": _from_archive,
}


def normalised_name(name: str) -> str:
    """A distribution's name in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements_text(pins: Sequence[Pin], path: Path) -> str:
    """The text of requirements.txt, in ASCII except for folder names.

    pip searches the first two comments for an encoding, so they contain no user-chosen name.
    """
    name = path.as_posix()
    command = f"{OURS} share --force {shlex.quote(name) if name.isascii() and name.isprintable() else 'NOTEBOOK'}"
    wheels = [pin.line for pin in pins if normalised_name(pin.line.partition("==")[0]) in _HAS_CPU_WHEELS]
    channel = "nightly/" if any(".dev" in line for line in wheels) else ""
    lines = [
        "# What the notebook imported when it ran, and what proves it.",
        "# JupyterLab and the kernel are those of repo2docker.",
        f"# Made by {OURS}, and made anew by: {command}",
        *([_CPU_WHEELS.format(channel)] if wheels else []),
        *sorted(dict.fromkeys(pin.line for pin in pins), key=lambda line: "==" not in line),
    ]
    return "\n".join(lines) + "\n"
