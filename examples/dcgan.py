"""A convolutional GAN that draws clothes (course, lectures 16 and 17).

The generator maps noise ``(N, z, 1, 1)`` to images ``(N, 1, 28, 28)`` by transposed
convolutions with batch normalization and relu, its last layer by tanh: a transposed
convolution is the adjoint of a convolution, so a stride of 2 doubles height and width.
The discriminator mirrors it: convolutions of stride 2 with leaky relu. Both follow
Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks", arXiv:1511.06434, and their settings:
Adam with beta1 0.5, weights drawn from N(0, 0.02²).

The results compare 2,000 generated with 2,000 test images: the relative error of the
mean image, and the ratio of total variances (1 is right, near 0 a generator that draws
the same thing always). The data are Fashion-MNIST from ``--root``; ``--quick`` takes
enlarged digits that come with tensorlib.

Run it: ``python examples/dcgan.py``; the same in PyTorch:
``python examples/pytorch/dcgan.py``
"""

import itertools

from gan_loss import GANLoss
from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import DataLoader, Digits, FashionMNIST, TensorDataset


def generator(noise, width):
    """Return a map from ``(N, noise, 1, 1)`` to images ``(N, 1, 28, 28)``."""
    return nn.Sequential(
        nn.ConvTranspose2d(noise, 2 * width, 7, bias=False),
        nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width), nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1), nn.Tanh(),
    )  # fmt: skip


def discriminator(width):
    """Return a map from images ``(N, 1, 28, 28)`` to logits ``(N, 1)``."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(2 * width * 49, 1),
    )  # fmt: skip


def initialize(model):
    """Draw the weights of convolutions from N(0, 0.02²), as the paper does."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)


def load(options, train):
    """Return a data set of images ``(1, 28, 28)`` in [0, 1]."""
    if not options.quick:
        return FashionMNIST(options.root, train=train)
    digits = Digits(train=train)
    images = digits.images[:200].reshape((200, 1, 8, 1, 8, 1))
    images = tl.broadcast_to(images, (200, 1, 8, 3, 8, 3)).reshape((200, 1, 24, 24))
    images = tl.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return TensorDataset(images, digits.targets[:200])


def statistics(fake, real):
    """Return the relative error of the mean image and the ratio of variances."""
    gap = fake.mean(axis=0) - real.mean(axis=0)
    error = tl.sqrt((gap**2).sum() / (real.mean(axis=0) ** 2).sum()).item()
    ratio = tl.var(fake, axis=0).sum() / tl.var(real, axis=0).sum()
    return error, ratio.item()


def test_images(options):
    """Return up to 2,000 test images ``(N, 1, 28, 28)``."""
    return next(iter(DataLoader(load(options, False), 2000)))[0]


def sample(model, noise):
    """Return images in [0, 1] of `noise`, outside the graph, 200 at a time."""
    model.eval()
    with tl.no_grad():
        parts = [
            (model(noise[start : start + 200]) + 1) / 2
            for start in range(0, noise.shape[0], 200)
        ]
    model.train()
    return tl.concat(parts, axis=0)


def grid(images):
    """Return a function that draws 64 images as a square."""
    side = images.shape[-1]
    rows = images[:64].reshape((8, 8, side, side)).permute_dims((0, 2, 1, 3))
    picture = rows.reshape((8 * side, 8 * side))

    def paint(figure):
        axes = figure.add_subplot()
        axes.imshow(picture.numpy(), cmap="gray_r")
        axes.set_axis_off()

    return paint


def batches(options, steps):
    """Yield training images ``(batch, 1, 28, 28)``, as many batches as `steps`."""
    loader = DataLoader(
        load(options, True), options.batch, True, drop_last=True,
        generator=tl.Generator(options.seed + 1),
    )  # fmt: skip
    passes = itertools.chain.from_iterable(itertools.repeat(loader))
    return (images for images, _ in itertools.islice(passes, steps))


def train(run, model, options, steps):
    """Play the game; draw what the same noise becomes after each fifth."""
    judge = discriminator(options.width)
    initialize(model)
    initialize(judge)
    model.to(run.device)
    judge.to(run.device)
    adam = {"lr": options.lr, "betas": (0.5, 0.999)}
    criterion = GANLoss(judge, optim.Adam(judge.parameters(), **adam))
    optimizer = optim.Adam(model.parameters(), **adam)
    fixed = tl.randn((64, options.noise, 1, 1)).to(run.device)
    for step, images in enumerate(batches(options, steps), 1):
        noise = tl.randn((options.batch, options.noise, 1, 1))
        fake = model(noise.to(run.device))
        optimizer.zero_grad()
        loss = criterion(fake, images.to(run.device) * 2 - 1)
        loss.backward()
        optimizer.step()
        values = {"generator": loss.item(), "discriminator": criterion.last}
        run.log(step, **values)
        if step % max(1, steps // 5) == 0:
            run.report(step, **values)
            run.picture("samples", grid(sample(model, fixed).to("cpu")), figsize=(4, 4))


def main(arguments=None):
    """Train; return the results."""
    options = parser(
        __doc__, root=FashionMNIST.debian_folder, steps=0, batch=100, lr=4e-4,
        noise=64, width=32,
    ).parse_args(arguments)  # fmt: skip
    if options.quick:
        options.batch, options.width = 20, 8
    steps = options.steps or (12 if options.quick else 1200)
    with Run("dcgan", options) as run:
        model = generator(options.noise, options.width)
        train(run, model, options, steps)
        real = test_images(options).to(run.device)
        noise = tl.randn((real.shape[0], options.noise, 1, 1))
        fake = sample(model, noise.to(run.device))
        error, ratio = statistics(fake, real)
        run.save(model)
        run.record(mean_image_error=error, variance_ratio=ratio, steps=steps)
    return run.results


if __name__ == "__main__":
    main()
