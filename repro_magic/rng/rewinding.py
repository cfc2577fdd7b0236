"""From which seeding a state of MT19937 comes: every generator of that kind can be run backwards.

Both seedings leave a pattern. A seed of one integer makes each word from the one before. A key of several words is
added to the words in turn, so that their differences repeat with the key's length; entropy from the operating system is
a key as long as the state itself, and repeats nowhere. Source: `init_genrand` and `init_by_array` of
http://www.math.sci.hiroshima-u.ac.jp/m-mat/MT/MT2002/CODES/mt19937ar.c, which Python, NumPy and PyTorch share.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

WORDS = 624
_MIDDLE = 397
_TWIST, _UPPER, _LOWER, _ALL = 0x9908_B0DF, 0x8000_0000, 0x7FFF_FFFF, 0xFFFF_FFFF
# The first word after a seeding from an array; NumPy sets it so for entropy of the system, too.
_OF_AN_ARRAY = 0x8000_0000
# So many blocks are run back, 0.3 ms each.
_BLOCKS = 40
# Keys up to this length are recognised. Python makes one of 17 words or more of a text.
_LONGEST_KEY, _LOOKED_AT = 30, 64


def words_of_seed(seed: int) -> list[int]:
    """The state right after seeding with one integer of 32 bits, as NumPy's legacy generator and PyTorch do it.

    Example:
        >>> words_of_seed(5489)[:2]
        [5489, 1301868182]
    """
    words = [seed & _ALL]
    for place in range(1, WORDS):
        words.append(_next_of_seed(words[-1], place))
    return words


def drawn_since_seeding(words: Sequence[int], position: int) -> int | None:
    """How many words were drawn since somebody gave a seed; None: too many, or nobody did.

    Example:
        >>> import random
        >>> state = random.Random(7).getstate()[1]
        >>> drawn_since_seeding(state[:-1], state[-1])
        0
    """
    if position == WORDS and _is_of_seed(words):
        return 0
    block = list(words)
    for blocks in range(_BLOCKS):
        block = _block_before(block)
        if _is_of_seed(block):
            return blocks * WORDS + position
    return None


def is_new(words: Sequence[int], position: int) -> bool:
    """Whether nothing was drawn since a seeding of any kind, entropy of the system included."""
    return (position >= WORDS - 1 and words[0] == _OF_AN_ARRAY) or (position == WORDS and _is_of_integer(words))


def _is_of_seed(words: Sequence[int]) -> bool:
    return _is_of_integer(words) or _is_of_short_key(words)


def _next_of_seed(word: int, place: int) -> int:
    return (1812433253 * (word ^ word >> 30) + place) & _ALL


def _is_of_integer(words: Sequence[int]) -> bool:
    # From the second word on: of the first one, running backwards brings back one bit only.
    return all(words[place] == _next_of_seed(words[place - 1], place) for place in range(2, 8))


_BASE = words_of_seed(19650218)


def _is_of_short_key(words: Sequence[int]) -> bool:
    """Undo `init_by_array`: what it added to each word is the key's word and that word's place in the key."""

    def after_key(place: int) -> int:  # the word after the first of its two rounds
        return (words[place] + place & _ALL) ^ (words[place - 1] ^ words[place - 1] >> 30) * 1566083941 & _ALL

    rounds = [after_key(place) for place in range(3, 3 + _LOOKED_AT)]
    added = [
        now - (_BASE[place] ^ (before ^ before >> 30) * 1664525 & _ALL) & _ALL
        for place, (before, now) in enumerate(itertools.pairwise(rounds), 4)
    ]
    return any(added[length:] == added[:-length] for length in range(1, _LONGEST_KEY + 1))


def _block_before(words: list[int]) -> list[int]:
    """The words that the generator made these from. Of the first one only the highest bit counts, and comes back."""
    block = list(words)
    for place in range(WORDS - 1, -1, -1):
        twisted = block[place] ^ block[(place + _MIDDLE) % WORDS]
        if twisted & _UPPER:
            twisted ^= _TWIST
        upper = twisted << 1 & _UPPER
        twisted = block[place - 1] ^ block[(place + _MIDDLE - 1) % WORDS]
        lower = 0
        if twisted & _UPPER:
            twisted ^= _TWIST
            lower = 1
        block[place] = upper | (twisted << 1 & _LOWER) | lower
    return block
