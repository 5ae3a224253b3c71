"""Transforms of images, one ``(C, H, W)`` or a batch ``(N, C, H, W)`` at a time.

Each is a callable. Those marked ``batched`` treat the images of a batch
independently and in one kernel call, so a data set may apply them to a whole batch at
once. Random ones draw from `generator`, or from the generator of the batch being
loaded (`batch_generator`), which makes their result independent of worker threads.
Dtypes are kept, unless said otherwise.
"""

import math
import random

import tensorlib as tl
from tensorlib.data.seeding import batch_generator
from tensorlib.ops.augment import blend, erase, normalize, paste, warp, window

__all__ = [
    "Compose",
    "CutMix",
    "Cutout",
    "MixUp",
    "Normalize",
    "RandomCrop",
    "RandomFlipHorizontal",
    "RandomHorizontalFlip",
    "RandomRotation",
    "ToTensor",
    "apply_transform",
]


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


class _Batched:
    """What transforms of whole batches share: `_apply` gets ``(N, C, H, W)``."""

    batched = True

    def __call__(self, image):
        """Return `image`, one or a batch, transformed."""
        image = tl.asarray(image)
        if image.ndim == 4:
            return self._apply(image)
        if image.ndim != 3:
            raise tl.ShapeError(
                f"{type(self).__name__}: expected (C, H, W) or (N, C, H, W), got "
                f"{tuple(image.shape)}"
            )
        return self._apply(tl.expand_dims(image, axis=0))[0]

    def _apply(self, batch):
        raise NotImplementedError(f"{type(self).__name__}: _apply is missing")


class _Random(_Batched):
    """A batched transform that draws."""

    def __init__(self, generator):
        self.generator = generator

    def _source(self):
        return batch_generator() if self.generator is None else self.generator


def _pair(owner, name, value, least):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(type(n) is not int or n < least for n in pair):
        raise ValueError(
            f"{owner}: expected {name} to be one or two ints >= {least}, got {value!r}"
        )
    return pair


def _check_probability(owner, p):
    if not 0 <= p <= 1:
        raise ValueError(f"{owner}: expected 0 <= p <= 1, got {p}")


class Normalize(_Batched):
    """Subtract a mean and divide by a standard deviation, channel by channel.

    Bytes are divided by 255 first, as `ToTensor` does, and become float32.

    Parameters
    ----------
    mean, std : float or sequence of float
        One for all channels, or one a channel.

    Raises
    ------
    ValueError
        If a standard deviation is not a positive number.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import Normalize
    >>> Normalize(1.0, 2.0)(tl.full((1, 1, 1), 5.0)).item()
    2.0
    """

    def __init__(self, mean, std):
        self.mean = [mean] if isinstance(mean, (int, float)) else list(mean)
        self.std = [std] if isinstance(std, (int, float)) else list(std)
        if not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"Normalize: expected std > 0, got {std}")

    def _apply(self, batch):
        channels = batch.shape[1]
        mean, std = (
            tl.tensor(self._of_channels(values, channels), dtype=tl.float64)
            for values in (self.mean, self.std)
        )
        return normalize(batch, mean, std)

    def _of_channels(self, values, channels):
        if len(values) not in (1, channels):
            raise tl.ShapeError(
                f"Normalize: expected images of {len(values)} channels, got {channels}"
            )
        return values * channels if len(values) == 1 else values

    def __repr__(self):
        return f"Normalize(mean={self.mean}, std={self.std})"


class RandomFlipHorizontal(_Random):
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

    def __init__(self, p=0.5, *, generator=None):
        super().__init__(generator)
        _check_probability("RandomFlipHorizontal", p)
        self.p = p

    def _apply(self, batch):
        draws = tl.rand((batch.shape[0], 1), generator=self._source())
        flipped = (draws < self.p).astype(tl.int64)
        corner = tl.zeros((batch.shape[0], 2), dtype=tl.int64)
        places = tl.concat([corner, flipped], axis=1)
        return window(batch, places, batch.shape[2:])

    def __repr__(self):
        return f"RandomFlipHorizontal(p={self.p})"


RandomHorizontalFlip = RandomFlipHorizontal  # torchvision's name


class RandomCrop(_Random):
    """Pad with zeros and cut out a window at a random place.

    Parameters
    ----------
    size : int or (int, int), optional
        Height and width of the window; those of the image by default, which shifts
        it by up to `padding` in each direction.
    padding : int or (int, int), default 0
        Zeros added above and below, and left and right.
    fill : number, default 0
        Used instead of zero.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If `size` or `padding` is out of range.
    ShapeError
        If the padded image is smaller than the window.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import RandomCrop
    >>> RandomCrop(padding=1)(tl.ones((4, 1, 8, 8))).shape
    (4, 1, 8, 8)
    """

    def __init__(self, size=None, padding=0, *, fill=0, generator=None):
        super().__init__(generator)
        self.size = None if size is None else _pair("RandomCrop", "size", size, 1)
        self.padding = padding
        self._padding = _pair("RandomCrop", "padding", padding, 0)
        self.fill = fill

    def _apply(self, batch):
        count, _, height, width = batch.shape
        rows, columns = self.size or (height, width)
        above, left = self._padding
        free_y, free_x = height + 2 * above - rows, width + 2 * left - columns
        if free_y < 0 or free_x < 0:
            raise tl.ShapeError(
                f"RandomCrop: the window ({rows}, {columns}) is larger than the image "
                f"({height}, {width}) padded by {self.padding}"
            )
        generator = self._source()
        y = tl.randint(0, free_y + 1, (count, 1), generator=generator) - above
        x = tl.randint(0, free_x + 1, (count, 1), generator=generator) - left
        plain = tl.zeros((count, 1), dtype=tl.int64)
        places = tl.concat([y, x, plain], axis=1)
        return window(batch, places, (rows, columns), fill=self.fill)

    def __repr__(self):
        return f"RandomCrop(size={self.size}, padding={self.padding})"


class RandomRotation(_Random):
    """Turn each image about its centre by a random angle.

    Parameters
    ----------
    degrees : float or (float, float)
        The range of angles, counter-clockwise; one number d means (-d, d).
    interpolation : {"nearest", "bilinear"}, default "nearest"
        Take the nearest pixel, or the weighted mean of the four around.
    fill : float, default 0.0
        The value of what comes from outside the image.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If an argument is out of range.
    DTypeError
        If the images are not uint8, float32 or float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import RandomRotation
    >>> quarter = RandomRotation((90.0, 90.0))
    >>> quarter(tl.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
    [[[2.0, 4.0], [1.0, 3.0]]]
    """

    def __init__(self, degrees, interpolation="nearest", *, fill=0.0, generator=None):
        super().__init__(generator)
        if isinstance(degrees, (int, float)):
            degrees = (-degrees, degrees)
        low, high = self.degrees = tuple(degrees)
        if not -math.inf < low <= high < math.inf:
            raise ValueError(
                "RandomRotation: expected a range of degrees, or one number >= 0, got "
                f"{degrees}"
            )
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(
                "RandomRotation: expected interpolation 'nearest' or 'bilinear', got "
                f"{interpolation!r}"
            )
        self.interpolation = interpolation
        self.fill = fill

    def _apply(self, batch):
        count, _, height, width = batch.shape
        low, high = self.degrees
        draws = tl.rand((count,), dtype=tl.float64, generator=self._source())
        matrices = [
            _turned(math.radians(low + draw * (high - low)), height, width)
            for draw in draws.tolist()
        ]
        matrices = tl.tensor(matrices, dtype=tl.float64).reshape((count, 2, 3))
        return warp(batch, matrices, mode=self.interpolation, fill=self.fill)

    def __repr__(self):
        return f"RandomRotation({self.degrees}, {self.interpolation!r})"


def _turned(angle, height, width):
    """Return the map from a turned image's pixels (row, column) to its source's."""
    # Exact at multiples of a quarter turn: 90 degrees moves pixels, it blends none.
    sine, cosine = math.sin(angle), math.cos(angle)
    if min(abs(sine), abs(cosine)) < 1e-15:
        sine, cosine = round(sine), round(cosine)
    y, x = (height - 1) / 2, (width - 1) / 2
    return [
        [cosine, sine, y - cosine * y - sine * x],
        [-sine, cosine, x + sine * y - cosine * x],
    ]


class Cutout(_Random):
    """Set a square at a random place of each image to `fill`.

    Its centre lies anywhere in the image; what reaches out of it is cut off.

    Parameters
    ----------
    size : int or (int, int)
        Height and width.
    p : float, default 1.0
        Probability that an image is changed at all.
    fill : number, default 0
        The value.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", arXiv:1708.04552.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import Cutout
    >>> Cutout(9)(tl.ones((1, 4, 4))).sum().item()
    0.0
    """

    def __init__(self, size, p=1.0, *, fill=0, generator=None):
        super().__init__(generator)
        self.size = _pair("Cutout", "size", size, 1)
        _check_probability("Cutout", p)
        self.p = p
        self.fill = fill

    def _apply(self, batch):
        count, _, height, width = batch.shape
        generator = self._source()
        chosen = tl.rand((count, 1), generator=generator) < self.p
        rows, columns = self.size
        y = _draw_below(height, count, generator) - rows // 2
        x = _draw_below(width, count, generator) - columns // 2
        # An image that is left alone has an empty box.
        end_y = tl.where(chosen, y + rows, y)
        boxes = tl.concat([y, end_y, x, x + columns], axis=1)
        return erase(batch, boxes, fill=self.fill)

    def __repr__(self):
        return f"Cutout(size={self.size}, p={self.p})"


def _draw_below(limit, count, generator):
    return tl.randint(0, max(limit, 1), (count, 1), generator=generator)


class _Mix(_Random):
    """Mixes each image with another one of its batch, and their classes likewise."""

    def __init__(self, num_classes, alpha, generator):
        super().__init__(generator)
        name = type(self).__name__
        if type(num_classes) is not int or num_classes < 1:
            raise ValueError(f"{name}: expected num_classes >= 1, got {num_classes!r}")
        if not 0 < alpha < math.inf:
            raise ValueError(f"{name}: expected alpha > 0, got {alpha}")
        self.num_classes = num_classes
        self.alpha = alpha

    def __call__(self, images, targets):
        """Return mixed images ``(N, C, H, W)`` and probabilities ``(N, num_classes)``.

        `targets` are classes ``(N,)`` or probabilities ``(N, num_classes)``.
        """
        images, targets = tl.asarray(images), tl.asarray(targets)
        count = images.shape[0] if images.ndim == 4 else -1
        if targets.ndim == 1:
            targets = tl.one_hot(targets, self.num_classes).astype(tl.float32)
        if targets.shape != (count, self.num_classes):
            raise tl.ShapeError(
                f"{type(self).__name__}: expected images (N, C, H, W) and targets (N,) "
                f"or (N, {self.num_classes}), got {tuple(images.shape)} and "
                f"{tuple(targets.shape)}"
            )
        generator = self._source()
        partners = tl.randperm(count, generator=generator)
        weights = _beta(self.alpha, count, generator)
        images, weights = self._mix(images, partners, weights, generator)
        weights = weights.reshape((-1, 1)).astype(targets.dtype)
        others = tl.take(targets, partners, axis=0)
        return images, weights * targets + (1 - weights) * others

    def _mix(self, images, partners, weights, generator):
        """Return the mixed images, and how much of each is its own."""
        raise NotImplementedError(f"{type(self).__name__}: _mix is missing")

    def __repr__(self):
        return f"{type(self).__name__}({self.num_classes}, alpha={self.alpha})"


def _beta(alpha, count, generator):
    """Draw `count` numbers from Beta(alpha, alpha)."""
    seed = tl.randint(0, 2**62, (1,), generator=generator).item()
    source = random.Random(seed)
    return [source.betavariate(alpha, alpha) for _ in range(count)]


class MixUp(_Mix):
    """Blend each image, and its class, with another one of the batch.

    ``w x + (1 - w) x'`` with w from Beta(alpha, alpha), drawn for each image, and x' an
    image of the shuffled batch.

    Parameters
    ----------
    num_classes : int
        How many classes there are.
    alpha : float, default 1.0
        The smaller, the more images stay nearly as they are.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412, eq. 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import MixUp
    >>> images, targets = MixUp(10)(tl.ones((4, 1, 2, 2)), tl.tensor([1, 2, 3, 4]))
    >>> images.shape, targets.shape
    ((4, 1, 2, 2), (4, 10))
    """

    def __init__(self, num_classes, alpha=1.0, *, generator=None):
        super().__init__(num_classes, alpha, generator)

    def _mix(self, images, partners, weights, generator):
        weights = tl.tensor(weights, dtype=tl.float64)
        return blend(images, partners, weights), weights


class CutMix(_Mix):
    """Paste into each image a box of another one of the batch; blend their classes.

    The box has a share of ``1 - w`` of the area, w from Beta(alpha, alpha), drawn for
    each image, and its centre lies anywhere; the classes' weights are the areas that
    are seen.

    Parameters
    ----------
    num_classes : int
        How many classes there are.
    alpha : float, default 1.0
        The smaller, the more images stay whole or are replaced.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features", arXiv:1905.04899, eq. 1 and 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data.transforms import CutMix
    >>> images, targets = CutMix(10)(tl.ones((4, 1, 2, 2)), tl.tensor([1, 2, 3, 4]))
    >>> images.shape, targets.sum(axis=1).tolist()
    ((4, 1, 2, 2), [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, num_classes, alpha=1.0, *, generator=None):
        super().__init__(num_classes, alpha, generator)

    def _mix(self, images, partners, weights, generator):
        count, _, height, width = images.shape
        rows = _draw_below(height, count, generator).reshape((-1,)).tolist()
        columns = _draw_below(width, count, generator).reshape((-1,)).tolist()
        boxes = [
            _box(y, x, math.sqrt(1 - weight), height, width)
            for y, x, weight in zip(rows, columns, weights, strict=True)
        ]
        pixels = max(height * width, 1)
        kept = [1 - (b - t) * (r - left) / pixels for t, b, left, r in boxes]
        boxes = tl.tensor(boxes, dtype=tl.int64).reshape((count, 4))
        kept = tl.tensor(kept, dtype=tl.float64)
        return paste(images, partners, boxes), kept


def _box(y, x, share, height, width):
    """Return the part inside the image of a box of `share` of its height and width."""
    half_y, half_x = int(height * share / 2), int(width * share / 2)
    return [
        max(y - half_y, 0), min(y + half_y, height), max(x - half_x, 0),
        min(x + half_x, width),
    ]  # fmt: skip
