"""Code of cells, read statement by statement and never run: what each name and printed line takes from a clock.

What a clock only decides (`if`, a seed) is a result like every other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from repro_magic.introspection.comments import accepted_in
from repro_magic.proof.compare.clock_forms import (
    Clock,
    Constant,
    Form,
    Items,
    Keys,
    Text,
    arithmetic,
    has_clock,
    in_text,
    joined,
    longer,
    reformed,
    text_of,
)

_TIME = ("time", "perf_counter", "monotonic", "process_time", "thread_time", "clock_gettime")
_READS = frozenset(
    [f"time.{name}{unit}" for name in _TIME for unit in ("", "_ns")]
    + [f"time.{name}" for name in ("localtime", "gmtime", "ctime", "asctime", "strftime")]
    + ["timeit.default_timer", "datetime.date.today", "pandas.Timestamp.now", "pandas.Timestamp.today"]
    + [f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")]
)
# Functions that only convert a clock's value.
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
# A call is followed into functions of the notebook down to this depth.
_DEEPEST = 8
# `# repro: accept clock` declares that what a line or cell gives comes from a clock.
MARK = "clock"


@dataclass
class Names:
    """What is known of the names of a notebook or a function.

    Attributes:
        names: the form of each name's value.
        imports: the full names of what they import.
        functions: the definitions of the functions that they hold.
        shared: names that a function declares as global: it may change them at any time.
    """

    names: dict[str, Form] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    def bind(self, name: str, form: Form) -> None:
        """Bind a name to a value of some form."""
        self.forget(name)
        self.names[name] = None if name in self.shared else form

    def forget(self, *names: str) -> None:
        """Forget what is known of some names; without arguments, of all."""
        for known in (self.names, self.imports, self.functions):
            for name in names or [*known]:
                known.pop(name, None)

    def copy(self) -> Names:
        """A copy that can change on its own."""
        return Names(dict(self.names), dict(self.imports), dict(self.functions), self.shared)


class Reading:
    """Reads code statement by statement, and notes the forms of names and printed lines.

    Attributes:
        scope: the names so far.
        lines: the forms of the lines printed so far.
        returned: the forms of the values that the code, a function's body, returns.
    """

    def __init__(self, scope: Names, source: Sequence[str], depth: int = 0) -> None:
        """Start with the names that are known already."""
        self.scope, self.source, self.depth = scope, source, depth
        self.lines: list[Text] = []
        self.returned: list[Form] = []

    # Statements

    def block(self, body: Iterable[ast.stmt]) -> None:
        """Read statements in their order."""
        for statement in body:
            read = getattr(self, f"_{type(statement).__name__.lower()}", self._other)
            before = len(self.lines)
            read(statement)
            self._bind_within(statement)
            if not hasattr(statement, "body") and self._is_accepted(statement):
                self._accept(statement, before)

    def _is_accepted(self, statement: ast.stmt) -> bool:
        return MARK in accepted_in("\n".join(self.source[statement.lineno - 1 : statement.end_lineno]))

    def _accept(self, statement: ast.stmt, before: int) -> None:
        """Take all that a line binds and prints for a clock's, as its author says."""
        for name in bound_names(statement):
            self.scope.bind(name, Clock(is_accepted=True))
        parts = [
            [part if isinstance(part, Constant) else Clock() for part in line.parts] for line in self.lines[before:]
        ]
        self.lines[before:] = [Text(tuple(line)) for line in parts]

    def _bind_within(self, statement: ast.stmt) -> None:
        """Bind the names that an expression assigns with `:=`."""
        for node in ast.walk(statement):
            if isinstance(node, ast.NamedExpr):
                self.scope.bind(node.target.id, self.value(node.value))

    def _other(self, statement: ast.stmt) -> None:
        """Forget what a statement binds that is not understood."""
        for name in bound_names(statement):
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
            self._put(target, longer(before, [*more.first]))
        else:
            self._put(target, arithmetic(before, more))

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
        """Read two blocks of which one runs: only what both leave alike is known."""
        start = self.scope.copy()
        self.block(one)
        left = self.scope.copy()
        self.scope.names, self.scope.imports, self.scope.functions = start.names, start.imports, start.functions
        self.block(other)
        for name in {*left.names, *self.scope.names}:
            mine = left.names.get(name, self.scope.names.get(name))
            self.scope.names[name] = joined(mine, self.scope.names.get(name, mine))
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
        parts = [part for argument in call.args for part in (*in_text(self.value(argument)), separator)][:-1]
        self.lines.append(Text(tuple(parts)))

    def _method(self, function: ast.Attribute, arguments: Sequence[ast.expr]) -> None:
        """Follow `append`; any other method that changes a container makes it unknown."""
        holder = self.value(function.value)
        if not isinstance(holder, Items | Keys):
            return
        if function.attr == "append" and isinstance(holder, Items) and len(arguments) == 1:
            self._put(function.value, longer(holder, [self.value(arguments[0])]))
        elif function.attr not in ("items", "keys", "values", "get", "index", "count", "copy"):
            self._put(function.value, None)

    # Expressions

    def value(self, node: ast.expr) -> Form:
        """The form of an expression's value."""
        read = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        form: Form = None if read is None else read(node)
        return form

    def _of_constant(self, node: ast.Constant) -> Form:
        return Constant(node.value)

    def _of_name(self, node: ast.Name) -> Form:
        return self.scope.names.get(node.id)

    def _of_namedexpr(self, node: ast.NamedExpr) -> Form:
        return self.value(node.value)

    def _of_binop(self, node: ast.BinOp) -> Form:
        return arithmetic(self.value(node.left), self.value(node.right))

    def _of_unaryop(self, node: ast.UnaryOp) -> Form:
        return None if isinstance(node.op, ast.Not) else arithmetic(self.value(node.operand), Constant(0))

    def _of_attribute(self, node: ast.Attribute) -> Form:
        holder = self.value(node.value)
        return holder if isinstance(holder, Clock) else None

    def _of_subscript(self, node: ast.Subscript) -> Form:
        holder = self.value(node.value)
        if isinstance(holder, Clock):
            return holder if self._is_constant(node.slice) else None
        key = self.value(node.slice)
        if isinstance(holder, Keys) and isinstance(key, Constant):
            return holder.get(key.value)
        if isinstance(holder, Items) and isinstance(key, Constant) and isinstance(key.value, int) and key.value >= 0:
            return holder.first[key.value] if key.value < len(holder.first) else holder.more
        return holder.more if isinstance(holder, Items) and not holder.first else None

    def _is_constant(self, node: ast.expr) -> bool:
        return all(isinstance(part, ast.Constant | ast.Slice | ast.UnaryOp | ast.USub) for part in ast.walk(node))

    def _of_joinedstr(self, node: ast.JoinedStr) -> Form:
        return text_of(
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
        inner = Reading(self.scope.copy(), self.source, self.depth)
        for generator in node.generators:
            over = self.value(generator.iter)
            whole = isinstance(over, Items) and {*over.first, over.more} <= {Clock(), None} and has_clock(over)
            inner._put(generator.target, Clock() if whole else None)
        form = inner.value(node.elt)
        return (
            Items(more=form)
            if isinstance(form, Clock) and not any(generator.ifs for generator in node.generators)
            else None
        )

    def _of_call(self, node: ast.Call) -> Form:
        given = [*node.args, *(word.value for word in node.keywords)]
        name = self._dotted(node.func)
        forms = [self.value(argument) for argument in given]
        if name in _READS:
            return Clock() if all(isinstance(form, Constant | Clock) for form in forms if form is not None) else None
        if name in _FORMS:
            return reformed(forms)
        if isinstance(node.func, ast.Attribute):
            holder = self.value(node.func.value)
            return reformed([holder, *forms]) if isinstance(holder, Clock) and node.func.attr in _METHODS else None
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
        """What a function of the notebook returns for these arguments. What it prints, the caller prints."""
        function = self.scope.functions.get(node.func.id)  # type: ignore[attr-defined]
        if function is None or self.depth > _DEEPEST or function.args.vararg or function.args.kwarg:
            return None
        names = [
            argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        ]
        inner = Reading(self.scope.copy(), (), self.depth + 1)
        given = dict(zip(names, map(self.value, node.args), strict=False))
        given |= {word.arg: self.value(word.value) for word in node.keywords if word.arg}
        for name in {*names, *bound_names(function)}:
            inner.scope.bind(name, given.get(name))
        inner.block(function.body)
        self.lines += inner.lines
        for argument in node.args:  # the function may have changed its argument
            if isinstance(argument, ast.Name) and isinstance(self.value(argument), Items | Keys):
                self.scope.bind(argument.id, None)
        result, *others = inner.returned or [None]
        for form in others:
            result = joined(result, form)
        return result


def bound_names(tree: ast.AST) -> Iterator[str]:
    r"""The names that code binds by assignments, definitions and loops.

    Example:
        >>> [*bound_names(ast.parse("x = y = 1\nfor i in z: f(i)"))]
        ['x', 'y', 'i']
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
