"""Where the ops are tied to Tensor: the one cycle of the design, closed here.

Tensor's operators call through a C table, its methods are the op functions themselves,
and the reverse pass uses a few ops. All three are filled once, when tensorlib is
imported.
"""
from cpython.object cimport PyObject

from tensorlib.autograd.tape cimport TapeOps, tape_ops
from tensorlib.core.tensor cimport Tensor
from tensorlib.ops.arithmetic cimport bind_arithmetic
from tensorlib.ops.elementwise cimport (
    cast_cotangent, clone, contiguous, copy, full_like,
)
from tensorlib.ops.indexing cimport bind_indexing
from tensorlib.ops.linalg cimport bind_linalg
from tensorlib.ops.logic cimport bind_logic
from tensorlib.ops.reduce cimport sum_to_shape
from tensorlib.ops.shape cimport bind_shape

from sys import modules

from tensorlib.autograd import hooks, tape
from tensorlib.core.errors import rename
from tensorlib.core.tensor import bind_methods
from tensorlib.ops import shape as shape_ops
from tensorlib.ops import (
    activation, arithmetic, elementwise, indexing, joining, linalg, logic, mathematics,
    reduce, softmax, transfer,
)


cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char *ml_doc
    ctypedef struct PyMethodDescrObject:
        PyMethodDef *d_method


# ---- small ops that exist as methods only ---------------------------------------
def _copy(x, /):
    """Return a copy, in the graph, dense and with the axes in the order that they have.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(2)
    >>> x.copy() is x
    False
    """
    return clone(<Tensor?>x)


def _clone(x, /):
    """Return a copy: PyTorch's name of `copy`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones(2).clone()
    tensor([1., 1.])
    """
    return clone(<Tensor?>x)


def _contiguous(x, /):
    """Return the tensor itself when it is contiguous, a contiguous copy otherwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones((2, 3)).T.contiguous().is_contiguous
    True
    """
    return contiguous(<Tensor?>x)


def _fill_(x, value, /):
    """Set every element to a scalar in place and return the tensor.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros(2).fill_(3)
    tensor([3., 3.])
    """
    try:
        x[...] = value
    except (TypeError, ValueError, RuntimeError) as error:
        rename(error, "fill_")
        raise
    return x


def _zero_(x, /):
    """Set every element to zero in place and return the tensor.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones(2).zero_()
    tensor([0., 0.])
    """
    x[...] = 0
    return x


def _copy_(x, source, /):
    """Copy `source`, broadcast, cast and from its device, into the tensor; return it.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros(2).copy_(tl.tensor([1, 2]))
    tensor([1., 2.])
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"copy_: expected a Tensor, got {type(x).__name__}")
    if isinstance(source, Tensor) and source.device != x.device:
        source = source.to(x.device)
    try:
        x[...] = source
    except (TypeError, ValueError, RuntimeError) as error:
        rename(error, "copy_")
        raise
    return x


_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


def _array_namespace(x, /, *, api_version=None):
    """Return the namespace of the Array API's functions: tensorlib.

    Parameters
    ----------
    api_version : str, optional
        The version of the standard that is wanted, "2025.12" or an earlier one.

    Raises
    ------
    ValueError
        If there is no such version.
    """
    if api_version is not None and api_version not in _VERSIONS:
        raise ValueError(
            f"__array_namespace__: expected a version among {', '.join(_VERSIONS)}, "
            f"got {api_version!r}"
        )
    return modules["tensorlib"]


# ---- the reverse pass ----------------------------------------------------------
cdef object _sum_to(object g, object shape):
    return sum_to_shape(<Tensor>g, <tuple>shape)


cdef object _cast(object g, int dtype):
    return cast_cotangent(<Tensor>g, dtype)


cdef object _copy_of(object g):
    return copy(<Tensor>g)


cdef int _accumulate(object total, object g) except -1:
    total += g
    return 0


cdef object _to_host(object g):
    return transfer.cpu(g)


cdef object _ones_like(object x):
    return full_like(<Tensor>x, 1)


cdef object _zeros_like(object x):
    return full_like(<Tensor>x, 0)


cdef object _conj(object x):
    from tensorlib.ops.complex import conj

    return conj(x)


# Methods named as their functions, by the module that has them.
_METHODS = (
    (arithmetic, "add subtract multiply divide floor_divide remainder pow maximum "
                 "minimum negative abs sign square floor ceil round clip add_ sub_ "
                 "mul_ div_"),
    (logic, "equal not_equal less less_equal greater greater_equal logical_and "
            "logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor "
            "bitwise_invert isnan isinf isfinite"),
    (mathematics, "sqrt rsqrt reciprocal exp expm1 log log1p sin cos tan tanh erf"),
    (activation, "relu sigmoid silu softplus gelu"),
    (elementwise, "astype"),
    (shape_ops, "reshape permute_dims transpose expand_dims squeeze flip flatten"),
    (joining, "split unstack"),
    (reduce, "sum mean prod max min argmax argmin any all var std logsumexp cumsum "
             "broadcast_to"),
    (linalg, "matmul"),
    (indexing, "take take_along_axis nonzero"),
    (softmax, "softmax log_softmax"),
    (hooks, "register_hook register_post_accumulate_grad_hook retain_grad"),
    (tape, "backward"),
    (transfer, "to cpu cuda to_device pin_memory"),
)


# Methods of modules that are loaded at the first use of one of their names.
_LAZY_METHODS = {
    "diagonals": "as_strided",
    "manipulation": "masked_fill",
    "scattering": "gather scatter scatter_add index_add index_select",
    "sets": "unique isin",
    "sorting": "sort argsort topk kthvalue searchsorted bincount",
    "statistics": "median nanmedian quantile nanquantile percentile",
}


class _Lazy:
    """A method whose module is loaded when it is looked up; it then takes its place."""

    def __init__(self, home, name):
        self.home, self.name = f"tensorlib.ops.{home}", name

    def __get__(self, instance, owner=None):
        from importlib import import_module

        function = getattr(import_module(self.home), self.name)
        bind_methods({self.name: function})
        return function if instance is None else function.__get__(instance, owner)


# Binary operators, whose docs Cython leaves empty; CPython writes those of the others.
_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%",
    "matmul": "@", "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
}
cdef list _operator_docs = []       # which the methods borrow


cdef int _describe_operators() except -1:
    """Give operators what `inspect.signature` and `help` read, as those of int have it.

    CPython takes the arguments of a built-in method from the first line of its docs.
    """
    for name, sign in _OPERATORS.items():
        for prefix, expression in (("", f"self{sign}value"), ("r", f"value{sign}self")):
            operator = f"__{prefix}{name}__"
            doc = f"{operator}($self, value, /)\n--\n\nReturn {expression}.".encode()
            _operator_docs.append(doc)
            descriptor = vars(Tensor)[operator]
            (<PyMethodDescrObject *><PyObject *>descriptor).d_method.ml_doc = doc
    return 0


def _named(**methods):
    """The methods under the names that users see, which others have in this file."""
    for name, function in methods.items():
        # Docs of compiled functions begin with the name and signature.
        function.__doc__ = name + function.__doc__.removeprefix(function.__name__)
        function.__name__ = function.__qualname__ = name
    return methods


def bind_operators():
    """Fill Tensor's operator table and methods, and the reverse pass's table."""
    cdef TapeOps *table = tape_ops()
    bind_arithmetic()
    bind_logic()
    bind_shape()
    bind_linalg()
    bind_indexing()
    table.sum_to = _sum_to
    table.cast = _cast
    table.copy = _copy_of
    table.accumulate = _accumulate
    table.to_host = _to_host
    table.ones_like = _ones_like
    table.zeros_like = _zeros_like
    table.conj = _conj
    methods = {
        name: getattr(module, name)
        for module, names in _METHODS
        for name in names.split()
    }
    methods.update(_named(
        copy=_copy, clone=_clone, contiguous=_contiguous, fill_=_fill_, zero_=_zero_,
        copy_=_copy_, __array_namespace__=_array_namespace,
    ))
    methods.update(
        (name, _Lazy(home, name))
        for home, names in _LAZY_METHODS.items()
        for name in names.split()
    )
    bind_methods(methods)
    _describe_operators()
