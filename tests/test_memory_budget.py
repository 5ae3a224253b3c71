"""memory_budget: what is kept for backward fits, gradients have the same bits."""

import gc
import threading

import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.autograd import checkpoint, grad, memory_budget

BATCH, WIDTH = 64, 64
UNIT = BATCH * WIDTH * 4  # bytes of one activation


class Residual(nn.Module):
    """Half of a transformer block, with work outside of modules."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        h = self.wide(self.norm(x))
        return x + self.dropout(self.narrow(tl.sin(h) * tl.tanh(h)))


class Looped(nn.Module):
    """Calls its layers itself, by name."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Residual() for _ in range(6)])

    def forward(self, x, *, scale):
        for layer in self.layers:
            x = layer(x) * scale
        return x


def block():
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(0.2))


MODELS = {
    "blocks": lambda: nn.Sequential(*[block() for _ in range(16)]),
    "flat": lambda: nn.Sequential(*[layer for _ in range(16) for layer in block()]),
    "residual": lambda: nn.Sequential(*[Residual() for _ in range(8)]),
    "in place": lambda: nn.Sequential(
        *[
            layer
            for _ in range(8)
            for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.Tanh())
        ]
    ),
    "statistics": lambda: nn.Sequential(
        *[nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Tanh(), block()) for _ in range(8)]
    ),
    "flattened": lambda: nn.Sequential(
        nn.Flatten(), *[nn.Sequential(block(), nn.Identity()) for _ in range(12)]
    ),
}


def made(name):
    tl.manual_seed(0)
    model = MODELS[name]()
    return model, tl.randn((BATCH, WIDTH), generator=tl.Generator(1))


def step(model, x, budget=None, **kwargs):
    """Loss, gradients, buffers and random state after; bytes kept, and at the peak."""
    tl.manual_seed(2)
    model.zero_grad()
    start = tl.memory_stats()["allocated"]
    if budget is None:
        y = (model(x, **kwargs) ** 2).sum()
    else:
        with memory_budget(budget) as context:
            y = (model(x, **kwargs) ** 2).sum()
        assert context.kept <= budget
    kept = tl.memory_stats()["allocated"] - start
    for p in model.parameters():  # these are no activations
        p.grad = tl.zeros_like(p)
    start = tl.memory_stats()["allocated"] - kept
    tl.reset_peak_memory_stats()
    y.backward()
    peak = tl.memory_stats()["peak_allocated"] - start
    found = [y.item(), *[p.grad.tolist() for p in model.parameters()]]
    found += [b.tolist() for b in model.buffers()]
    return [*found, tl.default_generator.get_state()], kept, peak


# Activations that one layer makes, forward and backward.
LAYER = {"residual": 12}


@pytest.mark.parametrize("units", [40, 24, 14, 12])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_under_a_budget_have_the_same_bits(name, units):
    model, x = made(name)
    buffers = [b.clone() for b in model.buffers()]
    expected, plain, _ = step(model, x)
    for b, value in zip(model.buffers(), buffers, strict=True):
        b.copy_(value)
    found, kept, peak = step(model, x, units * UNIT)
    assert found == expected
    # One more activation lives for a moment, the output; small tensors round up.
    assert kept <= min(plain, (units + 1) * UNIT) + 20_000
    # Beyond the budget: cotangents and the intermediates of one layer.
    assert peak <= (units + LAYER.get(name, 7)) * UNIT


def test_forward_keeps_everything_while_it_fits():
    runs = []
    model, x = made("blocks")
    for layer in model:
        layer.register_forward_hook(lambda *_: runs.append(1))
    with memory_budget("1GB"):
        y = model(x).sum()
    y.backward()
    assert len(runs) == 16


class Waves(nn.Module):
    """Saves three activations, after a product of some width or after none."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        h = self.inner(x)
        return x + tl.sin(h) * tl.tanh(h)


class Stated(nn.Module):
    """Says that it is dear, as a user's module with products of its own may."""

    def forward(self, x):
        return tl.sin(x)

    def multiply_adds(self, args, output):
        return 10**9


def runs_under(dear, budget, width=256):
    """How often each layer ran: four with `dear` inside between four without."""
    layers = [Waves(dear(width) if i % 2 == 0 else nn.Identity()) for i in range(8)]
    x = tl.ones((BATCH, width), requires_grad=True)
    with memory_budget(budget * BATCH * width * 4):
        y = x
        for layer in layers:
            y = layer(y)
        y = y.sum()
    y.backward()
    return [layer.runs for layer in layers]


@pytest.mark.parametrize(
    "dear",
    [
        lambda n: nn.Linear(n, n),
        lambda n: Stated(),
        lambda n: nn.Sequential(nn.Linear(n, n)),
    ],
    ids=["layer", "stated", "inside a module"],
)
def test_calls_with_few_flops_are_run_again_first(dear):
    runs = runs_under(dear, 22)
    assert runs[::2] == [1, 1, 1, 1]
    assert sum(runs[1::2]) > 4


def test_calls_by_keyword_count_their_flops_too():
    class Named(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.linear = nn.Linear(n, n)

        def forward(self, x):
            return self.linear(input=x)

    runs = runs_under(Named, 22)
    assert runs[::2] == [1, 1, 1, 1]
    assert sum(runs[1::2]) > 4


def test_calls_with_many_flops_are_run_again_when_they_must():
    assert min(runs_under(lambda n: nn.Linear(n, n), 14)[::2]) == 1
    assert max(runs_under(lambda n: nn.Linear(n, n), 14)[::2]) == 2


def test_forward_peaks_within_the_budget_and_one_layer():
    model, x = made("residual")
    plain = step(model, x)[1]
    before = tl.memory_stats()["allocated"]
    tl.reset_peak_memory_stats()
    with memory_budget(14 * UNIT):
        y = model(x).sum()
    assert plain > 60 * UNIT
    assert tl.memory_stats()["peak_allocated"] - before < (14 + 12) * UNIT
    y.backward()


def test_module_that_calls_its_layers_itself_fits():
    tl.manual_seed(0)
    model = Looped()
    x = tl.randn((BATCH, WIDTH), requires_grad=True)
    expected = step(model, x, scale=1.5)[0]
    assert step(model, x, 16 * UNIT, scale=1.5)[0] == expected


def test_gradient_of_a_gradient_has_the_same_bits():
    model, x = made("blocks")

    def second(budget):
        tl.manual_seed(1)
        v = x.detach().requires_grad_()
        with memory_budget(budget):
            y = model(v).sum()
            (g,) = grad(y, v, create_graph=True)
        return grad((g * g).sum(), list(model.parameters())[:4])

    expected = [g.tolist() for g in second("1GB")]
    with memory_budget(20 * UNIT):
        tl.manual_seed(1)
        v = x.detach().requires_grad_()
        y = model(v).sum()
    (g,) = grad(y, v, create_graph=True)
    found = grad((g * g).sum(), list(model.parameters())[:4])
    assert [g.tolist() for g in found] == expected


def test_graph_that_is_retained_fills_one_segment_at_a_time():
    model, x = made("blocks")
    expected = step(model, x)[0]
    tl.manual_seed(2)
    with memory_budget(12 * UNIT) as budget:
        y = (model(x) ** 2).sum()
    for _ in range(2):
        model.zero_grad()
        y.backward(retain_graph=True)
        assert budget.kept <= (12 + 6) * UNIT
        assert [p.grad.tolist() for p in model.parameters()] == expected[1:-1]


def test_budget_with_checkpoints_inside():
    model, x = made("blocks")
    expected = step(model, x)[0]
    model.forward = lambda x: checkpoint(model[4:], checkpoint(model[:4], x))
    assert step(model, x, 6 * UNIT)[0] == expected


def test_budget_frees_by_reference_counts_alone():
    model, x = made("residual")

    def use():
        with memory_budget(14 * UNIT) as budget:
            model(x).sum().backward()
            y = model(x)
        del y
        model.zero_grad()
        return budget

    use()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        assert use().kept == 0
        assert tl.memory_stats()["live"] == before
    finally:
        gc.enable()


def test_budget_that_cannot_be_met_raises_and_leaves_the_thread_as_it_was():
    model, x = made("blocks")
    with (
        pytest.raises(MemoryError, match=r"keep at most 32768 bytes .* got \d+"),
        memory_budget(2 * UNIT),
    ):
        model(x)
    expected = step(model, x)[0]
    assert step(model, x, 12 * UNIT)[0] == expected


def test_work_outside_of_modules_beyond_the_budget_raises():
    x = tl.ones((BATCH, WIDTH), requires_grad=True)
    with memory_budget(2 * UNIT):
        y = tl.exp(tl.exp(x))
        with pytest.raises(MemoryError, match="more of the computation into modules"):
            tl.exp(y)


@pytest.mark.parametrize("budget", [12, 1000])
def test_saved_tensor_changed_in_place_raises(budget):
    model, x = made("blocks")
    with memory_budget(budget * UNIT):
        h = model[:8](x)
        y = model[8:](h).sum()
    with tl.no_grad():
        h += 1
    with pytest.raises(tl.GraphError, match=r"memory_budget: .* changed in place"):
        y.backward()


def test_module_that_does_something_else_when_it_runs_again_raises():
    class Fickle(nn.Module):
        runs = 0

        def forward(self, x):
            self.runs += 1
            return tl.exp(x) if self.runs == 1 else x * 1

    fickle = Fickle()
    model = nn.Sequential(
        nn.Sequential(nn.Linear(WIDTH, WIDTH), fickle), *made("blocks")[0]
    )
    with memory_budget(11 * UNIT):
        y = model(tl.ones((BATCH, WIDTH))).sum()
    with pytest.raises(tl.GraphError, match=r"memory_budget: expected .* runs again"):
        y.backward()


def test_decorated_function_has_a_budget_in_each_call():
    model, x = made("blocks")
    expected = step(model, x)[0]

    @memory_budget(12 * UNIT)
    def loss():
        return (model(x) ** 2).sum()

    tl.manual_seed(2)
    model.zero_grad()
    before = tl.memory_stats()["allocated"]
    y = loss()
    assert tl.memory_stats()["allocated"] - before <= 12 * UNIT
    y.backward()
    assert [p.grad.tolist() for p in model.parameters()] == expected[1:-1]
    assert loss.__name__ == "loss"


def test_budget_holds_for_its_thread_alone():
    found = []
    model, x = made("blocks")
    with memory_budget(0):
        thread = threading.Thread(target=lambda: found.append(model(x)))
        thread.start()
        thread.join()
    assert found[0].requires_grad


def test_nested_budgets_count_apart():
    model, x = made("blocks")
    with memory_budget("1GB") as outer:
        h = model[:8](x)
        with memory_budget(12 * UNIT) as inner:
            y = model[8:](h).sum()
        assert inner.kept <= 12 * UNIT
        assert outer.kept >= 8 * UNIT
        y.backward()
    assert (outer.kept, inner.kept) == (0, 0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0),
        (123, 123),
        ("2GB", 2 * 10**9),
        ("512MiB", 512 << 20),
        ("1.5 kib", 1536),
        ("7 B", 7),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_read(size, expected):
    assert memory_budget(size).limit == expected


@pytest.mark.parametrize("size", ["2", "GB", "-1GB", "1e9B", "2 XB", "", -1])
def test_sizes_that_are_none_raise(size):
    with pytest.raises(ValueError, match="memory_budget: expected"):
        memory_budget(size)


@pytest.mark.parametrize("size", [None, 2.5, True, [1]])
def test_sizes_of_other_types_raise(size):
    with pytest.raises(TypeError, match="memory_budget: expected bytes as an int"):
        memory_budget(size)
