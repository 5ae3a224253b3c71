"""Tensors on a GPU as Python values: printed, copied, pickled, saved, assigned."""

import copy
import math
import pickle

import numpy as np
import pytest

import tensorlib as tl

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not tl.cuda.is_available(), reason=tl.cuda.why_unavailable() or "GPU is there"
    ),
]


def on_gpu(values, **options):
    return tl.tensor(values, device="cuda", **options)


# ---- Python values -----------------------------------------------------------------
def test_repr_shows_the_values_and_the_device():
    text = repr(on_gpu([1.0, 2.5]))
    assert "1. , 2.5" in text
    assert "device='cuda:0'" in text


def test_repr_of_a_large_tensor_is_summarized():
    assert "..." in repr(tl.arange(5000, device="cuda"))


def test_format_of_a_number():
    assert f"{on_gpu(2.5):.2f}" == "2.50"
    assert f"{on_gpu([1])}" == str(on_gpu([1]))


def test_conversions_to_python_numbers():
    assert float(on_gpu(2.5)) == 2.5
    assert int(on_gpu([3])) == 3
    assert bool(on_gpu(True)) is True
    assert complex(on_gpu(1 + 2j)) == 1 + 2j
    assert [10, 20, 30][on_gpu(1)] == 20
    assert on_gpu([[1, 2], [3, 4]])[1, 0].item() == 3


def test_lists_of_views():
    x = on_gpu([[1, 2, 3], [4, 5, 6]])
    assert x.T.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert x[:, ::-2].tolist() == [[3, 1], [6, 4]]
    assert x[:0].tolist() == []


def test_iteration_gives_tensors_on_the_device():
    rows = list(on_gpu([[1, 2], [3, 4]]))
    assert [r.tolist() for r in rows] == [[1, 2], [3, 4]]
    assert all(r.is_cuda for r in rows)


def test_membership():
    x = on_gpu([1, 2])
    assert 2 in x
    assert 3 not in x


def test_numpy_says_what_to_do():
    x = on_gpu([1.0])
    for convert in (tl.Tensor.numpy, np.asarray):
        with pytest.raises(tl.DeviceError, match=r"x\.cpu\(\)"):
            convert(x)
    with pytest.raises(BufferError, match="cuda:0"):
        memoryview(x)
    assert not hasattr(x, "__array_interface__")


def test_bytes_are_those_of_the_elements():
    assert on_gpu([[1, 2], [3, 4]], dtype="uint8").T.tobytes() == b"\1\3\2\4"


# ---- copies ------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_pickle_comes_back_on_the_cpu(protocol, dtype):
    x = on_gpu([[0, 1], [2, 3]], dtype=dtype).T
    y = pickle.loads(pickle.dumps(x, protocol))
    assert y.device.type == "cpu"
    assert y.dtype is x.dtype
    assert y.tolist() == x.tolist()


def test_pickle_keeps_the_marks():
    p = tl.nn.Parameter(on_gpu([1.0, 2.0]))
    q = pickle.loads(pickle.dumps(p))
    assert q.requires_grad
    assert q.is_parameter


def test_deepcopy_stays_on_the_device():
    x = on_gpu([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.is_cuda
    assert y.grad.is_cuda
    assert y.data_ptr() != x.data_ptr()
    assert y.grad.data_ptr() != x.grad.data_ptr()
    assert y.grad.tolist() == [2.0, 4.0]
    assert copy.copy(x).data_ptr() == x.data_ptr()


def test_deepcopy_of_a_module_stays_on_the_device():
    net = copy.deepcopy(tl.nn.Linear(2, 2).to("cuda"))
    assert all(p.is_cuda for p in net.parameters())


def test_save_and_load(tmp_path):
    path = tmp_path / "state.safetensors"
    state = {"a": on_gpu([[1.0, 2.0], [3.0, 4.0]]).T, "b": {"c": on_gpu([1])}}
    tl.save(state, path)
    loaded = tl.load(path)
    assert loaded["a"].device.type == "cpu"
    assert loaded["a"].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    loaded = tl.load(path, map_location="cuda")
    assert loaded["a"].is_cuda
    assert loaded["b"]["c"].is_cuda
    assert loaded["a"].tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_load_to_a_device_that_is_not_there_raises(tmp_path):
    path = tmp_path / "state.safetensors"
    tl.save({"a": tl.ones(1)}, path)
    with pytest.raises(tl.DeviceError):
        tl.load(path, map_location="cuda:15")


# ---- attributes ----------------------------------------------------------------------
def test_data_may_move_a_leaf():
    x = tl.ones(2, requires_grad=True)
    x.data = x.data.to("cuda")
    assert x.is_cuda
    (x * 2).sum().backward()
    assert x.grad.is_cuda


def test_data_of_a_recorded_tensor_stays_on_its_device():
    y = tl.ones(2, requires_grad=True) * 2
    with pytest.raises(tl.DeviceError, match=r"cpu.*cuda:0"):
        y.data = on_gpu([1.0, 1.0])


def test_gradient_must_be_on_the_device():
    x = on_gpu([1.0], requires_grad=True)
    with pytest.raises(tl.DeviceError, match=r"cuda:0.*cpu"):
        x.grad = tl.ones(1)
    x.grad = on_gpu([1.0])


def test_inference_mode_marks_tensors_on_the_device():
    with tl.inference_mode():
        x = tl.ones(2, device="cuda")
    assert x.is_inference()
    with pytest.raises(tl.GraphError):
        x.requires_grad = True


@pytest.mark.parametrize("pair", [("cpu", "cuda"), ("cuda", "cpu")])
def test_copy_between_devices(pair):
    target, source = (tl.ones((2, 2), device=device) for device in pair)
    source = source * 3
    assert target.copy_(source[0]) is target
    assert target.device.type == pair[0]
    assert target.tolist() == [[3.0, 3.0], [3.0, 3.0]]


# ---- random numbers ------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_seed_gives_the_same_uniform_numbers_on_both_devices(dtype):
    found = []
    for device in ("cpu", "cuda"):
        tl.manual_seed(7)
        found.append(tl.rand(3, 5, dtype=dtype, device=device).tolist())
    assert found[0] == found[1]


def test_the_seed_gives_the_same_integers_and_orders_on_both_devices():
    found = []
    for device in ("cpu", "cuda"):
        tl.manual_seed(7)
        found.append(
            (
                tl.randint(-5, 100, (40,), device=device).tolist(),
                tl.randperm(50, device=device).tolist(),
                tl.bernoulli(tl.full((40,), 0.3, device=device)).tolist(),
            )
        )
    assert found[0] == found[1]


def test_the_seed_gives_the_same_normal_numbers_on_both_devices():
    found = []
    for device in ("cpu", "cuda"):
        tl.manual_seed(7)
        found.append(tl.randn(1000, device=device).cpu().numpy())
    # Logarithms and sines of each device.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_the_seed_gives_the_same_dropout_on_both_devices():
    found = []
    for device in ("cpu", "cuda"):
        tl.manual_seed(7)
        found.append(tl.dropout(tl.ones(100, device=device), 0.4).tolist())
    assert found[0] == found[1]


# ---- mixed precision ---------------------------------------------------------------
def every_number(dtype):
    """All numbers of a 16-bit dtype, in float64."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    if dtype == "float16":
        return bits.view(np.float16).astype(np.float64)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(("dtype", "digits"), [("float16", 11), ("bfloat16", 8)])
def test_gelu_of_every_16_bit_number_and_its_slope(dtype, digits):
    special = pytest.importorskip("scipy.special")
    numbers = every_number(dtype)
    numbers = numbers[np.abs(numbers) < 1e30]  # squares are float64's
    x = on_gpu(numbers, dtype=dtype).requires_grad_(True)
    y = tl.gelu(x)
    y.backward(tl.ones_like(y))
    y, slope = (v.detach().cpu().astype("float64").numpy() for v in (y, x.grad))
    normal = special.ndtr(numbers)
    least = 2.0**-24 if dtype == "float16" else 2.0**-126  # of float32, where it ends
    expected = numbers * normal
    ulp = np.maximum(np.abs(expected) * 2.0 ** (1 - digits), least)
    assert (np.abs(y - expected) / ulp).max() < 0.6
    expected = normal + numbers * np.exp(-(numbers**2) / 2) / np.sqrt(2 * np.pi)
    ulp = np.maximum(np.abs(expected) * 2.0 ** (1 - digits), least)
    # Where the slope crosses zero an error of its two terms stays; exponentials below
    # float32's least normal number are 0.
    assert (np.abs(slope - expected) < 0.6 * ulp + 1e-5 * normal + 1e-37).all()


def test_gelu_of_infinities_and_nan_in_16_bits():
    x = on_gpu([math.inf, -math.inf, math.nan], dtype="bfloat16").requires_grad_(True)
    y = tl.gelu(x)
    y.backward(tl.ones_like(y))
    assert str(y.tolist()) == "[inf, 0.0, nan]"
    assert str(x.grad.tolist()) == "[1.0, 0.0, nan]"


@pytest.mark.parametrize("low", ["float16", "bfloat16"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shapes", [((5, 8), (5, 8)), ((5, 8), (8,)), ((8,), (5, 8))])
def test_sum_of_float32_and_16_bit_numbers_is_that_of_the_cpu(low, first, shapes):
    pair = [tl.randn(shape, generator=tl.Generator(3)) for shape in shapes]
    pair[first] = pair[first].astype(low)
    g = tl.randn((5, 8), generator=tl.Generator(4))
    found = []
    for device in ("cpu", "cuda"):
        a, b = (x.to(device).detach().requires_grad_(True) for x in pair)
        y = a + b
        y.backward(g.to(device))
        point = (a.detach(), b.detach())
        tangent = tl.jvp(lambda a, b: a + b, point, point)[1]
        results = (y.detach(), tangent, a.grad, b.grad)
        assert [v.dtype.name for v in results] == [
            "float32",
            "float32",
            pair[0].dtype.name,
            pair[1].dtype.name,
        ]
        found.append([v.cpu().astype("float64").tolist() for v in results])
    assert found[0][:2] == found[1][:2]
    for ours, expected in zip(found[1][2:], found[0][2:], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-2, atol=1e-6)


def test_sum_of_turned_16_bit_numbers_and_float32():
    x = tl.randn((64, 48), generator=tl.Generator(3), device="cuda")
    y = tl.randn((48, 64), generator=tl.Generator(4), device="cuda").astype("bfloat16")
    expected = x.cpu() + y.cpu().T
    assert (x + y.T).tolist() == expected.tolist()
    assert (y.T + x).tolist() == expected.tolist()
