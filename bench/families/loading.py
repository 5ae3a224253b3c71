"""Loading of in-memory data, shuffled, in batches of 128: rows and images a second."""

from importlib import import_module

from bench.case import Case, Spec


def _loader(library, names):
    package = "tensorlib" if library == "ours" else "torch.utils"
    data = import_module(f"{package}.data")
    held = data.TensorDataset(names["x"], names["y"])
    loader = data.DataLoader(held, batch_size=128, shuffle=True)

    def epoch():
        count = 0
        for images, _ in loader:
            count += images.shape[0]
        return count

    names["epoch"] = epoch


# ---- images of bytes -----------------------------------------------------------
IMAGES, SIDE, PADDING = 10_000, 28, 2
MEAN, DEVIATION = 0.2860, 0.3530  # of Fashion-MNIST


def _images(tl, x, y, *, vary):
    """Our data set: a batch is gathered and transformed at once."""
    transforms = tl.data.transforms
    steps = [transforms.Normalize(MEAN, DEVIATION)]
    if vary:
        steps = [
            transforms.RandomFlipHorizontal(),
            transforms.RandomCrop(padding=PADDING),
            *steps,
        ]
    transform = transforms.Compose(steps)

    class Images(tl.data.Dataset):
        def __len__(self):
            return x.shape[0]

        def take(self, indices):
            batch = tl.take(x, indices, axis=0).astype(tl.float32) * (1 / 255)
            return transform(tl.expand_dims(batch, axis=1)), tl.take(y, indices)

    return Images()


def _images_torch(torch, x, y, *, vary):
    """PyTorch's: a batch is gathered at once, its images vary one by one."""
    pad = torch.nn.functional.pad

    def varied(image):
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        image = pad(image, (PADDING,) * 4)
        top, left = torch.randint(0, 2 * PADDING + 1, (2,)).tolist()
        return image[:, top : top + SIDE, left : left + SIDE]

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return x.shape[0]

        def __getitems__(self, indices):
            indices = torch.tensor(indices)
            batch = x[indices].float().mul_(1 / 255)[:, None]
            if vary:
                batch = torch.stack([varied(image) for image in batch])
            return batch.sub_(MEAN).div_(DEVIATION), y[indices]

    return Images()


def _image_loader(vary):
    def prepare(library, names):
        if library == "ours":
            package, dataset = names["tl"], _images
        else:
            package, dataset = names["torch"], _images_torch
        data = import_module(
            "tensorlib.data" if library == "ours" else "torch.utils.data"
        )
        held = dataset(package, names["x"], names["y"], vary=vary)
        more = {} if library == "ours" else {"collate_fn": lambda batch: batch}
        loader = data.DataLoader(held, batch_size=128, shuffle=True, **more)
        names["loader"] = loader
        names["epoch"] = lambda: sum(images.shape[0] for images, _ in loader)

    return prepare


def _image_rows():
    for vary in (False, True):
        yield Case(
            "data",
            f"images of {SIDE}x{SIDE}, normalized"
            + ", flipped and cropped at random" * vary,
            "epoch()",
            "epoch()",
            operands={
                "x": Spec((IMAGES, SIDE, SIDE), "256", "uint8"),
                "y": Spec((IMAGES,), "10", "int64"),
            },
            prepare=_image_loader(vary),
            check="" if vary else "sum(float(images.sum()) for images, _ in loader)",
            # Batches are of other images, so their sums are rounded otherwise.
            tolerance=(1e-3, 1.0),
            count=IMAGES,
        )


def cases():
    operands = {
        "x": Spec((60000, 784)),
        "y": Spec((60000,), "10", "int64"),
        "i": Spec((128,), "60000", "int64"),
    }
    yield Case(
        "data",
        "DataLoader, a pass of 60,000 x 784, batch 128",
        "epoch()",
        "epoch()",
        operands=operands,
        prepare=_loader,
        count=60000,
        quick=True,
    )
    yield from _image_rows()
    yield Case(
        "data",
        "gather of a batch of 128",
        "tl.take(x, i, axis=0)",
        "x[i]",
        "x[i]",
        operands=operands,
        quick=True,
    )
