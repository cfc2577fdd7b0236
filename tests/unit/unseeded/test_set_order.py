"""Sets of strings whose order is used, read from a cell's source and what its names hold."""

from __future__ import annotations

import ast
import itertools
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest

from repro_magic.unseeded.set_order import may_use_sets, unordered

NAMES: dict[str, Any] = {
    "words": ["b", "a", "b"],
    "text": "hello",
    "pairs": [("a", 1), ("b", 2)],
    "s": {"a", "b"},
    "frozen": frozenset({"a", "b"}),
    "numbers": [3, 1],
    "n": {1, 2},
    "one": {"a"},
    "frame": pd.DataFrame({"label": ["a", "b"], "x": [1, 2]}),
    "series": pd.Series(["a", "b"]),
    "array": np.array(["a", "b"]),
    "labels": ["a", "b"],
    "counts": [1, 2],
    "w": "a",
    "i": 3,
    "held": types.SimpleNamespace(tags={"a", "b"}),
    "config": {"tags": {"a", "b"}, "numbers": {1, 2}},
    "octets": {b"a", b"b"},
}

USED = [
    "list(set(words))",
    "tuple(s)",
    "for w in set(words):\n    print(w)",
    "for w in s | {'c'}:\n    print(w)",
    "[x for x in s]",
    "{x: 1 for x in frozen}",
    "{c: k for k, c in enumerate(set(text))}",
    "', '.join(s)",
    "dict.fromkeys(s)",
    "s.pop()",
    "next(iter(s))",
    "print(s)",
    "[*s]",
    "labels = list(set(frame.label))",
    "for w in set(frame['label']):\n    print(w)",
    "list(set(pairs))",
    "list(set(series))",
    "list(set(array))",
    "list({'a', 'b'})",
    "list({str(x) for x in numbers})",
    "first = list(set(words))[0]",
    "f(list(set(words)))",
    "with a:\n    labels = tuple(s)",
    "for k in range(3):\n    x = list(s)",
    "list(s.union(numbers))",
    "list(set('a b'.split()))",
    "list(held.tags)",
    "for w in config['tags']:\n    print(w)",
    "frame[list(set(frame.columns) - {'x'})]",
    "print(list(set(frame.label)))",
    "first, second = s",
    "labels.extend(s)",
    "labels += s",
    "str(s)",
    "f'{s}'",
    "itertools.chain(s, numbers)",
    "list(octets)",
    "for w in s:\n    total += w",
]

FINE = [
    "sorted(set(words))",
    "sorted(list(set(words)))",
    "len(list(s))",
    "set(list(s))",
    "sum(1 for x in s)",
    "any(x for x in list(s))",
    "'a' in s",
    "s2 = s | {'c'}",
    "{x.upper() for x in s}",
    "s.add('c')",
    "list(n)",
    "for i in set(numbers):\n    pass",
    "counts = list(set(numbers))",
    "list(one)",
    "list(words)",
    "list({'a': 1, 'b': 2})",
    "if False:\n    list(s)",
    "def f():\n    return list(s)",
    "g = lambda: list(s)",
    "class C:\n    x = list(s)",
    "list(s) if False else 1",
    "words.pop()",
    "set(words)",
    "for w in {'only'}:\n    print(w)",
    "for w in s:\n    pass",
    "for w in s:\n    total += len(w)",
    "for w in s:\n    seen.add(w)",
    "f'{len(s)}'",
    "seen |= s",
    "config['numbers']",
    "list(config['numbers'])",
    "frame[sorted(set(frame.columns))]",
    "vocabulary = {c: i for i, c in enumerate(sorted(set(text)))}",
]


def lines(source: str) -> list[int | None]:
    return [one.line for one in unordered(ast.parse(source), NAMES, "cell")]


@pytest.mark.parametrize("source", USED)
def test_an_order_that_is_used_is_found_once(source: str) -> None:
    assert len(lines(source)) == 1


@pytest.mark.parametrize("source", FINE)
def test_an_order_that_does_not_matter_or_is_fixed_is_not(source: str) -> None:
    assert lines(source) == []


def test_each_line_is_told_once_with_its_remedy() -> None:
    found = unordered(ast.parse("x = 1\ny = list(s), list(s)\nz = tuple(s)"), NAMES, "cell")
    assert [one.line for one in found] == [2, 3]
    assert all(one.warns and "sorted" in one.remedy.in_cell for one in found)


def test_nothing_of_the_users_is_run_or_used_up() -> None:
    once = iter(["a", "b"])
    assert unordered(ast.parse("list(set(once))"), {"once": once}, "cell") == []
    assert list(once) == ["a", "b"]


DOCS = {
    "names": ["ant", "bee", "cat"],
    "votes": ["cat", "dog", "cat", "dog"],
    "docs": [["ant", "bee"], ["cat", "dog"]],
    "a": {"ant": 1, "bee": 2},
    "b": {"bee": 1, "cat": 2},
    "numbers": {1: "x", 2: "y"},
}


@pytest.mark.parametrize(
    "source",
    [
        "common = [k for k in a.keys() & b.keys()]",
        "vocabulary = list(set().union(*docs))",
        "winner = max(set(votes), key=votes.count)",
        "loser = min(set(votes), key=lambda vote: votes.count(vote))",
        "listed = list({*names})",
        'rest = list(set(names) - {"ant"})',
        "codes = {word: i for i, word in enumerate(set(itertools.chain.from_iterable(docs)))}",
        "codes = {word: i for i, word in enumerate(set(itertools.chain(*docs)))}",
    ],
)
def test_further_forms_in_which_a_sets_order_is_used(source: str) -> None:
    assert found_in(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "common = sorted(a.keys() & b.keys())",
        "same = a.keys() == b.keys()",
        "count = len(a.keys() & b.keys())",
        "listed = [k for k in a.keys()]",
        "both = list(numbers.keys() & {1: 0}.keys())",
        "largest = max(set(votes))",
        "largest = max(votes, key=votes.count)",
        "largest = max({1, 2, 3}, key=lambda number: -number)",
        "listed = list({*range(3)})",
        "count = len(set().union(*docs))",
        "merged = set(names) & set(b)",
        'only = list({"ant", "bee"} - {"ant"})',
        'only = tuple(set(names) & {"ant"})',
    ],
)
def test_and_those_in_which_it_is_not(source: str) -> None:
    assert found_in(source) == []


def found_in(source: str) -> list[int | None]:
    names = {**DOCS, "itertools": itertools}
    exec(source, names)
    if not may_use_sets(source, names):
        return []
    return [one.line for one in unordered(ast.parse(source), names, "cell")]
