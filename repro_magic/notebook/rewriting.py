"""`%%deterministic` as a native cell: the body stays the notebook's own code, inside a `with`.

A cell magic that gets its body as a string loses line numbers, `Out[n]`, `await`, and errors that stop the run. So the
body stays in the cell, in two steps:

1. an input transformer (`mark`) replaces the first line, and nothing else, by the call that IPython itself would make,
   with an empty body;
2. an AST transformer (`CellRewriter`) finds that call and puts the statements below it into a `with`.

If the second step does not happen (`%%prun`, for example, skips AST transformers), the call from the first step runs:
it reaches the real magic, which sees an empty body and raises. So a body never runs unprotected.
"""

from __future__ import annotations

import ast
import itertools
import linecache
import re
import sys
import tokenize
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from IPython.core.inputtransformer2 import cell_magic, leading_indent

from repro_magic.exceptions import UnwrappedCellError

MAGIC = "deterministic"
_FIRST_LINE_ABOVE_FUTURES = "#\n"
_BLANK_BODY = " "  # IPython rejects an empty body with a message that does not help here
_FIRST_LINE = re.compile(
    rf"%%{MAGIC}(?:[ \t]+(?P<line>.*))?\Z"
)  # does not match `%%deterministic?`, a request for help


def sentinel(line: str) -> str:
    """The call that replaces the first line `%%deterministic LINE`."""
    return f"get_ipython().run_cell_magic({MAGIC!r}, {line!r}, {_BLANK_BODY!r})"


_SENTINEL = re.compile(re.escape(sentinel("")).replace(re.escape("''"), r"(?P<line>'.*'|\".*\")", 1))


def line_of(source: str) -> str | None:
    r"""The arguments of `%%deterministic` on a cell's first line; None for other cells.

    Example:
        >>> line_of("%%deterministic --seed 1\nx = 1"), line_of("x = 1")
        ('--seed 1', None)
    """
    match = _FIRST_LINE.match(source.partition("\n")[0].rstrip())
    return None if match is None else match["line"] or ""


def mark(lines: list[str]) -> list[str]:
    r"""Replace a first line `%%deterministic …` by its sentinel; pure, as IPython may call it several times per cell.

    If another cell magic follows, the rest of the cell becomes a call of that magic, as in a cell of its own.

    Example:
        >>> mark(["%%deterministic --seed 1\n", "x = 1\n"])
        ["get_ipython().run_cell_magic('deterministic', '--seed 1', ' ')\n", 'x = 1\n']
    """
    match = _FIRST_LINE.match(lines[0].rstrip()) if lines else None
    if match is None:
        return lines
    call = sentinel(match["line"] or "")
    body = lines[1:]
    start = next((number for number, line in enumerate(body) if line.strip()), len(body))
    if start < len(body) and body[start][0] in " \t":
        body[start:] = leading_indent(body[start:])  # as IPython does with a cell that is indented as a whole
    if start < len(body) and body[start].startswith("%%"):
        return [f"{call}\n", *body[:start], *cell_magic(mark(body[start:]))]
    end = _end_of_futures(body)
    if end is None:
        return [f"{call}\n", *body]
    # Only comments and a docstring may precede `from __future__`, and the text must stay valid Python, because IPython
    # reads the text, not the tree, to see whether the cell awaits.
    row, column = end
    body[row] = f"{body[row][:column]}; {call}{body[row][column:]}"
    return [_FIRST_LINE_ABOVE_FUTURES, *body]


def _end_of_futures(body: list[str]) -> tuple[int, int] | None:
    """Row and column of the end of the leading `from __future__` statements; None if there are none."""
    if not any("__future__" in line for line in body):
        return None
    end = None
    statement: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(iter(body).__next__):
            if token.type in (tokenize.COMMENT, tokenize.NL):
                continue
            if token.type != tokenize.NEWLINE and token.string != ";":
                statement.append(token)
                continue
            words = [part.string for part in statement[:2]]
            if words == ["from", "__future__"]:
                end = statement[-1].end[0] - 1, statement[-1].end[1]
            elif len(statement) != 1 or statement[0].type != tokenize.STRING:  # a docstring may precede them
                break
            statement.clear()
    except (tokenize.TokenError, IndentationError):  # magics, or invalid Python: keep the result so far
        pass
    return end


def as_written(cell: list[str]) -> list[str]:
    r"""The lines of a marked cell as the user wrote them; other cells are unchanged.

    Example:
        >>> as_written(mark(["%%deterministic --seed 1\n", "x = 1\n"]))
        ['%%deterministic --seed 1\n', 'x = 1\n']
    """
    for row, line in enumerate(cell if cell[:1] == [_FIRST_LINE_ABOVE_FUTURES] else cell[:1]):
        match = _SENTINEL.search(line)
        if match is not None:
            own = f"%%{MAGIC} {ast.literal_eval(match['line'])}".rstrip() + "\n"
            rest = [] if row == 0 else [*cell[1:row], line.replace(f"; {match[0]}", "", 1)]
            return [own, *rest, *cell[row + 1 :]]
    return cell


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


# Rewritten code imports this module, because names in the user's namespace could be shadowed, listed by %who, or
# deleted by %reset.
_keys = itertools.count()
_rewriters: dict[int, CellRewriter] = {}
_values: dict[int, Any] = {}


def enter(rewriter: int, line: str) -> AbstractContextManager[object]:
    """The context of a rewritten cell. Called from the cell's own frame, on its first line."""
    lines = linecache.getlines(sys._getframe(1).f_code.co_filename)  # noqa: SLF001 - what inspect uses
    lines[:] = as_written(lines)  # edits linecache's list, so that tracebacks show the user's source
    if rewriter not in _rewriters:
        raise UnwrappedCellError(
            f"%%{MAGIC} was unloaded or reloaded after this cell was parsed, so the cell did not run. "
            "Run %reload_ext repro_magic, then run the cell again."
        )
    return _rewriters[rewriter].open(line)


def keep(key: int, value: object) -> None:
    """Keep the value of the cell's last expression until the switches are restored, to display it afterwards."""
    _values[key] = value


def take(key: int) -> object:
    """Return the value and forget it, because the extension must not keep tensors alive."""
    return _values.pop(key)


def _call(statement: ast.stmt, function: str, *arguments: ast.expr | int | str) -> ast.Call:
    """`__import__(THIS MODULE, None, None, ("_",)).FUNCTION(ARGUMENTS)` at the position of `statement`."""
    at = {name: getattr(statement, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    name = ast.Name("__import__", ast.Load(), **at)
    # The last argument makes the import return this module, not the package.
    module = ast.Call(name, [ast.Constant(value, **at) for value in (__name__, None, None, "_")], [], **at)
    values = [part if isinstance(part, ast.expr) else ast.Constant(part, **at) for part in arguments]
    return ast.Call(ast.Attribute(module, function, ast.Load(), **at), values, [], **at)


class CellRewriter(ast.NodeTransformer):
    """Puts the statements below a sentinel into a `with` whose context comes from `open_cell(LINE)`.

    It never raises, because IPython would unregister it. A sentinel that it leaves in place raises when it runs.

    Attributes:
        cell: the first cell since this was set to None, before rewriting.
    """

    def __init__(
        self, open_cell: Callable[[str], AbstractContextManager[object]], interactivity: Callable[[], str]
    ) -> None:
        """Register the rewriter. `interactivity` returns IPython's current `ast_node_interactivity`."""
        self.open = open_cell
        self._interactivity = interactivity
        self.cell: ast.Module | None = None
        self._id = next(_keys)
        _rewriters[self._id] = self

    def close(self) -> None:
        """Unregister the rewriter; cells that it rewrote raise when they run."""
        _rewriters.pop(self._id, None)

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Rewrite a deterministic cell; other cells are returned unchanged."""
        if self.cell is None:
            self.cell = node
        try:
            start = next((row for row, statement in enumerate(node.body) if not _may_stand_above(statement)), None)
            line = None if start is None else _sentinel_argument(node.body[start])
            if start is None or line is None:
                return node
            body = [*node.body[:start], *self._wrapped(line, node.body[start:])]
            return ast.Module(body, node.type_ignores)
        except Exception:  # noqa: BLE001 - the sentinel raises instead, see the class
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
        scope = ast.copy_location(ast.With([context], inside or [ast.copy_location(ast.Pass(), first)]), first)
        return [*futures, scope, *after]


def _may_stand_above(statement: ast.stmt) -> bool:
    """Whether a statement may precede the sentinel: `from __future__`, and a docstring."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or _is_future(statement)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _assigned_name(statement: ast.stmt) -> list[ast.stmt]:
    target: ast.expr | None = None
    if isinstance(statement, ast.Assign):
        target = statement.targets[0] if len(statement.targets) == 1 else None
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
        target = statement.target
    if not isinstance(target, ast.Name):
        return []
    name = ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return [ast.copy_location(ast.Expr(name), statement)]
