"""The flagged ops, as data: which may differ between runs, where, on what condition, and what helps.

CUDA and MPS lines are PyTorch's own documentation and alert sites, not measurements.
"""

from __future__ import annotations

from repro_magic.findings import Direction, Remedy
from repro_magic.ops.catalogue import conditions as on
from repro_magic.ops.catalogue import indexing
from repro_magic.ops.catalogue.model import Condition, Effect, Entry, Hazard, always

_DOCS = "https://docs.pytorch.org/docs/stable"
_SWITCH_PAGE = f"{_DOCS}/generated/torch.use_deterministic_algorithms.html"

_ADDED = "Values are added to the same element in no fixed order (atomicAdd), and floating-point sums depend on order."
_OVERWRITTEN = "Several values are written to the same element, and which write comes last varies."
_SPLIT_WRITES = "Threads race to write different values to the same element; which write comes last varies."
_SPLIT_SUMS = "Threads add values to the same element in no fixed order, and floating-point sums depend on order."
_GRADIENTS = "Gradients of the same input element are added in no fixed order (atomicAdd)."
_MULTIPLIED = (
    "Values are multiplied into the same element in no fixed order, and floating-point results depend on order."
)
_TIES = "Among equal values, which index is returned varies."
_ALERTED = "PyTorch alerts whenever this op runs, but the result of this call is deterministic."

_under = Remedy.under_deterministic
_UNDER_SWITCH = Remedy(
    "Run the cell under %%deterministic: PyTorch then uses a deterministic kernel.",
    "Run it under repro_magic.deterministic(): PyTorch then uses a deterministic kernel.",
)
_FORWARD_TOO = _under("Run the forward pass under {deterministic}, too: the kernel is chosen there.")
_ON_CPU = Remedy("Compute it on the CPU.")
_NOTHING = Remedy("Nothing to do.")
_ONE_INDEX = Remedy("Use each index at most once, or compute it on the CPU.")


def _page(name: str) -> str:
    """A function's or class's page in PyTorch's documentation."""
    return f"{_DOCS}/generated/{name}.html"


def _alert_only(*devices: str, condition: Condition = always) -> Hazard:
    """PyTorch alerts although the result is deterministic; catches what the hazards before it do not match."""
    return Hazard(devices, _ALERTED, _NOTHING, Effect.ALERTS, condition, differs=False)


def _handled(why: str, condition: Condition = always, *, devices: tuple[str, ...] = ("cuda",)) -> Hazard:
    """The switch gives it a deterministic path."""
    return Hazard(devices, why, _UNDER_SWITCH, Effect.HANDLES, condition)


def _cuda(why: str, remedy: Remedy, condition: Condition = always) -> tuple[Hazard, ...]:
    """No deterministic path on CUDA; where the condition does not hold, PyTorch still alerts."""
    hazard = Hazard(("cuda",), why, remedy, Effect.ALERTS, condition)
    return (hazard,) if condition is always else (hazard, _alert_only("cuda"))


def _mps(why: str, remedy: Remedy = _ON_CPU, condition: Condition = always) -> Hazard:
    """No deterministic path on Apple's GPUs."""
    return Hazard(("mps",), why, remedy, Effect.ALERTS, condition)


def _backward(  # noqa: PLR0913 - the columns of a table
    op: str, public: str, remedy: Remedy, alerts: tuple[str, ...], *, condition: Condition = always, hot: bool = False
) -> Entry:
    """A backward op that adds gradients by atomicAdd on CUDA, with a single aten name."""
    hazards = _cuda(_GRADIENTS, remedy, condition)
    return Entry(op, public, Direction.BACKWARD, (op,), hazards, _page(public), alerts, hot=hot)


# Conditions that several entries share.
_ADDS = on.accumulates
_WRITES = on.negated(on.accumulates)
_ROWS_ADD = on.every(on.floating(), indexing.rows_repeat)
_LANES_ADD = on.every(on.floating(), indexing.lanes_repeat)
_PUT_ON_CUDA = on.every(_WRITES, indexing.different("source"), indexing.places_repeat)
_OTHER_THREADS_WRITE = on.split_among_threads(on.elements_of("index"), on.WRITES_IN_ONE_TASK + 1)
_OTHER_THREADS_ADD = on.split_among_threads(on.elements_of("index"), on.SPLIT_FROM)

_INDEXING = (
    Entry(
        op="index_put_",
        public="torch.Tensor.index_put_",  # x[i] = v, and the backward pass of x[i]
        direction=Direction.FORWARD,
        names=(
            "index_put_",
            "index_put",
            "_index_put_impl_",
            "_index_put_impl",
            "_unsafe_index_put",
            "_unsafe_masked_index_put_accumulate",
        ),
        hazards=(
            _handled(
                _SPLIT_WRITES,
                on.every(
                    _WRITES,
                    on.split_among_threads(indexing.elements_written, on.WRITES_IN_ONE_TASK + 1),
                    indexing.different_values,
                    indexing.tuples_repeat,
                ),
                devices=("cpu",),
            ),
            _handled(
                _SPLIT_SUMS,
                on.every(
                    _ADDS,
                    on.single_precision,
                    on.split_among_threads(indexing.elements_written, on.SPLIT_FROM),
                    indexing.different_values,
                    indexing.tuples_repeat,
                ),
                devices=("cpu",),
            ),
            # With accumulate CUDA sorts the indices first, with the switch or without.
            _handled(_OVERWRITTEN, on.every(_WRITES, indexing.different_values, indexing.tuples_repeat)),
            _mps(_ADDED, _ONE_INDEX, on.every(_ADDS, on.floating(), indexing.tuples_repeat)),
            _alert_only("mps", condition=_ADDS),
        ),
        link=_page("torch.Tensor.index_put_"),
    ),
    Entry(
        op="put_",
        public="torch.Tensor.put_",  # and the backward pass of take
        direction=Direction.FORWARD,
        names=("put_", "put"),
        hazards=(
            Hazard(
                ("cpu",),
                _SPLIT_WRITES,
                _under("Use each index at most once, or write x.view(-1)[index] = source under {deterministic}."),
                Effect.ALERTS,
                on.every(_WRITES, _OTHER_THREADS_WRITE, indexing.different("source"), indexing.places_repeat),
            ),
            _alert_only("cpu", condition=_WRITES),
            _handled(
                _SPLIT_SUMS,
                on.every(
                    _ADDS, on.single_precision, _OTHER_THREADS_ADD, indexing.different("source"), indexing.places_repeat
                ),
                devices=("cpu",),
            ),
            Hazard(
                ("cuda",),
                _OVERWRITTEN,
                _under("Use each index at most once, or write x.view(-1)[index] = source under {deterministic}."),
                Effect.ALERTS,
                _PUT_ON_CUDA,
            ),
            Hazard(
                ("cuda",),
                _ADDED,
                Remedy(
                    "Use each index at most once, or write x.view(-1).index_put_((index,), source, accumulate=True)."
                ),
                Effect.ALERTS,
                on.every(_ADDS, on.floating(), indexing.places_repeat),
            ),
            _alert_only("cuda"),
        ),
        link=_page("torch.Tensor.put_"),
        alerts=("put_",),
    ),
    Entry(
        op="index_copy_",
        public="torch.Tensor.index_copy_",
        direction=Direction.FORWARD,
        names=("index_copy_", "index_copy"),
        hazards=(
            _handled(
                _SPLIT_WRITES,
                on.every(
                    on.split_among_threads(on.elements_of("source"), on.SPLIT_FROM),
                    indexing.different("source"),
                    indexing.rows_repeat,
                ),
                devices=("cpu",),
            ),
            _handled(_OVERWRITTEN, on.every(indexing.different("source"), indexing.rows_repeat)),
        ),
        link=_page("torch.Tensor.index_copy_"),
    ),
    Entry(
        op="index_add_",
        public="torch.Tensor.index_add_",  # and the backward pass of index_select and repeat_interleave
        direction=Direction.FORWARD,
        names=("index_add_", "index_add"),
        hazards=(_handled(_ADDED, _ROWS_ADD),),
        link=_page("torch.Tensor.index_add_"),
    ),
    Entry(
        op="index_reduce_",
        public="torch.Tensor.index_reduce_",
        direction=Direction.FORWARD,
        names=("index_reduce_", "index_reduce"),
        hazards=(
            *_cuda(_MULTIPLIED, _ONE_INDEX, on.every(on.equals("reduce", "prod"), _ROWS_ADD))[:1],
            *_cuda(_ADDED, _ONE_INDEX, on.every(on.equals("reduce", "mean"), _ROWS_ADD)),
            _mps(_MULTIPLIED, _ONE_INDEX, on.every(on.equals("reduce", "prod"), _ROWS_ADD)),
            _mps(_ADDED, _ONE_INDEX, on.every(on.equals("reduce", "mean"), _ROWS_ADD)),
            _alert_only("mps", condition=on.equals("reduce", "prod", "mean")),
        ),
        link=_page("torch.Tensor.index_reduce_"),
        alerts=("index_reduce_cuda",),
    ),
    Entry(
        op="scatter_",
        public="torch.Tensor.scatter_",  # and the backward pass of sort, topk and max(dim)
        direction=Direction.FORWARD,
        names=("scatter_", "scatter"),
        hazards=(
            *(
                Hazard(
                    ("cuda",),
                    why,
                    remedy,
                    Effect.ALERTS,
                    on.every(on.given("src"), on.equals("reduce", reduce), _LANES_ADD),
                )
                for reduce, why, remedy in (
                    (
                        "add",
                        _ADDED,
                        Remedy(
                            "Use scatter_add_ and run the cell under %%deterministic.",
                            "Use scatter_add_ and run it under repro_magic.deterministic().",
                        ),
                    ),
                    ("multiply", _MULTIPLIED, _ONE_INDEX),
                )
            ),
            _alert_only("cuda", condition=on.every(on.given("src"), on.given("reduce"))),
            _handled(
                _OVERWRITTEN,
                on.every(
                    on.given("src"), on.negated(on.given("reduce")), indexing.different("src"), indexing.lanes_repeat
                ),
            ),
        ),
        link=_page("torch.Tensor.scatter_"),
        alerts=("scatter_reduce_cuda_kernel",),
    ),
    Entry(
        op="scatter_add_",
        public="torch.Tensor.scatter_add_",  # and the backward pass of gather
        direction=Direction.FORWARD,
        names=("scatter_add_", "scatter_add"),
        hazards=(_handled(_ADDED, _LANES_ADD),),
        link=_page("torch.Tensor.scatter_add_"),
    ),
    Entry(
        op="scatter_reduce_",
        public="torch.Tensor.scatter_reduce_",
        direction=Direction.FORWARD,
        names=("scatter_reduce_", "scatter_reduce"),
        hazards=(
            _handled(_ADDED, on.every(on.equals("reduce", "sum", "mean"), _LANES_ADD)),
            Hazard(
                ("cuda",),
                _MULTIPLIED,
                _ONE_INDEX,
                Effect.ALERTS,
                on.every(on.equals("reduce", "prod"), _LANES_ADD),
            ),
            _alert_only("cuda", condition=on.equals("reduce", "prod")),
            _mps(_ADDED, _ONE_INDEX, on.every(on.equals("reduce", "sum", "mean"), _LANES_ADD)),
            _mps(_MULTIPLIED, _ONE_INDEX, on.every(on.equals("reduce", "prod"), _LANES_ADD)),
        ),
        link=_page("torch.Tensor.scatter_reduce_"),
        alerts=("scatter_reduce_cuda_prod_",),
    ),
)

_COUNTING = (
    Entry(
        op="bincount",
        public="torch.bincount",
        direction=Direction.FORWARD,
        names=("bincount",),
        hazards=(
            Hazard(
                ("cuda",),
                _ADDED,
                _under("Use torch.zeros(size, device=x.device).index_add_(0, x, weights) under {deterministic}."),
                Effect.ALERTS,
                on.every(on.given("weights"), on.floating("weights"), indexing.values_repeat),
            ),
            _alert_only("cuda", condition=on.given("weights")),
        ),
        link=_page("torch.bincount"),
        alerts=("_bincount_cuda",),
    ),
    Entry(
        op="histc",
        public="torch.histc",
        direction=Direction.FORWARD,
        names=("histc",),
        hazards=(
            Hazard(
                ("cuda",),
                "Counts larger than the dtype holds exactly are added in no fixed order (atomicAdd).",
                Remedy("Use torch.bucketize and torch.bincount without weights, or compute it on the CPU."),
                Effect.ALERTS,
                on.counts_inexactly,
            ),
            _alert_only("cuda", condition=on.floating()),
        ),
        link=_page("torch.histc"),
        alerts=("_histc_cuda with floating point input",),
    ),
    Entry(
        op="median",
        public="torch.median",
        direction=Direction.FORWARD,
        names=("median", "nanmedian"),
        hazards=(
            Hazard(
                ("cuda",),
                _TIES,
                Remedy("Use torch.sort(x, stable=True) and take the middle element, or compute it on the CPU."),
                Effect.ALERTS,
                on.overload_is("dim", "dim_values"),
            ),
        ),
        link=_page("torch.median"),
        alerts=("median CUDA with indices output",),
    ),
    Entry(
        op="kthvalue",
        public="torch.kthvalue",
        direction=Direction.FORWARD,
        names=("kthvalue",),
        hazards=(
            Hazard(
                ("cuda",),
                _TIES,
                Remedy("Use torch.sort(x, stable=True) and take the k-th element, or compute it on the CPU."),
                Effect.ALERTS,
                until=(2, 10),
            ),
            _mps(_TIES, Remedy("Use torch.sort(x, stable=True) and take the k-th element, or compute it on the CPU.")),
        ),
        link=_page("torch.kthvalue"),
        alerts=("kthvalue CUDA",),
    ),
    Entry(
        op="cumsum",
        public="torch.cumsum",
        direction=Direction.FORWARD,
        names=("cumsum", "cumsum_"),
        hazards=(_handled("Partial sums are combined in the order in which blocks finish.", on.floating()),),
        link=_page("torch.cumsum"),
    ),
    Entry(
        op="bmm",
        public="torch.bmm",
        direction=Direction.FORWARD,
        names=("bmm",),
        hazards=(_handled("Products with a sparse matrix are summed in no fixed order.", on.sparse),),
        link=_page("torch.bmm"),
        hot=True,
    ),
    Entry(
        op="nll_loss2d",
        public="torch.nn.NLLLoss",  # on images; also called by CrossEntropyLoss
        direction=Direction.FORWARD,
        names=("nll_loss2d_forward",),
        hazards=(
            Hazard(
                ("cuda",),
                "The per-element losses are added in no fixed order (atomicAdd).",
                Remedy('Use reduction="none" and take the mean or sum of the result yourself.'),
                Effect.ALERTS,
                on.negated(on.equals("reduction", 0)),
            ),
        ),
        link=_page("torch.nn.NLLLoss"),
        alerts=("nll_loss2d_forward_out_cuda_template",),
    ),
    *(
        Entry(
            op=f"max_unpool{dims}d",
            public=f"torch.nn.MaxUnpool{dims}d",
            direction=Direction.FORWARD,
            names=(f"max_unpool{dims}d",),
            hazards=(
                *_cuda(
                    _OVERWRITTEN,
                    Remedy("Pool with windows that do not overlap, or unpool on the CPU."),
                    indexing.planes_repeat,
                ),
                _alert_only("cpu"),
            ),
            link=_page(f"torch.nn.MaxUnpool{dims}d"),
            alerts=(f"max_unpooling{dims}d_forward_out",),
        )
        for dims in (2, 3)  # MaxUnpool1d calls max_unpool2d
    ),
    Entry(
        op="resize_",
        public="torch.Tensor.resize_",
        direction=Direction.FORWARD,
        names=("resize_",),
        hazards=(_alert_only("cpu", condition=on.quantized),),
        link=_page("torch.Tensor.resize_"),
        alerts=("quantized_resize_cpu_",),
        hot=True,
    ),
)

_CUDNN_LINK = f"{_DOCS}/notes/randomness.html#cuda-convolution-benchmarking"
_CUDNN_HAZARDS = (
    Hazard(
        ("cuda",),
        "cuDNN benchmarks its algorithms and may choose differently in each run.",
        Remedy(
            "Set torch.backends.cudnn.benchmark = False, or run the cell under %%deterministic.",
            "Set torch.backends.cudnn.benchmark = False, or run it under repro_magic.deterministic().",
        ),
        Effect.IGNORES,
        on.cudnn_benchmarks,
    ),
    _handled("cuDNN may choose an algorithm that adds in no fixed order.", on.cudnn_is_free),
)
_RNN_HAZARD = Hazard(
    ("cuda",),
    "cuDNN's recurrent layers may share a cuBLAS workspace between streams, and sums then vary.",
    Remedy("Restart the kernel with CUBLAS_WORKSPACE_CONFIG=:4096:8 set before the first CUDA call."),
    Effect.IGNORES,
    on.cublas_is_free,
)

_LAYERS = (
    Entry(
        op="convolution",
        public="torch.nn.Conv2d",
        direction=Direction.FORWARD,
        names=(
            "convolution",
            "_convolution",
            "cudnn_convolution",
            "cudnn_convolution_transpose",
            "cudnn_convolution_relu",
            "cudnn_convolution_add_relu",
        ),
        hazards=_CUDNN_HAZARDS,
        link=_CUDNN_LINK,
        hot=True,
    ),
    Entry(
        op="convolution_backward",
        public="torch.nn.Conv2d",
        direction=Direction.BACKWARD,
        names=("convolution_backward",),
        hazards=_CUDNN_HAZARDS,
        link=_CUDNN_LINK,
        hot=True,
    ),
    # The mkldnn names are the same layers on a CPU, listed because they will differ after a move to CUDA.
    Entry(
        op="_cudnn_rnn",
        public="torch.nn.LSTM",
        direction=Direction.FORWARD,
        names=("_cudnn_rnn", "mkldnn_rnn_layer"),
        hazards=(_RNN_HAZARD,),
        link=_page("torch.nn.LSTM"),
        hot=True,
    ),
    Entry(
        op="_cudnn_rnn_backward",
        public="torch.nn.LSTM",
        direction=Direction.BACKWARD,
        names=("_cudnn_rnn_backward", "mkldnn_rnn_layer_backward"),
        hazards=(_RNN_HAZARD,),
        link=_page("torch.nn.LSTM"),
        hot=True,
    ),
    Entry(
        op="_cudnn_ctc_loss",
        public="torch.nn.CTCLoss",
        direction=Direction.FORWARD,  # cuDNN computes the gradient together with the loss
        names=("_cudnn_ctc_loss",),
        hazards=(
            Hazard(
                ("cuda",),
                "The code requests cuDNN's nondeterministic algorithm.",
                Remedy(
                    "Set torch.backends.cudnn.deterministic = True, or run the cell under %%deterministic.",
                    "Set torch.backends.cudnn.deterministic = True, or run it under repro_magic.deterministic().",
                ),
                Effect.IGNORES,
                on.negated(on.equals("deterministic", True)),  # noqa: FBT003 - the value to match
            ),
        ),
        link=_page("torch.nn.CTCLoss"),
    ),
    Entry(
        op="_ctc_loss_backward",
        public="torch.nn.CTCLoss",
        direction=Direction.BACKWARD,
        names=("_ctc_loss_backward",),
        hazards=_cuda(_GRADIENTS, Remedy("Compute the loss on the CPU: ctc_loss(log_probs.cpu(), ...).")),
        link=_page("torch.nn.CTCLoss"),
        alerts=("ctc_loss_backward_gpu",),
    ),
    Entry(
        op="embedding_dense_backward",
        public="torch.nn.Embedding",
        direction=Direction.BACKWARD,
        names=("embedding_dense_backward", "embedding_backward"),
        hazards=(
            Hazard(("cuda",), _GRADIENTS, _UNDER_SWITCH, Effect.HANDLES, since=(2, 14)),
            _mps(_GRADIENTS),
        ),
        link=_page("torch.nn.Embedding"),
        hot=True,
    ),
    Entry(
        op="_embedding_bag_dense_backward",
        public="torch.nn.EmbeddingBag",
        direction=Direction.BACKWARD,
        names=("_embedding_bag_dense_backward", "_embedding_bag_backward"),
        hazards=(
            Hazard(
                ("cuda",),
                _GRADIENTS,
                Remedy('Use mode="sum" or mode="mean", or compute it on the CPU.'),
                Effect.ALERTS,
                on.equals("mode", 2),  # max
            ),
            _mps(_GRADIENTS),
        ),
        link=_page("torch.nn.EmbeddingBag"),
        alerts=("embedding_bag_backward_cuda_max",),
        hot=True,
    ),
)


def _pooling(dims: int, kind: str) -> Remedy:
    """The remedy for pooling with atomicAdd."""
    return Remedy(f"Use {kind}Pool{dims}d with stride equal to its kernel size, or compute it on the CPU.")


_MAX_POOL_3D = "max_pool3d_with_indices_backward"
_EVEN = Remedy("Make the input size a multiple of the output size, or compute it on the CPU.")

_POOLING = (
    *(
        Entry(
            op=f"_adaptive_avg_pool{dims}d_backward",
            public=f"torch.nn.AdaptiveAvgPool{dims}d",
            direction=Direction.BACKWARD,
            names=(f"_adaptive_avg_pool{dims}d_backward", *(("adaptive_avg_pool3d_backward",) if dims == 3 else ())),  # noqa: PLR2004
            hazards=_cuda(_GRADIENTS, _EVEN, on.uneven_windows),
            link=_page(f"torch.nn.AdaptiveAvgPool{dims}d"),
            alerts=(f"adaptive_avg_pool{dims}d_backward_cuda", f"adaptive_avg_pool{dims}d_backward_out_cuda"),
            hot=True,
        )
        for dims in (2, 3)
    ),
    _backward(
        "adaptive_max_pool2d_backward",
        "torch.nn.AdaptiveMaxPool2d",
        _EVEN,
        ("adaptive_max_pool2d_backward_cuda",),
        condition=on.uneven_windows,
        hot=True,
    ),
    Entry(
        op="avg_pool3d_backward",
        public="torch.nn.AvgPool3d",
        direction=Direction.BACKWARD,
        names=("avg_pool3d_backward",),
        hazards=(
            *_cuda(_GRADIENTS, _pooling(3, "Avg"), on.overlapping_windows),
            _mps(_GRADIENTS, _pooling(3, "Avg"), on.overlapping_windows),
            _alert_only("mps"),
        ),
        link=_page("torch.nn.AvgPool3d"),
        alerts=("avg_pool3d_backward_cuda",),
        hot=True,
    ),
    *(
        _backward(
            f"fractional_max_pool{dims}d_backward",
            f"torch.nn.FractionalMaxPool{dims}d",
            _pooling(dims, "Max"),
            (f"fractional_max_pool{dims}d_backward_cuda",),
            hot=True,
        )
        for dims in (2, 3)
    ),
    Entry(
        op="max_pool2d_with_indices_backward",
        public="torch.nn.MaxPool2d",
        direction=Direction.BACKWARD,
        names=("max_pool2d_with_indices_backward", "max_pool2d_backward"),
        hazards=(_mps(_GRADIENTS, _pooling(2, "Max"), on.overlapping_windows), _alert_only("mps")),
        link=_page("torch.nn.MaxPool2d"),
        hot=True,
    ),
    Entry(
        op=_MAX_POOL_3D,
        public="torch.nn.MaxPool3d",
        direction=Direction.BACKWARD,
        names=(_MAX_POOL_3D,),
        hazards=(
            Hazard(("cuda",), _GRADIENTS, _pooling(3, "Max"), Effect.ALERTS, on.overlapping_windows, until=(2, 11)),
            # With the switch on, the op alerts, but then the forward pass does not lead to it.
            Hazard(("cuda",), _GRADIENTS, _FORWARD_TOO, Effect.ALERTS, on.overlapping_windows, since=(2, 11)),
            _alert_only("cuda"),
            _mps(_GRADIENTS, _pooling(3, "Max"), on.overlapping_windows),
            _alert_only("mps"),
        ),
        link=_page("torch.nn.MaxPool3d"),
        alerts=("max_pool3d_with_indices_backward_cuda",),
        hot=True,
    ),
)

_PAD_WITH_ZEROS = _under("Pad with zeros or by replication under {deterministic}, or compute it on the CPU.")

_PADDING_AND_SAMPLING = (
    *(
        _backward(
            f"reflection_pad{dims}d_backward",
            f"torch.nn.ReflectionPad{dims}d",
            _PAD_WITH_ZEROS,
            (f"reflection_pad{dims}d_backward_out_cuda",),
        )
        for dims in (1, 3)
    ),
    Entry(
        op="reflection_pad2d_backward",
        public="torch.nn.ReflectionPad2d",
        direction=Direction.BACKWARD,
        names=("reflection_pad2d_backward",),
        # The documentation says that it throws, but it never alerts: it has a second, deterministic kernel.
        hazards=(_handled(_GRADIENTS),),
        link=_page("torch.nn.ReflectionPad2d"),
    ),
    *(
        _backward(
            f"replication_pad{dims}d_backward",
            f"torch.nn.ReplicationPad{dims}d",
            _FORWARD_TOO,
            (f"replication_pad{dims}d_backward_cuda",),
        )
        for dims in (1, 2, 3)
    ),
    *(
        Entry(
            op=f"grid_sampler_{dims}d_backward",
            public="torch.nn.functional.grid_sample",
            direction=Direction.BACKWARD,
            names=(f"grid_sampler_{dims}d_backward", *(("cudnn_grid_sampler_backward",) if dims == 2 else ())),  # noqa: PLR2004
            hazards=(
                *_cuda(
                    _GRADIENTS,
                    Remedy("Detach the input if you train only the grid, or sample on the CPU."),
                    on.input_gradient,
                ),
                _mps(_GRADIENTS, condition=on.input_gradient),
                _alert_only("mps"),
            ),
            link=_page("torch.nn.functional.grid_sample"),
            alerts=(
                f"grid_sampler_{dims}d_backward_cuda",
                *(("cudnn_grid_sampler_backward",) if dims == 2 else ()),  # noqa: PLR2004
            ),
        )
        for dims in (2, 3)
    ),
    *(
        Entry(
            op=f"{op}_backward",
            public="torch.nn.functional.interpolate",
            direction=Direction.BACKWARD,
            names=(f"{op}_backward",),
            hazards=(*_cuda(_GRADIENTS, remedy), _mps(_GRADIENTS)),
            link=_page("torch.nn.functional.interpolate"),
            alerts=(f"{op.removeprefix('_')}_backward_out_cuda",),
        )
        for op, remedy in (
            ("upsample_linear1d", Remedy('Use mode="nearest", or interpolate on the CPU.')),
            ("upsample_bilinear2d", _FORWARD_TOO),
            ("upsample_bicubic2d", _FORWARD_TOO),
            ("upsample_trilinear3d", _FORWARD_TOO),
            (
                "_upsample_bilinear2d_aa",
                _under("Use antialias=False under {deterministic}, or interpolate on the CPU."),
            ),
            ("_upsample_bicubic2d_aa", _under("Use antialias=False under {deterministic}, or interpolate on the CPU.")),
        )
    ),
)


def _attention(kind: str, *more: str, switch: Effect, remedy: Remedy) -> Entry:
    """The backward pass of a fused attention kernel."""
    op = f"_scaled_dot_product_{kind}_attention_backward"
    why = "Gradients of the same key or query are added in no fixed order (atomicAdd)."
    return Entry(
        op=op,
        public="torch.nn.functional.scaled_dot_product_attention",
        direction=Direction.BACKWARD,
        names=(op, f"_{kind}_attention_backward", *more),
        hazards=(Hazard(("cuda",), why, remedy, switch),),
        link=_page("torch.nn.functional.scaled_dot_product_attention"),
        # Not hot, although it runs often: %%deterministic makes each call take its deterministic path.
    )


_ATTENTION = (
    # The last name is the op on a CPU, deterministic there, but it will differ after a move to CUDA.
    _attention(
        "flash",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
        switch=Effect.HANDLES_IF_STRICT,
        remedy=_UNDER_SWITCH,
    ),
    _attention("efficient", switch=Effect.HANDLES_IF_STRICT, remedy=_UNDER_SWITCH),
    _attention(
        "cudnn",
        switch=Effect.ALERTS,
        remedy=_under(
            "Under {deterministic}, write `with torch.nn.attention.sdpa_kernel(SDPBackend.FLASH_ATTENTION):`."
        ),
    ),
)

CATALOGUE: tuple[Entry, ...] = (
    *_INDEXING,
    *_COUNTING,
    *_LAYERS,
    *_POOLING,
    *_PADDING_AND_SAMPLING,
    *_ATTENTION,
)


# Ops whose backward pass is flagged: reports show their line beside the backward op.
MAKERS = (
    "index",
    "index_select",
    "take",
    "gather",
    "sort",
    "topk",
    "embedding",
    "_embedding_bag",
    "_ctc_loss",
    "convolution",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_max_pool2d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "grid_sampler_2d",
    "grid_sampler_3d",
    *(f"reflection_pad{dims}d" for dims in (1, 2, 3)),
    *(f"replication_pad{dims}d" for dims in (1, 2, 3)),
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_trilinear3d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
)
