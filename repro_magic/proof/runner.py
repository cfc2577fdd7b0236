"""A notebook in a fresh kernel, in a copy of its folder: what each cell showed, and what its names held afterwards."""

from __future__ import annotations

import ast
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro_magic.exceptions import NotRunnableError

_PROBE = 'str(__import__("repro_magic.proof.probe", None, None, ("_",)).values())'
_LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv*", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", "*_cache", "*.egg-info"
)
_SHELL = re.compile(
    r"^\s*(?:!|%(?:pip|conda|mamba|micromamba|uv|sx|system)\b|%%(?:(?:bash|sh|script|cmd|system|sx)\b|!))|=\s*!(?!=)"
)


@dataclass(frozen=True)
class CellRun:
    """What one code cell did in one run.

    Attributes:
        source: its text.
        outputs: as the notebook format has them.
        values: name -> its digest and what it is, after the cell; see `proof.probe`.
        may_fail: whether its author tagged it "raises-exception".
    """

    source: str
    outputs: list[dict[str, Any]]
    values: Mapping[str, Mapping[str, Any]]
    may_fail: bool = False

    @property
    def error(self) -> str:
        """The error that it ended with; empty if there was none, or its author expects one."""
        for output in self.outputs:
            if output["output_type"] == "error" and not self.may_fail:
                return f"{output['ename']}: {output['evalue']}"
        return ""


@dataclass
class Run:
    """One run of a notebook.

    Attributes:
        cells: the code cells that ran, in order.
        error: why it did not come to its end; empty if it did.
    """

    cells: list[CellRun] = field(default_factory=list)
    error: str = ""


def read(path: Path) -> Any:  # noqa: ANN401 - nbformat's node
    """A notebook of any version of the format, as version 4.

    Raises:
        NotRunnableError: there is none at `path`.
    """
    import nbformat  # noqa: PLC0415 - only the command line needs it

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotRunnableError(f"{path} cannot be read: {error}") from None
    try:
        notebook = nbformat.reads(text, as_version=4)
    except Exception as error:  # noqa: BLE001 - nbformat raises of many kinds; each means the same here
        raise NotRunnableError(f"{path} is not a notebook: {type(error).__name__}: {str(error)[:200]}") from None
    if not code_cells(notebook):
        raise NotRunnableError(f"{path} has no code cells")
    return notebook


def code_cells(notebook: Any) -> list[Any]:  # noqa: ANN401 - nbformat's node
    """The code cells that hold anything."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def shell_lines(notebook: Any) -> list[tuple[int, str]]:  # noqa: ANN401 - nbformat's node
    """The lines that run programs, with the number of their code cell: they could change more than a copy's files."""
    return [
        (number, line.strip())
        for number, cell in enumerate(code_cells(notebook), start=1)
        for line in cell.source.splitlines()
        if _SHELL.search(line)
    ]


@contextmanager
def scratch_copy(path: Path) -> Iterator[Path]:
    """A copy of a notebook's folder, gone afterwards; the notebook's path in it."""
    with tempfile.TemporaryDirectory(prefix="repro-magic-") as folder:
        copy = Path(folder) / path.resolve().parent.name
        scratch = Path(folder).resolve()

        def left_behind(parent: str, names: list[str]) -> set[str]:
            """What is not the notebook's; the scratch folder itself may lie below the notebook's."""
            return _LEFT_BEHIND(parent, names) | {name for name in names if Path(parent, name).resolve() == scratch}

        shutil.copytree(path.resolve().parent, copy, ignore=left_behind, symlinks=True, ignore_dangling_symlinks=True)
        yield copy / path.name


def run(
    path: Path, *, timeout: int | None = None, kernel: str | None = None, on_cell: Callable[[], object] = lambda: None
) -> Run:
    """Run a notebook once, in a fresh kernel and a copy of its folder.

    Args:
        path: the notebook; it is not written.
        timeout: seconds that one cell may take; None: as long as it likes.
        kernel: the kernel's name; None: the notebook's own.
        on_cell: called after each code cell.

    Raises:
        NotRunnableError: there is no such notebook or kernel, or the kernel's environment lacks repro_magic.
    """
    notebook = read(path)
    with scratch_copy(path) as copy:
        found = _run(notebook, copy.parent, timeout, kernel, on_cell)
        if found.error.startswith("DeadKernelError") and not found.cells:
            found = _run(notebook, copy.parent, timeout, kernel, on_cell)
    return found


def _run(notebook: Any, folder: Path, timeout: int | None, kernel: str | None, on_cell: Callable[[], object]) -> Run:  # noqa: ANN401
    from jupyter_client.kernelspec import NoSuchKernel  # noqa: PLC0415 - as above
    from nbclient import NotebookClient  # noqa: PLC0415
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError  # noqa: PLC0415

    client = NotebookClient(
        notebook,
        kernel_name=kernel or notebook.metadata.get("kernelspec", {}).get("name", "python3"),
        timeout=timeout,
        store_widget_state=False,
        record_timing=False,
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(folder)}},
    )
    found = Run()
    try:
        with client.setup_kernel():
            _values(client)  # before the first cell: whatever is imported for it is
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type != "code" or not cell.source.strip():
                    continue
                failed = ""
                try:
                    client.execute_cell(cell, index)
                except CellExecutionError:
                    failed = "a cell failed"
                except CellTimeoutError:
                    failed = f"a cell took more than {timeout} s"
                values = {} if failed else _values(client)
                may_fail = "raises-exception" in cell.metadata.get("tags", [])
                found.cells.append(CellRun(cell.source, [dict(one) for one in cell.outputs], values, may_fail))
                on_cell()
                if failed:
                    found.error = failed
                    break
    except DeadKernelError as error:
        found.error = f"DeadKernelError: {error}"
    except NoSuchKernel as error:
        raise NotRunnableError(f"there is no kernel {error.name!r}: choose one with --kernel") from None
    return found


def _values(client: Any) -> Mapping[str, Mapping[str, Any]]:  # noqa: ANN401 - nbclient's
    from nbclient.util import run_sync  # noqa: PLC0415 - as above

    reply: Any = None
    for _ in range(50):
        message = client.kc.execute("", silent=True, store_history=False, user_expressions={"values": _PROBE})
        reply = run_sync(client.async_wait_for_reply)(message)
        if reply is None or reply["content"]["status"] != "aborted":
            break
        time.sleep(0.1)  # for a moment after an error the kernel turns down what waits in line
    told = {} if reply is None else reply["content"].get("user_expressions", {}).get("values", {})
    if told.get("status") != "ok":
        why = told.get("evalue", "it did not answer")
        if told.get("ename") == "ModuleNotFoundError":
            raise NotRunnableError(f"the kernel's environment lacks repro_magic ({why}): pip install repro-magic there")
        raise NotRunnableError(f"the kernel could not tell what its names hold: {told.get('ename')}: {why}")
    found: dict[str, dict[str, Any]] = json.loads(ast.literal_eval(told["data"]["text/plain"]))
    return found
