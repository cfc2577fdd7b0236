"""What each cell did, in one place."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell as Shell

import repro_magic
from repro_magic.determinism.settings import CUDNN_BENCHMARK, CUDNN_DETERMINISTIC
from repro_magic.journal import Journal
from repro_magic.notebook.session import _sessions


def cell(journal: Journal, name: str, body: Any) -> None:
    journal.begin()
    body()
    journal.end(name)


def test_the_last_cell_that_drew_is_known_for_each_generator() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: (random.random(), torch.rand(1)))
    cell(journal, "In[2]", lambda: np.random.rand())
    cell(journal, "In[3]", lambda: torch.rand(1))
    cell(journal, "In[4]", lambda: None)
    assert journal.last_draws == {"python cpu": "In[1]", "numpy cpu": "In[2]", "torch cpu": "In[3]"}


def test_a_draw_between_cells_is_no_cells() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: None)
    random.random()
    cell(journal, "In[2]", lambda: None)
    assert journal.last_draws == {}


def benchmark(value: bool) -> None:
    torch.backends.cudnn.benchmark = value


def test_code_that_changes_a_setting_is_named_until_it_is_as_expected_again() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: benchmark(True))
    assert journal.drifts[CUDNN_BENCHMARK].in_words == "changed by In[1]: off → on"
    cell(journal, "In[2]", lambda: None)
    assert journal.drifts[CUDNN_BENCHMARK].cell == "In[1]"
    cell(journal, "In[3]", lambda: benchmark(False))
    assert journal.drifts == {}


def test_what_the_user_sets_is_no_drift() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: benchmark(True))
    journal.expect(CUDNN_DETERMINISTIC)  # another one's
    assert CUDNN_BENCHMARK in journal.drifts
    journal.begin()
    CUDNN_BENCHMARK.write(False)
    journal.expect(CUDNN_BENCHMARK)
    CUDNN_BENCHMARK.write(True)
    journal.expect(CUDNN_BENCHMARK)
    journal.end("In[2]")
    assert journal.drifts == {}
    cell(journal, "In[3]", lambda: benchmark(False))
    assert journal.drifts[CUDNN_BENCHMARK].in_words == "changed by In[3]: on → off"


def test_a_setting_by_config_hides_no_other_change(loaded: Shell) -> None:
    loaded.run_cell(
        "import torch\ntorch.backends.cudnn.deterministic = True\n%config ReproMagic.cudnn_benchmark = True",
        store_history=True,
    )
    assert set(_sessions[loaded]._journal.drifts) == {CUDNN_DETERMINISTIC}


def test_a_drift_is_accepted_by_setting_the_same_value(loaded: Shell) -> None:
    loaded.run_cell("import torch\ntorch.backends.cudnn.benchmark = True", store_history=True)
    assert set(_sessions[loaded]._journal.drifts) == {CUDNN_BENCHMARK}
    loaded.run_cell("%config ReproMagic.cudnn_benchmark = True", store_history=True)
    assert _sessions[loaded]._journal.drifts == {}


def test_a_change_between_cells_is_told_as_such() -> None:
    journal = Journal()
    cell(journal, "In[1]", lambda: None)
    benchmark(True)
    cell(journal, "In[2]", lambda: None)
    assert journal.drifts[CUDNN_BENCHMARK].cell == "code that ran between cells"


def test_of_a_cell_that_ran_again_the_last_run_counts(loaded: Shell) -> None:
    journal = Journal()
    finding: Any = object()
    journal.end("In[1]", "a", [finding])
    journal.end("In[2]", "b", [finding])
    journal.end("In[3]", None, [finding])
    journal.end("In[4]", "a", [])
    journal.end("In[5]", None, [])
    assert [one.name for one in journal.cells] == ["In[2]", "In[3]"]
    journal.clear()
    assert journal.cells == []
    assert loaded is not None


@pytest.mark.parametrize(
    "body", ["%%deterministic --strict\nx = 1", "import repro_magic\nwith repro_magic.deterministic(): pass"]
)
def test_a_deterministic_scope_leaves_no_drift(loaded: Shell, body: str) -> None:
    loaded.run_cell(body, store_history=True)
    assert _sessions[loaded]._journal.drifts == {}


def test_the_status_tells_of_it(loaded: Shell) -> None:
    loaded.run_cell("import random, torch\nrandom.random()\ntorch.backends.cudnn.benchmark = True", store_history=True)
    found = _sessions[loaded].status()
    assert found.last_draws["python cpu"] == f"In[{loaded.execution_count - 1}]"
    assert [one.setting for one in found.settings if one.drift is not None] == [CUDNN_BENCHMARK]
    assert repro_magic.status().last_draws == {}, "a script has no cells"
