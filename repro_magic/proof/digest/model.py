"""The result of a digest, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from repro_magic.runtime.public import public

__all__ = ["Digest", "Gap"]


@public
@dataclass(frozen=True)
class Gap:
    """A part of a value that cannot be compared.

    Attributes:
        path: where in the value, e.g. `".hooks[0]"`; empty for the value itself.
        kind: its type, e.g. `"function"`.
        why: the reason.
    """

    path: str
    kind: str
    why: str


@public
@dataclass(frozen=True)
class Digest:
    """The digest of a value.

    Attributes:
        hex: 64 hexadecimal digits over everything except the gaps.
        kind: the value's type, e.g. `"torch.Tensor"`.
        dtype: its dtype, if any.
        shape: its shape, if any.
        gaps: the parts that could not be digested.
        own: a digest that also covers private attributes of libraries (paths, counters, a model's trainer); empty if
            there are none.
    """

    hex: str
    kind: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    gaps: tuple[Gap, ...] = field(default=())
    own: str = ""

    @property
    def is_comparable(self) -> bool:
        """Whether the value itself could be digested; parts of it may still be gaps."""
        return not any(gap.path == "" for gap in self.gaps)
