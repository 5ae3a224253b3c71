"""Forward-mode tangents and their levels.

Each `jvp` call opens a level, an ever larger number, and gives its primals tangents at
that level. A tensor carries one tangent per level, and the tangent at level l is a
tensor that may carry tangents of the levels below l: a tower of dual numbers, as deep
as calls are nested. A rule that computes the tangent at level l runs with the levels
below l active alone, so the perturbations of an inner call are never taken for those
of an outer one (``d/dx (x * d/dy (x + y))`` is 1, not 2). A tangent of a closed level
is dead: nothing looks at it.

Which levels are active is a per-thread stack. Its height is `forward_mode` of the
thread's state, the one flag that an op call tests.

References
----------
J. M. Siskind, B. A. Pearlmutter, "Perturbation confusion and referential
transparency: correct functional implementation of forward-mode AD", IFL 2005.
"""
cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.sealed cimport tl_seal
from tensorlib.core.tensor cimport TRACK_TANGENT, Tensor, detached

from tensorlib.core.errors import GraphError

cdef extern from *:
    """
    #define TL_MAX_LEVELS 64
    static __thread struct {
        uint64_t active[TL_MAX_LEVELS];   // the first forward_mode of them count
        uint64_t covered[TL_MAX_LEVELS];  // what stood where an open level stands
        int32_t heights[TL_MAX_LEVELS];   // forward_mode before each open level
        int32_t open;                     // jvp calls under way
        PyObject *holders;                // list of those that hold tangents, or NULL
    } tl_levels_;
    """
    ctypedef struct tl_levels:
        uint64_t active[64]
        uint64_t covered[64]
        int heights[64]
        int open
        PyObject *holders
    tl_levels tl_levels_

cdef uint64_t _last_level = 0


@cython.final
@cython.freelist(64)
cdef class Tangent:
    """One entry of a tensor's list of tangents."""


cdef uint64_t push_level() except 0:
    global _last_level
    cdef int height = thread_state().forward_mode
    cdef int place = tl_levels_.open
    if place == MAX_LEVELS:
        raise GraphError(
            f"jvp: expected at most {MAX_LEVELS} nested calls; the work doubles with "
            "each, so use reverse mode for the inner ones"
        )
    _last_level += 1
    # A rule may run with fewer levels active than are open, and open one itself.
    tl_levels_.covered[place] = tl_levels_.active[height]
    tl_levels_.heights[place] = height
    tl_levels_.active[height] = _last_level
    tl_levels_.open = place + 1
    thread_state().forward_mode = height + 1
    return _last_level


cdef int pop_level() except -1:
    cdef int place = tl_levels_.open - 1
    cdef int height = tl_levels_.heights[place]
    tl_levels_.active[height] = tl_levels_.covered[place]
    tl_levels_.open = place
    thread_state().forward_mode = height
    if place == 0 and tl_levels_.holders != NULL:
        holders = <list>tl_levels_.holders
        Py_DECREF(holders)
        tl_levels_.holders = NULL
        for holder in holders:
            holder.forget_tangents()
    return 0


cdef uint64_t active_level(int i) noexcept:
    return tl_levels_.active[i]


cdef int hold(object holder) except -1:
    # A node's tangents may be recorded, and then refer to the node: a cycle.
    if tl_levels_.holders == NULL:
        fresh = []
        Py_INCREF(fresh)
        tl_levels_.holders = <PyObject *>fresh
    (<list>tl_levels_.holders).append(holder)
    return 0


cdef Tensor tangent_at(Tensor x, uint64_t level):
    cdef Tangent entry
    if x is None:
        return None
    entry = <Tangent>x.tangent
    while entry is not None and entry.level > level:
        entry = entry.next
    if entry is None or entry.level != level:
        return None
    return entry.value


cdef int add_tangent(Tensor x, uint64_t level, Tensor value) except -1:
    """The level must be above those that x has."""
    cdef Tangent entry = Tangent.__new__(Tangent)
    entry.level = level
    entry.value = value
    entry.next = <Tangent>x.tangent
    x.tangent = entry
    x.track |= TRACK_TANGENT
    return 0


cdef int drop_tangent(Tensor x, uint64_t level) except -1:
    """The level must be above those that are to stay."""
    cdef Tangent entry = <Tangent>x.tangent
    while entry is not None and entry.level >= level:
        entry = entry.next
    x.tangent = entry
    if entry is None:
        x.track &= ~TRACK_TANGENT
    return 0


cdef Tensor with_tangents(Tensor x, object tangents):
    cdef Tensor made = detached(x)
    if tangents is not None:
        made.tangent = tangents
        made.track |= TRACK_TANGENT
    return made


tl_seal(Tangent)
