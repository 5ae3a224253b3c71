"""The kernels of image transforms, against NumPy and SciPy."""

import pytest

import tensorlib as tl
from tensorlib.ops import augment

np = pytest.importorskip("numpy")

PIXELS = ["uint8", "float32", "float64"]


def images(dtype="float32", shape=(5, 3, 6, 7), seed=0):
    values = np.random.default_rng(seed).integers(0, 256, shape)
    return values.astype(dtype)


def window_reference(batch, places, size, fill):
    count, channels, height, width = batch.shape
    out = np.full((count, channels, *size), fill, batch.dtype)
    for n, (top, left, mirrored) in enumerate(places):
        for i in range(size[0]):
            for j in range(size[1]):
                row, column = top + i, left + j
                if 0 <= row < height and 0 <= column < width:
                    k = size[1] - 1 - j if mirrored else j
                    out[n, :, i, k] = batch[n, :, row, column]
    return out


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", *PIXELS[1:]])
def test_window_equals_a_loop(dtype):
    batch = images(dtype)
    places = np.array(
        [[0, 0, 0], [-2, 3, 1], [5, -6, 0], [-9, 0, 1], [2, 2**62, 1]], np.int64
    )
    for size in ((6, 7), (3, 12), (9, 2), (0, 4), (1, 1)):
        found = augment.window(tl.asarray(batch), tl.asarray(places), size, fill=1)
        assert (found.numpy() == window_reference(batch, places, size, 1)).all()


@pytest.mark.parametrize("place", [-(2**63), 2**63 - 1])
def test_window_beyond_all_measure_is_fill(place):
    for k in (0, 1):
        places = np.zeros((1, 3), np.int64)
        places[0, k] = place
        out = augment.window(tl.ones((1, 2, 3, 4)), tl.asarray(places), (3, 4), fill=7)
        assert (out == 7.0).all().item()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_erase_and_paste_equal_slicing(dtype):
    batch = images(dtype)
    boxes = np.array(
        [[1, 3, 2, 5], [-4, 2, 5, 99], [3, 3, 0, 7], [4, 1, 0, 7], [0, 6, 0, 7]],
        np.int64,
    )
    partners = np.array([4, 0, 1, 2, 4])
    erased, pasted = batch.copy(), batch.copy()
    for n, (top, bottom, left, right) in enumerate(boxes):
        box = (slice(max(top, 0), max(bottom, 0)), slice(left, right))
        erased[n, :, *box] = 9
        pasted[n, :, *box] = batch[partners[n], :, *box]
    x, at = tl.asarray(batch), tl.asarray(boxes)
    assert (augment.erase(x, at, fill=9).numpy() == erased).all()
    assert (augment.paste(x, tl.asarray(partners), at).numpy() == pasted).all()


@pytest.mark.parametrize("dtype", PIXELS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_warp_equals_scipys(dtype, mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    batch = images(dtype)
    rng = np.random.default_rng(1)
    matrices = rng.normal(size=(5, 2, 3)) * [1, 1, 3]
    found = augment.warp(tl.asarray(batch), tl.asarray(matrices), mode=mode, fill=11.0)
    expected = np.empty(batch.shape)
    for n, c in np.ndindex(5, 3):
        ndimage.affine_transform(
            batch[n, c].astype(float), matrices[n, :, :2], matrices[n, :, 2],
            output=expected[n, c], order=mode == "bilinear", mode="grid-constant",
            cval=11.0,
        )  # fmt: skip
    if dtype == "uint8":
        expected = np.floor(expected + 0.5)
    # A sum of four products of pixels up to 255.
    tolerance = {"uint8": 0, "float32": 2e-5, "float64": 1e-11}[dtype]
    assert abs(found.numpy() - expected).max() <= tolerance


def test_warp_with_numbers_that_are_none_gives_fill():
    for value in (np.nan, np.inf, -np.inf, 1e300):
        matrices = tl.asarray(np.full((1, 2, 3), value))
        for mode in ("bilinear", "nearest"):
            out = augment.warp(tl.zeros((1, 1, 3, 3)), matrices, mode=mode, fill=5.0)
            if not (out == 5.0).all().item():
                # 1e300 * 0 + 1e300 * 0 + 1e300 never lies inside.
                raise AssertionError(value)


@pytest.mark.parametrize("dtype", PIXELS)
def test_normalize_equals_numpys(dtype):
    batch = images(dtype)
    mean, std = np.array([0.1, 100.0, -3.0]), np.array([0.5, 2.0, 3.0])
    found = augment.normalize(tl.asarray(batch), tl.asarray(mean), tl.asarray(std))
    scaled = batch / 255 if dtype == "uint8" else batch.astype(float)
    expected = (scaled - mean[:, None, None]) / std[:, None, None]
    assert found.numpy().dtype == ("float64" if dtype == "float64" else "float32")
    # Two roundings of numbers up to 255.
    tolerance = 1e-13 if dtype == "float64" else 1e-4
    assert abs(found.numpy() - expected).max() <= tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blend_equals_numpys(dtype):
    batch, partners = images(dtype), np.array([1, 0, 4, 3, 2])
    weights = np.array([0.0, 1.0, 0.25, 0.1, 0.9])
    found = augment.blend(*map(tl.asarray, (batch, partners, weights)))
    w = weights[:, None, None, None]
    expected = w * batch + (1 - w) * batch[partners].astype(float)
    assert (
        abs(found.numpy() - expected).max()
        <= {"float32": 5e-5, "float64": 1e-13}[dtype]
    )


def kernels_on(batch):
    count = batch.shape[0]
    rng = np.random.default_rng(3)
    places = tl.asarray(rng.integers(-3, 3, (count, 3)))
    boxes = tl.asarray(rng.integers(0, 6, (count, 4)))
    partners = tl.asarray(rng.permutation(count))
    channel = tl.ones(batch.shape[1], dtype=tl.float64)
    return [
        augment.window(batch, places, (5, 9)),
        augment.erase(batch, boxes),
        augment.paste(batch, partners, boxes),
        augment.warp(batch, tl.asarray(rng.normal(size=(count, 2, 3)))),
        augment.normalize(batch, channel * 0.3, channel * 0.7),
        augment.blend(batch, partners, tl.asarray(rng.random(count))),
    ]


def test_kernels_give_the_same_bits_on_any_number_of_threads():
    batch = tl.asarray(images(shape=(40, 3, 40, 41)))
    with tl.num_threads(1):
        expected = [out.numpy().tobytes() for out in kernels_on(batch)]
    for threads in (2, 3, 8):
        with tl.num_threads(threads):
            assert [out.numpy().tobytes() for out in kernels_on(batch)] == expected


def test_kernels_take_views():
    whole = images(shape=(10, 7, 6, 3))
    view = tl.permute_dims(tl.asarray(whole), (0, 3, 2, 1))[::-2]
    plain = tl.asarray(np.ascontiguousarray(whole.transpose(0, 3, 2, 1)[::-2]))
    for found, expected in zip(kernels_on(view), kernels_on(plain), strict=True):
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)]
)
def test_kernels_of_nothing(shape):
    for out in kernels_on(tl.zeros(shape)):
        assert out.shape[:2] == shape[:2]


PLACES = tl.zeros((2, 3), dtype=tl.int64)
BOXES = tl.zeros((2, 4), dtype=tl.int64)
WRONG_CALLS = {
    "3-d": (lambda x: augment.window(x[0], PLACES, (1, 1)), tl.ShapeError, "N, C, H"),
    "count": (
        lambda x: augment.window(x, PLACES[:1], (1, 1)), tl.ShapeError, r"\(2, 3\)",
    ),
    "float places": (
        lambda x: augment.window(x, tl.zeros((2, 3)), (1, 1)), tl.DTypeError, "int64",
    ),
    "size": (lambda x: augment.window(x, PLACES, (-1, 1)), ValueError, "window"),
    "size of 2^62": (
        lambda x: augment.window(x, PLACES, (2**62, 2**62)), MemoryError, "window",
    ),
    "size of 2^40": (
        lambda x: augment.window(x, PLACES, (2**40, 2**8)), MemoryError, "bytes",
    ),
    "boxes": (lambda x: augment.erase(x, PLACES), tl.ShapeError, r"boxes.*\(2, 4\)"),
    "partner": (
        lambda x: augment.paste(x, tl.tensor([0, 2]), BOXES), IndexError, "range",
    ),
    "partner -1": (
        lambda x: augment.blend(x, tl.tensor([0, -1]), tl.zeros(2, dtype=tl.float64)),
        IndexError, "out of range",
    ),
    "mode": (
        lambda x: augment.warp(x, tl.zeros((2, 2, 3), dtype=tl.float64), mode="cubic"),
        ValueError, "mode",
    ),
    "dtype": (
        lambda x: augment.warp(x.astype(tl.int32), tl.zeros((2, 2, 3))), tl.DTypeError,
        "uint8, float32, float64, got int32",
    ),
    "channels": (
        lambda x: augment.normalize(x, *[tl.ones(2, dtype=tl.float64)] * 2),
        tl.ShapeError, r"mean.*\(3,\)",
    ),
    "tracked": (
        lambda x: augment.erase(tl.ones((2, 3, 1, 1), requires_grad=True), BOXES),
        tl.GraphError, "detach",
    ),
    "none": (lambda x: augment.erase(None, BOXES), TypeError, "erase"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_kernels_with_wrong_arguments_raise(name):
    function, kind, text = WRONG_CALLS[name]
    with pytest.raises(kind, match=text):
        function(tl.zeros((2, 3, 4, 5)))
