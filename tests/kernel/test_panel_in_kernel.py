"""The panel in a real kernel, without a browser."""

from __future__ import annotations

import nbformat
import pytest
from conftest import run_in_kernel
from nbconvert import HTMLExporter, MarkdownExporter

pytestmark = pytest.mark.kernel

FLAGGED = "import torch\ntorch.zeros(3).index_add_(0, torch.tensor([0, 0]), torch.ones(2))"


def test_static_views_show_the_last_state() -> None:
    """GIVEN a notebook that ran with a panel WHEN nbconvert shows it, without widgets, THEN its last state is there."""
    ran = run_in_kernel(
        "%load_ext repro_magic\n%repro_seed 42", "%repro_panel", FLAGGED, "%config ReproMagic.threads = 1"
    )
    read = nbformat.v4.new_notebook(cells=ran._cells)
    for exporter in (HTMLExporter, MarkdownExporter):
        shown, _ = exporter().from_notebook_node(read)
        for part in ("Seeded 42, nothing flagged", "index_add_", "%config ReproMagic.threads = 1", "cuDNN benchmark"):
            assert part in shown
    assert "Widget" not in ran.outputs(1)[0].data["text/plain"]
    assert "<style" not in ran.outputs(1)[0].data["text/plain"]


def test_a_library_may_be_imported_while_the_panel_follows() -> None:
    """Half a module must not be touched by the thread that follows: that crashed the process."""
    hurry = "import repro_magic.notebook.panel as module\nmodule._PAUSE, module._SHARE = 0.0005, 0"
    ran = run_in_kernel(
        f"%load_ext repro_magic\n{hurry}", "%repro_panel", "1", "import torch, numpy", "torch.rand(1).shape"
    )
    assert [ran.error(number) for number in range(5)] == [None] * 5
    assert ran.result(4) == "torch.Size([1])"
    assert ran.stream(3, "stderr") == ran.stream(4, "stderr") == "", "the panel goes on"
    assert " torch       cpu" in ran.outputs(1)[1].data["text/plain"]


def test_the_panel_follows_a_long_cell() -> None:
    """Also where a look had to wait for the interpreter: that costs the cell nothing, and is no reason to look less."""
    slow = (
        "import time\nfrom repro_magic.notebook.session import _sessions\n"
        "host, status = _sessions[get_ipython()], _sessions[get_ipython()].status\n"
        "host.status = lambda: (time.sleep(1), status())[1]\n"
    )
    long = (
        "import time, torch\ntorch.backends.cudnn.benchmark = True\n"
        "from repro_magic.notebook.session import _sessions\n"
        "panel = _sessions[get_ipython()]._panel\n"
        "torch.zeros(3).index_add_(0, torch.tensor([0, 0]), torch.ones(2))\n"
        "for _ in range(300):\n"
        "    time.sleep(0.1)\n"
        "    if 'index_add_' in panel._findings.value and panel.controls['cudnn_benchmark'].control.value:\n"
        "        print('followed')\n"
        "        break\n"
    )
    ran = run_in_kernel("%load_ext repro_magic", "%repro_panel", slow, f"{FLAGGED}\ntime.sleep(3)", long)
    assert ran.stream(4) == "followed\n"


def test_an_ordinary_cell_shows_nothing_of_the_panel() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic", "%repro_panel", "import random\nrandom.seed(1)\nx = 1", FLAGGED, "y = 1"
    )
    assert [ran.outputs(number, "display_data") for number in (2, 3, 4)] == [[], [], []]


def test_as_code_gives_the_same_state_in_a_fresh_kernel() -> None:
    """Every setting at another value than a fresh process has, and a seed; pasted before torch is imported."""
    turn = (
        "import json, torch\n"
        "from repro_magic.determinism.settings import SETTINGS\n"
        "from repro_magic.notebook.session import _sessions\n"
        "panel = _sessions[get_ipython()]._panel\n"
        "for one in SETTINGS:\n"
        "    value = one.choices[-1] if one.choices else one.read() + 1 if one.is_count else not one.default\n"
        "    panel.controls[one.name].control.value = value\n"
        "panel.seed.value = '42'; panel.seed_button.click()"
    )
    tell = (
        "import json, random, torch\n"
        "from repro_magic.determinism.settings import SETTINGS\n"
        "print(json.dumps([[one.read() for one in SETTINGS], random.random(), torch.rand(1).item()]))"
    )
    ask = "import html\nprint(html.unescape(panel._code.value.partition('>%load')[2].partition('</textarea>')[0]))"
    first = run_in_kernel("%load_ext repro_magic", "%repro_panel", turn, ask, tell)
    code = "%load" + first.stream(3)
    assert code.count("%config") == 12
    second = run_in_kernel(code, tell)
    assert second.error(0) is None
    assert second.stream(1) == first.stream(4)
