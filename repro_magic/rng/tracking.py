"""Which generators the notebook's names hold, looked at after every cell, so in tenths of a millisecond.

What a name holds directly is seen each time. What it holds in attributes, lists and dictionaries is searched when the
name is bound to another object; of the others some are searched again each time, in turn, and where a generator was
found it is looked for each time. No object of the user's is kept, not even weakly: NumPy's generators allow neither.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from repro_magic.introspection.foreign import Shield, is_notebooks
from repro_magic.introspection.object_graph import Path, at, has_parts, in_words, parts
from repro_magic.rng.entropy import is_unseeded
from repro_magic.rng.origins import GIVEN, UNKNOWN, Birth, Look, Told, plain_seed
from repro_magic.rng.state_change import Move
from repro_magic.rng.user_generators import Private, global_ones, private
from repro_magic.runtime.import_hooks import is_imported
from repro_magic.runtime.interrupts import interruptible

# How deep a name is searched, through how many objects, of each how many parts.
_DEEPEST, _OBJECTS, _PARTS = 4, 80, 100
# Through how many parts one look goes where names are new. Those that were searched before save up so many a look until
# it is enough to search the next of them again.
_LOOK, _SAVED = 4000, 200
# So many generators are followed.
_MOST = 100
_KINDS = 2000

_ITSELF: tuple[Path, ...] = ((),)
_NOWHERE: tuple[int, Sequence[Path], int] = (0, (), 0)


class _Kinds(dict[type, str]):
    """Type -> what there is to do with its objects: "" nothing, "own" is a generator, "holds" may hold some."""

    def __init__(self) -> None:
        super().__init__()
        self._of_notebook: WeakKeyDictionary[type, str] = WeakKeyDictionary()  # such a class is made anew with its cell

    def __missing__(self, kind: type) -> str:
        found = self._of_notebook.get(kind)
        if found is None:
            found = _kind(kind)
            if is_notebooks(kind):
                self._of_notebook[kind] = found
            elif len(self) < _KINDS:
                self[kind] = found
        return found


def _kind(kind: type) -> str:
    generators, opaque = _types()
    if issubclass(kind, generators):
        return "" if issubclass(kind, random.SystemRandom) else "own"
    if issubclass(kind, opaque):
        return ""
    return "holds" if has_parts(kind) else ""


def _types() -> tuple[tuple[type, ...], tuple[type, ...]]:
    """Generators; and what holds none, or only so that it cannot be looked at cheaply."""
    generators: list[type] = [random.Random]
    opaque: list[type] = [type, ModuleType, FunctionType]
    numpy, torch = (sys.modules[name] if is_imported(name) else None for name in ("numpy.random", "torch"))
    if numpy is not None:
        generators += [numpy.Generator, numpy.RandomState]
        opaque.append(sys.modules["numpy"].ndarray)
    if torch is not None:
        generators.append(torch.Generator)
        opaque.append(torch.Tensor)
    return tuple(generators), tuple(opaque)


_kinds = _Kinds()


def _what(value: object) -> str:
    """What there is to do with an object; nothing, where its metaclass does not even let its type be looked up."""
    with Shield():
        return _kinds[type(value)]
    return ""


def worth_a_look(names: Mapping[str, object], hidden: Container[str]) -> list[tuple[str, object]]:
    """The names that hold a generator or something with parts, less hidden ones and those with an underscore first.

    The type is asked first: after every cell this goes through all names, and most hold numbers, arrays and tensors.

    Example:
        >>> worth_a_look({"x": 1, "mine": [1], "_": [2], "In": [3]}, {"In"})
        [('mine', [1])]
    """
    kinds, items = _kinds, list(names.items())
    with Shield():  # nearly always nothing raises
        return [one for one in items if kinds[type(one[1])] and _is_own(one[0], hidden)]
    return [one for one in items if _what(one[1]) and _is_own(one[0], hidden)]


def _is_own(name: object, hidden: Container[str]) -> bool:
    return type(name) is str and name[:1] != "_" and name not in hidden


def _search(value: object) -> tuple[list[Path], int]:
    """Where an object holds generators, level by level, and how many parts were looked at."""
    waiting: deque[tuple[object, Path]] = deque([(value, ())])
    seen, found, looked = {id(value)}, [], 0
    for _ in range(_OBJECTS):
        if not waiting:
            break
        one, path = waiting.popleft()
        looked += 1
        with Shield():  # it changes while it is looked at
            for step, part in parts(one, _PARTS):
                looked += 1
                kind = _what(part)
                if not kind or id(part) in seen:
                    continue
                seen.add(id(part))
                if kind == "own":
                    found.append((*path, step))
                elif len(path) < _DEEPEST - 1:
                    waiting.append((part, (*path, step)))
    return found, looked


class Tracker:
    """Sees which of the notebook's own generators moved.

    Example:
        >>> tracker = Tracker()
        >>> own = random.Random(1)
        >>> _ = tracker.look([("own", own)])
        >>> _ = own.random()
        >>> [(move.generator, move.distance.count) for move in tracker.look([("own", own)])]
        [('private own', 2)]
    """

    def __init__(self) -> None:
        """Nothing was seen."""
        self._seen: dict[int, Look] = {}
        # Name -> which object it was, where it holds some, how many parts it has.
        self._paths: dict[str, tuple[int, Sequence[Path], int]] = {}
        self._turn = self._saved = 0

    def look(self, names: Iterable[tuple[str, object]]) -> list[Move]:
        """See which generators moved since the last look, and which are new."""
        seen, moves = {}, []
        for one in islice(self._held(names), _MOST):
            before = self._seen.get(id(one.source))
            with Shield():  # a class of somebody's made from random.Random, say
                now, move = _compared(before, one)
                seen[id(one.source)] = now
                if move is not None:
                    moves.append(move)
        self._seen = seen
        return moves

    def _held(self, names: Iterable[tuple[str, object]]) -> Iterator[Private]:
        """Each generator once, under the first name that holds it. The global ones are none of them."""
        told = {id(one) for one in global_ones()}
        for name, value, paths in self._places(names):
            for path in paths:
                one = at(value, path)
                found = None if id(one) in told else _private(name + "".join(map(in_words, path)), one)
                if found is not None and id(found.source) not in told:
                    told |= {id(one), id(found.source)}
                    yield found

    def _places(self, names: Iterable[tuple[str, object]]) -> list[tuple[str, object, Sequence[Path]]]:
        """Which names hold generators, and where. One pass over all names: it is most of what a look takes."""
        kinds, known = _what, self._paths
        places: list[tuple[str, object, Sequence[Path]]] = []
        holders: list[tuple[str, object]] = []
        looked = 0
        for name, value in names:
            kind = kinds(value)
            if not kind:
                continue
            if kind == "own":
                places.append((name, value, _ITSELF))
                continue
            holders.append((name, value))
            was, paths, _ = known.get(name, _NOWHERE)
            if was != id(value):  # bound anew
                if looked >= _LOOK:
                    continue
                paths, cost = _search(value)
                looked += cost
                known[name] = id(value), paths, cost
            if paths:
                places.append((name, value, paths))
        if len(known) > len(holders):  # some are gone
            self._paths = {name: known[name] for name, _ in holders if name in known}
        return places + (self._again(holders) if not looked else [])

    def _again(self, holders: list[tuple[str, object]]) -> list[tuple[str, object, Sequence[Path]]]:
        """Search some that were searched before, in turn; those that hold others now."""
        found: list[tuple[str, object, Sequence[Path]]] = []
        self._saved += _SAVED
        for _ in holders:
            name, value = holders[self._turn % len(holders)]
            _, before, cost = self._paths.get(name, _NOWHERE)
            if cost > self._saved:
                return found
            self._turn += 1
            paths, cost = _search(value)
            self._saved -= cost
            if paths != before:
                found.append((name, value, paths))
            self._paths[name] = id(value), paths, cost
        self._saved = 0  # all of them were searched
        return found


def _private(name: str, value: object) -> Private | None:
    with Shield():
        return private(name, value)
    return None


@interruptible
def _compared(before: Look | None, one: Private) -> tuple[Look, Move | None]:
    state = one.generator.to_bytes(one.generator.get_state())
    if before is not None and before.state == state:
        return before.again(), None
    born = _birth(one) if before is None else None
    now = private_look(one, state, before, born)
    return now, Move(
        one.generator.key,
        str(getattr(getattr(one.value, "device", None), "type", "")),
        before.state if before is not None else None if born is None else born.state,
        state,
        one.generator.distance,
        is_made=before is None,
        was=Told(UNKNOWN) if before is None else before,
        now=now,
    )


def private_look(one: Private, state: bytes, before: Look | None, born: Birth | None) -> Look:
    """A look at a generator of the notebook's own, which keeps nothing of it."""
    reported = getattr(one.value, "initial_seed", None) if type(one.value).__module__ == "torch._C" else None
    return Look(
        state,
        one.generator.distance,
        GIVEN,
        reported=None if reported is None else reported(),
        is_unseeded=is_unseeded(one.value),
        birth=born,
        before=before,
    )


def _birth(one: Private) -> Birth | None:
    """What one of NumPy's generators was made with, and the state that its seed sequence leads to."""
    bits: Any = one.source
    sequence = getattr(bits, "seed_seq", None)
    if sequence is None:
        return None
    state = one.generator.to_bytes(type(bits)(sequence).state)
    unseeded = is_unseeded(one.value)
    return Birth(state, None if unseeded else plain_seed(getattr(sequence, "entropy", None)), unseeded)
