"""Digests: equal if, and only if, every bit is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from digest_makers import BASE, DIFFERENT, DTYPES, SEEN_AS, SHAPES, figure, linear, made
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from repro_magic.proof.digest import digest as digests
from repro_magic.proof.digest.digest import digest


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    with np.errstate(all="ignore"):
        return {name: digest(make()).hex for name, make in DIFFERENT.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DIFFERENT)
def test_equal_bits_have_equal_digests_and_no_others(name: str, found: dict[str, str]) -> None:
    assert digest(DIFFERENT[name]()).hex == found[name]
    assert digest(DIFFERENT[name]()).gaps == ()
    assert [other for other, value in found.items() if value == found[name]] == [name]


def test_digests_hold_across_processes_with_other_string_hashes() -> None:
    code = (
        "from repro_magic.proof.digest.digest import digest; print(digest([{'a', 'b', 'c'}, {'k': 1.5}, 'text']).hex)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {digest([{"a", "b", "c"}, {"k": 1.5}, "text"]).hex + "\n"}


@pytest.mark.parametrize(
    ("view", "copy"),
    [
        (BASE.transpose(0, 2), BASE.transpose(0, 2).contiguous()),
        (BASE[:, ::2], BASE[:, ::2].clone()),
        (BASE[0, 0, 0].expand(5), torch.zeros(5)),
        (BASE[:1, 0, 0], torch.zeros(1)),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j])),
        (torch.tensor([1 + 2j]).conj().imag, torch.tensor([-2.0])),
        (nn.Parameter(BASE), BASE),
        (BASE.clone().requires_grad_(), BASE),
        (BASE.numpy().T, np.ascontiguousarray(BASE.numpy().T)),
        (BASE.numpy().astype(">f4"), BASE.numpy()),
        (np.asfortranarray(BASE.numpy()), BASE.numpy()),
    ],
)
def test_neither_layout_nor_gradient_count(view: Any, copy: Any) -> None:
    assert digest(view).hex == digest(copy).hex


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float32, torch.float64, torch.complex128, torch.uint16, torch.int64])
def test_a_plain_tensor_has_the_digest_that_a_walk_gives(dtype: torch.dtype) -> None:
    for shape in SHAPES:
        for see in SEEN_AS.values():
            try:
                value = see(made(dtype, shape))
            except RuntimeError:  # only a complex one has an imaginary part, and not every dtype can be multiplied
                continue
            bits = digests._without_walk(value)
            assert bits is not None
            assert digests._walked(value) == (bits, (), b"")
            assert digest(value).hex == digest(value.detach().resolve_conj().resolve_neg().clone()).hex


@pytest.mark.parametrize("name", ["sparse", "sparse csr", "quantized", "nested", "list", "module"])
@pytest.mark.filterwarnings("ignore")
def test_what_has_parts_takes_a_walk(name: str) -> None:
    assert digests._without_walk(DIFFERENT[name]()) is None


@given(st.lists(st.floats(width=32), min_size=1, max_size=8), st.integers(0, 31), st.integers(0, 7))
def test_one_bit_makes_another_digest(values: list[float], bit: int, place: int) -> None:
    value = np.array(values, np.float32)
    changed = value.copy()
    changed.view(np.uint32)[place % len(values)] ^= np.uint32(1 << bit)
    assert digest(torch.from_numpy(value)).hex != digest(torch.from_numpy(changed)).hex
    assert digest(value).hex != digest(changed).hex


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda parts: st.one_of(st.lists(parts), st.dictionaries(st.text(), parts)),
    max_leaves=20,
)


@given(JSON, JSON)
def test_structures_are_told_apart(first: Any, second: Any) -> None:
    assert (digest(first).hex == digest(second).hex) == (repr(first) == repr(second))


def test_looking_changes_nothing() -> None:
    drawn = figure(1)
    canvas, dpi = drawn.canvas, drawn.dpi
    model = linear(1)
    before = torch.get_rng_state().tolist(), [one._version for one in model.parameters()]
    digest([drawn, model, BASE.mT, torch.eye(3).to_sparse()])
    assert (drawn.canvas, drawn.dpi) == (canvas, dpi)
    assert (torch.get_rng_state().tolist(), [one._version for one in model.parameters()]) == before


def test_it_tells_kind_dtype_and_shape() -> None:
    found = digest(BASE)
    assert (found.kind, found.dtype, found.shape) == ("torch.Tensor", "torch.float32", (2, 3, 4))
    assert (digest("a").dtype, digest("a").shape) == (None, None)
