"""The pictures of README and documentation, in light and dark, out of real cells in a real JupyterLab: `make pictures`.

Pytest runs this file only if it is named: tests write no pictures. Each step first waits for the text that its picture
is to show, so a picture without it is never stored; whether it looks well, a person has to see.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ROOT
from in_browser import FLAGGED, PANEL, Notebook, chromium, notebook, server  # noqa: F401 - fixtures
from PIL import Image, ImageChops, ImageOps

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.parametrize("theme", ["light", "dark"])]

IMAGES = ROOT / "docs" / "images"
MARGIN = 16  # pixels of the picture
COLOURS = 64  # text and its edges need no more, and the file is a third as large
# JupyterLab marks the cell that is selected: an empty one, in no picture.
PLAIN = ".jp-cell-toolbar, .jp-Collapser, .jp-Cell.jp-mod-selected { visibility: hidden !important }"
WITHOUT_CODE = ".jp-Cell-inputWrapper { visibility: hidden !important }"

LEDGER = (
    "import random, numpy as np",
    "rng = np.random.default_rng()\nnoise = rng.random(100) + np.random.rand(100)",
    "torch.dropout(torch.ones(40_000), 0.5, True);",
    "random.random(), rng.random()",
    "order = torch.randperm(10)",
    "np.random.seed(1)\nstart = np.random.rand(3)",
    "%repro_ledger",
)
SETUP = "%load_ext repro_magic\nimport torch\ntorch.set_num_threads(2)\n%repro_seed 42"
FINDING = """labels = torch.arange(115_000) % 10
brightness = torch.rand(115_000)
last = torch.zeros(10)
last[labels] = brightness"""
HANDLED = "%%deterministic --seed 42\nlast[labels] = brightness"
Make = Callable[..., Notebook]


@pytest.fixture
def window() -> dict[str, Any]:
    """About as wide as a page of the documentation, and sharp on every screen."""
    return {"viewport": {"width": 860, "height": 1700}, "device_scale_factor": 2}


def opened(notebook: Make, theme: str, *cells: str) -> Notebook:
    """A notebook whose cells ran; the last one, which is empty, is selected."""
    made = notebook((*cells, ""))
    made.theme(theme)
    made.command("application:toggle-left-area")
    made.run(*range(len(cells)))
    made.page.add_style_tag(content=PLAIN)
    made.cell(len(cells)).locator(".jp-InputArea-editor").click()
    made.page.mouse.move(0, 0)
    return made


def store(shown: Notebook, name: str, *parts: Any) -> None:
    """Store what some parts of the page, one below the other, look like."""
    boxes = [part.bounding_box() for part in parts]
    left, top = (min(box[side] for box in boxes) for side in ("x", "y"))
    right, bottom = (max(box[side] + box[size] for box in boxes) for side, size in (("x", "width"), ("y", "height")))
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    picture = Image.open(io.BytesIO(shown.page.screenshot(clip=clip, animations="disabled", caret="hide")))
    framed(picture.convert("RGB")).quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


def framed(picture: Image.Image) -> Image.Image:
    """What is in a picture, with the same margin on all sides."""
    background: Any = picture.getpixel((0, 0))
    content = ImageChops.difference(picture, Image.new("RGB", picture.size, background)).getbbox()
    return ImageOps.expand(picture.crop(content), MARGIN, background)


def test_findings(notebook: Make, theme: str) -> None:
    shown = opened(notebook, theme, SETUP, FINDING, HANDLED)
    shown.cell(1).get_by_text("index_put_ on cpu").wait_for()
    shown.cell(2).get_by_text("handled: index_put_").wait_for()
    store(shown, f"findings-{theme}", shown.cell(1), shown.cell(2))


def test_ledger(notebook: Make, theme: str) -> None:
    shown = opened(notebook, theme, SETUP, *LEDGER)
    output = shown.cell(len(LEDGER)).locator(".jp-OutputArea-output").first
    output.get_by_text("80,000 words").wait_for()
    shown.page.add_style_tag(content=WITHOUT_CODE)
    store(shown, f"ledger-{theme}", output)


def test_panel(notebook: Make, theme: str) -> None:
    shown = opened(notebook, theme, *PANEL, FLAGGED, "torch.backends.cudnn.benchmark = True")
    panel = shown.page.locator(".repro-magic-panel").first
    panel.get_by_text("changed by In[4]").wait_for()
    shown.page.add_style_tag(content=WITHOUT_CODE)
    store(shown, f"panel-{theme}", panel)
