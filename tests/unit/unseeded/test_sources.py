"""Unseeded sources, found in scripts; a file under the test's own name is the user's code."""

from __future__ import annotations

import copy
import os
import pickle
import random
import secrets
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch

import repro_magic
from repro_magic.exceptions import HookFaultWarning, UnseededGeneratorError
from repro_magic.ops.catalogue.lookup import lookup
from repro_magic.rng import entropy
from repro_magic.rng.entropy import Kind, hooks_down, hooks_up, is_global_unseeded, is_unseeded
from repro_magic.rng.user_generators import adopt
from repro_magic.unseeded import sources


@dataclass
class Holder:
    """What makes its generator in code that has no file."""

    rng: np.random.Generator = field(default_factory=np.random.default_rng)


class Own(random.Random):
    """A generator of the user's own."""


class Seeded(random.Random):
    """One that seeds itself only once it is made."""

    def __init__(self, seed: int) -> None:
        """Make it."""
        super().__init__()
        self.seed(seed)


def put_back() -> list[object]:
    """Generators that are given a state as soon as they are there."""
    mine = random.Random()
    mine.setstate(random.Random(1).getstate())
    rng = np.random.default_rng()
    rng.bit_generator.state = np.random.default_rng(1).bit_generator.state
    legacy = np.random.RandomState()
    legacy.set_state(np.random.RandomState(1).get_state())
    return [mine, rng, legacy]


def found(run: Callable[[], object]) -> list[tuple[str, str]]:
    """Op and the line's text of each source that ran."""
    with repro_magic.watch(warn=False) as report:
        run()
    return [(one.op, one.place.text if one.place else "") for one in report.unseeded]


def none() -> object:
    return None


def drawn_from_before_it_is_seeded() -> object:
    mine = random.Random()
    drawn = mine.random()
    mine.seed(4)
    return drawn


def drawn_from_before_it_is_seeded_elsewhere() -> object:
    held = [random.Random()]
    drawn = [one.random() for one in held]
    for one in held:
        one.seed(4)
    return drawn


def drawn_from_before_it_is_put_back() -> object:
    rng = np.random.default_rng()
    drawn = rng.random(), rng.bit_generator.state
    rng.bit_generator.state = np.random.default_rng(1).bit_generator.state
    return drawn


def test_a_script_is_told_of_no_magics() -> None:
    """GIVEN every source and every op WHEN a script is told what to do THEN not by a line that only cells know."""
    remedies = {source.remedy for source in sources.SOURCES.values()} | {sources._PIN}
    remedies |= {hazard.remedy for entries in lookup().values() for entry in entries for hazard in entry.hazards}
    assert len(remedies) > 20
    texts = [remedy.in_script for remedy in remedies]
    assert [text for text in texts if "%" in text or "notebook" in text or "cell" in text] == []


@pytest.mark.parametrize(
    "run",
    [drawn_from_before_it_is_seeded, drawn_from_before_it_is_seeded_elsewhere, drawn_from_before_it_is_put_back],
    ids=lambda run: run.__name__,
)
def test_a_seed_that_comes_too_late_excuses_nothing(run: Callable[[], object]) -> None:
    assert len(found(run)) == 1


def test_a_seed_that_comes_before_any_draw_does() -> None:
    def seeded_elsewhere() -> object:
        held = [random.Random()]
        for one in held:
            one.seed(4)
        return [one.random() for one in held]

    assert found(seeded_elsewhere) == []


LEGACY, OWN = np.random.RandomState(1), random.Random(1)

SOURCES = {
    "numpy.random.default_rng": lambda: np.random.default_rng(),
    "numpy.random.PCG64": lambda: np.random.Generator(np.random.PCG64()),
    "numpy.random.RandomState": lambda: np.random.RandomState(none()),  # type: ignore[arg-type]
    "numpy.random.SeedSequence": lambda: np.random.SeedSequence(),
    "numpy.random.Generator": lambda: Holder(),
    "numpy.random.seed": lambda: np.random.seed(),
    "random.Random": lambda: [random.Random(), Own()],
    "random.seed": lambda: random.seed(),
    "numpy.random.RandomState.seed": lambda: LEGACY.seed(),
    "random.Random.seed": lambda: OWN.seed(),
    "random.SystemRandom": lambda: [random.SystemRandom().randrange(10), random.SystemRandom().random()],
    "secrets.token_hex": lambda: secrets.token_hex(4),
    "secrets.choice": lambda: secrets.choice([1, 2]),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "os.urandom": lambda: os.urandom(4),
    "os.getrandom": lambda: os.getrandom(4),
    "torch.seed": lambda: torch.seed(),
}

CLOCKS = {
    "random.seed": lambda: random.seed(time.time()),
    "random.Random": lambda: random.Random(time.time_ns()),
    "numpy.random.seed": lambda: np.random.seed(int(time.time() * 1000) % 2**32),
    "numpy.random.default_rng": lambda: np.random.default_rng(int(time.perf_counter())),
    "numpy.random.RandomState": lambda: np.random.RandomState(datetime.now(tz=UTC).microsecond),
    "numpy.random.SeedSequence": lambda: np.random.SeedSequence([time.time_ns(), 1]),
    "torch.manual_seed": lambda: torch.manual_seed(int(time.time())),
}
# Seeds that differ between processes for another reason.
OF_THE_PROCESS = {
    "torch.manual_seed": lambda: torch.manual_seed(os.getpid()),
    "numpy.random.seed": lambda: np.random.seed(abs(hash("experiment-A")) % 2**32),
    "random.seed": lambda: random.seed(int(datetime.now(tz=UTC).timestamp()) + os.getpid() % 7),
}

# What must not be found, beside it.
FINE: dict[str, Callable[[], object]] = {
    "seeded": lambda: [
        np.random.default_rng(1),
        np.random.default_rng([1, 2]),
        np.random.PCG64(2),
        np.random.RandomState(3),
        np.random.RandomState([3, 4]),
        np.random.SeedSequence(4).spawn(2),
        np.random.seed(5),
        random.Random(6),
        random.seed("seven"),
        torch.manual_seed(8),
        torch.Generator(),
        uuid.uuid5(uuid.NAMESPACE_URL, "x"),
    ],
    "copies": lambda: [
        copy.deepcopy(random.Random(1)),
        pickle.loads(pickle.dumps(random.Random(1))),
        pickle.loads(pickle.dumps(np.random.default_rng(1))),
        pickle.loads(pickle.dumps(np.random.RandomState(1))),
        copy.copy(np.random.default_rng(1)),
    ],
    "a state of its own": lambda: [
        np.random.PCG64(3).jumped(),
        np.random.Philox(key=5),
        np.random.default_rng(1).spawn(2),
        put_back(),
        Seeded(3),
    ],
    "a library's names": lambda: tempfile.mkstemp()[0],
    "draws": lambda: [random.random(), np.random.rand(), torch.rand(1)],
    "the clock for a duration": lambda: [time.time(), random.Random(int(1e6))],
}


@pytest.mark.parametrize("op", SOURCES)
def test_each_source_is_found_with_its_line(op: str) -> None:
    told = found(SOURCES[op])
    assert {name for name, text in told if text} == {op}
    assert len(told) == 1, "one line is told once"


@pytest.mark.parametrize("op", CLOCKS)
def test_a_clock_read_for_a_seed_is_found(op: str) -> None:
    [(name, text)] = found(CLOCKS[op])
    assert name == op
    assert name.rpartition(".")[2] in text


@pytest.mark.parametrize("op", OF_THE_PROCESS)
def test_a_seed_that_belongs_to_the_process_is_found(op: str) -> None:
    assert [name for name, _ in found(OF_THE_PROCESS[op])] == [op]


def test_a_hash_of_numbers_is_the_same_in_each_process() -> None:
    assert found(lambda: [random.seed(hash(5)), torch.manual_seed(hash((1, 2)) % 2**32)]) == []


@pytest.mark.parametrize("what", FINE)
def test_what_is_seeded_or_a_librarys_is_not(what: str) -> None:
    assert found(FINE[what]) == []


def test_a_seed_read_from_the_clock_before_is_known_by_its_value() -> None:
    now = int(time.time())
    assert [name for name, _ in found(lambda: np.random.default_rng(now))] == ["numpy.random.default_rng"]
    assert found(lambda: np.random.default_rng(1_500_000_000)) == [], "a date of long ago, written down"


@pytest.mark.parametrize("seed", [0, 1, 42, 2021, 20261125, 2**31 - 1, 3_141_592_653])
def test_seeds_that_people_write_down_are_no_clocks(seed: int) -> None:
    assert found(lambda: [np.random.seed(seed), random.seed(seed), torch.manual_seed(seed)]) == []


def test_what_is_seeded_after_all_is_no_finding() -> None:
    def run() -> None:
        mine = random.Random()
        mine.seed(1)
        legacy = np.random.RandomState()
        legacy.seed(2)

    assert found(run) == []


def test_calls_of_one_line_are_counted_and_told_once() -> None:
    with repro_magic.watch(warn=False) as report:
        for _ in range(3):
            np.random.default_rng()
    [one] = report.unseeded
    assert (one.count, one.warns) == (3, True)
    assert "seed" in one.remedy.in_cell


def test_of_calls_at_one_place_only_the_unseeded_count() -> None:
    def make(seeds: list[int | None]) -> list[object]:
        return [(np.random.default_rng(seed), np.random.RandomState(seed), random.Random(seed)) for seed in seeds]

    with repro_magic.watch(warn=False) as report:
        make([None, None, 3, None, 4])
    assert {one.op: one.count for one in report.findings} == {
        "numpy.random.default_rng": 3,
        "numpy.random.RandomState": 3,
        "random.Random": 3,
    }


def test_a_comment_accepts() -> None:
    with repro_magic.watch() as report:  # a warning would be an error here
        np.random.default_rng()  # repro: accept default_rng
        random.seed(time.time())  # repro: accept clock
    assert [one.accepted for one in report.findings] == [True, True]


def test_a_scope_warns_of_sources() -> None:
    told = pytest.warns(repro_magic.exceptions.NondeterminismWarning, match=r"default_rng, .*test_sources.py")
    with told, repro_magic.deterministic():
        np.random.default_rng()


def test_the_hooks_nest_and_leave_nothing() -> None:
    functions = [random.Random.seed, random.SystemRandom.seed, torch.random.seed, torch.random.manual_seed]
    names = [(np.random.bit_generator, "randbits"), (np.random._mt19937, "operator"), (random, "_urandom")]
    names += [(os, "urandom"), (uuid, "_generate_time_safe")]

    def now() -> list[object]:
        return [*(one.__code__ for one in functions), *(getattr(owner, name) for owner, name in names)]

    before = now()
    hooks_up()
    with repro_magic.watch(warn=False):
        assert all(one is not other for one, other in zip(now(), before, strict=True))
    assert random.Random.seed.__code__ is not before[0], "still wanted by somebody"
    hooks_down()
    assert all(one is other for one, other in zip(now(), before, strict=True))


def test_a_hook_of_somebody_elses_on_top_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", os.urandom)  # what is put back in the end
    hooks_up()
    theirs = lambda size: b"\0" * size  # noqa: E731
    monkeypatch.setattr(os, "urandom", theirs)
    hooks_down()
    assert os.urandom is theirs


def test_a_generator_may_have_no_hash_and_is_known_by_identity() -> None:
    class Unhashable(random.Random):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Unhashable) and self.getstate() == other.getstate()

        __hash__ = None  # type: ignore[assignment]

    def make() -> list[object]:
        return [Unhashable(3), Unhashable()]

    hooks_up()
    seeded, unseeded = make()
    assert [is_unseeded(one) for one in (seeded, unseeded)] == [False, True]
    hooks_down()
    assert [name for name, _ in found(make)] == ["random.Random"]


@pytest.mark.parametrize("seed", [3, [1, 2], None])
def test_whose_seed_numpys_global_generator_got_is_known(seed: Any) -> None:
    """GIVEN that `numpy.random.seed` stays what it is WHEN it seeds THEN that is known, and of no other generator."""
    state = np.random.get_state()
    hooks_up()
    np.random.seed(5 if seed is None else None)
    np.random.RandomState(seed).seed(seed)
    assert is_global_unseeded("numpy") is (seed is not None)
    np.random.seed(seed)
    assert is_global_unseeded("numpy") is (seed is None)
    with pytest.raises(ValueError, match="Seed must be"):
        np.random.seed(-1)
    assert is_global_unseeded("numpy") is (seed is None), "nothing was seeded"
    hooks_down()
    np.random.set_state(state)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_is_no_source() -> None:
    """GIVEN that Python seeds its global generator anew in a forked process WHEN somebody forks THEN nobody asked."""
    with repro_magic.watch(warn=False) as report:
        process = os.fork()
        if process == 0:
            os._exit(len(report.findings))
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_a_fault_of_ours_does_not_reach_the_user() -> None:
    def broken(_kind: Kind, _frame: object, _value: object) -> None:
        raise ZeroDivisionError

    hooks_up()
    entropy.listen(broken)
    with pytest.warns(HookFaultWarning, match="ZeroDivisionError"):
        assert random.Random().random() < 1
    assert random.Random().random() < 1, "told once"
    hooks_down()


@pytest.fixture
def _strict() -> Iterator[None]:
    sources.refuse_unseeded()
    yield
    sources.allow_unseeded()


@pytest.mark.usefixtures("_strict")
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.random.default_rng(),
        lambda: np.random.default_rng(None),
        lambda: np.random.RandomState(),
        lambda: np.random.RandomState(seed=None),
        lambda: np.random.seed(),
        lambda: random.Random(),
        lambda: random.SystemRandom(),
        lambda: random.seed(),
        lambda: torch.seed(),
        lambda: torch.manual_seed(int(time.time())),
        lambda: np.random.RandomState(int(time.time())),
    ],
)
def test_it_is_an_error_with_the_line(make: Callable[[], object]) -> None:
    with pytest.raises(UnseededGeneratorError, match=r"at line \d+ .* was blocked") as caught:
        make()
    assert caught.value.line == make.__code__.co_firstlineno
    assert caught.value.remedy in str(caught.value)


@pytest.mark.usefixtures("_strict")
def test_what_is_seeded_passes() -> None:
    seed = 3
    made = np.random.RandomState(seed)
    assert [np.random.RandomState(5), np.random.default_rng(seed), random.Random(seed)]
    FINE["seeded"]()
    FINE["copies"]()
    FINE["a state of its own"]()
    FINE["a library's names"]()
    assert made.get_state(legacy=False)["state"]["key"][0] == seed


@pytest.mark.usefixtures("_strict")
def test_a_draw_from_the_system_is_no_generator() -> None:
    assert len(secrets.token_bytes(4)) == len(os.urandom(4)) == 4


@pytest.mark.usefixtures("_strict")
def test_accepted_lines_pass() -> None:
    assert np.random.default_rng().random() < 1  # repro: accept default_rng
    random.seed(time.time())  # repro: accept clock


def test_whether_a_generator_was_seeded_is_known() -> None:
    hooks_up()
    rng = np.random.default_rng()
    made = [rng, np.random.RandomState(), random.Random()]
    seeded = [np.random.default_rng(1), np.random.RandomState(1), random.Random(1), torch.Generator().manual_seed(1)]
    assert [is_unseeded(one) for one in made] == [True] * 3
    assert [is_unseeded(one) for one in (*seeded, torch.Generator())] == [False, None, False, False, False]
    assert is_unseeded(rng.spawn(1)[0]), "its seed follows from the same entropy"
    adopt(42, {"made": made})
    assert [is_unseeded(one) for one in made] == [False, None, False], "RandomState keeps nothing of a seed"
    hooks_down()
    assert is_unseeded(np.random.default_rng()) is None, "nobody looked"
