"""Data sets, loaders and transforms."""

from tensorlib.data import transforms
from tensorlib.data.bible import bible_text
from tensorlib.data.cifar import CIFAR10, CIFAR100
from tensorlib.data.collate import default_collate
from tensorlib.data.dataloader import DataLoader
from tensorlib.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tensorlib.data.digits import Digits
from tensorlib.data.image_folder import ImageFolder
from tensorlib.data.mnist import MNIST, FashionMNIST
from tensorlib.data.npy import NpyDataset, NpzDataset, read_npy, read_npz
from tensorlib.data.sampler import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tensorlib.data.seeding import batch_generator
from tensorlib.data.text import (
    Corpus,
    Dictionary,
    batchify,
    get_batch,
    python_stdlib_text,
)

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "Corpus",
    "DataLoader",
    "Dataset",
    "Dictionary",
    "Digits",
    "DistributedSampler",
    "FashionMNIST",
    "ImageFolder",
    "IterableDataset",
    "NpyDataset",
    "NpzDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "batch_generator",
    "batchify",
    "bible_text",
    "default_collate",
    "get_batch",
    "python_stdlib_text",
    "random_split",
    "read_npy",
    "read_npz",
    "transforms",
]
