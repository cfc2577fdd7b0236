"""Which of the notebook's names a cell can reach: those that it reads or writes, itself or in a function of its own.

`train(model)` assigns nothing and changes `model`. So what counts is every name that stands in the cell, or in a
function or class of the notebook that it reaches; and every name that is bound to another object afterwards, by
whatever means.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

from repro_magic.introspection.foreign import NOTEBOOK, Shield, attributes, is_any, is_notebooks, namespace_of

_NAME = re.compile(r"[^\W\d]\w*")
# Through so many functions and classes one name is followed.
_MOST = 10_000


def own_names(shell: Any) -> dict[str, object]:  # noqa: ANN401 - IPython's
    """The notebook's names with what they hold, less IPython's own, and those that begin with an underscore."""
    hidden = shell.user_ns_hidden  # once: this is asked after every cell, of all its names
    return {
        name: value
        for name, value in list(shell.user_ns.items())
        if type(name) is str and name[:1] != "_" and name not in hidden
    }


def as_python(shell: Any, cell: str) -> str:  # noqa: ANN401 - IPython's
    """A cell as Python, its magics transformed; as it stands where IPython cannot transform it.

    IPython asks what a lone name holds whether it is a macro, so a value of the user's may raise here.
    """
    with Shield():
        return str(shell.transform_cell(cell))
    return cell


def reached(source: str, names: Mapping[str, object], before: Mapping[str, int] | None = None) -> list[str]:
    """The names that a cell reaches, sorted.

    Args:
        source: the cell as Python (its magics transformed). What is no Python reaches nothing by itself.
        names: the notebook's names after the cell, with what they hold.
        before: `bindings` before the cell; None if these are not known.

    Example:
        >>> reached("y = x + 1", {"x": 1, "y": 2, "z": 3})
        ['x', 'y']
    """
    found = {word for word in words(source, names) if word in names}
    if before is not None:
        found.update(name for name, value in names.items() if before.get(name) != id(value))
    return sorted(found)


def words(source: str, names: Mapping[str, object]) -> set[str]:
    """The words of a cell's code, and of the notebook's functions and classes that it reaches.

    Example:
        >>> sorted(words("y = exec(x)", {"x": "1"}))
        ['exec', 'x', 'y']
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Module([], [])
    waiting = list(_words(tree))
    found: set[str] = set()
    while waiting:
        word = waiting.pop()
        if word not in found:
            found.add(word)
            waiting += _of_code(names[word]) if word in names else ()
    return found


def bindings(names: Mapping[str, object]) -> dict[str, int]:
    """Which object each name is bound to."""
    return {name: id(value) for name, value in names.items()}


def _words(tree: ast.AST) -> Iterator[str]:
    """Names in the code, and words in its texts: a magic's line, and what is evaluated, are texts by now."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        elif isinstance(node, ast.Call) and _is_evaluated(node.func):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield from _NAME.findall(argument.value)


def _is_evaluated(function: ast.expr) -> bool:
    """Whether a call's texts are code: `exec`, `eval`, and the calls that magics become."""
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in {"exec", "eval", "run_line_magic", "run_cell_magic", "system", "getoutput"}


def _of_code(value: object) -> Iterator[str]:
    """The names in a function's or class's code, if it is the notebook's; of an object, in its class's."""
    waiting = [value]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        one = waiting.pop()
        if id(one) in seen:  # an enum's members are of the class that holds them
            continue
        seen.add(id(one))
        if type(one) is FunctionType and _is_here(one.__module__):
            yield from _names_of(one.__code__)
        waiting += _inside(one)


def _inside(value: object) -> list[object]:
    """Where more code of the notebook's may be: below a decorator, in a class, in an object's class."""
    kind = type(value)
    if issubclass(kind, type):
        return list(namespace_of(value).values()) if is_notebooks(value) else []  # type: ignore[arg-type]
    if is_any(kind, staticmethod, classmethod, MethodType):
        return [value.__func__]  # type: ignore[attr-defined]
    if kind is property:
        return [value.fget, value.fset, value.fdel]  # type: ignore[attr-defined]
    wrapped = attributes(value).get("__wrapped__")
    below = [] if wrapped is None else [wrapped]
    return [*below, kind] if is_notebooks(kind) else below  # an object of the notebook's: its methods may reach more


def _is_here(module: object) -> bool:
    return type(module) is str and module == NOTEBOOK


def _names_of(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_of(constant)
