"""LU and triangular systems of batches of small matrices, against SciPy in float64."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from op_rows import THREADS, bits

import tensorlib as tl
from tensorlib.linalg.solving import triangular_stack

L = tl.linalg
# Of factors whose elements are around one: n roundings, and the growth of pivoting.
TOLERANCE = {"float32": 5e-5, "float64": 1e-13, "complex64": 5e-5, "complex128": 1e-13}
DTYPES = st.sampled_from(sorted(TOLERANCE))
BATCHES = st.sampled_from([(), (1,), (3,), (0,), (2, 3)])
LAYOUTS = st.sampled_from(["contiguous", "transposed", "strided", "reversed"])
WIDE = {"float32": "float64", "complex64": "complex128"}


def numbers(rng, shape, dtype):
    x = rng.uniform(-1, 1, shape)
    if dtype.startswith("c"):
        x = x + 1j * rng.uniform(-1, 1, shape)
    return x.astype(dtype)


def laid_out(a, layout):
    """A tensor of the values of `a`, not contiguous unless that is asked for."""
    if layout == "transposed":
        return tl.tensor(np.ascontiguousarray(np.swapaxes(a, -1, -2))).mT
    if layout == "strided":
        return tl.tensor(np.repeat(a, 2, axis=-1))[..., ::2]
    if layout == "reversed":
        return tl.tensor(a[..., ::-1].copy()).flip(axis=-1)
    return tl.tensor(a)


def wide(a):
    return a.astype(WIDE.get(str(a.dtype), a.dtype))


def rows_of(pivots, m):
    """Which row of A each row of L U comes from."""
    order = list(range(m))
    for i, other in enumerate(pivots):
        order[i], order[other - 1] = order[other - 1], order[i]
    return order


@settings(max_examples=150, deadline=None)
@given(
    m=st.integers(0, 20), n=st.integers(0, 20), batch=BATCHES, dtype=DTYPES,
    layout=LAYOUTS, seed=st.integers(0, 999),
)  # fmt: skip
def test_lu_of_any_batch_equals_scipy_and_its_compact_form(
    m, n, batch, dtype, layout, seed
):
    a = numbers(np.random.default_rng(seed), (*batch, m, n), dtype)
    x, k = laid_out(a, layout), min(m, n)
    p, lower, upper = (part.numpy() for part in L.lu(x))
    assert p.shape == (*batch, m, m)
    assert lower.shape == (*batch, m, k)
    assert upper.shape == (*batch, k, n)
    packed, pivots = (part.numpy() for part in L.lu_factor(x))
    np.testing.assert_array_equal(np.tril(packed[..., :k], -1), np.tril(lower, -1))
    np.testing.assert_array_equal(np.triu(packed[..., :k, :]), upper)
    ones = np.broadcast_to(np.eye(m, k), lower.shape)
    np.testing.assert_array_equal(np.triu(lower), ones)
    for index in np.ndindex(batch):
        order = rows_of(pivots[index], m)
        np.testing.assert_array_equal(p[index].real, np.eye(m)[order].T)
        expected = scipy.linalg.lu(wide(a[index])) if k else (np.eye(m),)
        np.testing.assert_array_equal(p[index].real, expected[0])
        for found, part in zip((lower, upper), expected[1:], strict=False):
            scale = (
                TOLERANCE[dtype]
                * max(1, abs(part).max())
                * np.linalg.cond(wide(a[index])[:k, :k])
            )
            np.testing.assert_allclose(found[index], part, rtol=0, atol=scale)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 3), dtype=DTYPES, seed=st.integers(0, 9999))
def test_pivots_of_equal_magnitudes_are_those_of_lapack(n, dtype, seed):
    # Powers of two: elimination is exact, so that magnitudes tie in later columns too.
    a = np.random.default_rng(seed).choice([-2, -1, 0, 1, 2], (4, n, n)).astype(dtype)
    pivots = L.lu_factor(tl.tensor(a)).pivots.numpy()
    (getrf,) = scipy.linalg.get_lapack_funcs(("getrf",), (a,))
    for matrix, found in zip(a, pivots, strict=True):
        np.testing.assert_array_equal(found, getrf(matrix)[1] + 1)


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
@pytest.mark.parametrize("n", [2, 4, 9, 16, 17])
def test_lu_of_singular_matrix_has_zero_pivot_and_gives_it_back(n, dtype):
    a = numbers(np.random.default_rng(n), (n, n), dtype)
    a[:, 1] = 0
    a[-1] = a[0]
    p, lower, upper = (part.numpy() for part in L.lu(tl.tensor(np.stack([a, 0 * a]))))
    assert upper[0, 1, 1] == 0
    np.testing.assert_allclose(p[0] @ lower[0] @ upper[0], a, atol=1e-5)
    np.testing.assert_array_equal(upper[1], 0 * a)
    np.testing.assert_array_equal(lower[1], np.eye(n))


def test_lu_of_nan_is_nan_and_leaves_its_neighbours_alone():
    a = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4))
    alone = [part.numpy()[2] for part in L.lu(tl.tensor(a))]
    a[1, 2, 2] = np.nan
    parts = [part.numpy() for part in L.lu(tl.tensor(a))]
    assert np.isnan(parts[2][1]).any()
    for part, expected in zip(parts, alone, strict=True):
        np.testing.assert_array_equal(part[2], expected)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(0, 20) | st.integers(30, 70), k=st.integers(0, 4), batch=BATCHES,
    dtype=DTYPES, layout=LAYOUTS, upper=st.booleans(), left=st.booleans(),
    transposed=st.booleans(), unit=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_triangular_solution_of_any_batch_equals_float64(
    n, k, batch, dtype, layout, upper, left, transposed, unit, seed
):
    rng = np.random.default_rng(seed)
    a = numbers(rng, (*batch, n, n), dtype) / max(n, 1) ** 0.5 + 2 * np.eye(n)
    a = a.astype(dtype)
    b = numbers(rng, (*batch, n, k) if left else (*batch, k, n), dtype)
    t = wide(np.triu(a) if upper else np.tril(a))
    if unit:
        t = t + (1 - t) * np.eye(n)
    if transposed:
        x, y = (tl.reshape(laid_out(v, layout), (-1 if v.size else int(np.prod(batch)),
                                                 *v.shape[-2:])).contiguous()
                for v in (a, b))  # fmt: skip
        found = triangular_stack(x, y, upper, left, True, unit).numpy()
        found, t = found.reshape(b.shape), np.swapaxes(t, -1, -2)
    else:
        found = L.solve_triangular(
            laid_out(a, layout), laid_out(b, layout), upper=upper, left=left,
            unitriangular=unit,
        ).numpy()  # fmt: skip
    inverse = np.linalg.inv(t)
    expected = inverse @ wide(b) if left else wide(b) @ inverse
    worst = abs(inverse).sum(-1).max(initial=1) * abs(t).sum(-1).max(initial=1)
    scale = abs(expected).max(initial=1)
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=TOLERANCE[dtype] * worst * scale
    )


@pytest.mark.parametrize("n", [2, 4, 16, 40])
@pytest.mark.parametrize("k", [1, 3])
def test_triangular_solution_names_first_zero_of_a_diagonal(n, k):
    a = np.tile(np.eye(n, dtype="float32"), (3, 1, 1))
    a[1, 1, 1] = 0
    b = np.ones((3, n, k), dtype="float32")
    expected = r"element 2 there is 0 at index \(1,\) of the batch"
    with pytest.raises(L.LinAlgError, match=expected):
        L.solve_triangular(tl.tensor(a), tl.tensor(b), upper=True)
    found = L.solve_triangular(tl.tensor(a), tl.tensor(b), upper=True,
                               unitriangular=True)  # fmt: skip
    np.testing.assert_array_equal(found.numpy(), b)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("shape", [(3000, 2, 2), (1000, 7, 7), (60, 20, 20)])
def test_batches_have_the_same_bits_on_any_number_of_threads(shape, dtype):
    rng = np.random.default_rng(0)
    a = tl.tensor(numbers(rng, shape, dtype))
    b = tl.tensor(numbers(rng, (*shape[:-1], 1), dtype))

    def results():
        solution = L.solve_triangular(a, b, upper=True)
        return [*L.lu(a), *L.lu_factor(a), solution, a @ a, a @ b]

    found = []
    for threads in THREADS:
        with tl.num_threads(threads):
            found.append(bits(results()))
    assert all(other == found[0] for other in found)
    alone = [
        *L.lu(a[7]),
        *L.lu_factor(a[7]),
        L.solve_triangular(a[7], b[7], upper=True),
    ]
    together = [x[7] for x in results()[: len(alone)]]
    assert bits(alone) == bits(together)


def test_recorded_lu_equals_unrecorded_one():
    a = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3))
    plain = L.lu(tl.tensor(a))
    recorded = L.lu(tl.tensor(a).requires_grad_())
    assert bits(plain) == bits([part.detach() for part in recorded])
    assert not plain.L.requires_grad
    assert recorded.L.requires_grad
