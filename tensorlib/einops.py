"""einops on tensors: importing this module is enough.

einops looks for the arrays it can handle among the subclasses of its `AbstractBackend`;
this module defines one, so that after ``import tensorlib.einops`` all of `einops`
(rearrange, reduce, repeat, einsum, pack, unpack) takes tensors, with gradients. The
layers are `Rearrange`, `Reduce` and `EinMix` below. einops is not a dependency of
tensorlib, which is why nothing else imports this module.
"""

import sys

from einops._backends import AbstractBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import tensorlib as tl
from tensorlib import nn

__all__ = ["EinMix", "Rearrange", "Reduce", "TensorlibBackend"]


class TensorlibBackend(AbstractBackend):
    """What einops asks of an array library, answered by tensorlib."""

    framework_name = "tensorlib"

    def is_appropriate_type(self, tensor):
        """Tell whether `tensor` is a Tensor."""
        return isinstance(tensor, tl.Tensor)

    def from_numpy(self, x):
        """Return a tensor on the memory of a NumPy array."""
        return tl.asarray(x)

    def to_numpy(self, x):
        """Return a NumPy array on the memory of a tensor."""
        return x.detach().numpy()

    def arange(self, start, stop):
        """Return the integers from `start` to before `stop`."""
        return tl.arange(start, stop)

    def transpose(self, x, axes):
        """Return a view with the axes in another order."""
        return tl.permute_dims(x, axes)

    def reduce(self, x, operation, axes):
        """Apply the reduction of that name."""
        return getattr(tl, operation)(x, axis=tuple(axes))

    def stack_on_zeroth_dimension(self, tensors):
        """Join along a new first axis."""
        return tl.stack(tensors)

    def add_axis(self, x, new_position):
        """Return a view with an axis of length 1."""
        return tl.expand_dims(x, axis=new_position)

    def tile(self, x, repeats):
        """Repeat along each axis."""
        return tl.tile(x, tuple(repeats))

    def concat(self, tensors, axis):
        """Join along an axis."""
        return tl.concat(tensors, axis=axis)

    def is_float_type(self, x):
        """Tell whether a mean can be taken."""
        return x.dtype.is_floating_point

    def einsum(self, pattern, *x):
        """Contract; see `tensorlib.einsum`."""
        return tl.einsum(pattern, *x)

    def layers(self):
        """Return this module, which has the layers."""
        return sys.modules[__name__]


class Rearrange(RearrangeMixin, nn.Module):
    """A layer that applies `einops.rearrange`.

    Parameters
    ----------
    pattern : str
        As of `einops.rearrange`.
    **axes_lengths : int
        Lengths that the pattern leaves open.
    """

    def forward(self, input):
        """Return `input`, rearranged."""
        return self._apply_recipe(input)


class Reduce(ReduceMixin, nn.Module):
    """A layer that applies `einops.reduce`.

    Parameters
    ----------
    pattern : str
        As of `einops.reduce`.
    reduction : {"min", "max", "sum", "mean", "prod", "any", "all"}
        What is done along the axes that the pattern drops.
    **axes_lengths : int
        Lengths that the pattern leaves open.
    """

    def forward(self, input):
        """Return `input`, reduced."""
        return self._apply_recipe(input)


class EinMix(_EinmixMixin, nn.Module):
    """A linear layer along the axes that a pattern names, as einops' own for PyTorch.

    Parameters
    ----------
    pattern : str
        From the axes of the input to those of the output.
    weight_shape : str
        Axes of the weight.
    bias_shape : str, optional
        Axes of the bias.
    **axes_lengths : int
        Lengths of axes of the weight.
    """

    def _create_parameters(self, weight_shape, weight_bound, bias_shape, bias_bound):
        weight = tl.uniform(-weight_bound, weight_bound, weight_shape)
        self.weight = nn.Parameter(weight)
        self.bias = None
        if bias_shape is not None:
            self.bias = nn.Parameter(tl.uniform(-bias_bound, bias_bound, bias_shape))

    def _create_rearrange_layers(self, before, before_lengths, after, after_lengths):
        self.pre_rearrange = before and Rearrange(before, **(before_lengths or {}))
        self.post_rearrange = after and Rearrange(after, **(after_lengths or {}))

    def forward(self, input):
        """Return the contraction of `input` and the weight, plus the bias."""
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        found = tl.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            found = found + self.bias
        return found if self.post_rearrange is None else self.post_rearrange(found)
