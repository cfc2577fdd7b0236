"""Reference pages from the live objects: a comment `<!-- live: NAME -->` in a page becomes what NAME gives.

Nothing that the package knows of itself is typed by hand: magics come from their parsers, commands from Typer, ops from
the catalogue, settings from their table, records from their schema. A function below is a NAME, and returns Markdown.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from argparse import Action
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

import repro_magic
from repro_magic import cli
from repro_magic.determinism import switches
from repro_magic.determinism.settings import SETTINGS, Setting
from repro_magic.findings import Direction
from repro_magic.notebook.magics import ReproMagic
from repro_magic.ops.catalogue.entries import CATALOGUE
from repro_magic.ops.catalogue.lookup import entries_of, plug_ins
from repro_magic.ops.catalogue.model import Effect, Entry
from repro_magic.proof import verdict
from repro_magic.proof.environment import Difference
from repro_magic.views.verdict import as_data

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGE = Path(repro_magic.__file__).parent
MARKER = re.compile(r"^<!-- live: (\w+) -->$", re.MULTILINE)
# What reads as code in a help text, which is plain text.
CODE = re.compile(
    r"(`[^`]+`"
    r"|%config [\w.]+ = \w+"
    r"|%{1,2}\w+(?: --?[\w-]+| [A-Z]+\b)*"
    r"|(?<![\w-])--[a-z][\w-]*(?: [A-Z]+\b)?"
    r"|#\s*repro: \w+ \w+"
    r"|\b(?!e\.g|i\.e)[A-Za-z_]+(?:\.\w+)+(?:\([^()]*\))?(?: = (?:True|False))?"
    r"|\b\w*_\w*(?:\([^()]*\))?"
    r"|\b\w+\(\)"
    r"|\bPYTHONHASHSEED\b"
    r"|\b[A-Z]\w+(?:Error|Warning)\b)"
)


def prose(text: str) -> str:
    """Plain text as Markdown: nothing in it is markup, and what reads as code is shown as code."""
    parts = CODE.split(" ".join(text.split()))
    return "".join(
        f"`{part.strip('`')}`" if odd else re.sub(r"([\\*_<>#\[\]$|~])", r"\\\1", part) for part, odd in _odd(parts)
    )


def _odd(parts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    return ((part, bool(place % 2)) for place, part in enumerate(parts))


def sentence(text: str) -> str:
    """Plain text as a Markdown sentence, whatever its docstring began and ended with."""
    shown = prose(text)
    return f"{shown[:1].upper()}{shown[1:].rstrip('.')}." if shown else ""


def paragraphs(text: str) -> str:
    """The paragraphs of a plain text."""
    return "\n\n".join(prose(part) for part in re.split(r"\n\s*\n", text.strip()) if part.strip())


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def code(text: str, language: str = "text") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


# Magics


def magics() -> str:
    """Every magic, from its own parser."""
    found = sorted((name, kind) for kind, table in ReproMagic.magics.items() for name in table)
    return "\n\n".join(_magic(name, "%" if kind == "line" else "%%") for name, kind in found)


def _magic(name: str, sign: str) -> str:
    parser = getattr(ReproMagic, name).parser
    usage = " ".join(parser.format_usage().removeprefix("::").split())
    text, _, examples = inspect.cleandoc(parser.description).partition("Examples:")
    options = [action for action in parser._actions if action.dest != "help"]  # noqa: SLF001 - argparse shows them nowhere else
    parts = [f"## `{sign}{name}`", code(usage), paragraphs(text)]
    parts += [table(("Argument", "Effect"), map(_argument, options))] if options else []
    parts += ["**Examples**", code(inspect.cleandoc(examples.partition("::")[2]), "ipython")] if examples else []
    return "\n\n".join(parts)


def _argument(action: Action) -> tuple[str, str]:
    named = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper())
    value = "" if action.nargs == 0 else f" {named}"
    shown = "".join(action.option_strings[:1]) + value if action.option_strings else action.dest.upper()
    return f"`{shown}`", prose((action.help or "").replace("%%", "%"))


# The command line


def _commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(cli.app)  # Click's, or Typer's own copy of it: that depends on the version
    return dict(sorted(group.commands.items()))


def command_line() -> str:
    """Every command, from Typer."""
    return "\n\n".join(_command(name, command) for name, command in _commands().items())


def _command(name: str, command: Any) -> str:  # noqa: ANN401 - Click's, or Typer's own
    context = command.make_context(f"repro-magic {name}", [], resilient_parsing=True)
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [(f"`{_named(left)}`", prose(right.removesuffix("[required]"))) for left, right in filter(None, records)]
    help_text = inspect.cleandoc(command.help or "")
    return "\n\n".join(
        [f"## `repro-magic {name}`", code(usage), paragraphs(help_text), table(("Argument", "Effect"), rows)]
    )


def _named(left: str) -> str:
    """An option as Typer writes it, an argument without its type."""
    return " ".join(left.split()) if left.startswith("-") else left.split(maxsplit=1)[0]


def exit_codes() -> str:
    """What each command says of its exit codes."""
    return "\n\n".join(f"## `repro-magic {name}`\n\n{_exit_codes(command)}" for name, command in _commands().items())


def _exit_codes(command: Any) -> str:  # noqa: ANN401 - Typer's
    said = [part for part in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")) if "exit code" in part.lower()]
    text = " ".join(said[-1].split())
    listed = re.search(r"Exit codes?: (.*?)\.(?: |$)(.*)", text)
    if listed is None:
        return prose(text)
    codes = re.findall(r"(\d) (.*?)(?=, \d |$)", listed[1])
    rows = ((f"`{number}`", sentence(meaning)) for number, meaning in codes)
    return f"{table(('Code', 'Meaning'), rows)}\n\n{prose(listed[2])}"


# Python


FOR_PLUGINS = {"Direction", "Effect", "Entry", "Generator", "Hazard", "Library", "OpCall", "Remedy"}


def _public(belongs: Callable[[str, object], bool]) -> str:
    """The public names of one kind."""
    found = {name: getattr(repro_magic, name) for name in repro_magic.__all__ if name != "__version__"}
    return _autodoc("repro_magic", {name: thing for name, thing in found.items() if belongs(name, thing)})


def functions() -> str:
    """What users call."""
    return _public(lambda name, _thing: name.islower())


def results() -> str:
    """What they get."""
    return _public(lambda name, thing: not name.islower() and name not in FOR_PLUGINS and not _is_error(thing))


def plugin_types() -> str:
    """What an author of a plug-in uses."""
    return _public(lambda name, _thing: name in FOR_PLUGINS)


def errors() -> str:
    """Every error and warning class."""
    return _public(lambda _name, thing: _is_error(thing))


def plugin_example() -> str:
    """The first plug-in of the catalogue, as it stands in the package."""
    return code(inspect.getsource(importlib.import_module(plug_ins()["torchvision"].module)), "python")


def _is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


def _autodoc(module: str, members: dict[str, Any]) -> str:
    blocks = [
        f".. autoclass:: {module}.{name}\n   :members:"
        + "\n   :show-inheritance:" * _is_error(thing)
        + "\n   :undoc-members:" * issubclass(thing, Enum)
        if isinstance(thing, type)
        else f".. autofunction:: {module}.{name}"
        for name, thing in members.items()
    ]
    return "```{eval-rst}\n" + "\n\n".join(blocks) + "\n```"


# Tables


def ops() -> str:
    """The catalogue, plug-ins included."""
    added = [entry for module in plug_ins() for entry in entries_of(module)]
    rows = sorted((*CATALOGUE, *added), key=lambda entry: (entry.direction is Direction.BACKWARD, entry.op))
    return table(("Op", "Pass", "CPU", "CUDA", "MPS", "Why, and what helps"), map(_op, rows))


def _op(entry: Entry) -> tuple[str, ...]:
    devices = [_on(entry, device) for device in ("cpu", "cuda", "mps")]
    real = [hazard for hazard in entry.hazards if hazard.differs]
    reasons = dict.fromkeys(f"{hazard.why} {hazard.remedy.in_cell}" for hazard in real)
    alerted = "PyTorch alerts although the result is always the same."
    return f"[`{entry.op}`]({entry.link})", entry.direction.value, *devices, prose(" ".join(reasons) or alerted)


_IN_WORDS = {
    Effect.HANDLES: "handled",
    Effect.HANDLES_IF_STRICT: "handled in strict mode",
    Effect.ALERTS: "alerts",
    Effect.IGNORES: "not covered",
}


def _on(entry: Entry, device: str) -> str:
    found = [hazard for hazard in entry.hazards if device in hazard.devices]
    words = dict.fromkeys(_IN_WORDS[hazard.switch] for hazard in found if hazard.differs)
    return ", ".join(words) or ("alert only" if found else "—")


def settings() -> str:
    """What `%config ReproMagic` takes."""
    own = [
        (
            f"`{name}`",
            ", ".join(f"`{value!r}`" for value in getattr(trait, "values", (True, False))),
            f"`{trait.default_value!r}`",
            prose(trait.help),
        )
        for name, trait in sorted(ReproMagic.class_own_traits(config=True).items())
        if name not in {setting.name for setting in SETTINGS}
    ]
    return table(("Setting", "Values", "At the start", "Effect"), [*own, *map(_setting, SETTINGS)])


def _setting(setting: Setting) -> tuple[str, ...]:
    values = (
        "a number from 1"
        if setting.is_count
        else ", ".join(f"`{value!r}`" for value in setting.choices or (True, False))
    )
    start = "the machine's" if setting.default is None else f"`{setting.default!r}`"
    return f"`{setting.name}`", values, start, prose(setting.says)


def deterministic_switches() -> str:
    """What a deterministic cell sets."""
    targets = switches.deterministic_targets()
    return table(("Switch", "What it does"), ((f"`{switch.name}`", prose(switch.says)) for switch in targets))


# Records


def receipt_schema() -> str:
    """The schemas of receipts and sidecars."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("schemas/*.json"))]
    return "\n\n".join(_schema(schema) for schema in found)


def _schema(schema: dict[str, Any]) -> str:
    parts = [f"## `{schema['$id']}`", f"{schema['title']}.", paragraphs(schema["description"]), _properties(schema)]
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part:
            parts += [f"**{name.capitalize()}**, wherever the tables say so:", _properties(part)]
    parts += ["The schema itself:", code(json.dumps(schema, indent=1), "json")]
    return "\n\n".join(parts)


def _properties(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = list(_rows(schema, ""))
    return table(
        ("Property", "Type", "Meaning"),
        ((f"`{name}`", kind, note + ("" if top in required else " *Optional.*")) for top, name, kind, note in rows),
    )


def _rows(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, part in schema.get("properties", {}).items():
        top = prefix.partition(".")[0].removesuffix("[]") or name
        yield top, f"{prefix}{name}", _type(part), sentence(part.get("description", ""))
        for inner, sign in ((part.get("items"), "[]."), (part.get("additionalProperties"), ".*.")):
            if isinstance(inner, dict):
                yield from _rows(inner, f"{prefix}{name}{sign}")
        yield from _rows(part, f"{prefix}{name}.")


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    if "oneOf" in part:
        return " or ".join(map(_type, part["oneOf"]))
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    kinds: str | list[str] = part.get("type", "any")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def verify_json() -> str:
    """What `repro-magic verify --json` writes, from the function that writes it."""
    distance = verdict.Distance(".weight", "torch.float32", (2, 2), 1, 4, (0, 1), 2.4e-7, 1)
    parts = [
        verdict.Part("model", verdict.Outcome.DIFFERS, "1 of 4 elements of .weight", distance),
        verdict.Part("log", verdict.Outcome.NOT_COMPARABLE, "an open file", kind="_io.TextIOWrapper"),
    ]
    shown = [verdict.Part("stdout", verdict.Outcome.SAME)]
    cell = verdict.CellVerdict(1, "model = fit()", parts, shown)
    environment = [Difference("torch", "version", "2.12.1", "2.13.0")]
    sample = as_data(verdict.NotebookVerdict("study.ipynb", 2, 1, [cell], environment=environment))
    known = [
        verdict.NotebookVerdict,
        verdict.CellVerdict,
        verdict.Part,
        verdict.Distance,
        verdict.NotCompared,
        Difference,
    ]
    meanings = {kind: _attributes(kind) for kind in known}
    groups = {
        "Notebook": (sample, verdict.NotebookVerdict),
        "Cell: `cells[]`": (sample["cells"][0], verdict.CellVerdict),
        "Value or output: `cells[].values[]`, `cells[].outputs[]`": (sample["cells"][0]["values"][0], verdict.Part),
        "Distance: `cells[].values[].distance`": (sample["cells"][0]["values"][0]["distance"], verdict.Distance),
        "Not compared: `not_compared[]`": (sample["not_compared"][0], verdict.NotCompared),
        "Environment: `environment[]`": (sample["environment"][0], Difference),
    }
    tables = [
        f"## {title}\n\n"
        + table(("Key", "Example", "Meaning"), (_key(name, value, meanings[kind]) for name, value in data.items()))
        for title, (data, kind) in groups.items()
    ]
    return "\n\n".join([*tables, "## An example", code(json.dumps([sample], indent=1), "json")])


# Keys whose attribute has another name.
_ATTRIBUTES = {"notebook": "path", "strict": "is_strict"}


def _key(name: str, value: object, meanings: dict[str, str]) -> tuple[str, str, str]:
    shown = json.dumps(value)
    return f"`{name}`", f"`{shown}`" if len(shown) < 40 else "below", sentence(meanings[_ATTRIBUTES.get(name, name)])  # noqa: PLR2004


def _attributes(kind: type) -> dict[str, str]:
    """What a class's docstring says of its attributes, and its properties of themselves."""
    listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    found = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", listed, re.MULTILINE | re.DOTALL))
    properties = inspect.getmembers(kind, lambda member: isinstance(member, property))
    return {**{name: member.__doc__ or "" for name, member in properties}, **found}


LIVE: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (
        magics,
        command_line,
        exit_codes,
        functions,
        results,
        plugin_types,
        errors,
        plugin_example,
        ops,
        settings,
        deterministic_switches,
        receipt_schema,
        verify_json,
    )
}


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001 - Sphinx's form of a listener
    source[0] = MARKER.sub(lambda found: LIVE[found[1]](), source[0])


QUOTED = re.compile(r"(?<![`:\\w])`([^`]+)`(?!`)")


def _quote(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:  # noqa: ARG001, PLR0913, PLR0917
    """Docstrings quote code with one backtick, as Markdown does; reStructuredText wants two."""
    text = QUOTED.sub(lambda found: f"``{' '.join(found[1].split())}``\\ ", "\n".join(lines))
    lines[:] = text.split("\n")


def _skip(app: Sphinx, what: str, name: str, thing: object, *rest: object) -> bool | None:  # noqa: ARG001
    """The default of a field, where it is a function of another name, is no method."""
    return True if isfunction(thing) and thing.__name__ not in {name, "<lambda>"} else None


def _signature(app: Sphinx, what: str, name: str, thing: object, *rest: object) -> tuple[str, str] | None:  # noqa: ARG001
    """A dataclass lists its fields below; the signature would say them twice, with the defaults' addresses."""
    return ("", "") if is_dataclass(thing) else None


def _outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:  # noqa: ANN401, ARG001
    """A page that shows or runs the package is read anew in each build: the package may have changed, not the page."""
    texts = {name: Path(env.doc2path(name)).read_text(encoding="utf-8") for name in env.found_docs}
    return [name for name, text in texts.items() if MARKER.search(text) or "{code-cell}" in text]


def setup(app: Sphinx) -> dict[str, object]:
    """Sphinx's entry."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", _outdated)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _quote, priority=400)  # before Napoleon, which takes the sections apart
    return {"version": repro_magic.__version__, "parallel_read_safe": True}
