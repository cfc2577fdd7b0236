"""A JupyterLab of the tests' own, and Chromium to look at it. `make test-browser` installs what this needs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

# A seeded notebook with a panel, and a cell with one op that may give different results and one that cannot here.
PANEL = ("%load_ext repro_magic\nimport torch, time, random\n%repro_seed 42", "%repro_panel")
FLAGGED = """torch.set_num_threads(2)
places = torch.arange(200_000) % 10
last = torch.zeros(10)
last[places] = torch.linspace(0, 1, 200_000)
sums = torch.zeros(10).index_add_(0, places, torch.ones(200_000))"""

PATIENCE = 60_000  # ms; these machines may be slow


def free_port() -> int:
    """A port of the loopback interface that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A Jupyter server with its folder, without token on a port of its own."""

    def __init__(self, folder: Path) -> None:
        """Start it."""
        self.root = folder / "notebooks"
        # The kernels' sockets are files in it, whose paths must be short; see conftest.runner.
        self._runtime = tempfile.TemporaryDirectory()
        self.runtime = Path(self._runtime.name)
        settings = {
            "notification": {"fetchNews": "false", "checkForUpdates": False},
            "tracker": {"windowingMode": "none"},  # every cell is in the page, also those out of sight
        }
        for name, value in settings.items():
            plugin = "notebook-extension" if name == "tracker" else "apputils-extension"
            place = folder / "settings" / "@jupyterlab" / plugin
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.jupyterlab-settings").write_text(json.dumps(value))
        for needed in (self.root, folder / "config"):
            needed.mkdir()
        self.url = ""
        config = {
            "ServerApp": {"ip": "127.0.0.1", "port": free_port(), "root_dir": str(self.root)},
            "KernelManager": {"transport": "ipc"},
            "IdentityProvider": {"token": ""},
            "LabApp": {"expose_app_in_browser": True},
            "JupyterNotebookApp": {"expose_app_in_browser": True},
        }
        (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
        environment = {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        }
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"],
            env={**os.environ, **environment},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> None:
        """Until it answers."""
        for _ in range(240):
            for file in self.runtime.glob("jpserver-*.json"):
                with contextlib.suppress(ValueError):  # half written
                    port = json.loads(file.read_text())["port"]  # if the first was taken meanwhile, it took another
                    with socket.socket() as client:
                        if client.connect_ex(("127.0.0.1", port)) == 0:
                            self.url = f"http://127.0.0.1:{port}"
                            return
            assert self._process.poll() is None, Path(self._log.name).read_text()
            time.sleep(0.25)
        pytest.fail(f"JupyterLab did not start:\n{Path(self._log.name).read_text()}")

    def stop(self) -> None:
        """End it, and its kernels."""
        self._process.terminate()
        self._process.wait(120)
        self._log.close()
        self._runtime.cleanup()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all tests share."""
    made = Server(tmp_path_factory.mktemp("jupyter"))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    assert path, "there is no Chromium: `make test-browser` installs it, or set CHROMIUM to the path of yours"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Notebook:
    """One notebook in the browser, and a second client of its kernel, to see what really happened."""

    def __init__(self, server: Server, page: Any, name: str) -> None:
        """Take the page; it is opened by `open`."""
        self.server, self.page, self.name = server, page, name
        self._client: Any = None

    def open(self, view: str = "lab/tree") -> None:
        """Open it in JupyterLab, or in Notebook 7 (`view="notebooks"`), and wait for its kernel."""
        query = "?reset" if view == "lab/tree" else ""
        self.page.goto(f"{self.server.url}/{view}/{self.name}{query}")
        self.ready()

    def ready(self) -> None:
        """Wait until the kernel listens."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        # A dialog may come before it, whenever it likes (which kernel to take, say).
        self.page.wait_for_function(
            "() => { document.querySelector('.jp-Dialog .jp-mod-accept')?.click(); "
            "const panel = window.jupyterapp.shell.currentWidget; "
            "return panel?.sessionContext?.session?.kernel?.status === 'idle' }"
        )

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Start one of JupyterLab's commands; it is not waited for, since it may ask something."""
        self.page.evaluate(
            "([name, given]) => void window.jupyterapp.commands.execute(name, given)", [name, arguments or {}]
        )

    def theme(self, name: str) -> None:
        """Change to JupyterLab's light or dark theme, and wait until it is there."""
        self.command("apputils:change-theme", {"theme": f"JupyterLab {name.title()}"})
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light", arg=str(name == "light").lower()
        )

    def save(self) -> None:
        """Save it, to the end."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save').then(() => null)")

    def cell(self, number: int) -> Any:
        """A code cell, from 0."""
        return self.page.locator(".jp-CodeCell").nth(number)

    def start(self, number: int) -> None:
        """Run a cell, and wait until it began: a star takes the place of the number, or it has another number."""
        before = self._prompt(number)
        self.cell(number).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        self.until(lambda: self._prompt(number) != before)

    def run(self, *numbers: int) -> None:
        """Run cells, one after the other, to their end."""
        for number in numbers:
            self.start(number)
            self.until(lambda number=number: not self.is_running(number))  # type: ignore[misc]

    def is_running(self, number: int) -> bool:
        """Whether a cell runs, or waits to."""
        return re.fullmatch(r"\[\d+\]:", self._prompt(number)) is None

    def _prompt(self, number: int) -> str:
        return str(self.cell(number).locator(".jp-InputPrompt").inner_text())

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        for _ in range(PATIENCE // 100):
            if condition():
                return
            self.page.wait_for_timeout(100)
        self.page.screenshot(path=str(self.server.root.parent / "failure.png"))
        pytest.fail(f"it did not come true; see {self.server.root.parent / 'failure.png'}")

    def value(self, expression: str) -> Any:
        """What an expression of literals is in the kernel; asked without a cell."""
        if self._client is None:
            file = self.server.runtime / f"kernel-{self._kernel()}.json"
            self._client = BlockingKernelClient(connection_file=str(file))
            self._client.load_connection_file()
            self._client.start_channels()
            self._client.wait_for_ready(timeout=60)
        asked = {"value": f"__import__('json').dumps({expression})"}
        reply = self._client.execute("", silent=True, user_expressions=asked, reply=True, timeout=60)
        found = reply["content"]["user_expressions"]["value"]
        assert found["status"] == "ok", found
        return json.loads(found["data"]["text/plain"].strip("'"))

    def _kernel(self) -> str:
        sessions = self.page.request.get(f"{self.server.url}/api/sessions").json()
        return next(str(session["kernel"]["id"]) for session in sessions if session["path"] == self.name)

    def becomes(self, expression: str, value: object) -> None:
        """Wait until an expression has a value in the kernel."""
        self.until(lambda: self.value(expression) == value)

    def close(self) -> None:
        """Close the page and end the kernel."""
        if self._client is not None:
            self._client.stop_channels()
        self.page.request.delete(f"{self.server.url}/api/kernels/{self._kernel()}")
        self.page.close()


@pytest.fixture
def window() -> dict[str, Any]:
    """The browser's window, in Playwright's words; high enough for a whole panel."""
    return {"viewport": {"width": 1200, "height": 1700}}


@pytest.fixture
def notebook(
    server: Server, chromium: Any, window: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Makes a notebook of some cells, and opens it."""
    context = chromium.new_context(**window)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    opened: list[Notebook] = []

    def make(sources: Sequence[str] | Path, view: str = "lab/tree") -> Notebook:
        name = f"{request.node.name.replace('[', '-').rstrip(']')}.ipynb"
        if isinstance(sources, Path):
            shutil.copy(sources, server.root / name)
        else:
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            made = nbformat.v4.new_notebook(cells=cells)
            made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
            nbformat.write(made, server.root / name)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        opened.append(Notebook(server, page, name))
        opened[-1].open(view)
        return opened[-1]

    yield make
    for one in opened:
        one.close()
    context.close()
