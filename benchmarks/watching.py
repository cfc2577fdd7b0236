"""What watching costs, in a real kernel: every loop bare, watched, and under what a user would pick instead.

Run it with `make bench`. Each figure is the median, over rounds, of the ratio to the bare loop of the same round; one
thread, the whole catalogue and all random ops registered.
"""

from __future__ import annotations

from bench import measure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PRELUDE = """
%load_ext repro_magic
%config ReproMagic.watch = False
import statistics, time, torch, repro_magic
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._debug_mode import DebugMode
from torch.utils._python_dispatch import TorchDispatchMode
torch.set_num_threads(1)

class PlainMode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))

def tiny(times=20_000):
    x = torch.zeros(4)
    for _ in range(times):
        x.add_(1)

def trained(model, data, target, times):
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    def loop():
        for _ in range(times):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), target).backward()
            optimizer.step()
    return loop

def mlp():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return trained(model, torch.rand(32, 64), torch.randint(10, (32,)), 500)

def cnn(batch, times):
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25), nn.Linear(128, 10),
    )
    return trained(model, torch.rand(batch, 1, 8, 8), torch.randint(10, (batch,)), times)

def flagged(times=5_000):
    x, index, values = torch.zeros(64), torch.arange(8), torch.ones(8)
    for _ in range(times):
        x.index_add_(0, index, values)

def put(times=5_000):
    x, index, values = torch.zeros(64), torch.arange(8), torch.ones(8)
    for _ in range(times):
        x[index] = values

WATCHERS = {
    "watched": lambda: repro_magic.watch(warn=False),
    "dispatch mode": PlainMode,
    "profiler": lambda: profile(activities=[ProfilerActivity.CPU]),
    "debug mode": DebugMode,
}

def timed(loop, context=None):
    start = time.perf_counter()
    if context is None:
        loop()
    else:
        with context():
            loop()
    return time.perf_counter() - start

def ratios(loop, rounds, names):
    timed(loop), timed(loop, WATCHERS["watched"])
    found = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            before = timed(loop)
            inside = timed(loop, WATCHERS[name])
            found[name].append(inside / ((before + timed(loop)) / 2))
    return [statistics.median(found[name]) for name in names]
"""
NAMES = ("watched", "dispatch mode", "profiler", "debug mode")
LOOPS = (
    ("20,000 tiny add_", "tiny", 1.05),
    ("500 MLP steps, batch 32", "mlp()", 1.05),
    ("CNN with dropout, 300 steps, batch 1", "cnn(1, 300)", 1.05),
    ("CNN with dropout, 100 steps, batch 64", "cnn(64, 100)", 1.05),
)
FLAGGED = (("a flagged index_add_", "flagged"), ("a flagged x[i] = v", "put"))
# Both loops have 5,000 calls; the difference is what a call costs.
PRICE = """
timed({loop}, WATCHERS["watched"])
pairs = [(timed({loop}), timed({loop}, WATCHERS["watched"])) for _ in range(9)]
print([statistics.median((ours - bare) / 5_000 * 1e6 for bare, ours in pairs)])
"""
MEMORY = """
import tracemalloc
x, index, values = torch.zeros(64), torch.arange(8), torch.ones(8)
with repro_magic.watch(warn=False):
    x.index_add_(0, index, values)
    tracemalloc.start()
    for _ in range(10_000):
        x.index_add_(0, index, values)
    print([tracemalloc.get_traced_memory()[0] / 1024])
"""


def main() -> None:
    """Measure and print the table."""
    table = Table("loop, ratio to bare", *NAMES, "bound")
    for name, loop, bound in LOOPS:
        found = measure(PRELUDE, f"print(ratios({loop}, 9, ('watched',)) + ratios({loop}, 3, {NAMES[1:]!r}))")
        verdict = f"{bound:g} {'held' if found[0] <= bound else 'MISSED'}"
        table.add_row(name, *(f"{ratio:.2f}" for ratio in found), verdict)
    for name, loop in FLAGGED:
        (price,) = measure(PRELUDE, PRICE.format(loop=loop))
        table.add_row(escape(f"{name}, µs more a call"), f"{price:.1f}", "", "", "", f"15 {_held(price, 15)}")
    (grown,) = measure(PRELUDE, MEMORY)
    table.add_row("10,000 flagged calls, KiB more memory", f"{grown:.1f}", "", "", "", f"64 {_held(grown, 64)}")
    Console(width=140).print(table)


def _held(value: float, bound: float) -> str:
    return "held" if value <= bound else "MISSED"


if __name__ == "__main__":
    main()
