"""Optimizers: options, groups, state and errors; the rules are in test_optim_rules."""

import math

import pytest

import tensorlib as tl
from tensorlib import nn, optim

SHAPES = [(4, 3), (4,), (2, 4), (2,)]


def start_values():
    return [tl.randn(s, generator=tl.Generator(n)) for n, s in enumerate(SHAPES)]


def gradient(step, number):
    generator = tl.Generator(100 * step + number)
    return tl.randn(SHAPES[number], generator=generator)


def run_ours(make, steps, skip=()):
    params = [nn.Parameter(v) for v in start_values()]
    optimizer = make(optim, params)
    for step in range(steps):
        for number, p in enumerate(params):
            p.grad = None if (step, number) in skip else gradient(step, number)
        optimizer.step()
    return params, optimizer


def run_theirs(make, steps, skip=()):
    torch = pytest.importorskip("torch")
    params = [
        torch.nn.Parameter(torch.from_numpy(v.numpy().copy())) for v in start_values()
    ]
    optimizer = make(torch.optim, params)
    for step in range(steps):
        for number, p in enumerate(params):
            if (step, number) in skip:
                p.grad = None
            else:
                p.grad = torch.from_numpy(gradient(step, number).numpy().copy())
        optimizer.step()
    return params, optimizer


def assert_params_match(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        # A few float32 roundings a step.
        assert p.detach().reshape((-1,)).tolist() == pytest.approx(
            q.detach().reshape(-1).tolist(), rel=3e-5, abs=3e-6
        )


OPTIMIZERS = {
    "SGD": lambda o, p: o.SGD(p, lr=0.1),
    "SGD decay": lambda o, p: o.SGD(p, lr=0.1, weight_decay=0.1),
    "SGD momentum": lambda o, p: o.SGD(p, lr=0.1, momentum=0.9),
    "SGD dampening": lambda o, p: o.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "SGD nesterov": lambda o, p: o.SGD(
        p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "SGD maximize": lambda o, p: o.SGD(p, lr=0.1, momentum=0.5, maximize=True),
    "Adam": lambda o, p: o.Adam(p, lr=0.01),
    "Adam decay": lambda o, p: o.Adam(p, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1),
    "Adam maximize": lambda o, p: o.Adam(p, lr=0.01, eps=1e-4, maximize=True),
    "AdamW": lambda o, p: o.AdamW(p, lr=0.01, weight_decay=0.1),
    "groups": lambda o, p: o.AdamW(
        [{"params": p[:2]}, {"params": p[2:], "lr": 0.1, "weight_decay": 0.0}], lr=0.01
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_matches_pytorch(name):
    make = OPTIMIZERS[name]
    ours, _ = run_ours(make, 6)
    theirs, _ = run_theirs(make, 6)
    assert_params_match(ours, theirs)


@pytest.mark.parametrize("name", ["SGD momentum", "SGD nesterov", "Adam", "AdamW"])
def test_optimizer_with_missing_gradients_matches_pytorch(name):
    # Parameters then are at different steps.
    make, skip = OPTIMIZERS[name], {(0, 1), (1, 2), (3, 0), (3, 1)}
    ours, _ = run_ours(make, 6, skip)
    theirs, _ = run_theirs(make, 6, skip)
    assert_params_match(ours, theirs)


@pytest.mark.parametrize("name", ["SGD momentum", "Adam", "AdamW", "groups"])
def test_optimizer_state_dict_has_pytorch_layout(name):
    _, ours = run_ours(OPTIMIZERS[name], 2)
    _, theirs = run_theirs(OPTIMIZERS[name], 2)
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a["state"]) == list(b["state"])
    for number in a["state"]:
        assert set(a["state"][number]) == set(b["state"][number])
    for ga, gb in zip(a["param_groups"], b["param_groups"], strict=True):
        assert ga["params"] == gb["params"]
        shared = set(ga) & set(gb)
        assert {k: ga[k] for k in shared} == {k: gb[k] for k in shared}
        assert set(ga) - set(gb) <= {"unbiased"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_state_dict_round_trip_continues_bit_for_bit(name):
    make = OPTIMIZERS[name]
    whole, _ = run_ours(make, 6)
    params, optimizer = run_ours(make, 3)
    copies = [nn.Parameter(p.detach().copy()) for p in params]
    resumed = make(optim, copies)
    resumed.load_state_dict(optimizer.state_dict())
    for step in range(3, 6):
        for number, p in enumerate(copies):
            p.grad = gradient(step, number)
        resumed.step()
    assert [p.tolist() for p in copies] == [p.tolist() for p in whole]


def test_optimizer_loads_pytorch_state():
    torch = pytest.importorskip("torch")
    make = OPTIMIZERS["AdamW"]
    _, theirs = run_theirs(make, 3)
    params, ours = run_ours(make, 0)
    state = theirs.state_dict()
    state["state"] = {
        number: {
            key: tl.asarray(value.numpy()) if torch.is_tensor(value) else value
            for key, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    ours.load_state_dict(state)
    assert ours.state[params[0]]["step"] == 3


def test_sgd_unbiased_momentum_follows_the_course():
    beta, lr = 0.9, 0.1
    p = nn.Parameter(tl.tensor([1.0, -2.0]))
    optimizer = optim.SGD([p], lr=lr, momentum=beta, unbiased=True)
    u, expected = [0.0, 0.0], [1.0, -2.0]
    for step in range(1, 5):
        g = [0.5 * step, -1.0]
        p.grad = tl.tensor(g)
        optimizer.step()
        u = [beta * a + (1 - beta) * b for a, b in zip(u, g, strict=True)]
        expected = [
            e - lr * a / (1 - beta**step) for e, a in zip(expected, u, strict=True)
        ]
        assert p.tolist() == pytest.approx(expected, rel=1e-6)


def test_step_runs_the_closure_with_gradients():
    p = nn.Parameter(tl.tensor([1.0]))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1.0
    assert p.item() == 0.0


def test_step_changes_parameters_in_place_outside_the_graph():
    p = nn.Parameter(tl.tensor([1.0]))
    view = p.detach()
    p.grad = tl.tensor([1.0])
    optim.SGD([p], lr=0.5).step()
    assert view.item() == 0.5
    assert p.is_leaf


def test_step_without_gradients_does_nothing():
    p = nn.Parameter(tl.tensor([1.0]))
    optim.AdamW([p]).step()
    assert p.item() == 1.0


def test_step_with_gradient_of_a_transposed_layout():
    p = nn.Parameter(tl.zeros((2, 3)))
    p.grad = tl.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).T
    optim.SGD([p], lr=1.0).step()
    assert p.tolist() == [[-1.0, -3.0, -5.0], [-2.0, -4.0, -6.0]]


def test_zero_grad_is_reset_grad():
    p = nn.Parameter(tl.tensor([1.0]))
    optimizer = optim.SGD([p])
    p.grad = tl.tensor([1.0])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0.0
    optimizer.reset_grad()
    assert p.grad is None


def test_changing_a_group_option_takes_effect():
    p = nn.Parameter(tl.tensor([1.0]))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = tl.tensor([1.0])
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.4
    optimizer.step()
    assert p.item() == pytest.approx(0.5)


def test_add_param_group_trains_it():
    p, q = nn.Parameter(tl.tensor([1.0])), nn.Parameter(tl.tensor([1.0]))
    optimizer = optim.SGD([p], lr=0.1)
    optimizer.add_param_group({"params": q, "lr": 1.0})
    q.grad = tl.tensor([1.0])
    optimizer.step()
    assert q.item() == 0.0


def leaf():
    return nn.Parameter(tl.zeros(2))


BAD = {
    "empty": (lambda: optim.SGD([]), ValueError, "empty parameter list"),
    "tensor": (lambda: optim.SGD(leaf()), TypeError, "got one Tensor"),
    "not tensors": (lambda: optim.SGD([3]), TypeError, "got int at position 0"),
    "non-leaf": (lambda: optim.SGD([leaf() * 2]), ValueError, "non-leaf"),
    "lr": (lambda: optim.SGD([leaf()], lr=-1), ValueError, "lr >= 0"),
    "nan lr": (lambda: optim.SGD([leaf()], lr=math.nan), ValueError, "lr >= 0"),
    "momentum": (lambda: optim.SGD([leaf()], momentum=-1), ValueError, "momentum"),
    "nesterov": (lambda: optim.SGD([leaf()], nesterov=True), ValueError, "Nesterov"),
    "unbiased": (lambda: optim.SGD([leaf()], unbiased=True), ValueError, "unbiased"),
    "betas": (lambda: optim.Adam([leaf()], betas=(0.9, 1.0)), ValueError, "beta2"),
    "eps": (lambda: optim.RAdam([leaf()], eps=-1.0), ValueError, "eps >= 0"),
    "alpha": (lambda: optim.RMSprop([leaf()], alpha=-1.0), ValueError, "alpha >= 0"),
    "rho": (lambda: optim.Adadelta([leaf()], rho=1.5), ValueError, "rho"),
    "etas": (lambda: optim.Rprop([leaf()], etas=(1.5, 2)), ValueError, "etas"),
    "sum": (
        lambda: optim.Adagrad([leaf()], initial_accumulator_value=-1),
        ValueError,
        "initial_accumulator_value",
    ),
    "decay": (
        lambda: optim.NAdam([leaf()], momentum_decay=-1),
        ValueError,
        "momentum_decay",
    ),
    "search": (
        lambda: optim.LBFGS([leaf()], line_search_fn="armijo"),
        ValueError,
        "strong_wolfe",
    ),
    "groups": (
        lambda: optim.LBFGS([{"params": [leaf()]}, {"params": [leaf()]}]),
        ValueError,
        "one group",
    ),
    "damping": (lambda: optim.Newton([leaf()], damping=-1), ValueError, "damping"),
    "group": (
        lambda: optim.SGD([leaf()]).add_param_group([leaf()]),
        TypeError,
        "parameter group is a dict",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_optimizer_with_bad_arguments_raises(name):
    make, kind, text = BAD[name]
    with pytest.raises(kind, match=text):
        make()


def test_optimizer_with_duplicate_parameter_raises():
    p = leaf()
    with pytest.raises(ValueError, match="more than once"):
        optim.SGD([p, p])


def test_load_state_dict_of_another_model_raises_and_changes_nothing():
    params, optimizer = run_ours(OPTIMIZERS["Adam"], 2)
    before = optimizer.state[params[0]]["exp_avg"].tolist()
    other = optim.Adam([leaf()])
    with pytest.raises(ValueError, match="expected 4 parameters in group 0, got 1"):
        optimizer.load_state_dict(other.state_dict())
    state = optimizer.state_dict()
    state["state"][1] = {"step": 1, "exp_avg": tl.zeros(9), "exp_avg_sq": tl.zeros(9)}
    with pytest.raises(ValueError, match=r"exp_avg of parameter 1 has shape \(9,\)"):
        optimizer.load_state_dict(state)
    assert optimizer.state[params[0]]["exp_avg"].tolist() == before


def test_repr_lists_groups():
    text = repr(optim.SGD([leaf()], lr=0.5))
    assert "Parameter Group 0" in text
    assert "lr: 0.5" in text
