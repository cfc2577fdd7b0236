"""Code of cells, read statement by statement and never run: what each name and printed line takes from a clock.

What a clock only decides (`if`, a seed) is a result like every other.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from repro_magic.introspection.comments import accepted_in
from repro_magic.proof.compare.clock_forms import (
    Clock,
    Constant,
    Form,
    Instance,
    Items,
    Keys,
    Text,
    combined,
    has_clock,
    in_text,
    is_unit,
    joined,
    longer,
    reformed,
    text_of,
    widened,
)
from repro_magic.proof.compare.clock_objects import (
    ClassCode,
    Function,
    Heap,
    class_code,
    decorators,
    is_harmless,
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
        "str",
        "repr",
        "format",
        "math.floor",
        "math.ceil",
        "datetime.timedelta",
        "datetime.datetime.fromtimestamp",
        *(f"statistics.{name}" for name in ("mean", "fmean", "median", "stdev", "pstdev", "variance", "pvariance")),
        *(f"numpy.{name}" for name in ("array", "asarray", "mean", "median", "std", "var", "min", "max", "sum")),
        *(f"numpy.{name}" for name in ("round", "diff", "cumsum", "percentile", "quantile")),
        *("torch.tensor", "pandas.Series"),
    ]
)
# Functions that time code themselves.
_TIMED: dict[str, Form] = {"timeit.timeit": Clock(), "timeit.repeat": Items(more=Clock())}
_EMPTY: dict[str, Form] = {"list": Items(), "tuple": Items(), "dict": Keys(), "collections.OrderedDict": Keys()}
_FACTORIES: dict[str, Form] = {"list": Items(), "float": Constant(0.0), "int": Constant(0), "dict": Keys()}
_OTHER_BUILTINS = frozenset({"len", "divmod", "sorted", "list", "tuple", "dict"})
_METHODS = frozenset(
    [
        *("strftime", "isoformat", "total_seconds", "timestamp", "date", "time", "ctime", "replace", "split"),
        *("astimezone", "mean", "sum", "min", "max", "std", "var", "item", "tolist", "round", "median"),
    ]
)
# A call is followed into functions of the notebook down to this depth.
_DEEPEST, _MOST_ARGUMENTS = 8, 30
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
        classes: the classes that they hold.
        heap: the objects of the notebook's classes.
    """

    names: dict[str, Form] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    classes: dict[str, ClassCode] = field(default_factory=dict)
    heap: Heap = field(default_factory=Heap)

    def bind(self, name: str, form: Form) -> None:
        """Bind a name to a value of some form."""
        self.forget(name)
        self.names[name] = None if name in self.shared else form

    def forget(self, *names: str) -> None:
        """Forget what is known of some names; without arguments, of all."""
        for known in (self.names, self.imports, self.functions, self.classes):
            for name in names or [*known]:
                known.pop(name, None)

    def copy(self) -> Names:
        """A copy that can change on its own."""
        known = (dict(self.names), dict(self.imports), dict(self.functions))
        return Names(*known, self.shared, dict(self.classes), self.heap)


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
            self.scope.heap.step()
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
        self._children(statement)
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

    def _classdef(self, statement: ast.ClassDef) -> None:
        named = [one.id for one in statement.bases if isinstance(one, ast.Name)]
        bases = [self.scope.classes[name] for name in named if name in self.scope.classes]
        self.scope.forget(statement.name)
        self.scope.classes[statement.name] = class_code(statement, bases)

    def _match(self, statement: ast.Match) -> None:
        self.scope.heap.escape(self.value(statement.subject))
        for name in bound_names(statement):
            self.scope.forget(name)
        for case in statement.cases:
            self._either(case.body, [])

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
            self._put(target, longer(before, [*more.first, *([] if more.more is None else [more.more])]))
        else:
            self._put(target, combined(statement.op, before, more))

    def _put(self, target: ast.expr, form: Form) -> None:
        if isinstance(target, ast.Name):
            self.scope.bind(target.id, form)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, form)
        elif isinstance(target, ast.Subscript):
            self._put_item(target, form)
        elif isinstance(target, ast.Attribute):
            holder = self.value(target.value)
            if isinstance(holder, Instance):
                self.scope.heap.put(holder, target.attr, form)
            else:
                self.scope.heap.escape(form)

    def _unpack(self, targets: Sequence[ast.expr], form: Form) -> None:
        known = isinstance(form, Items) and len(form.first) == len(targets)
        if not known:
            self.scope.heap.escape(form)
        for place, part in enumerate(targets):
            self._put(part, form.first[place] if known else form if isinstance(form, Clock) else None)  # type: ignore[union-attr]

    def _put_item(self, target: ast.Subscript, form: Form) -> None:
        holder, key = self.value(target.value), self.value(target.slice)
        if isinstance(holder, Keys):
            is_known = isinstance(target.slice, ast.Constant) and isinstance(key, Constant)
            self._put(target.value, holder.put(key.value, form) if is_known else holder.put_anywhere(form))  # type: ignore[union-attr]
        elif isinstance(holder, Items):
            self.scope.heap.escape(form)
            self._put(target.value, widened(holder, Items(more=form)) if form is not None else None)
        elif holder is not None:
            self._put(target.value, None)

    def _for(self, statement: ast.For | ast.AsyncFor) -> None:
        over = self.value(statement.iter)
        each = over.more if isinstance(over, Items) and not over.first else None
        if each is None:
            self.scope.heap.escape(over)
        for _ in range(2):  # what the first round leaves is what the second begins with
            self._put(statement.target, each)
            self.block([*statement.body, *statement.orelse])

    _asyncfor = _for

    def _while(self, statement: ast.While) -> None:
        for _ in range(2):
            self.value(statement.test)
            self.block([*statement.body, *statement.orelse])

    def _with(self, statement: ast.With | ast.AsyncWith) -> None:
        managers = [self.value(item.context_expr) for item in statement.items]
        for item, manager in zip(statement.items, managers, strict=True):
            entered = self._special(manager, "__enter__") if isinstance(manager, Instance) else None
            if item.optional_vars is not None:
                self._put(item.optional_vars, entered)
        self.block(statement.body)
        for manager in managers:
            if isinstance(manager, Instance):
                self._special(manager, "__exit__", None, None, None)

    _asyncwith = _with

    def _if(self, statement: ast.If) -> None:
        self.value(statement.test)
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
        self.scope.classes = start.classes
        self.block(other)
        for name in {*left.names, *self.scope.names}:
            mine = left.names.get(name, self.scope.names.get(name))
            self.scope.names[name] = joined(mine, self.scope.names.get(name, mine))
        self.scope.imports = {k: v for k, v in self.scope.imports.items() if left.imports.get(k) == v}
        self.scope.functions = {k: v for k, v in self.scope.functions.items() if left.functions.get(k) is v}
        self.scope.classes = {k: v for k, v in self.scope.classes.items() if left.classes.get(k) is v}

    def _expr(self, statement: ast.Expr) -> None:
        call = statement.value
        is_print = isinstance(call, ast.Call) and _is_name(call.func, ("print",)) and "print" not in self.scope.names
        if is_print:
            self._print(call)  # type: ignore[arg-type]
        elif isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and self._changes(call.func, call):
            return
        elif isinstance(call, ast.Call):
            self.value(call)
        else:
            self._children(statement)

    def _print(self, call: ast.Call) -> None:
        given = {word.arg: word.value for word in call.keywords}
        if {*given} - {"flush", "sep"} or any(isinstance(argument, ast.Starred) for argument in call.args):
            return
        separator = self.value(given["sep"]) if "sep" in given else Constant(" ")
        shown = [self._shown(self.value(argument)) for argument in call.args]
        parts = [part for form in shown for part in (*in_text(form), separator)][:-1]
        self.lines.append(Text(tuple(parts)))

    def _shown(self, form: Form) -> Form:
        """The text of an object of the notebook's classes; any other value as it is."""
        if not isinstance(form, Instance):
            return form
        methods = self.scope.heap.classes[form.site].methods
        return self._special(form, next((name for name in ("__format__", "__str__") if name in methods), "__repr__"))

    def _changes(self, function: ast.Attribute, call: ast.Call) -> bool:
        """Follow methods that change a container; False where they are called on anything else."""
        holder = self.value(function.value)
        if not isinstance(holder, Items | Keys):
            return False
        given = [self.value(argument) for argument in call.args]
        if function.attr == "append" and isinstance(holder, Items) and len(given) == 1:
            self._put(function.value, longer(holder, given))
        elif function.attr == "clear" and isinstance(holder, Items):
            self._put(function.value, Items())
        elif function.attr not in ("items", "keys", "values", "get", "index", "count", "copy", "sort", "reverse"):
            self.scope.heap.escape(holder, *given)
            self._put(function.value, None)
        elif holder != Items() and isinstance(holder, Items) and holder.first and function.attr in ("sort", "reverse"):
            self._put(function.value, None)
        return True

    # Expressions

    def value(self, node: ast.expr) -> Form:
        """The form of an expression's value."""
        read = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if read is None:
            self._children(node)
            return None
        form: Form = read(node)
        return form

    def _children(self, node: ast.AST) -> None:
        """Read the expressions in what is not understood, for what they do; it may do anything with their values."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                form = self.value(child)
                if not isinstance(node, ast.Compare | ast.FormattedValue | ast.Expr | ast.Assert):
                    self.scope.heap.escape(form)
            elif isinstance(child, ast.comprehension | ast.keyword):
                self._children(child)

    def _of_constant(self, node: ast.Constant) -> Form:
        return Constant(node.value)

    def _of_name(self, node: ast.Name) -> Form:
        return self.scope.names.get(node.id)

    def _of_namedexpr(self, node: ast.NamedExpr) -> Form:
        return self.value(node.value)

    def _of_binop(self, node: ast.BinOp) -> Form:
        return combined(node.op, self.value(node.left), self.value(node.right))

    def _of_unaryop(self, node: ast.UnaryOp) -> Form:
        form = self.value(node.operand)
        return combined(ast.Add(), form, Constant(0)) if isinstance(node.op, ast.USub | ast.UAdd) else None

    def _of_attribute(self, node: ast.Attribute) -> Form:
        holder = self.value(node.value)
        if not isinstance(holder, Instance):
            return holder if isinstance(holder, Clock) else None
        method = self.scope.heap.classes[holder.site].methods.get(node.attr)
        if method is None:
            return self.scope.heap.get(holder, node.attr)
        if "property" in decorators(method):
            return self._run(method, [holder], {})
        self.scope.heap.escape(holder)  # whoever has the method may call it
        return None

    def _of_subscript(self, node: ast.Subscript) -> Form:
        holder = self.value(node.value)
        if isinstance(holder, Clock):
            return holder if self._is_constant(node.slice) else None
        key = self.value(node.slice)
        if isinstance(holder, Keys):
            is_known = isinstance(node.slice, ast.Constant) and isinstance(key, Constant)
            return holder.get(key.value) if is_known else _any_of(holder)  # type: ignore[union-attr]
        if isinstance(holder, Items) and isinstance(key, Constant) and isinstance(key.value, int) and key.value >= 0:
            return holder.first[key.value] if key.value < len(holder.first) else holder.more
        return holder.more if isinstance(holder, Items) and not holder.first else None

    def _is_constant(self, node: ast.expr) -> bool:
        return all(isinstance(part, ast.Constant | ast.Slice | ast.UnaryOp | ast.USub) for part in ast.walk(node))

    def _of_joinedstr(self, node: ast.JoinedStr) -> Form:
        return text_of(
            [
                self._shown(self.value(part.value if isinstance(part, ast.FormattedValue) else part))
                for part in node.values
            ]
        )

    def _of_list(self, node: ast.List | ast.Tuple) -> Form:
        if any(isinstance(part, ast.Starred) for part in node.elts):
            self._children(node)
            return None
        return Items(tuple(map(self.value, node.elts)))

    _of_tuple = _of_list

    def _of_dict(self, node: ast.Dict) -> Form:
        if not all(isinstance(key, ast.Constant) for key in node.keys):
            self._children(node)
            return None
        return Keys(tuple((key.value, self.value(part)) for key, part in zip(node.keys, node.values, strict=True)))  # type: ignore[union-attr]

    def _of_listcomp(self, node: ast.ListComp) -> Form:
        inner = Reading(self.scope.copy(), self.source, self.depth)
        for generator in node.generators:
            over = self.value(generator.iter)
            whole = isinstance(over, Items) and {*over.first, over.more} <= {Clock(), None} and has_clock(over)
            each = over.more if isinstance(over, Items) and isinstance(over.more, Instance) else None
            if each is None:
                self.scope.heap.escape(over)
            inner._put(generator.target, Clock() if whole else each)
        form = inner.value(node.elt)
        is_known = isinstance(form, Clock | Instance) and not any(generator.ifs for generator in node.generators)
        if not is_known:
            self.scope.heap.escape(form)
        return Items(more=form) if is_known else None

    def _of_call(self, node: ast.Call) -> Form:
        name = self._dotted(node.func)
        if isinstance(node.func, ast.Attribute) and not name:
            return self._of_method(node.func, node)
        if _is_name(node.func, self.scope.functions):
            return self._call(node)
        if _is_name(node.func, self.scope.classes):
            return self._made(node, self.scope.classes[node.func.id])  # type: ignore[attr-defined]
        return _TIMED.get(name) or self._of_known(name, node)

    def _of_known(self, name: str, node: ast.Call) -> Form:
        """What a function of a library returns; without a name it is not known."""
        forms = [self.value(argument) for argument in node.args]
        given = {word.arg: self.value(word.value) for word in node.keywords}
        every = [*forms, *given.values()]
        if name in _READS:
            return Clock() if all(isinstance(form, Constant | Clock) for form in every if form is not None) else None
        if name in {"str", "repr", "format"} and forms and isinstance(forms[0], Instance):
            return self._shown(forms[0])
        if name in _FORMS:
            return reformed(every)
        found = self._container(name, node, forms, given)
        if found is None and not is_harmless(name):
            self.scope.heap.escape(*every)
        return found

    def _container(self, name: str, node: ast.Call, forms: Sequence[Form], given: Mapping[str | None, Form]) -> Form:  # noqa: PLR0911 - one for each function
        """What a function makes of a container, or the container that it makes."""
        first = forms[0] if forms else None
        if name in _EMPTY and not forms:
            return Keys(tuple(given.items())) if isinstance(_EMPTY[name], Keys) else _EMPTY[name]
        if name == "collections.defaultdict" and len(node.args) == 1 and isinstance(node.args[0], ast.Name):
            return Keys(more=_FACTORIES.get(node.args[0].id))
        if name == "pandas.DataFrame" and isinstance(first, Keys):
            return first
        if name == "len":
            return Constant(None) if isinstance(first, Items | Keys | Constant) else None
        if name == "divmod":
            part = combined(ast.Mod(), first, forms[-1])
            return Items((part, part)) if is_unit(forms[-1]) else None
        if name in {"list", "tuple", "sorted"} and isinstance(first, Items) and not given:
            return first if name != "sorted" or not first.first else None
        return None

    def _arguments(self, node: ast.Call) -> tuple[list[Form], dict[str, Form]]:
        """The forms of a call's arguments: unknown from where some are spread."""
        forms = [self.value(argument) for argument in node.args]
        given = {word.arg: self.value(word.value) for word in node.keywords if word.arg}
        if any(isinstance(one, ast.Starred) for one in node.args) or len(given) < len(node.keywords):
            self._children(node)
            return [None] * _MOST_ARGUMENTS, given
        return forms, given

    def _of_method(self, function: ast.Attribute, node: ast.Call) -> Form:
        """What a method returns."""
        holder = self.value(function.value)
        forms, given = self._arguments(node)
        if isinstance(holder, Instance):
            return self._special(holder, function.attr, *forms, **given)
        every = [*forms, *given.values()]
        if isinstance(holder, Clock) and function.attr in _METHODS:
            return reformed([holder, *every])
        if isinstance(holder, Items) and function.attr == "copy":
            return holder
        self.scope.heap.escape(holder, *every)
        return None

    def _special(self, holder: Instance, name: str, *forms: Form, **given: Form) -> Form:
        """What a method of one of the notebook's classes returns."""
        method = self.scope.heap.classes[holder.site].methods.get(name)
        if method is None:  # a library's base may do anything
            self.scope.heap.escape(*forms, *given.values())
            return None
        found = decorators(method)
        if found:
            self.scope.heap.escape(holder, *forms, *given.values())
        is_plain = "staticmethod" not in found
        return self._run(method, [*([holder] if is_plain else []), *forms], given)

    def _made(self, node: ast.Call, code: ClassCode) -> Form:
        """An object of one of the notebook's classes."""
        heap = self.scope.heap
        holder = Instance(id(node), heap.fields)
        heap.classes[holder.site] = code
        forms, given = self._arguments(node)
        for statement in code.body:
            self._attribute_of_class(holder, statement)
        if "__init__" in code.methods:
            self._special(holder, "__init__", *forms, **given)
        for name, form in {**dict(zip(code.fields or (), forms, strict=False)), **given}.items():
            if code.fields is not None and "__init__" not in code.methods:
                heap.put(holder, name, form)
        if "__post_init__" in code.methods:
            self._special(holder, "__post_init__")
        return holder

    def _attribute_of_class(self, holder: Instance, statement: ast.stmt) -> None:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            return
        form = self._default(statement.value)
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            if isinstance(target, ast.Name):
                self.scope.heap.put(holder, target.id, form)

    def _default(self, node: ast.expr) -> Form:
        """A default in a class, where `field(default_factory=…)` makes a new one for each object."""
        words = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
        if "default_factory" not in words:
            return self.value(words.get("default", node))
        return self.value(self.scope.heap.calls.setdefault(id(node), ast.Call(words["default_factory"], [], [])))

    def _dotted(self, node: ast.expr) -> str:
        """A function's full name, by what was imported; empty if it has none."""
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return before and f"{before}.{node.attr}"
        if not isinstance(node, ast.Name) or node.id in self.scope.names or node.id in self.scope.functions:
            return ""
        if node.id in self.scope.classes:
            return ""
        is_known = node.id in _FORMS or node.id in _OTHER_BUILTINS or is_harmless(node.id)
        return self.scope.imports.get(node.id, node.id if is_known else "")

    def _call(self, node: ast.Call) -> Form:
        """What a function of the notebook returns for these arguments. What it prints, the caller prints."""
        function = self.scope.functions[node.func.id]  # type: ignore[attr-defined]
        forms, given = self._arguments(node)
        result = self._run(function, forms, given)
        for argument in node.args:  # the function may have changed its argument
            if isinstance(argument, ast.Name) and isinstance(self.value(argument), Items | Keys):
                self.scope.heap.escape(self.value(argument))
                self.scope.bind(argument.id, None)
        return result

    def _run(self, function: Function, forms: Sequence[Form], given: Mapping[str, Form]) -> Form:
        """What a function returns. What it prints, the caller prints."""
        taken = function.args
        if self.depth > _DEEPEST:
            self.scope.heap.escape(*forms, *given.values())
            return None
        positional = [argument.arg for argument in (*taken.posonlyargs, *taken.args)]
        names = [*positional, *(argument.arg for argument in taken.kwonlyargs)]
        self.scope.heap.escape(*forms[len(positional) :], *(form for name, form in given.items() if name not in names))
        spread = [argument.arg for argument in (taken.vararg, taken.kwarg) if argument]
        inner = Reading(self.scope.copy(), (), self.depth + 1)
        values = dict(
            zip(positional[len(positional) - len(taken.defaults) :], map(self.value, taken.defaults), strict=True)
        )
        values |= {
            argument.arg: self.value(default)
            for argument, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
            if default is not None
        }
        values |= dict(zip(positional, forms, strict=False)) | dict(given)
        for name in {*names, *spread, *bound_names(function)}:
            inner.scope.bind(name, values.get(name) if name in names else None)
        inner.block(function.body)
        self.lines += inner.lines
        result, *others = inner.returned or [None]
        for form in others:
            result = joined(result, form)
        return result

    def _defaults(self, taken: ast.arguments) -> dict[str, Form]:
        last = [*taken.posonlyargs, *taken.args][-len(taken.defaults) or None :]
        pairs = [*zip(last, taken.defaults, strict=False), *zip(taken.kwonlyargs, taken.kw_defaults, strict=True)]
        return {argument.arg: self.value(default) for argument, default in pairs if default is not None}

    def call_all(self, holder: Instance) -> None:
        """What an object's methods do to it if other code calls them with anything."""
        for method in self.scope.heap.classes[holder.site].methods.values():
            self._run(method, [holder], {})


def _any_of(holder: Keys) -> Form:
    """What stands under a key that is not known."""
    forms = [*(form for _, form in holder.values), *([] if holder.more is None else [holder.more])]
    return functools.reduce(widened, forms) if forms else None


def _is_name(node: ast.expr, names: Container[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


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
