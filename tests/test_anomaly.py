"""detect_anomaly: the op that made NaN or infinity, its inputs, the line."""

import inspect
import threading

import numpy as np
import pytest
from op_rows import applied, arrays_in, as_tuple, contiguous
from op_samples import OPS

import tensorlib as tl
from tensorlib.autograd import detect_anomaly


def here(offset=0):
    """The file and line of the caller."""
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno + offset}"


def caught(function):
    with detect_anomaly(), pytest.raises(FloatingPointError) as caught:
        function()
    return caught.value


def test_forward_names_op_ranges_and_line():
    x = tl.tensor([4.0, 0.0, 2.0])
    line = here(1)
    error = caught(lambda: tl.log(x))
    assert str(error) == (
        "log: expected a finite result of finite inputs, got float32 (3,) in "
        "[0.693147, 1.38629] with 1 inf, 0 NaN; inputs: float32 (3,) in [0, 4], at "
        f"{line}: error = caught(lambda: tl.log(x))"
    )


def test_backward_names_both_ops_and_the_line_of_the_forward_one():
    x = tl.tensor([4.0, 0.0], requires_grad=True)
    with detect_anomaly():
        line = here(1)
        y = tl.sqrt(x)
        with pytest.raises(FloatingPointError, match=r"divide: .*1 inf") as caught:
            y.sum().backward()
    assert caught.value.__notes__ == [
        f"in the backward of sqrt, recorded at {line}: y = tl.sqrt(x)"
    ]


MAKERS = {
    "NaN": lambda: tl.sqrt(tl.tensor([-1.0])),
    "overflow": lambda: tl.exp(tl.tensor([1e3])),
    "cast": lambda: tl.tensor([1e300], dtype=tl.float64).astype(tl.float32),
    "in place": lambda: tl.tensor([1e38]).mul_(1e38),
    "strided": lambda: tl.tensor([[1.0, 0.0], [1.0, 1.0]])[:, 1].log(),
    "large": lambda: tl.log(tl.arange(1_000_000, dtype=tl.float32)),
    "into a view": lambda: tl.zeros((3, 4))[1:, ::2].add_(1).div_(0),
    "0-d": lambda: tl.tensor(1.0) / tl.tensor(0.0),
    "product": lambda: tl.full((4, 4), 1e30) @ tl.full((4, 4), 1e30),
    "float16": lambda: tl.tensor([1.0, 300.0], dtype="float16").mul_(300),
    "bfloat16": lambda: tl.log(tl.tensor([0.0], dtype="bfloat16")),
    "half cast": lambda: tl.tensor([1e5]).astype("float16"),
    "complex64": lambda: tl.tensor([1 + 1j, 0j]) / tl.tensor([1j, 0j]),
    "complex128": lambda: tl.log(tl.tensor([1j, 0j], dtype="complex128")),
    "imaginary part": lambda: tl.tensor([1 + 3e38j]) * 2,
    "complex strided": lambda: tl.ones((4, 3), dtype="complex64").T[1:, ::2].div_(0),
    "complex product": lambda: tl.full((2, 2), 3e38j) @ tl.full((2, 2), 3 + 0j),
}


@pytest.mark.parametrize("name", MAKERS)
def test_op_that_makes_it_raises(name):
    assert "expected a finite result" in str(caught(MAKERS[name]))
    assert MAKERS[name]() is not None  # outside nothing is looked at


INNOCENT = {
    "infinite input": lambda: tl.exp(tl.tensor([float("inf")])),
    "constant": lambda: tl.full(3, float("inf")),
    "mask": lambda: tl.where(tl.tensor([True, False]), -float("inf"), 1.0),
    "masked softmax": lambda: tl.softmax(
        tl.masked_fill(tl.ones((2, 2)), tl.tensor([[True, False]] * 2), -float("inf"))
    ),
    "in place": lambda: tl.tensor([float("nan")]).mul_(2),
    "integers": lambda: tl.tensor([2**30]) * 2**20,
    "empty": lambda: tl.log(tl.zeros((0, 3))),
    "uninitialised": lambda: tl.empty(1000),
    "infinite complex input": lambda: tl.abs(tl.tensor([complex(0, float("inf"))])),
    "infinite half input": lambda: tl.tensor([float("inf")], dtype="float16") * 2,
    "large half": lambda: tl.tensor([6e4], dtype="float16") + 1,
    "large complex": lambda: tl.tensor([3e38 + 3e38j]) * 1j,
}


@pytest.mark.parametrize(
    ("make", "result"),
    [
        (
            lambda: tl.tensor([1.0, 300.0], dtype="float16") * 300,
            "multiply: .*, got float16 (2,) in [300, 300] with 1 inf, 0 NaN",
        ),
        (
            lambda: tl.tensor([3 + 4j, 0j]) / tl.tensor([1 + 0j, 0j]),
            "divide: .*, got complex64 (2,) of magnitudes in [5, 5] with 0 inf, 1 NaN",
        ),
    ],
    ids=["half", "complex"],
)
def test_message_describes_halves_and_complex_numbers(make, result):
    op, described = result.split(".*")
    message = str(caught(make))
    assert message.startswith(op)
    assert described in message


@pytest.mark.parametrize("name", INNOCENT)
def test_op_that_does_not_make_it_passes(name):
    with detect_anomaly():
        INNOCENT[name]()


# ctc_loss(zero_infinity=True) masks the infinities that its kernel has made.
@pytest.mark.parametrize("op", [op for op in OPS if op.name != "ctc_loss"], ids=repr)
def test_every_op_is_blamed_only_where_its_result_is_not_finite(op):
    rng = np.random.default_rng(1)
    for arguments in op.calls(op.dtypes[-1], rng):
        if sum(a.size for a in arrays_in(arguments)) > 3000:
            continue
        try:
            with detect_anomaly():
                applied(op.function, contiguous, arguments)
        except FloatingPointError:
            found = as_tuple(applied(op.function, contiguous, arguments))
            floats = [y for y in found if y.dtype.is_floating_point]
            assert not all(tl.all(tl.isfinite(y)).item() for y in floats)


def test_line_is_the_users_in_a_layer_of_ours():
    layer = tl.nn.Linear(2, 2)
    layer.weight.data = tl.full((2, 2), 1e38)
    line = here(1)
    error = caught(lambda: layer(tl.full((1, 2), 1e38)))
    assert line in str(error)
    assert "in module Linear" in error.__notes__[0]


def test_check_nan_off_looks_at_nothing():
    with detect_anomaly(check_nan=False):
        tl.log(tl.zeros(1))
    with pytest.raises(TypeError, match="detect_anomaly: expected a bool, got 1"):
        detect_anomaly(1)


def test_other_threads_are_not_looked_at():
    found = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(tl.log(tl.zeros(1))))
        thread.start()
        thread.join()
    assert found[0].tolist() == [-float("inf")]


def test_contexts_nest_and_end():
    with detect_anomaly():
        with detect_anomaly():
            pass
        with pytest.raises(FloatingPointError):
            tl.log(tl.zeros(1))
    tl.log(tl.zeros(1))


@pytest.mark.parametrize("value", [tl.nan, tl.inf])
def test_broadcast_operand_that_is_not_finite_is_seen(value):
    # Memory that stands for many elements is looked at once; the op is not to blame.
    x, row = tl.ones((4, 5)), tl.tensor([[0.0, 0.0, value, 0.0, 0.0]])
    with tl.autograd.detect_anomaly():
        assert not (x + row).isfinite().all().item()
        x.add_(row)
        x.T.add_(tl.tensor(value))
    views = (tl.full((4, 1), 3e38).broadcast_to((4, 5)), tl.full((5, 4), 3e38).T)
    for y in views:
        with tl.autograd.detect_anomaly(), pytest.raises(FloatingPointError):
            y * 2
