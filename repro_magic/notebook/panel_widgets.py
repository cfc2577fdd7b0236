"""The widgets that the panel consists of: controls with a note, headings, and tables that scroll."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from repro_magic.views.document import Document, Line


def tooltip(widget: Any, text: str) -> Any:  # noqa: ANN401 - ipywidgets carries no types
    """Set a widget's tooltip, whose name differs between ipywidgets 7 and 8."""
    for name in ("tooltip", "description_tooltip"):
        if widget.has_trait(name):
            setattr(widget, name, text)
            break
    return widget


def full_width(**more: Any) -> Any:  # noqa: ANN401 - ipywidgets carries no types
    """A layout that takes the panel's width."""
    return widgets.Layout(width="auto", **more)


class Control:
    """The control of a setting, and the note beside it."""

    def __init__(self, label: str, says: str, choices: tuple[str, ...] = (), *, is_count: bool = False) -> None:
        """Create both widgets; observe `control` for clicks."""
        style = {"description_width": "initial"}
        if choices:
            self.control = widgets.ToggleButtons(
                options=list(choices), description=label, tooltips=[says] * len(choices), style=style
            )
            self.control.style.button_width = "5em"
        elif is_count:
            self.control = tooltip(
                widgets.BoundedIntText(
                    value=1,
                    min=1,
                    max=2**31 - 1,
                    description=label,
                    style=style,
                    layout=widgets.Layout(width="11em"),
                ),
                says,
            )
        else:
            self.control = tooltip(widgets.Checkbox(description=label, indent=False, layout=full_width()), says)
        self.note = widgets.HTML(layout=full_width())
        self.box = widgets.HBox([self.control, self.note], layout=full_width(flex_flow="row wrap"))
        self.box.add_class("repro-magic-setting")

    def show(self, value: object, note: str, *, is_disabled: bool) -> None:
        """Show a value. The panel ignores the event that this causes, see `Panel._guarded`."""
        if value is not None:
            self.control.value = value
        self.control.disabled = is_disabled
        self.say(note)

    def say(self, note: str) -> None:
        """Change the note only."""
        self.note.value = Document((Line(note),)).html() if note else ""


def heading(text: str) -> Any:  # noqa: ANN401 - ipywidgets carries no types
    """The heading of a section."""
    html = f'<div role="heading" aria-level="3" class="repro-magic-heading">{text}</div>'
    return widgets.HTML(html, layout=full_width())


def scrolling(html: str, name: str) -> str:
    """A table in a region that scrolls, also by keyboard."""
    return f'<div class="repro-magic-table" role="region" aria-label="{name}" tabindex="0">{html}</div>'
