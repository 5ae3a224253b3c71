"""Arguments of the functions that make tensors."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import tensorlib as tl

MAKERS = {
    "arange": lambda start, stop: tl.arange(start, stop, 1),
    "linspace": lambda start, stop: tl.linspace(start, stop, 3),
}
NO_NUMBERS = [
    np.datetime64("2020-01-01"), np.timedelta64(1, "D"), np.array(["2020"], "M8[Y]"),
    datetime.date(2020, 1, 1), "1", b"1", None, [0.0, 1.0], np.zeros(1), object(),
]  # fmt: skip


@pytest.mark.parametrize("bound", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("op", MAKERS)
def test_bound_that_is_no_number_is_refused(op, bound):
    for start, stop in ((bound, 2), (0, bound)):
        if op == "arange" and stop is None:
            continue  # one bound
        with pytest.raises(TypeError, match=f"^{op}: expected a number as a bound"):
            MAKERS[op](start, stop)


@pytest.mark.parametrize("op", MAKERS)
def test_bound_beyond_float64_is_refused(op):
    with pytest.raises(OverflowError, match=rf"^{op}: .* got one of about 2\*\*1329"):
        MAKERS[op](0, 10**400)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(np.float32(0.5), np.float64(3)), (np.array(0.5), tl.tensor(3.0)),
     (Fraction(1, 2), Decimal(3)), (np.float16(0.5), np.int8(3))],
)  # fmt: skip
@pytest.mark.parametrize("op", MAKERS)
def test_bound_may_be_any_scalar_number(op, start, stop):
    assert MAKERS[op](start, stop).tolist() == MAKERS[op](0.5, 3).tolist()


def test_arange_of_integer_scalars_is_int64():
    for stop in (np.int32(3), np.uint8(3), tl.tensor(3), np.array(3)):
        found = tl.arange(stop)
        assert found.dtype is tl.int64
        assert found.tolist() == [0, 1, 2]


def test_linspace_takes_any_integer_as_num():
    assert tl.linspace(0, 1, np.int64(3)).tolist() == [0.0, 0.5, 1.0]
    for num in (3.0, "3", None, True):
        with pytest.raises(TypeError, match="linspace: expected an int num"):
            tl.linspace(0, 1, num)
    with pytest.raises(ValueError, match="linspace: expected num >= 0, got -1"):
        tl.linspace(0, 1, -1)


def test_arange_of_complex_or_infinite_bounds_is_refused():
    for bound in (1j, tl.tensor(1j), float("inf"), float("nan")):
        with pytest.raises(ValueError, match="arange: expected finite real numbers"):
            tl.arange(0, bound)


def test_diff_takes_n_by_position():
    x = np.array([1.0, 4.0, 9.0, 16.0])
    assert tl.diff(tl.tensor(x), 2).tolist() == np.diff(x, 2).tolist()
