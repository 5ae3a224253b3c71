"""Transforms of images."""

import pytest

import tensorlib as tl
from tensorlib.data import transforms


def test_normalize_by_channel():
    image = tl.ones((2, 1, 1)) * 3.0
    out = transforms.Normalize([1.0, 3.0], [2.0, 1.0])(image)
    assert out.reshape((-1,)).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="std != 0"):
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
