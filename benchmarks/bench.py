"""What the extension costs, measured in real kernels: every figure beside the bare code, in the same run.

Run it with `make bench`. Times are medians; the last column is the bound that the project holds itself to.
"""

from __future__ import annotations

import ast
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from jupyter_client.manager import start_new_kernel
from rich.console import Console
from rich.table import Table

HELPERS = """
import time, statistics
shell = get_ipython()

def timed(action):
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3

def pairs(bare, ours, repeats=300):
    times = [(timed(bare), timed(ours)) for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times)]

def cell(source):
    return lambda: shell.run_cell(source)

def outside(code, done):
    try:
        exec(code, globals())
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(None)
"""
# A cell that is run by a cell is part of it, for the extension too. So what is measured runs from the kernel's loop, in
# a namespace that is not the user's.
OUTSIDE = """
import asyncio
space = {{name: value for name, value in globals().items() if not name.startswith("_")}}
exec({helpers!r}, space)
done = asyncio.get_running_loop().create_future()
asyncio.get_running_loop().call_soon(space["outside"], {code!r}, done)
await done
"""
TORCH = """
import torch, random, numpy
globals().update({f"variable_{number}": torch.zeros(3) for number in range(1000)})
"""
# They raise what no `except Exception` catches, refer to themselves, and are of classes that cannot be hashed.
HOSTILE = """
class Stop(BaseException): pass
def refuse(*_): raise Stop
class Meta(type): __hash__ = refuse
class Hostile(metaclass=Meta):
    __getattr__ = __eq__ = __iter__ = __len__ = __bool__ = refuse
    __class__ = __dict__ = property(refuse)
globals().update({f"hostile_{number}": Hostile() for number in range(1000)})
"""
LOADED = """
%load_ext repro_magic
cell("x = 1")()
"""
WARM = """
cell("%%deterministic --seed 1\\nx = 1")()
"""


@dataclass(frozen=True)
class Case:
    """One row: `code` prints [ms beside, ms ours] in a kernel that ran `prelude`; median over `kernels` kernels."""

    name: str
    prelude: str
    code: str
    bound: float | None = None
    kernels: int = 1
    whole: bool = False  # the bound is on our own time, not on what we add
    ratio: float | None = None  # the bound is on ours / beside


CASES = (
    Case(
        "%load_ext, beside IPython's own %load_ext autoreload",
        "",
        "print([timed(lambda: shell.run_line_magic('load_ext', name)) for name in ('autoreload', 'repro_magic')])",
        bound=100,
        kernels=5,
        whole=True,
    ),
    Case(
        "the first %%deterministic --seed 1 cell, beside the same cell bare",
        TORCH + LOADED,
        "print([timed(cell('x = 1')), timed(cell('%%deterministic --seed 1\\nx = 1'))])",
        bound=50,
        kernels=5,
    ),
    Case(
        "the same, beside torch.use_deterministic_algorithms(True) alone",
        TORCH + LOADED,
        "ours = timed(cell('%%deterministic --seed 1\\nx = 1'))\n"
        "print([timed(lambda: torch.use_deterministic_algorithms(True)), ours])",
        kernels=5,
    ),
    Case(
        "an ordinary cell with 1,000 variables, extension loaded, beside unloaded",
        TORCH + "import repro_magic",
        """
bare, ours = [], []
for _ in range(20):
    bare += [timed(cell("x = 1")) for _ in range(20)]
    repro_magic.load_ipython_extension(shell)
    ours += [timed(cell("x = 1")) for _ in range(20)]
    repro_magic.unload_ipython_extension(shell)
print([statistics.median(bare), statistics.median(ours)])
""",
        bound=1,
    ),
    Case(
        "an ordinary cell with 1,000 hostile objects, extension loaded, beside unloaded",
        HOSTILE + "import repro_magic",
        """
bare, ours = [], []
for _ in range(20):
    bare += [timed(cell("x = 1")) for _ in range(20)]
    repro_magic.load_ipython_extension(shell)
    ours += [timed(cell("x = 1")) for _ in range(20)]
    repro_magic.unload_ipython_extension(shell)
print([statistics.median(bare), statistics.median(ours)])
""",
        bound=5,
    ),
    Case(
        "a later %%deterministic --seed 1 --quiet cell, beside the same cell bare",
        TORCH + LOADED + WARM,
        "print(pairs(cell('x = 1'), cell('%%deterministic --seed 1 --quiet\\nx = 1')))",
        bound=1,
    ),
    Case(
        "the same without --quiet: its line is displayed",
        TORCH + LOADED + WARM,
        "print(pairs(cell('x = 1'), cell('%%deterministic --seed 1\\nx = 1'), 50))",
    ),
    Case(
        "a cell with 10,000 flagged calls and an open panel, beside the same cell without the panel",
        TORCH
        + LOADED
        + """
x, index, values = torch.zeros(64), torch.arange(8), torch.ones(8)
flagged = cell("for _ in range(10_000): x.index_add_(0, index, values)")
from repro_magic.notebook.session import _sessions
session = _sessions[shell]
shell.run_line_magic("repro_panel", "")
panel = session._panel

def with_panel(is_open):
    session._panel = panel if is_open else None
    return timed(flagged)

with_panel(True)
""",
        "times = [(with_panel(False), with_panel(True)) for _ in range(20)]\n"
        "print([statistics.median(column) for column in zip(*times)])",
        ratio=1.05,
    ),
    Case(
        "opening the panel, beside importing ipywidgets",
        TORCH + LOADED,
        "print([timed(lambda: __import__('ipywidgets')), timed(lambda: shell.run_line_magic('repro_panel', ''))])",
        kernels=3,
    ),
    Case(
        "with deterministic(seed=1), beside seeding and switching by hand",
        TORCH
        + """
import repro_magic

def by_hand():
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False

def ours():
    with repro_magic.deterministic(seed=1):
        pass

by_hand(), ours()
""",
        "print(pairs(by_hand, ours))",
    ),
)


def measure(prelude: str, code: str, *, runs_cells: bool = False) -> list[float]:
    """The list that `code` prints in a fresh kernel, run outside a cell if it runs cells of its own."""
    printed: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "error":
            sys.exit("\n".join(message["content"]["traceback"]))
        printed.append(message["content"].get("text", ""))

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive(prelude, output_hook=lambda _message: None, timeout=300)
        if runs_cells:
            code = OUTSIDE.format(helpers=HELPERS, code=code)
        client.execute_interactive(code, output_hook=collect, timeout=300)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    found: list[float] = ast.literal_eval("".join(printed).strip().splitlines()[-1])
    return found


def main() -> None:
    """Measure and print the table."""
    table = Table("measured", "beside, ms", "ours, ms", "ratio", "added, ms", "bound")
    for case in CASES:
        runs = [measure(HELPERS + case.prelude, case.code, runs_cells=True) for _ in range(case.kernels)]
        bare, ours = (statistics.median(column) for column in zip(*runs, strict=True))
        counted, bound = (ours / bare, case.ratio) if case.ratio else (ours if case.whole else ours - bare, case.bound)
        unit = "x" if case.ratio else " ms"
        verdict = "" if bound is None else f"{bound:g}{unit} {'held' if counted <= bound else 'MISSED'}"
        table.add_row(case.name, f"{bare:.2f}", f"{ours:.2f}", f"{ours / bare:.2f}", f"{ours - bare:.2f}", verdict)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
