"""Which values and printed lines a notebook's cells read from a clock, which differ in every run.

The cells are read in order and never run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro_magic.introspection.comments import accepted_in
from repro_magic.proof.compare.clock_code import MARK, Names, Reading, bound_names
from repro_magic.proof.compare.clock_forms import (
    Clock,
    Form,
    Instance,
    Text,
    are_texts_apart_by_clocks,
    has_clock,
    is_only_clocks,
)
from repro_magic.proof.compare.clock_objects import MOST_ROUNDS, Heap, TooMuchCodeError
from repro_magic.proof.compare.outputs import without_noise
from repro_magic.proof.kernel.small_values import value_of
from repro_magic.proof.verdict import Outcome, Part

# Magics whose cell is Python below the first line.
_BODY_ONLY = ("%%time", "%%deterministic", "%%capture")
_Held = Mapping[str, Mapping[str, Any]]


@dataclass
class CellClocks:
    """What a cell reads from a clock.

    Attributes:
        names: name -> its form after the cell.
        lines: the forms of what it prints.
        result: the form of its last expression.
        is_accepted: whether a comment of its own, `# repro: accept clock`, stands in the cell.
        bound: the names that it binds.
    """

    names: Mapping[str, Form] = field(default_factory=dict)
    lines: Sequence[Text] = ()
    result: Form = None
    is_accepted: bool = False
    bound: frozenset[str] = frozenset()

    def form(self, name: str) -> Form:
        """The form of what a name holds."""
        return Clock(is_accepted=True) if self.is_accepted and name in self.bound else self.names.get(name)

    def values(self, parts: Iterable[Part], held: Sequence[_Held]) -> list[Part]:
        """Compared names; those that differ by clocks only get an outcome of their own."""
        return [
            _as_clock(part) if self._is_clocks(part, [names.get(part.name) for names in held]) else part
            for part in parts
        ]

    def _is_clocks(self, part: Part, values: Sequence[Mapping[str, Any] | None]) -> bool:
        form, (first, *others) = self.form(part.name), values
        if part.outcome is not Outcome.DIFFERS or not has_clock(form) or first is None:
            return False
        return all(other is not None and _are_held_apart_by_clocks(form, first, other) for other in others)

    def outputs(self, parts: Iterable[Part], texts: Sequence[Mapping[str, str]]) -> list[Part]:
        """Compared outputs; those that differ by clocks only get an outcome of their own."""
        return [
            _as_clock(part) if self._is_clocks_text(part, [shown.get(part.name) for shown in texts]) else part
            for part in parts
        ]

    def _is_clocks_text(self, part: Part, texts: Sequence[str | None]) -> bool:
        if part.outcome is not Outcome.DIFFERS or None in texts:
            return False
        first, *others = (without_noise(part.name, text) for text in texts if text is not None)
        if all(other == first for other in others):  # only noise differs, and noise is to count
            return False
        if part.name.startswith("result "):
            return isinstance(self.result, Clock) or self.is_accepted
        is_printed = part.name == "stdout" or part.name.startswith("stdout in widget ")
        return is_printed and (self.is_accepted or all(self.explains(first, other) for other in others))

    def explains(self, one: str, other: str) -> bool:
        """Whether two printed texts differ in nothing but what a clock gave."""
        left, right = one.splitlines(), other.splitlines()
        if len(left) != len(right):
            return False
        return all(a == b or self._explains_line(a, b) for a, b in zip(left, right, strict=True))

    def _explains_line(self, one: str, other: str) -> bool:
        return any(has_clock(line) and are_texts_apart_by_clocks(line, one, other) for line in self.lines)


def _as_clock(part: Part) -> Part:
    return replace(part, outcome=Outcome.CLOCK, why=f"read from a clock: {part.why}")


def _are_held_apart_by_clocks(form: Form, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["hex"] == other["hex"]:
        return True
    if isinstance(form, Clock):
        return form.is_accepted or bool(one["kind"] == other["kind"])
    texts = [value.get("small", {}).get("text") for value in (one, other)]
    return None not in texts and is_only_clocks(form, *map(value_of, texts))


def clocks_of(sources: Iterable[str]) -> list[CellClocks]:
    r"""What each cell reads from a clock.

    Example:
        >>> first, second = clocks_of(["import time\nstart = time.time()", "took = round(time.time() - start, 1)"])
        >>> first.form("start"), second.form("took"), second.form("time")
        (Clock(is_accepted=False), Clock(is_accepted=False), None)
    """
    cells = [_parsed(source) for source in sources]
    heap = Heap()
    try:
        is_known = any(_adds_nothing(cells, heap) for _ in range(MOST_ROUNDS))
        heap.is_final, heap.steps = True, 0
        if is_known:
            return _read(cells, heap)
    except (TooMuchCodeError, RecursionError):
        pass
    return [CellClocks() for _ in cells]  # what takes too long to follow is a result like every other


def _adds_nothing(cells: Sequence[_Cell | None], heap: Heap) -> bool:
    """Read all cells once more; whether nothing is known afterwards that was not before."""
    before = dict(heap.fields), set(heap.escaped)
    _read(cells, heap)
    return before == (heap.fields, heap.escaped)


def _read(cells: Sequence[_Cell | None], heap: Heap) -> list[CellClocks]:
    """Read all cells once, and what other code may do to the objects that it has."""
    names = Names(heap=heap)
    found = [_cell(cell, names) for cell in cells]
    for site in list(heap.escaped):
        Reading(names.copy(), ()).call_all(Instance(site, heap.fields))
    return found


@dataclass(frozen=True)
class _Cell:
    """A cell's code, and its tree."""

    code: str
    tree: ast.Module


def _parsed(source: str) -> _Cell | None:
    code = _without_magics(source)
    try:
        return _Cell(code, ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _cell(cell: _Cell | None, names: Names) -> CellClocks:
    if cell is None:
        names.forget()
        return CellClocks()
    code, tree = cell.code, cell.tree
    nodes = [*ast.walk(tree)]
    spread = {id(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg is None}  # only read
    if any(_is_dynamic(node) and id(node) not in spread for node in nodes):
        names.heap.block()
    reading = Reading(names, code.splitlines())
    reading.block(tree.body)
    last = tree.body[-1] if tree.body else None
    return CellClocks(
        dict(names.names),
        reading.lines,
        reading.value(last.value) if isinstance(last, ast.Expr) else None,
        is_accepted=any(MARK in accepted_in(line) for line in code.splitlines() if line.lstrip().startswith("#")),
        bound=frozenset(bound_names(tree)),
    )


def _is_dynamic(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in _DYNAMIC


# Code that gives attributes without their names.
_DYNAMIC = frozenset({"setattr", "__setattr__", "__dict__", "vars", "delattr"})


def _without_magics(source: str) -> str:
    """The cell's Python code; where a magic reads the cell in its own way, a text that does not parse."""
    first, *rest = source.splitlines() or [""]
    if first.startswith("%%"):
        return "\n".join(["", *rest]) if first.startswith(_BODY_ONLY) else "?"
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in (first, *rest))
