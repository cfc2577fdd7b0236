"""The house's rules: imports run downwards, importing the package is cheap, and tests lie where one looks for them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import repro_magic

ROOT = Path(repro_magic.__file__).parent

# A room may import the rooms on lines above its own, and itself. A folder inside a room is a room of its own.
FLOORS = [
    {"runtime.public"},
    {"exceptions"},
    {"runtime"},
    {"introspection"},
    {"rng", "determinism"},
    {"findings"},
    {"ops.catalogue"},
    {"ops.tracing"},
    {"unseeded"},
    {"dataloading"},
    {"plugins"},
    {"watching"},
    {"scope", "journal"},
    {"process_status"},
    {"proof.variables", "proof.text"},
    {"proof.environment"},
    {"proof.verdict"},
    {"proof.digest"},
    {"proof.kernel"},
    {"proof.run"},
    {"proof.compare"},
    {"proof.record"},
    {"proof.share"},
    {"proof.verification"},
    {"views"},
    {"notebook", "cli"},
    {"__main__"},
    {""},  # the package itself: the public names and the extension's two hooks
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """The smallest room that a module lies in; a room's own `__init__` imports nothing."""
    parts = module.split(".")[1:]
    names = [".".join(parts[:length]) for length in range(len(parts), -1, -1)]
    return next(name for name in names if name in LEVEL)


def imports_of(path: Path) -> set[str]:
    """Every module of ours that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module.partition(".")[0] == "repro_magic"}


def upward_imports(room: str, imports: set[str]) -> set[str]:
    return {module for module in imports if room_of(module) != room and LEVEL[room_of(module)] >= LEVEL[room]}


def circles(graph: Mapping[str, Collection[str]]) -> str:
    """The first circle of imports, in words; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards(path: Path) -> None:
    assert upward_imports(room_of(module_of(path)), imports_of(path)) == set()


def test_no_modules_import_each_other() -> None:
    assert circles({module: imports_of(path) for module, path in MODULES.items()}) == ""


def test_the_rules_themselves_can_fail() -> None:
    assert upward_imports("rng", {"repro_magic.scope"}) == {"repro_magic.scope"}
    assert upward_imports("rng", {"repro_magic.determinism.switches"}) == {"repro_magic.determinism.switches"}
    assert upward_imports("proof.kernel", {"repro_magic.proof.run.runner"}) == {"repro_magic.proof.run.runner"}
    assert upward_imports("scope", {"repro_magic.rng.seeding"}) == set()
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"]})


@pytest.mark.parametrize("code", ["import repro_magic", "import repro_magic; repro_magic.seed_everything(1)"])
def test_importing_and_seeding_import_nothing_heavy(code: str) -> None:
    heavy = ["torch", "numpy", "IPython", "ipywidgets", "rich"]
    check = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["verify", "--help"], ["share", "--help"]])
def test_the_commands_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ["torch", "numpy", "IPython", "nbformat", "nbclient", "repro_magic.proof", "rich.progress"]
    check = (
        "import sys\nfrom repro_magic.cli import app\n"
        f"try:\n    app({arguments})\nfinally:\n    assert not [name for name in {heavy} if name in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


TESTS = Path(__file__).parents[1]
LONGEST = 500  # lines


def test_no_test_file_is_too_long_to_read() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TESTS.rglob("*.py")}
    assert {str(path.relative_to(TESTS)): length for path, length in lengths.items() if length > LONGEST} == {}


def test_the_folders_of_unit_tests_are_rooms_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS / "unit") for path in (TESTS / "unit").rglob("test_*.py")}
    assert {str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()} == set()
    assert len(folders) > 10, "the tests have moved: teach this test where they are"


def test_every_public_name_is_there_and_documented() -> None:
    for name in repro_magic.__all__:
        public = getattr(repro_magic, name)
        assert name == "__version__" or public.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = repro_magic.nonsense
    assert set(dir(repro_magic)) == set(repro_magic.__all__)
