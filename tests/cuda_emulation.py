"""CUDA kernels on the CPU: compile cuda/*.cu with g++ and call entries on NumPy arrays.

    from cuda_emulation import Host, ReduceParams, load

    kernels = load("reduce")  # cuda/reduce.cu; load("matmul", "cublaslt") for two files
    x, out = np.ones((4, 5), np.float32), np.empty(4, np.float32)
    kernels.call("sum", out, [x], params=ReduceParams(n_reduced=1, scale=1))
    kernels.call("multiply", out, [out, Host(np.float32(2))])  # an operand on the CPU
    kernels.call("sum", bits_out, [bits], params=..., dtype="bfloat16")  # uint16 arrays
    status = kernels.call(...)  # OK or DECLINED; anything else raises KernelError

Operands are arrays of any strides, their dtypes those of the arrays (uint16 is bfloat16
where `dtype` is); `Operand(array, dtype)` says otherwise and None is a NULL operand.
`dtype` names the table entry; by default that of the first input that is not None, or
of the first output. Arrays that overlap (an in-place call, a part behind a part) share
device memory, as far from a 256-byte boundary as on the host: ``x[1:]`` is not aligned.

Each call runs twice from the same state, threads and blocks in reverse the second time,
and raises where the bits differ: a barrier is missing or the order matters (`orders=1`
runs once). It raises too

- when a kernel wrote outside of its operands or into the gaps between their elements,
- when an access is not aligned as a GPU needs it, or an index lies outside of an array
  of fixed size, or memory past the launch's dynamic shared memory is written,
- when threads wait for each other in vain,
- when the device reported a fault (`FaultError`, the outputs being copied back).

Elements that no thread writes stay as they were in `out`. Launches run after the
operands' descriptions and `params` are gone: a kernel that keeps a pointer to them
reads 0xff bytes, as it does from shared and scratch memory that nobody has written.

`python tests/cuda_emulation.py reduce` compiles a family and lists its entries.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OK, DECLINED = 0, 7
STATUS = (
    "ok", "out of memory", "index out of range", "division by zero",
    "negative exponent", "bad target", "device error", "declined",
)  # fmt: skip
DTYPES = {
    name: code
    for code, name in enumerate(
        [
            "bool",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float16",
            "bfloat16",
            "float32",
            "float64",
            "complex64",
            "complex128",
        ]
    )
}
FLAGS = [
    "-std=c++17", "-O1", "-fPIC", "-fno-gnu-unique", "-fno-semantic-interposition",
    "-fno-math-errno", "-ffp-contract=off", "-w", "-DTL_CUDA_EMULATED",
    "-fsanitize=alignment,bounds",  # the handlers are in emulated.cpp
]  # fmt: skip


# ---- the structures of buffer.h, kernels.h and cuda.h -------------------------------
class Buffer(ctypes.Structure):
    """tl_buffer."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("storage", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("ndim", ctypes.c_int16),
        ("device_index", ctypes.c_uint16),
        ("dtype", ctypes.c_uint8),
        ("device_type", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("shape", ctypes.c_int64 * 32),
        ("strides", ctypes.c_int64 * 32),
    ]


class Call(ctypes.Structure):
    """tl_call."""

    _fields_ = [
        ("out", ctypes.POINTER(ctypes.POINTER(Buffer))),
        ("inputs", ctypes.POINTER(ctypes.POINTER(Buffer))),
        ("nout", ctypes.c_int32),
        ("nin", ctypes.c_int32),
        ("params", ctypes.c_void_p),
        ("loop", ctypes.c_void_p),
    ]


class Entry(ctypes.Structure):
    """tl_cuda_entry."""

    _fields_ = [
        ("op", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("run", ctypes.c_void_p),
        ("loop", ctypes.c_void_p),
    ]


def _params(name, fields):
    """Return a ctypes structure from text like ``"i32 n; i64[3] stride"``."""
    types = {
        "i32": ctypes.c_int32,
        "i64": ctypes.c_int64,
        "u64": ctypes.c_uint64,
        "f64": ctypes.c_double,
        "ptr": ctypes.c_void_p,
        "i64[3]": ctypes.c_int64 * 3,
        "u64[2]": ctypes.c_uint64 * 2,
    }
    pairs = []
    for field in fields.split(";"):
        kind, *names = field.replace(",", " ").split()
        pairs += [(each, types[kind]) for each in names]
    return type(name, (ctypes.Structure,), {"_fields_": pairs})


ReduceParams = _params("ReduceParams", "i32 n_reduced; f64 scale, correction")
MatmulParams = _params("MatmulParams", "i32 accumulate")
NormParams = _params("NormParams", "f64 eps")
IndexParams = _params("IndexParams", "i32 n_indexed, accumulate")
CrossEntropyParams = _params(
    "CrossEntropyParams", "i64 ignore_index; f64 label_smoothing, scale"
)
RecurrentParams = _params("RecurrentParams", "i32 cell, reverse")
AttentionParams = _params(
    "AttentionParams", "f64 scale, dropout; u64 seed, offset; i32 causal"
)
ActivationParams = _params("ActivationParams", "f64 a, b, c")
GluParams = _params("GluParams", "i64 apart")
ConvParams = _params(
    "ConvParams", "i64 groups; i64[3] stride, padding, dilation; i32 channels_last"
)
PoolParams = _params(
    "PoolParams",
    "i64[3] kernel, stride, padding, dilation; i64 divisor;"
    "i32 channels_last, adaptive, include_pad",
)
FillParams = _params("FillParams", "u64[2] element")
RangeParams = _params("RangeParams", "f64 real, step_real; i64 integer, step_integer")
RandomParams = _params(
    "RandomParams", "u64 seed, offset; f64 low, high; i64 integer_low, integer_high"
)
CtcParams = _params(
    "CtcParams",
    "ptr targets, offsets, input_lengths, target_lengths; i64 blank; i32 zero_infinity",
)
WarpParams = _params("WarpParams", "f64 fill; i32 bilinear")


class KernelError(RuntimeError):
    """A run function failed, or its kernels did what they must not."""


class FaultError(KernelError):
    """The device reported bad input: `status` is the tl_status, `op` the reporter."""

    def __init__(self, op, status):
        super().__init__(f"{op}: {STATUS[status]}")
        self.op, self.status = op, status


class Operand:
    """An array with the dtype that the kernel sees: ``Operand(bits, "bfloat16")``."""

    device_type = 1

    def __init__(self, array, dtype=None):
        self.array, self.dtype = np.asarray(array), dtype


class Host(Operand):
    """An operand of one element that stays on the CPU."""

    device_type = 0


# ---- building -----------------------------------------------------------------------
def find_compiler():
    """Return g++, or None."""
    return shutil.which("g++")


@lru_cache
def _headers():
    found = hashlib.sha256()
    for pattern in ("cuda/*.cuh", "cuda/emulated/*.h", "include/tensorlib/*.h"):
        for path in sorted(ROOT.glob(pattern)):
            found.update(path.name.encode() + path.read_bytes())
    return found.digest()


@lru_cache
def _flags():
    flags = list(FLAGS)
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return flags
    if {"avx2", "fma", "f16c"} <= words:
        flags += ["-mavx2", "-mfma", "-mf16c"]
    return flags


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def _compile(source, folder):
    """Compile one file unless the same text was compiled before; return the object."""
    flags = [*_flags()]
    flags += [f"-I{ROOT / place}" for place in ("cuda/emulated", "include", "cuda")]
    key = hashlib.sha256(source.read_bytes() + _headers() + "\0".join(flags).encode())
    target = folder / f"{source.stem}-{key.hexdigest()[:24]}.o"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}.part")
        command = [find_compiler(), *flags, "-x", "c++", "-c", str(source)]
        _run([*command, "-o", str(partial)])
        partial.replace(target)
    return target


def build(sources):
    """Return the path of a library of .cu files, the runtime and the emulator."""
    folder = Path(tempfile.gettempdir()) / f"tensorlib-emulated-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    cuda = ROOT / "cuda"
    always = [cuda / f"{name}.cu" for name in ("runtime", "memory", "pinned")]
    always += sorted((cuda / "emulated").glob("*.cpp"))
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda s: _compile(s, folder), [*always, *sources]))
    key = hashlib.sha256("".join(o.name for o in objects).encode()).hexdigest()[:24]
    target = folder / f"library-{key}.so"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}.part")
        link = [find_compiler(), "-shared", "-Wl,-Bsymbolic", "-Wl,-z,defs"]
        _run([*link, *map(str, objects), "-o", str(partial), "-lpthread"])
        partial.replace(target)
    return target


@lru_cache
def load(*names):
    """Compile and load families (file names in cuda/ without .cu, or paths)."""
    cuda = ROOT / "cuda"
    sources = [Path(n) if n.endswith(".cu") else cuda / f"{n}.cu" for n in names]
    library = ctypes.CDLL(str(build(sources)))
    return Kernels(library, [source.stem for source in sources])


# ---- operands in device memory ------------------------------------------------------
def _bounds(array):
    low = high = array.__array_interface__["data"][0]
    if array.size == 0:
        return low, low
    for extent, stride in zip(array.shape, array.strides, strict=True):
        low += min(0, (extent - 1) * stride)
        high += max(0, (extent - 1) * stride)
    return low, high + array.itemsize


def _root(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Span:
    """Host bytes that some operands lie in, and their copy in device memory."""

    def __init__(self, low, high, root):
        self.low, self.high = low, high
        self.misalignment = (low - _bounds(root)[0]) % 256
        self.device = None


def _spans(arrays):
    """Return the spans of the arrays, those that overlap made one."""
    found = []
    for low, high, array in sorted(
        (*_bounds(a), i) for i, a in enumerate(arrays) if a.size
    ):
        if found and low < found[-1].high:
            found[-1].high = max(found[-1].high, high)
        else:
            found.append(_Span(low, high, _root(arrays[array])))
    return found


class Kernels:
    """The entries of some families, loaded into this process."""

    def __init__(self, library, names):
        self.library = library
        library.tl_emulated_allocate.restype = ctypes.c_void_p
        library.tl_emulated_allocate.argtypes = [ctypes.c_int64, ctypes.c_int64]
        library.tl_emulated_free.argtypes = [ctypes.c_void_p]
        library.tl_emulated_check.restype = ctypes.c_char_p
        library.tl_cuda_error_text.restype = ctypes.c_char_p
        self.entries = {}
        for name in names:
            table = getattr(library, f"tl_cuda_{name}_entries", None)
            if table is None:
                continue
            count = ctypes.c_int(0)
            table.restype = ctypes.POINTER(Entry)
            entries = table(ctypes.byref(count))
            for i in range(count.value):
                key = entries[i].op.decode(), entries[i].dtype
                if key in self.entries:
                    raise KernelError(f"{name}: two entries for {key}")
                self.entries[key] = entries[i]

    def has(self, op, dtype):
        """Say whether there is an entry for an op and a dtype's name."""
        return (op, DTYPES[dtype]) in self.entries

    def call(self, op, out, inputs=(), params=None, dtype=None, orders=2):
        """Run an entry on arrays; return OK or DECLINED."""
        outs = [_operand(o, dtype) for o in (out if isinstance(out, list) else [out])]
        ins = [_operand(i, dtype) for i in inputs]
        if dtype is None:
            dtype = next(o.dtype for o in [*ins, *outs] if o and o.array is not None)
        entry = self.entries.get((op, DTYPES[dtype]))
        if entry is None:
            raise KernelError(f"no entry for {op}, {dtype}")
        on_device = [o.array for o in [*outs, *ins] if o and o.device_type == 1]
        run = _Run(self, entry, outs, ins, params, _spans(on_device))
        status, results = run.once(reverse=False)
        if status == OK and orders > 1:
            _, again = run.once(reverse=True)
            for first, second in zip(results, again, strict=True):
                if first != second:
                    raise KernelError(
                        f"{op}: another order of threads gives other bits: a race"
                    )
        run.copy_back(results)
        run.raise_fault()
        return status


def _operand(given, dtype):
    plain = given is not None and not isinstance(given, Operand)
    operand = Operand(given) if plain else given
    if operand is not None and operand.dtype is None:
        name = operand.array.dtype.name
        operand.dtype = "bfloat16" if (name, dtype) == ("uint16", "bfloat16") else name
    return operand


class _Run:
    """One call, that can be made again from the same state."""

    def __init__(self, kernels, entry, outs, ins, params, spans):
        self.kernels, self.entry, self.params = kernels, entry, params
        self.outs, self.ins, self.spans = outs, ins, spans
        self.fault = None

    def once(self, *, reverse):
        """Return the status and the bytes of every span after the call."""
        library = self.kernels.library
        op = self.entry.op.decode()
        library.tl_emulated_set_reversed(int(reverse))
        library.tl_emulated_set_deferred(1)
        try:
            for span in self.spans:
                size = span.high - span.low
                span.device = library.tl_emulated_allocate(size, span.misalignment)
                ctypes.memmove(span.device, span.low, size)
            status = self._launch()
            error = library.tl_cuda_synchronize(0)
            trouble = library.tl_emulated_check()
            results = [ctypes.string_at(s.device, s.high - s.low) for s in self.spans]
        finally:
            library.tl_emulated_set_deferred(0)
            library.tl_emulated_set_reversed(0)
            for span in self.spans:
                library.tl_emulated_free(span.device)
        self._take_fault()
        if trouble is not None:
            raise KernelError(f"{op}: {trouble.decode()}")
        if error or status not in (OK, DECLINED):
            text = library.tl_cuda_error_text(error or library.tl_cuda_last_error())
            raise KernelError(f"{op}: {STATUS[status]}, {text.decode()}")
        return status, results

    def _launch(self):
        buffers = [self._buffer(o) for o in [*self.outs, *self.ins]]
        pointers = [ctypes.pointer(b) if b else None for b in buffers]
        kind = ctypes.POINTER(Buffer)
        outs = (kind * (len(self.outs) or 1))(*pointers[: len(self.outs)])
        ins = (kind * (len(self.ins) or 1))(*pointers[len(self.outs) :])
        params = self.params
        if params is not None:  # a copy, which is gone when the kernels run
            params = type(params).from_buffer_copy(params)
        call = Call(
            out=outs,
            inputs=ins,
            nout=len(self.outs),
            nin=len(self.ins),
            params=ctypes.addressof(params) if params is not None else None,
            loop=ctypes.addressof(self.entry),
        )
        status = self.kernels.library.tl_cuda_run(ctypes.byref(call))
        for gone in [*buffers, outs, ins, params, call]:
            if gone is not None:
                ctypes.memset(ctypes.addressof(gone), 0xFF, ctypes.sizeof(gone))
        return status

    def _buffer(self, operand):
        if operand is None:
            return None
        array = operand.array
        made = Buffer(size=array.size, ndim=array.ndim, dtype=DTYPES[operand.dtype])
        made.device_type = operand.device_type
        made.flags = int(array.flags.c_contiguous)
        for axis in range(array.ndim):
            made.shape[axis] = array.shape[axis]
            made.strides[axis] = array.strides[axis] // array.itemsize
        address = array.__array_interface__["data"][0]
        if operand.device_type == 1 and array.size:
            span = next(s for s in self.spans if s.low <= address < s.high)
            address += span.device - span.low
        made.data = address
        return made

    def copy_back(self, results):
        """Write outputs to their arrays; raise where other bytes of a span changed."""
        written = {}
        for operand in self.outs:
            if operand is None or operand.array.size == 0:
                continue
            array = operand.array
            low, _ = _bounds(array)
            index = next(i for i, s in enumerate(self.spans) if s.low <= low < s.high)
            span = self.spans[index]
            offset = array.__array_interface__["data"][0] - span.low
            if index not in written:
                written[index] = np.zeros(span.high - span.low, bool)
            shape, strides = (*array.shape, array.itemsize), (*array.strides, 1)
            cells = np.ndarray(shape, bool, written[index], offset, strides)
            cells[...] = True
            array[...] = np.ndarray(
                array.shape, array.dtype, results[index], offset, array.strides
            )
        self._check_gaps(results, written)

    def _check_gaps(self, results, written):
        for index, (span, now) in enumerate(zip(self.spans, results, strict=True)):
            before = np.frombuffer(ctypes.string_at(span.low, len(now)), np.uint8)
            changed = before != np.frombuffer(now, np.uint8)
            if index in written:
                changed &= ~written[index]
            if changed.any():
                raise KernelError(
                    f"{self.entry.op.decode()}: wrote to {changed.sum()} bytes that "
                    f"belong to no output, the first is number {changed.argmax()} of "
                    f"{len(now)}"
                )

    def _take_fault(self):
        op = ctypes.c_char_p()
        status = self.kernels.library.tl_cuda_take_fault(0, ctypes.byref(op))
        if status != OK:
            self.fault = FaultError(op.value.decode(), status)

    def raise_fault(self):
        """Raise what the device reported."""
        if self.fault is not None:
            raise self.fault


if __name__ == "__main__":
    names_of = {code: name for name, code in DTYPES.items()}
    for op_name, code in sorted(load(*sys.argv[1:]).entries):
        print(op_name, names_of[code])
