"""Reading and assigning by index: basic keys, arrays, masks and wrong keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sample_arrays import QUICK, assert_same, numbered

import tensorlib as tl

bounds = st.one_of(st.none(), st.integers(-8, 8))
slices = st.builds(
    slice, bounds, bounds, st.one_of(st.none(), st.integers(-4, 4).filter(bool))
)


def basic_items(extent):
    items = [slices]
    if extent:
        items.append(st.integers(-extent, extent - 1))
    return st.one_of(items)


@st.composite
def keyed(draw, advanced=False):
    """A shape and a key that fits it."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    used = draw(st.integers(0, len(shape)))
    items = [draw(basic_items(shape[axis])) for axis in range(used)]
    if used and draw(st.booleans()):
        # An ellipsis: the items after it index from the right.
        cut = draw(st.integers(0, used))
        tail = [
            draw(basic_items(shape[len(shape) - used + k])) for k in range(cut, used)
        ]
        items = [*items[:cut], Ellipsis, *tail]
    if advanced:
        items = list(items)
        common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
        where = items.index(Ellipsis) if Ellipsis in items else len(items)
        for k in range(len(items)):
            axis = k if k <= where else len(shape) - (len(items) - k)
            if items[k] is Ellipsis or not draw(st.booleans()):
                continue
            if shape[axis] == 0:
                continue
            items[k] = draw(
                hnp.arrays(
                    np.int64,
                    draw(st.sampled_from([common, common[1:], ()]))
                    if common and draw(st.booleans())
                    else common,
                    elements=st.integers(-shape[axis], shape[axis] - 1),
                )
            )
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return shape, tuple(items)


def as_ours(key):
    return tuple(tl.tensor(k) if isinstance(k, np.ndarray) else k for k in key)


def both_get(shape, key):
    a, x = numbered(shape)
    try:
        expected = a[key]
    except IndexError:
        with pytest.raises(IndexError):
            x[as_ours(key)]
        return
    assert_same(x[as_ours(key)], np.asarray(expected))


def both_set(shape, key):
    a, x = numbered(shape)
    try:
        target = np.asarray(a[key])
    except IndexError:
        with pytest.raises(IndexError):
            x[as_ours(key)] = 1
        return
    # Equal values where a position repeats, since the order of writes is open.
    value = -1 - np.arange(max(target.shape[-1:] or (1,)))[: (target.shape or (1,))[-1]]
    repeated = any(isinstance(k, np.ndarray) for k in key)
    if repeated or target.ndim == 0:
        value = np.int64(-7)
    a[key] = value
    x[as_ours(key)] = tl.tensor(value)
    assert_same(x, a)


@QUICK
@given(keyed())
def test_basic_get_equals_numpy(case):
    both_get(*case)


@QUICK
@given(keyed())
def test_basic_set_equals_numpy(case):
    both_set(*case)


@QUICK
@given(keyed(advanced=True))
def test_advanced_get_equals_numpy(case):
    both_get(*case)


@QUICK
@given(keyed(advanced=True))
def test_advanced_set_equals_numpy(case):
    both_set(*case)


@QUICK
@given(st.data())
def test_mask_get_and_set_equal_numpy(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
    start = data.draw(st.integers(0, len(shape) - 1))
    stop = data.draw(st.integers(start + 1, len(shape)))
    mask = data.draw(hnp.arrays(bool, shape[start:stop]))
    key = (slice(None),) * start + (mask,)
    both_get(shape, key)
    both_set(shape, key)


@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_mask_of_no_dimensions_equals_numpy(shape, truth):
    a = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    mask = np.array(truth)
    keys = [mask, (..., mask), (None, mask)]
    if shape and shape[0]:
        keys += [(mask, 0), (mask, slice(1, None)), (0, mask)]
    for key in keys:
        ours = (
            [tl.tensor(k) if k is mask else k for k in key]
            if type(key) is tuple
            else None
        )
        ours = tl.tensor(mask) if ours is None else tuple(ours)
        x, b = tl.tensor(a), a.copy()
        np.testing.assert_array_equal(x[ours].numpy(), a[key], err_msg=str(key))
        x[ours] = 9
        b[key] = 9
        np.testing.assert_array_equal(x.numpy(), b, err_msg=str(key))


def test_assignment_with_unique_positions_equals_numpy():
    rng = np.random.default_rng(0)
    a, x = numbered((6, 7))
    rows, columns = rng.permutation(6)[:4], rng.permutation(7)[:3]
    value = rng.integers(0, 100, (4, 3))
    a[rows[:, None], columns] = value
    x[tl.tensor(rows)[:, None], tl.tensor(columns)] = tl.tensor(value)
    assert_same(x, a)


@pytest.mark.parametrize("key", [[0, 2], np.array([0, 2]), range(0, 3, 2), (0, 2)])
def test_sequences_index_as_in_numpy(key):
    if isinstance(key, range):
        key = list(key)
    a, x = numbered((3, 3))
    assert_same(x[key], np.asarray(a[key]))


@pytest.mark.parametrize("key", [np.int64(1), np.uint8(2), tl.tensor(1), tl.tensor(-1)])
def test_integer_like_keys_index(key):
    a, x = numbered((3, 3))
    assert_same(x[key], a[int(key)])


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (3, IndexError, "index 3 is out of range for axis 0 of size 3"),
        (-4, IndexError, "-4"),
        ((0, 0, 0), IndexError, "too many indices"),
        (1.0, IndexError, "float"),
        ("a", IndexError, "str"),
        (10**30, IndexError, "out of range"),
        (True, IndexError, "bool scalar"),
        (slice(None, None, 0), ValueError, "step cannot be zero"),
        (slice(1.0, None), IndexError, "slice bounds"),
        ([0.5], IndexError, "integer or bool"),
        ((Ellipsis, Ellipsis), IndexError, "one ellipsis"),
        (([0, 1], [0, 1, 2]), IndexError, "broadcast"),
        ([5], IndexError, "5"),
        ([True], IndexError, "mask"),
        (object(), IndexError, "object"),
    ],
)
def test_bad_key_raises(key, error, message):
    x = tl.zeros((3, 3))
    with pytest.raises(error, match=message):
        x[key]
    with pytest.raises(error, match=message):
        x[key] = 1
    assert x.version == 0


def test_out_of_range_assignment_writes_nothing():
    x = tl.zeros(5)
    with pytest.raises(IndexError):
        x[tl.tensor([0, 1, 9])] = 1
    assert x.tolist() == [0.0] * 5


@pytest.mark.parametrize("width", [1, 15, 16, 17, 40, 64, 127, 200])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_rows_of_a_few_lines_equal_numpy(width, dtype):
    rng = np.random.default_rng(width)
    x = rng.integers(0, 200, (50, width)).astype(dtype)
    i = rng.integers(-50, 50, 33)
    np.testing.assert_array_equal(tl.take(tl.asarray(x), tl.asarray(i), axis=0), x[i])
    view = tl.asarray(np.concatenate((x, x), 1))[:, 1 : 1 + width]
    expected = np.concatenate((x, x), 1)[:, 1 : 1 + width][i]
    np.testing.assert_array_equal(tl.take(view, tl.asarray(i), axis=0), expected)


def test_where_of_a_mask_alone_is_nonzero():
    x = np.array([[0, 3, 0], [4, 0, 5]])
    for mask in (x, x > 0):
        found = tl.where(tl.tensor(mask))
        for ours, theirs in zip(found, np.where(mask), strict=True):
            assert_same(ours, theirs)
    with pytest.raises(TypeError, match="where: expected both x1 and x2, or neither"):
        tl.where(tl.tensor(x > 0), 1.0)


def test_integer_out_of_range_beside_a_mask_of_nothing_is_refused():
    x, nothing = tl.ones((1, 4, 3)), tl.tensor([False])
    with pytest.raises(IndexError, match="index 3 is out of range for axis 2 of size"):
        x[nothing, ..., 3]
    with pytest.raises(IndexError, match="index -5 is out of range for axis 1 of size"):
        x[nothing, -5] = 1.0
    assert x.sum().item() == 12.0
