"""A deterministic cell is a native cell, in a real kernel: what a cell magic usually takes away is all there."""

from __future__ import annotations

import re

import nbformat
import pytest
from conftest import run_in_kernel, runner
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.kernel

LOAD = "%load_ext repro_magic\nimport torch\non = torch.are_deterministic_algorithms_enabled"


def plain(traceback: list[str]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(traceback))


def test_body_value_and_line_are_those_of_an_ordinary_cell() -> None:
    """GIVEN a cell with a multi-line string and a value WHEN it runs THEN text, value, Out and In are kept."""
    ran = run_in_kernel(
        LOAD,
        '%%deterministic --seed 7\ntext = """\n  kept\n    as it is\n"""\nx = torch.rand(2)\nassert on()\nx',
        "print(repr(text), on(), Out[2] is x, _ is x, In[2].splitlines()[0])",
        "%%deterministic\n1 + 1;",
        "%%deterministic\nvalue = 3",
    )
    assert ran.result(1) == "tensor([0.5349, 0.1988])"
    assert ran.stream(2) == "'\\n  kept\\n    as it is\\n' False True True %%deterministic --seed 7\n"
    assert "deterministic: seed 7" in ran.shown(1)
    assert ran.result(3) is None, "a semicolon hides the value, as ever"
    assert ran.result(4) is None
    assert "not reseeded" in ran.shown(4)


def test_an_error_stops_the_run_and_names_the_line_of_the_cell() -> None:
    """GIVEN an error on line 4 WHEN a runner executes the notebook THEN it stops there, and the traceback says 4."""
    cells = [LOAD, "%%deterministic --seed 1\na = 1\n\n1 / 0", "print('must not run')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    with runner(notebook) as client, pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        client.execute()
    assert notebook.cells[2].execution_count is None
    [error] = [output for output in notebook.cells[1].outputs if output.output_type == "error"]
    shown = plain(error.traceback)
    assert "----> 4 1 / 0" in shown
    assert "repro_magic" not in shown, "no frame of ours in a user's traceback"


def test_the_traceback_shows_the_first_line_as_the_user_wrote_it() -> None:
    ran = run_in_kernel(LOAD, "%%deterministic --seed 1\n1 / 0")
    assert "%%deterministic --seed 1" in plain(ran.error(1).traceback)


def test_switches_are_back_after_errors_and_generators_with_the_flag() -> None:
    """GIVEN values of the user's own WHEN a cell fails, exits or is rejected THEN they are as they were."""
    ran = run_in_kernel(
        LOAD,
        "torch.backends.cudnn.benchmark = True\ntorch.use_deterministic_algorithms(True, warn_only=True)\n"
        "torch.manual_seed(5)\n"
        "import random, os, numpy as np\nnp.random.seed(5); random.seed(5)\n"
        "def everything():\n"
        "    import torch._inductor.config as inductor\n"
        "    return (on(), torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cudnn.benchmark,\n"
        "        torch.backends.cudnn.deterministic, torch.backends.mkldnn.deterministic, inductor.deterministic,\n"
        "        os.environ.get('CUBLAS_WORKSPACE_CONFIG'), torch.get_num_threads(),\n"
        "        torch.get_rng_state().sum().item(),\n"
        "        random.getstate(), np.random.get_state()[1].sum(), np.random.get_state()[2])\n"
        "before = everything()",
        "%%deterministic --seed 1 --restore-rng --threads 1\n"
        "torch.backends.cudnn.benchmark = True\ntorch.rand(3), random.random(), np.random.rand()\n1 / 0",
        "everything() == before",
        "%%deterministic --restore-rng\ntorch.rand(3)\nraise SystemExit",
        "everything() == before",
        "%%deterministic --seed 1 --restore-rng\n"
        "get_ipython().run_cell('%%deterministic --strict\\nassert on()\\n1/0')\n"
        "torch.is_deterministic_algorithms_warn_only_enabled()",
        "everything() == before",
    )
    assert ran.error(2).ename == "ZeroDivisionError"
    assert "The cell set torch.backends.cudnn.benchmark to True" in ran.shown(2)
    assert "1 thread" in ran.shown(2)
    assert ran.result(3) == "True"
    assert ran.result(5) == "True"
    assert ran.result(6) == "True", "the outer cell's own setting is back after the inner cell"
    assert ran.result(7) == "True"


def test_await_future_imports_and_scopes() -> None:
    """GIVEN what only a real cell may hold WHEN it stands in a deterministic cell THEN it works as in any cell."""
    ran = run_in_kernel(
        LOAD,
        "%%deterministic --seed 1\nimport asyncio\nawait asyncio.sleep(0.01)\nasync def numbers():\n    yield on()\n"
        "async for number in numbers():\n    seen = number\nawait asyncio.sleep(0, seen)",
        "%%deterministic\nfrom __future__ import annotations\ndef f(x: Undefined): pass\n"
        "await asyncio.sleep(0, f.__annotations__)",
        "%%deterministic\nglobal g\ng = 1\ndel g\nclass A:\n    def m(self): return __class__\nA().m() is A",
        "%%deterministic\nx = 1\nreturn x",
        "%%deterministic\ndef outer():\n    n = 1\n    def inner():\n        nonlocal n\n        n += 1\n    inner()\n"
        "    return n\nouter()",
    )
    assert ran.result(1) == "True"
    assert ran.result(2) == "{'x': 'Undefined'}"
    assert ran.result(3) == "True"
    assert ran.error(4).ename == "SyntaxError"
    assert ran.result(5) == "2"


def test_bodies_without_python() -> None:
    """GIVEN only magics, shell lines, comments or nothing WHEN the cell runs THEN it does what it says."""
    ran = run_in_kernel(
        LOAD,
        "%%deterministic\n%pwd",
        "%%deterministic\n!echo shell",
        "%%deterministic\n# only a comment",
        "%%deterministic --seed 4\n%reset -f\nimport torch\ntorch.initial_seed()",
        "%%deterministic",
        "%history -n 1-6\n%rerun 2",
    )
    assert ran.result(1) is not None
    assert "shell" in ran.stream(2)
    assert [ran.error(number) for number in range(1, 6)] == [None] * 5
    assert ran.result(4) == "4"
    assert "%%deterministic --seed 4" in ran.stream(6)


def test_other_cell_magics_above_and_below() -> None:
    """GIVEN another cell magic WHEN it stands above or below THEN both work, or the cell fails without running."""
    ran = run_in_kernel(
        LOAD,
        "%%time\n%%deterministic --seed 3\ntorch.rand(1).item(), on()",
        "%%deterministic --seed 3\n\n%%time\ntorch.rand(1).item(), on()",
        "%%timeit -n 2 -r 2\n%%deterministic --seed 3\nassert on()\n1",
        "%%capture captured\n%%deterministic --seed 3\nprint(on())",
        "captured.stdout",
        "%%deterministic --seed 1\n%%deterministic --seed 3\ntorch.rand(1).item(), on()",
        "ran_unprotected = False",
        "%%prun\n%%deterministic --seed 3\nran_unprotected = True",
        "ran_unprotected, on()",
        "get_ipython().run_cell_magic('deterministic', '--seed 3', 'x = 1\\ntorch.rand(1).item(), on()')",
    )
    expected = "(0.004263520240783691, True)"
    assert ran.result(1) == expected
    assert "Wall time" in ran.stream(1)
    assert ran.result(2) == expected
    assert "Wall time" in ran.stream(2)
    assert "per loop" in ran.stream(3)
    assert "Ran 4 times in this cell." in ran.shown(3)
    assert ran.result(5) == "'True\\n'"
    assert ran.result(6) == expected
    assert ran.error(8).ename == "UnwrappedCellError"
    assert ran.result(9) == "(False, False)"
    assert ran.result(10) == expected


def test_what_ipython_displays_is_respected() -> None:
    """GIVEN IPython's other settings of `ast_node_interactivity` WHEN the cell runs THEN they display as ever."""
    ran = run_in_kernel(
        LOAD,
        '%config InteractiveShell.ast_node_interactivity = "all"',
        "%%deterministic\n1 + 1\nx = 5\nx + 1",
        '%config InteractiveShell.ast_node_interactivity = "last_expr_or_assign"',
        "%%deterministic\ny = 3",
        "%%deterministic\ny += 1",
        "%%deterministic\nz: int = 9",
        '%config InteractiveShell.ast_node_interactivity = "none"',
        "%%deterministic\n1",
    )
    assert [output.data["text/plain"] for output in ran.outputs(2, "execute_result")] == ["2", "6"]
    assert [ran.result(number) for number in (4, 5, 6, 8)] == ["3", "4", "9", None]


def test_variables_are_expanded_in_the_first_line() -> None:
    ran = run_in_kernel(
        LOAD,
        'S = 11\nname = "it\'s"',
        '%%deterministic --seed {S} --name "{name}"\ntorch.initial_seed()',
        "%%deterministic --seed $S --quiet\ntorch.initial_seed()",
        "%repro_seed {S + 1}",
        "torch.initial_seed()",
    )
    assert ran.result(2) == ran.result(3) == "11"
    assert "it's" in ran.shown(2)
    assert ran.shown(3) == ""
    assert ran.result(5) == "12"


def test_torch_imported_in_the_cell_itself_is_seeded_and_switched() -> None:
    """GIVEN no torch yet WHEN the deterministic cell imports it THEN it is seeded, its switches are on, then back."""
    ran = run_in_kernel(
        "%load_ext repro_magic\nimport sys\n'torch' in sys.modules",
        "%%deterministic --seed 7\nimport torch\nimport torch._inductor.config as inductor\n"
        "torch.rand(2), torch.are_deterministic_algorithms_enabled(), inductor.deterministic",
        "torch.are_deterministic_algorithms_enabled(), inductor.deterministic",
    )
    assert ran.result(0) == "False"
    assert ran.result(1) == "(tensor([0.5349, 0.1988]), True, True)"
    assert ran.result(2) == "(False, False)"


def test_wrong_arguments_run_nothing() -> None:
    """GIVEN a wrong flag WHEN the cell runs THEN it fails with the usage line, and nothing was run or switched."""
    cells = [LOAD, "%%deterministic --sed 3\nprint('must not run')", "on()", "%%deterministic 42\nx = 1"]
    cells.append("%%deterministic --seed SEED\nx = 1")
    ran = run_in_kernel(*cells)
    assert "unrecognized arguments: 42: write `%%deterministic --seed 42`" in ran.stream(3, "stderr")
    assert "for a variable, write `--seed $SEED`" in ran.stream(4, "stderr")
    assert "unrecognized arguments: --sed 3" in ran.stream(1, "stderr")
    assert "usage: %%deterministic [--seed N] [--strict]" in ran.stream(1, "stderr")
    assert ran.stream(1) == ""
    assert ran.result(2) == "False"
    with pytest.raises(CellExecutionError, match="unrecognized"):
        run_in_kernel(*cells, allow_errors=False)


def test_unloading_inside_a_deterministic_cell() -> None:
    ran = run_in_kernel(LOAD, "%%deterministic --seed 1\n%unload_ext repro_magic\non()", "on()", "%repro_seed 1")
    assert (ran.result(1), ran.result(2)) == ("True", "False")
    assert "not found" in ran.stream(3, "stderr")
