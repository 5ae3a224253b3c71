"""Mixed precision: dtypes by op, gradients, kept casts, and the scaler's schedule."""

import threading

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.autograd.autocast import autocast_policy
from tensorlib.nn import functional as F


def normal(*shape, dtype="float32", grad=False):
    made = tl.randn(shape, generator=tl.Generator(sum(shape))).astype(dtype)
    return made.requires_grad_(grad)


def square():
    return normal(4, 4)


# One call an op of the policy, on float32 or, for those in float32, on bfloat16.
LOW = {
    "matmul": lambda x: tl.matmul(x, x),
    "@": lambda x: x @ x,
    "linear": lambda x: tl.linear(x, x, x[0]),
    "einsum": lambda x: tl.einsum("ij,jk->ik", x, x),
    "tensordot": lambda x: tl.tensordot(x, x, axes=1),
    "vecdot": lambda x: tl.vecdot(x, x),
    "outer": lambda x: tl.outer(x[0], x[0]),
    "multi_dot": lambda x: tl.linalg.multi_dot([x, x, x]),
    "prelu": lambda x: tl.prelu(x, x[0, :1]),
    "conv1d": lambda x: tl.conv1d(x.reshape((1, 4, 4)), x.reshape((4, 4, 1))),
    "conv2d": lambda x: tl.conv2d(x.reshape((1, 1, 4, 4)), x.reshape((1, 1, 4, 4))),
    "conv3d": lambda x: tl.conv3d(
        x.reshape((1, 1, 1, 4, 4)), x.reshape((1, 1, 1, 4, 4))
    ),
    "conv_transpose1d": lambda x: tl.conv_transpose1d(
        x.reshape((1, 4, 4)), x.reshape((4, 4, 1))
    ),
    "conv_transpose2d": lambda x: tl.conv_transpose2d(
        x.reshape((1, 1, 4, 4)), x.reshape((1, 1, 4, 4))
    ),
    "conv_transpose3d": lambda x: tl.conv_transpose3d(
        x.reshape((1, 1, 1, 4, 4)), x.reshape((1, 1, 1, 4, 4))
    ),
    "scaled_dot_product_attention": lambda x: tl.scaled_dot_product_attention(x, x, x),
    "rnn": lambda x: tl.rnn(x.reshape((1, 4, 4)), None, x, x)[0],
    "lstm": lambda x: tl.lstm(
        x.reshape((1, 4, 4)), None, None, tl.concat([x] * 4), tl.concat([x] * 4)
    )[0],
    "gru": lambda x: tl.gru(
        x.reshape((1, 4, 4)), None, tl.concat([x] * 3), tl.concat([x] * 3)
    )[0],
}  # fmt: skip
UNARY = (
    "exp expm1 log log1p log2 log10 square reciprocal rsqrt tan acos asin cosh sinh "
    "acosh atanh softplus log_sigmoid softmax log_softmax softmin logsumexp sum mean "
    "prod var std trace"
)
FULL = {
    **{name: getattr(tl, name) for name in UNARY.split()},
    "**": lambda x: x**2,
    "pow": lambda x: tl.pow(x, 3.0),
    "cumsum": lambda x: tl.cumsum(x, axis=0),
    "cumulative_sum": lambda x: tl.cumulative_sum(x, axis=0),
    "cumulative_prod": lambda x: tl.cumulative_prod(x, axis=0),
    "layer_norm": lambda x: tl.layer_norm(x, (4,)),
    "group_norm": lambda x: tl.group_norm(x, 2),
    "rms_norm": lambda x: tl.rms_norm(x, (4,)),
    "vector_norm": lambda x: tl.linalg.vector_norm(x),
    "matrix_norm": lambda x: tl.linalg.matrix_norm(x),
    "cross_entropy": lambda x: tl.cross_entropy(x, tl.arange(4)),
    "nll_loss": lambda x: F.nll_loss(x, tl.arange(4)),
    "mse_loss": lambda x: F.mse_loss(x, x),
    "l1_loss": lambda x: F.l1_loss(x, x),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x),
    "huber_loss": lambda x: F.huber_loss(x, x),
    "kl_div": lambda x: F.kl_div(x, x),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(
        tl.sigmoid(x), tl.sigmoid(x)
    ),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(
        x, x
    ),
    "gaussian_nll_loss": lambda x: F.gaussian_nll_loss(x, x, 1.0),
    "poisson_nll_loss": lambda x: F.poisson_nll_loss(x, x),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, x),
    "hinge_embedding_loss": lambda x: F.hinge_embedding_loss(x, tl.ones_like(x)),
    "margin_ranking_loss": lambda x: F.margin_ranking_loss(x, x, tl.ones_like(x)),
    "cosine_embedding_loss": lambda x: F.cosine_embedding_loss(x, x, tl.ones(4)),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x, x),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x),
    "pairwise_distance": lambda x: F.pairwise_distance(x, x),
    "normalize": lambda x: F.normalize(x),
}
KEEPS = {
    "add": lambda x: x + x,
    "scalar": lambda x: x * 2.0,
    "relu": tl.relu,
    "gelu": tl.gelu,
    "tanh": tl.tanh,
    "sqrt": lambda x: tl.sqrt(tl.abs(x)),
    "max": tl.max,
    "reshape": lambda x: x.reshape((2, 8)),
    "index": lambda x: x[1:],
    "dropout": tl.dropout,
    "max_pool1d": lambda x: tl.max_pool1d(x.reshape((1, 4, 4)), 2),
    "sort": tl.sort,
}


@pytest.mark.parametrize("dtype", [tl.bfloat16, tl.float16])
@pytest.mark.parametrize("name", LOW)
def test_products_take_float32_in_the_low_dtype(name, dtype):
    x = square()
    assert LOW[name](x).dtype == "float32"
    with tl.autocast("cpu", dtype):
        assert LOW[name](x).dtype == dtype
    assert LOW[name](x).dtype == "float32"


@pytest.mark.parametrize("name", FULL)
def test_sums_and_losses_take_the_low_dtype_in_float32(name):
    x = square().astype("bfloat16")
    with tl.autocast("cpu"):
        assert FULL[name](x).dtype == "float32"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("name", KEEPS)
def test_other_ops_keep_their_dtype(name, dtype):
    with tl.autocast("cpu"):
        assert KEEPS[name](square().astype(dtype)).dtype == dtype


@pytest.mark.parametrize("name", [*LOW, *FULL])
def test_float64_is_left_alone(name):
    call = {**LOW, **FULL}[name]
    with tl.autocast("cpu"):
        assert call(square().astype("float64")).dtype == "float64"


def test_integers_are_left_alone():
    x = tl.ones((2, 2), dtype="int64")
    with tl.autocast("cpu"):
        assert (x @ x).dtype == "int64"
        assert x.sum().dtype == "int64"


def test_operands_of_several_dtypes_promote_to_the_widest():
    low, wide = normal(4, dtype="bfloat16"), normal(4)
    with tl.autocast("cpu"):
        assert (low + wide).dtype == "float32"
        assert tl.where(wide > 0, low, wide).dtype == "float32"
        assert tl.concat([low, wide]).dtype == "float32"
        assert tl.stack([low, wide]).dtype == "float32"
        assert tl.atan2(low, wide).dtype == "float32"


def test_every_name_of_the_policy_is_an_op():
    for op in autocast_policy():
        homes = (tl, F, tl.linalg)
        assert any(hasattr(home, op) for home in homes), op


def test_every_op_of_the_policy_is_tried_here():
    tried = {*LOW, *FULL}
    assert set(autocast_policy()) - tried == {"ctc_loss"}


# ---- the context -----------------------------------------------------------------
def test_contexts_nest_and_come_back():
    x = square()
    with tl.autocast("cpu"):
        with tl.autocast("cpu", enabled=False):
            assert (x @ x).dtype == "float32"
            with tl.autocast("cpu", tl.float16):
                assert (x @ x).dtype == "float16"
        assert (x @ x).dtype == "bfloat16"
    assert (x @ x).dtype == "float32"


def test_context_of_another_device_changes_nothing():
    with tl.autocast("cuda"):
        assert (square() @ square()).dtype == "float32"
        assert not tl.amp.is_autocast_enabled("cpu")
        assert tl.amp.is_autocast_enabled("cuda")


def test_context_ends_with_an_error():
    with pytest.raises(KeyError), tl.autocast("cpu"):
        raise KeyError
    assert (square() @ square()).dtype == "float32"


def test_decorator_holds_inside_the_function():
    @tl.autocast("cpu")
    def product(x):
        """Say so."""
        return x @ x

    assert product(square()).dtype == "bfloat16"
    assert product.__name__ == "product"
    assert (square() @ square()).dtype == "float32"


def test_another_thread_is_not_in_the_context():
    found = []
    with tl.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(square() @ square()))
        thread.start()
        thread.join()
    assert found[0].dtype == "float32"


def test_questions_about_the_context():
    assert not tl.amp.is_autocast_enabled("cpu")
    with tl.autocast("cpu", tl.float16):
        assert tl.amp.is_autocast_enabled("cpu")
        assert tl.amp.get_autocast_dtype("cpu") == "float16"
    assert tl.amp.get_autocast_dtype("cpu") == "bfloat16"
    assert tl.amp.is_autocast_available("cuda")
    assert not tl.amp.is_autocast_available("tpu")


def test_unknown_device_or_dtype_raises():
    with pytest.raises(ValueError, match="expected 'cpu' or 'cuda'"):
        tl.autocast("tpu")
    with pytest.raises(tl.DTypeError, match="bfloat16 or float16"):
        tl.autocast("cpu", tl.float64)


# ---- gradients -------------------------------------------------------------------
def test_gradients_arrive_in_the_parameters_dtype():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
    with tl.autocast("cpu"):
        loss = F.mse_loss(model(square()), tl.zeros((4, 2)))
    loss.backward()
    assert loss.dtype == "float32"
    assert {p.grad.dtype.name for p in model.parameters()} == {"float32"}


def test_backward_inside_the_context_gives_the_same_bits():
    grads = []
    for inside in (False, True):
        w = normal(4, 4, grad=True)
        with tl.autocast("cpu"):
            loss = tl.exp(square() @ w).sum()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        grads.append(w.grad.numpy())
    assert np.array_equal(*grads)


def test_rules_do_not_see_the_context():
    x = square().requires_grad_()
    with tl.autocast("cpu"):
        y = (x * x).sum()
        (g,) = tl.autograd.grad([y], [x], create_graph=True)
    assert g.dtype == "float32"


def test_jvp_computes_in_the_dtypes_of_forward():
    x = square()
    with tl.autocast("cpu"):
        y, t = tl.jvp(lambda v: v @ v, (x,), (x,))
    assert (y.dtype, t.dtype) == ("bfloat16", "bfloat16")


def test_checkpoint_runs_again_as_it_ran():
    w = normal(4, 4, grad=True)
    with tl.autocast("cpu"):
        y = tl.autograd.checkpoint(lambda x: tl.tanh(x @ w) @ w, square())
        total = y.sum()
    total.backward()
    kept = w.grad.numpy()
    w.grad = None
    with tl.autocast("cpu"):
        total = (tl.tanh(square() @ w) @ w).sum()
    total.backward()
    assert np.array_equal(kept, w.grad.numpy())


def test_grad_transform_and_vmap_run_under_autocast():
    w, x = square(), normal(3, 4)
    with tl.autocast("cpu"):
        g = tl.grad(lambda p: (x @ p).sum())(w)
        y = tl.vmap(lambda row: row @ w)(x)
    assert g.dtype == "float32"
    assert y.dtype == "bfloat16"


# ---- kept casts ------------------------------------------------------------------
def casts_of(w, cache, grad=True, change=False):
    """The low copies of w that two products save."""
    found = []

    def pack(x):
        found.append(x)
        return x

    with tl.autocast("cpu", cache_enabled=cache):
        for _ in range(2):
            with tl.autograd.saved_tensors_hooks(pack, lambda x: x):
                normal(2, 4, grad=True) @ w
            if change:
                with tl.no_grad():
                    w += 1
    return [x.data_ptr() for x in found if x.shape == w.shape]


def test_a_parameter_is_cast_once_in_a_context():
    first, second = casts_of(normal(4, 4, grad=True), True)
    assert first == second


def test_casts_are_not_kept_when_told_so():
    first, second = casts_of(normal(4, 4, grad=True), False)
    assert first != second


def test_what_is_no_parameter_is_not_kept():
    first, second = casts_of(normal(4, 4), True)
    assert first != second


def test_a_parameter_changed_in_place_is_cast_again():
    w = normal(4, 4, grad=True)
    with tl.autocast("cpu"):
        before = square() @ w
        with tl.no_grad():
            w *= 2
        after = square() @ w
    assert not tl.all(before == after).item()


def test_cast_kept_under_no_grad_does_not_cut_the_graph():
    w = normal(4, 4, grad=True)
    with tl.autocast("cpu"):
        with tl.no_grad():
            square() @ w
        (square() @ w).sum().backward()
    assert w.grad is not None


def test_kept_cast_serves_two_backward_passes():
    w, x = normal(4, 4, grad=True), square()
    with tl.autocast("cpu"):
        (x @ w).sum().backward()
        once = w.grad.numpy().copy()
        (x @ w).sum().backward()
    assert np.array_equal(w.grad.numpy(), 2 * once)


def test_casts_are_forgotten_at_the_end():
    w = normal(256, 256, grad=True)
    normal(2, 256) @ w
    before = tl.memory_stats()["allocated"]
    with tl.autocast("cpu"), tl.autocast("cpu"):
        y = normal(2, 256) @ w
        del y
        assert tl.memory_stats()["allocated"] > before
    assert tl.memory_stats()["allocated"] == before


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_reads_low_logits_without_a_copy(low, reduction):
    logits, target = normal(5, 7, dtype=low, grad=True), tl.arange(5)
    wide = logits.detach().astype("float32").requires_grad_(True)
    with tl.autocast("cpu", low):
        loss = tl.cross_entropy(logits, target, reduction=reduction)
    expected = tl.cross_entropy(wide, target, reduction=reduction)
    assert loss.dtype == tl.float32
    assert loss.tolist() == expected.tolist()
    (loss * loss).sum().backward()
    (expected * expected).sum().backward()
    assert logits.grad.dtype.name == low
    assert logits.grad.tolist() == wide.grad.astype(low).tolist()
    names, nodes = set(), [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        names.add(node.name)
        nodes += [n for n in node.next_functions if hasattr(n, "next_functions")]
    assert "cross_entropy" in names
    assert "astype" not in names


def test_batch_norm_between_convolutions_stays_low():
    layer = nn.BatchNorm2d(3)
    x = normal(4, 3, 5, 5, dtype="bfloat16", grad=True)
    with tl.autocast("cpu"):
        y = layer(x)
    assert y.dtype == tl.bfloat16
    assert layer.running_var.dtype == tl.float32
    (y * y).sum().backward()
    assert (x.grad.dtype, layer.weight.grad.dtype) == (tl.bfloat16, tl.float32)


# ---- as PyTorch ------------------------------------------------------------------
TORCH_OPS = (
    "matmul", "@", "linear", "einsum", "tensordot", "conv1d", "conv2d", "conv3d",
    "scaled_dot_product_attention", "mse_loss", "l1_loss", "huber_loss", "nll_loss",
    "cosine_embedding_loss", "binary_cross_entropy_with_logits", "prod",
)  # fmt: skip


def twin_calls(torch):
    tf = torch.nn.functional
    return {
        "matmul": lambda x: torch.matmul(x, x),
        "@": lambda x: x @ x,
        "linear": lambda x: tf.linear(x, x, x[0]),
        "einsum": lambda x: torch.einsum("ij,jk->ik", x, x),
        "tensordot": lambda x: torch.tensordot(x, x, dims=1),
        "conv1d": lambda x: torch.conv1d(x.reshape(1, 4, 4), x.reshape(4, 4, 1)),
        "conv2d": lambda x: torch.conv2d(x.reshape(1, 1, 4, 4), x.reshape(1, 1, 4, 4)),
        "conv3d": lambda x: torch.conv3d(
            x.reshape(1, 1, 1, 4, 4), x.reshape(1, 1, 1, 4, 4)
        ),
        "scaled_dot_product_attention": lambda x: tf.scaled_dot_product_attention(
            x[None], x[None], x[None]
        ),
        "mse_loss": lambda x: tf.mse_loss(x, x),
        "l1_loss": lambda x: tf.l1_loss(x, x),
        "huber_loss": lambda x: tf.huber_loss(x, x),
        "nll_loss": lambda x: tf.nll_loss(x, torch.arange(4)),
        "cosine_embedding_loss": lambda x: tf.cosine_embedding_loss(
            x, x, torch.ones(4)
        ),
        "binary_cross_entropy_with_logits": (
            lambda x: tf.binary_cross_entropy_with_logits(x, x)
        ),
        "prod": torch.prod,
    }


@pytest.mark.parametrize("given", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", TORCH_OPS)
def test_dtypes_are_those_of_pytorch_on_the_cpu(name, given):
    torch = pytest.importorskip("torch")
    theirs = twin_calls(torch)[name]
    with tl.autocast("cpu"):
        ours = {**LOW, **FULL}[name](square().astype(given))
    with torch.autocast("cpu", torch.bfloat16):
        made = theirs(torch.randn(4, 4).to(getattr(torch, given)))
    expected = str(made.dtype).removeprefix("torch.")
    if (name, given) == ("l1_loss", "bfloat16"):
        expected = "float32"  # on PyTorch's list for CUDA only
    assert ours.dtype.name in (expected, "float32" if name in FULL else expected)


def test_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    w = [np.random.default_rng(n).normal(size=(8, 8)).astype("f4") for n in range(3)]
    ours = [tl.tensor(v).requires_grad_(n > 0) for n, v in enumerate(w)]
    theirs = [torch.tensor(v, requires_grad=n > 0) for n, v in enumerate(w)]
    with tl.autocast("cpu"):
        y = tl.relu(ours[0] @ ours[1]) @ ours[2]
        F.mse_loss(y, tl.zeros((8, 8))).backward()
    with torch.autocast("cpu", torch.bfloat16):
        y = torch.relu(theirs[0] @ theirs[1]) @ theirs[2]
        torch.nn.functional.mse_loss(y, torch.zeros(8, 8)).backward()
    for mine, peer in zip(ours[1:], theirs[1:], strict=True):
        expected = peer.grad.numpy()
        # bfloat16 keeps 8 bits; the two round intermediate results alike or one off.
        worst = np.abs(mine.grad.numpy() - expected).max()
        assert worst < 0.02 * np.abs(expected).max()


# ---- the scaler ------------------------------------------------------------------
def parameter(*values):
    return nn.Parameter(tl.tensor(list(values)))


def scaled_step(scaler, optimizer, p, grad):
    p.grad = tl.tensor(grad)
    scaler.step(optimizer)
    scaler.update()


def test_scaler_follows_pytorch_schedule():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    how = {"init_scale": 8.0, "growth_factor": 3.0, "backoff_factor": 0.25,
           "growth_interval": 3}  # fmt: skip
    ours, theirs = tl.amp.GradScaler("cpu", **how), torch.amp.GradScaler("cpu", **how)
    p, q = parameter(1.0, 2.0), torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    mine, peer = tl.optim.SGD([p], lr=0.1), torch.optim.SGD([q], lr=0.1)
    for step in range(40):
        grad = rng.normal(size=2).astype("f4")
        if step in (5, 6, 17, 30):
            grad[step % 2] = (np.inf, np.nan)[step % 3 == 0]
        ours.scale(tl.ones(()))
        theirs.scale(torch.ones(()))
        q.grad = torch.tensor(grad)
        theirs.step(peer)
        theirs.update()
        scaled_step(ours, mine, p, grad)
        assert ours.get_scale() == theirs.get_scale(), step
        assert np.allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6), step
    state = theirs.state_dict()
    assert ours.state_dict() == state


def test_scaler_skips_a_step_and_unscales_the_others():
    scaler = tl.amp.GradScaler("cpu", init_scale=4.0)
    p = parameter(1.0)
    optimizer = tl.optim.SGD([p], lr=1.0)
    scaled_step(scaler, optimizer, p, [float("inf")])
    assert (p.item(), scaler.get_scale()) == (1.0, 2.0)
    scaled_step(scaler, optimizer, p, [1.0])
    assert p.item() == 0.5


def test_scaler_scales_what_backward_gives():
    p = parameter(3.0)
    scaler = tl.amp.GradScaler("cpu", init_scale=16.0)
    scaler.scale((p * 2.0).sum()).backward()
    assert p.grad.item() == 32.0
    scaler.unscale_(tl.optim.SGD([p], lr=0.1))
    assert p.grad.item() == 2.0


def test_scaled_float16_loss_does_not_overflow():
    scaled = tl.amp.GradScaler("cpu").scale(tl.tensor(2.0, dtype="float16"))
    assert (scaled.dtype, scaled.item()) == ("float32", 131072.0)


def test_scaler_scales_several():
    scaler = tl.amp.GradScaler("cpu", init_scale=2.0)
    found = scaler.scale([tl.ones(()), (tl.ones(()),)])
    assert (found[0].item(), found[1][0].item()) == (2.0, 2.0)
    with pytest.raises(TypeError, match="expected Tensors"):
        scaler.scale(1.0)


def test_scaler_waits_once_for_many_parameters(monkeypatch):
    parameters = [parameter(1.0) for _ in range(50)]
    for p in parameters:
        p.grad = tl.ones(1)
    scaler = tl.amp.GradScaler("cpu")
    optimizer = tl.optim.SGD(parameters, lr=0.1)
    scaler.unscale_(optimizer)
    assert [len(found) for found in scaler._found.values()] == [1]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "complex64"])
def test_scaler_sees_infinity_in_any_dtype(dtype):
    p = nn.Parameter(tl.ones(3, dtype=dtype))
    scaler = tl.amp.GradScaler("cpu", init_scale=2.0)
    optimizer = tl.optim.SGD([p], lr=0.1)
    p.grad = tl.tensor([1.0, float("inf"), 1.0]).astype(dtype)
    scaler.step(optimizer) if dtype != "complex64" else scaler.unscale_(optimizer)
    scaler.update()
    assert scaler.get_scale() == 1.0


def test_scaler_refuses_calls_out_of_order():
    p = parameter(1.0)
    p.grad = tl.ones(1)
    optimizer = tl.optim.SGD([p], lr=0.1)
    scaler = tl.amp.GradScaler("cpu")
    with pytest.raises(RuntimeError, match="before"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="was called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="was called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after step"):
        scaler.unscale_(optimizer)
    scaler.update()
    with pytest.raises(RuntimeError, match="closure"):
        scaler.step(optimizer, closure=lambda: None)
    p.grad = None
    with pytest.raises(RuntimeError, match="no parameter"):
        scaler.step(optimizer)


def test_scaler_refuses_float16_parameters():
    p = nn.Parameter(tl.ones(1, dtype="float16"))
    p.grad = tl.ones(1, dtype="float16")
    with pytest.raises(ValueError, match="float16"):
        tl.amp.GradScaler("cpu").unscale_(tl.optim.SGD([p], lr=0.1))


@pytest.mark.parametrize(
    "how", [{"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"growth_interval": 0}]
)
def test_scaler_refuses_settings_out_of_range(how):
    with pytest.raises(ValueError, match="GradScaler: expected"):
        tl.amp.GradScaler("cpu", **how)


def test_disabled_scaler_does_nothing():
    p = parameter(1.0)
    p.grad = tl.ones(1)
    scaler = tl.amp.GradScaler("cpu", enabled=False)
    loss = tl.ones(())
    assert scaler.scale(loss) is loss
    scaler.step(tl.optim.SGD([p], lr=1.0))
    scaler.update()
    assert p.item() == 0.0
    assert (scaler.get_scale(), scaler.state_dict()) == (1.0, {})


def test_scaler_state_moves_to_another():
    scaler = tl.amp.GradScaler("cpu", init_scale=32.0, growth_interval=5)
    p = parameter(1.0)
    optimizer = tl.optim.SGD([p], lr=0.1)
    for _ in range(2):
        scaled_step(scaler, optimizer, p, [1.0])
    other = tl.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict()
    assert other.state_dict()["_growth_tracker"] == 2
    with pytest.raises(RuntimeError, match="empty"):
        other.load_state_dict({})


def test_scale_set_by_hand_and_kept_below_overflow():
    scaler = tl.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    p = parameter(1.0)
    scaled_step(scaler, tl.optim.SGD([p], lr=0.1), p, [1.0])
    assert scaler.get_scale() == 2.0**127
    scaler.update(4.0)
    assert scaler.get_scale() == 4.0


@pytest.mark.parametrize("dtype", [tl.bfloat16, tl.float16])
def test_a_model_learns_under_autocast(dtype):
    tl.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = tl.optim.Adam(model.parameters(), lr=0.02)
    scaler = tl.amp.GradScaler("cpu", enabled=dtype == tl.float16)
    x = tl.randn((64, 2))
    y = (x[:, :1] * x[:, 1:]).detach()
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        with tl.autocast("cpu", dtype):
            loss = F.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
