"""The `DataLoader`s that cells make, also inside functions: where each was made, and what is to be known of it."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from repro_magic.exceptions import HookFaultWarning
from repro_magic.introspection.location import Place, Site, accepts, site_of
from repro_magic.runtime.import_hooks import Waiting, is_imported, when_imported
from repro_magic.runtime.patching import Hooked, uncompiled

if TYPE_CHECKING:
    from repro_magic.dataloading.audit import Remark

_MODULE = "torch.utils.data.dataloader"


@dataclass(frozen=True)
class Loader:
    """A loader that was looked at.

    Attributes:
        name: what the notebook calls it; empty if it has no name there.
        place: the line that made it, where that was seen.
        remarks: what is to be known of it, faults first.
        accepted: whether a comment `# repro: accept DataLoader` stands on the line that made it.
    """

    name: str
    place: Place | None
    remarks: Sequence[Remark]
    accepted: bool = False

    @property
    def faults(self) -> list[Remark]:
        """Those by which numbers come twice, or the order differs."""
        return [remark for remark in self.remarks if remark.is_fault]


def _audited(loader: Any) -> list[Remark]:  # noqa: ANN401 - a DataLoader
    from repro_magic.dataloading.audit import audit  # noqa: PLC0415 - most notebooks make no loader

    return audit(loader)


@dataclass(frozen=True)
class _Made:
    """A loader that was made: how it looked then, for it may be gone when its cell ends."""

    loader: weakref.ref[Any]
    site: Site
    remarks: Sequence[Remark]

    def as_now(self, name: str = "") -> Loader:
        loader = self.loader()
        remarks = self.remarks if loader is None else _audited(loader)
        return Loader(name, self.site.place, remarks, accepts(self.site, "DataLoader"))


class LoaderLog:
    """Takes note of each loader that is made, from `up` to `down`. Loaders are held weakly.

    Example:
        >>> log = LoaderLog()
        >>> log.up()
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader(range(9), num_workers=2, in_order=False)
        >>> log.down()
        >>> [loader.faults[0].what for loader in log.new()], log.new()
        (['in_order=False with 2 workers'], [])
    """

    def __init__(self) -> None:
        """Nothing was made yet."""
        self._made: list[_Made] = []
        self._new: list[_Made] = []
        self._waiting: Waiting | None = None
        self._hooked: Hooked | None = None
        self._is_off = False

    def up(self) -> None:
        """Begin, at once or as soon as PyTorch's loaders are imported."""
        self._waiting = when_imported(_MODULE, self._wrap)

    def _wrap(self) -> None:
        init = sys.modules[_MODULE].DataLoader.__init__
        if isinstance(init, FunctionType):  # else other code has put something else there
            self._hooked = Hooked(init, after=self._is_made)

    def _is_made(self, loader: Any, *_options: Any) -> None:  # noqa: ANN401 - a DataLoader
        with uncompiled():
            self._note(loader, site_of(sys._getframe(2)))  # noqa: SLF001 - what inspect uses

    def _note(self, loader: Any, site: Site) -> None:  # noqa: ANN401 - a DataLoader
        if self._is_off:
            return
        try:
            made = _Made(weakref.ref(loader), site, _audited(loader))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not reach the user's code
            self._is_off = True
            warnings.warn(
                f"repro_magic stopped checking DataLoaders ({error!r}); your code is not affected",
                HookFaultWarning,
                stacklevel=3,
            )
            return
        self._made = [*(one for one in self._made if one.loader() is not None), made]
        self._new.append(made)

    def new(self) -> list[Loader]:
        """Those that were made since this was asked last, also those that are gone again."""
        new, self._new = self._new, []
        return [made.as_now() for made in new]

    def all(self, names: Mapping[str, object]) -> list[Loader]:
        """Every loader that some names hold, then those without a name that were made and are not gone."""
        if not is_imported(_MODULE):
            return []
        kind = sys.modules[_MODULE].DataLoader
        made = {id(loader): one for one in self._made if (loader := one.loader()) is not None}
        # IPython names results, too: `_`, `_3`.
        named = {id(value): name for name, value in names.items() if issubclass(type(value), kind) and name[:1] != "_"}
        found = [
            made[key].as_now(name) if key in made else Loader(name, None, _audited(names[name]))
            for key, name in named.items()
        ]
        return [*found, *(one.as_now() for key, one in made.items() if key not in named)]

    def down(self) -> None:
        """End; if other code has swapped the code meanwhile, that stays, and ours passes everything on."""
        self._is_off = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._hooked is not None:
            self._hooked.down()
