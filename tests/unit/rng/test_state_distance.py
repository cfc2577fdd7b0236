"""How far a generator moved, read from its states."""

from __future__ import annotations

import array
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import NUMPYS, SEEDED, draw, made

from repro_magic.rng import state_distance
from repro_magic.rng.state_distance import StateDistance
from repro_magic.rng.user_generators import user_generator


def state(generator: Any) -> bytes:
    found = user_generator("own", generator)
    assert found is not None
    return found.generator.to_bytes(found.generator.get_state())


def measured(generator: Any, before: bytes | None) -> StateDistance | None:
    found = user_generator("own", generator)
    assert found is not None
    return found.generator.distance(before, state(generator))


@pytest.mark.parametrize("kind", [*NUMPYS, *SEEDED])
@given(already=st.integers(0, 1500), words=st.integers(0, 5000))
@settings(max_examples=25, deadline=None)
def test_what_was_drawn_is_how_far_it_moved(kind: str, already: int, words: int) -> None:
    generator = made(kind)
    draw(generator, already)
    before = state(generator)
    draw(generator, words)
    assert measured(generator, before) == StateDistance(words)


@pytest.mark.parametrize("kind", ["Random", "RandomState", "torch"])
@given(seed=st.integers(0, 2**32 - 1), words=st.integers(0, 5000))
@settings(max_examples=25, deadline=None)
def test_a_new_seed_is_seen_with_what_was_drawn_since(kind: str, seed: int, words: int) -> None:
    generator = SEEDED[kind]()
    draw(generator, 700)
    before = state(generator)
    getattr(generator, "manual_seed" if kind == "torch" else "seed")(seed)
    draw(generator, words)
    found = measured(generator, before)
    if seed == 3 and words >= 700:
        assert found == StateDistance(words - 700)
    else:
        assert found is not None
        assert (found.count, found.is_anew) == (words, True)


@pytest.mark.parametrize("seed", [0, 2**40, 2**64 - 1, "a text", 0.5, b"bytes"])
def test_whatever_python_takes_for_a_seed_is_seen(seed: Any) -> None:
    own = random.Random(seed)
    draw(own, 3000)
    found = measured(own, None)
    assert found == StateDistance(3000, is_anew=True, is_seed=True)


@pytest.mark.parametrize("seed", [0, 2**32 - 1, [1, 2], list(range(20))])
def test_and_numpys_legacy_generator(seed: Any) -> None:
    own = np.random.RandomState(seed)
    draw(own, 3000)
    assert measured(own, None) == StateDistance(3000, is_anew=True, is_seed=True)


def test_entropy_of_the_system_is_no_seed() -> None:
    for fresh in (random.Random(), np.random.RandomState()):
        assert measured(fresh, None) == StateDistance(0, is_anew=True, is_seed=False)
        draw(fresh, 3)
        assert measured(fresh, None) is None


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_a_step_back_and_another_stream_are_no_draw(kind: str) -> None:
    generator = made(kind)
    before = state(generator)
    draw(generator, 1)
    after = state(generator)
    measure = state_distance.of_numpy(generator.bit_generator)
    assert measure(after, before) == StateDistance(None, is_anew=True)
    other = np.random.Generator(getattr(np.random, kind)(4))
    draw(other, 6)
    assert measure(before, state(other)) == StateDistance(None, is_anew=True)


def test_what_is_too_far_cannot_be_told() -> None:
    own = np.random.RandomState(3)
    before = state(own)
    own.random_sample(5_000_000)
    assert measured(own, before) is None


def test_a_number_that_was_kept_is_a_move_without_words() -> None:
    own = np.random.RandomState(3)
    own.normal()
    before = state(own)
    own.normal()
    assert state(own) != before
    assert measured(own, before) == StateDistance(0)


def test_on_cuda_the_offset_tells() -> None:
    def at(seed: int, offset: int) -> bytes:
        return array.array("Q", [seed, offset]).tobytes()

    assert state_distance.cuda(at(1, 4), at(1, 12)) == StateDistance(8, unit="offset")
    assert state_distance.cuda(at(1, 4), at(2, 12)) == StateDistance(12, is_anew=True, unit="offset")
    assert state_distance.cuda(at(1, 12), at(1, 4)) == StateDistance(4, is_anew=True, unit="offset")
