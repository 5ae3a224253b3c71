"""Random calls of everything public, each reproducible from its number.

Where there is a GPU, arguments are on it now and then, and a call whose tensors are on
two devices has to raise a DeviceError that names both.

Run as a script by `test_fuzz`: ``fuzz_calls.py seed count log``. The number of each
call is written to the log before the call, so that a crash is named by its last one;
``fuzz_calls.py seed number`` makes that call alone and shows it.
"""

import contextlib
import inspect
import os
import random
import resource
import sys
import warnings
from collections import Counter

import numpy as np
from op_rows import (
    LAYOUTS,
    applied,
    arrays_in,
    as_tuple,
    call,
    contiguous,
    expected_of,
    generator_for,
)
from op_samples import OPS

import tensorlib as tl
from tensorlib import build_info
from tensorlib.ops import fused_optim

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
ALLOWED = (
    tl.AxisError,
    tl.ShapeError,
    tl.DTypeError,
    tl.DeviceError,
    tl.GraphError,
    tl.linalg.LinAlgError,
    ValueError,
    TypeError,
    IndexError,
    MemoryError,
    OverflowError,
    ZeroDivisionError,
    BufferError,
)
GPU = tl.cuda.is_available()
# Rows that take tensors of several devices: copies, views, positions and counts.
MIXING = {
    "copy_", "getitem", "setitem", "take", "searchsorted", "broadcast_arrays",
    "meshgrid", "ctc_loss", "repeat", "index_select",
}  # fmt: skip
MIXED = "mixed"
# Texts of errors that happen by accident, inside, rather than by a check.
ACCIDENTS = (
    "NoneType' object is",
    "NoneType' object has",
    "has no attribute",
    "referenced before",
    "not subscriptable",
)


class EvilError(Exception):
    """What the hostile arguments raise themselves; it may pass through."""


class EvilIndex:
    def __index__(self):
        raise EvilError("index")

    def __float__(self):
        raise EvilError("float")

    def __bool__(self):
        raise EvilError("bool")


class EvilSequence:
    def __len__(self):
        return 3

    def __getitem__(self, k):
        raise EvilError("item")


class LyingIndex:
    def __index__(self):
        return 10**40


# ---- arguments -----------------------------------------------------------------
def shape_of(r):
    if r.random() < 0.02:
        return (1,) * r.choice((8, 31, 32))
    return tuple(
        r.choice((0, 1, 1, 2, 2, 3, 4)) for _ in range(r.choice((0, 1, 1, 2, 2, 3, 4)))
    )


def tensor_of(r, dtype=None, shape=None):
    dtype = dtype or r.choice(DTYPES)
    shape = shape_of(r) if shape is None else shape
    a = np.asarray(np.random.default_rng(r.getrandbits(32)).normal(size=shape) * 3)
    if dtype.startswith("uint"):
        a = np.asarray(abs(a))
    layout = r.choice([contiguous, contiguous, *LAYOUTS.values()])
    if a.ndim > 6:
        layout = contiguous  # the sliced one takes 3**ndim elements
    if dtype.startswith("complex"):
        a = np.asarray(a + a[..., ::-1] * 1j if a.ndim else a + 2j)
    stored = "float32" if dtype == "bfloat16" else dtype  # which NumPy lacks
    x = layout(a.astype(stored)).astype(dtype)
    kind = r.random()
    if kind < 0.1 and x.ndim < 8:
        x = x.broadcast_to((r.randint(0, 3), *x.shape))
    elif kind < 0.15:
        b = a.astype(stored)
        b.flags.writeable = False
        x = tl.asarray(b)
    elif kind < 0.35 and x.dtype.is_floating_point:
        x.requires_grad = True
        if r.random() < 0.5:
            x = x * 1
    if GPU and r.random() < 0.3:
        x = x.to("cuda")
    return x


def cyclic_list(r):
    found = [1, 2]
    found[r.randint(0, 1)] = found
    return found


INTEGERS = (
    0,
    1,
    -1,
    2,
    -2,
    3,
    5,
    -7,
    2**31,
    -(2**31) - 1,
    2**40,
    2**62,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
    10**30,
    -(10**30),
)
# Beyond memory, beyond 64 bits, and empty although their other extents are not.
HUGE_SHAPES = (
    (2**31, 2**31),
    (2**32, 2**32),
    (2**21,) * 3,
    (0, 2**62, 4),
    (2**62, 4, 0),
    (2**63 - 1, 0),
    (1, 2**40, 1),
    (3,) * 16,
    (2,) * 17,
)
REALS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))
ARRAYS = (
    "float16",
    "complex64",
    "int8",
    "uint64",
    "object",
    "datetime64[s]",
    "U3",
    ">f4",
    "f4",
    "f8",
    "i8",
    "?",
)


def odd(r):
    """Something that most functions do not take."""
    makers = (
        lambda: "abc",
        lambda: "",
        lambda: b"ab",
        lambda: bytearray(b"abcd"),
        lambda: None,
        lambda: object(),
        lambda: {},
        lambda: {"a": 1},
        lambda: {1, 2},
        lambda: ...,
        lambda: slice(None),
        lambda: slice(2, None, -1),
        lambda: slice("a", 0.5),
        lambda: 1j,
        lambda: range(3),
        lambda: len,
        lambda: int,
        lambda: float,
        lambda: EvilIndex(),
        lambda: EvilSequence(),
        lambda: LyingIndex(),
        lambda: cyclic_list(r),
        lambda: [[1, 2], [3]],
        lambda: [[]],
        lambda: [],
        lambda: [None],
        lambda: [1, "a"],
        lambda: [[1.0, 2.0], [3.0, 4.0]],
        lambda: (x for x in (1, 2)),
        lambda: iter([1]),
        lambda: tl.float32,
        lambda: tl.device("cpu"),
        lambda: tl.Generator(1),
        lambda: tl,
        lambda: tl.Tensor,
        lambda: np.float64(1.5),
        lambda: np.int8(3),
        lambda: np.bool_(True),
        lambda: memoryview(b"abcd"),
        lambda: NotImplemented,
        lambda: "int64",
        lambda: "cuda:0",
        lambda: "float16",
        lambda: [tensor_of(r), tensor_of(r)],
        lambda: (tensor_of(r), 1),
        lambda: [tl.ones(2), [1.0, 2.0]],
        lambda: np.zeros(shape_of(r), r.choice(ARRAYS)),
        lambda: np.zeros((4, 4), "f4")[:, ::-2],
    )
    return r.choice(makers)()


def key_of(r):
    """Something that indexes, or nearly."""
    makers = (
        lambda: None,
        lambda: ...,
        lambda: slice(r.choice((None, *INTEGERS[:9])), None),
        lambda: slice(None, r.choice(INTEGERS), r.choice(INTEGERS)),
        lambda: r.choice(INTEGERS[:8]),
        lambda: tensor_of(r, "int64"),
        lambda: tensor_of(r, "bool"),
        lambda: [0, 1],
        lambda: value(r),
    )
    count = r.choice((1, 1, 2, 2, 3, 4, 17, 40))
    if count > 4:
        return (None,) * count
    return tuple(r.choice(makers)() for _ in range(count))


def value(r):
    kind = r.random()
    if kind < 0.38:
        return tensor_of(r)
    if kind < 0.55:
        return r.choice(INTEGERS)
    if kind < 0.62:
        return r.choice(REALS)
    if kind < 0.66:
        return r.choice((True, False))
    if kind < 0.78:
        return tuple(r.choice(INTEGERS[:9]) for _ in range(r.randint(0, 4)))
    if kind < 0.785:
        return r.choice(HUGE_SHAPES)
    if kind < 0.80:
        return tuple(r.choice(REALS + INTEGERS) for _ in range(r.randint(0, 3)))
    return odd(r)


KEYWORDS = (
    "axis",
    "keepdims",
    "dtype",
    "device",
    "requires_grad",
    "correction",
    "copy",
    "generator",
    "shape",
    "k",
    "endpoint",
    "value",
    "reduction",
    "ignore_index",
    "label_smoothing",
    "approximate",
    "num_classes",
    "eps",
    "p",
    "x",
    "bogus",
)


# ---- what is called ------------------------------------------------------------
SKIPPED = {
    "set_num_threads",
    "num_threads",
    "set_memory_limit",
    "set_grad_enabled",
    "no_grad",
    "enable_grad",
    "save",
    "load",
    "manual_seed",
    "MetricsWriter",
}


SETTABLE = {"grad", "data", "requires_grad", "is_parameter"}


def attribute(name):
    def read(x, *args):
        if not isinstance(x, tl.Tensor):
            raise TypeError("not a tensor")  # Python's own business
        if args and name in SETTABLE:
            setattr(x, name, args[0])
        return getattr(x, name)

    read.__name__ = name
    return read


def operator_of(name):
    def apply(x, *args):
        if not isinstance(x, tl.Tensor):
            raise TypeError("not a tensor")  # Python's own business
        if name == "__deepcopy__":
            args = ({},)
        return getattr(x, name)(*args)

    apply.__name__ = name
    return apply


def targets():
    found = {}
    for name in dir(tl):
        if name.startswith("_") or name in SKIPPED:
            continue
        item = getattr(tl, name)
        if not callable(item):
            continue
        if isinstance(item, type) and issubclass(item, BaseException):
            continue
        found[f"tl.{name}"] = item
    for name, item in vars(tl.Tensor).items():
        if callable(item) and not name.startswith("_"):
            found[f"Tensor.{name}"] = item
        elif not callable(item) and not name.startswith("_"):
            found[f"Tensor.{name}="] = attribute(name)
    operators = [
        "getitem",
        "setitem",
        "add",
        "radd",
        "iadd",
        "sub",
        "rsub",
        "isub",
        "mul",
        "rmul",
        "imul",
        "truediv",
        "rtruediv",
        "itruediv",
        "floordiv",
        "rfloordiv",
        "ifloordiv",
        "mod",
        "rmod",
        "imod",
        "matmul",
        "rmatmul",
        "and",
        "rand",
        "iand",
        "or",
        "ror",
        "ior",
        "xor",
        "lshift",
        "ilshift",
        "rshift",
        "irshift",
        "pow",
        "rpow",
        "ipow",
        "neg",
        "abs",
        "invert",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "contains",
        "format",
        "int",
        "float",
        "complex",
        "index",
        "len",
        "bool",
        "iter",
        "repr",
        "hash",
        "array",
        "dlpack",
        "dlpack_device",
        "copy",
        "deepcopy",
        "reduce_ex",
    ]
    for name in operators:
        if hasattr(tl.Tensor, f"__{name}__"):
            found[f"Tensor.__{name}__"] = operator_of(f"__{name}__")
    for name in ("backward", "grad", "jvp"):
        found[f"autograd.{name}"] = getattr(tl.autograd, name)
    found["optimizer_step"] = fused_optim.optimizer_step
    return list(found.items())


def counts_of(name, function):
    """The least and the largest number of positional arguments."""
    if name.endswith(("getitem__", "setitem__")):
        return 3 - ("get" in name), 3 - ("get" in name)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0, 4
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in parameters if p.kind in kinds]
    if any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 1, 4
    return sum(p.default is p.empty for p in positional), len(positional)


TARGETS = [(name, f, counts_of(name, f)) for name, f in targets()]
# Rows whose function calls methods of its first argument before any op.
WRAPPED = {
    "getitem",
    "setitem",
    "fill_",
    "zero_",
    "copy_",
    "add_",
    "sub_",
    "mul_",
    "div_",
    "from_numpy",
    "optimizer_step",
    "fft.fftfreq",
    "fft.rfftfreq",
}


REFERRED = [op for op in OPS if op.reference is not None]


class Rows:
    """Calls of the table with their expected results, made once."""

    def __init__(self):
        self.known = {}

    def pick(self, r):
        op = r.choice(REFERRED)
        dtype = r.choice(op.dtypes)
        if (op, dtype) not in self.known:
            calls = op.calls(dtype, generator_for("fuzz" + op.name + dtype))
            calls = [c for c in calls if sum(a.size for a in arrays_in(c)) < 2000]
            self.known[op, dtype] = [(c, expected_of(op, c)) for c in calls]
        return op, dtype, *r.choice(self.known[op, dtype])


def take_of(holder):
    def take(*args, **kwargs):
        holder["args"], holder["kwargs"] = list(args), kwargs

    return take


def moved(layout):
    return lambda a: layout(a).to("cuda")


# They are handed NumPy arrays, or hand out CPU tensors.
UNMOVED = {"from_numpy", "from_dlpack"}


def mixed(op, arguments, take, r):
    """Make one array with axes a CPU tensor and the others CUDA's, if there are two."""
    arrays = arrays_in(arguments)
    if op.name in MIXING or len(arrays) < 2 or any(a.ndim == 0 for a in arrays):
        return False
    place = r.randrange(len(arrays))
    count = iter(range(len(arrays)))

    def convert(a):
        x = contiguous(a)
        return x if next(count) == place else x.to("cuda")

    applied(take, convert, arguments)
    return True


def make(seed, number, rows):
    """The call of that number: (name, function, args, kwargs, check)."""
    r = random.Random(seed * 1_000_003 + number)
    if r.random() < 0.3:
        op, dtype, arguments, expected = rows.pick(r)
        layout = r.choice([contiguous, *LAYOUTS.values()])
        if op.name == "as_strided" or op.writes:
            layout = contiguous
        holder = {}
        if GPU and op.name not in UNMOVED and r.random() < 0.4:
            if r.random() < 0.3 and mixed(op, arguments, take_of(holder), r):
                args, kwargs = holder["args"], holder["kwargs"]
                return f"row {op.name} {dtype}", op.function, args, kwargs, MIXED
            layout = moved(layout)

        applied(take_of(holder), layout, arguments)
        args, kwargs = list(holder["args"]), holder["kwargs"]
        check = (op, expected)
        if r.random() < 0.6:
            check = None
            how = r.random()
            least = 1 if op.name in WRAPPED else 0
            if how < 0.6 and len(args) > least:
                args[r.randrange(least, len(args))] = value(r)
            elif how < 0.8:
                args.append(value(r))
            elif how < 0.9:
                kwargs[r.choice(KEYWORDS)] = value(r)
            elif len(args) > least:
                args.pop()
        return f"row {op.name} {dtype}", op.function, args, kwargs, check
    name, function, (least, most) = r.choice(TARGETS)
    most = r.randint(0, 5) if r.random() < 0.1 else r.randint(least, most)
    args = [value(r) for _ in range(most)]
    kwargs = {r.choice(KEYWORDS): value(r)} if r.random() < 0.2 else {}
    if name.startswith("Tensor."):
        args = args if args or r.random() < 0.05 else [None]
        if r.random() < 0.95:
            args[:1] = [tensor_of(r)]
    elif args and r.random() < 0.5:
        args[0] = tensor_of(r)
    if name.endswith("item__") and len(args) > 1 and r.random() < 0.8:
        args[1] = key_of(r)
    if r.random() < 0.3:
        # Arguments that fit each other more often.
        shape, dtype = shape_of(r), r.choice(DTYPES)
        args = [tensor_of(r, dtype, shape) if type(a) is tl.Tensor else a for a in args]
    return name, function, args, kwargs, None


ELEMENTWISE = {f"tl.{op.name}": op for op in OPS if op.special}


def reference_of(name, args, kwargs):
    """The table's row and its results for tensors of one dtype, or None."""
    op = ELEMENTWISE.get(name)
    if op is None or kwargs or not args or any(type(a) is not tl.Tensor for a in args):
        return None
    if len({a.device for a in args}) > 1:
        return None
    if len({a.dtype.name for a in args}) > 1 or args[0].dtype.name not in op.dtypes:
        return None  # among them the halves, whose results are rounded once more
    if max(a.size for a in args) > 10_000 or op.name in (
        "pow",
        "remainder",
        "floor_divide",
    ):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return op, expected_of(op, call(*[a.detach().cpu().numpy() for a in args]))
    except (TypeError, ValueError):
        return None  # NumPy refuses these shapes or this number of arguments


def mismatch(op, found, expected):
    """What differs from the reference, or None."""
    found = as_tuple(found)
    if len(found) != len(expected):
        return f"{len(found)} results, not {len(expected)}"
    for y, e in zip(found, expected, strict=True):
        if y.shape != e.shape:
            return f"shape {y.shape}, not {e.shape}"
        values = y.detach().cpu().numpy()
        e = e.astype(values.dtype)
        if np.array_equal(values, e):
            continue
        if values.dtype.kind != "f":
            return f"{values}, not {e}"
        rtol, atol = op.tolerance[values.dtype.name]
        if not np.allclose(values, e, rtol=rtol, atol=atol, equal_nan=True):
            return f"{values}, not {e}"
    return None


def sound(result):
    """Touch what came back: a tensor whose layout lies would fault here."""
    for y in as_tuple(result):
        if type(y) is tl.Tensor and max(y.size, *y.shape, 0, 0) < 10_000:
            assert y.size == int(np.prod(y.shape))
            y.detach().tolist()
            repr(y)
            if y.requires_grad and y.dtype.is_floating_point:
                with contextlib.suppress(*ALLOWED):
                    tl.autograd.backward(y.sum())


def perform(name, function, args, kwargs, check):
    """Make the call; return (outcome, complaint)."""
    try:
        result = function(*args, **kwargs)
        if check == MIXED:
            return "equal", "tensors of two devices were taken"
        if check is not None:
            wrong = mismatch(check[0], result, check[1])
            return "equal", wrong and f"wrong result: {wrong}"
        row = reference_of(name, args, kwargs)
        if row is not None:
            wrong = mismatch(row[0], result, row[1])
            return "equal", wrong and f"wrong result: {wrong}"
        sound(result)
        return "result", None
    except EvilError:
        return "evil", None
    except BaseException as error:
        if check == MIXED and type(error) is tl.DeviceError:
            text = str(error)
            both = "cpu" in text and "cuda:0" in text
            return "mixed", None if both else f"the text names not both: {text[:200]}"
        if check is not None:
            return "error", f"valid call raised {type(error).__name__}: {error}"
        text = str(error)
        if (
            type(error) not in ALLOWED
            or len(text) < 4
            or any(a in text for a in ACCIDENTS)
        ):
            return "error", f"raised {type(error).__name__}: {text[:200]}"
        return type(error).__name__, None
    finally:
        tl.set_grad_enabled(True).__enter__()
        if GPU:  # what a kernel found must not be raised by the next call
            with contextlib.suppress(*ALLOWED):
                tl.cuda.synchronize()


def shown(item, depth=0):
    """A short text of an argument that calls none of its methods at risk."""
    if type(item) is tl.Tensor:
        flags = "".join(
            [
                " requires_grad" * item.requires_grad,
                " readonly" * item.is_readonly,
                " cuda" * item.is_cuda,
            ]
        )
        return f"<{item.dtype} {item.shape} strides {item.strides}{flags}>"
    if isinstance(item, (list, tuple)) and depth < 3:
        return f"{type(item).__name__}({', '.join(shown(i, depth + 1) for i in item)})"
    if isinstance(item, np.ndarray):
        return f"<array {item.dtype} {item.shape}>"
    return repr(item)[:80]


def described(seed, number):
    name, _, args, kwargs, check = make(seed, number, Rows())
    given = [shown(a) for a in args] + [f"{k}={shown(v)}" for k, v in kwargs.items()]
    return f"call {number}: {name}({', '.join(given)}){' [valid]' if check else ''}"


def limit_memory():
    tl.set_memory_limit(1 << 29)
    if GPU:
        tl.cuda.set_memory_limit(1 << 29)


def main(seed, count, log):
    warnings.simplefilter("ignore")
    # The sanitizer and CUDA's driver reserve terabytes of addresses.
    if "address" not in build_info.sanitize and not GPU:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34))
    limit_memory()
    rows, outcomes, complaints = Rows(), Counter(), {}
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    for number in range(count):
        os.pwrite(file, b"%020d" % number, 0)
        call = make(seed, number, rows)
        outcome, complaint = perform(*call)
        outcomes[outcome] += 1
        if complaint:
            complaints.setdefault(
                (call[0].split()[0:2], complaint[:60]).__repr__(), []
            ).append((number, complaint))
        if tl.memory_stats()["limit"] != 1 << 29:
            complaints.setdefault("limit", []).append((number, "changed the limit"))
    for found in complaints.values():
        number, complaint = found[0]
        print(f"{len(found)} x {described(seed, number)}\n    {complaint}")
    print(dict(outcomes), file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    if len(sys.argv) == 4:
        sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
    seed, number = int(sys.argv[1]), int(sys.argv[2])
    limit_memory()
    print(described(seed, number), flush=True)
    print(perform(*make(seed, number, Rows())))
