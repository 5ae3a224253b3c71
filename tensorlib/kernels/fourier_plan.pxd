# How a Fourier transform of one length is computed; the kernel's parameters.
from libc.stdint cimport int32_t, int64_t

cdef extern from "tensorlib/fourier_plan.h" nogil:
    enum:
        TL_FOURIER_CHAIN

    ctypedef struct tl_fourier_chain:
        int64_t n
        const void *roots

    ctypedef struct tl_fourier_plan:
        int64_t n
        tl_fourier_chain whole, first, second
        const void *cross
        const void *half

    ctypedef enum tl_fourier_kind:
        TL_FOURIER_COMPLEX
        TL_FOURIER_TO_HALF
        TL_FOURIER_FROM_HALF

    ctypedef struct tl_fourier_params:
        const tl_fourier_plan *plan
        double scale
        int32_t axis
        int32_t kind
        int32_t backward

    bint tl_fourier_describe(tl_fourier_plan *plan, int64_t n)
    int64_t tl_fourier_size(const tl_fourier_plan *plan)
    void tl_fourier_fill(tl_fourier_plan *plan, void *table, bint is_double)
