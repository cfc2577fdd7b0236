"""What is recorded of a notebook, and a fresh run against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import runner
from typer.testing import CliRunner

from repro_magic.cli import app
from repro_magic.exceptions import NotRunnableError
from repro_magic.proof import record
from repro_magic.proof.receipt import MIME, Facts, digest_of_source, receipt
from repro_magic.proof.runner import CellRun, Run
from repro_magic.proof.verdict import Outcome

cli = CliRunner()
SEEDED = (
    "%load_ext repro_magic\nimport torch",
    "%%deterministic --seed 3\nx = torch.rand(3)\nx",
    "y = x * 2\nprint(y.sum())",
)


def saved(path: Path, *sources: str, is_run: bool = True) -> Path:
    """A notebook, run and saved as a user would."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    if is_run:
        with runner(notebook) as client:
            client.execute()
    nbformat.write(notebook, path)
    return path


def edited(path: Path, change: Any) -> Path:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)
    return path


def recorded(path: Path, *flags: str) -> tuple[int, dict[str, Any], str]:
    done = cli.invoke(app, ["verify", "--recorded", "--json", "-", *flags, str(path)])
    return done.exit_code, (json.loads(done.stdout)[0] if done.stdout.startswith("[") else {}), done.stderr


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("recorded") / "seeded.ipynb", *SEEDED)


def copied(notebook: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy of é.ipynb"
    copy.write_bytes(notebook.read_bytes())
    return copy


@pytest.mark.kernel
def test_a_fresh_run_gives_what_is_recorded(notebook: Path) -> None:
    before = notebook.read_bytes()
    code, verdict, told = recorded(notebook)
    assert (code, verdict["outcome"], verdict["against"]) == (0, "same", "recorded results")
    assert "a fresh run gave what is recorded" in told
    assert "No environment is recorded" in told
    assert notebook.read_bytes() == before


@pytest.mark.kernel
def test_another_value_is_named_with_its_cell(notebook: Path, tmp_path: Path) -> None:
    def forge(found: Any) -> None:
        for output in found.cells[1].outputs:
            if MIME in output.get("data", {}):
                output.data[MIME]["values"]["x"]["hex"] = "0" * 64

    code, verdict, told = recorded(edited(copied(notebook, tmp_path), forge))
    assert code == 1
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "differs", "same"]
    assert "x: torch.Tensor torch.float32 [3]: 00000000 in the record" in told


@pytest.mark.kernel
def test_a_cell_that_was_changed_since_differs_from_the_record(notebook: Path, tmp_path: Path) -> None:
    path = copied(notebook, tmp_path)
    edited(path, lambda found: found.cells[1].update(source=f"{found.cells[1].source} + 1"))
    code, verdict, _ = recorded(path)
    assert (code, verdict["cells"][1]["outcome"]) == (1, "differs")
    assert "1 recorded cell is not in the notebook any more." in verdict["notes"]


@pytest.mark.kernel
def test_a_cell_that_was_not_reached_is_not_called_gone(notebook: Path, tmp_path: Path) -> None:
    path = copied(notebook, tmp_path)
    edited(path, lambda found: found.cells[1].update(source="1 / 0"))
    code, verdict, _ = recorded(path)
    assert (code, verdict["outcome"]) == (3, "failed")
    assert not any("any more" in note for note in verdict["notes"])


@pytest.mark.kernel
def test_another_environment_is_told_and_has_a_code_of_its_own(tmp_path: Path) -> None:
    def elsewhere(found: Any) -> None:
        for cell in found.cells:
            for output in cell.outputs:
                for mime, data in output.get("data", {}).items():
                    if "environment" in mime:
                        data["torch"]["version"] = "1.0"
        found.cells[2].outputs[0]["text"] = "something else\n"

    path = saved(tmp_path / "n.ipynb", SEEDED[0], "%repro_env", "print(1)")
    assert recorded(path)[0] == 0
    code, verdict, told = recorded(edited(path, elsewhere))
    assert code == 4
    assert verdict["environment"][0] == {
        "section": "torch",
        "name": "version",
        "first": "1.0",
        "second": verdict["environment"][0]["second"],
    }
    assert "The environment differs, too" in told


@pytest.mark.kernel
def test_a_sidecar_for_those_who_strip_outputs(notebook: Path, tmp_path: Path) -> None:
    path = copied(notebook, tmp_path)
    edited(path, lambda found: [cell.update(outputs=[]) for cell in found.cells])
    code, _, told = recorded(path)
    assert code == 2
    assert "nothing is recorded of" in told
    done = cli.invoke(app, ["verify", "--sidecar", str(path)])
    assert done.exit_code == 0, done.stderr
    beside = path.with_name("copy of é.repro.json")
    assert recorded(path)[0] == 0
    held = json.loads(beside.read_text())
    held["cells"][1]["values"]["x"]["hex"] = "0" * 64
    held["environment"]["torch"]["version"] = "1.0"
    beside.write_text(json.dumps(held))
    code, verdict, _ = recorded(path)
    assert (code, verdict["cells"][1]["outcome"]) == (4, "differs")


@pytest.mark.kernel
def test_no_sidecar_is_written_of_what_does_not_reproduce(tmp_path: Path) -> None:
    path = saved(tmp_path / "n.ipynb", "import os\nx = os.urandom(4)", is_run=False)
    assert cli.invoke(app, ["verify", "--sidecar", str(path)]).exit_code == 1
    assert [one.name for one in tmp_path.iterdir()] == ["n.ipynb"]


# Without a kernel


def with_receipt(path: Path, data: object, mime: str = MIME) -> Path:
    output = nbformat.v4.new_output("display_data", {mime: data, "text/plain": ""})
    cell = nbformat.v4.new_code_cell("x = 1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


GOOD = receipt(Facts("x = 1", {"x": 1}))
BAD = {
    "no object": ([], "is not valid"),
    "an unknown status": ({**GOOD, "strict": "yes"}, "is not valid"),
    "a short digest": ({**GOOD, "source": "ab"}, "is not valid"),
    "a newer schema": ({**GOOD, "schema": "repro-magic.receipt.v2"}, "update repro_magic"),
    "a huge one": ({**GOOD, "more": "x" * (9 << 20)}, "too large"),
    "markup": ({**GOOD, "values": "<script>alert(1)</script>"}, "is not valid"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_forged_receipt_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    data, told = BAD[name]
    code, _, said = recorded(with_receipt(tmp_path / "n.ipynb", data))
    assert code == 2
    assert told in said
    assert len(said) < 1000


def test_a_receipt_of_a_newer_release_is_not_overlooked(tmp_path: Path) -> None:
    path = with_receipt(tmp_path / "n.ipynb", {}, MIME.replace("v1", "v2"))
    with pytest.raises(NotRunnableError, match="a receipt of v2: update repro_magic"):
        record.of(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "repro-magic.sidecar.v1"}', '{"schema": 1}'])
def test_a_broken_sidecar_is_refused(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path / "n.ipynb", "x = 1", is_run=False)
    record.sidecar_of(path).write_text(text)
    with pytest.raises(NotRunnableError, match=r"repro\.json"):
        record.of(path)


def test_flags_that_contradict_each_other(tmp_path: Path) -> None:
    path = str(saved(tmp_path / "n.ipynb", "x = 1", is_run=False))
    for flags in (["--recorded", "--sidecar"], ["--exact", "--rtol", "0.1"], ["--ulp", "-1"], ["--jobs", "0"]):
        assert cli.invoke(app, ["verify", *flags, path]).exit_code == 2


def test_cells_are_found_by_their_text_and_order() -> None:
    def cell(source: str) -> record.RecordedCell:
        return record.RecordedCell(source, {})

    old = [cell("a"), cell("b"), cell("b"), cell("c")]
    assert record._aligned(old, ["a", "new", "b", "b"]) == [old[0], None, old[1], old[2]]
    assert record._aligned(old, ["c"]) == [old[3]]
    assert record._aligned(old, ["x"]) == [None]


def run_of(*cells: dict[str, str], gone: str = "") -> Run:
    def told(text: str) -> dict[str, Any]:
        return {"hex": text, "kind": "k", "dtype": None, "shape": None, "gaps": []}

    return Run(
        [
            CellRun(
                f"cell {number}", [], {name: told(text) for name, text in one.items()}, [*gone] if number == 2 else []
            )
            for number, one in enumerate(cells)
        ]
    )


def whole(run: Run) -> record.Record:
    """What a sidecar says of a run."""
    return record.Record(
        [
            record.RecordedCell(digest_of_source(cell.source), cell.changed, digests={}, gone=cell.gone)
            for cell in run.cells
        ],
        is_sidecar=True,
    )


@pytest.mark.parametrize(
    ("recorded_run", "fresh"),
    [
        (run_of({"x": "1"}, {}), run_of({"x": "1"}, {"x": "100"})),
        (run_of({"x": "1"}, {}), run_of({"x": "1"}, {"y": "5"})),
        (run_of({"x": "1"}, {"z": "1"}), run_of({"x": "1"}, {})),
        (run_of({"x": "1"}, {}, {}), run_of({"x": "1"}, {}, {}, gone="x")),
        (run_of({"x": "1"}, {}, {}, gone="x"), run_of({"x": "1"}, {}, {})),
    ],
    ids=["changed", "new", "missing", "deleted", "not deleted"],
)
def test_what_only_one_side_did_differs(recorded_run: Run, fresh: Run) -> None:
    assert record.compare("n", whole(recorded_run), recorded_run).reproduces
    found = record.compare("n", whole(recorded_run), fresh)
    assert [cell.outcome for cell in found.cells][-1] is Outcome.DIFFERS
