"""``examples/vae_digits.py`` in PyTorch: the same model, data and steps."""

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import Run, parser

from tensorlib.data import Digits

PIXELS = 64
NAMES = {"ae": "autoencoder_digits", "vae": "vae_digits"}


class Autoencoder(nn.Module):
    """Encoder and decoder, each an MLP."""

    def __init__(self, variational, code=2, width=256):
        super().__init__()
        self.variational = variational
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(PIXELS, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 2 * code if variational else code),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(code, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, PIXELS),
        )  # fmt: skip

    def forward(self, x):
        """Return the logits of the pixels ``(N, 64)`` and KL ``(N,)`` of each image."""
        encoded = self.encoder(x)
        if not self.variational:
            return self.decoder(encoded), torch.zeros(x.shape[0])
        mean, log_variance = encoded.chunk(2, dim=1)
        deviation = torch.exp(0.5 * log_variance)
        z = mean + deviation * torch.randn_like(mean)
        parts = mean * mean + deviation * deviation - log_variance - 1.0
        return self.decoder(z), 0.5 * parts.sum(dim=1)


def losses(model, x):
    """Return the reconstruction error and KL, both means in nats an image."""
    logits, divergence = model(x)
    error = nn.functional.binary_cross_entropy_with_logits(
        logits, x.reshape(-1, PIXELS), reduction="sum"
    )
    return error / x.shape[0], divergence.mean()


def evaluate(model, images, passes=10):
    """Return reconstruction error and KL on `images`, over several draws of z."""
    with torch.no_grad():
        found = [losses(model, images) for _ in range(passes)]
    return [
        sum(part.item() for part in column) / passes
        for column in zip(*found, strict=True)
    ]


def train(model, options, run, images, test):
    """Minimize reconstruction error plus KL; return the last test figures."""
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    for epoch in range(1, options.epochs + 1):
        for rows in torch.randperm(len(images)).split(options.batch):
            optimizer.zero_grad()
            error, divergence = losses(model, images[rows])
            loss = error + divergence
            loss.backward()
            optimizer.step()
        schedule.step()
        run.log(epoch, loss=loss.item(), kl=divergence.item())
        if epoch % max(1, options.epochs // 10) == 0:
            error, divergence = evaluate(model, test)
            run.report(epoch, test_error=error, test_kl=divergence)
    return error, divergence


def main(arguments=None):
    """Train one model; return the results."""
    options = parser(
        __doc__, threads=1, model="vae", epochs=200, batch=64, lr=1e-3, width=256
    ).parse_args(arguments)
    if options.quick:
        options.epochs = 3
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    images, test = (
        torch.from_numpy(Digits(train=train).images.numpy()) for train in (True, False)
    )
    with Run(f"{NAMES[options.model]}_pytorch", options) as run:
        model = Autoencoder(options.model == "vae", width=options.width)
        error, divergence = train(model, options, run, images, test)
        run.record(library="pytorch", epochs=options.epochs)
        run.record(test_reconstruction=round(error, 3), test_kl=round(divergence, 3))
        if model.variational:
            run.record(test_elbo=round(-error - divergence, 3))
    return run.results


if __name__ == "__main__":
    main()
