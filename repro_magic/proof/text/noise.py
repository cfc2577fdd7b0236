"""What differs between two runs and means nothing: addresses, timings, progress bars, generated names.

Each kind of noise is a pattern. A text is normalised by putting the kind's name in the place of what matches, so that
two texts that differ by noise only become equal, and one can say that it was noise.
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
        name: what takes its place.
        pattern: what matches it. A group `keep` stays. It has to be done with a line of megabytes in a moment: plots
            come as such.
    """

    name: str
    pattern: re.Pattern[str]

    def replaced(self, text: str) -> str:
        """The text with the name in its place."""
        return self.pattern.sub(lambda match: f"{match.groupdict().get('keep') or ''}[{self.name}]", text)


class _SvgIds(Noise):
    """The ids that Matplotlib gives to clip paths, hatches, markers and images: hashes with a random salt.

    Each is numbered in the order of first use, so that what refers to what is still compared. A `gid` that the user
    gave stands on a group, and stays.
    """

    def replaced(self, text: str) -> str:
        """The text with the name in its place."""
        generated = {found["defined"] or found["used"] for found in _SVG_GENERATED.finditer(text)}
        numbers: dict[str, int] = {}

        def named(found: re.Match[str]) -> str:
            if found["id"] not in generated:
                return found[0]
            return f"{found['keep']}[{self.name} {numbers.setdefault(found['id'], len(numbers) + 1)}]"

        return self.pattern.sub(named, text) if generated else text


class _ProgressBars(Noise):
    """Progress bars: how often they are drawn depends on the time that the work takes."""

    def replaced(self, text: str) -> str:
        """The text with the name in its place, and what was drawn over gone."""
        return bars.settled(text, self.name)


_OF_KIND = {"progress bar": _ProgressBars, "svg id": _SvgIds}

# Matplotlib's ids: of clip paths, hatches, markers, the paths of a collection, and images.
_SVG_ID = r"(?:[phm]|C[0-9a-f]+_[0-9a-f]+_|(?:Im_)?image)[0-9a-f]{10,12}"
# Where one is made, and where one is used that no user can have made: a clip path has no name of the user's.
_SVG_GENERATED = re.compile(rf"(?<!<g )\bid=\"(?P<defined>{_SVG_ID})\"|clip-path=\"url\(#(?P<used>{_SVG_ID})\)\"")
_FOLIUM = "map|marker|tile_layer|popup|html|circle_marker|circle|geo_json|feature_group|layer_control|icon|poly_line"

NOISE: tuple[Noise, ...] = tuple(
    _OF_KIND.get(name, Noise)(name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        # Not a number that is printed behind the word "at": in <…>, &lt;…&gt;, or with what reprs put behind it.
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
        # Plotly, Bokeh and xarray name the parts of a page so.
        ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        # Matplotlib's SVG
        ("date", r"(?P<keep><dc:date>)[^<]*"),
        ("svg id", rf"(?P<keep>\bid=\"|\bhref=\"#|url\(#)(?P<id>{_SVG_ID})(?=[\")])"),
        # Altair's, itables' and folium's parts of a page
        ("id", r"(?P<keep>\baltair-viz-)[0-9a-f]{32}\b"),
        ("id", r"(?P<keep>\bitables_)[0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12}\b"),
        ("id", rf"(?P<keep>\b(?:{_FOLIUM})_)[0-9a-f]{{32}}\b"),
        # scikit-learn's page of a fitted search
        ("timing", r"(?P<keep>refit_time_: float<br>(?:(?!</tr>)[\s\S]){,2000}?<td>)[^<]*"),
        ("timing", r"(?P<keep>&#x27;me\.\.\.me&#x27;: array\()[^)]*"),
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
        text = noise.replaced(text)
    return text
