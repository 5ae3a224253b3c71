"""Images held in memory as bytes, given out as floats."""

import tensorlib as tl
from tensorlib.data.dataset import Dataset
from tensorlib.data.transforms import apply_transform

__all__ = ["ByteImages"]


class ByteImages(Dataset):
    """Base class: a subclass sets the attributes.

    Attributes
    ----------
    images : Tensor
        uint8, shape ``(N, H, W)`` or ``(N, C, H, W)``.
    targets : Tensor
        int64, shape ``(N,)``.
    transform : callable or None
        Applied to float32 images in [0, 1].
    """

    def __len__(self):
        return self.images.shape[0]

    def __getitem__(self, index):
        image = self.images[index]
        if image.ndim == 2:
            image = tl.expand_dims(image, axis=0)
        image = image.astype(tl.float32) * (1 / 255)
        if self.transform is not None:
            image = self.transform(image)
        return image, self.targets[index].item()

    def take(self, indices):
        """Return images ``(B, C, H, W)`` and labels ``(B,)`` at `indices` ``(B,)``."""
        images = tl.take(self.images, indices, axis=0)
        if images.ndim == 3:
            images = tl.expand_dims(images, axis=1)
        images = images.astype(tl.float32) * (1 / 255)
        labels = tl.take(self.targets, indices, axis=0)
        return apply_transform(self.transform, images), labels
