"""A small Vision Transformer on the digits or on Fashion-MNIST.

An image is cut into patches; each patch becomes a token by one linear map (a
convolution whose kernel is as large as its stride), a learned class token is put in
front, learned positions are added, and a Transformer encoder (pre-norm, GELU) lets the
tokens attend to each other,

    attention(Q, K, V) = softmax(Q Kᵀ / √d) V.

The class token's last state goes through a linear layer to the logits (Dosovitskiy et
al., "An Image is Worth 16x16 Words", 2021). Nothing in the model knows that patches are
neighbours: it learns its positions. The picture shows how much: the cosine similarity
of each patch's position with all others.

``--data digits`` (8 by 8 pixels, 16 patches) works everywhere; ``--data fashion`` (28
by 28 pixels, 49 patches) reads Fashion-MNIST from ``--root`` or where Debian's package
``dataset-fashion-mnist`` puts it.

It follows the course's lectures 20 and 21; ``examples/pytorch/vision_transformer.py``
is the same in PyTorch.

Run it: ``python examples/vision_transformer.py --data digits``
"""

from harness import OnDevice, Run, parser

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import DataLoader, Digits, FashionMNIST, Subset

PATCH = {"digits": 2, "fashion": 4}
EPOCHS = {"digits": 60, "fashion": 3}


class VisionTransformer(nn.Module):
    """Patches, class token, positions, encoder, and a linear classifier.

    Parameters
    ----------
    size, patch : int
        Sides of the square images and of the patches in pixels.
    width, depth, heads : int
        Features of a token, encoder layers, attention heads.
    classes : int
    """

    def __init__(self, size, patch, width=64, depth=4, heads=4, classes=10):
        super().__init__()
        tokens = (size // patch) ** 2 + 1
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.class_token = nn.Parameter(tl.zeros((1, 1, width)))
        self.positions = nn.Parameter(tl.empty((1, tokens, width)))
        nn.init.trunc_normal_(self.positions, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.1, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.encoder = nn.TransformerEncoder(
            layer, depth, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        """Map images ``(N, 1, S, S)`` to logits ``(N, classes)``."""
        tokens = tl.transpose(tl.flatten(self.patches(images), 2), 1, 2)
        first = tl.broadcast_to(self.class_token, (tokens.shape[0], 1, tokens.shape[2]))
        tokens = tl.concat([first, tokens], axis=1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


def data_sets(options):
    """Return the training and the test set."""
    if options.data == "digits":
        return Digits(), Digits(train=False)
    root = {"root": options.root} if options.root else {}
    return FashionMNIST(train=True, **root), FashionMNIST(train=False, **root)


def accuracy(model, loader):
    """Return the share of samples classified rightly."""
    model.eval()
    right = seen = 0
    with tl.no_grad():
        for x, y in loader:
            right += (tl.argmax(model(x), axis=1) == y).sum().item()
            seen += y.shape[0]
    model.train()
    return right / seen


def train(model, loaders, options, run):
    """Minimize the cross-entropy by AdamW on one cycle; return the test accuracy."""
    steps = options.epochs * len(loaders[0])
    optimizer = optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.05)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=steps)
    step = 0
    for epoch in range(1, options.epochs + 1):
        for x, y in loaders[0]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            run.log(step, loss=loss.item())
        if epoch == options.epochs or epoch % max(1, options.epochs // 10) == 0:
            test = accuracy(model, loaders[1])
            run.report(step, epoch=epoch, loss=loss.item(), test=test)
    return test


def draw(figure, positions, side):
    """Draw the cosine similarity of each patch's position with all positions."""
    unit = positions / tl.sqrt((positions * positions).sum(axis=1, keepdims=True))
    alike = (unit @ unit.T).reshape((side * side, side, side)).tolist()
    for axes, picture in zip(figure.subplots(side, side).flat, alike, strict=True):
        axes.imshow(picture, vmin=-1, vmax=1)
        axes.axis("off")


def main(arguments=None):
    """Train and test; return the results."""
    options = parser(
        __doc__, data="digits", root="", epochs=0, batch=64, lr=2e-3, width=64, depth=4
    ).parse_args(arguments)
    if options.data not in PATCH:
        raise SystemExit(f"--data: expected digits or fashion, got {options.data}")
    options.epochs = options.epochs or EPOCHS[options.data]
    train_set, test_set = data_sets(options)
    if options.quick:
        options.epochs, options.width, options.depth = 1, 32, 2
        train_set = Subset(train_set, range(512))
        test_set = Subset(test_set, range(128))
    loaders = [
        DataLoader(train_set, options.batch, shuffle=True, drop_last=True),
        DataLoader(test_set, 250),
    ]
    loaders = [OnDevice(loader, options.device) for loader in loaders]
    with Run(f"vision_transformer_{options.data}", options) as run:
        size, patch = train_set[0][0].shape[-1], PATCH[options.data]
        model = VisionTransformer(size, patch, options.width, options.depth)
        model.to(run.device)
        test = train(model, loaders, options, run)
        run.record(library="tensorlib", epochs=options.epochs)
        run.record(test_accuracy=round(test, 4))
        positions = model.positions.detach()[0, 1:]
        side = size // patch
        run.picture("positions", lambda f: draw(f, positions, side), figsize=(5, 5))
        run.save(model)
    return run.results


if __name__ == "__main__":
    main()
