"""A folder of images, one sub-folder for each class; Pillow decodes them."""

import os
from pathlib import Path

from tensorlib.data.dataset import Dataset

__all__ = ["IMAGE_EXTENSIONS", "ImageFolder", "load_image"]

IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_MAX_PIXELS = 2**26


def load_image(path, max_pixels=_MAX_PIXELS):
    """Decode an image file to a Pillow image in RGB.

    Parameters
    ----------
    path : str or Path
        A file of one of the formats of `IMAGE_EXTENSIONS`; its content decides which.
    max_pixels : int, default 2**26
        What its header may claim at most; nothing is decoded above that.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ImportError
        If Pillow is not installed.
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is truncated, corrupt, too large, or no image.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "ImageFolder: needs Pillow, which is not installed: pip install pillow"
        ) from error
    with open(path, "rb") as stream:
        try:
            image = Image.open(stream, formats=_FORMATS)
            width, height = image.size
            if width * height <= max_pixels:
                return image.convert("RGB")
        # Pillow's decoders raise whatever comes to pass in damaged data.
        except Exception as error:
            raise ValueError(
                f"{path}: no readable image at offset {stream.tell()} of "
                f"{os.path.getsize(path)}: {error or type(error).__name__}; expected "
                f"one of {', '.join(_FORMATS)}"
            ) from error
    raise ValueError(
        f"{path}: the header claims {width} x {height} pixels; expected at most "
        f"{max_pixels} (max_pixels)"
    )


class ImageFolder(Dataset):
    """Images in folders named by their classes: ``root/dog/one.png``.

    Classes are the sub-folders in sorted order; images come class by class, in sorted
    order of their paths.

    Parameters
    ----------
    root : str or Path
        The folder of the classes.
    transform : callable, optional
        Applied to the image as the loader gives it; `transforms.ToTensor` makes a
        tensor of it.
    target_transform : callable, optional
        Applied to the class's number.
    loader : callable, optional
        Makes an image of a path; `load_image` by default.
    is_valid_file : callable, optional
        Whether a path is taken; by default, by its extension.
    allow_empty : bool, default False
        Whether a class may have no images.

    Raises
    ------
    FileNotFoundError
        If there is no class, or a class has no images.

    Attributes
    ----------
    classes : list of str
        Names of the classes.
    class_to_idx : dict of str to int
        The number of each.
    samples : list of (str, int)
        Path and class of each image.
    targets : list of int
        The classes of the images.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from tensorlib.data import ImageFolder
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("cat/1.png", "cat/2.png", "ant/1.png"):
    ...         path = pathlib.Path(root, name)
    ...         path.parent.mkdir(exist_ok=True)
    ...         path.touch()
    ...     folder = ImageFolder(root)
    >>> folder.class_to_idx, folder.targets
    ({'ant': 0, 'cat': 1}, [0, 1, 1])
    """

    def __init__(
        self, root, transform=None, target_transform=None, loader=load_image,
        is_valid_file=None, *, allow_empty=False,
    ):  # fmt: skip
        self.root = Path(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        self._is_valid_file = is_valid_file or _has_image_extension
        self.classes = self._find_classes()
        self.class_to_idx = {name: n for n, name in enumerate(self.classes)}
        self.samples = [
            (path, number)
            for name, number in self.class_to_idx.items()
            for path in self._find_files(self.root / name, allow_empty)
        ]
        self.imgs = self.samples
        self.targets = [number for _, number in self.samples]

    def _find_classes(self):
        with os.scandir(self.root) as entries:
            classes = sorted(entry.name for entry in entries if entry.is_dir())
        if not classes:
            raise FileNotFoundError(
                f"ImageFolder: {self.root} has no sub-folders; expected one for each "
                "class, as in root/dog/one.png"
            )
        return classes

    def _find_files(self, folder, allow_empty):
        found, seen = [], set()
        for place, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:  # a link that leads back
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            paths = (os.path.join(place, name) for name in sorted(names))
            found += [path for path in paths if self._is_valid_file(path)]
        if not found and not allow_empty:
            raise FileNotFoundError(
                f"ImageFolder: the class {folder} has no images; expected files ending "
                f"in {', '.join(IMAGE_EXTENSIONS)} (allow_empty=True permits it)"
            )
        return found

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, target = self.samples[index]
        image = self.loader(path)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target


def _has_image_extension(path):
    return path.lower().endswith(IMAGE_EXTENSIONS)
