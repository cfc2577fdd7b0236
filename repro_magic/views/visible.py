"""Text of anybody's made safe to show: what would act on a terminal or a page, or hide, is written out."""

from __future__ import annotations

import re

# Controls, lone surrogates, what turns the direction of text around, and what is no character: all that would break
# the encoding or show something other than what is there. Tabs and line feeds stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufdd0-\ufdef\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""The text with everything that is not seen written as Python writes it.

    Example:
        >>> visible("a\x1b[31m\u202eb")
        'a\\x1b[31m\\u202eb'
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def in_one_line(text: str) -> str:
    r"""The same for a name or a path, which stands in a line of ours: its line feeds are written out, too.

    Example:
        >>> in_one_line("a\nb")
        'a\\nb'
    """
    return visible(text).replace("\n", "\\n")
