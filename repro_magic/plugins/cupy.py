"""CuPy's global generators, as a plug-in of `repro_magic.seeders`."""

from __future__ import annotations

import sys

from repro_magic.rng.generators import Library


def _seed(seed: int) -> None:
    """Seed the generator of every device: `cupy.random.seed` reaches only the current device's."""
    cupy, numpy = sys.modules["cupy"], sys.modules["numpy"]
    for index in range(cupy.cuda.runtime.getDeviceCount()):
        with cupy.cuda.Device(index):
            cupy.random.seed(numpy.uint64(seed))  # cuRAND takes 64 bits


# A cuRAND generator cannot be read: it is seeded, but neither shown nor restored.
LIBRARY = Library(name="cupy", module="cupy", seed=_seed)
