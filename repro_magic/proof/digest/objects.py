"""How objects and code are digested: objects by their attributes, code by its name and the data it holds."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from repro_magic.introspection.foreign import (
    NOTEBOOK,
    attributes,
    is_any,
    is_notebooks,
    kind_of,
    module_of,
    mro_of,
    name_of,
)
from repro_magic.proof.digest.object_parts import (
    Fields,
    global_name,
    held_by_code,
    holds_more,
    is_code,
    is_handle,
    known_parts,
    no_result,
)
from repro_magic.proof.digest.parts import Missing, Own, Parts, all_attributes, named, several
from repro_magic.proof.digest.torch_modules import is_data
from repro_magic.proof.digest.walk import Visitor, Walk
from repro_magic.proof.text.noise import PLACES, normalised

# Longer strings are not paths, and take long to search.
_LONGEST_PATH = 10_000


def visitor_of_objects(kind: type) -> Visitor:
    """The visitor for objects of a class without a row in the table of visitors."""
    known = known_parts(kind)
    if known is not None:
        return _by_known_parts(known)
    if is_handle(kind):
        return _handle
    library_base = next((base for base in mro_of(kind) if not is_notebooks(base)), object)
    is_unknown, result = holds_more(kind), _results_of(kind)

    def by_attributes(walk: Walk, value: Any) -> bytes | Parts:
        fields = all_attributes(value)
        if is_unknown and library_base is kind and not fields:
            return walk.gap(value, "this kind of object is not known")
        if is_unknown:
            walk.gap(value, f"what its base {name_of(library_base).rpartition('.')[2]} holds is not known")
        return named(kind_of(value), {name: result(walk, name, part) for name, part in fields.items()})

    return by_attributes


def _handle(walk: Walk, value: Any) -> bytes | Parts:
    name = global_name(value)
    return named(kind_of(value), {"name": name}) if name else walk.gap(value, "it is a handle")


def _by_known_parts(known: Callable[[Any], Fields | None]) -> Visitor:
    """The visitor for a well-known class; for subclasses in the notebook, attributes count, too."""

    def by_parts(walk: Walk, value: Any) -> bytes | Parts:
        fields = known(value)
        if fields is None:
            return walk.gap(value, "this kind of object is not known")
        return named(kind_of(value), {**all_attributes(value), **fields} if is_notebooks(type(value)) else fields)

    return by_parts


def _results_of(kind: type) -> Callable[[Walk, object, object], object]:
    """A function that decides which attributes of a class are results.

    All attributes of the notebook's classes are. Libraries also store caches and times, recognised by their names.
    """
    if not is_notebooks(kind):
        return _result_of_library
    if all(module_of(base) in {NOTEBOOK, "builtins", "abc", "typing"} for base in mro_of(kind)):
        return lambda _walk, _name, part: part
    return lambda walk, name, part: _result(walk, name, part) if type(name) is str and name[:1] == "_" else part


def _result(walk: Walk, name: object, part: object) -> object:
    why = no_result(name, part)
    if why is not None:
        return Missing(kind_of(part), why)
    if walk.is_global(part):
        return several("global generator", kind_of(part))
    return _without_folders(part)


def _result_of_library(walk: Walk, name: object, part: object) -> object:
    result = _result(walk, name, part)
    if result is not part or type(name) is not str or name[:1] != "_":
        return result
    return Own(part) if is_data(part) else Parts("", [("", part)], is_own=True)


def _without_folders(part: object) -> object:
    """A string or path without the folder that the notebook runs in."""
    if type(part) is not str and not issubclass(type(part), pathlib.PurePath):
        return part
    text = str(part)
    if len(text) > _LONGEST_PATH:
        return part
    return normalised(text.replace(str(pathlib.Path.cwd()), "[folder]"), PLACES)


def report(_walk: Walk, value: Any) -> Parts:
    """A report of this package: its scope and the flagged ops, without counts, which depend on the machine's speed."""
    findings = sorted(
        {(finding.op, finding.status.value, finding.device, finding.direction.value) for finding in value.findings}
    )
    scope = {name: getattr(value, name, None) for name in ("seed", "strict", "name")}
    return named(kind_of(value), {**scope, "findings": findings})


def code(_walk: Walk, value: Any) -> Parts:
    """Code, by its name and the data it holds. Its text is compared with its cell, or by its library's version."""
    fields = {**_qualified_name(value), **held_by_code(value)}
    if type(value) is FunctionType and value.__module__ == NOTEBOOK:  # two lambdas have the same name
        compiled = value.__code__
        constants = sorted(repr(constant) for constant in compiled.co_consts if _is_constant(constant))
        fields |= {"line": compiled.co_firstlineno, "names": sorted(compiled.co_names), "constants": constants}
    return named(kind_of(value), {name: part for name, part in fields.items() if not is_code(part)})


def _qualified_name(value: Any) -> dict[str, object]:
    kind = type(value)
    if issubclass(kind, type):
        return {"name": name_of(value)}
    if issubclass(kind, ModuleType):
        return {"name": attributes(value).get("__name__")}
    name = getattr(value, "__qualname__", None) or value.__name__
    return {"module": getattr(value, "__module__", None), "name": name}


def _is_constant(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_is_constant, value))
    return is_any(type(value), int, float, complex, bool, str, bytes)
