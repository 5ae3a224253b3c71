"""How kernels take the batch axes of `vmap`: one line a kernel.

Loops over elements, and reductions, take more leading axes and need no line. Operands
are counted with the outputs first; shared ones, parameters mostly, must be the same for
all examples, or the kernel is called for each example.
"""

from tensorlib.core.batching import set_batching_rule
from tensorlib.core.widening import widens_in_rows

__all__ = ["set_batching_rules"]

# Their shared operands.
_AXES = {
    "softmax": (),
    "log_softmax": (),
    "softmax_grad": (),
    "log_softmax_grad": (),
    "cumsum": (),
    "cumprod": (),
    "sort": (),
    "argsort": (),
    "argselect": (),
    "topk": (),
    "gather": (),
    "scatter": (),
    "scatter_add": (),
    "matmul": (3,),  # the bias
    "vecdot": (),
    "index_get": (1,),  # what is indexed
}
# Leading axes too, but some operands are read without a look at their strides.
_PACKED = {
    "searchsorted": (0, 1, 2),
    "attention": (0, 1),
    "attention_grad": (0, 1, 2, 3, 4, 9, 10),  # all but q, k, v and the mask
}
_SHARED = {"searchsorted": (1,)}  # what is searched
_ROWS = {
    "layer_norm": (4, 5),  # weight and bias
    "rms_norm": (4,),
    "channel_norm": (2, 3, 4, 5),  # weight, bias, mean and variance
    "group_norm": (4, 5),
    "group_norm_grad": (7,),
    "cross_entropy": (),
    "cross_entropy_grad": (),
    "conv": (2, 3),  # weight and bias
    "conv_input": (2, 3),
    "max_pool": (),
    "avg_pool": (),
    "avg_pool_grad": (),
    "pool_scatter": (),
    "pool_gather": (),
    "fold": (2, 3),  # extents alone
    "unfold": (2, 3),
}
# Sums over examples, sequences whose first axis is time, streams of random numbers,
# and matrices of linalg, whose ops show their kernels the examples as more matrices.
_LOOP = [
    "arange",
    "attention_dropout",
    "attention_dropout_grad",
    "augment_blend",
    "augment_erase",
    "augment_normalize",
    "augment_paste",
    "augment_warp",
    "augment_window",
    "batch_norm",
    "batch_norm_grad",
    "bincount",
    "cholesky",
    "conv_direct",
    "conv_input_direct",
    "conv_pointwise",
    "conv_weight",
    "conv_weight_direct",
    "conv_weight_pointwise",
    "conv_weight_winograd",
    "conv_winograd",
    "ctc_loss",
    "ctc_loss_grad",
    "det",
    "dropout",
    "eig",
    "eigh",
    "fourier",
    "histogram",
    "index_add",
    "index_put",
    "inv",
    "layer_norm_grad",
    "lu",
    "lu_factor",
    "mask_get",
    "median",
    "nonzero",
    "qr",
    "random_bernoulli",
    "random_integers",
    "random_normal",
    "random_permutation",
    "random_raw",
    "random_uniform",
    "recurrent",
    "recurrent_grad",
    "rms_norm_grad",
    "runs",
    "slogdet",
    "solve",
    "solve_adjoint",
    "solve_triangular",
    "svd",
    "weighted_bincount",
]
# Kernels of independent rows that cost about as much as their memory traffic: narrow
# operands are widened some rows at a time. Not convolution, which prepares its weight.
_IN_ROWS = [
    "softmax",
    "log_softmax",
    "softmax_grad",
    "log_softmax_grad",
    "layer_norm",
    "rms_norm",
    "max_pool",
    "avg_pool",
    "avg_pool_grad",
]


def set_batching_rules():
    """Enter the rules into the kernel table."""
    for way, table in (("axes", _AXES), ("rows", _ROWS)):
        for op, shared in table.items():
            set_batching_rule(op, way, shared)
    for op, packed in _PACKED.items():
        set_batching_rule(op, "axes", _SHARED.get(op, ()), packed)
    for op in _LOOP:
        set_batching_rule(op, "loop")
    for op in _IN_ROWS:
        widens_in_rows(op, {**_AXES, **_ROWS}[op])
