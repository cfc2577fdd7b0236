"""What a notebook reads from a clock, and what it only seems to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

import repro_magic
from repro_magic.proof.compare.clock_forms import has_clock, is_only_clocks
from repro_magic.proof.compare.clocks import clocks_of
from repro_magic.proof.kernel.small_values import Thing
from repro_magic.proof.verdict import Outcome

IMPORTS = (
    "import time, timeit, datetime as dt, random, time as clock\n"
    "from timeit import default_timer as timer\nfrom time import perf_counter\nfrom datetime import datetime\n"
    "start = timer()"
)

CLOCKS = [
    "x = time.time()",
    "x = perf_counter()",
    "x = clock.monotonic_ns() // 10**6",
    "x = timeit.default_timer() - start",
    "x = round((timer() - start) / 60, 2)",
    "x = datetime.now()",
    "x = dt.datetime.now().isoformat()",
    "x = datetime.now(dt.timezone.utc).strftime('%H')",
    "x = time.strftime('%Y-%m-%d')",
    "x = f'{timer() - start:.1f} s'",
    "x = 'run-' + str(int(time.time()))",
    "x = datetime.now().year",
    "y, x = divmod(timer() - start, 60)",
    "y = x = timer()",
    "x = 0\nfor _ in range(3):\n    began = timer()\n    x += timer() - began",
    "x = []\nfor _ in range(3):\n    x.append(timer() - start)",
    "x = [t - start for t in [timer(), timer()]]",
    "x = {'loss': 1, 'seconds': [timer() - start]}",
    "x = {'a': [], 's': []}\nfor _ in range(3):\n    x['a'].append(random.random())\n    x['s'].append(timer())",
    "def took(began, ended):\n    return ended - began\nx = took(start, timer())",
    "with open('f') as f:\n    x = timer()",
    "%matplotlib inline\nx = timer()",
    "%%time\nx = timer()",
    "if (x := timer()) > 0: pass",
    "x = random.random()  # repro: accept clock",
    "# repro: accept clock\nx = random.random()",
]


CLASSES = """
class Timer:
    total = 0.0
    def __init__(self):
        self.began = timer()
        self.laps, self.log = [], {'time': [], 'draw': []}
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.left = timer()
    def stop(self):
        self.took = timer() - self.began
        self.total += self.took
        self.laps.append(self.took)
        return self.took
    @property
    def minutes(self):
        return self.total / 60
    def __str__(self):
        return f'{self.total:.2f} s'
class Meter:
    def __init__(self, name='x'):
        self.name = name
        self.reset()
    def reset(self):
        self.val = self.avg = self.sum = self.count = 0
    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count
    def __str__(self):
        return '{val:.2f}'.format(**self.__dict__)
class Late(Timer):
    def __init__(self):
        super().__init__()
        self.late = timer()
import dataclasses, statistics, collections, types
import numpy as np
from typing import NamedTuple
@dataclasses.dataclass
class Run:
    loss: float
    at: float = 0.0
    laps: list = dataclasses.field(default_factory=list)
class Point(NamedTuple):
    at: float
    loss: float
"""
CLOCKS += [
    "x = Timer()",
    "t = Timer()\nx = t.began",
    "t = Timer()\nt.stop()\nx = t.took",
    "x = Timer().stop()",
    "t = Timer()\nt.stop()\nx = t.laps",
    "t = Timer()\nt.stop()\nx = t.minutes",
    "t = Timer()\nt.stop()\nx = f'took {t}'",
    "with Timer() as t:\n    pass\nx = t.left",
    "with Timer() as t:\n    pass\nx = t.began",
    "x = Late()",
    "m = Meter()\nfor _ in range(2):\n    m.update(timer() - start)\nx = m.avg",
    "a, b = Meter(), Meter()\na.update(random.random())\nb.update(timer(), 3)\nx = b.val",
    "x = Run(0.5, timer())",
    "x = Run(0.5, at=timer()).at",
    "x = Point(timer(), 0.5)",
    "r = Run(0.5)\nr.at = timer()\nx = r.at",
    "x = [Timer(), Timer()]",
    "ts = [Timer() for _ in range(3)]\nfor t in ts:\n    t.stop()\n    x = t.took",
    "x = {}\nfor name in names:\n    x[name] = timer() - start",
    "x = collections.defaultdict(list)\nfor name in names:\n    x[name].append(timer())",
    "x = dict(time=timer(), loss=0.5)",
    "x = [timer() - start for _ in range(3)]\nx = sum(x) / len(x)",
    "x = np.mean([timer() - start for _ in range(3)])",
    "x = np.array([timer() - start for _ in range(3)]).mean()",
    "x = statistics.median([timer() - start for _ in range(3)])",
    "x = min([timer() - start for _ in range(3)])",
    "x = timeit.timeit('1')",
    "x = timeit.repeat('1')",
    "x = [0.0] * 3\nfor i in range(3):\n    x[i] = timer()",
    "x = (timer() - start) % 60",
    "x, y = divmod(timer() - start, 3600)",
    "x = '%d s' % (timer() - start)",
]


@pytest.mark.parametrize("code", CLOCKS)
def test_what_is_read_from_a_clock(code: str) -> None:
    assert has_clock(clocks_of([IMPORTS + CLASSES, code])[1].form("x"))


RESULTS = [
    "x = random.random()",
    "x = timer() + random.random()",
    "x = timer() > start",
    "x = 3 if timer() - start > 1 else 4",
    "if timer() - start > 1:\n    x = 1\nelse:\n    x = 2",
    "x = timer()\nif random.random() > 0.5:\n    x = random.random()",
    "timer = random.random\nx = timer()",
    "def timer(): return random.random()\nx = timer()",
    "from numpy import *\nx = timer()",
    "x = random.Random(time.time())",
    "x = random.Random(time.time()).random()",
    "x = [random.random()]",
    "x = []\nx.append(random.random())\nx.append(timer())",
    "x = [timer()]\nx.sort()",
    "x = {timer(), 1}",
    "x = timer()\nexec('x = 1')\nfor x in [random.random()]: pass",
    "def set_x():\n    global x\n    x = random.random()\nx = timer()\nset_x()",
    "x = timer\n",
    "%%bash\nx = timer()",
    "x = timer()\nx = random.random()",
    "x = timer()\ndel x",
    "x = sum(1 for _ in iter(timer, 0))",
]


RESULTS += [
    "x = int(time.time()) % 7",
    "x = time.time() % 100",
    "x = time.time_ns() % 1000003 * 2",
    "x = int(time.time()) ^ 12345",
    "x = int(time.time()) & 255",
    "x = time.time() ** 2",
    "x = ~int(time.time())",
    "x = hash(time.time())",
    "x = divmod(time.time_ns(), 97)",
    "x = [1, 2, 3][int(time.time()) % 3]",
    "t = Timer()\nt.began = random.random()\nx = t.began",
    "t = Timer()\nlater = t\nlater.began = random.random()\nx = t.began",
    "t = Timer()\ndef f(t):\n    t.began = random.random()\nf(t)\nx = t.began",
    "t = Timer()\nx = t.log['draw']",
    "m = Meter()\nm.update(timer())\nm.update(random.random())\nx = m.val",
    "m = Meter()\nfor k in [m]:\n    k.update(random.random())\nx = m.val",
    "m = Meter()\ncallbacks.register(m)\nm.update(timer())\nx = m.val",
    "m = Meter()\nm.update(timer())\nhook = lambda: m.update(random.random())\nx = m.val",
    "m = Meter()\nm.update(timer())\nif m.update(random.random()): pass\nx = m.val",
    "m = Meter()\nm.update(timer())\nsetattr(m, 'val', random.random())\nx = m.val",
    "x = Run(random.random(), 0.5)",
    "x = Run(*values).at",
    "x = Run(0.5, **values)",
    "def f(a, b=timer()): return b\nx = f(*values)",
    "x = Point(0.5, random.random())",
    "x = {}\nfor name in names:\n    x[name] = timer()\n    x[name] = random.random()",
    "x = [timer()]\nx[0] = random.random()",
    "x = [random.random()] * 3\nx.append(timer())",
]


@pytest.mark.parametrize("code", RESULTS)
def test_what_is_a_result_all_the_same(code: str) -> None:
    assert not has_clock(clocks_of([IMPORTS + CLASSES, code])[1].form("x"))


PRINTS = [
    ("print(f'took {timer() - start:.3f} s')", "took 1.002 s", "took 0.998 s", True),
    ("print('took', timer() - start, 's', flush=True)", "took 1.5 s", "took 2e-05 s", True),
    ("print('took %.2f' % (timer() - start))", "took 1.50", "took 0.20", True),
    ("print(datetime.now())", "2026-01-01 10:00:00.1", "2026-01-02 11:10:00.2", True),
    ("print(f'loss {loss} in {timer() - start:.1f} s')", "loss 0.5 in 1.0 s", "loss 0.5 in 3.0 s", True),
    ("print(f'loss {loss} in {timer() - start:.1f} s')", "loss 0.5 in 1.0 s", "loss 0.6 in 3.0 s", False),
    ("print(loss, timer())", "0.5 1.0", "0.5 2.0", True),
    ("print(loss, timer())", "0.5 1.0", "0.6 2.0", False),
    ("print(f'{loss}{timer()}')", "0.51.0", "0.51.1", False),
    ("print('took', timer() - start)\nprint('loss', loss)", "took 1\nloss 1", "took 2\nloss 2", False),
    ("print('loss', loss)", "loss 1", "loss 2", False),
    ("print('took', timer() - start)", "took 1\ntook 1", "took 1", False),
    ("print(loss, file=f)\nprint(timer() > start)", "True", "False", False),
    ("def tell(s):\n    print(f'took {s:.1f}')\ntell(timer() - start)", "took 1.0", "took 2.0", True),
    ("for _ in range(2):\n    print('epoch', loss, 'took', timer())", "epoch 1 took 2", "epoch 1 took 3", True),
    ("print([timer(), loss])", "[1.0, 2]", "[1.0, 3]", False),
    ("e = timer() - start\nprint(f'{e // 60:.0f}m {e % 60:.0f}s')", "0m 5s", "1m 6s", True),
    ("print('loss', loss)  # repro: accept clock", "loss 1", "loss 2", True),
]


@pytest.mark.parametrize(("code", "one", "other", "is_clocks"), PRINTS)
def test_what_is_printed(code: str, one: str, other: str, *, is_clocks: bool) -> None:
    assert clocks_of([IMPORTS, code])[1].explains(f"{one}\n", f"{other}\n") is is_clocks


def made(name: str, **held: object) -> Thing:
    return Thing(f"__main__.{name}", {f".{at}": part for at, part in held.items()})


VALUES: list[tuple[str, Any, Any, bool]] = [
    (
        "x = {'loss': [loss], 'seconds': [timer()]}",
        {"loss": [1.0], "seconds": [1.0]},
        {"loss": [1.0], "seconds": [2.0]},
        True,
    ),
    (
        "x = {'loss': [loss], 'seconds': [timer()]}",
        {"loss": [1.0], "seconds": [1.0]},
        {"loss": [2.0], "seconds": [2.0]},
        False,
    ),
    ("x = []\nwhile timer() < 9: x.append(timer())", [1.0, 2.0], [1.0], False),
    ("x = [timer(), loss]", [1.0, 2.0], [2.0, 2.0], True),
    ("x = [timer(), loss]", [1.0, 2.0], [2.0, 3.0], False),
    ("x = f'{name}-{time.time():.0f}'", "net-1", "net-2", False),
    ("x = f'{name} {time.time():.0f}'", "net 1", "net 2", True),
    ("x = f'{name} {time.time():.0f}'", "net 1", "other 2", False),
    ("x = timer()", 1.0, None, False),
    ("x = Timer()", made("Timer", began=1.0), made("Timer", began=2.0), True),
    ("x = Timer()", made("Timer", began=1.0, other=1), made("Timer", began=1.0, other=2), False),
    ("x = [Timer()]", [made("Timer", began=1.0)], [made("Timer", began=2.0)], True),
    ("x = Run(loss, timer())", made("Run", loss=1, at=1.0), made("Run", loss=1, at=2.0), True),
    ("x = Run(loss, timer())", made("Run", loss=1, at=1.0), made("Run", loss=2, at=2.0), False),
    ("x = {'seconds': [timer()]}", {"seconds": [1.0], "a": 1}, {"seconds": [2.0], "a": 2}, False),
]


@pytest.mark.parametrize(("code", "one", "other", "is_clocks"), VALUES)
def test_what_values_have_beside_a_clocks(code: str, one: object, other: object, *, is_clocks: bool) -> None:
    assert is_only_clocks(clocks_of([IMPORTS + CLASSES, code])[1].form("x"), one, other) is is_clocks


@pytest.mark.kernel
def test_the_first_real_difference_is_named_and_clocks_are_told_apart(tmp_path: Path) -> None:
    """GIVEN a notebook that times its training THEN that is a clock's; what a clock seeds differs, in its own cell."""
    cells = [
        "from timeit import default_timer as timer\nimport random\nrandom.seed(0)\nstart = timer()",
        "loss = random.random()",
        "end = timer()\nprint(f'took {end-start:.6f} s')\nhistory = {'loss': [loss], 'seconds': [end - start]}",
        "draw = random.Random(end).random()\nprint(draw)",
        "other = random.Random().random()  # repro: accept clock",
    ]
    path = tmp_path / "study.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), path)
    found = repro_magic.verify(path)
    assert [cell.outcome for cell in found.cells] == [
        Outcome.CLOCK,
        Outcome.SAME,
        Outcome.CLOCK,
        Outcome.DIFFERS,
        Outcome.CLOCK,
    ]
    told = {part.name: part.why for part in found.cells[2].parts}
    assert {*told} == {"end", "stdout", "history"}
    assert all(why.startswith("read from a clock: ") for why in told.values())
    assert not found.reproduces
    exact = repro_magic.verify(path, exact=True)
    assert exact.cells[0].outcome is Outcome.DIFFERS


@pytest.mark.kernel
def test_objects_that_hold_clocks_are_compared_in_all_else(tmp_path: Path) -> None:
    """GIVEN objects with clock readings THEN these are a clock's, other parts count, and handles stay not compared."""
    cells = [
        "import time, random, threading\nimport torch",
        "class Net(torch.nn.Linear):\n    pass\ntorch.manual_seed(0)\nnet = Net(2, 2)\nnet.made = time.time()",
        "class Loose: pass\nloose = Loose()\nloose.lock, loose.at = threading.Lock(), time.time()",
        "class Mixed: pass\nmixed = Mixed()\nmixed.at, mixed.draw = time.time(), random.random()",
        "left = time.time_ns() % 1000003",
    ]
    path = tmp_path / "study.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), path)
    found = repro_magic.verify(path)
    assert [cell.outcome for cell in found.cells] == [
        Outcome.SAME,
        Outcome.CLOCK,
        Outcome.NOT_COMPARABLE,
        Outcome.DIFFERS,
        Outcome.DIFFERS,
    ]
    [loose] = found.cells[2].values
    assert loose.at == ".lock"
    assert "read from a clock: " in loose.why
