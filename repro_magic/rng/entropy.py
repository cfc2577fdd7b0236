"""Hooks that report each draw of operating-system entropy, and each seed that a generator is given.

While the hooks are up, a handful of functions of `random`, `os`, NumPy and PyTorch notify the listeners, with the frame
that called them. The listeners decide whose code that is and whether it matters. Only seeding gets slower.

NumPy's generators take their entropy through two names in compiled modules: `randbits` in `bit_generator`, for every
unseeded `SeedSequence`, and `operator.index` in `_mt19937`, which a legacy seed passes. See
`numpy/random/bit_generator.pyx` and `_mt19937.pyx`, NumPy 1.26 to 2.4.
"""

from __future__ import annotations

import abc
import functools
import operator
import os
import random
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from types import FrameType, FunctionType
from typing import Any, Protocol

from repro_magic.exceptions import HookFaultWarning, UnseededGeneratorError
from repro_magic.introspection.identity import IdentityMap
from repro_magic.runtime.forks import ForkSafeLock
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported
from repro_magic.runtime.patching import Hooked, Patch, keep_from_dynamo, lookalike, uncompiled


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
    """A callback for seedings and draws of entropy."""

    def __call__(self, kind: Kind, frame: FrameType, value: Any, /) -> None:  # noqa: ANN401 - each kind has its own
        """Handle an event.

        Args:
            kind: what happened.
            frame: the innermost Python frame that led to it.
            value: the seed that was given; for `Kind.PYTHON` and `Kind.SYSTEM_MADE` the generator; else None.

        Raises:
            UnseededGeneratorError: blocks the call. Any other error is a fault: it is reported once, and the call goes
                on.
        """


_lock = ForkSafeLock()
_listeners: tuple[Listener, ...] = ()
# Entropy that NumPy's generators took -> whether they still are unseeded. Seed sequences keep their entropy but support
# no weak references, so the entropy is the key.
_MOST = 10_000
_taken_entropy: dict[int, bool] = {}
_unseeded: IdentityMap[bool] = IdentityMap()
_globals_unseeded: dict[str, bool] = {}


def listen(listener: Listener) -> None:
    """Notify `listener` from here on, while the hooks are up."""
    global _listeners  # noqa: PLW0603 - an immutable tuple: no thread sees a partial update
    with _lock:
        _listeners = (*_listeners, listener)


def unlisten(listener: Listener) -> None:
    """Stop notifying `listener`; does nothing if it is not registered."""
    global _listeners  # noqa: PLW0603 - the process has one
    with _lock:
        _listeners = tuple(other for other in _listeners if other != listener)


def _notify(kind: Kind, frame: FrameType, value: Any = None) -> None:  # noqa: ANN401 - each kind has its own
    for listener in _listeners:
        try:
            with uncompiled():
                listener(kind, frame, value)
        except UnseededGeneratorError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not reach the user's code
            unlisten(listener)
            warnings.warn(
                f"repro_magic stopped detecting unseeded generators ({error!r}); your code is not affected",
                HookFaultWarning,
                stacklevel=3,
            )


def _frame(depth: int) -> FrameType:
    """The frame `depth` frames outside the hook."""
    return sys._getframe(depth + 1)  # noqa: SLF001 - what inspect uses


# numpy.random.seed accepts integers below this.
_LEGACY_LIMIT = 2**32
# Depths of a hook's caller, and of the caller of a function whose code was swapped.
_CALLER, _CALLERS_CALLER = 1, 2


def _randbits(original: Callable[[int], int]) -> Callable[[int], int]:
    def randbits(bits: int) -> int:
        drawn = original(bits)
        if len(_taken_entropy) >= _MOST:
            _taken_entropy.pop(next(iter(_taken_entropy)), None)
        _taken_entropy[drawn] = True
        _notify(Kind.NUMPY, _frame(_CALLER))
        _note_if_numpy_global(is_unseeded=True)
        return drawn

    return randbits


def _coerce(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def coerce(entropy: Any) -> Any:  # noqa: ANN401 - a seed of any form
        if entropy not in _taken_entropy if type(entropy) is int else type(entropy) is list and entropy:
            _notify(Kind.SEEDED, _frame(_CALLER), entropy)
        return original(entropy)

    return coerce


class _Operator:
    """The module `operator`, as NumPy's MT19937 sees it."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        return getattr(operator, name)

    @staticmethod
    def index(seed: Any) -> int:  # noqa: ANN401 - a seed of any form
        _notify(Kind.SEEDED, _frame(_CALLER), seed)
        if type(seed) is not int or 0 <= seed < _LEGACY_LIMIT:  # else NumPy rejects it and seeds nothing
            _note_if_numpy_global(is_unseeded=False)
        return operator.index(seed)


def _note_if_numpy_global(*, is_unseeded: bool) -> None:
    """Record a seeding of NumPy's global generator, whose lock the compiled method `numpy.random.seed` holds."""
    generator = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    if generator is None:  # NumPy is being imported and creates it now
        return
    lock = generator._bit_generator.lock  # noqa: SLF001 - there is no public way
    if lock._is_owned() if hasattr(lock, "_is_owned") else lock.locked():  # noqa: SLF001 - a plain lock before NumPy 2.4
        _globals_unseeded["numpy"] = is_unseeded


def _before_random_seed(generator: Any, seed: Any, _version: Any) -> None:  # noqa: ANN401 - as Random.seed
    value = seed
    if seed is None:
        value = None if generator is random._inst else generator  # noqa: SLF001 - the functions are its methods
    _notify(Kind.PYTHON if seed is None else Kind.SEEDED, _frame(_CALLERS_CALLER), value)


def _after_random_seed(generator: Any, seed: Any, _version: Any) -> None:  # noqa: ANN401 - as Random.seed
    if generator is random._inst:  # noqa: SLF001 - Python's global generator has no public name
        _globals_unseeded["python"] = seed is None
    else:
        _unseeded[generator] = seed is None


def _before(kind: Kind) -> Callable[..., None]:
    def before(*values: Any) -> None:  # noqa: ANN401 - each function has its own
        first = values[0] if values else None
        if type(first) is tuple:  # a function declared with *args
            first = first[0] if first else None
        _notify(kind, _frame(_CALLERS_CALLER), first)

    return before


def _after_torch_seed(*, is_unseeded: bool) -> Callable[..., None]:
    def after(*_values: Any) -> None:  # noqa: ANN401 - the hooked functions have their own arguments
        _globals_unseeded["torch"] = is_unseeded

    return after


def _notifying(kind: Kind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def take(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
            _notify(kind, _frame(_CALLER))
            return original(*args, **kwargs)

        return take

    return wrap


def _uuid_time(original: Callable[[], Any]) -> Callable[[], Any]:
    def generate_time_safe() -> Any:  # noqa: ANN401 - as the original
        frame = _frame(_CALLER)
        if frame.f_code.co_name == "uuid1":  # uuid.getnode() calls it, too, for the machine's address
            _notify(Kind.URANDOM, frame)
        return original()

    return generate_time_safe


@functools.cache
def _system_entropy(original: Callable[..., bytes]) -> Any:  # noqa: ANN401 - the same for all modules that export it
    return lookalike(original, lambda: _notify(Kind.URANDOM, _frame(_CALLERS_CALLER)))


# Python functions whose code is swapped: module, path in it, callbacks before and after.
_CODE: tuple[tuple[str, str, Callable[..., None], Callable[..., None] | None], ...] = (
    ("random", "Random.seed", _before_random_seed, _after_random_seed),
    ("random", "SystemRandom.seed", _before(Kind.SYSTEM_MADE), None),
    ("torch.random", "seed", _before(Kind.TORCH), _after_torch_seed(is_unseeded=True)),
    ("torch.random", "manual_seed", _before(Kind.SEEDED), _after_torch_seed(is_unseeded=False)),
    *(("torch.cuda.random", name, _before(Kind.TORCH), None) for name in ("seed", "seed_all")),
    *(("torch.cuda.random", name, _before(Kind.SEEDED), None) for name in ("manual_seed", "manual_seed_all")),
)
# Names that are rebound: private names that only their own module reads, and builtin functions.
_NAMES: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("random", "_urandom", _notifying(Kind.SYSTEM)),
    ("uuid", "_generate_time_safe", _uuid_time),
    ("numpy.random.bit_generator", "randbits", _randbits),
    ("numpy.random.bit_generator", "_coerce_to_uint32_array", _coerce),
    ("numpy.random._mt19937", "operator", lambda _original: _Operator()),
    *((module, name, _system_entropy) for module in ("os", os.name) for name in ("urandom", "getrandom")),
)


class _Hook(abc.ABC):
    """A change to a module, made as soon as the module is imported."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._waiting: Waiting = when_imported(module, self.up)

    @abc.abstractmethod
    def up(self) -> None:
        """Make the change."""

    @abc.abstractmethod
    def undo(self) -> None:
        """Undo the change."""

    def down(self) -> None:
        self._waiting.cancel()
        self.undo()


class _CodeHook(_Hook):
    """A Python function whose code is swapped."""

    def __init__(self, module: str, path: str, before: Callable[..., None], after: Callable[..., None] | None) -> None:
        self._path, self._before, self._after = path, before, after
        self._hooked: Hooked | None = None
        super().__init__(module)

    def up(self) -> None:
        function = functools.reduce(getattr, self._path.split("."), sys.modules[self._module])
        if isinstance(function, FunctionType):  # else other code replaced it
            self._hooked = Hooked(function, before=self._before, after=self._after)

    def undo(self) -> None:
        if self._hooked is not None:
            self._hooked.down()


class _NameHook(_Hook):
    """A rebound name in another package's module."""

    def __init__(self, module: str, name: str, make: Callable[[Any], Any]) -> None:
        self._name, self._make = name, make
        self._patch: Patch | None = None
        super().__init__(module)

    def up(self) -> None:
        module = sys.modules[self._module]
        if getattr(module, self._name, None) is not None:  # a private name that another version may not have
            self._patch = Patch(module, self._name, self._make)

    def undo(self) -> None:
        if self._patch is not None:
            self._patch.down()


class _DynamoHook(_Hook):
    """Keeps `torch.compile` from compiling our hooks, which read the frames around them."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        super().__init__("torch._dynamo.trace_rules")

    def up(self) -> None:
        rules: Any = sys.modules[self._module]
        if hasattr(rules, "add") and hasattr(rules, "_recompile_re"):  # the packages that it skips
            before = rules.SKIP_DIRS.copy()
            rules.add("repro_magic")
            self._folders = rules.SKIP_DIRS[len(before) :]
        keep_from_dynamo()

    def undo(self) -> None:
        rules: Any = sys.modules.get(self._module)
        for folder in self._folders:
            rules.SKIP_DIRS.remove(folder)
            rules._recompile_re()  # noqa: SLF001 - as its own add() does


_hooks: list[_Hook] = []
_users = 0


def hooks_up() -> None:
    """Install the hooks, in modules that are not imported yet as soon as they are. Calls nest."""
    global _users  # noqa: PLW0603 - the process has one of each function
    with _lock:
        _users += 1
        if _users == 1:
            _hooks.extend(_CodeHook(*entry) for entry in _CODE)
            _hooks.extend(_NameHook(*entry) for entry in _NAMES)
            _hooks.append(_DynamoHook())


def hooks_down() -> None:
    """Remove the hooks once this was called as often as `hooks_up`."""
    global _users  # noqa: PLW0603 - the process has one
    with _lock:
        _users -= 1
        if _users == 0:
            while _hooks:
                _hooks.pop().down()


def is_unseeded(value: Any) -> bool | None:  # noqa: ANN401 - a generator of any library
    """Whether a generator's seed came from the operating system, as far as the hooks saw it.

    Args:
        value: a `random.Random`, `numpy.random.Generator`, `numpy.random.RandomState` or `torch.Generator`.

    Returns:
        None if unknown. A new `torch.Generator` counts as seeded: PyTorch gives it a fixed seed.

    Example:
        >>> import random
        >>> hooks_up()
        >>> is_unseeded(random.Random()), is_unseeded(random.Random(1)), is_unseeded("no generator")
        (True, False, None)
        >>> hooks_down()
    """
    entropy = _entropy(value)
    if entropy is not None:
        return _taken_entropy.get(entropy, None if entropy < 0 or entropy >= _WRITTEN_DOWN_BELOW else False)
    known = _unseeded.get(value)
    if known is not None:
        return known
    torch = sys.modules["torch"] if is_imported("torch") else None
    if torch is not None and isinstance(value, torch.Generator):
        # Its seed() draws a number of up to 64 bits; hand-written seeds are smaller.
        return False if value.initial_seed() < 2**32 or value.initial_seed() == _TORCH_DEFAULT_SEED else None
    return None


def note_seeded(value: Any) -> None:  # noqa: ANN401 - a generator of any library
    """Record that a generator was given a seed, or a state, in a way that the hooks do not see."""
    entropy = _entropy(value)
    if entropy is None:
        _unseeded[value] = False
    elif entropy in _taken_entropy:
        _taken_entropy[entropy] = False


def is_global_unseeded(library: str) -> bool | None:
    """Whether a library's global generator was last seeded from the operating system; None if the hooks saw no seeding.

    Args:
        library: `"python"`, `"numpy"` or `"torch"`.
    """
    return _globals_unseeded.get(library)


def note_global_seeded(library: str) -> None:
    """Record that a library's global generators were given a seed in a way that the hooks do not see."""
    _globals_unseeded[library] = False


def _entropy(value: Any) -> int | None:  # noqa: ANN401 - of any library
    """The entropy of a NumPy generator; 0 for several numbers, -1 if it keeps none, None for other generators."""
    numpy = sys.modules["numpy.random"] if is_imported("numpy.random") else None
    if numpy is None or not isinstance(value, numpy.Generator | numpy.RandomState):
        return None
    bits = value.bit_generator if isinstance(value, numpy.Generator) else value._bit_generator  # noqa: SLF001
    sequence = getattr(bits, "_seed_seq", None)
    if sequence is None:  # what RandomState.seed() leaves, with a seed or without
        return _NOT_KEPT
    entropy = getattr(sequence, "entropy", 0)
    return entropy if isinstance(entropy, int) else 0  # a list of numbers is a seed that the user chose


_NOT_KEPT = -1
# Seeds in source code are smaller; entropy taken before the hooks were up nearly always is larger.
_WRITTEN_DOWN_BELOW = 2**96
# c10/core/GeneratorImpl.h: default_rng_seed_val
_TORCH_DEFAULT_SEED = 67280421310721
