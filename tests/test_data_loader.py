"""DataLoader: order, workers, errors, resuming."""

import os

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


def as_lists(batches):
    return [[part.tolist() for part in batch] for batch in batches]


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


@pytest.mark.parametrize(
    "make_options",
    [
        lambda g: {"sampler": data.RandomSampler(range(10), generator=g)},
        lambda g: {
            "batch_size": 1,
            "batch_sampler": data.BatchSampler(
                data.WeightedRandomSampler([1.0] * 10, 10, generator=g), 3, False
            ),
        },
    ],
    ids=["sampler", "batch_sampler"],
)
def test_loader_with_a_sampler_of_its_own_generator_resumes(make_options):
    stopped = loader(**make_options(tl.Generator(5)))
    list(stopped)
    batches = iter(stopped)
    next(batches)
    state = stopped.state_dict()
    resumed = loader(**make_options(tl.Generator(6)), generator=tl.Generator(7))
    resumed.load_state_dict(state)
    assert as_lists(resumed) == as_lists(batches)
    assert as_lists(resumed) == as_lists(stopped)


def test_loader_resumes_the_epoch_of_a_distributed_sampler():
    def make():
        return loader(sampler=data.DistributedSampler(range(10), 2, 1))

    stopped, resumed = make(), make()
    stopped.sampler.set_epoch(3)
    batches = iter(stopped)
    next(batches)
    resumed.load_state_dict(stopped.state_dict())
    assert as_lists(resumed) == as_lists(batches)


def test_loader_sampler_without_generator_draws_from_the_loaders():
    orders = [as_lists(loader(sampler=data.RandomSampler(range(10)))) for _ in range(2)]
    assert orders[0] == orders[1]


class Lazy:
    """A sampler that draws while it is iterated over."""

    def __iter__(self):
        generator = data.batch_generator()
        for _ in range(9):
            yield tl.randint(0, 10, (1,), generator=generator).item()


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_with_a_sampler_that_draws_as_it_goes_resumes(workers):
    def make():
        return loader(sampler=Lazy(), num_workers=workers)

    stopped, resumed = make(), make()
    batches = iter(stopped)
    next(batches)
    resumed.load_state_dict(stopped.state_dict())
    assert as_lists(resumed) == as_lists(batches)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"position": 1},
        {"generator": {"seed": 1, "position": 0}, "position": -1},
        None,
    ],
    ids=str,
)
def test_loader_wrong_state_raises_and_changes_nothing(state):
    resumed = loader(shuffle=True)
    before = resumed.state_dict()
    with pytest.raises(ValueError, match="DataLoader: expected a state"):
        resumed.load_state_dict(state)
    assert resumed.state_dict() == before


def test_loader_over_a_tensor_or_an_array_gives_its_rows():
    x = tl.arange(12).reshape((6, 2))
    expected = [[[0, 1], [2, 3], [4, 5], [6, 7]], [[8, 9], [10, 11]]]
    assert [batch.tolist() for batch in data.DataLoader(x, 4)] == expected
    numpy = pytest.importorskip("numpy")
    rows = data.DataLoader(numpy.arange(12).reshape(6, 2), 4)
    assert [batch.tolist() for batch in rows] == expected
