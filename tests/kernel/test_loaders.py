"""Loaders as a user sees them, in a real kernel."""

from __future__ import annotations

import pytest
from conftest import run_in_kernel

pytestmark = pytest.mark.kernel

SETUP = """%load_ext repro_magic
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
class Held(Dataset):
    def __init__(self): self.rng = np.random.default_rng(1)
    def __len__(self): return 8
    def __getitem__(self, index): return index + self.rng.random()
class Unseeded(Held):
    def __getitem__(self, index):
        return index + np.random.default_rng().random()
class Dropping(Held):
    def __getitem__(self, index): return torch.rand(1)
def make(data, **options):
    return DataLoader(data, num_workers=2, **options)
torch.manual_seed(0)"""


def test_a_fault_is_told_where_the_loader_is_made_and_a_good_loader_is_not() -> None:
    ran = run_in_kernel(
        SETUP,
        "import repro_magic\ngood = make(Held(), shuffle=True, **repro_magic.loader_options(1))\nfor one in good: pass",
        "bad = make(Held())",
        "for one in bad: pass\nplain = DataLoader(Held(), shuffle=True)",
        "for one in DataLoader(Held(), num_workers=2): pass\n'own value'",
        "'nothing is made here'",
        "%repro_ledger",
        "%config ReproMagic.watch = False",
        "worse = make(Held(), in_order=False)",
    )
    block = ran.shown(2)
    assert block.startswith("⚠ 1 DataLoader needs fixing\n  DataLoader, In[1] line 15: 2 workers draw the same")
    assert "return DataLoader(data, num_workers=2, **options)" in block
    assert "→ Pass worker_init_fn=repro_magic.worker_init_fn" in block
    (html,) = [output.data["text/html"] for output in ran.outputs(2, "display_data")]
    assert "<script" not in html
    assert "DataLoader, line 1: 2 workers draw the same numbers from dataset.rng" in ran.shown(4), (
        "also one that is gone"
    )
    assert [ran.shown(number) for number in (0, 1, 3, 5, 8)] == [""] * 5
    table = ran.shown(6).partition("Loaders")[2]
    assert all(table.count(f" {name}") == 1 for name in ("good, In[1]", "bad, In[1]", "plain, In[4]"))
    assert table.count("⚠") == 1
    assert not any(ran.error(number) for number in range(9))


def test_what_workers_do_is_told_under_the_cell() -> None:
    ran = run_in_kernel(
        SETUP,
        "for one in make(Unseeded()): pass",
        "lasting = make(Unseeded(), persistent_workers=True)\nfor one in lasting: pass",
        "for one in lasting: break",
        "for one in make(Dropping()): pass",
        "%repro_ledger",
        "%%deterministic\nfor one in make(Unseeded()): pass",
        "del lasting",
    )
    for number in (1, 2, 3):
        assert "numpy.random.default_rng" in ran.shown(number)
        assert "In[1] line 11" in ran.shown(number)
        assert "in a DataLoader worker" in ran.shown(number)
    assert "called from line 1" in ran.shown(1)
    assert ran.shown(4) == ""
    assert "DataLoader workers" in ran.shown(5)
    assert ran.shown(6).count("numpy.random.default_rng") == 1
    assert not any(ran.error(number) for number in range(8))


def test_unloading_restores_everything() -> None:
    ran = run_in_kernel(
        "import os, torch\nfrom torch.utils.data import DataLoader\nfrom torch.utils.data._utils import worker\n"
        "before = DataLoader.__init__.__code__, worker._worker_loop\n"
        "def watched(): return [DataLoader.__init__.__code__ is not before[0], worker._worker_loop is not before[1]]\n"
        "def files(): return [one for one in os.listdir('/proc/self/fd') if 'repro_magic' in "
        "os.path.realpath(f'/proc/self/fd/{one}')]",
        "%load_ext repro_magic\nfor one in DataLoader(range(9), num_workers=2): pass",
        "for one in DataLoader(range(9), num_workers=2): pass\nwatched()",
        "lasting = DataLoader(range(9), num_workers=2, persistent_workers=True)\nfor one in lasting: pass",
        "%unload_ext repro_magic",
        "len(list(lasting)), len(list(DataLoader(range(9), num_workers=2)))",
        "watched(), files()",
        "%load_ext repro_magic",
        "len(list(lasting)), watched()",
    )
    assert ran.result(2) == "[True, True]"
    assert ran.result(5) == "(9, 9)"
    assert ran.result(6) == "([False, False], [])"
    assert ran.result(8) == "(9, [True, True])"
    assert not any(ran.error(number) for number in range(9))
    assert not any("repro_magic" in ran.stream(number, "stderr") for number in range(9))


def test_the_extension_comes_before_pytorch() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic",
        "from torch.utils.data import DataLoader\nloader = DataLoader(range(4), num_workers=2, in_order=False)",
        "import signal, time\nfor one in loader:\n    signal.raise_signal(signal.SIGINT)",
        "len(list(DataLoader(range(4), num_workers=2)))",
    )
    assert "in_order=False with 2 workers" in ran.shown(1)
    assert ran.error(2).ename == "KeyboardInterrupt"
    assert ran.result(3) == "4"


def test_a_fault_can_be_accepted_on_its_line() -> None:
    make = "loader = torch.utils.data.DataLoader(range(8), num_workers=2, in_order=False)"
    ran = run_in_kernel("%load_ext repro_magic\nimport torch", make, f"{make}  # repro: accept DataLoader")
    assert "in_order=False" in ran.shown(1)
    assert ran.shown(2) == ""
