"""Networks that rows train and run, each written once for both libraries.

The modules of the two have the same names; what they call differently is asked of
`Library`. Weights are numbers of NumPy, so that both start from the same.
"""

from functools import partial
from importlib import import_module
from itertools import pairwise

import numpy as np

__all__ = ["NETWORKS", "Library", "Network", "gpt", "mlp", "resnet9"]


class Library:
    """The modules of a library, and what the two name differently.

    Parameters
    ----------
    library : {"ours", "torch", "compile", "channels_last", "onnx"}
        All but the first are PyTorch.
    device : str, default "cpu"
    """

    def __init__(self, library, device="cpu"):
        package = "tensorlib" if library == "ours" else "torch"
        self.name, self.device = library, device
        self.root = import_module(package)
        self.nn = import_module(f"{package}.nn")
        self.optim = import_module(f"{package}.optim")
        self.functional = import_module(f"{package}.nn.functional")

    def permute(self, x, order):
        """Return `x` with its axes in another order."""
        return x.permute_dims(order) if self.name == "ours" else x.permute(order)

    def largest(self, x):
        """Return the largest of each row."""
        return x.max(axis=1) if self.name == "ours" else x.amax(1)

    def chosen(self, x, columns):
        """Return an element of each row."""
        if self.name == "ours":
            return x.take_along_axis(columns, axis=1)
        return x.gather(1, columns)

    def tensor(self, array):
        """Return a tensor with the values of a NumPy array."""
        return self.root.tensor(array)

    def compiled(self, function):
        """Return the function or module, compiled where the library is to do so."""
        if self.name != "compile":
            return function
        return self.root.compile(function, dynamic=False)

    def deployed(self, module):
        """Return the module for inference: each BatchNorm2d in the layer before it."""
        module.eval().requires_grad_(False)
        fuse = import_module(f"{self.nn.__name__}.utils.fusion").fuse_conv_bn_eval
        for layers in module.modules():
            if not isinstance(layers, self.nn.Sequential):
                continue
            for i in reversed(range(1, len(layers))):
                if isinstance(layers[i], self.nn.BatchNorm2d):
                    layers[i - 1] = fuse(layers[i - 1], layers[i])
                    del layers[i]
        return module


# ---- networks --------------------------------------------------------------------
def mlp(lib, *sizes):
    """Linear layers with ReLU between."""
    nn, layers = lib.nn, []
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(lib, width):
    """Two convolutions of 3x3 with pooling, for images of 28x28."""
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * width * 49, 10),
    )  # fmt: skip


def resnet9(lib, channels, width, pool=4):
    """ResNet-9; `pool` is the extent that three halvings leave."""
    nn = lib.nn

    def conv(inner, outer, halve=False):
        layers = [
            nn.Conv2d(inner, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
        ]
        return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if halve else []))

    class ResNet9(nn.Module):
        def __init__(self):
            super().__init__()
            self.prepare = conv(channels, width)
            self.first = conv(width, 2 * width, halve=True)
            self.pair1 = nn.Sequential(*[conv(2 * width, 2 * width) for _ in range(2)])
            self.second = conv(2 * width, 4 * width, halve=True)
            self.third = conv(4 * width, 8 * width, halve=True)
            self.pair2 = nn.Sequential(*[conv(8 * width, 8 * width) for _ in range(2)])
            self.head = nn.Sequential(
                nn.MaxPool2d(pool), nn.Flatten(), nn.Linear(8 * width, 10)
            )

        def forward(self, x):
            x = self.first(self.prepare(x))
            x = self.third(self.second(x + self.pair1(x)))
            return self.head(x + self.pair2(x))

    return ResNet9()


def lstm(lib, words, width, units):
    """Logits of the next word, by an LSTM over the words before it."""
    nn = lib.nn

    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(words, width)
            self.lstm = nn.LSTM(width, units, batch_first=True)
            self.out = nn.Linear(units, words)

        def forward(self, tokens):
            return self.out(self.lstm(self.words(tokens))[0]).reshape((-1, words))

    return Language()


def gpt(lib, *, words, width, heads, layers, length):
    """A decoder whose output shares the weights of its embedding."""
    nn, functional = lib.nn, lib.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def forward(self, x):
            shape = tuple(x.shape)
            qkv = self.qkv(self.norm1(x))
            qkv = qkv.reshape((*shape[:2], 3, heads, width // heads))
            qkv = lib.permute(qkv, (2, 0, 3, 1, 4))
            y = functional.scaled_dot_product_attention(
                qkv[0], qkv[1], qkv[2], is_causal=True
            )
            x = x + self.out(lib.permute(y, (0, 2, 1, 3)).reshape(shape))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(words, width)
            self.places = nn.Parameter(lib.root.zeros((length, width)))
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)

        def forward(self, tokens):
            x = self.norm(self.blocks(self.words(tokens) + self.places))
            return functional.linear(x, self.words.weight).reshape((-1, words))

    return GPT()


# ---- what is trained on what -----------------------------------------------------
class Network:
    """A network with its data, its loss and its optimizer.

    Parameters
    ----------
    build : callable
        ``build(lib)`` gives the module.
    shape : tuple of int
        Of the inputs, without the batch.
    classes : int
        The targets are integers below.
    words : int, optional
        The inputs are integers below, with a target each; else normal numbers.
    optimizer : str
    """

    def __init__(self, build, shape, classes, words=None, optimizer="Adam"):
        self.build, self.shape, self.classes = build, shape, classes
        self.words, self.optimizer = words, optimizer

    def data(self, batch):
        """Return NumPy arrays of inputs and targets."""
        rng = np.random.default_rng(batch)
        shape = (batch, *self.shape)
        if self.words is None:
            x, count = rng.standard_normal(shape, dtype=np.float32), batch
        else:
            x, count = rng.integers(0, self.words, shape), int(np.prod(shape))
        return x, rng.integers(0, self.classes, count)

    def module(self, lib):
        """Return the module, with weights that both libraries share."""
        module, rng = self.build(lib), np.random.default_rng(0)
        weights = {}
        for name, p in module.named_parameters():
            fan = int(np.prod(p.shape[1:]))
            values = rng.standard_normal(tuple(p.shape), dtype=np.float32)
            weights[name] = lib.tensor(values / fan**0.5 if fan > 1 else 1 + values / 9)
        module.load_state_dict(weights, strict=False)
        return module

    def stepper(self, lib):
        """Return the module and ``step(x, y)``, which trains it and gives the loss."""
        module = self.module(lib)
        more = {"momentum": 0.9} if self.optimizer == "SGD" else {}
        kind = getattr(lib.optim, self.optimizer)
        optimizer = kind(module.parameters(), lr=1e-3, **more)
        loss_of = lib.compiled(partial(self.loss, lib, module))
        update = lib.compiled(optimizer.step)

        def step(x, y):
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            update()
            return loss

        return module, step

    def loss(self, lib, module, x, y):
        """Return the mean cross-entropy."""
        return lib.functional.cross_entropy(module(x), y)


class DeepQ(Network):
    """A step of deep Q-learning [1]_ on 32 transitions of four numbers.

    References
    ----------
    .. [1] Mnih et al., "Human-level control through deep reinforcement learning",
       Nature 518, 2015.
    """

    def loss(self, lib, module, x, y):
        """Return the smooth L1 loss of the values against those of the next states."""
        values = lib.chosen(module(x), y.reshape((-1, 1)))
        with lib.root.no_grad():
            wanted = 0.99 * lib.largest(module(x * 0.9)).reshape((-1, 1)) + 1.0
        return lib.functional.smooth_l1_loss(values, wanted)


NETWORKS = {
    "MLP 784-100-10": Network(lambda lib: mlp(lib, 784, 100, 10), (784,), 10),
    "CNN of 28x28": Network(lambda lib: cnn(lib, 16), (1, 28, 28), 10),
    "ResNet-9 of 28x28": Network(
        lambda lib: resnet9(lib, 1, 16, pool=3), (1, 28, 28), 10, optimizer="SGD"
    ),
    "LSTM of 32 words": Network(
        lambda lib: lstm(lib, 1000, 128, 256), (32,), 1000, words=1000
    ),
    "GPT of 128 tokens": Network(
        lambda lib: gpt(lib, words=256, width=128, heads=4, layers=4, length=128),
        (128,), 256, words=256, optimizer="AdamW",
    ),
    "DQN 4-64-64-2": DeepQ(lambda lib: mlp(lib, 4, 64, 64, 2), (4,), 2),
}  # fmt: skip
