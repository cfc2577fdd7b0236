"""Runs of a notebook compared: what agrees, what is close, and what keeps the tick away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from repro_magic.proof.compare.differences import output
from repro_magic.proof.compare.runs import compare
from repro_magic.proof.kernel.numeric_distance import Tolerance
from repro_magic.proof.run.runner import CellRun, Run
from repro_magic.proof.verdict import CellVerdict, NotebookVerdict, Outcome, Part
from repro_magic.views.verdict import overall, summary


def run(*values: dict[str, str], error: str = "") -> Run:
    cells = [
        CellRun(
            "x",
            [],
            {name: {"hex": text, "kind": "k", "dtype": None, "shape": None, "gaps": []} for name, text in one.items()},
        )
        for one in values
    ]
    return Run(cells, error)


def test_a_name_that_is_there_in_one_run_only_differs() -> None:
    found = compare("n", [run({"a": "1"}), run({})])
    assert found.outcome is Outcome.DIFFERS
    assert compare("n", [run({}), run({"a": "1"})]).outcome is Outcome.DIFFERS


def held_as(hex_: str, *gaps: tuple[str, str, str], kind: str = "k", **more: Any) -> dict[str, Any]:
    return {"hex": hex_, "kind": kind, "dtype": None, "shape": None, "gaps": [list(gap) for gap in gaps], **more}


def run_of(
    found: dict[str, Any], *, shown: str = "", displayed: dict[str, Any] | None = None, source: str = "x"
) -> Run:
    outputs = [{"output_type": "execute_result", "data": {"text/plain": shown}}] if shown else []
    return Run([CellRun(source, outputs, found, displayed=displayed)])


OPAQUE = ("", "socket.socket", "a handle")


def test_a_part_that_cannot_be_compared_keeps_the_tick_away() -> None:
    part = (".log", "_io.TextIOWrapper", "a handle")
    found = compare("n", [run_of({"m": held_as("1", part)})] * 2)
    assert (found.outcome, found.reproduces, found.all_compared) == (Outcome.NOT_COMPARABLE, True, False)
    assert [(one.name, one.kind) for one in found.not_compared] == [("m.log", "_io.TextIOWrapper")]
    other = run_of({"m": held_as("2", part)})
    assert compare("n", [run_of({"m": held_as("1", part)}), other]).outcome is Outcome.DIFFERS, "the rest differs"


def test_what_one_run_could_look_at_and_another_could_not_is_not_compared() -> None:
    seen, unseen = held_as("1", kind="a.M"), held_as("0", ("", "M", "it took too long"), kind="M")
    for pair in ((seen, unseen), (unseen, seen)):
        assert compare("n", [run_of({"m": one}) for one in pair]).outcome is Outcome.NOT_COMPARABLE
    assert compare("n", [run_of({"m": one}) for one in (held_as("1"), unseen)]).outcome is Outcome.DIFFERS


def test_what_is_close_is_so_as_far_as_it_can_be_compared() -> None:
    near = {"at": "", "dtype": "float", "shape": [], "differing": 1, "size": 1, "first": [], "max_abs": 1e-12}
    near |= {"max_ulp": 3, "is_close": True}
    gap = (".log", "file", "a handle")
    one, other = held_as("1", gap), held_as("2", gap, distance=near, **{"from": "1"})
    found = compare("n", [run_of({"m": one}), run_of({"m": other})], Tolerance(rtol=1e-6))
    assert found.outcome is Outcome.NOT_COMPARABLE
    assert "else " in found.not_compared[0].why


def test_a_displayed_value_that_cannot_be_compared_is_listed_unless_a_name_holds_it() -> None:
    opaque = held_as("1", OPAQUE)
    found = compare("n", [run_of({}, shown="<frame>", displayed=opaque)] * 2)
    assert [one.name for one in found.not_compared] == ["the displayed value"]
    found = compare("n", [run_of({"s": opaque}, shown="<frame>", displayed=opaque)] * 2)
    assert [one.name for one in found.not_compared] == ["s"]


def test_strict_takes_only_what_the_notebook_accepts() -> None:
    def of(source: str) -> NotebookVerdict:
        return replace(compare("n", [run_of({"s": held_as("1", OPAQUE)}, source=source)] * 2), is_strict=True)

    assert (of("s = 1").reproduces, of("s = 1").lacks_proof) == (False, True)
    gap = held_as("1", ("", "file", "its format holds the time of writing"), kind="file")
    found = compare("n", [run_of({"file m.npz": gap}, source="save()  # repro: accept m.npz")] * 2)
    assert [one.is_declared for one in found.not_compared] == [True]
    assert (of("s = 1  # repro: accept s").reproduces, of("s = 1  # repro: accept t").reproduces) == (True, False)


def test_many_cells_of_which_the_same_is_said_are_one_entry() -> None:
    part = Part("", Outcome.NOT_COMPARABLE, "w", kind="no values recorded")
    cells = [CellVerdict(number, "x", [part]) for number in range(1, 7)]
    cells.append(CellVerdict(7, "x", [Part("s", Outcome.NOT_COMPARABLE, kind="socket.socket")]))
    told = summary(NotebookVerdict("a.ipynb", 1, 1, cells)).text
    assert told.endswith("cells 1, 2, 3 and 3 more (no values recorded), cell 7 `s` (socket.socket)")


def test_several_notebooks_are_ticked_only_if_all_of_each_was_compared() -> None:
    whole = compare("n", [run_of({"x": held_as("1")})] * 2)
    part = compare("n", [run_of({"s": held_as("1", OPAQUE)})] * 2)
    assert overall([whole, whole]).text == "✓ 2 of 2 notebooks reproduced"
    assert overall([whole, part]).text == "≈ 1 of 2 notebooks reproduced, 1 the same as far as can be compared"
    assert overall([whole, replace(part, is_strict=True)]).text.startswith("⚠ 1 of 2 notebooks reproduced, 1 not comp")


def test_only_the_names_that_a_cell_changed_are_told_of_it() -> None:
    found = compare("n", [run({"a": "1"}, {"b": "2"})] * 2)
    assert [[part.name for part in cell.values] for cell in found.cells] == [["a"], ["b"]]


def test_runs_that_agree_are_counted() -> None:
    same, other = run({"a": "1"}), run({"a": "2"})
    assert compare("n", [same, same, other, same]).agreed == 3
    assert compare("n", [same, run(error="it died")]).outcome is Outcome.FAILED


def test_a_distance_from_an_earlier_value_is_none_of_this_one() -> None:
    """GIVEN one run that goes on to another value WHEN the other keeps its close one THEN they are not close."""
    near = {"at": "", "dtype": "float", "shape": [], "differing": 1, "size": 1, "first": [], "max_abs": 1e-12}
    near |= {"max_ulp": 3, "is_close": True}
    first, second = run({"x": "1"}, {"x": "100"}), run({"x": "2"}, {})
    second.cells[0] = CellRun("x", [], {"x": {**second.cells[0].changed["x"], "distance": near, "from": "1"}})
    found = compare("n", [first, second], Tolerance(rtol=1e-6))
    assert [cell.outcome for cell in found.cells] == [Outcome.CLOSE, Outcome.DIFFERS]


@pytest.mark.parametrize(
    ("one", "other", "is_close"),
    [
        ("0.12345", "0.12346", True),
        ("0.9", "1.0", False),
        ("1e-03", "2e-03", False),
        ("3.", "4.", False),
        ("7", "8", False),
    ],
)
def test_printed_numbers_are_close_but_for_a_last_digit_that_is_a_trifle(
    one: str, other: str, *, is_close: bool
) -> None:
    part = output("stdout", [f"x = {one}", f"x = {other}"], Tolerance(rtol=1e-9))
    assert (part.outcome is Outcome.CLOSE) is is_close


ADDRESSES = [
    ("{0x7F6A00000010: 1}", "{0x7F6B00000020: 1}", "d = {id(a): 1}", Outcome.NOISE),
    ("{0x7F6A00000010: 1}", "{0x7F6B00000020: 2}", "d = {id(a): 1}", Outcome.DIFFERS),
    ("{0x7F6A00000010: 1}", "{0x7F6B00000020: 1}", "d = {draw(): 1}", Outcome.DIFFERS),
    ("[0x7F6A00000010, 3]", "[0x7F6B00000020, 3]", "d = [id(a), 3]", Outcome.NOISE),
    ("[0x7F6A00000010, 3]", "[0x7F6B00000020, 4]", "d = [id(a), 3]", Outcome.DIFFERS),
    ("17", "33", "d = id(a) % 64 + 1", Outcome.DIFFERS),
]


@pytest.mark.parametrize(("one", "other", "source", "outcome"), ADDRESSES)
def test_addresses_from_id_are_noise_and_nothing_else_is(one: str, other: str, source: str, outcome: Outcome) -> None:
    runs = [run_of({"d": held_as(text, small={"text": text})}, source=source) for text in (one, other)]
    assert compare("n", runs).outcome is outcome
    exact = compare("n", runs, Tolerance(exact=True))
    assert exact.outcome is Outcome.DIFFERS
