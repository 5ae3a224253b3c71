"""Optimizers and learning-rate schedules: PyTorch's names, defaults and layouts."""

from tensorlib.optim import lr_scheduler, swa_utils
from tensorlib.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tensorlib.optim.adaptive import Adadelta, Adagrad, Lion, RMSprop, Rprop
from tensorlib.optim.optimizer import FusedOptimizer, Optimizer
from tensorlib.optim.second_order import LBFGS, Newton
from tensorlib.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "FusedOptimizer",
    "Lion",
    "NAdam",
    "Newton",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
