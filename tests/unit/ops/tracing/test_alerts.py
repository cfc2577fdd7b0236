"""PyTorch's own warnings become findings."""

from __future__ import annotations

import warnings

import pytest
from watched import line_of

import repro_magic
from repro_magic.findings import FindingStatus

pytestmark = pytest.mark.usefixtures("no_compilation_before")


@pytest.mark.filterwarnings("always:mine_forward")
def test_nested_watches_are_both_told_what_pytorch_warns_of() -> None:
    def warn() -> None:
        warnings.warn("mine_forward does not have a deterministic implementation, but you set ...", stacklevel=1)

    with repro_magic.watch(warn=False) as outer, repro_magic.watch(warn=False) as inner:
        warn()
    assert [[one.op for one in report.findings] for report in (outer, inner)] == [["mine_forward"]] * 2


def test_an_alert_that_no_entry_knows_becomes_a_finding() -> None:
    """GIVEN a PyTorch that alerts of an op we never heard of WHEN it warns THEN that is not lost."""
    text = "brand_new_kernel does not have a deterministic implementation, but you set something."
    with pytest.warns(UserWarning, match="another") as others, repro_magic.watch(warn=False) as report:  # noqa: PT031
        warnings.warn(text, UserWarning, stacklevel=1)  # alert line
        warnings.warn("another matter", UserWarning, stacklevel=1)
    assert [str(one.message) for one in others] == ["another matter"]
    (found,) = report.findings
    assert (found.op, found.status, found.line) == ("brand_new_kernel", FindingStatus.ACTIVE, line_of("alert line"))
