"""Finds uses of the order of a set of strings, which differs between processes because string hashes are random.

Iterating over a set cannot be hooked, so this reads the cell's source, and the values of its names after it ran. Code
in functions and under conditions is skipped, because nothing shows whether it ran.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from repro_magic.findings import Remedy, UnseededFinding
from repro_magic.introspection.foreign import Shield, is_any, kind_of
from repro_magic.introspection.location import Place
from repro_magic.introspection.object_graph import attributes

_ORDER_MATTERS = {
    *("list", "tuple", "enumerate", "iter", "zip", "map", "filter", "print", "str", "repr", "format", "reversed"),
    *("chain", "cycle", "islice", "product", "permutations", "combinations", "deque"),
}
_METHODS = {"join", "fromkeys", "extend", "extendleft", "writelines", "from_iterable"}
_ORDER_DOES_NOT = {"sorted", "set", "frozenset", "len", "sum", "min", "max", "any", "all", "Counter"}
_STILL_A_SET = {"union", "intersection", "difference", "symmetric_difference", "copy"}
_CHAINS = {"chain", "from_iterable"}
_TEXT_METHODS = {"split", "rsplit", "splitlines"}
_NOT_ENTERED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.IfExp, ast.While)
_SETS = {set, frozenset}
_ARRAYS = {"Series", "Index", "ndarray"}
# The largest number of elements of a value that are inspected.
_MOST_ELEMENTS = 100


def may_use_sets(source: str, names: Mapping[str, Any]) -> bool:
    """Whether a cell may use a set at all. Reading its tree takes 16 µs a line, this a tenth of a millisecond.

    Example:
        >>> may_use_sets("x = y + 1", {"y": 2}), may_use_sets("x = [*y]", {"y": {1, 2}})
        (False, True)
    """
    if "set(" in source or "{" in source or ".keys()" in source:
        return True
    items = list(names.items())
    with Shield():  # a metaclass may refuse to be hashed
        if _SETS.isdisjoint(map(type, list(names.values()))):  # the usual case, decided in C
            return False
    return any(_is_set(value) and type(name) is str and name in source for name, value in items)


def _is_set(value: object) -> bool:
    return is_any(type(value), set, frozenset)


def unordered(tree: ast.Module, names: Mapping[str, Any], file: str) -> list[UnseededFinding]:
    r"""A finding for each line that uses the order of a set of strings.

    Args:
        tree: a cell that has run to its end.
        names: the values of its names now.
        file: the cell's file name.

    Example:
        >>> source = "words = ['a', 'b']\nfirst = list(set(words))\nfine = sorted(set(words))"
        >>> findings = unordered(ast.parse(source), {"words": ["a", "b"]}, "cell")
        >>> [(finding.op, finding.line) for finding in findings]
        [('set', 2)]
    """
    reader = _Reader(names)
    places = {}
    for node in reader.uses(tree):
        places[node.lineno] = Place(file, node.lineno, node.end_lineno or node.lineno)
    return [_finding(place) for place in places.values()]


def _finding(place: Place) -> UnseededFinding:
    return UnseededFinding(
        op="set",
        public="the order of a set of strings",
        place=place,
        at_least=True,
        why="String hashes are randomized, so the order of a set of strings differs between processes.",
        remedy=Remedy("Iterate over sorted(...) of it, use a list or a dict, or start Python with PYTHONHASHSEED=0."),
        accepted="set" in place.accepted,
        link="https://docs.python.org/3/using/cmdline.html#envvar-PYTHONHASHSEED",
    )


class _Reader:
    """Reads a cell.

    Args:
        names: the values of the notebook's names.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def uses(self, node: ast.AST) -> Iterator[ast.expr]:
        """The expressions below a node whose order is used and differs between processes."""
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            yield from self._uses_of_value(node, node.value)
            return
        if isinstance(node, ast.For):
            if all(map(_is_without_order, node.body)):
                return
            if self._is_set(node.iter) and self._is_text(node.iter, self._values_of([node.target])):
                yield node.iter
            else:
                yield from self._uses_in(node.iter, [])
            for statement in [*node.body, *node.orelse]:
                yield from self.uses(statement)
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from self._uses_in(child, [])
            elif not isinstance(child, _NOT_ENTERED):
                yield from self.uses(child)

    def _uses_of_value(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, value: ast.expr) -> Iterator[ast.expr]:
        """The same for the right side of an assignment."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        is_unpacked = isinstance(targets[0], ast.Tuple | ast.List) or (
            isinstance(node, ast.AugAssign) and isinstance(self._value(node.target), list)
        )
        results = self._values_of(targets)
        if is_unpacked and self._is_set(value) and self._is_text(value, []):
            yield value
        elif not (self._is_list_of_set(value) and any(map(_is_trivial, results))):
            yield from self._uses_in(value, results)

    def _is_list_of_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(func=ast.Name(id="list" | "tuple"), args=[elements]):
                return self._is_set(elements)
        return False

    def _values_of(self, targets: Iterable[ast.expr]) -> list[Any]:
        """The values of targets, which show what the set contained."""
        return [self._names.get(target.id) for target in targets if isinstance(target, ast.Name)]

    def _uses_in(self, node: ast.expr, results: list[Any]) -> Iterator[ast.expr]:
        if isinstance(node, _NOT_ENTERED):
            return
        if isinstance(node, ast.Call) and _name(node) in _ORDER_DOES_NOT and not _has_ties(node):
            # sorted(list(set(words))): the intermediate list does not matter
            for argument in node.args:
                for part in _parts_without_order(argument):
                    yield from self._uses_in(part, [])
            return
        if any(self._is_set(used) and self._is_text(used, results) for used in _ordered(node)):
            yield node
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from self._uses_in(child, results if isinstance(node, ast.Call | ast.Starred) else [])
            elif isinstance(child, ast.comprehension | ast.keyword):
                for expression in _expressions(child):
                    yield from self._uses_in(expression, [])

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return _is_set(self._value(node))
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return any(self._is_set(operand) or self._is_view(operand) for operand in (left, right))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _STILL_A_SET:
                return self._is_set(value)
            case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[] | [_]):
                return True
        return False

    @staticmethod
    def _is_view(node: ast.expr) -> bool:
        """Whether it is a dictionary's keys, which are ordered; an operator on two such views creates a set."""
        match node:
            case ast.Call(func=ast.Attribute(attr="keys"), args=[]):
                return True
        return False

    def _is_text(self, node: ast.expr, results: list[Any]) -> bool:
        """Whether a set holds strings, judged by its source, its elements, or the values that it went into."""
        if isinstance(node, ast.Set):
            return self._source_says_text(node)
        return any(map(_holds_text, results)) or self._source_says_text(node)

    def _value(self, node: ast.expr) -> Any:  # noqa: ANN401 - any object
        """The value of a name, an attribute or an item, if it can be read without running the user's code."""
        match node:
            case ast.Name(id=name):
                return self._names.get(name)
            case ast.Attribute(value=base, attr=name):
                owner = self._value(base)
                if _is_frame(owner):
                    with Shield():
                        return getattr(owner, name) if name in {"columns", "index"} or name in owner.columns else None
                return vars(owner).get(name) if type(owner) is ModuleType else attributes(owner).get(name)
            case ast.Subscript(value=base, slice=ast.Constant(value=key)):
                owner = self._value(base)
                if is_any(type(owner), dict, list, tuple) or _is_frame(owner):
                    with Shield():  # the key or position may be gone since
                        return owner[key]
        return None

    def _source_says_text(self, node: ast.expr) -> bool:  # noqa: PLR0911 - one return per form
        match node:
            case ast.Set(elts=parts):
                starred = [part.value for part in parts if isinstance(part, ast.Starred)]
                texts = [
                    part for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes)
                ]
                return any(map(self._elements_are_text, starred)) or (len(parts) > 1 and len(texts) > 0)
            case ast.Call(func=ast.Attribute(value=value, attr="keys"), args=[]):
                return _holds_text(self._value(value))
            case ast.SetComp(elt=part):
                return isinstance(part, ast.JoinedStr) or _name(part) in {"str", "lower", "upper", "strip", "format"}
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return _holds_text(self._value(node))
            case ast.BinOp(left=left, right=right):
                return self._source_says_text(left) or self._source_says_text(right)
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=parts) if attr in _STILL_A_SET:
                merged = [part.value if isinstance(part, ast.Starred) else part for part in parts]
                return self._source_says_text(value) or any(
                    map(self._elements_are_text, merged if attr == "union" else [])
                )
            case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[elements]):
                return self._elements_are_text(elements)
        return False

    def _elements_are_text(self, node: ast.expr) -> bool:
        match node:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return _holds_text(self._value(node))
            case ast.Constant(value=str(text)):
                return len(set(text)) > 1
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return self._source_says_text(ast.Set(parts))
            case ast.Call(args=parts) if _name(node) in _CHAINS:
                chained = [self._value(part.value if isinstance(part, ast.Starred) else part) for part in parts]
                return any(_holds_text(part) for value in chained if type(value) in {list, tuple} for part in value)
        return _name(node) in _TEXT_METHODS or self._source_says_text(node)


def _ordered(node: ast.expr) -> Iterator[ast.expr]:
    """The expressions whose order a node uses."""
    match node:
        case ast.ListComp(generators=[first, *_]) | ast.DictComp(generators=[first, *_]):
            yield first.iter
        case ast.GeneratorExp(generators=[first, *_]):
            yield first.iter
        case ast.Starred(value=value):
            yield value
        case ast.Call(func=ast.Attribute(attr=name), args=[only, *_]) if name in _METHODS:
            yield only
        case ast.FormattedValue(value=value):
            yield value
        case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]):
            yield value
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=parts) if name in _ORDER_MATTERS:
            yield from parts
        case ast.Call(args=[only]) if _has_ties(node):
            yield only


def _has_ties(node: ast.Call) -> bool:
    """Whether ties are broken by order, as in `max(set(votes), key=votes.count)`."""
    return _name(node) in {"max", "min"} and any(keyword.arg == "key" for keyword in node.keywords)


def _is_without_order(statement: ast.stmt) -> bool:
    """Whether a loop body gives the same result in any order of the elements."""
    match statement:
        case ast.Pass() | ast.Assert():
            return True
        case ast.AugAssign(op=ast.Add() | ast.Sub(), value=ast.Constant(value=int()) | ast.Call(func=ast.Name("len"))):
            return True
        case ast.Expr(ast.Call(func=ast.Attribute(attr="add" | "discard"))):
            return True
    return False


def _is_frame(value: object) -> bool:
    kind = kind_of(value)
    return kind.startswith("pandas.") and kind.endswith(".DataFrame")


def _parts_without_order(node: ast.expr) -> Iterator[ast.expr]:
    """The parts of a value whose order is irrelevant, past calls that only pass their order on."""
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        yield node.elt
    elif isinstance(node, ast.Call) and _name(node) in _ORDER_MATTERS:
        for argument in node.args:
            yield from _parts_without_order(argument)
    else:
        yield from (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    return (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _name(node: ast.AST) -> str | None:
    func = getattr(node, "func", None)
    return getattr(func, "attr", getattr(func, "id", None))


def _holds_text(value: Any) -> bool:  # noqa: ANN401 - whatever a name holds
    """Whether a value is a string, or holds at least two different strings; one-shot iterators are not consumed."""
    kind = type(value)
    if issubclass(kind, str | bytes):
        return len(value) > 0 if is_any(kind, str, bytes) else True
    with Shield():  # an element may be of any class
        return len({element for element in itertools.islice(_elements(value), _MOST_ELEMENTS) if _is_text(element)}) > 1
    return False


def _is_trivial(value: object) -> bool:
    """Whether a list that was created from a set has at most one element."""
    return type(value) in (list, tuple) and len(value) <= 1  # type: ignore[arg-type]


def _elements(value: Any) -> Iterable[Any]:  # noqa: ANN401 - any object of the user's
    kind = type(value)
    if is_any(kind, list, tuple, set, frozenset, dict):
        return value  # type: ignore[no-any-return]
    is_array = kind_of(value).startswith(("pandas.", "numpy.")) and kind_of(value).rpartition(".")[2] in _ARRAYS
    if is_array and getattr(value.dtype, "kind", "") in {"O", "U"} and value.ndim == 1:
        return value[:_MOST_ELEMENTS]  # type: ignore[no-any-return]
    return ()


def _is_text(value: object) -> bool:
    if type(value) is tuple:
        return any(issubclass(type(element), str | bytes) for element in value)
    return issubclass(type(value), str | bytes)
