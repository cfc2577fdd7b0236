"""Which cells run programs, and are listed before they run."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_magic.proof.run.consent import shell_lines


def cells(*sources: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


RUN = [
    "!ls",
    "!!ls",
    "  !ls",
    "\t!ls",
    "if 1:\n    !ls",
    "x = !ls",
    "x =!ls",
    "a, b = !ls",
    "a.b = !ls",
    "a[0] = !ls",
    "%sx ls",
    "%system ls",
    "x = %sx ls",
    "x = %system ls",
    "%pip list",
    "  %pip list",
    "x=%pip list",
    "%conda list",
    "%uv pip list",
    "pip install foo",
    "pip list",
    "conda install x",
    "mamba install x",
    "uv pip install x",
    "%rm -rf x",
    "%mv a b",
    "%cp a b",
    "%mkdir d",
    "%rmdir d",
    "%ls",
    "rm -rf x",
    "cp a b",
    "mv a b",
    "%alias foo rm -rf",
    "%alias_magic t sx",
    "%rehashx",
    "%edit x",
    "%run other.ipynb",
    "%%bash\nls",
    "%%bash --out x\nls",
    "%%sh\nls",
    "%%script bash\nls",
    "%%script --bg bash\nls",
    "%%perl\nprint 1",
    "%%ruby\np 1",
    "%%python\nprint(1)",
    "%%python3\nprint(1)",
    "%%pypy\nx",
    "%%cmd\ndir",
    "%%sx\nls",
    "%%system\nls",
    "%%!\nls",
    "%time !ls",
    "time !ls",
    "%timeit -n1 -r1 !ls",
    "%timeit -n 1 -r 1 !ls",
    "%prun -s cumulative !ls",
    "%%time\n!ls",
    "%%timeit\n!ls",
    "%%capture\n!ls",
    "%%capture out\n%%bash\nls",
    "%%deterministic\n!ls",
    "%%deterministic --seed 1\n%%time\nx = %sx ls",
    "%%of_somebody\nx = 1\n!ls",
    'get_ipython().system("ls")',
    'get_ipython().getoutput("ls")',
    "get_ipython().system(command)",
    'get_ipython().run_line_magic("sx", "ls")',
    'get_ipython().run_cell_magic("bash", "", "ls")',
    'get_ipython().magic("sx ls")',
    'ip = get_ipython()\nip.system("ls")',
    "type X = int; x: X = (yield)\n!ls",
]

# `%run x.py` is an import by another name, `%load` puts text into a cell that nobody runs, `%cd`, `%env` and `%store`
# are Python; `%git` and `%jupyter` are no magics. `os.system` and `subprocess` are seen when they run.
INNOCENT = [
    '"""\n! attention\n"""',
    's = """\n!pip install x\n"""',
    'assert 1, "x =! y"',
    "# files = !ls",
    "x = 1 # = !",
    'd = {"a": "b=!c"}',
    'print("a = !b")',
    'x = "=!"',
    'f"{a=!r}"',
    'print(f"{x=!r}")',
    "y = a !=b",
    "y = a != b",
    're.compile(r"=!(.*)")',
    "if x == !y: pass",
    "x = (!ls)",
    "%%latex\n!x",
    "%%markdown\n!pip install",
    "%%html\n<!-- x -->",
    "%%HTML\nx\n!ls",
    "%%javascript\n!x",
    "%%writefile x.sh\n!ls",
    "%%file x.sh\n!ls",
    "%%of_somebody\nSELECT !x\n!ls",
    "%%bashful",
    "%pipeline",
    "%systemic",
    "%git status",
    "%jupyter",
    "%run x.py",
    "%load x",
    "%cd /",
    "%env X=!ls",
    "%store -r",
    "for i in x: pass\n%debug",
    "%killbgscripts",
    "%timeit 1",
    '%timeit "!ls"',
    "%%time\n1",
    "%matplotlib inline",
    "x?",
    "ls = [1]",
    "cat.fit(x)",
    "time = 1",
    'import os; os.system("ls")',
    'import subprocess; subprocess.run("ls")',
    'platform.system("x")',
    "(" * 5000,
]


@pytest.mark.parametrize("source", RUN)
def test_what_runs_programs_is_listed(source: str) -> None:
    assert [number for number, _ in shell_lines(cells("x = 1", source))] == [2]


@pytest.mark.parametrize("source", INNOCENT)
def test_what_runs_none_is_not(source: str) -> None:
    assert shell_lines(cells(source)) == []


def test_a_name_that_an_earlier_cell_binds_is_no_magic() -> None:
    assert shell_lines(cells("ls = [1]", "ls", "ls - 1")) == []
    assert shell_lines(cells("from tools import *", "cat(x)")) == []
    assert [number for number, _ in shell_lines(cells("ls", "ls = [1]"))] == [1]
    assert shell_lines(cells("rm = 1", "rm -rf x")) == [(2, "%rm -rf x")], "no Python: it cannot be meant"
    assert shell_lines(cells("ip = get_ipython()", "ip.system('ls')")) == [(2, "!ls")]


def test_the_lines_are_told_as_what_is_run() -> None:
    source = "%%time\n!touch a\nx = %sx ls\n!touch a"
    assert shell_lines(cells(source)) == [(1, "!touch a"), (1, "%sx ls")]
    assert shell_lines(cells("%%bash -e\n\nrm x")) == [(1, "%%bash -e … rm x")]


@given(st.text(max_size=40))
def test_no_text_is_too_odd(source: str) -> None:
    shell_lines(cells(source))
    assert shell_lines(cells(f"x = {source!r}")) == []
