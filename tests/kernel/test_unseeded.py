"""Unseeded sources as a user sees them, in a real kernel; each beside a neighbour that must not be flagged."""

from __future__ import annotations

import nbformat
import pytest
from conftest import Ran, run_in_kernel, runner

pytestmark = pytest.mark.kernel

SETUP = "%load_ext repro_magic\nimport os, random, secrets, time, uuid\nimport numpy as np\nimport torch"

# op -> the line that is found, and its neighbour.
SOURCES = {
    "numpy.random.default_rng": ("rng = np.random.default_rng()", "rng = np.random.default_rng(1)"),
    "numpy.random.PCG64": ("bits = np.random.PCG64()", "bits = np.random.PCG64(1)"),
    "numpy.random.RandomState": ("legacy = np.random.RandomState()", "legacy = np.random.RandomState(1)"),
    "numpy.random.SeedSequence": ("seq = np.random.SeedSequence()", "seq = np.random.SeedSequence(1)"),
    "random.Random": ("r = random.Random()", "r = random.Random(1)"),
    "random.SystemRandom": ("x = random.SystemRandom().random()", "x = random.random()"),
    "secrets.token_hex": ("x = secrets.token_hex()", "x = secrets.compare_digest('a', 'a')"),
    "uuid.uuid4": ("x = uuid.uuid4()", "x = uuid.uuid5(uuid.NAMESPACE_URL, 'x')"),
    "os.urandom": ("x = os.urandom(4)", "x = os.getpid()"),
    "torch.seed": ("x = torch.seed()", "x = torch.initial_seed()"),
    "numpy.random.seed": ("np.random.seed()", "np.random.seed(1)"),
    "torch.manual_seed": ("_ = torch.manual_seed(int(time.time()))", "started = time.time()"),
    "set (the order of a set of strings)": ("x = list(set('ab'))", "x = sorted(set('ab'))"),
}


def test_each_source_is_told_with_line_and_remedy_and_its_neighbour_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)  # with it the order of a set is fixed
    cells = [f"first = 1\n{line}" for pair in SOURCES.values() for line in pair]
    ran = run_in_kernel(f"{SETUP}\nrandom.seed(1)", *cells)
    for number, (op, (line, _)) in enumerate(SOURCES.items()):
        block = ran.shown(1 + 2 * number)
        assert block.startswith("⚠ Not reproducible: 1 source of randomness\n"), op
        assert f"  {op}, line 2\n    {line}\n" in block
        assert "→" in block
        assert ran.shown(2 + 2 * number) == "", f"the neighbour of {op}"


def test_hooked_functions_go_into_other_processes_and_through_the_compiler() -> None:
    ran = run_in_kernel(
        SETUP + "\nimport multiprocessing as mp\nfrom concurrent.futures import ProcessPoolExecutor\nkept = os.urandom",
        "with mp.get_context('spawn').Pool(1, initializer=torch.manual_seed, initargs=(3,)) as pool:\n"
        "    x = pool.apply(int, ('3',))\nx",
        "with ProcessPoolExecutor(1, mp_context=mp.get_context('fork')) as executor:\n"
        "    x = len(executor.submit(os.urandom, 8).result())\nx",
        "@torch.jit.script\ndef f(x: torch.Tensor):\n    torch.manual_seed(3)\n    return torch.rand_like(x)\n"
        "bool((f(torch.zeros(2)) == f(torch.zeros(2))).all())",
        "spawned, forked = (torch.utils.data.DataLoader(range(4), num_workers=1, worker_init_fn=seed,\n"
        "    multiprocessing_context=way) for way, seed in (('spawn', random.seed), ('fork', torch.manual_seed)))\n"
        "len(list(spawned)), len(list(forked))",
        "random.seed.__self__ is random._inst, random.seed.__func__ is random.Random.seed",
        "%unload_ext repro_magic\nimport pickle",
        "pickle.loads(pickle.dumps(os.urandom)) is os.urandom, kept == os.urandom, len(kept(4))",
    )
    assert [ran.error(number) for number in range(8)] == [None] * 8
    assert [ran.result(number) for number in (1, 2, 3, 4, 5)] == ["3", "8", "True", "(4, 4)", "(True, True)"]
    assert ran.result(7) == "(True, True, 4)"


def test_what_libraries_draw_is_nobodys_finding() -> None:
    ran = run_in_kernel(
        SETUP
        + "\nimport matplotlib.pyplot as plt, pandas as pd, tempfile\nfrom sklearn.utils import check_random_state",
        "np.random.seed(0)\ntorch.manual_seed(0);",
        "frame = pd.DataFrame({'a': list('abc'), 'b': range(3)})\nframe.sample(2).groupby('a').sum().shape",
        "plt.plot([1, 2])\nplt.title('x');",
        "data = torch.utils.data.TensorDataset(torch.arange(8.0))\n"
        "loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True, num_workers=2)\n"
        "len([batch for batch in loader])",
        "with tempfile.TemporaryDirectory() as folder: pass\ncheck_random_state(3), check_random_state(None)",
        "import asyncio\nawait asyncio.sleep(0.01)",
    )
    assert [ran.shown(number) for number in (0, 1, 2, 4, 5, 6)] == [""] * 6
    assert [output for output in ran.outputs(3) if "⚠" in output.data["text/plain"]] == []
    assert [ran.error(number) for number in range(7)] == [None] * 7


def test_it_is_told_where_a_function_of_an_earlier_cell_or_a_thread_draws() -> None:
    ran = run_in_kernel(
        SETUP,
        "def make():\n    return np.random.default_rng()",
        "first = 1\nrng = make()",
        "import threading\nt = threading.Thread(target=make)\nt.start(); t.join()",
        "%%deterministic\nrng = make()",
        "%repro_status",
    )
    assert "default_rng, In[2] line 2, called from line 2" in ran.shown(2)
    assert "default_rng, In[2] line 2" in ran.shown(3)
    assert "Still not reproducible: 1 source of randomness" in ran.shown(4)
    assert "not reproducible: 3 sources of randomness" in ran.shown(5)


def test_strict_stops_at_the_line_until_the_next_seed() -> None:
    ran = run_in_kernel(
        SETUP,
        "%repro_seed 1 --strict",
        "before = 1\nrng = np.random.default_rng()\nafter = 1",
        "import tempfile; tempfile.mkdtemp(); np.random.RandomState(3)\nbefore, 'after' in globals()",
        "%repro_seed 1",
        "rng = np.random.default_rng()  # repro: accept default_rng",
    )
    assert "now raises" in ran.shown(1)
    error = ran.error(2)
    assert error.ename == "UnseededGeneratorError"
    assert "at line 2 (rng = np.random.default_rng())" in error.evalue
    assert "repro_magic" not in "\n".join(error.traceback[:-1]), "no frame of ours"
    assert ran.result(3) == "(1, False)"
    assert ran.error(5) is None


def test_all_hooks_are_gone_after_unloading() -> None:
    look = (
        "import os, random, sys, threading, uuid, warnings\nimport numpy as np, torch\n"
        "names = [(random, '_urandom'), (os, 'urandom'), (uuid, '_generate_time_safe'), (warnings, '_showwarnmsg'),\n"
        "    (np.random.bit_generator, 'randbits'), (np.random.bit_generator, '_coerce_to_uint32_array'),\n"
        "    (np.random._mt19937, 'operator')]\n"
        "functions = [random.Random.seed, random.SystemRandom.seed, torch.random.seed, torch.random.manual_seed,\n"
        "    torch.cuda.seed, torch.utils.data.DataLoader.__init__, threading.Thread.start]\n"
        "now = [*(getattr(*name) for name in names), *(one.__code__ for one in functions)]"
    )
    ran = run_in_kernel(
        look + "\nbefore = now",
        "%load_ext repro_magic\n%repro_seed 3 --strict --per-cell",
        look + "\n[one is two for one, two in zip(now, before)].count(True)",
        "%unload_ext repro_magic",
        look + "\nall(one is two for one, two in zip(now, before))",
        "np.random.default_rng() is not None",
    )
    assert ran.result(2) == "0"
    assert ran.result(4) == "True"
    assert ran.result(5) == "True"
    assert ran.shown(5) == ""


def test_cells_run_again_and_out_of_order_draw_the_same() -> None:
    seed = "%load_ext repro_magic\nimport random\n%repro_seed 42 --per-cell"
    cells = [f"# cell {number}\nrandom.random()" for number in range(4)]
    ran = run_in_kernel(seed, *cells)
    other = run_in_kernel(seed, cells[3], "random.random()", cells[1], cells[0], cells[2])
    assert [ran.result(number) for number in (1, 2, 3, 4)] == [other.result(number) for number in (4, 3, 5, 1)]


def test_two_cells_with_one_name_are_told_in_the_second() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(source)
            for source in (
                "%load_ext repro_magic\n%repro_seed 42 --per-cell",
                "# repro: name fit\nimport random\nrandom.random()",
                "# repro: name fit\nrandom.random() + 1",
            )
        ]
    )
    with runner(notebook) as client, client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            assert client.kc is not None
            client.kc.session.metadata["cellId"] = f"id{index}"
            client.execute_cell(cell, index)
    ran = Ran(notebook.cells)
    assert ran.shown(1) == ""
    assert "Another cell is also named 'fit', so both draw the same numbers" in ran.shown(2)


def test_a_replay_gives_a_cell_that_ran_twice_the_same_seed() -> None:
    """GIVEN a front end that sends cell ids WHEN a cell was run again THEN a replay draws what it drew."""
    seed = "%load_ext repro_magic\nimport random\n%config ReproMagic.receipts = 'all'\n%repro_seed 42 --per-cell"
    draw = "x = random.random()\nx"
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(source) for source in (seed, draw, "y = 1", draw, draw, "%repro_verify --wait")
        ]
    )
    ids = ["a", "b", "c", "b", "d", "e"]
    with runner(notebook) as client, client.setup_kernel():
        for index, (cell, cell_id) in enumerate(zip(notebook.cells, ids, strict=True)):
            assert client.kc is not None
            client.kc.session.metadata["cellId"] = cell_id
            client.execute_cell(cell, index)
    ran = Ran(notebook.cells)
    assert ran.result(1) == ran.result(3) != ran.result(4)
    told = ran.shown(5)
    assert "differs" not in told
    assert "same" in told
