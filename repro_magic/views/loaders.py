"""DataLoaders as text: the block under a cell that created a faulty loader, and the table of all loaders."""

from __future__ import annotations

from collections.abc import Sequence

from repro_magic.dataloading.registry import Loader
from repro_magic.introspection.location import Place
from repro_magic.journal import Label
from repro_magic.views.document import Document, Line, Table, Tone

_MOST = 10


def block(loaders: Sequence[Loader], label: Label) -> Document:
    """Each fault with its line, reason and remedy; empty if there are no faults."""
    faults = list(dict.fromkeys((loader.place, fault) for loader in loaders for fault in loader.faults))
    if not faults:
        return Document()
    count = len({place for place, _ in faults})
    heading = f"{count} {'DataLoader needs' if count == 1 else 'DataLoaders need'} fixing"
    lines = [Line(f"⚠ {heading}", tone=Tone.ALARM)]
    for place, fault in faults[:_MOST]:
        where = "" if place is None else f", {_line(place, label)}"
        lines += [
            Line(f"DataLoader{where}: {fault.what}", indent=1, tone=Tone.STRONG),
            *([Line(place.text, indent=2, tone=Tone.CODE)] if place is not None and place.text else []),
            Line(fault.why, indent=2),
            Line(f"→ {fault.remedy}", indent=2),
        ]
    if len(faults) > _MOST:
        lines.append(Line(f"… and {len(faults) - _MOST} more", indent=1))
    return Document(tuple(lines))


def table(loaders: Sequence[Loader], label: Label) -> Document:
    """All remarks about the loaders; empty if there are none."""
    rows = [
        (
            "" if position else _name(loader, label),  # only on a loader's first row
            f"{'⚠ ' * remark.is_fault}{remark.what}",
            f"{remark.why} {remark.remedy}",
        )
        for loader in loaders
        for position, remark in enumerate(loader.remarks)
    ]
    return Document((Table("Loaders", ("loader", "what", "why, and how to fix it"), rows),) if rows else ())


def _name(loader: Loader, label: Label) -> str:
    if loader.place is None:
        return loader.name or "DataLoader"
    where = _line(loader.place, label)
    return f"{loader.name}, {where}" if loader.name else where


def _line(place: Place, label: Label) -> str:
    return f"{label(place.file)} line {place.line}".strip()
