"""What differs between two runs and means nothing: addresses, timings, progress bars, generated names.

Each kind of noise is a pattern. A text is normalised by putting the kind's name in the place of what matches, so that
two texts that differ by noise only become equal, and one can say that it was noise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_UNIT = r"(?:ns|µs|μs|us|ms|s|min|h)"
_TIME = rf"{_NUMBER} ?{_UNIT}(?: {_NUMBER} ?{_UNIT})*"

# tqdm's, with a bar and without; and what the user put behind the rate, which may be a loss.
_BAR = r"(?:\d+%\|[█▉▊▋▌▍▎▏#0-9 ]*\||\d+(?:\.\d+)?(?:it|B|kB|MB|GB|s)/(?:s|it)\b)"
_POSTFIX = r"[^\r\n]*?(?:(?<=/s)|(?<=/it))(?P<keep>, [^\]\r\n]*)\][^\r\n]*"


@dataclass(frozen=True)
class Noise:
    """A kind of noise.

    Attributes:
        name: what takes its place.
        pattern: what matches it. A group `keep` stays.
    """

    name: str
    pattern: re.Pattern[str]


NOISE: tuple[Noise, ...] = tuple(
    Noise(name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        ("address", r"(?P<keep>\b(?:at|object) )0x[0-9a-fA-F]{4,16}\b"),
        # %time and %%time
        ("timing", r"^(?P<keep>CPU times: |Wall time: |Compiler time: |Compiler *: ).*$"),
        # %timeit
        ("timing", rf"{_TIME} ± {_TIME} per loop \(mean ± std\. dev\. of [\d,]+ runs?, [\d,]+ loops? each\)"),
        # Also what it overwrote: how often a bar is drawn depends on the time that it takes.
        ("progress bar", rf"\r*(?:[^\r\n]*{_BAR}[^\r\n]*\r+)*[^\r\n]*?{_BAR}(?:{_POSTFIX}|[^\r\n]*)(?:\r+|$)"),
        ("temporary path", r"(?:/private)?/(?:tmp|var/folders)/[^\s'\"<>),\]]+"),
        ("temporary path", r"[A-Za-z]:\\Users\\[^\\]+\\AppData\\Local\\Temp\\[^\s'\"<>),\]]+"),
        ("process", r"(?P<keep>ipykernel_)\d+"),
        ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        # Matplotlib's SVG: ids are hashes with a random salt, the date is now.
        ("date", r"(?P<keep><dc:date>)[^<]*"),
        ("id", r"(?P<keep>\b(?:id|xlink:href|clip-path|href|fill|mask)=\"(?:url\()?#?)[a-z]{0,2}[0-9a-f]{10,}"),
        # scikit-learn's page of a fitted search
        ("timing", r"(?P<keep>refit_time_: float<br>(?:(?!</tr>)[\s\S]){,2000}?<td>)[^<]*"),
        ("timing", r"(?P<keep>me(?:&#x27;|'): array\()[^)]*"),
        # pandas' Styler
        ("id", r"(?P<keep>(?:\bid=\"|#|\bclass=\")T_)[0-9a-f]{5}"),
    )
)


# What of it a value may hold that is a text or a path.
PLACES = tuple(noise for noise in NOISE if noise.name == "temporary path")


def normalised(text: str, kinds: Sequence[Noise] = NOISE) -> str:
    """The text with the names of noise in the place of noise, of some kinds.

    Example:
        >>> normalised("<Model object at 0x7f3a52c0d3d0>")
        '<Model object at [address]>'
    """
    for noise in kinds:
        text = noise.pattern.sub(lambda match, name=noise.name: f"{_kept(match)}[{name}]", text)  # type: ignore[misc]
    return text


def _kept(match: re.Match[str]) -> str:
    return match.groupdict().get("keep") or ""
