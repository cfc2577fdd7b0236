"""Libraries that make or seed a generator from the operating system, inside a function that the user's line called.

The user's numbers may depend on it, so it is listed; but the line is not to blame, so no finding is made of it.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, ModuleType

from repro_magic.introspection.call_source import call_of, value_of
from repro_magic.introspection.location import is_users
from repro_magic.rng.entropy import Kind
from repro_magic.unseeded.attribution import EntropyRequest

_KINDS = {Kind.NUMPY, Kind.PYTHON, Kind.TORCH}
# What these draw goes into names, messages, tries and graphs of their own, or into a generator that gets a state next.
_OF_NO_IMPORT = sys.stdlib_module_names | {
    *("IPython", "ipykernel", "jupyter_client", "jupyter_core", "comm", "ipywidgets", "traitlets", "zmq", "tornado"),
    *(
        "nbclient",
        "nbformat",
        "matplotlib",
        "matplotlib_inline",
        "numpy",
        "torch",
        "numba",
        "repro_magic",
        "distributed",
    ),
    *("fsspec", "huggingface_hub", "requests", "urllib3", "aiohttp", "httpx", "tqdm", "rich", "wandb", "mlflow"),
    *("_pytest", "pluggy", "pytest", "hypothesis"),
}
_SEEDS = ("rng", "random_state", "seed", "random_seed", "generator", "v0")


@dataclass(frozen=True)
class LibraryDraw:
    """A library's function that made, or seeded, a generator without a seed.

    Attributes:
        function: its public name, e.g. `"scipy.sparse.linalg.eigsh"`.
        seeds: its parameters that take a seed, a generator or a start.
    """

    function: str
    seeds: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What it did.

        Example:
            >>> LibraryDraw("scipy.sparse.linalg.eigsh").what
            'scipy.sparse.linalg.eigsh created an unseeded generator'
        """
        return f"{self.function} created an unseeded generator"

    @property
    def remedy(self) -> str:
        """What to do.

        Example:
            >>> LibraryDraw("scipy.sparse.linalg.eigsh", ("rng", "v0")).remedy
            'Pass rng= or v0=.'
        """
        if not self.seeds:
            return "Look up in its documentation how to seed it."
        return f"Pass {' or '.join(f'{name}=' for name in self.seeds)}."


def library_draw(kind: Kind, frame: FrameType) -> LibraryDraw | None:
    """The library's function that the user's line called, if it is the one that asked.

    Args:
        kind: what happened.
        frame: the innermost Python frame that led to it.
    """
    if kind not in _KINDS:
        return None
    inside = list(itertools.takewhile(lambda one: not is_users(one.f_code.co_filename), _outwards(frame)))
    caller = inside[-1].f_back if inside else None
    roots = {_module(one).partition(".")[0] for one in (_asking(inside), inside[-1])} if inside else {""}
    if caller is None or not roots.isdisjoint(_OF_NO_IMPORT) or any(map(_is_an_import, inside)):
        return None
    called = _called(inside)
    names = called.f_code.co_varnames[: called.f_code.co_argcount + called.f_code.co_kwonlyargcount]
    seeds = tuple(name for name in _SEEDS if name in names)
    if any(called.f_locals.get(name) is not None for name in seeds):  # then nothing else is to be given
        return None
    return LibraryDraw(_public_name(called, caller), seeds)


def is_surely_unseeded(kind: Kind, frame: FrameType) -> bool:
    """Whether the generator gets no seed right after: NumPy's legacy one takes entropy first, and then its seed."""
    asked = EntropyRequest(frame, None, call_of(frame))
    if asked.is_excused(kind):
        return False
    return (
        kind is not Kind.NUMPY or not asked.may_be_legacy or (not asked.call.arguments and asked.call.node is not None)
    )


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _asking(inside: list[FrameType]) -> FrameType:
    """The frame that made or seeded the generator, outside of the code of Python's own generators."""
    return next((one for one in inside if _module(one) != "random"), inside[-1])


def _is_an_import(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith("<frozen importlib")


def _called(inside: list[FrameType]) -> FrameType:
    """The outermost function with a name of its own, past the wrappers of decorators."""
    return next((one for one in reversed(inside) if "<" not in one.f_code.co_qualname), inside[-1])


def _public_name(called: FrameType, caller: FrameType) -> str:
    """The function's name with the module that the line has it from, or with the outermost package that has it."""
    call, path, module = call_of(caller), called.f_code.co_qualname.removesuffix(".__init__"), _module(called)
    base = value_of(call.base, caller) if call.base else None
    if type(base) is ModuleType:
        return f"{base.__name__}.{call.name}"
    first = path.partition(".")[0]
    for package in itertools.accumulate(module.split("."), lambda *parts: ".".join(parts)):
        found = vars(sys.modules[package]).get(first) if package in sys.modules else None
        if found is not None and getattr(found, "__module__", None) == module:
            return f"{package}.{path}"
    return call.written if "<" in path and call.written else f"{module}.{path}"
