"""Library functions that create or seed a generator from the operating system when the user calls them.

The user's numbers may depend on it, so it is listed; but the user's line is not at fault, so it is not a finding.
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
# Packages whose draws do not reach results: they go into names, messages, retries, or generators that get a state next.
_IRRELEVANT = sys.stdlib_module_names | {
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
_SEED_PARAMETERS = ("rng", "random_state", "seed", "random_seed", "generator", "v0")


@dataclass(frozen=True)
class LibraryDraw:
    """A library function that created or seeded a generator without a seed.

    Attributes:
        function: its public name, e.g. `"scipy.sparse.linalg.eigsh"`.
        seeds: its parameters that take a seed, a generator or a start vector.
    """

    function: str
    seeds: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What the function did.

        Example:
            >>> LibraryDraw("scipy.sparse.linalg.eigsh").what
            'scipy.sparse.linalg.eigsh created an unseeded generator'
        """
        return f"{self.function} created an unseeded generator"

    @property
    def remedy(self) -> str:
        """What the user can do.

        Example:
            >>> LibraryDraw("scipy.sparse.linalg.eigsh", ("rng", "v0")).remedy
            'Pass rng= or v0=.'
        """
        if not self.seeds:
            return "Look up in its documentation how to seed it."
        return f"Pass {' or '.join(f'{name}=' for name in self.seeds)}."


def library_draw(kind: Kind, frame: FrameType) -> LibraryDraw | None:
    """The library function that the user's line called, if a request for entropy came from it.

    Args:
        kind: the kind of request.
        frame: the innermost Python frame of the request.
    """
    if kind not in _KINDS:
        return None
    library_frames = list(itertools.takewhile(lambda inner: not is_users(inner.f_code.co_filename), _outwards(frame)))
    caller = library_frames[-1].f_back if library_frames else None
    roots = (
        {_module(inner).partition(".")[0] for inner in (_requesting(library_frames), library_frames[-1])}
        if library_frames
        else {""}
    )
    if caller is None or not roots.isdisjoint(_IRRELEVANT) or any(map(_is_import, library_frames)):
        return None
    called = _called(library_frames)
    names = called.f_code.co_varnames[: called.f_code.co_argcount + called.f_code.co_kwonlyargcount]
    seeds = tuple(name for name in _SEED_PARAMETERS if name in names)
    if any(called.f_locals.get(name) is not None for name in seeds):  # a seed was passed already
        return None
    return LibraryDraw(_public_name(called, caller), seeds)


def is_surely_unseeded(kind: Kind, frame: FrameType) -> bool:
    """Whether no seed follows at once: NumPy's legacy generator takes entropy first, and then its seed."""
    request = EntropyRequest(frame, None, call_of(frame))
    if request.is_excused(kind):
        return False
    return (
        kind is not Kind.NUMPY
        or not request.may_be_legacy
        or (not request.call.arguments and request.call.node is not None)
    )


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _requesting(frames: list[FrameType]) -> FrameType:
    """The frame that created or seeded the generator, outside of the module `random`."""
    return next((frame for frame in frames if _module(frame) != "random"), frames[-1])


def _is_import(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith("<frozen importlib")


def _called(frames: list[FrameType]) -> FrameType:
    """The frame of the outermost named function, past the wrappers of decorators."""
    return next((frame for frame in reversed(frames) if "<" not in frame.f_code.co_qualname), frames[-1])


def _public_name(called: FrameType, caller: FrameType) -> str:
    """The function's name, with the module that the line takes it from or the outermost package that exports it."""
    call, path, module = call_of(caller), called.f_code.co_qualname.removesuffix(".__init__"), _module(called)
    base = value_of(call.base, caller) if call.base else None
    if type(base) is ModuleType:
        return f"{base.__name__}.{call.name}"
    first = path.partition(".")[0]
    for package in itertools.accumulate(module.split("."), lambda *parts: ".".join(parts)):
        function = vars(sys.modules[package]).get(first) if package in sys.modules else None
        if function is not None and getattr(function, "__module__", None) == module:
            return f"{package}.{path}"
    return call.written if "<" in path and call.written else f"{module}.{path}"
