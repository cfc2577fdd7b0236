"""A cell's receipt: what it was, what it ran under, and the digests of what came out.

A receipt is a pure function of code, inputs and results. No clock, duration, path, host, process or environment is in
it, and nothing of what ran before: a notebook that is run again has the same receipts, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from repro_magic.findings import Finding, OpFinding
from repro_magic.proof.kernel.probe import looked_at

__all__ = ["MIME", "SCHEMA", "Facts", "digest_of_source", "fingerprint", "receipt"]

SCHEMA = "repro-magic.receipt.v1"
MIME = f"application/vnd.{SCHEMA}+json"
Receipt = dict[str, Any]


class ReceiptStoppedError(Exception):
    """Whoever waits for the receipt does so no longer."""


@dataclass
class Facts:
    """What a session knows of a cell that has run.

    Attributes:
        source: the cell as its author wrote it.
        names: the notebook's names that it reaches, with what they hold now.
        result: the value that it displayed, in a list; none displayed: empty.
        name: the author's name for it.
        seed: what it was seeded with on entry, if it was.
        strict: whether nondeterministic ops raised.
        switches: switch -> its value, in words, of those that were set for it.
        moved: generator (library and device) -> its state before (None: it was not seeded) and after, of those that
            moved.
        findings: the flagged ops that ran.
        is_own: whether a file of a finding's place is this cell.
        error: the type of the error that it ended with.
        key: where each cell has a seed of its own, what it follows from: the kind of key, and the occurrence.
    """

    source: str
    names: Mapping[str, object]
    result: Sequence[object] = ()
    name: str | None = None
    seed: int | None = None
    strict: bool = False
    switches: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, tuple[bytes | None, bytes]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    is_own: Callable[[str], bool] = lambda _file: True
    error: str | None = None
    key: Mapping[str, Any] | None = None


def receipt(facts: Facts, is_stopped: Callable[[], bool] = lambda: False) -> Receipt:
    """The receipt of a cell, as it goes into JSON. Its form is published in `proof/schemas/receipt.v1.json`.

    Args:
        facts: what is known of the cell.
        is_stopped: asked before each value is digested.

    Raises:
        ReceiptStoppedError: `is_stopped` said so.

    Example:
        >>> found = receipt(Facts("x = 1", {"x": 1}))
        >>> found["schema"], found["values"]["x"]["kind"]
        ('repro-magic.receipt.v1', 'builtins.int')
    """
    return {
        "schema": SCHEMA,
        "source": digest_of_source(facts.source),
        "name": facts.name,
        "seed": None if facts.seed is None else str(facts.seed),  # JSON's numbers are not exact from 2**53 on
        "strict": facts.strict,
        "switches": dict(sorted(facts.switches.items())),
        "generators": {
            key: {"before": None if before is None else _state(before), "after": _state(after)}
            for key, (before, after) in sorted(facts.moved.items())
        },
        "findings": _findings(facts.findings, facts.is_own),
        "shown": next((looked_at(value) for value in facts.result), None),
        "values": dict(_values(facts.names, is_stopped)),
        "error": facts.error,
        **({} if facts.key is None else {"key": dict(facts.key)}),
    }


def _state(state: bytes) -> str:
    return blake3(state).hexdigest(16)  # bytes


def _values(names: Mapping[str, object], is_stopped: Callable[[], bool]) -> Iterable[tuple[str, dict[str, Any]]]:
    for name, value in sorted(names.items()):
        if is_stopped():
            raise ReceiptStoppedError
        yield name, looked_at(value)


def _findings(findings: Sequence[Finding], is_own: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Each finding, without what depends on the machine's speed: the count of a hot op."""
    return sorted(
        (_finding(finding, is_own) for finding in findings), key=lambda record: json.dumps(record, sort_keys=True)
    )


def _finding(finding: Finding, is_own: Callable[[str], bool]) -> dict[str, Any]:
    op = finding if isinstance(finding, OpFinding) else None
    return {
        "op": finding.op,
        "status": finding.status.value,
        "device": op and op.device,
        "direction": op and op.direction.value,
        "line": next((place.line for place in finding.places if is_own(place.file)), None),
        "count": None if finding.at_least or (op is not None and op.hot) else finding.count,
    }


def digest_of_source(source: str) -> str:
    """The digest by which a cell is found again, whatever its place and number."""
    return blake3(source.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint(found: Mapping[str, Any]) -> str:
    """Eight digits for people: two receipts that have the same are the same.

    Example:
        >>> len(fingerprint(receipt(Facts("x = 1", {"x": 1}))))
        8
    """
    return blake3(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]
