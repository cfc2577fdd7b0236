"""The output of `%repro_seed`, `%repro_status` and deterministic cells."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from repro_magic.determinism.switches import THREADS
from repro_magic.journal import Label
from repro_magic.process_status import ProcessStatus
from repro_magic.proof.kernel.receipt import fingerprint
from repro_magic.rng.origins import By, Origin
from repro_magic.rng.seed_policy import SeedPolicy
from repro_magic.rng.seeding import DERIVED, GeneratorState, hash_seed
from repro_magic.scope import Report
from repro_magic.views import findings as in_words
from repro_magic.views.document import Document, Line, Part, Table, Tone
from repro_magic.views.ledger import library_lines


def generators_table(
    states: Sequence[GeneratorState], last_draws: Mapping[str, str] = MappingProxyType({}), *, title: str = ""
) -> Table:
    """One row per generator; `last_draws` maps each to the cell that drew from it last."""
    columns: Sequence[str] = ("generator", "device", "seed", "state", "fingerprint", "last moved in")
    rows: list[Sequence[str]] = [
        (
            state.library,
            state.device or "all",
            state.known.number,
            state.known.in_words,
            state.fingerprint,
            "" if state.known.drawn is False else last_draws.get(state.key, ""),
        )
        for state in states
    ]
    if not any(row[-1] for row in rows):  # in a script, or before the first draw
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(title, columns, rows)


@dataclass(frozen=True)
class Headline:
    """The state of the process in one sentence.

    Attributes:
        symbol: says the same as the colour.
        sentence: without the symbol.
        tone: how it looks.
    """

    symbol: str
    sentence: str
    tone: Tone

    @property
    def line(self) -> Line:
        """The symbol and the sentence."""
        return Line(f"{self.symbol} {self.sentence}", tone=self.tone)


def headline(process: ProcessStatus) -> Headline:
    """The most important thing first: nondeterministic ops, then missing seeds, then settings that code changed."""
    differ = in_words.can_differ(finding for cell in process.cells for finding in cell.findings)
    is_good, seeds = _seeds(process)
    if differ:
        return Headline("⚠", f"{seeds}{', but ' if is_good else ', and '}{differ}", Tone.ALARM)
    drifts = [setting for setting in process.settings if setting.drift is not None]
    if drifts:
        seeds += f"{', but' if is_good else ';'} code changed {_count(len(drifts), 'setting', 'settings')}"
    if not is_good or drifts:
        return Headline("○", seeds, Tone.CAUTION)
    if process.is_watched is False:
        return Headline("○", f"{seeds}; watching is off", Tone.CAUTION)
    flagged = "" if process.is_watched is None else ", nothing flagged"
    return Headline("✓", f"{seeds}{flagged}", Tone.GOOD)


def _seeds(process: ProcessStatus) -> tuple[bool, str]:
    """Whether every generator has its intended seed, and a sentence about the seeds."""
    # A plug-in's generator that nothing drew from is listed in the table, but it does not change any numbers.
    states = [state for state in process.generators if state.library in _OWNERS or state.known.drawn is not False]
    others = [state for state in states if state.known.by is By.NOTEBOOK]
    lost = {origin: [state for state in states if state.known.origin is origin] for origin in _NO_SEED}
    faults = [f"{_NO_SEED[origin]}: {_names(without)}" for origin, without in lost.items() if without]
    if process.seed is not None:
        policy = process.seed_policy
        ours = f"Seeded {policy.seed} per cell" if policy and policy.per_cell else f"Seeded {process.seed}"
        faults = [f"the notebook seeded {_with_numbers(others)}", *faults] if others else faults
        return not faults, f"{ours}, but {'; '.join(faults)}" if faults else ours
    if len(lost[Origin.UNSEEDED]) == len(states):
        return False, "Unseeded: numbers change between runs"
    seeded = f"Seeded by the notebook: {_with_numbers(others)}" if others else ""
    numbers = {state.known.number for state in others}
    if len(others) == len(states) and len(numbers) == 1:
        seeded = f"Seeded {numbers.pop()} by the notebook"
    text = "; ".join(filter(None, [seeded, *faults]))
    return not faults, text[:1].upper() + text[1:]


_NO_SEED = {Origin.UNSEEDED: "unseeded", Origin.UNKNOWN: "seed unknown"}


def _names(states: Sequence[GeneratorState]) -> str:
    return ", ".join(_name(state) for state in states)


def _name(state: GeneratorState) -> str:
    return state.library if state.device in {"", "cpu"} else state.key


def _with_numbers(states: Sequence[GeneratorState]) -> str:
    return ", ".join(f"{_name(state)} ({state.known.number})" for state in states)


def seeding(
    states: Sequence[GeneratorState],
    seed: int,
    *,
    new: SeedPolicy | None = None,
    adopted: Sequence[str] | None = None,
    rank: int | None = None,
) -> Document:
    """The output of `%repro_seed 42`: generator, device and seed; for a new seed, how to use it again.

    Args:
        states: of the global generators.
        seed: their seed.
        new: the policy with the seed that `--new` drew; None without `--new`.
        adopted: variables whose generators `--adopt` seeded; None without `--adopt`.
        rank: this process's rank, if the seed is derived from it.
    """
    rows = [
        (state.library, state.device or "all", str(seed) + ("" if _is_seeded(state) else f" ({state.known.in_words})"))
        for state in states
    ]
    rows.append(("string hashes", "child processes", str(hash_seed(seed))))
    pin = [] if new is None else [Line(f"New seed. To get the same numbers again, write {new.line}")]
    pin += [] if rank is None else [Line(f"This is rank {rank}: its seed is derived from yours and the rank.")]
    own = [] if adopted is None else [Line(_adopted(adopted))]
    return Document((*pin, Table("", ("generator", "device", "seed"), rows), *own))


def from_here_on(policy: SeedPolicy | None) -> Document:
    """What a seed policy changes in later cells; empty if nothing."""
    if policy is None:
        return Document(())
    lines = []
    if policy.per_cell:
        origin = f"{policy.seed}, the rank" if policy.ranks == DERIVED else f"{policy.seed}"
        lines.append(
            Line(f"Each later cell starts from its own seed, derived from {origin} and the cell's name or source.")
        )
    if policy.strict:
        lines.append(Line("Strict: creating an unseeded generator now raises, until the next %repro_seed."))
    return Document(tuple(lines))


def taken(name: str) -> Document:
    """The warning that two cells have the same name, and so the same seed."""
    sentence = (
        f"⚠ Another cell is also named {name!r}, so both draw the same numbers. Rename it: %%deterministic --name NAME"
    )
    return Document((Line(sentence, tone=Tone.ALARM),))


_OWNERS = {"python": "Python's", "numpy": "NumPy's", "torch": "PyTorch's"}


def unseeded_draw(generators: Sequence[str], number: int | None) -> Document:
    """A quiet line: a cell drew from unseeded global generators.

    Args:
        generators: library and device of each.
        number: the cell's execution count.

    Example:
        >>> print(unseeded_draw(["numpy cpu"], 2).text())  # doctest: +NORMALIZE_WHITESPACE
        ○ In[2] draws from NumPy's global generator, which has no seed: numbers change between runs. Type %repro_seed 42
          in a cell above.
    """
    libraries = dict.fromkeys(key.partition(" ")[0] for key in generators)
    owners = " and ".join(_OWNERS.get(name, f"{name}'s") for name in libraries)
    which = "generator, which has" if len(libraries) == 1 else "generators, which have"
    cell = "This cell" if number is None else f"In[{number}]"
    sentence = f"○ {cell} draws from {owners} global {which} no seed: numbers change between runs."
    return Document((Line(f"{sentence} Type %repro_seed 42 in a cell above."),))


def _adopted(places: Sequence[str]) -> str:
    if not places:
        return "No notebook variable holds a generator to adopt."
    return f"Also seeded, each with its own seed: {', '.join(places)}"


def _is_seeded(state: GeneratorState) -> bool:
    return state.known.origin is Origin.SEEDED and state.known.by is By.US


def generators(states: Sequence[GeneratorState], last_draws: Mapping[str, str] = MappingProxyType({})) -> Document:
    """The output of `%repro_seed` without arguments."""
    return Document((generators_table(states, last_draws),))


def seed_policy(policy: SeedPolicy | None) -> list[Line]:
    """The line of code that sets the current seed policy, unless it is a plain seed.

    Example:
        >>> [line.text for line in seed_policy(SeedPolicy(42, strict=True))]
        ['Seed policy: %repro_seed 42 --strict']
    """
    return [] if policy is None or policy.is_plain else [Line(f"Seed policy: {policy.line}")]


def status(process: ProcessStatus) -> Document:
    """The output of `%repro_status`."""
    switches = [(reading.switch.name, reading.in_words, reading.switch.says) for reading in process.switches]
    fixed = [(entry.name, entry.value, f"{entry.why}; {entry.remedy}") for entry in process.fixed]
    drifts = [
        (state.setting.switch.name, state.drift.in_words) for state in process.settings if state.drift is not None
    ]
    return Document(
        (
            headline(process).line,
            *seed_policy(process.seed_policy),
            *in_words.by_cell(process.cells),
            *library_lines(process.libraries),
            generators_table(process.generators, process.last_draws, title="Generators"),
            *([Table("Changed by code", ("switch", "how"), drifts)] if drifts else []),
            Table("Switches", ("switch", "now", "what it does"), switches),
            Table("Fixed in this process", ("what", "value", "why, and how to change it"), fixed),
            Table("Versions", ("package", "version"), list(process.versions.items())),
            Table("Devices", ("device",), [(device,) for device in process.devices]),
        )
    )


def reports(runs: Sequence[Report], label: Label = in_words.plain_label) -> Document:
    """A line for each deterministic scope of a cell; equal lines (thousands under `%%timeit`) are merged."""
    documents = {report(run, label): None for run in runs}
    parts = [part for document in documents for part in document.parts]
    if len(runs) > len(documents):
        parts.append(Line(f"Ran {len(runs)} times in this cell."))
    return Document(tuple(parts))


def receipt(contents: Mapping[str, Any]) -> Document:
    """A receipt in one line: its eight-digit fingerprint and its number of values."""
    values = contents["values"]
    names = "\n".join(f"{name}: {value['hex'][:8]}" for name, value in values.items())
    return Document((Line(f"receipt {fingerprint(contents)}: {_count(len(values), 'value', 'values')}", names),))


def report(run: Report, label: Label = in_words.plain_label) -> Document:
    """The line of a deterministic scope, and anything about it that may surprise."""
    name = f" {run.name}" if run.name else ""
    parts = ["not reseeded" if run.seed is None else f"seed {run.seed}"]
    turned = [change for change in run.changes if change.switch.module is not None]
    if turned:
        parts.append(f"{_count(len(run.changes), 'switch', 'switches')} set and restored")
    else:
        parts.append("torch is not imported, so none of its switches was set")
    if run.strict:
        parts.append("strict" if run.stopped is None else f"strict, {run.stopped.op} blocked")
    threads = [change.during for change in run.changes if change.switch is THREADS]
    if threads:  # the default number depends on the machine, and outputs should not
        parts.append(_count(threads[0], "thread", "threads"))
    if run.rng_restored:
        parts.append("generators restored")
    findings = run.findings
    parts += in_words.counted(findings)
    detail = "\n".join(
        f"{change.switch.name}: {change.switch.value_in_words(change.during)}"
        f" (otherwise {change.switch.value_in_words(change.before)})"
        for change in run.changes
    )
    lines: list[Part] = [Line(f"deterministic{name}: {' · '.join(parts)}", detail)]
    lines += [
        Line(f"The cell set {reading.switch.name} to {reading.in_words}; it was restored, too.")
        for reading in run.overridden
    ]
    if alerting := in_words.alerting(findings):
        sentence = f"PyTorch warns about {', '.join(alerting)}, but these calls are deterministic."
        if run.strict:
            sentence = f"PyTorch refuses {', '.join(alerting)} under --strict, although these calls are deterministic: "
            sentence += "run the cell without --strict."
        lines.append(Line(sentence))
    lines += in_words.active(findings, label, heading="Still not reproducible").parts
    if run.rng_not_restored:
        lost = ", ".join(run.rng_not_restored)
        lines.append(Line(f"Not restored, because their state could not be read before the cell: {lost}."))
    lines += [
        Line(textwrap.shorten(f"{entry.name} is {entry.value}: {entry.why}; {entry.remedy}.", 400))
        for entry in run.advice
    ]
    return Document(tuple(lines))


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
