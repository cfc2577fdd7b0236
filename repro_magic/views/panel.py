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

# The choices of the panel's filter for findings.
FILTERS = ("all", "active", "handled", "latent", "accepted")
_ROWS = 200
# The saved copy is rendered again on each change, also as text, which takes half a millisecond per row.
_ROWS_IN_COPY = 40


def as_code(process: ProcessStatus) -> str:
    r"""The lines that reproduce the present settings in a fresh kernel.

    Example:
        >>> from repro_magic.process_status import status
        >>> as_code(status(is_watched=True)).splitlines()[0]
        '%load_ext repro_magic'
    """
    lines = ["%load_ext repro_magic"]
    if process.seed_policy is not None:
        lines.append(process.seed_policy.line)
    elif process.seed is not None:
        lines.append(SeedPolicy(process.seed).line)
    for state in process.settings:
        if isinstance(state.value, Unreadable):
            lines.append(f"# {state.setting.switch.name} {state.value}")
        elif not state.is_usual:
            lines.append(f"%config ReproMagic.{state.setting.name} = {state.value!r}")
    if process.is_watched is False:
        lines.append("%config ReproMagic.watch = False")
    mode = next((state.value for state in process.settings if state.setting is DETERMINISTIC_ALGORITHMS), None)
    if mode in ("warn", "strict"):
        seed = "" if process.seed is None else f" --seed {process.seed}"
        strict = " --strict" if mode == "strict" else ""
        lines.append(f"# for a single cell instead, as its first line: %%deterministic{seed}{strict}")
    return "\n".join(lines)


def findings_table(process: ProcessStatus, narrowed_to: str = "all") -> Table:
    """The flagged ops by cell, newest first, at most 200 rows.

    Args:
        process: the state of the process.
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
        for cell in reversed(process.cells)
        for finding in cell.findings
        if narrowed_to in ("all", "accepted" if finding.accepted else finding.status.value)
    ]
    title = f"Newest {_ROWS} of {len(rows)}" if len(rows) > _ROWS else ""
    return Table(title, ("cell", "where", "op", "device", "count", "status", "what to do"), rows[:_ROWS])


def setting_note(setting: SettingState) -> str:
    """The note beside a setting: why it is disabled, or that code changed it; usually empty."""
    if setting.blocked is not None:
        return setting.blocked
    if isinstance(setting.value, Unreadable):
        return str(setting.value)
    if setting.value is None:
        return "available once torch is imported" if setting.setting.switch.module is not None else ""
    if setting.before_cell is not None:
        return f"changed by the running cell: {value_in_words(setting.before_cell)} → {value_in_words(setting.value)}"
    return "" if setting.drift is None else setting.drift.in_words


def last_state(process: ProcessStatus) -> Document:
    """The panel's last state, for when no kernel runs."""
    settings = [
        (state.setting.label, value_in_words(state.value), setting_note(state))
        for state in process.settings
        if state.value is not None
    ]
    parts: list[Line | Table] = [
        headline(process).line,
        *seed_policy(process.seed_policy),
        generators_table(process.generators, process.last_draws, title="Generators"),
    ]
    if settings:
        parts.append(Table("Settings", ("setting", "value", "note"), settings))
    parts += in_words.by_cell(process.cells, most=_ROWS_IN_COPY)
    parts += [Line("As code"), *(Line(line, tone=Tone.CODE) for line in as_code(process).splitlines())]
    return Document(tuple(parts))


def code_html(code: str) -> str:
    """The code in a read-only field, with a button that copies it."""
    rows = code.count("\n") + 1
    # Browsers offer navigator.clipboard only on https and localhost; elsewhere the older command works.
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
