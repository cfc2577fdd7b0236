"""What a notebook may run only if its user agrees: programs."""

from __future__ import annotations

import re
from typing import Any

from repro_magic.proof.notebook_file import code_cells

_SHELL = re.compile(
    r"^\s*(?:!|%(?:pip|conda|mamba|micromamba|uv|sx|system)\b|%%(?:(?:bash|sh|script|cmd|system|sx)\b|!))|=\s*!(?!=)"
)


def shell_lines(notebook: Any) -> list[tuple[int, str]]:  # noqa: ANN401 - nbformat's node
    """The lines that run programs, with the number of their code cell: they could change more than a copy's files."""
    return [
        (number, line.strip())
        for number, cell in enumerate(code_cells(notebook), start=1)
        for line in cell.source.splitlines()
        if _SHELL.search(line)
    ]
