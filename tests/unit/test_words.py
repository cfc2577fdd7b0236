"""Plain words: phrases that no message, help text, public docstring or page of the documentation may hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import repro_magic

PACKAGE = Path(repro_magic.__file__).parent
ROOT = Path(__file__).parents[2]

# A pattern -> what to write instead.
PHRASES = {
    r"from run to run": "between runs",
    r"another \w+ in (another|every|each|the next) (run|process)": "differs between runs",
    r"(is|are) others? in (another|every|each) run|other \w+ in every run": "differs between runs",
    r"gives? another result": "may give different results between runs",
    r"so that \w+( \w+)? (is|are)\b": "two sentences, or 'so ...'",
    r"none of it\b": "'not ...', or name the thing",
    r"what it brought": "the result",
    r"as it is\b|stays? as (it is|they are)": "unchanged",
    r"of these": "name the things",
    r"believed": "trusted",
    r"forgiven": "ignored",
    r"by chance|is chance": "varies between runs",
    r"told": "reported, shown or listed",
    r"(one|a) place(?! of the)": "a line, an element",
    r"(?<!not )(?<!are )all the same": "still",
    r"put back as well|for their state": "restored, too; because their state ...",
    r"in force": "active",
    r"(sees|looks) .*no longer": "stopped detecting",
    r"nobody is there": "`input()` is not available",
    r"came to another": "same start, different end state",
    r"by what else": "only metadata differs",
    r"no rank:": "invalid rank; expected a non-negative integer",
    r"cannot be told|not to be told": "unknown",
    r"Detached:": "Kernel restarted: run ...",
    r"so many of so many": "the number of differing elements",
    r"name of the notebook holds|the notebook holds": "reachable from notebook variables",
    r"of your own that": "your own ...",
    r"how manieth": "the index",
}
_BANNED = [(re.compile(rf"\b(?:{pattern})", re.IGNORECASE), instead) for pattern, instead in PHRASES.items()]

Text = tuple[str, int, str]


def visible(source: str, file: str) -> Iterator[Text]:
    """The texts of a module that users can see: its messages, and the docstrings of what is public or a magic."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            if " " in node.value.strip():
                yield file, node.lineno, node.value
        elif isinstance(node, documented) and _is_public(node):
            yield from _docstrings(node, file)


def _is_public(node: ast.AST) -> bool:
    decorators = {part.id for part in getattr(node, "decorator_list", ()) if isinstance(part, ast.Name)}
    return getattr(node, "name", None) in repro_magic.__all__ or bool(decorators & {"line_magic", "cell_magic"})


def _docstrings(node: ast.AST, file: str) -> Iterator[Text]:
    for part in ast.walk(node):
        if isinstance(part, ast.ClassDef | ast.FunctionDef) and (part is node or not part.name.startswith("_")):
            docstring = ast.get_docstring(part, clean=False)
            yield from ((file, part.lineno, line) for line in (docstring or "").splitlines())


def in_package() -> Iterator[Text]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from visible(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE.parent)))


def in_pages() -> Iterator[Text]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        yield from ((str(path.relative_to(ROOT)), number, line) for number, line in enumerate(lines, start=1))


def faults(texts: Iterator[Text]) -> list[str]:
    return [
        f"{file}:{number}: {found[0]!r}; write instead: {instead}"
        for file, number, text in texts
        for pattern, instead in _BANNED
        if (found := pattern.search(" ".join(text.split())))
    ]


def test_messages_and_public_docstrings_use_plain_words() -> None:
    found = faults(in_package())
    assert not found, "\n".join(found)


def test_pages_use_plain_words() -> None:
    found = faults(in_pages())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'print("Results may differ from run to run")',
        'def f(n):\n    raise ValueError(f"{n} is told twice")',
        'def verify():\n    """Compare; what differs is told."""',
        'class Report:\n    @property\n    def x(self):\n        """None of it is kept."""',
        '@line_magic\ndef repro_x(self, line):\n    """Show what can\n    not be told: nothing."""',
    ],
)
def test_a_banned_phrase_is_found_with_its_line_and_a_remedy(source: str) -> None:
    [fault] = faults(visible(source, "a.py"))
    assert re.fullmatch(r"a\.py:\d+: '.+'; write instead: .+", fault)


@pytest.mark.parametrize(
    "source",
    [
        '"""A module that is told nothing."""',
        'def _helper():\n    """What is told."""',
        'told = "x"\nprint(f"{told} differs between runs")',
        'print("told")',
    ],
)
def test_what_no_user_sees_is_left_alone(source: str) -> None:
    assert faults(visible(source, "a.py")) == []
