"""Seeds that come from the operating system or from nobody, caught where they are drawn.

While the hooks are up, a handful of functions of `random`, `os`, NumPy and PyTorch tell of each such seed, and of each
given one, with the frame that asked. They do nothing else: who asked, and whether that matters, is for the listeners to
find out. Nothing is slowed but the seeding itself.

NumPy's generators take their entropy through two names in compiled modules: `randbits` in `bit_generator`, for every
unseeded `SeedSequence`, and `operator.index` in `_mt19937`, which a legacy seed passes. Found by reading
`numpy/random/bit_generator.pyx` and `_mt19937.pyx`, NumPy 1.26 to 2.4.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
import threading
import warnings
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from repro_magic.exceptions import HookFaultWarning, UnseededGeneratorError
from repro_magic.importing import Waiting, is_imported, when_imported


class Kind(Enum):
    """What happened."""

    NUMPY = "a NumPy generator took entropy from the operating system"
    PYTHON = "a generator of Python's random took it"
    TORCH = "PyTorch's generators took it"
    SYSTEM_MADE = "a random.SystemRandom was made"
    SYSTEM = "random.SystemRandom drew it"
    URANDOM = "os.urandom drew it"
    SEEDED = "a generator was given a seed"


class Listener(Protocol):
    """Whoever wants to know."""

    def __call__(self, kind: Kind, frame: FrameType, value: Any, /) -> None:  # noqa: ANN401 - each kind has its own
        """Take note.

        Args:
            kind: what happened.
            frame: the innermost Python frame that led to it.
            value: the seed that was given; for `Kind.PYTHON` and `Kind.SYSTEM_MADE` the generator; else None.

        Raises:
            UnseededGeneratorError: it must not go on. Any other error is a fault, told once, and the seeding goes on.
        """


_lock = threading.RLock()
_listeners: tuple[Listener, ...] = ()
# Entropy that NumPy's generators took: their seed sequences keep it, and so tell that nobody seeded them; those cannot
# be referred to weakly. True as long as nobody gave one another state.
_MOST = 10_000
_taken: dict[int, bool] = {}
_unseeded: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_globals_unseeded: dict[str, bool] = {}


def _renew_locks() -> None:
    global _lock  # noqa: PLW0603 - the thread that may have held it does not exist in the forked process
    _lock = threading.RLock()
    for listener in _listeners:
        owner: Any = getattr(listener, "__self__", None)
        if hasattr(owner, "renew_lock"):
            owner.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def listen(listener: Listener) -> None:
    """Tell `listener` from here on, if the hooks are up."""
    global _listeners  # noqa: PLW0603 - an immutable tuple, so that no thread sees it half way
    with _lock:
        _listeners = (*_listeners, listener)


def unlisten(listener: Listener) -> None:
    """Tell it no longer; harmless if it was not told."""
    global _listeners  # noqa: PLW0603 - as above
    with _lock:
        _listeners = tuple(one for one in _listeners if one != listener)


def _tell(kind: Kind, frame: FrameType, value: Any = None) -> None:  # noqa: ANN401 - each kind has its own
    for listener in _listeners:
        try:
            listener(kind, frame, value)
        except UnseededGeneratorError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not reach the user's code
            unlisten(listener)
            warnings.warn(
                f"repro_magic sees unseeded generators no longer ({error!r}); your code is not affected",
                HookFaultWarning,
                stacklevel=3,
            )


def _caller() -> FrameType:
    return sys._getframe(2)  # noqa: SLF001 - what inspect uses


def _randbits(original: Callable[[int], int]) -> Callable[[int], int]:
    def randbits(bits: int) -> int:
        drawn = original(bits)
        if len(_taken) >= _MOST:
            _taken.pop(next(iter(_taken)), None)
        _taken[drawn] = True
        _tell(Kind.NUMPY, _caller())
        return drawn

    return randbits


def _coerce(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def coerce(entropy: Any) -> Any:  # noqa: ANN401 - a seed of any form
        if entropy not in _taken if isinstance(entropy, int) else isinstance(entropy, list) and entropy:
            _tell(Kind.SEEDED, _caller(), entropy)
        return original(entropy)

    return coerce


class _Operator:
    """The module `operator`, as NumPy's MT19937 sees it."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        return getattr(operator, name)

    @staticmethod
    def index(seed: Any) -> int:  # noqa: ANN401 - a seed of any form
        _tell(Kind.SEEDED, _caller(), seed)
        return operator.index(seed)


def _random_seed(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def seed(self: Any, a: Any = None, version: int = 2) -> None:  # noqa: ANN401 - as Random.seed
        _tell(Kind.PYTHON if a is None else Kind.SEEDED, _caller(), self if a is None else a)
        _unseeded[self] = a is None
        original(self, a, version)

    return seed


def _global_seed(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def seed(a: Any = None, version: int = 2) -> None:  # noqa: ANN401 - as random.seed
        _tell(Kind.PYTHON if a is None else Kind.SEEDED, _caller(), None if a is None else a)
        original(a, version)
        _globals_unseeded["python"] = a is None

    return seed


def _numpy_seed(original: Callable[..., None]) -> Callable[..., None]:
    # The entropy and the seed tell of themselves, below; this only knows whose they are.
    @functools.wraps(original)
    def numpy_seed(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as numpy.random.seed
        original(*args, **kwargs)
        _globals_unseeded["numpy"] = all(one is None for one in (*args, *kwargs.values()))

    return numpy_seed


def _torch_seed(kind: Kind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def seed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
            _tell(kind, _caller(), args[0] if args else None)
            found = original(*args, **kwargs)
            _globals_unseeded["torch"] = kind is Kind.TORCH
            return found

        return seed

    return wrap


def _taking(kind: Kind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def take(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
            _tell(kind, _caller(), args[0] if args and kind in {Kind.SEEDED, Kind.SYSTEM_MADE} else None)
            return original(*args, **kwargs)

        return take

    return wrap


# Module, the path in it, and what takes its place. `random` keeps os.urandom under a name of its own.
_PATCHES: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("random", "Random.seed", _random_seed),
    ("random", "SystemRandom.seed", _taking(Kind.SYSTEM_MADE)),
    ("random", "seed", _global_seed),
    ("random", "_urandom", _taking(Kind.SYSTEM)),
    ("os", "urandom", _taking(Kind.URANDOM)),
    ("os", "getrandom", _taking(Kind.URANDOM)),
    ("uuid", "uuid1", _taking(Kind.URANDOM)),
    ("numpy.random.bit_generator", "randbits", _randbits),
    ("numpy.random.bit_generator", "_coerce_to_uint32_array", _coerce),
    ("numpy.random._mt19937", "operator", lambda _original: _Operator()),
    ("numpy.random", "seed", _numpy_seed),
    *((module, "seed", _torch_seed(Kind.TORCH)) for module in ("torch", "torch.random")),
    *((module, "manual_seed", _torch_seed(Kind.SEEDED)) for module in ("torch", "torch.random")),
    *(("torch.cuda", name, _taking(Kind.TORCH)) for name in ("seed", "seed_all")),
    *(("torch.cuda", name, _taking(Kind.SEEDED)) for name in ("manual_seed", "manual_seed_all")),
)


class _Hook:
    """One name in somebody's module, and what stands there meanwhile."""

    def __init__(self, module: str, path: str, make: Callable[[Any], Any]) -> None:
        self._module, self._path, self._make = module, path, make
        self._put: Any = None
        self._waiting: Waiting = when_imported(module, self._apply)

    def _place(self) -> tuple[Any, str]:
        *outer, name = self._path.split(".")
        return functools.reduce(getattr, outer, sys.modules[self._module]), name

    def _apply(self) -> None:
        owner, name = self._place()
        if hasattr(owner, name):  # a private name that another version may not have
            self._original = getattr(owner, name)
            self._put = self._make(self._original)
            setattr(owner, name, self._put)

    def down(self) -> None:
        self._waiting.cancel()
        if self._put is not None and self._module in sys.modules:
            owner, name = self._place()
            if getattr(owner, name) is self._put:  # else somebody else's stands there now
                setattr(owner, name, self._original)


_hooks: list[_Hook] = []
_users = 0


def hooks_up() -> None:
    """Put the hooks in, those of modules that are not imported as soon as they are. Calls nest."""
    global _users  # noqa: PLW0603 - the process has one of each function
    with _lock:
        _users += 1
        if _users == 1:
            _hooks.extend(_Hook(*patch) for patch in _PATCHES)


def hooks_down() -> None:
    """Take them out again, when this was called as often as `hooks_up`."""
    global _users  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if _users == 0:
            while _hooks:
                _hooks.pop().down()


def is_unseeded(value: Any) -> bool | None:  # noqa: ANN401 - a generator of any library
    """Whether a generator's seed came from the operating system, as far as the hooks were up to see it.

    Args:
        value: a `random.Random`, `numpy.random.Generator`, `numpy.random.RandomState` or `torch.Generator`.

    Returns:
        None if it cannot be told. An unseeded `torch.Generator` has a fixed seed, which is as good as any.

    Example:
        >>> import random
        >>> hooks_up()
        >>> is_unseeded(random.Random()), is_unseeded(random.Random(1)), is_unseeded("no generator")
        (True, False, None)
        >>> hooks_down()
    """
    entropy = _entropy(value)
    if entropy is not None:
        return _taken.get(entropy, None if entropy < 0 or entropy >= _ALL_WRITTEN_DOWN else False)
    try:
        if value in _unseeded:
            return _unseeded[value]
    except TypeError:  # it cannot be referred to weakly, or has no hash
        return None
    torch = sys.modules["torch"] if is_imported("torch") else None
    if torch is not None and isinstance(value, torch.Generator):
        # Its own seed() gives a number of up to 64 bits; nobody writes such a one down.
        return False if value.initial_seed() < 2**32 or value.initial_seed() == _TORCHS_OWN else None
    return None


def note_seeded(value: Any) -> None:  # noqa: ANN401 - a generator of any library
    """Take note that a generator was given a seed, or a state, in a way that the hooks do not see."""
    entropy = _entropy(value)
    if entropy is None:
        _unseeded[value] = False
    elif entropy in _taken:
        _taken[entropy] = False


def is_global_unseeded(library: str) -> bool | None:
    """The same of a library's global generator, as far as somebody seeded it while the hooks were up.

    Args:
        library: `"python"`, `"numpy"` or `"torch"`.
    """
    return _globals_unseeded.get(library)


def note_global_seeded(library: str) -> None:
    """Take note that a library's global generators were given a seed in a way that the hooks do not see."""
    _globals_unseeded[library] = False


def _entropy(value: Any) -> int | None:  # noqa: ANN401 - of any library
    """The number that NumPy's generator started from; 0 for several, -1 if it keeps none, None if it is not NumPy's."""
    numpy = sys.modules["numpy.random"] if is_imported("numpy.random") else None
    if numpy is None or not isinstance(value, numpy.Generator | numpy.RandomState):
        return None
    bits = value.bit_generator if isinstance(value, numpy.Generator) else value._bit_generator  # noqa: SLF001
    sequence = getattr(bits, "_seed_seq", None)
    if sequence is None:  # what RandomState.seed() leaves, with a seed or without
        return _NOT_KEPT
    entropy = getattr(sequence, "entropy", 0)
    return entropy if isinstance(entropy, int) else 0  # numbers in a list were somebody's choice


_NOT_KEPT = -1
# No seed that people write down is larger; one taken before the hooks were up is, nearly always.
_ALL_WRITTEN_DOWN = 2**96
# c10/core/GeneratorImpl.h: default_rng_seed_val
_TORCHS_OWN = 67280421310721
