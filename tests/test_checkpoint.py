"""Activations computed again in backward: same bits, less memory."""

import gc

import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.autograd import checkpoint, checkpoint_sequential, grad


def block(width=8):
    tl.manual_seed(0)
    return nn.Sequential(
        nn.Linear(width, width), nn.Tanh(), nn.Dropout(0.5), nn.LayerNorm(width)
    )


def gradients(run, x, parameters):
    """The value and all gradients of one run from one random state."""
    tl.manual_seed(1)
    y = run(x)
    found = grad((y * y).sum(), [x, *parameters])
    return [y.tolist(), *[g.tolist() for g in found]]


WAYS = {
    "whole": lambda layers, x: checkpoint(layers, x),
    "each": lambda layers, x: checkpoint(
        layers[1], checkpoint(layers[0], x)
    ),
    "nested": lambda layers, x: checkpoint(
        lambda x: checkpoint(layers[1], checkpoint(layers[0], x) * 1), x
    ),
    "nested thrice": lambda layers, x: checkpoint(
        lambda x: checkpoint(lambda x: checkpoint(layers, x), x), x
    ),
    "sequential": lambda layers, x: checkpoint_sequential(layers, 2, x),
    "one segment": lambda layers, x: checkpoint_sequential(layers, 1, x),
    "in a region of its own": lambda layers, x: checkpoint(
        lambda x: layers[1](checkpoint(layers[0], tl.exp(x) - tl.exp(x) + x)), x
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_checkpointed_gradients_have_the_same_bits(way):
    layers = nn.Sequential(block(), block())
    x = tl.randn((4, 8), generator=tl.Generator(2), requires_grad=True)
    parameters = list(layers.parameters())
    expected = gradients(layers, x, parameters)
    if way == "in a region of its own":
        expected = gradients(lambda x: layers(tl.exp(x) - tl.exp(x) + x), x, parameters)
    assert gradients(lambda x: WAYS[way](layers, x), x, parameters) == expected


@pytest.mark.parametrize("way", WAYS)
def test_checkpointed_function_can_be_differentiated_twice(way):
    layers = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    layers.double()
    x = tl.randn((2, 3), dtype=tl.float64, requires_grad=True)
    assert tl.autograd.gradgradcheck(lambda x: WAYS[way](layers, x), (x,))


def test_checkpoint_leaves_the_random_state_where_the_plain_run_does():
    layer = nn.Dropout(0.5)
    x = tl.ones(100, requires_grad=True)
    tl.manual_seed(3)
    layer(x).sum().backward()
    expected = tl.rand(3).tolist()
    tl.manual_seed(3)
    checkpoint(layer, x).sum().backward()
    assert tl.rand(3).tolist() == expected


def test_checkpoint_without_the_random_state_draws_anew():
    x = tl.ones(1000, requires_grad=True)

    def run(preserve):
        tl.manual_seed(3)
        y = checkpoint(
            lambda x: tl.exp(tl.dropout(x, 0.5)), x, preserve_rng_state=preserve
        )
        y, slope = y.detach(), tl.autograd.grad(y.sum(), (x,))[0]
        return (slope == y * 2 * (y > 1.5)).sum().item()

    assert run(True) == 1000
    assert run(False) < 1000


def test_checkpoint_passes_arguments_by_name_and_results_of_any_kind():
    def function(x, scale, *, shift):
        return {"a": tl.exp(x * scale), "b": [shift * x, "text"]}

    x, scale, shift = (tl.full(2, v, requires_grad=True) for v in (1.0, 2.0, 3.0))
    found = checkpoint(function, x, scale, shift=shift)
    (found["a"] + found["b"][0]).sum().backward()
    plain = function(*(t.detach().requires_grad_() for t in (x, scale)), shift=shift)
    assert found["a"].tolist() == plain["a"].tolist()
    assert x.grad.tolist() == [2.0 * v + 3.0 for v in found["a"].tolist()]
    assert scale.grad.tolist() == found["a"].tolist()
    assert shift.grad.tolist() == [1.0, 1.0]


def test_checkpoint_runs_once_more_and_only_for_backward():
    calls = []

    def function(x):
        calls.append(tl.is_grad_enabled())
        return tl.exp(tl.exp(x))

    x = tl.ones(1, requires_grad=True)
    y = checkpoint(function, x)
    assert calls == [True]
    y.sum().backward(retain_graph=True)
    assert calls == [True, True]
    with tl.no_grad():
        checkpoint(function, x)
    assert calls == [True, True, False]


def test_checkpoint_of_an_argument_changed_since_raises():
    x = tl.ones(2, requires_grad=True) * 2
    y = checkpoint(lambda x: tl.exp(x) * 2, x)
    with tl.no_grad():
        x += 1
    with pytest.raises(tl.GraphError, match="saved by checkpoint was changed in place"):
        y.sum().backward()


@pytest.mark.parametrize("change", ["number", "shape"])
def test_checkpoint_of_a_function_that_changes_raises(change):
    runs = []

    def fickle(x):
        runs.append(1)
        if len(runs) == 1:
            return tl.exp(x).sum()
        return tl.exp(x[:1]).sum() if change == "shape" else x.sum()

    y = checkpoint(fickle, tl.ones(2, requires_grad=True))
    message = {"number": "save 1 tensors.*got 0", "shape": r"\(2,\).*got \(1,\)"}
    with pytest.raises(tl.GraphError, match=f"checkpoint: .*{message[change]}"):
        y.backward()


def test_checkpoint_whose_second_run_fails_passes_the_error_and_recovers():
    fails = []

    def moody(x):
        if fails:
            raise KeyError("moody")
        return tl.exp(x)

    x = tl.ones(1, requires_grad=True)
    y = checkpoint(moody, x).sum()
    fails.append(1)
    before = tl.default_generator.get_state()
    with pytest.raises(KeyError, match="moody"):
        y.backward(retain_graph=True)
    assert tl.default_generator.get_state() == before
    assert tl.is_grad_enabled()
    fails.clear()
    y.backward()
    assert x.grad.item() == tl.exp(tl.ones(1)).item()


def test_checkpoint_refuses_what_it_cannot_call_or_cut():
    with pytest.raises(TypeError, match="checkpoint: expected a callable, got int"):
        checkpoint(5)
    with pytest.raises(ValueError, match="between 1 and 2 segments, got 3"):
        checkpoint_sequential([tl.exp, tl.exp], 3, tl.ones(1))
    with pytest.raises(TypeError, match=r"an int as segments, got 1.5"):
        checkpoint_sequential([tl.exp], 1.5, tl.ones(1))


def test_checkpoint_frees_by_reference_counts_alone():
    layers = nn.Sequential(block(), block())

    def use():
        x = tl.ones((4, 8), requires_grad=True)
        WAYS["nested"](layers, x).sum().backward()
        WAYS["nested"](layers, x)
        layers.zero_grad()

    use()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        use()
        assert tl.memory_stats()["live"] == before
    finally:
        gc.enable()


def peak(run, x):
    """Bytes of activations at the peak of one forward and backward."""
    x.grad = None
    before = tl.memory_stats()["allocated"]
    tl.reset_peak_memory_stats()
    run(x).sum().backward()
    return tl.memory_stats()["peak_allocated"] - before


def test_checkpoint_sequential_needs_memory_of_the_square_root():
    layers = [tl.exp if n % 2 else tl.tanh for n in range(64)]
    x = tl.zeros(1 << 16, requires_grad=True)
    unit = x.nbytes
    plain = peak(lambda x: checkpoint_sequential(layers, 1, x), x)
    least = peak(lambda x: checkpoint_sequential(layers, 8, x), x)
    assert plain > 60 * unit
    # 8 inputs of segments, 8 activations of one, and what is under way.
    assert least < 24 * unit
