"""Notebooks in folders, and what sharing them takes, for tests."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import nbformat

from repro_magic.proof.environment import environment
from repro_magic.proof.run.notebook_file import load
from repro_magic.proof.share import share

HERE = environment()


SECRET = "ghp_secret"  # noqa: S105 - what must not be told


def made_of(**sections: dict[str, str]) -> dict[str, Any]:
    """An environment of Linux and a CPU, with these sections."""
    plain = {
        "accelerators": {},
        "cpu": {"machine": "x86_64", "model": "Some CPU"},
        "threads": {"cores": "8", "of one op": "4"},
        "variables": {},
        "python": {"version": "3.12.4", "implementation": "CPython", "string hashes": "random"},
        "packages": {"numpy": "2.1.0", "torch": "2.9.0+cpu"},
        "system": {"name": "Linux"},
    }
    return copy.deepcopy(HERE) | plain | sections


def notebook_in(folder: Path, name: str = "study.ipynb", source: str = "import numpy, torch") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), folder / name)
    return folder / name


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)  # noqa: S607


def planned(path: Path, **sections: dict[str, str]) -> share.Plan:
    return share.plan(load(path), made_of(**sections), "{}\n")


def requirements(plan: share.Plan) -> list[str]:
    return plan.files["binder/requirements.txt"].text.splitlines()


def told(plan: share.Plan) -> str:
    return "\n".join(plan.notes)


def everything(plan: share.Plan) -> str:
    return "\n".join([*plan.files, *(file.text for file in plan.files.values()), plan.badge, *plan.notes])


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, hidden files too."""
    found = sorted(folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in found}
