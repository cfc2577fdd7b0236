"""Findings as text: the block under a cell, a deterministic cell's line, the tables of `%repro_status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from repro_magic.findings import SURE_CALLS, Direction, Finding, FindingStatus
from repro_magic.introspection.location import Place
from repro_magic.journal import Cell, Label
from repro_magic.views.document import Document, Line, Table, Tone

_MOST, _ROWS = 20, 200


def plain_label(file: str) -> str:
    """Files by their names, in scripts."""
    return file


def where(finding: Finding, label: Label) -> str:
    """The place of a finding, e.g. `"line 3"` or `"In[2] line 7, called from line 3"`."""
    if finding.place is None:
        return "not called from your code"
    told = _line(finding.place, label)
    outer = finding.called_from
    if outer is not None and outer.file != finding.place.file:
        told += f", called from {_line(outer, label)}"
    if finding.made_by is not None and finding.made_by != finding.place:
        told += f", for the forward pass of {_line(finding.made_by, label)}"
    return told


def _line(place: Place, label: Label) -> str:
    return f"{label(place.file)} line {place.line}".strip()


def calls(finding: Finding) -> str:
    """How often, e.g. `"12 calls"`."""
    if finding.graph:
        return "in a compiled graph"
    if finding.worker:  # how far workers get before a loop is left depends on the machine's speed
        return "in a DataLoader worker"
    if finding.hot and finding.count > SURE_CALLS:
        return f"more than {SURE_CALLS} calls"
    more = "at least " if finding.at_least else ""
    return f"{more}{finding.count} {'call' if finding.count == 1 else 'calls'}"


def name(finding: Finding) -> str:
    """The op, with what users write if that is another name."""
    if finding.is_source and finding.public == finding.op:
        return finding.op
    public = (
        finding.public.removeprefix("torch.").removeprefix("Tensor.").removeprefix("nn.").removeprefix("functional.")
    )
    told = finding.op if public in {finding.op, finding.op.rstrip("_")} else f"{finding.op} ({public})"
    is_backward = finding.direction is Direction.BACKWARD and "backward" not in finding.op
    return f"{told} in the backward pass" if is_backward else told


def active(findings: Sequence[Finding], label: Label, *, heading: str = "Not reproducible") -> Document:
    """The block under a cell: each active finding with its line, reason and remedy; empty if there is none."""
    told = [finding for finding in findings if finding.warns]
    if not told:
        return Document()
    lines = [Line(f"⚠ {heading}: {_count_of(told)}", tone=Tone.ALARM)]
    for one in told[:_MOST]:
        lines += [
            Line(_headed(one, label), indent=1, tone=Tone.STRONG),
            *([Line(one.place.text, indent=2, tone=Tone.CODE)] if one.place is not None and one.place.text else []),
            Line(one.why, indent=2),
            Line(f"→ {one.remedy}", indent=2),
        ]
    if len(told) > _MOST:
        lines.append(Line(f"… and {len(told) - _MOST} more: %repro_status lists them", indent=1))
    return Document(tuple(lines))


def _headed(finding: Finding, label: Label) -> str:
    if not finding.is_source:
        return f"{name(finding)} on {finding.device}, {where(finding, label)}, {calls(finding)}"
    often = f", {calls(finding)}" if finding.count > 1 or finding.worker else ""
    return f"{name(finding)}, {where(finding, label)}{often}"


def _count_of(findings: Iterable[Finding]) -> str:
    """How many ops and sources, e.g. `"2 ops and 1 source of randomness"`; each place of a source is one."""
    told = list(findings)
    ops = len({(one.op, one.device) for one in told if not one.is_source})
    sources = len({one.where for one in told if one.is_source})
    words = [f"{ops} {'op' if ops == 1 else 'ops'}"] if ops else []
    words += [f"{sources} {'source' if sources == 1 else 'sources'} of randomness"] if sources else []
    return " and ".join(words)


def can_differ(findings: Iterable[Finding]) -> str:
    """What may differ and where, e.g. `"not reproducible: 2 ops on cuda"`; empty if nothing may."""
    told = [one for one in findings if one.warns]
    devices = ", ".join(sorted({one.device for one in told if not one.is_source}))
    return f"not reproducible: {_count_of(told)}{f' on {devices}' if devices else ''}" if told else ""


def counted(findings: Iterable[Finding]) -> list[str]:
    """How many ops of each status, e.g. `["2 ops handled: index_put_, cumsum"]`."""
    found: dict[FindingStatus, dict[str, None]] = {}
    for one in findings:
        if not one.warns:
            status = FindingStatus.LATENT if one.traced and not one.graph else one.status
            found.setdefault(status, {})[one.op] = None
    words = {FindingStatus.HANDLED: "handled", FindingStatus.LATENT: "latent", FindingStatus.ACTIVE: "accepted"}
    return [f"{word}: {', '.join(found[status])}" for status, word in words.items() if status in found]


def alerting(findings: Iterable[Finding]) -> list[str]:
    """The ops that PyTorch warns about although their results cannot differ here."""
    return list(dict.fromkeys(one.op for one in findings if one.alerts and one.status is not FindingStatus.ACTIVE))


def where_in(cell: Cell, finding: Finding) -> str:
    """The place of a finding, in a row that names the cell."""
    return where(finding, lambda file: "" if cell.label(file) == cell.name else cell.label(file))


def by_cell(cells: Sequence[Cell], *, most: int = _ROWS) -> list[Table]:
    """The tables of `%repro_status`: findings by cell, and what may differ after a move to CUDA; `most` rows each."""
    rows = [
        (cell.name, status(one), name(one), f"{one.device}, {calls(one)}", where_in(cell, one))
        for cell in reversed(cells)
        for one in cell.findings
    ]
    tables = []
    if rows:
        more = f" ({most} of {len(rows)})" if len(rows) > most else ""
        columns = ("cell", "status", "op", "ran", "where")
        tables.append(Table(f"Flagged ops, newest cell first{more}", columns, rows[:most]))
    moves: dict[tuple[str, str, str], Counter[str]] = {}
    for cell in cells:
        for one in cell.findings:
            if one.status is FindingStatus.LATENT and one.elsewhere in {"cuda", "mps"}:
                moves.setdefault((name(one), one.why, one.remedy), Counter())[cell.name] += 1
    if moves:
        found = [(op, _names(list(seen)), f"{why} {remedy}") for (op, why, remedy), seen in moves.items()]
        more = f" ({most} of {len(found)})" if len(found) > most else ""
        title = f"Before you move to CUDA{more}"
        tables.append(Table(title, ("op", "cells", "why, and how to fix it"), found[:most]))
    return tables


def _names(cells: list[str]) -> str:
    return ", ".join(cells[:_MOST]) + (f" and {len(cells) - _MOST} more" if len(cells) > _MOST else "")


def remedy(finding: Finding) -> str:
    """What is left to do."""
    if finding.accepted:
        return "Nothing: its line accepts it."
    if finding.status is FindingStatus.HANDLED:
        return "Nothing: PyTorch used a deterministic kernel."
    return finding.remedy


def status(finding: Finding) -> str:
    """Its status, and whether it was accepted on its line."""
    return f"{finding.status.value}{', accepted' if finding.accepted else ''}"
