"""Every optimizer's steps against PyTorch's, and against definitions where it has none.

The gradients are drawn beforehand, so that errors do not feed back into them.
"""

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn, optim

STEPS = 100
SHAPES = [(4, 3), (4,), (2, 0), ()]
# A hundred steps of a few roundings each, of parameters and steps of order one; the
# rules that divide by roots of small numbers lose another digit or two.
TOLERANCE = {
    "float64": {"rtol": 1e-6, "atol": 1e-12},
    "float32": {"rtol": 2e-4, "atol": 2e-5},
}

ROWS = {
    "SGD": {"lr": 0.1},
    "SGD momentum": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    "SGD nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True},
    "Adam": {"lr": 0.02},
    "Adam L2": {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    "Adam amsgrad": {"lr": 0.02, "amsgrad": True, "maximize": True},
    "Adam decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "AdamW": {"lr": 0.02, "weight_decay": 0.3},
    "AdamW amsgrad": {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True},
    "Adamax": {},
    "Adamax all": {"betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True},
    "NAdam": {},
    "NAdam L2": {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.01},
    "NAdam decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True,
                        "maximize": True},
    "RAdam": {"lr": 0.02},
    "RAdam L2": {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1},
    "RAdam decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True,
                        "maximize": True},
    "RMSprop": {},
    "RMSprop momentum": {"momentum": 0.9, "weight_decay": 0.1, "maximize": True},
    "RMSprop centered": {"centered": True, "alpha": 0.9},
    "RMSprop both": {"centered": True, "momentum": 0.8, "eps": 1e-3},
    "Adagrad": {},
    "Adagrad all": {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1,
                    "initial_accumulator_value": 0.5, "maximize": True},
    "Adadelta": {},
    "Adadelta all": {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True},
    "Rprop": {},
    "Rprop all": {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.5),
                  "maximize": True},
}  # fmt: skip


def start_values(dtype):
    rng = np.random.default_rng(1)
    return [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in SHAPES]


def gradients(dtype, steps=STEPS):
    rng = np.random.default_rng(2)
    return [
        [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in SHAPES]
        for _ in range(steps)
    ]


def advance(optimizer, params, rows, convert):
    for row in rows:
        for param, grad in zip(params, row, strict=True):
            param.grad = convert(grad)
        optimizer.step()


def make_ours(name, dtype="float64", options=None):
    params = [nn.Parameter(tl.tensor(v)) for v in start_values(dtype)]
    options = ROWS[name] if options is None else options
    return params, getattr(optim, name.split()[0])(params, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ROWS)
def test_hundred_steps_match_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    params, optimizer = make_ours(name, dtype)
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in start_values(dtype)]
    other = getattr(torch.optim, name.split()[0])(theirs, foreach=False, **ROWS[name])
    for number, row in enumerate(gradients(dtype)):
        advance(optimizer, params, [row], tl.tensor)
        advance(other, theirs, [row], torch.tensor)
        if number in (0, 1, 4, 20, STEPS - 1):
            for p, q in zip(params, theirs, strict=True):
                np.testing.assert_allclose(
                    p.detach().numpy(), q.detach().numpy(), **TOLERANCE[dtype],
                    err_msg=f"{name}, step {number}",
                )  # fmt: skip


RESUMED = {**ROWS, "Lion": {"weight_decay": 0.1}}


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_run_has_the_same_bits(name):
    rows = gradients("float32", 9)
    whole, optimizer = make_ours(name, "float32", RESUMED[name])
    advance(optimizer, whole, rows, tl.tensor)
    first, optimizer = make_ours(name, "float32", RESUMED[name])
    advance(optimizer, first, rows[:4], tl.tensor)
    params = [nn.Parameter(p.detach().copy()) for p in first]
    resumed = getattr(optim, name.split()[0])(params)
    resumed.load_state_dict(optimizer.state_dict())
    advance(resumed, params, rows[4:], tl.tensor)
    assert [p.tolist() for p in params] == [p.tolist() for p in whole]


@pytest.mark.parametrize("name", ROWS)
def test_state_of_pytorch_continues(name):
    torch = pytest.importorskip("torch")
    rows = gradients("float64", 8)
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in start_values("float64")]
    other = getattr(torch.optim, name.split()[0])(theirs, foreach=False, **ROWS[name])
    advance(other, theirs, rows[:4], torch.tensor)
    state = other.state_dict()
    state["state"] = {
        number: {k: tl.tensor(v.numpy()) if torch.is_tensor(v) else v
                 for k, v in entry.items()}
        for number, entry in state["state"].items()
    }  # fmt: skip
    params = [nn.Parameter(tl.tensor(p.detach().numpy())) for p in theirs]
    optimizer = getattr(optim, name.split()[0])(params)
    optimizer.load_state_dict(state)
    advance(optimizer, params, rows[4:], tl.tensor)
    advance(other, theirs, rows[4:], torch.tensor)
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(
            p.detach().numpy(), q.detach().numpy(), **TOLERANCE["float64"]
        )


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lion_follows_its_program(decay):
    rows, lr, (b1, b2) = gradients("float64", 20), 0.01, (0.9, 0.99)
    params, optimizer = make_ours(
        "Lion", options={"lr": lr, "betas": (b1, b2), "weight_decay": decay}
    )
    advance(optimizer, params, rows, tl.tensor)
    for number, p in enumerate(start_values("float64")):
        m = np.zeros_like(p)
        for row in rows:
            update = np.sign(b1 * m + (1 - b1) * row[number])
            p = p - lr * (update + decay * p)
            m = b2 * m + (1 - b2) * row[number]
        np.testing.assert_allclose(params[number].detach().numpy(), p, rtol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adamax"])
def test_any_group_may_decouple_its_decay(name):
    rows, lr, decay = gradients("float64", 5), 0.1, 0.2
    groups = [{"params": [], "weight_decay": decay, "decoupled_weight_decay": True}]
    params = [nn.Parameter(tl.tensor(v)) for v in start_values("float64")]
    groups[0]["params"] = params
    optimizer = getattr(optim, name)(groups, lr=lr)
    plain, other = make_ours(name, options={"lr": lr})
    for row in rows:
        for p in plain:  # shrunk by hand before a step without decay
            p.data.copy_(p.detach() * (1 - lr * decay))
        advance(other, plain, [row], tl.tensor)
    advance(optimizer, params, rows, tl.tensor)
    for p, q in zip(params, plain, strict=True):
        np.testing.assert_allclose(
            p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-14
        )


def test_options_changed_between_steps_take_effect():
    rows = gradients("float64", 6)
    params, optimizer = make_ours("SGD", options={"lr": 0.1})
    advance(optimizer, params, rows[:2], tl.tensor)
    optimizer.param_groups[0]["momentum"] = 0.9
    advance(optimizer, params, rows[2:], tl.tensor)
    for number, p in enumerate(start_values("float64")):
        p = p - 0.1 * (rows[0][number] + rows[1][number])
        v = rows[2][number]
        for row in rows[3:]:
            p, v = p - 0.1 * v, 0.9 * v + row[number]
        np.testing.assert_allclose(
            params[number].detach().numpy(), p - 0.1 * v, rtol=1e-12, atol=1e-15
        )


# ---- second order --------------------------------------------------------------
def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def trace(library, optimizer, x, steps):
    found = []

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    for _ in range(steps):
        found.append(optimizer.step(closure).item())
        found += x.detach().tolist()
    return found


LBFGS = {
    "plain": {"lr": 1e-3, "max_iter": 5},
    "history": {"lr": 5e-4, "max_iter": 7, "history_size": 3},
    "wolfe": {"line_search_fn": "strong_wolfe"},
    "wolfe short": {"line_search_fn": "strong_wolfe", "max_iter": 4, "max_eval": 6},
    "wolfe long": {"line_search_fn": "strong_wolfe", "lr": 1e-4, "history_size": 2},
    "wolfe far": {"line_search_fn": "strong_wolfe", "lr": 30.0, "max_iter": 6},
}


@pytest.mark.parametrize("name", LBFGS)
def test_lbfgs_matches_pytorch(name):
    torch = pytest.importorskip("torch")
    start = [-1.2, 1.0]
    x = nn.Parameter(tl.tensor(start, dtype=tl.float64))
    y = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    found = trace(tl, optim.LBFGS([x], **LBFGS[name]), x, 4)
    expected = trace(torch, torch.optim.LBFGS([y], **LBFGS[name]), y, 4)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_lbfgs_resumes_bit_for_bit():
    def make(values):
        x = nn.Parameter(tl.tensor(values, dtype=tl.float64))
        return x, optim.LBFGS([x], max_iter=3, line_search_fn="strong_wolfe")

    x, optimizer = make([-1.2, 1.0])
    whole = trace(tl, optimizer, x, 6)
    x, optimizer = make([-1.2, 1.0])
    first = trace(tl, optimizer, x, 3)
    y, resumed = make(x.tolist())
    resumed.load_state_dict(optimizer.state_dict())
    assert first + trace(tl, resumed, y, 3) == whole


def test_lbfgs_minimizes_over_several_parameters():
    a, b = nn.Parameter(tl.zeros((2, 3))), nn.Parameter(tl.zeros(()))
    optimizer = optim.LBFGS([a, b], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = ((a - b - 1) ** 2).sum() + ((b - 3) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert b.item() == pytest.approx(3.0, abs=1e-4)
    assert a.tolist() == pytest.approx(np.full((2, 3), 4.0), abs=1e-4)


def test_newton_solves_a_quadratic_in_one_step():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix, vector = root @ root.T + np.eye(6), rng.normal(size=6)
    a, b = (
        nn.Parameter(tl.zeros((2, 2), dtype=tl.float64)),
        nn.Parameter(tl.zeros(2, dtype=tl.float64)),
    )
    optimizer = optim.Newton([a, b])

    def closure():
        x = tl.concat([a.reshape((-1,)), b], axis=0)
        return (x * (tl.tensor(matrix) @ x)).sum() / 2 - (tl.tensor(vector) * x).sum()

    optimizer.step(closure)
    expected = np.linalg.solve(matrix, vector)
    found = np.concatenate([a.detach().numpy().ravel(), b.detach().numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_newton_converges_quadratically():
    x = nn.Parameter(tl.tensor([-1.2, 1.0], dtype=tl.float64))
    optimizer = optim.Newton([x])
    losses = [optimizer.step(lambda: rosenbrock(x)).item() for _ in range(8)]
    assert losses[-1] < 1e-15


def test_newton_of_a_singular_hessian_raises_and_changes_nothing():
    x = nn.Parameter(tl.tensor([1.0, 2.0]))
    optimizer = optim.Newton([x])
    with pytest.raises(ZeroDivisionError, match="damping"):
        optimizer.step(lambda: x.sum())
    assert x.tolist() == [1.0, 2.0]
    optim.Newton([x], damping=2.0).step(lambda: x.sum())
    assert x.tolist() == [0.5, 1.5]
