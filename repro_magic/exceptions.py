"""Every error and warning class of the package."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from repro_magic.runtime.public import public


@public
class ReproError(Exception):
    """Base of all errors that `repro_magic` raises on purpose."""


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
        """The error for a value that is no seed."""
        return cls(f"a seed is an integer from 0 to 2**64 - 1, not {value!r}")


@public
class InvalidStateError(ReproError, ValueError):
    """A state of the generators cannot be kept or put back; nothing was changed."""


@public
class InvalidSettingError(ReproError, ValueError):
    """A setting does not take this value; the message names those that it takes."""


@public
class InvalidThreadsError(InvalidSettingError):
    """The number of threads is not a positive integer that a C int holds."""

    @classmethod
    def of(cls, value: object) -> InvalidThreadsError:
        """The error for a value that is no number of threads."""
        return cls(f"a number of threads is an integer from 1 to 2**31 - 1, not {value!r}")


@public
class PanelError(ReproError, RuntimeError):
    """There is no notebook to show the panel in."""


@public
class InvalidEnvironmentError(ReproError, ValueError):
    """There is no recorded environment, or one that this release cannot read."""


@public
class NotRunnableError(ReproError, RuntimeError):
    """A notebook cannot be run: there is none, or no kernel for it; the message says what to do."""


@public
class NotWritableError(ReproError, RuntimeError):
    """A file cannot be written, or something else is there; the message says which, and nothing was changed."""


@public
class ShareError(ReproError, RuntimeError):
    """What others need to run a notebook cannot be written; the message says why, and nothing was changed."""


@public
class NotRestorableError(ReproError, RuntimeError):
    """A switch could not be put back; the message names it, the others were put back."""


@public
class UnwrappedCellError(ReproError, RuntimeError):
    """The body of a `%%deterministic` cell could not be put under its switches, so it was not run."""


@public
class UnseededGeneratorError(ReproError, RuntimeError):
    """`%repro_seed N --strict` is in force, and the cell made a generator that would differ in every run.

    Attributes:
        op: what made it, e.g. `"numpy.random.default_rng"`.
        line: the line that did.
        remedy: what to do.
    """

    def __init__(self, message: str, *, op: str, line: int | None, remedy: str) -> None:
        """Take the whole sentence, and its parts."""
        super().__init__(message)
        self.op, self.line, self.remedy = op, line, remedy

    def __reduce__(self) -> tuple[Callable[..., UnseededGeneratorError], tuple[object, ...]]:
        """Pass the parts to the copy: an error raised in a worker process reaches its parent as a pickle."""
        return partial(type(self), op=self.op, line=self.line, remedy=self.remedy), self.args


@public
class ReproWarning(UserWarning):
    """Base of all warnings of the package."""


@public
class HookFaultWarning(ReproWarning):
    """Something of ours failed outside the user's code; it was turned off and the user's code went on."""


@public
class NondeterminismWarning(ReproWarning):
    """Flagged ops ran whose results may differ from run to run; the message says which, where, and what helps."""


@public
class NondeterministicOpError(ReproError, RuntimeError):
    """A strict scope stopped an op whose result may differ from run to run, before it ran.

    A `RuntimeError`, as PyTorch's own alerts are.

    Attributes:
        op: the op, e.g. `"put_"`.
        line: the line that called it; None if no line of the user's did.
        device: the type of device, e.g. `"cpu"`.
        remedy: what to do.
    """

    def __init__(self, message: str, *, op: str, line: int | None, device: str, remedy: str) -> None:
        """Take the whole sentence, and its parts."""
        super().__init__(message)
        self.op, self.line, self.device, self.remedy = op, line, device, remedy

    def __reduce__(self) -> tuple[Callable[..., NondeterministicOpError], tuple[object, ...]]:
        """Pass the parts to the copy: an error raised in a worker process reaches its parent as a pickle."""
        copy = partial(type(self), op=self.op, line=self.line, device=self.device, remedy=self.remedy)
        return copy, self.args
