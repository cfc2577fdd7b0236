"""What ipywidgets' `Output` widgets show, which no cell's outputs hold: nbclient plays the front end that keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_VIEW, _REFERENCE = "application/vnd.jupyter.widget-view+json", "IPY_MODEL_"
_State = Mapping[str, Mapping[str, Any]]
WidgetOutputs = dict[int, list[dict[str, Any]]]


class ShownWidgets:
    """The widgets that a notebook has displayed so far, numbered in their order, and what they showed last."""

    def __init__(self) -> None:
        """Nothing was displayed."""
        self._models: dict[str, None] = {}
        self._last: dict[int, str] = {}

    def after(self, cell: Any, state: _State) -> WidgetOutputs:  # noqa: ANN401 - nbformat's node
        """What the widgets show, by number, of those that show something else since the cell before.

        Args:
            cell: a cell that has run, with its outputs.
            state: every widget's state, by the model's id.
        """
        self._models |= dict.fromkeys(_displayed(cell.outputs))
        changed: WidgetOutputs = {}
        for number, model in enumerate(self._models, start=1):
            outputs = [dict(output) for output in _outputs(model, state, set())]
            if outputs and self._last.get(number) != repr(outputs):
                self._last[number] = repr(outputs)
                changed[number] = outputs
        return changed


def _displayed(outputs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for output in outputs:
        view = output.get("data", {}).get(_VIEW)
        if view is not None:
            yield str(view["model_id"])


def _outputs(model: str, state: _State, seen: set[str]) -> Iterator[Mapping[str, Any]]:
    """The outputs that a widget and those inside it hold."""
    if model in seen:
        return
    seen.add(model)
    held = state.get(model, {})
    yield from held.get("outputs", ())
    for child in held.get("children", ()):
        yield from _outputs(str(child).removeprefix(_REFERENCE), state, seen)
