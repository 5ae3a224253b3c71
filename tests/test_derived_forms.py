"""What kernels keep with a weight's storage: never seen in values, gone when it must.

Each test runs a convolution until its packed filters are kept, changes the weight in
one way, and compares the next result with float64 sums over shifted images.
"""

import copy
import ctypes
import gc
import pickle
import threading

import numpy as np
import pytest

import tensorlib as tl

# Images by the kernel that they go to: Winograd's, and the direct one.
IMAGES = {"winograd": (1, 16, 28, 28), "direct": (1, 16, 7, 7)}
SHAPE = (32, 16, 3, 3)


def _images(name):
    return np.random.default_rng(0).standard_normal(IMAGES[name]).astype(np.float32)


def _weights(shape=SHAPE, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _convolved(x, w):
    """The convolution of 3x3 filters with padding 1, in float64."""
    rows, columns = x.shape[2:]
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(
        np.einsum("nchw,oc->nohw", x[..., i : i + rows, j : j + columns], w[..., i, j])
        for i in range(3)
        for j in range(3)
    )


def _assert_right(x, w, values=None):
    """The convolution by w, whose elements are `values`, is right."""
    values = np.array(w.detach().tolist()) if values is None else values
    with tl.no_grad():
        found = tl.conv2d(tl.asarray(x), w, padding=1)
    wanted = _convolved(x, values)
    found = np.array(found.tolist())
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def _kept(x, w, calls=3):
    """Bytes that stay allocated after some calls."""
    gc.collect()
    x = tl.asarray(x)
    before = tl.memory_stats()["allocated"]
    with tl.no_grad():
        for _ in range(calls):
            tl.conv2d(x, w, padding=1)
    return tl.memory_stats()["allocated"] - before


@pytest.fixture(params=IMAGES)
def x(request):
    return _images(request.param)


@pytest.fixture
def w(x):
    """A weight whose form is kept."""
    w = tl.asarray(_weights(), copy=True)
    _kept(x, w)
    return w


# ---- memory ----------------------------------------------------------------------
def test_form_is_kept_from_the_second_call_on(x):
    w = tl.asarray(_weights(), copy=True)
    assert _kept(x, w, calls=1) == 0
    assert _kept(x, w, calls=1) >= w.nbytes
    assert _kept(x, w, calls=2) == 0
    _assert_right(x, w)


def test_form_goes_with_its_weight(x):
    gc.collect()
    before = tl.memory_stats()
    w = tl.asarray(_weights(), copy=True)
    assert _kept(x, w) > 0
    del w
    after = tl.memory_stats()
    assert after["live"] == before["live"]
    assert after["allocated"] == before["allocated"]


def test_form_goes_at_a_write(x, w):
    before = tl.memory_stats()["allocated"]
    w *= 2
    assert tl.memory_stats()["allocated"] < before


def test_form_of_a_weight_in_training_is_not_kept(x):
    w = tl.asarray(_weights(), copy=True)
    w.requires_grad = True
    images = tl.asarray(x)
    gc.collect()
    before = tl.memory_stats()["allocated"]
    for _ in range(3):
        tl.conv2d(images, w, padding=1).sum().backward()
        w.grad = None
    gc.collect()
    assert tl.memory_stats()["allocated"] == before


def test_forms_of_many_views_do_not_grow_without_end(x):
    whole = tl.asarray(_weights((48, 16, 3, 3)), copy=True)
    held = [_kept(x, whole[first : first + 32]) for first in range(16)]
    assert sum(held) <= 4 * max(held)


def test_form_is_kept_beside_a_bad_limit(x):
    """Where there is no memory the call raises, and the next one is right."""
    w = tl.asarray(_weights(), copy=True)
    _kept(x, w, calls=1)
    images = tl.asarray(x)
    tl.empty_cache()
    tl.set_memory_limit(tl.memory_stats()["reserved"] + 1)
    try:
        with pytest.raises(MemoryError), tl.no_grad():
            tl.conv2d(images, w, padding=1)
    finally:
        tl.set_memory_limit(None)
    _assert_right(x, w)


# ---- counted writes ----------------------------------------------------------------
WRITES = {
    "imul": lambda w: w.__imul__(2),
    "setitem": lambda w: w.__setitem__(3, 0.5),
    "fill_": lambda w: w.fill_(0.25),
    "copy_": lambda w: w.copy_(tl.asarray(_weights(seed=2))),
    "a view's": lambda w: w[5:7].__iadd__(1),
    "a detached one's": lambda w: w.detach().zero_(),
    "data": lambda w: setattr(w, "data", tl.asarray(_weights(seed=3))),
}


@pytest.mark.parametrize("name", WRITES)
def test_write_shows_in_the_next_call(x, w, name):
    WRITES[name](w)
    for _ in range(3):
        _assert_right(x, w)


OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_step_shows_in_the_next_call(x, name):
    module = tl.nn.Conv2d(16, 32, 3, padding=1, bias=False)
    optimizer = getattr(tl.optim, name)(module.parameters(), lr=0.1)
    for _ in range(2):
        _kept(x, module.weight)
        optimizer.zero_grad()
        module(tl.asarray(x)).square().mean().backward()
        before = np.array(module.weight.detach().tolist())
        optimizer.step()
        assert (np.array(module.weight.detach().tolist()) != before).any()
        for _ in range(3):
            _assert_right(x, module.weight)


def test_load_state_dict_shows_in_the_next_call(x):
    module = tl.nn.Conv2d(16, 32, 3, padding=1, bias=False)
    _kept(x, module.weight)
    values = _weights(seed=4)
    module.load_state_dict({"weight": tl.asarray(values)})
    for _ in range(3):
        _assert_right(x, module.weight, values)


# ---- writes that nobody counts -----------------------------------------------------
def _through_pointer(w):
    pointer = ctypes.cast(w.data_ptr(), ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(pointer, w.shape)


OUTSIDE = {
    "numpy": lambda w: w.numpy(),
    "asarray": np.asarray,
    "memoryview": lambda w: np.frombuffer(memoryview(w).cast("B"), np.float32),
    "dlpack": np.from_dlpack,
    "array interface": lambda w: np.asarray(_Interface(w)),
    "pointer": _through_pointer,
    "numpy of a view": lambda w: w[3:].numpy(),
}


class _Interface:
    """What shows the array interface of a tensor alone, and keeps it."""

    def __init__(self, w):
        self.__array_interface__ = w.__array_interface__
        self.owner = w


@pytest.mark.parametrize("name", OUTSIDE)
def test_write_through_other_libraries_shows_in_the_next_call(x, w, name):
    other = OUTSIDE[name](w)
    if not other.flags.writeable:  # NumPy's view of a DLPack capsule
        other = _through_pointer(w)
    for value in (0.5, 2, -3):
        other *= value
        _assert_right(x, w)
        _assert_right(x, w)


def test_borrowed_memory_written_by_its_owner_shows_in_the_next_call(x):
    values = _weights()
    w = tl.asarray(values)
    for value in (0.5, 2, -3):
        values *= value
        _assert_right(x, w, values)
        _assert_right(x, w, values)


def test_form_is_kept_again_when_the_view_is_gone(x, w):
    view = w.numpy()
    assert _kept(x, w) == 0
    view[:] = 1
    del view
    assert _kept(x, w) > 0
    _assert_right(x, w)


def test_write_through_a_view_that_was_exported_before_the_first_call_shows(x):
    w = tl.asarray(_weights(), copy=True)
    view = w.numpy()
    _kept(x, w)
    view[:] = 1
    _assert_right(x, w)


def test_saving_leaves_the_form(x, w, tmp_path):
    before = tl.memory_stats()["allocated"]
    tl.save({"w": w}, tmp_path / "w.safetensors")
    pickle.dumps(w, protocol=4)
    assert _kept(x, w) + tl.memory_stats()["allocated"] >= before
    assert _kept(x, w, calls=2) == 0
    _assert_right(x, w)


# ---- copies and views --------------------------------------------------------------
@pytest.mark.parametrize("protocol", [2, 5])
def test_pickled_weight_has_its_own_values(x, w, protocol):
    other = pickle.loads(pickle.dumps(w, protocol=protocol))
    other *= 2
    for _ in range(3):
        _assert_right(x, other)
        _assert_right(x, w, _weights())


def test_deep_copy_has_its_own_values(x, w):
    other = copy.deepcopy(w)
    other *= 2
    for _ in range(3):
        _assert_right(x, other)
        _assert_right(x, w, _weights())


def test_views_of_one_storage_have_forms_of_their_own(x):
    values = _weights((40, 16, 3, 3))
    whole = tl.asarray(values, copy=True)
    for _ in range(3):
        for first in range(8):
            _assert_right(x, whole[first : first + 32], values[first : first + 32])


def test_views_of_one_place_and_other_shapes_have_forms_of_their_own():
    values = _weights((32, 32, 3, 3))
    whole = tl.asarray(values, copy=True)
    for _ in range(3):
        for shape in ((64, 16, 3, 3), (32, 32, 3, 3)):
            image = _weights((1, shape[1], 7, 7), seed=5)
            _assert_right(image, whole.reshape(shape), values.reshape(shape))


def test_image_sizes_of_both_kernels_in_turn_are_right(w):
    for _ in range(3):
        for name in IMAGES:
            _assert_right(_images(name), w)


# ---- threads -----------------------------------------------------------------------
def test_threads_that_share_a_weight_get_the_same_bits(x):
    w = tl.asarray(_weights(), copy=True)
    images, found = tl.asarray(x), []

    def run():
        with tl.no_grad():
            for _ in range(20):
                found.append(tl.conv2d(images, w, padding=1).tobytes())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert len(set(found)) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_kept_form_gives_the_bits_of_the_first_call(x, count):
    w = tl.asarray(_weights(), copy=True)
    images = tl.asarray(x)
    with tl.no_grad():
        with tl.num_threads(1):
            first = tl.conv2d(images, w, padding=1).tobytes()
        with tl.num_threads(count):
            for _ in range(3):
                assert tl.conv2d(images, w, padding=1).tobytes() == first


# ---- exported memory ---------------------------------------------------------------
def test_exported_memory_outlives_the_assignment_of_data():
    x = tl.full((1000,), 7.0)
    view = x.numpy()
    x.data = tl.zeros((3,))
    others = [tl.full((1000,), float(i)) for i in range(8)]
    assert (view == 7).all()
    assert len(others) == 8
