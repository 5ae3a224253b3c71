"""An autoencoder and a variational autoencoder on the handwritten digits.

Both squeeze an image x of 8 by 8 pixels through a code z of two numbers. The
autoencoder (``--model ae``) minimizes the reconstruction error of decode(encode(x)).
The variational one (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014) reads
the encoder's outputs mu and log sigma² as a normal distribution q(z|x) and maximizes
the evidence lower bound,

    ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || N(0, I)) <= log p(x),

with the reparametrization z = mu + sigma e, e ~ N(0, I), through which the gradient
reaches mu and sigma, and the divergence in closed form,

    KL = ½ sum_i (mu_i² + sigma_i² - log sigma_i² - 1).

A pixel's grey is taken as the probability of ink: log p(x|z) is the binary
cross-entropy of the decoder's logits, summed over the pixels. All figures are nats an
image. Pictures: test images over their reconstructions; what the decoder makes of a
grid of codes (for the VAE at equal steps of the prior's probability); and the codes of
the test images, coloured by digit.

It stands beside the course's lectures 16 and 17, whose generative models are GANs;
``examples/pytorch/vae_digits.py`` is the same in PyTorch.

Run it: ``python examples/vae_digits.py --model vae``
"""

from statistics import NormalDist

from harness import OnDevice, Run, parser

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import DataLoader, Digits

PIXELS = 64
NAMES = {"ae": "autoencoder_digits", "vae": "vae_digits"}


class Autoencoder(nn.Module):
    """Encoder and decoder, each an MLP with one hidden layer.

    Parameters
    ----------
    variational : bool
        The encoder gives mu and log sigma² instead of the code.
    code, width : int
        Numbers in the code; units of the hidden layers.
    """

    def __init__(self, variational, code=2, width=256):
        super().__init__()
        self.variational = variational
        self.code = code
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
            return self.decoder(encoded), tl.zeros((x.shape[0],)).to(x.device)
        mean, log_variance = tl.split(encoded, self.code, axis=1)
        deviation = tl.exp(0.5 * log_variance)
        z = mean + deviation * tl.randn(mean.shape).to(x.device)
        parts = mean * mean + deviation * deviation - log_variance - 1.0
        return self.decoder(z), 0.5 * parts.sum(axis=1)

    def codes(self, x):
        """Return the code of each image, for the VAE its mean: ``(N, code)``."""
        return self.encoder(x)[:, : self.code]

    def pictures(self, codes):
        """Return what the decoder makes of `codes`: pixels in [0, 1], ``(N, 8, 8)``."""
        return tl.sigmoid(self.decoder(codes)).reshape((-1, 8, 8))


def losses(model, x):
    """Return the reconstruction error and KL, both means in nats an image."""
    logits, divergence = model(x)
    error = nn.functional.binary_cross_entropy_with_logits(
        logits, x.reshape((-1, PIXELS)), reduction="sum"
    )
    return error / x.shape[0], divergence.mean()


def evaluate(model, images, passes=10):
    """Return reconstruction error and KL on `images`, over several draws of z."""
    with tl.no_grad():
        found = [losses(model, images) for _ in range(passes)]
    return [
        sum(part.item() for part in column) / passes
        for column in zip(*found, strict=True)
    ]


def train(model, options, run, test):
    """Minimize reconstruction error plus KL; return the last test figures."""
    loader = OnDevice(DataLoader(Digits(), options.batch, shuffle=True), run.device)
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    for epoch in range(1, options.epochs + 1):
        for x, _ in loader:
            optimizer.zero_grad()
            error, divergence = losses(model, x)
            loss = error + divergence
            loss.backward()
            optimizer.step()
        schedule.step()
        run.log(epoch, loss=loss.item(), kl=divergence.item())
        if epoch % max(1, options.epochs // 10) == 0:
            error, divergence = evaluate(model, test)
            run.report(epoch, test_error=error, test_kl=divergence)
    return error, divergence


def draw_pairs(figure, images, remade):
    """Draw images in the upper row of each pair and their reconstructions below."""
    rows, columns = 2, 12
    grid = figure.subplots(2 * rows, columns)
    for n in range(rows * columns):
        upper = 2 * (n // columns)
        for offset, source in enumerate((images, remade)):
            axes = grid[upper + offset, n % columns]
            axes.imshow(source[n].tolist(), cmap="gray_r", vmin=0, vmax=1)
            axes.axis("off")


def latent_grid(model, codes, side):
    """Return the decoded pictures of a grid of codes, as rows of pixels."""
    if model.variational:
        ticks = [NormalDist().inv_cdf((n + 0.5) / side) for n in range(side)]
        axis_x = axis_y = ticks
    else:
        low, high = codes.min(axis=0).tolist(), codes.max(axis=0).tolist()
        axis_x, axis_y = (tl.linspace(low[k], high[k], side).tolist() for k in range(2))
    grid = tl.tensor([[x, y] for y in reversed(axis_y) for x in axis_x])
    shown = model.pictures(grid.to(codes.device)).reshape((side, side, 8, 8))
    return tl.permute_dims(shown, (0, 2, 1, 3)).reshape((side * 8, side * 8)).tolist()


def draw_codes(figure, codes, labels):
    """Draw the codes of images, a colour a digit."""
    axes = figure.subplots()
    x, y = codes.T.tolist()
    points = axes.scatter(x, y, c=labels.tolist(), cmap="tab10", vmin=-0.5, vmax=9.5)
    figure.colorbar(points, ticks=range(10))
    axes.set_title("codes of the test images")


def draw_grid(figure, pixels):
    """Draw the picture of the latent grid."""
    axes = figure.subplots()
    axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
    axes.axis("off")


def main(arguments=None):
    """Train one model; return the results."""
    options = parser(
        __doc__, threads=1, model="vae", epochs=200, batch=64, lr=1e-3, width=256
    ).parse_args(arguments)
    if options.model not in NAMES:
        raise SystemExit(f"--model: expected ae or vae, got {options.model}")
    if options.quick:
        options.epochs = 3
    test = Digits(train=False)
    with Run(NAMES[options.model], options) as run:
        model = Autoencoder(options.model == "vae", width=options.width)
        model.to(run.device)
        images = test.images.to(run.device)
        error, divergence = train(model, options, run, images)
        run.record(library="tensorlib", epochs=options.epochs)
        run.record(test_reconstruction=round(error, 3), test_kl=round(divergence, 3))
        if model.variational:
            run.record(test_elbo=round(-error - divergence, 3))
        with tl.no_grad():
            codes = model.codes(images)
            remade, grid = model.pictures(codes), latent_grid(model, codes, 16)
        pairs = test.images.squeeze(1), remade
        run.picture("reconstructions", lambda f: draw_pairs(f, *pairs), figsize=(6, 2))
        run.picture("latent_grid", lambda f: draw_grid(f, grid), figsize=(5, 5))
        run.picture("codes", lambda f: draw_codes(f, codes, test.targets))
        run.save(model)
    return run.results


if __name__ == "__main__":
    main()
