"""Find the line of the user's code, in a cell or a script, that led to a call."""

from __future__ import annotations

import functools
import itertools
import linecache
import site
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, TracebackType

from repro_magic.introspection.comments import accepted_in
from repro_magic.runtime.patching import is_swapped_in

# Pseudo file names of typed code; libraries generate code under other names (<string>, <frozen …>, <fx …>).
_TYPED = ("<ipython-input", "<stdin", "<doctest", "<deterministic>", "<timed ", "<magic-timeit>")
_OURS = (
    *("repro_magic.ops.", "repro_magic.unseeded.", "repro_magic.runtime.", "repro_magic.rng.entropy"),
    *("repro_magic.dataloading.registry", "repro_magic.dataloading.workers"),
)
# IPython 8 names a cell's code "<cell line: 1>".
_TOP_LEVEL = ("<module>", "<cell line")


@dataclass(frozen=True)
class Place:
    """A call in the user's code.

    Attributes:
        file: the code's file name; cells have file names, too.
        line: the line where the call begins, from 1.
        end_line: the line where it ends.
    """

    file: str
    line: int
    end_line: int = field(compare=False)

    @property
    def text(self) -> str:
        """The line, without indentation; empty if the source is unavailable.

        Example:
            >>> Place("no such file", 1, 1).text
            ''
        """
        linecache.checkcache(self.file)  # a helper module may have been edited and reloaded
        return linecache.getline(self.file, self.line).strip()

    @property
    def accepted(self) -> frozenset[str]:
        """The ops in comments `# repro: accept OP[, OP]` on the lines of the call."""
        linecache.checkcache(self.file)
        return accepted_in("".join(linecache.getlines(self.file)), self.line, self.end_line)


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[1])]
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__:  # it may be a source checkout elsewhere
        paths.append(str(Path(torch.__file__).parent))
    return tuple(f"{path}/" for path in dict.fromkeys(paths) if path)


class _Owners(dict[str, bool]):
    """File name -> whether the code is the user's; cached, because every walk up the frames asks for each frame."""

    def __missing__(self, file: str) -> bool:
        if file.startswith("<"):
            is_users_code = file.startswith(_TYPED)
        else:
            path = file.replace("\\", "/")
            # The script of a command such as `jupyter` or `pytest` has no suffix.
            is_command = path.startswith(f"{sysconfig.get_path('scripts')}/") and not path.endswith(".py")
            is_users_code = not is_command and not path.startswith(_library_folders())
        self[file] = is_users_code
        return is_users_code


_is_users = _Owners()


def is_users(file: str) -> bool:
    """Whether code of this file name is the user's own.

    Example:
        >>> is_users("<ipython-input-1-abc>"), is_users("<frozen importlib>"), is_users(linecache.__file__)
        (True, False, False)
    """
    return _is_users[file]


def drop_own_frames(step: TracebackType | None) -> None:
    """Remove our own frames from a traceback: the user's call failed, not ours.

    Example:
        >>> drop_own_frames(None)
    """
    while step is not None:
        while step.tb_next is not None and _is_own(step.tb_next.tb_frame):
            step.tb_next = step.tb_next.tb_next
        step = step.tb_next


def _is_own(frame: FrameType) -> bool:
    return is_swapped_in(frame.f_code) or str(frame.f_globals.get("__name__")).startswith(_OURS)


class Site:
    """Where a call came from, recorded cheaply: code objects and instructions, resolved to lines on demand."""

    __slots__ = ("_inner", "_inner_at", "_outer", "_outer_at")

    def __init__(self, inner: CodeType | None, inner_at: int, outer: CodeType | None, outer_at: int) -> None:
        """Take the innermost and the outermost code of the user, each with its instruction."""
        self._inner, self._inner_at, self._outer, self._outer_at = inner, inner_at, outer, outer_at

    @property
    def place(self) -> Place | None:
        """The innermost place in the user's code; None if there is none."""
        return _place(self._inner, self._inner_at)

    @property
    def called_from(self) -> Place | None:
        """The outermost place in the user's code, such as the cell's own line; None if it equals `place`."""
        outer = _place(self._outer, self._outer_at)
        return None if outer == self.place else outer


def _place(code: CodeType | None, instruction: int) -> Place | None:
    if code is None:
        return None
    position = next(itertools.islice(code.co_positions(), instruction // 2, None), (None, None))
    line = position[0] or code.co_firstlineno
    return Place(code.co_filename, line, max(line, position[1] or line))


Caller = tuple[CodeType | None, int, CodeType | None, int]
NOBODY: Caller = (None, 0, None, 0)


def caller_of(frame: FrameType | None) -> Caller:
    """The arguments of a `Site`: the user's code that called `frame`, from the innermost to the module or cell.

    Example:
        >>> caller_of(None) == NOBODY
        True
    """
    inner = outer = None
    while frame is not None:
        code = frame.f_code
        if _is_users[code.co_filename]:
            if inner is None:
                inner = frame
            outer = frame
            if code.co_name[0] == "<" and code.co_name.startswith(_TOP_LEVEL):
                break
        frame = frame.f_back
    if inner is None or outer is None:
        return NOBODY
    return inner.f_code, inner.f_lasti, outer.f_code, outer.f_lasti


def accepts(site: Site, *names: str) -> bool:
    """Whether a comment on the line, or on the cell's line that led to it, accepts one of the op's names."""
    accepted = frozenset().union(*(place.accepted for place in (site.place, site.called_from) if place is not None))
    return any(name in accepted or name.rpartition(".")[2] in accepted for name in names)


def site_of(frame: FrameType | None) -> Site:
    """The site that `frame` was called from."""
    return Site(*caller_of(frame))
