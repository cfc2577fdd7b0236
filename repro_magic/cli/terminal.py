"""Write to the terminal, and end as the user or the system asks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import typer

from repro_magic.cli.exit_codes import WRONG_USAGE
from repro_magic.views.visible import in_one_line, visible


def say(text: str, *, err: bool = False) -> None:
    """Write a line; if the reader closed the pipe (`| head -1`), the exit code still counts."""
    try:
        typer.echo(visible(text), err=err)
    except BrokenPipeError:
        _forget(sys.stderr if err else sys.stdout)


def refused(why: str, code: int) -> typer.Exit:
    """Say why the command ends, and return the exception that ends it.

    Example:
        >>> refused("no such notebook", 2).exit_code
        2
    """
    say(f"repro-magic: {in_one_line(why)}", err=True)
    return typer.Exit(code)


def check_folder(root: Path | None) -> None:
    """End the command if the folder that --root names is none."""
    if root is not None and not root.is_dir():
        raise refused(f"--root {root} is {'not a folder' if root.exists() else 'not there'}", WRONG_USAGE)


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Make SIGTERM (a CI job took too long) and SIGHUP (the terminal was closed) clean up as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            _forget_if_gone(stream)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # A process that ignores the signal, as under nohup, continues.
    before = {
        number: signal.signal(number, interrupt) for number in numbers if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _forget_if_gone(stream: IO[str]) -> None:
    """Discard further output to a terminal that was closed: writing even zero bytes to it fails."""
    with suppress(ValueError):  # the stream is no file
        try:
            os.write(stream.fileno(), b"")
        except OSError:
            _forget(stream)


def _forget(stream: IO[str]) -> None:
    """Discard whatever is written to a stream from here on."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
