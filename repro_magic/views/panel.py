"""The panel as text: its settings as code, its tables, and its last state for when no kernel runs."""

from __future__ import annotations

from html import escape

from repro_magic.determinism.settings import DETERMINISTIC_ALGORITHMS
from repro_magic.determinism.switches import Unreadable
from repro_magic.journal import value_in_words
from repro_magic.process_status import ProcessStatus, SettingState
from repro_magic.rng.seed_policy import SeedPolicy
from repro_magic.views import findings as in_words
from repro_magic.views.describe import generators_table, headline, seed_policy
from repro_magic.views.document import Document, Line, Table, Tone

# What the findings can be narrowed down to.
FILTERS = ("all", "active", "handled", "latent", "accepted")
_ROWS = 200
# What is saved is drawn anew whenever it changes, as text too, which takes half a millisecond a row.
_ROWS_IN_COPY = 40


def as_code(found: ProcessStatus) -> str:
    r"""The lines that reproduce the present settings in a fresh kernel.

    Example:
        >>> from repro_magic.process_status import status
        >>> as_code(status(is_watched=True)).splitlines()[0]
        '%load_ext repro_magic'
    """
    lines = ["%load_ext repro_magic"]
    if found.seed_policy is not None:
        lines.append(found.seed_policy.line)
    elif found.seed is not None:
        lines.append(SeedPolicy(found.seed).line)
    for one in found.settings:
        if isinstance(one.value, Unreadable):
            lines.append(f"# {one.setting.switch.name} {one.value}")
        elif not one.is_usual:
            lines.append(f"%config ReproMagic.{one.setting.name} = {one.value!r}")
    if found.is_watched is False:
        lines.append("%config ReproMagic.watch = False")
    mode = next((one.value for one in found.settings if one.setting is DETERMINISTIC_ALGORITHMS), None)
    if mode in ("warn", "strict"):
        seed = "" if found.seed is None else f" --seed {found.seed}"
        strict = " --strict" if mode == "strict" else ""
        lines.append(f"# for a single cell instead, as its first line: %%deterministic{seed}{strict}")
    return "\n".join(lines)


def findings_table(found: ProcessStatus, narrowed_to: str = "all") -> Table:
    """The flagged ops by cell, newest first, 200 rows at most.

    Args:
        found: the state.
        narrowed_to: one of `FILTERS`.
    """
    rows = [
        (
            cell.name,
            in_words.where_in(cell, finding),
            in_words.name(finding),
            in_words.device(finding),
            in_words.calls(finding),
            in_words.status(finding),
            in_words.remedy(finding),
        )
        for cell in reversed(found.cells)
        for finding in cell.findings
        if narrowed_to in ("all", "accepted" if finding.accepted else finding.status.value)
    ]
    title = f"Newest {_ROWS} of {len(rows)}" if len(rows) > _ROWS else ""
    return Table(title, ("cell", "where", "op", "device", "count", "status", "what to do"), rows[:_ROWS])


def setting_note(one: SettingState) -> str:
    """The note beside a setting: why it is disabled, or that code changed it; usually empty."""
    if one.blocked is not None:
        return one.blocked
    if isinstance(one.value, Unreadable):
        return str(one.value)
    if one.value is None:
        return "available once torch is imported" if one.setting.switch.module is not None else ""
    if one.before_cell is not None:
        return f"changed by the running cell: {value_in_words(one.before_cell)} → {value_in_words(one.value)}"
    return "" if one.drift is None else one.drift.in_words


def last_state(found: ProcessStatus) -> Document:
    """The panel's last state, for when no kernel runs."""
    settings = [
        (one.setting.label, value_in_words(one.value), setting_note(one))
        for one in found.settings
        if one.value is not None
    ]
    parts: list[Line | Table] = [
        headline(found).line,
        *seed_policy(found.seed_policy),
        generators_table(found.generators, found.last_draws, title="Generators"),
    ]
    if settings:
        parts.append(Table("Settings", ("setting", "value", "note"), settings))
    parts += in_words.by_cell(found.cells, most=_ROWS_IN_COPY)
    parts += [Line("As code"), *(Line(line, tone=Tone.CODE) for line in as_code(found).splitlines())]
    return Document(tuple(parts))


def code_html(code: str) -> str:
    """The code in a read-only field, with a button that copies it."""
    rows = code.count("\n") + 1
    # The page's clipboard where the browser gives it to pages (https, localhost), else the older command.
    copy = (
        "const field = this.parentNode.querySelector('textarea'); field.select(); "
        "const done = () => { this.textContent = 'Copied'; setTimeout(() => this.textContent = 'Copy', 1500) }; "
        "if (navigator.clipboard) navigator.clipboard.writeText(field.value).then(done); "
        "else if (document.execCommand('copy')) done()"
    )
    return (
        '<div class="repro-magic-code">'
        f'<textarea readonly rows="{rows}" aria-label="As code" spellcheck="false">{escape(code)}</textarea>'
        f'<button type="button" class="jupyter-button widget-button" onclick="{escape(copy)}">Copy</button></div>'
    )
