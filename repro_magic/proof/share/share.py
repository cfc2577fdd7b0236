"""Plan the files that others need to run and verify a notebook: a Binder folder and the sidecar, with a badge."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from repro_magic.exceptions import ShareError
from repro_magic.proof.environment import Environment
from repro_magic.proof.record.sidecar import sidecar_of
from repro_magic.proof.run.notebook_file import NotebookFile
from repro_magic.proof.share.addresses import binder_name, origin_of
from repro_magic.proof.share.requirements import (
    NOT_ON_BINDER,
    OURS,
    Pin,
    needed_distributions,
    normalised_name,
    pin_of,
    requirements_text,
)
from repro_magic.proof.variables import is_harmless

# Recorded environment variables that change how a CPU computes.
_CHANGES_CPU = re.compile(r"(ATEN|BLIS|DNNL|MKL|NUMEXPR|OMP|ONEDNN|OPENBLAS)_[A-Z0-9_]+")
_PLACEHOLDER = "gh/OWNER/REPOSITORY"


@dataclass(frozen=True)
class File:
    """A file to write: its text, and whether it is executable."""

    text: str
    is_executable: bool = False


@dataclass(frozen=True)
class Plan:
    """What `share` writes and reports.

    Attributes:
        files: path relative to the folder, with `/` -> the file.
        badge: Markdown for a link that opens the notebook on Binder.
        notes: the limits of Binder, and what is left to do.
    """

    files: Mapping[str, File]
    badge: str
    notes: Sequence[str]


def root_of(notebook: Path, output: Path | None = None) -> Path:
    """The root of the git repository that contains a notebook.

    Without a repository, the output folder if it contains the notebook; else the notebook's folder.

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
    return next((parent for parent in above if (parent / ".git").exists()), otherwise)


def plan(  # noqa: PLR0913 - as the command has
    file: NotebookFile,
    environment: Environment,
    sidecar: str,
    *,
    repository: str | None = None,
    ref: str = "HEAD",
    output: Path | None = None,
) -> Plan:
    """Plan the files that others need to run a notebook. Writes nothing, and discloses no private address.

    Args:
        file: the notebook, as it ran.
        environment: its kernel's environment, after a run.
        sidecar: the text of the sidecar.
        repository: its public address on GitHub or GitLab; None asks git for the address of `origin`.
        ref: the branch, tag or commit that Binder opens.
        output: the folder for the files, if it is not the repository's root or the notebook's folder.

    Raises:
        ShareError: the environment contains something that cannot be pinned.
    """
    root = root_of(file.path, output)
    path = file.path.parent.resolve().relative_to(root) / file.path.name
    pins = [pin_of(name, version, root) for name, version in needed_distributions(file, environment, root)]
    binder_place = binder_name(repository if repository is not None else origin_of(root))
    files = {
        "binder/requirements.txt": File(requirements_text(pins, path)),
        "binder/runtime.txt": File(f"python-{_python(environment)}\n"),
        "binder/start": File(_start(environment), is_executable=True),
        sidecar_of(path).as_posix(): File(sidecar),
    }
    return Plan(
        files,
        _badge(binder_place or _PLACEHOLDER, ref, path),
        _notes(environment, pins, is_placed=binder_place is not None),
    )


def _python(environment: Environment) -> str:
    version = re.match(r"\d+\.\d+", environment["python"].get("version", ""), re.ASCII)
    if version is None:
        raise ShareError("the environment does not name the version of Python")
    return version[0]


def _start(environment: Environment) -> str:
    """A script that sets variables that a running process cannot change, then runs the server."""
    fixed = re.fullmatch(r"fixed to (\d+)", environment["python"].get("string hashes", ""), re.ASCII)
    threads = re.fullmatch(r"\d+", environment["threads"].get("of one op", ""), re.ASCII)
    variables = {
        "PYTHONHASHSEED": fixed[1] if fixed else "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Sums on a CPU depend on the number of threads.
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


def _badge(place: str, ref: str, path: Path) -> str:
    quoted_path = quote(os.fsencode(path.as_posix()), safe="")
    address = f"https://mybinder.org/v2/{place}/{quote(ref, safe='/')}?labpath={quoted_path}"
    return f"[![Binder](https://mybinder.org/badge_logo.svg)]({address})"


def _notes(environment: Environment, pins: Sequence[Pin], *, is_placed: bool) -> list[str]:
    started = [text for text in environment["accelerators"].values() if not text.endswith("not started")]
    left_out = sorted(name for name in environment["packages"] if NOT_ON_BINDER.fullmatch(normalised_name(name)))
    model, machine = environment["cpu"].get("model", "unknown"), environment["cpu"].get("machine", "")
    system = environment["system"].get("name", "")
    implementation = environment["python"].get("implementation", "")
    notes = {
        "Binder has no GPU: only receipts of a CPU can be proved there.": True,
        f"This run had a GPU ({'; '.join(started)}): its results cannot be proved on Binder.": started,
        f"Binder's CPU may be another than the recorded one ({model}), and then the last bits may differ: "
        f"`{OURS} verify --recorded` tells, there.": True,
        f"Binder runs Linux on x86-64, and the record is of {system} on {machine}: results may differ.": (
            (system, machine) != ("Linux", "x86_64")
        ),
        f"Binder runs CPython, and the record is of {implementation}.": implementation != "CPython",
        f"Left out, for they do not work there: {', '.join(left_out)}.": left_out,
        **{pin.note: pin.note for pin in pins},
        "No address on GitHub or GitLab is known: put yours in place of OWNER/REPOSITORY in the badge.": not is_placed,
    }
    return [note for note, applies in notes.items() if applies]
