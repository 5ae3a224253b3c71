"""idx files, MNIST and Fashion-MNIST."""

import gzip
import os
from collections import Counter

import pytest

import tensorlib as tl
from tensorlib import data
from tensorlib.data.idx import read_idx


def idx_bytes(shape, values):
    header = bytes([0, 0, 8, len(shape)])
    return header + b"".join(n.to_bytes(4, "big") for n in shape) + bytes(values)


def test_idx_plain_and_gzip(tmp_path):
    content = idx_bytes((2, 3), range(6))
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b.gz").write_bytes(gzip.compress(content))
    for name in ("a", "b.gz"):
        x = read_idx(tmp_path / name)
        assert x.dtype == tl.uint8
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


GOOD = idx_bytes((2, 3), range(6))
DAMAGED = {
    "empty": (b"", "truncated at offset 0: expected 4 bytes of magic"),
    "header": (GOOD[:7], "truncated at offset 7: expected 12 bytes of header"),
    "data": (GOOD[:-1], "truncated at offset 17: expected 6 bytes of data for shape"),
    "long": (GOOD + b"x", "too long at offset 18"),
    "magic": (b"\x89PNG" + GOOD, "wrong magic number at offset 0.*got 89 50 4e 47"),
    "type": (b"\0\0\x0d\2" + GOOD[4:], "expected 00 00 08 02"),
    "axes": (idx_bytes((6,), range(6)), "expected 00 00 08 02.*got 00 00 08 01"),
    "2^64": (idx_bytes((2**32 - 1, 2**32 - 1), b"abc"), "truncated at offset 15"),
    "255 axes": (bytes([0, 0, 8, 255]) + bytes(1020), "expected 00 00 08 02"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "damaged gzip data after"),
    "gzip bits": (
        gzip.compress(GOOD)[:-6] + b"\0\0" + gzip.compress(GOOD)[-4:],
        "damaged gzip data",
    ),
    "content": (idx_bytes((2, 3), [9] * 6), "expected MD5 .* got"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_idx_damaged_file_names_file_offset_and_expectation(name, tmp_path):
    content, text = DAMAGED[name]
    path = tmp_path / "images-idx2-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        read_idx(path, 2, md5="0" * 32)
    assert str(path) in str(caught.value)


def write_mnist(folder, count=4, labels=None):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = bytes(n % 256 for n in range(count * 784))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes((count, 28, 28), pixels))
    labels = list(range(count)) if labels is None else labels
    content = gzip.compress(idx_bytes((len(labels),), labels))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(content)


def test_mnist_reads_folder_below_root(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw")
    mnist = data.MNIST(tmp_path, train=False, check=False)
    image, label = mnist[1]
    assert (image.shape, label) == ((1, 28, 28), 1)
    images, labels = mnist.take(tl.tensor([1, 3]))
    assert images.shape == (2, 1, 28, 28)
    assert images[0].tolist() == image.tolist()
    assert labels.tolist() == [1, 3]
    assert image[0, 0, 1].item() == pytest.approx(17 / 255)  # pixel 785 is 785 % 256


def test_mnist_checks_sums(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(ValueError, match="expected MD5 2646ac64"):
        data.MNIST(tmp_path, train=False)


def test_mnist_labels_of_another_set_raise(tmp_path):
    write_mnist(tmp_path, labels=[1, 2])
    with pytest.raises(ValueError, match="4 images but 2 labels"):
        data.MNIST(tmp_path, train=False, check=False)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (data.MNIST, "ossci-datasets.s3.amazonaws.com"),
        (data.FashionMNIST, "apt-get install dataset-fashion-mnist"),
    ],
)
def test_mnist_missing_file_says_where_to_get_it(kind, hint, tmp_path):
    with pytest.raises(FileNotFoundError, match=hint) as caught:
        kind(tmp_path)
    assert str(tmp_path / "train-images-idx3-ubyte") in str(caught.value)


@pytest.mark.skipif(
    not os.path.isdir(data.FashionMNIST.debian_folder),
    reason="needs Debian's package dataset-fashion-mnist",
)
def test_fashion_mnist_of_debian_has_the_right_sums():
    test = data.FashionMNIST(train=False)
    assert test.images.shape == (10000, 28, 28)
    assert set(Counter(test.targets.tolist()).values()) == {1000}
    assert test.classes[test[0][1]] == "Ankle boot"
