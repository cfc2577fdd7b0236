"""What a `DataLoader` needs so that its order and its workers' numbers are the same in every run."""

from __future__ import annotations

import importlib
from typing import Any

from repro_magic.rng.derive import derived
from repro_magic.rng.generators import checked_seed
from repro_magic.rng.user_generators import held_by


def loader_options(seed: int) -> dict[str, Any]:
    """The arguments of `torch.utils.data.DataLoader` that fix its order and what its workers draw.

    `generator` is a generator of the loader's own: without one it draws from the global one, which then depends on all
    that ran before. `worker_init_fn` gives generators that the dataset holds seeds of their own in each worker.

    Args:
        seed: 0 <= seed < 2**64.

    Returns:
        `{"generator": torch.Generator, "worker_init_fn": repro_magic.worker_init_fn}`, new for each call: loaders that
        share a generator disturb each other.

    Raises:
        InvalidSeedError: it is no seed.

    Example:
        >>> import torch
        >>> orders = [list(torch.utils.data.DataLoader(range(9), shuffle=True, **loader_options(42))) for _ in "ab"]
        >>> orders[0] == orders[1]
        True
    """
    torch = importlib.import_module("torch")
    return {"generator": torch.Generator().manual_seed(checked_seed(seed)), "worker_init_fn": worker_init_fn}


def worker_init_fn(worker_id: int) -> None:  # noqa: ARG001 - the loader gives it; the seed holds it already
    """Give each generator that the dataset holds a seed of its own in each worker: a `DataLoader`'s `worker_init_fn`.

    PyTorch seeds the global generators of each worker (Python, NumPy, PyTorch). A generator that the dataset holds is
    copied into every worker instead, and all of them draw the same numbers: half of the augmentations are duplicates.
    Here each gets a seed from the worker's own (`torch.utils.data.get_worker_info().seed`), which is new in each epoch.
    Found are generators in the dataset's attributes and in lists, tuples and dictionaries there.

    Outside a worker nothing is done.

    Example:
        >>> worker_init_fn(0)
    """
    info = importlib.import_module("torch.utils.data").get_worker_info()
    if info is None:
        return
    for place, found in enumerate(held_by(info.dataset, "dataset")):
        found.seed(derived(info.seed % 2**64, place))
