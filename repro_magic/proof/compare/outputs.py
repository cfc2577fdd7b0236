"""What a cell showed, by name: what a reader of the notebook would compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from repro_magic.proof.environment import MIME as ENVIRONMENT
from repro_magic.proof.kernel.receipt import MIME as RECEIPT
from repro_magic.proof.text.noise import normalised

# Bytes in base64: a notebook is text.
_ENCODED = re.compile(r"\((?:image/(?!svg)|audio/|video/|application/(?:pdf|octet-stream)\))")
# What is named anew in each run by whoever makes it, and says nothing of the result.
_RANDOM_TYPES = ("application/vnd.jupyter.widget-view+json",)
# What is told once in a session, under whichever cell gives cause for it first.
REMARK = "application/vnd.repro-magic.remark.v1+json"
# What tells of the run and the machine, and is no result. Receipts are compared by what is in them.
_ABOUT_THE_RUN = (RECEIPT, ENVIRONMENT, REMARK)


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


def shown_in_widgets(widgets: Mapping[int, Iterable[Mapping[str, Any]]]) -> dict[str, str]:
    """The same of what displayed widgets show, by their numbers.

    Example:
        >>> shown_in_widgets({1: [{"output_type": "stream", "name": "stdout", "text": "1"}]})
        {'stdout in widget 1': '1'}
    """
    return {f"{name} in widget {n}": text for n, outputs in widgets.items() for name, text in shown(outputs).items()}


def is_encoded(name: str) -> bool:
    """Whether what is shown under a name is no text, but bytes in base64.

    Example:
        >>> is_encoded("display 1 (image/png)"), is_encoded("display 1 (image/svg+xml)"), is_encoded("stdout")
        (True, False, False)
    """
    return _ENCODED.search(name) is not None


def without_noise(name: str, text: str) -> str:
    """What is shown under a name, with the names of noise in the place of noise.

    Example:
        >>> without_noise("stdout", "<Model object at 0x7f3a52c0d3d0>")
        '<Model object at [address]>'
    """
    return text if is_encoded(name) else normalised(text)
