"""The house's rules: imports run downwards, and importing the package is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import repro_magic

ROOT = Path(repro_magic.__file__).parent

# A room may import the rooms on lines above its own, and itself.
FLOORS = [
    {"exceptions"},
    {"importing", "interrupts", "comments"},
    {"introspection"},
    {"rng", "determinism"},
    {"ops"},
    {"scope", "journal"},
    {"overview"},
    {"proof"},
    {"views"},
    {"notebook", "cli"},
    {"__main__"},
    {""},  # the package itself: the public names and the extension's two hooks
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[str]:
    """Every module of ours that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module.partition(".")[0] == "repro_magic"}


def upward_imports(room: str, imports: set[str]) -> set[str]:
    return {module for module in imports if room_of(module) != room and LEVEL[room_of(module)] >= LEVEL[room]}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    room = "" if parts == ("__init__",) else parts[0]
    assert upward_imports(room, imports_of(path)) == set()


def test_the_rule_itself_can_fail() -> None:
    assert upward_imports("rng", {"repro_magic.scope"}) == {"repro_magic.scope"}
    assert upward_imports("rng", {"repro_magic.determinism.switches"}) == {"repro_magic.determinism.switches"}
    assert upward_imports("scope", {"repro_magic.rng.seeding"}) == set()


@pytest.mark.parametrize("code", ["import repro_magic", "import repro_magic; repro_magic.seed_everything(1)"])
def test_importing_and_seeding_import_nothing_heavy(code: str) -> None:
    heavy = ["torch", "numpy", "IPython", "ipywidgets", "rich"]
    check = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented() -> None:
    for name in repro_magic.__all__:
        public = getattr(repro_magic, name)
        assert name == "__version__" or public.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = repro_magic.nonsense
    assert set(dir(repro_magic)) == set(repro_magic.__all__)
