"""Comments that speak to the package, and names that a notebook keeps to itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from conftest import run_and_store
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro_magic.cli import app
from repro_magic.introspection.comments import accepted_in, mentions, name_of, private_names, remarks
from repro_magic.proof.compare.privacy import private_from, withheld
from repro_magic.proof.digest.digest import digest
from repro_magic.proof.verdict import CellVerdict, Outcome, Part


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("# repro: private pin", {"pin"}),
        ("pin = 4711  # repro: private pin, name because it is mine", {"pin", "name"}),
        ("#REPRO:PRIVATE pin", {"pin"}),
        ("text = '# repro: private pin'", set()),
        ('"""\n# repro: private pin\n"""', set()),
        ("f'{x} # repro: private pin'", set()),
        ("!echo \"it's\nx = 1  # repro: private pin", {"pin"}),
        ("%time x = 3\n%%bash\ny?\n# repro: private pin", {"pin"}),
        ("if x:\n        y\n    z\n# repro: private pin", {"pin"}),
        ("x = (1,  # repro: private pin\n", {"pin"}),
        ("# repro: accept pin", set()),
        ("# private pin", set()),
    ],
)
def test_only_a_comment_counts(source: str, names: set[str]) -> None:
    assert private_names(source) == names


def test_each_verb_is_read_by_the_same_parser() -> None:
    source = "# repro: name fit\nx = f()  # repro: accept default_rng, x\n# repro: private pin\n"
    assert name_of(source) == "fit"
    assert accepted_in(source) == {"default_rng", "x"}
    assert private_names(source) == {"pin"}
    assert accepted_in(source, 3) == set(), "only between the lines that are asked for"
    assert name_of("x = 1  # repro: name fit") is None, "a cell's name stands in a line of its own"


@given(st.text(max_size=200))
def test_no_source_is_too_strange(source: str) -> None:
    remarks(source)
    assert private_names(f"{source!r}\n# repro: private pin") == {"pin"}


def test_from_the_cell_on() -> None:
    assert [*private_from(["a", "# repro: private pin", "b"])] == [set(), {"pin"}, {"pin"}]
    assert mentions("print(pin)", frozenset({"pin"}))


def test_of_what_is_private_no_report_tells_a_value() -> None:
    differs = Part("pin", Outcome.DIFFERS, "4711 in one run, 4712 in another")
    printed = Part("stdout", Outcome.DIFFERS, "line 1: 4711 and 4712")
    failed = Part("error", Outcome.FAILED, "ValueError: 4711 is wrong")
    other = Part("x", Outcome.DIFFERS, "1 in one run, 2 in another")
    cells = [
        CellVerdict(1, "", [], [], "# repro: private pin"),
        CellVerdict(2, "", [differs, other], [printed, failed], "print(pin)"),
        CellVerdict(3, "", [other], [printed], "print(x)"),
    ]
    _, second, third = withheld(cells)
    assert [part.outcome for part in second.parts] == [part.outcome for part in cells[1].parts], "it still counts"
    assert not any("4711" in part.why for part in second.parts)
    assert second.values[1] == other
    assert [*third.parts] == [other, printed]


PIN = "8264017"
CELLS = [
    '%load_ext repro_magic\n%config ReproMagic.receipts = "all"',
    f"pin = {PIN}  # repro: private pin\nbox = [pin]\nbox.clear()",
    "pin += 0\nx = 3",
    "pin",
    "y = x + 1\nprint(y)",
]
SECRETS = (PIN, digest(int(PIN)).hex)


def saved(path: Path, *cells: str) -> str:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells]), path)
    run_and_store(path)
    return path.read_text(encoding="utf-8")


def verified(*arguments: str) -> tuple[int, str, dict[str, dict[str, str]]]:
    """The exit code, what was printed, and of each name its outcome by cell."""
    done = CliRunner().invoke(app, ["verify", "--json", "-", *arguments])
    [verdict] = json.loads(done.stdout)
    cells = {cell["number"]: {part["name"]: part["outcome"] for part in cell["values"]} for cell in verdict["cells"]}
    return done.exit_code, done.output, {f"cell {number}": parts for number, parts in cells.items()}


@pytest.mark.kernel
def test_a_private_name_is_in_no_receipt_and_never_called_the_same(tmp_path: Path) -> None:
    path = tmp_path / "study.ipynb"
    text = saved(path, *CELLS)
    assert SECRETS[1] not in text
    code, told, cells = verified("--recorded", str(path))
    assert code == 0, told
    assert cells["cell 2"]["pin"] == "not comparable"
    assert cells["cell 3"]["x"] == "same"
    assert "private" in told
    assert SECRETS[1] not in told


@pytest.mark.kernel
def test_nor_in_a_sidecar_and_fresh_runs_compare_it_without_telling_it(tmp_path: Path) -> None:
    path = tmp_path / "plain.ipynb"
    sources = [source for source in CELLS if "load_ext" not in source]
    sources.append("import os\npin = int.from_bytes(os.urandom(4), 'big')\nprint(pin)")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells[:-1]), path)
    done = CliRunner().invoke(app, ["verify", "--sidecar", str(path)])
    sidecar = (tmp_path / "plain.repro.json").read_text(encoding="utf-8")
    assert done.exit_code == 0, done.output
    assert not any(secret in sidecar for secret in SECRETS)
    code, told, values = verified("--recorded", str(path))
    assert (code, values["cell 1"]["pin"]) == (0, "not comparable"), told
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    code, told, values = verified(str(path))
    assert (code, values["cell 5"]["pin"]) == (1, "differs"), told
    assert "private: its value is not shown" in told
    assert "private: the cell uses a private name, so its output is not shown" in told
    assert not re.search(r"in one run, \S+ in another", told)
