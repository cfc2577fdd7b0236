"""Figures that come out the same, byte for byte."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from repro_magic.proof.kernel.figures import StableFigures


@pytest.fixture
def stable() -> Iterator[StableFigures]:
    figures = StableFigures()
    figures.open()
    yield figures
    figures.close()


def saved(kind: str, **named: Any) -> bytes:
    figure = Figure()
    figure.subplots().plot([1, 2, 3], [3, 1, 2], clip_on=True)
    written = io.BytesIO()
    figure.savefig(written, format=kind, **named)
    return written.getvalue()


def test_without_us_two_svgs_differ() -> None:
    assert saved("svg") != saved("svg"), "else there is nothing to do any more"


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_two_figures_are_the_same_bytes(stable: StableFigures, kind: str) -> None:
    stable.open()
    assert saved(kind) == saved(kind)
    assert mpl.rcParams["svg.hashsalt"] is None, "nothing of the user's is changed"


def test_no_date_is_in_them_unless_the_user_gives_one(stable: StableFigures) -> None:
    assert stable
    assert b"<dc:date>" not in saved("svg")
    assert b"<dc:date>2020" in saved("svg", metadata={"Date": "2020-01-01"})
    assert b"CreationDate" not in saved("pdf")


def test_the_users_own_salt_counts(stable: StableFigures) -> None:
    assert stable
    ours = saved("svg")
    with mpl.rc_context({"svg.hashsalt": "mine"}):
        assert saved("svg") == saved("svg") != ours


def test_matplotlib_is_as_it_was_afterwards() -> None:
    functions = FigureCanvasSVG.print_svg, FigureCanvasPdf.print_pdf
    before = [one.__code__ for one in functions]
    figures = StableFigures()
    figures.open()
    assert (FigureCanvasSVG.print_svg, FigureCanvasPdf.print_pdf) == functions
    figures.close()
    assert [one.__code__ for one in functions] == before
    assert saved("svg") != saved("svg")
