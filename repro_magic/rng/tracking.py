"""Track the generators that notebook variables hold. This runs after every cell and takes tenths of a millisecond.

Generators bound to a name are checked after every cell. Attributes, lists and dictionaries are searched when the name
is rebound, then again in turns, a few names per cell; the generators found there are checked after every cell. No
reference to a user's object is kept, not even a weak one: NumPy's generators do not support them.
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
from repro_magic.rng.origins import SEED_LOG, UNKNOWN, Birth, Look, Settled, plain_seed
from repro_magic.rng.state_change import Move
from repro_magic.rng.user_generators import UserGenerator, global_generators, guarded
from repro_magic.runtime.import_hooks import is_imported
from repro_magic.runtime.interrupts import interruptible

# Limits of the search below a name: depth, objects, parts of an object.
_DEEPEST, _OBJECTS, _PARTS = 4, 80, 100
# Parts that a look may search below new names, and the budget that each look adds for searching known names again.
_PARTS_PER_LOOK, _SAVED_PER_LOOK = 4000, 200
_MOST_GENERATORS = 100
_MOST_ROLES = 2000

_DIRECTLY: tuple[Path, ...] = ((),)
_NOT_SEARCHED: tuple[int, Sequence[Path], int] = (0, (), 0)


class _Roles(dict[type, str]):
    """Type -> role of its objects: "own" for a generator, "holds" if it may hold some, "" otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self._of_notebook: WeakKeyDictionary[type, str] = WeakKeyDictionary()  # cells redefine their classes

    def __missing__(self, cls: type) -> str:
        role = self._of_notebook.get(cls)
        if role is None:
            role = _role_of_type(cls)
            if is_notebooks(cls):
                self._of_notebook[cls] = role
            elif len(self) < _MOST_ROLES:
                self[cls] = role
        return role


def _role_of_type(cls: type) -> str:
    generators, opaque = _generator_and_opaque_types()
    if issubclass(cls, generators):
        return "" if issubclass(cls, random.SystemRandom) else "own"
    if issubclass(cls, opaque):
        return ""
    return "holds" if has_parts(cls) else ""


def _generator_and_opaque_types() -> tuple[tuple[type, ...], tuple[type, ...]]:
    """Types of generators; and types that hold none, or none that is cheap to reach."""
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


_roles = _Roles()


def _role(value: object) -> str:
    """The role of an object; "" if its metaclass makes the lookup fail."""
    with Shield():
        return _roles[type(value)]
    return ""


def trackable_names(names: Mapping[str, object], hidden: Container[str]) -> list[tuple[str, object]]:
    """The visible names that are bound to a generator, or to an object with parts.

    Types are checked first: this runs over all names after every cell, and most names hold numbers, arrays and tensors.

    Example:
        >>> trackable_names({"x": 1, "mine": [1], "_": [2], "In": [3]}, {"In"})
        [('mine', [1])]
    """
    roles, items = _roles, list(names.items())
    with Shield():  # the fast path: nearly always nothing raises
        return [item for item in items if roles[type(item[1])] and _is_visible(item[0], hidden)]
    return [item for item in items if _role(item[1]) and _is_visible(item[0], hidden)]


def _is_visible(name: object, hidden: Container[str]) -> bool:
    return type(name) is str and name[:1] != "_" and name not in hidden


def _search(value: object) -> tuple[list[Path], int]:
    """Search an object breadth first; the paths to its generators, and the number of parts visited."""
    waiting: deque[tuple[object, Path]] = deque([(value, ())])
    seen, paths, cost = {id(value)}, [], 0
    for _ in range(_OBJECTS):
        if not waiting:
            break
        holder, path = waiting.popleft()
        cost += 1
        with Shield():  # it may change during the search
            for step, part in parts(holder, _PARTS):
                cost += 1
                role = _role(part)
                if not role or id(part) in seen:
                    continue
                seen.add(id(part))
                if role == "own":
                    paths.append((*path, step))
                elif len(path) < _DEEPEST - 1:
                    waiting.append((part, (*path, step)))
    return paths, cost


class Tracker:
    """Reports which of the notebook's own generators moved.

    Example:
        >>> tracker = Tracker()
        >>> own = random.Random(1)
        >>> _ = tracker.look([("own", own)])
        >>> _ = own.random()
        >>> [(move.generator, move.distance.count) for move in tracker.look([("own", own)])]
        [('private own', 2)]
    """

    def __init__(self) -> None:
        """Start with no generators seen."""
        self._seen: dict[int, Look] = {}
        # Name -> id of its object, paths to the generators in it, number of its parts.
        self._paths: dict[str, tuple[int, Sequence[Path], int]] = {}
        self._turn = self._saved = 0

    def look(self, names: Iterable[tuple[str, object]]) -> list[Move]:
        """Return the generators that moved since the last look, or are new."""
        seen, moves = {}, []
        for owned in islice(self._generators(names), _MOST_GENERATORS):
            before = self._seen.get(id(owned.source))
            with Shield():  # such as a subclass of random.Random that raises
                current, move = _look_and_move(before, owned)
                seen[id(owned.source)] = current
                if move is not None:
                    moves.append(move)
        self._seen = seen
        return moves

    def _generators(self, names: Iterable[tuple[str, object]]) -> Iterator[UserGenerator]:
        """Each generator once, under the first name that holds it; no global generators."""
        seen = {id(value) for value in global_generators()}
        for name, root, paths in self._holders(names):
            for path in paths:
                value = at(root, path)
                owned = None if id(value) in seen else guarded(name + "".join(map(in_words, path)), value)
                if owned is not None and id(owned.source) not in seen:
                    seen |= {id(value), id(owned.source)}
                    yield owned

    def _holders(self, names: Iterable[tuple[str, object]]) -> list[tuple[str, object, Sequence[Path]]]:
        """The names that hold generators, with the paths to them, in a single pass: most of the time of a look."""
        role_of, known_paths = _role, self._paths
        places: list[tuple[str, object, Sequence[Path]]] = []
        holders: list[tuple[str, object]] = []
        cost_so_far = 0
        for name, value in names:
            role = role_of(value)
            if not role:
                continue
            if role == "own":
                places.append((name, value, _DIRECTLY))
                continue
            holders.append((name, value))
            searched, paths, _ = known_paths.get(name, _NOT_SEARCHED)
            if searched != id(value):  # rebound
                if cost_so_far >= _PARTS_PER_LOOK:
                    continue
                paths, cost = _search(value)
                cost_so_far += cost
                known_paths[name] = id(value), paths, cost
            if paths:
                places.append((name, value, paths))
        if len(known_paths) > len(holders):  # some names were deleted
            self._paths = {name: known_paths[name] for name, _ in holders if name in known_paths}
        return places + (self._searched_again(holders) if not cost_so_far else [])

    def _searched_again(self, holders: list[tuple[str, object]]) -> list[tuple[str, object, Sequence[Path]]]:
        """Search some known names again, in turn; those with changed paths."""
        changed: list[tuple[str, object, Sequence[Path]]] = []
        self._saved += _SAVED_PER_LOOK
        for _ in holders:
            name, value = holders[self._turn % len(holders)]
            _, before, cost = self._paths.get(name, _NOT_SEARCHED)
            if cost > self._saved:
                return changed
            self._turn += 1
            paths, cost = _search(value)
            self._saved -= cost
            if paths != before:
                changed.append((name, value, paths))
            self._paths[name] = id(value), paths, cost
        self._saved = 0  # all names were searched
        return changed


@interruptible
def _look_and_move(before: Look | None, owned: UserGenerator) -> tuple[Look, Move | None]:
    state = owned.generator.to_bytes(owned.generator.get_state())
    if before is not None and before.state == state:
        return before.again(), None
    born = _birth(owned) if before is None else None
    current = user_generator_look(owned, state, before, born)
    return current, Move(
        owned.generator.key,
        str(getattr(getattr(owned.value, "device", None), "type", "")),
        before.state if before is not None else None if born is None else born.state,
        state,
        owned.generator.distance,
        is_made=before is None,
        was=Settled(UNKNOWN) if before is None else before,
        now=current,
    )


def user_generator_look(owned: UserGenerator, state: bytes, before: Look | None, born: Birth | None) -> Look:
    """Look at a generator of the notebook; keeps no reference to it."""
    reported = getattr(owned.value, "initial_seed", None) if type(owned.value).__module__ == "torch._C" else None
    return Look(
        state,
        owned.generator.distance,
        SEED_LOG,
        reported=None if reported is None else reported(),
        is_unseeded=is_unseeded(owned.value),
        birth=born,
        before=before,
    )


def _birth(owned: UserGenerator) -> Birth | None:
    """How a NumPy generator was created; None for other generators."""
    bits: Any = owned.source
    sequence = getattr(bits, "seed_seq", None)
    if sequence is None:
        return None
    state = owned.generator.to_bytes(type(bits)(sequence).state)
    unseeded = is_unseeded(owned.value)
    return Birth(state, None if unseeded else plain_seed(getattr(sequence, "entropy", None)), unseeded)
