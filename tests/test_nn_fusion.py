"""Batch normalization folded into the layer before it, beside PyTorch's."""

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.core.errors import ShapeError


def _norm(kind, channels, seed=0, **options):
    bn = getattr(nn, f"BatchNorm{kind}")(channels, eps=1e-3, **options).eval()
    generator = tl.Generator(seed)
    with tl.no_grad():
        if bn.running_mean is not None:
            bn.running_mean.copy_(tl.randn(channels, generator=generator))
            bn.running_var.copy_(tl.rand(channels, generator=generator) + 0.1)
        if bn.weight is not None:
            bn.weight.copy_(tl.randn(channels, generator=generator))
            bn.bias.copy_(tl.randn(channels, generator=generator))
    return bn


CONVOLUTIONS = [
    ("1d", lambda: nn.Conv1d(4, 6, 3, bias=False), (2, 4, 9), False),
    ("2d", lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 7, 8), False),
    ("3d", lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 5, 6), False),
    ("1d", lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 9), True),
    ("2d", lambda: nn.ConvTranspose2d(4, 6, 3, bias=False), (2, 4, 5, 5), True),
]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "build", "shape", "transpose"), CONVOLUTIONS)
def test_fused_convolution_computes_both(kind, build, shape, transpose, affine):
    conv = build().eval()
    bn = _norm(kind, conv.out_channels, affine=affine)
    before = conv.weight.tolist()
    x = tl.randn(shape, generator=tl.Generator(1))
    fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
    assert type(fused) is type(conv)
    expected = bn(conv(x)).tolist()
    np.testing.assert_allclose(fused(x).tolist(), expected, rtol=1e-4, atol=1e-5)
    assert conv.weight.tolist() == before


def test_fused_linear_computes_both():
    linear, bn = nn.Linear(5, 3, dtype=tl.float64).eval(), _norm("1d", 3)
    bn.to(tl.float64)
    x = tl.randn((7, 5), dtype=tl.float64, generator=tl.Generator(1))
    fused = nn.utils.fuse_linear_bn_eval(linear, bn)
    np.testing.assert_allclose(fused(x).tolist(), bn(linear(x)).tolist(), rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
def test_fused_weights_match_pytorch(bias, transpose):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4, 2, 2))
    rows = rng.uniform(0.1, 1, (5, 4 if transpose else 3))
    arrays = [w, rows[0] if bias else None, rows[1], rows[2], 1e-5, rows[3], rows[4]]

    def taken(convert):
        return [convert(a) if isinstance(a, np.ndarray) else a for a in arrays]

    found = nn.utils.fuse_conv_bn_weights(*taken(tl.tensor), transpose=transpose)
    expected = torch.nn.utils.fuse_conv_bn_weights(
        *taken(torch.tensor), transpose=transpose
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)


def test_fused_parameters_keep_dtype_and_requires_grad():
    conv = nn.Conv2d(2, 3, 3, dtype=tl.float16, bias=False).eval()
    conv.weight.requires_grad_(False)
    fused = nn.utils.fuse_conv_bn_eval(conv, _norm("2d", 3))
    assert fused.weight.dtype == fused.bias.dtype == tl.float16
    assert not fused.weight.requires_grad
    assert not fused.bias.requires_grad
    assert list(fused.state_dict()) == ["weight", "bias"]


def test_fusion_of_modules_in_training_raises():
    conv, bn = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="Conv2d in training"):
        nn.utils.fuse_conv_bn_eval(conv, bn.eval())
    with pytest.raises(ValueError, match="BatchNorm2d in training"):
        nn.utils.fuse_conv_bn_eval(conv.eval(), bn.train())


def test_fusion_without_statistics_raises():
    bn = nn.BatchNorm2d(3, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="track_running_stats=False"):
        nn.utils.fuse_conv_bn_eval(nn.Conv2d(2, 3, 3).eval(), bn)


def test_fusion_of_other_channels_raises():
    with pytest.raises(ShapeError, match=r"fuse_conv_bn_weights: .*outputs, 3, got"):
        nn.utils.fuse_conv_bn_eval(nn.Conv2d(2, 3, 3).eval(), _norm("2d", 4))
    with pytest.raises(ShapeError, match=r"fuse_linear_bn_weights: .*outputs, 3"):
        nn.utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), _norm("1d", 4))


def test_fusion_of_transposed_groups_raises():
    conv = nn.ConvTranspose2d(4, 4, 3, groups=2).eval()
    with pytest.raises(ValueError, match="one group, got groups=2"):
        nn.utils.fuse_conv_bn_eval(conv, _norm("2d", 4), transpose=True)
