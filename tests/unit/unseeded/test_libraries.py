"""Generators that a library makes without a seed, inside a function that the user's line called."""

from __future__ import annotations

import copy
import pickle
import tempfile
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans
from sklearn.model_selection import train_test_split

import repro_magic
from repro_magic.exceptions import UnseededGeneratorError
from repro_magic.journal import CellDraws
from repro_magic.unseeded import sources
from repro_magic.unseeded.libraries import LibraryDraw
from repro_magic.unseeded.sources import Sources
from repro_magic.views.ledger import ledger

MATRIX = sparse.diags(np.arange(1.0, 61.0)).tocsr()
POINTS = np.arange(40.0).reshape(20, 2)


def asked(run: Callable[[], object]) -> list[str]:
    """What is listed of a stretch of code, of which no finding is made."""
    found = Sources()
    found.open()
    run()
    found.close()
    assert found.findings() == []
    return [one.function for one in found.libraries()]


def test_the_function_that_the_line_called_is_named_as_users_write_it() -> None:
    assert asked(lambda: [eigsh(MATRIX, k=2), eigsh(MATRIX, k=3)]) == ["scipy.sparse.linalg.eigsh"]
    assert asked(lambda: stats.qmc.Sobol(2)) == ["scipy.stats.qmc.Sobol"]


@pytest.mark.parametrize(
    "run",
    [
        lambda: eigsh(MATRIX, k=2, v0=np.ones(60)),
        lambda: eigsh(MATRIX, k=2, rng=3),
        lambda: stats.norm.rvs(size=3),
        lambda: stats.norm.rvs(size=3, random_state=3),
        lambda: KMeans(2, n_init=1, random_state=3).fit(POINTS),
        lambda: KMeans(2, n_init=1).fit(POINTS),
        lambda: train_test_split(POINTS, random_state=1),
        lambda: pd.DataFrame({"a": [1, 2, 3]}).sample(2, random_state=4),
        lambda: tempfile.mkdtemp(),
        lambda: uuid.uuid5(uuid.NAMESPACE_URL, "x"),
        lambda: list(torch.utils.data.DataLoader(range(4), shuffle=True)),  # type: ignore[arg-type]
        lambda: copy.deepcopy(np.random.default_rng(1)),
        lambda: pickle.loads(pickle.dumps([np.random.RandomState(1), np.random.default_rng(2)])),
    ],
)
def test_what_has_a_seed_or_matters_to_nobody_is_not_listed(run: Callable[[], object]) -> None:
    assert asked(run) == []


@pytest.fixture
def _strict() -> Iterator[None]:
    sources.refuse_unseeded()
    yield
    sources.allow_unseeded()


@pytest.mark.usefixtures("_strict")
def test_strict_stops_it_and_names_the_parameter() -> None:
    with pytest.raises(UnseededGeneratorError, match=r"scipy\.sparse\.linalg\.eigsh, called at line \d+") as caught:
        eigsh(MATRIX, k=2)
    assert caught.value.remedy == "Pass rng= or v0=."
    eigsh(MATRIX, k=2)  # repro: accept eigsh
    eigsh(MATRIX, k=2, rng=3)
    KMeans(2, n_init=1, random_state=3).fit(POINTS)
    tempfile.mkdtemp()


def test_ledger_and_status_have_one_line_with_the_cells() -> None:
    made = LibraryDraw("scipy.sparse.linalg.eigsh", ("rng",))
    cells = [CellDraws(name, None, (), (), str, [made]) for name in ("In[3]", "In[5]")]
    line = "○ scipy.sparse.linalg.eigsh created an unseeded generator in In[3], In[5]. Pass rng=."
    assert ledger(cells).text() == line
    with repro_magic.watch(warn=False) as report:
        eigsh(MATRIX, k=2)
    assert report.findings == []
