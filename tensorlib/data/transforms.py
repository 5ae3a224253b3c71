"""Transforms of images, one ``(C, H, W)`` or a batch ``(N, C, H, W)`` at a time.

Each is a callable. Those marked ``batched`` treat the images of a batch
independently, so a data set may apply them to a whole batch at once. Random ones
draw from `generator`, or from the generator of the batch being loaded
(`batch_generator`), which makes their result independent of worker threads.
"""

import tensorlib as tl
from tensorlib.data.seeding import batch_generator

__all__ = [
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomFlipHorizontal",
    "ToTensor",
    "apply_transform",
]


def _as_batch(op, image):
    if image.ndim not in (3, 4):
        raise tl.ShapeError(
            f"{op}: expected (C, H, W) or (N, C, H, W), got {tuple(image.shape)}"
        )
    return image if image.ndim == 4 else tl.expand_dims(image, axis=0)


def apply_transform(transform, images):
    """Apply a transform to a batch, image by image where it is not ``batched``.

    Parameters
    ----------
    transform : callable or None
        None changes nothing.
    images : Tensor
        Shape ``(N, C, H, W)``.

    Returns
    -------
    Tensor
        Shape ``(N, ...)``.
    """
    if transform is None:
        return images
    if getattr(transform, "batched", False):
        return transform(images)
    if not images.shape[0]:
        return images
    return tl.stack([tl.asarray(transform(image)) for image in images], axis=0)


class Compose:
    """Apply transforms one after the other.

    Parameters
    ----------
    transforms : iterable of callable
        In order.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import Compose, Normalize
    >>> steps = Compose([Normalize(0.5, 0.5), lambda x: x + 1])
    >>> steps(tl.ones((1, 1, 1))).item()
    2.0
    """

    def __init__(self, transforms):
        self.transforms = list(transforms)

    @property
    def batched(self):
        """Whether every part is."""
        return all(getattr(step, "batched", False) for step in self.transforms)

    def __call__(self, image):
        """Return `image` after every transform."""
        for step in self.transforms:
            image = step(image)
        return image

    def __repr__(self):
        return f"Compose({self.transforms!r})"


class ToTensor:
    """Make a float32 ``(C, H, W)`` tensor of a picture.

    uint8 values are divided by 255; ``(H, W)`` gets a channel axis and
    ``(H, W, C)`` has its channels moved to the front.

    Raises
    ------
    ShapeError
        If the picture is not 2-D or 3-D.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import ToTensor
    >>> ToTensor()(tl.full((2, 2), 255, dtype=tl.uint8)).shape
    (1, 2, 2)
    """

    def __call__(self, picture):
        """Return `picture` ``(H, W)`` or ``(H, W, C)`` as ``(C, H, W)``."""
        image = tl.asarray(picture)
        if image.ndim not in (2, 3):
            raise tl.ShapeError(
                f"ToTensor: expected (H, W) or (H, W, C), got {tuple(image.shape)}"
            )
        scale = 1 / 255 if image.dtype == tl.uint8 else 1.0
        if image.ndim == 2:
            image = tl.expand_dims(image, axis=0)
        else:
            image = tl.permute_dims(image, (2, 0, 1))
        return image.astype(tl.float32) * scale

    def __repr__(self):
        return "ToTensor()"


class Normalize:
    """Subtract a mean and divide by a standard deviation, channel by channel.

    Parameters
    ----------
    mean, std : float or sequence of float
        One for all channels, or one a channel.

    Raises
    ------
    ValueError
        If a standard deviation is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import Normalize
    >>> Normalize(1.0, 2.0)(tl.full((1, 1, 1), 5.0)).item()
    2.0
    """

    batched = True

    def __init__(self, mean, std):
        self.mean = [mean] if isinstance(mean, (int, float)) else list(mean)
        self.std = [std] if isinstance(std, (int, float)) else list(std)
        if any(value == 0 for value in self.std):
            raise ValueError(f"Normalize: expected std != 0, got {std}")
        self._shift = tl.tensor(self.mean, dtype=tl.float32).reshape((-1, 1, 1))
        scale = [1.0 / value for value in self.std]
        self._scale = tl.tensor(scale, dtype=tl.float32).reshape((-1, 1, 1))

    def __call__(self, image):
        """Return ``(image - mean) / std``, of the same shape."""
        return (image - self._shift) * self._scale

    def __repr__(self):
        return f"Normalize(mean={self.mean}, std={self.std})"


class RandomFlipHorizontal:
    """Mirror each image left to right with probability `p`.

    Parameters
    ----------
    p : float, default 0.5
        Probability.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import RandomFlipHorizontal
    >>> RandomFlipHorizontal(p=1.0)(tl.tensor([[[1.0, 2.0]]])).tolist()
    [[[2.0, 1.0]]]
    """

    batched = True

    def __init__(self, p=0.5, *, generator=None):
        if not 0 <= p <= 1:
            raise ValueError(f"RandomFlipHorizontal: expected 0 <= p <= 1, got {p}")
        self.p = p
        self.generator = generator

    def __call__(self, image):
        """Return `image`, or its mirror image, of the same shape."""
        batch = _as_batch("RandomFlipHorizontal", image)
        generator = self.generator or batch_generator()
        flipped = tl.rand((batch.shape[0], 1, 1, 1), generator=generator) < self.p
        result = tl.where(flipped, tl.flip(batch, axis=-1), batch)
        return result if image.ndim == 4 else result[0]

    def __repr__(self):
        return f"RandomFlipHorizontal(p={self.p})"


class RandomCrop:
    """Pad with zeros and cut out a window at a random place.

    Parameters
    ----------
    size : int or (int, int), optional
        Height and width of the window; those of the image by default, which shifts
        it by up to `padding` in each direction.
    padding : int, default 0
        Zeros added on each side.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ShapeError
        If the padded image is smaller than the window.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import RandomCrop
    >>> RandomCrop(padding=1)(tl.ones((4, 1, 8, 8))).shape
    (4, 1, 8, 8)
    """

    batched = True

    def __init__(self, size=None, padding=0, *, generator=None):
        self.size = (size, size) if isinstance(size, int) else size
        self.padding = padding
        self.generator = generator

    def __call__(self, image):
        """Return a window of `image`, each image of a batch at its own place."""
        batch = _as_batch("RandomCrop", image)
        count, channels, height, width = batch.shape
        rows, columns = self.size or (height, width)
        pad = self.padding
        free_y, free_x = height + 2 * pad - rows, width + 2 * pad - columns
        if free_y < 0 or free_x < 0:
            raise tl.ShapeError(
                f"RandomCrop: the window ({rows}, {columns}) is larger than the image "
                f"({height}, {width}) padded by {pad}"
            )
        generator = self.generator or batch_generator()
        y = tl.randint(0, free_y + 1, (count, 1), generator=generator)
        x = tl.randint(0, free_x + 1, (count, 1), generator=generator)
        y, x = y + tl.arange(rows), x + tl.arange(columns)
        padded = tl.pad(batch, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        result = padded[
            tl.arange(count).reshape((-1, 1, 1, 1)),
            tl.arange(channels).reshape((1, -1, 1, 1)),
            y.reshape((count, 1, rows, 1)),
            x.reshape((count, 1, 1, columns)),
        ]
        return result if image.ndim == 4 else result[0]

    def __repr__(self):
        return f"RandomCrop(size={self.size}, padding={self.padding})"
