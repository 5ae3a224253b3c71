# Sizes of a convolution, shared by the families that compute it.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer, tl_conv_params, tl_storage
from tensorlib.core.storage cimport tl_derived_key

cdef extern from "tensorlib/conv.h" namespace "tl" nogil:
    # Extents are of one image; c and o are the channels of one group.
    cdef cppclass conv_shape:
        bint channels_last
        bint pointwise      # patches are the image itself
        bint turned         # filters lie turned around
        int64_t n, groups, c, o
        int64_t size[3]
        int64_t out[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t padding[3]
        int64_t dilation[3]
        int64_t pixels      # of one image
        int64_t positions   # of one output
        int64_t taps
        int64_t depth       # c * taps

    cdef cppclass conv_tiles(conv_shape):
        int64_t images      # of a tile: some images, or a run of positions of one
        int64_t run
        int64_t pieces      # runs of an image
        int64_t tiles
        int64_t columns     # most positions of a tile
        int64_t block       # channels of a block of conv_input and conv_weight
        int64_t blocks

    conv_shape conv_describe(
        const tl_conv_params *params, const tl_buffer *x, const tl_buffer *w,
        const tl_buffer *y)
    # Filters that lie turned around, as they do for others.
    void conv_turn[T](const conv_shape *p, const T *w, T *filters)
    # total[i] = sum of partial[k][i] over the slices k, in order.
    void add_slices[T](const T *partial, int64_t slices, int64_t n, T *total)

# What a form of the whole weight w is kept by.
cdef inline tl_derived_key filters_key(
    const conv_shape *p, const void *w, const void *maker
) noexcept nogil:
    cdef tl_derived_key key
    key.data, key.maker = w, maker
    key.sizes[0], key.sizes[1], key.sizes[2], key.sizes[3] = p.groups, p.o, p.c, p.taps
    return key

# Where it may stay: with the weight's storage, or NULL.
cdef inline tl_storage *filters_keeper(
    const tl_conv_params *params, const tl_buffer *w
) noexcept nogil:
    return w.storage if params.keeps else NULL
