"""What a notebook can read beside itself: its project, and what of it is copied for a run."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase, translate
from pathlib import Path

from repro_magic.exceptions import NotRunnableError

SCRATCH = "repro-magic-"
# Of a project with more bytes than `LIMIT` a part is copied; a file of `_LARGE_FILE` is weighed alone.
LIMIT, _LARGE_FILE, _MOST_FILES, _MOST_IN_ALL = 2 << 30, 64 << 20, 200_000, 1_000_000
_MARKERS = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements.txt",
    "environment.yml",
    "environment.yaml",
    "Pipfile",
    "pixi.toml",
    "uv.lock",
)
# Environments and caches: large, and no notebook reads them. `include` brings them back.
_LEFT_BEHIND = re.compile(
    "|".join(
        map(
            translate,
            (
                ".git",
                ".venv*",
                "venv",
                "node_modules",
                "__pycache__",
                ".ipynb_checkpoints",
                ".*_cache",
                "*.egg-info",
                ".hypothesis",
                ".tox",
                ".nox",
            ),
        )
    )
)
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_PATIENCE = 20  # seconds, for git
_MOST_TOLD = 4
_OFTEN = 1000  # files
_INCLUDED = "+"  # the name of the part that patterns name


@dataclass(frozen=True)
class Scope:
    """What is copied for a notebook.

    Attributes:
        root: the folder; None finds the project's: see `root_of`.
        include: patterns of paths below it, such as `data/raw` or `*.npz`, that are copied whatever their size.
    """

    root: Path | None = None
    include: tuple[str, ...] = ()


WHOLE = Scope()


@dataclass(frozen=True)
class LeftOut:
    """A part of the project that is not copied: where it lies below the root, and how large it is at least."""

    place: str
    size: int
    is_cut: bool = False

    def __str__(self) -> str:
        """The place and its size, for a list."""
        return f"{self.place} ({'more than ' if self.is_cut else ''}{in_bytes(self.size)})"


@dataclass(frozen=True)
class Contents:
    """What is copied for a notebook, by its place below the root; `/` separates folders.

    Attributes:
        root: the folder that is copied.
        own: the place of the notebook's folder.
        folders: places, each after the folder that it lies in.
        files: place -> the file that is copied there.
        links: place -> the place that the link there leads to.
        size: the bytes of all files.
        left_out: what is not copied because of its size, the largest first.
    """

    root: Path
    own: str
    folders: Sequence[str] = ()
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    size: int = 0
    left_out: Sequence[LeftOut] = ()

    @property
    def count(self) -> int:
        """How many files are copied."""
        return len(self.files)


def in_bytes(size: int) -> str:
    """A size for people.

    Example:
        >>> in_bytes(3 << 30), in_bytes(1200)
        ('3.0 GiB', '1.2 KiB')
    """
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - which the units are made of
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{size:.1f} GiB"


def root_of(notebook: Path) -> Path:
    """The folder of the project that a notebook belongs to.

    The top of its git work tree; else the nearest folder above it with a `pyproject.toml`, `requirements.txt` or the
    like; else its own. Never a home folder, a folder of temporary files, what lies above these, or another file system.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     project = Path(folder).resolve() / "project"
        ...     (project / "notebooks").mkdir(parents=True)
        ...     (project / "pyproject.toml").touch()
        ...     root_of(project / "notebooks" / "study.ipynb") == project
        True
    """
    own = notebook.absolute().parent.resolve()  # as front ends do: a link to a notebook runs where it lies
    above = list(_above(own))
    for names in ((".git",), _MARKERS):
        found = next((folder for folder in above if any((folder / name).exists() for name in names)), None)
        if found is not None:
            return found
    return own


def _above(own: Path) -> Iterator[Path]:
    """The notebook's folder and those above it that may be a project."""
    too_high = {Path.home().resolve(), Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")}  # noqa: S108
    device = own.stat().st_dev
    for folder in (own, *own.parents):
        if any(one.is_relative_to(folder) for one in too_high) or folder.stat().st_dev != device:
            return
        yield folder


def survey(
    notebook: Path,
    scope: Scope = WHOLE,
    limit: int | None = LIMIT,
    counted: Callable[[int], object] = lambda _count: None,
) -> Contents:
    """Look at a project, and decide what of it is copied.

    All of it, up to `limit`. Of a larger one the folder of the notebook comes first, then the rest, and last what git
    ignores; smaller parts before larger ones, and each folder as a whole, for half of a data set gives other results.

    Args:
        notebook: its file.
        scope: what is to be copied.
        limit: bytes; None copies all.
        counted: called now and then with the number of files that were seen.

    Raises:
        NotRunnableError: the root does not hold the notebook, or cannot be read.
    """
    own = notebook.absolute().parent.resolve()  # as front ends do: a link to a notebook runs where it lies
    root = root_of(notebook) if scope.root is None else scope.root.resolve()
    if not own.is_relative_to(root):
        raise NotRunnableError(f"{notebook} does not lie in {root}: give a root that holds the notebook")
    if not os.access(root, os.R_OK | os.X_OK):
        raise NotRunnableError(f"{root} cannot be copied: you may not read it")
    return _Survey(root, own, scope.include, limit, counted).contents()


@dataclass
class _Unit:
    """A part of a project that is copied as a whole, or not at all."""

    rank: int
    size: int = 0
    files: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False


@dataclass(frozen=True)
class _Place:
    """A folder that is to be looked at: where it is, its place in the copy, and whether a pattern includes it."""

    source: str
    place: str
    is_included: bool


class _Survey:
    """One look at a project. What links lead to outside of it is looked at as if it lay in the link's place."""

    def __init__(
        self, root: Path, own: Path, include: Sequence[str], limit: int | None, counted: Callable[[int], object]
    ) -> None:
        self._root, self._limit, self._counted = root, limit, counted
        self._include = {pattern: pattern.removeprefix("./").rstrip("/") for pattern in include}
        self._own = own.relative_to(root).parts
        self._units: dict[str, _Unit] = {}
        self._folders: list[str] = []
        self._links: dict[str, str] = {}  # place -> the real path that it leads to
        self._real = {str(root): ""}  # real path of a folder -> its place
        self._todo = [_Place(str(root), "", is_included=False)]
        self._seen = 0
        self._matched: set[str] = set()

    def contents(self) -> Contents:
        while self._todo:
            self._look_into(self._todo.pop())
        missing = [pattern for pattern in self._include if pattern not in self._matched]
        if missing:
            raise NotRunnableError(f"nothing in {self._root} matches {missing[0]!r}: --include takes paths below it")
        taken, rest = self._weighed()
        files = {place: source for name in taken for place, source in self._units[name].files.items()}
        folders = self._made(files, rest)
        left_out = [LeftOut(name, self._units[name].size, self._units[name].is_cut) for name in rest]
        return Contents(
            self._root,
            "/".join(self._own),
            sorted(folders),
            files,
            dict(self._rewritten(folders, files)),
            sum(self._units[name].size for name in taken),
            sorted(left_out, key=lambda one: -one.size),
        )

    def _look_into(self, folder: _Place) -> None:
        subtree = self._units.get(self._unit(folder.place, is_included=folder.is_included))
        try:
            entries = sorted(os.scandir(folder.source), key=lambda entry: entry.name)
        except OSError:  # it vanished, or nobody here may read it
            return
        if self._is_environment(folder, entries) or (subtree is not None and subtree.is_cut):
            return
        if folder.place:
            self._folders.append(folder.place)
        for entry in entries:
            place = f"{folder.place}/{entry.name}".lstrip("/")
            is_included = folder.is_included or self._is_included(place)
            if is_included or not self._stays_behind(folder, entry):
                self._take(entry, place, is_included=is_included)

    @staticmethod
    def _is_environment(folder: _Place, entries: Sequence[os.DirEntry[str]]) -> bool:
        may_be = folder.place and not folder.is_included
        return bool(may_be) and any(entry.name in _ENVIRONMENT for entry in entries)

    def _is_included(self, place: str) -> bool:
        found = {pattern for pattern, path in self._include.items() if _matches(place, path)}
        self._matched |= found
        return bool(found)

    @staticmethod
    def _stays_behind(folder: _Place, entry: os.DirEntry[str]) -> bool:
        is_ours = entry.name.startswith(SCRATCH) and Path(folder.source) == Path(tempfile.gettempdir()).resolve()
        return is_ours or _LEFT_BEHIND.match(entry.name) is not None

    def _take(self, entry: os.DirEntry[str], place: str, *, is_included: bool) -> None:
        try:
            if entry.is_symlink():
                self._follow(os.path.realpath(entry.path), place, is_included=is_included)
            elif os.access(entry.path, os.R_OK):
                self._add(entry.path, entry.stat(follow_symlinks=False), place, is_included=is_included)
        except OSError:  # it vanished meanwhile, or leads nowhere
            return

    def _follow(self, real: str, place: str, *, is_included: bool) -> None:
        """A link: one into the copy if what it leads to is in it; else that comes in its place."""
        found = os.stat(real)  # noqa: PTH116 - a path as text, as all here
        if self._place_of(real) is not None:
            self._links[place] = real
        elif not self._root.is_relative_to(real) and os.access(real, os.R_OK):
            self._add(real, found, place, is_included=is_included)

    def _place_of(self, real: str) -> str | None:
        """Where in the copy a path lies, if it is in a folder that is looked at."""
        folder = next((one for one in (real, *map(str, Path(real).parents)) if one in self._real), None)
        if folder is None:
            return None
        return "/".join(part for part in (self._real[folder], *Path(real).relative_to(folder).parts) if part)

    def _add(self, path: str, found: os.stat_result, place: str, *, is_included: bool) -> None:
        if stat.S_ISDIR(found.st_mode):
            self._real.setdefault(path, place)
            self._todo.append(_Place(path, place, is_included))
        elif stat.S_ISREG(found.st_mode):  # a pipe, a socket or a device is none of the notebook's
            self._count()
            name = self._unit(place.rpartition("/")[0], is_included=is_included)
            if name.endswith("*") and found.st_size >= _LARGE_FILE:
                name = place
            self._weigh(self._units.setdefault(name, _Unit(self._rank(name))), path, found.st_size, place)

    def _weigh(self, unit: _Unit, path: str, size: int, place: str) -> None:
        unit.size += size
        unit.files[place] = path
        is_heavy = self._limit is not None and unit.size > self._limit
        is_many = len(unit.files) > _MOST_FILES or self._seen > _MOST_IN_ALL
        unit.is_cut = unit.rank > 0 and (is_heavy or is_many)

    def _count(self) -> None:
        self._seen += 1
        if self._seen % _OFTEN == 0:
            self._counted(self._seen)

    def _unit(self, folder: str, *, is_included: bool) -> str:
        """The part that files of a folder belong to: two folders below the root, or below the notebook's folder."""
        if is_included:
            return _INCLUDED
        parts = tuple(folder.split("/")) if folder else ()
        depth = len(self._own) if parts[: len(self._own)] == self._own else 0
        return "/".join(parts[: depth + 2] if len(parts) >= depth + 2 else (*parts, "*"))

    def _rank(self, name: str) -> int:
        """Files beside the notebook and those that a pattern includes come first, then what else lies below it."""
        own = "/".join((*self._own, ""))
        return 0 if name in {_INCLUDED, f"{own}*"} else 1 if name.startswith(own) else 2

    def _weighed(self) -> tuple[list[str], list[str]]:
        """The parts that are copied, and those that are not."""
        units, limit = self._units, self._limit
        if not any(unit.is_cut for unit in units.values()) and (limit is None or self._size() <= limit):
            return list(units), []
        ignored, taken, used = _ignored(self._root), [], 0
        for name in sorted(units, key=lambda name: (units[name].rank, _lies_in(name, ignored), units[name].size)):
            fits = not units[name].is_cut and (limit is None or used + units[name].size <= limit)
            if units[name].rank == 0 or fits:
                taken.append(name)
                used += 0 if name == _INCLUDED else units[name].size
        return taken, [name for name in units if name not in taken]

    def _size(self) -> int:
        return sum(unit.size for unit in self._units.values())

    def _made(self, files: Mapping[str, str], rest: Sequence[str]) -> set[str]:
        """The folders of the copy. One whose files are all left out is not there: it would pass for an empty one."""
        needed = {parent for place in (*files, f"{'/'.join((*self._own, ''))}*") for parent in _parents(place)}
        lacking = {parent for name in rest for parent in (name, *_parents(name))}
        return needed | {folder for folder in self._folders if not lacking & {folder, *_parents(folder)}}

    def _rewritten(self, folders: Collection[str], files: Collection[str]) -> Iterator[tuple[str, str]]:
        for place, real in self._links.items():
            target = self._place_of(real)
            is_held = target == "" or target in folders or target in files
            if target is not None and is_held and set(_parents(place)) <= set(folders):
                yield place, target


def _matches(place: str, pattern: str) -> bool:
    """Whether a pattern names a place: one without `/` any file or folder of that name, as git takes it.

    Example:
        >>> _matches("data/a.npz", "*.npz"), _matches("data/raw/a.npz", "data/*.npz")
        (True, False)
    """
    parts, patterns = place.split("/"), pattern.split("/")
    if len(patterns) == 1:
        return fnmatchcase(parts[-1], pattern)
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _parents(place: str) -> Iterator[str]:
    """The places of the folders above a place, but for the root's.

    Example:
        >>> list(_parents("data/raw/x.csv"))
        ['data/raw', 'data']
    """
    while "/" in place:
        place = place.rpartition("/")[0]
        yield place


def _lies_in(name: str, folders: Sequence[str]) -> bool:
    place = f"{name.removesuffix('*').rstrip('/')}/"
    return any(place.startswith(f"{one.rstrip('/')}/") for one in folders)


def _ignored(root: Path) -> list[str]:
    """The folders and files that git ignores, as places; none where there is no git."""
    # No program that the repository's own configuration names is run, and none that a hook of git's points to.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(root), "ls-files"]
    options = ["--others", "--ignored", "--exclude-standard", "--directory", "-z"]
    variables = {
        name: value for name, value in os.environ.items() if not re.fullmatch(r"GIT_(DIR|WORK_TREE|INDEX_FILE)", name)
    }
    try:
        done = subprocess.run([*command, *options], capture_output=True, timeout=_PATIENCE, check=False, env=variables)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [os.fsdecode(one) for one in done.stdout.split(b"\0") if one] if done.returncode == 0 else []


def not_copied(contents: Contents) -> str:
    """One sentence on what is left out; empty if nothing is."""
    if not contents.left_out:
        return ""
    named = ", ".join(map(str, contents.left_out[:_MOST_TOLD]))
    more = len(contents.left_out) - _MOST_TOLD
    return (
        f"{contents.root} is too large to be copied whole; left out: {named}{f' and {more} more' if more > 0 else ''}; "
        f"--include {shlex.quote(contents.left_out[0].place)} copies it"
    )


_MISSING_FILE = re.compile("FileNotFoundError|NotADirectoryError|No such file|not found|does not exist", re.IGNORECASE)
_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


def advice(contents: Contents, error: str) -> str:
    """What to type if a cell failed because something was not copied; empty if that is not why.

    Args:
        contents: what was copied.
        error: the cell's, as `Name: text`.
    """
    missing = _missing(contents, error)
    if missing is None:
        return ""
    if missing.is_relative_to(contents.root):
        place = missing.relative_to(contents.root).as_posix()
        part = next(
            (one.place for one in contents.left_out if f"{place}/".startswith(f"{one.place.rstrip('*')}/")), place
        )
        return f"{place} was not copied for the run: --include {shlex.quote(part)} copies it"
    common = os.path.commonpath([missing.parent, contents.root])
    option = f"--root {shlex.quote(common)}"
    return f"{missing} lies outside of {contents.root}, which was copied for the run: {option} copies both"


def _missing(contents: Contents, error: str) -> Path | None:
    """The file or folder of the user's that an error says is missing in the copy."""
    own = contents.root / contents.own
    module = _MISSING_MODULE.search(error)
    if module is not None:
        top = module[1].partition(".")[0]
        names = (f"{top}.py", top)
        places = (folder / name for folder in (own, *own.parents[:_MOST_TOLD]) for name in names)
        return next((place for place in places if place.exists()), None)
    if not _MISSING_FILE.search(error):
        return None
    for text in re.findall(r"'([^'\n]+)'|\"([^\"\n]+)\"|(\S+) not found", error):
        path = Path(os.path.normpath(own / _original(contents, "".join(text))))
        if os.path.lexists(path) and path != own and not _is_copied(contents, path):
            return path
    return None


def _is_copied(contents: Contents, path: Path) -> bool:
    return path.is_relative_to(contents.root) and path.relative_to(contents.root).as_posix() in contents.files


def _original(contents: Contents, path: str) -> str:
    """A path in a copy as the one that it was copied from."""
    copied = re.match(rf".*/{SCRATCH}[^/]+/copy/{re.escape(contents.root.name)}(?:/|$)(.*)", path)
    return path if copied is None else str(contents.root / copied[1])
