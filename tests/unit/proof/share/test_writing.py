"""Files of ours are written at once or not at all, and over nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repro_magic.exceptions import NotWritableError
from repro_magic.proof.share import writing
from repro_magic.proof.share.writing import PAGE, SIDECAR, VERDICTS, Kind
from repro_magic.proof.verdict import NotebookVerdict
from repro_magic.views.page import page

OURS = {
    "verdicts": (VERDICTS, '[{"notebook": "a", "outcome": "same"}]'),
    "page": (PAGE, page([NotebookVerdict("a", 2, 2, [])])),
    "sidecar": (SIDECAR, '{"schema": "repro-magic.sidecar.v1"}'),
}


@pytest.mark.parametrize("name", OURS)
def test_a_file_of_its_kind_is_replaced_and_any_other_stays(tmp_path: Path, name: str) -> None:
    kind, text = OURS[name]
    path = tmp_path / "file"
    for held in ("", text):
        path.write_text(held)
        writing.write(path, text, kind)
        assert path.read_text() == text
    for held in (
        '{"cells": []}',
        "[1]",
        "mine",
        *(other for other_kind, other in OURS.values() if other_kind is not kind),
    ):
        path.write_text(held)
        with pytest.raises(NotWritableError, match="is there, and is not"):
            writing.write(path, text, kind)
        assert path.read_text() == held


def test_the_name_of_a_notebook_is_never_taken(tmp_path: Path) -> None:
    with pytest.raises(NotWritableError, match="is the name of a notebook"):
        writing.check(tmp_path / "new.ipynb", VERDICTS)


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "verdicts.json", tmp_path / "latest.json"
    path.write_text("")
    path.chmod(0o640)
    link.symlink_to(path)
    writing.write(link, "[]", VERDICTS)
    assert link.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("[]", 0o640)


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "verdicts.json"
    path.write_text("[]")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritableError, match="No space left on device"):
        writing.write(path, "[]" * 9, VERDICTS)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("verdicts.json", "[]")]


@pytest.mark.parametrize("kind", [VERDICTS, PAGE])
def test_a_stream_takes_anything(kind: Kind) -> None:
    writing.write(Path(os.devnull), "text", kind)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["no/where", "."])
def test_where_nothing_can_be_written_is_said_before(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotWritableError, match="cannot be written"):
        writing.check(tmp_path / name, VERDICTS)
