"""``examples/vision_transformer.py`` in PyTorch: the same model, data and steps."""

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import Run, parser

from tensorlib.data import Digits, FashionMNIST

PATCH = {"digits": 2, "fashion": 4}
EPOCHS = {"digits": 60, "fashion": 3}


class VisionTransformer(nn.Module):
    """Patches, class token, positions, encoder, and a linear classifier."""

    def __init__(self, size, patch, width=64, depth=4, heads=4, classes=10):
        super().__init__()
        tokens = (size // patch) ** 2 + 1
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros((1, 1, width)))
        self.positions = nn.Parameter(torch.empty((1, tokens, width)))
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
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        tokens = torch.cat([first, tokens], dim=1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


def data_sets(options):
    """Return images and labels of the training and the test set."""
    if options.data == "digits":
        sets = Digits(), Digits(train=False)
    else:
        root = {"root": options.root} if options.root else {}
        sets = FashionMNIST(train=True, **root), FashionMNIST(train=False, **root)
    return [
        [torch.stack([torch.from_numpy(one[0].numpy()) for one in part]),
         torch.tensor([one[1] for one in part])]
        for part in sets
    ]  # fmt: skip


def accuracy(model, images, labels):
    """Return the share of samples classified rightly."""
    model.eval()
    with torch.no_grad():
        guesses = [model(part).argmax(dim=1) for part in images.split(250)]
    model.train()
    return (torch.cat(guesses) == labels).float().mean().item()


def train(model, data, options, run):
    """Minimize the cross-entropy by AdamW on one cycle; return the test accuracy."""
    (images, labels), test_set = data
    batches = len(images) // options.batch
    steps = options.epochs * batches
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, total_steps=steps
    )
    step = 0
    for epoch in range(1, options.epochs + 1):
        for rows in torch.randperm(len(images)).split(options.batch)[:batches]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            run.log(step, loss=loss.item())
        if epoch == options.epochs or epoch % max(1, options.epochs // 10) == 0:
            test = accuracy(model, *test_set)
            run.report(step, epoch=epoch, loss=loss.item(), test=test)
    return test


def main(arguments=None):
    """Train and test; return the results."""
    options = parser(
        __doc__, data="digits", root="", epochs=0, batch=64, lr=2e-3, width=64, depth=4
    ).parse_args(arguments)
    options.epochs = options.epochs or EPOCHS[options.data]
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    data = data_sets(options)
    if options.quick:
        options.epochs, options.width, options.depth = 1, 32, 2
        data = [[part[:512] for part in data[0]], [part[:128] for part in data[1]]]
    with Run(f"vision_transformer_{options.data}_pytorch", options) as run:
        size, patch = data[0][0].shape[-1], PATCH[options.data]
        model = VisionTransformer(size, patch, options.width, options.depth)
        test = train(model, data, options, run)
        run.record(library="pytorch", epochs=options.epochs)
        run.record(test_accuracy=round(test, 4))
    return run.results


if __name__ == "__main__":
    main()
