"""Copy from a GPU through pinned memory: the next piece is copied while a piece is hashed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from repro_magic.proof.digest import elements


def contiguous_bytes(piece: Any) -> Any:
    """A piece's bytes as a contiguous tensor: the piece itself, or a copy if it is not contiguous."""
    if piece.requires_grad:
        piece = piece.detach()
    if piece.is_conj() or piece.is_neg():
        piece = piece.resolve_conj().resolve_neg()
    piece = piece.contiguous()
    if piece.stride()[-1:] != (1,):  # no dimensions, or a last dimension of size 1, whose stride is arbitrary
        piece = piece.as_strided((piece.numel(),), (1,))
    return piece.view(sys.modules["torch"].uint8)


class PinnedBuffer:
    """A buffer in pinned memory, into which a GPU copies asynchronously."""

    def __init__(self) -> None:
        """Allocate it."""
        torch = sys.modules["torch"]
        # An explicit device: the user may have set another default.
        self._memory = torch.empty(elements.PIECE, dtype=torch.uint8, device="cpu", pin_memory=True)
        self._copied = torch.cuda.Event()
        self._content = self._memory

    def take(self, piece: Any) -> None:
        """Start copying a piece into the buffer, overwriting its content."""
        row = contiguous_bytes(piece).flatten()
        self._content = self._memory[: len(row)]
        self._content.copy_(row, non_blocking=True)
        self._copied.record(sys.modules["torch"].cuda.current_stream(row.device))

    def row(self) -> Any:
        """Wait for the copy, and return the piece's bytes."""
        self._copied.synchronize()
        return self._content.numpy()


def pinned_buffers() -> tuple[PinnedBuffer, ...]:
    """Two buffers; none if there is no pinned memory left."""
    try:
        return PinnedBuffer(), PinnedBuffer()
    except RuntimeError:
        return ()


def overlapped(pieces: Iterable[Any], buffers: Sequence[Any]) -> Iterator[Any]:
    """Each piece's bytes, while the next piece is copied into another buffer."""
    last = None
    for piece, buffer in zip(pieces, itertools.cycle(buffers), strict=False):
        buffer.take(piece)
        if last is not None:
            yield last.row()
        last = buffer
    if last is not None:
        yield last.row()
