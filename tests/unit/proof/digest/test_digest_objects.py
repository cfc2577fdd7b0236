"""Objects are digested by their attributes, code by its place and what it holds."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import decimal
import enum
import functools
import io
import logging
import os
import random
import re
import subprocess
import threading
import types
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from digest_makers import figure, in_notebook, kept_in, users
from IPython.utils.capture import CapturedIO
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import repro_magic
from repro_magic.proof.digest.digest import digest


def test_objects_of_the_notebooks_own_classes_are_looked_into() -> None:
    kind = type("Model", (), {"__module__": "__main__"})
    one, other = kind(), kind()
    one.weight, other.weight = torch.ones(2), torch.ones(2)
    assert digest(one).hex == digest(other).hex
    other.weight = torch.zeros(2)
    assert digest(one).hex != digest(other).hex


def test_what_a_class_inherits_from_a_base_without_a_name_counts() -> None:
    def derived(value: float) -> type:
        base = type("Base", (), {"__module__": "__main__", "rate": value})
        return type("Derived", (base,), {"__module__": "__main__"})

    assert digest(derived(0.1)).hex == digest(derived(0.1)).hex
    assert digest(derived(0.1)).hex != digest(derived(0.2)).hex


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
    "CompletedProcess": lambda x: subprocess.CompletedProcess(["echo"], 0, str(x)),
    "StringIO": lambda x: io.StringIO(str(x)),
    "BytesIO": lambda x: io.BytesIO(str(x).encode()),
    "CapturedIO": lambda x: CapturedIO(io.StringIO(str(x)), io.StringIO()),
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


class Base:
    """A class with a slot."""

    __slots__ = ("kept",)


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


def test_an_object_that_its_library_keeps_as_a_global_is_a_part_of_the_library() -> None:
    assert digest(ipywidgets.interact).gaps == ()
    assert digest(ipywidgets.interact).hex != digest(ipywidgets.interact_manual).hex
    assert [gap.why for gap in digest(ipywidgets.IntSlider()).gaps] == ["it is a handle"]


def test_a_closed_buffer_holds_nothing_that_can_be_compared() -> None:
    closed = io.StringIO("x")
    closed.close()
    assert digest(closed).gaps
