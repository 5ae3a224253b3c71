"""The names, arguments and defaults of nn, optim and data are PyTorch's.

Every public name of PyTorch's modules is there, or stands in `LEFT_OUT` with a reason.
Every argument of a name that both have is there with its default and in its place, or
stands in `DIFFERENT` or in one of the lists of arguments below. Then a call in the
words of PyTorch means the same here, or is refused; it never means something else.

Arguments of ours that PyTorch lacks are allowed where they cannot be mistaken: by
keyword alone, or after all of PyTorch's.
"""

import ast
import importlib
import inspect
import re

import pytest

from tensorlib import data, nn, optim

torch = pytest.importorskip("torch", minversion="2.13")

# The namespaces, and in which module of PyTorch's they are.
SPACES = {
    "nn": (nn, "torch.nn"),
    "functional": (nn.functional, "torch.nn.functional"),
    "init": (nn.init, "torch.nn.init"),
    "utils": (nn.utils, "torch.nn.utils"),
    "rnn": (nn.utils.rnn, "torch.nn.utils.rnn"),
    "optim": (optim, "torch.optim"),
    "lr_scheduler": (optim.lr_scheduler, "torch.optim.lr_scheduler"),
    "data": (data, "torch.utils.data"),
}

RENAMED = {
    "dim": "axis", "start_dim": "start_axis", "end_dim": "end_axis",
    "keepdim": "keepdims", "dim0": "axis0", "dim1": "axis1", "dims": "axes",
}  # fmt: skip

# Arguments that no name of ours has.
DEPRECATED = {"size_average", "reduce", "min_value", "max_value"}
IMPLEMENTATION = {  # which of PyTorch's kernels or graphs to use; ours are fused
    "foreach", "fused", "capturable", "differentiable", "out", "inplace",
}  # fmt: skip
PROCESSES = {  # workers here are threads
    "multiprocessing_context", "in_order",
}  # fmt: skip
ABSENT = DEPRECATED | IMPLEMENTATION | PROCESSES

# Reasons, and the names they keep out; a name that has come must leave the list.
LEFT_OUT = {
    "not a layer, but PyTorch's own machinery": {
        "Buffer", "Container", "DataChunk", "PackedSequence_", "RNNCellBase",
        "ScalingType", "SwizzleType", "argument_validation", "assert_int_or_pair",
        "bind", "boolean_dispatch", "copy_method_params",
        "default_convert", "factory_kwargs", "functional_datapipe",
        "guaranteed_datapipes_determinism", "handle_torch_function",
        "has_torch_function", "has_torch_function_unary",
        "has_torch_function_variadic", "invert_permutation",
        "multi_head_attention_forward", "native_channel_shuffle", "non_deterministic",
        "runtime_validation", "runtime_validation_disabled", "skip_init",
        "swap_in_optimizer_params_and_state",
    },
    "deprecated by PyTorch": {
        "DFIterDataPipe", "DataParallel", "IterDataPipe", "MapDataPipe", "NLLLoss2d",
        "clip_grad_norm", "constant", "dirac", "eye", "kaiming_normal",
        "kaiming_uniform", "normal", "orthogonal", "remove_spectral_norm",
        "remove_weight_norm", "sparse", "spectral_norm", "uniform", "upsample",
        "upsample_bilinear", "upsample_nearest", "weight_norm", "xavier_normal",
        "xavier_uniform",
    },
    "another spelling of an argument, return_indices": {
        "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices",
        "adaptive_max_pool3d_with_indices", "max_pool1d_with_indices",
        "max_pool2d_with_indices", "max_pool3d_with_indices",
    },
    "works in place, which autograd here has for arithmetic alone": {
        "celu_", "elu_", "hardtanh_", "leaky_relu_", "relu_", "rrelu_", "selu_",
        "threshold_",
    },
    "infers shapes at the first call": {
        "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d",
        "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d",
        "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
        "LazyInstanceNorm3d", "LazyLinear", "UninitializedBuffer",
        "UninitializedParameter",
    },
    "for several processes or devices": {"SyncBatchNorm", "get_worker_info"},
    "sparse gradients": {"SparseAdam"},
    "low precision and fusion on GPUs": {
        "LinearCrossEntropyLoss", "LinearCrossEntropyOptions",
        "convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format",
        "grouped_mm", "linear_cross_entropy", "scaled_grouped_mm", "scaled_mm",
    },
    "rarely used": {
        "ASGD", "Adafactor", "AdaptiveLogSoftmaxWithLoss", "Bilinear",
        "CrossMapLRN2d", "EmbeddingBag", "FractionalMaxPool2d",
        "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d",
        "LocalResponseNorm", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
        "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "Muon",
        "RReLU", "TripletMarginWithDistanceLoss", "affine_grid", "bilinear",
        "conv_tbc", "embedding_bag", "fractional_max_pool2d",
        "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
        "fractional_max_pool3d_with_indices", "grid_sample", "gumbel_softmax",
        "local_response_norm", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_unpool1d",
        "max_unpool2d", "max_unpool3d", "multi_margin_loss",
        "multilabel_margin_loss", "multilabel_soft_margin_loss", "pdist", "rrelu",
        "triplet_margin_with_distance_loss",
    },
}  # fmt: skip

# "space.name.argument" of PyTorch's, and why ours lacks it or has it otherwise.
_AXIS = "PyTorch chooses the axis by the number of axes, and warns; here it is the last"
_DTYPE = "astype says the same"
_PROCESS_GROUP = "there is no process group to ask"
_NONE = "PyTorch asks that None be written out"
DIFFERENT = {
    "nn.Softmax.dim": _AXIS,
    "nn.Softmin.dim": _AXIS,
    "nn.LogSoftmax.dim": _AXIS,
    "functional.softmax.dim": _AXIS,
    "functional.softmin.dim": _AXIS,
    "functional.log_softmax.dim": _AXIS,
    "functional.softmax.dtype": _DTYPE,
    "functional.softmin.dtype": _DTYPE,
    "functional.log_softmax.dtype": _DTYPE,
    "functional.batch_norm.running_mean": _NONE,
    "functional.batch_norm.running_var": _NONE,
    "functional.interpolate.antialias": "not offered",
    "rnn.PackedSequence.batch_sizes": "a PackedSequence without them means nothing",
    "data.DataLoader.shuffle": "None means False",
    "data.DataLoader.prefetch_factor": "None means 2",
    "data.DistributedSampler.num_replicas": _PROCESS_GROUP,
    "data.DistributedSampler.rank": _PROCESS_GROUP,
    "data.random_split.generator": "None means the default generator",
}


# The same for methods.
METHODS_LEFT_OUT = {
    "other devices and dtypes than there are": {
        "bfloat16", "half", "ipu", "mtia", "to_empty", "type", "xpu",
    },
    "PyTorch's compiler and processes": {"compile", "share_memory"},
    "hooks around backward, saving and the optimizer's step": {
        "get_extra_state", "register_backward_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook", "register_state_dict_post_hook",
        "register_state_dict_pre_hook", "register_step_post_hook",
        "register_step_pre_hook", "set_extra_state",
    },
    "steps of an implementation": {
        "OptimizerPostHook", "OptimizerPreHook", "check_forward_args",
        "check_hidden_size", "check_input", "check_worker_number_rationality",
        "cumsum", "get_expected_cell_size", "get_expected_hidden_size", "get_lr",
        "merge_masks", "permute_hidden", "profile_hook_step", "recursive_undo",
        "scale_fn",
    },
    "rarely used": {"fromkeys", "set_submodule"},
}  # fmt: skip


def public_names(theirs):
    """Return the callables that belong to a module of PyTorch's, not to its imports."""
    names = []
    for name, value in vars(theirs).items():
        imported = name in ("Optimizer", "bisect_right")
        if imported or name.startswith("_") or not callable(value):
            continue
        module = getattr(value, "__module__", None) or "torch"
        builtin = isinstance(value, type(torch.conv1d))
        if builtin or (module.startswith("torch.") and module != "torch.types"):
            names.append(name)
    return names


def shared_names():
    for space, (ours, module) in SPACES.items():
        for name in public_names(importlib.import_module(module)):
            if hasattr(ours, name) and name != "Module":
                yield space, name


def signature_of(value, name):
    """Return a signature, of a builtin from the first line of its documentation."""
    if name in ("RNN", "LSTM", "GRU"):
        return recurrent_parameters(name)
    if name.startswith(("max_pool", "adaptive_max")):
        value = getattr(torch.nn.functional, f"_{name}")  # what the dispatcher calls
    try:
        return list(inspect.signature(value).parameters.values())
    except ValueError:
        return documented(value, name)


def recurrent_parameters(name):
    parameters = dict(inspect.signature(torch.nn.RNNBase).parameters)
    del parameters["mode"]
    if name != "LSTM":
        del parameters["proj_size"]
    found = list(parameters.values())
    if name == "RNN":
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        found.insert(3, inspect.Parameter("nonlinearity", kind, default="tanh"))
    return found


def documented(value, name):
    found = re.match(rf"\s*{name}\((.*?)\)\s*->", value.__doc__ or "", re.DOTALL)
    text = re.sub(r"\s+", " ", found[1])
    arguments = ast.parse(f"def f({text}): pass").body[0].args
    names = [one.arg for one in arguments.args]
    empty = inspect.Parameter.empty
    defaults = [ast.literal_eval(one) for one in arguments.defaults]
    defaults = [empty] * (len(names) - len(defaults)) + defaults
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(one, kind, default=default)
        for one, default in zip(names, defaults, strict=True)
    ]


def positional(parameters):
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [one for one in parameters if one.kind in kinds]


def plain(value):
    """Return a default as something to compare."""
    if callable(value) and value is not inspect.Parameter.empty:
        return value.__name__
    return value


def test_every_name_is_there_or_left_out_for_a_reason():
    left_out = set().union(*LEFT_OUT.values())
    missing, come = set(), set()
    for ours, module in SPACES.values():
        for name in public_names(importlib.import_module(module)):
            if not hasattr(ours, name):
                missing.add(name)
            elif name in left_out:
                come.add(name)
    assert missing - left_out == set()
    assert come == set()


def name_of(theirs, ours):
    """Return our name of an argument; functions of the array namespace take x."""
    if theirs.name == "input" and ours[0].name == "x":
        return ours[0].name
    return RENAMED.get(theirs.name, theirs.name)


def test_every_method_is_there_or_left_out_for_a_reason():
    left_out = set().union(*METHODS_LEFT_OUT.values())
    tensors = {"Parameter", "PackedSequence"}
    missing = set()
    for ours, module in SPACES.values():
        for name in public_names(importlib.import_module(module)):
            theirs = getattr(importlib.import_module(module), name)
            own = getattr(ours, name, None)
            if own is None or name in tensors or not inspect.isclass(theirs):
                continue
            missing |= {
                method
                for method in dir(theirs)
                if not method.startswith("_")
                and callable(getattr(theirs, method))
                and not hasattr(own, method)
            }
    assert missing == left_out


def differences(space, name):
    """Return what a call in PyTorch's words would find different: text by argument."""
    ours_in, module = SPACES[space]
    theirs = signature_of(getattr(importlib.import_module(module), name), name)
    ours = list(inspect.signature(getattr(ours_in, name)).parameters.values())
    theirs = [one for one in theirs if not one.name.startswith("_")]
    variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    theirs = [one for one in theirs if one.kind not in variadic]
    found = {}
    held = {one.name: one for one in ours}
    only_by_place = {
        theirs[n].name
        for n, one in enumerate(positional(ours)[: len(theirs)])
        if one.kind is inspect.Parameter.POSITIONAL_ONLY
    }
    for one in theirs:
        own = held.get(name_of(one, ours))
        if one.name in ABSENT or one.name in only_by_place:
            continue
        if own is None:
            found[one.name] = "missing"
        elif plain(own.default) != plain(one.default):
            found[one.name] = f"{own.default!r} instead of {one.default!r}"
    pairs = zip(positional(ours), positional(theirs), strict=False)
    for own, one in pairs:
        if own.name != name_of(one, ours) and one.name not in only_by_place:
            found[one.name] = f"in its place stands {own.name}"
    return found


@pytest.mark.parametrize(("space", "name"), list(shared_names()))
def test_arguments_and_defaults_are_pytorchs(space, name):
    found = differences(space, name)
    assert {
        argument: text
        for argument, text in found.items()
        if f"{space}.{name}.{argument}" not in DIFFERENT
    } == {}


def test_intended_differences_exist():
    found = {
        f"{space}.{name}.{argument}"
        for space, name in shared_names()
        for argument in differences(space, name)
    }
    assert set(DIFFERENT) - found == set()
