"""Derive seeds for tasks, ranks and cells from one seed."""

from __future__ import annotations

import importlib
import os

from repro_magic.exceptions import InvalidSeedError
from repro_magic.rng.generators import checked_seed


def task_seed(seed: int, task_index: int) -> int:
    """Return a seed for a task, derived from a common seed and the task's index.

    It depends on the task, not on the worker: under joblib, ipyparallel or Dask, where any free worker runs a task,
    every task draws the same numbers in every run. With `seed + task_index`, task 1 under seed 42 would draw the same
    numbers as task 0 under seed 43; NumPy's `SeedSequence` avoids that
    (https://numpy.org/doc/stable/reference/random/parallel.html).

    Args:
        seed: common to all tasks, 0 <= seed < 2**64.
        task_index: the task's index, from 0.

    Returns:
        A seed from 0 to 2**64 - 1.

    Raises:
        InvalidSeedError: `seed` or `task_index` is out of range.

    Example:
        >>> task_seed(42, 0), task_seed(42, 1)
        (16138347438539916964, 134183728835869882)
    """
    return derived(checked_seed(seed), _checked_index(task_index))


# First numbers of spawn keys: a cell and a rank never share a seed. Keys of `adopt` begin with a byte, of tasks with an
# index.
_RANK, _CELL = (int.from_bytes(word, "big") for word in (b"rank", b"cell"))
# Where launchers put a process's rank: torchrun and Accelerate, Open MPI, PMI (MPICH), Slurm.
_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def rank() -> int | None:
    """Return this process's rank in a distributed run, as its launcher reports it; None without a launcher.

    Raises:
        ValueError: a launcher's variable holds no valid rank.

    Example:
        >>> import os
        >>> os.environ["RANK"] = "3"
        >>> rank()
        3
        >>> del os.environ["RANK"]
    """
    for variable in _RANKS:
        text = os.environ.get(variable, "").strip()
        if text.isdecimal():
            return int(text)
        if text:
            raise ValueError(f"invalid rank {variable}={text!r}; expected a non-negative integer")
    return None


def rank_seed(seed: int, rank: int) -> int:
    """Derive the seed of a rank from the common seed."""
    return derived(seed, _RANK, rank)


def cell_seed(seed: int, key: bytes, occurrence: int) -> int:
    """Derive the seed of a cell from the notebook's seed.

    Args:
        seed: the notebook's seed.
        key: identifies the cell.
        occurrence: the cell's index among the cells with this key, from 0.
    """
    return derived(seed, _CELL, occurrence, *key)


def derived(seed: int, *path: int) -> int:
    """Derive a seed with NumPy's `SeedSequence`; `path` is the spawn key."""
    numpy_random = importlib.import_module("numpy.random")
    sequence = numpy_random.SeedSequence(seed, spawn_key=path)
    low, high = (int(word) for word in sequence.generate_state(2))  # 32-bit words
    return low | high << 32


def _checked_index(index: object) -> int:
    try:
        return checked_seed(index)
    except InvalidSeedError:
        raise InvalidSeedError(f"task_index must be a non-negative integer, not {index!r}") from None
