"""What others need to run a notebook and to prove it: pinned requirements, a Binder folder, the sidecar, a badge."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from repro_magic.exceptions import ShareError
from repro_magic.proof.environment import Environment
from repro_magic.proof.record.sidecar import sidecar_of
from repro_magic.proof.run.notebook_file import NotebookFile, code_cells
from repro_magic.proof.variables import is_harmless

_OURS = "repro-magic"
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*==[A-Za-z0-9][\w.!+-]*", re.ASCII)
_CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/{}cpu"
# The index of CPU wheels has these; `torch==2.9.0` takes `2.9.0+cpu` from it, for a local part sorts above none.
_HAS_CPU_WHEELS = frozenset({"torch", "torchaudio", "torchvision"})
_PYTORCHS_BUILD = re.compile(r"cpu(\.cxx11\.abi)?|cu\d+|rocm[\d.]+|xpu")
# What runs the kernel, not the notebook: repo2docker brings releases that fit its JupyterLab, and others may not.
_OF_THE_KERNEL = frozenset(
    {"comm", "debugpy", "ipykernel", "jupyter-client", "jupyter-core", "pyzmq", "tornado", "traitlets"}
)
_NOT_ON_BINDER = re.compile(
    r"nvidia-.*|cuda-.*|triton|pytorch-triton.*|triton-.*|google-colab|pywin32|pywinpty|appnope|pyobjc-.*"
)
# Of the recorded variables, those that change how a CPU computes.
_CHANGES_CPU = re.compile(r"(ATEN|BLIS|DNNL|MKL|NUMEXPR|OMP|ONEDNN|OPENBLAS)_[A-Z0-9_]+")
# In binder/, repo2docker takes each of these instead of requirements.txt.
_TAKEN_INSTEAD = (
    "Dockerfile",
    "Project.toml",
    "JuliaProject.toml",
    "REQUIRE",
    "default.nix",
    "environment.yml",
    "environment.yaml",
    "Pipfile",
    "Pipfile.lock",
)
_IMPORTS = re.compile(r"^\s*(?:import|from|%(?:re)?load_ext)\s+([^#;\n]+)", re.MULTILINE)
_PLACEHOLDER = "gh/OWNER/REPOSITORY"


@dataclass(frozen=True)
class File:
    """A file to be written: its text, and whether it can be run."""

    text: str
    is_executable: bool = False


@dataclass(frozen=True)
class Plan:
    """What `share` would write, and tell.

    Attributes:
        files: path relative to the folder, with `/` -> the file.
        badge: Markdown that opens the notebook on Binder.
        notes: what Binder cannot give, and what is left to do.
    """

    files: Mapping[str, File]
    badge: str
    notes: Sequence[str]


@dataclass(frozen=True)
class _Pin:
    """A line of requirements.txt; `note` is to be told, too."""

    line: str
    note: str = ""


def root_of(notebook: Path, output: Path | None = None) -> Path:
    """The root of the git repository that holds a notebook.

    If there is none, the folder that is written to, when the notebook lies below it; else the notebook's own.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = Path(folder).resolve()
        ...     (root / ".git").mkdir()
        ...     root_of(root / "notebooks" / "study.ipynb") == root
        True
    """
    folder = notebook.parent.resolve()
    above = (folder, *folder.parents)
    otherwise = output.resolve() if output is not None and output.resolve() in above else folder
    return next((one for one in above if (one / ".git").exists()), otherwise)


def plan(  # noqa: PLR0913 - as the command has
    file: NotebookFile,
    environment: Environment,
    sidecar: str,
    *,
    repository: str | None = None,
    ref: str = "HEAD",
    output: Path | None = None,
) -> Plan:
    """What others need to run a notebook. Nothing is written, and no private address is told.

    Args:
        file: the notebook, as it ran.
        environment: that of its kernel, after a run.
        sidecar: the text of the file that goes beside it.
        repository: where others find it: an address on GitHub or GitLab; None asks git for that of `origin`.
        ref: the branch, tag or commit that Binder is to open.
        output: where the files are to go, if that is not the repository's root or the notebook's folder.

    Raises:
        ShareError: the environment names what cannot be pinned.
    """
    root = root_of(file.path, output)
    path = file.path.parent.resolve().relative_to(root) / file.path.name
    pins = [_pin(name, version, root) for name, version in _needed(file, environment, root)]
    place = _on_binder(repository if repository is not None else _origin(root))
    files = {
        "binder/requirements.txt": File(_requirements(pins, path)),
        "binder/runtime.txt": File(f"python-{_python(environment)}\n"),
        "binder/start": File(_start(environment), is_executable=True),
        sidecar_of(path).as_posix(): File(sidecar),
    }
    return Plan(files, _badge(place or _PLACEHOLDER, ref, path), _notes(environment, pins, is_placed=place is not None))


def _needed(file: NotebookFile, environment: Environment, root: Path) -> list[tuple[str, str]]:
    """Names and versions of the distributions that a notebook needs, sorted."""
    found = {
        name: version
        for name, version in environment["packages"].items()
        if _normal(name) not in _OF_THE_KERNEL and not _NOT_ON_BINDER.fullmatch(_normal(name))
    }
    known = {_normal(name) for name in found}
    found |= {
        name: version for name, version in _not_seen(file, root) if _normal(name) not in known
    }  # a recorded version is never replaced: it is what ran
    return sorted(found.items(), key=lambda item: _normal(item[0]))


def _not_seen(file: NotebookFile, root: Path) -> Iterator[tuple[str, str]]:
    """Distributions that an environment does not name: editable ones, whose files Python cannot tell, and ours.

    Ours is needed to prove anything. Of the editable ones, those of the notebook's own repository are taken, and those
    that the notebook imports.
    """
    imported = _imported_by(file)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        folder = _folder_of(distribution)
        is_needed = folder is not None and (
            folder.is_relative_to(root) or any(map(partial(_lies_in, folder), imported))
        )
        if name and (is_needed or _normal(name) == _OURS):
            yield name, distribution.version


def _imported_by(file: NotebookFile) -> set[str]:
    """The top-level modules that a notebook's code names."""
    text = "\n".join(cell.source for cell in code_cells(file.notebook()))
    named = (part.split() for line in _IMPORTS.findall(text) for part in line.split(","))
    return {words[0].partition(".")[0] for words in named if words}


def _lies_in(folder: Path, module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (
        ImportError,
        ValueError,
        AttributeError,
    ):  # what another's import hook raises, and a `__main__` without spec
        return False
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    inside = [Path(place).relative_to(folder) for place in places if place and Path(place).is_relative_to(folder)]
    return any("site-packages" not in one.parts for one in inside)  # the project's folder may hold its environment, too


def _folder_of(distribution: Distribution) -> Path | None:
    """The local folder that a distribution was installed from; None if it came from elsewhere."""
    source = _source(distribution)
    if "dir_info" not in source or urlsplit(source["url"]).scheme != "file":
        return None
    return Path(url2pathname(urlsplit(source["url"]).path)).resolve()


def _source(distribution: Distribution) -> dict[str, Any]:
    """Where it was installed from, as pip recorded it; empty if that was an index.

    https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    # Conda's packages name the folder on the machine that built them.
    if (distribution.read_text("INSTALLER") or "").strip() == "conda":
        return {}
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("url"), str) else {}


def _pin(name: str, version: str, root: Path) -> _Pin:
    release, _, local = version.partition("+")
    pinned = f"{name}=={release}"
    if not _REQUIREMENT.fullmatch(f"{name}=={version}"):
        raise ShareError(f"{name!r} {version!r} cannot be pinned: that is no name and version of a distribution")
    if _normal(name) in _HAS_CPU_WHEELS and (not local or _PYTORCHS_BUILD.fullmatch(local)):
        is_another = local and not local.startswith("cpu")
        return _Pin(pinned, f"{name} {version} ran; Binder gets the CPU build of {release}." if is_another else "")
    distribution = _installed(name, version)
    source = {} if distribution is None else _source(distribution)
    if distribution is not None and (kind := next((kind for kind in _KINDS if kind in source), None)):
        return _KINDS[kind](distribution, source, root)
    return _Pin(
        pinned, f"{name} {version} is a build of its own: {release} may be another, or missing." if local else ""
    )


def _installed(name: str, version: str) -> Distribution | None:
    """The distribution, if the one that ran is the one that is installed here."""
    try:
        found = importlib.metadata.distribution(name)
    except PackageNotFoundError:
        return None
    return found if found.version == version else None


def _from_folder(distribution: Distribution, _: Mapping[str, Any], root: Path) -> _Pin:
    folder = _folder_of(distribution)
    if folder is None or not folder.is_relative_to(root):
        return _not_public(distribution, "a local folder")
    # pip takes it relative to where it runs, and repo2docker runs it in the root of the repository.
    inside = folder.relative_to(root).as_posix()
    return _Pin("." if inside == "." else f"./{inside}")


def _from_git(distribution: Distribution, source: Mapping[str, Any], _: Path) -> _Pin:
    address, version = _public(source["url"]), source["vcs_info"]
    if address is None or not re.fullmatch(r"[0-9A-Za-z]+", f"{version.get('vcs')}{version.get('commit_id')}"):
        return _not_public(distribution, "a repository on this machine")
    inside = f"#subdirectory={quote(source['subdirectory'])}" if source.get("subdirectory") else ""
    return _Pin(f"{distribution.metadata['Name']} @ {version['vcs']}+{address}@{version['commit_id']}{inside}")


def _from_archive(distribution: Distribution, source: Mapping[str, Any], _: Path) -> _Pin:
    address = _public(source["url"])
    if address is None:
        return _not_public(distribution, "a file on this machine")
    return _Pin(f"{distribution.metadata['Name']} @ {address}")


def _not_public(distribution: Distribution, where: str) -> _Pin:
    what = f"{distribution.metadata['Name']} {distribution.version}"
    return _Pin(
        f"# {what}: installed from {where}",
        f"{what} is installed from {where}: others cannot get it. Publish it, and put where into requirements.txt.",
    )


_KINDS: dict[str, Callable[[Distribution, Mapping[str, Any], Path], _Pin]] = {
    "dir_info": _from_folder,
    "vcs_info": _from_git,
    "archive_info": _from_archive,
}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(pins: Sequence[_Pin], path: Path) -> str:
    """The file, of ASCII but for folders' names.

    pip looks for an encoding in the first two comments, so none of them holds a name that anybody chose.
    """
    told = path.as_posix()
    command = f"{_OURS} share --force {shlex.quote(told) if told.isascii() and told.isprintable() else 'NOTEBOOK'}"
    wheels = [pin.line for pin in pins if _normal(pin.line.partition("==")[0]) in _HAS_CPU_WHEELS]
    channel = "nightly/" if any(".dev" in line for line in wheels) else ""
    lines = [
        "# What the notebook imported when it ran, and what proves it.",
        "# JupyterLab and the kernel are those of repo2docker.",
        f"# Made by {_OURS}, and made anew by: {command}",
        *([_CPU_WHEELS.format(channel)] if wheels else []),
        *sorted(dict.fromkeys(pin.line for pin in pins), key=lambda line: "==" not in line),
    ]
    return "\n".join(lines) + "\n"


def _python(environment: Environment) -> str:
    found = re.match(r"\d+\.\d+", environment["python"].get("version", ""), re.ASCII)
    if found is None:
        raise ShareError("the environment does not name the version of Python")
    return found[0]


def _start(environment: Environment) -> str:
    """A script that sets what a running process can no longer change, then runs the server."""
    fixed = re.fullmatch(r"fixed to (\d+)", environment["python"].get("string hashes", ""), re.ASCII)
    threads = re.fullmatch(r"\d+", environment["threads"].get("of one op", ""), re.ASCII)
    variables = {
        "PYTHONHASHSEED": fixed[1] if fixed else "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Sums on a CPU depend on how many threads share them.
        **({"OMP_NUM_THREADS": threads[0]} if threads else {}),
        **{
            name: value
            for name, value in environment["variables"].items()
            if _CHANGES_CPU.fullmatch(name) and is_harmless(name, value)
        },
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    why = "# What a running Python can no longer change has to be set before it starts."
    return f'#!/usr/bin/env bash\n{why}\n{exports}exec "$@"\n'


def _origin(root: Path) -> str:
    """The address of the repository; empty if git knows none."""
    # A hook of git's sets these, and they would lead to another repository.
    variables = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE"}}
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=variables)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def _public(address: str) -> str | None:
    """An address as anybody may read it: no user, password or token. None if it leads to no server.

    Example:
        >>> _public("https://me:secret@example.org/a/b.git?token=secret"), _public("git@example.org:a/b.git")
        ('https://example.org/a/b.git', 'https://example.org/a/b.git')
    """
    # ssh's short form: user@host:path
    short = re.fullmatch(r"(?:[^@/\s]+@)?([\w-]+(?:\.[\w-]+)+):(?!//)(\S+)", address)
    try:
        parts = urlsplit(f"ssh://{short[1]}/{short[2].lstrip('/')}" if short else address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"https", "http", "ssh", "git"} or not host:
        return None
    is_web = parts.scheme.startswith("http")
    server = f"{host}:{port}" if is_web and port else host  # ssh's port is not the web server's
    return f"{parts.scheme if is_web else 'https'}://{server}{quote(parts.path, safe='/%+~')}"


_HOSTS: dict[str, Callable[[str], str | None]] = {
    "github.com": lambda path: f"gh/{path}" if path.count("/") == 1 else None,
    "gitlab.com": lambda path: f"gl/{quote(path, safe='')}" if "/" in path else None,
}


def _on_binder(address: str) -> str | None:
    """Binder's name of a repository; None if it is not known to be one of GitHub or GitLab."""
    parts = urlsplit(_public(address) or "")
    path = unquote(parts.path).strip("/").removesuffix(".git")
    host = (parts.hostname or "").removeprefix("www.")
    return _HOSTS[host](path) if host in _HOSTS and re.fullmatch(r"[\w./-]+", path, re.ASCII) else None


def _badge(place: str, ref: str, path: Path) -> str:
    opened = quote(os.fsencode(path.as_posix()), safe="")
    address = f"https://mybinder.org/v2/{place}/{quote(ref, safe='/')}?labpath={opened}"
    return f"[![Binder](https://mybinder.org/badge_logo.svg)]({address})"


def _notes(environment: Environment, pins: Sequence[_Pin], *, is_placed: bool) -> list[str]:
    started = [text for text in environment["accelerators"].values() if not text.endswith("not started")]
    left_out = sorted(name for name in environment["packages"] if _NOT_ON_BINDER.fullmatch(_normal(name)))
    model, machine = environment["cpu"].get("model", "unknown"), environment["cpu"].get("machine", "")
    system = environment["system"].get("name", "")
    implementation = environment["python"].get("implementation", "")
    told = {
        "Binder has no GPU: only receipts of a CPU can be proved there.": True,
        f"This run had a GPU ({'; '.join(started)}): its results cannot be proved on Binder.": started,
        f"Binder's CPU may be another than the recorded one ({model}), and then the last bits may differ: "
        f"`{_OURS} verify --recorded` tells, there.": True,
        f"Binder runs Linux on x86-64, and the record is of {system} on {machine}: results may differ.": (
            (system, machine) != ("Linux", "x86_64")
        ),
        f"Binder runs CPython, and the record is of {implementation}.": implementation != "CPython",
        f"Left out, for they do not work there: {', '.join(left_out)}.": left_out,
        **{pin.note: pin.note for pin in pins},
        "No address on GitHub or GitLab is known: put yours in place of OWNER/REPOSITORY in the badge.": not is_placed,
    }
    return [note for note, is_told in told.items() if is_told]


def write(plan: Plan, folder: Path, *, force: bool) -> list[Path]:
    """Write what is planned: all files, or none of them.

    Args:
        plan: the files.
        folder: where their paths start; it is made if it is not there.
        force: whether files with other content are overwritten.

    Returns:
        What was written. A file that is there as planned is left alone.

    Raises:
        ShareError: a file is there with other content, or cannot be written; nothing was changed.
    """
    try:
        _check_folder(folder)
        held = {folder / name: _held(folder / name) for name in plan.files}
        todo = {path: file for path, file in _in(folder, plan) if not _is_as_planned(path, file, held[path])}
        there = [str(path) for path, file in todo.items() if held[path] not in {None, file.text.encode()}]
        if there and not force:
            raise ShareError(f"there with other content, and overwritten only with --force: {', '.join(there)}")
        _write_all(todo)
    except OSError as error:
        raise ShareError(f"{folder} cannot be written: {error.strerror or error}; nothing was changed") from error
    return list(todo)


def _in(folder: Path, plan: Plan) -> Iterator[tuple[Path, File]]:
    return ((folder / name, file) for name, file in plan.files.items())


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which repo2docker would not read our files."""
    if (folder / ".binder").exists():
        raise ShareError(f"{folder / '.binder'} is there, and repo2docker takes no binder/ beside it: move it away")
    for path in (folder / "binder" / name for name in _TAKEN_INSTEAD):
        if path.exists():
            raise ShareError(f"{path} is there, and repo2docker takes it instead of requirements.txt: move it away")


def _held(path: Path) -> bytes | None:
    """What a file holds; None if there is none."""
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise ShareError(f"{parent} is no folder, and a file is to go into it: move it away")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ShareError(f"{path} is no ordinary file, and a file is to be there: move it away")
    return path.read_bytes() if path.exists() else None


def _is_as_planned(path: Path, file: File, held: bytes | None) -> bool:
    if held != file.text.encode():
        return False
    return not file.is_executable or os.name == "nt" or bool(path.stat().st_mode & stat.S_IXUSR)


def _write_all(todo: Mapping[Path, File]) -> None:
    # In the order in which they end: files are put back, what is left over goes, then new folders, empty by now.
    with ExitStack() as made, ExitStack() as left_over, ExitStack() as replaced:
        staged, before = {}, {}
        for path, file in todo.items():
            for parent in reversed([one for one in path.parents if not one.exists()]):
                made.callback(_quietly, parent.rmdir)
                parent.mkdir()
            staged[path] = _beside(path, left_over)
            _fill(staged[path], file)
            if path.exists():
                before[path] = _beside(path, left_over)
                shutil.copy2(path, before[path])
        for path, new in staged.items():
            undo = partial(before[path].replace, path) if path in before else path.unlink
            new.replace(path)
            replaced.callback(_quietly, undo)
        replaced.pop_all()
        made.pop_all()


def _beside(path: Path, left_over: ExitStack) -> Path:
    """The name of a temporary file in the folder of another: the one can take the other's place at once."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    left_over.callback(_quietly, temporary.unlink)
    return temporary


def _fill(path: Path, file: File) -> None:
    mode = 0o777 if file.is_executable else 0o666  # less what the user's umask takes away
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as opened:
        opened.write(file.text.encode())
        opened.flush()
        os.fsync(opened.fileno())


def _quietly(clean: Callable[[], object]) -> None:
    """The error that led here is the one to be told."""
    with suppress(OSError):
        clean()
