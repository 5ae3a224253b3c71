"""Modules, optimizers and data loaders with a GPU."""

from collections import namedtuple

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not tl.cuda.is_available(), reason=tl.cuda.why_unavailable() or "GPU is there"
    ),
]


def network():
    tl.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
    )


def batch(device):
    x = tl.randn(5, 4, generator=tl.Generator(1))
    return x.to(device), tl.tensor([0, 1, 2, 1, 0]).to(device)


def train(net, optimizer, device, steps):
    x, y = batch(device)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()


def assert_states_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name].detach().cpu().numpy(),
            value.detach().cpu().numpy(),
            rtol=2e-4,
            atol=2e-5,
            err_msg=name,
        )


# ---- modules -----------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layer_takes_packed_sequences(kind, bidirectional):
    tl.manual_seed(0)
    layer = getattr(nn, kind)(3, 4, bidirectional=bidirectional)
    sequences = [
        tl.randn(n, 3, generator=tl.Generator(n)) for n in (2, 5, 1)
    ]  # fmt: skip
    found = []
    for device in ("cpu", "cuda"):
        layer = layer.to(device)
        layer.zero_grad()
        packed = nn.utils.rnn.pack_sequence(
            [x.to(device) for x in sequences], enforce_sorted=False
        )
        y = layer(packed)[0]
        assert y.data.device.type == device
        padded, lengths = nn.utils.rnn.pad_packed_sequence(y)
        assert (padded.device.type, lengths.device.type) == (device, "cpu")
        assert lengths.tolist() == [2, 5, 1]
        (y.data * y.data).sum().backward()
        grads = [p.grad.cpu() for p in layer.parameters()]
        found.append([y.data.detach().cpu(), *grads])
    for ours, expected in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("move", [lambda m: m.to("cuda"), lambda m: m.cuda()])
def test_module_moves_in_place_and_back(move):
    net = network()
    parameters = list(net.parameters())
    assert move(net) is net
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    assert all(x.is_cuda for x in net.state_dict().values())
    net.cpu()
    assert not any(x.is_cuda for x in net.state_dict().values())


def test_module_moves_its_gradients():
    net = network()
    x, y = batch("cpu")
    nn.functional.cross_entropy(net(x), y).backward()
    net.to("cuda")
    assert all(p.grad.is_cuda for p in net.parameters())


@pytest.mark.parametrize("pair", [("cpu", "cuda"), ("cuda", "cpu")])
def test_state_is_loaded_across_devices(pair):
    source, target = network().to(pair[0]), network().to(pair[1])
    with tl.no_grad():
        for p in source.parameters():
            p += 1.0
    target.load_state_dict(source.state_dict())
    assert all(p.device.type == pair[1] for p in target.parameters())
    assert_states_equal(target.state_dict(), source.state_dict())


def test_assigned_state_follows_the_state_dict():
    source, target = network().to("cuda"), network()
    target.load_state_dict(source.state_dict(), assign=True)
    assert all(p.is_cuda for p in target.parameters())


def test_input_on_the_other_device_raises_and_names_both():
    with pytest.raises(tl.DeviceError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
        network().to("cuda")(batch("cpu")[0])


def test_summary_of_a_module_on_the_device():
    net = network().to("cuda")
    assert "Linear" in str(net.summary(batch("cuda")[0], verbose=False))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), (2, 5, 8)),
        (lambda: nn.Upsample(scale_factor=2), (1, 2, 3, 3)),
        (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 3)),
        (lambda: nn.LSTM(8, 4), (5, 2, 8)),
        (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
        (lambda: nn.AdaptiveAvgPool2d(2), (1, 2, 5, 5)),
        (lambda: nn.InstanceNorm2d(2, affine=True), (2, 2, 4, 4)),
    ],
    ids=[
        "transformer", "nearest", "bilinear", "lstm", "group_norm", "pool",
        "instance_norm",
    ],
)  # fmt: skip
def test_layer_on_the_device_equals_that_on_the_cpu(make, shape):
    tl.manual_seed(0)
    layer, x = make().eval(), tl.randn(*shape)

    def first(y):
        return y[0] if isinstance(y, tuple) else y

    expected = first(layer(x))
    found = first(layer.to("cuda")(x.to("cuda")))
    assert found.is_cuda
    np.testing.assert_allclose(
        found.detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_attention_with_masks_on_the_device_equals_that_on_the_cpu():
    tl.manual_seed(0)
    layer = nn.MultiheadAttention(
        8, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True
    ).eval()
    x, padding = tl.randn(2, 5, 8), tl.tensor([[False] * 5, [False] * 3 + [True] * 2])
    options = {"need_weights": True, "is_causal": True}
    expected = layer(x, x, x, key_padding_mask=padding, **options)
    x, padding = x.to("cuda"), padding.to("cuda")
    found = layer.to("cuda")(x, x, x, key_padding_mask=padding, **options)
    for y, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            y.detach().cpu().numpy(), e.detach().numpy(), rtol=1e-4, atol=1e-5
        )


# ---- optimizers ----------------------------------------------------------------------
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.05),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_on_the_device_equals_that_on_the_cpu(name):
    found = {}
    for device in ("cpu", "cuda"):
        net = network().to(device)
        train(net, OPTIMIZERS[name](net.parameters()), device, 4)
        found[device] = net.state_dict()
    assert_states_equal(found["cuda"], found["cpu"])


def test_optimizer_made_before_the_move_follows():
    net, other = network(), network().to("cuda")
    before = OPTIMIZERS["adam"](net.parameters())
    net.to("cuda")
    train(net, before, "cuda", 3)
    train(other, OPTIMIZERS["adam"](other.parameters()), "cuda", 3)
    assert_states_equal(net.state_dict(), other.state_dict())


def test_optimizer_whose_state_stayed_behind_raises_and_names_both():
    net = network()
    optimizer = OPTIMIZERS["adam"](net.parameters())
    train(net, optimizer, "cpu", 1)
    net.to("cuda")
    with pytest.raises(tl.DeviceError, match=r"cuda:0.*cpu"):
        train(net, optimizer, "cuda", 1)


@pytest.mark.parametrize("pair", [("cpu", "cuda"), ("cuda", "cpu")])
def test_optimizer_state_is_loaded_across_devices(pair):
    nets = [network().to(device) for device in pair]
    first, second = (OPTIMIZERS["adam"](net.parameters()) for net in nets)
    train(nets[0], first, pair[0], 2)
    nets[1].load_state_dict(nets[0].state_dict())
    second.load_state_dict(first.state_dict())
    for net, optimizer, device in zip(nets, (first, second), pair, strict=True):
        train(net, optimizer, device, 2)
    assert_states_equal(nets[1].state_dict(), nets[0].state_dict())


def test_parameters_on_two_devices_in_one_optimizer():
    a = tl.ones(3, requires_grad=True)
    b = tl.ones(3, requires_grad=True, device="cuda")
    optimizer = optim.SGD([a, b], lr=0.5)
    (a.sum() + b.sum().cpu()).backward()
    optimizer.step()
    assert a.tolist() == b.tolist() == [0.5, 0.5, 0.5]


def test_clipping_gradients_on_the_device():
    norms = []
    for device in ("cpu", "cuda"):
        net = network().to(device)
        x, y = batch(device)
        nn.functional.cross_entropy(net(x), y).backward()
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), 0.1)))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_averages_of_a_model_on_the_device():
    found = {}
    for device in ("cpu", "cuda"):
        net = network().to(device)
        averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        optimizer = OPTIMIZERS["sgd"](net.parameters())
        for _ in range(3):
            train(net, optimizer, device, 1)
            averaged.update_parameters(net)
        found[device] = averaged.state_dict()
    assert all(p.is_cuda for n, p in found["cuda"].items() if n.endswith("weight"))
    assert_states_equal(found["cuda"], found["cpu"])


def test_scaled_gradients_on_the_device():
    net = network().to("cuda")
    optimizer = OPTIMIZERS["sgd"](net.parameters())
    scaler = tl.amp.GradScaler("cuda", init_scale=8.0)
    x, y = batch("cuda")
    with tl.autocast("cuda"):
        loss = nn.functional.cross_entropy(net(x), y)
    before = [p.tolist() for p in net.parameters()]
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 8.0
    assert before != [p.tolist() for p in net.parameters()]


# ---- data ----------------------------------------------------------------------------
Pair = namedtuple("Pair", ["x", "y"])


def dataset():
    x = tl.arange(20, dtype="float32").reshape((10, 2))
    return tl.data.TensorDataset(x, tl.arange(10))


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_pins_its_batches(workers):
    loader = tl.data.DataLoader(dataset(), 4, pin_memory=True, num_workers=workers)
    plain = list(tl.data.DataLoader(dataset(), 4))
    for (x, y), (a, b) in zip(loader, plain, strict=True):
        moved = x.to("cuda", non_blocking=True)
        assert x.device.type == "cpu"
        assert moved.tolist() == x.tolist() == a.tolist()
        assert y.tolist() == b.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_sends_its_batches(workers):
    loader = tl.data.DataLoader(
        dataset(), 4, pin_memory=True, pin_memory_device="cuda", num_workers=workers
    )
    plain = list(tl.data.DataLoader(dataset(), 4))
    for (x, y), (a, b) in zip(loader, plain, strict=True):
        assert x.is_cuda
        assert y.is_cuda
        assert x.tolist() == a.tolist()
        assert y.tolist() == b.tolist()


def test_loader_pins_what_is_nested():
    def collate(samples):
        return {"pair": Pair(tl.ones(2), [tl.zeros(1), "name"]), "n": len(samples)}

    loader = tl.data.DataLoader(
        [0, 1], 2, collate_fn=collate, pin_memory=True, pin_memory_device="cuda:0"
    )
    (found,) = loader
    assert type(found["pair"]) is Pair
    assert found["pair"].x.is_cuda
    assert found["pair"].y[0].is_cuda
    assert found["pair"].y[1] == "name"
    assert found["n"] == 2


@pytest.mark.parametrize(
    "options",
    [{"pin_memory_device": "cuda"}, {"pin_memory": True, "pin_memory_device": "cpu"}],
)
def test_loader_refuses_a_device_without_pinning(options):
    with pytest.raises(ValueError, match="pin_memory"):
        tl.data.DataLoader(dataset(), **options)


def test_pinned_memory_is_used_again():
    x = tl.ones(700_001).pin_memory()
    address = x.data_ptr()
    x.to("cuda", non_blocking=True)
    tl.cuda.synchronize()
    del x
    assert tl.zeros(700_001).pin_memory().data_ptr() == address


def test_pinned_memory_is_not_given_away_while_it_is_read():
    wanted = []
    for k in range(20):
        x = tl.full((1 << 16,), float(k)).pin_memory()
        wanted.append(x.to("cuda", non_blocking=True))
        del x
    for k, y in enumerate(wanted):
        assert bool((y == k).all())


def test_data_set_on_the_device():
    data = tl.data.TensorDataset(*[x.to("cuda") for x in dataset().tensors])
    loader = tl.data.DataLoader(data, 4, shuffle=True, generator=tl.Generator(1))
    plain = tl.data.DataLoader(dataset(), 4, shuffle=True, generator=tl.Generator(1))
    for (x, y), (a, b) in zip(loader, plain, strict=True):
        assert x.is_cuda
        assert x.tolist() == a.tolist()
        assert y.tolist() == b.tolist()
