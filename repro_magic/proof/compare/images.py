"""How far two images are apart, which a notebook keeps as text."""

from __future__ import annotations

import base64
import io

_FULL = 255


def difference(one: str, other: str, sides: tuple[str, str] = ("one run", "the other")) -> str:
    """What differs between two images, in words.

    Args:
        one: the file (PNG, JPEG, GIF …) in base64.
        other: as `one`.
        sides: where each is from.

    Returns:
        Pixels are told if Pillow is installed and can read both, else only that the bytes differ.

    Example:
        >>> difference("iVBORw0KGgo=", "iVBORw0KGgp=")
        'the bytes differ'
    """
    try:
        import numpy as np  # noqa: PLC0415 - Pillow is no dependency, and few notebooks have such a difference
        from PIL import Image  # noqa: PLC0415 - Pillow may be missing

        left, right = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"), dtype=np.int16)
            for text in (one, other)
        )
    except Exception:  # noqa: BLE001 - no Pillow, a format that it does not know, a broken file
        return "the bytes differ"
    if left.shape != right.shape:
        (height, width, _), (other_height, other_width, _) = left.shape, right.shape
        return f"{width} x {height} pixels in {sides[0]}, {other_width} x {other_height} in {sides[1]}"
    apart = np.abs(left - right).max(axis=-1)
    if not apart.any():
        return "every pixel is the same; only metadata differs"
    return f"{np.count_nonzero(apart):,} of {apart.size:,} pixels differ, by at most {apart.max()} of {_FULL}"
