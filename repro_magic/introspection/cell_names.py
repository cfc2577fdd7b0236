"""Which notebook variables a cell may change: those it uses, directly or in the notebook's functions and classes.

`train(model)` assigns nothing and changes `model`. So every name counts that appears in the cell, or in a function or
class of the notebook that the cell reaches, and every name that was rebound, by whatever means.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

from repro_magic.introspection.foreign import NOTEBOOK, Shield, attributes, is_any, is_notebooks, namespace_of

_NAME = re.compile(r"[^\W\d]\w*")
# How many objects are visited from a name.
_MOST = 10_000


def own_names(shell: Any) -> dict[str, object]:  # noqa: ANN401 - IPython's
    """The notebook's variables, without IPython's own and without names that begin with an underscore."""
    hidden = shell.user_ns_hidden  # read once: this loop runs over all names after every cell
    return {
        name: value
        for name, value in list(shell.user_ns.items())
        if type(name) is str and name[:1] != "_" and name not in hidden
    }


def as_python(shell: Any, cell: str) -> str:  # noqa: ANN401 - IPython's
    """A cell with its magics transformed to Python; unchanged if IPython cannot transform it.

    IPython checks whether the value of a lone name is a macro, so the user's value may raise here.
    """
    with Shield():
        return str(shell.transform_cell(cell))
    return cell


def reached(source: str, names: Mapping[str, object], before: Mapping[str, int] | None = None) -> list[str]:
    """The names that a cell reaches, sorted.

    Args:
        source: the cell as Python, with its magics transformed. Source that is not Python uses no names.
        names: the notebook's variables after the cell.
        before: `bindings` before the cell; None if unknown.

    Example:
        >>> reached("y = x + 1", {"x": 1, "y": 2, "z": 3})
        ['x', 'y']
    """
    used = {word for word in words(source, names) if word in names}
    if before is not None:
        used.update(name for name, value in names.items() if before.get(name) != id(value))
    return sorted(used)


def words(source: str, names: Mapping[str, object]) -> set[str]:
    """The words in a cell's code, and in the notebook's functions and classes that it reaches.

    Example:
        >>> sorted(words("y = exec(x)", {"x": "1"}))
        ['exec', 'x', 'y']
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Module([], [])
    waiting = list(_words(tree))
    visited: set[str] = set()
    while waiting:
        word = waiting.pop()
        if word not in visited:
            visited.add(word)
            waiting += _names_in_code_of(names[word]) if word in names else ()
    return visited


def bindings(names: Mapping[str, object]) -> dict[str, int]:
    """The id of each name's object."""
    return {name: id(value) for name, value in names.items()}


def _words(tree: ast.AST) -> Iterator[str]:
    """The names in the code, and the words in its evaluated strings: magics are transformed to calls with strings."""
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
    """Whether a call's strings are code: `exec`, `eval`, and the calls that magics are transformed to."""
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in {"exec", "eval", "run_line_magic", "run_cell_magic", "system", "getoutput"}


def _names_in_code_of(value: object) -> Iterator[str]:
    """The names in a function's, class's or object's code, where the notebook defines it."""
    waiting = [value]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        item = waiting.pop()
        if id(item) in seen:  # cycles: an enum's members lead back to their class
            continue
        seen.add(id(item))
        if type(item) is FunctionType and _is_notebook_module(item.__module__):
            yield from _names_in_code(item.__code__)
        waiting += _related_code(item)


def _related_code(value: object) -> list[object]:
    """Objects that may hold more code of the notebook: a wrapped function, a class's members, an object's class."""
    kind = type(value)
    if issubclass(kind, type):
        return list(namespace_of(value).values()) if is_notebooks(value) else []  # type: ignore[arg-type]
    if is_any(kind, staticmethod, classmethod, MethodType):
        return [value.__func__]  # type: ignore[attr-defined]
    if kind is property:
        return [value.fget, value.fset, value.fdel]  # type: ignore[attr-defined]
    wrapped = attributes(value).get("__wrapped__")
    below = [] if wrapped is None else [wrapped]
    return [*below, kind] if is_notebooks(kind) else below  # the methods of its class may use more names


def _is_notebook_module(module: object) -> bool:
    return type(module) is str and module == NOTEBOOK


def _names_in_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in_code(constant)
