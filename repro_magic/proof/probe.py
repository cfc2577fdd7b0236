"""What a runner asks the kernel between two cells: the digests of what the notebook's names hold."""

from __future__ import annotations

import json
import sys
from types import ModuleType

from repro_magic.proof.digest import digest


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
        one = digest(value)  # each time: a change through NumPy or .data leaves no trace on a tensor
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
