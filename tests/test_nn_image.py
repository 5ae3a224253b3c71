"""Normalization of channels, resizing, padding, patches: modules against PyTorch."""

import numpy as np
import pytest
from parity import assert_close, assert_parity, sample, to_torch, torch_module

import tensorlib as tl
from tensorlib import nn
from tensorlib.nn import functional as F

IMAGE, ONE, SEQUENCE = (4, 6, 5, 4), (6, 5, 4), (4, 6, 5)
VOLUME = (2, 3, 4, 3, 2)

MODULES = {
    "BatchNorm1d": (lambda n: n.BatchNorm1d(6), SEQUENCE),
    "BatchNorm1d rows": (lambda n: n.BatchNorm1d(6), (5, 6)),
    "BatchNorm2d": (lambda n: n.BatchNorm2d(6), IMAGE),
    "BatchNorm2d average": (lambda n: n.BatchNorm2d(6, momentum=None), IMAGE),
    "BatchNorm2d plain": (lambda n: n.BatchNorm2d(6, affine=False), IMAGE),
    "BatchNorm2d untracked": (
        lambda n: n.BatchNorm2d(6, track_running_stats=False),
        IMAGE,
    ),
    "BatchNorm2d no bias": (lambda n: n.BatchNorm2d(6, bias=False), IMAGE),
    "BatchNorm2d eps": (lambda n: n.BatchNorm2d(6, 0.1, 0.5), IMAGE),
    "BatchNorm3d": (lambda n: n.BatchNorm3d(3), VOLUME),
    "InstanceNorm1d": (lambda n: n.InstanceNorm1d(6), SEQUENCE),
    "InstanceNorm2d": (lambda n: n.InstanceNorm2d(6, affine=True), IMAGE),
    "InstanceNorm2d one": (lambda n: n.InstanceNorm2d(6), ONE),
    "InstanceNorm2d tracked": (
        lambda n: n.InstanceNorm2d(6, affine=True, track_running_stats=True),
        IMAGE,
    ),
    "InstanceNorm3d": (lambda n: n.InstanceNorm3d(3, affine=True), VOLUME),
    "GroupNorm": (lambda n: n.GroupNorm(3, 6), IMAGE),
    "GroupNorm plain": (lambda n: n.GroupNorm(2, 6, affine=False), SEQUENCE),
    "GroupNorm no bias": (lambda n: n.GroupNorm(2, 6, bias=False), IMAGE),
    "GroupNorm rows": (lambda n: n.GroupNorm(1, 6), (5, 6)),
    "RMSNorm": (lambda n: n.RMSNorm(5), SEQUENCE),
    "RMSNorm eps": (lambda n: n.RMSNorm((6, 5), eps=0.1), SEQUENCE),
    "RMSNorm plain": (lambda n: n.RMSNorm(5, elementwise_affine=False), SEQUENCE),
    "Upsample nearest": (lambda n: n.Upsample(scale_factor=2), IMAGE),
    "Upsample nearest size": (lambda n: n.Upsample((7, 3)), IMAGE),
    "Upsample factor": (lambda n: n.Upsample(scale_factor=(1.7, 0.6)), IMAGE),
    "Upsample exact": (lambda n: n.Upsample((7, 3), mode="nearest-exact"), IMAGE),
    "Upsample area": (lambda n: n.Upsample((7, 3), mode="area"), IMAGE),
    "Upsample 1d": (lambda n: n.Upsample(3), SEQUENCE),
    "Upsample 3d": (lambda n: n.Upsample(scale_factor=2), VOLUME),
    "Upsample linear": (lambda n: n.Upsample(9, mode="linear"), SEQUENCE),
    "Upsample bilinear": (
        lambda n: n.Upsample(scale_factor=2, mode="bilinear"),
        IMAGE,
    ),
    "Upsample bilinear corners": (
        lambda n: n.Upsample((7, 1), mode="bilinear", align_corners=True),
        IMAGE,
    ),
    "Upsample bilinear factor": (
        lambda n: n.Upsample(scale_factor=1.7, mode="bilinear"),
        IMAGE,
    ),
    "Upsample recomputed": (
        lambda n: n.Upsample(None, 1.7, "bilinear", None, True),
        IMAGE,
    ),
    "Upsample down": (lambda n: n.Upsample((2, 3), mode="bilinear"), IMAGE),
    "Upsample trilinear": (
        lambda n: n.Upsample(scale_factor=2, mode="trilinear"),
        VOLUME,
    ),
    "UpsamplingNearest2d": (lambda n: n.UpsamplingNearest2d((7, 3)), IMAGE),
    "UpsamplingBilinear2d": (
        lambda n: n.UpsamplingBilinear2d(scale_factor=2),
        IMAGE,
    ),
    "PixelShuffle": (lambda n: n.PixelShuffle(2), (2, 8, 3, 4)),
    "PixelUnshuffle": (lambda n: n.PixelUnshuffle(2), (2, 3, 6, 4)),
    "ChannelShuffle": (lambda n: n.ChannelShuffle(3), IMAGE),
    "Unfold": (lambda n: n.Unfold((2, 3), 1, (1, 0), (2, 1)), IMAGE),
    "Fold": (lambda n: n.Fold((4, 5), (2, 3), stride=(2, 1)), (2, 12, 6)),
    "ZeroPad1d": (lambda n: n.ZeroPad1d((1, 2)), SEQUENCE),
    "ZeroPad2d": (lambda n: n.ZeroPad2d((1, 2, 0, -1)), IMAGE),
    "ZeroPad3d": (lambda n: n.ZeroPad3d(1), VOLUME),
    "ConstantPad1d": (lambda n: n.ConstantPad1d(2, 3.5), SEQUENCE),
    "ConstantPad2d": (lambda n: n.ConstantPad2d((0, 1, 2, 0), -1.0), IMAGE),
    "ConstantPad3d": (lambda n: n.ConstantPad3d(1, 2.0), VOLUME),
    "ReflectionPad1d": (lambda n: n.ReflectionPad1d((4, 1)), SEQUENCE),
    "ReflectionPad2d": (lambda n: n.ReflectionPad2d((1, 2, 3, 0)), IMAGE),
    "ReflectionPad3d": (lambda n: n.ReflectionPad3d(1), VOLUME),
    "ReplicationPad1d": (lambda n: n.ReplicationPad1d((4, 7)), SEQUENCE),
    "ReplicationPad2d": (lambda n: n.ReplicationPad2d(3), IMAGE),
    "ReplicationPad3d": (lambda n: n.ReplicationPad3d(2), VOLUME),
    "CircularPad1d": (lambda n: n.CircularPad1d((5, 1)), SEQUENCE),
    "CircularPad2d": (lambda n: n.CircularPad2d((1, 2, 3, 0)), IMAGE),
    "CircularPad3d": (lambda n: n.CircularPad3d(1), VOLUME),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_module_matches_pytorch(name, dtype):
    build, shape = MODULES[name]
    assert_parity(build, shape, dtype, steps=3 if "Norm" in name else 1)


@pytest.mark.parametrize("name", MODULES)
def test_module_prints_as_in_pytorch(name):
    build, _ = MODULES[name]
    assert repr(build(nn)) == repr(build(torch_module().nn))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.BatchNorm2d(3), (2, 4, 3, 3)),
        (lambda: nn.BatchNorm2d(3), (2, 3, 3)),
        (lambda: nn.InstanceNorm2d(3), (2, 4, 3, 3)),
        (lambda: nn.GroupNorm(2, 4), (2, 3, 3)),
        (lambda: nn.RMSNorm(4), (2, 3)),
        (lambda: nn.PixelShuffle(2), (1, 3, 4, 4)),
        (lambda: nn.PixelUnshuffle(2), (1, 3, 3, 4)),
        (lambda: nn.ReflectionPad1d(3), (1, 2, 3)),
        (lambda: nn.CircularPad1d(4), (1, 2, 3)),
        (lambda: nn.ReplicationPad1d(1), (1, 2, 0)),
        (lambda: nn.ZeroPad1d(-2), (1, 2, 3)),
        (lambda: nn.Upsample(3), (2, 3)),
        (lambda: nn.Upsample(3), (1, 2, 0)),
        (lambda: nn.Upsample(2**31), (1, 2, 3)),
        (lambda: nn.Upsample(scale_factor=1e300), (1, 2, 3)),
    ],
)
def test_module_on_a_wrong_shape_raises(build, shape):
    with pytest.raises(tl.ShapeError):
        build()(tl.ones(shape))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.GroupNorm(2, 3), "divisible"),
        (lambda: nn.ZeroPad2d((1, 2)), "4 ints"),
        (lambda: nn.PixelShuffle(0)(tl.ones((1, 4, 2, 2))), "factor"),
        (lambda: nn.Upsample()(tl.ones((1, 4, 2))), "one of size"),
        (lambda: nn.Upsample(2, mode="cubic")(tl.ones((1, 4, 2))), "unknown mode"),
        (lambda: nn.Upsample(2, mode="bilinear")(tl.ones((1, 4, 2))), "does not fit"),
        (lambda: nn.Upsample(scale_factor=-1)(tl.ones((1, 4, 2))), "positive"),
        (lambda: tl.pad(tl.ones(2), [(1, 1)], mode="mirror"), "expected mode"),
    ],
)
def test_bad_arguments_raise(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x, (3, 5), mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=1.5),
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: F.pad(x, (1, 2), mode="reflect"),
        lambda x: F.pad(x, (2, 1, 0, 1), mode="replicate"),
        lambda x: F.pad(x, (2, 1), mode="circular"),
        lambda x: F.channel_shuffle(x, 2),
    ],
)
def test_derivatives_equal_differences(function):
    x = sample((2, 4, 2, 3)).requires_grad_(True)
    assert tl.autograd.gradcheck(function, [x])
    assert tl.autograd.gradgradcheck(lambda x: function(x * x), [x])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_norm_of_low_numbers_with_float32_weights_equals_pytorch(dtype, training):
    torch = torch_module()
    x = sample((6, 3, 4, 5), "float32").astype(dtype).requires_grad_(True)
    w, b, average = (
        tl.tensor(v, dtype="float32") for v in ([1.5, -2, 1], [0, 1, 3], [1, 0, 2])
    )
    variance = tl.tensor([1.0, 2.0, 0.5])
    given = [x, average, variance, w.requires_grad_(True), b.requires_grad_(True)]
    theirs = [to_torch(v.detach()) for v in given]
    for k in (0, 3, 4):
        theirs[k].requires_grad_(True)
    ours = tl.batch_norm(*given, training=training)
    expected = torch.nn.functional.batch_norm(*theirs, training=training)
    assert ours.dtype.name == dtype
    g = sample(ours.shape, "float32").astype(dtype)
    ours.backward(g)
    expected.backward(to_torch(g))
    assert_close(ours.detach(), expected.detach(), dtype)
    for k in (0, 3, 4):
        assert_close(given[k].grad, theirs[k].grad, dtype)  # dtypes, too


@pytest.mark.parametrize("scale", [1e4, -1e4, 1e-30])
def test_batch_norm_of_extreme_values_equals_pytorch(scale):
    torch = torch_module()
    x = sample((8, 3, 4, 4), "float32") * scale
    found = tl.batch_norm(x, training=True)
    expected = torch.nn.functional.batch_norm(to_torch(x), None, None, training=True)
    assert_close(found, expected, "float32")


def test_batch_norm_far_from_zero_keeps_its_digits():
    # A mean rounded to float32 would be off by 5e-4; sums of a row are in float32.
    x = sample((64, 2, 5, 5)) + 1e4
    found = tl.batch_norm(x.astype("float32"), training=True).astype("float64")
    expected = tl.batch_norm(x.astype("float32").astype("float64"), training=True)
    assert tl.abs(found - expected).max().item() < 5e-5


@pytest.mark.parametrize("shape", [(40, 9, 200), (3, 150, 200), (70, 500)])
def test_batch_norm_by_running_statistics_on_any_number_of_threads_has_the_same_bits(
    shape,
):
    rng = np.random.default_rng(0)
    x = tl.tensor(rng.normal(size=shape).astype("float32"))
    w, b, mean = (tl.tensor(rng.normal(size=shape[1])) for _ in range(3))
    var = tl.tensor(rng.uniform(0.1, 3, shape[1]))
    values = [v.astype("float32") for v in (mean, var, w, b)]
    with tl.num_threads(1):
        expected = tl.batch_norm(x, *values).numpy()
    for threads in (2, 3, 8):
        with tl.num_threads(threads):
            np.testing.assert_array_equal(tl.batch_norm(x, *values).numpy(), expected)


def test_batch_norm_moves_running_statistics_only_in_training():
    layer = nn.BatchNorm2d(3)
    layer.eval()(sample((2, 3, 4, 4), "float32"))
    assert layer.running_mean.tolist() == [0.0, 0.0, 0.0]
    assert layer.num_batches_tracked.item() == 0
    layer.train()(sample((2, 3, 4, 4), "float32"))
    assert layer.num_batches_tracked.item() == 1
    assert layer.running_mean.tolist() != [0.0, 0.0, 0.0]


def test_running_statistics_that_require_grad_raise():
    with pytest.raises(ValueError, match="must not require grad"):
        tl.batch_norm(
            tl.ones((2, 3)), tl.zeros(3, requires_grad=True), tl.ones(3), training=True
        )


def test_group_norm_whose_statistics_are_larger_than_any_memory_raises():
    with pytest.raises(MemoryError, match="group_norm: shape"):
        tl.group_norm(tl.zeros(((1 << 63) - 3, 2, 0)), 1)
    assert tl.group_norm(tl.zeros((3, 2, 0)), 1).shape == (3, 2, 0)
