"""How far two numeric values are apart, element by element.

A digest says that two values differ, not how much. So the first run keeps the numbers of what it digests in files, and
a later run, whose value came out otherwise, measures against them.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from repro_magic.introspection.foreign import kind_of
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.digest.torch_modules import parameters
from repro_magic.proof.digest.visitors import beside
from repro_magic.proof.verdict import Distance

# Values with more bytes are not kept, nor more in all: a notebook's folder may hold less.
LARGEST, IN_ALL = 128 << 20, 1 << 30
_MOST_LEAVES, _DEEPEST = 10_000, 20
# Floating-point formats that NumPy does not know, by the integers that their bits are read as.
_FOREIGN = {"bfloat16": np.int16, "float8": np.int8}
_INTEGERS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


@dataclass(frozen=True)
class Tolerance:
    """How much two values may differ and still count as close.

    Attributes:
        rtol: the largest relative difference of two elements.
        ulp: the largest distance of two elements in units in the last place.
        exact: whether noise counts as a difference, too.
    """

    rtol: float = 0.0
    ulp: int = 0
    exact: bool = False

    @property
    def is_given(self) -> bool:
        """Whether anything but the same bits is good enough."""
        return self.rtol > 0 or self.ulp > 0


SAME_BITS = Tolerance()


@dataclass(frozen=True)
class Leaf:
    """Numbers somewhere in a value.

    Attributes:
        at: where, e.g. `".weight"`.
        dtype: as the library calls it that owns the value.
        numbers: the elements; the bits, as integers, of a format that NumPy lacks.
    """

    at: str
    dtype: str
    numbers: np.ndarray[Any, Any]


class _TooMuchError(Exception):
    """The value is larger than what is kept."""


def _foreign(dtype: str) -> type | None:
    return next(
        (integers for name, integers in _FOREIGN.items() if dtype.removeprefix("torch.").startswith(name)), None
    )


def leaves(value: object) -> tuple[list[Leaf], str]:
    """A value's numbers, and one digest of all else that it holds.

    Example:
        >>> found, _ = leaves({"loss": 0.5, "name": "run"})
        >>> [(leaf.at, leaf.dtype) for leaf in found]
        [("['loss']", 'float')]
    """
    numbers: list[Leaf] = []
    others: list[str] = []
    size = 0
    for at, one in _flat(value, "", 0):
        leaf = _leaf(at, one)
        if leaf is None:
            others += [at, digest(one).hex]
            continue
        size += leaf.numbers.nbytes
        if size > LARGEST or len(numbers) >= _MOST_LEAVES:
            raise _TooMuchError
        numbers.append(leaf)
    return numbers, digest(others).hex


def _flat(value: Any, at: str, depth: int) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - a user's
    named = _named(value) if depth < _DEEPEST else None
    if named is None:
        yield at, value
        return
    yield at, kind_of(value)
    together = _numbers(value)
    if together is not None:
        yield at, together
        return
    for name, part in itertools.chain(named, ((f".{name}", part) for name, part in beside(value).items())):
        yield from _flat(part, at + name, depth + 1)


@dataclass(frozen=True)
class _Together:
    """The numbers of a list, which are told as one."""

    kind: str
    numbers: np.ndarray[Any, Any]


def _numbers(value: Any) -> _Together | None:  # noqa: ANN401 - a user's
    """A list's items, if all are numbers of one type."""
    if type(value) not in (list, tuple) or not value:
        return None
    kind = type(value[0])
    if kind not in (float, int, complex) or any(type(item) is not kind for item in value):
        return None
    found = np.asarray(value)
    return None if found.dtype.hasobject else _Together(kind.__name__, found)


def _named(value: Any) -> Iterator[tuple[str, object]] | None:  # noqa: ANN401, PLR0911 - one for each kind
    """The parts of a container that can hold numbers; None for what is none."""
    torch, pandas = sys.modules.get("torch"), sys.modules.get("pandas")
    if isinstance(value, Mapping):
        return ((f"[{key!r}]", part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{place}]", part) for place, part in enumerate(value))
    if torch is not None and isinstance(value, torch.nn.Module):
        return ((f".{name}", part) for name, part in parameters(value).items())
    if torch is not None and isinstance(value, torch.optim.Optimizer):
        return iter([("", value.state_dict())])
    if pandas is not None and isinstance(value, pandas.DataFrame) and value.columns.is_unique:
        return ((f"[{name!r}]", part) for name, part in (("index", value.index), *value.items()))
    if pandas is not None and isinstance(value, pandas.Series) and value.dtype.kind in "biufc":
        return iter([("", value.to_numpy()), (".index", value.index)])
    return None


def _leaf(at: str, value: Any) -> Leaf | None:  # noqa: ANN401 - a user's
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_tensor(at, value)
    if type(value) is _Together:
        return Leaf(at, value.kind, value.numbers)
    if type(value) in (float, int, complex):
        number = np.asarray(value)
        return None if number.dtype.hasobject else Leaf(at, type(value).__name__, number)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        return Leaf(at, str(value.dtype), np.asarray(value))
    return None


def _of_tensor(at: str, value: Any) -> Leaf | None:  # noqa: ANN401 - torch's
    torch = sys.modules["torch"]
    if value.layout is not torch.strided or value.is_quantized or value.is_nested or value.is_meta:
        return None
    if value.numel() * value.element_size() > LARGEST:
        raise _TooMuchError
    plain = value.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
    integers = _foreign(str(value.dtype))
    if integers is not None:
        plain = plain.view(getattr(torch, np.dtype(integers).name))
    return Leaf(at, str(value.dtype), np.from_dlpack(plain))  # after Tensor.numpy nobody can resize the tensor


def keep(value: object, file: Path) -> None:
    """Write a value's numbers to a file, to be measured against; too large a value is left out.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        found, others = leaves(value)
    except _TooMuchError:
        return
    if not found:
        return
    told = json.dumps([others, *([leaf.at, leaf.dtype] for leaf in found)])
    with file.open("wb") as stream:
        np.savez(stream, np.asarray(told), *(leaf.numbers for leaf in found))


def _kept(file: Path) -> tuple[list[Leaf], str]:
    with np.load(file, allow_pickle=False) as stored:
        others, *told = json.loads(str(stored["arr_0"]))
        return [Leaf(at, dtype, stored[f"arr_{place}"]) for place, (at, dtype) in enumerate(told, start=1)], others


def measure(value: object, file: Path, tolerance: Tolerance) -> Distance | None:
    """How far a value is from the one that was kept; None where that cannot be said by numbers.

    Args:
        value: this run's.
        file: what `keep` wrote in another run.
        tolerance: what counts as close.
    """
    if not file.exists():
        return None
    try:
        mine, other_than_numbers = leaves(value)
    except _TooMuchError:
        return None
    theirs, other_than_theirs = _kept(file)
    return apart(theirs, mine, tolerance, is_rest_same=other_than_numbers == other_than_theirs)


def apart(theirs: list[Leaf], mine: list[Leaf], tolerance: Tolerance, *, is_rest_same: bool = True) -> Distance | None:
    """The distance of the first leaf that differs, and how many do; None if none does, or they do not match one by one.

    Example:
        >>> one, other = [Leaf("", "float32", np.float32([0, 1]))], [Leaf("", "float32", np.float32([0, 1.0000001]))]
        >>> found = apart(one, other, Tolerance(ulp=1))
        >>> found.first, found.max_ulp, found.is_close
        ((1,), 1, True)
    """
    differing: list[Distance] = []
    if [_form(leaf) for leaf in theirs] != [_form(leaf) for leaf in mine]:
        return None
    is_close = is_rest_same
    for one, other in zip(theirs, mine, strict=True):
        found = _apart(one, other, tolerance)
        if found is not None:
            is_close &= found.is_close
            differing.append(found)
    if not differing:
        return None
    return replace(differing[0], is_close=is_close, parts=len(differing))


def _form(leaf: Leaf) -> tuple[str, str, tuple[int, ...]]:
    return leaf.at, leaf.dtype, leaf.numbers.shape


def _bits(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Elements as integers, in rows of those that belong to one element (a complex number has two)."""
    each = np.ascontiguousarray(numbers).reshape(-1, 1)
    flat: np.ndarray[Any, Any] = each.view(f"f{each.dtype.itemsize // 2}") if each.dtype.kind == "c" else each
    integers = _INTEGERS.get(flat.dtype.itemsize)
    if integers is None:  # long double: 80 bits and padding
        return flat.astype(np.float64).view(np.int64)
    return flat.view(integers)


def _apart(one: Leaf, other: Leaf, tolerance: Tolerance) -> Distance | None:
    bits, others = _bits(one.numbers), _bits(other.numbers)
    places = np.flatnonzero((bits != others).any(axis=1))
    if not places.size:
        return None
    shape = one.numbers.shape
    first = tuple(int(index) for index in np.unravel_index(places[0], shape))
    told = Distance(one.at, one.dtype, shape, int(places.size), one.numbers.size, first, None, None)
    left, right = _floats(one, places), _floats(other, places)
    is_float = one.numbers.dtype.kind in "fc" or _foreign(one.dtype) is not None
    missing = np.isnan(left) | np.isnan(right)
    if is_float and (missing & ~(np.isnan(left) & np.isnan(right))).any():
        return told
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.where(missing | (left == right), 0, np.abs(left - right))
        largest = np.maximum(np.abs(left), np.abs(right))
        is_near = distances <= tolerance.rtol * np.where(np.isfinite(largest), largest, 0)
    max_abs = float(distances.max())
    ulps = _ulps(bits[places], others[places]) if is_float else None
    if ulps is not None and tolerance.ulp:
        is_near = is_near.reshape(len(places), -1).all(axis=1) | (ulps <= tolerance.ulp)
    return replace(
        told,
        max_abs=max_abs if np.isfinite(max_abs) else None,
        max_ulp=None if ulps is None else int(ulps.max()),
        is_close=tolerance.is_given and bool(is_near.all()),
    )


def _floats(leaf: Leaf, places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements at some places as numbers to count with."""
    chosen: np.ndarray[Any, Any] = np.ascontiguousarray(leaf.numbers).reshape(-1)[places]
    if _foreign(leaf.dtype) is not None:
        torch = sys.modules["torch"]
        kind = getattr(torch, leaf.dtype.removeprefix("torch."))
        chosen = torch.from_numpy(chosen.copy()).view(kind).to(torch.float64).numpy()
    return chosen if chosen.dtype.kind == "c" else chosen.astype(np.longdouble)


def _ulps(bits: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How many numbers of the format lie between two of each row, at most."""
    left, right = _ordered(bits), _ordered(others)
    worst: np.ndarray[Any, Any] = np.where(left > right, left - right, right - left).max(axis=1)
    return worst


def _ordered(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bits of floating-point numbers as unsigned integers in the numbers' order; both zeros are one."""
    wide = bits.astype(np.int64)
    lowest = np.int64(np.iinfo(bits.dtype).min)
    with np.errstate(over="ignore"):
        signed = np.where(wide < 0, lowest - wide, wide)  # -0.0 becomes 0
    ordered: np.ndarray[Any, Any] = signed.astype(np.uint64) + np.uint64(1 << 63)
    return ordered
