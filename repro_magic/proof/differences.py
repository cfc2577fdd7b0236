"""How two values, or two texts that were shown, differ: in words, and whether only by noise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from repro_magic.proof import pictures
from repro_magic.proof.distance import Tolerance
from repro_magic.proof.shown import is_encoded, without_noise
from repro_magic.proof.verdict import Distance, Outcome, Part

# The parts of a printed text that are numbers.
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?(?![\w.])", re.IGNORECASE)
# Of numbers with fewer digits the last one counts in full.
_DIGITS = 4
_FAR = 1_000_000  # a distance of more units in the last place says nothing that the absolute one does not
_EPSILON = 2.0**-23  # a float32's unit in the last place, as a relative difference


def different(
    name: str,
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    sides: tuple[str, str] = ("one run", "another"),
    *,
    exact: bool = False,
) -> Part:
    """The part for a value whose digest differs."""
    if not exact and "without_places" in one and one["without_places"] == other.get("without_places"):
        return Part(name, Outcome.NOISE, "a temporary path")
    for what in ("kind", "dtype", "shape"):
        if one[what] != other[what]:
            return Part(name, Outcome.DIFFERS, f"{what} {one[what]} in {sides[0]}, {other[what]} in {sides[1]}")
    described = " ".join(str(part) for part in (one["kind"], one["dtype"], one["shape"]) if part is not None)
    if other.get("from") != one["hex"]:  # nothing was measured, or against an earlier value
        digits = 8 if one["hex"][:8] != other["hex"][:8] else 64
        told = f"{one['hex'][:digits]} in {sides[0]}, {other['hex'][:digits]} in {sides[1]}"
        return Part(name, Outcome.DIFFERS, f"{described}: {told}")
    given = other["distance"]
    distance = Distance(**{**given, "shape": tuple(given["shape"]), "first": tuple(given["first"])})
    outcome = Outcome.CLOSE if distance.is_close else Outcome.DIFFERS
    return Part(name, outcome, f"{described}: {in_words(distance)}", distance)


def in_words(distance: Distance) -> str:
    """How far apart two values are.

    Example:
        >>> in_words(Distance("", "float32", (2, 3), 1, 6, (1, 2), 0.5, 4))
        '1 of 6 elements differs, the first at [1, 2]; by at most 0.5, 4 ULP'
    """
    verb = "differs" if distance.differing == 1 else "differ"
    of = f" of {distance.at}" if distance.at else ""
    text = f"{distance.differing:,} of {distance.size:,} elements{of} {verb}"
    if distance.first:
        text += f", the first at {list(distance.first)}"
    if distance.max_abs is None:
        return f"{text}; a number stands against NaN or infinity"
    if distance.max_abs == 0:
        return f"{text}; equal as numbers, by the sign of a zero or the payload of a NaN"
    ulp = "" if distance.max_ulp is None or distance.max_ulp > _FAR else f", {distance.max_ulp:,} ULP"
    return f"{text}; by at most {distance.max_abs:.3g}{ulp}"


def output(
    name: str, texts: Sequence[str | None], tolerance: Tolerance, sides: tuple[str, str] = ("one run", "another")
) -> Part:
    """The part for what was shown under one name, in each run."""
    first = texts[0]
    if len(set(texts)) == 1:
        return Part(name, Outcome.SAME)
    if None in texts or first is None:
        return Part(name, Outcome.DIFFERS, f"it is shown in {sides[0 if first is not None else 1]} only")
    here = [text for text in texts if text is not None]
    if is_encoded(name):
        return Part(name, Outcome.DIFFERS, pictures.difference(first, next(t for t in here if t != first), sides))
    clean = here if tolerance.exact else [without_noise(name, text) for text in here]
    if len(set(clean)) == 1:
        return Part(name, Outcome.NOISE, "addresses, timings or generated names")
    if tolerance.is_given and all(_is_close(clean[0], text, tolerance) for text in clean[1:]):
        return Part(name, Outcome.CLOSE, "the numbers in it are within the tolerance")
    return Part(name, Outcome.DIFFERS, _first_difference(clean, sides))


def _is_close(one: str, other: str, tolerance: Tolerance) -> bool:
    """Whether two texts differ in numbers only, and these by no more than the tolerance and their last digit."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    relative = max(tolerance.rtol, tolerance.ulp * _EPSILON)
    for left, right in zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True):
        apart = abs(float(left) - float(right))
        if apart > relative * max(abs(float(left)), abs(float(right))) + max(_last_digit(left), _last_digit(right)):
            return False
    return True


def _last_digit(number: str) -> float:
    """What the last digit of a printed number counts; nothing where it is no trifle, or was not rounded."""
    mantissa, _, exponent = number.lower().partition("e")
    _, point, decimals = mantissa.partition(".")
    if not point or len(re.sub(r"\D", "", mantissa).lstrip("0")) < _DIGITS:
        return 0.0
    return 1.01 * float(f"1e{int(exponent or 0) - len(decimals)}")


def _first_difference(texts: Sequence[str], sides: tuple[str, str]) -> str:
    first = texts[0].splitlines()
    other = next(lines for text in texts[1:] if text != texts[0] and (lines := text.splitlines()) is not None)
    for one, twin in zip(first, other, strict=False):
        if one != twin:
            place = next((at for at, (a, b) in enumerate(zip(one, twin, strict=False)) if a != b), 0)
            return f"{_around(one, place)!r} in {sides[0]}, {_around(twin, place)!r} in {sides[1]}"
    return f"{len(first)} lines in {sides[0]}, {len(other)} in {sides[1]}"


def _around(line: str, place: int) -> str:
    """A long line where it differs."""
    start = max(0, place - 30)
    return ("…" if start else "") + line[start : start + 60].strip()
