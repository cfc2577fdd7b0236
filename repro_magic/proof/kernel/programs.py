"""Programs that a notebook's own code starts, seen as they start.

An audit hook cannot be removed, so only kernels of `verify` get one. What libraries start for themselves (a compiler, a
pool's workers) is not told, nor are lines such as `!ls`, to which the user agreed. Not seen: `os.fork` with `os.exec`.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_MOST = 20  # names of one cell
_OURS = str(Path(__file__).parents[2])

_seen: dict[int, dict[str, None]] = {}
# Event -> the command in its arguments. https://docs.python.org/3/library/audit_events.html
_EVENTS: Mapping[str, Callable[[Any], object]] = {
    "subprocess.Popen": lambda args: args[1] or args[0],
    "os.system": lambda args: args[0],
    "os.exec": lambda args: args[0],
    "os.posix_spawn": lambda args: args[0],
    "os.spawn": lambda args: args[1],
    "os.startfile": lambda args: args[0],
    "pty.spawn": lambda args: args[0],
}


@cache
def watch() -> None:
    """See what this process starts from here on."""
    sys.addaudithook(_on_event)


def seen() -> dict[int, list[str]]:
    """Number of the cell -> the programs that it started, in order, each once."""
    return {number: list(names) for number, names in _seen.items()}


def _on_event(event: str, args: Any) -> None:  # noqa: ANN401 - each event has its own
    command = _EVENTS.get(event)
    if command is not None and not _is_a_librarys(_caller()):
        cell = len(sys.modules["IPython"].get_ipython().history_manager.input_hist_raw) - 1
        names = _seen.setdefault(cell, {})
        if len(names) < _MOST:
            names[_name(command(args))] = None


def _caller() -> str:
    """The file of the code that asked for a program: the first that is not of the modules that start them."""
    frame = sys._getframe(2)  # noqa: SLF001 - `inspect` reads source files
    while frame.f_back is not None and frame.f_globals.get("__name__") in {"subprocess", "os", "pty", "asyncio"}:
        frame = frame.f_back
    return frame.f_code.co_filename


@cache
def _is_a_librarys(file: str) -> bool:
    paths = sysconfig.get_paths()
    above = (_OURS, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths))
    return file.startswith(("<frozen", *(f"{folder}{os.sep}" for folder in above))) or "site-packages" in file


def _name(command: object) -> str:
    """A program's name.

    Example:
        >>> _name(["/bin/sh", "-c", "git status"]), _name("pip install x"), _name(Path("/usr/bin/ls"))
        ('git', 'pip', 'ls')
    """
    if isinstance(command, str | bytes | os.PathLike):
        words = _words(os.fsdecode(command))
    else:
        given = command if isinstance(command, list | tuple) else ()
        words = [os.fsdecode(word) for word in given if isinstance(word, str | bytes | os.PathLike)]
    if words[1:2] == ["-c"] and words[2:] and Path(words[0]).name in {"sh", "bash"}:
        words = _words(words[2])
    return Path(words[0]).name if words else "?"


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
