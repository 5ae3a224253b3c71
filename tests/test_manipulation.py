"""Rearrangement, contraction and comparison against NumPy over random arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sample_arrays import QUICK, assert_same

import tensorlib as tl
from tensorlib.ops.joining import rolled

DTYPES = st.sampled_from(["bool", "uint8", "int32", "int64", "float32", "float64"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw, shapes=SHAPES):
    """An array, strided as it comes: whole, reversed or transposed."""
    shape = draw(shapes)
    a = np.arange(np.prod(shape)).reshape(shape).astype(draw(DTYPES))
    return draw(st.sampled_from([a, a.T, a[..., ::-1] if a.ndim else a]))


@QUICK
@given(arrays(), st.data())
def test_roll_equals_numpy(a, data):
    axis = data.draw(
        st.none() | st.integers(-a.ndim, a.ndim - 1) if a.ndim else st.none()
    )
    shift = data.draw(st.integers(-9, 9) | st.just(10**30))
    expected = np.roll(a, shift % max(a.size, 1) if axis is None else shift % 12, axis)
    shift = shift if axis is None else shift % 12
    assert_same(tl.roll(tl.tensor(a), shift, axis=axis), expected)


@QUICK
@given(arrays(), st.lists(st.integers(0, 3), max_size=5))
def test_tile_equals_numpy(a, counts):
    assert_same(tl.tile(tl.tensor(a), tuple(counts)), np.tile(a, tuple(counts)))


@QUICK
@given(arrays(hnp.array_shapes(max_dims=3, min_side=0, max_side=4)), st.data())
def test_repeat_equals_numpy(a, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    n = a.shape[axis]
    counts = data.draw(
        st.integers(0, 3) | st.lists(st.integers(0, 3), min_size=n, max_size=n)
    )
    found = tl.repeat(tl.tensor(a), counts if isinstance(counts, int) else
                      tl.tensor(counts, dtype="int64"), axis=axis)  # fmt: skip
    assert_same(found, np.repeat(a, np.array(counts, np.int64), axis=axis))


@QUICK
@given(
    arrays(hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4)), st.data()
)
def test_diagonals_and_triangles_equal_numpy(a, data):
    k = data.draw(st.integers(-6, 6))
    axes = data.draw(st.permutations(range(a.ndim)))[:2]
    x = tl.tensor(a)
    assert_same(tl.diagonal(x, k, *axes), np.diagonal(a, k, *axes))
    assert_same(tl.tril(x, k=k), np.tril(a, k))
    assert_same(tl.triu(x, k=k), np.triu(a, k))


@pytest.mark.parametrize("sides", [(2**40, 1), (2**62, 2**62)])
def test_triangles_without_elements_take_no_memory_for_their_sides(sides):
    x = tl.zeros((0, *sides))
    assert tl.tril(x).shape == tl.triu(x, k=3).shape == (0, *sides)


@QUICK
@given(
    arrays(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3)), st.data()
)
def test_moveaxis_equals_numpy(a, data):
    n = data.draw(st.integers(0, a.ndim))
    source = data.draw(st.permutations(range(a.ndim)))[:n]
    target = data.draw(st.permutations(range(-a.ndim, 0)))[:n]
    found = tl.moveaxis(tl.tensor(a), tuple(source), tuple(target))
    assert_same(found, np.moveaxis(a, source, target))


@QUICK
@given(
    st.lists(
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), max_size=4
    )
)
def test_broadcast_shapes_equals_numpy(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(tl.ShapeError, match="do not broadcast"):
            tl.broadcast_shapes(*shapes)
    else:
        assert tl.broadcast_shapes(*shapes) == expected


@QUICK
@given(st.data())
def test_einsum_equals_numpy(data):
    sizes = {c: data.draw(st.integers(0, 3)) for c in "abcd"}
    groups = data.draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=4))
    letters = sorted({c for group in groups for c in group})
    output = "".join(data.draw(st.permutations(letters)))
    output = output[: data.draw(st.integers(0, len(output)))]
    text = ",".join(groups) + data.draw(st.sampled_from(["", "->" + output]))
    rng = np.random.default_rng(len(text))
    operands = [rng.integers(-3, 4, [sizes[c] for c in g]) for g in groups]
    found = tl.einsum(text, *[tl.tensor(x) for x in operands])
    assert_same(found, np.asarray(np.einsum(text, *operands)))


def test_einsum_contracts_a_chain_without_the_whole_product():
    tl.reset_peak_memory_stats()
    before = tl.memory_stats()["allocated"]
    chain = [tl.ones((100, 100)) for _ in range(6)]
    found = tl.einsum("ab,bc,cd,de,ef,fg->ag", *chain)
    assert found[0, 0].item() == pytest.approx(1e10, rel=1e-5)
    assert tl.memory_stats()["peak_allocated"] - before < 20 * 40_000


@pytest.mark.parametrize("name", ["tile", "repeat", "roll"])
def test_result_does_not_share_memory(name):
    x = tl.ones((1, 3))
    for argument in (1, 2):
        y = getattr(tl, name)(x, argument)
        y[...] = 5
        assert x.tolist() == [[1, 1, 1]]
        assert y.is_contiguous


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (tl.tile, (2**62,)),
        (tl.tile, ((2**40, 2**40),)),
        (tl.repeat, (2**62,)),
        (tl.repeat, (10**30,)),
    ],
)
def test_sizes_that_overflow_raise(function, arguments):
    with pytest.raises((tl.ShapeError, MemoryError, OverflowError)):
        function(tl.ones((3, 3)), *arguments)


def test_cumulative_prod_gradient_with_zeros_equals_torch():
    torch = pytest.importorskip("torch")
    a = np.array([2.0, 0.0, 3.0, 0.0, 4.0])
    x, y = tl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    weights = np.arange(1.0, 6.0)
    (tl.cumulative_prod(x) * tl.tensor(weights)).sum().backward()
    (torch.cumprod(y, 0) * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-14)


@pytest.mark.parametrize("tiny", [0.0, 1e-200])
def test_cumulative_prod_gradient_behind_a_product_that_vanished(tiny):
    x = tl.tensor([tiny, tiny, 2.0, 3.0], dtype="float64", requires_grad=True)
    (tl.cumulative_prod(x) * tl.tensor([1.0, 1.0, 1.0, 1.0])).sum().backward()
    a = x.detach().numpy()
    expected = [
        sum(np.prod(np.delete(a[: k + 1], i)) for k in range(i, 4)) for i in range(4)
    ]
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-15)


def test_cumulative_prod_of_floats_is_carried_in_double():
    x = np.array([1e30, 1e30, 1e-30, 1e-30, 2.0] * 50, np.float32)
    with np.errstate(over="ignore"):
        expected = np.cumprod(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(tl.cumulative_prod(tl.tensor(x)).numpy(), expected, 1e-6)
    wide = tl.broadcast_to(tl.expand_dims(tl.tensor(x), 1), (250, 3))
    found = tl.cumulative_prod(wide.contiguous(), axis=0).numpy()
    np.testing.assert_allclose(found[:, 2], expected, 1e-6)


def test_cumulative_prod_of_integers_wraps_as_numpy():
    a = np.full(70, 3, np.int64)
    assert_same(tl.cumulative_prod(tl.tensor(a)), np.cumprod(a))


def test_allclose_and_count_nonzero_see_nan():
    x = tl.tensor([1.0, np.nan])
    assert not tl.allclose(x, x)
    assert tl.allclose(x, x, equal_nan=True)
    assert tl.count_nonzero(x).item() == 2


@pytest.mark.parametrize(
    ("dtype", "kind", "expected"),
    [
        ("bool", "bool", True),
        ("bool", "numeric", False),
        ("uint8", "unsigned integer", True),
        ("uint8", "signed integer", False),
        ("int64", "integral", True),
        ("float32", "real floating", True),
        ("float32", "complex floating", False),
        ("float32", ("integral", "real floating"), True),
        ("float32", (tl.float64, tl.int32), False),
        ("int32", tl.int32, True),
    ],
)
def test_isdtype_follows_the_standard(dtype, kind, expected):
    assert tl.isdtype(tl.dtype(dtype), kind) is expected


@pytest.mark.parametrize("kind", ["float", 3, ["bool"], None])
def test_isdtype_of_unknown_kind_raises(kind):
    with pytest.raises(ValueError, match="isdtype: expected a kind"):
        tl.isdtype(tl.float32, kind)


def test_can_cast_follows_promotion():
    assert tl.can_cast(tl.uint8, tl.int32)
    assert tl.can_cast(tl.tensor([1]), tl.float32)
    assert not tl.can_cast(tl.float32, tl.int64)
    assert not tl.can_cast(tl.int64, tl.int32)


@pytest.mark.parametrize("name", ["empty_like", "zeros_like", "ones_like"])
def test_like_functions_take_a_device(name):
    made = getattr(tl, name)
    assert made(tl.ones(2), device="cpu").shape == (2,)
    with pytest.raises(tl.DeviceError, match="_like: no CUDA device 99"):
        made(tl.ones(2), device="cuda:99")


@pytest.mark.parametrize("length", [3, 2**62, 2**63 - 2, 2**63 - 1])
def test_split_by_any_length_keeps_all_elements(length):
    (part,) = tl.split(tl.arange(3), length)
    assert part.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "edges", [{"prepend": 0}, {"append": 2.5}, {"prepend": 1, "append": np.array(3.0)}]
)
@pytest.mark.parametrize("axis", [0, -1])
def test_diff_takes_scalars_at_its_edges(edges, axis):
    x = np.arange(6.0).reshape(2, 3) ** 2
    found = tl.diff(tl.tensor(x), axis=axis, **edges)
    assert np.array_equal(found.numpy(), np.diff(x, axis=axis, **edges))
    assert tl.diff(tl.tensor([1.0, 2.0], dtype=tl.float16), prepend=0.5).dtype is (
        tl.float16
    )


def test_diff_of_bool_is_whether_neighbours_differ():
    x = np.array([True, False, False, True])
    for n in (1, 2):
        found = tl.diff(tl.tensor(x), n)
        assert found.dtype is tl.bool
        assert found.tolist() == np.diff(x, n).tolist()


def test_roll_of_many_axes_equals_numpy_with_gradient():
    a = np.arange(2 * 3 * 2 * 3 * 4, dtype="float64").reshape(2, 3, 2, 3, 4)
    shifts, axes = (1, -1, 3, 2, 7, 2), (0, 1, 2, 3, 4, 1)
    x = tl.tensor(a, requires_grad=True)
    y = tl.roll(x, shifts, axis=axes)
    assert_same(y.detach(), np.roll(a, shifts, axes))
    (y * tl.tensor(a)).sum().backward()
    assert_same(x.grad, np.roll(a, [-s for s in shifts], axes))


def test_rolled_of_an_axis_that_is_not_there_raises():
    with pytest.raises(tl.AxisError, match="roll"):
        rolled(tl.ones(3), {1: 1})


@pytest.mark.parametrize("dtype", ["float32", "uint32", "int64", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (1001,), (5, 6, 7)])
def test_stack_of_two_along_the_last_axis_moves_bits_unchanged(shape, dtype):
    rng = np.random.default_rng(0)
    size = np.dtype(dtype).itemsize
    bits = rng.integers(0, 256, (2, *shape, size), dtype="uint8")
    a, b = (np.ascontiguousarray(x).view(dtype)[..., 0] for x in bits)
    found = tl.stack((tl.tensor(a), tl.tensor(b)), axis=-1).numpy()
    assert found.shape == (*shape, 2)
    assert found.tobytes() == np.stack((a, b), -1).tobytes()


def test_concat_of_two_columns_of_strided_tensors_matches_numpy():
    x = np.arange(60, dtype="float32").reshape(6, 10)
    a, b = tl.tensor(x)[::-1, 3:4], tl.tensor(x).T[:6, ::2][:, 1:2]
    found = tl.concat((a, b), axis=1)
    expected = np.concatenate((x[::-1, 3:4], x.T[:6, ::2][:, 1:2]), axis=1)
    assert (found.numpy() == expected).all()


def test_repetition_of_empty_tensors_with_huge_axes_counts_right():
    assert tl.repeat(tl.zeros((1 << 40, 0)), 4, axis=0).shape == (1 << 42, 0)
    assert tl.tile(tl.zeros((2, (1 << 62) - 1, 0)), (2, 1, 1)).shape == (
        4, (1 << 62) - 1, 0,
    )  # fmt: skip
    with pytest.raises((tl.ShapeError, MemoryError)):
        tl.repeat(tl.zeros((1 << 62, 0)), 4, axis=0)
