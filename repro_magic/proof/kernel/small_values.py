"""Small values as text: two that differ are shown themselves, not by their digests.

Plain values are written as Python writes them; objects by what they hold. A part that is not small, such as a tensor in
an object, stands there with its digest.
"""

from __future__ import annotations

import ast
import functools
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from blake3 import blake3

from repro_magic.introspection.foreign import Shield, is_any, is_below, is_notebooks, kind_of, module_of, namespace_of
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.digest.object_parts import (
    holds_more,
    is_code,
    is_handle,
    kinds_in,
    known_parts,
    no_result,
)
from repro_magic.proof.digest.parts import all_attributes

# Longer texts are not kept, nor is the order of more items looked at.
LARGEST, MOST_ITEMS = 2_000, 100_000
_FIRST = 5
_DEEPEST = 10
_LONGEST_INT = 10_000  # bits; to write a longer one takes time
_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, set, dict)
_BRACKETS = {"list": ("[", "]"), "tuple": ("(", ")"), "set": ("{", "}"), "dict": ("{", "}")}
_NUMBERS = {"nan": float("nan"), "inf": float("inf")}
# Types whose repr says all, by module.
_WRITTEN = {
    "builtins": {"range", "slice", "bytearray", "ellipsis"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID"},
    "pathlib": {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
    "zoneinfo": {"ZoneInfo"},
}
_MOST_CELLS = 50  # of a table
_SHORTEST_HASHED = 50  # characters
_DIGITS = 8  # of a digest that is shown


@dataclass(frozen=True)
class Thing:
    """An object, as what it holds.

    Attributes:
        kind: its type.
        parts: what it holds, by the path that leads there, such as `.lr`; the path is empty for a container's content.
    """

    kind: str
    parts: Mapping[str, object]

    def __hash__(self) -> int:
        """By its text: a part may be a list."""
        return hash(repr(self))

    def __repr__(self) -> str:
        """As a constructor's call would be written."""
        parts = [f"{at.removeprefix('.')}={part!r}" if at else repr(part) for at, part in self.parts.items()]
        return f"{self.kind.rpartition('.')[2]}({', '.join(parts)})"


@dataclass(frozen=True)
class Written:
    """A value whose text says all."""

    kind: str
    text: str

    def __repr__(self) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True)
class Hashed:
    """A part of which only the digest is known."""

    kind: str
    hex: str

    def __repr__(self) -> str:
        """The type and the first digits."""
        return f"<{self.kind} {self.hex[:_DIGITS]}>"


class _TooLargeError(Exception):
    """The value is too large to be kept, or not known."""


def small(value: object) -> dict[str, Any]:
    """A value as data; empty if nothing of it can be written.

    Of a value that is too large there are its size, its first items, and digests that no order changes. Nothing of the
    user's is called.

    Example:
        >>> small([1, "a"])
        {'kind': 'list', 'size': 2, 'text': "[1, 'a']"}
        >>> small(0.5), small(object())
        ({'text': '0.5'}, {})
    """
    with Shield():  # a thread of the user's may change it at this moment
        return _kept(value)
    return {}


def _kept(value: object) -> dict[str, Any]:
    kind = type(value)
    found = _sized(value) if is_any(kind, *_CONTAINERS) else {}
    with suppress(_TooLargeError):
        writer = _Writer(LARGEST)
        text = writer.of(value)
        return {**found, "text": text} if writer.is_of_use else {}
    if kind is str:
        return {"kind": "str", "size": len(value), "begins": value[:LARGEST]}  # type: ignore[arg-type, index]
    return {**found, **_in_any_order(value)} if found else {}


def _sized(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a container
    return {"kind": type(value).__name__, "size": len(value)}


class _Writer:
    """Writes a value as text.

    Attributes:
        is_of_use: whether the text holds more than digests.
    """

    def __init__(self, room: int) -> None:
        """Nothing is written; `room` characters may be."""
        self._room, self._depth = room, 0
        self.is_of_use = False

    def of(self, value: object) -> str:
        """The text of a value.

        Raises:
            _TooLargeError: there is no room for it.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooLargeError
        text = self._text(value)
        self._depth -= 1
        return text

    def _text(self, value: Any) -> str:  # noqa: ANN401 - a user's
        kind = type(value)
        if is_any(kind, *_SCALARS):
            return self._plain(value)
        if is_any(kind, *_CONTAINERS):
            return self._container(value)
        with suppress(_UnknownError):
            text = _text_of(value)
            return self._take(f"{_as_text}({kind_of(value)!r}, {text!r})") if text else self._thing(value)
        return self._hashed(value)

    def _take(self, text: str, *, is_of_use: bool = True) -> str:
        self._room -= len(text)
        if self._room < 0:
            raise _TooLargeError
        self.is_of_use |= is_of_use
        return text

    def _plain(self, value: Any) -> str:  # noqa: ANN401 - of an exact type
        size = len(value) if is_any(type(value), str, bytes) else 0
        if size > self._room or (type(value) is int and value.bit_length() >= _LONGEST_INT):
            raise _TooLargeError
        return self._take(repr(value))

    def _container(self, value: Any) -> str:  # noqa: ANN401 - of an exact type
        kind = type(value)
        if kind is set and not value:
            return self._take("set()")
        first, last = _BRACKETS[kind.__name__]
        self._take(first + last, is_of_use=not value)
        if kind is dict:
            return f"{first}{', '.join(f'{self._item(key)}: {self.of(part)}' for key, part in value.items())}{last}"
        items = ", ".join(map(self._item, value))
        return f"{first}{items}{',' if kind is tuple and len(value) == 1 else ''}{last}"

    def _item(self, value: object) -> str:
        self._take(", ", is_of_use=False)
        return self.of(value)

    def _thing(self, value: object) -> str:
        """What an object holds; what of it is too large, with its digest."""
        held = {at: self._part(part) for at, part in _held(value).items()}
        self._take(f"{_as_thing}({kind_of(value)!r}, {''.join(f'{at!r}: , ' for at in held)})", is_of_use=False)
        written = ", ".join(f"{at!r}: {text}" for at, text in held.items())
        return f"{_as_thing}({kind_of(value)!r}, {{{written}}})"

    def _part(self, value: object) -> str:
        room, depth, is_of_use = self._room, self._depth, self.is_of_use
        try:
            return self.of(value)
        except _TooLargeError:
            self._room, self._depth, self.is_of_use = room, depth, is_of_use
            return self._hashed(value)

    def _hashed(self, value: object) -> str:
        if self._room < _SHORTEST_HASHED:
            raise _TooLargeError
        found = digest(value)
        return self._take(f"{_as_hashed}({found.kind!r}, {found.hex[:32]!r})", is_of_use=False)


class _UnknownError(Exception):
    """It is not known what a value holds, besides what its digest says."""


_as_thing, _as_text, _as_hashed = "Thing", "Written", "Hashed"


def _text_of(value: Any) -> str:  # noqa: ANN401 - a user's
    """The text of a value that its type writes in full; empty if it is to be looked into."""
    kind = type(value)
    if kind.__name__ in _WRITTEN.get(module_of(kind), ()):
        return repr(value)
    if module_of(kind) in {"pandas", "pandas._libs.tslibs.timedeltas", "pandas._libs.tslibs.timestamps"}:
        return repr(value) if kind.__name__ in {"Timestamp", "Timedelta"} else ""
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.generic) and module_of(kind) == "numpy":
        return str(value.item()) if kind.__name__ != "void" else ""
    if issubclass(kind, Enum):
        return f"{kind.__name__}.{all_attributes(value).get('_name_')}"
    return ""


def _held(value: Any) -> dict[str, object]:  # noqa: ANN401 - a user's
    """What an object holds, by the path that leads there.

    Raises:
        _UnknownError: not all of it is known.
    """
    kind = type(value)
    for base, content in _CONTENT:
        if issubclass(kind, base):
            return {"": content(value)} | _attributes(value)
    fields = namespace_of(kind).get("_fields")
    if issubclass(kind, tuple) and type(fields) is tuple:
        return {f".{name}": part for name, part in zip(fields, tuple.__iter__(value), strict=True)}
    table = _table(value)
    if table is not None:
        return table
    known = known_parts(kind)
    if known is not None and not module_of(kind).startswith("sklearn."):
        return {f".{name}": part for name, part in (known(value) or {}).items()} or _unknown()
    if known is not None or is_code(value) or is_handle(kind) or (holds_more(kind) and not is_module(kind)):
        raise _UnknownError
    return _attributes(value) or _unknown()


def _unknown() -> dict[str, object]:
    raise _UnknownError


def _attributes(value: object) -> dict[str, object]:
    """An object's own attributes, in the order of their names.

    Raises:
        _UnknownError: a library keeps some for itself, of which not all are compared.
    """
    kind, held = type(value), all_attributes(value)
    if is_module(kind):
        held = {name: part for name, part in held.items() if name in _OF_MODULES or name not in bookkeeping()}
    elif not is_notebooks(kind) and any(str(name)[:1] == "_" or no_result(name, part) for name, part in held.items()):
        raise _UnknownError
    return {f".{name}": part for name, part in sorted(held.items(), key=str)}


def is_module(kind: type) -> bool:
    """Whether a type is one of PyTorch's modules."""
    return is_below(kind, *kinds_in("torch.nn", "Module"))


@functools.cache
def bookkeeping() -> frozenset[str]:
    """The attributes that every module of PyTorch's has."""
    return frozenset(sys.modules["torch"].nn.Module().__dict__)


_OF_MODULES = {"_parameters", "_buffers", "_modules", "training"}


def _table(value: Any) -> dict[str, object] | None:  # noqa: ANN401 - a library's
    """The columns of a small table; None for what is none."""
    kind = type(value)
    package, name = module_of(kind).partition(".")[0], kind.__name__
    if package not in {"pandas", "polars"} or name not in {"DataFrame", "Series", "Index"}:
        return None
    if value.size > _MOST_CELLS if package == "pandas" else len(value) * value.shape[-1] > _MOST_CELLS:
        raise _UnknownError
    if name != "DataFrame":
        return {"": _listed(value)}
    names = list(value.columns)
    if len({*map(repr, names)}) != len(names):
        raise _UnknownError
    return {f"[{name!r}]": _listed(value[name]) for name in names}


def _listed(column: Any) -> list[object]:  # noqa: ANN401 - a library's
    found: list[object] = column.to_list()
    return found


def _room_left(value: object, room: int, depth: int = 0) -> int:
    """Of `room` characters, what a value's text leaves at most; nothing or less for what is too large, or not plain."""
    kind = type(value)
    if kind in (str, bytes):
        return room - len(value)  # type: ignore[arg-type]
    if kind is int:
        return room - 1 if value.bit_length() < _LONGEST_INT else 0  # type: ignore[attr-defined]
    if kind in _SCALARS:
        return room - 1
    if kind not in _CONTAINERS or depth > _DEEPEST:
        return 0
    for part in _parts(value):
        room = _room_left(part, room - 1, depth + 1)
        if room <= 0:
            return 0
    return room - 1


def _parts(value: Any) -> Iterable[object]:  # noqa: ANN401 - a container
    return itertools.chain.from_iterable(value.items()) if type(value) is dict else value


def _in_any_order(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a container
    """The first items, and digests of all without their order, if they are plain and not too many."""
    if len(value) > MOST_ITEMS or not all(_room_left(part, LARGEST) > 0 for part in _parts(value)):
        return {}
    found = {"unordered": _digest(value.items() if type(value) is dict else value)}
    if type(value) is dict:
        found["keys"] = _digest(value)
    return {**found, "first": f"{', '.join(map(repr, itertools.islice(value, _FIRST)))}, …"[:LARGEST]}


def _digest(items: Iterable[object]) -> str:
    return blake3("\0".join(sorted(map(repr, items))).encode("utf-8", "surrogatepass")).hexdigest()


# Containers whose subclasses say what they hold as the base does.
_CONTENT: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (dict, lambda value: dict(dict.items(value))),
    (list, lambda value: list(list.__iter__(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: set(frozenset.__iter__(value))),
    (deque, lambda value: list(deque.__iter__(value))),
)
_THINGS: dict[str, Callable[..., object]] = {_as_thing: Thing, _as_text: Written, _as_hashed: Hashed}


def value_of(text: str) -> object:
    """The value of a text that `small` made.

    Example:
        >>> value_of("{'a': [1, -inf]}"), value_of("Thing('argparse.Namespace', {'.lr': 0.1})")
        ({'a': [1, -inf]}, Namespace(lr=0.1))

    Raises:
        ValueError: it is no such text.
    """
    try:
        return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"not the text of a value: {error}") from None


def _value(node: Any) -> Any:  # noqa: ANN401, PLR0911 - one for each form
    if isinstance(node, ast.Name):
        return _NUMBERS[node.id]
    if isinstance(node, ast.List):
        return [*map(_value, node.elts)]
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.Set):
        return {*map(_value, node.elts)}
    if isinstance(node, ast.Dict):
        return dict(zip(map(_value, node.keys), map(_value, node.values), strict=True))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return set() if node.func.id == "set" else _THINGS[node.func.id](*map(_value, node.args))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):  # a complex number
        left, right = _value(node.left), _value(node.right)
        return left + right if isinstance(node.op, ast.Add) else left - right
    return ast.literal_eval(node)
