"""A form that is recognised is the same form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro_magic.ops.tracing.signature import CachedSignature, signature_of

DTYPES = [torch.float32, torch.float64, torch.int64]


@st.composite
def tensors(draw: Any) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    made = torch.zeros(shape, dtype=draw(st.sampled_from(DTYPES)))
    change = draw(st.sampled_from(["none", "transpose", "expand", "parameter", "grad"]))
    if change == "transpose":
        return made.T if made.dim() == 2 else made
    if change == "expand":
        return made[..., None].expand(*shape, 2)
    if change == "parameter" and made.is_floating_point():
        return torch.nn.Parameter(made)
    return made.requires_grad_(made.is_floating_point()) if change == "grad" else made


# What an argument of an overload can be: a schema does not leave open whether it is a tensor or a number.
OPTIONAL = st.one_of(tensors(), st.none())
ARGUMENTS = [OPTIONAL, st.integers(0, 2), st.one_of(st.floats(0, 1), st.none()), st.lists(OPTIONAL, max_size=2)]
SIGNATURES = st.lists(st.sampled_from(ARGUMENTS), max_size=4)
CALLS = SIGNATURES.flatmap(lambda kinds: st.tuples(*kinds))
PAIRS = SIGNATURES.flatmap(lambda kinds: st.tuples(st.tuples(*kinds), st.tuples(*kinds)))


def known(args: tuple[Any, ...]) -> CachedSignature | None:
    return None if sum(isinstance(one, list) for one in args) > 1 else CachedSignature(args)


@given(PAIRS)
def test_what_fits_has_the_same_form(calls: tuple[tuple[Any, ...], tuple[Any, ...]]) -> None:
    first, second = calls
    found = known(first)
    if found is not None and found.fits(second):
        assert signature_of(first) == signature_of(second)


@given(CALLS)
def test_a_call_like_it_fits(args: tuple[Any, ...]) -> None:
    found = known(args)
    like = tuple(list(one) if isinstance(one, list) else one for one in args)
    assert found is None or found.fits(like)


def test_nothing_of_a_call_is_kept_alive() -> None:
    import weakref

    tensor = torch.zeros(3)
    gone = weakref.ref(tensor)
    found = CachedSignature((tensor, [tensor]))
    del tensor
    assert gone() is None
    assert found.fits((torch.zeros(3), [torch.zeros(3)]))


def test_layouts_are_told_apart() -> None:
    dense = torch.eye(2)
    assert not CachedSignature((dense.to_sparse(),)).fits((dense,))
    assert not CachedSignature((dense,)).fits((dense.to_sparse(),))


def test_several_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="several lists"):
        CachedSignature(([1], [2]))
