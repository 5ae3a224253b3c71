"""``nn.utils``, PyTorch's name for functions over parameters and gradients."""

from tensorlib.nn.utils import rnn
from tensorlib.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_
from tensorlib.nn.utils.convert_parameters import (
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
]
