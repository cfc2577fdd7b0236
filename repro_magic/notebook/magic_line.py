"""Parses the lines of magics with argparse, and adds a correction to errors that have a known one."""

from __future__ import annotations

import functools
from argparse import ArgumentTypeError
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import parse_argstring

from repro_magic.determinism.switches import checked_threads
from repro_magic.exceptions import InvalidSeedError, InvalidThreadsError
from repro_magic.notebook.rewriting import MAGIC
from repro_magic.rng.generators import checked_seed


def to_seed(text: str, *, before: str = "%repro_seed") -> int:
    """Parse a seed; the error message shows `before` in front of it.

    Raises:
        ArgumentTypeError: `text` is not a seed.
    """
    try:
        return checked_seed(int(text))
    except InvalidSeedError as error:
        raise ArgumentTypeError(str(error)) from error
    except ValueError as error:
        variable = f"; for a variable, write `{before} ${text}`" if text.isidentifier() else ""
        raise ArgumentTypeError(f"{InvalidSeedError.of(text)}{variable}") from error


to_seed_of_flag = functools.partial(to_seed, before="--seed")


def to_threads(text: str) -> int:
    """Parse a number of threads.

    Raises:
        ArgumentTypeError: `text` is not a number of threads.
    """
    try:
        return checked_threads(int(text))
    except InvalidThreadsError as error:
        raise ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise ArgumentTypeError(str(InvalidThreadsError.of(text))) from error


def to_seconds(text: str) -> int:
    """Parse a number of seconds.

    Raises:
        ArgumentTypeError: `text` is not a positive integer.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a positive number of seconds, not {text!r}")
    return int(text)


def unquoted(text: str) -> str:
    """Remove the quotes that IPython leaves around an argument."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def without_comment(line: str) -> str:
    """The line of a magic without a trailing comment.

    Example:
        >>> without_comment("42 --adopt  # as in the paper"), without_comment("--name 'run # 3'")
        ('42 --adopt  ', "--name 'run # 3'")
    """
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and line[:position][-1:].strip() == "":
            return line[:position]
    return line


def parse(magic: Any, line: str) -> Any:  # noqa: ANN401 - IPython's decorators are untyped
    """Parse `line`.

    Raises:
        UsageError: the arguments are wrong; the message ends with the usage line.
    """
    try:
        return parse_argstring(magic, without_comment(line))
    except (UsageError, ValueError) as error:  # ValueError: an unclosed quote
        raise UsageError(f"{error}{_correction(magic, str(error))}\n{usage(magic)}") from None


def _correction(magic: Any, fault: str) -> str:  # noqa: ANN401 - IPython's decorators are untyped
    """The correct form of a seed without its flag, and of a request for help."""
    argument = fault.removeprefix("unrecognized arguments: ")
    if argument in {"--help", "-h"}:
        return f": write `{usage(magic).split()[1]}?`"
    takes_flag = "[--seed N]" in usage(magic)
    return f": write `%%{MAGIC} --seed {argument}`" if takes_flag and argument.isdecimal() else ""


def usage(magic: Any) -> str:  # noqa: ANN401 - IPython's decorators are untyped
    """The usage line of a magic, with its percent signs."""
    return "usage: " + " ".join(magic.parser.format_usage().removeprefix("::").split())
