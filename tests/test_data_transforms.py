"""Transforms of images: what they draw, and what they do with it."""

import pytest

import tensorlib as tl
from tensorlib import data
from tensorlib.data import transforms

np = pytest.importorskip("numpy")


def test_normalize_by_channel():
    image = tl.ones((2, 1, 1)) * 3.0
    out = transforms.Normalize([1.0, 3.0], [2.0, 1.0])(image)
    assert out.reshape((-1,)).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="std > 0"):
        transforms.Normalize(0.0, 0.0)


def test_flip_mirrors_about_half_of_a_batch():
    batch = tl.zeros((200, 1, 1, 2))
    batch[:, :, :, 0] = 1.0
    out = transforms.RandomFlipHorizontal(generator=tl.Generator(0))(batch)
    flipped = out[:, 0, 0, 1].sum().item()
    assert 60 < flipped < 140  # 5.6 standard deviations of a Binomial(200, 1/2)
    assert (out.sum(axis=-1) == 1.0).all().item()


def test_crop_shifts_each_image_by_its_own_offset():
    batch = tl.zeros((300, 2, 5, 5))
    batch[:, :, 2, 2] = 1.0
    out = transforms.RandomCrop(padding=2, generator=tl.Generator(0))(batch)
    assert out.shape == (300, 2, 5, 5)
    assert (out.sum(axis=(2, 3)) == 1.0).all().item()
    assert (out[:, 0] == out[:, 1]).all().item()
    places = {(row, column) for row in range(5) for column in range(5)}
    hit = {p for p in places if out[:, 0, p[0], p[1]].sum().item() > 0}
    assert hit == places


def test_crop_to_a_window():
    image = tl.arange(9).astype(tl.float32).reshape((1, 3, 3))
    out = transforms.RandomCrop(2, generator=tl.Generator(1))(image)
    values = out[0].tolist()
    assert out.shape == (1, 2, 2)
    assert values[0][1] == values[0][0] + 1
    assert values[1][0] == values[0][0] + 3
    with pytest.raises(tl.ShapeError, match="larger than the image"):
        transforms.RandomCrop(4)(image)
    with pytest.raises(tl.ShapeError, match=r"expected \(C, H, W\)"):
        transforms.RandomCrop(1)(image[0])


def test_to_tensor_scales_bytes_and_moves_channels():
    picture = tl.zeros((2, 3, 4), dtype=tl.uint8)
    picture[1, 2, 3] = 255
    out = transforms.ToTensor()(picture)
    assert out.shape == (4, 2, 3)
    assert out[3, 1, 2].item() == pytest.approx(1.0)


def test_compose_is_batched_only_if_every_part_is():
    flip = transforms.RandomFlipHorizontal()
    assert transforms.Compose([flip]).batched
    compose = transforms.Compose([flip, lambda x: x + 1.0])
    assert not compose.batched
    images = transforms.apply_transform(compose, tl.zeros((3, 1, 2, 2)))
    assert images.tolist() == tl.ones((3, 1, 2, 2)).tolist()


def images(dtype="float32", shape=(5, 3, 6, 7), seed=0):
    values = np.random.default_rng(seed).integers(0, 256, shape)
    return values.astype(dtype)


def test_rotation_by_quarter_turns_moves_pixels():
    batch = images("uint8", (2, 1, 5, 5))
    for turns in (-3, -1, 0, 1, 2, 4):
        for interpolation in ("nearest", "bilinear"):
            turn = transforms.RandomRotation((90 * turns,) * 2, interpolation)
            expected = np.rot90(batch, turns, (2, 3))
            assert (turn(tl.asarray(batch)).numpy() == expected).all()


def test_rotation_angles_fill_the_range():
    # The pixel right of the centre lands at the angle's place on a circle.
    batch = np.zeros((400, 1, 41, 41))
    batch[:, 0, 20, 39:] = 1.0
    turned = transforms.RandomRotation(30, generator=tl.Generator(0))(tl.asarray(batch))
    rows = [np.argwhere(image[0] > 0)[:, 0].mean() for image in turned.numpy()]
    assert 9.9 < min(rows) < 12.5  # 20 - 19.5 sin 30° = 10.25
    assert 27.5 < max(rows) < 30.1


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_cutout_erases_squares_at_random_places(dtype):
    batch = tl.ones((200, 2, 8, 8)).astype(getattr(tl, dtype))
    out = transforms.Cutout(4, p=0.75, generator=tl.Generator(0))(batch).numpy()
    assert out.dtype == dtype
    assert (out[:, 0] == out[:, 1]).all()
    erased = 64 - out[:, 0].sum(axis=(1, 2))
    assert set(erased) <= {0, 4, 6, 8, 9, 12, 16}  # a corner is cut off at 2 x 2
    assert 120 < (erased > 0).sum() < 180  # five standard deviations of 200 draws
    assert out.min(axis=0).max() == 0  # every pixel was erased somewhere


def test_mixup_blends_images_and_classes_alike():
    targets = tl.arange(8)
    batch = tl.one_hot(targets, 8).astype(tl.float32).reshape((8, 1, 1, 8))
    mixed, probabilities = transforms.MixUp(8, 0.4, generator=tl.Generator(0))(
        batch, targets
    )
    assert abs(mixed.numpy()[:, 0, 0] - probabilities.numpy()).max() < 1e-6
    assert ((probabilities.numpy() > 0).sum(axis=1) <= 2).all()
    assert len(set(probabilities.max(axis=1).tolist())) > 4  # each image its own weight


def test_mixup_weights_have_the_beta_distribution():
    mix = transforms.MixUp(2, 0.3, generator=tl.Generator(0))
    batch = tl.zeros((2000, 1, 1, 1))
    batch[:1000] = 1.0
    targets = tl.concat([tl.ones(1000), tl.zeros(1000)], axis=0).astype(tl.int64)
    _, probabilities = mix(batch, targets)
    share = probabilities.numpy()[:, 1]
    mixed = share[(share > 0) & (share < 1)]
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
    assert abs(mixed.mean() - 0.5) < 0.05
    assert abs(mixed.var() - 1 / (4 * 1.6)) < 0.02


def test_cutmix_classes_follow_the_areas():
    targets = tl.tensor([0, 1] * 20)
    batch = tl.ones((40, 3, 9, 9)) * targets.reshape((-1, 1, 1, 1))
    mixed, probabilities = transforms.CutMix(2, generator=tl.Generator(0))(
        batch, targets
    )
    share = mixed.numpy().mean(axis=(1, 2, 3))
    assert abs(share - probabilities.numpy()[:, 1]).max() < 1e-6
    assert ((share > 0) & (share < 1)).sum() > 5


def test_mixing_takes_probabilities_and_bytes():
    probabilities = tl.full((4, 2), 0.5)
    batch = tl.zeros((4, 1, 5, 5), dtype=tl.uint8)
    mixed, found = transforms.CutMix(2)(batch, probabilities)
    assert mixed.dtype == tl.uint8
    assert found.tolist() == probabilities.tolist()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: transforms.RandomCrop(padding=-1), "padding"),
        (lambda: transforms.RandomCrop((1, 2, 3)), "size"),
        (lambda: transforms.RandomRotation((20, 10)), "range of degrees"),
        (lambda: transforms.RandomRotation(float("nan")), "range of degrees"),
        (lambda: transforms.RandomRotation(10, "cubic"), "interpolation"),
        (lambda: transforms.Cutout(0), "size"),
        (lambda: transforms.Cutout(3, p=2), "0 <= p <= 1"),
        (lambda: transforms.MixUp(0), "num_classes"),
        (lambda: transforms.MixUp(3, alpha=0), "alpha > 0"),
        (lambda: transforms.Normalize(0.0, [1.0, -1.0]), "std > 0"),
        (
            lambda: transforms.MixUp(3)(tl.ones((2, 1, 1, 1)), tl.zeros((2, 4))),
            "targets",
        ),
        (
            lambda: transforms.Normalize([0, 0], 1)(tl.ones((3, 1, 1))),
            "2 channels, got 3",
        ),
    ],
)
def test_wrong_transform_raises(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("workers", [1, 3])
def test_random_transforms_do_not_depend_on_workers(workers):
    vary = transforms.Compose(
        [
            transforms.RandomCrop(padding=1),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(20, "bilinear"),
            transforms.Cutout(3),
            transforms.Normalize(0.5, 0.5),
        ]
    )
    digits = data.Subset(data.Digits(transform=vary), range(50))

    def batches(count):
        loader = data.DataLoader(
            digits, 8, shuffle=True, num_workers=count, generator=tl.Generator(3)
        )
        return [x.tolist() for x, _ in loader]

    assert batches(workers) == batches(0)
