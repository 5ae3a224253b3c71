"""Layers, losses and their containers: PyTorch's names, defaults and layouts."""

from tensorlib.nn import functional, init, utils
from tensorlib.nn.activation import (
    GELU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tensorlib.nn.container import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from tensorlib.nn.dropout import Dropout
from tensorlib.nn.linear import Flatten, Identity, Linear, Unflatten
from tensorlib.nn.loss import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SoftmaxLoss,
)
from tensorlib.nn.module import Module
from tensorlib.nn.normalization import BatchNorm1d, LayerNorm
from tensorlib.nn.parameter import Parameter
from tensorlib.nn.recurrent import (
    GRU,
    LSTM,
    RNN,
    GRUCell,
    LSTMCell,
    RNNBase,
    RNNCell,
)
from tensorlib.nn.residual import Residual
from tensorlib.nn.sparse import Embedding

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "Identity",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "RNNBase",
    "RNNCell",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxLoss",
    "Softplus",
    "Tanh",
    "Unflatten",
    "functional",
    "init",
    "utils",
]
