"""The documentation: pages lead on, links lead somewhere, the map shows what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from test_architecture import LEVEL

import repro_magic

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.is_relative_to(DOCS / "_build"))
OUTSIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
CELL = re.compile(r"^```(?:python|ipython)\n(%.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_ends_with_what_to_read_next(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    last = re.split(r"^## ", text, flags=re.MULTILINE)[-1]
    assert last.startswith("Read next\n")
    assert LINK.search(last)


@pytest.mark.parametrize("page", OUTSIDE, ids=name)
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    """Sphinx checks the site's own."""
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short_and_names_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert {"make demo", "make test"} <= set(lines)


def example(page: Path) -> list[str]:
    return CELL.findall(page.read_text(encoding="utf-8"))


def test_the_readme_and_the_site_begin_with_the_same_example() -> None:
    assert example(ROOT / "README.md") == example(DOCS / "index.md")


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [cited] = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert project["version"] == cited == repro_magic.__version__


def test_what_turns_warnings_into_errors_is_pinned() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    plug_ins = {re.split(r"[^\w-]", needed)[0] for needed in extras["test"] if needed.startswith("pytest")}
    pins = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert plug_ins | {"ruff", "mypy", "hypothesis", "sphinx", "furo", "myst-nb"} <= set(pins)


LAYOUT = (DOCS / "contributing" / "layout.md").read_text(encoding="utf-8")


def test_the_map_has_the_order_in_which_imports_run() -> None:
    rows = re.findall(r"^\| `([a-z_/]+?)(?:/|\.py)` \|", LAYOUT.partition("\n## ")[0], re.MULTILINE)
    levels = [LEVEL[row.replace("/", ".")] for row in rows]
    assert levels == sorted(levels)
    assert {room.partition(".")[0] for room in LEVEL} - {"", "__main__"} == {row.partition("/")[0] for row in rows}


FOR_CONTRIBUTORS = [*OUTSIDE, *sorted((DOCS / "contributing").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?<![\w./-])(?:[\w.-]+/)+[\w.-]*|(?<![\w./-])[\w.-]+\.(?:py|md|toml|txt|cff|yml|ipynb)\b")
TARGET = re.compile(r"\bmake ([a-z-]+)")


def code_of(page: Path) -> str:
    """What a page shows as code; directives are not."""
    found = CODE.findall(page.read_text(encoding="utf-8"))
    return "\n".join(code for code in found if not code.startswith("```{"))


@pytest.mark.parametrize("page", FOR_CONTRIBUTORS, ids=name)
def test_every_file_and_target_that_a_page_names_exists(page: Path) -> None:
    code = code_of(page)
    files = {file for file in FILE.findall(code) if not file.startswith((".venv/", "study."))}
    missing = {file for file in files if not any((top / file).exists() for top in (ROOT / "repro_magic", ROOT))}
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert missing | (set(TARGET.findall(code)) - set(targets)) == set()


def test_the_map_names_many_files() -> None:
    assert len(set(FILE.findall(code_of(DOCS / "contributing" / "layout.md")))) > 40, "the pattern finds nothing"
