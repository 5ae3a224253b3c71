"""Data sets by index and streams, and how they combine."""

from collections import Counter

import pytest

import tensorlib as tl
from tensorlib import data
from tensorlib.data import transforms


class Squares(data.Dataset):
    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return index, float(index**2)


def test_tensor_dataset_item_and_take_agree():
    images, labels = tl.randn((6, 2, 2)), tl.arange(6)
    dataset = data.TensorDataset(images, labels)
    taken, taken_labels = dataset.take(tl.tensor([4, 1]))
    assert taken[0].tolist() == dataset[4][0].tolist()
    assert taken_labels.tolist() == [4, 1]
    assert len(dataset) == 6


def test_tensor_dataset_accepts_numpy():
    numpy = pytest.importorskip("numpy")
    dataset = data.TensorDataset(numpy.arange(3.0))
    assert dataset[2][0].item() == 2.0


def test_tensor_dataset_of_different_lengths_raises():
    with pytest.raises(tl.ShapeError, match="must agree in length"):
        data.TensorDataset(tl.ones((2, 3)), tl.ones(3))
    with pytest.raises(tl.ShapeError, match="must agree in length"):
        data.TensorDataset(tl.ones(()))


def test_subset_of_tensor_dataset_takes_through():
    whole = data.TensorDataset(tl.arange(10))
    part = data.Subset(data.Subset(whole, [9, 8, 7, 6]), tl.tensor([3, 0]))
    assert [x.item() for (x,) in part] == [6, 9]
    assert part.take(tl.tensor([1, 0, 1]))[0].tolist() == [9, 6, 9]
    assert not hasattr(data.Subset(Squares(), [1]), "take")


def test_random_split_covers_everything_once():
    parts = data.random_split(range(10), [3, 7], tl.Generator(0))
    assert [len(p) for p in parts] == [3, 7]
    assert sorted([*parts[0], *parts[1]]) == list(range(10))
    again = data.random_split(range(10), [3, 7], tl.Generator(0))
    assert list(again[0]) == list(parts[0])


def test_random_split_of_shares_matches_pytorch_lengths():
    parts = data.random_split(range(10), [0.33, 0.33, 0.34])
    assert [len(p) for p in parts] == [4, 3, 3]


def test_random_split_wrong_sum_raises():
    with pytest.raises(ValueError, match="sum to 10"):
        data.random_split(range(10), [3, 3])


def test_digits_split_is_fixed_and_complete():
    train, test = data.Digits(), data.Digits(train=False)
    assert (len(train), len(test)) == (1437, 360)
    assert test.targets[:3].tolist() == [0, 5, 0]
    assert train.targets[:8].tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    counts = Counter(train.targets.tolist() + test.targets.tolist())
    assert [counts[n] for n in range(10)] == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert train.images.max().item() == 1.0
    assert train.images.min().item() == 0.0


def test_digits_equal_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    test = data.Digits(train=False)
    expected = (bunch.data[::5] / 16).reshape(-1, 1, 8, 8)
    assert (test.images.numpy() == expected).all()
    assert test.targets.tolist() == bunch.target[::5].tolist()


def test_digits_item_and_take_agree():
    digits = data.Digits(train=False, transform=transforms.Normalize(0.5, 0.5))
    images, labels = digits.take(tl.tensor([3, 4]))
    image, label = digits[4]
    assert images[1].tolist() == image.tolist()
    assert labels[1].item() == label


# ---- combinations ----------------------------------------------------------------


class Lines(data.IterableDataset):
    def __init__(self, *lines):
        self.lines = lines

    def __iter__(self):
        return iter(self.lines)


def test_concat_dataset_finds_each_sample():
    numbers = data.ConcatDataset([range(3), [], range(10, 12)])
    assert numbers.cumulative_sizes == [3, 3, 5]
    assert [numbers[n] for n in range(5)] == [0, 1, 2, 10, 11]
    assert [numbers[-1], numbers[-5]] == [11, 0]
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 5"):
            numbers[index]


def test_concat_dataset_refuses_nothing_and_streams():
    with pytest.raises(ValueError, match="at least one"):
        data.ConcatDataset([])
    with pytest.raises(TypeError, match="use ChainDataset"):
        data.ConcatDataset([Lines("a")])


def test_datasets_add_up():
    both = Squares(2) + Squares(1)
    assert isinstance(both, data.ConcatDataset)
    assert len(both) == 3
    assert list(Lines("a") + Lines("b", "c")) == ["a", "b", "c"]


def test_chain_dataset_opens_streams_one_after_the_other():
    chain = data.ChainDataset([Lines("a"), Lines(), Lines("b")])
    assert list(chain) == list(chain) == ["a", "b"]
    assert len(data.ChainDataset(["ab", "c"])) == 3
    with pytest.raises(TypeError, match="length of this stream is unknown"):
        len(chain)


def test_iterable_dataset_has_no_samples_by_index():
    with pytest.raises(TypeError, match="no samples by index"):
        Lines("a")[0]


def test_stack_dataset_joins_samples_by_position_or_name():
    assert data.StackDataset(range(3), "abc")[2] == (2, "c")
    named = data.StackDataset(n=range(3), s="abc")
    assert named[0] == {"n": 0, "s": "a"}
    assert len(named) == 3
    with pytest.raises(ValueError, match=r"one length, got \[3, 2\]"):
        data.StackDataset(range(3), "ab")
    for args, kwargs in (((), {}), (("a",), {"b": "b"})):
        with pytest.raises(ValueError, match="by position or by name"):
            data.StackDataset(*args, **kwargs)


@pytest.mark.parametrize("lengths", [[0.5, 0.4], [-1, 11], [1.5, 8.5], [float("nan")]])
def test_random_split_with_impossible_lengths_raises(lengths):
    with pytest.raises(ValueError, match="random_split: expected lengths"):
        data.random_split(range(10), lengths)
