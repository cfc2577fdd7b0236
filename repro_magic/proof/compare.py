"""Runs compared, cell by cell: what was shown, and what the names held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repro_magic.proof.noise import normalised
from repro_magic.proof.runner import CellRun, Run
from repro_magic.proof.verdict import CellVerdict, NotebookVerdict, Outcome, Part

# What is named anew in each run by whoever makes it, and says nothing of the result.
_RANDOM_TYPES = ("application/vnd.jupyter.widget-view+json",)


def compare(path: str, runs: Sequence[Run]) -> NotebookVerdict:
    """The verdict on a notebook: every run against the first.

    Args:
        path: as it is to be told.
        runs: two or more.
    """
    first, others = runs[0], runs[1:]
    before: Mapping[str, Any] = {}
    cells = []
    for number, cell in enumerate(first.cells, start=1):
        twins = [run.cells[number - 1] for run in others if len(run.cells) >= number]
        changed = [name for name, value in cell.values.items() if before.get(name) != value]
        line = next(line for line in cell.source.splitlines() if line.strip())
        cells.append(CellVerdict(number, line, _values(cell, twins, changed), _outputs(cell, twins)))
        before = cell.values
    agreed = 1 + sum(_agree(first, run) for run in others)
    error = next((run.error for run in runs if run.error), "")
    return NotebookVerdict(path, len(runs), agreed, cells, error)


def _agree(first: Run, other: Run) -> bool:
    if len(first.cells) != len(other.cells):
        return False
    return all(
        one.values == twin.values and _shown(one) == _shown(twin)
        for one, twin in zip(first.cells, other.cells, strict=True)
    )


def _shown(cell: CellRun) -> dict[str, str]:
    return {name: normalised(text) for name, text in _texts(cell).items()}


def _values(cell: CellRun, twins: Sequence[CellRun], changed: Sequence[str]) -> list[Part]:
    names = list(
        dict.fromkeys((*changed, *(name for twin in twins for name in twin.values if name not in cell.values)))
    )
    return [_value(name, cell, twins) for name in names]


def _value(name: str, cell: CellRun, twins: Sequence[CellRun]) -> Part:
    one = cell.values.get(name)
    for twin in twins:
        other = twin.values.get(name)
        if one is None or other is None:
            return Part(name, Outcome.DIFFERS, "it is there in one run only")
        if one["hex"] != other["hex"]:
            return Part(name, Outcome.DIFFERS, _difference(one, other))
    assert one is not None  # noqa: S101 - without twins it comes from the cell itself
    if one["gaps"]:
        path, kind, why = one["gaps"][0]
        return Part(name, Outcome.NOT_COMPARABLE, f"{name}{path} is a {kind}: {why}")
    return Part(name, Outcome.SAME)


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    for what in ("kind", "dtype", "shape"):
        if one[what] != other[what]:
            return f"{what} {one[what]} in one run, {other[what]} in another"
    described = " ".join(str(part) for part in (one["kind"], one["dtype"], one["shape"]) if part is not None)
    return f"{described}: {one['hex'][:8]} in one run, {other['hex'][:8]} in another"


def _outputs(cell: CellRun, twins: Sequence[CellRun]) -> list[Part]:
    if cell.error or any(twin.error for twin in twins):
        why = cell.error or next(twin.error for twin in twins if twin.error)
        return [Part("error", Outcome.FAILED, why)]
    mine = _texts(cell)
    parts = []
    for name in dict.fromkeys((*mine, *(name for twin in twins for name in _texts(twin)))):
        texts = [mine.get(name), *(_texts(twin).get(name) for twin in twins)]
        parts.append(_output(name, texts))
    return parts


def _output(name: str, texts: Sequence[str | None]) -> Part:
    if len(set(texts)) == 1:
        return Part(name, Outcome.SAME)
    if None not in texts and len({normalised(text) for text in texts if text is not None}) == 1:
        return Part(name, Outcome.NOISE, "addresses, timings or generated names")
    return Part(name, Outcome.DIFFERS, _first_difference(texts))


def _first_difference(texts: Sequence[str | None]) -> str:
    if None in texts:
        return "it is shown in one run only"
    first = normalised(texts[0] or "").splitlines()
    other = next(lines for text in texts[1:] if (lines := normalised(text or "").splitlines()) != first)
    for one, twin in zip(first, other, strict=False):
        if one != twin:
            return f"{one.strip()[:60]!r} in one run, {twin.strip()[:60]!r} in another"
    return f"{len(first)} lines in one run, {len(other)} in another"


def _texts(cell: CellRun) -> dict[str, str]:
    """What a cell showed, by name: streams as they read, displays by their place and type."""
    found: dict[str, str] = {}
    shown = 0
    for output in cell.outputs:
        kind = output["output_type"]
        if kind == "error":
            found["error"] = f"{output['ename']}: {output['evalue']}"
        elif kind == "stream":
            found[output["name"]] = found.get(output["name"], "") + output["text"]
        elif kind in {"display_data", "execute_result"}:
            shown += 1
            for mime, data in output["data"].items():
                if mime not in _RANDOM_TYPES:
                    name = f"{'result' if kind == 'execute_result' else f'display {shown}'} ({mime})"
                    found[name] = data if isinstance(data, str) else repr(data)
    return found
