"""The narrow dtypes: conversion, arithmetic that wraps or rounds once, training."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_rows import INTEGERS
from sample_arrays import QUICK, assert_same

import tensorlib as tl

HALVES = ["float16", "bfloat16"]
NARROW = [*INTEGERS, *HALVES]


def every_half(dtype):
    """All 65,536 numbers of a 16-bit floating dtype."""
    patterns = np.arange(2**16, dtype=np.uint16)
    if dtype == "float16":
        return tl.tensor(patterns.view(np.float16))
    return tl.tensor((patterns.astype(np.uint32) << 16).view(np.float32)).astype(dtype)


def rounded_to_bfloat16(values):
    """Nearest, ties to even, in float64: the definition."""
    values = np.asarray(values, np.float64)
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(values)[1], -125)  # subnormals share a unit
        unit = np.ldexp(1.0, exponent - 8)
        found = np.round(values / unit) * unit
        found = np.where(np.abs(found) >= 2.0**128, np.copysign(np.inf, values), found)
    return np.where(np.isfinite(values), found, values)


# ---- conversion ----------------------------------------------------------------
@pytest.mark.parametrize("wide", ["float32", "float64"])
def test_float16_to_wider_is_exact(wide):
    x = every_half("float16")
    np.testing.assert_array_equal(x.astype(wide).numpy(), x.numpy().astype(wide))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("wide", ["float32", "float64"])
def test_half_to_wider_and_back_is_the_same(dtype, wide):
    x = every_half(dtype).astype("float32").numpy()
    y = every_half(dtype).astype(wide).astype(dtype).astype("float32").numpy()
    np.testing.assert_array_equal(x, y)


FLOATS = st.floats(width=64) | st.floats(-7e4, 7e4) | st.floats(-7e-5, 7e-5)


@QUICK
@given(st.lists(FLOATS, min_size=1, max_size=40), st.sampled_from(["f4", "f8"]))
def test_to_float16_rounds_as_numpy(values, kind):
    with np.errstate(all="ignore"):
        a = np.array(values).astype(kind)
        expected = a.astype(np.float16)
    assert_same(tl.tensor(a).astype("float16"), expected)


@QUICK
@given(st.lists(FLOATS, min_size=1, max_size=40), st.sampled_from(["f4", "f8"]))
def test_to_bfloat16_rounds_to_nearest_even(values, kind):
    with np.errstate(all="ignore"):
        a = np.array(values).astype(kind)
    found = tl.tensor(a).astype("bfloat16").astype("float64").numpy()
    np.testing.assert_array_equal(found, rounded_to_bfloat16(a))


@pytest.mark.parametrize("dtype", HALVES)
def test_float64_between_two_halves_is_rounded_once(dtype):
    # Just above a tie: rounding to float32 first would fall on it.
    unit = 2.0 ** {"float16": -10, "bfloat16": -7}[dtype]
    x = tl.tensor([1 + unit / 2 + 2.0**-50, 1 + unit / 2], dtype="float64")
    assert x.astype(dtype).tolist() == [1 + unit, 1.0]
    assert tl.tensor(x.tolist(), dtype=dtype).tolist() == [1 + unit, 1.0]


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_wide_integer_to_bfloat16_is_rounded_once(dtype):
    tie = 2**62 + 2**54
    x = tl.tensor([tie, tie + 1, tie - 1], dtype=dtype).astype("bfloat16")
    assert x.tolist() == [2.0**62, 2.0**62 + 2.0**55, 2.0**62]
    assert (-tl.tensor([tie + 1])).astype("bfloat16").item() == -(2.0**62 + 2.0**55)


@pytest.mark.parametrize(
    ("source", "target"), list(itertools.product(INTEGERS, INTEGERS))
)
def test_integer_to_integer_wraps_as_numpy(source, target):
    bounds = np.iinfo(source)
    a = np.array([bounds.min, bounds.max, 0, 1, bounds.max // 2], source)
    assert_same(tl.tensor(a).astype(target), a.astype(target))


@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize("source", ["float16", "float32", "float64"])
def test_float_to_integer_truncates(source, target):
    a = np.array([0.0, 1.75, 100.5, 127.0], source)
    assert_same(tl.tensor(a).astype(target), a.astype(target))
    if target[0] == "i":
        assert_same(tl.tensor(-a).astype(target), (-a).astype(target))


def test_float_to_uint64_covers_its_range():
    values = [2.0**63, 2.0**64 - 2048, 2.0**63 - 1024, 5.0]
    found = tl.tensor(values, dtype="float64").astype("uint64")
    assert found.tolist() == [int(v) for v in values]


@pytest.mark.parametrize("dtype", NARROW)
def test_elements_travel_to_lists_and_back(dtype):
    x = tl.arange(5).astype(dtype)
    assert x.tolist() == [0, 1, 2, 3, 4]
    assert x[2].item() == 2
    assert tl.tensor(x.tolist(), dtype=dtype).tolist() == x.tolist()
    assert tl.full((2,), 3, dtype=dtype).tolist() == [3, 3]
    assert tl.arange(1, 9, 3, dtype=dtype).tolist() == [1, 4, 7]
    assert tl.eye(2, dtype=dtype).tolist() == [[1, 0], [0, 1]]


def test_uint64_beyond_int64_travels():
    big = 2**64 - 1
    x = tl.tensor([big, 1], dtype="uint64")
    assert x.tolist() == [big, 1]
    assert (x.max().item(), x.argmax().item(), x.min().item()) == (big, 0, 1)
    assert (x > 1).tolist() == [True, False]
    assert (x // 2).tolist() == [big // 2, 0]
    assert x.astype("float64").tolist() == [2.0**64, 1.0]
    assert tl.sum(x).item() == 0  # modulo 2**64
    many = tl.arange(100_003, dtype="uint64") + 2**63
    assert many.max().item() == 2**63 + 100_002
    assert many.reshape(-1, 1).max(axis=0).tolist() == [2**63 + 100_002]


def test_bfloat16_has_no_numpy_form():
    x = tl.ones(2, dtype="bfloat16")
    with pytest.raises(tl.DTypeError, match="NumPy has no bfloat16"):
        x.numpy()
    with pytest.raises(BufferError, match="bfloat16"):
        memoryview(x)


def test_finfo_of_halves():
    for name in ("float16", "float32"):
        found, expected = tl.finfo(name), np.finfo(name)
        assert found.bits == expected.bits
        assert (found.eps, found.max) == (float(expected.eps), float(expected.max))
        assert found.smallest_normal == float(expected.smallest_normal)
    assert tl.finfo("bfloat16").eps == 2.0**-7
    assert tl.finfo(tl.bfloat16).max == (2 - 2.0**-7) * 2.0**127


def test_finfo_and_iinfo_print_what_they_hold():
    names = vars(tl)
    for info in (tl.finfo("bfloat16"), tl.iinfo(tl.uint64)):
        kind, held = repr(info)[:5], repr(info)[6:-1].split(", ")
        assert type(info) is names[kind]
        for name, value in (item.split("=") for item in held):
            assert getattr(info, name) == eval(value, names)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_iinfo(dtype):
    found, expected = tl.iinfo(dtype), np.iinfo(dtype)
    assert (found.min, found.max) == (expected.min, expected.max)
    assert found.bits == expected.bits


# ---- arithmetic ----------------------------------------------------------------
OPERATIONS = [
    "add", "subtract", "multiply", "floor_divide", "remainder", "maximum", "minimum",
    "equal", "less", "greater_equal", "bitwise_and", "bitwise_or", "bitwise_xor",
]  # fmt: skip


@QUICK
@given(st.sampled_from(OPERATIONS), st.sampled_from(INTEGERS), st.data())
def test_integer_arithmetic_wraps_as_numpy(name, dtype, data):
    bounds = np.iinfo(dtype)
    numbers = st.integers(int(bounds.min), int(bounds.max))
    size = data.draw(st.integers(1, 20))
    a, b = (
        np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), dtype)
        for _ in range(2)
    )
    if name in ("floor_divide", "remainder"):
        b[b == 0] = 1
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    assert_same(getattr(tl, name)(tl.tensor(a), tl.tensor(b)), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["left_shift", "right_shift"])
def test_shift_beyond_the_width_as_numpy(name, dtype):
    bounds = np.iinfo(dtype)
    a = np.array([bounds.min, bounds.max, 1, 5], dtype)
    by = np.array([[0], [1], [7], [8], [15], [16], [31], [32], [63], [64]], dtype)
    expected = getattr(np, name)(a, by)
    assert_same(getattr(tl, "bitwise_" + name)(tl.tensor(a), tl.tensor(by)), expected)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "uint32", "uint64"])
def test_division_by_zero_raises_and_leaves_the_target(dtype):
    x = tl.arange(3).astype(dtype)
    with pytest.raises(ZeroDivisionError):
        x //= tl.zeros(3, dtype=dtype)
    assert x.tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", NARROW)
def test_in_place_on_a_view_changes_its_elements_alone(dtype):
    x = tl.ones((4, 6), dtype=dtype)
    x[1:3, ::2] += 2
    expected = np.ones((4, 6))
    expected[1:3, ::2] += 2
    np.testing.assert_array_equal(x.astype("float64").numpy(), expected)
    x[:, 0] *= x[:, 1]  # overlapping storage
    np.testing.assert_array_equal(x.astype("float64").numpy(), expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_sum_of_halves_accumulates_in_float32(dtype):
    x = tl.ones((5000,), dtype=dtype) * 0.25
    assert x.sum().item() == 1250.0 if dtype == "float16" else 1248.0
    assert x.mean().item() == 0.25
    total = tl.zeros((2, 3), dtype=dtype)
    index = tl.zeros((5000,), dtype="int64")
    rows = tl.ones((5000, 3), dtype=dtype) * 0.25
    found = tl.index_add(total, index, rows, axis=0)
    assert found.tolist()[0] == [x.sum().item()] * 3


def test_operands_that_are_broadcast_are_not_expanded():
    x = tl.ones((1, 1), dtype="float16").broadcast_to((4096, 4096))
    tl.reset_peak_memory_stats()
    before = tl.memory_stats()["allocated"]
    assert bool(x.max() == 1)
    assert tl.memory_stats()["peak_allocated"] - before < 2**20


def test_narrow_operands_leave_no_storage_behind():
    x, y = tl.ones(9, dtype="int8"), tl.zeros(9, dtype="int8")
    before = tl.memory_stats()["live"]
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            x // y
    assert tl.memory_stats()["live"] == before


# ---- gradients -----------------------------------------------------------------
@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_of_halves_are_halves(dtype):
    tl.manual_seed(0)
    x = tl.randn(4, 6).astype(dtype).requires_grad_()
    w = tl.randn(6).astype(dtype).requires_grad_()
    wide_x, wide_w = (t.detach().astype("float64").requires_grad_() for t in (x, w))
    for a, b in ((x, w), (wide_x, wide_w)):
        hidden = tl.gelu(tl.layer_norm(a, (6,), b, b)) + tl.glu(
            tl.concat([a, a], axis=1)
        )
        tl.log_softmax(hidden, axis=1)[:, 0].sum().backward()
    for t, wide in ((x, wide_x), (w, wide_w)):
        assert t.grad.dtype.name == dtype
        np.testing.assert_allclose(
            t.grad.astype("float64").numpy(), wide.grad.numpy(),
            rtol=0, atol=30 * {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype],
        )  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
def test_second_derivative_of_halves(dtype):
    x = tl.tensor([0.5, -1.0, 2.0], dtype=dtype, requires_grad=True)
    (first,) = tl.autograd.grad((x * x * x).sum(), x, create_graph=True)
    (second,) = tl.autograd.grad(first.sum(), x)
    assert second.dtype.name == dtype
    assert second.tolist() == [3.0, -6.0, 12.0]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_optimizer_steps_on_halves_as_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    start, slope = np.linspace(-1, 1, 6), np.linspace(0.5, -0.5, 6)
    ours = tl.tensor(start, dtype=dtype, requires_grad=True)
    theirs = torch.tensor(start, dtype=getattr(torch, dtype), requires_grad=True)
    mine = getattr(tl.optim, name)([ours], lr=0.125)
    their = getattr(torch.optim, name)([theirs], lr=0.125, foreach=False)
    for _ in range(3):
        ours.grad = tl.tensor(slope, dtype=dtype)
        theirs.grad = torch.tensor(slope, dtype=theirs.dtype)
        mine.step()
        their.step()
    np.testing.assert_allclose(
        ours.detach().astype("float64").numpy(), theirs.detach().double().numpy(),
        atol=4 * tl.finfo(dtype).eps, rtol=0,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
def test_network_of_halves_learns(dtype):
    tl.manual_seed(3)
    model = tl.nn.Sequential(
        tl.nn.Linear(2, 16), tl.nn.LayerNorm(16), tl.nn.GELU(), tl.nn.Linear(16, 2)
    ).to(tl.dtype(dtype))
    optimizer = tl.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    x = tl.randn(64, 2).astype(dtype)
    target = (x[:, 0] * x[:, 1] > 0).astype("int64")
    losses = []
    for _ in range(60):
        loss = tl.nn.functional.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("dtype", HALVES)
def test_safetensors_of_halves_travel_to_pytorch_and_back(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    x = tl.tensor([1.5, -2.25, 1e-3], dtype=dtype)
    tl.save({"x": x}, tmp_path / "a")
    theirs = files.load_file(tmp_path / "a")["x"]
    assert theirs.dtype is getattr(torch, dtype)
    assert theirs.tolist() == x.tolist()
    files.save_file({"x": theirs}, tmp_path / "b")
    assert tl.load(tmp_path / "b")["x"].tolist() == x.tolist()


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_full_like_of_complex_takes_real_tensors_and_refuses_words(dtype):
    like = tl.zeros(2, dtype=dtype)
    assert tl.full_like(like, tl.tensor([2.5])).tolist() == [2.5 + 0j, 2.5 + 0j]
    with pytest.raises(TypeError):
        tl.full_like(like, "abc")


def test_empty_shape_with_huge_extents_keeps_its_shape():
    x = tl.zeros((0, 2**62, 4))
    assert x.shape == (0, 2**62, 4)
    assert x.size == 0
