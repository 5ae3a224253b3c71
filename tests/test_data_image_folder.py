"""Folders of images."""

import struct
import zlib

import pytest

import tensorlib as tl
from tensorlib import data
from tensorlib.data import transforms
from tensorlib.data.image_folder import load_image

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")


def write_images(root):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for name in ("dog/b.PNG", "dog/a.bmp", "cat/deep/c.ppm", "cat/z.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (root / "dog" / "notes.txt").write_text("no image")
    (root / "readme.txt").write_text("no class")
    return pixels


def test_folder_finds_classes_and_images_in_order(tmp_path):
    pixels = write_images(tmp_path)
    folder = data.ImageFolder(tmp_path)
    assert folder.classes == ["cat", "dog"]
    assert folder.class_to_idx == {"cat": 0, "dog": 1}
    names = [path.removeprefix(str(tmp_path) + "/") for path, _ in folder.samples]
    assert names == ["cat/z.png", "cat/deep/c.ppm", "dog/a.bmp", "dog/b.PNG"]
    assert folder.targets == [0, 0, 1, 1]
    image, target = folder[3]
    assert (np.asarray(image) == pixels).all()
    assert target == 1


def test_folder_through_transforms_and_loader(tmp_path):
    pixels = write_images(tmp_path)
    folder = data.ImageFolder(
        tmp_path, transforms.ToTensor(), target_transform=lambda n: n + 10
    )
    images, targets = next(iter(data.DataLoader(folder, 4, num_workers=2)))
    assert images.shape == (4, 3, 2, 4)
    expected = (pixels / 255).transpose(2, 0, 1)
    assert abs(images[0].numpy() - expected).max() < 1e-7
    assert targets.tolist() == [10, 10, 11, 11]


def test_folder_with_own_loader_and_choice(tmp_path):
    write_images(tmp_path)
    folder = data.ImageFolder(
        tmp_path, loader=str.upper, is_valid_file=lambda path: path.endswith(".txt"),
        allow_empty=True,
    )  # fmt: skip
    assert [image.endswith("NOTES.TXT") for image, _ in folder] == [True]
    assert folder.classes == ["cat", "dog"]


def test_folder_with_links_that_lead_back_ends(tmp_path):
    write_images(tmp_path)
    for name in ("again", "once_more"):
        (tmp_path / "cat" / name).symlink_to(tmp_path / "cat", target_is_directory=True)
    assert len(data.ImageFolder(tmp_path)) == 4


def test_folder_without_classes_or_images_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="no sub-folders"):
        data.ImageFolder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(FileNotFoundError, match=r"cat has no images; expected .*\.png"):
        data.ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError):
        data.ImageFolder(tmp_path / "missing")


def png(width, height, body=b""):
    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


BAD_IMAGES = {
    "empty": (b"", "no readable image at offset 0 of 0"),
    "text": (b"hello", "no readable image"),
    "cut": (png(50, 50, bytes(50 * 151))[:-40], "no readable image"),
    "postscript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "expected one of",
    ),
    "bomb": (png(2**15, 2**15), r"claims|decompression bomb"),
    "large": (png(9000, 9000), r"claims 9000 x 9000 pixels; expected at most"),
    "zero": (png(0, 0), "no readable image"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_raises_naming_the_file(name, tmp_path):
    content, text = BAD_IMAGES[name]
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        load_image(path)
    assert str(path) in str(caught.value)


def test_bad_image_in_a_worker_names_its_index(tmp_path):
    write_images(tmp_path)
    (tmp_path / "cat" / "z.png").write_bytes(b"hello")
    folder = data.ImageFolder(tmp_path, transforms.ToTensor())
    with pytest.raises(ValueError, match=r"z\.png: no readable image") as caught:
        list(data.DataLoader(folder, 2, num_workers=1))
    assert "sample index 0" in caught.value.__notes__


def test_max_pixels_can_be_set(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png(20, 20, bytes(20 * 61)))
    assert tl.asarray(load_image(path, max_pixels=400)).shape == (20, 20, 3)
    with pytest.raises(ValueError, match="at most 399"):
        load_image(path, max_pixels=399)
