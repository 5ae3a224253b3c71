"""Recurrent layers over whole sequences: RNN, LSTM and GRU, one direction each.

A layer is one primitive. The input's part of the gates is one product for all time
steps; a kernel then walks over time. Its gradient is a kernel of the same form, which
gives the gates' gradients, and one product a weight matrix over all steps.

References
----------
S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997).
K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder",
arXiv:1406.1078, equations 5-8 (the reset gate here follows the product, as in cuDNN).
H. Sak et al., "Long Short-Term Memory Recurrent Neural Network Architectures",
arXiv:1402.1128 (projections).
"""
from math import prod

from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned, hide_axis
from tensorlib.autograd.primitive cimport (
    Node, Primitive, differentiated, record, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_GRU, TL_INT64, TL_LSTM, TL_RNN_RELU, TL_RNN_TANH, tl_buffer, tl_matmul_params,
    tl_recurrent_params,
)
from tensorlib.core.dtype cimport (
    is_complex_code, is_integer_code, promote_codes,
)
from tensorlib.core.layout cimport broadcast_view, parse_shape
from tensorlib.core.tensor cimport (
    Tensor, new_like, new_tensor, new_view,
)
from tensorlib.ops.composite cimport Composite
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, copy, copy_into,
)
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport (
    reshape_like, slice_axis, swap_axes, take_axis, zeros_shaped,
)

from tensorlib.autograd.batch import show_levels
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.ops.activation import relu, sigmoid
from tensorlib.ops.joining import concat, split, stack
from tensorlib.ops.linalg import linear
from tensorlib.ops.mathematics import tanh
from tensorlib.ops.reduce import max as reduce_max, min as reduce_min, sum
from tensorlib.ops.shape import expand_dims, permute_dims
from tensorlib.kernels import load_families

load_families("recurrent")

# Inputs of a layer, by place; those that a layer does not have are None.
cdef enum:
    X = 0
    W_IH = 1
    B_IH = 2
    W_HH = 3
    B_HH = 4
    W_HR = 5
    H0 = 6
    C0 = 7
    PLACES = 8

_NAMES = ("x", "w_ih", "b_ih", "w_hh", "b_hh", "w_hr", "h0", "c0")


cdef class Direction:
    """The parameters of one application: sizes, and which inputs there are."""
    cdef tl_recurrent_params params
    cdef int64_t steps, batch, units, outputs, gates
    cdef Tensor lengths        # int64 (N,), or None: all sequences are whole
    cdef list places           # of the given inputs, in order

    cdef list spread(self, tuple inputs):
        """All inputs by place, with None for missing ones."""
        cdef list found = [None] * PLACES
        for place, x in zip(self.places, inputs):
            found[place] = x
        return found

    cdef int64_t step(self, int64_t index):
        return self.steps - 1 - index if self.params.reverse else index


cdef Tensor _empty(Tensor like, tuple shape):
    cdef tl_buffer layout
    parse_shape("recurrent", shape, &layout)
    return new_tensor(
        &layout, like.buf.dtype, like.buf.device_type, like.buf.device_index
    )


cdef int _input_product(Tensor gates, Tensor x, Tensor weight, Tensor bias) except -1:
    """gates (T, N, G), of any strides, = x (T, N, F) @ weight.T + bias."""
    cdef Tensor transposed = swap_axes(weight.detach(), 0, 1)
    cdef tl_buffer spread, target = gates.buf
    cdef const tl_buffer *inputs[2]
    cdef const tl_buffer *out = &gates.buf
    cdef tl_matmul_params params
    params.accumulate = bias is not None
    if bias is not None:
        broadcast_view(&spread, &bias.buf, &gates.buf)
        copy_into("recurrent", gates, new_view(bias, &spread))
    target.shape[1] = x.buf.shape[2]
    broadcast_view(&spread, &transposed.buf, &target)
    inputs[0], inputs[1] = &x.buf, &spread
    return run(_input, x.buf.dtype, &out, 1, inputs, 2, &params,
               x.buf.size + gates.buf.size)


cdef tuple _parts(Tensor packed, Direction how):
    """h (T, N, P) and c_n (N, H) of an LSTM's packed result; others have h alone."""
    cdef int64_t split_at = how.steps * how.batch * how.outputs
    if how.params.cell != TL_LSTM:
        return packed, None
    return (
        reshape_like(
            slice_axis(packed, 0, 0, split_at, 1), (how.steps, how.batch, how.outputs)
        ),
        reshape_like(
            slice_axis(packed, 0, split_at, how.batch * how.units, 1),
            (how.batch, how.units),
        ),
    )


cdef inline const tl_buffer *_buffer(Tensor x) noexcept:
    return NULL if x is None else &x.buf


cdef class Recurrent(Composite):
    """One layer in one direction; params: a Direction.

    The result is h (T, N, P); an LSTM's is flat, h and then c_n. Saved: the inputs
    and, but for an RNN, the activations of the gates.
    """

    cdef Tensor apply(self, tuple inputs, Direction how):
        cdef tuple levels = _levels(<Tensor>inputs[0])
        cdef list given = _plain(how, inputs) if levels else None
        cdef Tensor out, gates
        cdef int track = 0
        if given is None:
            out, gates = self.compute(how.spread(inputs), how)
        else:
            out, gates = self.compute(given, _widened(how, how.lengths, given[X]))
            out, gates = _packed_examples(out, gates, how, levels)
        for each in inputs:
            track |= (<Tensor>each).track
        if track and tracking(track):
            saved = inputs if gates is out else (*inputs, gates)
            record(self, out, inputs, saved, True, how)
        return out

    cdef tuple compute(self, list given, Direction how):
        """The result, and the activations of the gates or, for an RNN, it again."""
        cdef Tensor x = given[X]
        cdef int cell = how.params.cell
        cdef int64_t stored = how.units * (
            5 if cell == TL_LSTM else 4 if cell == TL_GRU else 1
        )
        cdef int64_t size = how.steps * how.batch * how.outputs
        cdef Tensor out, gates, h, c = None
        if cell == TL_LSTM:
            out = _empty(x, (size + how.batch * how.units,))
        else:
            out = _empty(x, (how.steps, how.batch, how.outputs))
        h, c = _parts(out, how)
        gates = out
        if cell in (TL_LSTM, TL_GRU):
            gates = _empty(x, (how.steps, how.batch, stored))
        _input_product(
            slice_axis(gates, 2, 0, how.gates, 1), x, given[W_IH], given[B_IH]
        )
        self.walk(given, how, h, gates, c)
        return out, gates

    cdef int walk(
        self, list given, Direction how, Tensor h, Tensor gates, Tensor c
    ) except -1:
        """The kernel over time."""
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[6]
        written[0], written[1] = &h.buf, &gates.buf
        written[2] = _buffer(c)
        read[0], read[1] = _buffer(given[W_HH]), _buffer(given[H0])
        read[2], read[3] = _buffer(given[C0]), _buffer(given[B_HH])
        read[4], read[5] = _buffer(given[W_HR]), _buffer(how.lengths)
        return run(self, h.buf.dtype, written, 2 if c is None else 3, read, 6,
                   &how.params, gates.buf.size)

    cdef tuple vjp(self, Node node, Tensor g):
        if differentiated():
            return self.composed_vjp(node, g)
        return self.kernel_vjp(node, g)

    cdef tuple kernel_vjp(self, Node node, Tensor g):
        cdef Direction how = <Direction>node.params
        cdef list given, grads = [None] * PLACES
        cdef Tensor h, packed, gates = None
        if how.params.cell in (TL_LSTM, TL_GRU):
            gates = node.get(node.inputs)
        g, packed, gates, lengths, *inputs = aligned(
            self.name,
            (g, node.output(), gates, how.lengths, *self.recorded_inputs(node)),
        )
        given = how.spread(tuple(inputs))
        h, _ = _parts(packed, how)
        gates = h if gates is None else gates
        cotangents = _parts(contiguous(g), how)
        levels = _levels(h)
        plain = _plain(how, tuple(inputs)) if levels else None
        if plain is None:
            found = self.walk_back(given, how, cotangents, h, gates)
        else:
            found = self.walk_back(
                plain, _widened(how, lengths, plain[X]),
                (_fold(cotangents[0], 1), _fold(cotangents[1], 0)), _fold(h, 1),
                _fold(gates, 1),
            )
            da, db, dh, dc, projected, inner = found
            found = (
                _unfold(da, 1, levels), _unfold(db, 1, levels),
                _unfold(dh, 0, levels), _unfold(dc, 0, levels),
                _unfold(projected, 1, levels), _unfold(inner, 1, levels),
            )
        da, db, grads[H0], grads[C0], projected, inner = found
        needs = how.spread(tuple([node.needs(i) for i in range(node.inputs)]))
        self.weight_grads(given, how, grads, needs, h, da, db)
        if given[W_HR] is not None:
            grads[W_HR] = _transposed(projected) @ _rows(inner)
        return tuple([grads[place] for place in how.places])

    cdef tuple walk_back(
        self, list given, Direction how, tuple cotangents, Tensor h, Tensor gates
    ):
        """The gradient kernel: gates', theirs on the state's side, h0's, c0's, and
        a projection's outputs' and inputs."""
        cdef const tl_buffer *written[6]
        cdef const tl_buffer *read[9]
        cdef tuple shape = (how.steps, how.batch)
        cdef Tensor g_h = cotangents[0], g_c = cotangents[1]
        cdef Tensor da = _empty(h, (*shape, how.gates)), db = da
        cdef Tensor dh = new_like(given[H0], h.buf.dtype)
        cdef Tensor dc = None, projected = None, inner = None
        if how.params.cell == TL_GRU:
            db = new_like(da, h.buf.dtype)
        if how.params.cell == TL_LSTM:
            dc = new_like(given[C0], h.buf.dtype)
        if given[W_HR] is not None:
            projected = _empty(h, (*shape, how.outputs))
            inner = _empty(h, (*shape, how.units))
        written[0], written[1], written[2] = &da.buf, &dh.buf, _buffer(dc)
        written[3] = NULL if db is da else &db.buf
        written[4], written[5] = _buffer(projected), _buffer(inner)
        read[0], read[1], read[2] = &g_h.buf, _buffer(g_c), &h.buf
        read[3], read[4] = &gates.buf, _buffer(given[W_HH])
        read[5], read[6] = _buffer(given[H0]), _buffer(given[C0])
        read[7], read[8] = _buffer(given[W_HR]), _buffer(how.lengths)
        run(_recurrent_grad, h.buf.dtype, written, 6, read, 9, &how.params,
            gates.buf.size)
        return da, db, dh, dc, projected, inner

    cdef int weight_grads(
        self, list given, Direction how, list grads, list needs, Tensor h, Tensor da,
        Tensor db,
    ) except -1:
        """From the gates' gradients da, and db on the state's side."""
        if needs[X]:
            grads[X] = da @ given[W_IH]
        if needs[W_IH]:
            grads[W_IH] = _transposed(da) @ _rows(given[X])
        if needs[B_IH]:
            grads[B_IH] = sum(_rows(da), axis=0)
        if needs[B_HH]:
            grads[B_HH] = sum(_rows(db), axis=0)
        if needs[W_HH]:
            first = how.step(0)
            rest = how.steps - 1
            total = _transposed(take_axis(db, 0, first)) @ given[H0]
            if rest:
                after, before = (0, 1) if how.params.reverse else (1, 0)
                total = total + (
                    _transposed(slice_axis(db, 0, after, rest, 1))
                    @ _rows(slice_axis(h, 0, before, rest, 1))
                )
            grads[W_HH] = total
        return 0

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)

    cdef Tensor compose(self, tuple inputs, object params):
        cdef Direction how = <Direction>params
        cdef list given = how.spread(inputs)
        cdef list outputs = [None] * how.steps
        cdef int64_t index, t
        gates = linear(given[X], given[W_IH], given[B_IH])
        h, c = given[H0], given[C0]
        for index in range(how.steps):
            t = how.step(index)
            hidden = linear(h, given[W_HH], given[B_HH])
            next_h, next_c = _cell(
                how.params.cell, how.units, take_axis(gates, 0, t), hidden, h, c,
                given[W_HR],
            )
            if how.lengths is not None:
                live = expand_dims(how.lengths > t, 1)
                next_h = select(live, next_h, h)
                next_c = None if c is None else select(live, next_c, c)
            outputs[t] = h = next_h
            c = next_c
        out = stack(outputs)
        if c is None:
            return out
        return <Tensor>concat([out.reshape(-1), c.reshape(-1)])


cdef Recurrent _recurrent = Recurrent("recurrent")
cdef Primitive _recurrent_grad = Primitive("recurrent_grad")
cdef Primitive _input = Primitive("recurrent_input", kernel="matmul")


cdef tuple _cell(
    int cell, int64_t units, object gates, object hidden, object h, object c,
    object w_hr,
):
    """The next (h, c) from the input's and the state's parts of the gates."""
    if cell == TL_RNN_TANH:
        return tanh(gates + hidden), None
    if cell == TL_RNN_RELU:
        return relu(gates + hidden), None
    if cell == TL_LSTM:
        i, f, g, o = split(gates + hidden, units, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h if w_hr is None else linear(h, w_hr), c
    r, z, fresh = split(gates, units, axis=1)
    state_r, state_z, state_n = split(hidden, units, axis=1)
    z = sigmoid(z + state_z)
    fresh = tanh(fresh + sigmoid(r + state_r) * state_n)
    return (1.0 - z) * fresh + z * h, None


cdef Tensor _rows(Tensor x):
    """(T, N, D) or (N, D) as (T N, D)."""
    return reshape_like(
        contiguous(x), (x.buf.size // x.buf.shape[x.buf.ndim - 1]
                        if x.buf.shape[x.buf.ndim - 1] else 0,
                        x.buf.shape[x.buf.ndim - 1])
    )


cdef Tensor _transposed(Tensor x):
    return swap_axes(_rows(x), 0, 1)


# ---- under vmap ----------------------------------------------------------------
cdef tuple _levels(Tensor x):
    """The levels that x is under and their sizes, outermost first: ((level, size))."""
    shown, levels = show_levels(x.detach())
    return tuple(zip(levels, shown.shape))


cdef Tensor _fold(Tensor x, int axis):
    """x with the examples of vmap in front of `axis`, and as part of it."""
    cdef tuple shape
    if x is None:
        return None
    shown, levels = show_levels(x.detach())
    own, count = shown.shape[len(levels):], prod(shown.shape[:len(levels)])
    places = tuple(range(len(shown.shape)))
    at = len(levels) + axis
    order = (*places[len(levels):at], *places[:len(levels)], *places[at:])
    shape = (*own[:axis], count * own[axis], *own[axis + 1:])
    return contiguous(reshape_like(<Tensor>permute_dims(shown, order), shape))


cdef Tensor _unfold(Tensor x, int axis, tuple levels):
    """What `_fold` gave back under its levels: a view."""
    if x is None:
        return None
    sizes = tuple([size for _, size in levels])
    rest = x.shape[axis] // prod(sizes)
    x = reshape_like(x, (*x.shape[:axis], *sizes, rest, *x.shape[axis + 1:]))
    for level, _ in levels:
        x = hide_axis(x, level, axis)
    return x


cdef list _plain(Direction how, tuple inputs):
    """The inputs by place, the examples of vmap as further sequences of one batch.

    None where examples have weights of their own, or there are none.
    """
    cdef list given = how.spread(inputs)
    for place in range(PLACES):
        if given[place] is None or place in (X, H0, C0):
            continue
        shown, levels = show_levels((<Tensor>given[place]).detach())
        for k in range(len(levels)):
            if shown.strides[k] and shown.shape[k] > 1 or not shown.shape[k]:
                return None
        given[place] = shown[(0,) * len(levels)]
    given[X] = _fold(given[X], 1)
    given[H0], given[C0] = _fold(given[H0], 0), _fold(given[C0], 0)
    return given


cdef Direction _widened(Direction how, Tensor lengths, Tensor x):
    """The same for the batch of x, in which examples follow each other."""
    cdef Direction wide = Direction.__new__(Direction)
    wide.params, wide.places = how.params, how.places
    wide.steps, wide.batch, wide.units = how.steps, x.buf.shape[1], how.units
    wide.outputs, wide.gates = how.outputs, how.gates
    wide.lengths = _fold(lengths, 0)
    return wide


cdef tuple _packed_examples(Tensor out, Tensor gates, Direction how, tuple levels):
    """A result and gates of all examples together, as those of one."""
    cdef Direction wide
    if how.params.cell == TL_LSTM:
        wide = _widened(how, how.lengths, gates)
        h, c = _parts(out, wide)
        h, c = _unfold(h, 1, levels), _unfold(c, 0, levels)
        made = <Tensor>concat([h.reshape(-1), c.reshape(-1)])
        return made, _unfold(gates, 1, levels)
    made = contiguous(_unfold(out, 1, levels))
    return made, made if gates is out else _unfold(gates, 1, levels)


# ---- arguments -----------------------------------------------------------------
cdef int _check_shape(str op, str name, Tensor x, tuple wanted) except -1:
    if x is not None and x.shape != wanted:
        raise ShapeError(f"{op}: expected {name} of shape {wanted}, got {x.shape}")
    return 0


cdef int _check_sizes(str op, list given, Direction how, int gates) except -1:
    """Fill in the sizes of `how` and compare every shape with them."""
    cdef Tensor x = given[X], w_hh = given[W_HH]
    cdef tl_buffer largest
    for tensor in given:
        if tensor is not None and is_complex_code((<Tensor>tensor).buf.dtype):
            raise DTypeError(f"{op}: expected real numbers, got {tensor.dtype}")
    if x.buf.ndim != 3:
        raise ShapeError(
            f"{op}: expected x of shape (steps, batch, features), got {x.shape}"
        )
    if w_hh.buf.ndim != 2 or w_hh.buf.shape[0] == 0 or w_hh.buf.shape[0] % gates:
        raise ShapeError(
            f"{op}: expected w_hh of shape ({gates} * units, outputs), got {w_hh.shape}"
        )
    if x.buf.shape[0] == 0:
        raise ShapeError(f"{op}: expected at least one time step, got x of {x.shape}")
    how.steps, how.batch = x.buf.shape[0], x.buf.shape[1]
    how.gates, how.outputs = w_hh.buf.shape[0], w_hh.buf.shape[1]
    how.units = how.gates // gates
    if given[W_HR] is None and how.outputs != how.units:
        raise ShapeError(
            f"{op}: expected w_hh of shape ({gates} * units, units), got {w_hh.shape}"
        )
    # Everything that is made is smaller than this, which must be representable.
    parse_shape(
        op, (how.steps, how.batch, 5 * how.units + how.outputs), &largest
    )
    _check_shape(op, "w_ih", given[W_IH], (how.gates, x.buf.shape[2]))
    _check_shape(op, "b_ih", given[B_IH], (how.gates,))
    _check_shape(op, "b_hh", given[B_HH], (how.gates,))
    _check_shape(op, "w_hr", given[W_HR], (how.outputs, how.units))
    _check_shape(op, "h0", given[H0], (how.batch, how.outputs))
    _check_shape(op, "c0", given[C0], (how.batch, how.units))
    return 0


cdef Tensor _lengths(str op, object lengths, Direction how):
    """int64 lengths within [0, T], our own copy."""
    cdef Tensor found
    if lengths is None:
        return None
    found = as_tensor(op, lengths)
    if not is_integer_code(found.buf.dtype):
        raise DTypeError(f"{op}: expected integer lengths, got {found.dtype}")
    _check_shape(op, "lengths", found, (how.batch,))
    shown = show_levels(found)[0]
    if shown.size and (
        reduce_min(shown).item() < 0 or reduce_max(shown).item() > how.steps
    ):
        raise ValueError(
            f"{op}: expected lengths in [0, {how.steps}], got {shown.tolist()}"
        )
    return copy(cast(found.detach(), TL_INT64))


cdef tuple _layer(
    str op, int cell, list given, object reverse, object lengths, int gates
):
    """Check, bring to one dtype, apply; returns (output, h_n, c_n)."""
    cdef Direction how = Direction.__new__(Direction)
    cdef int place, dtype
    cdef list inputs = []
    cdef Tensor packed
    for place in range(PLACES):
        if given[place] is not None:
            given[place] = as_tensor(op, given[place])
        elif place in (X, W_IH, W_HH):
            raise TypeError(f"{op}: expected a Tensor as {_NAMES[place]}, got None")
    given[X] = as_float(given[X])
    dtype = (<Tensor>given[X]).buf.dtype
    _check_sizes(op, given, how, gates)
    if given[H0] is None:
        given[H0] = zeros_shaped(given[X], (how.batch, how.outputs))
    if given[C0] is None and cell == TL_LSTM:
        given[C0] = zeros_shaped(given[X], (how.batch, how.units))
    how.params.cell, how.params.reverse = cell, bool(reverse)
    how.lengths = _lengths(op, lengths, how)
    how.places = [place for place in range(PLACES) if given[place] is not None]
    for place in how.places:
        dtype = promote_codes(dtype, (<Tensor>given[place]).buf.dtype)
    for place in how.places:
        x = cast(<Tensor>given[place], dtype)
        inputs.append(x if place == X else contiguous(x))
    how.lengths, *inputs = aligned(op, (how.lengths, *inputs))
    packed = _recurrent.apply(tuple(inputs), how)
    h, c = _parts(packed, how)
    return h, take_axis(<Tensor>h, 0, how.step(how.steps - 1)), c


def rnn(
    x, h0, w_ih, w_hh, b_ih=None, b_hh=None, *, nonlinearity="tanh", reverse=False,
    lengths=None,
):
    """Run an Elman network over a sequence.

    ``h_t = f(x_t @ w_ih.T + b_ih + h_(t-1) @ w_hh.T + b_hh)``, f tanh or relu.

    Parameters
    ----------
    x : Tensor of shape (T, N, F)
        Floating, T >= 1 time steps of N sequences.
    h0 : Tensor of shape (N, H) or None
        The first state; zeros for None.
    w_ih, w_hh : Tensor of shape (H, F) and (H, H)
    b_ih, b_hh : Tensor of shape (H,), optional
    nonlinearity : {"tanh", "relu"}, default "tanh"
    reverse : bool, default False
        Go from the last step to the first.
    lengths : Tensor of integers of shape (N,), optional
        Steps of each sequence; past its end a sequence keeps its state.

    Returns
    -------
    output : Tensor of shape (T, N, H)
        The state after each step.
    h_n : Tensor of shape (N, H)
        The last state.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or there is no time step.
    ValueError
        If `nonlinearity` is neither, or a length is not in [0, T].

    References
    ----------
    J. L. Elman, "Finding Structure in Time", Cognitive Science 14 (1990) 179-211.

    Examples
    --------
    >>> import tensorlib as tl
    >>> one = tl.ones((1, 1))
    >>> output, h_n = tl.rnn(tl.ones((3, 1, 1)), None, one, one, nonlinearity="relu")
    >>> output.flatten().tolist(), h_n.tolist()
    ([1.0, 2.0, 3.0], [[3.0]])
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(
            f"rnn: expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}"
        )
    cell = TL_RNN_TANH if nonlinearity == "tanh" else TL_RNN_RELU
    given = [x, w_ih, _joined("rnn", b_ih, b_hh), w_hh, None, None, h0, None]
    return _layer("rnn", cell, given, reverse, lengths, 1)[:2]


def lstm(
    x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, *, reverse=False,
    lengths=None,
):
    """Run a layer of long short-term memory over a sequence.

    With ``i, f, g, o = x_t @ w_ih.T + b_ih + h_(t-1) @ w_hh.T + b_hh`` cut in four,
    s the logistic sigmoid: ``c_t = s(f) c_(t-1) + s(i) tanh(g)``,
    ``h_t = s(o) tanh(c_t)``, and ``h_t @ w_hr.T`` in its place where that is given.

    Parameters
    ----------
    x : Tensor of shape (T, N, F)
        Floating, T >= 1 time steps of N sequences.
    h0 : Tensor of shape (N, P) or None
        The first state, P = H without a projection; zeros for None.
    c0 : Tensor of shape (N, H) or None
        The first cell state; zeros for None.
    w_ih, w_hh : Tensor of shape (4 H, F) and (4 H, P)
    b_ih, b_hh : Tensor of shape (4 H,), optional
    w_hr : Tensor of shape (P, H), optional
        The projection.
    reverse : bool, default False
        Go from the last step to the first.
    lengths : Tensor of integers of shape (N,), optional
        Steps of each sequence; past its end a sequence keeps its state.

    Returns
    -------
    output : Tensor of shape (T, N, P)
        The state after each step.
    h_n : Tensor of shape (N, P)
        The last state.
    c_n : Tensor of shape (N, H)
        The last cell state.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or there is no time step.
    ValueError
        If a length is not in [0, T].

    References
    ----------
    S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997) 1735-1780.
    F. A. Gers et al., "Learning to Forget", Neural Computation 12 (2000), section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.zeros((8, 3)), tl.zeros((8, 2))
    >>> output, h_n, c_n = tl.lstm(tl.ones((5, 1, 3)), None, tl.ones((1, 2)), *w)
    >>> output.shape, c_n.tolist()     # every gate is one half
    ((5, 1, 2), [[0.03125, 0.03125]])
    """
    given = [x, w_ih, _joined("lstm", b_ih, b_hh), w_hh, None, w_hr, h0, c0]
    return _layer("lstm", TL_LSTM, given, reverse, lengths, 4)


def gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, *, reverse=False, lengths=None):
    """Run a layer of gated recurrent units over a sequence.

    With ``r, z, n = x_t @ w_ih.T + b_ih`` and ``r', z', n' = h_(t-1) @ w_hh.T + b_hh``,
    s the logistic sigmoid: ``h_t = (1 - Z) tanh(n + s(r + r') n') + Z h_(t-1)``,
    ``Z = s(z + z')``.

    Parameters
    ----------
    x : Tensor of shape (T, N, F)
        Floating, T >= 1 time steps of N sequences.
    h0 : Tensor of shape (N, H) or None
        The first state; zeros for None.
    w_ih, w_hh : Tensor of shape (3 H, F) and (3 H, H)
    b_ih, b_hh : Tensor of shape (3 H,), optional
    reverse : bool, default False
        Go from the last step to the first.
    lengths : Tensor of integers of shape (N,), optional
        Steps of each sequence; past its end a sequence keeps its state.

    Returns
    -------
    output : Tensor of shape (T, N, H)
        The state after each step.
    h_n : Tensor of shape (N, H)
        The last state.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or there is no time step.
    ValueError
        If a length is not in [0, T].

    References
    ----------
    K. Cho et al., arXiv:1406.1078, equations 5-8.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.zeros((6, 3)), tl.zeros((6, 2))
    >>> output, h_n = tl.gru(tl.ones((3, 1, 3)), tl.ones((1, 2)), *w)
    >>> h_n.tolist()     # half of the state is kept at each step
    [[0.125, 0.125]]
    """
    given = [x, w_ih, b_ih, w_hh, b_hh, None, h0, None]
    return _layer("gru", TL_GRU, given, reverse, lengths, 3)[:2]


cdef object _joined(str op, object b_ih, object b_hh):
    """The two biases' sum: only a GRU has to keep them apart."""
    if b_ih is None or b_hh is None:
        return b_hh if b_ih is None else b_ih
    b_ih, b_hh = as_tensor(op, b_ih), as_tensor(op, b_hh)
    _check_shape(op, "b_hh", b_hh, b_ih.shape)
    return b_ih + b_hh
