# Where a tensor's memory is.
cimport cython


@cython.final
cdef class Device:
    cdef readonly str type        # 'cpu' or 'cuda'
    cdef readonly int index
    cdef int type_code            # tl_device_type

cdef Device device_of(int type_code, int index)
cdef Device as_device(object spec)
