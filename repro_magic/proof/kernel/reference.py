"""The numbers of the first run, kept in a folder while later ones are measured against them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repro_magic.introspection.foreign import Shield
from repro_magic.proof.kernel.numeric_distance import IN_ALL, Tolerance, keep, measure
from repro_magic.proof.kernel.small_values import small

_expected: dict[str, str] = {}
_kept: list[int] = []


def compare_numbers(  # noqa: PLR0913 - as the probe is asked
    held: Mapping[str, object],
    changed: dict[str, dict[str, Any]],
    spool: Path,
    cell: int,
    *,
    rtol: float,
    ulp: int,
    private: Collection[str] = (),
) -> None:
    """The first run says what each name's digest was, and keeps its numbers; a later one measures its own.

    Args:
        held: what the names hold.
        changed: name -> its digest and what it is; the distance is added to those that can be measured.
        spool: the folder.
        cell: which cell has just run.
        rtol: see `Tolerance`.
        ulp: see `Tolerance`.
        private: names whose values are not to be written down, however small.
    """
    for name in changed.keys() - {*private}:
        if kept := small(held[name]):  # both runs tell theirs: what is small is shown itself
            changed[name] = {**changed[name], "small": kept}
    tolerance = Tolerance(rtol, ulp)
    said = spool / f"cell-{cell}.json"
    with Shield():  # a full disk, or somebody else's class: then there are digests only
        if said.exists():
            _expected.update(json.loads(said.read_text(encoding="utf-8")))
            for name, found in list(changed.items()):
                expected = _expected.get(name)
                if expected not in (None, found["hex"]):
                    distance = measure(held[name], spool / f"{expected}.npz", tolerance)
                    if distance is not None:
                        changed[name] = {**found, "distance": asdict(distance), "from": expected}
        else:
            for name, found in changed.items():
                file = spool / f"{found['hex']}.npz"
                if not file.exists() and sum(_kept) < IN_ALL:
                    keep(held[name], file)
                    _kept.append(file.stat().st_size if file.exists() else 0)
            hexes = {name: found["hex"] for name, found in changed.items()}
            said.write_text(json.dumps(hexes), encoding="utf-8")
