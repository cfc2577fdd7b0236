"""What a runner asks the kernel between two cells: the digests of what the notebook's names hold.

Only what changed is told, so that a notebook of a thousand cells and names is not told a thousand times over.
"""

from __future__ import annotations

import json
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from repro_magic.introspection.cell_names import own_names
from repro_magic.introspection.foreign import Shield, is_any, kind_of
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.digest.model import Digest, Gap
from repro_magic.proof.digest.object_parts import held_by_code, is_code
from repro_magic.proof.digest.torch_modules import parameters
from repro_magic.proof.kernel.reading import Reading
from repro_magic.proof.kernel.written_files import Files, content
from repro_magic.proof.text.noise import PLACES, normalised
from repro_magic.runtime.interrupts import is_users

# A name that is bound to the same object of these still has the same value.
_FIXED = (type(None), bool, int, float, complex, str, bytes)

# The control channel's message that asks how often the main loop has turned.
TURNS = "repro_magic_turns_request"

# What the names of files begin with. No name of Python's has a space.
_FILE = "file "

# So many characters of a text are searched for temporary paths.
_LONGEST = 10_000

_told: dict[str, dict[str, Any]] = {}
_fixed: dict[str, object] = {}
_exits: list[str] = []


def described(found: Digest) -> dict[str, Any]:
    """A digest as it is written down."""
    return {
        "hex": found.hex,
        "kind": found.kind,
        "dtype": found.dtype,
        "shape": None if found.shape is None else list(found.shape),
        "gaps": [[gap.path, gap.kind, gap.why] for gap in found.gaps],
        **({"own": found.own} if found.own else {}),
    }


def users_names() -> list[tuple[str, object]]:
    """What is compared: the notebook's names with what they hold.

    Code is compared as the text of its cell. What it holds besides has names of its own, such as `counter.__closure__`;
    and so have gradients, which are no part of a tensor's or model's value, but what a backward pass leaves:
    `model.grad`.
    """
    names = list(own_names(sys.modules["IPython"].get_ipython()).items())
    beside = [
        (f"{name}.{part}", found)
        for name, value in names
        for part, found in {**held_by_code(value), "grad": gradients(value)}.items()
        if found
    ]
    return [*((name, value) for name, value in names if not is_code(value)), *beside]


def gradients(value: object) -> dict[str, object]:
    """What a backward pass left at a tensor, or at a model's parameters."""
    torch = sys.modules.get("torch")
    nn = getattr(torch, "nn", None)
    if torch is None or nn is None:
        return {}
    kind = type(value)
    with Shield():
        if issubclass(kind, torch.Tensor):
            with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - a subclass must not feel it
                return {"": value.grad} if value.is_leaf and value.grad is not None else {}  # type: ignore[attr-defined]
        held = parameters(value).items() if issubclass(kind, nn.Module) else ()
        return {name: part.grad for name, part in held if part.grad is not None}
    return {}


def looked_at(value: object) -> dict[str, Any]:
    """A value's digest as it is written down; what cannot be looked at is a gap, whatever it does."""
    try:
        return {**described(digest(value)), **_without_places(value)}
    except BaseException as error:
        if is_users(error):
            raise
        kind = kind_of(value)
        return described(Digest("0" * 64, kind, gaps=(Gap("", kind, f"looking at it failed: {type(error).__name__}"),)))


def _without_places(value: object) -> dict[str, str]:
    """For a text or path that holds a temporary path: its digest without."""
    is_text = type(value) is str or kind_of(value).startswith("pathlib.")
    text = str(value) if is_text else ""
    clean = normalised(text[:_LONGEST], PLACES)
    return {} if clean == text[:_LONGEST] else {"without_places": digest(clean + text[_LONGEST:]).hex}


def held() -> dict[str, dict[str, Any]]:
    """Name -> its digest and what it is, of all of the notebook's names."""
    return {name: looked_at(value) for name, value in users_names()}


def values(  # noqa: PLR0913 - as a runner asks
    spool: str = "",
    cell: int = 0,
    rtol: float = 0.0,
    ulp: int = 0,
    follows: str | None = None,
    *,
    is_last: bool = True,
) -> str:
    """What changed since it was asked last, as JSON: the digests of names, and the names that are gone.

    It is doubtful if some of it may have changed before.

    Args:
        spool: a folder in which the first run keeps the numbers that later runs are measured against; empty: nothing
            is kept or measured.
        cell: which cell has just run.
        rtol: see `Tolerance`.
        ulp: see `Tolerance`.
        follows: the source of the next cell: with it, bytes that neither cell can reach are not read again; None: all
            are read.
        is_last: whether no cell follows.
    """
    _answer_turns()
    _outlive_exit()
    present = users_names()
    changed = {}
    found = _reading().after(cell, _loose(present), follows)
    for name, value in present:
        if name not in found:
            continue
        _fixed.pop(name, None)
        if is_any(type(value), *_FIXED):
            _fixed[name] = value
        if _told.get(name) != found[name]:
            _told[name] = changed[name] = found[name]
    written, removed = _files_after(is_last=is_last)
    for name, told, _ in written:
        if _told.get(name) != told:
            _told[name] = changed[name] = told
    names = {name for name, _ in present}
    gone = [name for name in _told if (name in removed if name.startswith(_FILE) else name not in names)]
    for name in gone:
        del _told[name]
        _fixed.pop(name, None)
    if spool:
        from repro_magic.proof.kernel.reference import compare_numbers  # noqa: PLC0415 - a receipt measures nothing

        loaded = {name: value for name, _, value in written}
        with _reading().remembered():
            compare_numbers(dict(present) | loaded, changed, Path(spool), cell, rtol=rtol, ulp=ulp)
    told = {"changed": changed, "gone": gone, "displayed": _displayed(), "is_doubtful": _reading().is_doubtful}
    return json.dumps({**told, "ends": _exits.pop() if _exits else ""})


def _files_after(*, is_last: bool) -> tuple[list[tuple[str, dict[str, Any], object]], set[str]]:
    """The files that a cell wrote, with what is told of each and its value, and the names of those that it removed."""
    files = _files()
    written, removed = files.changed(is_last=is_last)
    found = [(f"{_FILE}{path}", *content(files.folder / path, looked_at)) for path in written]
    told = [(name, described(one) if isinstance(one, Digest) else one, value) for name, one, value in found]
    return told, {f"{_FILE}{path}" for path in removed}


@cache
def _files() -> Files:
    return Files(Path.cwd())


def check(cell: int) -> str:
    """Whether a value changed after an earlier cell than was told, as JSON, after the last cell."""
    return json.dumps({"is_doubtful": not _reading().check(cell, _loose(users_names()))})


def _loose(names: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Those that do not hold the same immutable object as the last time."""
    return [(name, value) for name, value in names if not (name in _fixed and _fixed[name] is value)]


@cache
def _reading() -> Reading:
    return Reading(looked_at)


def _outlive_exit() -> None:
    """Note a cell's `exit()` from now on: what it leaves is compared before the kernel ends."""
    shell = sys.modules["IPython"].get_ipython()
    shell.ask_exit = partial(_note_exit, shell)


def _note_exit(shell: Any) -> None:  # noqa: ANN401 - IPython's
    if not getattr(shell, "keepkernel_on_exit", None):
        _exits.append("exit()")


def _answer_turns() -> None:
    """Answer `TURNS` from now on, so that a runner can tell a busy kernel from one that lost a request."""
    kernel = sys.modules["IPython"].get_ipython().kernel
    kernel.control_handlers.setdefault(TURNS, partial(_tell_turns, kernel, []))


def _tell_turns(kernel: Any, turns: list[None], stream: Any, ident: Any, parent: Any) -> None:  # noqa: ANN401 - ipykernel's
    kernel.io_loop.add_callback(turns.append, None)  # this is the control channel's thread
    kernel.session.send(stream, TURNS.replace("request", "reply"), {"turns": len(turns)}, parent, ident=ident)


def _displayed() -> dict[str, Any] | None:
    """What the cell displayed as its result, as it is written down; None if it displayed none."""
    shell = sys.modules["IPython"].get_ipython()
    results, number = shell.user_ns.get("_oh"), shell.execution_count - 1
    return looked_at(results[number]) if type(results) is dict and number in results else None


def programs() -> str:
    """The programs that the notebook's own code started, by cell, as JSON; they are seen from the first call on."""
    from repro_magic.proof.kernel.programs import seen, watch  # noqa: PLC0415 - never in a user's own session

    watch()
    return json.dumps(seen())


def environment() -> str:
    """This process's environment, as JSON."""
    from repro_magic.proof.environment import environment as found  # noqa: PLC0415 - only when it is asked for

    return json.dumps(found())
