"""All errors and warnings that repro_magic raises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from repro_magic.runtime.public import public


@public
class ReproError(Exception):
    """Base class of all errors that `repro_magic` raises."""


@public
class InvalidSeedError(ReproError, ValueError):
    """The seed is not an integer from 0 to 2**64 - 1.

    Example:
        >>> import repro_magic
        >>> repro_magic.seed_everything(-1)
        Traceback (most recent call last):
            ...
        repro_magic.InvalidSeedError: a seed is an integer from 0 to 2**64 - 1, not -1
    """

    @classmethod
    def of(cls, value: object) -> InvalidSeedError:
        """Return the error for an invalid seed."""
        return cls(f"a seed is an integer from 0 to 2**64 - 1, not {value!r}")


@public
class InvalidStateError(ReproError, ValueError):
    """A generator state cannot be saved or restored; nothing was changed."""


@public
class InvalidSettingError(ReproError, ValueError):
    """Invalid value for a setting; the message lists the valid values."""


@public
class InvalidThreadsError(InvalidSettingError):
    """The number of threads is not an integer from 1 to 2**31 - 1."""

    @classmethod
    def of(cls, value: object) -> InvalidThreadsError:
        """Return the error for an invalid number of threads."""
        return cls(f"a number of threads is an integer from 1 to 2**31 - 1, not {value!r}")


@public
class PanelError(ReproError, RuntimeError):
    """The panel needs a notebook, and this is a script or a terminal."""


@public
class InvalidEnvironmentError(ReproError, ValueError):
    """The recorded environment is missing, or this release cannot read it."""


@public
class NotRunnableError(ReproError, RuntimeError):
    """A notebook cannot be run; the message says why and what to do."""


@public
class NotWritableError(ReproError, RuntimeError):
    """A file cannot be written or already exists; the message names it, and nothing was changed."""


@public
class ShareError(ReproError, RuntimeError):
    """A notebook cannot be shared; the message says why, and nothing was changed."""


@public
class NotRestorableError(ReproError, RuntimeError):
    """A switch could not be restored; the message names it, and all others were restored."""


@public
class UnwrappedCellError(ReproError, RuntimeError):
    """`%%deterministic` could not wrap its cell, so the cell did not run."""


@public
class UnseededGeneratorError(ReproError, RuntimeError):
    """A cell created an unseeded generator while `%repro_seed N --strict` was active.

    Attributes:
        op: the call, e.g. `"numpy.random.default_rng"`.
        line: its line.
        remedy: what to do.
    """

    def __init__(self, message: str, *, op: str, line: int | None, remedy: str) -> None:
        """Take the message and its parts."""
        super().__init__(message)
        self.op, self.line, self.remedy = op, line, remedy

    def __reduce__(self) -> tuple[Callable[..., UnseededGeneratorError], tuple[object, ...]]:
        """Pass the parts to the copy: an error raised in a worker process reaches its parent as a pickle."""
        return partial(type(self), op=self.op, line=self.line, remedy=self.remedy), self.args


@public
class ReproWarning(UserWarning):
    """Base class of all warnings of `repro_magic`."""


@public
class HookFaultWarning(ReproWarning):
    """A hook of `repro_magic` failed; it was turned off, and your code went on."""


@public
class NondeterminismWarning(ReproWarning):
    """Results may differ between runs; the message names each op, its line, the reason and the remedy."""


@public
class NondeterministicOpError(ReproError, RuntimeError):
    """A strict scope blocked an op whose result may differ between runs, before it ran.

    A `RuntimeError`, like PyTorch's own alerts.

    Attributes:
        op: the op, e.g. `"put_"`.
        line: the line of your code that called it; None if your code did not call it.
        device: the type of device, e.g. `"cpu"`.
        remedy: what to do.
    """

    def __init__(self, message: str, *, op: str, line: int | None, device: str, remedy: str) -> None:
        """Take the message and its parts."""
        super().__init__(message)
        self.op, self.line, self.device, self.remedy = op, line, device, remedy

    def __reduce__(self) -> tuple[Callable[..., NondeterministicOpError], tuple[object, ...]]:
        """Pass the parts to the copy: an error raised in a worker process reaches its parent as a pickle."""
        copy = partial(type(self), op=self.op, line=self.line, device=self.device, remedy=self.remedy)
        return copy, self.args
