"""Looking ops up: entries of plug-ins, and the ops that draw random numbers."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
import types
from collections.abc import Callable, Iterator

import pytest
from conftest import ROOT

from repro_magic.exceptions import HookFaultWarning
from repro_magic.findings import Direction
from repro_magic.ops.catalogue import lookup as catalogue
from repro_magic.ops.catalogue.lookup import lookup, random_ops
from repro_magic.ops.catalogue.model import Entry


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    """Install a plug-in `plugged`, whose module counts as imported."""

    def install(target: object) -> None:
        def load() -> object:
            if isinstance(target, Exception):
                raise target
            return target

        point = types.SimpleNamespace(name="plugged", value="plugged:ENTRIES", load=load)
        monkeypatch.setattr(catalogue, "plug_ins", lambda: {"plugged": point})
        monkeypatch.setitem(sys.modules, "plugged", types.ModuleType("plugged"))
        catalogue.entries_of.cache_clear()
        catalogue._index.cache_clear()

    yield install
    catalogue.entries_of.cache_clear()
    catalogue._index.cache_clear()


PLUGGED = Entry(
    "splat", "plugged.splat", Direction.FORWARD, ("plugged::splat", "index_add_"), (), "https://example.org"
)


def test_a_plug_in_adds_its_entries_once_its_module_is_there(
    plug_in: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in([PLUGGED])
    assert lookup()["plugged::splat"] == (PLUGGED,)
    assert [entry.op for entry in lookup()["index_add_"]] == ["index_add_", "splat"]
    assert lookup() is lookup(), "cached"
    monkeypatch.delitem(sys.modules, "plugged")
    assert "plugged::splat" not in lookup()


@pytest.mark.parametrize("target", [ImportError("no such thing"), 7, [PLUGGED, "no entry"]])
def test_a_faulty_plug_in_is_told_once_and_takes_no_other_with_it(
    plug_in: Callable[[object], None], target: object
) -> None:
    plug_in(target)
    with pytest.warns(HookFaultWarning, match="plugged") as told:
        found = lookup()
    assert "index_add_" in found
    assert "plugged::splat" not in found
    assert lookup() is found
    assert len(told) == 1


def test_torchvision_is_the_first_plug_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    value = project["entry-points"][catalogue.ENTRY_POINTS]["torchvision"]
    point = importlib.metadata.EntryPoint("torchvision", value, catalogue.ENTRY_POINTS)
    assert "torchvision::_roi_align_backward" in {name for entry in point.load() for name in entry.names}


def test_random_ops_are_those_that_draw() -> None:
    found = random_ops()
    assert {"rand.default", "bernoulli_.float", "native_dropout.default", "randperm.default"} <= set(found)
    assert not {"add.Tensor", "index_add_.default", "zeros.default"} & set(found)
    assert len(found) > 100
