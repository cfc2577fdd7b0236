"""Callbacks that wait for a module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from repro_magic.exceptions import HookFaultWarning
from repro_magic.runtime.import_hooks import is_imported, waiting_for, when_imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that can be imported and is not yet."""
    name = "awaited_module"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


def test_the_callback_runs_once_right_after_the_import(module: str) -> None:
    before = list(sys.meta_path)
    seen: list[int] = []
    when_imported(module, lambda: seen.append(sys.modules[module].value))
    assert seen == []
    importlib.import_module(module)
    assert seen == [1]
    importlib.reload(sys.modules[module])
    assert seen == [1]
    assert sys.meta_path == before
    assert module not in waiting_for()


def test_an_imported_module_is_not_waited_for() -> None:
    seen: list[int] = []
    when_imported("sys", lambda: seen.append(1))
    assert seen == [1]
    assert "sys" not in waiting_for()


def test_a_module_in_the_making_is_not_imported_for_another_thread(module: str, tmp_path: Path) -> None:
    """Half a module is what it would touch; the callbacks see it whole."""
    (tmp_path / f"{module}.py").write_text(
        "import threading\n"
        "from repro_magic.runtime.import_hooks import is_imported\n"
        "seen = []\n"
        f"other = threading.Thread(target=lambda: seen.append(is_imported({module!r})))\n"
        "other.start(), other.join()\n"
    )
    called: list[bool] = []
    when_imported(module, lambda: called.append(is_imported(module)))
    loaded = importlib.import_module(module)
    assert (loaded.seen, called, is_imported(module)) == ([False], [True], True)


def test_a_cancelled_callback_never_runs(module: str) -> None:
    before = list(sys.meta_path)
    waiting = when_imported(module, lambda: pytest.fail("must not run"))
    assert module in waiting_for()
    waiting.cancel()
    waiting.cancel()
    assert module not in waiting_for()
    importlib.import_module(module)
    assert sys.meta_path == before


def test_what_is_cancelled_while_others_are_called_is_not_called(module: str) -> None:
    """GIVEN two that wait WHEN the second gives up while the first is called THEN the second never runs."""
    when_imported(module, lambda: second.cancel())
    second = when_imported(module, lambda: pytest.fail("must not run"))
    importlib.import_module(module)
    assert is_imported(module)


def test_a_fault_does_not_break_the_users_import(module: str) -> None:
    other: list[int] = []
    when_imported(module, lambda: 1 / 0)
    when_imported(module, lambda: other.append(1))
    with pytest.warns(HookFaultWarning, match="failed after the import of awaited_module"):
        importlib.import_module(module)
    assert sys.modules[module].value == 1
    assert other == [1]


def test_a_failed_import_leaves_the_callback_waiting(module: str, tmp_path: Path) -> None:
    path = tmp_path / f"{module}.py"
    path.write_text("1 / 0\n")
    seen: list[int] = []
    waiting = when_imported(module, lambda: seen.append(1))
    with pytest.raises(ZeroDivisionError):
        importlib.import_module(module)
    assert seen == []
    path.write_text("value = 22222\n")
    importlib.invalidate_caches()
    importlib.import_module(module)
    assert seen == [1]
    waiting.cancel()


def test_the_loader_stays_what_it_is(module: str) -> None:
    when_imported(module, lambda: None)
    loaded = importlib.import_module(module)
    assert loaded.__spec__ is not None
    assert isinstance(loaded.__spec__.loader, SourceFileLoader)
    assert loaded.__spec__.loader.get_source(module) == "value = 1\n"


def test_a_module_that_does_not_exist_is_simply_not_found() -> None:
    waiting = when_imported("no_such_module_anywhere", lambda: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_anywhere")
    waiting.cancel()
