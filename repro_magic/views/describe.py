"""The models in words: what `%repro_seed`, `%repro_status` and a deterministic cell show."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from repro_magic.ops.findings import Finding
from repro_magic.overview import Status
from repro_magic.rng.seeding import GeneratorState, hash_seed, hash_seed_of_this_process
from repro_magic.rng.seeding import Status as GeneratorStatus
from repro_magic.scope import Report
from repro_magic.views import findings as in_words
from repro_magic.views.document import Document, Line, Table


def _seed_in_words(state: GeneratorState) -> str:
    if state.seed is not None:
        return str(state.seed)
    return "unknown" if state.status is GeneratorStatus.RESEEDED else "unseeded"


def _generators_table(states: Sequence[GeneratorState], *, title: str) -> Table:
    rows = [(state.library, state.device or "all", _seed_in_words(state), state.status.value) for state in states]
    return Table(title, ("generator", "device", "seed", "state"), rows)


def seeding(states: Sequence[GeneratorState], seed: int, *, is_new: bool = False) -> Document:
    """What `%repro_seed 42` shows: generator, device, seed; for a new seed also how to get it again."""
    rows = [
        (state.library, state.device or "all", str(seed) + ("" if _is_seeded(state) else f" ({state.status.value})"))
        for state in states
    ]
    rows.append(("string hashes", "child processes", str(hash_seed(seed))))
    pin = [Line(f"New seed. To get the same numbers again, write: %repro_seed {seed}")] if is_new else []
    hashes = f"String hashes of this process stay as they are: {hash_seed_of_this_process()} since Python started."
    return Document((*pin, Table("", ("generator", "device", "seed"), rows), Line(hashes)))


def _is_seeded(state: GeneratorState) -> bool:
    return state.status in (
        GeneratorStatus.UNTOUCHED,
        GeneratorStatus.DRAWN,
        GeneratorStatus.MOVED,
        GeneratorStatus.OPAQUE,
    )


def generators(states: Sequence[GeneratorState]) -> Document:
    """What `%repro_seed` without arguments shows."""
    return Document((_generators_table(states, title=""),))


def status(
    found: Status,
    cells: Sequence[tuple[str, Sequence[Finding], in_words.Label]] = (),
) -> Document:
    """What `%repro_status` shows; `cells` are the flagged ops of each cell, and what files are called there."""
    seed = "Unseeded: numbers will change on re-run" if found.seed is None else f"Seeded with {found.seed}"
    switches = [(reading.switch.name, reading.in_words, reading.switch.says) for reading in found.switches]
    fixed = [(entry.name, entry.value, f"{entry.why}; {entry.remedy}") for entry in found.fixed]
    return Document(
        (
            Line(seed),
            *in_words.by_cell(cells),
            _generators_table(found.generators, title="Generators"),
            Table("Switches", ("switch", "now", "what it does"), switches),
            Table("Fixed in this process", ("what", "value", "why, and what to do"), fixed),
            Table("Versions", ("package", "version"), list(found.versions.items())),
            Table("Devices", ("device",), [(device,) for device in found.devices]),
        )
    )


def reports(done: Sequence[Report], label: in_words.Label = in_words.plain_label) -> Document:
    """The quiet line under a cell with deterministic scopes, usually one; under `%%timeit` thousands of the same."""
    documents = {report(one, label): None for one in done}
    parts = [part for document in documents for part in document.parts]
    if len(done) > len(documents):
        parts.append(Line(f"Entered {len(done)} times in this cell."))
    return Document(tuple(parts))


def report(done: Report, label: in_words.Label = in_words.plain_label) -> Document:
    """One deterministic scope: its line, and what went otherwise than a user would expect."""
    name = f" {done.name}" if done.name else ""
    parts = ["seed not set" if done.seed is None else f"seed {done.seed}"]
    turned = [change for change in done.changes if change.switch.module is not None]
    if turned:
        parts.append(f"{_count(len(done.changes), 'switch', 'switches')} set, then put back")
    else:
        parts.append("torch is not imported, so no switch of it was set")
    if done.strict:
        parts.append("strict" if done.stopped is None else f"strict, {done.stopped.op} stopped")
    if done.threads is not None:
        parts.append(_count(done.threads, "thread", "threads"))
    if done.rng_restored:
        parts.append("generators put back")
    findings = done.findings
    parts += in_words.counted(findings)
    detail = "\n".join(
        f"{change.switch.name}: {change.switch.value_in_words(change.during)}"
        f" (otherwise {change.switch.value_in_words(change.before)})"
        for change in done.changes
    )
    lines: list[Line | Table] = [Line(f"deterministic{name}: {' · '.join(parts)}", detail)]
    lines += [
        Line(f"The cell set {reading.switch.name} to {reading.in_words}; it was put back as well.")
        for reading in done.overridden
    ]
    if alerting := in_words.alerting(findings):
        told = f"PyTorch warns of {', '.join(alerting)}, but the result is always the same here."
        if done.strict:
            told = f"PyTorch refuses {', '.join(alerting)} under --strict, though the result is always the same here: "
            told += "run the cell without --strict."
        lines.append(Line(told))
    lines += in_words.active(findings, label, heading="Nondeterministic all the same:").parts
    if done.rng_not_restored:
        lines.append(
            Line(f"Not put back, for their state was not readable at the start: {', '.join(done.rng_not_restored)}.")
        )
    lines += [
        Line(textwrap.shorten(f"{entry.name} is {entry.value}: {entry.why}; {entry.remedy}.", 400))
        for entry in done.advice
    ]
    return Document(tuple(lines))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
