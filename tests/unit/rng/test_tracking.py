"""The randomness ledger: how far generators moved, from a seed or not, and how it is shown."""

from __future__ import annotations

import array
import functools
import gc
import random
import weakref
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import repro_magic
from repro_magic.findings import Draw
from repro_magic.introspection.location import Place
from repro_magic.journal import BETWEEN, CellDraws, Journal
from repro_magic.rng import entropy, state_distance, tracking
from repro_magic.rng.origins import UNKNOWN, Origin, SeedState, Settled
from repro_magic.rng.state_change import Move
from repro_magic.rng.state_distance import StateDistance
from repro_magic.rng.tracking import Tracker
from repro_magic.rng.user_generators import generators_in, user_generator
from repro_magic.views.ledger import ledger

NUMPYS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
SEEDED: dict[str, Callable[[], Any]] = {
    "default_rng": lambda: np.random.default_rng(3),
    "RandomState": lambda: np.random.RandomState(3),
    "Random": lambda: random.Random(3),
    "torch": lambda: torch.Generator().manual_seed(3),
}


def draw(generator: Any, words: int) -> None:
    """Draw so many words of 32 bits."""
    if isinstance(generator, torch.Generator):
        torch.rand(words, generator=generator)
    elif isinstance(generator, random.Random):
        for _ in range(words):
            generator.getrandbits(32)
    elif isinstance(generator, np.random.RandomState):
        generator.randint(0, 2**32, words, dtype=np.uint32)
    else:
        generator.integers(0, 2**32, words, dtype=np.uint32)


def made(kind: str) -> Any:
    return np.random.Generator(getattr(np.random, kind)(3)) if kind in NUMPYS else SEEDED[kind]()


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


# Which generators are found


class Holder:
    """An object of the user's."""

    def __init__(self, **held: Any) -> None:
        """Hold them."""
        self.__dict__.update(held)


def moved(tracker: Tracker, names: dict[str, Any]) -> list[str]:
    return [move.generator.removeprefix("private ") for move in tracker.look(names.items()) if move.drew]


HELD: dict[str, Callable[[Any], dict[str, Any]]] = {
    "rng": lambda one: {"x": 1, "rng": one},
    "first": lambda one: {"first": one, "second": one},
    "a[1]['b'][1]": lambda one: {"a": [1, {"b": (0, one)}]},
    "a.part.rng": lambda one: {"a": Holder(part=Holder(rng=one))},
}


@pytest.mark.parametrize("kind", SEEDED)
@pytest.mark.parametrize("place", HELD)
def test_a_generator_is_found_wherever_a_name_holds_it(kind: str, place: str) -> None:
    generator, tracker = SEEDED[kind](), Tracker()
    names = HELD[place](generator)
    assert moved(tracker, names) == []
    draw(generator, 3)
    assert moved(tracker, names) == [place]
    assert moved(tracker, names) == []


def test_loaders_and_samplers() -> None:
    own = torch.Generator().manual_seed(1)
    loader: Any = torch.utils.data.DataLoader(
        range(10),  # type: ignore[arg-type]
        shuffle=True,
        generator=own,
    )
    tracker = Tracker()
    assert moved(tracker, {"loader": loader}) == []
    list(loader)
    assert moved(tracker, {"loader": loader}) == ["loader.generator"]
    sampler = torch.utils.data.RandomSampler(range(10), generator=own)
    assert moved(tracker, {"sampler": sampler}) == []
    list(sampler)
    assert moved(tracker, {"sampler": sampler}) == ["sampler.generator"]


def test_two_generators_with_one_stream_are_one_and_the_global_ones_are_none() -> None:
    bits = np.random.PCG64(1)
    names = {"a": np.random.Generator(bits), "b": np.random.Generator(bits)}
    globals_ = {"mtrand": np.random.mtrand._rand, "torch": torch.default_generator, "random": random._inst}
    tracker = Tracker()
    moved(tracker, names | globals_)
    names["b"].random()
    np.random.rand(), torch.rand(1), random.random()
    assert moved(tracker, names | globals_) == ["a"]


def test_what_was_made_in_the_cell_counts_if_it_was_drawn_from() -> None:
    for make in SEEDED.values():
        tracker = Tracker()
        tracker.look([])
        drawn, idle = make(), make()
        draw(drawn, 4)
        (move,) = (move for move in tracker.look([("drawn", drawn), ("idle", idle)]) if move.drew)
        assert move.generator == "private drawn"
        assert move.is_made
        assert move.distance is not None
        assert move.distance.count == 4


def test_a_generator_that_is_added_to_an_object_is_found_within_some_cells() -> None:
    holder: Any = Holder()
    names = {"holder": holder, **{f"x{number}": [number] for number in range(50)}}
    tracker = Tracker()
    moved(tracker, names)
    holder.rng = random.Random(1)
    for _ in range(5):
        tracker.look(names.items())
    holder.rng.random()
    assert moved(tracker, names) == ["holder.rng"]


def test_nothing_of_the_users_is_kept_alive() -> None:
    tracker = Tracker()
    one = Holder(rng=random.Random(1), data=Holder())
    gone = weakref.ref(one)
    tracker.look([("one", one)])
    del one
    gc.collect()
    assert gone() is None


def test_none_of_the_users_code_is_run() -> None:
    class Strange(dict[str, Any]):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __getitem__(self, key: str) -> Any:
            raise AssertionError(key)

    rng = random.Random(1)
    strange = Strange(rng=rng)
    tracker = Tracker()
    moved(tracker, {"strange": strange})
    rng.random()
    assert moved(tracker, {"strange": strange}) == ["strange['rng']"]


class Slotted:
    """It holds its generator in a slot."""

    __slots__ = ("rng",)

    def __init__(self) -> None:
        """Make it."""
        self.rng = random.Random(1)


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (Slotted, "own.rng"),
        (lambda: [Slotted()], "own[0].rng"),
        (lambda: functools.partial(print, random.Random(1)), "own.args[0]"),
        (lambda: functools.partial(print, key=np.random.default_rng(1)), "own.keywords['key']"),
        (lambda: np.random.default_rng(1).normal, "own.__self__"),
        (lambda: random.Random(1).random, "own.__self__"),
        (lambda: random.Random(1).shuffle, "own.__self__"),
        (lambda: type("Kind", (), {"__module__": "__main__", "rng": random.Random(1)})(), "own.rng"),
    ],
)
def test_a_generator_is_followed_wherever_it_is_held(make: Callable[[], Any], place: str) -> None:
    """The same places as those where `--adopt` finds one."""
    own, tracker = make(), Tracker()
    moved(tracker, {"own": own})
    [found] = generators_in(own, "own")
    assert found.generator.device == place
    draw(found.value, 1)
    assert moved(tracker, {"own": own}) == [place]
    assert moved(tracker, {"own": own}) == []


def test_a_slot_that_holds_nothing_yet_is_no_fault() -> None:
    own, tracker = Slotted(), Tracker()
    rng = own.rng
    del own.rng
    assert moved(tracker, {"own": own}) == []
    own.rng = rng
    assert moved(tracker, {"own": own}) == []
    rng.random()
    assert moved(tracker, {"own": own}) == ["own.rng"]


def test_a_large_object_costs_no_more_than_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    original = tracking.parts  # type: ignore[attr-defined]

    def counting(value: object, most: int) -> Iterator[Any]:
        nonlocal looked
        looked += 1
        yield from original(value, most)

    monkeypatch.setattr(tracking, "parts", counting)
    big = [[[number] for number in range(1000)] for _ in range(1000)]
    Tracker().look([("big", big)])
    assert looked <= 80


# What the journal makes of it


def cell(journal: Journal, name: str, body: Callable[[], object], *draws: Draw) -> None:
    journal.begin()
    body()
    journal.end(name, draws=draws)


def told(journal: Journal) -> list[tuple[str, str, int | None, bool | None]]:
    return [
        (one.name, move.generator, None if move.distance is None else move.distance.count, move.seeded)
        for one in journal.ledger()
        for move in one.moves
    ]


def test_each_run_of_a_cell_has_its_rows_and_a_cell_that_draws_nothing_has_none() -> None:
    random.seed(1)
    journal = Journal()
    cell(journal, "In[1]", random.random)
    cell(journal, "In[2]", lambda: None)
    cell(journal, "In[3]", random.random)
    assert told(journal) == [("In[1]", "python cpu", 2, True), ("In[3]", "python cpu", 2, True)]


def test_a_seed_that_other_code_gave_is_known_even_after_draws() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: None)
    cell(journal, "In[2]", lambda: (np.random.seed(0), np.random.rand(3)))
    cell(journal, "In[3]", lambda: np.random.rand(1))
    assert told(journal) == [
        ("In[2]", "numpy cpu", 6, True),
        ("In[3]", "numpy cpu", 2, True),
    ]
    assert [move.is_anew for one in journal.ledger() for move in one.moves] == [True, False]


def test_after_seed_everything_all_are_seeded() -> None:
    journal = Journal()
    repro_magic.seed_everything(5)
    cell(journal, "In[1]", lambda: (random.random(), np.random.rand(), torch.rand(3)))
    assert told(journal) == [
        ("In[1]", "python cpu", 2, True),
        ("In[1]", "numpy cpu", 2, True),
        ("In[1]", "torch cpu", 3, True),
    ]


def test_drawing_for_long_and_seeding_cannot_always_be_told_apart() -> None:
    random.seed()
    journal = Journal()
    cell(journal, "In[1]", lambda: random.randbytes(50_000_000))
    cell(journal, "In[2]", random.random)
    assert told(journal)[1] == ("In[2]", "python cpu", 2, None)


def test_what_moves_between_cells_is_told_as_such_but_not_a_mere_seeding() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: None)
    random.random()
    cell(journal, "In[2]", lambda: None)
    torch.manual_seed(1)
    cell(journal, "In[3]", lambda: torch.rand(2))
    assert [(name, generator) for name, generator, *_ in told(journal)] == [
        (BETWEEN, "python cpu"),
        ("In[3]", "torch cpu"),
    ]


def test_so_many_cells_are_kept() -> None:
    journal = Journal()
    for number in range(210):
        cell(journal, f"In[{number}]", random.random)
    assert [one.name for one in journal.ledger()] == [f"In[{number}]" for number in range(10, 210)]


# How it is shown


def move(generator: str, count: int | None = 3, **more: Any) -> Move:
    found = None if count is None else StateDistance(count, is_anew=more.pop("is_anew", False))
    more.setdefault("device", "cpu" if generator.startswith("torch") else "")
    known = {True: SeedState(Origin.SEEDED), False: SeedState(Origin.UNSEEDED), None: UNKNOWN}[more.pop("seeded", True)]
    told = Settled(known)
    return Move(generator, before=b"", after=b"", measure=lambda _before, _after: found, was=told, now=told, **more)


def draws_at(*lines: int, op: str = "rand.default") -> list[Draw]:
    return [Draw(op, "cpu", Place("<ipython-input-1>", line, line), 1, at_least=False) for line in lines]


def one_cell(name: str, *moves: Move, draws: list[Draw] | None = None) -> CellDraws:
    return CellDraws(name, None, moves, draws or [], lambda _file: name)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.add(tag)


def test_the_picture_and_the_table() -> None:
    text = ledger(
        [
            one_cell("In[9]", move("torch cpu", 1234), draws=draws_at(2, 3, 4, 5, 6)),
            one_cell("In[10]", move("private rng", seeded=False), move("numpy cpu", is_anew=True)),
            one_cell("In[11]", move("python cpu", seeded=None), draws=draws_at(1)),
        ]
    ).text()
    lines = [line.split() for line in text.splitlines()]
    assert lines[1:3] == [["1", "1"], ["9", "0", "1"]], "the columns' names stand upright"
    assert lines[3:7] == [["torch", "cpu", "●", "↺"], ["rng", "◦"], ["numpy", "cpu", "◆"], ["python", "cpu", "◐"]]
    for row in (
        "In[9] torch cpu 1,234 words yes rand line 2, rand line 3, rand line 4 and 2 more",
        "In[10] rng 3 words no",
        "In[10] numpy cpu 3 words in this cell",
        "In[11] python cpu 3 words unknown",
        "In[11] torch cpu restored, or gone unknown rand line 1",
    ):
        assert row.split() in lines, row


def test_it_is_at_most_110_columns_wide_whatever_there_is() -> None:
    cells = [one_cell(f"In[{number}]", move(f"private {'long' * 20}[{number % 3}]")) for number in range(1000, 1100)]
    text = ledger(cells).text()
    assert max(map(len, text.splitlines())) <= 110
    assert "the last 40" in text


@given(st.text(), st.text())
def test_no_name_becomes_markup(name: str, op: str) -> None:
    document = ledger([one_cell(name, move(f"private {name}"), move("torch cpu"), draws=draws_at(1, op=op))])
    reader = _Reader()
    reader.feed(document.html())
    assert reader.tags <= {"div", "span", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    document.text()


def test_what_can_not_be_told_is_said() -> None:
    text = ledger([one_cell("In[1]", move("python cpu", None), move("numpy cpu", 0), move("private x", 1))]).text()
    assert "unknown" in text
    assert "buffered numbers only" in text
    assert "1 word " in text


ODD = """
import time
class NoClass:
    @property
    def __class__(self): raise RuntimeError("outside of a request")
class NoDict:
    @property
    def __dict__(self): raise RuntimeError("no dictionary")
class Broken(dict):
    def items(self): raise RuntimeError("no items")
    __iter__ = __len__ = items
class BrokenList(list):
    def __iter__(self): raise RuntimeError("no elements")
    __len__ = __getitem__ = __iter__
class Stops:
    def __getattribute__(self, name): raise KeyboardInterrupt
class Key:
    def __repr__(self): raise RuntimeError("no words")
    __hash__ = object.__hash__
odd = [NoClass(), NoDict(), Broken(a=1), BrokenList([1]), Stops(), {Key(): [1]}]
no_class, no_dict, broken, broken_list, stops, key = odd
"""


def test_objects_that_refuse_to_be_looked_at_are_passed_over(loaded: InteractiveShell) -> None:
    """GIVEN proxies and the like WHEN cells run and generators are adopted THEN nothing fails, and the others count."""
    loaded.run_cell("import random\n%repro_seed 42 --per-cell --adopt", store_history=True)
    loaded.run_cell(ODD + "own = random.Random(1)\n", store_history=True)
    draw = "# repro: name draw\nrandom.random(), own.random()"
    first = loaded.run_cell(draw, store_history=True)
    assert first.result is not None
    assert loaded.run_cell(draw, store_history=True).result == first.result
    with capture_output() as captured:
        loaded.run_line_magic("repro_ledger", "")
        loaded.run_line_magic("repro_seed", "3 --adopt")
    ledger, seeding = (output.data["text/plain"] for output in captured.outputs)
    assert "own" in ledger
    assert "Also seeded, each with its own seed: own" in seeding


@pytest.mark.parametrize(
    ("unseed", "generator"),
    [
        (lambda: (random.seed(), random.random()), "python cpu"),
        (lambda: (np.random.seed(), np.random.rand(1)), "numpy cpu"),
        (lambda: (torch.seed(), torch.rand(1)), "torch cpu"),
    ],
)
def test_who_takes_a_seed_from_the_system_is_unseeded_whatever_was_before(
    unseed: Callable[[], object], generator: str
) -> None:
    entropy.hooks_up()
    journal = Journal()
    repro_magic.seed_everything(42)
    cell(journal, "In[1]", unseed)
    cell(journal, "In[2]", lambda: (random.random(), np.random.rand(1), torch.rand(1)))
    repro_magic.seed_everything(42)
    cell(journal, "In[3]", lambda: (random.random(), np.random.rand(1), torch.rand(1)))
    found = {(name, key): seeded for name, key, _, seeded in told(journal) if key == generator}
    assert found == {("In[1]", generator): False, ("In[2]", generator): False, ("In[3]", generator): True}
    entropy.hooks_down()


def test_a_cell_may_end_while_another_thread_reads_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """As happens to the panel, which follows a running cell from a thread of its own."""
    book = Journal()
    for number in (1, 2):
        book.begin()
        random.random()
        book.end(f"In[{number}]")

    def ends_meanwhile(cell: CellDraws, _move: Move) -> bool:
        monkeypatch.undo()
        book._ledger._note(cell)
        return True

    monkeypatch.setattr("repro_magic.journal._counts", ends_meanwhile)
    assert [cell.name for cell in book.ledger()] == ["In[1]", "In[2]"]
