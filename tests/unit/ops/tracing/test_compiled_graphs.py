"""Flagged ops in compiled graphs: reported whenever the graph runs, and compiled once."""

from __future__ import annotations

import warnings

import pytest
import torch
from watched import MANY, REPEATED, seen

import repro_magic
from repro_magic.findings import FindingStatus

pytestmark = pytest.mark.usefixtures("no_compilation_before")


@pytest.mark.usefixtures("two_threads")
def test_an_eager_call_does_not_hide_what_a_graph_holds() -> None:
    def write(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        x = x * 2
        x[REPEATED] = values
        return x + 1

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run = torch.compile(write)
        with repro_magic.watch(warn=False) as report:
            run(torch.zeros(7), torch.rand(MANY))  # repro: accept index_put_
            torch.zeros(7).index_put_((torch.tensor([0, 0]),), torch.rand(2))
    assert {(one.status.value, one.graph, one.accepted) for one in report.ops} == {
        ("active", True, True),
        ("latent", False, False),
    }


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_compiled_graph_holds_is_told_whenever_it_runs() -> None:
    """GIVEN Inductor WHEN it compiles a graph, and when that runs again THEN its flagged op is reported."""

    def write(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        x = x * 2
        x[REPEATED] = values
        return x + 1

    torch.compiler.reset()
    run = torch.compile(write)
    values = torch.rand(MANY)
    for round_number in range(3):
        with repro_magic.watch(warn=False) as report:
            run(torch.zeros(7), values)
        found = [one for one in report.ops if one.graph]
        assert [(one.op, one.status, one.count) for one in found] == [("index_put_", FindingStatus.ACTIVE, 0)], (
            round_number
        )
    assert not [one for one in seen(lambda: torch.rand(3) + 1) if one.graph]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_watching_does_not_compile_a_function_twice() -> None:
    """GIVEN hot ops around it WHEN a compiled function runs in several watches THEN it was compiled once."""
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    run = torch.compile(lambda x: torch.dropout(x, 0.5, True) + 1, backend="aot_eager")
    for _ in range(3):
        with repro_magic.watch(warn=False):
            for _ in range(100):
                torch.dropout(torch.rand(3), 0.5, True)
            run(torch.rand(3))
            run(torch.rand(3))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
