# Classes whose objects only tensorlib makes: calling them raises TypeError, because an
# object without its C fields would crash at its first use.
cdef extern from *:
    """
    static PyObject *tl_refuse_new(PyTypeObject *type, PyObject *a, PyObject *k) {
        (void)a; (void)k;
        PyErr_Format(PyExc_TypeError,
            "%s: not made by calling the class; use tensorlib's functions "
            "(tensor(data), zeros(shape), device(name), dtype(name), ...)",
            type->tp_name);
        return NULL;
    }
    static void tl_seal(PyObject *type) {
        ((PyTypeObject *)type)->tp_new = tl_refuse_new;
        ((PyTypeObject *)type)->tp_vectorcall = NULL;
    }
    """
    void tl_seal(object type)
