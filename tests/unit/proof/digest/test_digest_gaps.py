"""What cannot be digested is listed as a gap, and neither depth nor a fault in the value ends the walk."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import torch
from digest_makers import figure, linear
from matplotlib.lines import Line2D
from torch import nn

from repro_magic.proof.digest.digest import digest


def test_a_tensor_that_is_only_a_stand_in_is_a_gap() -> None:
    gaps = []

    def look(row: torch.Tensor) -> torch.Tensor:
        gaps.append(digest(row).gaps)
        return row

    torch.vmap(look)(torch.ones(2, 3))
    assert [gap.why for (gap,) in gaps] == ["looking at it failed: RuntimeError"]


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


def test_a_line_that_is_in_no_figure_is_a_gap_and_later_ones_are_none() -> None:
    assert digest(Line2D([0], [1])).gaps
    assert not digest(figure(1).gca().lines[0]).gaps


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


def test_no_key_of_a_dictionary_stands_in_a_gaps_path() -> None:
    """A key may be a name or a PIN, and receipts with their gaps are published."""
    secret = {"Jane Doe": iter([1]), 4711: iter([1]), ("Jane", 1): {b"Jane": iter([1])}}
    assert [gap.path for gap in digest(secret).gaps] == ["[key 1 of 3]", "[key 2 of 3]", "[key 3 of 3][key 1 of 1]"]
