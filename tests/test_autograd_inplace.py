"""Changing tensors that are in a graph: versions, and what is recorded or refused."""

import pytest
from sample_leaves import leaf

import tensorlib as tl


@pytest.mark.parametrize(
    ("saver", "change", "writer"),
    [
        (lambda x: x * x, lambda x: x.add_(1), "add"),
        (lambda x: x.log(), lambda x: x.mul_(2), "multiply"),
        (lambda x: x.sin(), lambda x: x.zero_(), "assign"),
        (lambda x: x @ x, lambda x: x.__setitem__(0, 5.0), "assign"),
    ],
)
def test_error_names_who_saved_and_who_changed(saver, change, writer):
    w = leaf(1.0, 2.0)
    x = w * 1
    y = saver(x).sum()
    with tl.no_grad():
        change(x)
    with pytest.raises(tl.GraphError, match=f"saved by .*changed in place by {writer}"):
        y.backward()


def test_changing_a_saved_output_raises():
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y.sum()
    with tl.no_grad():
        y += 1
    with pytest.raises(tl.GraphError, match=r"saved by exp.*changed in place by add"):
        z.backward()


def test_changing_what_no_rule_reads_is_allowed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = (y + 1).sum()
    with tl.no_grad():
        y += 5
    z.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_version_counts_writes():
    x = tl.zeros(3)
    assert x.version == 0
    x += 1
    x[0] = 2
    assert x.version == 2
    assert x[1:].version == 2


def test_changing_a_leaf_in_place_raises():
    x = leaf(1.0)
    with pytest.raises(tl.GraphError, match=r"leaf.*no_grad"):
        x += 1
    with pytest.raises(tl.GraphError, match="leaf"):
        x[0] = 1.0
    with tl.no_grad():
        x += 1
    assert x.tolist() == [2.0]


def test_changing_a_view_in_place_raises():
    x = leaf(1.0, 2.0) * 1
    with pytest.raises(tl.GraphError, match=r"view.*base"):
        x[:1].add_(1)


def test_inplace_change_is_recorded():
    x = leaf(2.0, 3.0)
    y = x * 1
    y *= x
    y[0] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 6.0]


def test_inplace_product_with_itself_is_right():
    x = leaf(2.0, 3.0)
    y = x * 1
    y *= y
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_assigned_value_receives_its_gradient():
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 2
    y[1:2] = v
    (y * y).sum().backward()
    assert v.grad.tolist() == [10.0]
    assert x.grad.tolist() == [8.0, 0.0, 24.0]


def test_assigning_into_a_plain_tensor_records():
    base, v = tl.zeros(3, dtype="float64"), leaf(5.0)
    base[1] = v[0]
    assert base.requires_grad
    (base * base).sum().backward()
    assert v.grad.tolist() == [10.0]


def test_view_taken_before_a_recorded_change_raises():
    x = leaf(1.0, 2.0)
    y = x * 1
    view = y[:1]
    y *= 2
    with pytest.raises(tl.GraphError, match="view"):
        (view * 2).sum().backward()


def test_view_taken_after_a_recorded_change_works():
    x = leaf(1.0, 2.0)
    y = x * 1
    y *= 3
    y[:1].sum().backward()
    assert x.grad.tolist() == [3.0, 0.0]


def test_inplace_through_a_view_changes_its_base():
    base = tl.zeros((2, 3))
    base[0].add_(1)
    base.T[2] = 5
    assert base.tolist() == [[1, 1, 5], [0, 0, 5]]
