"""Sets of strings whose order a cell uses: Python's string hashes are random, so it is another in every process.

Nothing sees a set being iterated, so the cell's source is read, and the values that its names hold after it ran. What
only runs in a function or under a condition is left out: whether it ran cannot be told.
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
_MAKE_TEXT = {"split", "rsplit", "splitlines"}
_NOT_ENTERED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.IfExp, ast.While)
_SETS = {set, frozenset}
_ARRAYS = {"Series", "Index", "ndarray"}
# So many elements of a value are looked at.
_LOOKED_AT = 100


def may_use_sets(source: str, names: Mapping[str, Any]) -> bool:
    """Whether a cell can use one at all. Reading its tree takes 16 µs a line, this a tenth of a millisecond.

    Example:
        >>> may_use_sets("x = y + 1", {"y": 2}), may_use_sets("x = [*y]", {"y": {1, 2}})
        (False, True)
    """
    if "set(" in source or "{" in source or ".keys()" in source:
        return True
    items = list(names.items())
    with Shield():  # a metaclass may refuse to be hashed
        if _SETS.isdisjoint(map(type, list(names.values()))):  # nearly always, and found out in C
            return False
    return any(_is_set(value) and type(name) is str and name in source for name, value in items)


def _is_set(value: object) -> bool:
    return is_any(type(value), set, frozenset)


def unordered(tree: ast.Module, names: Mapping[str, Any], file: str) -> list[UnseededFinding]:
    r"""A finding for each place where the order of a set of strings is used.

    Args:
        tree: a cell that has run to its end.
        names: what its names hold now.
        file: the cell's file name.

    Example:
        >>> source = "words = ['a', 'b']\nfirst = list(set(words))\nfine = sorted(set(words))"
        >>> found = unordered(ast.parse(source), {"words": ["a", "b"]}, "cell")
        >>> [(one.op, one.line) for one in found]
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
    """Reads one cell.

    Args:
        names: what the notebook's names hold.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def uses(self, node: ast.AST) -> Iterator[ast.expr]:
        """The expressions below a node whose order is used and is another in every process."""
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            yield from self._uses_of_value(node, node.value)
            return
        if isinstance(node, ast.For):
            if all(map(_is_without_order, node.body)):
                return
            if self._is_set(node.iter) and self._is_text(node.iter, self._of_names([node.target])):
                yield node.iter
            else:
                yield from self._in(node.iter, [])
            for statement in [*node.body, *node.orelse]:
                yield from self.uses(statement)
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from self._in(child, [])
            elif not isinstance(child, _NOT_ENTERED):
                yield from self.uses(child)

    def _uses_of_value(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, value: ast.expr) -> Iterator[ast.expr]:
        """The same below the right side of an assignment."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        is_unpacked = isinstance(targets[0], ast.Tuple | ast.List) or (
            isinstance(node, ast.AugAssign) and isinstance(self._value(node.target), list)
        )
        held = self._of_names(targets)
        if is_unpacked and self._is_set(value) and self._is_text(value, []):
            yield value
        elif not (self._is_list_of_a_set(value) and any(map(_has_no_order, held))):
            yield from self._in(value, held)

    def _is_list_of_a_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(func=ast.Name(id="list" | "tuple"), args=[made_of]):
                return self._is_set(made_of)
        return False

    def _of_names(self, targets: Iterable[ast.expr]) -> list[Any]:
        """What names that the order went into hold: it says what the set held."""
        return [self._names.get(one.id) for one in targets if isinstance(one, ast.Name)]

    def _in(self, node: ast.expr, results: list[Any]) -> Iterator[ast.expr]:
        if isinstance(node, _NOT_ENTERED):
            return
        if isinstance(node, ast.Call) and _name(node) in _ORDER_DOES_NOT and not _has_ties(node):
            # sorted(list(set(words))): whatever is made of the set in between
            yield from (found for one in node.args for part in _inner(one) for found in self._in(part, []))
            return
        used = list(_ordered(node))
        if any(self._is_set(one) and self._is_text(one, results) for one in used):
            yield node
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from self._in(child, results if isinstance(node, ast.Call | ast.Starred) else [])
            elif isinstance(child, ast.comprehension | ast.keyword):
                yield from (found for one in _expressions(child) for found in self._in(one, []))

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return _is_set(self._value(node))
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return any(self._is_set(one) or self._is_view(one) for one in (left, right))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _STILL_A_SET:
                return self._is_set(value)
            case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[] | [_]):
                return True
        return False

    @staticmethod
    def _is_view(node: ast.expr) -> bool:
        """Whether it is a dictionary's keys, in their order; what is made of two of them is a set."""
        match node:
            case ast.Call(func=ast.Attribute(attr="keys"), args=[]):
                return True
        return False

    def _is_text(self, node: ast.expr, results: list[Any]) -> bool:
        """Whether a set holds strings, as far as its source, what it was made of, or what it went into tells."""
        if isinstance(node, ast.Set):
            return self._says_text(node)
        return any(map(_holds_text, results)) or self._says_text(node)

    def _value(self, node: ast.expr) -> Any:  # noqa: ANN401 - whatever is there
        """What a name, an attribute or an item holds, as far as nothing of the user's needs to run to see it."""
        match node:
            case ast.Name(id=name):
                return self._names.get(name)
            case ast.Attribute(value=base, attr=name):
                of = self._value(base)
                if _is_frame(of):
                    with Shield():
                        return getattr(of, name) if name in {"columns", "index"} or name in of.columns else None
                return vars(of).get(name) if type(of) is ModuleType else attributes(of).get(name)
            case ast.Subscript(value=base, slice=ast.Constant(value=key)):
                of = self._value(base)
                if is_any(type(of), dict, list, tuple) or _is_frame(of):
                    with Shield():  # the key or place may be gone since
                        return of[key]
        return None

    def _says_text(self, node: ast.expr) -> bool:  # noqa: PLR0911 - one for each form
        match node:
            case ast.Set(elts=parts):
                starred = [one.value for one in parts if isinstance(one, ast.Starred)]
                texts = [one for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str | bytes)]
                return any(map(self._made_of_text, starred)) or (len(parts) > 1 and len(texts) > 0)
            case ast.Call(func=ast.Attribute(value=value, attr="keys"), args=[]):
                return _holds_text(self._value(value))
            case ast.SetComp(elt=part):
                return isinstance(part, ast.JoinedStr) or _name(part) in {"str", "lower", "upper", "strip", "format"}
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return _holds_text(self._value(node))
            case ast.BinOp(left=left, right=right):
                return self._says_text(left) or self._says_text(right)
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=parts) if attr in _STILL_A_SET:
                merged = [one.value if isinstance(one, ast.Starred) else one for one in parts]
                return self._says_text(value) or any(map(self._made_of_text, merged if attr == "union" else []))
            case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[made_of]):
                return self._made_of_text(made_of)
        return False

    def _made_of_text(self, node: ast.expr) -> bool:
        match node:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return _holds_text(self._value(node))
            case ast.Constant(value=str(text)):
                return len(set(text)) > 1
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return self._says_text(ast.Set(parts))
            case ast.Call(args=parts) if _name(node) in _CHAINS:
                chained = [self._value(one.value if isinstance(one, ast.Starred) else one) for one in parts]
                return any(_holds_text(one) for value in chained if type(value) in {list, tuple} for one in value)
        return _name(node) in _MAKE_TEXT or self._says_text(node)


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
    """Whether the first of several that are equally large is taken: `max(set(votes), key=votes.count)`."""
    return _name(node) in {"max", "min"} and any(one.arg == "key" for one in node.keywords)


def _is_without_order(statement: ast.stmt) -> bool:
    """Whether it comes to the same in whatever order it runs for the elements of a set."""
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


def _inner(node: ast.expr) -> Iterator[ast.expr]:
    """What a value without order is made of, past all that only passes it on."""
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        yield node.elt
    elif isinstance(node, ast.Call) and _name(node) in _ORDER_MATTERS:
        for one in node.args:
            yield from _inner(one)
    else:
        yield from (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    return (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _name(node: ast.AST) -> str | None:
    func = getattr(node, "func", None)
    return getattr(func, "attr", getattr(func, "id", None))


def _holds_text(value: Any) -> bool:  # noqa: ANN401 - whatever a name holds
    """Whether a value is a text, or holds at least two that are different; one-shot iterators are let alone."""
    kind = type(value)
    if issubclass(kind, str | bytes):
        return len(value) > 0 if is_any(kind, str, bytes) else True
    with Shield():  # an element may be of any class
        return len({one for one in itertools.islice(_elements(value), _LOOKED_AT) if _is_text(one)}) > 1
    return False


def _has_no_order(value: object) -> bool:
    """Whether a list that was made of a set has one element at most."""
    return type(value) in (list, tuple) and len(value) <= 1  # type: ignore[arg-type]


def _elements(value: Any) -> Iterable[Any]:  # noqa: ANN401 - any object of the user's
    kind = type(value)
    if is_any(kind, list, tuple, set, frozenset, dict):
        return value  # type: ignore[no-any-return]
    is_array = kind_of(value).startswith(("pandas.", "numpy.")) and kind_of(value).rpartition(".")[2] in _ARRAYS
    if is_array and getattr(value.dtype, "kind", "") in {"O", "U"} and value.ndim == 1:
        return value[:_LOOKED_AT]  # type: ignore[no-any-return]
    return ()


def _is_text(value: object) -> bool:
    if type(value) is tuple:
        return any(issubclass(type(one), str | bytes) for one in value)
    return issubclass(type(value), str | bytes)
