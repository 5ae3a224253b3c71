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


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("n", [700, 3000, 700_000])
def test_many_positions_equal_numpy_on_any_number_of_threads(n, dtype, threads):
    rng = np.random.default_rng(n)
    a = rng.normal(size=n).astype("float32")
    i, w = rng.integers(-n, n, n).astype(dtype), rng.normal(size=n).astype("float32")
    with tl.num_threads(threads):
        np.testing.assert_array_equal(tl.tensor(a)[tl.tensor(i)], a[i])
        x = tl.tensor(a)
        x[tl.tensor(i)] = tl.tensor(w)
        summed = tl.scatter_add(tl.tensor(a), tl.tensor(i), tl.tensor(w))
        put = tl.put(tl.tensor(a), tl.tensor(i), tl.tensor(w))
    expected, sums = a.copy(), a.copy()
    for k, value in zip(i.tolist(), w, strict=True):
        expected[k] = value  # in the order of the indices: the last one stays
        sums[k] += value
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(put, expected)
    np.testing.assert_array_equal(summed, sums)


@pytest.mark.parametrize("threads", [1, 3])
def test_columns_and_rows_of_many_positions_equal_numpy(threads):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(90, 1300)).astype("float32")
    k, columns = rng.integers(-90, 90, 2000), rng.integers(-1300, 1300, 1500)
    with tl.num_threads(threads):
        x = tl.tensor(a)
        np.testing.assert_array_equal(x[:, tl.tensor(columns)], a[:, columns])
        assert tl.take(x, tl.tensor(columns), axis=1).is_contiguous
        x[tl.tensor(k)] = tl.arange(2000, dtype="float32")[:, None].broadcast_to(
            (2000, 1300)
        )
        y = tl.tensor(a)
        y[:, tl.tensor(columns)] = tl.arange(1500, dtype="float32")
    rows, expected = a.copy(), a.copy()
    for number, row in enumerate(k):
        rows[row] = number
    for number, column in enumerate(columns):
        expected[:, column] = number
    np.testing.assert_array_equal(x, rows)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", ["scatter", "scatter_add"])
def test_scatter_along_any_axis_of_any_strides_equals_numpy(op, axis):
    rng = np.random.default_rng(axis)
    a = rng.integers(0, 9, (7, 40, 50))
    i = rng.integers(-a.shape[axis], a.shape[axis], a.shape)
    w = rng.integers(0, 9, a.shape)
    expected = a.copy()
    for at in np.ndindex(*a.shape):
        to = (*at[:axis], i[at], *at[axis + 1 :])
        expected[to] = w[at] + (expected[to] if op == "scatter_add" else 0)
    for order in [(0, 1, 2), (2, 0, 1)]:
        back = tuple(np.argsort(order))
        x, positions, values = (
            tl.tensor(np.ascontiguousarray(n.transpose(order))).permute_dims(back)
            for n in (a, i, w)
        )
        out = getattr(tl, op)(x, positions, values, axis=axis)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("n", [3, 64, 65, 1000, 100_003])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("threads", [1, 3])
def test_masks_pick_what_numpy_picks_on_any_number_of_threads(n, share, threads):
    rng = np.random.default_rng(n)
    mask = rng.random(n) < share
    with tl.num_threads(threads):
        for dtype in ["uint8", "int16", "float32", "float64", "complex128"]:
            a = rng.integers(0, 99, n).astype(dtype)
            x = tl.tensor(a)
            np.testing.assert_array_equal(x[tl.tensor(mask)], a[mask])
            x[tl.tensor(mask)] = 7
            a[mask] = 7
            np.testing.assert_array_equal(x, a)
        (found,) = tl.nonzero(tl.tensor(mask))
    np.testing.assert_array_equal(found, np.nonzero(mask)[0])


def test_scatter_out_of_range_names_positions_and_leaves_x():
    x, i = tl.zeros(2000), tl.tensor(np.full(2000, 2000))
    for op in (tl.scatter, tl.scatter_add, tl.put):
        with pytest.raises(IndexError, match="index 2000 is out of range for axis 0"):
            op(x, i, tl.ones(2000))
    with pytest.raises(IndexError, match="index 2000 is out of range for axis 0"):
        x[i] = 1.0
    assert x.sum().item() == 0.0
    assert x.version == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda x, i: x[:, i],
        lambda x, i: x[1, i],
        lambda x, i: x[None, [0, 1], i],
        lambda x, i: tl.take(x, i, axis=1),
        lambda x, i: x.__setitem__((slice(None), i), 1.0),
        lambda x, i: tl.index_add(x, i, tl.ones((2, 2)), axis=1),
        lambda x, i: tl.scatter_add(x, tl.stack((i, i)), tl.ones((2, 2)), axis=1),
    ],
)
def test_index_out_of_range_names_the_axis_of_the_tensor(act):
    x = tl.zeros((2, 5))
    with pytest.raises(IndexError, match="index 7 is out of range for axis 1 of size"):
        act(x, tl.tensor([0, 7]))
    assert x.sum().item() == 0.0


def test_assignment_through_its_own_elements_reads_them_first():
    x = tl.tensor([2, 0, 1])
    x[x] = tl.tensor([5, 6, 7])
    assert x.tolist() == [6, 7, 5]
    mask = tl.tensor([[True, True], [False, True]])
    mask[mask.permute_dims((1, 0))] = False
    assert mask.tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize(
    "dtype",
    [
        "int8",
        "uint8",
        "int16",
        "int32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
    ],
)
@pytest.mark.parametrize(
    "key", [1, -1, (0, 2), (-2, -3), (slice(None), slice(0, 3, 2))]
)
def test_assigned_number_equals_numpy(key, dtype):
    expected = np.arange(6).reshape(2, 3).astype(dtype)
    x = tl.tensor(expected)
    value = 2.71828 if expected.dtype.kind == "f" else 113
    before = x.version
    x[key] = expected[key] = value
    np.testing.assert_array_equal(x.numpy(), expected)
    assert x.version == before + 1


@pytest.mark.parametrize("n", range(12))
def test_number_assigned_to_strided_elements_equals_numpy(n):
    expected = np.zeros((3, 2 * n + 1), dtype=np.float32)
    x = tl.tensor(expected)
    x[:, :-1:2] = expected[:, :-1:2] = 7
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("value", [2**53, 2**53 + 1, -(2**62) - 1, 2**24 + 1])
def test_assigned_integer_is_rounded_once(value):
    x = tl.zeros(2)
    x[0] = value
    assert x[0].item() == np.float32(np.int64(value))


@pytest.mark.parametrize("key", [0, (0, 1), slice(None)])
def test_assigned_integer_out_of_range_raises_and_writes_nothing(key):
    x = tl.zeros((2, 2), dtype="int8")
    with pytest.raises(OverflowError, match="128 is out of range for int8"):
        x[key] = 128
    assert x.tolist() == [[0, 0], [0, 0]]
    assert x.version == 0


@pytest.mark.parametrize("key", [0, (0,)])
def test_number_assigned_to_readonly_memory_raises(key):
    x = tl.asarray(b"abc")
    with pytest.raises(ValueError, match="read-only"):
        x[key] = 1


def test_number_assigned_at_a_key_out_of_range_names_the_axis():
    x = tl.zeros(3)
    with pytest.raises(
        IndexError, match="index 3 is out of range for axis 0 of size 3"
    ):
        x[3] = 1.5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_behind_whole_slices_read_and_differentiate_along_their_axis(axis):
    x = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")
    places = np.array([[0, 3], [-1, 0]])
    key = (slice(None),) * axis
    a = tl.tensor(x, requires_grad=True)
    found = a[(*key, tl.tensor(places))]
    expected = x[(*key, places)]
    assert (found.detach().numpy() == expected).all()
    found.sum().backward()
    counted = np.zeros_like(x)
    np.add.at(counted, (*key, places), 1.0)
    assert (a.grad.numpy() == counted).all()
