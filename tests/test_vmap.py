"""vmap: trees and axes, composition with the other transforms, modules, errors."""

import gc
import itertools
import threading
from collections import namedtuple

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.transforms.pytree import broadcast_prefix

Pair = namedtuple("Pair", ["a", "b"])


def normal(*shape, seed=0, dtype="float64"):
    rng = np.random.default_rng((seed, *shape))
    return tl.tensor(rng.normal(size=shape).astype(dtype))


def close(found, expected, rtol=1e-11):
    assert found.shape == expected.shape
    found, expected = found.detach().numpy(), expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def stacked(function, *args):
    """The loop that vmap stands for: all arguments mapped along axis 0."""
    return tl.stack([function(*[x[i] for x in args]) for i in range(args[0].shape[0])])


# ---- trees and axes ------------------------------------------------------------
def test_vmap_of_tree_maps_each_leaf():
    x, y = normal(4, 3), normal(4, 2)
    found = tl.vmap(lambda t: Pair(t["x"].sum(), [t["y"] * 2]))({"x": x, "y": y})
    assert type(found) is Pair
    close(found.a, x.sum(axis=1))
    close(found.b[0], y * 2)


def test_vmap_with_axes_per_leaf_equals_moved_arguments():
    x, y, z = normal(3, 4), normal(4, 3), normal(5)
    f = lambda t, z: (t["x"] * t["y"]).sum() + z.sum()  # noqa: E731
    found = tl.vmap(f, in_axes=({"x": 1, "y": 0}, None))({"y": y, "x": x}, z)
    close(found, (x.T * y).sum(axis=1) + z.sum())


def test_vmap_with_negative_axes_counts_from_the_end():
    x = normal(2, 3, 4)
    found = tl.vmap(lambda r: r * 2, in_axes=-1, out_axes=-2)(x)
    close(found, tl.permute_dims(x * 2, (0, 2, 1)))


@pytest.mark.parametrize("out_axes", [0, 1, -1])
def test_vmap_puts_results_along_out_axes(out_axes):
    x = normal(4, 3)
    found = tl.vmap(lambda r: r * 2, out_axes=out_axes)(x)
    close(found, x * 2 if out_axes == 0 else (x * 2).T)


def test_vmap_with_out_axes_per_result_places_each():
    x, w = normal(4, 3), normal(2)
    f = lambda r: (r, {"s": r.sum(), "w": w})  # noqa: E731
    first, rest = tl.vmap(f, out_axes=(1, {"s": 0, "w": None}))(x)
    close(first, x.T)
    close(rest["s"], x.sum(axis=1))
    assert rest["w"] is w


def test_vmap_of_shared_result_repeats_it():
    found = tl.vmap(lambda r: normal(2))(normal(3, 1))
    close(found, normal(2).broadcast_to((3, 2)))


def test_vmap_shares_keyword_arguments():
    x, w = normal(4, 3), normal(4, 3, seed=1)
    found = tl.vmap(lambda r, w: (r * w).sum())(x, w=w)
    close(found, stacked(lambda r: (r * w).sum(), x))


@pytest.mark.parametrize("size", [0, 1])
def test_vmap_of_few_examples_has_the_shape_of_many(size):
    w = normal(3, 2)
    found = tl.vmap(lambda r: tl.softmax(r @ w, axis=0))(normal(size, 3))
    assert found.shape == (size, 2)


@pytest.mark.parametrize("chunk", [1, 2, 5, 7])
def test_vmap_in_chunks_equals_vmap(chunk):
    x, y = normal(5, 3), normal(3, 5, seed=1)
    f = lambda a, b: (a * b, a.sum())  # noqa: E731
    expected = tl.vmap(f, (0, 1), (1, 0))(x, y)
    found = tl.vmap(f, (0, 1), (1, 0), chunk_size=chunk)(x, y)
    for a, b in zip(found, expected, strict=True):
        close(a, b)


def test_vmap_keeps_the_name_of_its_function():
    def loss(x):
        """Doc."""
        return x

    assert (tl.vmap(loss).__name__, tl.vmap(loss).__doc__) == ("loss", "Doc.")


def test_broadcast_prefix_repeats_entries_over_subtrees():
    tree = {"b": [1, (2, 3)], "a": Pair(4, None)}
    assert broadcast_prefix({"a": 7, "b": [None, 8]}, tree, "t") == [None, 8, 8, 7]
    with pytest.raises(ValueError, match=r"t: .*at \['b'\]"):
        broadcast_prefix({"a": 0, "b": (1, 2)}, tree, "t")


# ---- nesting -------------------------------------------------------------------
def test_vmap_nested_three_deep_equals_einsum():
    a, b, c = normal(2, 5), normal(3, 5, seed=1), normal(4, 5, seed=2)
    f = lambda x, y, z: (x * y * z).sum()  # noqa: E731
    over_c = tl.vmap(f, (None, None, 0))
    over_b = tl.vmap(over_c, (None, 0, None))
    found = tl.vmap(over_b, (0, None, None))(a, b, c)
    expected = np.einsum("ai,bi,ci->abc", a.numpy(), b.numpy(), c.numpy())
    close(found, tl.tensor(expected))


def test_vmap_nested_in_any_order_of_axes_is_right():
    x = normal(2, 3, 4)
    for first, second in itertools.permutations(range(3), 2):
        inner = second - (second > first)
        found = tl.vmap(tl.vmap(lambda r: r.sum(), inner), first)(x)
        rest = 3 - first - second
        expected = x.sum(axis=rest)
        close(found, expected if first < second else expected.T)


def test_vmap_of_closed_over_batched_tensor_uses_its_example():
    x, y = normal(3, 2), normal(4, 2, seed=1)
    found = tl.vmap(lambda r: tl.vmap(lambda s: (r * s).sum())(y))(x)
    close(found, x @ y.T)


# ---- composition, against torch.func -------------------------------------------
SCALAR = {
    "polynomial": lambda lib, x: (x**3 * 2 - x).sum(),
    "waves": lambda lib, x: (lib.sin(x) * lib.exp(-x * x)).sum(),
    "product": lambda lib, x: (x[..., 0] * x[..., 1]) * lib.tanh(x[..., 2]),
}
ORDERS = [
    ("vmap", "grad"), ("vmap", "jacrev"), ("vmap", "jacfwd"), ("vmap", "hessian"),
    ("jacrev", "vmap"), ("jacfwd", "vmap"), ("hessian", "vmap"),
    ("vmap", "grad", "grad_sum"), ("jacfwd", "vmap", "grad"),
    ("jacrev", "vmap", "grad"),
    ("vmap", "jacfwd", "jacrev"), ("vmap", "jacrev", "jacrev"),
    ("vmap", "jacfwd", "jacfwd"),
    ("jacrev", "vmap", "jacfwd"),
]  # fmt: skip


def composed(transforms, module, lib, f):
    function = lambda x: f(lib, x)  # noqa: E731
    for name in reversed(transforms):
        if name == "grad_sum":
            inner = module.grad(function)
            function = lambda x, inner=inner: (inner(x) ** 2).sum()  # noqa: E731
        else:
            function = getattr(module, name)(function)
    return function


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("transforms", ORDERS, ids="-".join)
@pytest.mark.parametrize("name", SCALAR)
def test_composition_equals_torch(name, transforms):
    torch = pytest.importorskip("torch")
    x = normal(4, 3)
    found = composed(transforms, tl, tl, SCALAR[name])(x)
    expected = composed(transforms, torch.func, torch, SCALAR[name])(
        torch.tensor(x.numpy())
    )
    close(found, tl.tensor(expected.numpy()))


def test_gradient_of_summed_vmap_equals_sum_of_gradients():
    x, w = normal(5, 3), normal(3, 4, seed=1)
    f = lambda w, r: tl.tanh(r @ w).sum()  # noqa: E731
    found = tl.grad(lambda w: tl.vmap(f, (None, 0))(w, x).sum())(w)
    close(found, tl.vmap(tl.grad(f), (None, 0))(w, x).sum(axis=0))


def test_vmap_of_gradient_of_vmap_sums_the_inner_level_alone():
    xs, ws = normal(5, 3), normal(4, 3, seed=1)

    def slope(w):
        losses = lambda w: tl.vmap(lambda x: tl.sin(x * w).sum())(xs)  # noqa: E731
        return tl.grad(lambda w: losses(w).mean())(w)

    close(tl.vmap(slope)(ws), stacked(slope, ws))


def test_pullback_made_outside_is_mapped_over_cotangents():
    w, x = normal(3, 4), normal(5, 3, seed=1)
    y, pull = tl.vjp(lambda w: tl.vmap(lambda r: tl.tanh(r @ w))(x), w)
    cotangents = normal(6, *y.shape, seed=2)
    close(tl.vmap(pull)(cotangents)[0], stacked(lambda u: pull(u)[0], cotangents))


def test_linearized_function_is_mapped_over_tangents():
    w, x = normal(3, 4), normal(5, 3, seed=1)
    _, push = tl.linearize(lambda w: tl.vmap(lambda r: tl.tanh(r @ w))(x), w)
    tangents = normal(6, 3, 4, seed=2)
    close(tl.vmap(push)(tangents), stacked(push, tangents))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_vmap_of_jvp_with_primal_or_tangent_shared_equals_loop(axes):
    x, v = normal(4, 3), normal(4, 3, seed=1)
    f = lambda x: tl.softmax(x * x, axis=0)  # noqa: E731
    pick = lambda t, a, i: t[i if a == 0 else 0]  # noqa: E731
    given = [t if a == 0 else t[0] for t, a in zip((x, v), axes, strict=True)]
    found = tl.vmap(lambda x, v: tl.jvp(f, (x,), (v,))[1], axes)(*given)
    expected = [
        tl.jvp(f, (pick(x, axes[0], i),), (pick(v, axes[1], i),))[1] for i in range(4)
    ]
    close(found, tl.stack(expected))


def test_jvp_of_vmap_equals_vmap_of_jvp():
    x, v = normal(4, 3), normal(4, 3, seed=1)
    f = lambda x: tl.logsumexp(x * x, axis=0)  # noqa: E731
    found = tl.jvp(tl.vmap(f), (x,), (v,))[1]
    close(found, tl.vmap(lambda x, v: tl.jvp(f, (x,), (v,))[1])(x, v))


def test_perturbations_of_nested_levels_are_kept_apart_under_vmap():
    inner = lambda x: tl.jvp(lambda y: x + y, (x * 0,), (x * 0 + 1,))[1]  # noqa: E731
    outer = lambda x: tl.jvp(lambda x: x * inner(x), (x,), (x * 0 + 1,))[1]  # noqa: E731
    close(tl.vmap(outer)(normal(4)), tl.ones(4, dtype="float64"))


def test_backward_through_vmap_accumulates_in_leaves():
    w = normal(3).requires_grad_()
    x = normal(5, 3, seed=1)
    tl.vmap(lambda r: (r * w).sum() ** 2)(x).sum().backward()
    expected = tl.grad(lambda w: ((x @ w) ** 2).sum())(w.detach())
    close(w.grad, expected)


# ---- modules -------------------------------------------------------------------
def mlp():
    tl.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def cnn():
    tl.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.LayerNorm((4, 6, 6)), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.GELU(), nn.AvgPool2d(1),
        nn.Flatten(-3), nn.Linear(4, 3),
    )  # fmt: skip


def encoder():
    tl.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(7, 8),
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        nn.Flatten(-2), nn.Linear(32, 3),
    )  # fmt: skip


def recurrent():
    tl.manual_seed(0)

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 5)
            self.out = nn.Linear(5, 3)

        def forward(self, x):
            return self.out(self.lstm(x)[0][-1])

    return Tagger()


TOKENS = tl.tensor(np.random.default_rng(0).integers(0, 7, (5, 4)))
MODELS = {
    "mlp": (mlp, normal(5, 4, dtype="float32")),
    "cnn": (cnn, normal(5, 2, 6, 6, dtype="float32")),
    "encoder": (encoder, TOKENS),
    "recurrent": (recurrent, normal(5, 6, 4, dtype="float32")),
}


def loss_of(model):
    def loss(params, x, target):
        logits = tl.functional_call(model, params, (x,))
        return tl.cross_entropy(logits, target)

    return loss


@pytest.mark.parametrize("name", MODELS)
def test_gradients_per_example_equal_loop(name):
    make, x = MODELS[name]
    model = make()
    params = dict(model.named_parameters())
    targets = tl.tensor([0, 2, 1, 1, 0])
    slope = tl.grad(loss_of(model))
    found = tl.vmap(slope, (None, 0, 0))(params, x, targets)
    for i in range(5):
        for key, g in slope(params, x[i], targets[i]).items():
            close(found[key][i], g, 2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_ensemble_over_stacked_parameters_equals_loop(name):
    make, x = MODELS[name]
    model = make()
    members = [
        {k: p.detach() * s for k, p in model.named_parameters()} for s in (1.0, 0.5, -1)
    ]
    together = {k: tl.stack([m[k] for m in members]) for k in members[0]}
    call = lambda params, x: tl.functional_call(model, params, (x,))  # noqa: E731
    found = tl.vmap(call, (0, None))(together, x[0])
    close(found, tl.stack([call(m, x[0]) for m in members]), 2e-5)
    each = tl.vmap(tl.vmap(call, (None, 0)), (0, None))(together, x)
    close(each[1, 2], call(members[1], x[2]), 2e-5)


def test_training_an_ensemble_by_vmap_of_grad_equals_training_each():
    model, x = mlp(), MODELS["mlp"][1]
    targets = tl.tensor([0, 2, 1, 1, 0])
    step = tl.grad(loss_of(model))
    members = [
        {k: p.detach() * s for k, p in model.named_parameters()} for s in (1.0, 0.5)
    ]
    together = {k: tl.stack([m[k] for m in members]) for k in members[0]}
    for _ in range(3):
        slopes = tl.vmap(step, (0, None, None))(together, x, targets)
        together = {k: p - slopes[k] * 0.1 for k, p in together.items()}
        members = [
            {k: p - g * 0.1 for (k, p), g in zip(m.items(), s.values(), strict=True)}
            for m, s in ((m, step(m, x, targets)) for m in members)
        ]
    for i, member in enumerate(members):
        for key, p in member.items():
            close(together[key][i], p, 1e-5)


def test_batch_norm_uses_the_statistics_of_each_example():
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    x = normal(4, 6, 3, dtype="float32")
    close(tl.vmap(layer)(x), stacked(layer, x), 1e-5)


def test_batch_norm_with_running_statistics_refuses_to_change_them():
    layer = nn.BatchNorm1d(3)
    before = layer.running_mean.tolist()
    with pytest.raises(tl.GraphError, match="vmap does not map"):
        tl.vmap(layer)(normal(4, 6, 3, dtype="float32"))
    assert layer.running_mean.tolist() == before
    layer.eval()
    x = normal(4, 6, 3, dtype="float32")
    close(tl.vmap(layer)(x), stacked(layer, x), 1e-6)


# ---- random numbers ------------------------------------------------------------
@pytest.mark.parametrize(
    "draw",
    [
        lambda: tl.rand(3), lambda: tl.randn(3), lambda: tl.randint(0, 1000, (3,)),
        lambda: tl.bernoulli(0.5, (40,)), lambda: tl.randperm(20),
    ],
)  # fmt: skip
def test_randomness_modes_differ_as_they_say(draw):
    x = tl.zeros(4)
    with pytest.raises(tl.GraphError, match="randomness="):
        tl.vmap(lambda _: draw())(x)
    same = tl.vmap(lambda _: draw(), randomness="same")(x).tolist()
    assert all(row == same[0] for row in same)
    rows = tl.vmap(lambda _: draw(), randomness="different")(x).tolist()
    assert all(a != b for a, b in itertools.combinations(rows, 2))


def test_different_random_numbers_are_those_of_one_draw():
    tl.manual_seed(3)
    found = tl.vmap(lambda _: tl.rand(3), randomness="different")(tl.zeros(4))
    tl.manual_seed(3)
    assert found.tolist() == tl.rand(4, 3).tolist()


def test_randperm_of_each_example_is_a_permutation():
    found = tl.vmap(lambda _: tl.randperm(9), randomness="different")(tl.zeros(4))
    assert [sorted(row) for row in found.tolist()] == [list(range(9))] * 4


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_dropout_gradient_follows_the_mask_of_its_example(randomness):
    x = normal(6, 50)
    f = lambda r: (tl.dropout(r, 0.5) * r.detach()).sum()  # noqa: E731
    tl.manual_seed(0)
    found = tl.vmap(tl.grad(f), randomness=randomness)(x)
    factors = np.round((found / x).numpy(), 9)
    assert set(np.unique(factors)) == {0.0, 2.0}
    distinct = {tuple(row) for row in factors}
    assert len(distinct) == (6 if randomness == "different" else 1)


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_attention_dropout_draws_by_the_mode(randomness):
    q = tl.zeros((5, 8, 4), dtype="float64")
    v = tl.eye(8, dtype="float64")
    attend = lambda q: tl.scaled_dot_product_attention(q, q, v, dropout_p=0.5)  # noqa: E731
    weights = tl.vmap(attend, randomness=randomness)(q).numpy() * 8
    assert set(np.unique(weights)) == {0.0, 2.0}
    distinct = {w.tobytes() for w in weights}
    assert len(distinct) == (5 if randomness == "different" else 1)


def test_nested_modes_apply_to_their_own_level():
    f = lambda _: tl.rand(())  # noqa: E731
    inner = lambda x: tl.vmap(f, randomness="same")(x)  # noqa: E731
    found = tl.vmap(inner, randomness="different")(tl.zeros((3, 4))).numpy()
    assert np.all(found == found[:, :1])
    assert len(set(found[:, 0])) == 3


def test_random_numbers_work_again_after_vmap_failed():
    with pytest.raises(ZeroDivisionError):
        tl.vmap(lambda x: 1 // 0)(tl.zeros(2))
    assert tl.rand(2).shape == (2,)


# ---- errors --------------------------------------------------------------------
@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x if x.sum() > 0 else -x, lambda x: x.sum().item(),
        lambda x: float(x.sum()), lambda x: x.tolist(), lambda x: x.numpy(),
        lambda x: x[x > 0], lambda x: tl.nonzero(x)[0], lambda x: 0.0 in x,
        lambda x: list(range(int(x.sum()))),
    ],
)  # fmt: skip
def test_asking_for_a_value_of_a_batched_tensor_raises(ask):
    with pytest.raises(tl.GraphError, match=r"vmap .*tl\.where"):
        tl.vmap(ask)(normal(3, 2))


def test_buffers_of_batched_tensors_are_refused():
    with pytest.raises(BufferError, match="vmap"):
        tl.vmap(lambda x: memoryview(x))(normal(3, 2))
    with pytest.raises(BufferError, match="vmap"):
        tl.vmap(lambda x: np.from_dlpack(x))(normal(3, 2))


def test_where_chooses_for_each_example():
    x = normal(5, 3)
    found = tl.vmap(lambda r: tl.where(r.sum() > 0, r, -r))(x)
    close(found, stacked(lambda r: r if r.sum() > 0 else -r, x))


X = normal(4, 3)
BAD = [
    (lambda: tl.vmap(3), TypeError, "expected a function"),
    (lambda: tl.vmap(tl.sin, randomness="no"), ValueError, "randomness"),
    (lambda: tl.vmap(tl.sin, chunk_size=0), ValueError, "chunk_size"),
    (lambda: tl.vmap(tl.sin, chunk_size=2.0), ValueError, "chunk_size"),
    (lambda: tl.vmap(tl.sin)(3.0), TypeError, "expected a tensor to map"),
    (lambda: tl.vmap(tl.sin, None)(X), ValueError, "a tensor to map over, got none"),
    (lambda: tl.vmap(tl.sin)(), ValueError, "a tensor to map over, got none"),
    (lambda: tl.vmap(tl.sin)(tl.tensor(1.0)), tl.ShapeError, "0 dimensions"),
    (lambda: tl.vmap(tl.sin, 2)(X), tl.ShapeError, "2 dimensions"),
    (lambda: tl.vmap(tl.sin, -3)(X), tl.ShapeError, "got -3"),
    (lambda: tl.vmap(tl.sin, "a")(X), ValueError, "ints or None in in_axes"),
    (lambda: tl.vmap(tl.sin, True)(X), ValueError, "ints or None in in_axes"),
    (lambda: tl.vmap(tl.add, (0,))(X, X), ValueError, "in_axes of 2 entries"),
    (lambda: tl.vmap(tl.add, (0, {"a": 0}))(X, X), ValueError, "in_axes"),
    (lambda: tl.vmap(tl.add, (0, 1))(X, X), ValueError, "one length, got \\[4, 3\\]"),
    (lambda: tl.vmap(lambda x: 3.0)(X), TypeError, "return tensors"),
    (lambda: tl.vmap(tl.sin, 0, 2)(X), tl.ShapeError, "out_axes"),
    (lambda: tl.vmap(tl.sin, 0, "a")(X), ValueError, "out_axes"),
    (lambda: tl.vmap(tl.sin, 0, (0, 1))(X), ValueError, "out_axes"),
    (lambda: tl.vmap(tl.sin, 0, None)(X), ValueError, "differs between"),
]


@pytest.mark.parametrize("k", range(len(BAD)))
def test_bad_arguments_raise(k):
    call, kind, message = BAD[k]
    with pytest.raises(kind, match=f"vmap: .*{message}"):
        call()


def test_writing_a_batched_value_into_a_shared_tensor_raises():
    total = tl.zeros(3, dtype="float64")

    def add(r):
        total.add_(r)
        return r

    def assign(r):
        total[0] = r.sum()
        return r

    def iadd(r):
        nonlocal total
        total += r
        return r

    for write in (add, assign, iadd):
        with pytest.raises(tl.GraphError, match="out-of-place"):
            tl.vmap(write)(X)
    assert total.tolist() == [0.0] * 3


def test_mapped_argument_is_readonly_and_own_tensors_are_not():
    with pytest.raises(ValueError, match="read-only"):
        tl.vmap(lambda r: r.add_(1))(X)
    made = tl.vmap(lambda r: (r * 2).add_(1).mul_(r))(X)
    close(made, (X * 2 + 1) * X)
    written = X.copy()

    def assigned(r):
        y = r * 1
        y[1] = r.sum()
        y[:1] = 5.0
        return y

    expected = written
    expected[:, 1] = X.sum(axis=1)
    expected[:, :1] = 5.0
    close(tl.vmap(assigned)(X), expected)


def test_backward_inside_vmap_on_a_shared_leaf_raises():
    w = normal(3).requires_grad_()

    def inside(r):
        (r * w).sum().backward()
        return r

    with pytest.raises(tl.GraphError, match=r"tl\.grad"):
        tl.vmap(inside)(X)
    assert w.grad is None


def test_change_of_a_shared_tensor_before_backward_is_noticed():
    w = normal(3)
    x = X.copy().requires_grad_()
    y = tl.vmap(lambda r: (r * w).sum())(x).sum()
    w.add_(1.0)
    with pytest.raises(tl.GraphError, match="changed in place"):
        y.backward()


def test_more_nested_levels_than_there_are_raises():
    def nested(depth):
        function = lambda x: x * 2  # noqa: E731
        for _ in range(depth):
            function = tl.vmap(function)
        return function

    x = tl.ones((1,) * 32)
    assert nested(16)(x).shape == x.shape

    with pytest.raises(tl.ShapeError, match="at most 16"):
        tl.vmap(lambda y: nested(16)(x * y))(tl.ones(2))


def test_result_of_too_many_dimensions_raises():
    x = tl.ones((2, *(1,) * 31))
    assert tl.vmap(lambda y: y + 1)(x).shape == x.shape
    with pytest.raises(tl.ShapeError, match="dimensions"):
        tl.vmap(lambda y: tl.expand_dims(y, 0))(x)


# ---- lifetime ------------------------------------------------------------------
def test_escaped_tensor_cannot_be_read_and_does_no_harm():
    kept = []

    def keep(r):
        kept.append(r * 2)
        return r

    tl.vmap(keep)(X)
    (escaped,) = kept
    assert escaped.shape == (3,)
    assert "vmap" in repr(escaped)
    with pytest.raises(tl.GraphError):
        escaped.tolist()
    (escaped + 1).sum()
    with pytest.raises(tl.GraphError):
        tl.vmap(lambda r: r + escaped)(X).tolist()


def test_vmap_leaves_no_storage_behind():
    model = mlp()
    params = dict(model.named_parameters())
    x, targets = MODELS["mlp"][1], tl.tensor([0, 2, 1, 1, 0])
    slope = tl.vmap(tl.grad(loss_of(model)), (None, 0, 0))

    def run():
        slope(params, x, targets)
        tl.vmap(tl.hessian(lambda r: (r**3).sum()))(X)
        tl.grad(lambda x: tl.vmap(lambda r: (r * r).sum())(x).sum())(X)

    run()
    gc.collect()
    before = tl.memory_stats()["live"]
    for _ in range(5):
        run()
    gc.collect()
    assert tl.memory_stats()["live"] == before


CALLS = {
    "vmap": lambda: tl.vmap(lambda r: r * 2)(X),
    "vmap of grad": lambda: tl.vmap(tl.grad(lambda r: tl.sin(r).sum()))(X),
    "grad of vmap": lambda: tl.grad(lambda x: tl.vmap(tl.sin)(x).sum())(X),
    "jvp": lambda: tl.jvp(tl.sin, (X,), (X,)),
    "jacfwd": lambda: tl.jacfwd(tl.sin)(X),
    "hessian": lambda: tl.hessian(lambda x: tl.sin(x).sum())(X),
    "linearize": lambda: tl.linearize(tl.sin, X)[1](X),
}


@pytest.mark.parametrize("name", CALLS)
def test_memory_is_free_without_the_garbage_collector(name):
    CALLS[name]()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        CALLS[name]()
        assert tl.memory_stats()["live"] == before
    finally:
        gc.enable()


def test_table_of_batch_axes_is_collected():
    # More calls than the table has entries: each call has a level of its own.
    double = tl.vmap(lambda r: r * 2)
    x = tl.ones((2, 1))
    for _ in range(70_000):
        y = double(x)
    assert y.tolist() == [[2.0], [2.0]]


def test_function_may_run_vmap_in_other_threads():
    x, w = normal(6, 3), normal(3, 2, seed=1)
    expected = tl.vmap(tl.grad(lambda r: tl.tanh(r @ w).sum()))(x).tolist()
    found = []

    def work():
        for _ in range(20):
            f = lambda r: tl.tanh(r @ w).sum() + tl.rand(2).sum() * 0  # noqa: E731
            g = tl.vmap(tl.grad(f), randomness="same")(x)
            found.append(g.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 80
    assert all(g == expected for g in found)


def test_bits_do_not_depend_on_threads():
    x = normal(64, 33, 40, dtype="float32")
    w = normal(40, 50, seed=1, dtype="float32")
    f = lambda r: tl.softmax(r @ w, axis=1).square().sum()  # noqa: E731
    results = set()
    before = tl.get_num_threads()
    try:
        for n in (1, 2, 3, 8):
            tl.set_num_threads(n)
            both = tl.vmap(tl.value_and_grad(f))(x)
            results.add(b"".join(y.numpy().tobytes() for y in both))
    finally:
        tl.set_num_threads(before)
    assert len(results) == 1
