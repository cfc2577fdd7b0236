"""`%%deterministic` as a native cell: the body stays the notebook's own code, only a `with` is put around it.

A cell magic that is handed its body as a string loses what a cell has: line numbers, `Out[n]`, `await`, and errors that
stop the run. So the body is never handed over. In two steps,

1. an input transformer (`mark`) replaces the first line, and only that, by the call that IPython itself would make,
   with an empty body. Every other line stays where it is;
2. an AST transformer (`CellRewriter`) finds that call and puts the statements below it into a `with`.

If the second step does not happen (under `%%prun`, say, which skips AST transformers), the call of the first step is
what runs: it reaches the real magic of that name, which sees a blank body and raises. A body never runs unprotected.
"""

from __future__ import annotations

import ast
import itertools
import linecache
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from IPython.core.inputtransformer2 import cell_magic

MAGIC = "deterministic"
_BLANK_BODY = " "  # IPython itself refuses an empty one, with a sentence that does not help here
_FIRST_LINE = re.compile(rf"%%{MAGIC}(?:[ \t]+(?P<line>.*))?\Z")  # `%%deterministic?` asks for help: not ours


def sentinel(line: str) -> str:
    """The call that stands for the first line `%%deterministic LINE`."""
    return f"get_ipython().run_cell_magic({MAGIC!r}, {line!r}, {_BLANK_BODY!r})"


_SENTINEL_LINE = re.compile(re.escape(sentinel("")).replace(re.escape("''"), r"(?P<line>'.*'|\".*\")", 1))


def mark(lines: list[str]) -> list[str]:
    r"""Replace a first line `%%deterministic …` by its sentinel; pure, for IPython may call it several times a cell.

    If another cell magic stands right below, the rest becomes that magic's call, as if it were a cell of its own.

    Example:
        >>> mark(["%%deterministic --seed 1\n", "x = 1\n"])
        ["get_ipython().run_cell_magic('deterministic', '--seed 1', ' ')\n", 'x = 1\n']
    """
    found = _FIRST_LINE.match(lines[0].rstrip()) if lines else None
    if found is None:
        return lines
    body = lines[1:]
    start = next((number for number, line in enumerate(body) if line.strip()), len(body))
    if start < len(body) and body[start].startswith("%%"):
        body = body[:start] + cell_magic(mark(body[start:]))
    return [sentinel(found["line"] or "") + "\n", *body]


def user_line(transformed: str) -> str | None:
    """The user's own first line for a cell that starts with a sentinel, else None.

    Example:
        >>> user_line(sentinel("--seed 1"))
        '%%deterministic --seed 1'
    """
    found = _SENTINEL_LINE.match(transformed)
    return None if found is None else f"%%{MAGIC} {ast.literal_eval(found['line'])}".rstrip()


def _sentinel_argument(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(
            ast.Call(
                func=ast.Attribute(ast.Call(func=ast.Name("get_ipython")), "run_cell_magic"),
                args=[ast.Constant(value=str(name)), ast.Constant(value=str(line)), ast.Constant(value=str(body))],
            )
        ) if (name, body) == (MAGIC, _BLANK_BODY):
            return line
        case _:
            return None


# Names in the user's namespace could be shadowed, shown by %who, or deleted by %reset: the code reaches us by import.
_CALL = f"__import__({__name__!r}, None, None, ('_',))"
_keys = itertools.count()
_rewriters: dict[int, CellRewriter] = {}
_values: dict[int, Any] = {}


def enter(rewriter: int, line: str) -> AbstractContextManager[object]:
    """What the rewritten cell enters. Called from the cell's own frame, on its first line."""
    lines = linecache.getlines(sys._getframe(1).f_code.co_filename)  # noqa: SLF001 - what inspect uses
    own = user_line(lines[0]) if lines else None
    if own is not None:
        lines[0] = own + "\n"  # tracebacks show what the user wrote; the list is linecache's own
    return _rewriters[rewriter].open(line)


def keep(key: int, value: object) -> None:
    """Hold the value of the cell's last expression until the switches are back; it is then displayed as usual."""
    _values[key] = value


def take(key: int) -> object:
    """Give that value up again: nothing of ours may keep a tensor alive."""
    return _values.pop(key)


def _call(place: ast.stmt, function: str, *arguments: ast.expr | int | str) -> ast.Call:
    call = ast.parse(f"{_CALL}.{function}()", mode="eval").body
    assert isinstance(call, ast.Call)  # noqa: S101 - what was just written
    call.args = [ast.Constant(argument) for argument in arguments if not isinstance(argument, ast.expr)]
    for node in ast.walk(call):
        ast.copy_location(node, place)
    call.args += [argument for argument in arguments if isinstance(argument, ast.expr)]  # these keep their own place
    return call


class CellRewriter(ast.NodeTransformer):
    """Puts the statements below a sentinel into a `with` whose context comes from `open_cell(LINE)`.

    It never raises: IPython would unregister it for good. A sentinel that it left alone raises when it runs.
    """

    def __init__(
        self, open_cell: Callable[[str], AbstractContextManager[object]], interactivity: Callable[[], str]
    ) -> None:
        """Take the context's maker, and what IPython displays at the moment (its `ast_node_interactivity`)."""
        self.open = open_cell
        self._interactivity = interactivity
        self._id = next(_keys)
        _rewriters[self._id] = self

    def close(self) -> None:
        """Cells rewritten before are not entered any more."""
        _rewriters.pop(self._id, None)

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Rewrite a cell; any other stays the object it was."""
        try:
            line = _sentinel_argument(node.body[0]) if node.body else None
            if line is None:
                return node
            return ast.fix_missing_locations(ast.Module(self._wrapped(line, node.body), node.type_ignores))
        except Exception:  # noqa: BLE001 - see the class: the sentinel then says it, loudly
            return node

    def _wrapped(self, line: str, statements: list[ast.stmt]) -> list[ast.stmt]:
        first, body = statements[0], list(statements[1:])
        nested = _sentinel_argument(body[0]) if body else None
        if nested is not None:
            body = self._wrapped(nested, body)
        futures = [statement for statement in body if _is_future(statement)]
        inside = [statement for statement in body if not _is_future(statement)]
        after: list[ast.stmt] = []
        if inside and isinstance(inside[-1], ast.Expr):
            key, last = next(_keys), inside[-1]
            inside[-1] = ast.copy_location(ast.Expr(_call(last, "keep", key, last.value)), last)
            after = [ast.copy_location(ast.Expr(_call(last, "take", key)), last)]
        elif inside and self._interactivity() == "last_expr_or_assign":
            after = _assigned_name(inside[-1])
        context = ast.withitem(_call(first, "enter", self._id, line))
        scope = ast.copy_location(ast.With([context], inside or [ast.Pass()]), first)
        return [*futures, scope, *after]


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _assigned_name(statement: ast.stmt) -> list[ast.stmt]:
    target: ast.expr | None = None
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
        target = statement.target
    if not isinstance(target, ast.Name):
        return []
    return [ast.copy_location(ast.Expr(ast.Name(target.id, ast.Load())), statement)]
