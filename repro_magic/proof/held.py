"""What code and well-known objects of libraries hold: the parts that their digest is made of."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from types import FunctionType, MethodType, ModuleType
from typing import Any

from repro_magic.rng.private import private

Parts = dict[Any, object]

# What scikit-learn's estimators hold that is no result: how long it took, and an address.
_NO_RESULT = re.compile(r"(?:^|_)time_?$|^_stop_words_id$")


def is_code(value: object) -> bool:
    """Whether a value is a module, function or class: these are the code, which is compared as text.

    Example:
        >>> is_code(print), is_code(3)
        (True, False)
    """
    try:
        return isinstance(value, ModuleType | type) or (callable(value) and hasattr(value, "__qualname__"))
    except (Exception, SystemExit):  # noqa: BLE001 - a property of somebody else's class
        return False


def held_by_code(value: object) -> dict[str, Parts]:
    """What a function, method or class holds that is no code, by the attribute that holds it.

    Of functions and classes, those of the notebook; of a method, the object that it is bound to.

    Example:
        >>> held_by_code([1].append)
        {'__self__': {0: [1]}}
    """
    if not is_code(value):
        return {}
    try:
        return {part: data for part, held in _of_code(value).items() if (data := _data(held))}
    except (Exception, SystemExit):  # noqa: BLE001 - a metaclass of somebody else's
        return {}


def _data(held: Mapping[Any, object]) -> Parts:
    return {name: one for name, one in held.items() if not is_code(one)}


def _of_code(value: Any) -> dict[str, Parts]:
    if isinstance(value, type):
        return {"__dict__": dict(_of_class(value))} if value.__module__ == "__main__" else {}
    function = inspect.unwrap(value, stop=_is_notebooks)  # a decorator may be a library's
    if _is_notebooks(function):
        return {
            "__closure__": dict(_closure(function)),
            "__defaults__": dict(enumerate(function.__defaults__ or ())),
            "__kwdefaults__": function.__kwdefaults__ or {},
            "__dict__": vars(function),
        }
    bound = getattr(value, "__self__", None)
    if bound is None or is_code(bound):
        return {}
    return {"__self__": {0: bound}, **(_of_code(value.__func__) if isinstance(value, MethodType) else {})}


def _is_notebooks(function: object) -> bool:
    return isinstance(function, FunctionType) and function.__globals__.get("__name__") == "__main__"


def _closure(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # it is empty
            yield name, cell.cell_contents


def _of_class(kind: type) -> Iterator[tuple[str, object]]:
    """A class's attributes, an enum's values, and what its methods keep in defaults and closures."""
    if issubclass(kind, Enum):
        yield from ((member.name, member.value) for member in kind)
        return
    for name, one in vars(kind).items():
        function = getattr(one, "__func__", one)
        if isinstance(function, FunctionType):
            yield from ((f"{name}.{part}", data) for part, held in _of_code(function).items() if (data := _data(held)))
        elif not (name.startswith("__") or name == "_abc_impl" or hasattr(type(one), "__get__")):
            yield name, one


# Objects of libraries


def parts_of(value: Any) -> Parts | None:
    """The parts that say all about an object of a well-known class; None for any other.

    Example:
        >>> parts_of(ValueError("no")), parts_of(iter([1]))
        ({'args': ('no',)}, None)
    """
    generator = private("", value)
    if generator is not None:
        return {"state": generator.generator.get_state()}
    for module, names, parts in _KNOWN:
        kinds = tuple(kind for name in names if isinstance(kind := getattr(sys.modules.get(module), name, None), type))
        if kinds and isinstance(value, kinds):
            return parts(value)
    return _reduced(value) if type(value).__module__.startswith("sklearn.") else None


def _attributes(value: Any) -> Parts:
    return {name: one for name, one in vars(value).items() if not is_code(one)}


def _reduced(value: Any) -> Parts:
    """What pickle would keep, less what is no result."""
    made, arguments, *rest = value.__reduce_ex__(4)
    return {"made by": made, "of": arguments, "state": [_results(part) for part in rest[:1]]}


def _results(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {
        name: _results(one) if isinstance(one, dict) else one
        for name, one in value.items()
        if not (isinstance(name, str) and _NO_RESULT.search(name))
    }


def _artist(value: Any) -> Parts | None:
    return None if value.figure is None else {"figure": value.figure}


# Module, classes, parts. The first that a value is an instance of is taken.
_KNOWN: tuple[tuple[str, tuple[str, ...], Callable[[Any], Parts | None]], ...] = (
    ("numpy.random", ("BitGenerator", "SeedSequence"), lambda one: {"state": one.state}),
    ("torch.optim.lr_scheduler", ("LRScheduler", "ReduceLROnPlateau"), lambda one: {"state": one.state_dict()}),
    ("torch.utils.data", ("Dataset", "DataLoader", "Sampler"), _attributes),
    ("torch.amp", ("GradScaler",), lambda one: {"state": one.state_dict()}),
    ("torch.distributions", ("Distribution",), _attributes),
    ("scipy.sparse", ("spmatrix", "sparray"), _attributes),
    ("pandas", ("Categorical",), lambda one: {name: getattr(one, name) for name in ("codes", "categories", "ordered")}),
    ("types", ("SimpleNamespace",), lambda one: dict(vars(one))),
    ("types", ("MappingProxyType",), lambda one: {"items": dict(one)}),
    ("argparse", ("Namespace",), lambda one: dict(vars(one))),
    ("collections", ("ChainMap",), lambda one: {"maps": one.maps}),
    ("dataclasses", ("_HAS_DEFAULT_FACTORY_CLASS",), lambda _one: {}),
    ("collections", ("UserDict", "UserList", "UserString"), lambda one: dict(vars(one))),
    ("builtins", ("BaseException",), lambda one: {"args": one.args, **vars(one)}),
    ("functools", ("partial",), lambda one: {"func": one.func, "args": one.args, "keywords": one.keywords}),
    ("re", ("Pattern",), lambda one: {"pattern": one.pattern, "flags": one.flags}),
    ("logging", ("Logger",), lambda one: {"name": one.name}),
    ("matplotlib.artist", ("Artist",), _artist),
)
