"""Every error and warning class of the package."""

from __future__ import annotations


class ReproError(Exception):
    """Base of all errors that `repro_magic` raises on purpose."""


class InvalidSeedError(ReproError, ValueError):
    """The seed is not an integer from 0 to 2**64 - 1.

    Example:
        >>> import repro_magic
        >>> repro_magic.seed_everything(-1)
        Traceback (most recent call last):
            ...
        repro_magic.exceptions.InvalidSeedError: a seed is an integer from 0 to 2**64 - 1, not -1
    """

    @classmethod
    def of(cls, value: object) -> InvalidSeedError:
        """The error for a value that is no seed."""
        return cls(f"a seed is an integer from 0 to 2**64 - 1, not {value!r}")


class InvalidThreadsError(ReproError, ValueError):
    """The number of threads is not a positive integer that a C int holds."""

    @classmethod
    def of(cls, value: object) -> InvalidThreadsError:
        """The error for a value that is no number of threads."""
        return cls(f"a number of threads is an integer from 1 to 2**31 - 1, not {value!r}")


class NotRestorableError(ReproError, RuntimeError):
    """A switch could not be put back; the message names it, the others were put back."""


class UnwrappedCellError(ReproError, RuntimeError):
    """The body of a `%%deterministic` cell could not be put under its switches, so it was not run."""


class ReproWarning(UserWarning):
    """Base of all warnings of the package."""


class HookFaultWarning(ReproWarning):
    """Something of ours failed outside the user's code; it was turned off and the user's code went on."""
