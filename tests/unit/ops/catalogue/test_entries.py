"""The table of flagged ops: whole, and true to the installed PyTorch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from alert_sites import READABLE_HERE, alert_names
from calls import ALL, hazards_here

from repro_magic.ops.catalogue.entries import CATALOGUE
from repro_magic.ops.catalogue.lookup import lookup
from repro_magic.ops.catalogue.model import Entry

ENTRY = {entry.op: entry for entry in ALL}


# The table itself


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.op)
def test_every_entry_is_whole(entry: Entry) -> None:
    assert entry.hazards
    assert entry.names
    assert len(set(entry.names)) == len(entry.names)
    assert entry.link.startswith("https://")
    for hazard in entry.hazards:
        assert hazard.devices
        assert set(hazard.devices) <= {"cpu", "cuda", "mps"}
        for text in (hazard.why, hazard.remedy.in_cell, hazard.remedy.in_script):
            assert text[0].isupper() or text.startswith("cuDNN"), text
            assert text.endswith("."), text
            assert 10 <= len(text) <= 120, text
        if hazard.since and hazard.until:
            assert hazard.since < hazard.until


def test_a_name_belongs_to_one_entry_of_each_direction() -> None:
    for name, entries in lookup().items():
        assert len({entry.direction for entry in entries}) == len(entries), name
    assert len({entry.op for entry in ALL}) == len(ALL)


def test_an_alert_belongs_to_one_entry() -> None:
    alerts = [alert for entry in ALL for alert in entry.alerts]
    assert len(set(alerts)) == len(alerts)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.op)
def test_every_name_exists_in_this_torch(entry: Entry) -> None:
    if hazards_here(entry):
        for name in entry.names:
            assert getattr(torch.ops.aten, name).overloads(), name


def test_what_runs_in_every_training_step_is_hot() -> None:
    for name in ("convolution", "convolution_backward", "_cudnn_rnn", "resize_", "bmm", "avg_pool3d_backward"):
        assert all(entry.hot for entry in lookup()[name]), name
    for name in ("index_put_", "index_add_", "scatter_add_", "cumsum", "put_", "bincount"):
        assert not any(entry.hot for entry in lookup()[name]), name


# Guard 1: the installed documentation

BACKWARD_ON_CUDA = "when attempting to differentiate a CUDA tensor"
ON_CUDA = "when called on CUDA tensor"
ON_A_CUDA = "when called on a CUDA tensor"
# What the documentation says, word for word, and the entries that say it here. A line that is new or changed must be
# read by somebody: then the entry is put right, and the line added here.
DOCUMENTED: dict[str, tuple[str, ...]] = {
    **{f"torch.nn.Conv{kind}d {ON_CUDA}": ("convolution", "convolution_backward") for kind in "123"},
    **{f"torch.nn.ConvTranspose{kind}d {ON_CUDA}": ("convolution", "convolution_backward") for kind in "123"},
    **{f"torch.nn.ReplicationPad{n}d {BACKWARD_ON_CUDA}": (f"replication_pad{n}d_backward",) for n in (1, 2, 3)},
    **{f"torch.nn.ReflectionPad{n}d {BACKWARD_ON_CUDA}": (f"reflection_pad{n}d_backward",) for n in (1, 2, 3)},
    **{f"torch.nn.AdaptiveAvgPool{n}d {BACKWARD_ON_CUDA}": (f"_adaptive_avg_pool{n}d_backward",) for n in (2, 3)},
    **{f"torch.nn.FractionalMaxPool{n}d {BACKWARD_ON_CUDA}": (f"fractional_max_pool{n}d_backward",) for n in (2, 3)},
    f"torch.nn.AdaptiveMaxPool2d {BACKWARD_ON_CUDA}": ("adaptive_max_pool2d_backward",),
    f"torch.nn.AvgPool3d {BACKWARD_ON_CUDA}": ("avg_pool3d_backward",),
    f"torch.nn.MaxPool3d {BACKWARD_ON_CUDA}": ("max_pool3d_with_indices_backward",),
    f"torch.nn.CTCLoss {BACKWARD_ON_CUDA}": ("_ctc_loss_backward",),
    f"torch.nn.Embedding {BACKWARD_ON_CUDA}": ("embedding_dense_backward",),
    f"torch.nn.EmbeddingBag {BACKWARD_ON_CUDA} when mode='max'": ("_embedding_bag_dense_backward",),
    "torch.nn.MaxUnpool1d": ("max_unpool2d",),
    "torch.nn.MaxUnpool2d": ("max_unpool2d",),
    "torch.nn.MaxUnpool3d": ("max_unpool3d",),
    f"torch.nn.NLLLoss {ON_A_CUDA}": ("nll_loss2d",),
    f"torch.nn.functional.grid_sample {BACKWARD_ON_CUDA}": ("grid_sampler_2d_backward", "grid_sampler_3d_backward"),
    f"torch.nn.functional.interpolate {BACKWARD_ON_CUDA} and one of the following modes is used: "
    "- linear - bilinear - bicubic - trilinear": (
        "upsample_linear1d_backward",
        "upsample_bilinear2d_backward",
        "upsample_bicubic2d_backward",
        "upsample_trilinear3d_backward",
    ),
    "torch.bmm when called on sparse-dense CUDA tensors": ("bmm",),
    "torch.Tensor.__getitem__ when attempting to differentiate a CPU tensor and the index is a list of tensors": (
        "index_put_",
    ),
    "torch.Tensor.index_put with accumulate=False": ("index_put_",),
    "torch.Tensor.index_put with accumulate=True when called on a CPU tensor": ("index_put_",),
    "torch.Tensor.put_ with accumulate=True when called on a CPU tensor": ("put_",),
    "torch.Tensor.put_ when accumulate=False": ("put_",),
    "torch.Tensor.put_ when accumulate=True and called on a CUDA tensor": ("put_",),
    f"torch.Tensor.scatter_add_ {ON_A_CUDA}": ("scatter_add_",),
    f"torch.gather {ON_A_CUDA} that requires grad": ("scatter_add_",),
    f"torch.index_add {ON_CUDA}": ("index_add_",),
    f"torch.index_select {BACKWARD_ON_CUDA}": ("index_add_",),
    f"torch.repeat_interleave {BACKWARD_ON_CUDA}": ("index_add_",),
    "torch.Tensor.index_copy when called on a CPU or CUDA tensor": ("index_copy_",),
    "torch.Tensor.scatter when src type is Tensor and called on CUDA tensor": ("scatter_",),
    "torch.Tensor.scatter_reduce when reduce='sum' or reduce='mean' and called on CUDA tensor": ("scatter_reduce_",),
    "torch.Tensor.scatter_reduce when reduce='prod' and called on CUDA tensor": ("scatter_reduce_",),
    f"torch.histc {ON_A_CUDA}": ("histc",),
    f"torch.bincount {ON_A_CUDA} and weights tensor is given": ("bincount",),
    f"torch.kthvalue {ON_A_CUDA}": ("kthvalue",),
    f"torch.median with indices output {ON_A_CUDA}": ("median",),
    f"torch.cumsum {ON_A_CUDA} when dtype is floating point or complex": ("cumsum",),
    "torch.Tensor.resize_ when called with a quantized tensor": ("resize_",),
}


def documented(docstring: str) -> list[str]:
    """The items of both lists, without mark-up, each on one line."""
    lists = docstring.partition("deterministically when ``mode=True``:")[2].partition("In addition,")[0]
    items = re.split(
        r"^\s*\* ", lists.replace("The following normally-nondeterministic", "\n* END"), flags=re.MULTILINE
    )
    plain = (" ".join(re.sub(r":\w+:|`", "", item).split()) for item in items[1:])
    return [item for item in plain if not item.startswith("END")]


def test_what_the_installed_documentation_lists_is_covered() -> None:
    """GIVEN the docstring of the switch WHEN an item is new or reworded THEN this fails: the catalogue must be read."""
    items = documented(torch.use_deterministic_algorithms.__doc__ or "")
    assert len(items) > 40, "the docstring has another form: teach this test to read it"
    assert [item for item in items if item not in DOCUMENTED] == []
    assert {op for ops in DOCUMENTED.values() for op in ops} <= set(ENTRY)


def test_a_new_item_in_the_documentation_would_be_seen() -> None:
    text = "deterministically when ``mode=True``:\n    * :func:`torch.brand_new` here\n   and there\n\nIn addition, x"
    assert documented(text) == ["torch.brand_new here and there"]


# Guard 2: the installed libraries


@pytest.mark.skipif(not READABLE_HERE, reason="machine code of Linux on x86-64 only")
def test_every_alert_in_the_installed_libraries_is_listed() -> None:
    """GIVEN the shared libraries WHEN one alerts under a name of no entry THEN this fails.

    A CPU build holds four alerts; only a CUDA build holds them all.
    """
    libraries = sorted((Path(torch.__file__).parent / "lib").glob("libtorch_c*.so"))
    found = set().union(*(alert_names(library) for library in libraries))
    assert {"put_", "max_unpooling2d_forward_out", "quantized_resize_cpu_"} <= found, "the reader has gone blind"
    assert found - {alert for entry in ALL for alert in entry.alerts} == set()
