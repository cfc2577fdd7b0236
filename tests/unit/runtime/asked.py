"""What a user can ask of the functions that are hooked, answered as texts; run alone, with the hooks up or without."""

from __future__ import annotations

import collections.abc
import copy
import functools
import hashlib
import inspect
import json
import os
import pickle
import posix
import pydoc
import random
import re
import sys
import threading
import traceback
import types
import uuid
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import torch
import torch._dynamo  # which puts another function in the place of torch.manual_seed
import torch.utils.data

FUNCTIONS: dict[str, Callable[[], Any]] = {
    "random.seed": lambda: random.seed,
    "random.Random.seed": lambda: random.Random.seed,
    "random.SystemRandom.seed": lambda: random.SystemRandom.seed,
    "uuid.uuid1": lambda: uuid.uuid1,
    "uuid.uuid4": lambda: uuid.uuid4,
    "os.urandom": lambda: os.urandom,
    "os.getrandom": lambda: os.getrandom,
    "posix.urandom": lambda: posix.urandom,
    "numpy.random.seed": lambda: np.random.seed,
    "numpy.random.default_rng": lambda: np.random.default_rng,
    "torch.seed": lambda: torch.seed,
    "torch.manual_seed": lambda: torch.manual_seed,
    "torch.random.manual_seed": lambda: torch.random.manual_seed,
    "torch.cuda.seed": lambda: torch.cuda.seed,
    "torch.cuda.seed_all": lambda: torch.cuda.seed_all,
    "torch.cuda.manual_seed": lambda: torch.cuda.manual_seed,
    "torch.cuda.manual_seed_all": lambda: torch.cuda.manual_seed_all,
    "torch.utils.data.DataLoader.__init__": lambda: torch.utils.data.DataLoader.__init__,
    "threading.Thread.start": lambda: threading.Thread.start,
    "warnings.showwarning": lambda: warnings.showwarning,
}
BEFORE = {name: function() for name, function in FUNCTIONS.items()}

_KINDS = ("isbuiltin", "isfunction", "ismethod", "isroutine", "ismethoddescriptor", "iscoroutinefunction", "isclass")
_TYPES: tuple[Any, ...] = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    collections.abc.Callable,
    collections.abc.Hashable,
)
_OF_CODE = (
    *("co_filename", "co_name", "co_qualname", "co_firstlineno", "co_argcount", "co_kwonlyargcount"),
    *("co_freevars", "co_posonlyargcount", "co_flags"),
)


def _same(way: Callable[[Any], Any]) -> Callable[[Any], bool]:
    """Whether what comes back is equal to the function, and can take its place as a key."""
    return lambda function: way(function) == function and hash(way(function)) == hash(function)


QUESTIONS: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "class": lambda f: f.__class__,
    "names": lambda f: (f.__name__, f.__qualname__, f.__module__, f.__doc__),
    "self": lambda f: type(getattr(f, "__self__", None)),
    "dir": dir,
    "vars": lambda f: sorted(getattr(f, "__dict__", {})),
    "defaults": lambda f: [getattr(f, name, 0) for name in ("__defaults__", "__kwdefaults__", "__annotations__")],
    "closure": lambda f: len(getattr(f, "__closure__", None) or ()),
    "wrapped": lambda f: hasattr(f, "__wrapped__"),
    "signature": inspect.signature,
    "kinds": lambda f: [getattr(inspect, name)(f) for name in _KINDS],
    "isinstance": lambda f: [isinstance(f, kind) for kind in _TYPES],
    "source": lambda f: hashlib.sha256(inspect.getsource(f).encode()).hexdigest(),
    "lines": lambda f: (inspect.getsourcefile(f), inspect.getsourcelines(f)[1]),
    "module": inspect.getmodule,
    "code": lambda f: [getattr(f.__code__, name) for name in _OF_CODE],
    "help": pydoc.render_doc,
    "arguments": inspect.getfullargspec,
    "pickle": lambda f: [_same(lambda g, n=n: pickle.loads(pickle.dumps(g, n)))(f) for n in range(2, 6)],  # type: ignore[misc]
    "pickled": lambda f: pickle.dumps(f, 4),
    "pickled in Python": _same(lambda f: pickle.loads(pickle._dumps(f))),  # type: ignore[attr-defined]
    "cloudpickle": _same(lambda f: pickle.loads(cloudpickle.dumps(f))),
    "copy": lambda f: [way(f) == f for way in (copy.copy, copy.deepcopy)],
    "key": lambda f: ({f: 1}[f], {f: 1}.get(f), f == f.__class__, f != f.__class__, f == 3, len({f, f})),
    "weak": lambda f: type(weakref.ref(f)).__name__,
    "partial": _same(lambda f: functools.partial(f).func),
    "callable": callable,
    "truth": bool,
    "reduce": lambda f: f.__reduce_ex__(4),
    "text": lambda f: getattr(f, "__text_signature__", None),
    "set": lambda f: setattr(f, "no_such_thing", 1) or delattr(f, "no_such_thing"),  # type: ignore[func-returns-value]
}


def _text(value: object) -> str:
    """As a text, without addresses."""
    return re.sub(r"0x[0-9a-f]+", "0x", str(value))


def _answer(question: Callable[[Any], object], function: object) -> str:
    try:
        return _text(question(function))
    except Exception as error:  # noqa: BLE001 - that, too, is an answer
        return _text((type(error).__name__, error))


def _identities() -> dict[str, object]:
    """What `is` and `==` say of names in several modules, and of references from before the hooks were up."""
    now = {name: function() for name, function in FUNCTIONS.items()}
    module: Any = warnings
    python: Any = random
    return {
        "os is posix": os.urandom is posix.urandom and os.getrandom is posix.getrandom,
        "torch is torch.random": torch.manual_seed is torch.random.manual_seed and torch.seed is torch.random.seed,
        "torch.cuda is torch.cuda.random": torch.cuda.manual_seed is torch.cuda.random.manual_seed,
        "random is its generator's": random.seed == python._inst.seed,
        "a method of": python.seed.__self__ is python._inst and python.seed.__func__ is random.Random.seed,
        "warnings": warnings.showwarning is module._showwarning_orig,
        "equal to before": all(now[name] == one and {one: 1}.get(now[name]) == 1 for name, one in BEFORE.items()),
        "others than before": [name for name, one in BEFORE.items() if now[name] is not one and name != "random.seed"],
    }


def _scripted(x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.rand_like(x)


_FAILING: tuple[Callable[[], object], ...] = (
    lambda: random.seed([]),  # type: ignore[arg-type]
    lambda: random.seed(1, 2, 3, 4),  # type: ignore[call-arg]
    lambda: torch.manual_seed("x"),
    lambda: os.urandom(-1),
    lambda: os.urandom("x"),  # type: ignore[arg-type]
    lambda: np.random.seed(-1),
    lambda: torch.utils.data.DataLoader([], batch_size=-1),  # type: ignore[arg-type]
    lambda: threading.Thread().start(1),  # type: ignore[call-arg]
)


def _failure(run: Callable[[], object]) -> object:
    """How a call fails, and which functions its traceback names."""
    try:
        run()
    except Exception as error:  # noqa: BLE001 - whatever it is
        names = dict.fromkeys(step.name for step in traceback.extract_tb(error.__traceback__)[1:])
        names.pop("call", None)  # what stands for os.urandom; a notebook's traceback leaves it out
        return type(error).__name__, str(error), list(names)
    return None


def _seeds(x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.rand(3) + x


def _pythons(x: torch.Tensor) -> torch.Tensor:
    random.seed(3)
    return x + random.random()


def _own(x: torch.Tensor) -> torch.Tensor:
    return x + random.Random(3).random()


def _ids(x: torch.Tensor) -> torch.Tensor:
    return x + len(str(uuid.uuid4())) + len(str(uuid.uuid1()))


def _systems(x: torch.Tensor) -> torch.Tensor:
    return x + len(os.urandom(4))


def _loads(x: torch.Tensor) -> torch.Tensor:
    loader: Any = torch.utils.data.DataLoader([1, 2, 3])  # type: ignore[arg-type]
    return x + len(list(loader))


def _compiled(function: Callable[[torch.Tensor], torch.Tensor], *, whole: bool) -> object:
    """What a function gives through `torch.compile`, in how many frames and with how many graph breaks."""
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counters.clear()
    result: object
    try:
        result = torch.compile(function, backend="eager", fullgraph=whole)(torch.zeros(3)).tolist()
    except Exception as error:  # noqa: BLE001 - that, too, is an answer
        result = type(error).__name__
    # A loader's own frames are compiled, too: of those there are as many as its hooks leave to be seen.
    frames = {} if function is _loads else dict(counters["frames"])
    return result, frames, sum(counters["graph_break"].values())


def answers() -> dict[str, str]:
    """Every answer."""
    random.seed(3)  # random.seed is pickled with its generator
    found = {
        f"{name}: {what}": _answer(question, function())
        for name, function in FUNCTIONS.items()
        for what, question in QUESTIONS.items()
    }
    found |= {what: _text(one) for what, one in _identities().items()}
    found["scripted"] = _text(torch.jit.script(_scripted)(torch.zeros(2)))
    found["failing"] = _text([_failure(run) for run in _FAILING])
    for function in (_seeds, _pythons, _own, _ids, _systems, _loads):
        for whole in (False, True):
            found[f"compiled {function.__name__} {whole}"] = _text(_compiled(function, whole=whole))
    return found


def _hooked_answers() -> dict[str, str]:
    import repro_magic
    from repro_magic.dataloading.registry import LoaderLog
    from repro_magic.rng.entropy import hooks_up

    hooks_up()
    LoaderLog().up()
    with repro_magic.watch(warn=False):
        return answers()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps(_hooked_answers() if sys.argv[1:] == ["hooked"] else answers()) + "\n")
