"""Values read after each cell: bytes that no cell can have written once, and no change missed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from repro_magic.proof.digest import numpy_types
from repro_magic.proof.kernel import reading
from repro_magic.proof.kernel.probe import looked_at, users_names
from repro_magic.proof.kernel.reading import Reading

MAKE = (
    "import ctypes, gc, threading\nimport numpy as np, pandas as pd, torch\n"
    "N = 200_000\nx, y, t = np.zeros(N), np.ones(N), torch.zeros(N)"
)
LARGE = {"x", "y", "t"}


@pytest.fixture(autouse=True)
def never_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is read in the end only, not now and then: what is found until then is found by what the cell reaches."""
    monkeypatch.setattr(reading, "_SHARE", 1e-9)


class Read:
    """What was told of cells that ran in a shell: the names that changed in each, and whether that may be wrong."""

    def __init__(self, shell: InteractiveShell, *cells: str) -> None:
        """Run the cells and read after each, as a runner does."""
        reader = Reading(looked_at)
        held: dict[str, Any] = {}
        self.changed: list[set[str]] = []
        for number, (ran, follows) in enumerate(zip(["", *cells], [*cells, ""], strict=True)):
            shell.run_cell(ran).raise_error()
            found = reader.after(number, users_names(), follows)
            self.changed.append({name for name, told in found.items() if held.get(name) != told})
            held.update(found)
        self.is_right = reader.check(len(cells), users_names())


# What is done before, the cell that writes, and the large names that it changes.
SEEN: dict[str, tuple[str, str, Sequence[str]]] = {
    "a name": ("", "x[0] = 1", "x"),
    "a NumPy view": ("v = x[5:9]", "v[0] = 1", "x"),
    "a view whose name is not compared": ("_v = x[5:9]", "_v[0] = 1", "x"),
    "a view the other way round": ("v = x.reshape(2, -1)[::-1].T", "v[0] = 1", "x"),
    "a memoryview": ("v = memoryview(x)", "v[0] = 1.0", "x"),
    ".data": ("", "t.data[0] = 1", "t"),
    "torch.from_numpy": ("u = torch.from_numpy(x)", "u[0] = 1", "x"),
    "Tensor.numpy": ("u = t.numpy()", "u[0] = 1", "t"),
    "set_": ("u = torch.ones(N)", "t.set_(u)", "t"),
    "resize_": ("", "t.resize_(2 * N).zero_()", "t"),
    "out=": ("", "np.add(y, 1, out=x)", "x"),
    "its address": ("address = x.ctypes.data", "ctypes.memset(address, 1, 8)", "x"),
    "its address, by another name": ("import ctypes as c\na = x.ctypes.data", "c.memset(a, 1, 8)", "x"),
    "an array at its address": (
        "p = x.ctypes.data_as(ctypes.POINTER(ctypes.c_double))\nv = np.ctypeslib.as_array(p, (N,))",
        "v[0] = 1",
        "x",
    ),
    "other memory at the same place": ("", "del x\nx = np.ones(N)", "x"),
    "a function": ("def write():\n    x[0] = 1", "write()", "x"),
    "a function that the cell replaces": ("def write():\n    x[0] = 1", "write()\ndef write(): pass", "x"),
    "a function in a function": ("def f():\n    def g():\n        x[0] = 1\n    return g\ng = f()", "g()", "x"),
    "a method": ("class A:\n    def write(self):\n        x[0] = 1\na = A()", "a.write()", "x"),
    "a finalizer": ("class A:\n    def __del__(self):\n        x[0] = 1\na = A()", "del a", "x"),
    "a container": ("held = {'of': [x]}", "held['of'][0][0] = 1", "x"),
    "a closure": ("def f(v):\n    def write():\n        v[0] = 1\n    return write\nwrite = f(x)", "write()", "x"),
    "a default": ("def write(v=x):\n    v[0] = 1", "write()", "x"),
    "a class": ("class A:\n    held = x", "A.held[0] = 1", "x"),
    "exec": ("code = 'x[0] = 1'", "exec(code)", "x"),
    "globals": ("name = 'x'", "globals()[name][0] = 1", "x"),
    "magics": ("", "%time x[0] = 1", "x"),
    "what gc finds": ("", "[one for one in gc.get_objects() if type(one) is list and one is held][0][0][0] = 1", "x"),
    "a thread": (
        "go = threading.Event()\ndef f():\n    go.wait()\n    x[0] = 1\na = threading.Thread(target=f)\na.start()",
        "go.set()\na.join()",
        "x",
    ),
    "an optimizer": (
        "p = torch.nn.Parameter(t)\no = torch.optim.SGD([p], 1.0)\np.grad = torch.ones(N)",
        "o.step()",
        "t",
    ),
}


@pytest.mark.parametrize("way", SEEN)
def test_a_change_is_told_of_the_cell_that_made_it(shell: InteractiveShell, way: str) -> None:
    before, writes, name = SEEN[way]
    found = Read(shell, MAKE, f"held = [x]\n{before}", "1", "2", writes, "3")
    assert name in found.changed[5]
    assert not (LARGE & (found.changed[3] | found.changed[4] | found.changed[6]))
    assert found.is_right


def test_a_frames_block_and_a_mapped_file(shell: InteractiveShell, tmp_path: Path) -> None:
    shell.user_ns["file"] = str(tmp_path / "f")
    makes = (
        "f = pd.DataFrame({'a': x, 'b': y})\nm = np.memmap(file, 'float64', 'w+', shape=N)\n"
        "also_m = np.memmap(file, 'float64', 'r+', shape=N)"
    )
    found = Read(shell, MAKE, makes, "1", "f.iloc[0, 0] = 1", "also_m[0] = 1", "2")
    assert "f" in found.changed[4]
    assert {"m", "also_m"} <= found.changed[5]
    assert found.is_right


UNSEEN = {
    "an attribute of a library": ("np.stash = x", "np.stash[0] = 1"),
    "a hook": ("n = torch.nn.Linear(1, 1)\n_ = n.register_forward_hook(lambda *_: x.fill(1))", "n(torch.zeros(1, 1))"),
}


@pytest.mark.parametrize("then", [["3"], ["3", "4", "s = x.sum()"], ["3", "4", "x[1] = 2"], ["3", "4", "exec('5')"]])
@pytest.mark.parametrize("way", UNSEEN)
def test_a_change_that_no_code_names_is_found_in_the_end(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, way: str, then: list[str]
) -> None:
    import numpy as np

    monkeypatch.setattr(np, "stash", None, raising=False)
    before, writes = UNSEEN[way]
    assert not Read(shell, MAKE, before, "1", "2", writes, *then).is_right


def test_bytes_that_nobody_wrote_are_read_once_and_in_the_end(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = numpy_types._array_bits

    def counted(value: Any, head: bytes) -> bytes:
        sizes.append(value.nbytes)
        return read(value, head)

    monkeypatch.setattr(numpy_types, "_array_bits", counted)
    found = Read(shell, MAKE, "held = [x, x[::2]]", *(f"v{number} = {number}" for number in range(20)))
    assert found.is_right
    assert (
        sorted(size for size in sizes if size > 1 << 20) == [1_600_000] * 5
    )  # made (2), named in the second cell, in the end (2)
