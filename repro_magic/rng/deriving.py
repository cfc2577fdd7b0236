"""Seeds of their own for tasks, from one seed."""

from __future__ import annotations

import importlib

from repro_magic.exceptions import InvalidSeedError
from repro_magic.rng.generators import checked_seed


def task_seed(seed: int, task_index: int) -> int:
    """The seed of one task among many, from the seed of all.

    It follows the task, not the worker that happens to run it: under joblib, ipyparallel or Dask, where work goes to
    whoever is free, every task draws the same numbers in every run. Seeds such as `seed + task_index` would make task 1
    of one study draw what task 0 of the next one does; these come from NumPy's `SeedSequence`, which is made for this
    (https://numpy.org/doc/stable/reference/random/parallel.html).

    Args:
        seed: of all tasks, 0 <= seed < 2**64.
        task_index: which task, from 0.

    Returns:
        A seed from 0 to 2**64 - 1.

    Raises:
        InvalidSeedError: `seed` is none, or `task_index` is no integer from 0.

    Example:
        >>> task_seed(42, 0), task_seed(42, 1)
        (16138347438539916964, 134183728835869882)
    """
    return derived(checked_seed(seed), _checked_index(task_index))


def derived(seed: int, *path: int) -> int:
    """The seed of a place below a seed: `path` are the numbers of its branches."""
    numpy_random = importlib.import_module("numpy.random")
    sequence = numpy_random.SeedSequence(seed, spawn_key=path)
    low, high = (int(word) for word in sequence.generate_state(2))  # 32-bit words
    return low | high << 32


def _checked_index(index: object) -> int:
    try:
        return checked_seed(index)
    except InvalidSeedError:
        raise InvalidSeedError(f"a task's index is an integer from 0, not {index!r}") from None
