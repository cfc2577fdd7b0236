"""What differs between two runs and means nothing: addresses, timings, progress bars, generated names.

Each kind of noise is a pattern. A text is normalised by putting the kind's name in the place of what matches, so that
two texts that differ by noise only become equal, and one can say that it was noise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

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


class _ProgressBar(Noise):
    """tqdm's bar, and all that it overwrote: how often it is drawn depends on the time that it takes.

    What the user put before it and behind its rate stays: it may be a loss.
    """

    def replaced(self, text: str) -> str:
        """The text with the name in its place."""
        if self.pattern.search(text) is None:
            return text
        return "\n".join(map(self._in_line, text.split("\n")))

    def _in_line(self, line: str) -> str:
        """Bars that follow one another are one, the last; the carriage returns around it are its own."""
        pieces = re.split(r"(\r+)", line)
        found, bar, between = [], "", ""
        for piece, after in zip_longest(pieces[::2], pieces[1::2], fillvalue=""):
            drawn = self.pattern.search(piece)
            if drawn is not None:
                bar, between = self.pattern.sub(rf"[{self.name}\g<behind>]", piece), ""
            elif not (bar and after and not piece.strip(" ")):  # else it is erased, with as many spaces as it was long
                found += [bar or between, piece]
                bar, between = "", after
        return "".join([*found, bar])


# " 40%|####      | 2/5 [00:00<00:01, 2.97it/s, loss=0.5]", and "2it [00:00, 2.97it/s]" where nobody knows how many.
_CLOCK = r"(?:\d+ days?, )?\d+:[\d:]+"
_BAR = (
    rf"(?: *(?<!\d)\d+%\|[^|\n]{{,500}}\| [\w.]+/[\w.]+ \[{_CLOCK}<(?:\?|{_CLOCK})"
    rf"|(?<![\w.])\d[\w.]* \[{_CLOCK})"
    r"(?:, *(?:\?|[\d.]+)[^\s,\]/]*/[^\s,\]]+)?(?P<behind>(?:, [^\]\n]{,10000}+)?)\]"
)


NOISE: tuple[Noise, ...] = tuple(
    (_ProgressBar if pattern is _BAR else Noise)(name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        # Not a number that is printed behind the word "at": in <…>, &lt;…&gt;, or with what reprs put behind it.
        ("address", r"(?P<keep>\bobject at )0x[0-9a-fA-F]{4,16}\b"),
        ("address", r"(?P<keep>\bat )0x[0-9a-fA-F]{4,16}(?=\)?>|&gt;|\.\.\.|, file |; to |: \w)"),
        # %time and %%time
        ("timing", rf"^(?P<keep>CPU times: )(?:user {_TIME}, sys: {_TIME}, )?total: {_TIME}$"),
        ("timing", rf"^(?P<keep>(?:Wall time|Compiler time|Compiler|Parser) *: ){_TIME}$"),
        # %timeit
        ("timing", rf"{_TIME} ± {_TIME} per loop \(mean ± std\. dev\. of [\d,]+ runs?, [\d,]+ loops? each\)"),
        ("progress bar", _BAR),
        ("temporary path", r"(?:/private)?/(?:tmp|var/folders)/[^\s'\"<>),\]]+"),
        ("temporary path", r"[A-Za-z]:\\Users\\[^\\]+\\AppData\\Local\\Temp\\[^\s'\"<>),\]]+"),
        ("process", r"(?P<keep>ipykernel_)\d+"),
        ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        # Matplotlib's SVG: ids are hashes with a random salt, the date is now.
        ("date", r"(?P<keep><dc:date>)[^<]*"),
        ("id", r"(?P<keep>\b(?:id|xlink:href|clip-path|href|fill|mask)=\"(?:url\()?#?)[a-z]{0,2}[0-9a-f]{10,}"),
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
