"""A value's digest: equal if, and only if, type, dtype, shape and every bit are equal.

`digest` looks at the whole value: NaN payloads count, and -0.0 is not 0.0. What has no bits to compare (a file, a lock,
an iterator) is listed as a gap, never left out in silence. The hash is blake3, a real one and no checksum: permuted
tensors do not share it. It follows from the value alone: no address, memory order, set order or duration is in it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import functools
import itertools
import pathlib
import struct
import sys
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from blake3 import blake3

from repro_magic.introspection.foreign import (
    NOTEBOOK,
    Shield,
    attributes,
    is_any,
    is_below,
    is_notebooks,
    kind_of,
    module_of,
    mro_of,
    name_of,
    namespace_of,
    slots,
)
from repro_magic.proof.digest.object_parts import (
    Parts,
    held_by_code,
    holds_more,
    is_code,
    is_handle,
    kinds_in,
    known_parts,
    no_result,
)
from repro_magic.proof.text.noise import PLACES, normalised
from repro_magic.rng.user_generators import global_ones
from repro_magic.runtime.interrupts import interruptible, is_users, is_waiting

__all__ = ["Digest", "Gap", "beside", "digest", "kind_of"]

# Tensors that lie elsewhere, or are not contiguous, are copied in pieces of so many bytes.
_PIECE = 16 << 20
# From so many bytes on blake3's threads save more than they cost.
_LARGE = 1 << 20
_FIGURE_DPI = 100
# x86's long double has 80 bits, and padding that means nothing.
_X87_MANTISSA, _X87_BYTES = 63, 10
# So many objects of one value are looked at, besides numbers, texts and the like.
_MOST = 10_000_000
# So many times an object in a circle is looked at anew, as each member of a set is looked at by itself.
_FORGOTTEN = 100_000
# So often the walk asks whether Ctrl-C waits; so many bits are hashed at once.
_ASK, _BATCH = 1024, 4096
# Texts that are longer are no paths.
_LONGEST = 10_000


# Gives the digest of an array's or tensor's bytes: of the value, a head that says what it is, and what reads both.
Read = Callable[[Any, bytes], bytes]
Reader = Callable[[Any, bytes, Read], bytes]
_READER: ContextVar[Reader] = ContextVar("reader", default=lambda value, head, read: read(value, head))


@contextmanager
def reading_through(reader: Reader) -> Iterator[None]:
    """While this lasts, arrays and tensors are read by `reader`, which may know the digest already."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


@dataclass(frozen=True)
class Gap:
    """A part of a value that has no bits to compare.

    Attributes:
        path: where in the value, e.g. `".hooks[0]"`; empty for the value itself.
        kind: its type, e.g. `"function"`.
        why: in words.
    """

    path: str
    kind: str
    why: str


@dataclass(frozen=True)
class Digest:
    """The digest of a value.

    Attributes:
        hex: 64 hexadecimal digits over all but the gaps.
        kind: the value's type, e.g. `"torch.Tensor"`.
        dtype: its dtype, where it has one.
        shape: its shape, where it has one.
        gaps: what could not be digested.
        own: a digest that covers also what libraries keep for themselves in private attributes (paths, counters, the
            trainer that trains a model); empty where there is no such thing.
    """

    hex: str
    kind: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    gaps: tuple[Gap, ...] = field(default=())
    own: str = ""

    @property
    def is_comparable(self) -> bool:
        """Whether the value itself could be digested; parts of it may still be gaps."""
        return not any(gap.path == "" for gap in self.gaps)


def digest(value: object) -> Digest:
    """The digest of a value.

    Takes numbers, strings and the like, containers (cycles too), NumPy arrays, tensors on any device (views, sparse,
    quantized, nested, subclasses), modules, optimizers, pandas, polars and pyarrow objects, graphs of networkx, PIL
    images, matplotlib figures, and objects of other Python classes through their attributes. Device, strides and
    gradients do not count. `requires_grad` counts in modules and optimizers, where it says what is trained.

    Code of an object's class runs only where there is no other way to look, and whatever it raises costs a gap.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C.

    Example:
        >>> digest([1.0, 2.0]).hex == digest([1.0, 2.0]).hex, digest(0.0).hex == digest(-0.0).hex
        (True, False)
        >>> digest({"f": iter([1])}).gaps
        (Gap(path='[key 1 of 1]', kind='builtins.list_iterator', why='this kind of object is not known'),)
    """
    plain = _at_once(value)
    bits, gaps, own = _walked(value) if plain is None else (plain, (), b"")
    whole = blake3(own).hexdigest() if own else ""
    return Digest(blake3(bits).hexdigest(), kind_of(value), *_dtype_and_shape(value), gaps, whole)


_SHAPED = {"numpy", "torch", "pandas", "scipy", "polars", "pyarrow"}


def _dtype_and_shape(value: Any) -> tuple[str | None, tuple[int, ...] | None]:
    """What a library says of its own value; anything else may answer whatever it likes."""
    kind = type(value)
    if _plain(kind) is not None or not any(module_of(one).partition(".")[0] in _SHAPED for one in mro_of(kind)):
        return None, None
    with Shield():
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        is_option = dtype is None or isinstance(dtype, type)  # an option of an estimator's
        return None if is_option else str(dtype), _sizes(shape)
    return None, None


def _sizes(shape: object) -> tuple[int, ...] | None:
    """A shape; a nested tensor's has symbols."""
    return tuple(shape) if isinstance(shape, tuple) and {*map(type, shape)} <= {int} else None


def _at_once(value: object) -> bytes | None:
    """The bits of a value without parts, for which a walk would cost more than all else; None: it takes a walk."""
    plain = _plain(type(value))
    if plain is not None:
        return plain(value)
    if not _is_plain_tensor(value):
        return None
    with Shield():  # a walk says what is wrong with it
        return _strided("torch.Tensor", value)
    return None


def _walked(value: object) -> tuple[bytes, tuple[Gap, ...], bytes]:
    walk = _Walk()
    try:
        bits = walk.over(value)
        return bits, tuple(walk.gaps), _Walk(is_whole=True).over(value) if walk.has_own else b""
    except _TooLargeError as error:
        return b"", (Gap("", kind_of(value), str(error)),), b""


class _TooLargeError(Exception):
    """More objects than are looked at."""


@dataclass(frozen=True)
class _Missing:
    """A part that is not compared, and why."""

    kind: str
    why: str


@dataclass(frozen=True)
class _Own:
    """What a library keeps for itself: it counts only where the walk takes the whole."""

    value: object


@dataclass
class _Parts:
    """What a value is made of.

    Attributes:
        tag: what sort of value it is.
        steps: its parts, each with the step that leads to it.
        written: how a step is written in a gap's path.
        is_set: whether the order of the parts means nothing.
        is_own: whether a library keeps them for itself: then arrays and tensors in it count, and no plain values.
    """

    tag: str
    steps: Iterable[tuple[object, object]]
    written: Callable[[Any], str] = str
    is_set: bool = False
    is_own: bool = False


def _item(step: object) -> str:
    return f"[{step!r}]" if _plain(type(step)) is not None else "[…]"


def _attribute(step: object) -> str:
    return f".{step}" if type(step) is str else _item(step)


def _named(tag: str, fields: Mapping[Any, object], written: Callable[[Any], str] = _attribute) -> _Parts:
    """Parts with names, which count as well."""
    return _Parts(
        tag, itertools.chain.from_iterable(((name, name), (name, part)) for name, part in fields.items()), written
    )


def _several(tag: str, *parts: object) -> _Parts:
    """Parts that are at the same place as the value itself."""
    return _Parts(tag, (("", part) for part in parts))


class _Frame:
    """A value that the walk is inside of."""

    __slots__ = ("bits", "dependent", "depends", "depth", "gaps", "hasher", "is_own", "parts", "step", "steps", "value")

    def __init__(self, value: object, parts: _Parts, depth: int, gaps: int, dependent: int) -> None:
        self.value, self.parts, self.depth = value, parts, depth
        self.is_own = parts.is_own
        self.gaps, self.dependent = gaps, dependent  # how many there were before it
        self.steps = iter(parts.steps)
        self.step: object = ""
        self.depends = False  # whether the digest depends on the way to it
        self.hasher: Any = None  # most have few parts, which are hashed at once
        tag = parts.tag.encode("utf-8", "surrogatepass")
        self.bits = [len(tag).to_bytes(8, "little"), tag]

    def add(self, bits: bytes) -> None:
        self.bits += (len(bits).to_bytes(8, "little"), bits)
        if len(self.bits) >= _BATCH and not self.parts.is_set:
            self.hasher = self.hasher or blake3()
            self.hasher.update(b"".join(self.bits))
            self.bits.clear()

    def digest(self) -> bytes:
        if self.parts.is_set:
            members = sorted(zip(self.bits[2::2], self.bits[3::2], strict=True))
            self.bits[2:] = itertools.chain.from_iterable(members)
        rest = b"".join(self.bits)
        if self.hasher is None:
            return bytes(blake3(rest).digest())
        self.hasher.update(rest)
        return bytes(self.hasher.digest())


class _Walk:
    """One pass over a value, with a stack of its own: neither depth nor what a part raises ends it.

    Each object has a digest of its own, so that shared parts are looked at once. The digest of one that is in a circle
    depends on the way to it. A set forgets such digests: the order of its members is arbitrary.
    """

    def __init__(self, *, is_whole: bool = False) -> None:
        self.gaps: list[Gap] = []
        self.has_own = False
        self._is_whole = is_whole
        # With the object, for an id is its own only while it lives; and whether the digest depends on the way to it.
        self._known: dict[int, tuple[bytes, object, bool]] = {}
        self._open: dict[int, int] = {}
        self._stack: list[_Frame] = []
        self._dependent: list[int] = []
        self._looked = self._forgotten = 0
        self._globals: set[int] | None = None

    @interruptible
    def over(self, value: object) -> bytes:
        """The digest of a value that the walk begins with."""
        bits = self._enter(value)
        while self._stack:
            frame = self._stack[-1]
            if bits is not None:
                self._add(frame, bits)
            try:
                bits = self._advanced(frame)
            except _TooLargeError:
                raise
            except BaseException as error:  # noqa: BLE001 - somebody else's class
                bits = self._broken(error)
        return bits or b""

    def _advanced(self, frame: _Frame) -> bytes | None:
        """Go on with the parts of a value: None if one of them has parts itself, its digest if it is done."""
        for step, part in frame.steps:
            plain = _plain(type(part))
            if plain is not None:
                if not frame.is_own or self._is_whole:
                    frame.add(plain(part))
                continue
            frame.step = step
            bits = self._enter(part)
            if bits is None:
                return None
            self._add(frame, bits)
        return self._left(frame.digest())

    def _add(self, frame: _Frame, bits: bytes) -> None:
        frame.add(bits)
        if frame.parts.is_set:
            self._forgotten += len(self._dependent) - frame.dependent
            while len(self._dependent) > frame.dependent:
                self._known.pop(self._dependent.pop(), None)
            if self._forgotten > _FORGOTTEN:
                raise _TooLargeError(f"members of sets refer to each other in more than {_FORGOTTEN:,} ways")

    def _enter(self, value: object) -> bytes | None:
        """The digest of a part that has none itself; None if it has, and the walk is inside of it now."""
        plain = _plain(type(value))
        if plain is not None:
            return plain(value)
        key = id(value)
        if key in self._open:
            depth = self._open[key]
            self._depends()
            return _tagged(b"inside", str(len(self._stack) - depth).encode())
        if key in self._known:
            bits, _, is_dependent = self._known[key]
            if is_dependent:
                self._depends()
            return bits
        found = self._looked_at(value)
        if type(found) is bytes:
            self._known[key] = found, value, False
            return found
        self._push(value, found)  # type: ignore[arg-type]
        return None

    def _push(self, value: object, parts: _Parts) -> None:
        frame = _Frame(value, parts, len(self._stack), len(self.gaps), len(self._dependent))
        self.has_own |= frame.is_own
        frame.is_own |= bool(self._stack) and self._stack[-1].is_own
        if type(value) is not _Parts:
            self._open[id(value)] = frame.depth
        self._stack.append(frame)

    def _depends(self) -> None:
        if self._stack:
            self._stack[-1].depends = True

    def _left(self, bits: bytes) -> bytes:
        """Leave the value that the walk is inside of, whose digest is known now."""
        frame = self._stack.pop()
        if type(frame.value) is not _Parts:
            del self._open[id(frame.value)]
            self._known[id(frame.value)] = bits, frame.value, frame.depends
            if frame.depends:
                self._dependent.append(id(frame.value))
        if frame.depends:
            self._depends()
        if frame.parts.is_set:
            self.gaps[frame.gaps :] = sorted(self.gaps[frame.gaps :], key=lambda gap: (gap.path, gap.kind, gap.why))
        return bits

    def _broken(self, error: BaseException) -> bytes:
        """Leave a value that raised when its parts were asked for; what was seen of it does not count."""
        if is_users(error):
            raise error
        while type(self._stack[-1].value) is _Parts and len(self._stack) > 1:  # a group of its holder's parts
            self._stack.pop()
        frame = self._stack[-1]
        frame.depends = True
        bits = self._left(_gap_bits(frame.value))
        del self.gaps[frame.gaps :]
        self._note(frame.value, _failed(error))
        return bits

    def _looked_at(self, value: object) -> bytes | _Parts:
        if type(value) is _Parts:
            return value
        if type(value) is _Own:
            self.has_own = True
            return _several("own", value.value) if self._is_whole else _tagged(b"own", b"")
        if type(value) is _Missing:
            self.gaps.append(Gap(self._path(), value.kind, value.why))
            self._depends()
            return _tagged(b"gap", value.kind.encode())
        self._count()
        try:
            return _look_for(value)(self, value)
        except BaseException as error:
            if is_users(error):
                raise
            return self.gap(value, _failed(error))

    def _count(self) -> None:
        self._looked += 1
        if self._looked % _ASK == 0 and is_waiting():
            raise KeyboardInterrupt
        if self._looked > _MOST:
            raise _TooLargeError(f"it holds more than {_MOST:,} objects")

    def gap(self, value: object, why: str) -> bytes:
        """Note that the value that is looked at has nothing to compare."""
        self._note(value, why)
        return _gap_bits(value)

    def _note(self, value: object, why: str) -> None:
        self.gaps.append(Gap(self._path(), kind_of(value), why))
        self._depends()  # another way to it has another path

    def _path(self) -> str:
        return "".join(frame.parts.written(frame.step) for frame in self._stack)

    def is_global(self, value: object) -> bool:
        """Whether it is a library's global generator, whose state is no part of who holds it."""
        if self._globals is None:
            self._globals = {id(one) for one in global_ones()}
        return id(value) in self._globals


def _failed(error: BaseException) -> str:
    return f"looking at it failed: {kind_of(error).rpartition('.')[2]}"


def _gap_bits(value: object) -> bytes:
    return _tagged(b"gap", kind_of(value).encode())


def _tagged(tag: bytes, data: bytes) -> bytes:
    return len(tag).to_bytes(4, "little") + tag + data


_Look = Callable[["_Walk", Any], "bytes | _Parts"]

# By type, found once for each. Weakly: a cell that is run again defines its classes anew.
_look_of: WeakKeyDictionary[type, _Look] = WeakKeyDictionary()


def _look_for(value: object) -> _Look:
    kind = type(value)
    try:
        return _look_of[kind]
    except KeyError:
        pass
    except BaseException as error:
        if is_users(error):
            raise
    look = _first_look(value)
    if _adds_attributes(kind, look):
        look = _with_attributes(look)
    if look is not _code and (is_notebooks(kind) or not callable(value)):  # an object may be code where others are none
        with Shield():
            _look_of[kind] = look
    return look


# Values without parts


def _by_repr(value: object) -> bytes:
    return _tagged(kind_of(value).encode(), repr(value).encode("utf-8", "surrogatepass"))


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return _tagged(b"str", data if len(data) <= 64 else blake3(data).digest() + len(data).to_bytes(8, "little"))  # noqa: PLR2004


def _bytes(value: bytes | bytearray) -> bytes:
    return _tagged(type(value).__name__.encode(), blake3(value).digest())


_PLAIN: dict[type, Callable[[Any], bytes]] = {
    type(None): _by_repr,
    bool: _by_repr,
    int: lambda value: _tagged(b"int", b"%x" % value),
    float: lambda value: _tagged(b"float", struct.pack("<d", value)),
    complex: lambda value: _tagged(b"complex", struct.pack("<dd", value.real, value.imag)),
    str: _text,
    bytes: _bytes,
    bytearray: _bytes,
    **dict.fromkeys(
        (
            type(...),
            range,
            decimal.Decimal,
            dt.date,
            dt.timedelta,
            dt.timezone,
            uuid.UUID,
            pathlib.PurePosixPath,
            pathlib.PureWindowsPath,
            pathlib.PosixPath,
            pathlib.WindowsPath,
        ),
        _by_repr,
    ),
}


def _plain(kind: type) -> Callable[[Any], bytes] | None:
    """How the bits of a value without parts are taken; None for all others, and for a class with a metaclass."""
    return _PLAIN.get(kind) if type(kind) is type else None


# Attributes


def _attributes(value: Any) -> dict[Any, object]:
    """What an object holds besides what its base does: its own dictionary, and the slots of its classes."""
    own = attributes(value)
    return {**own, **{name: part for name, part in slots(value) if name not in own}}


def _with_attributes(look: _Look) -> _Look:
    """How a subclass is looked at that may hold more than its base: as its base is, and then its attributes."""

    def both(walk: _Walk, value: Any) -> bytes | _Parts:
        found, held = look(walk, value), _attributes(value)
        if not held:
            return found
        rest = _named("with", held)
        return _several(found.hex(), rest) if isinstance(found, bytes) else _several("attributes", found, rest)

    return both


# How the value of a subclass is taken without its own code, which may say less.
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (complex, complex.__complex__),
    (bytes, bytes.__bytes__),
    (bytearray, bytearray.copy),
    (pathlib.PurePath, pathlib.PurePath.__str__),
    (dt.date, dt.date.isoformat),
    (dt.timedelta, lambda value: dt.timedelta.__add__(value, dt.timedelta())),
)


def _of_subclass(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as all of these
    taken = next(take for base, take in _BASES if is_below(type(value), base))
    return _several(kind_of(value), taken(value))


# Containers

_MAXLEN: Any = deque.__dict__["maxlen"]
_FACTORY: Any = defaultdict.__dict__["default_factory"]


def _sequence(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    base = next(base for base in _SEQUENCES if issubclass(type(value), base))
    parts = _Parts(kind_of(value), enumerate(base.__iter__(value)), _item)
    return _several(f"{_MAXLEN.__get__(value)}", parts) if base is deque else parts


def _mapping(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    base: Any = OrderedDict if issubclass(type(value), OrderedDict) else dict  # which keeps an order of its own
    items = base.items(value)
    steps = itertools.chain.from_iterable(((at, key), (at, part)) for at, (key, part) in enumerate(items, start=1))
    # A key may be a name or a PIN, and receipts are published.
    parts = _Parts(kind_of(value), steps, lambda place: f"[key {place} of {dict.__len__(value)}]")
    if not issubclass(type(value), defaultdict):
        return parts
    return _several("default", _FACTORY.__get__(value), parts)


def _set(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    base = set if issubclass(type(value), set) else frozenset
    return _Parts(kind_of(value), (("", part) for part in base.__iter__(value)), lambda _step: "{…}", is_set=True)


def _slice(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _named("slice", {"start": value.start, "stop": value.stop, "step": value.step})


def _view(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """The keys, values or items of a dictionary."""
    return _Parts(kind_of(value), enumerate(list(value)), _item)


def _enum(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    held = attributes(value)
    return _several(kind_of(value), held.get("_name_"), held.get("_value_"))


def _fraction(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _named(kind_of(value), _attributes(value))


def _datetime(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """A date with a time, or a time alone: its time zone is an object of any class."""
    base: Any = dt.datetime if issubclass(type(value), dt.datetime) else dt.time
    fold, zone = base.fold.__get__(value), base.tzinfo.__get__(value)
    return _several(kind_of(value), base.isoformat(base.replace(value, tzinfo=None)), fold, zone)


# Objects


def _object_of(kind: type) -> _Look:
    """How objects of a class written in Python are looked at, the notebook's or a library's: by their attributes."""
    known = known_parts(kind)
    if known is not None:
        return _with_parts(known)
    if is_handle(kind):
        return lambda walk, value: walk.gap(value, "it is a handle")
    below = next((base for base in mro_of(kind) if not is_notebooks(base)), object)
    is_unknown, result = holds_more(kind), _results_of(kind)

    def attributes_of(walk: _Walk, value: Any) -> bytes | _Parts:
        held = _attributes(value)
        if is_unknown and below is kind and not held:
            return walk.gap(value, "this kind of object is not known")
        if is_unknown:
            walk.gap(value, f"what its base {name_of(below).rpartition('.')[2]} holds is not known")
        return _named(kind_of(value), {name: result(walk, name, part) for name, part in held.items()})

    return attributes_of


def _with_parts(known: Callable[[Any], Parts | None]) -> _Look:
    """How objects of a well-known class are looked at; those of the notebook's subclasses have attributes besides."""

    def parts_of(walk: _Walk, value: Any) -> bytes | _Parts:
        parts = known(value)
        if parts is None:
            return walk.gap(value, "this kind of object is not known")
        return _named(kind_of(value), {**_attributes(value), **parts} if is_notebooks(type(value)) else parts)

    return parts_of


def _results_of(kind: type) -> Callable[[_Walk, object, object], object]:
    """How an attribute is taken: those of libraries may be no result, and be named so that this can be seen."""
    if not is_notebooks(kind):
        return _librarys_result
    if all(module_of(base) in {NOTEBOOK, "builtins", "abc", "typing"} for base in mro_of(kind)):
        return lambda _walk, _name, part: part
    return lambda walk, name, part: _result(walk, name, part) if type(name) is str and name[:1] == "_" else part


def _result(walk: _Walk, name: object, part: object) -> object:
    why = no_result(name, part)
    if why is not None:
        return _Missing(kind_of(part), why)
    if walk.is_global(part):
        return _several("global generator", kind_of(part))
    return _without_places(part)


def _librarys_result(walk: _Walk, name: object, part: object) -> object:
    found = _result(walk, name, part)
    if found is not part or type(name) is not str or name[:1] != "_":
        return found
    return _Own(part) if _is_data(part) else _Parts("", [("", part)], is_own=True)


def _without_places(part: object) -> object:
    """A text or path without the folder that the notebook happens to run in."""
    if type(part) is not str and not issubclass(type(part), pathlib.PurePath):
        return part
    text = str(part)
    return normalised(text.replace(str(pathlib.Path.cwd()), "[folder]"), PLACES) if len(text) <= _LONGEST else part


def _report(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """A report of ours: the scope, and which flagged ops it saw. How often depends on the machine's speed."""
    findings = sorted({(one.op, one.status.value, one.device, one.direction.value) for one in value.findings})
    scope = {name: getattr(value, name, None) for name in ("seed", "strict", "name")}
    return _named(kind_of(value), {**scope, "findings": findings})


def _code(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """Code, by its name and place, and what it holds: its text is that of a cell, or of a library of some version."""
    parts = {**_place_of(value), **held_by_code(value)}
    if type(value) is FunctionType and value.__module__ == NOTEBOOK:  # two lambdas have the same name
        code = value.__code__
        constants = sorted(repr(one) for one in code.co_consts if _is_constant(one))
        parts |= {"line": code.co_firstlineno, "names": sorted(code.co_names), "constants": constants}
    return _named(kind_of(value), {part: one for part, one in parts.items() if not is_code(one)})


def _place_of(value: Any) -> dict[str, object]:
    kind = type(value)
    if issubclass(kind, type):
        return {"name": name_of(value)}
    if issubclass(kind, ModuleType):
        return {"name": attributes(value).get("__name__")}
    name = getattr(value, "__qualname__", None) or value.__name__
    return {"module": getattr(value, "__module__", None), "name": name}


def _is_constant(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_is_constant, value))
    return is_any(type(value), int, float, complex, bool, str, bytes)


# NumPy


def _array(walk: _Walk, value: Any) -> bytes | _Parts:  # noqa: ARG001 - as above
    numpy = sys.modules["numpy"]
    kind, value = kind_of(value), numpy.ndarray.view(value, numpy.ndarray)
    if value.dtype.names is not None:  # by field: between fields there may be bytes that mean nothing
        return _named(f"{kind} {value.shape}", {name: value[name] for name in value.dtype.names})
    if value.dtype.hasobject:
        about = _several(value.dtype.kind, getattr(value.dtype, "na_object", None))
        return _several(f"{kind} {value.shape}", about, _Parts("", enumerate(value.ravel().tolist()), _item))
    # Byte order counts as little as the order in memory does.
    head = _tagged(f"{kind} {value.dtype.newbyteorder('=').str} {value.shape}".encode(), b"")
    return _READER.get()(value, head, _array_bits)


def _array_bits(value: Any, head: bytes) -> bytes:
    numpy = sys.modules["numpy"]
    hasher = _hasher(head, value.nbytes)
    for piece in _pieces(value, value.nbytes):
        native = numpy.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("="))
        raw = native.reshape(-1).view(numpy.uint8)
        if native.dtype.char in "gG" and numpy.finfo(native.dtype).nmant == _X87_MANTISSA:
            raw = numpy.ascontiguousarray(raw.reshape(-1, numpy.dtype("g").itemsize)[:, :_X87_BYTES])
        hasher.update(raw.data)
    return bytes(hasher.digest())


def _scalar(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _several(kind_of(value), sys.modules["numpy"].asarray(value))


def _masked(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    masked = sys.modules["numpy"].ma
    mask = masked.getmaskarray(value)
    data = masked.MaskedArray.filled(value, 0) if mask.any() else masked.getdata(value, subok=False)
    about = {"fill": value.fill_value, "is hard": value.hardmask}
    return _named(kind_of(value), {"data": data, "mask": mask, **about})


def _hasher(head: bytes, size: int) -> Any:
    """A hasher that was given a head, for so many bytes after it."""
    return blake3(head, max_threads=blake3.AUTO) if size >= _LARGE else blake3(head)


def _pieces(value: Any, size: int) -> Iterator[Any]:
    """The value itself if it lies in memory as it is, or is small; else pieces of its first dimension, to be copied."""
    if size <= _PIECE or not value.shape or _lies_as_it_is(value):
        yield value
        return
    rows = max(1, _PIECE * value.shape[0] // size)
    for start in range(0, value.shape[0], rows):
        piece = value[start : start + rows]
        if rows == 1 and len(value.shape) > 1:  # one row alone may be too large
            yield from _pieces(piece[0], size // value.shape[0])
        else:
            yield piece


def _lies_as_it_is(value: Any) -> bool:
    if hasattr(value, "flags"):
        return bool(value.flags.c_contiguous)
    return value.is_cpu and value.is_contiguous() and not value.is_conj() and not value.is_neg()


# PyTorch


def _tensor(walk: _Walk, value: Any) -> bytes | _Parts:
    with sys.modules["torch"]._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - a subclass must not feel it
        return _of_tensor(walk, value)


def _of_tensor(walk: _Walk, value: Any) -> bytes | _Parts:
    torch = sys.modules["torch"]
    kind = "torch.Tensor" if type(value) is torch.nn.Parameter else kind_of(value)
    if issubclass(type(value), torch.nn.parameter.UninitializedTensorMixin):
        return _tagged(f"{kind} {value.dtype}".encode(), b"uninitialized")
    if value.is_meta or _is_fake(value):
        return walk.gap(value, "it has no values")
    value = value.detach()
    if value.is_nested:  # before subclasses: its shape holds a number that is new each time
        return _several(f"{kind} nested", *value.unbind())
    if hasattr(value, "__tensor_flatten__"):
        names, _ = value.__tensor_flatten__()
        return _named(f"{kind} {tuple(value.shape)}", {name: getattr(value, name) for name in names})
    if value.is_quantized or value.layout is not torch.strided:
        return _named(f"{kind} {value.layout} {value.dtype} {tuple(value.shape)}", _tensor_parts(value))
    return _strided(kind, value)


def _is_plain_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and is_any(type(value), torch.Tensor, torch.nn.Parameter)
        and value.is_cpu
        and value.layout is torch.strided
        and not value.is_nested
        and not value.is_quantized
    )


def _strided(kind: str, value: Any) -> bytes:
    return _READER.get()(value, _tensor_head(kind, value.dtype, value.shape), _tensor_bits)


def _tensor_bits(value: Any, head: bytes) -> bytes:
    size = value.nbytes
    hasher = _hasher(head, size)
    if size <= _PIECE:
        hasher.update(_on_host(value))
        return bytes(hasher.digest())
    buffers = _pinned() if value.is_cuda else ()
    pieces = _pieces(value, size)
    for row in _overlapped(pieces, buffers) if buffers else map(_on_host, pieces):
        hasher.update(row)
    return bytes(hasher.digest())


@functools.lru_cache(maxsize=1024)  # a model has few shapes, and writing one out costs more than hashing a small tensor
def _tensor_head(kind: str, dtype: object, shape: tuple[int, ...]) -> bytes:
    return _tagged(f"{kind} {dtype} {tuple(shape)}".encode(), b"")


def _on_host(piece: Any) -> Any:
    """A piece's bytes in the host's memory. Not by `Tensor.numpy`: after that nobody can resize the tensor."""
    return sys.modules["numpy"].from_dlpack(_row(piece if piece.is_cpu else piece.cpu()))


def _row(piece: Any) -> Any:
    """A piece's bytes as a contiguous tensor: the piece itself, or a copy if it does not lie in memory as it is."""
    if piece.requires_grad:
        piece = piece.detach()
    if piece.is_conj() or piece.is_neg():
        piece = piece.resolve_conj().resolve_neg()
    piece = piece.contiguous()
    if piece.stride()[-1:] != (1,):  # it has no dimensions, or the last is of size 1 and may have any stride
        piece = piece.as_strided((piece.numel(),), (1,))
    return piece.view(sys.modules["torch"].uint8)


class _Pinned:
    """A buffer in pinned memory: a GPU copies into it while the host goes on."""

    def __init__(self) -> None:
        torch = sys.modules["torch"]
        # The device by name: the user may have set another default.
        self._memory = torch.empty(_PIECE, dtype=torch.uint8, device="cpu", pin_memory=True)
        self._copied = torch.cuda.Event()
        self._held = self._memory

    def take(self, piece: Any) -> None:
        """Start to copy a piece into it. What it held is lost."""
        row = _row(piece).flatten()
        self._held = self._memory[: len(row)]
        self._held.copy_(row, non_blocking=True)
        self._copied.record(sys.modules["torch"].cuda.current_stream(row.device))

    def row(self) -> Any:
        """The piece's bytes, once they are there."""
        self._copied.synchronize()
        return self._held.numpy()


def _pinned() -> tuple[_Pinned, ...]:
    """Two buffers, or none where the machine has no pinned memory to give."""
    try:
        return _Pinned(), _Pinned()
    except RuntimeError:
        return ()


def _overlapped(pieces: Iterable[Any], buffers: Sequence[Any]) -> Iterator[Any]:
    """Each piece's bytes, while the next piece is on its way into another buffer."""
    last = None
    for piece, buffer in zip(pieces, itertools.cycle(buffers), strict=False):
        buffer.take(piece)
        if last is not None:
            yield last.row()
        last = buffer
    if last is not None:
        yield last.row()


def _tensor_parts(value: Any) -> dict[str, object]:
    """The plain tensors that a quantized or sparse one is made of."""
    torch = sys.modules["torch"]
    if value.is_quantized:
        if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return {"bits": value.int_repr(), "scale": value.q_scale(), "zero_point": value.q_zero_point()}
        scales, points = value.q_per_channel_scales(), value.q_per_channel_zero_points()
        return {"bits": value.int_repr(), "scales": scales, "points": points, "axis": value.q_per_channel_axis()}
    if value.layout == torch.sparse_coo:
        return {"indices": value._indices(), "values": value._values()}  # noqa: SLF001 - the public ones want it coalesced
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return {"rows": value.crow_indices(), "columns": value.col_indices(), "values": value.values()}
    if value.layout in (torch.sparse_csc, torch.sparse_bsc):
        return {"columns": value.ccol_indices(), "rows": value.row_indices(), "values": value.values()}
    return {"values": value.to_dense()}


def _is_fake(value: object) -> bool:
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return fake is not None and issubclass(type(value), fake.FakeTensor)


def _module(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _named(kind_of(value), {**parameters(value), **_of_module(value)})


def parameters(value: Any) -> dict[str, Any]:
    """A module's parameters and buffers by name, each once, found without running code of its class.

    Raises:
        ValueError: a module has lost them, or its `__init__` did not run.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for prefix, part in _modules(value):
        if _is_scripted(part):  # it keeps them in C++
            return {**dict(value.named_parameters()), **dict(value.named_buffers())}
        if "_parameters" not in attributes(part):
            raise ValueError("it has no parameters")
        for name, one in (*_own_dict(part, "_parameters").items(), *_own_dict(part, "_buffers").items()):
            if one is not None and id(one) not in seen:
                seen.add(id(one))
                found[_below(prefix, name)] = one
    return found


def _is_scripted(value: object) -> bool:
    jit = sys.modules.get("torch.jit")
    return jit is not None and is_below(type(value), jit.ScriptModule)


def _own_dict(value: object, name: str) -> dict[str, Any]:
    """A dictionary that a module keeps; empty where its `__init__` did not run."""
    found: Any = attributes(value).get(name)
    return dict(dict.items(found)) if issubclass(type(found), dict) else {}


def _modules(value: Any) -> Iterator[tuple[str, Any]]:
    """A module and those below it, each once, with their names."""
    waiting, seen = [("", value)], set()
    while waiting:
        prefix, part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        yield prefix, part
        below = _own_dict(part, "_modules").items()
        waiting += reversed([(_below(prefix, name), one) for name, one in below])


def _below(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _of_module(value: Any) -> dict[str, object]:
    """What a module and those below it are and do, besides their numbers.

    Attributes that are no code; of libraries' modules, plain ones such as `p`.
    """
    found: dict[str, object] = {}
    for prefix, part in _modules(value):
        is_ours, held = is_notebooks(type(part)), attributes(part)
        own = {name: one for name, one in held.items() if name not in _of_modules()}
        own_parameters = _own_dict(part, "_parameters").items()
        trained = [name for name, one in own_parameters if one is not None and one.requires_grad]
        about = {"class": kind_of(part), "training": held.get("training"), "trained": trained}
        kept = {name: _kept(name, one) for name, one in own.items() if (not is_code(one) if is_ours else _is_data(one))}
        found |= {_below(prefix, name): one for name, one in {**about, **kept}.items()}
    return found


def _kept(name: str, value: object) -> object:
    """An attribute of a module of the notebook's; in a private one a library may keep what trains it."""
    is_tool = name[:1] == "_" and _first_look(value) is not _code and _is_tool(type(value))
    return _Own(value) if is_tool else value


def _is_tool(kind: type) -> bool:
    """Whether objects of a library's class have no other look than at their attributes."""
    return not is_notebooks(kind) and not any(is_one(kind) for is_one, _ in _LOOKS) and known_parts(kind) is None


def _is_data(value: object, depth: int = 3) -> bool:
    """Whether it is a number, a text or the like, or a small container of these."""
    kind = type(value)
    if _plain(kind) is not None or kind_of(value) in {"torch.dtype", "torch.device", "torch.Size"}:
        return True
    if depth == 0 or not is_any(kind, list, tuple, dict, set, OrderedDict) or len(value) > _FEW:  # type: ignore[arg-type]
        return False
    parts = (*value, *value.values()) if isinstance(value, dict) else value
    return all(_is_data(one, depth - 1) for one in parts)  # type: ignore[attr-defined]


_FEW = 1000


@functools.cache
def _of_modules() -> frozenset[str]:
    """The attributes that every module has for PyTorch's own use."""
    return frozenset(vars(sys.modules["torch"].nn.Module()))


def _optimizer(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """Which parameters it changes, by what they hold and where they stand, and what it knows of each."""
    state = {id(of): one for of, one in value.state.items()}
    groups = [
        {**group, "params": [(one, one.requires_grad, state.pop(id(one), None)) for one in group["params"]]}
        for group in value.param_groups
    ]
    return _named(kind_of(value), {"defaults": value.defaults, "groups": groups, "state": list(state.values())})


def _torch_generator(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _several(kind_of(value), value.get_state())


# pandas


def _pandas(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _named(kind_of(value), {**_of_pandas(value), **_declared(value)})


def _of_pandas(value: Any) -> dict[str, object]:
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.Index):
        return _of_index(value)
    about = {"index": value.index, "attrs": value.attrs, "duplicates": value.flags.allows_duplicate_labels}
    if isinstance(value, pandas.Series):
        return {"name": value.name, "values": _column(value), **about}
    columns = [value.iloc[:, place] for place in range(value.shape[1])]
    values = _Parts("values", ((one.name, _column(one)) for one in columns), _item)
    return {"columns": value.columns, **about, "": values}


def _of_index(value: Any) -> dict[str, object]:
    freq = getattr(value, "freq", None)
    levels = [_dtype(level.dtype) for level in getattr(value, "levels", ())]
    return {"names": list(value.names), "freq": getattr(freq, "freqstr", None), "levels": levels, "": _column(value)}


def _column(value: Any) -> _Parts:
    """The values of a series, index or array, without its labels."""
    is_plain = getattr(value.dtype, "kind", "O") in "biufcmM"
    array = value.to_numpy() if is_plain else None
    if array is None or str(array.dtype) != str(value.dtype):
        array = value.to_numpy(dtype=object)
    return _several("column", _dtype(value.dtype), array)


def _dtype(dtype: Any) -> object:
    """A dtype: an ordered categorical one is more than its name."""
    return dtype if type(dtype).__name__ == "CategoricalDtype" else str(dtype)


def _declared(value: Any) -> dict[str, object]:
    """What a subclass of the notebook's declares as its own metadata, as pandas asks it to."""
    kind = type(value)
    names = namespace_of(kind).get("_metadata", ()) if is_notebooks(kind) else ()
    return {name: attributes(value).get(name) for name in names}


def _extension_array(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _several(kind_of(value), _column(value))


def _as_repr(walk: _Walk, value: Any) -> bytes:  # noqa: ARG001 - as above
    return _by_repr(value)


# polars and pyarrow


def _polars_frame(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _Parts(kind_of(value), ((one.name, one) for one in [value.height, *value.get_columns()][1:]), _item)


def _polars_series(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    numeric = value.dtype.is_numeric() and not value.dtype.is_decimal()
    head = (kind_of(value), repr(value.dtype), value.name, len(value))
    if not numeric:
        return _several("", *head, value.to_list())
    missing = value.is_null()
    return _several("", *head, value.fill_null(0).to_numpy(), missing.to_numpy() if missing.any() else None)


def _polars_plan(walk: _Walk, value: Any) -> bytes:
    return walk.gap(value, "a lazy frame has no values before collect()")


def _arrow_table(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    columns = ((name, column) for name, column in zip(value.schema.names, value.columns, strict=True))
    return _several(kind_of(value), value.schema, value.num_rows, _Parts("columns", columns, _item))


def _arrow_array(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """An array by its values: neither its chunks nor what lies under missing ones counts."""
    kind = value.type
    types = sys.modules["pyarrow"].types
    head = ("ChunkedArray" if hasattr(value, "chunks") else "Array", str(kind), len(value))
    if (types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)) and not value.null_count:
        return _several("pyarrow", *head, value.to_numpy())
    return _several("pyarrow", *head, value.to_pylist())


def _arrow_scalar(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    return _several(kind_of(value), str(value.type), value.as_py())


def _arrow_schema(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    fields = [(one.name, str(one.type), one.nullable, one.metadata) for one in value]
    return _several(kind_of(value), fields, value.metadata)


# Pictures


def _image(walk: _Walk, value: Any) -> _Parts:
    if getattr(value, "is_animated", False):
        walk.gap(value, "only one of its frames is compared")
    palette = value.palette
    colours = None if palette is None else (palette.mode, value.getpalette(palette.mode))
    about = {"mode": value.mode, "size": value.size, "palette": colours, "info": value.info}
    return _named("PIL.Image", {**about, "pixels": value.tobytes()})


def _figure(walk: _Walk, value: Any) -> _Parts:  # noqa: ARG001 - as above
    """A figure's pixels, at a resolution of ours and on a canvas of its own."""
    import matplotlib.backends.backend_agg as agg  # noqa: PLC0415 - it is there: the figure is

    canvas, dpi = value.canvas, value.dpi
    try:
        value.set_dpi(_FIGURE_DPI)
        drawn: Any = agg.FigureCanvasAgg(value)
        drawn.draw()
        return _several("matplotlib.Figure", drawn.get_width_height(), bytes(drawn.buffer_rgba()))
    finally:
        value.set_dpi(dpi)
        value.set_canvas(canvas)


# Which look a type is looked at with


def _is(module: str, *names: str) -> Callable[[type], bool]:
    """Whether a type is one of some module's, which may not be imported: then it is not."""
    return lambda kind: is_below(kind, *kinds_in(module, *names))


def _is_a(*kinds: type) -> Callable[[type], bool]:
    return lambda kind: is_below(kind, *kinds)


_SEQUENCES: tuple[Any, ...] = (list, tuple, deque)
_SETS, _MAPPINGS = (set, frozenset), (dict, OrderedDict, defaultdict)
_EMPTY: dict[object, object] = {}
_VIEWS = type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items())

_PANDAS_MISSING = {"pandas._libs.missing.NAType", "pandas._libs.tslibs.nattype.NaTType"}

# The first that holds is taken.
_LOOKS: tuple[tuple[Callable[[type], bool], _Look], ...] = (
    (_is("torch", "Tensor"), _tensor),
    (_is("numpy.ma", "MaskedArray"), _masked),
    (_is("numpy", "ndarray"), _array),
    (_is("numpy", "generic"), _scalar),
    (_is("torch", "nn.Module"), _module),
    (_is("torch", "optim.Optimizer"), _optimizer),
    (_is("torch", "Generator"), _torch_generator),
    (_is("torch", "dtype", "device", "Size", "layout", "memory_format", "finfo", "iinfo"), _as_repr),
    (_is("numpy", "dtype"), _as_repr),
    (_is("pandas", "DataFrame", "Series", "Index"), _pandas),
    (_is("pandas", "api.extensions.ExtensionArray"), _extension_array),
    (_is("pandas", "Timestamp", "Timedelta", "Period", "Interval", "offsets.BaseOffset"), _as_repr),
    (lambda kind: name_of(kind) in _PANDAS_MISSING, _as_repr),
    (_is("polars", "DataFrame"), _polars_frame),
    (_is("polars", "Series"), _polars_series),
    (_is("polars", "LazyFrame"), _polars_plan),
    (_is("pyarrow", "Table", "RecordBatch"), _arrow_table),
    (_is("pyarrow", "Array", "ChunkedArray"), _arrow_array),
    (_is("pyarrow", "Schema"), _arrow_schema),
    (_is("pyarrow", "Scalar"), _arrow_scalar),
    (_is("pyarrow", "DataType", "Field"), _as_repr),
    (_is("PIL.Image", "Image"), _image),
    (_is("matplotlib.figure", "Figure"), _figure),
    (_is("repro_magic.scope", "WatchReport"), _report),
    (_is_a(Enum), _enum),
    (_is_a(dt.datetime, dt.time), _datetime),
    (_is_a(*_SEQUENCES), _sequence),
    (_is_a(*_SETS), _set),
    (_is_a(*_MAPPINGS), _mapping),
    (_is_a(*_VIEWS), _view),
    (_is_a(slice), _slice),
    (_is_a(fractions.Fraction), _fraction),
    (_is_a(*(base for base, _ in _BASES)), _of_subclass),
)


def _adds_attributes(kind: type, look: _Look) -> bool:
    """Whether a class may hold more than its base. What a library's tensors and arrays keep beside is their affair."""
    if look in (_sequence, _set, _mapping):
        return not is_any(kind, *_SEQUENCES, *_SETS, *_MAPPINGS)
    return look in (_tensor, _array, _of_subclass) and is_notebooks(kind)


def _first_look(value: object) -> _Look:
    kind = type(value)
    found = next((look for is_one, look in _LOOKS if is_one(kind)), None)
    return found or (_code if is_code(value) else _object_of(kind))


def beside(value: Any) -> dict[str, object]:
    """The attributes of a value that count besides its elements, parameters and buffers.

    Example:
        >>> beside([1, 2])
        {}
    """
    look = _first_look(value)
    if look is _module:
        return {name: part for name, part in _of_module(value).items() if type(part) is not _Own}
    return _attributes(value) if _adds_attributes(type(value), look) else {}
