"""Sorting, the elements of given ranks, searching in sorted tensors, counting in bins.

The kernels give positions; where a gradient or tangent is wanted, values are picked by
position (`take_along_axis`), whose rules serve every order of differentiation. Loaded
at the first use of one of its names, with its kernels.
"""
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport Primitive, run, run1, tracking
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_CPU, TL_FLOAT32, TL_FLOAT64, TL_INT64, TL_UINT64, tl_buffer, tl_call,
    tl_reduce_params,
)
from tensorlib.core.dispatch cimport kernel_row, launch
from tensorlib.core.dtype cimport dtype_of, is_float_code, is_integer_code
from tensorlib.core.layout cimport copy_layout, parse_axis, set_contiguous
from tensorlib.core.tensor cimport (
    Tensor, check_host, new_like, new_tensor,
)
from tensorlib.kernels.sort_params cimport (
    tl_median_params, tl_runs_params, tl_search_params, tl_sort_params,
)
from tensorlib.ops.elementwise cimport (
    as_tensor, cast, common_dtype, contiguous, in_dtype,
)
from tensorlib.ops.reduce cimport broadcast, moved_last
from tensorlib.ops.shape cimport move_back, reshape_like, zeros_shaped

from collections import namedtuple
from math import prod

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.kernels import load_families
from tensorlib.ops.arguments import int_of
from tensorlib.ops.creation import arange, asarray, zeros
from tensorlib.ops.indexing import add_rows, take, take_along_axis
from tensorlib.ops.reduce import max as reduce_max
from tensorlib.ops.reduce import min as reduce_min

load_families("sort")

cdef enum:
    SHORT_ROW = 4096        # elements whose median one pass a bit finds fastest

cdef Primitive _sort = Primitive("sort")
cdef Primitive _argsort = Primitive("argsort")
cdef Primitive _argselect = Primitive("argselect")
cdef Primitive _topk = Primitive("topk")
cdef Primitive _median = Primitive("median")
cdef Primitive _searchsorted = Primitive("searchsorted")
cdef Primitive _runs = Primitive("runs")
cdef Primitive _bincount = Primitive("bincount")
cdef Primitive _weighted = Primitive("weighted_bincount")
cdef Primitive _histogram = Primitive("histogram")

Selected = namedtuple("Selected", ("values", "indices"))


# ---- order -----------------------------------------------------------------------
cdef Tensor _in_order(Primitive p, Tensor x, int axis, bint descending, int dtype):
    """The row kernels `sort` and `argsort`."""
    cdef Tensor out = new_like(x, dtype)
    cdef Tensor source = moved_last(x, axis)
    cdef tl_sort_params params
    params.descending = descending
    run1(p, moved_last(out, axis), &source.buf, &params)
    return out


def sort(x, /, *, axis=-1, descending=False, stable=True):
    """Return the elements along an axis in order.

    Parameters
    ----------
    x : Tensor
    axis : int, default -1
    descending : bool, default False
    stable : bool, default True
        The sort is always stable: equal elements keep their order.

    Returns
    -------
    Tensor
        Of the shape and dtype of `x`.

    Raises
    ------
    ShapeError
        If there is no such axis; a 0-d tensor has none.

    Notes
    -----
    NaN comes last in either direction, and -0.0 equals 0.0. The gradient of each
    element goes to its place in `x`. The time does not depend on the order of the
    elements by more than a small factor: it is a sort by radix or, with AVX-512, a
    quicksort that falls back to one.

    References
    ----------
    D. E. Knuth, "The Art of Computer Programming", vol. 3, sections 5.2.2 and 5.2.5.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sort(tl.tensor([2.0, tl.nan, 1.0]), descending=True)
    tensor([ 2.,  1., nan])
    """
    cdef Tensor a = as_tensor("sort", x)
    cdef int where = parse_axis("sort", axis, a.buf.ndim)
    cdef bint down = bool(descending)
    if a.track and tracking(a.track):
        order = _in_order(_argsort, a, where, down, TL_INT64)
        return take_along_axis(a, order, axis=where)
    return _in_order(_sort, a, where, down, a.buf.dtype)


def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """Return the positions of the elements along an axis in order.

    Parameters
    ----------
    x : Tensor
    axis : int, default -1
    descending : bool, default False
    stable : bool, default True
        The sort is always stable: equal elements keep their order.

    Returns
    -------
    Tensor of int64
        Of the shape of `x`; ``take_along_axis(x, argsort(x))`` is sorted.

    Raises
    ------
    ShapeError
        If there is no such axis; a 0-d tensor has none.

    Notes
    -----
    NaN comes last in either direction. All NaNs are equal here; so are -0.0 and 0.0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.argsort(tl.tensor([3, 1, 3, 2]), descending=True)
    tensor([0, 2, 3, 1])
    """
    cdef Tensor a = as_tensor("argsort", x)
    cdef int where = parse_axis("argsort", axis, a.buf.ndim)
    return _in_order(_argsort, a, where, bool(descending), TL_INT64)


# ---- ranks -----------------------------------------------------------------------
cdef int64_t _count_of(str op, Tensor x, int axis, object k, int64_t least) except -1:
    """k as a number of elements along the axis."""
    cdef int64_t extent = x.buf.shape[axis]
    found = int_of(op, "k", k)
    if not least <= found <= extent:
        raise ShapeError(
            f"{op}: expected k in [{least}, {extent}] for axis {axis} of shape "
            f"{x.shape}, got {found}"
        )
    return found


def topk(x, k, /, axis=-1, largest=True, sorted=True):
    """Return the k largest or smallest elements along an axis, and their positions.

    Parameters
    ----------
    x : Tensor
    k : int
    axis : int, default -1
    largest : bool, default True
        False for the smallest elements.
    sorted : bool, default True
        Whether the elements come in order; else in an order that is not specified.

    Returns
    -------
    values : Tensor
        Of the shape of `x` but for the axis, which has k elements.
    indices : Tensor of int64

    Raises
    ------
    ShapeError
        If the axis is not there or has fewer than `k` elements.

    Notes
    -----
    NaN counts as the largest element, as in PyTorch. Of equal elements the first are
    taken, and stay in their order. The gradient goes to the elements that were taken.

    Examples
    --------
    >>> import tensorlib as tl
    >>> values, indices = tl.topk(tl.tensor([1.0, 4.0, 2.0]), 2)
    >>> values.tolist(), indices.tolist()
    ([4.0, 2.0], [1, 2])
    """
    cdef Tensor a = as_tensor("topk", x)
    cdef int where = parse_axis("topk", axis, a.buf.ndim)
    cdef const tl_buffer *targets[2]
    cdef const tl_buffer *source
    cdef tl_sort_params params
    cdef tl_buffer layout
    cdef Tensor values, indices, moved, to_values, to_indices
    params.k = _count_of("topk", a, where, k, 0)
    params.descending, params.sorted = bool(largest), bool(sorted)
    copy_layout(&layout, &a.buf)
    layout.shape[where] = params.k
    set_contiguous(&layout)
    values = new_tensor(&layout, a.buf.dtype, a.buf.device_type, a.buf.device_index)
    indices = new_like(values, TL_INT64)
    moved = moved_last(a, where)
    to_values, to_indices = moved_last(values, where), moved_last(indices, where)
    source, targets[0], targets[1] = &moved.buf, &to_values.buf, &to_indices.buf
    run(_topk, a.buf.dtype, targets, 2, &source, 1, &params, a.buf.size)
    if a.track and tracking(a.track):
        values = take_along_axis(a, indices, axis=where)
    return Selected(values, indices)


def argselect(Tensor x not None, Tensor ranks not None):
    """Return the positions of the elements that have given ranks in the sorted rows.

    Parameters
    ----------
    x : Tensor of shape (..., n)
    ranks : Tensor of int64, of shape (..., m)
        In [0, n), which is not checked; leading axes broadcast to those of `x`.

    Returns
    -------
    Tensor of int64, of shape (..., m)

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.sorting import argselect
    >>> argselect(tl.tensor([5, 9, 7]), tl.tensor([0, 1])).tolist()
    [0, 2]
    """
    cdef const tl_buffer *target
    cdef const tl_buffer *inputs[2]
    cdef tl_buffer layout
    cdef Tensor out
    x, ranks = aligned("argselect", (x, ranks))
    copy_layout(&layout, &x.buf)
    layout.shape[layout.ndim - 1] = ranks.buf.shape[ranks.buf.ndim - 1]
    set_contiguous(&layout)
    out = new_tensor(&layout, TL_INT64, x.buf.device_type, x.buf.device_index)
    ranks = broadcast(ranks, out.shape)
    target, inputs[0], inputs[1] = &out.buf, &x.buf, &ranks.buf
    run(_argselect, x.buf.dtype, &target, 1, inputs, 2, NULL, x.buf.size)
    return out


def middle(Tensor x not None, bint skip_nan):
    """Return the medians of short rows by one kernel, or None.

    Parameters
    ----------
    x : Tensor of shape (..., n)
    skip_nan : bool
        Whether NaNs are left out; else the median of a row with one is NaN.

    Returns
    -------
    Tensor of shape (...), or None
        None where positions are needed (a gradient or tangent is wanted), where the
        kernel does not pay (long rows) or is none (a GPU, `vmap`); and of no elements.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.sorting import middle
    >>> middle(tl.tensor([5.0, 9.0, 7.0]), False)
    tensor(7.)
    """
    cdef tl_median_params params
    cdef tl_buffer layout
    cdef Tensor out
    if (
        x.buf.device_type != TL_CPU or x.buf.size == 0 or x.buf.ndim == 0
        or x.buf.shape[x.buf.ndim - 1] > SHORT_ROW or (x.track and tracking(x.track))
    ):
        return None
    copy_layout(&layout, &x.buf)
    layout.ndim -= 1
    set_contiguous(&layout)
    out = new_tensor(
        &layout, x.buf.dtype if is_float_code(x.buf.dtype) else TL_FLOAT32, TL_CPU, 0
    )
    params.skip_nan = skip_nan
    run1(_median, out, &x.buf, &params)
    return out


@own_errors
def kthvalue(x, k, /, axis=-1, keepdims=False):
    """Return the k-th smallest element along an axis, and its position.

    Parameters
    ----------
    x : Tensor
    k : int
        1 for the smallest.
    axis : int, default -1
    keepdims : bool, default False
        Keep the reduced axis with length one.

    Returns
    -------
    values : Tensor
    indices : Tensor of int64

    Raises
    ------
    ShapeError
        If the axis is not there, or `k` is not in [1, length of the axis].

    Notes
    -----
    NaN counts as the largest element. The position is the one that a stable sort finds.
    The gradient goes to the element.

    Examples
    --------
    >>> import tensorlib as tl
    >>> values, indices = tl.kthvalue(tl.tensor([3.0, 1.0, 2.0]), 2)
    >>> values.item(), indices.item()
    (2.0, 2)
    """
    cdef Tensor a = as_tensor("kthvalue", x)
    cdef int where = parse_axis("kthvalue", axis, a.buf.ndim)
    cdef int64_t rank = _count_of("kthvalue", a, where, k, 1) - 1
    cdef Tensor indices = argselect(
        moved_last(a, where), asarray([rank], device=a.device)
    )
    cdef Tensor values
    indices = move_back(indices, where)
    values = take_along_axis(a, indices, axis=where)
    if not keepdims:
        kept = (*a.shape[:where], *a.shape[where + 1:])
        values, indices = reshape_like(values, kept), reshape_like(indices, kept)
    return Selected(values, indices)


# ---- searching -------------------------------------------------------------------
def searchsorted(x1, x2, /, *, side="left", sorter=None):
    """Return where elements would have to be inserted into a sorted tensor.

    Parameters
    ----------
    x1 : Tensor of shape (N,)
        In ascending order, NaN last, unless there is a `sorter`.
    x2 : Tensor or scalar
        The elements, of any shape.
    side : {"left", "right"}, default "left"
        Before or behind elements that are equal.
    sorter : Tensor of integers, of shape (N,), optional
        Positions that bring `x1` into order, as of `argsort`.

    Returns
    -------
    Tensor of int64
        Of the shape of `x2`: positions i with ``x1[i-1] < x2 <= x1[i]``, or
        ``x1[i-1] <= x2 < x1[i]`` on the right.

    Raises
    ------
    ShapeError
        If `x1` has not one dimension, or `sorter` not its shape.
    ValueError
        If `side` is neither "left" nor "right".
    IndexError
        If a position of `sorter` is out of range.

    Notes
    -----
    The order of `x1` is not checked. NaN is the largest element, as in `sort`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.searchsorted(tl.tensor([1, 3, 3, 5]), tl.tensor([3, 9]), side="right")
    tensor([3, 4])
    """
    cdef Tensor a = as_tensor("searchsorted", x1)
    cdef tl_search_params params
    cdef Tensor v, out
    cdef int dtype
    if side not in ("left", "right"):
        raise ValueError(
            f"searchsorted: expected side 'left' or 'right', got {side!r}"
        )
    if a.buf.ndim != 1:
        raise ShapeError(f"searchsorted: expected x1 of shape (N,), got {a.shape}")
    if sorter is not None:
        order = as_tensor("searchsorted", sorter)
        if order.shape != a.shape:
            raise ShapeError(
                f"searchsorted: expected a sorter of shape {a.shape}, got {order.shape}"
            )
        a = take(a.detach(), order)
    if not isinstance(x2, (bool, int, float)):
        x2 = as_tensor("searchsorted", x2)
    dtype = common_dtype([a, x2])
    a, v = contiguous(in_dtype(a.detach(), dtype)), in_dtype(x2, dtype)
    a, v = aligned("searchsorted", (a, contiguous(v.detach())))
    params.right = side == "right"
    out = new_like(v, TL_INT64)
    _run_on(_searchsorted, dtype, out, a, v, &params)
    return out


cdef int _run_on(
    Primitive p, int dtype, Tensor out, Tensor a, Tensor b, const void *params
) except -1:
    """Run a kernel on contiguous a, and on b unless it is None."""
    cdef const tl_buffer *target = &out.buf
    cdef const tl_buffer *inputs[2]
    inputs[0] = &a.buf
    if b is not None:
        inputs[1] = &b.buf
    return run(
        p, dtype, &target, 1, inputs, 1 if b is None else 2, params,
        a.buf.size + out.buf.size,
    )


def find_runs(Tensor x not None, Tensor order, bint inverse, bint equal_nan):
    """Return where runs of equal elements begin, and the run of each element.

    Parameters
    ----------
    x : Tensor of shape (n,)
    order : Tensor of int64, of shape (n,), or None
        What sorts `x`; None if it is sorted.
    inverse : bool
        Whether the run of each element is wanted.
    equal_nan : bool
        Whether all NaNs are one run; else each is one.

    Returns
    -------
    starts : Tensor of int64, of shape (runs,)
    inverse : Tensor of int64, of shape (n,), or None

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.sorting import find_runs
    >>> find_runs(tl.tensor([4, 4, 7]), None, False, True)[0].tolist()
    [0, 2]
    """
    cdef const tl_buffer *targets[2]
    cdef const tl_buffer *inputs[2]
    cdef tl_runs_params params
    cdef Tensor starts, back
    check_host("unique", x, True)   # how many runs there are is a value of x
    starts = _zero_counts(x, x.buf.size + 1, TL_INT64)
    back = new_like(x, TL_INT64) if inverse else None
    x = contiguous(x.detach())
    params.equal_nan = equal_nan
    targets[0], inputs[0] = &starts.buf, &x.buf
    if back is not None:
        targets[1] = &back.buf
    if order is not None:
        inputs[1] = &order.buf
    run(
        _runs, x.buf.dtype, targets, 2 if inverse else 1, inputs,
        1 if order is None else 2, &params, x.buf.size,
    )
    return starts[:starts[-1].item()], back


# ---- counting --------------------------------------------------------------------
cdef Tensor _zero_counts(Tensor x, object bins, int dtype):
    return zeros(bins, dtype=dtype_of(dtype), device=x.device)


cdef object _largest(Tensor x, Tensor wide):
    """The largest element, -1 without one; a ValueError where one is negative.

    wide: x in int64, read once, as unsigned numbers: negative ones are the largest.
    """
    cdef Tensor out
    cdef tl_reduce_params params
    cdef tl_buffer layout
    cdef const tl_buffer *target
    cdef const tl_buffer *source = &layout
    cdef tl_call call
    if x.buf.size == 0:
        return -1
    layout.ndim = 0
    out = new_tensor(&layout, TL_UINT64, x.buf.device_type, x.buf.device_index)
    target = &out.buf
    copy_layout(&layout, &wide.buf)
    layout.dtype = TL_UINT64
    params.n_reduced, params.scale, params.correction = 1, 1, 0
    call.out, call.in_, call.params = &target, &source, &params
    call.nout = call.nin = 1
    launch(
        "bincount", kernel_row("max"), x.buf.device_type, TL_UINT64, &call, layout.size
    )
    found = out.item()
    if found >> 63 and reduce_min(x).item() < 0:
        raise ValueError(
            f"bincount: expected elements >= 0, got {reduce_min(x).item()}"
        )
    return found


@own_errors
def bincount(x, /, weights=None, minlength=0):
    """Return how often each integer from 0 on occurs.

    Parameters
    ----------
    x : Tensor of integers, of shape (N,)
        Not negative.
    weights : Tensor of shape (N,), optional
        What each element counts, instead of 1.
    minlength : int, default 0
        The least length of the result.

    Returns
    -------
    Tensor of shape (max(x) + 1,)
        Of int64; with weights, of their dtype (int64 for integers). Sums are carried in
        float64 or int64, in the order of the elements.

    Raises
    ------
    DTypeError
        If `x` is not of integers.
    ShapeError
        If `x` has not one dimension, or `weights` another shape.
    ValueError
        If an element or `minlength` is negative.

    Notes
    -----
    Differentiable in the weights.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bincount(tl.tensor([0, 2, 2]), minlength=4)
    tensor([1, 0, 2, 0])
    """
    cdef Tensor a = as_tensor("bincount", x)
    cdef Tensor w = None if weights is None else as_tensor("bincount", weights)
    cdef Tensor out
    least = int_of("bincount", "minlength", minlength)
    if not is_integer_code(a.buf.dtype):
        raise DTypeError(f"bincount: expected integers, got {dtype_of(a.buf.dtype)}")
    if a.buf.ndim != 1:
        raise ShapeError(f"bincount: expected x of shape (N,), got {a.shape}")
    if least < 0:
        raise ValueError(f"bincount: expected minlength >= 0, got {least}")
    if w is not None and w.shape != a.shape:
        raise ShapeError(
            f"bincount: expected weights of shape {a.shape}, got {w.shape}"
        )
    a, w = aligned("bincount", (a, w))
    if a.buf.device_type == TL_BATCHED:
        return _counts_of_examples(a, w, least)
    given, a = a, contiguous(cast(a, TL_INT64))
    bins = max(least, _largest(given, a) + 1)
    if w is None:
        out = _zero_counts(a, bins, TL_INT64)
        _run_on(_bincount, TL_INT64, out, a, None, NULL)
        return out
    return _weigh(a, w, bins)


cdef Tensor _counts_of_examples(Tensor a, Tensor w, object least):
    """Those of all examples of vmap in one row, each with bins of its own."""
    cdef Tensor rows
    shown, levels = show_levels(cast(a.detach(), TL_INT64))
    sizes, count = shown.shape[:-1], prod(shown.shape[:-1])
    rows = reshape_like(shown, (count, shown.shape[-1]))
    bins = least
    if rows.buf.size:
        longest = reduce_max(rows, axis=1) + 1
        bins = max(least, reduce_max(longest).item())
        if reduce_min(longest).item() != bins > least:
            raise ShapeError(
                "bincount: expected results of one length for all examples of vmap, "
                f"got lengths from {reduce_min(longest).item()} to {bins}; give "
                f"minlength={bins}"
            )
        if reduce_min(rows).item() < 0:
            raise ValueError(
                f"bincount: expected elements >= 0, got {reduce_min(rows).item()}"
            )
    places = arange(count, device=rows.device) * bins
    rows = rows + reshape_like(places, (count, 1))
    if w is not None:
        shown, _ = show_levels(w)
        w = reshape_like(shown, (rows.buf.size,))
    found = bincount(reshape_like(rows, (rows.buf.size,)), w, count * bins)
    return hide_levels(reshape_like(found, (*sizes, bins)), levels)


cdef Tensor _weigh(Tensor positions, Tensor w, object bins):
    """Sums of the weights at positions in [0, bins)."""
    cdef int dtype = w.buf.dtype
    cdef Tensor out
    if not is_float_code(dtype):
        return <Tensor>add_rows(cast(w, TL_INT64), (bins,), positions)
    if w.track and tracking(w.track):
        return cast(<Tensor>add_rows(cast(w, TL_FLOAT64), (bins,), positions), dtype)
    if dtype != TL_FLOAT32:
        w = cast(w, TL_FLOAT64)
    out = _zero_counts(positions, bins, TL_FLOAT64)
    w = contiguous(w)
    _run_on(_weighted, w.buf.dtype, out, w, positions, NULL)
    return cast(out, dtype)


def uniform_counts(Tensor x not None, Tensor edges not None):
    """Return how many elements lie between neighbours of equally spaced edges.

    Parameters
    ----------
    x : Tensor of float32 or float64
    edges : Tensor of the dtype of `x`, of shape (bins + 1,)
        Rising; the last bin includes its upper edge.

    Returns
    -------
    Tensor of int64, of shape (bins,)

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.sorting import uniform_counts
    >>> uniform_counts(tl.tensor([0.5, 2.0]), tl.tensor([0.0, 1.0, 2.0])).tolist()
    [1, 1]
    """
    cdef Tensor out
    x, edges = contiguous(x.detach()), contiguous(edges.detach())
    x, edges = aligned("histogram", (x, edges))
    out = cast(zeros_shaped(x, (edges.buf.size - 1,)), TL_INT64)
    _run_on(_histogram, x.buf.dtype, out, x, edges, NULL)
    return out
