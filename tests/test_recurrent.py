"""Recurrent layers against PyTorch, and their derivatives against differences."""

import itertools

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.nn.utils import rnn as packing

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")

# Sums of a few dozen products, through a few steps.
NEAR = {"float32": (1e-5, 2e-6), "float64": (1e-12, 1e-13)}


def torch_module():
    return pytest.importorskip("torch")


def to_torch(x):
    return torch_module().from_numpy(x.detach().numpy().copy())


def assert_same(ours, theirs):
    rtol, atol = NEAR[ours.dtype.name]
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol
    )


def draw(*shape, dtype="float64", seed=0):
    return tl.randn(shape, dtype=tl.dtype(dtype), generator=tl.Generator(seed))


def flat(results):
    """Tensors inside nested tuples, in order."""
    if isinstance(results, (tuple, list)):
        return [x for each in results for x in flat(each)]
    return [results]


def compare(ours, theirs, inputs):
    """Outputs and all gradients of two modules with our parameters."""
    torch = torch_module()
    state = {name: to_torch(value) for name, value in ours.state_dict().items()}
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict(state)

    def apply(module, convert):
        leaves = [convert(x) for x in flat(inputs)]
        given = iter(leaves)
        args = [
            tuple(next(given) for _ in x) if isinstance(x, tuple) else next(given)
            for x in inputs
        ]
        return leaves, flat(module(*args))

    leaves, found = apply(ours, lambda x: x.detach().requires_grad_(True))
    tleaves, wanted = apply(theirs, lambda x: to_torch(x).requires_grad_(True))
    loss, tloss = 0.0, 0.0
    for k, (y, ty) in enumerate(zip(found, wanted, strict=True)):
        assert_same(y, ty)
        weights = draw(*y.shape, dtype=y.dtype.name, seed=k + 50)
        loss = loss + (y * weights).sum()
        tloss = tloss + (ty * to_torch(weights)).sum()
    loss.backward()
    tloss.backward()
    for x, tx in zip(leaves, tleaves, strict=True):
        assert_same(x.grad, tx.grad)
    for (name, p), (tname, tp) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == tname
        assert_same(p.grad, tp.grad)
    assert torch.is_tensor(wanted[0])


def build(kind, *args, dtype="float64", **kwargs):
    """The same module of both libraries."""
    torch = torch_module()
    ours = getattr(nn, kind)(
        *args, dtype=tl.dtype(dtype), generator=tl.Generator(1), **kwargs
    )
    return ours, getattr(torch.nn, kind)(*args, dtype=getattr(torch, dtype), **kwargs)


LAYERS = [
    ("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {}),
    ("LSTM", {"proj_size": 2}),
]  # fmt: skip
SETTINGS = [
    {}, {"num_layers": 2}, {"num_layers": 3, "bidirectional": True}, {"bias": False},
    {"bidirectional": True, "batch_first": True},
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("kind", "how"), LAYERS, ids=str)
def test_layer_matches_pytorch(kind, how, settings, dtype):
    ours, theirs = build(kind, 3, 5, dtype=dtype, **how, **settings)
    compare(ours, theirs, [draw(4, 6, 3, dtype=dtype)])


@pytest.mark.parametrize(("steps", "batch", "units"), [
    (3, 9, 40), (4, 3, 40), (5, 4, 33), (6, 13, 70), (4, 64, 9), (4, 65, 9),
    (5, 1, 40), (4, 2, 37), (3, 3, 16), (3, 1, 15),
])  # fmt: skip
@pytest.mark.parametrize(("kind", "how"), [*LAYERS[1:4], ("LSTM", {"proj_size": 7})])
def test_layer_with_packed_weights_matches_pytorch(kind, how, steps, batch, units):
    """On both sides of each bound; the gradient's inner dimension takes two blocks.

    Fewer than four sequences read weights in place, where a state fills a vector.
    """
    ours, theirs = build(kind, 3, units, **how)
    compare(ours, theirs, [draw(steps, batch, 3)])


def states_of(kind, how, count, batch, dtype="float64"):
    sizes = [how.get("proj_size", 5)] + ([5] if kind == "LSTM" else [])
    shapes = [(count, *batch, size) for size in sizes]
    states = tuple(draw(*s, dtype=dtype, seed=7 + k) for k, s in enumerate(shapes))
    return states if kind == "LSTM" else states[0]


@pytest.mark.parametrize("shape", [(1, 2), (7, 1), (1, 1), (4, 3)])
@pytest.mark.parametrize(("kind", "how"), LAYERS, ids=str)
def test_layer_with_initial_states_matches_pytorch(kind, how, shape):
    ours, theirs = build(kind, 3, 5, num_layers=2, bidirectional=True, **how)
    states = states_of(kind, how, 4, shape[1:])
    compare(ours.eval(), theirs.eval(), [draw(*shape, 3), states])


@pytest.mark.parametrize(("kind", "how"), LAYERS, ids=str)
def test_unbatched_layer_matches_pytorch(kind, how):
    ours, theirs = build(kind, 3, 5, bidirectional=True, batch_first=True, **how)
    compare(ours, theirs, [draw(4, 3), states_of(kind, how, 2, ())])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_wide_layer_matches_pytorch(kind):
    ours, theirs = build(kind, 40, 70)
    compare(ours, theirs, [draw(5, 33, 40)])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_noncontiguous_input_matches_pytorch(kind):
    ours, _ = build(kind, 3, 5)
    x = draw(3, 4, 6).permute_dims((2, 1, 0))
    assert ours(x)[0].tolist() == ours(x.contiguous())[0].tolist()


@pytest.mark.parametrize("batch", [(), (1,), (4,)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cell_matches_pytorch(kind, bias, batch):
    ours, theirs = build(kind, 3, 5, bias=bias)
    states = draw(*batch, 5, seed=3)
    if kind == "LSTMCell":
        states = (states, draw(*batch, 5, seed=4))
    compare(ours, theirs, [draw(*batch, 3), states])
    compare(ours, theirs, [draw(*batch, 3)])


def test_relu_cell_matches_pytorch():
    ours, theirs = build("RNNCell", 3, 5, nonlinearity="relu")
    compare(ours, theirs, [draw(4, 3), draw(4, 5)])


# ---- sequences of unequal length -----------------------------------------------
@pytest.mark.parametrize("lengths", [[4, 4, 2, 1], [2, 4, 1, 3]])
@pytest.mark.parametrize(("kind", "how"), LAYERS, ids=str)
def test_packed_layer_matches_pytorch(kind, how, lengths):
    ours, theirs = build(kind, 3, 5, num_layers=2, bidirectional=True, **how)
    compare_packed(ours, theirs, lengths, states_of(kind, how, 4, (4,)))


@pytest.mark.parametrize("lengths", [[4, 2], [1, 4, 2]])
@pytest.mark.parametrize(("kind", "how"), LAYERS[:4], ids=str)
def test_packed_layer_that_reads_weights_in_place_matches_pytorch(kind, how, lengths):
    ours, theirs = build(kind, 3, 19, bidirectional=True, **how)
    states = tuple(
        draw(2, len(lengths), 19, seed=k) for k in range(2 if kind == "LSTM" else 1)
    )
    compare_packed(ours, theirs, lengths, states if kind == "LSTM" else states[0])


def compare_packed(ours, theirs, lengths, states):
    """Modules on packed sequences, of four steps at most."""
    tpacking = torch_module().nn.utils.rnn
    ordered = lengths == sorted(lengths, reverse=True)

    def whole(module, pack, unpack):
        def forward(x, states):
            packed = pack(x, lengths, enforce_sorted=ordered)
            output, finals = module(packed, states)
            return [unpack(output)[0], finals]

        for name in ("state_dict", "load_state_dict", "named_parameters"):
            setattr(forward, name, getattr(module, name))
        return forward

    compare(
        whole(ours, packing.pack_padded_sequence, packing.pad_packed_sequence),
        whole(theirs, tpacking.pack_padded_sequence, tpacking.pad_packed_sequence),
        [draw(4, len(lengths), 3), states],
    )


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("lengths", [[3, 2, 1], [1, 3, 2], [2]])
def test_packing_matches_pytorch(lengths, batch_first):
    theirs = torch_module().nn.utils.rnn
    sequences = [draw(n, 2, seed=n) for n in lengths]
    padded = packing.pad_sequence(sequences, batch_first, 0.5)
    tpadded = theirs.pad_sequence([to_torch(s) for s in sequences], batch_first, 0.5)
    assert_same(padded, tpadded)
    packed = packing.pack_padded_sequence(padded, lengths, batch_first, False)
    tpacked = theirs.pack_padded_sequence(tpadded, lengths, batch_first, False)
    for field, tfield in zip(packed, tpacked, strict=True):
        np.testing.assert_array_equal(field.numpy(), tfield.numpy())
    again, counts = packing.pad_packed_sequence(packed, batch_first, 0.25, 5)
    tagain, tcounts = theirs.pad_packed_sequence(tpacked, batch_first, 0.25, 5)
    assert_same(again, tagain)
    assert counts.tolist() == tcounts.tolist()
    for part, sequence in zip(
        packing.unpad_sequence(padded, lengths, batch_first), sequences, strict=True
    ):
        assert part.tolist() == sequence.tolist()


def test_padding_on_the_left_matches_pytorch():
    theirs = torch_module().nn.utils.rnn
    sequences = [draw(n, 2, seed=n) for n in (1, 3)]
    assert_same(
        packing.pad_sequence(sequences, padding_side="left"),
        theirs.pad_sequence([to_torch(s) for s in sequences], padding_side="left"),
    )


def test_packing_bad_lengths_raises():
    x = tl.zeros((3, 2, 1))
    with pytest.raises(ValueError, match="falling lengths"):
        packing.pack_padded_sequence(x, [1, 3])
    with pytest.raises(ValueError, match=r"lengths in \[1, 3\]"):
        packing.pack_padded_sequence(x, [4, 1])
    with pytest.raises(tl.ShapeError, match="expected 2 lengths"):
        packing.pack_padded_sequence(x, [1])
    with pytest.raises(ValueError, match="at least one"):
        packing.pad_sequence([])
    with pytest.raises(tl.ShapeError, match="pad_sequence"):
        packing.pad_sequence([tl.zeros((2, 1)), tl.zeros((2, 2))])


# ---- extremes ------------------------------------------------------------------
@pytest.mark.parametrize("scale", [1e4, -1e4, 1e-40])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_extreme_inputs_match_pytorch(kind, scale):
    ours, theirs = build(kind, 3, 5, dtype="float32")
    compare(ours, theirs, [draw(4, 2, 3, dtype="float32") * scale])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_nan_stays_within_its_sequence(kind):
    ours, _ = build(kind, 3, 5)
    x = draw(4, 2, 3)
    x[1, 0, 0] = tl.nan
    output = ours(x)[0]
    assert bool(output[:, 1].isfinite().all())
    assert bool(output[1:, 0].isnan().all())


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_empty_batch_has_zero_gradients(kind):
    ours, _ = build(kind, 3, 5)
    output = ours(tl.zeros((4, 0, 3), dtype=tl.float64))[0]
    assert output.shape == (4, 0, 5)
    output.sum().backward()
    assert all(float(abs(p.grad).sum()) == 0 for p in ours.parameters())


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_cell_without_inputs_matches_pytorch(kind):
    ours, theirs = build(kind + "Cell", 0, 5)
    theirs.load_state_dict({n: to_torch(p) for n, p in ours.state_dict().items()})
    x = tl.zeros((3, 0), dtype=tl.float64)
    for y, ty in zip(flat(ours(x)), flat(theirs(to_torch(x))), strict=True):
        assert_same(y, ty)


# ---- derivatives ---------------------------------------------------------------
def op_cases():
    for kind, reverse, cut in itertools.product(
        ("rnn", "relu", "lstm", "gru", "proj"), (False, True), (None, [3, 1])
    ):
        yield kind, {"reverse": reverse, "lengths": cut and tl.tensor(cut)}


def op_inputs(kind):
    gates = {"lstm": 4, "proj": 4, "gru": 3}.get(kind, 1)
    p = 2 if kind == "proj" else 3
    states = [(2, p)] + ([(2, 3)] if gates == 4 else [])
    shapes = [(3, 2, 2), *states, (gates * 3, 2), (gates * 3, p)]
    shapes += [(gates * 3,), (gates * 3,)] + ([(p, 3)] if kind == "proj" else [])
    return [
        (draw(*s, seed=k + 20) * 0.7).requires_grad_(True) for k, s in enumerate(shapes)
    ]


def op_function(kind, how):
    name = {"proj": "lstm", "relu": "rnn"}.get(kind, kind)
    if kind == "relu":
        how = {**how, "nonlinearity": "relu"}

    def function(*inputs):
        return getattr(tl, name)(*inputs, **how)

    return function


@pytest.mark.parametrize(("kind", "how"), list(op_cases()), ids=str)
def test_derivatives_equal_differences(kind, how):
    function, inputs = op_function(kind, how), op_inputs(kind)
    assert tl.autograd.gradcheck(function, inputs, directions=2)
    assert tl.autograd.gradgradcheck(function, inputs, directions=1)


@pytest.mark.parametrize(("kind", "how"), list(op_cases()), ids=str)
def test_recorded_gradient_equals_the_kernels(kind, how):
    function, inputs = op_function(kind, how), op_inputs(kind)
    outputs = function(*inputs)
    cotangents = [draw(*y.shape, seed=k) for k, y in enumerate(outputs)]
    fast = tl.autograd.grad(outputs, inputs, cotangents, retain_graph=True)
    slow = tl.autograd.grad(outputs, inputs, cotangents, create_graph=True)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(
            a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14
        )


def test_gradient_of_a_part_of_the_inputs():
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = op_inputs("lstm")
    fixed = [t.detach() for t in (h0, c0, w_ih, w_hh, b_ih)]
    y = tl.lstm(x.detach(), *fixed, b_hh)[0].sum()
    (part,) = tl.autograd.grad(y, [b_hh])
    z = tl.lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh)[0].sum()
    assert part.tolist() == tl.autograd.grad(z, [b_hh])[0].tolist()


def test_gradient_of_the_cell_state_alone():
    function, inputs = op_function("lstm", {}), op_inputs("lstm")
    assert tl.autograd.gradcheck(lambda *a: function(*a)[2], inputs, directions=2)


# ---- threads and memory --------------------------------------------------------
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "units"), [((3, 130), 96), ((5, 60), 170), ((2, 3), 405)]
)
def test_bits_do_not_depend_on_threads(kind, dtype, shape, units):
    ours = getattr(nn, kind)(
        64,
        units,
        2,
        dtype=tl.dtype(dtype),
        generator=tl.Generator(1),
        bidirectional=True,
    )
    x = draw(*shape, 64, dtype=dtype)
    found = []
    for n in (1, 2, 3, 8):
        with tl.num_threads(n):
            ours.zero_grad()
            output = flat(ours(x))
            sum((y * y).sum() for y in output).backward()
            found.append(
                [y.detach().numpy().tobytes() for y in output]
                + [p.grad.numpy().tobytes() for p in ours.parameters()]
            )
    assert all(each == found[0] for each in found[1:])


def test_layers_leave_no_storage_behind():
    layer = nn.LSTM(3, 5, 2, bidirectional=True)
    x = tl.ones((4, 2, 3))
    layer(x)[0].sum().backward()
    layer.zero_grad()
    live = tl.memory_stats()["live"]
    for _ in range(3):
        layer(x)[0].sum().backward()
        layer.zero_grad()
    assert tl.memory_stats()["live"] == live


# ---- dropout, arguments --------------------------------------------------------
def test_dropout_between_layers_acts_in_training_only():
    layer = nn.GRU(3, 5, 2, dropout=0.5, generator=tl.Generator(0))
    x = tl.ones((4, 2, 3))
    assert layer(x)[0].tolist() != layer(x)[0].tolist()
    layer.eval()
    assert layer(x)[0].tolist() == layer(x)[0].tolist()


def test_dropout_of_everything_leaves_the_biases():
    layer = nn.GRU(3, 5, 2, dropout=1.0)
    x = tl.ones((4, 2, 3))
    assert layer(x)[0].tolist() == layer(x * 2.0)[0].tolist()


def test_dropout_in_a_single_layer_warns():
    with pytest.warns(UserWarning, match="between layers"):
        nn.LSTM(3, 5, dropout=0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LSTM(3, 0), "hidden_size"),
        (lambda: nn.LSTM(0, 3), "input_size"),
        (lambda: nn.LSTM(3, 5, 0), "num_layers"),
        (lambda: nn.GRU(3, 5, dropout=1.5), "dropout"),
        (lambda: nn.LSTM(3, 5, proj_size=5), "proj_size"),
        (lambda: nn.RNN(3, 5, nonlinearity="sin"), "nonlinearity"),
        (lambda: nn.RNNCell(3, 5, nonlinearity="sin"), "nonlinearity"),
        (lambda: nn.RNNBase("GRU", 3, 5, proj_size=2), "LSTM only"),
        (lambda: nn.RNNBase("XYZ", 3, 5), "mode"),
        (lambda: nn.LSTM(3, 5)(tl.ones((2, 1, 4))), "F=3"),
        (lambda: nn.LSTM(3, 5)(tl.ones(3)), "F=3"),
        (lambda: nn.LSTM(3, 5)(tl.ones((0, 1, 3))), "at least one time step"),
        (lambda: nn.GRU(3, 5)(tl.ones((2, 1, 3)), tl.ones((1, 2, 5))), "h_0"),
        (lambda: nn.LSTM(3, 5)(tl.ones((2, 1, 3)), (tl.ones((1, 1, 5)),)), "c_0"),
        (lambda: nn.LSTMCell(3, 5)(tl.ones((2, 1, 3))), "LSTMCell"),
        (lambda: nn.GRUCell(3, 5)(tl.ones((2, 3)), tl.ones((3, 5))), "state of shape"),
    ],
)
def test_bad_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_repr_matches_pytorch():
    for kind, args, kwargs in [
        ("LSTM", (3, 5, 2), {"bidirectional": True, "proj_size": 2}),
        ("GRU", (3, 5), {"bias": False, "batch_first": True}),
        ("RNN", (3, 5), {}),
    ]:
        ours, theirs = build(kind, *args, **kwargs)
        assert repr(ours) == repr(theirs)


def test_sizes_beyond_memory_raise():
    x = tl.ones((1 << 40, 1 << 40, 0))
    with pytest.raises(MemoryError):
        tl.lstm(x, None, None, tl.ones((8, 0)), tl.ones((8, 2)))
    with pytest.raises(MemoryError):
        tl.gru(x, None, tl.ones((6, 0)), tl.ones((6, 2)))
    wide = tl.ones((1, 1, 1)).broadcast_to((1 << 20, 1 << 30, 1))
    with pytest.raises(MemoryError):
        tl.rnn(wide, None, tl.ones((64, 1)), tl.ones((64, 64)))


# ---- truncated backpropagation through time (CMU 10-414, lecture 19) ---------------
RUN = 4  # steps between two cuts


def truncated(layer, x, cut):
    """The course's procedure: runs one after the other, the state handed on as data."""
    layer.zero_grad()
    state, states = None, []
    for start in range(0, x.shape[0], RUN):
        output, state = layer(x[start : start + RUN], state)
        (output**2).sum().backward()
        states.append(flat(state)[0].tolist())
        state = tuple(map(cut, state)) if isinstance(state, tuple) else cut(state)
    return states, [p.grad for p in layer.parameters()]


def truncated_by_hand(x, w_ih, w_hh, b_ih, b_hh):
    """The same for h' = tanh(W x + b + U h + c), its derivative written out."""
    grads = [np.zeros_like(p) for p in (w_ih, w_hh, b_ih, b_hh)]
    h = np.zeros((x.shape[1], w_hh.shape[0]))
    for start in range(0, x.shape[0], RUN):
        steps = [h]
        for x_t in x[start : start + RUN]:
            steps.append(np.tanh(x_t @ w_ih.T + b_ih + steps[-1] @ w_hh.T + b_hh))
        g = np.zeros_like(h)
        for t in reversed(range(len(steps) - 1)):
            g = (g + 2 * steps[t + 1]) * (1 - steps[t + 1] ** 2)
            grads[0] += g.T @ x[start + t]
            grads[1] += g.T @ steps[t]
            grads[2] += g.sum(0)
            grads[3] += g.sum(0)
            g = g @ w_hh
        h = steps[-1]
    return grads


CUTS = {
    "detach": lambda state: state.detach(),
    "data": lambda state: state.data,
    "copy": lambda state: tl.asarray(state.detach().numpy().copy()),
}


@pytest.mark.parametrize("cut", CUTS)
def test_truncated_gradients_are_those_written_by_hand(cut):
    layer = nn.RNN(3, 5).double()
    x = draw(10, 2, 3)
    found = truncated(layer, x, CUTS[cut])[1]
    expected = truncated_by_hand(
        x.numpy(), *[p.detach().numpy() for p in layer.parameters()]
    )
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g.numpy(), e, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_truncated_gradients_match_pytorch(kind):
    torch = torch_module()
    ours, theirs = (getattr(m, kind)(3, 5, 2).double() for m in (nn, torch.nn))
    theirs.load_state_dict({k: to_torch(v) for k, v in ours.state_dict().items()})
    x = draw(10, 2, 3)
    states, found = truncated(ours, x, CUTS["data"])
    their_states, expected = truncated(theirs, to_torch(x), CUTS["detach"])
    np.testing.assert_allclose(states, their_states, rtol=1e-12, atol=1e-13)
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_truncated_states_are_those_of_the_whole_sequence(kind):
    layer = getattr(nn, kind)(3, 5).double()
    x = draw(12, 2, 3)
    states, found = truncated(layer, x, CUTS["detach"])
    output, _ = layer(x)
    for n, h in enumerate(states, 1):
        np.testing.assert_allclose(h[0], output[n * RUN - 1].tolist(), atol=1e-13)
    layer.zero_grad()
    (output**2).sum().backward()  # through all of time: another gradient
    whole = [p.grad.numpy() for p in layer.parameters()]
    assert not np.allclose(found[1].numpy(), whole[1], rtol=1e-3)


def test_truncated_state_keeps_no_graph_of_earlier_runs():
    layer = nn.GRU(3, 5)
    x, state, live = tl.ones((RUN, 2, 3)), None, []
    for _ in range(4):
        output, state = layer(x, state)
        output.sum().backward(retain_graph=True)  # frees nothing by itself
        state = state.detach()
        live.append(tl.memory_stats()["live"])
    assert live[1] == live[2] == live[3]
