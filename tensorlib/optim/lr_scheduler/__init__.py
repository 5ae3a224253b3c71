"""Learning-rate schedules under PyTorch's names.

A schedule gives the rate of each group at step t from its initial rate alone, so
nothing drifts and a resumed run sees the same numbers. (Two schedules on one
optimizer therefore do not multiply by themselves: join them with `ChainedScheduler` or
`SequentialLR`.) `ReduceLROnPlateau` alone depends on what happened.
"""

from tensorlib.optim.lr_scheduler.base import LRScheduler
from tensorlib.optim.lr_scheduler.combine import ChainedScheduler, SequentialLR
from tensorlib.optim.lr_scheduler.cycle import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    OneCycleLR,
)
from tensorlib.optim.lr_scheduler.decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from tensorlib.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
