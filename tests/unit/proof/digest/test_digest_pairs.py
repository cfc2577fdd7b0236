"""For every supported type: whatever part is changed, the digest changes; whatever way it is built, it is the same."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import fractions
import itertools
import json
import os
import subprocess
import sys
import types
import zoneinfo
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from repro_magic.proof.digest.digest import digest


class Plain:
    """An object of a library's class, with a slot below it."""

    def __init__(self, **held: object) -> None:
        """Hold something."""
        vars(self).update(held)


@dataclasses.dataclass(slots=True)
class Slotted:
    """A dataclass without a dictionary."""

    x: object


def palette(colour: int) -> Image.Image:
    made = Image.new("P", (2, 2))
    made.putpalette([colour] * 768)
    return made


def picture(**info: object) -> Image.Image:
    made = Image.new("RGB", (2, 2))
    made.info.update(info)
    return made


def frame(**named: object) -> pd.DataFrame:
    made = pd.DataFrame({"a": [1, 2]})
    for path, value in named.items():
        setattr(getattr(made, path.partition("_")[0]), path.partition("_")[2], value)
    return made


def linear(*, training: bool = True, trains: bool = True) -> nn.Module:
    made = nn.Linear(2, 2)
    nn.init.ones_(made.weight)
    nn.init.zeros_(made.bias)
    return made.train(training).requires_grad_(trains)


def parameter(number: float) -> nn.Parameter:
    return nn.Parameter(torch.full((2,), float(number)))


def stepped(*, order: Sequence[int], grad: float = 1.0) -> torch.optim.Optimizer:
    parameters = [parameter(number) for number in order]
    made = torch.optim.Adam(parameters)
    for one in parameters:
        one.grad = torch.full((2,), grad)
    made.step()
    return made


def graph(*edges: tuple[object, ...]) -> nx.Graph:
    return nx.Graph(edges)


INSTANT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
# Each row makes values that all differ; each is made twice.
DIFFER: dict[str, Callable[[], Sequence[object]]] = {
    "palette": lambda: [palette(1), palette(2)],
    "transparency": lambda: [picture(transparency=1), picture(transparency=2), picture()],
    "deque": lambda: [collections.deque([1], 2), collections.deque([1], 3), collections.deque([1])],
    "defaultdict": lambda: [collections.defaultdict(int), collections.defaultdict(list), {}],
    "ordered dict": lambda: [collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)],
    "masked": lambda: [np.ma.array([1, 2], mask=[False, True], fill_value=fill) for fill in (3, 4)],
    "fields": lambda: [np.zeros(2, "i4,f4"), np.zeros(2, "f4,i4")],
    "text arrays": lambda: [np.array(["a"], kind) for kind in (object, "U1", np.dtypes.StringDType())],
    "categorical": lambda: [
        pd.Series(pd.Categorical(["a"], categories=categories, ordered=ordered))
        for categories, ordered in ((["a", "b"], False), (["a", "b"], True), (["b", "a"], False), (["a", "c"], False))
    ],
    "levels": lambda: [pd.MultiIndex.from_product([[1], [2]], names=["a", name]) for name in "bc"],
    "freq": lambda: [pd.date_range("2020", periods=2, freq="D"), pd.DatetimeIndex(["2020-01-01", "2020-01-02"])],
    "frame": lambda: [
        *(frame(index_name=name) for name in ("a", "b")),
        *(frame(columns_name=name) for name in ("a", "b")),
        frame(flags_allows_duplicate_labels=False),
        frame(),
        pd.DataFrame({"a": [1, 3]}),
        pd.DataFrame({"b": [1, 2]}),
    ],
    "module": lambda: [linear(), linear(training=False), linear(trains=False)],
    "modules inside": lambda: [nn.Sequential(nn.ReLU()), nn.Sequential(nn.GELU()), nn.Sequential(nn.Dropout(0.1))],
    "lazy": lambda: [nn.LazyLinear(2), nn.LazyLinear(3), nn.Sequential(nn.LazyLinear(2))],
    "optimizer": lambda: [
        torch.optim.SGD([parameter(1)], lr=0.1),
        torch.optim.SGD([parameter(2)], lr=0.1),
        torch.optim.SGD([parameter(1)], lr=0.2),
        torch.optim.SGD([{"params": [parameter(1)]}, {"params": [parameter(2)]}], lr=0.1),
        torch.optim.SGD([{"params": [parameter(2)]}, {"params": [parameter(1)]}], lr=0.1),
        torch.optim.SGD([parameter(1), parameter(2)], lr=0.1),
    ],
    "state of an optimizer": lambda: [stepped(order=(1, 2)), stepped(order=(2, 1)), stepped(order=(1, 2), grad=2.0)],
    "polars": lambda: [
        pl.DataFrame({"a": [1, 2], "b": ["u", None]}),
        pl.DataFrame({"a": [2, 1], "b": ["u", None]}),
        pl.DataFrame({"b": ["u", None], "a": [1, 2]}),
        pl.DataFrame({"a": [1, 2], "b": ["u", "v"]}),
        pl.DataFrame({"a": [1.0, 2.0], "b": ["u", None]}),
    ],
    "polars series": lambda: [
        *(pl.Series("a", values) for values in ([1, 0], [1, None], [[1], [0]], [True, False], ["1", "0"])),
        *(pl.Series("a", [INSTANT.replace(day=day)]) for day in (1, 2)),
        pl.Series("b", [1, 0]),
    ],
    "pyarrow": lambda: [
        *(pa.table({"a": values}) for values in ([1, 2], [2, 1], [1, None], ["1", "2"])),
        pa.table({"b": [1, 2]}),
        *(pa.array(values) for values in ([1, 2], [1.0, 2.0], [1, None], [[1], [2]])),
        *(pa.chunked_array([[number]]) for number in (1, 2)),
        *(pa.scalar(number) for number in (1, 2)),
        *(pa.schema([(name, pa.int64())]) for name in "ab"),
    ],
    "graph": lambda: [
        graph((1, 2), (2, 3)),
        graph((2, 3), (1, 2)),
        graph((1, 2), (2, 3, {"w": 1})),
        graph((1, 2), (2, 3, {"w": 2})),
        nx.DiGraph([(1, 2), (2, 3)]),
    ],
    "objects": lambda: [Plain(a=1), Plain(a=2), Plain(b=1), Plain(), Slotted(1), Slotted(2)],
    "time zones": lambda: [
        INSTANT,
        INSTANT.replace(tzinfo=zoneinfo.ZoneInfo("UTC")),
        INSTANT.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
        INSTANT.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Paris"), fold=1),
        dt.time(1),
        dt.time(1, fold=1),
    ],
    "small": lambda: [
        fractions.Fraction(1, 2),
        fractions.Fraction(1, 3),
        {1: 2}.keys(),
        {2: 1}.keys(),
        {1: 2}.values(),
    ],
    "generics": lambda: [list[int], list[str], int | str, int | None],
}


@pytest.mark.parametrize("name", DIFFER)
def test_a_changed_part_is_another_digest(name: str) -> None:
    found, again = ([digest(value) for value in DIFFER[name]()] for _ in range(2))
    assert [one.hex for one in found] == [one.hex for one in again]
    assert len({one.hex for one in found}) == len(found)
    assert [one.gaps for one in found] == [()] * len(found)


def shared(number: int) -> list[list[int]]:
    inner = [number]
    return [inner, inner]


BIG = np.arange(600_000.0).reshape(300, 2000)
SAME: dict[str, tuple[object, object]] = {
    "order in memory": (BIG, np.asfortranarray(BIG)),
    "byte order": (np.arange(5, dtype=">i4"), np.arange(5, dtype="<i4")),
    "byte order of fields": (np.zeros(2, ">i4,<f4"), np.zeros(2, "<i4,>f4")),
    "padding": (np.zeros(2, np.dtype("u1,i8", align=True)), np.zeros(2, np.dtype("u1,i8"))),
    "strides": (np.arange(10)[::-2], np.arange(10)[::-2].copy()),
    "order of a set": ({"a", "b", "c"}, {"c", "b", "a"}),
    "shared or not": (shared(1), [[1], [1]]),
    "shared objects": ([one := Plain(a=1), one], [Plain(a=1), Plain(a=1)]),
    "chunks": (pa.chunked_array([[1], [2]]), pa.chunked_array([[1, 2]])),
    "chunks of polars": (pl.concat([pl.Series([1]), pl.Series([2])], rechunk=False), pl.Series([1, 2])),
    "a slice": (pa.array([0, 1, 2])[1:], pa.array([1, 2])),
    "unseen views": (graph((1, 2)), (made := graph((1, 2)), made.nodes, made.edges, made.adj)[0]),
    "mask": (np.ma.array([1, 2]), np.ma.array([1, 2], mask=[False, False])),
    "under a mask": (np.ma.array([1, 5], mask=[False, True]), np.ma.array([1, 7], mask=[False, True])),
}


@pytest.mark.parametrize("name", SAME)
def test_the_way_it_was_built_does_not_count(name: str) -> None:
    one, other = map(digest, SAME[name])
    assert (one.hex, one.gaps) == (other.hex, other.gaps)


LEAVES = st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.none(), st.floats(allow_nan=False))
WAYS: dict[str, Callable[[Any, Any], object]] = {
    "list": lambda inner, other: [inner, other],
    "dictionary": lambda inner, other: {"a": inner, "b": other},
    "object": lambda inner, other: Plain(a=inner, b=other),
    "slots": lambda inner, other: Slotted((inner, other)),
    "array": lambda inner, other: np.array([inner, other, None], dtype=object),
    "namespace": lambda inner, other: types.SimpleNamespace(a=inner, b=other),
    "error": ValueError,
    "deque": lambda inner, other: collections.deque([inner, other]),
    "chain": lambda inner, other: collections.ChainMap({"a": inner}, {"b": other}),
    "graph": lambda inner, other: nx.DiGraph([(1, 2, {"w": inner})], kept=other),
}


@given(st.lists(st.sampled_from(sorted(WAYS)), max_size=6), LEAVES, LEAVES, LEAVES)
@settings(max_examples=200)
def test_a_change_shows_however_deep(ways: list[str], leaf: object, changed: object, other: object) -> None:
    def built(inner: object) -> object:
        for way in ways:
            inner = WAYS[way](inner, other)
        return inner

    one, same, differs = digest(built(leaf)), digest(built(leaf)), digest(built(changed))
    assert one == same
    assert one.gaps == ()
    assert (one.hex == differs.hex) == (repr(leaf) == repr(changed))


class Node:
    """One that knows its neighbours, and is hashed by its address."""

    def __init__(self, name: str) -> None:
        """Know nobody."""
        self.name, self.known = name, set[Node]()


def acquainted(names: str) -> set[Node]:
    nodes = [Node(name) for name in names]
    for one, other in itertools.pairwise(nodes):
        one.known.add(other)
        other.known.add(one)
    return set(nodes)


def test_sets_of_objects_that_refer_to_each_other_have_one_digest_wherever_they_lie() -> None:
    kept = [acquainted("abcdefg") for _ in range(20)]  # alive at once, so at other addresses
    assert len({digest(one).hex for one in kept}) == 1
    assert digest(acquainted("abcdefh")).hex != digest(kept[0]).hex


ELSEWHERE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_digest_pairs import DIFFER, acquainted, digest
found = {name: [digest(value).hex for value in make()] for name, make in DIFFER.items()}
print(json.dumps({**found, "sets": [digest(acquainted("abc")).hex]}))
"""


@pytest.mark.kernel
def test_another_process_with_other_string_hashes_finds_the_same() -> None:
    here = {name: [digest(value).hex for value in make()] for name, make in DIFFER.items()}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {**here, "sets": [digest(acquainted("abc")).hex]}


def test_of_a_librarys_object_what_is_no_result_is_a_gap() -> None:
    one, other = (
        Plain(_start_time=number, fit_time_=float(number), _cache={number: 1}, steps=3, folder=f"{Path.cwd()}/x")
        for number in (1, 2)
    )
    assert digest(one).hex == digest(other).hex
    assert [gap.why for gap in digest(one).gaps] == ["it is read from a clock"] * 2 + ["it is a cache"]
    assert digest(one).hex != digest(Plain(**{**vars(one), "steps": 4})).hex


def test_a_lazy_frame_says_how_it_becomes_comparable() -> None:
    (gap,) = digest(pl.LazyFrame({"a": [1]})).gaps
    assert "collect()" in gap.why
