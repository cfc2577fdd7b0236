"""Files that a notebook writes are results: found, read by what they hold, and compared."""

from __future__ import annotations

import gzip
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
from verify_command import notebook, parts, verify

from repro_magic.proof.digest.model import Digest
from repro_magic.proof.kernel import written_files
from repro_magic.proof.kernel.probe import described, looked_at
from repro_magic.proof.kernel.written_files import Files, content


def told(file: Path) -> dict[str, Any]:
    found, _ = content(file, looked_at)
    return described(found) if isinstance(found, Digest) else found


def test_what_was_written_and_removed_since_the_last_look(tmp_path: Path) -> None:
    for name in ("stays", "goes", "grows"):
        (tmp_path / name).write_text("1")
    looks = Files(tmp_path)
    assert looks.changed(is_last=False) == ([], [])
    (tmp_path / "goes").unlink()
    (tmp_path / "grows").write_text("12")
    (tmp_path / "sub" / "__pycache__").mkdir(parents=True)
    (tmp_path / "sub" / "new.txt").write_text("1")
    (tmp_path / "sub" / "__pycache__" / "a.pyc").write_text("1")
    (tmp_path / "link").symlink_to("stays")
    assert looks.changed(is_last=False) == (["grows", "sub/new.txt"], ["goes"])
    assert looks.changed(is_last=False) == ([], [])


def test_a_folder_that_takes_long_is_looked_through_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "_QUICK", 0.0)
    monkeypatch.setattr(written_files, "_SHARE", 1e-9)
    looks = Files(tmp_path)
    (tmp_path / "new").write_text("1")
    assert looks.changed(is_last=False) == ([], [])
    assert looks.changed(is_last=True) == (["new"], [])


def write(file: Path, number: int, *, other: bool) -> None:
    """A file of some value; `other` writes it in another form, or at another time."""
    array = np.full(3, float(number))
    if file.suffix == ".npy":
        with file.open("wb") as stream:
            np.lib.format.write_array(stream, array, version=(2, 0) if other else (1, 0))
    elif file.suffix == ".npz":
        (np.savez_compressed if other else np.savez)(file, a=array)
    elif file.suffix == ".pt":
        torch.save({"w": torch.tensor(array)}, file, _use_new_zipfile_serialization=not other)
    elif file.suffix == ".parquet":
        table = pyarrow.Table.from_pandas(pd.DataFrame({"a": array}))
        pyarrow.parquet.write_table(table, file, compression="gzip" if other else "snappy")
    elif file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a", (2001 if other else 2000, 1, 1, 0, 0, 0)), str(number))
    elif file.suffix == ".gz":
        file.write_bytes(gzip.compress(str(number).encode(), mtime=int(other)))
    elif file.suffix == ".pdf":
        file.write_bytes(b"%%PDF /CreationDate (D:200%d0101) %d" % (other, number))
    elif file.suffix == ".log":
        file.write_text(f"200{int(other)}-01-01 10:00:00,123 INFO {number}")
    else:
        file.write_text(f"at /tmp/{'ab'[other]} {number}")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".parquet", ".zip", ".gz", ".pdf", ".log", ".csv", ".json"])
def test_what_a_format_holds_counts_and_not_how(tmp_path: Path, suffix: str) -> None:
    file, same, different = (tmp_path / f"{name}{suffix}" for name in "abc")
    write(file, 1, other=False)
    write(same, 1, other=True)
    write(different, 2, other=False)
    assert file.read_bytes() != same.read_bytes()
    assert told(file)["hex"] == told(same)["hex"] != told(different)["hex"]
    assert told(file)["gaps"] == []


def test_what_cannot_be_loaded_is_compared_byte_by_byte(tmp_path: Path) -> None:
    """Also what only unpickling could read: nothing of a file is run."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, ("touch " + str(tmp_path / "boom"),)

    torch.save(Bomb(), tmp_path / "bomb.pt")
    np.save(tmp_path / "objects.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"1")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for name in ("bomb.pt", "objects.npy", "broken.npz", "latin.txt"):
        found = told(tmp_path / name)
        assert (found["kind"], found["gaps"], set(found["hex"]) != {"0"}) == ("file", [], True)
    assert not (tmp_path / "boom").exists()


def test_a_format_that_holds_a_clock_is_not_comparable(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.x").write_bytes(b"1")
    assert told(tmp_path / "events.out.tfevents.1.x")["gaps"] == [["", "file", "its format holds the time of writing"]]


@pytest.mark.kernel
def test_files_that_a_cell_writes_are_compared(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import numpy as np",
        "def keep():\n    np.save('noise.npy', np.random.default_rng().random(3))\nkeep()",
        "np.save('same.npy', np.arange(3))\nwith open('same.npy', 'rb') as _f: _f.read()",
        "import os\nos.mkdir('sub')\n_ = open('sub/a.csv', 'w').write(str(os.getpid()))",
        "os.remove('same.npy')",
    )
    code, verdict, _ = verify(path)
    assert code == 1
    assert parts(verdict, 2) == {"file noise.npy": "differs"}
    assert parts(verdict, 3) == {"file same.npy": "same"}
    assert parts(verdict, 4) == {"file sub/a.csv": "differs"}
    assert parts(verdict, 5) == {}
    distance = verdict["cells"][1]["values"][0]["distance"]
    assert (distance["differing"], distance["size"]) == (3, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["n.ipynb"]


@pytest.mark.kernel
def test_a_text_that_differs_is_shown_and_other_bytes_by_their_digest(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "import os\n_ = open('run.out', 'w').write(f'step 1\\nloss {os.getpid()}\\n')",
        "_ = open('raw.bin', 'wb').write(b'\\xff' + os.getpid().to_bytes(4, 'little'))",
    )
    _, verdict, _ = verify(path)
    text, raw = (part["why"] for cell in verdict["cells"] for part in cell["values"])
    assert re.fullmatch(r"line 2: 'loss \d+' in one run, 'loss \d+' in the other", text)
    assert re.fullmatch(r"file: digest \w{8} in one run, \w{8} in the other", raw)
