"""Whether a generator is seeded, from what, and by whom: one truth, for whatever code seeded it."""

from __future__ import annotations

import array
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro_magic import deterministic, process_status
from repro_magic.rng import entropy, generators, origins, seeding, state_distance
from repro_magic.rng.generators import Generator, Library
from repro_magic.rng.origins import Look, Origin, SeedState
from repro_magic.rng.seeding import generator_states, note_load, seed_everything
from repro_magic.views.describe import headline


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a session: seedings are seen."""
    seed_log = origins.SeedLog()
    for module in (seeding, origins):
        monkeypatch.setattr(module, "SEED_LOG", seed_log)
    entropy.hooks_up()
    seeding.resume()
    yield
    seeding.suspend()
    entropy.hooks_down()


def known(library: str) -> SeedState:
    return {state.library: state.known for state in generator_states()}[library]


def told(library: str) -> tuple[str, str]:
    found = known(library)
    return found.number, found.in_words


THEIRS = "seeded by the notebook, not drawn from since"
THEIRS_DRAWN = "seeded by the notebook, drawn from since"


# Every form of a seed that the libraries take

PYTHONS: list[Any] = [0, 7, 2**32, 2**64 - 1, 2**300 + 3, "a text", b"bytes", "ü" * 20, 0.5, "x" * 3000]


@pytest.mark.parametrize("seed", PYTHONS, ids=lambda seed: repr(seed)[:12])
@pytest.mark.parametrize("words", [0, 1, 623, 624, 5000])
def test_pythons_seed_is_told_whatever_it_is(seed: Any, words: int) -> None:
    random.seed(seed)
    for _ in range(words):
        random.getrandbits(32)
    number, in_words = told("python")
    told_seed = hash(seed) if isinstance(seed, float) else seed
    assert number in {
        origins.seed_in_words(told_seed),
        origins.seed_in_words(seed.decode() if seed == b"bytes" else seed),
    }
    assert in_words == (THEIRS_DRAWN if words else THEIRS)


NUMPYS: list[Any] = [0, 42, 2**32 - 1, [5], [1, 2, 3], list(range(60)), np.array([7, 8, 9])]


@pytest.mark.parametrize("seed", NUMPYS, ids=lambda seed: repr(seed)[:12])
@pytest.mark.parametrize("words", [0, 1, 624, 5000])
def test_and_numpys(seed: Any, words: int) -> None:
    np.random.seed(seed)
    np.random.randint(0, 2**32, words, dtype=np.uint32)
    expected = seed if isinstance(seed, int) else tuple(int(one) for one in seed)
    assert (known("numpy").seed, told("numpy")[1]) == (expected, THEIRS_DRAWN if words else THEIRS)


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 1, 2**53 + 1, 2**64 - 1, -1])
def test_and_pytorchs(seed: int) -> None:
    torch.manual_seed(seed)
    assert told("torch") == (str(seed % 2**64), THEIRS)
    torch.rand(3)
    assert told("torch") == (str(seed % 2**64), THEIRS_DRAWN)


@given(seed=st.integers(0, 2**32 - 1), words=st.integers(0, 20_000))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_seed_given_before_anybody_looked_is_recognised(seed: int, words: int) -> None:
    """GIVEN generators seeded and drawn from before the extension was loaded THEN their states show the seed."""
    seeding._ledger.looks.clear()
    random.Random.seed(random._inst, seed)
    np.random.seed(seed)
    random.randbytes(4 * words)
    np.random.randint(0, 2**32, words, dtype=np.uint32)
    assert [known(library).seed for library in ("python", "numpy")] == [seed, seed]


@pytest.mark.parametrize("library", ["python", "numpy", "torch"])
def test_no_seed_at_all_is_told_as_such(library: str) -> None:
    unseed: dict[str, Any] = {"python": random.seed, "numpy": np.random.seed, "torch": torch.seed}
    unseed[library]()
    assert known(library).origin is Origin.UNSEEDED
    random.random(), np.random.rand(), torch.rand(1)
    assert known(library).origin is Origin.UNSEEDED


def test_many_draws_do_not_make_a_seed_unknown() -> None:
    """More than are followed: no other seed was given meanwhile, and the number is told with what it may be else."""
    np.random.seed(3)
    assert told("numpy") == ("3", THEIRS)
    np.random.random_sample(5_000_000)
    assert (known("numpy").seed, known("numpy").is_certain) == (3, False)
    seed_everything(4)
    np.random.random_sample(5_000_000)
    assert told("numpy") == ("4", "drawn from since seeding, or restored")


def test_after_another_seed_and_many_draws_the_number_is_not_known() -> None:
    np.random.seed(3)
    assert told("numpy") == ("3", THEIRS)
    np.random.seed(4)
    np.random.random_sample(5_000_000)
    assert told("numpy") == ("unknown", "seeded by the notebook")


# States that are put back are what they were


def test_a_state_that_is_put_back_is_what_it_was() -> None:
    random.seed(), np.random.seed(), torch.seed()
    unseeded = random.getstate(), np.random.get_state(), torch.get_rng_state()
    note_load()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    seeded = random.getstate(), np.random.get_state(), torch.get_rng_state()
    note_load()
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    for states, number in ((seeded, "1"), (unseeded, "unseeded")):
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        assert [known(library).number for library in ("python", "numpy", "torch")] == [number] * 3


def test_a_state_of_nobody_knows_where_cannot_be_told() -> None:
    note_load()
    stranger = random.Random("long ago")
    stranger.randbytes(50_000_000)
    random.setstate(stranger.getstate())
    assert known("python").number == "unknown"


def test_fork_rng_leaves_an_unseeded_generator_unseeded() -> None:
    torch.seed()
    note_load()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.rand(1)
    assert told("torch") == ("unseeded", "not drawn from yet")


def test_a_scope_that_restores_the_generators_restores_what_is_known() -> None:
    torch.seed()
    note_load()
    before = [state.known for state in generator_states()]
    with deterministic(1, restore_rng=True):
        assert [known(library).seed for library in ("python", "numpy", "torch")] == [1, 1, 1]
        torch.rand(1)
    assert [state.known for state in generator_states()] == before
    with deterministic(1):
        torch.rand(1)
    assert told("torch") == ("1", "drawn from since seeding")


def test_another_bit_generator_tells_its_seed() -> None:
    old = np.random.get_bit_generator()  # type: ignore[attr-defined]
    try:
        for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox):
            np.random.set_bit_generator(kind(8))  # type: ignore[attr-defined]
            assert told("numpy") == ("8", THEIRS)
            np.random.rand(3)
            assert told("numpy") == ("8", THEIRS_DRAWN)
        np.random.set_bit_generator(np.random.PCG64())  # type: ignore[attr-defined]
        assert known("numpy").number == "unseeded"
    finally:
        np.random.set_bit_generator(old)  # type: ignore[attr-defined]


def test_a_thread_and_a_forked_child() -> None:
    thread = threading.Thread(target=np.random.seed, args=(9,))
    thread.start()
    thread.join()
    assert told("numpy") == ("9", THEIRS)
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's coverage is not kept
        np.random.rand()
        os._exit(0 if told("numpy") == ("9", THEIRS_DRAWN) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_gpus_state_tells_its_seed() -> None:
    """CUDA's layout: seed and offset, eight bytes each."""

    def look(seed: int, offset: int, **more: Any) -> SeedState:
        state = np.array([seed, offset], dtype=np.uint64).tobytes()
        return Look(state, state_distance.cuda, origins.SeedLog(), reported=seed, **more).known

    assert (look(7, 0).seed, look(7, 0).drawn, look(7, 4).drawn) == (7, False, True)
    assert look(2**60, 0).origin is Origin.UNKNOWN
    assert look(2**60, 0, is_untouched=True).origin is Origin.UNSEEDED
    assert look(2**60, 0, is_unseeded=True).origin is Origin.UNSEEDED
    assert look(2**60, 4, ours=(2**60, 1)).in_words == "drawn from since seeding"


def test_without_numpys_random_nothing_is_imported_and_nothing_fails() -> None:
    code = (
        "import sys, numpy; from repro_magic.rng.seeding import generator_states\n"
        "import random; random.seed(5); random.randbytes(40_000)\n"
        "print([(one.library, one.known.number) for one in generator_states() if one.library == 'python'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('python', '5')]"


LOADED_LATER = """
import random, numpy.random as _, numpy as np, torch
{before}
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "repro_magic")
{after}
from repro_magic.rng.seeding import generator_states
print([one.known.number for one in generator_states()])
"""


@pytest.mark.parametrize(
    ("before", "after", "numbers"),
    [
        ("", "", ["unseeded"] * 3),
        ("", "random.random(), np.random.rand(9), torch.rand(1)", ["unseeded"] * 3),
        ("random.seed(1); np.random.seed([2, 3]); torch.manual_seed(4)", "", ["1", "[2, 3]", "4"]),
        (
            "random.seed('a'); np.random.seed(2); torch.manual_seed(2**40); torch.rand(9)",
            "",
            ["'a'", "2", "unknown"],
        ),
        ("random.seed('a' * 999); random.random()", "", ["unknown", "unseeded", "unseeded"]),
    ],
)
def test_what_was_done_before_the_extension_was_loaded(before: str, after: str, numbers: list[str]) -> None:
    """What can be recognised is; what cannot is never called unseeded."""
    code = LOADED_LATER.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == str(numbers)


# What is said of it


def test_a_plug_ins_generator_that_nobody_uses_is_no_reason_to_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    own = random.Random()
    generator = Generator(
        "plugged",
        "cpu",
        own.getstate,
        own.setstate,
        lambda state: array.array("Q", state[1]).tobytes(),
        distance=state_distance.python,
    )
    library = Library("plugged", "plugged", own.seed, lambda: [generator])
    libraries = [*generators.libraries(), library]
    for module in (seeding, generators):
        monkeypatch.setattr(module, "libraries", lambda: libraries)
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    assert said() == "Seeded 7 by the notebook"
    own.random()
    assert said().endswith("unseeded: plugged")


def said() -> str:
    return headline(process_status.status()).sentence


def test_the_headline_says_the_seed_and_who_gave_it() -> None:
    random.seed(), np.random.seed(), torch.seed()
    assert said() == "Unseeded: numbers change between runs"
    torch.manual_seed(7)
    assert said() == "Seeded by the notebook: torch (7); unseeded: python, numpy"
    random.seed(7), np.random.seed(7)
    assert said() == "Seeded 7 by the notebook"
    seed_everything(1)
    assert said() == "Seeded 1"
    np.random.seed([2, 3])
    assert said() == "Seeded 1, but the notebook seeded numpy ([2, 3])"
    random.seed()
    assert said() == "Seeded 1, but the notebook seeded numpy ([2, 3]); unseeded: python"
