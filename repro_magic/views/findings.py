"""Findings as text: the block under a cell, a deterministic cell's line, the tables of `%repro_status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from repro_magic.findings import SURE_CALLS, Direction, Finding, FindingStatus, OpFinding, UnseededFinding
from repro_magic.introspection.location import Place
from repro_magic.journal import Cell, Label
from repro_magic.views.document import Document, Line, Table, Tone

_MOST, _ROWS = 20, 200


def plain_label(file: str) -> str:
    """The label of a file in a script: its name."""
    return file


def where(finding: Finding, label: Label) -> str:
    """The line of a finding, e.g. `"line 3"` or `"In[2] line 7, called from line 3"`."""
    if finding.place is None:
        return "not called from your code"
    words = _line(finding.place, label)
    outer = finding.called_from
    if outer is not None and outer.file != finding.place.file:
        words += f", called from {_line(outer, label)}"
    forward = finding.made_by if isinstance(finding, OpFinding) else None
    if forward is not None and forward != finding.place:
        words += f", for the forward pass of {_line(forward, label)}"
    return words


def _line(place: Place, label: Label) -> str:
    return f"{label(place.file)} line {place.line}".strip()


def calls(finding: Finding) -> str:
    """The number of calls, e.g. `"12 calls"`."""
    if isinstance(finding, OpFinding) and finding.graph:
        return "in a compiled graph"
    if finding.worker:  # their number of calls depends on how far they get before the loop ends
        return "in a DataLoader worker"
    if isinstance(finding, OpFinding) and finding.hot and finding.count > SURE_CALLS:
        return f"more than {SURE_CALLS} calls"
    more = "at least " if finding.at_least else ""
    return f"{more}{finding.count} {'call' if finding.count == 1 else 'calls'}"


def name(finding: Finding) -> str:
    """The op or source, with the public name if it differs."""
    public = finding.public
    if isinstance(finding, OpFinding):
        public = public.removeprefix("torch.").removeprefix("Tensor.").removeprefix("nn.").removeprefix("functional.")
    words = finding.op if public in {finding.op, finding.op.rstrip("_")} else f"{finding.op} ({public})"
    return f"{words} in the backward pass" if _is_other_direction(finding) else words


def _is_other_direction(finding: Finding) -> bool:
    """Whether a backward pass called an op whose name does not say backward."""
    is_backward = isinstance(finding, OpFinding) and finding.direction is Direction.BACKWARD
    return is_backward and "backward" not in finding.op


def device(finding: Finding) -> str:
    """The type of device; empty for an unseeded source, which has no device."""
    return finding.device if isinstance(finding, OpFinding) else ""


def ran(finding: Finding) -> str:
    """The device and the number of calls, e.g. `"cpu, 2 calls"`."""
    return ", ".join(filter(None, (device(finding), calls(finding))))


def active(findings: Sequence[Finding], label: Label, *, heading: str = "Not reproducible") -> Document:
    """The block under a cell: each active finding with its line, reason and remedy; empty if there are none."""
    warned = [finding for finding in findings if finding.warns]
    if not warned:
        return Document()
    lines = [Line(f"⚠ {heading}: {_count_of(warned)}", tone=Tone.ALARM)]
    for finding in warned[:_MOST]:
        code = "" if finding.place is None else finding.place.text
        lines += [
            Line(_headed(finding, label), indent=1, tone=Tone.STRONG),
            *([Line(code, indent=2, tone=Tone.CODE)] if code else []),
            Line(finding.why, indent=2),
            Line(f"→ {finding.remedy.in_cell}", indent=2),
        ]
    if len(warned) > _MOST:
        lines.append(Line(f"… and {len(warned) - _MOST} more: %repro_status lists them", indent=1))
    return Document(tuple(lines))


def _headed(finding: Finding, label: Label) -> str:
    if isinstance(finding, OpFinding):
        return f"{name(finding)} on {finding.device}, {where(finding, label)}, {calls(finding)}"
    often = f", {calls(finding)}" if finding.count > 1 or finding.worker else ""
    return f"{name(finding)}, {where(finding, label)}{often}"


def _count_of(findings: Iterable[Finding]) -> str:
    """The number of ops and sources, e.g. `"2 ops and 1 source of randomness"`; each line of a source counts."""
    findings = list(findings)
    ops = len({(finding.op, finding.device) for finding in findings if isinstance(finding, OpFinding)})
    sources = len({finding.where for finding in findings if isinstance(finding, UnseededFinding)})
    words = [f"{ops} {'op' if ops == 1 else 'ops'}"] if ops else []
    words += [f"{sources} {'source' if sources == 1 else 'sources'} of randomness"] if sources else []
    return " and ".join(words)


def can_differ(findings: Iterable[Finding]) -> str:
    """The ops that may differ, and their devices, e.g. `"not reproducible: 2 ops on cuda"`; empty if there are none."""
    warned = [finding for finding in findings if finding.warns]
    devices = ", ".join(sorted({device(finding) for finding in warned} - {""}))
    return f"not reproducible: {_count_of(warned)}{f' on {devices}' if devices else ''}" if warned else ""


def counted(findings: Iterable[Finding]) -> list[str]:
    """The other ops by status, e.g. `["handled: index_put_, cumsum"]`."""
    ops: dict[FindingStatus, dict[str, None]] = {}
    for finding in findings:
        if not finding.warns:
            is_latent = finding.status is FindingStatus.ACTIVE and not finding.may_differ
            ops.setdefault(FindingStatus.LATENT if is_latent else finding.status, {})[finding.op] = None
    words = {FindingStatus.HANDLED: "handled", FindingStatus.LATENT: "latent", FindingStatus.ACTIVE: "accepted"}
    return [f"{word}: {', '.join(ops[status])}" for status, word in words.items() if status in ops]


def alerting(findings: Iterable[Finding]) -> list[str]:
    """The ops that PyTorch warns about although their results cannot differ here."""
    quiet = [finding for finding in findings if finding.status is not FindingStatus.ACTIVE]
    return list(dict.fromkeys(finding.op for finding in quiet if isinstance(finding, OpFinding) and finding.alerts))


def where_in(cell: Cell, finding: Finding) -> str:
    """The line of a finding, for a row that names the cell."""
    return where(finding, lambda file: "" if cell.label(file) == cell.name else cell.label(file))


def by_cell(cells: Sequence[Cell], *, most: int = _ROWS) -> list[Table]:
    """The tables of `%repro_status`: findings by cell, and ops that may differ on CUDA; at most `most` rows each."""
    rows = [
        (cell.name, status(finding), name(finding), ran(finding), where_in(cell, finding))
        for cell in reversed(cells)
        for finding in cell.findings
    ]
    tables = []
    if rows:
        more = f" ({most} of {len(rows)})" if len(rows) > most else ""
        columns = ("cell", "status", "op", "ran", "where")
        tables.append(Table(f"Flagged ops, newest cell first{more}", columns, rows[:most]))
    moves: dict[tuple[str, str, str], Counter[str]] = {}
    for cell in cells:
        for finding in cell.findings:
            if isinstance(finding, OpFinding) and _is_latent_on_gpu(finding):
                moves.setdefault((name(finding), finding.why, finding.remedy.in_cell), Counter())[cell.name] += 1
    if moves:
        ops = [(op, _names(list(seen)), f"{why} {remedy}") for (op, why, remedy), seen in moves.items()]
        more = f" ({most} of {len(ops)})" if len(ops) > most else ""
        title = f"Before you move to CUDA{more}"
        tables.append(Table(title, ("op", "cells", "why, and how to fix it"), ops[:most]))
    return tables


def _is_latent_on_gpu(finding: OpFinding) -> bool:
    return finding.status is FindingStatus.LATENT and finding.elsewhere in {"cuda", "mps"}


def _names(cells: list[str]) -> str:
    return ", ".join(cells[:_MOST]) + (f" and {len(cells) - _MOST} more" if len(cells) > _MOST else "")


def remedy(finding: Finding) -> str:
    """What the user still has to do."""
    if finding.accepted:
        return "Nothing: its line accepts it."
    if finding.status is FindingStatus.HANDLED:
        return "Nothing: PyTorch used a deterministic kernel."
    return finding.remedy.in_cell


def status(finding: Finding) -> str:
    """The status, and whether a comment on the line accepts the finding."""
    return f"{finding.status.value}{', accepted' if finding.accepted else ''}"
