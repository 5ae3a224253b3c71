"""Pickling and the copy module for tensors.

Values, dtype, shape, `requires_grad` and the parameter mark travel; graphs, hooks,
devices and memory shared between tensors do not: a tensor on a GPU comes back on the
CPU, because who reads it may have no GPU. Copies are where their original is. Under
protocol 5 the elements go as one `pickle.PickleBuffer`, so that a pickler with a buffer
callback moves them without a copy (PEP 574).
"""

from tensorlib.core.borrow import packed
from tensorlib.core.errors import GraphError
from tensorlib.core.interop import as_bits, over_bytes
from tensorlib.core.tensor import bind_methods


def _check_leaf(op, x):
    if not x.is_leaf:
        raise GraphError(
            f"{op}: expected a leaf tensor, got one made by {x.grad_fn}; the graph "
            "cannot be copied: use .detach()"
        )


def _with_marks(made, requires_grad, is_parameter):
    if requires_grad:
        made.requires_grad = True
    made.is_parameter = is_parameter
    return made


def rebuild_tensor(data, dtype, shape, requires_grad, is_parameter, copy):
    """Return the tensor that `reduce_tensor` took apart; the format of old pickles."""
    made = over_bytes(data, dtype, shape)
    return _with_marks(packed(made) if copy else made, requires_grad, is_parameter)


def reduce_tensor(self, protocol):
    """Return what pickle stores; see `rebuild_tensor`.

    Raises
    ------
    GraphError
        If the tensor is not a leaf.
    """
    from pickle import PickleBuffer

    _check_leaf("pickle", self)
    host = self.detach().cpu()
    if not host.is_contiguous:
        host = packed(host)
    if host.dtype.name == "bfloat16":  # which a memoryview has no format for
        host = as_bits(host)
    data = PickleBuffer(host) if protocol >= 5 else memoryview(host).tobytes()
    copy = protocol < 5 and not self.is_readonly
    marks = (self.requires_grad, self.is_parameter)
    return rebuild_tensor, (data, self.dtype.name, self.shape, *marks, copy)


def copy_tensor(self):
    """Return another leaf over the same memory.

    Raises
    ------
    GraphError
        If the tensor is not a leaf.
    """
    _check_leaf("copy", self)
    return _with_marks(self.detach(), self.requires_grad, self.is_parameter)


def deepcopy_tensor(self, memo):
    """Return a leaf with its own memory, and its own copy of the gradient.

    Raises
    ------
    GraphError
        If the tensor is not a leaf.
    """
    found = memo.get(id(self))
    if found is not None:
        return found
    _check_leaf("deepcopy", self)
    made = _with_marks(packed(self), self.requires_grad, self.is_parameter)
    memo[id(self)] = made
    if self.grad is not None:
        made.grad = deepcopy_tensor(self.grad, memo)
    return made


bind_methods(
    {
        "__reduce_ex__": reduce_tensor,
        "__copy__": copy_tensor,
        "__deepcopy__": deepcopy_tensor,
    }
)
