"""A value's digest: equal if, and only if, type, dtype, shape and every bit are equal.

`digest` looks at the whole value: NaN payloads count, and -0.0 is not 0.0. What has no bits to compare (a function, a
file, a generator object) is listed as a gap, never left out in silence. The hash is blake3, a real one and no checksum:
permuted tensors do not share it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import itertools
import pathlib
import struct
import sys
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from blake3 import blake3

from repro_magic.proof.held import held_by_code, is_code, parts_of

# Tensors that lie elsewhere, or are not contiguous, are copied in pieces of so many bytes.
_PIECE = 16 << 20
# From so many bytes on blake3's threads save more than they cost.
_LARGE = 1 << 20
_FIGURE_DPI = 100
# x86's long double has 80 bits, and padding that means nothing.
_X87_MANTISSA, _X87_BYTES = 63, 10


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
    """

    hex: str
    kind: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    gaps: tuple[Gap, ...] = field(default=())

    @property
    def is_comparable(self) -> bool:
        """Whether the value itself could be digested; parts of it may still be gaps."""
        return not any(gap.path == "" for gap in self.gaps)


def digest(value: object) -> Digest:
    """The digest of a value.

    Takes numbers, strings and the like, containers (cycles too), NumPy arrays, tensors on any device (views, sparse,
    quantized, nested, subclasses), modules, optimizers, pandas objects, PIL images, matplotlib figures, dataclasses,
    and objects whose class was defined in the notebook. Device, strides, `requires_grad` and gradients do not count.

    Example:
        >>> digest([1.0, 2.0]).hex == digest([1.0, 2.0]).hex, digest(0.0).hex == digest(-0.0).hex
        (True, False)
        >>> digest({"f": iter([1])}).gaps
        (Gap(path="['f']", kind='builtins.list_iterator', why='this kind of object is not known'),)
    """
    bits = _at_once(value)
    bits, gaps = _walked(value) if bits is None else (bits, ())
    dtype, shape = _told_by(value, "dtype"), _told_by(value, "shape")
    dtype = None if isinstance(dtype, type) else dtype  # an option of an estimator's
    is_shaped = isinstance(shape, tuple) and {*map(type, shape)} <= {int}  # a nested tensor's has symbols
    return Digest(
        blake3(bits).hexdigest(),
        kind_of(value),
        None if dtype is None else str(dtype),
        tuple(shape) if is_shaped else None,
        gaps,
    )


def _told_by(value: object, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a property of somebody else's class
        return None


def _at_once(value: object) -> bytes | None:
    """The bits of a value without parts, for which a walk would cost more than all else; None: it takes a walk."""
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain(value)
    try:
        return _strided("torch.Tensor", value) if _is_plain_tensor(value) else None
    except Exception:  # noqa: BLE001 - a walk says what is wrong with it
        return None


def _walked(value: object) -> tuple[bytes, tuple[Gap, ...]]:
    walk = _Walk()
    try:
        return walk.node(value, ""), tuple(walk.gaps)
    except RecursionError:
        return b"", (Gap("", kind_of(value), "it is nested too deeply"),)


def kind_of(value: object) -> str:
    """A value's type, with its module.

    Example:
        >>> kind_of(1), kind_of(pathlib.PurePosixPath())
        ('builtins.int', 'pathlib.PurePosixPath')
    """
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


class _Walk:
    """One pass over a value. Each node has a digest of its own, so that shared parts are looked at once."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._known: dict[int, tuple[bytes, object]] = {}  # with the object: an id stands for it only while it lives
        self._open: dict[int, int] = {}  # containers that we are inside of, by depth

    def node(self, value: object, path: str) -> bytes:
        plain = _PLAIN.get(type(value))
        if plain is not None:
            return plain(value)
        key = id(value)
        if key in self._open:
            return _tagged(b"inside", str(len(self._open) - self._open[key]).encode())
        if key in self._known:
            return self._known[key][0]
        self._open[key] = len(self._open)
        try:
            found = self._look(value, path)
        finally:
            del self._open[key]
        self._known[key] = found, value
        return found

    def _look(self, value: object, path: str) -> bytes:
        look = _look_of.get(type(value))
        if look is None:
            look = _first_look(value)
            look = _with_attributes(look) if _adds_attributes(type(value), look) else look
            _look_of[type(value)] = look
        try:
            return look(self, value, path)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - somebody else's class: what it raises says that it cannot be looked at
            return self.gap(value, path, f"looking at it failed: {type(error).__name__}")

    def gap(self, value: object, path: str, why: str) -> bytes:
        self.gaps.append(Gap(path, kind_of(value), why))
        return _tagged(b"gap", kind_of(value).encode())

    def parts(self, tag: str, parts: Iterable[tuple[object, str]]) -> bytes:
        """The digest of something made of parts, each with its path."""
        hasher = blake3()
        _add(hasher, tag.encode())
        for part, path in parts:
            _add(hasher, self.node(part, path))
        return hasher.digest()


def _add(hasher: Any, data: bytes) -> None:
    hasher.update(len(data).to_bytes(8, "little") + data)


def _tagged(tag: bytes, data: bytes) -> bytes:
    return len(tag).to_bytes(4, "little") + tag + data


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
            fractions.Fraction,
            dt.date,
            dt.time,
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


# Attributes


def _attributes(value: Any) -> dict[str, object]:
    """What an object holds besides what its base does: its own dictionary, and the slots of its classes."""
    held = dict(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                held.setdefault(name, getattr(value, name))
    return held


_Look = Callable[["_Walk", Any, str], bytes]


def _with_attributes(look: _Look) -> _Look:
    """How a subclass is looked at that may hold more than its base: as its base is, and then its attributes."""

    def both(walk: _Walk, value: Any, path: str) -> bytes:
        found = look(walk, value, path)
        held = _attributes(value)
        return _named(walk, f"{found.hex()} with", held, path) if held else found

    return both


def _of_subclass(walk: _Walk, value: Any, path: str) -> bytes:
    base = next(kind for kind in type(value).__mro__ if kind in _PLAIN)
    return walk.parts(kind_of(value), [(base.__new__(base, value), path)])  # its own __repr__ and __str__ may say less


# Containers


def _sequence(walk: _Walk, value: Any, path: str) -> bytes:
    return walk.parts(kind_of(value), ((part, f"{path}[{place}]") for place, part in enumerate(value)))


def _mapping(walk: _Walk, value: Mapping[Any, Any], path: str) -> bytes:
    def parts() -> Iterator[tuple[object, str]]:
        for place, (key, part) in enumerate(value.items(), start=1):
            at = f"{path}[key {place} of {len(value)}]"  # a key may be a name or a PIN, and receipts are published
            yield key, at
            yield part, at

    return walk.parts(kind_of(value), parts())


def _set(walk: _Walk, value: Any, path: str) -> bytes:
    hasher = blake3()
    _add(hasher, kind_of(value).encode())
    for part in sorted(walk.node(part, f"{path}{{…}}") for part in value):  # a set has no order of its own
        _add(hasher, part)
    return hasher.digest()


def _named(walk: _Walk, tag: str, fields: Mapping[str, object], path: str) -> bytes:
    parts: list[tuple[object, str]] = []
    for name, part in fields.items():
        parts += [(name, path), (part, f"{path}.{name}")]
    return walk.parts(tag, parts)


def _dataclass(walk: _Walk, value: Any, path: str) -> bytes:
    return _named(walk, kind_of(value), {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}, path)


def _users_object(walk: _Walk, value: Any, path: str) -> bytes:
    """An object of a class of the notebook's: its attributes. What a class from elsewhere below it holds is a gap."""
    if _holds_more(type(value)):
        below = next(kind for kind in type(value).__mro__ if kind.__module__ != "__main__")
        walk.gap(value, path, f"what its base {below.__qualname__} holds is not known")
    return _named(walk, kind_of(value), _attributes(value), path)


def _holds_more(kind: type) -> bool:
    """Whether instances hold more than attributes and slots: then a base written in C has room for it."""
    slots = [vars(one).get("__slots__", ()) for one in kind.__mro__]
    counted = sum(1 if isinstance(names, str) else len(names) for names in slots)
    word = struct.calcsize("P")
    return kind.__basicsize__ > object.__basicsize__ + word * (counted + 2)  # a dictionary and weak references


def _enum(walk: _Walk, value: Any, path: str) -> bytes:
    return walk.parts(kind_of(value), [(value.name, path), (value.value, path)])


def _datetime(walk: _Walk, value: dt.datetime, path: str) -> bytes:  # noqa: ARG001 - as all of these
    return _by_repr(value)


# NumPy


def _array(walk: _Walk, value: Any, path: str) -> bytes:
    if value.dtype.hasobject or value.dtype.names is not None:
        names = value.dtype.names
        if names is not None:  # by field: between fields there may be bytes that mean nothing
            parts = {name: value[name] for name in names}
            return _named(walk, f"{kind_of(value)} {value.dtype.descr} {value.shape}", parts, path)
        flat = ((part, f"{path}[{place}]") for place, part in enumerate(value.ravel().tolist()))
        return walk.parts(f"{kind_of(value)} object {value.shape}", flat)
    # Byte order counts as little as the order in memory does.
    head = f"{kind_of(value)} {value.dtype.newbyteorder('=').str} {value.shape}".encode()
    hasher = _hasher(_tagged(head, b""), value.nbytes)
    numpy = sys.modules["numpy"]
    for piece in _pieces(value, value.nbytes):
        native = numpy.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("="))
        raw = native.reshape(-1).view(numpy.uint8)
        if native.dtype.char in "gG" and numpy.finfo(native.dtype).nmant == _X87_MANTISSA:
            raw = numpy.ascontiguousarray(raw.reshape(-1, numpy.dtype("g").itemsize)[:, :_X87_BYTES])
        hasher.update(raw.data)
    return bytes(hasher.digest())


def _scalar(walk: _Walk, value: Any, path: str) -> bytes:
    return walk.parts(kind_of(value), [(sys.modules["numpy"].asarray(value), path)])


def _masked(walk: _Walk, value: Any, path: str) -> bytes:
    numpy = sys.modules["numpy"]
    mask = numpy.ma.getmaskarray(value)
    return _named(walk, kind_of(value), {"data": value.filled(0) if mask.any() else value.data, "mask": mask}, path)


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


def _tensor(walk: _Walk, value: Any, path: str) -> bytes:
    torch = sys.modules["torch"]
    kind = "torch.Tensor" if type(value) is torch.nn.Parameter else kind_of(value)
    if value.is_meta or _is_fake(value):
        return walk.gap(value, path, "it has no values")
    value = value.detach()
    if value.is_nested:  # before subclasses: its shape holds a number that is new each time
        return walk.parts(f"{kind} nested", ((part, path) for part in value.unbind()))
    if hasattr(value, "__tensor_flatten__"):
        names, _ = value.__tensor_flatten__()
        return _named(walk, f"{kind} {tuple(value.shape)}", {name: getattr(value, name) for name in names}, path)
    if value.is_quantized or value.layout is not torch.strided:
        head = f"{kind} {value.layout} {value.dtype} {tuple(value.shape)}"
        return _named(walk, head, _tensor_parts(value), path)
    return _strided(kind, value)


def _is_plain_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and type(value) in (torch.Tensor, torch.nn.Parameter)
        and value.is_cpu
        and value.layout is torch.strided
        and not value.is_nested
        and not value.is_quantized
    )


def _strided(kind: str, value: Any) -> bytes:
    size = value.nbytes
    hasher = _hasher(_tensor_head(kind, value.dtype, value.shape), size)
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
    """A piece's bytes in the host's memory."""
    return _row(piece if piece.is_cpu else piece.cpu()).numpy()


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
    return fake is not None and isinstance(value, fake.FakeTensor)


def _module(walk: _Walk, value: Any, path: str) -> bytes:
    parts = {**dict(value.named_parameters()), **dict(value.named_buffers()), **_of_module(value)}
    return _named(walk, kind_of(value), parts, path)


def _of_module(value: Any) -> dict[str, object]:
    """Attributes of a module and those below it that are no code; of libraries' modules, plain ones such as `p`."""
    return {
        f"{prefix}.{name}".removeprefix("."): held
        for prefix, part in value.named_modules()
        for name, held in vars(part).items()
        if name not in _of_modules() and (_is_plain(held) if type(part).__module__ != "__main__" else not is_code(held))
    }


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and {*map(type, value)} <= _PLAIN.keys())


@functools.cache
def _of_modules() -> frozenset[str]:
    """The attributes that every module has for PyTorch's own use."""
    return frozenset(vars(sys.modules["torch"].nn.Module()))


def _optimizer(walk: _Walk, value: Any, path: str) -> bytes:
    return walk.parts(kind_of(value), [(value.state_dict(), path)])


def _torch_generator(walk: _Walk, value: Any, path: str) -> bytes:
    return walk.parts(kind_of(value), [(value.get_state(), path)])


# Others


def _pandas(walk: _Walk, value: Any, path: str) -> bytes:
    columns = [value[name] for name in value] if value.ndim > 1 and value.columns.is_unique else None
    if value.ndim > 1 and columns is None:
        columns = [value.iloc[:, place] for place in range(value.shape[1])]
    if columns is not None:
        parts = [(value.columns, path), (value.index, path), *((one, f"{path}[{one.name!r}]") for one in columns)]
        return walk.parts(kind_of(value), parts)
    array = value.to_numpy() if hasattr(value.dtype, "kind") and value.dtype.kind in "biufcmM" else None
    if array is None or str(array.dtype) != str(value.dtype):
        array = value.to_numpy(dtype=object)
    described: list[tuple[object, str]] = [(str(value.dtype), path), (value.name, path), (array, path)]
    if hasattr(value, "index"):
        described.append((value.index, path))
    return walk.parts(kind_of(value), described)


def _frame(walk: _Walk, value: Any, path: str) -> bytes:
    attrs = getattr(value, "attrs", None)
    found = _pandas(walk, value, path)
    return walk.parts(f"{found.hex()} with", [(attrs, f"{path}.attrs")]) if attrs else found


def _is_pandas_scalar(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return False
    return (
        value is pandas.NA
        or value is pandas.NaT
        or isinstance(value, pandas.Timedelta | pandas.Period | pandas.Interval)
    )


def _image(walk: _Walk, value: Any, path: str) -> bytes:
    return walk.parts("PIL.Image", [(value.mode, path), (value.size, path), (value.tobytes(), path)])


def _figure(walk: _Walk, value: Any, path: str) -> bytes:
    """A figure's pixels, at a resolution of ours and on a canvas of its own."""
    import matplotlib.backends.backend_agg as agg  # noqa: PLC0415 - it is there: the figure is

    canvas, dpi = value.canvas, value.dpi
    try:
        value.set_dpi(_FIGURE_DPI)
        drawn: Any = agg.FigureCanvasAgg(value)
        drawn.draw()
        pixels = bytes(drawn.buffer_rgba())
        return walk.parts("matplotlib.Figure", [(drawn.get_width_height(), path), (pixels, path)])
    finally:
        value.set_dpi(dpi)
        value.set_canvas(canvas)


def _report(walk: _Walk, value: Any, path: str) -> bytes:
    """A report of ours: the scope, and which flagged ops it saw. How often depends on the machine's speed."""
    findings = sorted({(one.op, one.status.value, one.device, one.direction.value) for one in value.findings})
    scope = {name: getattr(value, name, None) for name in ("seed", "strict", "name")}
    return _named(walk, kind_of(value), {**scope, "findings": findings}, path)


def _code(walk: _Walk, value: Any, path: str) -> bytes:
    """Code, by its name and place, and what it holds: its text is that of a cell, or of a library of some version."""
    name = getattr(value, "__qualname__", None) or value.__name__
    parts = {"module": getattr(value, "__module__", None), "name": name, **held_by_code(value)}
    if isinstance(value, FunctionType) and value.__module__ == "__main__":  # two lambdas have the same name
        code = value.__code__
        numbers = sorted(repr(one) for one in code.co_consts if type(one) in (int, float, complex))
        parts |= {"line": code.co_firstlineno, "names": sorted(code.co_names), "numbers": numbers}
    return _named(walk, kind_of(value), {part: one for part, one in parts.items() if not is_code(one)}, path)


def _known(walk: _Walk, value: Any, path: str) -> bytes:
    """What is left: an object of a well-known class of a library's, or a gap."""
    parts = parts_of(value)
    if parts is None:
        return walk.gap(value, path, "this kind of object is not known")
    return _named(walk, kind_of(value), parts, path)


def _is(module: str, *names: str) -> Callable[[object], bool]:
    """Whether a value is of a class of some module, which may not be imported: then it is not."""

    def is_one(value: object) -> bool:
        found = sys.modules.get(module)
        if found is None:
            return False
        kinds = tuple(kind for name in names if isinstance(kind := _attribute(found, name), type))
        return isinstance(value, kinds)

    return is_one


def _attribute(module: object, path: str) -> object:
    return functools.reduce(lambda found, name: getattr(found, name, None), path.split("."), module)


_SEQUENCES, _SETS, _MAPPINGS = (list, tuple, deque), (set, frozenset), (dict, OrderedDict, defaultdict)


def _is_instance(kinds: tuple[type, ...]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


def _is_users(value: object) -> bool:
    return type(value).__module__ == "__main__" and not isinstance(value, type)


# The first that holds is taken.
_LOOKS: tuple[tuple[Callable[[object], bool], Callable[[_Walk, Any, str], bytes]], ...] = (
    (_is("torch", "Tensor"), _tensor),
    (_is("numpy.ma", "MaskedArray"), _masked),
    (_is("numpy", "ndarray"), _array),
    (_is("numpy", "generic"), _scalar),
    (_is("torch", "nn.Module"), _module),
    (_is("torch", "optim.Optimizer"), _optimizer),
    (_is("torch", "Generator"), _torch_generator),
    (_is("torch", "dtype", "device", "Size", "layout"), lambda _walk, value, _path: _by_repr(value)),
    (_is("pandas", "DataFrame", "Series", "Index"), _frame),
    (_is_pandas_scalar, lambda _walk, value, _path: _by_repr(value)),
    (_is("PIL.Image", "Image"), _image),
    (_is("matplotlib.figure", "Figure"), _figure),
    (_is("repro_magic.scope", "WatchReport"), _report),
    (_is_instance((dt.datetime,)), _datetime),
    (lambda value: isinstance(value, enum.Enum), _enum),
    (lambda value: dataclasses.is_dataclass(value) and not isinstance(value, type), _dataclass),
    (_is_instance(_SEQUENCES), _sequence),
    (_is_instance(_SETS), _set),
    (_is_instance(_MAPPINGS), _mapping),
    (_is_instance((slice,)), lambda walk, value, path: _sequence(walk, (value.start, value.stop, value.step), path)),
    (_is_instance((str, int, float, complex, bytes)), _of_subclass),
    (_is_users, _users_object),
    (is_code, _code),
    (lambda _value: True, _known),
)


def _adds_attributes(kind: type, look: _Look) -> bool:
    """Whether a class may hold more than its base. What a library's tensors and arrays keep beside is their affair."""
    if look in (_sequence, _set, _mapping):
        return kind not in (*_SEQUENCES, *_SETS, *_MAPPINGS, slice)
    return look in (_tensor, _array, _dataclass, _of_subclass) and kind.__module__ == "__main__"


def _first_look(value: object) -> _Look:
    return next(look for is_one, look in _LOOKS if is_one(value))


def beside(value: Any) -> dict[str, object]:
    """The attributes of a value that count besides its elements, parameters and buffers.

    Example:
        >>> beside([1, 2])
        {}
    """
    look = _first_look(value)
    if look is _module:
        return _of_module(value)
    return _attributes(value) if _adds_attributes(type(value), look) else {}


# By type, found once for each. Weakly: a cell that is run again defines its classes anew.
_look_of: WeakKeyDictionary[type, Callable[[_Walk, Any, str], bytes]] = WeakKeyDictionary()
