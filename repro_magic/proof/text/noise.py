"""Noise in outputs, which differs between runs without meaning: addresses, timings, progress bars, generated names.

Each kind of noise is a pattern. Normalising replaces matches by the kind's name, so texts that differ only by noise
become equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from repro_magic.proof.text import bars

_NUMBER = r"(?<!\d)\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_UNIT = r"(?:ns|µs|μs|us|ms|s|min|h|d)"
_TIME = rf"{_NUMBER} ?{_UNIT}(?: {_NUMBER} ?{_UNIT}){{,3}}"


@dataclass(frozen=True)
class Noise:
    """A kind of noise.

    Attributes:
        name: its replacement.
        pattern: matches it, without the group `keep`. It must be fast on lines of megabytes, such as plots.
    """

    name: str
    pattern: re.Pattern[str]

    def replaced(self, text: str) -> str:
        """The text with each match replaced by the name."""
        return self.pattern.sub(lambda match: f"{match.groupdict().get('keep') or ''}[{self.name}]", text)


class _SvgIds(Noise):
    """The ids that Matplotlib gives to clip paths, hatches, markers and images: hashes with a random salt.

    Ids are numbered in the order of first use, so references are still compared. A `gid` set by the user is on a group,
    and is kept.
    """

    def replaced(self, text: str) -> str:
        """The text with each generated id replaced by the name and a number."""
        generated = {match["defined"] or match["used"] for match in _SVG_GENERATED.finditer(text)}
        numbers: dict[str, int] = {}

        def named(match: re.Match[str]) -> str:
            if match["id"] not in generated:
                return match[0]
            return f"{match['keep']}[{self.name} {numbers.setdefault(match['id'], len(numbers) + 1)}]"

        return self.pattern.sub(named, text) if generated else text


class _ProgressBars(Noise):
    """Progress bars: how often they are drawn depends on the time that the work takes."""

    def replaced(self, text: str) -> str:
        """The text with each bar replaced by the name, and overwritten text removed."""
        return bars.settled(text, self.name)


_NOISE_CLASSES = {"progress bar": _ProgressBars, "svg id": _SvgIds}

# Matplotlib's ids of clip paths, hatches, markers, the paths of a collection, and images.
_SVG_ID = r"(?:[phm]|C[0-9a-f]+_[0-9a-f]+_|(?:Im_)?image)[0-9a-f]{10,12}"
# The definition of an id, and a use that cannot be a user's: users cannot name clip paths.
_SVG_GENERATED = re.compile(rf"(?<!<g )\bid=\"(?P<defined>{_SVG_ID})\"|clip-path=\"url\(#(?P<used>{_SVG_ID})\)\"")
_FOLIUM = "map|marker|tile_layer|popup|html|circle_marker|circle|geo_json|feature_group|layer_control|icon|poly_line"

NOISE: tuple[Noise, ...] = tuple(
    _NOISE_CLASSES.get(name, Noise)(name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        # Not any number after the word "at": only in <…> or &lt;…&gt;, or followed by what reprs print after it.
        ("address", r"(?P<keep>\bobject at )0x[0-9a-fA-F]{4,16}\b"),
        ("address", r"(?P<keep>\bat )0x[0-9a-fA-F]{4,16}(?=\)?>|&gt;|\.\.\.|, file |; to |: \w)"),
        # %time and %%time
        ("timing", rf"^(?P<keep>CPU times: )(?:user {_TIME}, sys: {_TIME}, )?total: {_TIME}$"),
        ("timing", rf"^(?P<keep>(?:Wall time|Compiler time|Compiler|Parser) *: ){_TIME}$"),
        # %timeit
        ("timing", rf"{_TIME} ± {_TIME} per loop \(mean ± std\. dev\. of [\d,]+ runs?, [\d,]+ loops? each\)"),
        ("progress bar", bars.BAR),
        ("temporary path", r"(?:/private)?/(?:tmp|var/folders)/[^\s'\"<>),\]]+"),
        ("temporary path", r"[A-Za-z]:\\Users\\[^\\]+\\AppData\\Local\\Temp\\[^\s'\"<>),\]]+"),
        ("process", r"(?P<keep>ipykernel_)\d+"),
        # Ids of elements by Plotly, Bokeh and xarray
        ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        # Matplotlib's SVG
        ("date", r"(?P<keep><dc:date>)[^<]*"),
        ("svg id", rf"(?P<keep>\bid=\"|\bhref=\"#|url\(#)(?P<id>{_SVG_ID})(?=[\")])"),
        # Ids of elements by Altair, itables and folium
        ("id", r"(?P<keep>\baltair-viz-)[0-9a-f]{32}\b"),
        ("id", r"(?P<keep>\bitables_)[0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12}\b"),
        ("id", rf"(?P<keep>\b(?:{_FOLIUM})_)[0-9a-f]{{32}}\b"),
        # scikit-learn's HTML of a fitted search
        ("timing", r"(?P<keep>refit_time_: float<br>(?:(?!</tr>)[\s\S]){,2000}?<td>)[^<]*"),
        ("timing", r"(?P<keep>&#x27;me\.\.\.me&#x27;: array\()[^)]*"),
        # pandas' Styler
        ("id", r"(?P<keep>(?:\bid=\"|#|\bclass=\")T_)[0-9a-f]{5}"),
    )
)


# The noise that a string or path in a value may contain.
PLACES = tuple(noise for noise in NOISE if noise.name == "temporary path")


def normalised(text: str, kinds: Sequence[Noise] = NOISE) -> str:
    """Replace noise in a text by the names of its kinds.

    Example:
        >>> normalised("<Model object at 0x7f3a52c0d3d0>")
        '<Model object at [address]>'
    """
    for noise in kinds:
        text = noise.replaced(text)
    return text
