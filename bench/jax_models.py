"""The networks of `bench.models` as JAX users write them: functions of weights.

A network is a function of a dict of weights, named as in the modules' state, and of its
inputs; it returns the outputs and the running statistics that it renewed. A step of
training is one jitted function, with the memory of weights and optimizer handed over.
"""

from itertools import count

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["inference", "training"]

LR = 1e-3
MOMENTUM = 0.9
BETA1, BETA2, EPSILON, DECAY = 0.9, 0.999, 1e-8, 1e-2  # of Adam and AdamW in PyTorch


# ---- layers ----------------------------------------------------------------------
def _linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _conv(p, name, x):
    y = lax.conv_general_dilated(
        x,
        p[f"{name}.weight"],
        (1, 1),
        "SAME",
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    return y + p[f"{name}.bias"].reshape((-1, 1, 1)) if f"{name}.bias" in p else y


def _pool(x, extent):
    window = (1, 1, extent, extent)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def _layer_norm(p, name, x):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    x = (x - mean) * lax.rsqrt(variance + 1e-5)
    return x * p[f"{name}.weight"] + p[f"{name}.bias"]


def _batch_norm(p, name, x, stats, training):
    if training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        n = x.size / x.shape[1]
        for key, value in (("mean", mean), ("var", variance * (n / (n - 1)))):
            old = p[f"{name}.running_{key}"]
            stats[f"{name}.running_{key}"] = 0.9 * old + 0.1 * value
    else:
        mean, variance = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    scale = p[f"{name}.weight"] * lax.rsqrt(variance + 1e-5)
    shift = p[f"{name}.bias"] - mean * scale
    return x * scale.reshape((-1, 1, 1)) + shift.reshape((-1, 1, 1))


# ---- networks --------------------------------------------------------------------
def _mlp(p, x, training):
    names = [f"{i}" for i in range(0, 99, 2) if f"{i}.weight" in p]
    for name in names[:-1]:
        x = jax.nn.relu(_linear(p, name, x))
    return _linear(p, names[-1], x), {}


def _cnn(p, x, training):
    for name in ("0", "3"):
        x = _pool(jax.nn.relu(_conv(p, name, x)), 2)
    return _linear(p, "7", x.reshape((x.shape[0], -1))), {}


def _resnet9(p, x, training):
    stats = {}

    def conv(name, x, halve=False):
        x = _conv(p, f"{name}.0", x)
        if f"{name}.1.weight" in p:  # or it was folded into the convolution
            x = _batch_norm(p, f"{name}.1", x, stats, training)
        x = jax.nn.relu(x)
        return _pool(x, 2) if halve else x

    x = conv("first", conv("prepare", x), halve=True)
    x = x + conv("pair1.1", conv("pair1.0", x))
    x = conv("third", conv("second", x, halve=True), halve=True)
    x = x + conv("pair2.1", conv("pair2.0", x))
    x = _pool(x, x.shape[-1]).reshape((x.shape[0], -1))
    return _linear(p, "head.2", x), stats


def _lstm(p, tokens, training):
    x = p["words.weight"][tokens].transpose((1, 0, 2))
    gates = x @ p["lstm.weight_ih_l0"].T + p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]
    w = p["lstm.weight_hh_l0"].T

    def cell(state, given):
        h, c = state
        i, f, g, o = jnp.split(given + h @ w, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((x.shape[1], w.shape[0]), x.dtype)
    _, h = lax.scan(cell, (zero, zero), gates)
    h = h.transpose((1, 0, 2)).reshape((-1, w.shape[0]))
    return _linear(p, "out", h), {}


def _gpt(p, tokens, training, heads=4):
    words = p["words.weight"]
    x = words[tokens] + p["places"]
    n, length, width = x.shape
    for i in count():
        if f"blocks.{i}.qkv.weight" not in p:
            break
        name = f"blocks.{i}"
        qkv = _linear(p, f"{name}.qkv", _layer_norm(p, f"{name}.norm1", x))
        qkv = qkv.reshape((n, length, 3, heads, width // heads))
        q, k, v = (qkv[:, :, i] for i in range(3))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + _linear(p, f"{name}.out", y.reshape((n, length, width)))
        y = _linear(p, f"{name}.up", _layer_norm(p, f"{name}.norm2", x))
        x = x + _linear(p, f"{name}.down", jax.nn.gelu(y, approximate=False))
    x = _layer_norm(p, "norm", x)
    return (x @ words.T).reshape((-1, words.shape[0])), {}


_NETWORKS = {
    "MLP": _mlp, "CNN": _cnn, "ResNet-9": _resnet9, "LSTM": _lstm, "GPT": _gpt,
    "DQN": _mlp,
}  # fmt: skip


# ---- losses and optimizers ----------------------------------------------------------
def _cross_entropy(network, p, x, y):
    logits, stats = network(p, x, True)
    picked = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - picked).mean(), stats


def _temporal_difference(network, p, x, y):
    values = jnp.take_along_axis(network(p, x, True)[0], y[:, None], axis=1)
    following = lax.stop_gradient(network(p, x * 0.9, True)[0])
    wanted = 0.99 * following.max(1, keepdims=True) + 1.0
    distance = jnp.abs(values - wanted)
    smooth = jnp.where(distance < 1, 0.5 * distance**2, distance - 0.5)
    return smooth.mean(), {}


def _adam(decay):
    def update(p, g, m, v, step):
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        root = jnp.sqrt(v / (1 - BETA2**step)) + EPSILON
        return p * (1 - LR * decay) - LR / (1 - BETA1**step) * m / root, m, v

    return update


def _momentum(p, g, m, v, step):
    m = MOMENTUM * m + g
    return p - LR * m, m, v


_OPTIMIZERS = {"Adam": _adam(0.0), "AdamW": _adam(DECAY), "SGD": _momentum}


def _weights(module):
    """JAX arrays of a PyTorch module's state, whole numbers left out."""
    state = module.state_dict()
    return {k: jnp.array(v.numpy()) for k, v in state.items() if v.is_floating_point()}


def inference(name, module):
    """Return a jitted function of the inputs, with the weights of a PyTorch module."""
    network, weights = _NETWORKS[name.split()[0]], _weights(module)
    function = jax.jit(lambda p, x: network(p, x, False)[0])
    return lambda x: function(weights, x).block_until_ready()


def training(name, module, optimizer):
    """Return ``step(x, y)``, which trains and gives the loss."""
    kind, update = name.split()[0], _OPTIMIZERS[optimizer]
    loss_of = _temporal_difference if kind == "DQN" else _cross_entropy
    trained = {key for key, _ in module.named_parameters()}

    def one_step(weights, state, step, x, y):
        fixed = {k: v for k, v in weights.items() if k not in trained}
        free = {k: v for k, v in weights.items() if k in trained}
        gradient = jax.value_and_grad(
            lambda p: loss_of(_NETWORKS[kind], {**fixed, **p}, x, y), has_aux=True
        )
        (loss, stats), gradients = gradient(free)
        for key, g in gradients.items():
            free[key], *state[key] = update(free[key], g, *state[key], step)
        return {**fixed, **stats, **free}, state, step + 1, loss

    weights = _weights(module)
    state = {key: [jnp.zeros_like(weights[key]) for _ in "mv"] for key in trained}
    kept = [weights, state, jnp.ones((), jnp.float32)]
    jitted = jax.jit(one_step, donate_argnums=(0, 1, 2))

    def step(x, y):
        *kept[:], loss = jitted(*kept, x, y)
        return loss.block_until_ready()

    return step
