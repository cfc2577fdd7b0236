"""How much of a value a clock gave, as far as the code says: forms, and what operations make of them.

A value counts as a clock's only where the syntax leaves no doubt: a call that asks for the time, and what is made of it
by arithmetic, rounding and formatting.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro_magic.proof.kernel.small_values import Thing, Written

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
    """A dictionary: what stands under each constant key, and what may stand under any key."""

    values: tuple[tuple[object, Form], ...] = ()
    more: Form = None

    def get(self, key: object) -> Form:
        """What stands under a key."""
        return next((form for name, form in self.values if name == key), self.more)

    def put(self, key: object, form: Form) -> Keys:
        """The same with another form under a key."""
        return replace(self, values=(*((name, old) for name, old in self.values if name != key), (key, form)))

    def put_anywhere(self, form: Form) -> Keys:
        """The same with a form under a key that is not known."""
        more = form if not self.values and self.more is None else widened(self.more, form)
        return Keys(tuple((name, widened(old, form)) for name, old in self.values), more)


# An object, by the call that makes it, and an attribute's name.
Place = tuple[int, str]


@dataclass(frozen=True)
class Instance:
    """An object of a class of the notebook; `fields` holds what is known of all objects."""

    site: int
    fields: Mapping[Place, Form] = field(default_factory=dict, compare=False, repr=False)

    def get(self, name: str) -> Form:
        """What it holds in an attribute."""
        return self.fields.get((self.site, name))

    def held(self) -> list[Form]:
        """What it holds in all attributes."""
        return [form for (site, _), form in self.fields.items() if site == self.site]


# How much of a value is a clock's; None: nothing that is known.
Form = Clock | Constant | Text | Items | Keys | Instance | None


def has_clock(form: Form, seen: frozenset[int] = frozenset()) -> bool:
    """Whether a clock gave a part of a value."""
    if isinstance(form, Instance):
        inside = seen | {form.site}
        return form.site not in seen and any(has_clock(part, inside) for part in form.held())
    return isinstance(form, Clock) or any(has_clock(part, seen) for part in _parts(form))


def _parts(form: Form) -> tuple[Form, ...]:
    if isinstance(form, Text):
        return form.parts
    if isinstance(form, Items):
        return (*form.first, form.more)
    return (*(part for _, part in form.values), form.more) if isinstance(form, Keys) else ()


def is_only_clocks(form: Form, one: Any, other: Any) -> bool:  # noqa: ANN401, PLR0911 - plain values, one for each form
    """Whether two values differ in nothing but what a clock gave.

    Example:
        >>> seconds = Keys((("loss", None), ("seconds", Items(more=Clock()))))
        >>> is_only_clocks(seconds, {"loss": 1, "seconds": [0.1]}, {"loss": 1, "seconds": [0.2]})
        True
        >>> is_only_clocks(seconds, {"loss": 1, "seconds": [0.1]}, {"loss": 2, "seconds": [0.2]})
        False
    """
    if isinstance(form, Clock):
        return form.is_accepted or _kind(one) == _kind(other)
    if isinstance(one, Thing) and isinstance(other, Thing):
        return _are_things_apart_by_clocks(form, one, other)
    if type(one) is type(other) is str and isinstance(form, Text):
        return are_texts_apart_by_clocks(form, one, other)
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


def _kind(value: object) -> object:
    return value.kind if isinstance(value, Thing | Written) else type(value)


def _are_things_apart_by_clocks(form: Form, one: Thing, other: Thing) -> bool:
    if one.kind != other.kind or [*one.parts] != [*other.parts]:
        return False
    pairs = zip(one.parts.items(), other.parts.values(), strict=True)
    return all(is_only_clocks(_under(form, at), mine, theirs) for (at, mine), theirs in pairs)


def _under(form: Form, at: str) -> Form:
    """What stands in a part of an object, by the path that leads there."""
    if not at:  # a container's content
        return form
    if isinstance(form, Instance):
        return form.get(at.removeprefix("."))
    named = form.values if isinstance(form, Keys) else ()  # a table's columns
    return next((part for name, part in named if at in (f"[{name!r}]", f".{name}")), None)


def are_texts_apart_by_clocks(form: Text, one: str, other: str) -> bool:
    """Whether two texts have a form, and are the same wherever it holds no clock.

    Where the form also has unknown parts, it must be clear where the clock's part begins and ends.
    """
    is_mixed = any(part is None for part in form.parts)
    if is_mixed and any(_may_run_together(*pair) for pair in itertools.pairwise(form.parts)):
        return False
    pattern = "".join(_pattern(part, is_mixed=is_mixed) for part in form.parts)
    left, right = re.fullmatch(pattern, one, re.DOTALL), re.fullmatch(pattern, other, re.DOTALL)
    return left is not None and right is not None and left.groups() == right.groups()


def _may_run_together(one: Form, other: Form) -> bool:
    """Whether two parts next to each other may look like one number."""
    constant = other if isinstance(other, Constant) else one
    return not isinstance(constant, Constant) or re.fullmatch(r"[\d.,:e%+-]*", str(constant.value)) is not None


def _pattern(part: Form, *, is_mixed: bool) -> str:
    if isinstance(part, Constant):
        return re.escape(str(part.value))
    if part is None:
        return r"(.*?)"
    return _A_NUMBER if is_mixed and not (isinstance(part, Clock) and part.is_accepted) else _ANY_TIME


# What keeps a clock's value a clock's. A remainder, a power or bits of it are a number like any other.
_LINEAR = ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv
# The remainders that only write a time in minutes and seconds.
_UNITS = (24, 60, 3600, 86400)


def combined(operator: ast.operator, one: Form, other: Form) -> Form:
    """The form of an expression of two operands."""
    if isinstance(operator, ast.Mod) and _is_template(one):
        return reformed([other])
    if isinstance(operator, ast.Mod) and not isinstance(one, Text):
        return arithmetic(one, other) if is_unit(other) else without_clock(one, other)
    if isinstance(operator, ast.Mult) and isinstance(one, Items) and isinstance(other, Constant):
        return _repeated(one)
    if isinstance(operator, _LINEAR | ast.Mod):
        return arithmetic(one, other)
    return without_clock(one, other)


def _is_template(form: Form) -> bool:
    return isinstance(form, Constant) and isinstance(form.value, str)


def is_unit(form: Form) -> bool:
    """Whether a constant is a unit of time."""
    return isinstance(form, Constant) and form.value in _UNITS


def without_clock(one: Form, other: Form) -> Form:
    """The form of what is no clock's any more: a constant only if both are."""
    return Constant(None) if isinstance(one, Constant) and isinstance(other, Constant) else None


def _repeated(items: Items) -> Form:
    parts = (*items.first, *([] if items.more is None else [items.more]))
    form = functools.reduce(widened, parts) if parts else None
    return Items(more=form) if form is not None or not parts else None


def arithmetic(one: Form, other: Form) -> Form:
    """The form of a sum, product or the like: a clock's with a constant or another clock is a clock's."""
    if isinstance(one, Text) or isinstance(other, Text):
        return text_of([*in_text(one), *in_text(other)])
    if isinstance(one, Constant) and isinstance(other, Constant):
        return Constant(None)  # of some value
    known = isinstance(one, Clock | Constant) and isinstance(other, Clock | Constant)
    return Clock() if known and has_clock(Items((one, other))) else None


def reformed(forms: Sequence[Form]) -> Form:
    """The form of what a conversion makes of values: a clock's if they are clocks' and constants only."""
    flat = [
        part
        for form in forms
        for part in ((*form.first, *([form.more] if form.more else ())) if isinstance(form, Items) else (form,))
    ]
    known = all(isinstance(part, Clock | Constant) for part in flat)
    return Clock() if known and any(isinstance(part, Clock) for part in flat) else None


def in_text(form: Form) -> tuple[Form, ...]:
    """The parts that a value adds to a text.

    Example:
        >>> in_text(Text((Constant("took "), Clock())))
        (Constant(value='took '), Clock(is_accepted=False))
    """
    if isinstance(form, Text):
        return form.parts
    if isinstance(form, Items | Keys):  # shown as a whole: a clock's only if nothing else is in it
        parts = [part for part in _parts(form) if part is not None]
        is_clock = parts and all(isinstance(part, Clock) for part in parts) and None not in _parts(form)[:-1]
        return (Clock() if is_clock else None,)
    return (None if isinstance(form, Instance) else form,)


def text_of(parts: Sequence[Form]) -> Form:
    """The form of a text made from parts; None if no part comes from a clock.

    Example:
        >>> text_of([Constant("took "), Constant(1)]) is None
        True
    """
    flat = tuple(part for form in parts for part in in_text(form))
    return Text(flat) if any(isinstance(part, Clock) for part in flat) else None


def longer(holder: Items, more: Sequence[Form]) -> Items | None:
    """The form of a list that other items are appended to; None where they do not all have one form."""
    forms = [*([holder.more] if holder.more is not None else []), *more]
    for form in forms[1:]:
        forms[0] = joined(forms[0], form)
    if not forms:
        return holder
    return None if forms[0] is None else replace(holder, more=forms[0])


def joined(one: Form, other: Form) -> Form:
    """What is known of a value that has one of two forms."""
    return one if one == other else None


def widened(one: Form, other: Form) -> Form:
    """What is known of a value that has one of two forms, where a constant stands for what is not given yet."""
    if one == other or isinstance(other, Constant):
        return Constant(None) if one != other and isinstance(one, Constant) else one
    if isinstance(one, Constant):
        return other
    if isinstance(one, Items) and isinstance(other, Items):
        return _items_widened(one, other)
    if isinstance(one, Keys) and isinstance(other, Keys):
        names = [name for name, _ in one.values]
        both = [(name, widened(form, other.get(name)) if _has(other, name) else form) for name, form in one.values]
        both += [pair for pair in other.values if pair[0] not in names]
        return Keys(tuple(both), one.more if other.more is None else widened(other.more, one.more or other.more))
    return None


def _has(keys: Keys, name: object) -> bool:
    return any(name == one for one, _ in keys.values)


def _items_widened(one: Items, other: Items) -> Form:
    if len(one.first) == len(other.first) and one.more is None is other.more:
        return Items(tuple(map(widened, one.first, other.first)))
    parts = [part for items in (one, other) for part in (*items.first, *([items.more] if items.more else []))]
    form = functools.reduce(widened, parts) if parts else None
    return Items(more=form) if form is not None or not parts else None
