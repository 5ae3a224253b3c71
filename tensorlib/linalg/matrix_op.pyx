"""MatrixOp: a primitive on a batch of matrices, with its rules in Python.

Factorizations cost microseconds at least, so what stands around the kernel's call may
be Python: the modules of this package define subclasses with `pullback` and
`pushforward`, in Tensor operations.
"""
from libc.stdint cimport int32_t, int64_t
from tensorlib.autograd.primitive cimport (
    Node, Primitive, differentiated, record, run, tracking,
)
from tensorlib.core.abi cimport TL_CPU, TL_INT32, TL_INT64, tl_buffer
from tensorlib.core.tensor cimport Tensor, new_tensor
from tensorlib.kernels.lapack cimport NOT_FINITE, tl_matrix_params

from tensorlib.autograd.batch import is_mapping
from tensorlib.core.errors import GraphError, LinAlgError, ShapeError
from tensorlib.kernels import lapack_factors, lapack_spectra, lapack_systems

lapack_systems.register()
lapack_factors.register()
lapack_spectra.register()

cdef enum:
    MAX_OPERANDS = 4


cdef class MatrixOp(Primitive):
    """An op on matrices (B, M, N) whose kernel is one of kernels/lapack.pyx.

    A subclass defines ``pullback(params, g, needs, out, saved)``, which returns one
    gradient (or None) an input, and ``pushforward(params, tangents, out, saved)``,
    which returns the tangent of the output. `out` is None unless `reads_output`.
    `expected` and `found` are words for errors. `largest` is the number of rows, or of
    columns if there are fewer, for which LAPACK's workspace has a 32-bit size.
    """

    reads_output = False
    largest = 1 << 31
    expected = "matrices that LAPACK accepts"
    found = "one with info {}"

    def execute(self, tuple outputs, tuple inputs, tuple batch, *, bint check=True,
                bint upper=False, bint left=True, bint transposed=False,
                bint unit=False):
        """Run the kernel; return whether each matrix went well.

        Parameters
        ----------
        outputs, inputs : tuple of Tensor of shape (B, ...)
            Their last axes contiguous. An empty first input leaves outputs as they are.
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
        """
        cdef tl_matrix_params params
        cdef const tl_buffer *written[MAX_OPERANDS + 1]
        cdef const tl_buffer *read[MAX_OPERANDS]
        cdef tl_buffer layout
        cdef Tensor first = inputs[0], info
        cdef int i, nout = len(outputs), nin = len(inputs)
        if first.buf.ndim != 3 or max(nout, nin) > MAX_OPERANDS:
            raise ShapeError(
                f"{self.name}: expected up to {MAX_OPERANDS} stacks of matrices, got "
                f"{nin}, the first of shape {first.shape}"
            )
        for x in (*outputs, *inputs):
            if (<Tensor?>x).buf.device_type != TL_CPU:
                raise GraphError(
                    f"{self.name}: expected matrices that vmap does not map, here"
                )
        if first.buf.size == 0:
            return True
        self.check_extents(first)
        params.upper, params.left = upper, left
        params.transposed, params.unit = transposed, unit
        layout.ndim, layout.shape[0] = 1, first.buf.shape[0]
        info = new_tensor(&layout, TL_INT32, first.buf.device_type, 0)
        written[0] = &info.buf
        for i in range(nout):
            written[i + 1] = &(<Tensor?>outputs[i]).buf
        for i in range(nin):
            read[i] = &(<Tensor?>inputs[i]).buf
        run(self, first.buf.dtype, written, nout + 1, read, nin, &params,
            first.buf.size * min(first.buf.shape[1], first.buf.shape[2]))
        return self.succeeded(info, batch, check)

    cdef int check_extents(self, Tensor x) except -1:
        rows, columns = x.buf.shape[1], x.buf.shape[2]
        if rows * columns >= 1 << 31 or min(rows, columns) > self.largest:
            raise ShapeError(
                f"{self.name}: expected matrices of fewer than 2**31 elements, and up "
                f"to {self.largest} rows or columns, got {rows} x {columns}"
            )
        return 0

    cdef bint succeeded(self, Tensor info, tuple batch, bint check) except -1:
        cdef int32_t *codes = <int32_t *>info.buf.data
        cdef int64_t i
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
        if code != NOT_FINITE:
            what = self.found.format(code)
        return f"{self.name}: expected {self.expected}, got {what}{where}"

    def recorded(self, Tensor out, tuple inputs, tuple saved=(), params=None):
        """Return `out`, recorded as a function of `inputs` where one is tracked."""
        if self.is_tracked(inputs):
            record(self, out, inputs, saved, self.reads_output, params)
        return out

    def is_tracked(self, tuple inputs):
        """Return whether an application to `inputs` is to be recorded."""
        cdef int track = 0
        for x in inputs:
            track |= (<Tensor>x).track
        return track != 0 and tracking(track)

    cdef tuple vjp(self, Node node, Tensor g):
        needs = tuple([node.needs(i) for i in range(len(node.edges))])
        return self.example_by_example(
            lambda found, out, *saved: self.pullback(
                node.params, found, needs, out, saved
            ),
            g, node.output() if self.reads_output else None, *saved_by(node),
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        count = len(tangents)
        return self.example_by_example(
            lambda *given: self.pushforward(
                node.params, given[:count], given[count], given[count + 1:]
            ),
            *tangents, node.output() if self.reads_output else None, *saved_by(node),
        )

    def example_by_example(self, rule, *given):
        """Return what a rule finds: under vmap, where g or a tangent may be mapped."""
        if not is_mapping():
            return rule(*given)
        from tensorlib.ops.looped import any_batched, one_by_one

        if any_batched(*given):
            return one_by_one(self.name, rule, *given)
        return rule(*given)


cdef tuple saved_by(Node node):
    if node.saved is None:
        node.get(0)     # raises: they were freed
    return tuple([
        None if x is None else node.get(i) for i, x in enumerate(node.saved)
    ])


def is_differentiated():
    """Return whether what a rule computes is differentiated in turn."""
    return differentiated()


def permutation(Tensor pivots, int64_t rows):
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

    Examples
    --------
    >>> import tensorlib as tl
    >>> permutation(tl.tensor([[3, 2]], dtype="int32"), 3)
    tensor([[2, 1, 0]])
    """
    cdef tl_buffer layout
    cdef Tensor found
    cdef int64_t b, i, other, count = pivots.buf.shape[1]
    cdef int64_t *order
    cdef const int32_t *swaps
    layout.ndim, layout.shape[0], layout.shape[1] = 2, pivots.buf.shape[0], rows
    found = new_tensor(&layout, TL_INT64, pivots.buf.device_type, 0)
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
