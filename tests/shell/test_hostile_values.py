"""Objects that answer, raise or refer to whatever they like: no hook of ours lets the user's cell feel it."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import signal
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.utils.capture import capture_output

from repro_magic.introspection.cell_names import reached
from repro_magic.notebook import session
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.digest.object_parts import held_by_code, is_code
from repro_magic.proof.kernel.probe import gradients, looked_at
from repro_magic.rng.tracking import Tracker
from repro_magic.rng.user_generators import adopt, generators_in
from repro_magic.runtime.interrupts import Guard, uninterrupted


class StopNowError(BaseException):
    """What no `except Exception` catches."""


SPECIAL = (
    *("__getattr__", "__getattribute__", "__eq__", "__hash__", "__getstate__", "__reduce_ex__", "__reduce__"),
    *("__iter__", "__len__", "__repr__", "__str__", "__bool__", "__call__", "__getitem__", "__contains__", "__array__"),
    *(
        "__torch_function__",
        "__index__",
        "__format__",
        "__lt__",
        "__dir__",
        "getstate",
        "state_dict",
        "named_parameters",
    ),
)
PROPERTIES = ("__class__", "__dict__", "__wrapped__", "__name__", "dtype", "shape", "grad", "_modules", "__self__")
RAISED = (RuntimeError, SystemExit, GeneratorExit, StopNowError, StopIteration, RecursionError, KeyboardInterrupt)
BASES: tuple[type, ...] = (object, list, dict, str, float, random.Random, torch.nn.Module, ValueError)
OF_TYPES = ("__hash__", "__eq__", "__getattribute__", "__instancecheck__", "__subclasscheck__", "__call__")


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def method(*_: object, **__: object) -> Any:
        raise error

    return method


def answering(answer: object) -> Callable[..., Any]:
    return lambda *_, **__: answer


def returning_itself(itself: object, *_: object, **__: object) -> object:
    return itself


DOES: dict[str, Callable[..., Any]] = {
    **{f"raises {error.__name__}": raising(error) for error in RAISED},
    "returns itself": returning_itself,
    "returns what answers everything": answering(mock.call),
    "returns a number": answering(3),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a hostile object is made: its class's module and base, and what its and its metaclass's methods do."""

    module: str
    base: type
    methods: dict[str, str]
    properties: dict[str, str]
    of_type: dict[str, str]

    def made(self) -> Any:
        """The object. Its class's `__init__` does not run, so that a module has lost all that it needs."""
        above: Any = type(self.base)
        kind = above if not self.of_type else type("Meta", (above,), {})
        space: dict[str, Any] = {name: DOES[does] for name, does in self.methods.items()}
        space |= {name: property(DOES[does]) for name, does in self.properties.items()}
        made = kind("Hostile", (self.base,), {**space, "__module__": self.module})
        for name, does in self.of_type.items():
            type.__setattr__(kind, name, DOES[does])
        new: Any = self.base.__new__
        return new(made)


def some(names: Sequence[str], most: int) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(names), st.sampled_from(sorted(DOES)), max_size=most)


RECIPES = st.builds(
    Recipe,
    st.sampled_from(["__main__", "library"]),
    st.sampled_from(BASES),
    some(SPECIAL, 4),
    some(PROPERTIES, 3),
    st.one_of(st.just({}), some(OF_TYPES, 2)),
)


LOOKS: tuple[Callable[[Any], object], ...] = (
    digest,
    looked_at,
    is_code,
    held_by_code,
    gradients,
    lambda value: reached("x", {"x": value}, {}),
    lambda value: list(generators_in(value, "x")),
    lambda value: adopt(1, {"x": value}),
    lambda value: Tracker().look([("x", value)]),
)


@pytest.fixture
def guard() -> Iterator[Guard]:
    """As a hook of ours stands while it looks."""
    made = Guard()
    made.up()
    yield made
    made.step_back()


PUT: dict[str, Callable[[Any], Any]] = {
    "itself": lambda one: one,
    "in a list": lambda one: [one],
    "in a dictionary": lambda one: {1: (one,)},
    "in an object": lambda one: types.SimpleNamespace(part=one),
    "in an exception": lambda one: ValueError(one),
}


def ends(look: Callable[[Any], object], value: Any) -> str:
    """What a look raised, in words: no test may touch the object when it reports."""
    try:
        look(value)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return type(error).__name__
    return ""


ITSELF = Recipe("__main__", torch.nn.Module, {"__getattribute__": "returns itself"}, {}, {})


@given(RECIPES, st.sampled_from(sorted(PUT)))
@example(ITSELF, "itself")
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_no_look_raises(guard: Guard, recipe: Recipe, put: str) -> None:
    assert [ends(look, PUT[put](recipe.made())) for look in LOOKS] == [""] * len(LOOKS)
    assert not guard.pending


def run(shell: InteractiveShell, cell: str) -> tuple[str, object]:
    """How a cell ends: what it raised, and whether its error was shown."""
    with capture_output():
        try:
            result: ExecutionResult = shell.run_cell(cell, store_history=True)
        except BaseException as error:  # noqa: BLE001 - IPython lets some through
            return "raised", type(error)
    return "ended", type(result.error_in_exec)


CELLS = (
    "held = [hostile]\ntable = {1: hostile}\nclass Holder: pass\nholder = Holder()\nholder.part = hostile",
    "def made(kept):\n    def inner(): return kept\n    return inner\nclosure = made(hostile)\nHolder.of_all = hostile",
    "again = hostile\nHolder(), closure; None",
    "hostile",
)


def loaded(shell: InteractiveShell) -> session.Session:
    if shell not in session._sessions:
        shell.run_line_magic("load_ext", "repro_magic")
    return session._sessions[shell]


def receipts(shell: InteractiveShell) -> int:
    return len(session._sessions[shell]._cell_receipts)


@given(RECIPES)
@example(Recipe("__main__", object, {}, {"__class__": "raises RecursionError"}, {}))  # IPython 7 asks for it, too
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_no_cell_feels_us(shell: InteractiveShell, recipe: Recipe) -> None:
    shell.run_line_magic("unload_ext", "repro_magic")
    shell.user_ns["hostile"] = recipe.made()
    bare = [run(shell, cell) for cell in CELLS]
    ours = loaded(shell)
    run(shell, "%config ReproMagic.receipts = 'all'")
    assert [run(shell, cell) for cell in CELLS] == bare
    before = receipts(shell)
    assert run(shell, "%%deterministic --seed 1 --quiet\nheld, hostile\nchecked = 1") == ("ended", type(None))
    assert receipts(shell) == before + 1
    assert ours._installed._faulty == set()


PRELUDES = {
    "answers every attribute": "from unittest.mock import call as x",
    "wraps itself": "def x(): pass\nx.__wrapped__ = x",
    "raises at each attribute": "class E:\n    def __getattr__(self, name): raise RuntimeError(name)\nx = E()",
    "ends the process": "class E:\n    def __getattr__(self, name): raise SystemExit(3)\nx = E()",
    "raises its own": "class S(BaseException): pass\nclass E:\n    def __getattr__(self, n): raise S\nx = E()",
    "an enum": "import enum\nclass Mode(enum.Enum):\n    A = 1\nx = Mode.A",
    "a singleton": "class C:\n    kept = None\nC.kept = x = C()",
    "a dead proxy": "import weakref\nclass A: pass\na = A(); x = weakref.proxy(a); del a",
    "a generator without a state": "import random\nclass S(BaseException): pass\n"
    "class R(random.Random):\n    def getstate(self): raise S\nx = R()",
    "a generator that compares": "import random\nclass R(random.Random):\n"
    "    def __eq__(self, other): return self.getstate() == other.getstate()\nx = random.Random.__new__(R)",
    "a metaclass": "class M(type):\n    def __hash__(cls): raise RuntimeError\nclass K(metaclass=M): pass\nx = K()",
}


@pytest.mark.parametrize("name", PRELUDES)
def test_one_value_costs_its_own_entry_and_the_watch_goes_on(shell: InteractiveShell, name: str) -> None:
    ours = loaded(shell)
    shell.run_line_magic("config", "ReproMagic.receipts = 'all'")
    assert run(shell, PRELUDES[name]) == ("ended", type(None))
    assert run(shell, "%%deterministic --quiet\ny = [x]\nnumber = 3") == ("ended", type(None))
    values = list(ours._cell_receipts.values())[-1]["values"]
    assert {"x", "y", "number"} - set(values) <= {"x"}, "code has no entry of its own"
    assert not values["number"]["gaps"]
    assert run(shell, "import random; r = random.Random(); r.random()") == ("ended", type(None))
    assert ours._installed._faulty == set()
    assert any(move.generator == "private r" for cell in ours.ledger() for move in cell.moves), "the watch went on"


def test_a_bad_generator_does_not_hide_a_good_one() -> None:
    class Bad(random.Random):
        def getstate(self) -> Any:
            raise SystemExit

        def seed(self, *_: Any, **__: Any) -> Any:
            raise StopNowError

    bad, good = random.Random.__new__(Bad), random.Random(3)
    tracker = Tracker()
    names = [("bad", bad), ("good", good)]
    assert [move.generator for move in tracker.look(names)] == ["private good"]
    good.random()
    assert [move.generator for move in tracker.look(names)] == ["private good"]
    assert adopt(1, dict(names)) == ["good"]


def test_keys_of_any_class_are_neither_hashed_nor_written() -> None:
    class Key:
        """It can be hashed once, by the dictionary."""

        asked = 0

        def __hash__(self) -> int:
            type(self).asked += 1
            return 1

        __repr__ = raising(RuntimeError)

    table = {Key(): random.Random(1), (1, "a"): random.Random(2)}
    asked = Key.asked
    assert [one.generator.device for one in generators_in(table, "x")] == ["x[#0]", "x[(1, 'a')]"]
    tracker = Tracker()
    assert len(tracker.look([("x", table)])) == 2
    assert Key.asked == asked


def test_a_dead_proxy_is_a_gap() -> None:
    class Gone:
        """Nobody holds it."""

    one = weakref.proxy(Gone())
    assert [gap.path for gap in digest({"a": one, "b": 1}).gaps] == ["[key 1 of 2]"]


# Ctrl-C


class Interrupting(torch.optim.Optimizer):
    """While it is looked at, the user presses Ctrl-C; it swallows what that raises."""

    defaults: dict[str, Any] = {}  # noqa: RUF012 - as the base declares it
    param_groups: list[dict[str, Any]] = []  # noqa: RUF012 - a stand-in

    def __init__(self) -> None:
        """The base's own is not asked: it would look for parameters."""

    @property
    def state(self) -> Any:  # type: ignore[override]
        """Press it."""
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return {}


def test_ctrl_c_ends_a_look_at_once_and_is_kept_for_the_cell() -> None:
    looked: list[object] = []

    @uninterrupted
    def hook(guard: Guard) -> None:
        guard.up()
        value = [Interrupting(), *([number] for number in range(100_000))]
        try:
            looked.append(digest(value))
        except KeyboardInterrupt:
            looked.append("ended")

    guard = Guard()
    hook(guard)
    assert looked == ["ended"]
    assert guard.step_back()


def test_ctrl_c_in_a_script_ends_it_as_any_other_call() -> None:
    with pytest.raises(KeyboardInterrupt):
        digest([PassingOn()])


class PassingOn(Interrupting):
    """It passes Ctrl-C on."""

    @property
    def state(self) -> Any:  # type: ignore[override]
        """Press it."""
        signal.raise_signal(signal.SIGINT)
        return {}


def test_what_an_object_raises_is_no_ctrl_c(guard: Guard) -> None:
    class Pretending(Interrupting):
        """It raises what Ctrl-C raises."""

        state = property(raising(KeyboardInterrupt))

    assert [gap.why for gap in digest([Pretending()]).gaps] == ["looking at it failed: KeyboardInterrupt"]
    assert not guard.pending


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
