"""What a user sees of flagged ops, in a real kernel."""

from __future__ import annotations

import threading

import pytest
from conftest import run_in_kernel

pytestmark = pytest.mark.kernel

SETUP = """%load_ext repro_magic
import torch
torch.manual_seed(0)
torch.set_num_threads(2)
i = torch.arange(40_000) % 7
x = torch.zeros(7)
v = torch.rand(40_000)"""


def test_the_block_under_a_cell() -> None:
    ran = run_in_kernel(
        SETUP,
        "def train(n):\n    for _ in range(n):\n        x.put_(i, v)\n    return n",
        "print('before')\ntrain(3)",
        "x[i] = v\n'own value'",
        "x[i] = v  # repro: accept index_put_",
        "x[:3] = 1\nx.index_add_(0, torch.tensor([0, 0]), torch.ones(2))\ntorch.rand(3).sum()",
        "x[i] = v\n1 / 0",
        "%%time\nx[i] = v",
        "x.index_add_(0, torch.tensor([0]), torch.ones(3))",
    )
    assert [ran.shown(number) for number in (0, 1, 4, 5)] == [""] * 4, "an ordinary cell shows nothing of ours"
    block = ran.shown(2)
    assert block.startswith("⚠ Not reproducible: 1 op\n  put_ on cpu, In[2] line 3")
    assert "called from line 2" in block
    assert "3 calls" in block
    assert "x.put_(i, v)" in block
    assert "→ Use each index at most once" in block
    assert ran.result(2) == "3"
    assert "index_put_ on cpu, line 1, 1 call" in ran.shown(3)
    assert "→ Run the cell under %%deterministic" in ran.shown(3)
    assert ran.result(3) == "'own value'"
    assert [output.output_type for output in ran.outputs(3)] == ["execute_result", "display_data"], "one block, last"
    (html,) = [output.data["text/html"] for output in ran.outputs(3, "display_data")]
    assert "<script" not in html
    assert "x[i] = v" in html
    assert ran.error(6).ename == "ZeroDivisionError"
    assert "repro_magic" not in "".join(ran.error(8).traceback), "an op's own error ends at the user's line"
    assert ran.error(8).ename == "RuntimeError"
    assert "line 1, 1 call" in ran.shown(6)
    assert "below %%time, line 1" in ran.shown(7)


def test_deterministic_cells_name_findings_by_status() -> None:
    ran = run_in_kernel(
        SETUP,
        "%%deterministic --seed 1\nx[i] = v\nx.index_add(0, torch.tensor([0, 0]), torch.ones(2))",
        "%%deterministic\nx.put_(i, v)",
        "%%deterministic --strict\nx.put_(i, v)",
        "%%deterministic\nx.put_(torch.tensor([0, 1]), torch.ones(2))",
        "%%deterministic --quiet\nx.put_(i, v)",
    )
    assert "handled: index_put_" in ran.shown(1)
    assert "⚠" not in ran.shown(1)
    assert "⚠ Still not reproducible: 1 op\n  put_ on cpu, line 2, 1 call" in ran.shown(2)
    assert ran.shown(2).count("put_ on cpu") == 1, "told once, not under the cell again"
    assert "color: var(--jp-error-color1" in ran.outputs(2, "display_data")[0].data["text/html"]
    assert ran.stream(2, "stderr") == "", "PyTorch's own warning is folded in"
    assert ran.error(3).ename == "NondeterministicOpError"
    assert "put_ (torch.Tensor.put_) on cpu at line 2" in ran.error(3).evalue
    assert "⚠" not in ran.shown(3)
    assert "strict, put_ blocked" in ran.shown(3)
    assert "held.py" not in "".join(ran.error(3).traceback), "the traceback ends at the user's line"
    assert ran.stream(4, "stderr") == ""
    assert "PyTorch warns about put_, but these calls are deterministic." in ran.shown(4)
    assert "put_ on cpu, line 2" in ran.shown(5), "--quiet hides the line, not a warning"


def test_the_watcher_turns_off_and_on_and_unloads() -> None:
    left = """
import threading, warnings
from repro_magic.ops.tracing import dispatch as watcher
print(watcher.collectors, watcher._of_thread)
print(len(threading.Thread.start.__code__.co_names), warnings._showwarnmsg.__module__,
      [torch._C._dispatch_has_kernel_for_dispatch_key("aten::put_", key) for key in (watcher.KEY, watcher.HOT_KEY)])
"""
    ran = run_in_kernel(
        SETUP,
        "%config ReproMagic.watch = False",
        "x[i] = v",
        "%config ReproMagic.watch = True",
        "x[i] = v",
        "%reload_ext repro_magic",
        "x[i] = v",
        "%unload_ext repro_magic",
        "x[i] = v" + left,
    )
    assert [bool(ran.shown(number)) for number in (2, 4, 6, 8)] == [False, True, True, False]
    assert ran.stream(8).strip() == f"() {{}}\n{len(threading.Thread.start.__code__.co_names)} warnings [False, False]"


def test_the_status_tells_by_cell_and_before_a_move_to_cuda() -> None:
    ran = run_in_kernel(
        SETUP,
        "x[i] = v",
        "net = torch.nn.Conv2d(1, 2, 3)\nnet(torch.rand(1, 1, 8, 8)).sum().backward()",
        "x.index_add(0, torch.tensor([0, 0]), torch.ones(2))",
        "%repro_status",
    )
    status = ran.shown(4)
    flagged, _, rest = status.partition("Before you move to CUDA")
    assert "Flagged ops, newest cell first" in flagged
    assert flagged.index("In[4]") < flagged.index("In[3]") < flagged.index("In[2]")
    cells = rest.partition("Generators")[0]
    assert "index_add_" in cells
    assert "convolution_backward" in cells
    assert "index_put_" in flagged


def test_torch_imported_in_the_cell_that_loads_is_watched() -> None:
    ran = run_in_kernel(
        "%load_ext repro_magic\nimport torch\ntorch.set_num_threads(2)\n"
        "torch.zeros(7)[torch.arange(40_000) % 7] = torch.rand(40_000)",
        "get_ipython().run_cell('torch.zeros(7)[torch.arange(40_000) % 7] = torch.rand(40_000)').success",
        "await __import__('asyncio').sleep(0)\ntorch.zeros(7)[torch.arange(40_000) % 7] = torch.rand(40_000)",
    )
    assert "line 4, 1 call" in ran.shown(0)
    assert ran.shown(1).count("index_put_ on cpu") == 1, "a cell in a cell is told once"
    assert "line 2, 1 call" in ran.shown(2)


def test_a_compiled_graph_is_told_in_the_cell_that_compiles_and_in_later_ones() -> None:
    ran = run_in_kernel(
        SETUP,
        "def write(a, values):\n    a = a * 2\n    a[i] = values\n    return a + 1\nrun = torch.compile(write)",
        "run(torch.zeros(7), v).shape",
        "run(torch.zeros(7), v).shape",
        "x + 1",
    )
    assert [ran.result(number) for number in (2, 3)] == ["torch.Size([7])"] * 2
    for number in (2, 3):
        assert "index_put_ on cpu, line 1, in a compiled graph" in ran.shown(number)
    assert ran.shown(4) == ""


def test_two_processes_with_gloo_train_as_ever(tmp_path: object) -> None:
    """GIVEN DDP in two processes that are watched WHEN they train THEN both end with the same weights as unwatched.

    DDP keeps gloo's threads alive past `destroy_process_group`, here or not. One that lets go of a tensor while Python
    shuts down aborts the process (github.com/pytorch/pytorch/pull/179291): so the processes leave without a shutdown.
    """
    script = f"""
import os, torch, torch.distributed as dist, torch.multiprocessing as mp, repro_magic
def work(rank, watched):
    dist.init_process_group("gloo", init_method="file://{tmp_path}/meet" + str(watched), rank=rank, world_size=2)
    torch.manual_seed(0)
    net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    data = torch.rand(8, 4) + rank
    def train():
        for _ in range(3):
            net.zero_grad()
            net(data)[torch.tensor([0, 0, 1])].pow(2).sum().backward()
    if watched:
        with repro_magic.watch() as report:
            train()
        assert {{(one.op, one.count) for one in report.findings}} == {{("index_put_", 3)}}, report.findings
    else:
        train()
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    with repro_magic.watch():
        whole = distribute_tensor(torch.arange(4.0), init_device_mesh("cpu", (2,)), [Shard(0)])
        assert (whole * 2).full_tensor().tolist() == [0, 2, 4, 6]
    torch.save(net.module.weight.grad, f"{tmp_path}/grad{{watched}}{{rank}}")
    dist.destroy_process_group()
    os._exit(0)
if __name__ == "__main__":
    for watched in (0, 1):
        mp.spawn(work, (watched,), nprocs=2)
    unwatched, *others = [torch.load(f"{tmp_path}/grad{{watched}}{{rank}}") for watched in (0, 1) for rank in (0, 1)]
    print(all(torch.equal(unwatched, other) for other in others))
"""
    ran = run_in_kernel(
        f"from pathlib import Path\nPath('{tmp_path}/train.py').write_text({script!r})\n"
        f"import subprocess, sys\n"
        f"done = subprocess.run([sys.executable, '{tmp_path}/train.py'], capture_output=True, text=True, timeout=220)\n"
        "print(done.stdout, done.stderr[-2000:] if done.returncode else '')"
    )
    assert ran.stream(0).strip() == "True"
