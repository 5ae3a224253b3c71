"""The driver of reductions: which elements meet, in which order, on which thread.

Rows are cut into units and columns into tiles by shape alone, and what they reduce
to is joined pairwise in order, so that the bits do not depend on the thread count.
Axes are sorted by stride first: a view is reduced in the order of its memory.

A narrow dtype has no functions of its own, sums and extremes of halves aside: what a
function is given is widened just before, in pieces that stay in the nearest caches, and
what it finishes is narrowed.
"""
from cython.parallel cimport prange
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from tensorlib.core.abi cimport (
    TL_BFLOAT16, TL_C_CONTIGUOUS, TL_FLOAT16, TL_OK, TL_OUT_OF_MEMORY, tl_buffer,
    tl_call, tl_loop, tl_reduce_params, tl_status, tl_storage,
)
from tensorlib.core.batching cimport takes_any_axes
from tensorlib.core.storage cimport scratch_new, storage_release
from tensorlib.core.threads cimport thread_pool, threads_for
from tensorlib.core.widening cimport tl_narrow, widens_in_blocks
from tensorlib.kernels.gomp cimport use_pool
from tensorlib.kernels.strided cimport (
    axes_collapse, axes_init, axes_offset, axes_operand, axes_sort, tl_axes,
)

cdef enum:
    UNIT = 8192             # elements of one unit of a row
    TILE_ROWS = 256         # rows of a tile of many columns
    NARROW = 128            # fewer columns are folded: several rows become one
    FEW = 24                # elements of a short row
    GRAIN = 32768           # elements a thread should have
    WIDE_WORDS = 8192       # of 64 bits, of what is widened at a time: a unit

# One call: operand 0 of kept is the input, operand 1 the output.
ctypedef struct Job:
    const Op *op
    const tl_narrow *how    # of a narrow dtype; or NULL
    unit_fn unit            # op.unit as it takes elements in memory; NULL: widened ones
    bint narrow_out
    int64_t in_size         # bytes of an element in memory
    int64_t out_size
    const tl_reduce_params *params
    const char *x
    char *y
    tl_axes kept
    tl_axes reduced
    int64_t parts           # units or row tiles of one output
    int64_t tile_rows
    int64_t col_tiles
    Partial *partials       # [output][part], or NULL when parts == 1
    char *totals            # the same as results, where op.join joins; or NULL


# Tasks first..last.
ctypedef void (*range_fn)(const Job *job, int64_t first, int64_t last) noexcept nogil

# Of totals that are joined later.
cdef tl_reduce_params _unscaled = tl_reduce_params(0, 1, 0)


ctypedef fused item:
    uint8_t
    int16_t
    int32_t
    int64_t


# ---- the functions of an op, on wide or narrow elements ---------------------------
cdef inline unit_fn unit_for(const Op *op, const tl_narrow *how) noexcept nogil:
    if how == NULL:
        return op.unit
    if how.dtype == TL_FLOAT16:
        return op.of_halves[0]
    return op.of_halves[1] if how.dtype == TL_BFLOAT16 else NULL


cdef void cast_row(
    tl_loop cast, void *target, int64_t step, const void *source, int64_t n
) noexcept nogil:
    cdef int64_t[4] strides = [step, 1, 0, 0]
    cast(target, source, NULL, NULL, strides, n, NULL)


cdef void fold(const Job *job, const void *x, int64_t n, Partial *p) noexcept nogil:
    """op.unit"""
    cdef int64_t[WIDE_WORDS] wide
    if job.unit != NULL:
        job.unit(x, n, p)
    else:
        cast_row(job.how.widen, wide, 1, x, n)
        job.op.unit(wide, n, p)


cdef inline int64_t most_rows(const Job *job) noexcept nogil:
    return WIDE_WORDS // job.how.wide_size      # of eight columns


cdef inline int64_t columns_at_once(
    const Job *job, int64_t rows, int64_t cols
) noexcept nogil:
    rows = min(rows, most_rows(job))
    return min(cols, 8 * WIDE_WORDS // (job.how.wide_size * rows))


cdef void widen_tile(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t cols, char *wide
) noexcept nogil:
    cdef int64_t i
    if step == cols:
        rows, cols = 1, rows * cols
    for i in range(rows):
        cast_row(
            job.how.widen, wide + i * cols * job.how.wide_size, 1,
            x + i * step * job.in_size, cols,
        )


cdef void fold_rows(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t n, Partial *p
) noexcept nogil:
    """op.unit of `rows` rows, `step` bytes apart."""
    cdef int64_t[WIDE_WORDS] wide
    cdef int64_t i, j, m = rows
    if job.unit != NULL:
        for i in range(rows):
            job.unit(x + i * step, n, &p[i])
        return
    i = 0
    while i < rows:
        m = min(rows - i, 8 * WIDE_WORDS // (n * job.how.wide_size))
        widen_tile(job, x + i * step, step // job.in_size, m, n, <char *>wide)
        for j in range(m):
            job.op.unit(<char *>wide + j * n * job.how.wide_size, n, &p[i + j])
        i += m


cdef void fold_narrow(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t cols, Partial *p
) noexcept nogil:
    """op.cols of columns few enough to be widened; more rows than that are merged."""
    cdef int64_t[WIDE_WORDS] wide
    cdef Partial[8] more
    cdef int64_t k, m, done = min(rows, most_rows(job))
    widen_tile(job, x, step, done, cols, <char *>wide)
    job.op.cols(wide, cols, done, cols, p)
    while done < rows:
        m = min(rows - done, most_rows(job))
        widen_tile(job, x + done * step * job.in_size, step, m, cols, <char *>wide)
        job.op.cols(wide, cols, m, cols, more)
        for k in range(cols):
            more[k].index += done
        job.op.merge(p, more, cols)
        done += m


cdef void fold_columns(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t cols, Partial *p
) noexcept nogil:
    """op.cols"""
    cdef int64_t j = 0, m
    if job.how == NULL:
        job.op.cols(x, step, rows, cols, p)
        return
    while j < cols:
        m = columns_at_once(job, rows, cols - j)
        fold_narrow(job, x + j * job.in_size, step, rows, m, p + j)
        j += m


cdef void finish_to(
    const Job *job, const Partial *p, int64_t n, char *out, int64_t step
) noexcept nogil:
    """op.finish"""
    cdef int64_t[SHORT] wide
    cdef int64_t i = 0, m
    if not job.narrow_out:
        job.op.finish(p, n, job.params, out, step)
        return
    while i < n:
        m = min(n - i, SHORT)
        job.op.finish(p + i, m, job.params, wide, 1)
        cast_row(job.how.narrow, out + i * step * job.out_size, step, wide, m)
        i += m


cdef bint finish_directly(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t cols, char *out
) noexcept nogil:
    """op.direct; False where it cannot be used."""
    cdef int64_t[WIDE_WORDS] wide
    cdef int64_t[COLUMNS] results
    cdef int64_t j = 0, m
    if job.how == NULL:
        job.op.direct(x, step, rows, cols, job.params, out)
        return True
    if rows > most_rows(job):
        return False
    while j < cols:
        m = columns_at_once(job, rows, cols - j)
        widen_tile(job, x + j * job.in_size, step, rows, m, <char *>wide)
        if job.narrow_out:
            job.op.direct(wide, m, rows, m, job.params, results)
            cast_row(job.how.narrow, out + j * job.out_size, 1, results, m)
        else:
            job.op.direct(wide, m, rows, m, job.params, out + j * job.out_size)
        j += m
    return True


# ---- rows -------------------------------------------------------------------------
cdef void gather_items(
    const item *x, const tl_axes *axes, int64_t begin, int64_t n, item *work
) noexcept nogil:
    """Elements begin..begin + n (C order over axes) into work."""
    cdef int last = axes.ndim - 1
    cdef int64_t length = axes.shape[last], step = axes.strides[0][last]
    cdef int64_t done = 0, j, m, place
    cdef const item *run
    while done < n:
        place = (begin + done) % length
        m = length - place
        if m > n - done:
            m = n - done
        run = x + axes_offset(axes, 0, begin + done)
        for j in range(m):
            work[done + j] = run[j * step]
        done += m


cdef void piece(
    const Job *job, const char *x, int64_t begin, int64_t n, Partial *p
) noexcept nogil:
    """Reduce n <= GATHER elements that do not lie together."""
    cdef int64_t work[GATHER]
    if job.in_size == 1:
        gather_items(<const uint8_t *>x, &job.reduced, begin, n, <uint8_t *>work)
    elif job.in_size == 2:
        gather_items(<const int16_t *>x, &job.reduced, begin, n, <int16_t *>work)
    elif job.in_size == 4:
        gather_items(<const int32_t *>x, &job.reduced, begin, n, <int32_t *>work)
    else:
        gather_items(<const int64_t *>x, &job.reduced, begin, n, <int64_t *>work)
    fold(job, work, n, p)


cdef void unit(
    const Job *job, const char *x, int64_t begin, int64_t end, Partial *total
) noexcept nogil:
    """Elements begin..end of one output's reduced axes, x being its first."""
    cdef int last = job.reduced.ndim - 1
    cdef int64_t length = job.reduced.shape[last], position = begin, m
    cdef bint together = job.reduced.strides[0][last] == 1 and length >= SHORT
    cdef Partial p
    while position < end:
        if together:
            m = length - position % length
        else:
            m = GATHER
        if m > end - position:
            m = end - position
        p.index = 0
        if together:
            fold(
                job, x + axes_offset(&job.reduced, 0, position) * job.in_size, m, &p
            )
        else:
            piece(job, x, position, m, &p)
        p.index += position
        if position == begin:
            total[0] = p
        else:
            job.op.merge(total, &p, 1)
        position += m


cdef void join(const Job *job, Partial *parts, int64_t width) noexcept nogil:
    """Join parts of `width` partials each pairwise, in order, into the first."""
    cdef int64_t gap = 1, i
    while gap < job.parts:
        i = 0
        while i + gap < job.parts:
            job.op.merge(parts + i * width, parts + (i + gap) * width, width)
            i += 2 * gap
        gap *= 2


cdef inline char *output(const Job *job, int64_t index) noexcept nogil:
    return job.y + axes_offset(&job.kept, 1, index) * job.out_size


cdef void transpose_items(
    const item *x, int64_t step, int64_t rows, int64_t n, item *work
) noexcept nogil:
    """Rows of n elements into work as n rows."""
    cdef int64_t i, j
    for i in range(rows):
        for j in range(n):
            work[j * rows + i] = x[i * step + j]


cdef void short_rows(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t n, Partial *p
) noexcept nogil:
    """Rows of a few elements side by side: as columns they fill the vectors."""
    cdef int64_t work[SHORT * FEW]
    if job.in_size == 1:
        transpose_items(<const uint8_t *>x, step, rows, n, <uint8_t *>work)
    elif job.in_size == 2:
        transpose_items(<const int16_t *>x, step, rows, n, <int16_t *>work)
    elif job.in_size == 4:
        transpose_items(<const int32_t *>x, step, rows, n, <int32_t *>work)
    else:
        transpose_items(<const int64_t *>x, step, rows, n, <int64_t *>work)
    fold_columns(job, <const char *>work, rows, n, rows, p)


cdef void whole_rows(const Job *job, int64_t first, int64_t last) noexcept nogil:
    """Outputs first..last of contiguous rows that are one unit each: no walking."""
    cdef Partial p[SHORT]
    cdef int64_t n = job.reduced.size, step = 0, out_step = 0, m
    cdef const char *x
    if job.kept.ndim:
        step = job.kept.strides[0][0] * job.in_size
        out_step = job.kept.strides[1][0]
    while first < last:
        m = last - first if last - first < SHORT else SHORT
        x = job.x + first * step
        if job.op.transposed and n <= FEW and job.kept.size > 8:
            short_rows(job, x, step // job.in_size, m, n, p)
        else:
            fold_rows(job, x, step, m, n, p)
        finish_to(job, p, m, job.y + first * out_step * job.out_size, out_step)
        first += m


cdef void rows_range(const Job *job, int64_t first, int64_t last) noexcept nogil:
    """Units first..last, counted over outputs and their parts."""
    cdef int64_t task, index, part, end, n = job.reduced.size
    cdef Partial p
    cdef const char *x
    if (
        job.partials == NULL and job.kept.ndim <= 1 and job.reduced.ndim == 1
        and job.reduced.strides[0][0] == 1
    ):
        whole_rows(job, first, last)
        return
    for task in range(first, last):
        index = task // job.parts
        part = task - index * job.parts
        x = job.x + axes_offset(&job.kept, 0, index) * job.in_size
        end = (part + 1) * UNIT if (part + 1) * UNIT < n else n
        if job.partials != NULL:
            unit(job, x, part * UNIT, end, &job.partials[task])
        else:
            unit(job, x, 0, n, &p)
            finish_to(job, &p, 1, output(job, index), 1)


cdef void folded_cols(
    const Job *job, const char *x, int64_t step, int64_t rows, int64_t cols, Partial *p
) noexcept nogil:
    """A tile; when its rows are short and adjoining, several are taken as one."""
    cdef Partial wide[COLUMNS]
    cdef int64_t times, i, j, done
    if step != cols or cols >= NARROW or rows * cols < 2 * COLUMNS:
        fold_columns(job, x, step, rows, cols, p)
        return
    times = COLUMNS // cols
    done = rows // times * times
    fold_columns(job, x, times * cols, rows // times, times * cols, wide)
    for i in range(times):
        for j in range(cols):
            wide[i * cols + j].index = wide[i * cols + j].index * times + i
            if i == 0:
                p[j] = wide[j]
        if i:
            job.op.merge(p, &wide[i * cols], cols)
    if done < rows:
        fold_columns(
            job, x + done * step * job.in_size, step, rows - done, cols, wide
        )
        for j in range(cols):
            wide[j].index += done
        job.op.merge(p, wide, cols)


cdef void tile(const Job *job, int64_t task) noexcept nogil:
    """Tile `task`, counted over outer outputs, row tiles and column tiles."""
    cdef Partial local[COLUMNS]
    cdef Partial *p = local
    cdef int inner = job.kept.ndim - 1, last = job.reduced.ndim - 1
    cdef int64_t columns = job.kept.shape[inner], length = job.reduced.shape[last]
    cdef int64_t a_run = (length + job.tile_rows - 1) // job.tile_rows
    cdef int64_t rest = task // job.col_tiles
    cdef int64_t j = (task - rest * job.col_tiles) * COLUMNS, i
    cdef int64_t outer = rest // job.parts, part = rest - outer * job.parts
    cdef int64_t row = part // a_run * length + part % a_run * job.tile_rows
    cdef int64_t rows = length - part % a_run * job.tile_rows
    cdef int64_t cols = columns - j if columns - j < COLUMNS else COLUMNS
    if rows > job.tile_rows:
        rows = job.tile_rows
    cdef int64_t row_step = job.reduced.strides[0][last]
    cdef const char *x = job.x + job.in_size * (
        axes_offset(&job.kept, 0, outer * columns + j)
        + axes_offset(&job.reduced, 0, row)
    )
    if job.totals != NULL:
        job.op.direct(
            x, row_step, rows, cols, &_unscaled,
            job.totals + (rest * columns + j) * job.out_size,
        )
        return
    if job.partials != NULL:
        p = job.partials + rest * columns + j
    elif (
        job.op.direct != NULL and job.kept.strides[1][inner] == 1
        and (cols >= NARROW or row_step != cols)
        and finish_directly(
            job, x, row_step, rows, cols, output(job, outer * columns + j)
        )
    ):
        return
    folded_cols(job, x, row_step, rows, cols, p)
    if job.partials == NULL:
        finish_to(
            job, p, cols, output(job, outer * columns + j), job.kept.strides[1][inner]
        )
    elif job.op.ordered:
        for i in range(cols):
            p[i].index += row


cdef void join_totals(const Job *job) noexcept nogil:
    cdef int64_t columns = job.kept.shape[job.kept.ndim - 1], outer, t, j
    for outer in range(job.kept.size // columns):
        for t in range(job.col_tiles):
            j = t * COLUMNS
            job.op.join(
                job.totals + (outer * job.parts * columns + j) * job.out_size,
                columns, job.parts, min(columns - j, COLUMNS), job.params,
                output(job, outer * columns + j),
            )


cdef void join_columns(const Job *job) noexcept nogil:
    cdef int inner = job.kept.ndim - 1
    cdef int64_t columns = job.kept.shape[inner], outer
    cdef Partial *parts
    for outer in range(job.kept.size // columns):
        parts = job.partials + outer * job.parts * columns
        join(job, parts, columns)
        finish_to(
            job, parts, columns, output(job, outer * columns),
            job.kept.strides[1][inner],
        )


cdef void join_rows(const Job *job, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t index, begin
    cdef Partial *parts
    for index in range(first, last):
        parts = job.partials + index * job.parts
        join(job, parts, 1)
        if job.op.values != NULL:
            begin = parts.index
            unit(
                job, job.x + axes_offset(&job.kept, 0, index) * job.in_size, begin,
                min(begin + UNIT, job.reduced.size), parts,
            )
        finish_to(job, parts, 1, output(job, index), 1)


cdef void share_rows(
    const Job *job, range_fn run, int64_t tasks, int threads
) noexcept nogil:
    cdef int64_t t
    if threads > tasks:
        threads = <int>tasks
    if threads <= 1:
        run(job, 0, tasks)
        return
    for t in prange(threads, num_threads=threads, schedule='static', nogil=True):
        run(job, tasks * t // threads, tasks * (t + 1) // threads)


cdef tl_status reduce_rows(Job *job) noexcept nogil:
    """Each output's elements as one run, cut into units.

    A position is looked for in the unit alone whose value has won: a unit's index is
    its beginning until then.
    """
    cdef int threads = threads_for(job.kept.size * job.reduced.size, GRAIN)
    cdef tl_storage *storage = NULL
    cdef Job units
    job.parts = (job.reduced.size + UNIT - 1) // UNIT
    if job.parts > 1:
        storage = scratch_new(job.parts * job.kept.size * sizeof(Partial))
        if storage == NULL:
            return TL_OUT_OF_MEMORY
        job.partials = <Partial *>storage.data
    units = job[0]
    if storage != NULL and job.op.values != NULL:
        units.op = job.op.values
        units.unit = unit_for(units.op, job.how)
    share_rows(&units, rows_range, job.parts * job.kept.size, threads)
    if storage != NULL:
        share_rows(job, join_rows, job.kept.size, threads)
        storage_release(storage)
    return TL_OK


cdef tl_status reduce_columns(Job *job) noexcept nogil:
    """Rows of outputs, accumulated from rows of input; job.kept ends in the columns."""
    cdef int64_t columns = job.kept.shape[job.kept.ndim - 1]
    cdef int64_t length = job.reduced.shape[job.reduced.ndim - 1], tasks, t
    cdef int threads = threads_for(job.kept.size * job.reduced.size, GRAIN)
    cdef tl_storage *storage = NULL
    cdef bint compact = (
        job.op.join != NULL and job.how == NULL and columns >= NARROW
        and job.kept.strides[1][job.kept.ndim - 1] == 1
    )
    job.tile_rows = TILE_ROWS * TILE_ROWS // columns
    if job.tile_rows < TILE_ROWS:
        job.tile_rows = TILE_ROWS
    job.col_tiles = (columns + COLUMNS - 1) // COLUMNS
    job.parts = (
        job.reduced.size // length * ((length + job.tile_rows - 1) // job.tile_rows)
    )
    tasks = job.kept.size // columns * job.parts * job.col_tiles
    if job.parts > 1:
        storage = scratch_new(
            job.kept.size * job.parts
            * (job.out_size if compact else <int64_t>sizeof(Partial))
        )
        if storage == NULL:
            return TL_OUT_OF_MEMORY
        if compact:
            job.totals = <char *>storage.data
        else:
            job.partials = <Partial *>storage.data
    if threads <= 1:
        for t in range(tasks):
            tile(job, t)
    else:
        for t in prange(tasks, num_threads=threads, schedule='static', nogil=True):
            tile(job, t)
    if storage != NULL:
        if compact:
            join_totals(job)
        else:
            join_columns(job)
        storage_release(storage)
    return TL_OK


cdef void fill_empty(const Job *job) noexcept nogil:
    cdef int64_t index
    for index in range(job.kept.size):
        finish_to(job, &job.op.empty, 1, output(job, index), 1)


cdef inline bint adjoining(const Job *job, int64_t columns) noexcept nogil:
    """Whether rows of few columns follow each other, so that some are taken as one."""
    cdef int last = job.reduced.ndim - 1
    return (
        columns > 1 and job.reduced.strides[0][last] == columns
        and columns * job.reduced.shape[last] >= 2 * COLUMNS
    )


cdef tl_status reduce_any(
    const tl_call *call, const Op *op, const tl_narrow *how
) noexcept nogil:
    """Describe the call, then choose rows or columns by where memory is adjoining."""
    cdef const tl_buffer *x = call.in_[0]
    cdef Job job
    cdef int kept
    job.op, job.how, job.unit = op, how, unit_for(op, how)
    job.narrow_out = how != NULL and call.out[0].dtype == how.dtype
    job.in_size = op.in_size if how == NULL else how.size
    job.out_size = how.size if job.narrow_out else op.out_size
    job.params = <const tl_reduce_params *>call.params
    job.x = <const char *>x.data
    job.y = <char *>call.out[0].data
    job.partials = NULL
    job.totals = NULL
    kept = x.ndim - job.params.n_reduced
    axes_init(&job.kept, x, 0, kept)
    axes_operand(&job.kept, 1, call.out[0], 0)
    axes_init(&job.reduced, x, kept, x.ndim)
    if job.kept.size == 0:
        return TL_OK
    axes_sort(&job.kept, 2)
    axes_collapse(&job.kept, 2)
    if job.reduced.size == 0:
        fill_empty(&job)
        return TL_OK
    if not op.ordered:
        axes_sort(&job.reduced, 1)
    axes_collapse(&job.reduced, 1)
    if job.reduced.ndim == 0:
        job.reduced.ndim = 1
        job.reduced.shape[0] = 1
        job.reduced.strides[0][0] = 1
    kept = job.kept.ndim - 1
    if (
        kept >= 0 and job.kept.strides[0][kept] == 1
        and (job.kept.shape[kept] >= 8 or adjoining(&job, job.kept.shape[kept]))
        and (
            job.reduced.strides[0][job.reduced.ndim - 1] != 1
            or job.reduced.shape[job.reduced.ndim - 1] == 1
        )
    ):
        return reduce_columns(&job)
    return reduce_rows(&job)


cdef tl_status reduce_kernel(const tl_call *call) noexcept nogil:
    cdef const tl_buffer *x = call.in_[0]
    cdef const Op *op = <const Op *>call.loop
    cdef const tl_reduce_params *params = <const tl_reduce_params *>call.params
    cdef Partial p
    if (
        x.flags & TL_C_CONTIGUOUS and params.n_reduced == x.ndim
        and 0 < x.size <= UNIT
    ):
        op.unit(x.data, x.size, &p)
        op.finish(&p, 1, params, call.out[0].data, 1)
        return TL_OK
    return reduce_any(call, op, NULL)


cdef tl_status _reduce_narrow(const tl_call *call) noexcept nogil:
    cdef const tl_narrow *how = <const tl_narrow *>call.loop
    return reduce_any(call, <const Op *>how.wide.loop, how)


takes_any_axes(reduce_kernel)
takes_any_axes(_reduce_narrow)
widens_in_blocks(reduce_kernel, _reduce_narrow)
use_pool(thread_pool())
