"""What a runner asks the kernel between two cells: the digests of what the notebook's names hold."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

from repro_magic.proof.digest import Digest, digest

# Tensors that did not change since: by identity, place and version counter, which counts every change in place.
_tensors: dict[str, tuple[tuple[int, int, int], Digest]] = {}


def values() -> str:
    """The digests of the user's names as JSON: name -> hex, kind, dtype, shape, gaps.

    Modules, functions and classes are left out, for they are the code, which is compared as text; so are IPython's own
    names, and those that begin with an underscore.
    """
    shell = sys.modules["IPython"].get_ipython()
    found = {}
    for name, value in list(shell.user_ns.items()):
        if name.startswith("_") or name in shell.user_ns_hidden or _is_code(value):
            continue
        one = _digest(name, value)
        found[name] = {
            "hex": one.hex,
            "kind": one.kind,
            "dtype": one.dtype,
            "shape": one.shape,
            "gaps": [[gap.path, gap.kind, gap.why] for gap in one.gaps],
        }
    return json.dumps(found)


def _is_code(value: object) -> bool:
    return isinstance(value, ModuleType | type) or (callable(value) and hasattr(value, "__qualname__"))


def _digest(name: str, value: Any) -> Digest:  # noqa: ANN401 - any name's
    torch = sys.modules.get("torch")
    if torch is None or type(value) is not torch.Tensor or value.layout != torch.strided or value.is_meta:
        return digest(value)
    key = id(value), value.data_ptr(), -1 if value.is_inference() else value._version  # noqa: SLF001 - its public form
    known = _tensors.get(name)
    if known is None or known[0] != key or key[2] < 0:
        known = _tensors[name] = key, digest(value)
    return known[1]
