"""MNIST and Fashion-MNIST, read from their idx files."""

from pathlib import Path

import tensorlib as tl
from tensorlib.data.byte_images import ByteImages
from tensorlib.data.idx import read_idx

__all__ = ["MNIST", "FashionMNIST"]


class MNIST(ByteImages):
    """The MNIST digits: 28 by 28 pixels, 60,000 to train and 10,000 to test.

    Parameters
    ----------
    root : str or Path
        The folder of the four idx files (``train-images-idx3-ubyte`` and so on), or
        one above it, ``root/MNIST/raw``; each may end in ``.gz``.
    train : bool, default True
        The training or the test set.
    transform : callable, optional
        Applied to images, see `tensorlib.data.transforms`.
    check : bool, default True
        Whether checksums are compared; without it any idx files of fitting shapes
        are taken.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message says where to get it.
    ValueError
        If a file is truncated, corrupt or of another kind.

    Attributes
    ----------
    images : Tensor
        uint8, shape ``(N, 28, 28)``. Samples are float32 ``(1, 28, 28)`` in [0, 1].
    targets : Tensor
        int64, shape ``(N,)``, values 0..9.
    classes : tuple of str
        Names of the classes.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86 (1998).
    """

    classes = tuple("0123456789")
    folders = ("MNIST/raw", "mnist")
    sources = (
        "Download the four .gz files from "
        "https://ossci-datasets.s3.amazonaws.com/mnist/ (a mirror of "
        "http://yann.lecun.com/exdb/mnist/) into that folder; no need to unpack them."
    )
    # MD5 of the uncompressed files, which survive recompression.
    md5 = {  # noqa: RUF012
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    def __init__(self, root, train=True, transform=None, *, check=True):
        part = "train" if train else "t10k"
        self.root = Path(root)
        self.train = train
        self.transform = transform
        self.images = self._read(f"{part}-images-idx3-ubyte", 3, check)
        targets = self._read(f"{part}-labels-idx1-ubyte", 1, check)
        if targets.shape[0] != self.images.shape[0]:
            raise ValueError(
                f"{self.root}: {self.images.shape[0]} images but {targets.shape[0]} "
                "labels; the two files do not belong together"
            )
        self.targets = targets.astype(tl.int64)

    def _read(self, name, ndim, check):
        for folder in ("", *self.folders):
            for suffix in ("", ".gz"):
                path = self.root / folder / (name + suffix)
                if path.is_file():
                    return read_idx(path, ndim, self.md5[name] if check else None)
        raise FileNotFoundError(
            f"{type(self).__name__}: {self.root / name}.gz is missing (looked for "
            f"{name} and {name}.gz there and in {', '.join(self.folders)} below it). "
            f"{self.sources}"
        )


class FashionMNIST(MNIST):
    """Fashion-MNIST: articles of clothing in MNIST's format and sizes.

    Parameters
    ----------
    root : str or Path, optional
        The folder of the four idx files, or one above it,
        ``root/FashionMNIST/raw``. By default where Debian's package
        ``dataset-fashion-mnist`` puts them.
    train : bool, default True
        The training or the test set.
    transform : callable, optional
        Applied to images, see `tensorlib.data.transforms`.
    check : bool, default True
        Whether checksums are compared.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message says where to get it.
    ValueError
        If a file is truncated, corrupt or of another kind.

    References
    ----------
    Xiao, Rasul and Vollgraf, "Fashion-MNIST", arXiv:1708.07747 (MIT licence).
    """

    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
        "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    folders = ("FashionMNIST/raw", "fashion-mnist")
    debian_folder = "/usr/share/datasets/fashion-mnist"
    sources = (
        "On Debian and Ubuntu: apt-get install dataset-fashion-mnist, then pass "
        f"root={debian_folder!r} (the default). Elsewhere: download the four .gz files "
        "from https://github.com/zalandoresearch/fashion-mnist, folder data/fashion, "
        "into that folder; no need to unpack them."
    )
    md5 = {  # noqa: RUF012
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }

    def __init__(self, root=debian_folder, train=True, transform=None, *, check=True):
        super().__init__(root, train, transform, check=check)
