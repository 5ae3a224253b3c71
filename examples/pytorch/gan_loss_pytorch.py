"""``examples/gan_loss.py`` in PyTorch."""

import torch
from torch import nn


class GANLoss(nn.Module):
    """A loss that updates its discriminator whenever it is computed."""

    def __init__(self, discriminator, optimizer):
        super().__init__()
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.criterion = nn.BCEWithLogitsLoss()
        self.last = float("nan")

    def judge(self, samples, real):
        """Return the cross-entropy of the verdict on `samples` with `real` (a bool)."""
        logits = self.discriminator(samples)
        return self.criterion(logits, torch.full_like(logits, float(real)))

    def forward(self, fake, real):
        """Update the discriminator; return the generator's loss."""
        self.optimizer.zero_grad()
        loss = self.judge(real, True) + self.judge(fake.detach(), False)
        loss.backward()
        self.optimizer.step()
        self.last = loss.item()
        return self.judge(fake, True)
