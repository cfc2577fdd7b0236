"""How images of PIL and figures of matplotlib are digested: by their pixels."""

from __future__ import annotations

from typing import Any

from repro_magic.proof.digest.parts import Parts, named, several
from repro_magic.proof.digest.walk import Walk

_DPI = 100


def image(walk: Walk, value: Any) -> Parts:
    """An image, by its pixels and its colours."""
    if getattr(value, "is_animated", False):
        walk.gap(value, "only one of its frames is compared")
    palette = value.palette
    colours = None if palette is None else (palette.mode, value.getpalette(palette.mode))
    about = {"mode": value.mode, "size": value.size, "palette": colours, "info": value.info}
    return named("PIL.Image", {**about, "pixels": value.tobytes()})


def figure(_walk: Walk, value: Any) -> Parts:
    """A figure, drawn at a fixed resolution on a separate canvas."""
    import matplotlib.backends.backend_agg as agg  # noqa: PLC0415 - imported already: the figure exists

    canvas, dpi = value.canvas, value.dpi
    try:
        value.set_dpi(_DPI)
        drawn: Any = agg.FigureCanvasAgg(value)
        drawn.draw()
        return several("matplotlib.Figure", drawn.get_width_height(), bytes(drawn.buffer_rgba()))
    finally:
        value.set_dpi(dpi)
        value.set_canvas(canvas)
