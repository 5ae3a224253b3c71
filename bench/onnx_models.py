"""The networks of `bench.models` in ONNX Runtime, exported from PyTorch."""

import io
import logging
import warnings

import onnxruntime
import torch

import tensorlib

__all__ = ["inference"]


def _exported(module, x):
    """Bytes of the model; recurrent layers stay single operators."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is the older one
        torch.onnx.export(module, (x,), file, dynamo=False, input_names=["x"])
    return file.getvalue()


def inference(module, x):
    """Return a function of NumPy arrays of the shape of `x`, on as many threads as we.

    Parameters
    ----------
    module : torch.nn.Module
    x : torch.Tensor
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = tensorlib.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _exported(module, x), options, providers=["CPUExecutionProvider"]
    )
    return lambda array: session.run(None, {"x": array})[0]
