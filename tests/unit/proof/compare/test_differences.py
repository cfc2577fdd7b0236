"""How differing values and texts are described: what a reader sees of them."""

from __future__ import annotations

import argparse
import math
import re
import types
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import repro_magic
from repro_magic.proof.compare.differences import RUNS, different, output
from repro_magic.proof.compare.small_differences import small_apart, texts_apart
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.kernel.numeric_distance import SAME_BITS
from repro_magic.proof.kernel.probe import described
from repro_magic.proof.kernel.small_values import LARGEST, small, value_of
from repro_magic.proof.verdict import Outcome

LABELS = ["cat", "dog", "bird", "fish", "newt"]
OTHERS = ["dog", "cat", "bird", "fish", "newt"]
WORDS = [f"word {number:04}" for number in range(3_000)]
LONG = "a" * 100 + "one" + "b" * 100


def apart(one: object, other: object) -> str:
    return small_apart(small(one), small(other), RUNS)


TOLD: list[tuple[Any, Any, str]] = [
    ("cat", "dog", "'cat' in one run, 'dog' in the other"),
    (True, False, "True in one run, False in the other"),
    (None, 0, "None in one run, 0 in the other"),
    (1, 1.0, "1 in one run, 1.0 in the other"),
    (0.5, math.nan, "0.5 in one run, nan in the other"),
    (-math.inf, math.inf, "-inf in one run, inf in the other"),
    (b"a", b"b", "b'a' in one run, b'b' in the other"),
    ([1, 2], [1, 2, 3], "[1, 2] in one run, [1, 2, 3] in the other"),
    ([1, 2], (1, 2), "[1, 2] in one run, (1, 2) in the other"),
    (WORDS[:50], WORDS[:51], "a list of 50 in one run, of 51 in the other"),
    (
        {f"a long column {letter}": place for place, letter in enumerate("abcd")},
        {f"a long column {letter}": place for place, letter in enumerate("dcba")},
        (
            "4 of 4 elements differ, the first at ['a long column a']: 0 in one run, 3 in the other; "
            "the same 4 keys in another order: 'a long column a', 'a long column b', 'a long column c', … in one run, "
            "'a long column d', 'a long column c', 'a long column b', … in the other"
        ),
    ),
    ([1, "a"], [1, "b"], "1 of 2 elements differs: [1, 'a'] in one run, [1, 'b'] in the other"),
    (
        LABELS,
        OTHERS,
        (
            "the same 5 items in another order: 'cat', 'dog', 'bird', 'fish', 'newt' in one run, "
            "'dog', 'cat', 'bird', 'fish', 'newt' in the other"
        ),
    ),
    (
        tuple(WORDS[:50]),
        tuple(WORDS[49::-1]),
        (
            "the same 50 items in another order: 'word 0000', 'word 0001', 'word 0002', … in one run, "
            "'word 0049', 'word 0048', 'word 0047', … in the other"
        ),
    ),
    (
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        "the same 2 keys in another order: 'a', 'b' in one run, 'b', 'a' in the other",
    ),
    (
        {"loss": LABELS, "seed": 1},
        {"loss": OTHERS, "seed": 1},
        (
            "at ['loss']: the same 5 items in another order: 'cat', 'dog', 'bird', "
            "'fish', 'newt' in one run, 'dog', 'cat', 'bird', 'fish', 'newt' in the other"
        ),
    ),
    ({"a", "b"}, {"a", "c"}, "2 items not in both: 'b' in one run only, 'c' in the other only"),
    ({"a": 1}, {"a": 1, "b": 2}, "1 key not in both: 'b' in the other only"),
    (
        LONG,
        LONG.replace("one", "two"),
        f"'…{'a' * 30}one{'b' * 27}…' in one run, '…{'a' * 30}two{'b' * 27}…' in the other",
    ),
]


@pytest.mark.parametrize(("one", "other", "told"), TOLD, ids=[told[:40] for _, _, told in TOLD])
def test_small_values_are_shown_themselves(one: object, other: object, told: str) -> None:
    assert apart(one, other) == told


LARGE: list[tuple[Any, Any, str]] = [
    (WORDS, WORDS[::-1], "the same 3,000 items in another order: 'word 0000', 'word 0001', "),
    (
        {word: at for at, word in enumerate(WORDS)},
        {word: at for at, word in enumerate(WORDS[::-1])},
        "the same 3,000 keys in another order: 'word 0000', 'word 0001', ",
    ),
    (WORDS, WORDS[1:], "a list of 3,000 in one run, of 2,999 in the other"),
    (WORDS, ["x", *WORDS[1:]], "a list of 3,000: 'word 0000', 'word 0001', "),
    (" ".join(WORDS), " ".join(WORDS).replace("0100", "x"), "'…0097 word 0098 word 0099 word 0100 word 0101 "),
    ("a" * 5_000, "a" * 6_000, "5,000 characters in one run, 6,000 in the other"),
]


@pytest.mark.parametrize(("one", "other", "told"), LARGE, ids=lambda value: str(value)[:20])
def test_of_large_values_the_order_the_size_and_the_beginning_are_told(one: object, other: object, told: str) -> None:
    assert apart(one, other).startswith(told)
    assert len(str(small(one))) < 2 * LARGEST


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(PLAIN, PLAIN)
def test_any_two_plain_values_are_told_apart_in_two_lines(one: object, other: object) -> None:
    """GIVEN two small values whose digests differ THEN something is told, never longer than two lines of a page."""
    if "text" in small(one):
        assert repr(value_of(small(one)["text"])) == repr(one)
    if digest(one).hex != digest(other).hex and "text" in small(one) and "text" in small(other):
        told = apart(one, other)
        assert "in the other" in told or "in one run" in told
        assert len(told) < 400
        assert "\n" not in told


class Loud:
    """Nothing of it may be called."""

    def __repr__(self) -> str:
        """Not to be called."""
        raise AssertionError("looked at")

    __eq__ = __hash__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]


class OwnList(list):  # type: ignore[type-arg]
    """Not a plain list."""

    __repr__ = __iter__ = Loud.__repr__  # type: ignore[assignment]


@pytest.mark.parametrize("value", [Loud(), [Loud()], {"a": (Loud(),)}, OwnList(), [OwnList()]], ids=type)
def test_nothing_of_the_users_is_called(value: object) -> None:
    assert isinstance(small(value), dict)


@dataclass
class Config:
    """A plain object."""

    rate: float
    name: str
    weights: torch.Tensor | None = None


class Point(NamedTuple):
    """A point."""

    x: float
    y: float


class Colour(Enum):
    """A colour."""

    RED = 1
    BLUE = 2


class OwnDict(dict):  # type: ignore[type-arg]
    """Not a plain dictionary."""


OBJECTS = [
    (
        Config(0.1, "a"),
        Config(0.2, "a"),
        "1 of 3 elements differs: Config(name='a', rate=0.1, weights=None) in one run",
    ),
    (
        argparse.Namespace(text="long " * 20, seed=1),
        argparse.Namespace(text="long " * 20, seed=2),
        "1 of 2 elements differs, the first at .seed: 1 in one run, 2 in the other",
    ),
    (types.SimpleNamespace(a=[1, 2]), types.SimpleNamespace(a=[1, 3]), "1 of 2 elements differs: SimpleNamespace(a=[1"),
    ({"c": Config(1, "x" * 60)}, {"c": Config(2, "x" * 60)}, "1 of 3 elements differs, the first at ['c'].rate: 1 in"),
    (Point(1, 2), Point(1, 3), "1 of 2 elements differs: Point(x=1, y=2) in one run, Point(x=1, y=3) in the other"),
    (
        pd.Timedelta(1, "s"),
        pd.Timedelta(2, "s"),
        "Timedelta('0 days 00:00:01') in one run, Timedelta('0 days 00:00:02'",
    ),
    (pd.Timestamp(0), pd.Timestamp(1), "Timestamp('1970-01-01 00:00:00') in one run, Timestamp('1970-01-01 00:00:00.0"),
    (pd.DataFrame({"a": ["x"]}), pd.DataFrame({"a": ["y"]}), "1 of 1 elements differs: DataFrame(['a']=['x']) in one"),
    (pd.Series(["x"]), pd.Series(["y"]), "1 of 1 elements differs: Series(['x']) in one run, Series(['y']) in the"),
    (pl.DataFrame({"a": ["x"]}), pl.DataFrame({"a": ["y"]}), "1 of 1 elements differs: DataFrame(['a']=['x']) in one"),
    (defaultdict(list, a=[1]), defaultdict(list, a=[2]), "1 of 1 elements differs: defaultdict({'a': [1]}) in one"),
    (OwnDict(a=1), OwnDict(b=1), "2 keys not in both: 'a' in one run only, 'b' in the other only"),
    (np.float32(0.5), np.float32(0.25), "0.5 in one run, 0.25 in the other"),
    (Colour.RED, Colour.BLUE, "Colour.RED in one run, Colour.BLUE in the other"),
    (datetime(2026, 1, 1), datetime(2026, 1, 2), "datetime.datetime(2026, 1, 1, 0, 0) in one run, datetime.datetime"),  # noqa: DTZ001
    (range(3), range(4), "range(0, 3) in one run, range(0, 4) in the other"),
    (ValueError("a"), ValueError("b"), "1 of 1 elements differs: ValueError(args=('a',)) in one run, ValueError(args"),
    (frozenset("a"), frozenset("b"), "2 items not in both: 'a' in one run only, 'b' in the other only"),
    (deque([1, 2]), deque([1, 3]), "1 of 2 elements differs: deque([1, 2]) in one run, deque([1, 3]) in the other"),
    (
        Config(1, "a", torch.zeros(2)),
        Config(1, "b", torch.zeros(2)),
        "1 of 3 elements differs: Config(name='a', rate=1, weights=<torch.Tensor ",
    ),
]


@pytest.mark.parametrize(("one", "other", "told"), OBJECTS, ids=lambda value: type(value).__name__)
def test_of_objects_the_part_that_differs_is_shown(one: object, other: object, told: str) -> None:
    assert apart(one, other).startswith(told)


def test_a_large_part_of_an_object_stands_there_with_its_digest() -> None:
    one, other = (Config(1, "a" * 60, numbers) for numbers in (torch.zeros(2), torch.ones(2)))
    assert re.search(r"at \.weights: <torch\.Tensor \w{8}> in one run, <torch", apart(one, other))


def test_a_value_that_holds_itself_has_an_end() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "text" not in small(loop)
    assert "text" not in small([1 << 100_000])


def test_a_value_without_anything_small_is_told_by_its_kind_or_its_digest() -> None:
    other, text = (described(digest(value)) for value in (range(3), "a"))
    assert different("x", text, other).why == "a str in one run, a range in the other"
    told = different("x", {**other, "hex": "1" * 64}, {**other, "hex": "2" * 64}, ("the record", "the fresh run"))
    assert told.why == "range: digest 11111111 in the record, 22222222 in the fresh run"


TEXTS = [
    ("loss 1\n", "loss 2\n", "'loss 1\\n' in one run, 'loss 2\\n' in the other"),
    ("a\nb\nc", "a\nx\nc", "line 2: 'b' in one run, 'x' in the other"),
    ("a\nb\nc", "x\nb\nz", "2 of 3 lines differ, the first is line 1: 'a' in one run, 'x' in the other"),
    ("a\nb", "b\na", "the same 2 lines in another order, the first is line 1: 'a' in one run, 'b' in the other"),
    ("a\nb", "a\nb\nc", "2 lines in one run, 3 in the other; more in the other: 'c'"),
    ("a ", "a", "'a ' in one run, 'a' in the other"),
    ("a\n", "a", "'a\\n' in one run, 'a' in the other"),
]


@pytest.mark.parametrize(("one", "other", "told"), TEXTS)
def test_texts_are_shown_where_they_differ(one: str, other: str, told: str) -> None:
    assert texts_apart(one, other, RUNS) == told


def test_of_more_than_two_runs_each_has_its_number() -> None:
    part = output("stdout", ["a", "a", "b"], SAME_BITS)
    assert (part.outcome, part.why) == (Outcome.DIFFERS, "'a' in run 1, 'b' in run 3")
    assert output("stdout", ["a", "b"], SAME_BITS).why == "'a' in one run, 'b' in the other"
    assert output("stdout", ["a", None], SAME_BITS).why == "it is shown in one run only"


@pytest.mark.kernel
def test_a_verdict_shows_what_the_names_held(tmp_path: Path) -> None:
    """GIVEN a notebook that counts its runs THEN the verdict shows both values, and how many of a list differ."""
    path, counted = tmp_path / "study.ipynb", tmp_path / "counted"
    counted.mkdir()
    cells = [
        f"import os\nfolder = {str(counted)!r}\n_run = len(os.listdir(folder))\n_ = open(f'{{folder}}/{{_run}}', 'x')",
        "animals = ['cat', 'dog', 'bird'][:: -1 if _run else 1]\nwinner = animals[0]\nok = winner == 'cat'",
        "losses = [0.5 * at + _run for at in range(500)]\nflags = {'a': not _run, 'b': 'x'}",
        "print('winner:', winner)",
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), path)
    forwards, backwards = "'cat', 'dog', 'bird'", "'bird', 'dog', 'cat'"
    told = {part.name: part.why for cell in repro_magic.verify(path).cells for part in cell.parts if part.why}
    assert told == {
        "animals": f"the same 3 items in another order: {forwards} in one run, {backwards} in the other",
        "winner": "'cat' in one run, 'bird' in the other",
        "ok": "True in one run, False in the other",
        "losses": "list: 500 of 500 elements differ, the first at [0]; by at most 1",
        "flags": "1 of 2 elements differs: {'a': True, 'b': 'x'} in one run, {'a': False, 'b': 'x'} in the other",
        "stdout": "'winner: cat\\n' in one run, 'winner: bird\\n' in the other",
    }
