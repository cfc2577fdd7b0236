"""The call that a frame is making, parsed from its source; nothing is evaluated."""

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

# Size of the cache: loops make the same calls again and again.
_MOST = 512


_BOUND = re.compile(r"\s*(?:(?P<name>[\w.]+)\s*=(?!=)|.*super\(\)\.__init__)")
_SEEDS = r"(?:seed\(\s*[^)\s]|setstate\(|set_state\(|(?:bit_generator\.)?state\s*=)"
# How many lines below the call are searched.
_LINES_BELOW = 30


@dataclass(frozen=True)
class SourceCall:
    """A call in source code.

    Attributes:
        written: the function as written, e.g. `"np.random.default_rng"`; empty if the source is unavailable.
        node: its syntax tree; None if the source is unavailable.
        code: the code that makes the call; referenced, so that its id is not reused.
        line: its line in the file.
    """

    written: str
    node: ast.Call | None
    code: CodeType
    line: int

    @property
    def name(self) -> str:
        """The part after the last dot, e.g. `"default_rng"`."""
        return self.written.rpartition(".")[2]

    @property
    def base(self) -> str:
        """The part before the last dot, e.g. `"np.random"`."""
        return self.written.rpartition(".")[0]

    @property
    def arguments(self) -> list[ast.expr]:
        """All arguments, keyword arguments included."""
        return [] if self.node is None else [*self.node.args, *(keyword.value for keyword in self.node.keywords)]

    @functools.cached_property
    def is_constant(self) -> bool:
        """Whether all arguments are literals."""
        return bool(self.arguments) and all(isinstance(argument, ast.Constant) for argument in self.arguments)

    @functools.cached_property
    def chooses(self) -> bool:
        """Whether an argument contains a condition."""
        return any(isinstance(node, ast.IfExp | ast.BoolOp) for node in self._nodes)

    @functools.cached_property
    def _nodes(self) -> list[ast.AST]:
        return [node for argument in self.arguments for node in ast.walk(argument)]

    @functools.cached_property
    def _called_inside(self) -> frozenset[str]:
        calls = (node.func for node in self._nodes if isinstance(node, ast.Call))
        return frozenset(str(getattr(function, "attr", getattr(function, "id", ""))) for function in calls)

    def reads(self, functions: Collection[str]) -> bool:
        """Whether an argument contains a call of one of `functions`."""
        return not self._called_inside.isdisjoint(functions)

    @functools.cached_property
    def hashes_text(self) -> bool:
        """Whether an argument contains the hash of a string literal."""
        hashes = [node for node in self._nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "hash"]
        return any(_is_text(argument) for node in hashes for argument in node.args)

    @functools.cached_property
    def is_completed_below(self) -> bool:
        """Whether the lines below seed the new generator, or set its state, before its first other use."""
        lines = [
            linecache.getline(self.code.co_filename, number) for number in range(self.line, self.line + _LINES_BELOW)
        ]
        binding = _BOUND.match(lines[0])
        if self.node is None or binding is None:
            return False
        name = re.escape(binding["name"] or "self")
        # Any other method of a generator may draw; the methods of a subclass (`self`) may do anything.
        other_calls = r"|\w+\(" if binding["name"] else ""
        first_use = re.search(
            rf"(?<![\w.]){name}\.(?:(?P<seeds>{_SEEDS}){other_calls})", "".join(lines)[binding.end() :]
        )
        return first_use is not None and first_use["seeds"] is not None

    def has_keyword(self, name: str) -> bool:
        """Whether a keyword argument has that name."""
        return self.node is not None and any(keyword.arg == name for keyword in self.node.keywords)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


# Keyed by id: hashing a code object takes longer than all the rest.
_known: dict[tuple[int, int], SourceCall] = {}


def call_of(frame: FrameType) -> SourceCall:
    """The call that a frame is making."""
    key = id(frame.f_code), frame.f_lasti
    call = _known.get(key)
    if call is None:
        if len(_known) >= _MOST:
            _known.clear()
        node = _parsed_call(frame.f_code, frame.f_lasti)
        written = "" if node is None else ast.unparse(node.func)
        call = _known[key] = SourceCall(written, node, frame.f_code, frame.f_lineno)
    return call


def _parsed_call(code: CodeType, instruction: int) -> ast.Call | None:
    positions = list(code.co_positions())
    row, last, column, end = positions[instruction // 2] if instruction >= 0 else (None,) * 4
    if row is None or last is None or column is None or end is None:
        return None
    linecache.checkcache(code.co_filename)
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(row, last + 1)]
    if not lines or not all(lines):
        return None
    lines[-1] = lines[-1][:end]  # the end first: both may be on the same line
    lines[0] = lines[0][column:]
    try:
        node = ast.parse(b"(" + b"".join(lines) + b"\n)", mode="eval").body
    except SyntaxError:
        return None
    return node if isinstance(node, ast.Call) else None


def called_by(frame: FrameType) -> str:
    """The function that a frame is calling: its `__name__` if it can be looked up, else as written."""
    call = call_of(frame)
    if not call.base and call.written.isidentifier():
        name = getattr(value_of(call.written, frame), "__name__", None)
        return name if isinstance(name, str) else call.written
    return call.written


def value_of(name: str, frame: FrameType) -> Any:  # noqa: ANN401 - whatever the name holds
    """The value of a plain or dotted name; dots follow modules and plain attributes only, so no code runs."""
    first, *rest = name.split(".")
    value = frame.f_locals.get(first, frame.f_globals.get(first, frame.f_builtins.get(first)))
    for part in rest:
        value = vars(value).get(part) if type(value) is ModuleType else attributes(value).get(part)
    return value
