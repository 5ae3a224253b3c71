"""Training steps, optimizers and settings that rows on the card prepare.

The models are those of `bench.models`, on the device.
"""

from bench.models import Library, gpt, mlp, resnet9

__all__ = ["FLOPS", "MODELS", "optimizer", "step", "tf32"]


class _OnDevice(Library):
    """A library whose numbers are made on the device."""

    def randn(self, *shape):
        """Return normal numbers on the device."""
        if self.name != "ours":
            return self.root.randn(shape, device=self.device)
        return on_device(self.root.randn, shape, device=self.device)

    def randint(self, below, *shape):
        """Return integers in 0..below-1 on the device."""
        if self.name != "ours":
            return self.root.randint(below, shape, device=self.device)
        return on_device(self.root.randint, 0, below, shape, device=self.device)

    def adamw(self, model, capturable):
        """Return the optimizer, PyTorch's fused."""
        more = {}
        if self.name != "ours" and self.device == "cuda":
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
    model = mlp(lib, 784, 512, 512, 10).to(lib.device)
    x, y = lib.randn(batch, 784), lib.randint(10, batch)
    return model, lambda: lib.functional.cross_entropy(model(x), y)


def _under_autocast(lib, model, x, y):
    def loss():
        with lib.autocast():
            return lib.functional.cross_entropy(model(x), y)

    return model, loss


def _resnet9(lib, small):
    """ResNet-9 for CIFAR-10, batch 256, bfloat16 under autocast."""
    batch, width = (2, 4) if small else (256, 64)
    model = resnet9(lib, 3, width).to(lib.device)
    x, y = lib.randn(batch, 3, 32, 32), lib.randint(10, batch)
    return _under_autocast(lib, model, x, y)


def _gpt(lib, small):
    """GPT of 124M parameters, 8 x 1024 tokens, bfloat16 under autocast."""
    layers, width, heads, words = (2, 32, 2, 64) if small else (12, 768, 12, 50304)
    batch, length = (2, 8) if small else (8, 1024)
    model = gpt(
        lib, words=words, width=width, heads=heads, layers=layers, length=length
    ).to(lib.device)
    tokens, targets = (
        lib.randint(words, batch, length),
        lib.randint(words, batch * length),
    )
    return _under_autocast(lib, model, tokens, targets)


MODELS = {"MLP 128": _mlp, "ResNet-9 256": _resnet9, "GPT 124M 8 x 1024": _gpt}
# 6 operations a parameter and token, and those of causal attention.
FLOPS = {"GPT 124M 8 x 1024": 8192 * (6.0 * 124e6 + 6.0 * 12 * 768 * 1024)}


# ---- what rows prepare -----------------------------------------------------------
def step(build, small, graphed):
    """Prepare a function that trains for a step, by way of a CUDA graph if asked."""

    def prepare(library, names, device):
        lib = _OnDevice(library, device)
        model, loss_of = build(lib, small)
        loss_of = lib.compiled(loss_of)
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
        lib = _OnDevice(library, device)
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
