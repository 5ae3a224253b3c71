"""Data sets, loaders and transforms."""

from tensorlib.data import transforms
from tensorlib.data.collate import default_collate
from tensorlib.data.dataloader import DataLoader
from tensorlib.data.dataset import Dataset, Subset, TensorDataset, random_split
from tensorlib.data.digits import Digits
from tensorlib.data.mnist import MNIST, FashionMNIST
from tensorlib.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)
from tensorlib.data.seeding import batch_generator

__all__ = [
    "MNIST",
    "BatchSampler",
    "DataLoader",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "batch_generator",
    "default_collate",
    "random_split",
    "transforms",
]
