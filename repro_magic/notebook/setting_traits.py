"""Traits that read and write process settings: `%config ReproMagic.cudnn_benchmark = False`."""

from __future__ import annotations

import ast
from typing import Any

from traitlets import HasTraits, TraitError, TraitType

from repro_magic.determinism.settings import Setting
from repro_magic.exceptions import InvalidSettingError


class Live(TraitType[Any, Any]):
    """A trait without a value of its own: it reads a setting, and turns it, each time.

    Were the value kept here, setting it to what it was last would do nothing, though other code may have changed the
    process meanwhile.
    """

    def __init__(self, setting: Setting) -> None:
        """Take the setting; its help is the trait's."""
        super().__init__(None, help=setting.says, config=True)
        self.setting = setting
        self.info_text = " or ".join(map(repr, setting.choices)) or ("an integer" if setting.is_count else "a bool")

    def get(self, obj: HasTraits, cls: type[Any] | None = None) -> Any:  # noqa: ANN401, ARG002 - as traitlets has it
        """The process's value."""
        return self.setting.read()

    def set(self, obj: HasTraits, value: Any) -> None:  # noqa: ANN401 - as traitlets has it
        """Turn the setting, and tell the object.

        Raises:
            TraitError: it does not take the value.
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
