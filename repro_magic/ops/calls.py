"""What a line of the user's calls at this moment, read from its source: nothing is evaluated."""

from __future__ import annotations

import ast
import functools
import linecache
from types import CodeType, FrameType, ModuleType
from typing import Any


@functools.lru_cache(maxsize=512)
def call_at(code: CodeType, instruction: int) -> ast.Call | None:
    """The call at an instruction, from its source; None where that is not to be had."""
    positions = list(code.co_positions())
    row, last, column, end = positions[instruction // 2] if instruction >= 0 else (None,) * 4
    if row is None or last is None or column is None or end is None:
        return None
    linecache.checkcache(code.co_filename)
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(row, last + 1)]
    if not lines or not all(lines):
        return None
    lines[-1] = lines[-1][:end]  # first the end: it may be the same line
    lines[0] = lines[0][column:]
    try:
        found = ast.parse(b"(" + b"".join(lines) + b"\n)", mode="eval").body
    except SyntaxError:
        return None
    return found if isinstance(found, ast.Call) else None


def called_by(frame: FrameType) -> str:
    """What the frame calls just now: the function's own name where that can be looked up, else as it is written."""
    call = call_at(frame.f_code, frame.f_lasti)
    if call is None:
        return ""
    written = ast.unparse(call.func)
    found = value_of(written, frame)
    name = getattr(found, "__name__", None) if isinstance(call.func, ast.Name) else None
    return name if isinstance(name, str) else written


def value_of(name: str, frame: FrameType) -> Any:  # noqa: ANN401 - whatever the name holds
    """What a plain or dotted name holds; dots are followed in modules and plain attributes only: nothing runs."""
    first, *rest = name.split(".")
    value = frame.f_locals.get(first, frame.f_globals.get(first))
    for part in rest:
        value = vars(value).get(part) if isinstance(value, ModuleType) else getattr(value, "__dict__", {}).get(part)
    return value
