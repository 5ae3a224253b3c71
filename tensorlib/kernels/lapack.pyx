"""LAPACK on every matrix of a batch: its functions, and how a batch is shared.

LAPACK is the one inside the BLAS library, on one thread; the batch is shared among the
threads of the pool. Each matrix is worked on alone, so its bits depend neither on the
number of threads nor on its neighbours. Matrices up to `SMALL` rows go through loops of
our own (small_matrix.pyx, small_spectrum.pyx), most of them real ones: there a call of
LAPACK costs more than the arithmetic.

LAPACK is column-major: what is row-major for us is the transpose for it. Each kernel
(lapack_systems.pyx, lapack_factors.pyx, lapack_spectra.pyx) says how it makes use of
that rather than transpose its operands.

References
----------
E. Anderson et al., "LAPACK Users' Guide", 3rd ed., SIAM 1999.
"""
from cython.parallel cimport prange
from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from tensorlib.core.abi cimport (
    TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_FLOAT32, TL_FLOAT64, TL_OK,
    TL_OUT_OF_MEMORY, tl_buffer, tl_call, tl_kernel_fn, tl_status, tl_storage,
)
from tensorlib.core.dispatch cimport register_kernel
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.storage cimport scratch_new, storage_release
from tensorlib.core.threads cimport thread_pool, threads_for
from tensorlib.kernels.blas cimport blas_function
from tensorlib.kernels.gomp cimport use_pool

cdef extern from "tensorlib/turn.h" nogil:
    void tl_turn(
        const void *source, int64_t step, int64_t itemsize, int64_t rows,
        int64_t columns, void *block, int64_t width)

cdef enum:
    GRAIN = 20000         # floating-point operations that pay for another thread
    OVERHEAD = 200        # ... that a matrix costs besides its arithmetic
    TILE = 16             # of a transposing copy: whole lines of either matrix

# The bits of a real number.
ctypedef fused word:
    int32_t
    int64_t

# ---- the functions of each dtype -------------------------------------------------
cdef Lapack _single
cdef Lapack _double
cdef Lapack _complex_single
cdef Lapack _complex_double
cdef const int *_sizes = dtype_sizes()


cdef int _fill(Lapack *table, str letter, bint is_complex, bint is_single) except -1:
    kind = "un" if is_complex else "or"
    table.getrf = <getrf_fn>blas_function(letter + "getrf_")
    table.getri = <getri_fn>blas_function(letter + "getri_")
    table.potrf = <potrf_fn>blas_function(letter + "potrf_")
    table.geqrf = <geqrf_fn>blas_function(letter + "geqrf_")
    table.orgqr = <orgqr_fn>blas_function(letter + kind + "gqr_")
    table.geqr2 = <geqr2_fn>blas_function(letter + "geqr2_")
    table.org2r = <org2r_fn>blas_function(letter + kind + "g2r_")
    table.trsm = <trsm_fn>blas_function(letter + "trsm_")
    table.trsv = <trsv_fn>blas_function(letter + "trsv_")
    table.is_complex, table.is_single = is_complex, is_single
    table.real_size = sizeof(float) if is_single else sizeof(double)
    table.half_digits = sqrt(FLT_EPSILON if is_single else DBL_EPSILON)
    table.itemsize = (2 if is_complex else 1) * table.real_size
    if is_single:
        (<float *>table.one)[0] = 1.0
    else:
        (<double *>table.one)[0] = 1.0
    return _fill_iterations(table, letter)


cdef int _fill_iterations(Lapack *table, str letter) except -1:
    if table.is_complex:
        table.heevd = <heevd_fn>blas_function(letter + "heevd_")
        table.complex_gesdd = <complex_gesdd_fn>blas_function(letter + "gesdd_")
        table.complex_gesvd = <complex_gesvd_fn>blas_function(letter + "gesvd_")
        table.complex_geev = <complex_geev_fn>blas_function(letter + "geev_")
    else:
        table.syevd = <syevd_fn>blas_function(letter + "syevd_")
        table.gesdd = <gesdd_fn>blas_function(letter + "gesdd_")
        table.gesvd = <gesvd_fn>blas_function(letter + "gesvd_")
        table.geev = <geev_fn>blas_function(letter + "geev_")
    return 0


cdef int register_matrix_kernel(str name, tl_kernel_fn run) except -1:
    register_kernel(name, TL_CPU, TL_FLOAT32, run, &_single)
    register_kernel(name, TL_CPU, TL_FLOAT64, run, &_double)
    register_kernel(name, TL_CPU, TL_COMPLEX64, run, &_complex_single)
    register_kernel(name, TL_CPU, TL_COMPLEX128, run, &_complex_double)
    return 0


# ---- one kernel call: its matrices and how they are shared ----------------------
cdef Job job_of(const tl_call *call) noexcept nogil:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.call = call
    job.lapack = <const Lapack *>call.loop
    job.params = <const tl_matrix_params *>call.params
    job.m = <int>call.in_[0].shape[1]
    job.n = <int>call.in_[0].shape[2]
    return job


cdef char *input(const Job *job, int which, int64_t i) noexcept nogil:
    cdef const tl_buffer *b = job.call.in_[which]
    return <char *>b.data + i * b.strides[0] * _sizes[b.dtype]


cdef char *output(const Job *job, int which, int64_t i) noexcept nogil:
    cdef const tl_buffer *b = job.call.out[which]
    return <char *>b.data + i * b.strides[0] * _sizes[b.dtype]


cdef void run_range(
    const Job *job, matrix_fn one, char *scratch, int64_t first, int64_t last
) noexcept nogil:
    cdef int32_t *info = <int32_t *>job.call.out[0].data
    cdef int64_t i
    for i in range(first, last):
        info[i] = one(job, i, scratch)


cdef tl_status run_batch(const Job *job, matrix_fn one, double flops) noexcept nogil:
    cdef int64_t count = job.call.out[0].shape[0], t
    cdef int factor = 4 if job.lapack.is_complex else 1
    cdef int threads = threads_for(
        <int64_t>(count * (factor * flops + OVERHEAD)), GRAIN
    )
    cdef int64_t each = (job.scratch + 63) // 64 * 64
    cdef tl_storage *storage = NULL
    cdef char *scratch = NULL
    if threads > count:
        threads = <int>count
    if threads < 1:
        threads = 1
    if each > 0:
        storage = scratch_new(threads * each)
        if storage == NULL:
            return TL_OUT_OF_MEMORY
        scratch = <char *>storage.data
    if threads == 1:
        run_range(job, one, scratch, 0, count)
    else:
        for t in prange(threads, num_threads=threads, schedule="static", nogil=True):
            run_range(
                job, one, scratch + t * each, count * t // threads,
                count * (t + 1) // threads,
            )
    if storage != NULL:
        storage_release(storage)
    return TL_OK


# ---- loops over elements ---------------------------------------------------------
cdef inline void turn_row(
    double complex *to, int64_t ld, const double complex *row, int64_t n
) noexcept nogil:
    cdef int64_t j
    for j in range(n):
        to[j * ld] = row[j]


cdef void transpose(
    const Job *job, void *to, int64_t ld, const void *source, int64_t source_ld,
    int64_t rows, int64_t columns,
) noexcept nogil:
    """By tiles, which stay in the first cache; real ones are turned in registers."""
    cdef int64_t size = job.lapack.itemsize, i, top = 0, left, high, wide
    cdef char *block
    cdef const char *tile
    while top < rows:
        high, left = min(<int64_t>TILE, rows - top), 0
        while left < columns:
            wide = min(<int64_t>TILE, columns - left)
            block = <char *>to + (left * ld + top) * size
            tile = <const char *>source + (top * source_ld + left) * size
            if size <= 8:
                tl_turn(tile, source_ld, size, wide, high, block, ld)
            else:
                for i in range(high):
                    turn_row(
                        <double complex *>block + i, ld,
                        <const double complex *>tile + i * source_ld, wide
                    )
            left += TILE
        top += TILE


cdef word largest_bits(const char *x, int64_t n, word magnitude) noexcept nogil:
    """Bits of the largest of n magnitudes: as integers they have the same order.

    Unlike a maximum of numbers, that of integers vectorizes and does not lose NaN.
    """
    cdef word bits, top = 0
    cdef int64_t i
    for i in range(n):
        memcpy(&bits, x + i * <int64_t>sizeof(word), sizeof(word))
        bits &= magnitude
        top = max(top, bits)
    return top


cdef double largest_of(const Job *job, const void *x, int64_t n) noexcept nogil:
    """The largest magnitude of a part of n elements: NaN or infinity if there is one.
    """
    cdef int32_t single_bits
    cdef int64_t double_bits
    cdef float single
    cdef double found
    n *= job.lapack.itemsize // job.lapack.real_size
    if is_single(job):
        single_bits = largest_bits[int32_t](<const char *>x, n, 0x7FFFFFFF)
        memcpy(&single, &single_bits, sizeof(float))
        return single
    double_bits = largest_bits[int64_t](<const char *>x, n, 0x7FFFFFFFFFFFFFFF)
    memcpy(&found, &double_bits, sizeof(double))
    return found


cdef bint all_finite(const Job *job, const void *x, int64_t n) noexcept nogil:
    return largest_of(job, x, n) < INFINITY


cdef bint mirrored(const real *a, int64_t n, real close) noexcept nogil:
    """Whether a square matrix is its transpose, up to differences of `close`.

    Elements that are not finite differ from themselves.
    """
    cdef int64_t top = 0, left, i, j
    cdef bint differ = False
    while top < n and not differ:
        left = 0
        while left <= top:
            for i in range(top, min(top + TILE, n)):
                for j in range(left, min(left + TILE, i + 1)):
                    differ |= not abs(a[i * n + j] - a[j * n + i]) <= close
            left += TILE
        top += TILE
    return not differ


cdef bint mirrored_complex(const real *a, int64_t n, real close) noexcept nogil:
    """The same with the conjugate transpose; pairs of parts."""
    cdef int64_t top = 0, left, i, j, ij, ji
    cdef bint differ = False
    while top < n and not differ:
        left = 0
        while left <= top:
            for i in range(top, min(top + TILE, n)):
                for j in range(left, min(left + TILE, i + 1)):
                    ij, ji = 2 * (i * n + j), 2 * (j * n + i)
                    differ |= not abs(a[ij] - a[ji]) <= close
                    differ |= not abs(a[ij + 1] + a[ji + 1]) <= close
            left += TILE
        top += TILE
    return not differ


cdef bint close_to_adjoint(
    const Job *job, const void *a, double largest
) noexcept nogil:
    """Whether half of the digits of the largest element are the same on both sides."""
    cdef double close = largest * job.lapack.half_digits
    if job.lapack.is_complex and is_single(job):
        return mirrored_complex(<const float *>a, job.n, <float>close)
    if job.lapack.is_complex:
        return mirrored_complex(<const double *>a, job.n, close)
    if is_single(job):
        return mirrored(<const float *>a, job.n, <float>close)
    return mirrored(<const double *>a, job.n, close)


cdef double largest_diagonal(
    const Job *job, const real *a, int64_t step
) noexcept nogil:
    """The largest magnitude there of a real part; NaN may be lost."""
    cdef real found = 0
    cdef int64_t i
    for i in range(job.n):
        if not abs(a[i * step]) <= found:
            found = abs(a[i * step])
    return found


cdef int check_hermitian(const Job *job, const void *a) noexcept nogil:
    """Differences count beside the largest element, and NaN differs from itself.

    The largest element of a positive definite matrix is on the diagonal; others pay
    for looking at all only where they are not symmetric beside that one.
    """
    cdef int64_t step = (job.n + 1) * (2 if job.lapack.is_complex else 1)
    cdef double largest
    if is_single(job):
        largest = largest_diagonal(job, <const float *>a, step)
    else:
        largest = largest_diagonal(job, <const double *>a, step)
    if largest < INFINITY and close_to_adjoint(job, a, largest):
        return 0
    largest = largest_of(job, a, <int64_t>job.n * job.n)
    if not largest < INFINITY:
        return NOT_FINITE
    return 0 if close_to_adjoint(job, a, largest) else NOT_HERMITIAN


cdef int round_up(const Job *job, const void *size) noexcept nogil:
    if is_single(job):
        # float32 may have rounded it down.
        return <int>((<const float *>size)[0] * 1.0000002) + 1
    return <int>(<const double *>size)[0]


_fill(&_single, "s", False, True)
_fill(&_double, "d", False, False)
_fill(&_complex_single, "c", True, True)
_fill(&_complex_double, "z", True, False)
use_pool(thread_pool())
