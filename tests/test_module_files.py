"""Every module that PyTorch has too: a state saved by either library serves the other.

The state travels through a safetensors file in both directions; then outputs, the
gradients of inputs and parameters, and running statistics agree, in training and in
evaluation mode. A module without a row fails `test_every_shared_module_has_a_row`.
"""

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn

torch = pytest.importorskip("torch", minversion="2.13")
files = pytest.importorskip("safetensors.torch")

# rtol and atol. float32: sums of a few hundred products in another order.
TOLERANCE = {"float32": (1e-5, 2e-5), "float64": (1e-12, 1e-12)}
# PyTorch's gradient of it takes a sixth in float32, also for float64.
ROUGH = {"Hardsigmoid": (1e-7, 1e-8)}
LINE, IMAGE, VOLUME = (2, 6, 9), (2, 6, 8, 6), (2, 4, 5, 4, 6)
STEPS = (5, 2, 6)  # of a sequence: steps, batch, features


def labels(*shape, below=4):
    return np.random.default_rng(5).integers(0, below, shape)


def signs(*shape):
    return np.where(labels(*shape, below=2) == 0, -1.0, 1.0)


class Between:
    """An input with elements in (low, high), by default normally distributed."""

    def __init__(self, *shape, low=None, high=None, logs=False):
        self.shape, self.low, self.high = shape, low, high
        self.logs = logs  # given to the module as log-probabilities

    def array(self, seed):
        rng = np.random.default_rng(seed)
        if self.low is None:
            return rng.standard_normal(self.shape)
        return rng.uniform(self.low, self.high, self.shape)


def probabilities(*shape):
    return Between(*shape, low=0.05, high=0.95)


ELEMENTWISE = [
    "CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
    "Identity", "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU",
    "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
]  # fmt: skip
REGRESSIONS = ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"]
PADS = ["Circular", "Reflection", "Replication", "Zero"]
EXTENTS = {1: LINE, 2: IMAGE, 3: VOLUME}

# name -> (how to make it from nn or torch.nn, its inputs: a shape or a Between for
# floating ones that get gradients, an array for others).
ROWS = {name: (lambda n, name=name: getattr(n, name)(), LINE) for name in ELEMENTWISE}
ROWS |= {
    name: (lambda n, name=name: getattr(n, name)(), LINE, LINE) for name in REGRESSIONS
}
for d, shape in EXTENTS.items():
    for kind in PADS:
        name = f"{kind}Pad{d}d"
        ROWS[name] = (lambda n, name=name: getattr(n, name)(1), shape)
    for kind in ("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "MaxPool"):
        name = f"{kind}{d}d"
        ROWS[name] = (lambda n, name=name: getattr(n, name)(2), shape)
    ROWS[f"ConstantPad{d}d"] = (
        lambda n, d=d: getattr(n, f"ConstantPad{d}d")(1, 0.5), shape
    )  # fmt: skip
    ROWS[f"BatchNorm{d}d"] = (
        lambda n, d=d: getattr(n, f"BatchNorm{d}d")(EXTENTS[d][1]), shape
    )  # fmt: skip
    ROWS[f"InstanceNorm{d}d"] = (
        lambda n, d=d: getattr(n, f"InstanceNorm{d}d")(
            EXTENTS[d][1], affine=True, track_running_stats=True
        ),
        shape,
    )
    ROWS[f"Conv{d}d"] = (
        lambda n, d=d: getattr(n, f"Conv{d}d")(EXTENTS[d][1], 5, 3, padding=1), shape
    )  # fmt: skip
    ROWS[f"ConvTranspose{d}d"] = (
        lambda n, d=d: getattr(n, f"ConvTranspose{d}d")(EXTENTS[d][1], 3, 3, stride=2),
        shape,
    )
    ROWS[f"Dropout{d}d"] = (lambda n, d=d: getattr(n, f"Dropout{d}d")(0.0), shape)
for cell in ("RNN", "LSTM", "GRU"):
    ROWS[cell] = (
        lambda n, cell=cell: getattr(n, cell)(6, 5, 2, bidirectional=True), STEPS
    )  # fmt: skip
    ROWS[f"{cell}Cell"] = (
        lambda n, cell=cell: getattr(n, f"{cell}Cell")(6, 5), (3, 6)
    )  # fmt: skip
ROWS |= {
    "AlphaDropout": (lambda n: n.AlphaDropout(0.0), LINE),
    "BCELoss": (lambda n: n.BCELoss(), probabilities(4, 3), probabilities(4, 3)),
    "BCEWithLogitsLoss": (
        lambda n: n.BCEWithLogitsLoss(), (4, 3), probabilities(4, 3),
    ),
    "CTCLoss": (
        lambda n: n.CTCLoss(), Between(7, 2, 5, logs=True),
        labels(2, 3, below=4) + 1, np.array([7, 6]), np.array([3, 2]),
    ),
    "ChannelShuffle": (lambda n: n.ChannelShuffle(3), IMAGE),
    "CosineEmbeddingLoss": (
        lambda n: n.CosineEmbeddingLoss(0.1), (5, 4), (5, 4), signs(5),
    ),
    "CosineSimilarity": (lambda n: n.CosineSimilarity(), (5, 4), (5, 4)),
    "CrossEntropyLoss": (
        lambda n: n.CrossEntropyLoss(label_smoothing=0.1), (6, 4), labels(6),
    ),
    "Dropout": (lambda n: n.Dropout(0.0), LINE),
    "Embedding": (lambda n: n.Embedding(7, 3, padding_idx=2), labels(4, 5, below=7)),
    "FeatureAlphaDropout": (lambda n: n.FeatureAlphaDropout(0.0), IMAGE),
    "Flatten": (lambda n: n.Flatten(), IMAGE),
    "Fold": (lambda n: n.Fold((4, 5), (2, 3), stride=(2, 1)), (2, 12, 6)),
    "GLU": (lambda n: n.GLU(1), LINE),
    "GaussianNLLLoss": (
        lambda n: n.GaussianNLLLoss(), (4, 3), (4, 3), probabilities(4, 3),
    ),
    "GroupNorm": (lambda n: n.GroupNorm(3, 6), IMAGE),
    "HingeEmbeddingLoss": (lambda n: n.HingeEmbeddingLoss(), (4, 3), signs(4, 3)),
    "KLDivLoss": (
        lambda n: n.KLDivLoss(reduction="batchmean"), (4, 3), probabilities(4, 3),
    ),
    "LayerNorm": (lambda n: n.LayerNorm(9), LINE),
    "Linear": (lambda n: n.Linear(9, 4), LINE),
    "LogSoftmax": (lambda n: n.LogSoftmax(1), LINE),
    "MarginRankingLoss": (
        lambda n: n.MarginRankingLoss(0.3), (5,), (5,), signs(5),
    ),
    "MultiheadAttention": (
        lambda n: n.MultiheadAttention(6, 2), STEPS, (7, 2, 6), (7, 2, 6),
    ),
    "NLLLoss": (lambda n: n.NLLLoss(), Between(6, 4), labels(6)),
    "PReLU": (lambda n: n.PReLU(6), LINE),
    "PairwiseDistance": (lambda n: n.PairwiseDistance(), (5, 4), (5, 4)),
    "PixelShuffle": (lambda n: n.PixelShuffle(2), (2, 8, 3, 4)),
    "PixelUnshuffle": (lambda n: n.PixelUnshuffle(2), (2, 3, 6, 4)),
    "PoissonNLLLoss": (
        lambda n: n.PoissonNLLLoss(), (4, 3), labels(4, 3).astype(float),
    ),
    "RMSNorm": (lambda n: n.RMSNorm(9), LINE),
    "Sequential": (
        lambda n: n.Sequential(n.Linear(9, 4), n.ReLU(), n.Linear(4, 2)), LINE
    ),
    "SoftMarginLoss": (lambda n: n.SoftMarginLoss(), (4, 3), signs(4, 3)),
    "Softmax": (lambda n: n.Softmax(1), LINE),
    "Softmax2d": (lambda n: n.Softmax2d(), IMAGE),
    "Softmin": (lambda n: n.Softmin(1), LINE),
    "Threshold": (lambda n: n.Threshold(0.1, 2.0), LINE),
    "Transformer": (
        lambda n: n.Transformer(6, 2, 1, 1, 12, dropout=0.0), STEPS, (4, 2, 6),
    ),
    "TransformerDecoder": (
        lambda n: n.TransformerDecoder(
            n.TransformerDecoderLayer(6, 2, 12, dropout=0.0), 2
        ),
        STEPS, (4, 2, 6),
    ),
    "TransformerDecoderLayer": (
        lambda n: n.TransformerDecoderLayer(6, 2, 12, dropout=0.0), STEPS, (4, 2, 6),
    ),
    "TransformerEncoder": (
        lambda n: n.TransformerEncoder(
            n.TransformerEncoderLayer(6, 2, 12, dropout=0.0, norm_first=True), 2,
            enable_nested_tensor=False,
        ),
        STEPS,
    ),
    "TransformerEncoderLayer": (
        lambda n: n.TransformerEncoderLayer(6, 2, 12, dropout=0.0), STEPS,
    ),
    "TripletMarginLoss": (lambda n: n.TripletMarginLoss(), (5, 4), (5, 4), (5, 4)),
    "Unflatten": (lambda n: n.Unflatten(1, (2, 3)), LINE),
    "Unfold": (lambda n: n.Unfold((2, 3), 1, (1, 0), (2, 1)), IMAGE),
    "Upsample": (lambda n: n.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    "UpsamplingBilinear2d": (lambda n: n.UpsamplingBilinear2d((7, 3)), IMAGE),
    "UpsamplingNearest2d": (lambda n: n.UpsamplingNearest2d((7, 3)), IMAGE),
}  # fmt: skip
# They have no forward of their own.
CONTAINERS = {
    "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase",
}  # fmt: skip


def shared_modules():
    return {
        name
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module)
        and issubclass(getattr(torch.nn, name, int), torch.nn.Module)
    }  # fmt: skip


def test_every_shared_module_has_a_row():
    assert shared_modules() - CONTAINERS == set(ROWS)


def arrays(inputs, dtype, seed):
    """Return arrays, whether each gets a gradient, and whether it is to be logs."""
    for k, given in enumerate(inputs):
        if isinstance(given, np.ndarray):
            floating = given.dtype.kind == "f"
            yield (given.astype(dtype) if floating else given), False, False
        else:
            made = given if isinstance(given, Between) else Between(*given)
            yield made.array(seed + k).astype(dtype), True, made.logs


def flat(found):
    """Return the tensors of an output, in order."""
    if isinstance(found, (tuple, list)):
        return [x for part in found if part is not None for x in flat(part)]
    return [found]


def to_numpy(x):
    return x.detach().contiguous().numpy()


def run(library, module, inputs):
    """Return outputs, gradients and buffers of one call."""
    leaves = [
        library.asarray(x.copy()).requires_grad_(wanted) for x, wanted, _ in inputs
    ]
    # PyTorch's gradient of the CTC loss is right behind a log-softmax only.
    given = [
        library.log_softmax(x, -1) if logs else x
        for x, (_, _, logs) in zip(leaves, inputs, strict=True)
    ]
    module.zero_grad()
    outputs = flat(module(*given))
    for y in outputs:
        if y.requires_grad:
            weights = np.cos(np.arange(to_numpy(y).size)).reshape(y.shape)
            (y * library.asarray(weights).to(y.dtype)).sum().backward(retain_graph=True)
    grads = [x.grad for x in (*leaves, *module.parameters()) if x.requires_grad]
    return [to_numpy(x) for x in (*outputs, *grads, *module.buffers())]


def require_same(ours, theirs, name, dtype):
    row = ROWS[name]
    rtol, atol = max(TOLERANCE[dtype], ROUGH.get(name, (0, 0)))
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        inputs = list(arrays(row[1:], dtype, seed=7 if training else 70))
        both = run(tl, ours, inputs), run(torch, theirs, inputs)
        for found, expected in zip(*both, strict=True):
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(ROWS))
def test_state_through_a_file_gives_equal_results(name, dtype, tmp_path):
    row = ROWS[name]
    ours = row[0](nn).to(tl.dtype(dtype))
    theirs = row[0](torch.nn).to(getattr(torch, dtype))

    files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(tl.load(tmp_path / "theirs.safetensors"))
    require_same(ours, theirs, name, dtype)

    other = row[0](torch.nn).to(getattr(torch, dtype))
    tl.save(ours.state_dict(), tmp_path / "ours.safetensors")
    other.load_state_dict(files.load_file(tmp_path / "ours.safetensors"))
    require_same(ours, other, name, dtype)
