"""Numba's own generators, and compiled code that asks for entropy on its own behalf."""

from __future__ import annotations

import functools
import os
import random
import threading
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numba
import numpy as np
import pytest
from conftest import ROOT

import repro_magic
from repro_magic.plugins.numba import LIBRARY
from repro_magic.rng.state_distance import seeding

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    made: _Function = numba.njit(function)
    return made


@compiled
def total(values: np.ndarray) -> float:
    found = 0.0
    for value in values:
        found += value
    return found


@compiled
def draw(count: int) -> np.ndarray:
    return np.random.rand(count)


@compiled
def draw_as_python() -> float:
    return random.random()


@compiled
def draw_seeded(count: int, seed: int) -> np.ndarray:
    np.random.seed(seed)
    return np.random.rand(count)


class Holder:
    """What holds compiled functions where a line's source does not tell what they are."""

    draw: Callable[[int], np.ndarray] = staticmethod(draw)


def found(run: Callable[[], object]) -> list[str]:
    with repro_magic.watch(warn=False) as report:
        run()
    return [one.op for one in report.findings]


@pytest.fixture(autouse=True)
def _generators_as_they_were() -> Iterator[None]:
    before = [(one, one.get_state()) for one in LIBRARY.generators()]
    yield
    for one, state in before:
        one.set_state(state)


def states() -> dict[str, bytes]:
    return {one.key: one.to_bytes(one.get_state()) for one in LIBRARY.generators()}


def test_both_generators_are_seeded_each_from_numbers_of_its_own() -> None:
    drawn = []
    for _ in range(2):
        LIBRARY.seed(2**40 + 1)
        drawn.append([*draw(3), draw_as_python(), draw_as_python()])
    assert drawn[0] == drawn[1]
    assert len({*drawn[0], *np.random.RandomState(2**32 - 1).rand(3)}) == 8
    LIBRARY.seed(1)
    assert draw(1)[0] != drawn[0][0]
    assert draw(1)[0] != np.random.RandomState(1).rand(2)[1], "not what NumPy's own draws"


def test_states_are_read_compared_and_put_back() -> None:
    LIBRARY.seed(3)
    assert list(states()) == ["numba np.random", "numba random"]
    before = [(one, one.get_state()) for one in LIBRARY.generators()]
    first = states()
    expected = [*draw(2), draw_as_python()]
    numpys, _ = LIBRARY.generators()
    moved = numpys.distance(first["numba np.random"], states()["numba np.random"])
    assert moved is not None
    assert (moved.count, moved.unit) == (4, "words")
    for one, state in before:
        one.set_state(state)
    assert [*draw(2), draw_as_python()] == expected


def test_a_seed_that_compiled_code_gave_is_recognised() -> None:
    draw_seeded(1, 5)
    numpys, _ = LIBRARY.generators()
    told = seeding(numpys.distance, states()["numba np.random"])
    assert told is not None
    assert told.key == 5


def test_what_numba_asks_the_system_for_is_not_the_lines() -> None:
    """GIVEN threads whose generators are not there yet WHEN compiled code begins to use them THEN no line is blamed."""

    def run() -> None:
        values = np.arange(4.0)
        total(values)
        draw(2)
        draw_seeded(2, 3)
        Holder.draw(2)
        Holder().draw(2)

    def on_a_new_thread() -> None:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    assert found(on_a_new_thread) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda: os.urandom(4),
        lambda: list(map(os.urandom, [2, 3])),
        lambda: functools.partial(os.urandom, 4)(),
        lambda: [urandom(3) for urandom in (os.urandom,)],
        lambda: getattr(os, "urandom")(3),  # noqa: B009 - the name is what is looked for
    ],
)
def test_what_the_line_itself_asks_for_is_found(ask: Callable[[], object]) -> None:
    assert set(found(ask)) == {"os.urandom"}


def test_the_plug_in_waits_for_numba() -> None:
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["repro_magic.seeders"]
    assert points[LIBRARY.module] == f"{_generators_module()}:LIBRARY"


def _generators_module() -> str:
    return LIBRARY.generators.__module__
