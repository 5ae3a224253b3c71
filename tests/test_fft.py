"""Transforms: what the rows of the op table do not cover."""

import numpy as np
import pytest

import tensorlib as tl

COMPLEX = ("fft", "ifft", "fftn", "ifftn", "fft2", "ifft2")
REAL = ("rfft", "ihfft", "rfftn", "rfft2")
HALF = ("irfft", "hfft", "irfftn", "irfft2")
SINGLE = {"float32": "complex64", "float64": "complex128"}


def drawn(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", SINGLE)
@pytest.mark.parametrize("name", COMPLEX + REAL + HALF)
def test_transform_keeps_the_precision(name, dtype):
    wide = SINGLE[dtype]
    x = tl.tensor(drawn((4, 6), dtype if name in REAL else wide))
    expected = dtype if name in HALF else wide
    assert getattr(tl.fft, name)(x).dtype.name == expected


@pytest.mark.parametrize("dtype", ["bool", "int16", "uint64", "float16", "bfloat16"])
def test_other_dtypes_are_transformed_as_float32(dtype):
    x = tl.tensor([1, 0, 1, 1]).astype(dtype)
    for name in ("fft", "rfft", "irfft", "hfft", "ihfft"):
        found = getattr(tl.fft, name)(x)
        expected = getattr(np.fft, name)(np.array([1.0, 0, 1, 1]))
        assert found.dtype.name in ("float32", "complex64")
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("name", COMPLEX + REAL + HALF)
def test_value_and_gradient_equal_pytorch(name, norm):
    torch = pytest.importorskip("torch")
    a = drawn((3, 5, 6), "float64" if name in REAL else "complex128")
    x, u = tl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y = getattr(tl.fft, name)(x, norm=norm)
    v = getattr(torch.fft, name)(u, norm=norm)
    np.testing.assert_allclose(
        y.detach().numpy(), v.detach().resolve_conj().numpy(), atol=1e-12
    )
    weights = drawn(y.shape, a.real.dtype)
    (tl.abs(y) ** 2 * tl.tensor(weights)).sum().backward()
    (torch.abs(v) ** 2 * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(
        x.grad.numpy(), u.grad.resolve_conj().numpy(), rtol=1e-11, atol=1e-11
    )


def test_gradient_of_real_input_of_fft_is_real():
    x = tl.randn(7, dtype="float64", requires_grad=True)
    (tl.abs(tl.fft.fft(x)) ** 2).sum().backward()
    assert x.grad.dtype is tl.float64
    # Parseval: the sum is n times that of the squares.
    np.testing.assert_allclose(x.grad.numpy(), 14 * x.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", COMPLEX + REAL + HALF)
def test_vmap_equals_a_loop_with_gradient(name):
    a = drawn((2, 4, 3, 5), "float64" if name in REAL else "complex128")
    f = getattr(tl.fft, name)

    def loss(x):
        return (tl.abs(f(x)) ** 2).sum()

    x = tl.tensor(a)
    found = tl.vmap(tl.vmap(f, in_axes=1))(x)
    expected = np.stack([[f(x[i, :, j]).numpy() for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    leaf = tl.tensor(a, requires_grad=True)
    tl.vmap(loss)(leaf).sum().backward()
    for i in range(2):
        one = tl.tensor(a[i], requires_grad=True)
        loss(one).backward()
        np.testing.assert_allclose(leaf.grad.numpy()[i], one.grad.numpy(), atol=1e-11)


@pytest.mark.parametrize("name", ["fft", "rfft"])
def test_jvp_is_the_transform_of_the_tangent(name):
    f, x, t = getattr(tl.fft, name), tl.randn(6), tl.randn(6)
    _, tangent = tl.autograd.jvp(f, x, t)
    np.testing.assert_allclose(tangent.numpy(), f(t).numpy(), atol=1e-6)


def test_inverse_returns_the_signal():
    x = tl.randn(9, 5, dtype="float64")
    for forward, inverse, how in (
        (tl.fft.fft, tl.fft.ifft, {}),
        (tl.fft.rfft, tl.fft.irfft, {"n": 5}),
        (tl.fft.ihfft, tl.fft.hfft, {"n": 5}),
    ):
        for norm in ("backward", "ortho", "forward"):
            back = inverse(forward(x, norm=norm), norm=norm, **how)
            np.testing.assert_allclose(tl.real(back).numpy(), x.numpy(), atol=1e-14)
    back = tl.fft.irfftn(tl.fft.rfftn(x), s=x.shape)
    np.testing.assert_allclose(back.numpy(), x.numpy(), atol=1e-14)


def test_size_of_minus_one_keeps_the_length():
    x = tl.tensor(drawn((3, 4, 5), "complex128"))
    for name in COMPLEX + HALF:
        if "n" in name:
            f = getattr(tl.fft, name)
            found = f(x, s=(-1, -1), axes=(2, 1))
            assert found.tolist() == f(x, axes=(2, 1)).tolist()


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
def test_shift_without_axes_is_a_copy(name):
    x = tl.tensor(3.0)
    found = getattr(tl.fft, name)(x)
    assert found.item() == 3
    assert found is not x


def test_no_axes_is_no_transform():
    x = tl.randn(2, 3)
    assert tl.fft.fftn(x, axes=()).tolist() == x.astype("complex64").tolist()


def test_argument_is_left_as_it_was():
    x = tl.randn(3, 4)
    before = x.numpy().copy()
    tl.fft.fft(x).zero_()
    np.testing.assert_array_equal(x.numpy(), before)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: tl.fft.fft(x, n=0), tl.ShapeError, "fft: expected at least 1"),
        (lambda x: tl.fft.irfft(x[:1]), tl.ShapeError, "irfft: expected at least 1"),
        (lambda x: tl.fft.fft(x, axis=1), tl.ShapeError, "fft: expected an axis"),
        (lambda x: tl.fft.fft(x, n=2.0), TypeError, "fft: expected an int n"),
        (lambda x: tl.fft.ifft(x, norm="none"), ValueError, "ifft: expected norm"),
        (lambda x: tl.fft.hfft(x, norm="none"), ValueError, "hfft: expected norm"),
        (lambda x: tl.fft.rfft(x * 1j), tl.DTypeError, "rfft: expected a real"),
        (lambda x: tl.fft.ihfft(x * 1j), tl.DTypeError, "ihfft: expected a real"),
        (lambda x: tl.fft.fftn(x, s=(2, 2)), tl.ShapeError, "fftn: expected at most"),
        (lambda x: tl.fft.fftn(x, s=(2, 2), axes=(0,)), tl.ShapeError, "as many sizes"),
        (lambda x: tl.fft.fftn(x, axes=(0, 0)), tl.ShapeError, "twice"),
        (lambda x: tl.fft.rfftn(x, axes=()), tl.ShapeError, "at least one axis"),
        (lambda x: tl.fft.fft("no"), TypeError, "fft: "),
        (lambda x: tl.fft.fftfreq(True), TypeError, "fftfreq: expected an int n"),
        (lambda x: tl.fft.rfftfreq(4, dtype="int8"), tl.DTypeError, "real floating"),
    ],
)
def test_bad_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call(tl.ones(4))
