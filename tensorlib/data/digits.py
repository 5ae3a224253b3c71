"""Digits: 1,797 real images of handwritten digits that come with the package."""

import gzip
import hashlib
from importlib.resources import files

import tensorlib as tl
from tensorlib.data.dataset import Dataset
from tensorlib.data.transforms import apply_transform

__all__ = ["Digits"]

_COUNT = 1797
_RECORD = 65  # 64 pixels row by row, then the label
_SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"


def _read():
    """Return the records, uint8 ``(1797, 65)``."""
    path = files("tensorlib.data") / "digits.bin.gz"
    raw = gzip.decompress(path.read_bytes())
    digest = hashlib.sha256(raw).hexdigest()
    if digest != _SHA256:
        raise ValueError(
            f"Digits: {path} is damaged: expected SHA-256 {_SHA256} of its content, "
            f"got {digest}; install tensorlib again"
        )
    return tl.asarray(memoryview(bytearray(raw))).reshape((_COUNT, _RECORD))


class Digits(Dataset):
    """The UCI handwritten digits: 8 by 8 pixels, ten classes.

    Every fifth image of the original order (0, 5, 10, ...) is in the test set: 1,437
    images train, 360 test. Pixels 0..16 are divided by 16.

    Parameters
    ----------
    train : bool, default True
        The training or the test set.
    transform : callable, optional
        Applied to images, see `tensorlib.data.transforms`.

    Attributes
    ----------
    images : Tensor
        float32, shape ``(N, 1, 8, 8)``, values in [0, 1].
    targets : Tensor
        int64, shape ``(N,)``, values 0..9.
    classes : tuple of str
        Names of the classes.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
    Machine Learning Repository, 1998, doi:10.24432/C50P49 (its test set), licensed
    CC BY 4.0; see ``digits.LICENSE``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> train, test = tl.data.Digits(), tl.data.Digits(train=False)
    >>> len(train), len(test), train.images.shape
    (1437, 360, (1437, 1, 8, 8))
    >>> image, label = test[0]
    >>> image.shape, label
    ((1, 8, 8), 0)
    """

    classes = tuple("0123456789")

    def __init__(self, train=True, transform=None):
        records = _read()
        chosen = [n for n in range(_COUNT) if (n % 5 != 0) == bool(train)]
        records = tl.take(records, tl.tensor(chosen, dtype=tl.int64), axis=0)
        pixels = records[:, :64].reshape((-1, 1, 8, 8))
        self.train = train
        self.transform = transform
        self.images = pixels.astype(tl.float32) * (1 / 16)
        self.targets = records[:, 64].astype(tl.int64)

    def __len__(self):
        return self.images.shape[0]

    def __getitem__(self, index):
        image = self.images[index]
        if self.transform is not None:
            image = self.transform(image)
        return image, self.targets[index].item()

    def take(self, indices):
        """Return images ``(B, 1, 8, 8)`` and labels ``(B,)`` at `indices` ``(B,)``."""
        images = tl.take(self.images, indices, axis=0)
        labels = tl.take(self.targets, indices, axis=0)
        return apply_transform(self.transform, images), labels
