"""How two values, or two texts that were shown, differ: in words, and whether only by noise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from repro_magic.proof.compare import images
from repro_magic.proof.compare.outputs import is_encoded, without_noise
from repro_magic.proof.compare.small_differences import small_apart, texts_apart
from repro_magic.proof.kernel.numeric_distance import Tolerance
from repro_magic.proof.verdict import Distance, Outcome, Part

# The parts of a printed text that are numbers.
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?(?![\w.])", re.IGNORECASE)
# Of numbers with fewer digits the last one counts in full.
_DIGITS = 4
_FAR = 1_000_000  # a distance of more units in the last place says nothing that the absolute one does not
_EPSILON = 2.0**-23  # a float32's unit in the last place, as a relative difference


# What two runs are called. Of more, each has its number.
RUNS = ("one run", "the other")
Sides = tuple[str, str]


def runs_called(count: int, other: int) -> Sides:
    """What the first of several runs and another one are called.

    Args:
        count: how many runs there are.
        other: which is the other one, from 1.

    Example:
        >>> runs_called(2, 2), runs_called(3, 2)
        (('one run', 'the other'), ('run 1', 'run 2'))
    """
    return RUNS if count == len(RUNS) else ("run 1", f"run {other}")


def different(
    name: str,
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    sides: Sides = RUNS,
    *,
    exact: bool = False,
) -> Part:
    """The part for a value whose digest differs."""
    if not exact and "without_places" in one and one["without_places"] == other.get("without_places"):
        return Part(name, Outcome.NOISE, "a temporary path")
    distance = _measured(one, other)
    outcome = Outcome.CLOSE if distance is not None and distance.is_close else Outcome.DIFFERS
    told = small_apart(one.get("small") or {}, other.get("small") or {}, sides, is_measured=distance is not None)
    if told:
        return Part(name, outcome, f"{told}{_by_how_much(distance) if _is_float(distance) else ''}", distance)
    return Part(name, outcome, _kinds_apart(one, other, sides) or _as_a_whole(one, other, distance, sides), distance)


def _measured(one: Mapping[str, Any], other: Mapping[str, Any]) -> Distance | None:
    """How far they are apart, where that was measured, and not against an earlier value."""
    if other.get("from") != one["hex"]:
        return None
    given = other["distance"]
    return Distance(**{**given, "shape": tuple(given["shape"]), "first": tuple(given["first"])})


def _is_float(distance: Distance | None) -> bool:
    return distance is not None and distance.max_ulp is not None and distance.parts == 1


def _kinds_apart(one: Mapping[str, Any], other: Mapping[str, Any], sides: Sides) -> str:
    """By what two values are not of one form; empty if they are."""
    if one["kind"] != other["kind"]:
        return f"{_a(one['kind'])} in {sides[0]}, {_a(other['kind'])} in {sides[1]}"
    for what in ("dtype", "shape"):
        if one[what] != other[what]:
            left, right = (
                tuple(found[what]) if what == "shape" and found[what] else found[what] for found in (one, other)
            )
            return f"{_short(one['kind'])} of {what} {left} in {sides[0]}, {right} in {sides[1]}"
    return ""


def _short(kind: str) -> str:
    return kind.removeprefix("builtins.")


def _a(kind: str) -> str:
    """A kind with its article.

    Example:
        >>> _a("builtins.int"), _a("torch.Tensor"), _a("builtins.NoneType")
        ('an int', 'a torch.Tensor', 'None')
    """
    short = _short(kind)
    return "None" if short == "NoneType" else f"{'an' if short[:1].lower() in 'aeiou' else 'a'} {short}"


def _as_a_whole(one: Mapping[str, Any], other: Mapping[str, Any], distance: Distance | None, sides: Sides) -> str:
    shape = None if one["shape"] is None else list(one["shape"])
    described = " ".join(str(part) for part in (_short(one["kind"]), one["dtype"], shape) if part is not None)
    if distance is not None:
        return f"{described}: {in_words(distance)}"
    digits = 8 if one["hex"][:8] != other["hex"][:8] else 64
    return f"{described}: digest {one['hex'][:digits]} in {sides[0]}, {other['hex'][:digits]} in {sides[1]}"


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
    if distance.parts > 1:
        text = f"{distance.parts:,} parts differ, the first: {text}"
    return f"{text}{_by_how_much(distance)}"


def _by_how_much(distance: Distance | None) -> str:
    if distance is None or (distance.max_abs is None):
        return "; a number stands against NaN or infinity" if distance is not None else ""
    if distance.max_abs == 0:
        return "; equal as numbers, by the sign of a zero or the payload of a NaN"
    ulp = "" if distance.max_ulp is None or distance.max_ulp > _FAR else f", {distance.max_ulp:,} ULP"
    return f"; by at most {distance.max_abs:.3g}{ulp}"


def output(name: str, texts: Sequence[str | None], tolerance: Tolerance, sides: Sides = RUNS) -> Part:
    """The part for what was shown under one name, in each run."""
    first = texts[0]
    if len(set(texts)) == 1:
        return Part(name, Outcome.SAME)
    if sides == RUNS:
        sides = runs_called(len(texts), next(place for place, text in enumerate(texts, 1) if text != first))
    if None in texts or first is None:
        return Part(name, Outcome.DIFFERS, f"it is shown in {sides[0 if first is not None else 1]} only")
    here = [text for text in texts if text is not None]
    if is_encoded(name):
        return Part(name, Outcome.DIFFERS, images.difference(first, next(t for t in here if t != first), sides))
    clean = here if tolerance.exact else [without_noise(name, text) for text in here]
    if len(set(clean)) == 1:
        return Part(name, Outcome.NOISE, "addresses, timings or generated names")
    if tolerance.is_given and all(_is_close(clean[0], text, tolerance) for text in clean[1:]):
        return Part(name, Outcome.CLOSE, "the numbers in it are within the tolerance")
    return Part(name, Outcome.DIFFERS, texts_apart(clean[0], next(text for text in clean if text != clean[0]), sides))


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
