"""The objects of a notebook's own classes, as far as clocks go: what each attribute of each object is ever given.

Objects have many names and change at any time. So what an attribute holds is the join of all that the code ever gives
it. The code is read again until nothing is added; until then an attribute counts as a constant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from repro_magic.proof.compare.clock_forms import Constant, Form, Instance, Items, Keys, Place, widened

# So often a notebook is read, and so many statements at most.
MOST_ROUNDS, MOST_STEPS = 8, 100_000
Function = ast.FunctionDef | ast.AsyncFunctionDef
# Functions that leave their arguments as they are.
_HARMLESS = frozenset(
    ["print", "str", "repr", "len", "isinstance", "type", "format", "id", "hash", "display", "dir", "bool"]
)


class TooMuchCodeError(Exception):
    """It would take too long to read all that the code does."""


@dataclass
class Heap:
    """All objects of the notebook's classes, by the call that makes them.

    Attributes:
        fields: what is known of an object's attributes.
        classes: the class of the objects that a call makes.
        escaped: the objects that other code has, which may call their methods with anything.
        is_final: whether nothing is added any more: what is unknown now stays so.
        steps: how many statements were read.
        calls: the calls that stand for factories of defaults, by the code that names these.
        is_blocked: whether attributes are given in ways that cannot be followed: then nothing is known of any.
    """

    fields: dict[Place, Form] = field(default_factory=dict)
    classes: dict[int, ClassCode] = field(default_factory=dict)
    escaped: set[int] = field(default_factory=set)
    is_final: bool = False
    steps: int = 0
    calls: dict[int, ast.Call] = field(default_factory=dict)
    is_blocked: bool = False

    def get(self, holder: Instance, name: str) -> Form:
        """What an object holds in an attribute."""
        return self.fields.get((holder.site, name), None if self.is_final else Constant(None))

    def put(self, holder: Instance, name: str, form: Form) -> None:
        """An object may hold a value of this form, too."""
        form = None if self.is_blocked else form
        place = (holder.site, name)
        self.fields[place] = widened(self.fields[place], form) if place in self.fields else form

    def escape(self, *forms: Form) -> None:
        """Other code has these values."""
        for form in forms:
            self.escaped.update(one.site for one in instances_in(form))

    def block(self) -> None:
        """Forget all attributes, for good."""
        self.is_blocked = True
        self.fields.update(dict.fromkeys(self.fields))

    def step(self) -> None:
        """Count a statement."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise TooMuchCodeError


@dataclass
class ClassCode:
    """A class of the notebook.

    Attributes:
        methods: its own, and those of its bases in the notebook.
        body: the statements that give it attributes, those of its bases first.
        fields: the names of what a generated `__init__` takes; None if it has none.
    """

    methods: dict[str, Function]
    body: Sequence[ast.stmt]
    fields: Sequence[str] | None


def class_code(statement: ast.ClassDef, bases: Sequence[ClassCode]) -> ClassCode:
    """What a class of the notebook has, with what it inherits from those there."""
    methods = {name: method for base in reversed(bases) for name, method in base.methods.items()}
    methods |= {one.name: one for one in statement.body if isinstance(one, Function)}
    own = [one for one in statement.body if isinstance(one, ast.Assign | ast.AnnAssign)]
    body = [*(one for base in reversed(bases) for one in base.body), *own]
    names = {_last_name(one) for one in (*statement.decorator_list, *statement.bases)}
    is_generated = bool(names & {"dataclass", "NamedTuple"}) or any(base.fields is not None for base in bases)
    fields = [one.target.id for one in body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    return ClassCode(methods, body, fields if is_generated else None)


def _last_name(node: ast.expr) -> str:
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def decorators(method: Function) -> set[str]:
    """The last names of a method's decorators."""
    return {_last_name(one) for one in method.decorator_list}


def is_harmless(name: str) -> bool:
    """Whether a function leaves its arguments as they are."""
    return name in _HARMLESS


def instances_in(form: Form) -> Iterator[Instance]:
    """The objects that a value is or holds."""
    if isinstance(form, Instance):
        yield form
    elif isinstance(form, Items):
        for part in (*form.first, form.more):
            yield from instances_in(part)
    elif isinstance(form, Keys):
        for part in (*(part for _, part in form.values), form.more):
            yield from instances_in(part)
