"""Log of the `DataLoader`s that cells create, also inside functions: where, and with which remarks."""

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
    """An audited loader.

    Attributes:
        name: its variable in the notebook; empty if there is none.
        place: the line that created it, if known.
        remarks: faults first.
        accepted: whether that line has a comment `# repro: accept DataLoader`.
    """

    name: str
    place: Place | None
    remarks: Sequence[Remark]
    accepted: bool = False

    @property
    def faults(self) -> list[Remark]:
        """The remarks about duplicated numbers, or an order that differs between runs."""
        return [remark for remark in self.remarks if remark.is_fault]


def _audited(loader: Any) -> list[Remark]:  # noqa: ANN401 - a DataLoader
    from repro_magic.dataloading.audit import audit  # noqa: PLC0415 - most notebooks create no loader

    return audit(loader)


@dataclass(frozen=True)
class _CreatedLoader:
    """A created loader, audited at once: it may be gone when its cell ends."""

    loader: weakref.ref[Any]
    site: Site
    remarks: Sequence[Remark]

    def audited_now(self, name: str = "") -> Loader:
        loader = self.loader()
        remarks = self.remarks if loader is None else _audited(loader)
        return Loader(name, self.site.place, remarks, accepts(self.site, "DataLoader"))


class LoaderLog:
    """Records each loader that is created, from `up` to `down`. Holds weak references only.

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
        """Start with no loaders."""
        self._alive: list[_CreatedLoader] = []
        self._new: list[_CreatedLoader] = []
        self._waiting: Waiting | None = None
        self._hooked: Hooked | None = None
        self._is_off = False

    def up(self) -> None:
        """Start recording, now or as soon as PyTorch's loaders are imported."""
        self._waiting = when_imported(_MODULE, self._wrap)

    def _wrap(self) -> None:
        init = sys.modules[_MODULE].DataLoader.__init__
        if isinstance(init, FunctionType):  # other code may have replaced it
            self._hooked = Hooked(init, after=self._on_init)

    def _on_init(self, loader: Any, *_options: Any) -> None:  # noqa: ANN401 - a DataLoader
        with uncompiled():
            self._record(loader, site_of(sys._getframe(2)))  # noqa: SLF001 - what inspect uses

    def _record(self, loader: Any, site: Site) -> None:  # noqa: ANN401 - a DataLoader
        if self._is_off:
            return
        try:
            created = _CreatedLoader(weakref.ref(loader), site, _audited(loader))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not reach the user's code
            self._is_off = True
            warnings.warn(
                f"repro_magic stopped checking DataLoaders ({error!r}); your code is not affected",
                HookFaultWarning,
                stacklevel=3,
            )
            return
        self._alive = [*(earlier for earlier in self._alive if earlier.loader() is not None), created]
        self._new.append(created)

    def new(self) -> list[Loader]:
        """The loaders created since the last call, even if they are gone."""
        new, self._new = self._new, []
        return [created.audited_now() for created in new]

    def all(self, names: Mapping[str, object]) -> list[Loader]:
        """Every loader that is bound to a name, then the recorded loaders that exist without a name."""
        if not is_imported(_MODULE):
            return []
        cls = sys.modules[_MODULE].DataLoader
        created_by_id = {id(loader): created for created in self._alive if (loader := created.loader()) is not None}
        # IPython binds results to names, too: `_`, `_3`.
        named = {id(value): name for name, value in names.items() if issubclass(type(value), cls) and name[:1] != "_"}
        named_loaders = [
            created_by_id[key].audited_now(name) if key in created_by_id else Loader(name, None, _audited(names[name]))
            for key, name in named.items()
        ]
        return [*named_loaders, *(created.audited_now() for key, created in created_by_id.items() if key not in named)]

    def down(self) -> None:
        """Stop recording. If other code patched `__init__` since, its patch stays, and ours becomes inactive."""
        self._is_off = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._hooked is not None:
            self._hooked.down()
