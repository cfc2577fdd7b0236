"""How far numeric values are apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro_magic.proof.kernel.numeric_distance import SAME_BITS, Tolerance, apart, keep, leaves, measure
from repro_magic.proof.verdict import Distance


def distance(one: object, other: object, tolerance: Tolerance = SAME_BITS) -> Distance | None:
    (mine, rest), (theirs, other_rest) = leaves(one), leaves(other)
    return apart(mine, theirs, tolerance, is_rest_same=rest == other_rest)


def found(one: object, other: object, tolerance: Tolerance = SAME_BITS) -> Distance:
    measured = distance(one, other, tolerance)
    assert measured is not None
    return measured


def test_elements_index_and_largest_distance() -> None:
    one = torch.zeros(2, 3)
    other = one.clone()
    other[1, 0], other[1, 2] = 0.5, -2
    told = found(one, other)
    assert (told.differing, told.size, told.first, told.max_abs) == (2, 6, (1, 0), 2.0)
    assert (told.dtype, told.shape, told.is_close) == ("torch.float32", (2, 3), False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 50))
def test_a_distance_in_ulp_counts_the_numbers_between(start: float, steps: int) -> None:
    end = start
    for _ in range(steps):
        end = math.nextafter(end, math.inf)
    if math.isfinite(end) and start not in (end, 0.0):
        assert found(start, end).max_ulp == steps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2])
def test_one_ulp_in_every_format_also_across_zero(dtype: torch.dtype) -> None:
    zero = torch.zeros(2, dtype=dtype)
    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    smallest = torch.ones(2, dtype=integers).view(dtype)
    assert found(zero, smallest).max_ulp == 1
    assert found((-smallest.double()).to(dtype), smallest).max_ulp == 2


def test_the_two_zeros_are_other_bits_and_no_distance() -> None:
    told = found(0.0, -0.0)
    assert (told.max_abs, told.max_ulp) == (0, 0)
    assert found(0.0, -0.0, Tolerance(ulp=1)).is_close


def test_not_a_number_against_a_number_is_never_close() -> None:
    told = found(np.array([1, np.nan]), np.array([1.0, 1]), Tolerance(rtol=1e9, ulp=2**62))
    assert (told.max_abs, told.max_ulp, told.is_close) == (None, None, False)
    both = found(np.array([0x7FC00000], "i4").view("f4"), np.array([0x7FC00001], "i4").view("f4"), Tolerance(rtol=0.1))
    assert (both.max_abs, both.is_close) == (0, True), "two payloads"


def test_infinity_is_far_from_every_number() -> None:
    told = found(np.array([np.inf]), np.array([1.0]), Tolerance(rtol=0.5))
    assert (told.max_abs, told.is_close) == (None, False)
    assert not found(np.array([np.inf]), np.array([-np.inf]), Tolerance(rtol=0.5)).is_close


@pytest.mark.parametrize(
    ("tolerance", "is_close"),
    [(SAME_BITS, False), (Tolerance(rtol=1e-3), True), (Tolerance(rtol=1e-9), False), (Tolerance(ulp=10_000), True)],
)
def test_tolerances(tolerance: Tolerance, *, is_close: bool) -> None:
    assert found(np.array([1, 2], "f4"), np.array([1.0001, 2], "f4"), tolerance).is_close is is_close


def test_close_numbers_beside_another_text_are_not_close() -> None:
    assert found([1.0, "a"], [1.0000001, "a"], Tolerance(rtol=1e-3)).is_close
    assert not found([1.0, "a"], [1.0000001, "b"], Tolerance(rtol=1e-3)).is_close


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [
        ({"loss": [1.0, 2.0]}, {"loss": [1.0, 3.0]}, "['loss']"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"a": [1.0], "b": [2.5]}), "['b']"),
        (1 + 2j, 1 + 3j, ""),
        (3, 5, ""),
    ],
)
def test_where_in_a_value(one: object, other: object, at: str) -> None:
    assert found(one, other).at == at


def test_a_model_names_its_parameter_and_an_optimizer_its_state() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    other = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    other.load_state_dict(model.state_dict())
    assert distance(model, other) is None
    with torch.no_grad():
        other.get_parameter("0.bias")[1] += 1
    assert (found(model, other).at, found(model, other).first) == (".0.bias", (1,))


@pytest.mark.parametrize(("one", "other"), [([1.0], [1.0, 2.0]), ([1.0], ["1"]), ("a", "b"), (1.0, 1)])
def test_what_does_not_match_number_by_number_has_no_distance(one: object, other: object) -> None:
    assert distance(one, other) is None


VALUES: list[Any] = [1.5, np.arange(6.0).reshape(2, 3), torch.arange(3, dtype=torch.bfloat16), {"a": [1, 2.0]}]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_what_was_kept_is_measured_against(tmp_path: Path, value: object) -> None:
    file = tmp_path / "kept.npz"
    keep(value, file)
    assert measure(value, file, SAME_BITS) is None
    assert measure("another kind", file, SAME_BITS) is None


def test_what_else_a_model_holds_counts_beside_its_numbers() -> None:
    kind: Any = type("Net", (torch.nn.Linear,), {"__module__": "__main__"})
    one, other = kind(1, 1), kind(1, 1)
    other.bias.data = one.bias.data
    other.weight.data = one.weight.data.nextafter(torch.tensor(9.0))
    assert found(one, other, Tolerance(ulp=1)).is_close
    other.tag = "another"
    assert not found(one, other, Tolerance(ulp=1)).is_close


def test_a_list_is_no_tuple_however_close_its_numbers() -> None:
    assert not found({"a": [1.0]}, {"a": (math.nextafter(1.0, 2),)}, Tolerance(ulp=1)).is_close


def test_too_large_a_value_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro_magic.proof.kernel.numeric_distance.LARGEST", 100)
    keep(np.zeros(1000), tmp_path / "kept.npz")
    assert list(tmp_path.iterdir()) == []
    assert measure(np.zeros(1000), tmp_path / "kept.npz", SAME_BITS) is None


def test_the_numbers_of_a_list_are_counted_together() -> None:
    told = found([float(at) for at in range(50)], [at + 0.5 for at in range(50)])
    assert (told.at, told.differing, told.size, told.first, told.max_abs) == ("", 50, 50, (0,), 0.5)
    mixed = found({"a": [1.0, 2.0], "b": 3, "c": [[1, 2], [3, 4]]}, {"a": [1.0, 2.5], "b": 3, "c": [[1, 2], [3, 5]]})
    assert (mixed.at, mixed.differing, mixed.first, mixed.parts) == ("['a']", 1, (1,), 2)


def test_how_many_parts_of_a_model_differ() -> None:
    torch.manual_seed(0)
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    told = found(one, other)
    assert (told.at, told.parts) == (".weight", 2)
