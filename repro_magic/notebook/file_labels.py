"""Labels of the files that code comes from; a cell's code has a file name, too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

from repro_magic.introspection.cell_names import as_python

# IPython's own magics restart line numbers below them.
_BELOW = {"<timed exec>": "below %%time,", "<timed eval>": "below %%time,", "<magic-timeit>": "below %%timeit,"}


class Files:
    """The files of a session's cells.

    Args:
        shell: the session's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        """Start without cells."""
        self._shell = shell
        self._known: dict[str, int] = {}

    @property
    def numbers(self) -> dict[str, int]:
        """File name -> the number of the cell, the newest last."""
        numbers: dict[str, int] = getattr(self._shell.compile, "_filename_map", self._known)
        return numbers

    def know(self, result: ExecutionResult | None, number: int | None) -> None:
        """Record the file of a cell, because IPython before 8 does not map file names to cells."""
        raw = getattr(getattr(result, "info", None), "raw_cell", None)
        if number is not None and raw is not None and not hasattr(self._shell.compile, "_filename_map"):
            name = self._shell.compile.get_code_name(raw, as_python(self._shell, raw), number)
            self._known[name] = number

    def of(self, number: int | None) -> str | None:
        """The file of a cell; None if it is not known."""
        numbers = self.numbers
        return next((file for file in reversed(numbers) if numbers[file] == number), None)

    def newest(self) -> int | None:
        """The number of the cell that runs, or ran last."""
        return max(self.numbers.values(), default=None)

    def label(self, file: str, here: int | None = None) -> str:
        """The label of a file: empty for the cell `here`, `In[2]` for another cell."""
        number = self.numbers.get(file)
        if number is None:
            return _BELOW.get(file, file)
        if here is not None and number > here:
            return "a cell run inside this one,"
        return "" if number == here else f"In[{number}]"

    def labels(self, files: Iterable[str]) -> Callable[[str], str]:
        """The labels of files now, before the same source runs again under the same file name."""
        return functools.partial(_named, {file: self.label(file) for file in files})


def _named(names: Mapping[str, str], file: str) -> str:
    return names[file]
