# Classes whose objects come and go with every operation. Cython's own list of free
# objects clears all of an object's memory, and its __dealloc__ sets errors aside each
# time; an object with room for 32 extents pays more for the two than for its kernel.
#
# tl_pool(type, before, start, stop): keep a list of free objects of this final class.
# before(o) gives back what o holds beside Python objects and must not make references
# to o. The bytes [start, stop) of a new object are not cleared. chained: such objects
# hold one another in chains, which are freed without recursion. Once a module, for one
# class.
from cpython.object cimport PyObject

cdef extern from *:
    """
    #include <string.h>
    #define TL_POOLED 256 /* objects kept */

    static struct {
        PyObject *items[TL_POOLED];
        int count;
        size_t start, stop;
        destructor before, dealloc;
    } tl_pool_;

    static PyObject *tl_pool_alloc(PyTypeObject *type, Py_ssize_t items) {
        PyObject *o;
        (void)items;
        if (tl_pool_.count)
            o = PyObject_Init(tl_pool_.items[--tl_pool_.count], type);
        else if ((o = (PyObject *)PyObject_GC_New(PyObject, type)) == NULL)
            return NULL;
        char *start = (char *)o, *end = start + type->tp_basicsize;
        memset(o + 1, 0, tl_pool_.start - sizeof(PyObject));
        memset(start + tl_pool_.stop, 0, (size_t)(end - start) - tl_pool_.stop);
        PyObject_GC_Track(o);
        return o;
    }

    static void tl_pool_free(void *o) {
        if (tl_pool_.count < TL_POOLED)
            tl_pool_.items[tl_pool_.count++] = (PyObject *)o;
        else
            PyObject_GC_Del(o);
    }

    static void tl_pool_dealloc(PyObject *o) {
        if (PyErr_Occurred()) {
            PyObject *type, *value, *trace;
            PyErr_Fetch(&type, &value, &trace);
            tl_pool_.before(o);
            PyErr_Restore(type, value, trace);
        } else {
            tl_pool_.before(o);
        }
        tl_pool_.dealloc(o);
    }

    static void tl_pool_dealloc_chained(PyObject *o) {
        PyObject_GC_UnTrack(o);
        Py_TRASHCAN_BEGIN(o, tl_pool_dealloc_chained)
        tl_pool_dealloc(o);
        Py_TRASHCAN_END
    }

    static void tl_pool(
        PyObject *class, void (*before)(PyObject *), size_t start, size_t stop,
        int chained
    ) {
        PyTypeObject *type = (PyTypeObject *)class;
        tl_pool_.before = before;
        tl_pool_.start = start;
        tl_pool_.stop = stop;
        tl_pool_.dealloc = type->tp_dealloc;
        type->tp_alloc = tl_pool_alloc;
        type->tp_free = tl_pool_free;
        type->tp_dealloc = chained ? tl_pool_dealloc_chained : tl_pool_dealloc;
    }
    """
    void tl_pool(
        object type, void (*before)(PyObject *) noexcept, size_t start, size_t stop,
        bint chained
    )
