"""A profile of watched code."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import repro_magic

pytestmark = pytest.mark.usefixtures("no_compilation_before")


@pytest.mark.usefixtures("two_threads")
def test_a_profile_holds_the_users_ops_only() -> None:
    """GIVEN flagged ops whose values are looked at WHEN a profile is taken THEN it is that of a run without us."""

    def work() -> None:
        x, index, ones = torch.zeros(20_000), torch.randint(0, 100, (20_000,)), torch.ones(20_000)
        for _ in range(3):
            x.index_add_(0, index, ones)
        x[index] = ones
        x.scatter_add_(0, index, ones)
        torch.bincount(index)
        torch.nn.Embedding(10, 4)(index % 10).sum().backward()

    def profiled() -> Counter[str]:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            work()
        return Counter(one.key for one in profile.events() or ())

    work()
    bare = profiled()
    with repro_magic.watch(warn=False) as report:
        watched = profiled()
    assert len(report.findings) >= 2
    assert watched - bare == bare - watched == Counter()
    assert sum(bare.values()) > 50
