"""The panel as a user has it: in JupyterLab and Notebook 7, with mouse and keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from in_browser import FLAGGED, PANEL, Notebook, chromium, notebook, server, window  # noqa: F401 - fixtures

from repro_magic.determinism.settings import SETTINGS, Setting

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Make = Callable[..., Notebook]

READ = "__import__('repro_magic.determinism.settings', fromlist=['_'])"


def in_kernel(setting: Setting) -> str:
    """An expression for a setting's value."""
    return f"{READ}.{setting.name.upper()}.read()"


def panel_of(notebook: Notebook) -> Any:
    return notebook.page.locator(".repro-magic-panel").first


def text(notebook: Notebook) -> str:
    return str(panel_of(notebook).inner_text())


def code(notebook: Notebook) -> str:
    return str(panel_of(notebook).locator(".repro-magic-code textarea").input_value())


def test_the_quickstarts_panel(notebook: Make) -> None:
    opened = notebook(ROOT / "notebooks" / "quickstart.ipynb")
    opened.command("notebook:run-all-cells")
    panel_of(opened).wait_for(timeout=200_000)  # twelve cells run before it, three of which train a network
    opened.until(lambda: "index_put_" in text(opened))
    opened.until(lambda: opened.value("1") == 1)
    assert "Seeded 42" in text(opened)
    assert "index_add_" in text(opened)


@pytest.mark.parametrize("setting", [one for one in SETTINGS if one.is_toggle], ids=lambda one: one.name)
def test_a_toggle_reaches_the_process_and_the_code(notebook: Make, setting: Setting) -> None:
    opened = notebook(PANEL)
    opened.run(0, 1)
    box = panel_of(opened).get_by_label(setting.label, exact=True)
    before = opened.value(in_kernel(setting))
    assert box.is_checked() is before
    box.click()
    opened.becomes(in_kernel(setting), not before)
    opened.until(lambda: f"%config ReproMagic.{setting.name} = {not before}" in code(opened))
    box.click()
    opened.becomes(in_kernel(setting), before)


def test_the_other_controls(notebook: Make) -> None:
    opened = notebook((*PANEL, FLAGGED))
    opened.run(0, 1, 2)
    panel = panel_of(opened)
    for mode in ("strict", "warn", "off"):
        panel.get_by_role("button", name=mode, exact=True).click()
        opened.becomes(f"{READ}.DETERMINISTIC_ALGORITHMS.read()", mode)
    threads = panel.get_by_label("CPU threads")
    more = opened.value("torch.get_num_threads()") + 1
    threads.fill(str(more))
    threads.press("Enter")
    opened.becomes("torch.get_num_threads()", more)
    panel.get_by_label("Watch cells").click()
    opened.becomes("get_ipython().magics_manager.registry['ReproMagic'].watch", False)

    seeded = "__import__('repro_magic').status().seed"
    field = panel.get_by_label("Seed", exact=True)
    for wrong in ("", "-1", "abc", str(2**70)):
        field.fill(wrong)
        panel.get_by_role("button", name="Seed", exact=True).click()
        opened.until(lambda: "Nothing was changed" in text(opened))
        assert opened.value(seeded) == 42
    field.fill(str(2**63 + 1))
    panel.get_by_role("button", name="Seed", exact=True).click()
    opened.becomes(seeded, 2**63 + 1)
    panel.get_by_role("button", name="New seed", exact=True).click()
    opened.until(lambda: opened.value(seeded) == int(field.input_value()) != 2**63 + 1)

    assert "index_put_" in text(opened)
    panel.get_by_label("Show").select_option("latent")
    opened.until(lambda: "index_put_" not in text(opened))
    assert "index_add_" in text(opened)
    panel.get_by_label("Show").select_option("all")
    panel.get_by_role("button", name="Clear", exact=True).click()
    opened.until(lambda: "No flagged op ran" in text(opened))

    panel.get_by_role("button", name="Copy", exact=True).click()
    panel.get_by_role("button", name="Copied", exact=True).wait_for()
    copied = opened.page.evaluate("navigator.clipboard.readText()")
    assert copied == code(opened)
    assert f"%repro_seed {opened.value(seeded)}" in copied


def test_it_is_reached_by_the_keyboard(notebook: Make) -> None:
    opened = notebook(PANEL)
    opened.run(0, 1)
    panel_of(opened).get_by_label("Seed", exact=True).focus()
    reached = []
    for _ in range(30):
        opened.page.keyboard.press("Tab")
        reached.append(opened.page.evaluate("document.activeElement.closest('.widget-checkbox')?.innerText.trim()"))
        if reached[-1] == "cuDNN benchmark":
            opened.page.keyboard.press("Space")
            break
    opened.becomes("torch.backends.cudnn.benchmark", True)
    assert "cuDNN deterministic" in reached


def test_it_follows_code_and_finds_drift(notebook: Make) -> None:
    opened = notebook((*PANEL, FLAGGED, "torch.backends.cudnn.benchmark = True", "random.random()"))
    opened.run(0, 1, 2, 3, 4)
    opened.until(lambda: "In[5]" in text(opened))
    assert "⚠ Seeded 42, but not reproducible: 1 op on cpu" in text(opened)
    assert "changed by In[4]: off → on" in text(opened)
    box = panel_of(opened).get_by_label("cuDNN benchmark", exact=True)
    assert box.is_checked()
    box.click()
    opened.becomes("torch.backends.cudnn.benchmark", False)
    opened.until(lambda: "changed by" not in text(opened))


@pytest.mark.parametrize("pause", ["time.sleep(0.1)", "await asyncio.sleep(0.1)"], ids=["busy", "awaiting"])
def test_it_follows_a_running_cell_and_clicks_wait_for_its_end(notebook: Make, pause: str, tmp_path: Path) -> None:
    """An awaiting kernel hears of the click at once, and says so; a busy one hears of it when the cell is over."""
    seen = tmp_path / "seen"
    long = (
        f"import asyncio, os\n{FLAGGED}\n"
        f"while not os.path.exists({str(seen)!r}): {pause}\n"
        "counted = torch.get_num_threads()"
    )
    opened = notebook((*PANEL, long))
    opened.run(0, 1)
    before = opened.value("torch.get_num_threads()")
    opened.start(2)
    opened.until(lambda: "index_put_" in text(opened))
    assert opened.is_running(2)
    threads = panel_of(opened).get_by_label("CPU threads")
    threads.fill(str(before + 1))
    threads.press("Enter")
    if "await" in pause:
        opened.until(lambda: "takes effect after the running cell" in text(opened))
        assert opened.is_running(2)
    opened.page.wait_for_timeout(500)  # the click is on its way
    seen.touch()
    opened.becomes("torch.get_num_threads()", before + 1)
    assert opened.value("counted") == before, "the cell ran to its end with what it had"
    opened.until(lambda: "takes effect after" not in text(opened))


def test_reloading_the_page_keeps_it(notebook: Make) -> None:
    opened = notebook(PANEL)
    opened.run(0, 1)
    opened.save()
    opened.page.reload()
    opened.ready()
    panel_of(opened).wait_for()
    panel_of(opened).get_by_label("cuDNN benchmark", exact=True).click()
    opened.becomes("torch.backends.cudnn.benchmark", True)
    assert opened.page.locator(".repro-magic-last").first.is_hidden()


def test_without_its_kernel_it_says_so_and_its_last_state_stays_readable(notebook: Make) -> None:
    opened = notebook((*PANEL, FLAGGED))
    opened.run(0, 1, 2)
    opened.until(lambda: "index_put_" in text(opened))
    last = opened.page.locator(".repro-magic-last").first
    assert last.is_hidden(), "the panel says it already"
    opened.save()
    opened.command("kernelmenu:restart")
    opened.page.locator(".jp-Dialog .jp-mod-accept").click()
    opened.until(lambda: "Kernel restarted: run %load_ext repro_magic" in text(opened))
    opened.page.wait_for_timeout(2000)
    opened.page.reload()
    opened.ready()
    last = opened.page.locator(".repro-magic-last").first
    last.wait_for(state="visible")
    for part in ("Seeded 42, but not reproducible: 1 op on cpu", "index_put_", "%repro_seed 42"):
        assert part in last.inner_text()
    opened.run(0, 1)
    panel_of(opened).wait_for()
    opened.until(lambda: "Kernel restarted" not in text(opened))
    panel_of(opened).get_by_label("cuDNN benchmark", exact=True).click()
    opened.until(lambda: "%config ReproMagic.cudnn_benchmark = True" in code(opened))


def test_unloading_and_loading_again(notebook: Make) -> None:
    opened = notebook((*PANEL, "%reload_ext repro_magic", "%repro_panel"))
    opened.run(0, 1, 2)
    opened.until(lambda: "Extension unloaded: run %load_ext repro_magic" in text(opened))
    assert panel_of(opened).get_by_label("cuDNN benchmark", exact=True).is_disabled()
    opened.run(3)
    opened.page.locator(".repro-magic-panel").nth(1).get_by_label("cuDNN benchmark", exact=True).click()
    opened.becomes("torch.backends.cudnn.benchmark", True)


def test_two_views_are_one_panel(notebook: Make) -> None:
    opened = notebook((*PANEL, "%repro_panel"))
    opened.run(0, 1, 2)
    views = opened.page.locator(".repro-magic-panel")
    views.nth(1).wait_for()
    views.nth(0).get_by_label("cuDNN benchmark", exact=True).click()
    opened.until(lambda: bool(views.nth(1).get_by_label("cuDNN benchmark", exact=True).is_checked()))


def test_it_works_in_notebook_7(notebook: Make) -> None:
    opened = notebook(PANEL, view="notebooks")
    opened.run(0, 1)
    panel_of(opened).get_by_label("cuDNN benchmark", exact=True).click()
    opened.becomes("torch.backends.cudnn.benchmark", True)
    assert opened.page.locator(".repro-magic-last").first.is_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_looks_well_in_both_themes_and_at_two_widths(notebook: Make, theme: str) -> None:
    """It fits, and its text can be read; whether it looks well, a person sees in what `make pictures` makes."""
    opened = notebook((*PANEL, FLAGGED, "torch.backends.cudnn.benchmark = True"))
    opened.theme(theme)
    opened.command("application:toggle-left-area")
    opened.run(0, 1, 2, 3)
    opened.until(lambda: "changed by In[4]" in text(opened))
    panel = panel_of(opened)
    panel.get_by_label("Seed", exact=True).focus()
    colours = set()
    for width in (1000, 700):
        opened.page.set_viewport_size({"width": width, "height": 1700})
        opened.page.wait_for_timeout(1500)
        assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1"), "it fits"
        colours.add(panel.evaluate("panel => getComputedStyle(panel.querySelector('td')).color"))
    (colour,) = colours
    brightness = sum(map(int, re.findall(r"\d+", colour)[:3]))
    assert (brightness > 3 * 128) is (theme == "dark"), "text in the theme's own colour"
