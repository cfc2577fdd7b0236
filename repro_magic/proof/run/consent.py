"""What a notebook may run only if its user agrees: programs, which can change more than a copy's files.

Decided on what IPython makes of a cell, so that a text or a comment with a `!` counts for nothing. A program that
Python code starts (`subprocess`, `os.system`) is seen when it runs: see `proof.programs`.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from repro_magic.proof.run.notebook_file import code_cells

# Line magics that start a program, and the aliases that IPython has for some.
_PROGRAMS = frozenset(
    [
        "sx",
        "system",
        "sc",
        "pip",
        "conda",
        "mamba",
        "micromamba",
        "uv",
        "edit",
        "ed",
        "man",
        "qtconsole",
        "tensorboard",
        "alias",
        "rehashx",
        "ls",
        "ll",
        "lf",
        "lk",
        "lx",
        "ldir",
        "cat",
        "cp",
        "mv",
        "rm",
        "mkdir",
        "rmdir",
        "copy",
        "ren",
        "echo",
        "ddir",
    ]
)
_SCRIPTS = frozenset(
    ["!", "sx", "system", "script", "bash", "sh", "perl", "ruby", "python", "python2", "python3", "pypy", "cmd"]
)
# Magics that run what stands behind or below them as IPython runs a cell.
_RUNNERS = frozenset(
    [
        "time",
        "timeit",
        "prun",
        "capture",
        "debug",
        "memit",
        "mprun",
        "lprun",
        "px",
        "deterministic",
        "repro_cost",
        "scalene",
        "pyinstrument",
        "snakeviz",
    ]
)
_TEXTS = frozenset(["html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG", "writefile", "file"])
_OPTION = re.compile(r"\s*-(?:[nrpslTDfums]\s*[^-\s]\S*|\w+|-\S+)")
_CALLS = frozenset({"system", "system_piped", "system_raw", "getoutput", "getoutput_error"})
_MAGICS = frozenset({"run_line_magic", "run_cell_magic", "magic"})
_LONGEST = 200


def shell_lines(notebook: Any) -> list[tuple[int, str]]:  # noqa: ANN401 - nbformat's node
    """What runs programs, as lines, each with the number of its code cell."""
    names = _Names()
    found = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        found += [(number, line[:_LONGEST]) for line in dict.fromkeys(_programs(cell.source, names))]
        names.learn(cell.source)
    return found


@dataclass
class _Names:
    """What earlier cells bind: a name of a magic that is bound is no magic."""

    bound: set[str] = field(default_factory=set)
    shells: set[str] = field(default_factory=set)  # those that hold IPython's shell
    has_star: bool = False

    def learn(self, source: str) -> None:
        """Take in what a cell binds."""
        for node in _walked(_transformed(source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.bound.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.bound.add(node.name)
            elif isinstance(node, ast.alias):
                self.bound.add((node.asname or node.name).partition(".")[0])
                self.has_star |= node.name == "*"


def _programs(source: str, names: _Names) -> Iterator[str]:
    """The lines of one cell, or of the body of a magic."""
    text = _transformed(source)
    nodes = list(_walked(text))
    names.shells |= {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _is_shell(node.value, names)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from _called(node, node.func, names)
    yield from _automagic(text, names)


def _transformed(source: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - only the command line needs it

    try:
        with _silent():
            return str(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError):  # then the kernel runs none of it either
        return ""


@contextmanager
def _silent() -> Iterator[None]:
    """Warnings about somebody's code are shown where it runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _walked(text: str) -> Iterator[ast.AST]:
    """The nodes of some code; of code that does not parse here, as a newer Python's may not, those of each line."""
    tree = _parsed(text)
    if tree is not None:
        yield from ast.walk(tree)
        return
    for line in text.splitlines():
        yield from ast.walk(_parsed(line.strip()) or ast.Module([], []))


def _parsed(text: str) -> ast.Module | None:
    try:
        with _silent():
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_shell(node: ast.AST, names: _Names) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names.shells
    if not isinstance(node, ast.Call):
        return False
    return (isinstance(node.func, ast.Name) and node.func.id == "get_ipython") or (
        isinstance(node.func, ast.Attribute) and node.func.attr in {"get_ipython", "instance"}
    )


def _called(node: ast.Call, function: ast.Attribute, names: _Names) -> Iterator[str]:
    texts = [one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else None for one in node.args]
    if function.attr in _CALLS and _is_shell(function.value, names):
        yield f"!{texts[0]}" if texts and texts[0] is not None else ast.unparse(node)
    elif function.attr in _MAGICS and texts and texts[0] is not None:
        name, *rest = [text or "" for text in texts]
        if function.attr == "magic":  # the older form: name and line in one text
            name, _, line = name.lstrip("%").partition(" ")
            rest = [line]
        if function.attr == "run_cell_magic":
            line, body = [*rest, "", ""][:2]
            yield from _cell_magic(name, line, body, names)
        else:
            yield from _line_magic(name, rest[0] if rest else "", names)


def _line_magic(name: str, line: str, names: _Names) -> Iterator[str]:
    if name in _PROGRAMS or _starts(name, line):
        yield f"%{name} {line}".rstrip()
    elif name in _RUNNERS:
        yield from _programs(_without_options(line), names)


def _starts(name: str, line: str) -> bool:
    """Whether a magic starts a program with this line.

    `%run` of a script is an import by another name; of a notebook or an .ipy file it runs their lines, unseen.
    """
    words = line.split()
    if name == "run":
        return any(word.strip("'\"").endswith((".ipy", ".ipynb")) for word in words)
    return name == "alias_magic" and bool((_PROGRAMS | _SCRIPTS | _RUNNERS) & {word.lstrip("%") for word in words})


def _cell_magic(name: str, line: str, body: str, names: _Names) -> Iterator[str]:
    if name in _SCRIPTS:
        first = next((one for one in body.splitlines() if one.strip()), "")
        yield f"%%{name} {line}".rstrip() + f" … {first.strip()}"
    elif name in _RUNNERS:
        yield from _programs(_without_options(line), names)
        yield from _programs(body, names)
    elif name not in _TEXTS and _parsed(_transformed(body)) is not None:  # of a magic that nobody here knows
        yield from _programs(body, names)


def _without_options(line: str) -> str:
    while found := _OPTION.match(line):
        line = line[found.end() :]
    return line.strip()


def _automagic(text: str, names: _Names) -> Iterator[str]:
    """A cell of one line that begins with a magic's name runs it without `%`, unless the name is bound."""
    found = re.fullmatch(r"\s*(\w+)(?![.\w])\s*+(?![=,])(.*)\n?", text)
    if found is None:
        return
    is_python = _parsed(text) is not None
    if not (is_python and (found[1] in names.bound or names.has_star)):
        yield from _line_magic(found[1], found[2], names)
