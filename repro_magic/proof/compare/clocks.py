"""Which values and printed lines a notebook reads from a clock, and nothing else: they differ in every run.

The cells are read in order, never run. A value counts as a clock's only where the syntax leaves no doubt: a call that
asks for the time, and what is made of it by arithmetic, rounding and formatting. What a clock only decides (`if`, a
seed) is a result like every other.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro_magic.introspection.comments import accepted_in
from repro_magic.proof.compare.outputs import without_noise
from repro_magic.proof.kernel.small_values import value_of
from repro_magic.proof.verdict import Outcome, Part

_TIME = ("time", "perf_counter", "monotonic", "process_time", "thread_time", "clock_gettime")
_READS = frozenset(
    [f"time.{name}{unit}" for name in _TIME for unit in ("", "_ns")]
    + [f"time.{name}" for name in ("localtime", "gmtime", "ctime", "asctime", "strftime")]
    + ["timeit.default_timer", "datetime.date.today", "pandas.Timestamp.now", "pandas.Timestamp.today"]
    + [f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")]
)
# What makes nothing of a clock's value but another form of it.
_FORMS = frozenset(
    [
        "round",
        "int",
        "float",
        "abs",
        "min",
        "max",
        "sum",
        "divmod",
        "str",
        "repr",
        "format",
        "math.floor",
        "math.ceil",
        "datetime.timedelta",
        "datetime.datetime.fromtimestamp",
    ]
)
_METHODS = frozenset(
    ["strftime", "isoformat", "total_seconds", "timestamp", "date", "time", "ctime", "replace", "split", "astimezone"]
)
_BODY_ONLY = ("%%time", "%%deterministic", "%%capture")
_DEEPEST = 8
_MARK = "clock"
_A_NUMBER = r" *-?\d[\d.,:]*(?:e[+-]?\d+)?%?"
_ANY_TIME = r"[^\n]+?"


@dataclass(frozen=True)
class Clock:
    """A value that a clock gave; `is_accepted` where a comment says so, whatever it is."""

    is_accepted: bool = False


@dataclass(frozen=True)
class Constant:
    """A value that stands in the code."""

    value: object


@dataclass(frozen=True)
class Text:
    """A text of several parts: constants, clocks, and None for all else."""

    parts: tuple[Form, ...]


@dataclass(frozen=True)
class Items:
    """A list or tuple: its first items, and what all that follow are."""

    first: tuple[Form, ...] = ()
    more: Form = None


@dataclass(frozen=True)
class Keys:
    """A dictionary: what stands under each constant key."""

    values: tuple[tuple[object, Form], ...] = ()

    def get(self, key: object) -> Form:
        """What stands under a key."""
        return next((form for name, form in self.values if name == key), None)

    def put(self, key: object, form: Form) -> Keys:
        """The same with another form under a key."""
        return Keys((*((name, old) for name, old in self.values if name != key), (key, form)))


_Held = Mapping[str, Mapping[str, Any]]
# How much of a value is a clock's; None: nothing that is known.
Form = Clock | Constant | Text | Items | Keys | None


def has_clock(form: Form) -> bool:
    """Whether a clock gave a part of a value."""
    if isinstance(form, Text):
        return any(map(has_clock, form.parts))
    if isinstance(form, Items):
        return any(map(has_clock, (*form.first, form.more)))
    return isinstance(form, Clock) or (isinstance(form, Keys) and any(has_clock(part) for _, part in form.values))


def is_only_clocks(form: Form, one: Any, other: Any) -> bool:  # noqa: ANN401 - plain values
    """Whether two values differ in nothing but what a clock gave.

    Example:
        >>> seconds = Keys((("loss", None), ("seconds", Items(more=Clock()))))
        >>> is_only_clocks(seconds, {"loss": 1, "seconds": [0.1]}, {"loss": 1, "seconds": [0.2]})
        True
        >>> is_only_clocks(seconds, {"loss": 1, "seconds": [0.1]}, {"loss": 2, "seconds": [0.2]})
        False
    """
    if isinstance(form, Clock):
        return form.is_accepted or type(one) is type(other)
    if type(one) is type(other) is str and isinstance(form, Text):
        return _are_texts_apart_by_clocks(form, one, other)
    if type(one) is not type(other) or not isinstance(one, list | tuple | dict) or len(one) != len(other):
        return repr(one) == repr(other)
    if isinstance(form, Keys) and isinstance(one, dict) and isinstance(other, dict):
        return [*map(repr, one)] == [*map(repr, other)] and all(
            is_only_clocks(form.get(key), value, found)
            for (key, value), found in zip(one.items(), other.values(), strict=True)
        )
    if isinstance(form, Items) and isinstance(one, list | tuple):
        forms = [*form.first[: len(one)], *[form.more] * (len(one) - len(form.first))]
        return all(is_only_clocks(*trio) for trio in zip(forms, one, other, strict=True))
    return repr(one) == repr(other)


def _are_texts_apart_by_clocks(form: Text, one: str, other: str) -> bool:
    """Whether both have the form, and are the same where it holds no clock.

    Where something else stands in the text, it has to be clear where the clock's part begins and ends.
    """
    is_mixed = any(part is None for part in form.parts)
    if is_mixed and any(_may_run_together(*pair) for pair in itertools.pairwise(form.parts)):
        return False
    pattern = "".join(_pattern(part, is_mixed=is_mixed) for part in form.parts)
    left, right = re.fullmatch(pattern, one, re.DOTALL), re.fullmatch(pattern, other, re.DOTALL)
    return left is not None and right is not None and left.groups() == right.groups()


def _may_run_together(one: Form, other: Form) -> bool:
    """Whether what stands on both sides cannot be told from one number."""
    constant = other if isinstance(other, Constant) else one
    return not isinstance(constant, Constant) or re.fullmatch(r"[\d.,:e%+-]*", str(constant.value)) is not None


def _pattern(part: Form, *, is_mixed: bool) -> str:
    if isinstance(part, Constant):
        return re.escape(str(part.value))
    if part is None:
        return r"(.*?)"
    return _A_NUMBER if is_mixed and not (isinstance(part, Clock) and part.is_accepted) else _ANY_TIME


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
        """Names, where those that differ by clocks only are told apart."""
        return [
            _told_apart(part) if self._is_clocks(part, [names.get(part.name) for names in held]) else part
            for part in parts
        ]

    def _is_clocks(self, part: Part, found: Sequence[Mapping[str, Any] | None]) -> bool:
        form, (first, *others) = self.form(part.name), found
        if part.outcome is not Outcome.DIFFERS or not has_clock(form) or first is None:
            return False
        return all(other is not None and _are_held_apart_by_clocks(form, first, other) for other in others)

    def outputs(self, parts: Iterable[Part], texts: Sequence[Mapping[str, str]]) -> list[Part]:
        """What was shown, where what differs by clocks only is told apart."""
        return [
            _told_apart(part) if self._is_clocks_text(part, [shown.get(part.name) for shown in texts]) else part
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
        return part.name == "stdout" and (self.is_accepted or all(self.explains(first, other) for other in others))

    def explains(self, one: str, other: str) -> bool:
        """Whether two printed texts differ in nothing but what a clock gave."""
        left, right = one.splitlines(), other.splitlines()
        if len(left) != len(right):
            return False
        return all(a == b or self._explains_line(a, b) for a, b in zip(left, right, strict=True))

    def _explains_line(self, one: str, other: str) -> bool:
        return any(has_clock(line) and _are_texts_apart_by_clocks(line, one, other) for line in self.lines)


def _told_apart(part: Part) -> Part:
    return replace(part, outcome=Outcome.CLOCK, why=f"read from a clock: {part.why}")


def _are_held_apart_by_clocks(form: Form, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["hex"] == other["hex"]:
        return True
    if isinstance(form, Clock):
        return form.is_accepted or bool(one["kind"] == other["kind"])
    texts = [found.get("small", {}).get("text") for found in (one, other)]
    return None not in texts and is_only_clocks(form, *map(value_of, texts))


def clocks_of(sources: Iterable[str]) -> list[CellClocks]:
    r"""What each cell reads from a clock.

    Example:
        >>> first, second = clocks_of(["import time\nstart = time.time()", "took = round(time.time() - start, 1)"])
        >>> first.form("start"), second.form("took"), second.form("time")
        (Clock(is_accepted=False), Clock(is_accepted=False), None)
    """
    scope = _Scope()
    return [_cell(source, scope) for source in sources]


def _cell(source: str, scope: _Scope) -> CellClocks:
    code = _without_magics(source)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        scope.forget()
        return CellClocks()
    reading = _Reading(scope, code.splitlines())
    reading.block(tree.body)
    last = tree.body[-1] if tree.body else None
    return CellClocks(
        dict(scope.names),
        reading.lines,
        reading.value(last.value) if isinstance(last, ast.Expr) else None,
        is_accepted=any(_MARK in accepted_in(line) for line in code.splitlines() if line.lstrip().startswith("#")),
        bound=frozenset(_bound(tree)),
    )


def _without_magics(source: str) -> str:
    """The cell's Python; a text that is none where a magic takes the cell as it likes."""
    first, *rest = source.splitlines() or [""]
    if first.startswith("%%"):
        return "\n".join(["", *rest]) if first.startswith(_BODY_ONLY) else "?"
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in (first, *rest))


def _bound(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


@dataclass
class _Scope:
    """The names of a notebook, or of a function: their forms, what they import, and the functions they are.

    Of names that a function declares as global nothing is known.
    """

    names: dict[str, Form] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    def bind(self, name: str, form: Form) -> None:
        """A name is bound anew."""
        self.forget(name)
        self.names[name] = None if name in self.shared else form

    def forget(self, *names: str) -> None:
        """Nothing is known of some names any more; without any: of all."""
        for known in (self.names, self.imports, self.functions):
            for name in names or [*known]:
                known.pop(name, None)

    def copy(self) -> _Scope:
        """The same, apart."""
        return _Scope(dict(self.names), dict(self.imports), dict(self.functions), self.shared)


class _Reading:
    """Code, read statement by statement."""

    def __init__(self, scope: _Scope, source: Sequence[str], depth: int = 0) -> None:
        """Nothing is read yet."""
        self.scope, self.source, self.depth = scope, source, depth
        self.lines: list[Text] = []
        self.returned: list[Form] = []

    # Statements

    def block(self, body: Iterable[ast.stmt]) -> None:
        """Statements, one after the other."""
        for statement in body:
            read = getattr(self, f"_{type(statement).__name__.lower()}", self._other)
            before = len(self.lines)
            read(statement)
            self._bind_within(statement)
            if not hasattr(statement, "body") and self._is_accepted(statement):
                self._accept(statement, before)

    def _is_accepted(self, statement: ast.stmt) -> bool:
        return _MARK in accepted_in("\n".join(self.source[statement.lineno - 1 : statement.end_lineno]))

    def _accept(self, statement: ast.stmt, before: int) -> None:
        """All that a line binds and prints is a clock's: its author says so."""
        for name in _bound(statement):
            self.scope.bind(name, Clock(is_accepted=True))
        parts = [
            [part if isinstance(part, Constant) else Clock() for part in line.parts] for line in self.lines[before:]
        ]
        self.lines[before:] = [Text(tuple(line)) for line in parts]

    def _bind_within(self, statement: ast.stmt) -> None:
        """Names that are bound in the midst of an expression."""
        for node in ast.walk(statement):
            if isinstance(node, ast.NamedExpr):
                self.scope.bind(node.target.id, self.value(node.value))

    def _other(self, statement: ast.stmt) -> None:
        """Of a statement that is not understood, what it binds is not known."""
        for name in _bound(statement):
            self.scope.forget(name)

    def _import(self, statement: ast.Import) -> None:
        for alias in statement.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.scope.forget(name)
            self.scope.imports[name] = alias.name if alias.asname else name

    def _importfrom(self, statement: ast.ImportFrom) -> None:
        for alias in statement.names:
            if alias.name == "*":
                self.scope.forget()
                return
            self.scope.forget(alias.asname or alias.name)
            self.scope.imports[alias.asname or alias.name] = f"{statement.module}.{alias.name}"

    def _functiondef(self, statement: ast.FunctionDef) -> None:
        self.scope.forget(statement.name)
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                self.scope.shared.update(node.names)
                self.scope.names.update(dict.fromkeys(node.names))
        if not statement.decorator_list:
            self.scope.functions[statement.name] = statement

    def _return(self, statement: ast.Return) -> None:
        self.returned.append(self.value(statement.value) if statement.value else Constant(None))

    def _assign(self, statement: ast.Assign) -> None:
        form = self.value(statement.value)
        for target in statement.targets:
            self._put(target, form)

    def _annassign(self, statement: ast.AnnAssign) -> None:
        if statement.value:
            self._put(statement.target, self.value(statement.value))

    def _augassign(self, statement: ast.AugAssign) -> None:
        target = statement.target
        before, more = self.value(target), self.value(statement.value)
        if isinstance(before, Items) and isinstance(more, Items):
            self._put(target, _longer(before, [*more.first]))
        else:
            self._put(target, _arithmetic(before, more))

    def _put(self, target: ast.expr, form: Form) -> None:
        if isinstance(target, ast.Name):
            self.scope.bind(target.id, form)
        elif isinstance(target, ast.Tuple | ast.List):
            known = isinstance(form, Items) and len(form.first) == len(target.elts)
            for place, part in enumerate(target.elts):
                self._put(part, form.first[place] if known else form if isinstance(form, Clock) else None)  # type: ignore[union-attr]
        elif isinstance(target, ast.Subscript):
            holder = self.value(target.value)
            if isinstance(holder, Keys) and isinstance(target.slice, ast.Constant):
                self._put(target.value, holder.put(target.slice.value, form))
            elif holder is not None:
                self._put(target.value, None)

    def _for(self, statement: ast.For) -> None:
        over = self.value(statement.iter)
        each = over.more if isinstance(over, Items) and not over.first else None
        for _ in range(2):  # what the first round leaves is what the second begins with
            self._put(statement.target, each)
            self.block([*statement.body, *statement.orelse])

    def _while(self, statement: ast.While) -> None:
        for _ in range(2):
            self.block([*statement.body, *statement.orelse])

    def _with(self, statement: ast.With) -> None:
        for item in statement.items:
            if item.optional_vars is not None:
                self._put(item.optional_vars, None)
        self.block(statement.body)

    def _if(self, statement: ast.If) -> None:
        self._either(statement.body, statement.orelse)

    def _try(self, statement: ast.Try) -> None:
        self.block([*statement.body, *statement.orelse])
        for handler in statement.handlers:
            self._either(handler.body, [])
        self.block(statement.finalbody)

    def _either(self, one: Sequence[ast.stmt], other: Sequence[ast.stmt]) -> None:
        """One of two blocks runs: only what both leave alike is known."""
        start = self.scope.copy()
        self.block(one)
        left = self.scope.copy()
        self.scope.names, self.scope.imports, self.scope.functions = start.names, start.imports, start.functions
        self.block(other)
        for name in {*left.names, *self.scope.names}:
            mine = left.names.get(name, self.scope.names.get(name))
            self.scope.names[name] = _joined(mine, self.scope.names.get(name, mine))
        self.scope.imports = {k: v for k, v in self.scope.imports.items() if left.imports.get(k) == v}
        self.scope.functions = {k: v for k, v in self.scope.functions.items() if left.functions.get(k) is v}

    def _expr(self, statement: ast.Expr) -> None:
        call = statement.value
        if not isinstance(call, ast.Call):
            return
        if isinstance(call.func, ast.Name) and call.func.id == "print" and "print" not in self.scope.names:
            self._print(call)
        elif isinstance(call.func, ast.Attribute):
            self._method(call.func, call.args)
        else:
            self.value(call)

    def _print(self, call: ast.Call) -> None:
        given = {word.arg: word.value for word in call.keywords}
        if {*given} - {"flush", "sep"} or any(isinstance(argument, ast.Starred) for argument in call.args):
            return
        separator = self.value(given["sep"]) if "sep" in given else Constant(" ")
        parts = [part for argument in call.args for part in (*_in_text(self.value(argument)), separator)][:-1]
        self.lines.append(Text(tuple(parts)))

    def _method(self, function: ast.Attribute, arguments: Sequence[ast.expr]) -> None:
        """A list that grows, by what; of what else a method makes of a container nothing is known."""
        holder = self.value(function.value)
        if not isinstance(holder, Items | Keys):
            return
        if function.attr == "append" and isinstance(holder, Items) and len(arguments) == 1:
            self._put(function.value, _longer(holder, [self.value(arguments[0])]))
        elif function.attr not in ("items", "keys", "values", "get", "index", "count", "copy"):
            self._put(function.value, None)

    # Expressions

    def value(self, node: ast.expr) -> Form:
        """The form of what an expression gives."""
        read = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        found: Form = None if read is None else read(node)
        return found

    def _of_constant(self, node: ast.Constant) -> Form:
        return Constant(node.value)

    def _of_name(self, node: ast.Name) -> Form:
        return self.scope.names.get(node.id)

    def _of_namedexpr(self, node: ast.NamedExpr) -> Form:
        return self.value(node.value)

    def _of_binop(self, node: ast.BinOp) -> Form:
        return _arithmetic(self.value(node.left), self.value(node.right))

    def _of_unaryop(self, node: ast.UnaryOp) -> Form:
        return None if isinstance(node.op, ast.Not) else _arithmetic(self.value(node.operand), Constant(0))

    def _of_attribute(self, node: ast.Attribute) -> Form:
        found = self.value(node.value)
        return found if isinstance(found, Clock) else None

    def _of_subscript(self, node: ast.Subscript) -> Form:
        found = self.value(node.value)
        if isinstance(found, Clock):
            return found if self._is_constant(node.slice) else None
        key = self.value(node.slice)
        if isinstance(found, Keys) and isinstance(key, Constant):
            return found.get(key.value)
        if isinstance(found, Items) and isinstance(key, Constant) and isinstance(key.value, int) and key.value >= 0:
            return found.first[key.value] if key.value < len(found.first) else found.more
        return found.more if isinstance(found, Items) and not found.first else None

    def _is_constant(self, node: ast.expr) -> bool:
        return all(isinstance(part, ast.Constant | ast.Slice | ast.UnaryOp | ast.USub) for part in ast.walk(node))

    def _of_joinedstr(self, node: ast.JoinedStr) -> Form:
        return _text(
            [
                self.value(part.value) if isinstance(part, ast.FormattedValue) else self.value(part)
                for part in node.values
            ]
        )

    def _of_list(self, node: ast.List | ast.Tuple) -> Form:
        if any(isinstance(part, ast.Starred) for part in node.elts):
            return None
        return Items(tuple(map(self.value, node.elts)))

    _of_tuple = _of_list

    def _of_dict(self, node: ast.Dict) -> Form:
        if not all(isinstance(key, ast.Constant) for key in node.keys):
            return None
        return Keys(tuple((key.value, self.value(part)) for key, part in zip(node.keys, node.values, strict=True)))  # type: ignore[union-attr]

    def _of_listcomp(self, node: ast.ListComp) -> Form:
        inner = _Reading(self.scope.copy(), self.source, self.depth)
        for generator in node.generators:
            over = self.value(generator.iter)
            whole = isinstance(over, Items) and {*over.first, over.more} <= {Clock(), None} and has_clock(over)
            inner._put(generator.target, Clock() if whole else None)
        found = inner.value(node.elt)
        return Items(more=found) if isinstance(found, Clock) and not any(one.ifs for one in node.generators) else None

    def _of_call(self, node: ast.Call) -> Form:
        given = [*node.args, *(word.value for word in node.keywords)]
        name = self._dotted(node.func)
        forms = [self.value(argument) for argument in given]
        if name in _READS:
            return Clock() if all(isinstance(form, Constant | Clock) for form in forms if form is not None) else None
        if name in _FORMS:
            return _reformed(forms)
        if isinstance(node.func, ast.Attribute):
            found = self.value(node.func.value)
            return _reformed([found, *forms]) if isinstance(found, Clock) and node.func.attr in _METHODS else None
        return self._call(node) if isinstance(node.func, ast.Name) else None

    def _dotted(self, node: ast.expr) -> str:
        """A function's full name, by what was imported; empty if it has none."""
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return before and f"{before}.{node.attr}"
        if not isinstance(node, ast.Name) or node.id in self.scope.names or node.id in self.scope.functions:
            return ""
        return self.scope.imports.get(node.id, node.id if node.id in _FORMS else "")

    def _call(self, node: ast.Call) -> Form:
        """What a function of the notebook returns for these arguments; what it prints is printed here."""
        function = self.scope.functions.get(node.func.id)  # type: ignore[attr-defined]
        if function is None or self.depth > _DEEPEST or function.args.vararg or function.args.kwarg:
            return None
        names = [
            argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        ]
        inner = _Reading(self.scope.copy(), (), self.depth + 1)
        given = dict(zip(names, map(self.value, node.args), strict=False))
        given |= {word.arg: self.value(word.value) for word in node.keywords if word.arg}
        for name in {*names, *_bound(function)}:
            inner.scope.bind(name, given.get(name))
        inner.block(function.body)
        self.lines += inner.lines
        for argument in node.args:  # it may have changed what it was given
            if isinstance(argument, ast.Name) and isinstance(self.value(argument), Items | Keys):
                self.scope.bind(argument.id, None)
        first, *others = inner.returned or [None]
        for one in others:
            first = _joined(first, one)
        return first


def _arithmetic(one: Form, other: Form) -> Form:
    """A clock with a constant or another clock is a clock; texts that are put together have both as parts."""
    if isinstance(one, Text) or isinstance(other, Text):
        return _text([*_in_text(one), *_in_text(other)])
    if isinstance(one, Constant) and isinstance(other, Constant):
        return Constant(None)  # which one is not worked out
    known = isinstance(one, Clock | Constant) and isinstance(other, Clock | Constant)
    return Clock() if known and has_clock(Items((one, other))) else None


def _reformed(forms: Sequence[Form]) -> Form:
    """Another form of a clock's value."""
    flat = [
        part
        for form in forms
        for part in ((*form.first, *([form.more] if form.more else ())) if isinstance(form, Items) else (form,))
    ]
    known = all(isinstance(part, Clock | Constant) for part in flat)
    return Clock() if known and any(isinstance(part, Clock) for part in flat) else None


def _in_text(form: Form) -> tuple[Form, ...]:
    return form.parts if isinstance(form, Text) else (form,)


def _text(parts: Sequence[Form]) -> Form:
    flat = tuple(part for form in parts for part in _in_text(form))
    return Text(flat) if any(isinstance(part, Clock) for part in flat) else None


def _longer(holder: Items, more: Sequence[Form]) -> Items | None:
    """A list with other items behind; None where they are not all of one form."""
    forms = [*([holder.more] if holder.more is not None else []), *more]
    for form in forms[1:]:
        forms[0] = _joined(forms[0], form)
    if not forms:
        return holder
    return None if forms[0] is None else replace(holder, more=forms[0])


def _joined(one: Form, other: Form) -> Form:
    """What is known of a value that is one or the other."""
    return one if one == other else None
