"""Recover the seed of an MT19937 state by running the generator backwards.

Both seeding algorithms leave a pattern. An integer seed derives each word from the word before it. A key of several
words is added to the state's words in turn, so the differences repeat with the key's length; entropy from the operating
system is a key as long as the state and never repeats. Source: `init_genrand` and `init_by_array` of
http://www.math.sci.hiroshima-u.ac.jp/m-mat/MT/MT2002/CODES/mt19937ar.c, which Python, NumPy and PyTorch share.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

WORDS = 624
_MIDDLE = 397
_TWIST, _UPPER, _LOWER, _ALL = 0x9908_B0DF, 0x8000_0000, 0x7FFF_FFFF, 0xFFFF_FFFF
# The first word after seeding from an array; NumPy sets it for operating-system entropy, too.
_FIRST_WORD_OF_ARRAY = 0x8000_0000
# The number of blocks that are run back, at 0.3 ms each.
_BLOCKS = 40
# The longest key recognised after running back: Python turns a string into a key of 17 or more words.
_LONGEST_KEY, _CHECKED_WORDS = 30, 64
# In a fresh state every word can be checked. A key from the operating system is as long as the state.
_LONGEST_FRESH_KEY = 600


@dataclass(frozen=True)
class Seeding:
    """How a state was seeded.

    Attributes:
        key: the integer seed, or the words of an array.
        drawn: the number of words drawn since.
    """

    key: int | tuple[int, ...]
    drawn: int


def words_of_seed(seed: int) -> list[int]:
    """The state right after seeding with a 32-bit integer, as in NumPy's legacy generator and PyTorch.

    Example:
        >>> words_of_seed(5489)[:2]
        [5489, 1301868182]
    """
    words = [seed & _ALL]
    for place in range(1, WORDS):
        words.append(_next_seed_word(words[-1], place))
    return words


def words_of_key(key: Sequence[int]) -> list[int]:
    """The state right after seeding with an array of 32-bit words (`init_by_array`).

    Example:
        >>> import random
        >>> words_of_key([7]) == list(random.Random(7).getstate()[1][:-1])
        True
    """
    words, place = words_of_seed(_SEED_BEFORE_KEY), 1
    for step in range(max(WORDS, len(key))):
        mixed = words[place] ^ _mixed(words[place - 1], 1664525)
        words[place] = mixed + key[step % len(key)] + step % len(key) & _ALL
        place = _next_place(words, place)
    for _ in range(WORDS - 1):
        words[place] = (words[place] ^ _mixed(words[place - 1], 1566083941)) - place & _ALL
        place = _next_place(words, place)
    words[0] = _FIRST_WORD_OF_ARRAY
    return words


def _mixed(word: int, factor: int) -> int:
    return (word ^ word >> 30) * factor & _ALL


def _next_place(words: list[int], place: int) -> int:
    if place + 1 < WORDS:
        return place + 1
    words[0] = words[WORDS - 1]
    return 1


def seeding_of(words: Sequence[int], position: int) -> Seeding | None:
    """How a state was seeded; None if too many words were drawn since, or it is unseeded.

    Example:
        >>> import random
        >>> state = random.Random(7).getstate()[1]
        >>> seeding_of(state[:-1], state[-1])
        Seeding(key=(7,), drawn=0)
    """
    key = _key_of(words, _LONGEST_FRESH_KEY) if position == WORDS else None
    if key is not None:
        return Seeding(key, 0)
    if is_new(words, position):  # fresh, with a longer key than any in source code
        return None
    block = list(words)
    for blocks in range(_BLOCKS):
        block = _block_before(block)
        key = _key_of(block, _LONGEST_KEY)
        if key is not None:
            return Seeding(key, blocks * WORDS + position)
    return None


def is_new(words: Sequence[int], position: int) -> bool:
    """Whether nothing was drawn since the state was seeded, by a seed or by operating-system entropy."""
    return (position >= WORDS - 1 and words[0] == _FIRST_WORD_OF_ARRAY) or (position == WORDS and _is_of_integer(words))


def _key_of(words: Sequence[int], longest: int) -> int | tuple[int, ...] | None:
    """The key of a fresh state; only the highest bit of the first word counts."""
    return _integer_seed(words) if _is_of_integer(words) else _short_key(words, longest)


def _next_seed_word(word: int, place: int) -> int:
    return (1812433253 * (word ^ word >> 30) + place) & _ALL


def _is_of_integer(words: Sequence[int]) -> bool:
    # Running backwards restores only the highest bit of the first word, so the check begins after it.
    return all(words[place] == _next_seed_word(words[place - 1], place) for place in range(2, 8))


def _integer_seed(words: Sequence[int]) -> int | None:
    """The integer seed, which is the first word, computed from the second word by inverting the recurrence."""
    mixed = (words[1] - 1) * pow(1812433253, -1, 1 << 32) & _ALL
    seed = mixed ^ mixed >> 30
    return None if (seed ^ words[0]) & _UPPER else seed


# `init_by_array` starts from the state of this seed.
_SEED_BEFORE_KEY = 19650218
_BASE = words_of_seed(_SEED_BEFORE_KEY)


def _short_key(words: Sequence[int], longest: int) -> tuple[int, ...] | None:
    """Undo `init_by_array`, which adds to each word a word of the key and the position in the key."""
    added = _added(words, 3 + max(_CHECKED_WORDS, min(2 * longest, WORDS - 4)))
    for length in range(1, longest + 1):
        if added[length:] == added[:-length]:
            # `added` begins at index 4 of the state, to which the key's word at index 3 was added.
            sums = [added[(place - 3) % length] for place in range(length)]
            key = tuple(total - place & _ALL for place, total in enumerate(sums))
            return key if words_of_key(key)[1:] == list(words[1:]) else None
    return None


def _added(words: Sequence[int], end: int) -> list[int]:
    def after_key(place: int) -> int:  # the word after the first of the two rounds
        return (words[place] + place & _ALL) ^ _mixed(words[place - 1], 1566083941)

    rounds = [after_key(place) for place in range(3, end)]
    return [
        now - (_BASE[place] ^ _mixed(before, 1664525)) & _ALL
        for place, (before, now) in enumerate(itertools.pairwise(rounds), 4)
    ]


def _block_before(words: list[int]) -> list[int]:
    """The block before `words`. Only the highest bit of the first word counts, and is restored."""
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
