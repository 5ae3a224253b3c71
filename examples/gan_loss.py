"""The loss of a generative adversarial network, as a module (course, lecture 16).

A discriminator D gives logits for "this sample is real", and learns to minimize
``-E log s(D(x)) - E log(1 - s(D(G(z))))``, s the logistic sigmoid. The generator's loss
is the non-saturating ``-E log s(D(G(z)))``: the same fixed point as the minimax game,
but a large gradient where the discriminator is sure.

To the one who trains the generator it looks like any loss; that it learns itself, one
step at each call, stays inside.
"""

import tensorlib as tl
from tensorlib import nn


class GANLoss(nn.Module):
    """A loss that updates its discriminator whenever it is computed.

    Parameters
    ----------
    discriminator : Module
        Maps samples ``(N, ...)`` to logits ``(N, 1)``.
    optimizer : Optimizer
        Of the discriminator's parameters.

    Attributes
    ----------
    last : float
        The discriminator's loss at its last step; ``2 log 2 = 1.386`` if it guesses.

    References
    ----------
    Goodfellow et al., "Generative Adversarial Networks", arXiv:1406.2661, algorithm 1.
    """

    def __init__(self, discriminator, optimizer):
        super().__init__()
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.criterion = nn.BCEWithLogitsLoss()
        self.last = float("nan")

    def judge(self, samples, real):
        """Return the cross-entropy of the verdict on `samples` with `real` (a bool)."""
        logits = self.discriminator(samples)
        target = tl.ones_like(logits) if real else tl.zeros_like(logits)
        return self.criterion(logits, target)

    def update(self, fake, real):
        """Take one step of the discriminator on samples outside the graph."""
        self.optimizer.zero_grad()
        loss = self.judge(real, True) + self.judge(fake.detach(), False)
        loss.backward()
        self.optimizer.step()
        self.last = loss.item()

    def forward(self, fake, real):
        """Update the discriminator; return the generator's loss.

        Parameters
        ----------
        fake, real : Tensor
            Samples of the generator and of the data, ``(N, ...)``.

        Returns
        -------
        Tensor
            Shape ``()``; its gradient reaches the generator through `fake`.
        """
        self.update(fake, real)
        return self.judge(fake, True)
