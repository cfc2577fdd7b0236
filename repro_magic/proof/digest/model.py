"""What a digest is, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from repro_magic.runtime.public import public

__all__ = ["Digest", "Gap"]


@public
@dataclass(frozen=True)
class Gap:
    """A part of a value that has no bits to compare.

    Attributes:
        path: where in the value, e.g. `".hooks[0]"`; empty for the value itself.
        kind: its type, e.g. `"function"`.
        why: in words.
    """

    path: str
    kind: str
    why: str


@public
@dataclass(frozen=True)
class Digest:
    """The digest of a value.

    Attributes:
        hex: 64 hexadecimal digits over all but the gaps.
        kind: the value's type, e.g. `"torch.Tensor"`.
        dtype: its dtype, where it has one.
        shape: its shape, where it has one.
        gaps: what could not be digested.
        own: a digest that also covers what libraries keep for themselves in private attributes (paths, counters, the
            trainer that trains a model); empty where there is no such thing.
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
