"""Which names a cell reaches."""

from __future__ import annotations

import types
from typing import Any

import pytest

from repro_magic.introspection.cell_names import bindings, reached

NOTEBOOK = """
import math
table = {}
other = 1
data = [1, 2]
def load():
    return data
def train(model):
    model.append(load())
def decorate(function):
    import functools
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner
@decorate
def wrapped():
    return table
class Trainer:
    def fit(self):
        return other
trainer = Trainer()
model = []
"""


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    module = types.ModuleType("__main__")
    exec(NOTEBOOK, vars(module))
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1", set()),
        ("model", {"model"}),
        ("train(model)", {"train", "model", "load", "data"}),
        ("trainer.fit()", {"trainer", "other"}),
        ("wrapped()", {"wrapped", "table"}),
        ("lambda: table", {"table"}),
        ("[other for _ in range(3)]", {"other"}),
        ("exec('data.append(1)')", {"data"}),
        ("get_ipython().run_line_magic('time', 'train(model)')", {"train", "model", "load", "data"}),
        ("print('data')", set()),
        ("del model", {"model"}),
        ("import math", {"math"}),
        ("math.sqrt(other)", {"math", "other"}),
        ("this is no Python", set()),
    ],
)
def test_names_in_the_cell_and_in_what_it_calls(names: dict[str, Any], source: str, expected: set[str]) -> None:
    assert set(reached(source, names)) == expected


def test_a_name_that_was_bound_anew_counts_by_whatever_means(names: dict[str, Any]) -> None:
    before = bindings(names)
    after = {**names, "other": object(), "new": 1}
    assert reached("globals().update(more)", after, before) == ["new", "other"]
