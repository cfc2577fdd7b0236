"""The digested parts of code, and of well-known library objects."""

from __future__ import annotations

import functools
import io
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from types import BuiltinMethodType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from repro_magic.introspection.foreign import (
    NOTEBOOK,
    Shield,
    attributes,
    is_any,
    is_below,
    is_notebooks,
    kind_of,
    module_of,
    mro_of,
    namespace_of,
)
from repro_magic.proof.text.noise import normalised
from repro_magic.rng.user_generators import user_generator

Fields = dict[Any, object]

# Attributes of scikit-learn's estimators that are not results: durations, and an address.
_NO_RESULT = re.compile(r"(?:^|_)time_?$|^_stop_words_id$")
# How many decorators of a function are unwrapped.
_DECORATORS = 100


def is_code(value: object) -> bool:
    """Whether a value is a module, function or class. Code is compared as text.

    Example:
        >>> is_code(print), is_code(3)
        (True, False)
    """
    kind = type(value)
    if issubclass(kind, ModuleType | type):
        return True
    if not callable(value):  # reads the type only
        return False
    return kind is MethodType or _has_qualname(kind) or ("__qualname__" in attributes(value) and not is_notebooks(kind))


def _has_qualname(kind: type) -> bool:
    """Whether a type written in C or Cython gives its objects a `__qualname__`, as functions have."""
    descriptors = (namespace_of(base).get("__qualname__") for base in mro_of(kind))
    return any(is_any(type(descriptor), GetSetDescriptorType, MemberDescriptorType) for descriptor in descriptors)


def held_by_code(value: object) -> dict[str, Fields]:
    """The data, not code, that a function, method or class holds, by attribute.

    For functions and classes that the notebook defines, and for the object that a method is bound to.

    Example:
        >>> held_by_code([1].append)
        {'__self__': {0: [1]}}
    """
    if not is_code(value):
        return {}
    with Shield():
        return {part: data for part, fields in _data_in_code(value).items() if (data := _without_code(fields))}
    return {}


def _without_code(fields: Mapping[Any, object]) -> Fields:
    return {name: part for name, part in fields.items() if not is_code(part)}


def _data_in_code(value: Any) -> dict[str, Fields]:
    if isinstance(value, type):
        classes = [
            kind for kind in reversed(mro_of(value)) if is_notebooks(kind)
        ]  # the notebook may have deleted a base
        return {"__dict__": dict(item for kind in classes for item in _class_data(kind))} if is_notebooks(value) else {}
    function = unwrapped(value)
    if is_of_notebook(function):
        return {
            "__closure__": dict(_closure(function)),
            "__defaults__": dict(enumerate(function.__defaults__ or ())),
            "__kwdefaults__": function.__kwdefaults__ or {},
            "__dict__": attributes(function),
        }
    bound = value.__self__ if is_any(type(value), MethodType, BuiltinMethodType) else None
    if bound is None or is_code(bound):
        return {}
    return {"__self__": {0: bound}, **(_data_in_code(value.__func__) if type(value) is MethodType else {})}


def unwrapped(value: Any) -> Any:
    """Unwrap decorators down to a function of the notebook; without such a function, to the innermost object."""
    for _ in range(_DECORATORS):  # a function may wrap itself
        if is_of_notebook(value) or "__wrapped__" not in attributes(value):
            break
        value = attributes(value)["__wrapped__"]
    return value


def is_of_notebook(function: object) -> bool:
    """Whether a value is a function that the notebook defines."""
    if type(function) is not FunctionType:
        return False
    name = dict.get(function.__globals__, "__name__")
    return type(name) is str and name == NOTEBOOK


def _closure(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # the cell is empty
            yield name, cell.cell_contents


def _class_data(kind: type) -> Iterator[tuple[str, object]]:
    """A class's attributes or an enum's values, and the defaults and closures of its methods."""
    space = namespace_of(kind)
    if issubclass(kind, Enum):
        members: dict[str, object] = space["_member_map_"]
        yield from ((name, attributes(member).get("_value_")) for name, member in members.items())
        return
    for name, member in list(space.items()):
        function = member.__func__ if is_any(type(member), staticmethod, classmethod) else member
        if type(function) is FunctionType:
            yield from (
                (f"{name}.{part}", data)
                for part, fields in _data_in_code(function).items()
                if (data := _without_code(fields))
            )
        elif not (name.startswith("__") or name == "_abc_impl" or _is_descriptor(type(member))):
            yield name, member


def _is_descriptor(kind: type) -> bool:
    return any("__get__" in namespace_of(base) for base in mro_of(kind))


def known_parts(kind: type) -> Callable[[Any], Fields | None] | None:
    """A function that returns the complete parts of objects of a well-known class; None for other classes.

    Example:
        >>> known_parts(ValueError)(ValueError("no")), known_parts(type(iter([1])))
        ({'args': ('no',)}, None)
    """
    if is_below(kind, random.Random, *kinds_in("numpy.random", "Generator", "RandomState")):
        return _generator_parts
    for module, names, parts in _KNOWN:
        if is_below(kind, *kinds_in(module, *names)):
            return parts
    return _pickled_parts if module_of(kind).startswith("sklearn.") else None


def _generator_parts(value: object) -> Fields | None:
    generator = user_generator("", value)  # a random.SystemRandom has no state
    return None if generator is None else {"state": generator.generator.get_state()}


def kinds_in(module: str, *names: str) -> Iterator[type]:
    """The named classes of a module that exist, if the module is imported; names may be dotted."""
    for name in names:
        current: Any = sys.modules.get(module)
        for step in name.split("."):
            current = getattr(current, step, None)
        if isinstance(current, type):
            yield current


def _attributes(value: Any) -> Fields:
    return dict(attributes(value))


def _attributes_named(*names: str) -> Callable[[Any], Fields]:
    return lambda value: {name: getattr(value, name) for name in names}


def _pickled_parts(value: Any) -> Fields:
    """The parts that pickle would store, without parts that are not results."""
    constructor, arguments, *rest = value.__reduce_ex__(4)
    return {"made by": constructor, "of": arguments, "state": [_results_only(part) for part in rest[:1]]}


def _results_only(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {
        name: _results_only(part) if isinstance(part, dict) else part
        for name, part in value.items()
        if not (isinstance(name, str) and _NO_RESULT.search(name))
    }


def _artist_parts(value: Any) -> Fields | None:
    return None if value.figure is None else {"figure": value.figure}


def _graph_parts(value: Any) -> Fields:
    """A graph's nodes and edges in their order, without views and caches."""
    spaces = [namespace_of(base) for base in mro_of(type(value))]
    derived = {name for space in spaces for name, part in space.items() if type(part) is functools.cached_property}
    return {name: part for name, part in attributes(value).items() if name not in {*derived, "__networkx_cache__"}}


def _buffer_parts(value: Any) -> Fields | None:
    base: Any = io.BytesIO if issubclass(type(value), io.BytesIO) else io.StringIO
    try:
        return {"content": base.getvalue(value), "position": base.tell(value)}
    except ValueError:  # the buffer is closed
        return None


def _capture_parts(value: Any) -> Fields | None:
    """The text that `%%capture` captured, normalised as for comparison; None if there are displays."""
    return None if value.outputs else {"stdout": normalised(value.stdout), "stderr": normalised(value.stderr)}


def _exception_parts(value: BaseException) -> Fields:
    return {"args": value.args, **attributes(value)}


_STATE: Callable[[Any], Fields] = lambda value: {"state": value.state_dict()}  # noqa: E731 - like the functions in the table below

# Module, classes, parts. The first matching row counts.
_KNOWN: tuple[tuple[str, tuple[str, ...], Callable[[Any], Fields | None]], ...] = (
    ("numpy.random", ("BitGenerator", "SeedSequence"), lambda value: {"state": value.state}),
    ("torch.optim.lr_scheduler", ("LRScheduler", "ReduceLROnPlateau"), _STATE),
    ("torch.amp", ("GradScaler",), _STATE),
    ("networkx", ("Graph",), _graph_parts),
    ("pandas", ("Categorical",), _attributes_named("codes", "categories", "ordered")),
    ("pandas", ("CategoricalDtype",), _attributes_named("categories", "ordered")),
    ("types", ("MappingProxyType",), lambda value: {"items": dict(value)}),
    ("types", ("GenericAlias",), _attributes_named("__origin__", "__args__")),
    ("types", ("UnionType",), _attributes_named("__args__")),
    ("array", ("array",), lambda value: {"typecode": value.typecode, "items": value.tobytes()}),
    ("zoneinfo", ("ZoneInfo",), lambda value: None if value.key is None else {"key": value.key}),
    ("builtins", ("BaseException",), _exception_parts),
    (
        "functools",
        ("partial",),
        lambda value: {**_attributes_named("func", "args", "keywords")(value), **attributes(value)},
    ),
    ("operator", ("itemgetter", "attrgetter", "methodcaller"), lambda value: {"of": value.__reduce__()[1:]}),
    ("re", ("Pattern",), _attributes_named("pattern", "flags")),
    ("re", ("Match",), _attributes_named("re", "string", "pos", "endpos", "regs")),
    ("logging", ("Logger",), lambda value: {"name": value.name}),
    ("matplotlib.artist", ("Artist",), _artist_parts),
    ("subprocess", ("CompletedProcess",), _attributes),
    ("io", ("BytesIO", "StringIO"), _buffer_parts),
    ("IPython.utils.capture", ("CapturedIO",), _capture_parts),
)

# Modules of handles: objects that stand for something outside the process or for its threads, or differ in every run.
_HANDLES = (
    *("_thread", "asyncio", "concurrent", "contextlib", "ctypes", "ftplib", "http", "imaplib", "importlib", "io"),
    *("logging", "multiprocessing", "queue", "selectors", "smtplib", "socket", "sqlite3", "ssl", "subprocess"),
    *("tempfile", "threading", "unittest", "urllib", "weakref", "xmlrpc", "zipfile", "tarfile"),
    *("IPython", "comm", "ipykernel", "ipywidgets", "jupyter_client", "tornado", "traitlets", "zmq", "tqdm"),
    *("aiohttp", "boto3", "botocore", "distributed", "httpcore", "httpx", "psycopg2", "pymongo", "ray", "redis"),
    *("requests", "sqlalchemy", "urllib3", "websocket", "websockets"),
    *("comet_ml", "mlflow", "neptune", "tensorboard", "tensorboardX", "torch.utils.tensorboard", "wandb"),
    *("torch.multiprocessing", "torch.cuda.streams", "torch.profiler", "torch.autograd.profiler"),
    *("pandas.io", "pyarrow.fs", "werkzeug.local", "repro_magic"),
)


def is_handle(kind: type) -> bool:
    """Whether objects of a type are handles: connections, locks, threads, files, widgets, experiment loggers.

    Example:
        >>> import threading
        >>> is_handle(threading.Thread), is_handle(dict)
        (True, False)
    """
    return any(_is_handle_module(module_of(base)) for base in mro_of(kind))


def _is_handle_module(module: str) -> bool:
    return any(module == handle or module.startswith(f"{handle}.") for handle in _HANDLES)


def global_name(value: object) -> str:
    """The name of a library's global object in the module of its class; empty for other objects.

    Example:
        >>> global_name(random.Random()), global_name(random._inst)
        ('', '_inst')
    """
    module = sys.modules.get(module_of(type(value)))
    names = dict(attributes(module)) if type(module) is ModuleType else {}
    return next((name for name, part in names.items() if part is value and type(name) is str), "")


def holds_more(kind: type) -> bool:
    """Whether instances hold more than attributes and slots, judged by their size: a base written in C does."""
    spaces = [namespace_of(base) for base in mro_of(kind)]
    slots = [space.get("__slots__", ()) for space in spaces]
    words = sum(1 if type(names) is str else len(names) for names in slots if is_any(type(names), str, tuple, list))
    words += sum(offset.__get__(kind) > 0 for offset in _OFFSETS)  # a negative offset needs no room in the object
    return bool(_BASICSIZE.__get__(kind) > object.__basicsize__ + _WORD * words or _ITEMSIZE.__get__(kind))


_BASICSIZE, _ITEMSIZE, *_OFFSETS = (
    type.__dict__[f"__{name}__"] for name in ("basicsize", "itemsize", "dictoffset", "weakrefoffset")
)
_WORD = tuple.__itemsize__


_CLOCK = re.compile(r"(?:^|_)(?:time|times|timer|clock|timestamp|started|elapsed|duration|runtime)(?:_|$)")
_CACHE = re.compile(r"(?:^|_)(?:cache|cached|caches|memo)(?:_|$)")


def no_result(name: object, value: object) -> str | None:
    """Why an attribute of a library's object is not a result, and so not compared; None if it is compared.

    Example:
        >>> no_result("_start_time", 1.5), no_result("steps", 3)
        ('it is read from a clock', None)
    """
    if type(name) is not str:
        return None
    if _CACHE.search(name) and not callable(value):
        return "it is a cache"
    is_reading = is_any(type(value), int, float) or kind_of(value).startswith(("datetime.", "time.", "numpy.float"))
    return "it is read from a clock" if is_reading and _CLOCK.search(name) else None
