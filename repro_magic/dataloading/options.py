"""Options that make a `DataLoader` reproducible."""

from __future__ import annotations

import importlib
from typing import Any

from repro_magic.rng.derive import derived
from repro_magic.rng.generators import checked_seed
from repro_magic.rng.user_generators import generators_in


def loader_options(seed: int) -> dict[str, Any]:
    """Return the `DataLoader` arguments that fix its order and its workers' random numbers.

    `generator` seeds the loader alone; without it, the order comes from the global generator and depends on everything
    drawn before. `worker_init_fn` reseeds the dataset's generators in each worker.

    Args:
        seed: 0 <= seed < 2**64.

    Returns:
        `{"generator": torch.Generator, "worker_init_fn": repro_magic.worker_init_fn}`, new for each call,
        because loaders that share a generator disturb each other.

    Raises:
        InvalidSeedError: `seed` is not in range.

    Example:
        >>> import torch
        >>> orders = [list(torch.utils.data.DataLoader(range(9), shuffle=True, **loader_options(42))) for _ in "ab"]
        >>> orders[0] == orders[1]
        True
    """
    torch = importlib.import_module("torch")
    return {"generator": torch.Generator().manual_seed(checked_seed(seed)), "worker_init_fn": worker_init_fn}


def worker_init_fn(worker_id: int) -> None:  # noqa: ARG001 - the loader passes it; the worker's seed includes it
    """Reseed the dataset's generators in each worker; pass it as `worker_init_fn` to a `DataLoader`.

    PyTorch seeds the global generators of each worker (Python, NumPy, PyTorch). A generator in the dataset is copied
    into every worker instead, so all workers draw the same numbers and augmentations repeat. This function reseeds each
    copy from the worker's seed (`torch.utils.data.get_worker_info().seed`), which changes with each epoch. It finds
    generators in the dataset's attributes, and in lists, tuples and dictionaries there.

    Outside a worker it does nothing.

    Example:
        >>> worker_init_fn(0)
    """
    info = importlib.import_module("torch.utils.data").get_worker_info()
    if info is None:
        return
    for index, generator in enumerate(generators_in(info.dataset, "dataset")):
        generator.seed(derived(info.seed % 2**64, index))
