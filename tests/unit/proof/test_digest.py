"""Digests: equal if, and only if, every bit is."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import logging
import math
import os
import random
import re
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.lines import Line2D
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import repro_magic
from repro_magic.proof.digest import digest as digests
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.kernel.numeric_distance import keep

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


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    with np.errstate(all="ignore"):
        return {name: digest(make()).hex for name, make in DIFFERENT.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DIFFERENT)
def test_equal_bits_have_equal_digests_and_no_others(name: str, found: dict[str, str]) -> None:
    assert digest(DIFFERENT[name]()).hex == found[name]
    assert digest(DIFFERENT[name]()).gaps == ()
    assert [other for other, value in found.items() if value == found[name]] == [name]


def test_digests_hold_across_processes_with_other_string_hashes() -> None:
    code = (
        "from repro_magic.proof.digest.digest import digest; print(digest([{'a', 'b', 'c'}, {'k': 1.5}, 'text']).hex)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {digest([{"a", "b", "c"}, {"k": 1.5}, "text"]).hex + "\n"}


BASE = torch.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("view", "copy"),
    [
        (BASE.transpose(0, 2), BASE.transpose(0, 2).contiguous()),
        (BASE[:, ::2], BASE[:, ::2].clone()),
        (BASE[0, 0, 0].expand(5), torch.zeros(5)),
        (BASE[:1, 0, 0], torch.zeros(1)),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j])),
        (torch.tensor([1 + 2j]).conj().imag, torch.tensor([-2.0])),
        (nn.Parameter(BASE), BASE),
        (BASE.clone().requires_grad_(), BASE),
        (BASE.numpy().T, np.ascontiguousarray(BASE.numpy().T)),
        (BASE.numpy().astype(">f4"), BASE.numpy()),
        (np.asfortranarray(BASE.numpy()), BASE.numpy()),
    ],
)
def test_neither_layout_nor_gradient_count(view: Any, copy: Any) -> None:
    assert digest(view).hex == digest(copy).hex


@pytest.mark.parametrize("piece", [1, 7, 64, 10_000])
def test_pieces_give_what_the_whole_gives(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [digest(value.contiguous()).hex for value in (BASE.transpose(0, 2), BASE.permute(1, 2, 0))]
    monkeypatch.setattr(digests, "_PIECE", piece)
    monkeypatch.setattr(digests, "_LARGE", piece)
    assert [digest(value).hex for value in (BASE.transpose(0, 2), BASE.permute(1, 2, 0))] == whole
    assert digest(BASE.permute(1, 2, 0).numpy()).hex == digest(np.ascontiguousarray(BASE.permute(1, 2, 0).numpy())).hex


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


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float32, torch.float64, torch.complex128, torch.uint16, torch.int64])
def test_a_plain_tensor_has_the_digest_that_a_walk_gives(dtype: torch.dtype) -> None:
    for shape in SHAPES:
        for see in SEEN_AS.values():
            try:
                value = see(made(dtype, shape))
            except RuntimeError:  # only a complex one has an imaginary part, and not every dtype can be multiplied
                continue
            bits = digests._at_once(value)
            assert bits is not None
            assert digests._walked(value) == (bits, (), b"")
            assert digest(value).hex == digest(value.detach().resolve_conj().resolve_neg().clone()).hex


@pytest.mark.parametrize("name", ["sparse", "sparse csr", "quantized", "nested", "list", "module"])
@pytest.mark.filterwarnings("ignore")
def test_what_has_parts_takes_a_walk(name: str) -> None:
    assert digests._at_once(DIFFERENT[name]()) is None


def test_a_tensor_that_is_only_a_stand_in_is_a_gap() -> None:
    gaps = []

    def look(row: torch.Tensor) -> torch.Tensor:
        gaps.append(digest(row).gaps)
        return row

    torch.vmap(look)(torch.ones(2, 3))
    assert [gap.why for (gap,) in gaps] == ["looking at it failed: RuntimeError"]


class Late:
    """Stands for pinned memory: what it was told to take is there only once it is waited for."""

    def __init__(self, log: list[str], name: str) -> None:
        """Tell a log what happens to it."""
        self.log, self.name = log, name
        self.held, self.coming = b"", b""

    def take(self, piece: bytes) -> None:
        """Start to copy."""
        self.log.append(f"{self.name} takes {piece.decode()}")
        self.held, self.coming = b"(lost)", piece

    def row(self) -> bytes:
        """Wait for the copy."""
        self.log.append(f"{self.name} is waited for")
        self.held = self.coming
        return self.held


@pytest.mark.parametrize("count", range(6))
def test_while_a_piece_is_hashed_the_next_one_is_on_its_way(count: int) -> None:
    pieces = [b"%d" % place for place in range(count)]
    log: list[str] = []
    buffers = [Late(log, "a"), Late(log, "b")]
    seen = []
    for row in digests._overlapped(pieces, buffers):
        log.append(f"{row.decode()} is hashed")
        seen.append(row)
        assert row in [one.held for one in buffers]  # nobody writes over it meanwhile
    assert seen == pieces
    if count == 3:
        assert log == [
            *("a takes 0", "b takes 1", "a is waited for", "0 is hashed"),
            *("a takes 2", "b is waited for", "1 is hashed"),
            *("a is waited for", "2 is hashed"),
        ]


@pytest.mark.parametrize("value", [*(see(BASE) for name, see in SEEN_AS.items() if name != "negative"), torch.ones(50)])
def test_a_buffer_holds_the_pieces_bytes(value: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no GPU here: only the memory, the event and the stream are stand-ins."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *sizes, pin_memory, **others: empty(*sizes, **others))  # noqa: ARG005
    monkeypatch.setattr(torch.cuda, "Event", mock.Mock)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    monkeypatch.setattr(digests, "_lies_as_it_is", lambda _value: False)
    monkeypatch.setattr(digests, "_PIECE", 32)
    rows = digests._overlapped(digests._pieces(value, value.nbytes), digests._pinned())
    assert b"".join(row.tobytes() for row in rows) == value.detach().numpy().tobytes()


def test_without_pinned_memory_there_are_no_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(digests, "_Pinned", refuse)
    assert digests._pinned() == ()


@given(st.lists(st.floats(width=32), min_size=1, max_size=8), st.integers(0, 31), st.integers(0, 7))
def test_one_bit_makes_another_digest(values: list[float], bit: int, place: int) -> None:
    value = np.array(values, np.float32)
    changed = value.copy()
    changed.view(np.uint32)[place % len(values)] ^= np.uint32(1 << bit)
    assert digest(torch.from_numpy(value)).hex != digest(torch.from_numpy(changed)).hex
    assert digest(value).hex != digest(changed).hex


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda parts: st.one_of(st.lists(parts), st.dictionaries(st.text(), parts)),
    max_leaves=20,
)


@given(JSON, JSON)
def test_structures_are_told_apart(first: Any, second: Any) -> None:
    assert (digest(first).hex == digest(second).hex) == (repr(first) == repr(second))


@pytest.mark.parametrize(
    ("value", "path"),
    [(iter([1]), ""), (torch.zeros(2, device="meta"), ""), (threading.Lock(), ""), (random.SystemRandom(), "")],
)
def test_what_has_no_bits_is_a_gap(value: Any, path: str) -> None:
    (gap,) = digest(value).gaps
    assert gap.path == path
    assert gap.why
    assert not digest(value).is_comparable


def test_a_gap_inside_is_named_and_the_rest_counts() -> None:
    one, other = ({"model": linear(1), "loss": [iter([1])], "step": step} for step in (1, 2))
    assert [gap.path for gap in digest(one).gaps] == ["[key 2 of 3][0]"]
    assert digest(one).is_comparable
    assert digest(one).hex != digest(other).hex


def test_objects_of_the_notebooks_own_classes_are_looked_into() -> None:
    kind = type("Model", (), {"__module__": "__main__"})
    one, other = kind(), kind()
    one.weight, other.weight = torch.ones(2), torch.ones(2)
    assert digest(one).hex == digest(other).hex
    other.weight = torch.zeros(2)
    assert digest(one).hex != digest(other).hex


KNOWN: dict[str, Callable[[float], object]] = {
    "Random": random.Random,
    "default_rng": lambda x: np.random.default_rng(int(x)),
    "PCG64": lambda x: np.random.PCG64(int(x)),
    "RandomState": lambda x: np.random.RandomState(int(x)),
    "SeedSequence": lambda x: np.random.SeedSequence(int(x)),
    "scheduler": lambda x: torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)], lr=0.1), int(x)),
    "TensorDataset": lambda x: torch.utils.data.TensorDataset(torch.full((2,), float(x))),
    "Subset": lambda x: torch.utils.data.Subset(torch.utils.data.TensorDataset(torch.ones(4)), [int(x)]),
    "DataLoader": lambda x: torch.utils.data.DataLoader([x]),  # type: ignore[arg-type]
    "SimpleNamespace": lambda x: types.SimpleNamespace(a=x),
    "UserDict": lambda x: collections.UserDict(a=x),
    "error": lambda x: ValueError("a", x),
    "partial": lambda x: functools.partial(print, x, end=""),
    "pattern": lambda x: re.compile(f"a{x}"),
    "logger": lambda x: logging.getLogger(f"a{x}"),
    "regression": lambda x: LinearRegression().fit([[0.0], [1.0]], [0.0, x]),
    "forest": lambda x: RandomForestClassifier(3, random_state=0).fit([[0.0], [1.0], [2.0]] * 4, [0, 1, int(x)] * 4),
    "pipeline": lambda x: make_pipeline(StandardScaler(), Ridge()).fit([[0.0], [x]], [0.0, 1.0]),
    "search": lambda x: GridSearchCV(Ridge(), {"alpha": [1.0, x]}, cv=2).fit([[0.0], [1.0]] * 4, [0.0, 1.0] * 4),
    "axes": lambda x: figure(x).gca(),
    "vectorizer": lambda x: TfidfVectorizer(stop_words=["a"]).fit([f"one w{int(x)}w", "two"]),
    "sparse": lambda x: scipy.sparse.csr_matrix([[0.0, x]]),
    "categorical": lambda x: pd.Categorical(["a", str(x)]),
    "arguments": lambda x: argparse.Namespace(seed=x),
    "distribution": lambda x: torch.distributions.Normal(x, 1.0),
    "scaler": lambda x: torch.amp.GradScaler("cpu", init_scale=x),
    "proxy": lambda x: types.MappingProxyType({"a": x}),
    "chain": lambda x: collections.ChainMap({"a": x}),
    "attrs": lambda x: frame_with(x),
    "p of dropout": lambda x: nn.Sequential(nn.Dropout(x / 10)),
    "kernel of a convolution": lambda x: nn.MaxPool2d((int(x), 2)),
    "method": lambda x: [x].append,
}


def frame_with(x: float) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["x"] = x
    return frame


@pytest.mark.parametrize("kind", KNOWN)
def test_objects_of_well_known_classes_are_compared(kind: str) -> None:
    one, same, other = (digest(KNOWN[kind](x)) for x in (2.0, 2.0, 3.0))
    assert one.gaps == ()
    assert one == same
    assert one.hex != other.hex


def test_a_line_that_is_in_no_figure_is_a_gap_and_later_ones_are_none() -> None:
    assert digest(Line2D([0], [1])).gaps
    assert not digest(figure(1).gca().lines[0]).gaps


def in_notebook(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(code, names)
    return names


@pytest.mark.parametrize(
    "code",
    [
        "x = [lambda a: a + {0}]",
        "x = [lambda a, k={0}: a]",
        "def made():\n    kept = {0}\n    return lambda: kept\nx = {{'f': made()}}",
        "class Kind:\n    __slots__ = ('a',)\nx = Kind()\nx.a = {0}",
        "import enum\nclass Kind(enum.Enum):\n    A = {0}\nx = [Kind]",
        "class Kind:\n    @staticmethod\n    def f(a={0}): ...\nx = [Kind]",
        "class Kind:\n    def f(self): ...\nkind = Kind()\nkind.a = {0}\nx = [kind.f]",
        "from torch.utils.data import Dataset\nclass Kind(Dataset): ...\nx = Kind()\nx.a = {0}",
        "from sklearn.base import BaseEstimator\nclass Kind(BaseEstimator): ...\nx = Kind()\nx.a = {0}",
        "from dataclasses import *\n@dataclass\nclass K:\n a: int = {0}\n b: list = field(default_factory=list)\nx = K",
        "from collections import UserDict\nclass Kind(UserDict): ...\nx = Kind(a={0})",
    ],
)
def test_code_is_its_place_and_what_it_holds(code: str) -> None:
    one, same, other = (digest(in_notebook(code.format(number))["x"]) for number in (1, 1, 2))
    assert one.gaps == ()
    assert one == same
    assert one.hex != other.hex


def test_one_function_is_not_another() -> None:
    first, second = in_notebook("x = lambda a: a.sin()\ny = lambda a: a.cos()"), in_notebook("x = lambda a: a.cos()")
    assert digest([first["x"]]).hex != digest([first["y"]]).hex
    assert digest([first["x"]]).hex != digest([second["x"]]).hex
    assert len({digest([one]).hex for one in (print, len, int, str, os, torch.sin, np.sin, nn.functional.relu)}) == 8


@pytest.mark.filterwarnings("ignore:put_ does not have a deterministic implementation")
def test_a_report_of_ours_is_its_scope_and_its_findings() -> None:
    def report(seed: int, index: list[int]) -> object:
        with repro_magic.deterministic(seed=seed, warn=False) as found:
            torch.zeros(7).put_(torch.tensor(index * 20_000), torch.rand(20_000 * len(index)))
        return found

    one, same = report(1, [0, 0]), report(1, [0, 0])
    assert digest(one) == digest(same)
    assert not digest(one).gaps
    assert digest(one).hex != digest(report(2, [0, 0])).hex
    with repro_magic.deterministic(seed=1) as quiet:
        pass
    assert digest(one).hex != digest(quiet).hex


def test_shared_parts_are_looked_at_once() -> None:
    value: list[Any] = [1]
    for _ in range(200):
        value = [value, value]
    assert digest(value).is_comparable


def test_an_object_that_cannot_be_looked_at_is_a_gap_and_the_rest_counts() -> None:
    class Sulking(nn.Module):
        """A module that has lost its parameters."""

        def named_parameters(self, *_: Any, **__: Any) -> Any:
            raise ValueError("no")

    sulking = Sulking()
    del sulking._parameters
    found = digest({"a": sulking, "b": 2})
    assert [(gap.path, gap.why) for gap in found.gaps] == [("[key 1 of 2]", "looking at it failed: ValueError")]
    assert found.hex != digest({"a": sulking, "b": 3}).hex


def test_depth_does_not_matter() -> None:
    def nested(inner: object) -> list[Any]:
        value = [inner]
        for _ in range(100_000):
            value = [value]
        return value

    one, same, other = nested(1), nested(1), nested(2)
    assert digest(one) == digest(same)
    assert digest(one).hex != digest(other).hex
    assert digest(one).is_comparable
    for value in (one, same, other):
        while isinstance(value, list):  # Python frees it level by level, too
            value = value[0]  # noqa: PLW2901


def test_looking_changes_nothing() -> None:
    drawn = figure(1)
    canvas, dpi = drawn.canvas, drawn.dpi
    model = linear(1)
    before = torch.get_rng_state().tolist(), [one._version for one in model.parameters()]
    digest([drawn, model, BASE.mT, torch.eye(3).to_sparse()])
    assert (drawn.canvas, drawn.dpi) == (canvas, dpi)
    assert (torch.get_rng_state().tolist(), [one._version for one in model.parameters()]) == before


def test_it_tells_kind_dtype_and_shape() -> None:
    found = digest(BASE)
    assert (found.kind, found.dtype, found.shape) == ("torch.Tensor", "torch.float32", (2, 3, 4))
    assert (digest("a").dtype, digest("a").shape) == (None, None)


class Base:
    """A class with a slot."""

    __slots__ = ("kept",)


def users(kind: type) -> type:
    kind.__module__ = "__main__"
    return kind


def test_a_users_object_holds_its_slots_and_says_what_lies_below_it() -> None:
    users(Base)
    kind = users(type("Kind", (Base,), {}))
    one, other = kind(), kind()
    one.kept, other.kept = 1, 2
    assert digest(one).hex != digest(other).hex
    below = users(type("Below", (threading.local,), {}))()
    assert [gap.why for gap in digest(below).gaps] == ["it is a handle"]
    below = users(type("Below", (decimal.Decimal,), {}))()
    assert [gap.why for gap in digest(below).gaps] == ["what its base Decimal holds is not known"]


def kept_in(kind: type, *arguments: object, **held: object) -> Any:
    """An object of a class of the notebook's, with attributes."""
    one = users(type("Kind", (kind,), {}))(*arguments)
    for name, value in held.items():
        setattr(one, name, value)
    return one


@dataclasses.dataclass
class Lone:
    """A dataclass of its own, as its module is changed."""

    x: int = 1


@pytest.mark.parametrize("kind", [list, dict, set, tuple, collections.deque, str, int, float, nn.Identity, Lone])
def test_attributes_of_subclasses_count(kind: type) -> None:
    assert digest(kept_in(kind, extra=1)).hex == digest(kept_in(kind, extra=1)).hex
    assert digest(kept_in(kind, extra=1)).hex != digest(kept_in(kind, extra=2)).hex
    assert digest(kept_in(kind)).hex != digest(kept_in(kind, extra=1)).hex
    found = digest(kept_in(kind, extra=iter([1])))
    assert [gap.path for gap in found.gaps] == [".extra"]


def test_attributes_of_tensors_and_arrays_of_the_notebooks_classes_count() -> None:
    arrays, tensors = [], []
    for extra in (1, 1, 2):
        array: Any = np.ones(2).view(users(type("Array", (np.ndarray,), {})))
        array.extra = extra
        arrays.append(digest(array).hex)
        tensor: Any = torch.ones(2).as_subclass(users(type("Own", (torch.Tensor,), {})))
        tensor.extra = extra
        tensors.append(digest(tensor).hex)
    for one, same, other in (arrays, tensors):
        assert one == same != other


def test_attributes_of_modules_below_the_notebooks_count_and_code_among_them_is_code() -> None:
    def model(steps: int) -> nn.Module:
        return nn.Sequential(kept_in(nn.Identity, steps=steps, act=nn.functional.relu))

    assert digest(model(1)) == digest(model(1))
    assert not digest(model(1)).gaps
    assert digest(model(1)).hex != digest(model(2)).hex


def test_an_enums_member_is_its_name_and_value_and_no_address() -> None:
    def make() -> object:
        kind: Any = enum.Enum("kind", {"ONE": functools.partial(print, 1)})
        return kind.ONE

    assert digest(make()).hex == digest(make()).hex


def test_the_padding_of_long_doubles_means_nothing() -> None:
    found = {digest(np.full(3, 1.0).astype("longdouble") + 0).hex for _ in range(50)}
    assert len(found) == 1
    assert digest(np.full(3, 1.5).astype("longdouble")).hex not in found


def test_no_key_of_a_dictionary_stands_in_a_gaps_path() -> None:
    """A key may be a name or a PIN, and receipts with their gaps are published."""
    secret = {"Jane Doe": iter([1]), 4711: iter([1]), ("Jane", 1): {b"Jane": iter([1])}}
    assert [gap.path for gap in digest(secret).gaps] == ["[key 1 of 3]", "[key 2 of 3]", "[key 3 of 3][key 1 of 1]"]


def test_a_tensor_that_was_looked_at_can_still_be_resized(tmp_path: Path) -> None:
    tensor = torch.zeros(3)
    digest(tensor)
    keep(tensor, tmp_path / "kept.npz")
    assert tensor.resize_(6).shape == (6,)


class Tool:
    """An object of a library's, which keeps a counter and its parts for itself."""

    def __init__(self, rate: float, note: str, weights: list[float]) -> None:
        """As given."""
        self.rate, self._note, self._parts = rate, note, [{"name": note, "weights": np.array(weights)}]


Tool.__module__ = "somelibrary.tools"


def test_what_a_library_keeps_for_itself_counts_apart() -> None:
    one, other = Tool(0.1, "at 9:00", [1.0]), Tool(0.1, "at 9:05", [1.0])
    assert digest(one).hex == digest(other).hex
    assert digest(one).own != digest(other).own
    assert digest(one).own == digest(Tool(0.1, "at 9:00", [1.0])).own != ""
    assert digest(one).hex != digest(Tool(0.2, "at 9:00", [1.0])).hex, "what it shows counts"
    assert digest(one).hex != digest(Tool(0.1, "at 9:00", [2.0])).hex, "and so do arrays"
    assert digest({"a": 1}).own == ""


def test_what_trains_a_model_is_no_part_of_it() -> None:
    class Model(nn.Linear):
        """A model that is trained."""

    Model.__module__ = "__main__"
    one: Any = Model(2, 2)
    other: Any = Model(2, 2)
    other.load_state_dict(one.state_dict())
    one._trainer, other._trainer = Tool(0.1, "a", [1.0]), Tool(0.2, "b", [2.0, 3.0])
    assert digest(one).hex == digest(other).hex
    assert digest(one).own != digest(other).own
    one._steps = 1
    assert digest(one).hex != digest(other).hex, "its author's own attributes count"
