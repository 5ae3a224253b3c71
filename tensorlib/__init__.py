"""tensorlib: a small, fast deep-learning library whose core is Cython.

Public names only. What is heavy or not needed by everyone (nn, optim, data, saving,
CUDA, ops of neural networks with kernels of their own) is loaded at its first use.
"""

from tensorlib import autograd
from tensorlib import kernels as _kernels
from tensorlib.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tensorlib.core import pickling as _pickling
from tensorlib.core.device import Device, device
from tensorlib.core.dlpack import from_dlpack
from tensorlib.core.dtype import (
    DType,
    bfloat16,
    bool_,
    can_cast,
    complex64,
    complex128,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tensorlib.core.errors import (
    AxisError,
    DeviceError,
    DTypeError,
    GraphError,
    ShapeError,
)
from tensorlib.core.interop import from_numpy
from tensorlib.core.storage import (
    empty_cache,
    memory_stats,
    reset_peak_memory_stats,
    set_memory_limit,
)
from tensorlib.core.tensor import Tensor
from tensorlib.core.threads import get_num_threads, num_threads, set_num_threads
from tensorlib.ops.activation import (
    gelu,
    glu,
    hardsigmoid,
    hardswish,
    log_sigmoid,
    mish,
    relu,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanhshrink,
)
from tensorlib.ops.arithmetic import (
    abs,
    add,
    ceil,
    clip,
    divide,
    floor,
    floor_divide,
    maximum,
    minimum,
    multiply,
    negative,
    pow,
    remainder,
    round,
    sign,
    square,
    subtract,
)
from tensorlib.ops.bind import bind_operators as _bind_operators
from tensorlib.ops.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from tensorlib.ops.elementwise import astype
from tensorlib.ops.embedding import dropout, embedding, one_hot
from tensorlib.ops.indexing import nonzero, take, take_along_axis, where
from tensorlib.ops.joining import concat, pad, split, stack, unstack
from tensorlib.ops.linalg import linear, matmul
from tensorlib.ops.logic import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
)
from tensorlib.ops.mathematics import (
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    reciprocal,
    rsqrt,
    sin,
    sqrt,
    tan,
    tanh,
)
from tensorlib.ops.random import (
    Generator,
    bernoulli,
    default_generator,
    manual_seed,
    normal,
    rand,
    randint,
    randn,
    randperm,
    uniform,
)
from tensorlib.ops.reduce import (
    all,
    any,
    argmax,
    argmin,
    broadcast_to,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from tensorlib.ops.shape import (
    broadcast_shapes,
    expand_dims,
    flatten,
    flip,
    matrix_transpose,
    moveaxis,
    permute_dims,
    reshape,
    squeeze,
    transpose,
)
from tensorlib.ops.softmax import log_softmax, softmax, softmin

_bind_operators()

__version__ = "0.1.0"
__array_api_version__ = "2025.12"

bool = bool_
inf = float("inf")
nan = float("nan")
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None

_LAZY_MODULES = (
    "amp", "cuda", "data", "fft", "linalg", "nn", "optim", "serialization",
    "transforms", "viz",
)  # fmt: skip
# Modules whose names are loaded at the first use of one of them.
_LAZY_NAMES = {
    "amp": ("autocast",),
    "build_paths": ("get_cython_include", "get_include"),
    "metrics_log": ("MetricsWriter",),
    "namespace": ("__array_namespace_info__",),
    "ops.attention": ("scaled_dot_product_attention",),
    "ops.batch_norm": ("batch_norm", "instance_norm"),
    "ops.complex": (
        "angle",
        "complex",
        "conj",
        "imag",
        "real",
        "view_as_complex",
        "view_as_real",
    ),
    "ops.contraction": (
        "einsum",
        "kron",
        "outer",
        "tensordot",
        "vecdot",
    ),
    "ops.conv": (
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
    ),
    "ops.diagonals": ("as_strided", "diag", "diagonal", "trace", "tril", "triu"),
    "ops.elementary": (
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "copysign",
        "cosh",
        "hypot",
        "log10",
        "log2",
        "logaddexp",
        "nextafter",
        "positive",
        "signbit",
        "sinh",
        "trunc",
    ),
    "ops.folding": ("fold", "unfold"),
    "ops.loss": ("cross_entropy", "ctc_loss"),
    "ops.manipulation": (
        "broadcast_arrays",
        "diff",
        "masked_fill",
        "meshgrid",
        "roll",
    ),
    "ops.norm": ("group_norm", "layer_norm", "rms_norm"),
    "ops.pooling": (
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
    ),
    "ops.rectifier": (
        "celu",
        "elu",
        "hardshrink",
        "hardtanh",
        "leaky_relu",
        "prelu",
        "relu6",
        "selu",
        "softshrink",
        "threshold",
    ),
    "ops.recurrent": ("gru", "lstm", "rnn"),
    "ops.repetition": ("repeat", "tile"),
    "ops.scattering": (
        "gather",
        "index_add",
        "index_select",
        "put",
        "scatter",
        "scatter_add",
    ),
    "ops.searching": (
        "allclose",
        "count_nonzero",
        "cumulative_prod",
        "cumulative_sum",
        "isclose",
        "isdtype",
    ),
    "ops.sets": (
        "isin",
        "unique",
        "unique_all",
        "unique_counts",
        "unique_inverse",
        "unique_values",
    ),
    "ops.sorting": (
        "argsort",
        "bincount",
        "kthvalue",
        "searchsorted",
        "sort",
        "topk",
    ),
    "ops.statistics": (
        "histogram",
        "histogram_bin_edges",
        "median",
        "nanmedian",
        "nanquantile",
        "percentile",
        "quantile",
    ),
    "serialization": ("load", "save"),
    "transforms.forward": ("jvp", "linearize"),
    "transforms.jacobian": ("hessian", "hvp", "jacfwd", "jacrev"),
    "transforms.module_call": ("functional_call",),
    "transforms.reverse": ("grad", "value_and_grad", "vjp"),
    "transforms.vmap": ("vmap",),
}
_HOMES = {name: home for home, names in _LAZY_NAMES.items() for name in names}

__all__ = sorted(name for name in {*globals(), *_HOMES} if not name.startswith("_"))


def __getattr__(name):
    from importlib import import_module

    if name in _LAZY_MODULES:
        return import_module(f"tensorlib.{name}")
    if name in _HOMES:
        found = getattr(import_module(f"tensorlib.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'tensorlib' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY_MODULES, *_HOMES})
