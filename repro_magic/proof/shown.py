"""What a cell showed, by name: what a reader of the notebook would compare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from repro_magic.proof.environment import MIME as ENVIRONMENT
from repro_magic.proof.receipt import MIME as RECEIPT

# What is named anew in each run by whoever makes it, and says nothing of the result.
_RANDOM_TYPES = ("application/vnd.jupyter.widget-view+json",)
# What tells of the run and the machine, and is no result. Receipts are compared by what is in them.
_ABOUT_THE_RUN = (RECEIPT, ENVIRONMENT)


def shown(outputs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Streams as they read, displays by their place and type.

    Example:
        >>> shown([{"output_type": "stream", "name": "stdout", "text": "1"}])
        {'stdout': '1'}
    """
    found: dict[str, str] = {}
    displays = 0
    for output in outputs:
        kind = output["output_type"]
        if kind == "error":
            found["error"] = f"{output['ename']}: {output['evalue']}"
        elif kind == "stream":
            found[output["name"]] = found.get(output["name"], "") + output["text"]
        elif kind in {"display_data", "execute_result"}:
            if any(name in output["data"] for name in _ABOUT_THE_RUN):
                continue
            displays += 1
            for mime, data in output["data"].items():
                if mime not in _RANDOM_TYPES:
                    name = f"{'result' if kind == 'execute_result' else f'display {displays}'} ({mime})"
                    found[name] = data if isinstance(data, str) else json.dumps(data, sort_keys=True)
    return found
