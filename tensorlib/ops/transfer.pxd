# Tensors from one device to another.
from tensorlib.core.device cimport Device
from tensorlib.core.tensor cimport Tensor

# The device of a `device=` argument, opened: tensors can be made on it.
cdef Device usable_device(str op, object spec)
# x on the device, recorded; x itself when it is there.
cdef Tensor moved(Tensor x, Device where, bint wait)
