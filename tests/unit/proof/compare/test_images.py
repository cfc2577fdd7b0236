"""What is told of two images that differ."""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from repro_magic.proof.compare.images import difference


def png(pixels: np.ndarray, **texts: str) -> str:
    held = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        held.add_text(key, text)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=held)
    return base64.b64encode(file.getvalue()).decode() + "\n"


BLACK = np.zeros((3, 4, 3), np.uint8)


def test_pixels_that_differ_are_counted() -> None:
    other = BLACK.copy()
    other[0, 0, 1], other[2, 3, :] = 7, 200
    assert difference(png(BLACK), png(other)) == "2 of 12 pixels differ, by at most 200 of 255"
    assert difference(png(other), png(BLACK)) == "2 of 12 pixels differ, by at most 200 of 255"


def test_sizes_and_what_else_a_file_holds() -> None:
    told = difference(png(BLACK), png(BLACK[:2]), ("the record", "the fresh run"))
    assert told == "4 x 3 pixels in the record, 4 x 2 in the fresh run"
    assert difference(png(BLACK), png(BLACK, Date="now")) == "every pixel is the same; only metadata differs"


def test_what_is_no_image_or_cannot_be_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference("no base64 at all", png(BLACK)) == "the bytes differ"
    assert difference(png(BLACK)[:40], png(BLACK)) == "the bytes differ"
    one, other = png(BLACK), png(BLACK[:2])
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert difference(one, other) == "the bytes differ"
