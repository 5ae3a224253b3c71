"""Schedules of the learning rate against PyTorch, step by step, and resumed."""

import math

import pytest

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.optim import lr_scheduler


def leaf():
    return nn.Parameter(tl.zeros(1))


SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda t: 0.9**t),
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [5, 2], 0.3),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 7, 0.01),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.25, 0.9, 4),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.5, 3),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda t: 1 - 0.5 / t),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 20, 2.0),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7),
    "CosineAnnealingWarmRestarts 2": lambda s, o: s.CosineAnnealingWarmRestarts(
        o, 5, 2, eta_min=0.01
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.9, total_steps=60),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, 0.9, epochs=6, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.4
    ),
    "OneCycleLR three": lambda s, o: s.OneCycleLR(
        o, [0.9, 0.5], total_steps=61, three_phase=True, cycle_momentum=False
    ),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.1, 0.9, 4, 6),
    "CyclicLR 2": lambda s, o: s.CyclicLR(o, 0.1, 0.9, 4, mode="triangular2"),
    "CyclicLR exp": lambda s, o: s.CyclicLR(
        o, [0.1, 0.2], [0.9, 0.5], 5, mode="exp_range", gamma=0.98
    ),
    "CyclicLR own": lambda s, o: s.CyclicLR(
        o, 0.1, 0.9, 5, scale_fn=lambda t: 0.9**t, scale_mode="iterations"
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.95), s.StepLR(o, 9)]
    ),
    "Chained warm-up": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.05, total_iters=8), s.CosineAnnealingLR(o, 40)]
    ),
    "SequentialLR 3": lambda s, o: s.SequentialLR(
        o,
        [
            s.ConstantLR(o, 0.1, 4),
            s.CosineAnnealingWarmRestarts(o, 6),
            s.ExponentialLR(o, 0.9),
        ],
        [7, 30],
    ),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.1, total_iters=3), s.CosineAnnealingLR(o, 8)],
        [3],
    ),
}


STEPS = 56


def two_groups():
    """Our optimizer and PyTorch's, with two groups of other rates and momenta."""
    torch = pytest.importorskip("torch")

    def groups(make):
        return [{"params": [make()]}, {"params": [make()], "lr": 0.2, "momentum": 0.5}]

    ours = optim.SGD(groups(leaf), lr=0.7, momentum=0.9)
    make = lambda: torch.nn.Parameter(torch.zeros(1))  # noqa: E731
    return ours, torch.optim.SGD(groups(make), lr=0.7, momentum=0.9), torch


def options(optimizer):
    return [
        group[key] for group in optimizer.param_groups for key in ("lr", "momentum")
    ]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore")
def test_schedule_matches_pytorch_at_every_step(name):
    ours, theirs, torch = two_groups()
    a = SCHEDULES[name](lr_scheduler, ours)
    b = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    for _ in range(STEPS):
        # PyTorch multiplies step by step where ours is a closed form.
        assert options(ours) == pytest.approx(options(theirs), rel=1e-10, abs=1e-14)
        assert [group["lr"] for group in ours.param_groups] == a.get_last_lr()
        theirs.step()
        a.step()
        b.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_state_dict_resumes(name):
    def make():
        optimizer = optim.SGD(
            [{"params": [leaf()]}, {"params": [leaf()], "lr": 0.1}],
            lr=0.7,
            momentum=0.9,
        )
        return optimizer, SCHEDULES[name](lr_scheduler, optimizer)

    first, schedule = make()
    for _ in range(11):
        schedule.step()
    optimizer, resumed = make()
    resumed.load_state_dict(schedule.state_dict())
    assert options(optimizer) == options(first)
    for _ in range(20):
        resumed.step()
        schedule.step()
        assert options(optimizer) == options(first)


def test_cycles_move_beta1_of_adam_as_pytorch():
    torch = pytest.importorskip("torch")
    ours = optim.Adam([leaf()], lr=0.1)
    theirs = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    a = lr_scheduler.OneCycleLR(ours, 0.9, total_steps=20)
    b = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.9, total_steps=20)
    for _ in range(20):  # as many as steps: the usual loop steps after every batch
        theirs.step()
        a.step()
        b.step()
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12)
        assert ours.param_groups[0]["betas"] == pytest.approx(
            theirs.param_groups[0]["betas"], rel=1e-12
        )


def test_warm_restarts_go_to_fractions_of_steps_as_pytorch():
    ours, theirs, torch = two_groups()
    a = lr_scheduler.CosineAnnealingWarmRestarts(ours, 3, 2)
    b = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, 3, 2)
    for epoch in (0.5, 2.75, 3.0, 8.5, 9.25, 20.5):
        a.step(epoch)
        b.step(epoch)
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12)


PLATEAUS = {
    "min": {"patience": 2},
    "max": {"mode": "max", "patience": 1, "factor": 0.5},
    "abs": {"threshold_mode": "abs", "threshold": 0.05, "patience": 1, "cooldown": 2},
    "max abs": {
        "mode": "max",
        "threshold_mode": "abs",
        "threshold": 0.1,
        "patience": 0,
    },
    "bounds": {"patience": 0, "min_lr": [0.01, 0.05], "eps": 1e-3},
}


@pytest.mark.parametrize("name", PLATEAUS)
def test_plateau_matches_pytorch_at_every_step(name):
    ours, theirs, torch = two_groups()
    a = lr_scheduler.ReduceLROnPlateau(ours, **PLATEAUS[name])
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **PLATEAUS[name])
    for step in range(STEPS):
        measure = math.cos(step / 5) + 1 / (step + 1)
        a.step(measure)
        b.step(measure)
        assert a.get_last_lr() == b.get_last_lr()
        assert options(ours) == options(theirs)
        if step == 20:
            other = lr_scheduler.ReduceLROnPlateau(ours, **PLATEAUS[name])
            other.load_state_dict(a.state_dict())
            a = other


def test_schedule_with_bad_arguments_raises():
    optimizer = optim.SGD([leaf()])
    with pytest.raises(ValueError, match="start_factor"):
        lr_scheduler.LinearLR(optimizer, 0.0)
    with pytest.raises(ValueError, match="expected 1 milestones"):
        lr_scheduler.SequentialLR(
            optimizer,
            [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ConstantLR(optimizer)],
            [],
        )
    with pytest.raises(ValueError, match="expected 1 values of lr_lambda"):
        lr_scheduler.LambdaLR(optimizer, [abs, abs])
    for make in (
        lambda: lr_scheduler.OneCycleLR(optimizer, 1.0),
        lambda: lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=0),
        lambda: lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, mode="square"),
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 0),
        lambda: lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.0),
        lambda: lr_scheduler.ChainedScheduler([]),
        lambda: lr_scheduler.CyclicLR(optim.Adagrad([leaf()]), 0.1, 1.0),
    ):
        with pytest.raises(ValueError, match=r"expected|got|no momentum"):
            make()
    with pytest.raises(TypeError, match="ReduceLROnPlateau"):
        lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(optimizer)])
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=2)
    schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="beyond the last"):
        schedule.step()
