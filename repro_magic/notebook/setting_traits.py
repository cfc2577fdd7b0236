"""Traits that read and write process settings: `%config ReproMagic.cudnn_benchmark = False`."""

from __future__ import annotations

import ast
from typing import Any

from traitlets import HasTraits, TraitError, TraitType

from repro_magic.determinism.settings import Setting
from repro_magic.exceptions import InvalidSettingError


class Live(TraitType[Any, Any]):
    """A trait that reads and writes a setting, without a value of its own.

    traitlets ignores assignments that do not change a trait's value, but other code may have changed the setting since.
    """

    def __init__(self, setting: Setting) -> None:
        """Create a trait for `setting`, with its help."""
        super().__init__(None, help=setting.says, config=True)
        self.setting = setting
        self.info_text = " or ".join(map(repr, setting.choices)) or ("an integer" if setting.is_count else "a bool")

    def get(self, obj: HasTraits, cls: type[Any] | None = None) -> Any:  # noqa: ANN401, ARG002 - signature of traitlets
        """The process's value."""
        return self.setting.read()

    def set(self, obj: HasTraits, value: Any) -> None:  # noqa: ANN401 - signature of traitlets
        """Change the setting, and notify the object.

        Raises:
            TraitError: the value is invalid.
        """
        try:
            self.setting.write(value)
        except InvalidSettingError as error:
            raise TraitError(str(error)) from None
        obj.turned(self.setting)  # type: ignore[attr-defined]

    def from_string(self, s: str) -> Any:  # noqa: ANN401 - each setting has its own type
        """A value from the command line of `ipython --ReproMagic.NAME=VALUE`."""
        try:
            return ast.literal_eval(s)
        except (SyntaxError, ValueError):
            return s
