"""The two steps that make a deterministic cell: the first line's sentinel, and the `with` around the rest."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_magic.exceptions import UnwrappedCellError
from repro_magic.notebook import rewriting
from repro_magic.notebook.rewriting import CellRewriter, as_written, mark, sentinel

LINES = st.text(
    alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
)


@given(line=LINES, body=st.lists(LINES))
def test_only_the_first_line_is_replaced(line: str, body: list[str]) -> None:
    cell = [f"%%deterministic {line}\n", *(f"{text}\n" for text in body)]
    marked = mark(cell)
    first_text = next((text for text in body if text.strip()), "")
    if not first_text.startswith(("%%", " ", "\t")) and "__future__" not in "".join(body):
        assert marked[1:] == cell[1:]
        assert as_written(marked) == [f"%%deterministic {line.rstrip().lstrip(SPACES)}".rstrip() + "\n", *cell[1:]]
    assert mark(list(cell)) == marked, "it must be pure"


@pytest.mark.parametrize(
    "cell",
    [
        [],
        ["x = 1\n"],
        ["%%deterministic?\n"],
        ["%%deterministic_more\n", "x\n"],
        ["%%time\n", "x\n"],
        ["\n", "%%deterministic"],
    ],
)
def test_other_cells_are_left_alone(cell: list[str]) -> None:
    assert mark(cell) == cell


def test_another_magic_below_becomes_its_own_call() -> None:
    assert mark(["%%deterministic\n", "\n", "%%time\n", "x\n"]) == [
        sentinel("") + "\n",
        "\n",
        "get_ipython().run_cell_magic('time', '', 'x\\n')\n",
    ]


SPACES = " \t"
FUTURE = "from __future__ import annotations"


@pytest.mark.parametrize(
    ("body", "row", "marked"),
    [
        ([FUTURE, "x"], 1, f"{FUTURE}; {sentinel('')}"),
        (["# why", "", FUTURE + "  # here", "x"], 3, f"{FUTURE}; {sentinel('')}  # here"),
        (['"""Text', 'of two lines."""', FUTURE, "x"], 3, f"{FUTURE}; {sentinel('')}"),
        ([f"{FUTURE}; x = 1"], 1, f"{FUTURE}; {sentinel('')}; x = 1"),
        ([FUTURE, "from __future__ import (", "  division)", "x"], 3, f"  division); {sentinel('')}"),
        ([FUTURE, "%matplotlib inline", "!ls"], 1, f"{FUTURE}; {sentinel('')}"),
    ],
    ids=["first", "comments", "docstring", "same line", "several lines", "magics below"],
)
def test_future_imports_stay_above_the_sentinel(body: list[str], row: int, marked: str) -> None:
    """The text must stay Python: IPython reads it to see whether the cell awaits."""
    cell = [f"{line}\n" for line in ["%%deterministic", *body]]
    found = mark(cell)
    assert found[row] == f"{marked}\n"
    assert len(found) == len(cell)
    assert as_written(found) == cell


def test_an_indented_body_is_taken_as_ipython_takes_an_indented_cell() -> None:
    assert mark(["%%deterministic\n", "\n", "    if x:\n", "        y\n"])[1:] == ["\n", "if x:\n", "    y\n"]


@contextmanager
def noted(line: str) -> Iterator[None]:
    EVENTS.append(f"enter {line}")
    yield
    EVENTS.append("exit")


EVENTS: list[str] = []


@pytest.fixture
def rewriter() -> Iterator[CellRewriter]:
    EVENTS.clear()
    made = CellRewriter(noted, lambda: "last_expr")
    yield made
    made.close()


def test_the_body_runs_inside_and_its_value_comes_after(rewriter: CellRewriter) -> None:
    tree = rewriter.visit(ast.parse("".join(mark(["%%deterministic -x\n", "EVENTS.append('body')\n", "40 + 2\n"]))))
    *statements, last = tree.body
    namespace = {"EVENTS": EVENTS}
    exec(compile(ast.Module(statements, []), "cell", "exec"), namespace)
    assert EVENTS == ["enter -x", "body", "exit"]
    assert eval(compile(ast.Expression(last.value), "cell", "eval"), namespace) == 42
    assert set(namespace) == {"EVENTS", "__builtins__"}, "no name of ours in the user's namespace"
    assert rewriting._values == {}, "no value is kept alive"


def test_lines_are_those_of_the_cell(rewriter: CellRewriter) -> None:
    tree = rewriter.visit(
        ast.parse("".join(mark(["%%deterministic\n", "a = 1\n", "\n", "if a:\n", "    b = 2\n", "b\n"])))
    )
    scope, value = tree.body
    assert [node.lineno for node in scope.body] == [2, 4, 6]
    assert (scope.lineno, value.lineno) == (1, 6)


def test_a_fault_leaves_the_sentinel_to_speak(rewriter: CellRewriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython unregisters an AST transformer that raises; ours leaves the cell alone, and the sentinel then raises."""
    monkeypatch.setattr(rewriter, "_wrapped", lambda *_: 1 / 0)
    tree = ast.parse("".join(mark(["%%deterministic\n", "x\n"])))
    assert rewriter.visit(tree) is tree


def test_the_body_below_future_imports_runs_inside(rewriter: CellRewriter) -> None:
    cell = ["%%deterministic\n", '"""Text."""\n', f"{FUTURE}; EVENTS.append('body')\n", "def f(a: Unknown): pass\n"]
    tree = rewriter.visit(ast.parse("".join(mark(cell))))
    namespace: dict[str, object] = {"EVENTS": EVENTS}
    exec(compile(tree, "cell", "exec"), namespace)
    assert EVENTS == ["enter ", "body", "exit"]


def test_a_cell_of_a_session_that_is_gone_says_what_to_do(rewriter: CellRewriter) -> None:
    tree = rewriter.visit(ast.parse("".join(mark(["%%deterministic\n", "x = 1\n"]))))
    rewriter.close()
    with pytest.raises(UnwrappedCellError, match="reload_ext"):
        exec(compile(tree, "cell", "exec"), {})


def test_ordinary_cells_are_the_same_object(rewriter: CellRewriter) -> None:
    for source in ("", "x = 1", "get_ipython().run_cell_magic('time', '', ' ')", "get_ipython().other()"):
        tree = ast.parse(source)
        assert rewriter.visit(tree) is tree
