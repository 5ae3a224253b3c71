"""MatrixOp: a primitive on a batch of matrices, with its rules in Python.

Factorizations cost microseconds at least, so what stands around the kernel's call may
be Python: the modules of this package define subclasses with `pullback` and
`pushforward`, in Tensor operations.
"""
from libc.stdint cimport int32_t, int64_t
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport (
    MAX_SAVED, Node, Primitive, differentiated, record, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_C_CONTIGUOUS, TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_FLOAT32,
    TL_FLOAT64, TL_INT32, TL_INT64, tl_buffer,
)
from tensorlib.core.dtype cimport (
    as_dtype, dtype_of, is_inexact_code, promote_codes, real_code,
)
from tensorlib.core.layout cimport parse_shape, set_contiguous
from tensorlib.core.tensor cimport Tensor, check_writable, detached, new_tensor
from tensorlib.kernels.lapack cimport (
    NOT_FINITE, NOT_HERMITIAN, WRONG_PIVOT, tl_matrix_params,
)
from tensorlib.ops.elementwise cimport cast, contiguous
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport reshape_like, reshape_to

from math import prod

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.errors import DTypeError, GraphError, LinAlgError, ShapeError
from tensorlib.kernels import lapack_factors, lapack_spectra, lapack_systems
from tensorlib.ops.arguments import tensor_of
from tensorlib.ops.shape import broadcast_shapes

lapack_systems.register()
lapack_factors.register()
lapack_spectra.register()

cdef enum:
    MAX_OPERANDS = 4

# What each kernel reads and writes. A letter is an extent: those of the first input are
# m and n, k is the smaller one, other letters stand for what they meet first. Dtypes
# are that of the first input unless a mark says otherwise: i int32, r real, c complex.
# Kernels trust their operands: this is all that stands between Python and their memory.
cdef dict _OPERANDS = {
    "inv": ((b"nn",), (b"nn",)),
    "solve": ((b"nn", b"np"), (b"np", b"nn", b"n:i")),
    "solve_adjoint": ((b"nn", b"np", b"n:i"), (b"np",)),
    "solve_triangular": ((b"nn", b"pq"), (b"pq",)),
    "det": ((b"nn",), (b"",)),
    "slogdet": ((b"nn",), (b"", b":r")),
    "lu_factor": ((b"mn",), (b"nm", b"k:i")),
    "lu": ((b"mn",), (b"mm", b"mk", b"kn")),
    "cholesky": ((b"nn",), (b"nn",)),
    "qr": ((b"mn",), (b"cn", b"cm")),
    "eigh": ((b"nn",), (b"n:r", b"nn")),
    "svd": ((b"mn",), (b"k:r", b"mu", b"vn")),
    "eig": ((b"nn",), (b"n:c", b"nn:c")),
}
# The first output alone is enough for these.
cdef tuple _WITHOUT_VECTORS = ("qr", "eigh", "svd", "eig")


cdef class MatrixOp(Primitive):
    """An op on matrices (B, M, N) whose kernel is one of kernels/lapack.pyx.

    A subclass defines ``pullback(params, g, needs, out, saved)``, which returns one
    gradient (or None) an input, and ``pushforward(params, tangents, out, saved)``,
    which returns the tangent of the output. `out` is None unless `reads_output`.
    `is_analytic` says whether the reverse pass conjugates around `pullback`; rules of
    other ops conjugate themselves. `expected` and `found` are words for errors.
    `largest` is the number of rows, or of columns if there are fewer, for which
    LAPACK's workspace has a 32-bit size.
    """

    cdef str kernel
    reads_output = False
    is_analytic = False
    largest = 1 << 31
    expected = "matrices that LAPACK accepts"
    found = "one with info {}"

    def __cinit__(self, str name, *args, str kernel=None, **kwargs):
        self.kernel = name if kernel is None else kernel
        self.analytic = bool(type(self).is_analytic)

    def execute(self, tuple outputs, tuple inputs, tuple batch, *, bint check=True,
                bint upper=False, bint left=True, bint transposed=False,
                bint unit=False):
        """Run the kernel; return whether each matrix went well.

        Parameters
        ----------
        outputs, inputs : tuple of Tensor of shape (B, ...)
            Of the shapes and dtypes that the kernel takes, their last axes contiguous.
            An empty first input leaves outputs as they are.
        batch : tuple of int
            What B stands for, in errors.
        check : bool, default True
            Whether a failure is an error.
        upper, left, transposed, unit : bool
            What the kernel makes of them: see kernels/lapack.pxd.

        Raises
        ------
        LinAlgError
            If LAPACK reports a failure; for the first matrix that has one.
        ShapeError, DTypeError
            If the kernel does not take these operands.
        """
        cdef tl_matrix_params params
        cdef const tl_buffer *written[MAX_OPERANDS + 1]
        cdef const tl_buffer *read[MAX_OPERANDS]
        cdef tl_buffer layout
        cdef Tensor first, info
        cdef int i, nout = len(outputs), nin = len(inputs)
        if any_batched(outputs + inputs):
            outputs, inputs, batch = self.further_rows(outputs, inputs, batch)
        first = self.first_of(inputs)
        if first.buf.size == 0:
            return True
        self.check_extents(first)
        self.check_operands(outputs, inputs, upper, left)
        params.upper, params.left = upper, left
        params.transposed, params.unit = transposed, unit
        layout.ndim, layout.shape[0] = 1, first.buf.shape[0]
        info = new_tensor(
            &layout, TL_INT32, first.buf.device_type, first.buf.device_index
        )
        written[0] = &info.buf
        for i in range(nout):
            written[i + 1] = &(<Tensor?>outputs[i]).buf
        for i in range(nin):
            read[i] = &(<Tensor?>inputs[i]).buf
        run(self, first.buf.dtype, written, nout + 1, read, nin, &params,
            first.buf.size * min(first.buf.shape[1], first.buf.shape[2]))
        return self.succeeded(info, batch, check)

    cdef tuple further_rows(self, tuple outputs, tuple inputs, tuple batch):
        """The operands with the examples of vmap as further matrices of their stacks.

        Outputs become views of themselves: they must be under all the axes already.
        """
        cdef tuple every, sizes = ()
        cdef Tensor given, x
        cdef list found = []
        if not _all_tensors(outputs + inputs, False):
            raise TypeError(f"{self.name}: expected tensors, got {outputs + inputs}")
        every = aligned(
            self.name, tuple([detached(<Tensor>x) for x in outputs + inputs])
        )
        for given, x in zip(outputs + inputs, every):
            x, levels = show_levels(x)
            sizes = x.shape[:len(levels)]
            x = reshape_like(
                x, (prod(x.shape[:len(levels) + 1]), *x.shape[len(levels) + 1:])
            )
            copied = x.buf.size and x.buf.data != given.buf.data
            if copied and len(found) < len(outputs):
                raise GraphError(
                    f"{self.name}: expected outputs in one piece, with all the examples"
                )
            found.append(x)
        return tuple(found[:len(outputs)]), tuple(found[len(outputs):]), sizes + batch

    cdef Tensor first_of(self, tuple inputs):
        cdef Tensor first = inputs[0] if inputs else None
        if first is None or first.buf.ndim != 3:
            raise ShapeError(
                f"{self.name}: expected a stack of matrices, got "
                f"{None if first is None else first.shape}"
            )
        if first.buf.device_type == TL_BATCHED:
            raise GraphError(
                f"{self.name}: expected matrices whose examples are shown, got hidden"
            )
        if first.buf.dtype not in (
            TL_FLOAT32, TL_FLOAT64, TL_COMPLEX64, TL_COMPLEX128
        ):
            raise DTypeError(
                f"{self.name}: expected float32, float64, complex64 or complex128, got "
                f"{first.dtype}"
            )
        return first

    cdef int check_operands(
        self, tuple outputs, tuple inputs, bint upper, bint left
    ) except -1:
        """Raise unless the kernel stays inside of its operands."""
        cdef Tensor first = inputs[0]
        cdef int64_t[128] extents      # by letter; -1 where it is free
        cdef int64_t m = first.buf.shape[1], n = first.buf.shape[2], k = min(m, n)
        cdef int64_t side, columns
        cdef int i
        cdef tuple takes, gives
        takes, gives = _OPERANDS.get(self.kernel, ((), ()))
        if self.kernel in _WITHOUT_VECTORS and len(outputs) == 1:
            gives = gives[:1]
        if len(takes) != len(inputs) or len(gives) != len(outputs):
            raise ShapeError(
                f"{self.name}: expected {len(takes)} inputs and {len(gives)} outputs, "
                f"got {len(inputs)} and {len(outputs)}"
            )
        for i in range(128):
            extents[i] = -1
        extents[c"m"], extents[c"n"], extents[c"k"] = m, n, k
        extents[c"u"], extents[c"v"] = (m if upper else k), (n if upper else k)
        for i in range(len(inputs)):
            self.check_operand(inputs[i], takes[i], first, extents)
        for i in range(len(outputs)):
            self.check_operand(outputs[i], gives[i], first, extents)
            check_writable(self.name, outputs[i])
        side = extents[c"p"] if left else extents[c"q"]
        columns = extents[c"c"]
        if (
            self.kernel == "solve_triangular" and side != n
            or columns >= 0 and columns != k and columns != m
        ):
            raise ShapeError(
                f"{self.name}: expected operands that fit {first.shape}, got "
                f"{[x.shape for x in inputs + outputs]}"
            )
        return 0

    cdef int check_operand(
        self, Tensor x, bytes word, Tensor first, int64_t *extents
    ) except -1:
        cdef const char *letters = word
        cdef int d, rank = <int>len(word), code = first.buf.dtype
        cdef int64_t count = 1, extent
        cdef bint fits
        if rank > 1 and letters[rank - 2] == c":":
            rank -= 2
            code = marked_code(letters[rank + 1], code)
        fits = x is not None and x.buf.ndim == rank + 1
        fits = (
            fits and x.buf.dtype == code and alike(x, first)
            and x.buf.shape[0] == first.buf.shape[0]
        )
        for d in range(rank if fits else 0, 0, -1):
            extent = x.buf.shape[d]
            if extents[letters[d - 1]] < 0:
                extents[letters[d - 1]] = extent
            fits = fits and extent == extents[letters[d - 1]] and (
                x.buf.strides[d] == count or extent < 2 or x.buf.size == 0
            )
            count *= extent
        if not fits or count >= 1 << 31:
            raise ShapeError(
                f"{self.name}: expected operands of up to 2**31 elements a matrix, "
                f"this one contiguous, of axes (B, {word[:rank].decode()}) where the "
                f"first has shape {first.shape}, and of dtype {dtype_of(code)}, got "
                f"{None if x is None else (x.shape, x.strides, x.dtype)}"
            )
        return 0

    cdef int check_extents(self, Tensor x) except -1:
        rows, columns = x.buf.shape[1], x.buf.shape[2]
        if rows * columns >= 1 << 31 or min(rows, columns) > self.largest:
            raise ShapeError(
                f"{self.name}: expected matrices of fewer than 2**31 elements, and up "
                f"to {self.largest} rows or columns, got {rows} x {columns}"
            )
        return 0

    cdef bint succeeded(self, Tensor info, tuple batch, bint check) except -1:
        cdef const int32_t *codes
        cdef int64_t i
        if info.buf.device_type != TL_CPU:
            info = <Tensor>info.cpu()
        codes = <const int32_t *>info.buf.data
        for i in range(info.buf.size):
            if codes[i] != 0:
                if check:
                    raise LinAlgError(self.failure(codes[i], i, batch))
                return False
        return True

    def failure(self, int code, i, tuple batch):
        """Return the text of the error: which matrix, and why."""
        where = ""
        place = []
        for extent in reversed(batch):
            place.insert(0, i % extent)
            i //= extent
        if batch:
            where = f" at index {tuple(place)} of the batch"
        what = "one with NaN or infinity"
        if code == WRONG_PIVOT:
            what = "a pivot out of range"
        elif code == NOT_HERMITIAN:
            what = "one that is not symmetric (Hermitian, if complex)"
        elif code != NOT_FINITE:
            what = self.found.format(code)
        return f"{self.name}: expected {self.expected}, got {what}{where}"

    def recorded(self, Tensor out, tuple inputs, tuple saved=(), params=None):
        """Return `out`, recorded as a function of `inputs` where one is tracked."""
        if len(saved) > MAX_SAVED or not _all_tensors(saved, True):
            raise TypeError(
                f"{self.name}: expected up to {MAX_SAVED} tensors to save, got {saved}"
            )
        if self.is_tracked(inputs):
            record(self, out, inputs, saved, self.reads_output, params)
        return out

    def is_tracked(self, tuple inputs):
        """Return whether an application to `inputs` is to be recorded."""
        cdef int track = 0
        if not _all_tensors(inputs, False):
            raise TypeError(f"{self.name}: expected tensors, got {inputs}")
        for x in inputs:
            track |= (<Tensor>x).track
        return track != 0 and tracking(track)

    cdef tuple vjp(self, Node node, Tensor g):
        cdef tuple found
        needs = tuple([node.needs(i) for i in range(node.inputs)])
        out = node.output() if self.reads_output else None
        found = self.pullback(node.params, g, needs, out, saved_by(node))
        if len(found) != node.inputs or not _all_tensors(found, True):
            raise TypeError(
                f"{self.name}: expected a gradient for each input, got {found}"
            )
        return found

    cdef Tensor jvp(self, Node node, tuple tangents):
        out = node.output() if self.reads_output else None
        return self.pushforward(node.params, tangents, out, saved_by(node))


cdef int marked_code(char mark, int code) noexcept:
    """The dtype of an operand with a mark, where the first input has this one."""
    if mark == c"i":
        return TL_INT32
    if mark == c"r":
        return real_code(code)
    return TL_COMPLEX64 if real_code(code) == TL_FLOAT32 else TL_COMPLEX128


cdef bint any_batched(tuple tensors) noexcept:
    for x in tensors:
        if isinstance(x, Tensor) and (<Tensor>x).buf.device_type == TL_BATCHED:
            return True
    return False


def same_examples(op, *tensors):
    """Return the tensors under every vmap that one of them is under."""
    return aligned(op, tensors)


cdef bint _all_tensors(tuple found, bint or_none):
    for x in found:
        if not (isinstance(x, Tensor) or or_none and x is None):
            return False
    return True


cdef tuple saved_by(Node node):
    if node.saved is None:
        node.get(0)     # raises: they were freed
    return tuple([
        None if x is None else node.get(i) for i, x in enumerate(node.saved)
    ])


def fresh(Tensor like not None, *shape, dtype=None):
    """Return a new tensor on the device, and under the vmaps, of `like`.

    Parameters
    ----------
    like : Tensor
    *shape : int
    dtype : DType or str, optional
        That of `like` by default.

    Returns
    -------
    Tensor
        Uninitialized.
    """
    cdef tl_buffer layout
    cdef int code = like.buf.dtype if dtype is None else as_dtype(dtype).code
    parse_shape("linalg", shape, &layout)
    return new_tensor(&layout, code, like.buf.device_type, like.buf.device_index)


def is_differentiated():
    """Return whether what a rule computes is differentiated in turn."""
    return differentiated()


def permutation(Tensor pivots not None, int64_t rows):
    """Return which row each row of a factored matrix came from.

    Parameters
    ----------
    pivots : Tensor of shape (B, K), contiguous, of dtype int32
        Row i was interchanged with row ``pivots[i]`` (from 1), in order.
    rows : int

    Returns
    -------
    Tensor of shape (B, rows), of dtype int64

    Raises
    ------
    IndexError
        If a pivot is not in 1..rows.
    ShapeError
        If `pivots` is not as said, or has more columns than rows.

    Examples
    --------
    >>> import tensorlib as tl
    >>> permutation(tl.tensor([[3, 2]], dtype="int32"), 3)
    tensor([[2, 1, 0]])
    """
    cdef tl_buffer layout
    cdef Tensor found
    cdef int64_t b, i, other, count = 0
    cdef int64_t *order
    cdef const int32_t *swaps
    if pivots.buf.device_type == TL_BATCHED:
        shown, levels = show_levels(pivots)
        lead = shown.shape[:-1]
        shown = reshape_like(shown, (prod(lead), shown.shape[-1])).contiguous()
        found = reshape_like(permutation(shown, rows), (*lead, rows))
        return hide_levels(found, levels)
    if pivots.buf.device_type != TL_CPU:
        return permutation(pivots.cpu(), rows).to(pivots.device)
    if (
        pivots.buf.dtype != TL_INT32 or pivots.buf.ndim != 2
        or not pivots.buf.flags & TL_C_CONTIGUOUS or pivots.buf.shape[1] > rows
    ):
        raise ShapeError(
            f"permutation: expected contiguous int32 pivots of shape (B, K), K up to "
            f"{rows}, got {pivots.dtype} of shape {pivots.shape}"
        )
    count = pivots.buf.shape[1]
    layout.ndim, layout.shape[0], layout.shape[1] = 2, pivots.buf.shape[0], rows
    found = new_tensor(&layout, TL_INT64, TL_CPU, 0)
    for b in range(pivots.buf.shape[0]):
        order = <int64_t *>found.buf.data + b * rows
        swaps = <const int32_t *>pivots.buf.data + b * count
        for i in range(rows):
            order[i] = i
        for i in range(count):
            other = swaps[i] - 1
            if not 0 <= other < rows:
                raise IndexError(
                    f"lu_solve: expected pivots in 1..{rows}, got {swaps[i]}"
                )
            order[i], order[other] = order[other], order[i]
    return found


# ---- arguments -------------------------------------------------------------------
# Compiled: in Python these steps cost three times the kernel of one small matrix.
cdef Tensor inexact(str op, object x):
    cdef Tensor found = x if type(x) is Tensor else tensor_of(op, x)
    if not is_inexact_code(found.buf.dtype):
        raise DTypeError(
            f"{op}: expected a floating or complex dtype, got {found.dtype.name}; cast "
            "with .astype() first"
        )
    return found


def floating(str op, x):
    """Return `x` as a tensor of a floating or complex dtype."""
    return inexact(op, x)


def matrices_of(str op, x, bint square=False):
    """Return `x` as a tensor of matrices, in the last two axes, that LAPACK takes."""
    cdef Tensor found = inexact(op, x)
    cdef int rank = found.buf.ndim
    if found.buf.dtype not in (TL_FLOAT32, TL_FLOAT64, TL_COMPLEX64, TL_COMPLEX128):
        raise DTypeError(
            f"{op}: expected float32, float64 or a complex dtype, got "
            f"{found.dtype.name}; cast with .astype() first"
        )
    if rank < 2:
        raise ShapeError(
            f"{op}: expected at least 2 dimensions, got shape {found.shape}"
        )
    if square and found.buf.shape[rank - 1] != found.buf.shape[rank - 2]:
        raise ShapeError(f"{op}: expected square matrices, got shape {found.shape}")
    return found


def promoted(Tensor a not None, Tensor b not None):
    """Return two tensors in their common dtype."""
    if a.buf.dtype == b.buf.dtype:
        return a, b
    code = promote_codes(a.buf.dtype, b.buf.dtype)
    return cast(a, code), cast(b, code)


cdef Tensor stack_of(Tensor x):
    cdef tl_buffer layout
    cdef int d, rank = x.buf.ndim
    if rank != 3:
        layout.ndim, layout.shape[0] = 3, 1
        for d in range(rank - 2):
            layout.shape[0] *= x.buf.shape[d]
        layout.shape[1] = x.buf.shape[rank - 2]
        layout.shape[2] = x.buf.shape[rank - 1]
        set_contiguous(&layout)
        x = reshape_to(x, &layout)
    return contiguous(x)


def stacked(Tensor x not None):
    """Return matrices (..., M, N) as contiguous ones (B, M, N)."""
    return stack_of(x)


def unstacked(Tensor x not None, tuple batch):
    """Return matrices (B, M, N) as those of shape (*batch, M, N)."""
    cdef tl_buffer layout
    if len(batch) == 1:
        return x
    parse_shape("reshape", (*batch, x.buf.shape[1], x.buf.shape[2]), &layout)
    return reshape_to(x, &layout)


cdef bint leads_with(Tensor x, tuple batch):
    """Whether the axes before the last two are these."""
    cdef int d, lead = x.buf.ndim - 2
    if lead != len(batch):
        return False
    for d in range(lead):
        if x.buf.shape[d] != batch[d]:
            return False
    return True


def common_batch(Tensor a not None, Tensor b not None):
    """Return the leading axes that two stacks of matrices broadcast to."""
    if a.buf.ndim == b.buf.ndim == 2:
        return ()
    batch = a.shape[:-2]
    return batch if leads_with(b, batch) else broadcast_shapes(batch, b.shape[:-2])


def spread(Tensor x not None, tuple batch):
    """Return matrices (..., M, N), broadcast over `batch`, as (B, M, N)."""
    if not leads_with(x, batch):
        x = broadcast(x, (*batch, *x.shape[-2:]))
    return stack_of(x)
