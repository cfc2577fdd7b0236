"""Every global random generator of the process: how to seed, read and restore it.

A *library* owns global generators, one for each device. The rest of the package knows libraries only through the table
`LIBRARIES` and the plug-ins of the entry-point group `repro_magic.seeders`. Nothing here imports a library, except
`import_libraries`.
"""

from __future__ import annotations

import array
import contextlib
import functools
import hashlib
import importlib
import random
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

from repro_magic.exceptions import InvalidSeedError
from repro_magic.rng import state_distance
from repro_magic.rng.entropy import is_global_unseeded, is_unseeded
from repro_magic.rng.origins import Birth, plain_seed
from repro_magic.runtime import entry_points
from repro_magic.runtime.entry_points import UnexpectedError
from repro_magic.runtime.import_hooks import is_imported
from repro_magic.runtime.public import public

SEED_LIMIT = 2**64
ENTRY_POINTS = "repro_magic.seeders"


@public
@dataclass(frozen=True)
class Generator:
    """A global generator on a device.

    Attributes:
        library: name of the library that owns it, e.g. `"torch"`.
        device: where it draws, e.g. `"cuda:0"`.
        get_state: returns the whole state, as an object that does not change when the generator does.
        set_state: restores such a state.
        to_bytes: the state as bytes, for the fingerprint.
        seed_in_force: the seed that the library itself reports, if it does.
        is_unseeded: whether it was last seeded from the operating system; None if unknown.
        is_untouched: whether its library was never seeded since its import; None if unknown.
        birth: the seed sequence that created it; None if it has none or was seeded since.
        distance: measures how far it moved between two states, given as `to_bytes` returns them.
    """

    library: str
    device: str
    get_state: Callable[[], Any]
    set_state: Callable[[Any], object]
    to_bytes: Callable[[Any], bytes]
    seed_in_force: Callable[[], int | None] = lambda: None
    is_unseeded: Callable[[], bool | None] = lambda: None
    is_untouched: Callable[[], bool | None] = lambda: None
    birth: Callable[[], Birth | None] = lambda: None
    distance: state_distance.Measure = state_distance.unknown

    @property
    def key(self) -> str:
        """Library and device, e.g. `"torch cuda:0"`."""
        return f"{self.library} {self.device}"

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change when the state does (blake2b of the state)."""
        return fingerprint(self.to_bytes(self.get_state()))


@public
@dataclass(frozen=True)
class Library:
    """A library with global generators; plug-ins provide such an object as their entry point.

    Attributes:
        name: its name in tables.
        module: its generators exist once this module is imported.
        seed: seeds all generators on every device, including devices that have not started; 0 <= seed < 2**64.
        generators: returns those whose state can be read without starting a device. Optional: without it, the library
            is seeded, but its state is neither shown nor restored.

    Example:
        A plug-in for a library `mylib`, in the `pyproject.toml` of any package::

            [project.entry-points."repro_magic.seeders"]
            mylib = "mylib_repro:LIBRARY"

        and in `mylib_repro.py`::

            LIBRARY = Library(name="mylib", module="mylib", seed=lambda seed: mylib.set_seed(seed))

        The entry point's name is the module to wait for: the plug-in loads when that module is imported.
    """

    name: str
    module: str
    seed: Callable[[int], object]
    generators: Callable[[], Iterable[Generator]] = field(default=tuple)


def fingerprint(state: bytes) -> str:
    """Eight hexadecimal digits of `state`."""
    return hashlib.blake2b(state, digest_size=4).hexdigest()


def checked_seed(seed: object) -> int:
    """`seed` as an int.

    Raises:
        InvalidSeedError: it is not an integer from 0 to 2**64 - 1 (a bool is not an integer).

    Example:
        >>> checked_seed(42)
        42
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise InvalidSeedError.of(seed)
    try:
        value = int(seed.__index__())
    except (TypeError, ValueError, RuntimeError) as error:  # a NumPy array or a tensor with several elements
        raise InvalidSeedError.of(seed) from error
    if not 0 <= value < SEED_LIMIT:
        raise InvalidSeedError.of(value)
    return value


# Python's generator is an MT19937, too, and splits such a seed into the same two words: both would draw the same
# numbers.
_UNLIKE_PYTHON = 1


def seed_words(seed: int) -> int | list[int]:
    """The seed as NumPy's legacy generator takes it: itself up to 32 bits, else its two 32-bit words and a third.

    `numpy.random.seed` refuses integers of more than 32 bits but takes an array of 32-bit words, all of which count
    (https://numpy.org/doc/stable/reference/random/generated/numpy.random.seed.html).

    Example:
        >>> seed_words(42), seed_words(2**32 + 7)
        (42, [7, 1, 1])
    """
    low, high = seed & 0xFFFF_FFFF, seed >> 32
    return [low, high, _UNLIKE_PYTHON] if high else low


def _python_generators() -> Iterable[Generator]:
    yield Generator(
        library="python",
        device="cpu",
        get_state=random.getstate,
        set_state=random.setstate,
        to_bytes=lambda state: array.array("Q", state[1]).tobytes() + repr(state[2]).encode(),
        is_unseeded=lambda: is_global_unseeded("python"),
        distance=state_distance.python,
    )


def _numpy_random() -> Any:  # noqa: ANN401 - a module that may not be imported here
    return importlib.import_module("numpy.random")  # which `import numpy` alone may leave out


def _numpy_bit_generator() -> Any:  # noqa: ANN401 - NumPy's own
    return _numpy_random().get_bit_generator()


def _numpy_seed(seed: int) -> None:
    bit_generator = _numpy_bit_generator()
    if type(bit_generator).__name__ == "MT19937":
        _numpy_random().seed(seed_words(seed))
    else:  # numpy.random.set_bit_generator() was called; numpy.random.seed() supports MT19937 only
        _numpy_random().set_bit_generator(type(bit_generator)(seed))


def _numpy_birth() -> Birth | None:
    """How the global bit generator was created: by NumPy, or by the caller of `set_bit_generator`."""
    bits = _numpy_bit_generator()
    sequence = getattr(bits, "_seed_seq", None)
    if sequence is None:
        return None
    state = state_distance.numpy_state(type(bits)(sequence).state)
    seed = plain_seed(sequence.entropy)
    unseeded = is_unseeded(_numpy_random().Generator(bits))
    # NumPy creates its MT19937 on import, which may be before the hooks were up.
    is_numpys = unseeded is None and type(bits).__name__ == "MT19937"
    return Birth(state, None if unseeded or is_numpys else seed, is_numpys or unseeded)


def _numpy_generators() -> Iterable[Generator]:
    if not is_imported("numpy.random"):
        return
    numpy_random = _numpy_random()
    if type(_numpy_bit_generator()).__name__ != "MT19937":  # its state is a dictionary of another shape
        yield Generator(
            library="numpy",
            device="cpu",
            get_state=lambda: numpy_random.get_state(legacy=False),
            set_state=numpy_random.set_state,
            to_bytes=state_distance.numpy_state,
            birth=_numpy_birth,
            distance=state_distance.of_numpy(_numpy_bit_generator()),
        )
        return
    yield Generator(
        library="numpy",
        device="cpu",
        get_state=numpy_random.get_state,
        set_state=numpy_random.set_state,
        to_bytes=lambda state: bytes(state[1].tobytes()) + repr(state[2:]).encode(),
        is_unseeded=lambda: is_global_unseeded("numpy"),
        birth=_numpy_birth,
        distance=state_distance.numpy_mt19937,
    )


def _torch_seed(seed: int) -> None:
    torch = sys.modules["torch"]
    if torch.accelerator.current_accelerator() is None:
        # Built without accelerators: torch.manual_seed would still queue a call per device type, each with a formatted
        # stack trace, which takes 1 ms inside a kernel.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)  # CPU, and CUDA, MPS, XPU … now or when they start


def _torch_is_untouched() -> bool | None:
    """Whether `torch.manual_seed` and `torch.seed` were never called: each queues a call for CUDA's start."""
    cuda = sys.modules["torch"].cuda
    calls = getattr(getattr(cuda, "_lazy_seed_tracker", None), "get_calls", None)
    return None if calls is None or cuda.is_initialized() else not any(calls())


def _tensor_bytes(state: Any) -> bytes:  # noqa: ANN401 - a tensor; torch may not be imported here
    return bytes(state.cpu().numpy().tobytes())


def _torch_accelerators() -> Iterable[tuple[str, Any]]:
    """Device type and device module of every accelerator that has been started."""
    torch = sys.modules["torch"]
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_initialized():
            yield kind, module
    if torch.backends.mps.is_available():  # pragma: no cover - Apple hardware
        yield "mps", torch.mps


def _torch_generators() -> Iterable[Generator]:
    torch = sys.modules["torch"]
    yield Generator(
        library="torch",
        device="cpu",
        get_state=torch.default_generator.get_state,
        set_state=torch.default_generator.set_state,
        to_bytes=_tensor_bytes,
        seed_in_force=torch.default_generator.initial_seed,
        is_unseeded=lambda: is_global_unseeded("torch"),
        is_untouched=_torch_is_untouched,
        distance=state_distance.torch_cpu,
    )
    for kind, module in _torch_accelerators():
        if kind == "mps":  # pragma: no cover - Apple hardware
            yield Generator(
                library="torch",
                device="mps",
                get_state=module.get_rng_state,
                set_state=module.set_rng_state,
                to_bytes=_tensor_bytes,
            )
            continue
        for index, generator in enumerate(module.default_generators):
            yield Generator(
                library="torch",
                device=f"{kind}:{index}",
                get_state=generator.get_state,
                set_state=generator.set_state,
                to_bytes=_tensor_bytes,
                seed_in_force=generator.initial_seed,
                is_unseeded=lambda: is_global_unseeded("torch"),
                distance=state_distance.cuda if kind == "cuda" else state_distance.unknown,
            )


LIBRARIES: tuple[Library, ...] = (
    Library(name="python", module="random", seed=random.seed, generators=_python_generators),
    Library(name="numpy", module="numpy", seed=_numpy_seed, generators=_numpy_generators),
    Library(
        name="torch",
        module="torch",
        seed=_torch_seed,
        generators=_torch_generators,
    ),
)


# The module with a library's generators, where importing the library may not import that module.
_GENERATOR_MODULES = {"numpy": "numpy.random"}


def plug_ins() -> dict[str, EntryPoint]:
    """Entry points of the group `repro_magic.seeders` by the module they wait for."""
    return entry_points.plug_ins(ENTRY_POINTS)


def known_modules() -> list[str]:
    """The modules with global generators: those of `LIBRARIES`, then those of the plug-ins."""
    return [library.module for library in LIBRARIES] + list(plug_ins())


@functools.cache
def library_of(module: str) -> Library | None:
    """The library whose generators live in `module`; None, after a single warning, if its plug-in cannot be loaded."""
    for library in LIBRARIES:
        if library.module == module:
            return library
    return entry_points.load(plug_ins()[module], "seeder", _library)


def _library(loaded: object) -> Library:
    if not isinstance(loaded, Library):
        raise UnexpectedError("a Library", f"a {type(loaded).__name__}")
    return loaded


def libraries() -> list[Library]:
    """The libraries that are imported now."""
    imported = [library_of(module) for module in known_modules() if is_imported(module)]
    return [library for library in imported if library is not None]


def import_libraries(names: Collection[str]) -> None:
    """Import the named libraries that are installed, so that their generators exist."""
    missing = set(names) - {generator.library for generator in generators()}
    for module in known_modules() if missing else ():
        library = library_of(module)
        if library is not None and library.name in missing:
            with contextlib.suppress(ImportError):  # the caller reports the missing generators
                importlib.import_module(_GENERATOR_MODULES.get(module, module))


def generators() -> list[Generator]:
    """The generators that can be read now: of imported libraries, on started devices."""
    return [generator for library in libraries() for generator in library.generators()]
