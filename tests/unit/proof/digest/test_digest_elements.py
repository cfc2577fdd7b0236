"""Elements of arrays and tensors: in pieces, from a GPU, in any layout."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from digest_makers import BASE, SEEN_AS

from repro_magic.proof.digest import elements, pinned
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.kernel.numeric_distance import keep


@pytest.mark.parametrize("piece", [1, 7, 64, 10_000])
def test_pieces_give_what_the_whole_gives(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [digest(value.contiguous()).hex for value in (BASE.transpose(0, 2), BASE.permute(1, 2, 0))]
    monkeypatch.setattr(elements, "PIECE", piece)
    monkeypatch.setattr(elements, "LARGE", piece)
    assert [digest(value).hex for value in (BASE.transpose(0, 2), BASE.permute(1, 2, 0))] == whole
    assert digest(BASE.permute(1, 2, 0).numpy()).hex == digest(np.ascontiguousarray(BASE.permute(1, 2, 0).numpy())).hex


class Late:
    """Stands for pinned memory: what it was told to take is there only once it is waited for."""

    def __init__(self, log: list[str], name: str) -> None:
        """Tell a log what happens to it."""
        self.log, self.name = log, name
        self.held, self.coming = b"", b""

    def take(self, piece: bytes) -> None:
        """Start to copy."""
        self.log.append(f"{self.name} takes {piece.decode()}")
        self.held, self.coming = b"(lost)", piece

    def row(self) -> bytes:
        """Wait for the copy."""
        self.log.append(f"{self.name} is waited for")
        self.held = self.coming
        return self.held


@pytest.mark.parametrize("count", range(6))
def test_while_a_piece_is_hashed_the_next_one_is_on_its_way(count: int) -> None:
    pieces = [b"%d" % place for place in range(count)]
    log: list[str] = []
    buffers = [Late(log, "a"), Late(log, "b")]
    seen = []
    for row in pinned.overlapped(pieces, buffers):
        log.append(f"{row.decode()} is hashed")
        seen.append(row)
        assert row in [one.held for one in buffers]  # nobody writes over it meanwhile
    assert seen == pieces
    if count == 3:
        assert log == [
            *("a takes 0", "b takes 1", "a is waited for", "0 is hashed"),
            *("a takes 2", "b is waited for", "1 is hashed"),
            *("a is waited for", "2 is hashed"),
        ]


@pytest.mark.parametrize("value", [*(see(BASE) for name, see in SEEN_AS.items() if name != "negative"), torch.ones(50)])
def test_a_buffer_holds_the_pieces_bytes(value: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no GPU here: only the memory, the event and the stream are stand-ins."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *sizes, pin_memory, **others: empty(*sizes, **others))  # noqa: ARG005
    monkeypatch.setattr(torch.cuda, "Event", mock.Mock)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    monkeypatch.setattr(elements, "_is_in_place", lambda _value: False)
    monkeypatch.setattr(elements, "PIECE", 32)
    rows = pinned.overlapped(elements.pieces(value, value.nbytes), pinned.pinned_buffers())
    assert b"".join(row.tobytes() for row in rows) == value.detach().numpy().tobytes()


def test_without_pinned_memory_there_are_no_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pinned, "PinnedBuffer", refuse)
    assert pinned.pinned_buffers() == ()


def test_the_padding_of_long_doubles_means_nothing() -> None:
    found = {digest(np.full(3, 1.0).astype("longdouble") + 0).hex for _ in range(50)}
    assert len(found) == 1
    assert digest(np.full(3, 1.5).astype("longdouble")).hex not in found


def test_a_tensor_that_was_looked_at_can_still_be_resized(tmp_path: Path) -> None:
    tensor = torch.zeros(3)
    digest(tensor)
    keep(tensor, tmp_path / "kept.npz")
    assert tensor.resize_(6).shape == (6,)
