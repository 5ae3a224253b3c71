"""vmap of ops that take all examples in one call of their own (docs/transforms.md)."""

import itertools

import numpy as np
import pytest
from test_vmap import close, normal, stacked

import tensorlib as tl


# ---- linear algebra ------------------------------------------------------------
def test_failure_of_one_example_names_its_index():
    x = tl.stack([tl.eye(2), tl.eye(2), tl.zeros((2, 2))])
    with pytest.raises(tl.linalg.LinAlgError, match=r"at index \(2,\) of the batch"):
        tl.vmap(tl.linalg.inv)(x)


def test_solve_with_a_shared_matrix_equals_loop():
    a, b = normal(4, 4), normal(3, 5, 4, seed=1)
    f = lambda r: tl.linalg.solve(a, r)  # noqa: E731
    close(tl.vmap(tl.vmap(f))(b), tl.stack([stacked(f, r) for r in b]))
    sides = normal(3, 4, 2, seed=2)
    close(tl.vmap(f)(sides), stacked(f, sides))


def test_gradient_by_a_shared_matrix_is_each_examples_own():
    a, b = normal(4, 4), normal(3, 4, seed=1)
    f = tl.grad(lambda a, b: tl.linalg.solve(a, b).sum())
    close(tl.vmap(f, (None, 0))(a, b), tl.stack([f(a, r) for r in b]), 1e-9)


@pytest.mark.parametrize("name", ["det", "slogdet", "inv", "eigvals", "svdvals", "qr"])
def test_complex_matrices_under_vmap_equal_loop(name):
    x = tl.complex(normal(4, 3, 3), normal(4, 3, 3, seed=1))
    op = getattr(tl.linalg, name)
    found, rows = tl.vmap(op)(x), [op(r) for r in x]
    found = found if isinstance(found, tuple) else (found,)
    for k, y in enumerate(found):
        parts = [r[k] if isinstance(r, tuple) else r for r in rows]
        close(y, tl.stack(parts))


def test_determinants_of_which_some_are_singular_have_gradients_under_vmap():
    x = normal(4, 3, 3).copy()
    x[1, 2] = x[1, 1]
    slope = tl.grad(tl.linalg.det)
    close(tl.vmap(slope)(x), stacked(slope, x), 1e-9)


# ---- convolution ---------------------------------------------------------------
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_convolution_of_an_ensemble_over_examples_equals_loops(op, groups, layout):
    # Members have weights of their own; the examples are shared, or each member's.
    out = 6 if op == "conv2d" else 6 // groups
    shape = (out, 4 // groups, 3, 2) if op == "conv2d" else (4, out, 3, 2)
    w, b = normal(2, *shape), normal(2, 6, seed=1)
    x = normal(2, 3, 2, 4, 7, 6, seed=2)
    x = x if layout == "NCHW" else tl.moveaxis(x, 3, -1)

    def call(x, w, b):
        convolve = getattr(tl, op)
        return convolve(x, w, b, stride=(1, 2), padding=1, groups=groups, layout=layout)

    def loss(x, w, b):
        return (call(x, w, b) ** 2).sum()

    slopes = tl.grad(loss, (0, 1, 2))
    for own in (True, False):
        axes = (0 if own else None, 0, 0)
        given = x if own else x[0]
        found = tl.vmap(tl.vmap(call, (0, None, None)), axes)(given, w, b)
        each = tl.vmap(tl.vmap(slopes, (0, None, None)), axes)(given, w, b)
        for i in range(2):
            for j in range(3):
                one = given[i, j] if own else given[j]
                close(found[i, j], call(one, w[i], b[i]), 1e-10)
                for g, e in zip(each, slopes(one, w[i], b[i]), strict=True):
                    close(g[i, j], e, 1e-9)


# ---- recurrent layers ----------------------------------------------------------
@pytest.mark.parametrize("lengths", [None, "shared", "mapped"])
@pytest.mark.parametrize("op", ["rnn", "lstm", "gru"])
def test_recurrent_layer_under_two_vmaps_equals_loops(op, lengths):
    # Of its derivative by the shared weights each example has its own.
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[op]
    x = normal(2, 3, 4, 2, 5)
    w_ih, w_hh = normal(gates * 3, 5, seed=1), normal(gates * 3, 3, seed=2)
    given = {
        "shared": tl.tensor([[4, 2]] * 3),
        "mapped": tl.tensor([[4, 2], [1, 3], [0, 4]]),
    }
    ends = given.get(lengths, tl.zeros((3, 2)))
    states = (None, None) if op == "lstm" else (None,)

    def loss(w_ih, w_hh, x, ends):
        ends = None if lengths is None else ends
        made = getattr(tl, op)(x, *states, w_ih, w_hh, lengths=ends)
        return sum((y**2 * (k + 1)).sum() for k, y in enumerate(made))

    slopes = tl.grad(loss, (0, 1, 2))
    inner = tl.vmap(slopes, (None, None, 0, 0 if lengths != "shared" else None))
    ends_given = ends if lengths != "shared" else ends[0]
    found = tl.vmap(inner, (None, None, 0, None))(w_ih, w_hh, x, ends_given)
    for i, j in itertools.product(range(2), range(3)):
        for g, e in zip(found, slopes(w_ih, w_hh, x[i, j], ends[j]), strict=True):
            close(g[i, j], e)


# ---- counting and searching ----------------------------------------------------
def test_bincount_of_examples_is_one_count_with_minlength():
    x = tl.tensor([[0, 2, 2], [1, 1, 0]])
    w = normal(2, 3)
    found = tl.vmap(lambda x, w: tl.bincount(x, w, minlength=4))(x, w)
    close(found, stacked(lambda x, w: tl.bincount(x, w, minlength=4), x, w))
    with pytest.raises(tl.ShapeError, match="give minlength=3"):
        tl.vmap(tl.bincount)(x)
    with pytest.raises(ValueError, match=r"elements >= 0, got -1"):
        tl.vmap(lambda r: tl.bincount(r - 1, minlength=4))(x)
    assert tl.vmap(tl.bincount)(tl.zeros((2, 0), dtype="int64")).shape == (2, 0)


@pytest.mark.parametrize("bins", [4, tl.tensor([-1.0, 0.0, 0.5, 2.0])])
@pytest.mark.parametrize("weighted", [False, True])
def test_histogram_with_a_given_range_equals_loop(bins, weighted):
    x, w = normal(3, 20, dtype="float32"), normal(3, 20, seed=1, dtype="float32")
    w = w if weighted else None

    def count(x, w):
        return tl.histogram(x, bins, range=(-1.0, 1.0), weights=w).hist

    found = tl.vmap(count, (0, 0 if weighted else None))(x, w)
    rows = [count(x[i], w[i] if weighted else None) for i in range(3)]
    assert found.tolist() == tl.stack(rows).tolist()


def test_quantiles_of_mapped_fractions_equal_loop():
    x, q = normal(3, 7), tl.tensor([[0.1, 0.5], [0.9, 0.25], [1.0, 0.0]])
    for axes in ((0, 0), (None, 0)):
        given = x if axes[0] == 0 else x[0]
        found = tl.vmap(lambda x, q: tl.quantile(x, q), axes)(given, q)
        rows = [tl.quantile(x[i if axes[0] == 0 else 0], q[i]) for i in range(3)]
        assert found.tolist() == tl.stack(rows).tolist()
    with pytest.raises(ValueError, match=r"q in \[0, 1\]"):
        tl.vmap(lambda q: tl.quantile(x[0], q + 1))(q)


# ---- random numbers in parts ---------------------------------------------------
@pytest.mark.parametrize("own", [False, True])
def test_shared_random_numbers_are_the_same_for_all_chunks(own):
    generator = tl.Generator(5) if own else None
    f = lambda _: tl.rand(3, generator=generator)  # noqa: E731
    twice = lambda x: tl.stack([f(x), f(x)])  # noqa: E731
    rows = tl.vmap(twice, randomness="same", chunk_size=2)(tl.zeros(5)).tolist()
    assert all(row == rows[0] for row in rows)
    assert rows[0][0] != rows[0][1]
    again = tl.vmap(twice, randomness="same", chunk_size=2)(tl.zeros(5)).tolist()
    assert again[0] != rows[0]


def test_shared_random_numbers_in_chunks_inside_a_vmap_with_different_ones():
    f = lambda _: tl.rand(())  # noqa: E731
    inner = tl.vmap(f, randomness="same", chunk_size=2)
    found = tl.vmap(inner, randomness="different")(tl.zeros((3, 5))).numpy()
    assert np.all(found == found[:, :1])
    assert len(set(found[:, 0])) == 3
    other = tl.vmap(f, randomness="different", chunk_size=2)
    found = tl.vmap(other, randomness="same", chunk_size=2)(tl.zeros((3, 5))).numpy()
    assert np.all(found == found[:1])
    assert len(set(found[0])) == 5


@pytest.mark.parametrize("outer", ["error", "same", "different"])
@pytest.mark.parametrize("inner", ["error", "same", "different"])
def test_nested_vmaps_with_an_error_mode_refuse_to_draw(outer, inner):
    draw = lambda _: tl.randperm(6)  # noqa: E731
    nested = tl.vmap(tl.vmap(draw, randomness=inner), randomness=outer)
    x = tl.zeros((3, 4))
    if "error" in (outer, inner):
        with pytest.raises(tl.GraphError, match="randomness="):
            nested(x)
        return
    found = nested(x)
    rows = {tuple(row) for row in found[0].tolist()}
    columns = {tuple(row) for row in found[:, 0].tolist()}
    assert len(rows) == (1 if inner == "same" else 4)
    assert len(columns) == (1 if outer == "same" else 3)
    assert (found.sort(axis=-1) == tl.arange(6)).all().item()


def test_bernoulli_with_mapped_probabilities_compares_each_example_with_its_own():
    p = tl.tensor([0.0, 0.5, 1.0])
    f = lambda p: tl.bernoulli(p.broadcast_to((400,)))  # noqa: E731
    none, some, every = tl.vmap(f, randomness="same")(p).mean(axis=1).tolist()
    assert (none, every) == (0.0, 1.0)
    assert 0.3 < some < 0.7
    # One draw beside two probabilities: what succeeds at the smaller does at both.
    small, large = tl.vmap(f, randomness="same")(tl.tensor([0.3, 0.6]))
    assert (small <= large).all().item()


def test_columns_of_jacfwd_share_the_mask_of_dropout(monkeypatch):
    # One mask for all parts, and for all arguments.
    from tensorlib.transforms import jacobian

    monkeypatch.setattr(jacobian, "_PART", 40)
    x = tl.ones(20, dtype="float64")
    f = lambda x, y: tl.dropout(x * y, 0.5)  # noqa: E731
    dx, dy = tl.jacfwd(f, (0, 1))(x, x)
    assert dx.tolist() == dy.tolist()
    assert set(np.unique(np.diag(dx.numpy()))) == {0.0, 2.0}


# ---- an example at a time -------------------------------------------------------
def scattered(x, at, y):
    x = x * 1
    x[at] = y
    return x


def steps(x, w_ih, w_hh):
    return tl.gru(x, None, w_ih, w_hh)[0]


def scale_and_shift(x, w):
    return (tl.layer_norm(x, 16, w, w) ** 2).sum()


# Kernels that take one example a call, with enough examples to be split over threads.
IN_TURN = {
    "batch norm": (lambda x: tl.batch_norm(x, training=True), [(9, 16)]),
    "slope of layer norm": (tl.grad(scale_and_shift, (0, 1)), [(9, 16), (16,)]),
    "index_add": (lambda x, y: tl.index_add(x, AT, y, axis=0), [(9, 16), (4, 16)]),
    "assignment": (lambda x, y: scattered(x, AT, y), [(9, 16), (4, 16)]),
    "recurrence": (steps, [(5, 3, 4), (12, 4), (12, 4)]),
}
AT = tl.tensor([3, 3, 0, 8])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", IN_TURN)
def test_examples_shared_among_threads_have_the_bits_of_a_loop(name, threads):
    function, shapes = IN_TURN[name]
    given = [normal(700, *shape, seed=k) for k, shape in enumerate(shapes)]
    with tl.num_threads(threads):
        found = tl.vmap(function)(*given)
    rows = [function(*[x[i] for x in given]) for i in range(700)]
    made = found if isinstance(found, tuple) else (found,)
    for k, y in enumerate(made):
        parts = [row[k] if isinstance(row, tuple) else row for row in rows]
        assert np.array_equal(y.numpy(), tl.stack(parts).numpy())


def test_error_of_one_example_among_threads_is_raised():
    x, at = normal(3000, 9, 16), tl.zeros((3000, 4), dtype="int64")
    bad = at.copy()
    bad[2999, 1] = 9
    add = tl.vmap(lambda x, at: tl.index_add(x, at, x[:4], axis=0))
    with tl.num_threads(2):
        with pytest.raises(IndexError):
            add(x, bad)
        close(add(x, at)[2999], tl.index_add(x[2999], at[0], x[2999, :4], axis=0))


def test_examples_under_two_vmaps_in_other_orders_equal_loops():
    # Batch axes in another order than the memory's, one of them shared by x.
    x, y = normal(40, 9, 16), normal(50, 4, 40, 16, seed=1)
    inner = tl.vmap(lambda x, y: tl.index_add(x, AT, y, axis=0), (None, 0))
    found = tl.vmap(inner, (0, 2), out_axes=1)(x, y)
    for i, j in ((0, 0), (39, 49), (7, 30)):
        close(found[j, i], tl.index_add(x[i], AT, y[j, :, i], axis=0))


def test_anomaly_in_one_of_many_examples_is_found():
    x = tl.ones((100, 4, 2)).copy()
    x[:, 1] = -1
    x[70] = 1  # no variance, and eps is 0
    with tl.autograd.detect_anomaly(), pytest.raises(FloatingPointError, match="norm"):
        tl.vmap(lambda x: tl.batch_norm(x, training=True, eps=0.0))(x)


def test_half_precision_examples_are_widened_one_by_one():
    x = normal(5, 6, 4, dtype="float32").astype("float16")
    f = lambda x: tl.batch_norm(x, training=True)  # noqa: E731
    assert tl.vmap(f)(x).tolist() == stacked(f, x).tolist()


# ---- connectionist temporal classification ---------------------------------------
def ctc_of(reduction):
    def loss(x, targets, steps, labels):
        scores = tl.log_softmax(x, axis=-1)
        return tl.ctc_loss(scores, targets, steps, labels, reduction=reduction)

    return loss


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_of_mapped_targets_and_lengths_under_two_vmaps_equals_loops(reduction):
    x = normal(2, 3, 9, 2, 5)
    targets = tl.tensor(np.random.default_rng(0).integers(1, 5, (3, 2, 3)))
    labels = tl.tensor([[3, 1], [0, 2], [2, 2]])
    ends = tl.tensor([[9, 8], [7, 9]])
    loss = ctc_of(reduction)

    def total(*given):
        return (loss(*given) ** 2).sum()

    both = lambda *given: (loss(*given), tl.grad(total)(*given))  # noqa: E731
    inner = tl.vmap(both, (0, 0, None, 0))
    found = tl.vmap(inner, (0, None, 0, None))(x, targets, ends, labels)
    for i, j in itertools.product(range(2), range(3)):
        one = both(x[i, j], targets[j], ends[i], labels[j])
        for y, expected in zip(found, one, strict=True):
            close(y[i, j], expected)


def test_ctc_of_mapped_targets_without_a_batch_has_second_derivatives():
    x, targets = normal(3, 6, 4), tl.tensor([[1, 2], [3, 3], [2, 1]])
    loss = lambda x, t: ctc_of("mean")(x, t, 6, 2)  # noqa: E731
    close(
        tl.vmap(loss)(x, targets),
        tl.stack([loss(*z) for z in zip(x, targets, strict=True)]),
    )
    found = tl.vmap(tl.hessian(loss))(x, targets)
    close(
        found,
        tl.stack([tl.hessian(loss)(*z) for z in zip(x, targets, strict=True)]),
        1e-9,
    )


def test_ctc_of_mapped_targets_one_after_the_other_equals_loop():
    x = normal(2, 6, 2, 5)
    targets, labels = tl.tensor([[1, 2, 3], [4, 1, 2]]), tl.tensor([[1, 2], [2, 1]])
    loss = lambda x, t, n: ctc_of("none")(x, t, [6, 6], n)  # noqa: E731
    found = tl.vmap(loss)(x, targets, labels)
    close(found, stacked(loss, x, targets, labels))
    # Both together have as many labels as targets, but neither has its own number.
    with pytest.raises(tl.ShapeError, match=r"ctc_loss: expected \[4, 2\] targets"):
        tl.vmap(loss)(x, targets, tl.tensor([[2, 2], [1, 1]]))
    with pytest.raises(tl.ShapeError, match=r"target_lengths of shape \(2,\)"):
        tl.vmap(loss)(x, targets, tl.tensor([[2], [1]]))


# ---- histograms ------------------------------------------------------------------
@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_histogram_between_each_examples_extremes_equals_loops(weighted, density):
    x, w = normal(2, 3, 30, dtype="float32"), normal(2, 3, 30, seed=1, dtype="float32")
    x = x.copy()
    x[1, 2] = 0.5  # one value alone: half a unit to each side

    def count(x, w):
        w = w if weighted else None
        return tuple(tl.histogram(x, 7, weights=w, density=density))

    found = tl.vmap(tl.vmap(count))(x, w)
    edges = tl.vmap(tl.vmap(lambda x: tl.histogram_bin_edges(x, 7)))(x)
    assert edges.tolist() == found[1].tolist()
    for i, j in itertools.product(range(2), range(3)):
        for y, expected in zip(found, count(x[i, j], w[i, j]), strict=True):
            assert y[i, j].tolist() == expected.tolist()
    with pytest.raises(ValueError, match="finite, rising range"):
        tl.vmap(lambda x: tl.histogram(x).hist)(tl.tensor([[0.0, 1.0], [0.0, tl.inf]]))


# ---- rules of outside kernels ------------------------------------------------------
@pytest.mark.parametrize(
    ("way", "shared", "message"),
    [
        ("columns", (), "'axes', 'rows' or 'loop', got 'columns'"),
        (None, (), "'axes', 'rows' or 'loop', got None"),
        ("axes", (16,), r"operands in \[0, 16\), got 16"),
        ("axes", (-1,), r"operands in \[0, 16\), got -1"),
    ],
)
def test_batching_rule_that_is_none_raises(way, shared, message):
    with pytest.raises(ValueError, match=f"set_batching_rule: expected {message}"):
        tl.autograd.set_batching_rule("outside.op", way, shared)
