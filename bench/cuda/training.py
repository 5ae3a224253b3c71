"""Training steps, optimizers and settings that rows on the card prepare.

A model is written once for both libraries, whose modules have the same names; what
they call differently is asked of `_Library`.
"""

from importlib import import_module

__all__ = ["FLOPS", "MODELS", "optimizer", "step", "tf32"]


class _Library:
    """The modules of a library, and what the two name differently."""

    def __init__(self, library, device):
        package = "tensorlib" if library == "ours" else "torch"
        self.name, self.device = library, device
        self.root = import_module(package)
        self.nn = import_module(f"{package}.nn")
        self.optim = import_module(f"{package}.optim")
        self.functional = import_module(f"{package}.nn.functional")

    def permute(self, x, order):
        """Return `x` with its axes in another order."""
        return x.permute_dims(order) if self.name == "ours" else x.permute(order)

    def randn(self, *shape):
        """Return normal numbers on the device."""
        if self.name == "torch":
            return self.root.randn(shape, device=self.device)
        return on_device(self.root.randn, shape, device=self.device)

    def randint(self, below, *shape):
        """Return integers in 0..below-1 on the device."""
        if self.name == "torch":
            return self.root.randint(below, shape, device=self.device)
        return on_device(self.root.randint, 0, below, shape, device=self.device)

    def adamw(self, model, capturable):
        """Return the optimizer, PyTorch's fused."""
        more = {}
        if self.name == "torch" and self.device == "cuda":
            more = {"fused": True, "capturable": capturable}
        return self.optim.AdamW(model.parameters(), lr=1e-4, **more)

    def autocast(self):
        """Return the context of bfloat16."""
        return self.root.autocast(self.device, dtype=self.root.bfloat16)


def on_device(make, *args, device):
    """Call a maker of tensorlib for a device, by way of the host if it must be."""
    try:
        return make(*args, device=device)
    except TypeError:
        return make(*args).to(device)


# ---- models ----------------------------------------------------------------------
def _mlp(lib, small):
    """784-512-512-10, batch 128, float32."""
    batch = 8 if small else 128
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 10),
    ).to(lib.device)  # fmt: skip
    x, y = lib.randn(batch, 784), lib.randint(10, batch)

    def loss():
        return lib.functional.cross_entropy(model(x), y)

    return model, loss


def _resnet9(lib, small):
    """ResNet-9 for CIFAR-10, batch 256, bfloat16 under autocast."""
    nn, batch, width = lib.nn, 2 if small else 256, 4 if small else 64

    def conv(inner, outer, pool=False):
        layers = [
            nn.Conv2d(inner, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
        ]
        return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))

    class ResNet9(nn.Module):
        def __init__(self):
            super().__init__()
            self.prepare = conv(3, width)
            self.first = conv(width, 2 * width, pool=True)
            self.pair1 = nn.Sequential(*[conv(2 * width, 2 * width) for _ in range(2)])
            self.second = conv(2 * width, 4 * width, pool=True)
            self.third = conv(4 * width, 8 * width, pool=True)
            self.pair2 = nn.Sequential(*[conv(8 * width, 8 * width) for _ in range(2)])
            self.head = nn.Sequential(
                nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * width, 10)
            )

        def forward(self, x):
            x = self.first(self.prepare(x))
            x = self.third(self.second(x + self.pair1(x)))
            return self.head(x + self.pair2(x))

    model = ResNet9().to(lib.device)
    x, y = lib.randn(batch, 3, 32, 32), lib.randint(10, batch)

    def loss():
        with lib.autocast():
            return lib.functional.cross_entropy(model(x), y)

    return model, loss


def _gpt(lib, small):
    """GPT of 124M parameters, 8 x 1024 tokens, bfloat16 under autocast."""
    nn, functional = lib.nn, lib.functional
    layers, width, heads, words = (2, 32, 2, 64) if small else (12, 768, 12, 50304)
    batch, length = (2, 8) if small else (8, 1024)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def forward(self, x):
            qkv = self.qkv(self.norm1(x))
            qkv = qkv.reshape((batch, length, 3, heads, width // heads))
            qkv = lib.permute(qkv, (2, 0, 3, 1, 4))
            y = functional.scaled_dot_product_attention(
                qkv[0], qkv[1], qkv[2], is_causal=True
            )
            y = lib.permute(y, (0, 2, 1, 3)).reshape((batch, length, width))
            x = x + self.out(y)
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

    model = GPT().to(lib.device)
    tokens = lib.randint(words, batch, length)
    targets = lib.randint(words, batch * length)

    def loss():
        with lib.autocast():
            return functional.cross_entropy(model(tokens), targets)

    return model, loss


MODELS = {"MLP 128": _mlp, "ResNet-9 256": _resnet9, "GPT 124M 8 x 1024": _gpt}
# 6 operations a parameter and token, and those of causal attention.
FLOPS = {"GPT 124M 8 x 1024": 8192 * (6.0 * 124e6 + 6.0 * 12 * 768 * 1024)}


# ---- what rows prepare -----------------------------------------------------------
def step(build, small, graphed):
    """Prepare a function that trains for a step, by way of a CUDA graph if asked."""

    def prepare(library, names, device):
        lib = _Library(library, device)
        model, loss_of = build(lib, small)
        optimizer = lib.adamw(model, graphed)

        def train():
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            return loss

        names["step"] = _graphed(lib, train) if graphed else train

    return prepare


def _graphed(lib, train):
    """Return the replay of a captured step; on the CPU, where no graphs are, itself."""
    if lib.device != "cuda":
        return train
    cuda = lib.root.cuda
    side = cuda.Stream()
    if lib.name == "torch":
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(3):
                train()
        cuda.current_stream().wait_stream(side)
    else:
        for _ in range(3):
            train()
    cuda.synchronize()
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        train()
    return graph.replay


def optimizer(name, count, extent):
    """Prepare an optimizer over `count` tensors with `extent` elements each."""

    def prepare(library, names, device):
        lib = _Library(library, device)
        parameters = [lib.nn.Parameter(lib.randn(extent)) for _ in range(count)]
        for p in parameters:
            p.grad = lib.randn(extent)
        more = {"momentum": 0.9} if name == "SGD" else {}
        if library == "torch" and device == "cuda":
            more["fused"] = True
        names["optimizer"] = getattr(lib.optim, name)(parameters, lr=1e-4, **more)

    return prepare


def tf32(allowed):
    """Prepare nothing but whether float32 products and convolutions may use TF32."""

    def prepare(library, names, device):
        if library == "torch":
            import torch

            torch.backends.cuda.matmul.allow_tf32 = allowed
            torch.backends.cudnn.allow_tf32 = allowed  # PyTorch's default is True
            return
        import tensorlib

        if device == "cuda":
            tensorlib.cuda.set_float32_matmul_precision(
                "high" if allowed else "highest"
            )

    return prepare
