"""Values of every kind that a digest is taken of."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

PLAIN = (None, True, False, 0, 1, -1, 2**70, "", "1", b"1", ...)


DTYPES = (
    torch.bfloat16,
    torch.float16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.bool,
    torch.int8,
)


NAN, OTHER_NAN = (struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in (0x7FF8 << 48, (0x7FF8 << 48) + 1))


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: float
    y: float


class Pair(NamedTuple):
    """A named tuple."""

    first: int
    second: int


class Text(str):
    """A string of a class of its own."""

    __slots__ = ()


def loop(inner: Any) -> list[Any]:
    made: list[Any] = [1, inner]
    made.append(made)
    return made


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def by_channel() -> torch.Tensor:
    return torch.quantize_per_channel(ROW[:, None], torch.ones(3) / 10, torch.zeros(3), 0, torch.qint8)


def adam(seed: int) -> torch.optim.Optimizer:
    model = linear(seed)
    made = torch.optim.Adam(model.parameters())
    model(torch.arange(8.0).reshape(4, 2)).sum().backward()
    made.step()
    return made


def figure(height: float) -> Any:
    from matplotlib.figure import Figure

    made = Figure(figsize=(2, 1))
    made.add_subplot().plot([0, height])
    return made


ROW = torch.tensor([1.0, 2.0, 3.0])


# Makers of values that differ from each other in one bit or in their type; each is made twice.
DIFFERENT: dict[str, Any] = {
    **{f"plain {value!r}": (lambda value=value: value) for value in PLAIN},
    **{f"float {value!r}": (lambda value=value: value) for value in (0.0, -0.0, 1.0, math.inf, -math.inf)},
    "nan": lambda: NAN,
    "other nan": lambda: OTHER_NAN,
    "complex": lambda: complex(0.0, -0.0),
    "complex 0": lambda: 0j,
    "surrogate": lambda: "\ud800",
    "long text": lambda: "a" * 1000,
    "long text b": lambda: "a" * 999 + "b",
    "bytearray": lambda: bytearray(b"1"),
    "date": lambda: dt.date(2026, 1, 1),
    "datetime": lambda: dt.datetime(2026, 1, 1),  # noqa: DTZ001 - a naive one on purpose
    "aware": lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "path": lambda: Path("a"),
    "range": lambda: range(3),
    "slice": lambda: slice(0, 3),
    "enum": lambda: Colour.RED,
    "enum blue": lambda: Colour.BLUE,
    "text of a subclass": lambda: Text("1"),
    "list": lambda: [1, 2],
    "nested list": lambda: [[1, 2]],
    "list split": lambda: [[1], 2],
    "tuple": lambda: (1, 2),
    "namedtuple": lambda: Pair(1, 2),
    "deque": lambda: collections.deque([1, 2]),
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset({1, 2}),
    "dict": lambda: {"a": 1, "b": 2},
    "dict in another order": lambda: {"b": 2, "a": 1},
    "defaultdict": lambda: collections.defaultdict(int, a=1, b=2),
    "dataclass": lambda: Point(1.0, 2.0),
    "cycle": lambda: loop(2),
    "other cycle": lambda: loop(3),
    "array": lambda: np.array([1.0, 2.0]),
    "array float32": lambda: np.array([1.0, 2.0], np.float32),
    "array 2d": lambda: np.array([[1.0, 2.0]]),
    "array of objects": lambda: np.array([1, "a", [2]], dtype=object),
    "array -0": lambda: np.array([-0.0]),
    "array 0": lambda: np.array([0.0]),
    "array of dates": lambda: np.array(["2026-01-01"], "datetime64[D]"),
    "array of fields": lambda: np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    "array of other fields": lambda: np.array([(1, 2.0)], [("a", "i4"), ("c", "f8")]),
    "masked": lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
    "not masked": lambda: np.ma.masked_array([1.0, 2.0]),
    "empty array": lambda: np.zeros((0, 3)),
    "NumPy's number": lambda: np.float64(1.0),
    "0-d array": lambda: np.array(1.0),
    "tensor": lambda: torch.tensor([1.0, 2.0]),
    "0-d tensor": lambda: torch.tensor(1.0),
    "empty tensor": lambda: torch.zeros(0),
    "empty tensor 2d": lambda: torch.zeros(0, 2),
    **{f"tensor {dtype}": (lambda dtype=dtype: torch.tensor([1.0, 2.0]).to(dtype)) for dtype in DTYPES},
    "conjugate": lambda: torch.tensor([1 + 2j]).conj(),
    "no conjugate": lambda: torch.tensor([1 + 2j]),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse csr": lambda: torch.eye(3).to_sparse_csr(),
    "dense eye": lambda: torch.eye(3),
    "quantized": lambda: torch.quantize_per_tensor(ROW, 0.1, 0, torch.qint8),
    "quantized otherwise": lambda: torch.quantize_per_tensor(ROW, 0.2, 0, torch.qint8),
    "quantized by channel": by_channel,
    "nested": lambda: torch.nested.nested_tensor([ROW, ROW[:2]], layout=torch.jagged),
    "module": lambda: linear(1),
    "other module": lambda: linear(2),
    "optimizer": lambda: adam(1),
    "other optimizer": lambda: adam(2),
    "generator": lambda: torch.Generator().manual_seed(1),
    "other generator": lambda: torch.Generator().manual_seed(2),
    "dtype": lambda: torch.float32,
    "device": lambda: torch.device("cpu"),
    "size": lambda: torch.Size([1, 2]),
    "series": lambda: pd.Series([1.0, 2.0], name="a"),
    "series b": lambda: pd.Series([1.0, 2.0], name="b"),
    "frame": lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "frame indexed": lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[1, 2]),
    "frame nullable": lambda: pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "frame categorical": lambda: pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
    "frame twice": lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "index": lambda: pd.Index([1, 2]),
    "image": lambda: Image.new("RGB", (2, 2), (1, 2, 3)),
    "other image": lambda: Image.new("RGB", (2, 2), (1, 2, 4)),
    "figure": lambda: figure(1),
    "other figure": lambda: figure(-1),
}


BASE = torch.arange(24.0).reshape(2, 3, 4)


def made(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    return (torch.arange(math.prod(shape)).reshape(shape) % 5 - 2).to(dtype)


SHAPES = ((), (0,), (0, 3), (1,), (7,), (2, 1), (3, 4), (2, 3, 4))


SEEN_AS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "itself": lambda value: value,
    "a parameter": lambda value: nn.Parameter(value, requires_grad=value.is_floating_point()),
    "transposed": lambda value: value.permute(tuple(reversed(range(value.ndim)))),
    "every other": lambda value: value[..., ::2] if value.ndim else value,
    "one column": lambda value: value[..., :1] if value.ndim else value,
    "conjugate": torch.conj,
    "negative": lambda value: value.conj().imag,
    "of a graph": lambda value: value.clone().requires_grad_(value.is_floating_point()) * 1,
}


def in_notebook(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(code, names)
    return names


def users(kind: type) -> type:
    kind.__module__ = "__main__"
    return kind


def kept_in(kind: type, *arguments: object, **held: object) -> Any:
    """An object of a class of the notebook's, with attributes."""
    one = users(type("Kind", (kind,), {}))(*arguments)
    for name, value in held.items():
        setattr(one, name, value)
    return one
