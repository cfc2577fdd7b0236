"""What a line of the user's calls at this moment, read from its source: nothing is evaluated."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from collections.abc import Collection
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType
from typing import Any

from repro_magic.introspection.object_graph import attributes

# So many calls are remembered: loops come by often.
_MOST = 512


_BOUND = re.compile(r"\s*(?:(?P<name>[\w.]+)\s*=(?!=)|.*super\(\)\.__init__)")
_GIVES = r"(?:seed\(\s*[^)\s]|setstate\(|set_state\(|(?:bit_generator\.)?state\s*=)"
# So many lines below are searched.
_BELOW = 30


@dataclass(frozen=True)
class SourceCall:
    """One call, as its source has it.

    Attributes:
        written: the function, e.g. `"np.random.default_rng"`; empty where the source is not to be had.
        node: its syntax; None where it is not to be had.
        code: whose it is; held, so that its identity stays its own.
        line: where it stands in its file.
    """

    written: str
    node: ast.Call | None
    code: CodeType
    line: int

    @property
    def name(self) -> str:
        """The function's own name as it is written, e.g. `"default_rng"`."""
        return self.written.rpartition(".")[2]

    @property
    def base(self) -> str:
        """What stands before the last dot, e.g. `"np.random"`."""
        return self.written.rpartition(".")[0]

    @property
    def arguments(self) -> list[ast.expr]:
        """All arguments, those with names too."""
        return [] if self.node is None else [*self.node.args, *(one.value for one in self.node.keywords)]

    @functools.cached_property
    def is_constant(self) -> bool:
        """Whether all that it is given is written there."""
        return bool(self.arguments) and all(isinstance(one, ast.Constant) for one in self.arguments)

    @functools.cached_property
    def chooses(self) -> bool:
        """Whether what it is given depends on a condition."""
        return any(isinstance(node, ast.IfExp | ast.BoolOp) for node in self._nodes)

    @functools.cached_property
    def _nodes(self) -> list[ast.AST]:
        return [node for one in self.arguments for node in ast.walk(one)]

    @functools.cached_property
    def _called_inside(self) -> frozenset[str]:
        calls = (node.func for node in self._nodes if isinstance(node, ast.Call))
        return frozenset(str(getattr(one, "attr", getattr(one, "id", ""))) for one in calls)

    def reads(self, functions: Collection[str]) -> bool:
        """Whether one of some functions is called for what it is given."""
        return not self._called_inside.isdisjoint(functions)

    @functools.cached_property
    def hashes_text(self) -> bool:
        """Whether the hash of a text that is written there goes into what it is given."""
        hashes = [node for node in self._nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "hash"]
        return any(_is_text(argument) for node in hashes for argument in node.args)

    @functools.cached_property
    def is_completed_below(self) -> bool:
        """Whether the lines below give the generator that it makes a seed or a state."""
        lines = [linecache.getline(self.code.co_filename, number) for number in range(self.line, self.line + _BELOW)]
        bound = _BOUND.match(lines[0])
        if self.node is None or bound is None:
            return False
        name = re.escape(bound["name"] or "self")
        # Whatever else it is asked for before draws; but a class's own methods may do anything.
        asked = r"|\w+\(" if bound["name"] else ""
        first = re.search(rf"(?<![\w.]){name}\.(?:(?P<gives>{_GIVES}){asked})", "".join(lines)[bound.end() :])
        return first is not None and first["gives"] is not None

    def has_keyword(self, name: str) -> bool:
        """Whether an argument is given by that name."""
        return self.node is not None and any(one.arg == name for one in self.node.keywords)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


# By identity: hashing a code object takes longer than all the rest.
_known: dict[tuple[int, int], SourceCall] = {}


def call_of(frame: FrameType) -> SourceCall:
    """The call that a frame makes just now."""
    key = id(frame.f_code), frame.f_lasti
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST:
            _known.clear()
        node = _read(frame.f_code, frame.f_lasti)
        written = "" if node is None else ast.unparse(node.func)
        found = _known[key] = SourceCall(written, node, frame.f_code, frame.f_lineno)
    return found


def _read(code: CodeType, instruction: int) -> ast.Call | None:
    positions = list(code.co_positions())
    row, last, column, end = positions[instruction // 2] if instruction >= 0 else (None,) * 4
    if row is None or last is None or column is None or end is None:
        return None
    linecache.checkcache(code.co_filename)
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(row, last + 1)]
    if not lines or not all(lines):
        return None
    lines[-1] = lines[-1][:end]  # first the end: it may be the same line
    lines[0] = lines[0][column:]
    try:
        found = ast.parse(b"(" + b"".join(lines) + b"\n)", mode="eval").body
    except SyntaxError:
        return None
    return found if isinstance(found, ast.Call) else None


def called_by(frame: FrameType) -> str:
    """What the frame calls just now: the function's own name where that can be looked up, else as it is written."""
    call = call_of(frame)
    if not call.base and call.written.isidentifier():
        name = getattr(value_of(call.written, frame), "__name__", None)
        return name if isinstance(name, str) else call.written
    return call.written


def value_of(name: str, frame: FrameType) -> Any:  # noqa: ANN401 - whatever the name holds
    """What a plain or dotted name holds; dots are followed in modules and plain attributes only: nothing runs."""
    first, *rest = name.split(".")
    value = frame.f_locals.get(first, frame.f_globals.get(first, frame.f_builtins.get(first)))
    for part in rest:
        value = vars(value).get(part) if type(value) is ModuleType else attributes(value).get(part)
    return value
