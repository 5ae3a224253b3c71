"""CIFAR-10 and CIFAR-100, in their binary and their Python format."""

import hashlib
from pathlib import Path

import tensorlib as tl
from tensorlib.data.array_pickle import read_array_pickle
from tensorlib.data.byte_images import ByteImages

__all__ = ["CIFAR10", "CIFAR100"]

_PIXELS = 3 * 32 * 32


class CIFAR10(ByteImages):
    """Colour images of 32 by 32 pixels in ten classes, 50,000 and 10,000 to test.

    Parameters
    ----------
    root : str or Path
        The folder with the unpacked files of either format (``data_batch_1`` or
        ``data_batch_1.bin`` and so on), or one above it.
    train : bool, default True
        The training or the test set.
    transform : callable, optional
        Applied to images, see `tensorlib.data.transforms`.
    check : bool, default True
        Whether sums of the Python format's files and the number of images are
        compared; without it any files of the format are taken.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message says where to get it.
    ValueError
        If a file is truncated, corrupt or of another kind. Files are never
        unpickled: what is no array, number, string or list is refused.

    Attributes
    ----------
    images : Tensor
        uint8, shape ``(N, 3, 32, 32)``. Samples are float32 ``(3, 32, 32)`` in [0, 1].
    targets : Tensor
        int64, shape ``(N,)``.
    classes : tuple of str
        Names of the classes.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    classes: tuple[str, ...] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
        "truck",
    )  # fmt: skip
    folders = ("cifar-10-batches-py", "cifar-10-batches-bin")
    archives = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
    files = (tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",))
    md5 = {  # noqa: RUF012
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }
    label_key = "labels"
    label_bytes = 1  # of a binary record, the last one being the class
    class_count = 10

    def __init__(self, root, train=True, transform=None, *, check=True):
        self.root = Path(root)
        self.train = train
        self.transform = transform
        names = self.files[0 if train else 1]
        parts = [self._read(name, check) for name in names]
        self.images = tl.concat([images for images, _ in parts], axis=0)
        self.targets = tl.concat([targets for _, targets in parts], axis=0)
        count = 50_000 if train else 10_000
        if check and len(self) != count:
            raise ValueError(
                f"{self.root}: expected {count} images in {', '.join(names)}, got "
                f"{len(self)}; pass check=False for a part of the data set"
            )

    def _read(self, name, check):
        for folder in ("", *self.folders):
            for suffix in ("", ".bin"):
                path = self.root / folder / (name + suffix)
                if path.is_file():
                    if suffix:
                        return self._read_binary(path)
                    return self._read_pickle(path, self.md5[name] if check else None)
        raise FileNotFoundError(
            f"{type(self).__name__}: {self.root / name} is missing (looked for {name} "
            f"and {name}.bin there and in {' and '.join(self.folders)} below it). "
            f"Download {' or '.join(self.archives)} from "
            f"https://www.cs.toronto.edu/~kriz/cifar.html and unpack it with "
            f"tar -C {self.root} -xzf {self.archives[0]}"
        )

    def _read_binary(self, path):
        """Read records of label bytes and 3072 pixels, colour by colour."""
        record = self.label_bytes + _PIXELS
        size = path.stat().st_size
        if not size or size % record:
            raise ValueError(
                f"{path}: truncated or of another kind at offset "
                f"{size - size % record}: expected records of {record} bytes, got "
                f"{size} bytes, {size % record} too many"
            )
        values = tl.asarray(memoryview(bytearray(path.read_bytes())))
        values = values.reshape((-1, record))
        labels = values[:, self.label_bytes - 1].astype(tl.int64)
        self._check_labels(path, labels.tolist(), self.label_bytes - 1, record)
        return values[:, self.label_bytes :].reshape((-1, 3, 32, 32)), labels

    def _read_pickle(self, path, md5):
        if md5 is not None:
            content = path.read_bytes()
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if digest != md5:
                raise ValueError(
                    f"{path}: corrupt somewhere in offsets 0..{len(content)}: expected "
                    f"MD5 {md5}, got {digest}"
                )
        batch = read_array_pickle(path)
        images, labels = batch.get("data"), batch.get(self.label_key)
        if (
            not isinstance(images, tl.Tensor)
            or images.dtype != tl.uint8
            or images.ndim != 2
            or images.shape[1] != _PIXELS
        ):
            raise ValueError(
                f"{path}: expected 'data', a uint8 array of shape (N, {_PIXELS}), got "
                f"{_described(images)}"
            )
        if isinstance(labels, tl.Tensor):
            labels = labels.tolist()
        count = images.shape[0]
        if (
            not isinstance(labels, list)
            or len(labels) != count
            or any(type(label) is not int for label in labels)
        ):
            raise ValueError(
                f"{path}: expected {self.label_key!r}, {count} whole numbers, got "
                f"{_described(labels)}"
            )
        self._check_labels(path, labels)
        labels = tl.tensor(labels, dtype=tl.int64)
        return images.reshape((-1, 3, 32, 32)), labels

    def _check_labels(self, path, labels, start=None, step=None):
        for number, label in enumerate(labels):
            if not 0 <= label < self.class_count:
                place = "" if start is None else f" at offset {start + step * number}"
                raise ValueError(
                    f"{path}: wrong label{place}: expected a class in "
                    f"[0, {self.class_count}), got {label} for image {number}"
                )


class CIFAR100(CIFAR10):
    """The images of CIFAR's second set: 100 classes in 20 groups.

    Parameters
    ----------
    root : str or Path
        The folder with the unpacked files of either format (``train`` or
        ``train.bin`` and so on), or one above it.
    train : bool, default True
        The training or the test set.
    transform : callable, optional
        Applied to images, see `tensorlib.data.transforms`.
    check : bool, default True
        Whether sums of the Python format's files and the number of images are
        compared.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message says where to get it.
    ValueError
        If a file is truncated, corrupt or of another kind.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    classes = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle",
        "bicycle", "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel",
        "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster",
        "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse",
        "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear",
        "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea",
        "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip",
        "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    )  # fmt: skip
    folders = ("cifar-100-python", "cifar-100-binary")
    archives = ("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz")
    files = (("train",), ("test",))
    md5 = {  # noqa: RUF012
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    }
    label_key = "fine_labels"
    label_bytes = 2
    class_count = 100


def _described(value):
    if isinstance(value, tl.Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else type(value).__name__
