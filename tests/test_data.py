"""Data sets, samplers, loaders and transforms."""

import gzip
import os
import threading
from collections import Counter, namedtuple

import pytest

import tensorlib as tl
from tensorlib import data
from tensorlib.data import transforms
from tensorlib.data.idx import read_idx


class Squares(data.Dataset):
    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return index, float(index**2)


def as_lists(batches):
    return [[part.tolist() for part in batch] for batch in batches]


# ---- data sets -------------------------------------------------------------------


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


# ---- samplers --------------------------------------------------------------------


def test_random_sampler_is_a_permutation_fixed_by_its_generator():
    orders = [
        list(data.RandomSampler(range(20), generator=tl.Generator(3))) for _ in range(2)
    ]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(20))
    assert orders[0] != list(range(20))


def test_random_sampler_draws_a_new_order_each_pass():
    sampler = data.RandomSampler(range(20), generator=tl.Generator(3))
    assert list(sampler) != list(sampler)


def test_random_sampler_more_than_the_data_repeats_permutations():
    sampler = data.RandomSampler(range(4), num_samples=10, generator=tl.Generator(0))
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 10
    assert set(Counter(drawn[:8]).values()) == {2}


def test_random_sampler_with_replacement_stays_in_range():
    sampler = data.RandomSampler(range(3), replacement=True, num_samples=50)
    assert set(sampler) <= {0, 1, 2}
    with pytest.raises(ValueError, match="num_samples > 0"):
        data.RandomSampler(range(3), num_samples=0)


def test_batch_sampler_groups_and_drops():
    assert list(data.BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(data.BatchSampler(range(5), 2, True)) == 2
    assert len(data.BatchSampler(range(5), 2, False)) == 3
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="batch_size"):
            data.BatchSampler(range(5), bad, False)


# ---- loader ----------------------------------------------------------------------


def loader(dataset=None, **options):
    options = {"batch_size": 3, "generator": tl.Generator(1), **options}
    return data.DataLoader(Squares() if dataset is None else dataset, **options)


def test_loader_in_order_collates_samples():
    batches = as_lists(loader())
    assert batches[0] == [[0, 1, 2], [0.0, 1.0, 4.0]]
    assert batches[-1] == [[9], [81.0]]
    assert len(loader()) == 4


def test_loader_drop_last_leaves_out_the_rest():
    assert len(as_lists(loader(drop_last=True))) == len(loader(drop_last=True)) == 3
    whole = data.TensorDataset(tl.arange(10))
    assert len(list(loader(whole, drop_last=True))) == 3


def test_loader_gathered_batches_equal_collated_ones():
    x = tl.randn((10, 4))
    gathered = data.TensorDataset(x, tl.arange(10))
    collated = [(x[n], n) for n in range(10)]
    assert as_lists(loader(gathered, shuffle=True)) == as_lists(
        loader(collated, shuffle=True)
    )


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_loader_batches_do_not_depend_on_workers(workers):
    shift = transforms.RandomCrop(padding=1)
    dataset = data.Subset(data.Digits(transform=shift), range(40))
    expected = as_lists(loader(dataset, shuffle=True))
    found = loader(dataset, shuffle=True, num_workers=workers)
    assert as_lists(found) == expected


def test_loader_passes_differ_and_repeat_with_the_seed():
    first, second = loader(shuffle=True), loader(shuffle=True)
    passes = [as_lists(first), as_lists(first)]
    assert passes[0] != passes[1]
    assert [as_lists(second), as_lists(second)] == passes


def test_loader_without_batches_gives_samples():
    assert list(loader(batch_size=None))[3] == (3, 9.0)


def test_loader_with_own_batches_and_order():
    batches = loader(batch_size=1, batch_sampler=[[0, 9], [5]])
    assert as_lists(batches)[0][0] == [0, 9]
    assert [b[0].tolist() for b in loader(sampler=[7, 8, 9, 1])] == [[7, 8, 9], [1]]
    gathered = data.DataLoader(data.TensorDataset(tl.arange(10)), batch_sampler=[[3]])
    assert as_lists(gathered) == [[[3]]]


def test_loader_collate_fn_gets_the_samples():
    seen = list(loader(collate_fn=lambda samples: len(samples)))
    assert seen == [3, 3, 3, 1]


def test_loader_of_empty_data_gives_nothing():
    assert list(loader(data.TensorDataset(tl.zeros((0, 2))))) == []
    assert list(loader([], shuffle=True)) == []


class Broken(Squares):
    def __getitem__(self, index):
        if index == 7:
            raise RuntimeError("sample seven is broken")
        return index


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_error_in_data_propagates_with_its_traceback(workers):
    batches = iter(loader(Broken(), num_workers=workers))
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(RuntimeError, match="sample seven") as caught:
        next(batches)
    assert caught.traceback[-1].name == "__getitem__"
    assert "while DataLoader loaded batch 2" in caught.value.__notes__


def test_loader_broken_off_early_ends_its_threads():
    before = threading.active_count()
    for _ in loader(num_workers=3):
        break
    for thread in threading.enumerate():
        if thread.name.startswith("tensorlib-data"):
            thread.join(timeout=30)
    assert threading.active_count() <= before


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 3, 4])
def test_loader_resumed_gives_the_same_batches(taken, workers):
    shift = transforms.RandomCrop(padding=1)
    dataset = data.Subset(data.Digits(transform=shift), range(12))
    whole = loader(dataset, shuffle=True, num_workers=workers)
    whole_batches = [as_lists(whole) for _ in range(3)]
    stopped = loader(dataset, shuffle=True, num_workers=workers)
    list(stopped)
    batches = iter(stopped)
    for _ in range(taken):
        next(batches)
    resumed = loader(dataset, shuffle=True, generator=tl.Generator(77))
    resumed.load_state_dict(stopped.state_dict())
    assert as_lists(resumed) == whole_batches[1][taken:]
    assert as_lists(resumed) == whole_batches[2]


def test_loader_state_at_the_end_starts_the_next_pass():
    stopped, whole = loader(shuffle=True), loader(shuffle=True)
    expected = [as_lists(whole), as_lists(whole)]
    assert as_lists(stopped) == expected[0]
    resumed = loader(shuffle=True)
    resumed.load_state_dict(stopped.state_dict())
    assert as_lists(resumed) == expected[1]


BAD_OPTIONS = [
    {"sampler": [0], "shuffle": True},
    {"batch_sampler": [[0]]},
    {"batch_size": 0},
    {"batch_size": None, "drop_last": True},
    {"num_workers": -1},
    {"prefetch_factor": 0},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
def test_loader_with_bad_options_raises(options):
    with pytest.raises(ValueError, match=r"DataLoader|BatchSampler"):
        loader(**options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_loader_with_threads_works_in_a_forked_child():
    list(loader(num_workers=2))
    child = os.fork()
    if child == 0:
        os._exit(0 if len(list(loader(num_workers=2))) == 4 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ---- collate ---------------------------------------------------------------------

Pair = namedtuple("Pair", ["x", "name"])


def test_collate_nested_samples():
    samples = [{"p": Pair(tl.ones(2) * n, "n"), "l": [n, 1.5]} for n in range(2)]
    batch = data.default_collate(samples)
    assert isinstance(batch["p"], Pair)
    assert batch["p"].x.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert batch["p"].name == ["n", "n"]
    assert batch["l"][0].dtype == tl.int64
    assert batch["l"][1].dtype == tl.float32


def test_collate_different_shapes_raises():
    with pytest.raises(tl.ShapeError, match="pad them"):
        data.default_collate([tl.ones(2), tl.ones(3)])
    with pytest.raises(ValueError, match="lengths"):
        data.default_collate([(1,), (1, 2)])
    with pytest.raises(TypeError, match="got object"):
        data.default_collate([object()])


# ---- transforms ------------------------------------------------------------------


def test_normalize_by_channel():
    image = tl.ones((2, 1, 1)) * 3.0
    out = transforms.Normalize([1.0, 3.0], [2.0, 1.0])(image)
    assert out.reshape((-1,)).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="std != 0"):
        transforms.Normalize(0.0, 0.0)


def test_flip_mirrors_about_half_of_a_batch():
    batch = tl.zeros((200, 1, 1, 2))
    batch[:, :, :, 0] = 1.0
    out = transforms.RandomFlipHorizontal(generator=tl.Generator(0))(batch)
    flipped = out[:, 0, 0, 1].sum().item()
    assert 60 < flipped < 140  # 5.6 standard deviations of a Binomial(200, 1/2)
    assert (out.sum(axis=-1) == 1.0).all().item()


def test_crop_shifts_each_image_by_its_own_offset():
    batch = tl.zeros((300, 2, 5, 5))
    batch[:, :, 2, 2] = 1.0
    out = transforms.RandomCrop(padding=2, generator=tl.Generator(0))(batch)
    assert out.shape == (300, 2, 5, 5)
    assert (out.sum(axis=(2, 3)) == 1.0).all().item()
    assert (out[:, 0] == out[:, 1]).all().item()
    places = {(row, column) for row in range(5) for column in range(5)}
    hit = {p for p in places if out[:, 0, p[0], p[1]].sum().item() > 0}
    assert hit == places


def test_crop_to_a_window():
    image = tl.arange(9).astype(tl.float32).reshape((1, 3, 3))
    out = transforms.RandomCrop(2, generator=tl.Generator(1))(image)
    values = out[0].tolist()
    assert out.shape == (1, 2, 2)
    assert values[0][1] == values[0][0] + 1
    assert values[1][0] == values[0][0] + 3
    with pytest.raises(tl.ShapeError, match="larger than the image"):
        transforms.RandomCrop(4)(image)
    with pytest.raises(tl.ShapeError, match=r"expected \(C, H, W\)"):
        transforms.RandomCrop(1)(image[0])


def test_to_tensor_scales_bytes_and_moves_channels():
    picture = tl.zeros((2, 3, 4), dtype=tl.uint8)
    picture[1, 2, 3] = 255
    out = transforms.ToTensor()(picture)
    assert out.shape == (4, 2, 3)
    assert out[3, 1, 2].item() == pytest.approx(1.0)


def test_compose_is_batched_only_if_every_part_is():
    flip = transforms.RandomFlipHorizontal()
    assert transforms.Compose([flip]).batched
    compose = transforms.Compose([flip, lambda x: x + 1.0])
    assert not compose.batched
    images = transforms.apply_transform(compose, tl.zeros((3, 1, 2, 2)))
    assert images.tolist() == tl.ones((3, 1, 2, 2)).tolist()


# ---- digits ----------------------------------------------------------------------


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


# ---- idx files -------------------------------------------------------------------


def idx_bytes(shape, values):
    header = bytes([0, 0, 8, len(shape)])
    return header + b"".join(n.to_bytes(4, "big") for n in shape) + bytes(values)


def test_idx_plain_and_gzip(tmp_path):
    content = idx_bytes((2, 3), range(6))
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b.gz").write_bytes(gzip.compress(content))
    for name in ("a", "b.gz"):
        x = read_idx(tmp_path / name)
        assert x.dtype == tl.uint8
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


GOOD = idx_bytes((2, 3), range(6))
DAMAGED = {
    "empty": (b"", "truncated at offset 0: expected 4 bytes of magic"),
    "header": (GOOD[:7], "truncated at offset 7: expected 12 bytes of header"),
    "data": (GOOD[:-1], "truncated at offset 17: expected 6 bytes of data for shape"),
    "long": (GOOD + b"x", "too long at offset 18"),
    "magic": (b"\x89PNG" + GOOD, "wrong magic number at offset 0.*got 89 50 4e 47"),
    "type": (b"\0\0\x0d\2" + GOOD[4:], "expected 00 00 08 02"),
    "axes": (idx_bytes((6,), range(6)), "expected 00 00 08 02.*got 00 00 08 01"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "damaged gzip data after"),
    "gzip bits": (
        gzip.compress(GOOD)[:-6] + b"\0\0" + gzip.compress(GOOD)[-4:],
        "damaged gzip data",
    ),
    "content": (idx_bytes((2, 3), [9] * 6), "expected MD5 .* got"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_idx_damaged_file_names_file_offset_and_expectation(name, tmp_path):
    content, text = DAMAGED[name]
    path = tmp_path / "images-idx2-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        read_idx(path, 2, md5="0" * 32)
    assert str(path) in str(caught.value)


def write_mnist(folder, count=4, labels=None):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = bytes(n % 256 for n in range(count * 784))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes((count, 28, 28), pixels))
    labels = list(range(count)) if labels is None else labels
    content = gzip.compress(idx_bytes((len(labels),), labels))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(content)


def test_mnist_reads_folder_below_root(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw")
    mnist = data.MNIST(tmp_path, train=False, check=False)
    image, label = mnist[1]
    assert (image.shape, label) == ((1, 28, 28), 1)
    images, labels = mnist.take(tl.tensor([1, 3]))
    assert images.shape == (2, 1, 28, 28)
    assert images[0].tolist() == image.tolist()
    assert labels.tolist() == [1, 3]
    assert image[0, 0, 1].item() == pytest.approx(17 / 255)  # pixel 785 is 785 % 256


def test_mnist_checks_sums(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(ValueError, match="expected MD5 2646ac64"):
        data.MNIST(tmp_path, train=False)


def test_mnist_labels_of_another_set_raise(tmp_path):
    write_mnist(tmp_path, labels=[1, 2])
    with pytest.raises(ValueError, match="4 images but 2 labels"):
        data.MNIST(tmp_path, train=False, check=False)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (data.MNIST, "ossci-datasets.s3.amazonaws.com"),
        (data.FashionMNIST, "apt-get install dataset-fashion-mnist"),
    ],
)
def test_mnist_missing_file_says_where_to_get_it(kind, hint, tmp_path):
    with pytest.raises(FileNotFoundError, match=hint) as caught:
        kind(tmp_path)
    assert str(tmp_path / "train-images-idx3-ubyte") in str(caught.value)


@pytest.mark.skipif(
    not os.path.isdir(data.FashionMNIST.debian_folder),
    reason="needs Debian's package dataset-fashion-mnist",
)
def test_fashion_mnist_of_debian_has_the_right_sums():
    test = data.FashionMNIST(train=False)
    assert test.images.shape == (10000, 28, 28)
    assert set(Counter(test.targets.tolist()).values()) == {1000}
    assert test.classes[test[0][1]] == "Ankle boot"
