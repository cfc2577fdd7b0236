"""Makes foreign text safe to show: characters that act on a terminal or a page, or are invisible, are escaped."""

from __future__ import annotations

import re

# Control characters, lone surrogates, marks of text direction, and noncharacters: they break the encoding, or make the
# text look different from what it is. Tabs and line feeds stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufdd0-\ufdef\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""The text with invisible characters as Python escapes.

    Example:
        >>> visible("a\x1b[31m\u202eb")
        'a\\x1b[31m\\u202eb'
    """
    return _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], text)


def in_one_line(text: str) -> str:
    r"""Like `visible`, for names and paths inside a line: also escapes line feeds.

    Example:
        >>> in_one_line("a\nb")
        'a\\nb'
    """
    return visible(text).replace("\n", "\\n")
