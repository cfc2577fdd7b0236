"""Plug-ins of any kind are loaded by one function, which never lets one take the others with it."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from repro_magic import HookFaultWarning
from repro_magic.runtime.entry_points import UnexpectedError, load, plug_ins


def number(loaded: object) -> int:
    if not isinstance(loaded, int):
        raise UnexpectedError("a number", type(loaded).__name__)
    return loaded


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    module = types.ModuleType("some_plug_in")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return EntryPoint("library", "some_plug_in:OFFER", "repro_magic.test")


def test_what_is_offered_is_read(point: EntryPoint) -> None:
    vars(sys.modules["some_plug_in"])["OFFER"] = 3
    assert load(point, "test", number) == 3


def test_something_else_is_ignored_with_a_warning(point: EntryPoint) -> None:
    vars(sys.modules["some_plug_in"])["OFFER"] = "three"
    with pytest.warns(
        HookFaultWarning, match="ignores the test plug-in 'some_plug_in:OFFER': expected a number, found str"
    ):
        assert load(point, "test", number) is None


def test_what_cannot_be_loaded_is_named_with_its_error(point: EntryPoint) -> None:
    with pytest.warns(HookFaultWarning, match="cannot load the test plug-in 'some_plug_in:OFFER': AttributeError"):
        assert load(point, "test", number) is None


def test_the_packages_own_are_found() -> None:
    assert "torchvision" in plug_ins("repro_magic.ops")
    assert plug_ins("repro_magic.unknown_group") == {}
