"""How much of a value a clock gave, as far as the code says: forms, and what operations make of them.

A value counts as a clock's only where the syntax leaves no doubt: a call that asks for the time, and what is made of it
by arithmetic, rounding and formatting.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    return form.parts if isinstance(form, Text) else (form,)


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
