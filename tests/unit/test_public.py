"""Public classes are known by the package alone, whichever module defines them."""

from __future__ import annotations

import doctest
import importlib
import pickle
import subprocess
import sys
import warnings
from typing import Any

import pytest

import repro_magic

CLASSES = [name for name in repro_magic.__all__ if isinstance(getattr(repro_magic, name), type)]


def verdict() -> repro_magic.NotebookVerdict:
    return repro_magic.NotebookVerdict("study.ipynb", 2, 2, [])


VALUES: dict[str, Any] = {
    "Digest": lambda: repro_magic.digest(1.5),
    "Gap": lambda: repro_magic.digest(iter([1])).gaps[0],
    "NotebookVerdict": verdict,
    "GeneratorState": lambda: repro_magic.seed_everything(1)[0],
    "UnseededGeneratorError": lambda: repro_magic.UnseededGeneratorError("unseeded", op="rng", line=3, remedy="seed"),
    "NondeterministicOpError": lambda: repro_magic.NondeterministicOpError(
        "put_ on cuda", op="put_", line=3, device="cuda", remedy="sort the index"
    ),
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_the_address_that_users_write(name: str) -> None:
    assert getattr(repro_magic, name).__module__ == "repro_magic"
    assert pickle.loads(pickle.dumps(getattr(repro_magic, name))) is getattr(repro_magic, name)


def made(name: str) -> Any:
    kind = getattr(repro_magic, name)
    return VALUES[name]() if name in VALUES else kind("what happened, and what to type")


ERRORS = {name for name in CLASSES if issubclass(getattr(repro_magic, name), Exception)}


@pytest.mark.parametrize("name", sorted({*VALUES, *ERRORS}))
def test_a_public_value_survives_a_pickle_that_names_no_module_of_ours(name: str) -> None:
    value = made(name)
    stored = pickle.dumps(value, protocol=0)
    assert f"crepro_magic\n{name}".encode() in stored
    copied = pickle.loads(stored)
    assert repr(copied) == repr(value)
    assert vars(copied) == vars(value)


def test_another_process_reads_the_pickle_without_importing_anything_first() -> None:
    code = f"import pickle; print(pickle.loads(bytes.fromhex({pickle.dumps(verdict()).hex()!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(verdict())


def test_pinned_classes_are_exported() -> None:
    """A pickle looks a class up by its module: a pinned class that the package lacks could not be loaded."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("repro_magic.")]
    pinned = {
        kind.__qualname__
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == "repro_magic"
    }
    assert pinned
    assert pinned <= set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_examples_of_public_classes_hold(name: str) -> None:
    """`--doctest-modules` passes over a class whose module is not the one that it searches."""
    home = importlib.import_module(repro_magic._HOMES[name])
    tests = doctest.DocTestFinder(exclude_empty=True).find(getattr(repro_magic, name), name, home)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with warnings.catch_warnings():
        for test in tests:
            assert runner.run(test).failed == 0
