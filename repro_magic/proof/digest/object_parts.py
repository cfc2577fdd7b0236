"""What code and well-known objects of libraries hold: the parts that their digest is made of."""

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

# What scikit-learn's estimators hold that is no result: how long it took, and an address.
_NO_RESULT = re.compile(r"(?:^|_)time_?$|^_stop_words_id$")
# So many decorators may stand around a function.
_DECORATORS = 100


def is_code(value: object) -> bool:
    """Whether a value is a module, function or class: these are the code, which is compared as text.

    Example:
        >>> is_code(print), is_code(3)
        (True, False)
    """
    kind = type(value)
    if issubclass(kind, ModuleType | type):
        return True
    if not callable(value):  # asks the type only
        return False
    return kind is MethodType or _has_qualname(kind) or ("__qualname__" in attributes(value) and not is_notebooks(kind))


def _has_qualname(kind: type) -> bool:
    """Whether a type written in C or Cython gives its objects the name that functions have."""
    found = (namespace_of(one).get("__qualname__") for one in mro_of(kind))
    return any(is_any(type(one), GetSetDescriptorType, MemberDescriptorType) for one in found)


def held_by_code(value: object) -> dict[str, Fields]:
    """What a function, method or class holds that is no code, by the attribute that holds it.

    Of functions and classes, those of the notebook; of a method, the object that it is bound to.

    Example:
        >>> held_by_code([1].append)
        {'__self__': {0: [1]}}
    """
    if not is_code(value):
        return {}
    with Shield():
        return {part: data for part, held in _of_code(value).items() if (data := _data(held))}
    return {}


def _data(held: Mapping[Any, object]) -> Fields:
    return {name: one for name, one in held.items() if not is_code(one)}


def _of_code(value: Any) -> dict[str, Fields]:
    if isinstance(value, type):
        classes = [kind for kind in reversed(mro_of(value)) if is_notebooks(kind)]  # a base may have no name any more
        return {"__dict__": dict(item for kind in classes for item in _of_class(kind))} if is_notebooks(value) else {}
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
    return {"__self__": {0: bound}, **(_of_code(value.__func__) if type(value) is MethodType else {})}


def unwrapped(value: Any) -> Any:
    """A function of the notebook's below decorators, which may be a library's; else what is innermost."""
    for _ in range(_DECORATORS):  # it may wrap itself
        if is_of_notebook(value) or "__wrapped__" not in attributes(value):
            break
        value = attributes(value)["__wrapped__"]
    return value


def is_of_notebook(function: object) -> bool:
    """Whether it is a function that was defined in the notebook."""
    if type(function) is not FunctionType:
        return False
    name = dict.get(function.__globals__, "__name__")
    return type(name) is str and name == NOTEBOOK


def _closure(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # it is empty
            yield name, cell.cell_contents


def _of_class(kind: type) -> Iterator[tuple[str, object]]:
    """A class's attributes, an enum's values, and what its methods keep in defaults and closures."""
    space = namespace_of(kind)
    if issubclass(kind, Enum):
        members: dict[str, object] = space["_member_map_"]
        yield from ((name, attributes(member).get("_value_")) for name, member in members.items())
        return
    for name, one in list(space.items()):
        function = one.__func__ if is_any(type(one), staticmethod, classmethod) else one
        if type(function) is FunctionType:
            yield from ((f"{name}.{part}", data) for part, held in _of_code(function).items() if (data := _data(held)))
        elif not (name.startswith("__") or name == "_abc_impl" or _is_descriptor(type(one))):
            yield name, one


def _is_descriptor(kind: type) -> bool:
    return any("__get__" in namespace_of(one) for one in mro_of(kind))


# Objects of libraries


def known_parts(kind: type) -> Callable[[Any], Fields | None] | None:
    """How the parts are found that say all about an object of a well-known class; None for any other class.

    Example:
        >>> known_parts(ValueError)(ValueError("no")), known_parts(type(iter([1])))
        ({'args': ('no',)}, None)
    """
    if is_below(kind, random.Random, *kinds_in("numpy.random", "Generator", "RandomState")):
        return _of_generator
    for module, names, parts in _KNOWN:
        if is_below(kind, *kinds_in(module, *names)):
            return parts
    return _reduced if module_of(kind).startswith("sklearn.") else None


def _of_generator(value: object) -> Fields | None:
    found = user_generator("", value)  # a random.SystemRandom has no state
    return None if found is None else {"state": found.generator.get_state()}


def kinds_in(module: str, *names: str) -> Iterator[type]:
    """Some classes of a module's, as far as it is imported and has them; a name may lead through submodules."""
    for name in names:
        found: Any = sys.modules.get(module)
        for step in name.split("."):
            found = getattr(found, step, None)
        if isinstance(found, type):
            yield found


def _attributes(value: Any) -> Fields:
    return dict(attributes(value))


def _named(*names: str) -> Callable[[Any], Fields]:
    return lambda one: {name: getattr(one, name) for name in names}


def _reduced(value: Any) -> Fields:
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


def _artist(value: Any) -> Fields | None:
    return None if value.figure is None else {"figure": value.figure}


def _of_graph(value: Any) -> Fields:
    """A graph's nodes and edges, each in their order, without the views and caches that are made of them."""
    spaces = [namespace_of(kind) for kind in mro_of(type(value))]
    derived = {name for space in spaces for name, one in space.items() if type(one) is functools.cached_property}
    return {name: one for name, one in attributes(value).items() if name not in {*derived, "__networkx_cache__"}}


def _of_buffer(value: Any) -> Fields | None:
    base: Any = io.BytesIO if issubclass(type(value), io.BytesIO) else io.StringIO
    try:
        return {"content": base.getvalue(value), "position": base.tell(value)}
    except ValueError:  # it is closed
        return None


def _of_capture(value: Any) -> Fields | None:
    """What `%%capture` captured, as a reader compares it; displays are not told apart."""
    return None if value.outputs else {"stdout": normalised(value.stdout), "stderr": normalised(value.stderr)}


def _of_exception(value: BaseException) -> Fields:
    return {"args": value.args, **attributes(value)}


_STATE: Callable[[Any], Fields] = lambda one: {"state": one.state_dict()}  # noqa: E731 - one of many below

# Module, classes, parts. The first that a value is an instance of is taken.
_KNOWN: tuple[tuple[str, tuple[str, ...], Callable[[Any], Fields | None]], ...] = (
    ("numpy.random", ("BitGenerator", "SeedSequence"), lambda one: {"state": one.state}),
    ("torch.optim.lr_scheduler", ("LRScheduler", "ReduceLROnPlateau"), _STATE),
    ("torch.amp", ("GradScaler",), _STATE),
    ("networkx", ("Graph",), _of_graph),
    ("pandas", ("Categorical",), _named("codes", "categories", "ordered")),
    ("pandas", ("CategoricalDtype",), _named("categories", "ordered")),
    ("types", ("MappingProxyType",), lambda one: {"items": dict(one)}),
    ("types", ("GenericAlias",), _named("__origin__", "__args__")),
    ("types", ("UnionType",), _named("__args__")),
    ("array", ("array",), lambda one: {"typecode": one.typecode, "items": one.tobytes()}),
    ("zoneinfo", ("ZoneInfo",), lambda one: None if one.key is None else {"key": one.key}),
    ("builtins", ("BaseException",), _of_exception),
    ("functools", ("partial",), lambda one: {**_named("func", "args", "keywords")(one), **attributes(one)}),
    ("operator", ("itemgetter", "attrgetter", "methodcaller"), lambda one: {"of": one.__reduce__()[1:]}),
    ("re", ("Pattern",), _named("pattern", "flags")),
    ("re", ("Match",), _named("re", "string", "pos", "endpos", "regs")),
    ("logging", ("Logger",), lambda one: {"name": one.name}),
    ("matplotlib.artist", ("Artist",), _artist),
    ("subprocess", ("CompletedProcess",), _attributes),
    ("io", ("BytesIO", "StringIO"), _of_buffer),
    ("IPython.utils.capture", ("CapturedIO",), _of_capture),
)

# Handles: they stand for something outside of the process or for its threads, or hold what is new in every run.
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
    """Whether objects of a type are handles: connections, locks, threads, files, widgets, loggers of experiments.

    Example:
        >>> import threading
        >>> is_handle(threading.Thread), is_handle(dict)
        (True, False)
    """
    return any(_is_below(module_of(one)) for one in mro_of(kind))


def _is_below(module: str) -> bool:
    return any(module == handle or module.startswith(f"{handle}.") for handle in _HANDLES)


def global_name(value: object) -> str:
    """The name under which the module of an object's class keeps it: such an object is a part of the library.

    Example:
        >>> global_name(random.Random()), global_name(random._inst)
        ('', '_inst')
    """
    module = sys.modules.get(module_of(type(value)))
    names = dict(attributes(module)) if type(module) is ModuleType else {}
    return next((name for name, one in names.items() if one is value and type(name) is str), "")


def holds_more(kind: type) -> bool:
    """Whether instances hold more than attributes and slots: then a base written in C has room for it."""
    spaces = [namespace_of(one) for one in mro_of(kind)]
    slots = [space.get("__slots__", ()) for space in spaces]
    words = sum(1 if type(names) is str else len(names) for names in slots if is_any(type(names), str, tuple, list))
    words += sum(offset.__get__(kind) > 0 for offset in _OFFSETS)  # Python keeps those of its own classes elsewhere
    return bool(_BASICSIZE.__get__(kind) > object.__basicsize__ + _WORD * words or _ITEMSIZE.__get__(kind))


_BASICSIZE, _ITEMSIZE, *_OFFSETS = (
    type.__dict__[f"__{name}__"] for name in ("basicsize", "itemsize", "dictoffset", "weakrefoffset")
)
_WORD = tuple.__itemsize__


# What of a library's objects is no result


_CLOCK = re.compile(r"(?:^|_)(?:time|times|timer|clock|timestamp|started|elapsed|duration|runtime)(?:_|$)")
_CACHE = re.compile(r"(?:^|_)(?:cache|cached|caches|memo)(?:_|$)")


def no_result(name: object, value: object) -> str | None:
    """Why an attribute of a library's object is not compared; None if it is.

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
