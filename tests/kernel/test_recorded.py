"""What is recorded of a notebook, and a fresh run against it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import runner
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro_magic.cli import app
from repro_magic.exceptions import NotRunnableError
from repro_magic.proof.kernel.receipt import MIME, Facts, digest_of_source, receipt
from repro_magic.proof.record.comparison import _aligned, compare_with_record
from repro_magic.proof.record.model import Record, RecordedCell
from repro_magic.proof.record.notebook_record import recorded_in
from repro_magic.proof.record.sidecar import sidecar_of
from repro_magic.proof.record.validation import checked
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import Outcome
from repro_magic.views.verdict import summary

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
    assert (code, verdict["outcome"], verdict["against"]) == (0, "not comparable", "recorded results")
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "same", "not comparable"], "y has no receipt"
    assert "the same as far as can be compared; not compared: cell 3 (no values recorded)" in told
    assert "repro-magic verify --sidecar" in told
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
    assert [cell["outcome"] for cell in verdict["cells"]] == ["same", "differs", "not comparable"]
    assert "x: torch.Tensor torch.float32 [3]: digest 00000000 in the record" in " ".join(told.split())


@pytest.mark.kernel
def test_a_receipt_that_holds_less_than_its_cell_gives_is_refused(notebook: Path, tmp_path: Path) -> None:
    def trim(found: Any) -> None:
        for output in found.cells[1].outputs:
            if MIME in output.get("data", {}):
                output.data[MIME]["values"] = {}

    code, verdict, told = recorded(edited(copied(notebook, tmp_path), trim))
    assert (code, verdict["cells"][1]["outcome"]) == (1, "differs")
    assert "x: the record lacks it, though the cell gives it" in " ".join(told.split())
    assert "✓" not in told


@pytest.mark.kernel
def test_a_record_of_every_cell_ends_in_a_tick(tmp_path: Path) -> None:
    path = saved(tmp_path / "n.ipynb", SEEDED[0], '%config ReproMagic.receipts = "all"', *SEEDED[1:], "%repro_env")
    code, verdict, told = recorded(path)
    assert (code, verdict["all_compared"]) == (0, True), told
    assert "a fresh run matches the recorded results" in told
    assert "✓" in told


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
    assert "The environment also differs" in told


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
        recorded_in(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "repro-magic.sidecar.v1"}', '{"schema": 1}'])
def test_a_broken_sidecar_is_refused(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path / "n.ipynb", "x = 1", is_run=False)
    sidecar_of(path).write_text(text)
    with pytest.raises(NotRunnableError, match=r"repro\.json"):
        recorded_in(path)


def test_flags_that_contradict_each_other(tmp_path: Path) -> None:
    path = str(saved(tmp_path / "n.ipynb", "x = 1", is_run=False))
    for flags in (["--recorded", "--sidecar"], ["--exact", "--rtol", "0.1"], ["--ulp", "-1"], ["--jobs", "0"]):
        assert cli.invoke(app, ["verify", *flags, path]).exit_code == 2


def test_cells_are_found_by_their_text_and_order() -> None:
    def cell(source: str) -> RecordedCell:
        return RecordedCell(source, {})

    old = [cell("a"), cell("b"), cell("b"), cell("c")]
    assert _aligned(old, ["a", "new", "b", "b"]) == [old[0], None, old[1], old[2]]
    assert _aligned(old, ["c"]) == [old[3]]
    assert _aligned(old, ["x"]) == [None]


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


def whole(run: Run) -> Record:
    """What a sidecar says of a run."""
    return Record(
        [RecordedCell(digest_of_source(cell.source), cell.changed, digests={}, gone=cell.gone) for cell in run.cells],
        is_sidecar=True,
    )


def cell_run(source: str, **values: object) -> CellRun:
    return CellRun(source, [], receipt(Facts(source, values))["values"])


def of_receipts(*cells: tuple[str, dict[str, object] | None]) -> Record:
    """What a notebook says whose cells have receipts with these values, or none."""
    return Record(
        [
            RecordedCell(
                digest_of_source(source), None if values is None else receipt(Facts(source, values))["values"], texts={}
            )
            for source, values in cells
        ]
    )


FRESH = Run([cell_run("x = 1", x=1), cell_run("y = f(x)", y=2), cell_run("z = x + y", z=3)])
SOURCES = [cell.source for cell in FRESH.cells]


def not_compared(*values: dict[str, object] | None) -> list[tuple[int, str, str]]:
    found = compare_with_record("n", of_receipts(*zip(SOURCES, values, strict=True)), FRESH)
    assert found.reproduces
    return [(one.cell, one.name, one.kind) for one in found.not_compared]


def test_cells_of_which_no_values_are_recorded_are_not_compared() -> None:
    assert not_compared({"x": 1}, {"x": 1, "y": 2}, {"x": 1, "y": 2, "z": 3}) == []
    assert not_compared({"x": 1}, None, {"y": 2, "z": 3}) == [], "a later receipt holds the unchanged value"
    assert not_compared(None, None, {"z": 3}) == [(1, "", "no values recorded"), (2, "", "no values recorded")]


@pytest.mark.parametrize("values", [{}, {"x": 1}], ids=["emptied", "trimmed"])
def test_a_receipt_lacks_no_name_that_stands_in_its_cell(values: dict[str, object]) -> None:
    found = compare_with_record(
        "n", of_receipts((SOURCES[0], {"x": 1}), (SOURCES[1], values), (SOURCES[2], None)), FRESH
    )
    assert [(part.name, part.outcome) for part in found.cells[1].values if part.name == "y"] == [("y", Outcome.DIFFERS)]


def test_what_a_cell_changes_by_other_means_may_lack_and_is_not_compared() -> None:
    fresh = Run([cell_run("push()", held=[1])])
    found = compare_with_record("n", of_receipts(("push()", {})), fresh)
    assert [(one.name, one.kind) for one in found.not_compared] == [("held", "not recorded")]


def test_a_private_name_is_left_out_and_not_missing() -> None:
    source = "pin = 1  # repro: private pin"
    for recorded_as in (of_receipts((source, {})), Record(of_receipts((source, {})).cells, is_sidecar=True)):
        found = compare_with_record("n", recorded_as, Run([cell_run(source, pin=1)]))
        assert [(one.name, one.kind, one.is_declared) for one in found.not_compared] == [("pin", "private", True)]
        assert replace(found, is_strict=True).reproduces
        assert summary(found).text == (
            "≈ n: the same, except for what the notebook leaves out; not compared: cell 1 `pin` (private)"
        )


def test_a_sidecar_that_lacks_a_cell_or_a_displayed_value_is_no_tick() -> None:
    short = Record(whole(FRESH).cells[:2], is_sidecar=True)
    assert compare_with_record("n", short, FRESH).outcome is Outcome.DIFFERS
    shown = {"output_type": "execute_result", "data": {"text/plain": "1"}}
    fresh = Run([CellRun("x", [shown], displayed=receipt(Facts("", {"x": 1}))["values"]["x"])])
    lacking = Record([RecordedCell(digest_of_source("x"), {}, texts={"result (text/plain)": "1"})])
    found = compare_with_record("n", lacking, fresh)
    assert [(part.name, part.outcome) for part in found.cells[0].values] == [("the displayed value", Outcome.DIFFERS)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from([*GOOD, "more"]), json_values)
def test_whatever_a_receipt_holds_it_is_read_or_refused_in_a_sentence(key: str, value: object) -> None:
    with suppress(NotRunnableError):
        assert checked({**GOOD, key: value}, "receipt.v1", "it", 1 << 20)["schema"]


def test_what_is_nested_too_deeply_to_be_a_receipt_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotRunnableError, match="is not valid"):
        checked({**GOOD, "more": deep}, "receipt.v1", "it", 1 << 20)
    del deep


@pytest.mark.parametrize(
    "output",
    [
        {"output_type": "stream"},
        {"output_type": "display_data", "data": [1]},
        {"data": {}},
        {"output_type": "x", "data": []},
    ],
)
def test_an_output_of_another_form_is_no_traceback(tmp_path: Path, output: dict[str, Any]) -> None:
    cell = {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [output], "execution_count": 1}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    code, _, told = recorded(path)
    assert code == 2
    assert "Traceback" not in told
    assert "n.ipynb is not a notebook: " in told or "an output of cell 1" in told


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
    assert compare_with_record("n", whole(recorded_run), recorded_run).reproduces
    found = compare_with_record("n", whole(recorded_run), fresh)
    assert [cell.outcome for cell in found.cells][-1] is Outcome.DIFFERS
