// Pooling: the largest element or the mean of each window, and their transposes.
//
// Every result is gathered by one thread: a gradient asks which windows saw a pixel, in
// their order, so that nothing is added by two threads at once.
#include "patches.cuh"

namespace {

using tl::computed_t;

// Extents of one pooling. Data are planes of (D, H, W) with `inner` channels innermost.
struct Pool {
    int64_t planes, inner, pixels, positions;
    int64_t size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t divisor;
    bool adaptive, include_pad;
    tl::Divider by_inner, by_pixels, by_positions;
    tl::Grid3 pixel_grid, position_grid;
};

Pool describe(const tl_call *call, const tl_buffer *x, const tl_buffer *y) {
    const tl_pool_params *by = static_cast<const tl_pool_params *>(call->params);
    const int spatial = by->channels_last ? 1 : 2;
    Pool p = {};
    p.planes = x->shape[0] * (by->channels_last ? 1 : x->shape[1]);
    p.inner = by->channels_last ? x->shape[4] : 1;
    p.pixels = p.positions = 1;
    for (int d = 0; d < 3; ++d) {
        p.size[d] = x->shape[spatial + d], p.out[d] = y->shape[spatial + d];
        p.kernel[d] = by->kernel[d], p.stride[d] = by->stride[d];
        p.padding[d] = by->padding[d], p.dilation[d] = by->dilation[d];
        p.pixels *= p.size[d], p.positions *= p.out[d];
    }
    p.divisor = by->divisor;
    p.adaptive = by->adaptive != 0, p.include_pad = by->include_pad != 0;
    p.by_inner = tl::Divider::by(static_cast<uint32_t>(p.inner > 0 ? p.inner : 1));
    p.by_pixels = tl::Divider::by(static_cast<uint32_t>(p.pixels > 0 ? p.pixels : 1));
    p.by_positions =
        tl::Divider::by(static_cast<uint32_t>(p.positions > 0 ? p.positions : 1));
    p.pixel_grid = tl::Grid3::of(p.size);
    p.position_grid = tl::Grid3::of(p.out);
    return p;
}

// What one position reads along an axis: pixels first, first + step, ... within the image.
struct Window {
    int64_t first, count, step, padded; // padded: its extent with the padding
};

__device__ Window window(const Pool &p, int d, int64_t i) {
    Window w;
    if (p.adaptive) {
        w.first = i * p.size[d] / p.out[d];
        w.padded = w.count =
            ((i + 1) * p.size[d] + p.out[d] - 1) / p.out[d] - w.first;
        w.step = 1;
        return w;
    }
    const int64_t start = i * p.stride[d] - p.padding[d], gap = p.dilation[d];
    const int64_t end = start + p.kernel[d], last = p.size[d] + p.padding[d];
    const int64_t skipped = start < 0 ? (gap == 1 ? -start : (-start + gap - 1) / gap) : 0;
    w.padded = (end < last ? end : last) - start;
    w.step = gap;
    w.first = start + skipped * gap;
    const int64_t taps = p.kernel[d] - skipped, room = p.size[d] - w.first;
    const int64_t fit = gap == 1 ? room : (room + gap - 1) / gap;
    w.count = room <= 0 || taps < 0 ? 0 : taps < fit ? taps : fit;
    return w;
}

// The positions whose windows may have seen pixel `at`, and whether one of them did.
struct Seen {
    int64_t first, last;
};
__device__ Seen seen(const Pool &p, int d, int64_t at) {
    if (p.adaptive)
        return {at * p.out[d] / p.size[d],
                ((at + 1) * p.out[d] + p.size[d] - 1) / p.size[d] - 1};
    const int64_t reach = at + p.padding[d];
    const int64_t low = reach - (p.kernel[d] - 1) * p.dilation[d];
    const int64_t last = reach / p.stride[d];
    return {low > 0 ? (low + p.stride[d] - 1) / p.stride[d] : 0,
            last < p.out[d] - 1 ? last : p.out[d] - 1};
}
__device__ bool sees(const Pool &p, int d, int64_t position, int64_t at) {
    return p.adaptive || p.dilation[d] == 1 ||
           (at + p.padding[d] - position * p.stride[d]) % p.dilation[d] == 0;
}

// What the sum of a window is divided by.
__device__ int64_t elements(const Pool &p, const Window &a, const Window &b,
                            const Window &c) {
    if (p.divisor != 0) return p.divisor;
    return p.include_pad ? a.padded * b.padded * c.padded : a.count * b.count * c.count;
}

// Element i of an array of planes: its plane, its channel and where it is in the plane.
struct Element {
    int64_t plane, channel;
    uint32_t place;
    int at[3];
};
__device__ Element element(const Pool &p, int64_t i, const tl::Divider &places,
                           const tl::Grid3 &grid) {
    Element e;
    uint32_t rest = static_cast<uint32_t>(i);
    e.channel = p.inner == 1 ? 0 : tl::take(rest, p.by_inner);
    e.place = tl::take(rest, places);
    e.plane = rest;
    grid.split(e.place, e.at);
    return e;
}

// ---- y from x --------------------------------------------------------------------------
// Calls visit(value, place in the plane) for every tap, in order.
template <typename T, typename Visit>
__device__ __forceinline__ void for_taps(const Pool &p, const T *x, const Element &e,
                                         const Window &a, const Window &b, const Window &c,
                                         Visit &visit) {
    const T *plane = x + e.plane * p.pixels * p.inner + e.channel;
    for (int64_t i = 0; i < a.count; ++i)
        for (int64_t j = 0; j < b.count; ++j) {
            const int64_t line =
                ((a.first + i * a.step) * p.size[1] + b.first + j * b.step) * p.size[2];
#pragma unroll 4
            for (int64_t k = 0; k < c.count; ++k) {
                const int64_t place = line + c.first + k * c.step;
                visit(tl::load(plane + place * p.inner), place);
            }
        }
}

// Among equals the first counts, among NaNs the last, as on the CPU.
template <typename S> struct Largest {
    S best;
    int64_t place;
    __device__ void operator()(S x, int64_t at) {
        if (x > best || x != x) best = x, place = at;
    }
};
template <typename S> struct Total {
    S sum;
    __device__ void operator()(S x, int64_t) { sum += x; }
};

template <typename T> struct MaxPool {
    Pool p;
    const T *x;
    T *y;
    int64_t *index; // or null
    __device__ void operator()(int64_t i) const {
        using S = computed_t<T>;
        const Element e = element(p, i, p.by_positions, p.position_grid);
        const Window a = window(p, 0, e.at[0]), b = window(p, 1, e.at[1]),
                     c = window(p, 2, e.at[2]);
        const bool none = a.count * b.count * c.count == 0;
        Largest<S> found = {
            static_cast<S>(-INFINITY),
            none ? -1 : (a.first * p.size[1] + b.first) * p.size[2] + c.first};
        for_taps(p, x, e, a, b, c, found);
        tl::store(y + i, found.best);
        if (index != nullptr) index[i] = found.place;
    }
};

template <typename T> struct AvgPool {
    Pool p;
    const T *x;
    T *y;
    __device__ void operator()(int64_t i) const {
        using S = computed_t<T>;
        const Element e = element(p, i, p.by_positions, p.position_grid);
        const Window a = window(p, 0, e.at[0]), b = window(p, 1, e.at[1]),
                     c = window(p, 2, e.at[2]);
        const int64_t count = elements(p, a, b, c);
        Total<S> found = {0};
        for_taps(p, x, e, a, b, c, found);
        tl::store(y + i, count == 0 ? S(0) : found.sum / static_cast<S>(count));
    }
};

template <typename T> struct PoolGather {
    Pool p;
    const T *x;
    const int64_t *index;
    T *y;
    tl::Fault fault;
    __device__ void operator()(int64_t i) const {
        const Element e = element(p, i, p.by_positions, p.position_grid);
        const int64_t place = index[i];
        if (place >= p.pixels) return fault.raise(TL_INDEX_OUT_OF_RANGE);
        y[i] = place < 0 ? T{} : x[(e.plane * p.pixels + place) * p.inner + e.channel];
    }
};

// ---- x from y --------------------------------------------------------------------------
// Calls visit(offset in y, position) for every window that saw the pixel, in order.
template <typename Visit>
__device__ __forceinline__ void for_windows(const Pool &p, const Element &e, Visit &visit) {
    const Seen a = seen(p, 0, e.at[0]), b = seen(p, 1, e.at[1]), c = seen(p, 2, e.at[2]);
    for (int64_t i = a.first; i <= a.last; ++i) {
        if (!sees(p, 0, i, e.at[0])) continue;
        for (int64_t j = b.first; j <= b.last; ++j) {
            if (!sees(p, 1, j, e.at[1])) continue;
            for (int64_t k = c.first; k <= c.last; ++k) {
                if (!sees(p, 2, k, e.at[2])) continue;
                const int64_t q = (i * p.out[1] + j) * p.out[2] + k;
                visit((e.plane * p.positions + q) * p.inner + e.channel, i, j, k);
            }
        }
    }
}

template <typename T> struct AvgPoolGrad {
    Pool p;
    const T *y;
    T *x;
    struct Visit {
        const AvgPoolGrad &of;
        computed_t<T> sum;
        __device__ void operator()(int64_t at, int64_t i, int64_t j, int64_t k) {
            const int64_t count = elements(of.p, window(of.p, 0, i), window(of.p, 1, j),
                                           window(of.p, 2, k));
            if (count != 0) sum += tl::load(of.y + at) / static_cast<computed_t<T>>(count);
        }
    };
    __device__ void operator()(int64_t i) const {
        Visit visit = {*this, 0};
        for_windows(p, element(p, i, p.by_pixels, p.pixel_grid), visit);
        tl::store(x + i, visit.sum);
    }
};

template <typename T> struct PoolScatter {
    Pool p;
    const T *y;
    const int64_t *index;
    T *x;
    struct Visit {
        const PoolScatter &of;
        int64_t place;
        computed_t<T> sum;
        __device__ void operator()(int64_t at, int64_t, int64_t, int64_t) {
            if (of.index[at] == place) sum += tl::load(of.y + at);
        }
    };
    __device__ void operator()(int64_t i) const {
        const Element e = element(p, i, p.by_pixels, p.pixel_grid);
        Visit visit = {*this, static_cast<int64_t>(e.place), 0};
        for_windows(p, e, visit);
        tl::store(x + i, visit.sum);
    }
};

// ---- the ops ---------------------------------------------------------------------------
// Runs body_of(first plane) over the planes, as many at once as 32 bits can count. `each`:
// elements of the result a plane.
template <typename BodyOf>
tl_status for_planes(const Pool &p, int64_t each, BodyOf body_of) {
    const int64_t step = tl::counted_images(p.planes, each);
    if (step == 0) return TL_DECLINED;
    for (int64_t first = 0; first < p.planes; first += step) {
        const int64_t count = p.planes - first < step ? p.planes - first : step;
        const tl_status status = tl::for_each(count * each, body_of(first));
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

bool on_device(const tl_call *call) {
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i] != nullptr && call->in[i]->device_type != TL_CUDA) return false;
    return true;
}

// The arrays of a call: x and y in their roles, offsets of a plane among them.
template <typename T> struct Arrays {
    Pool p;
    T *x, *y;
    int64_t *index;
    int64_t x_plane, y_plane;
    Arrays(const tl_call *call, const tl_buffer *a, const tl_buffer *b, const tl_buffer *c)
        : p(describe(call, a, b)), x(static_cast<T *>(a->data)),
          y(static_cast<T *>(b->data)),
          index(c == nullptr ? nullptr : static_cast<int64_t *>(c->data)),
          x_plane(p.pixels * p.inner), y_plane(p.positions * p.inner) {}
};

template <typename T> tl_status run_max_pool(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Arrays<T> a(call, call->in[0], call->out[0],
                      call->nout > 1 ? call->out[1] : nullptr);
    return for_planes(a.p, a.y_plane, [&](int64_t first) {
        return MaxPool<T>{a.p, a.x + first * a.x_plane, a.y + first * a.y_plane,
                          a.index ? a.index + first * a.y_plane : nullptr};
    });
}

template <typename T> tl_status run_avg_pool(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Arrays<T> a(call, call->in[0], call->out[0], nullptr);
    return for_planes(a.p, a.y_plane, [&](int64_t first) {
        return AvgPool<T>{a.p, a.x + first * a.x_plane, a.y + first * a.y_plane};
    });
}

template <typename T> tl_status run_avg_pool_grad(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Arrays<T> a(call, call->out[0], call->in[0], nullptr);
    return for_planes(a.p, a.x_plane, [&](int64_t first) {
        return AvgPoolGrad<T>{a.p, a.y + first * a.y_plane, a.x + first * a.x_plane};
    });
}

template <typename T> tl_status run_pool_scatter(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Arrays<T> a(call, call->out[0], call->in[0], call->in[1]);
    return for_planes(a.p, a.x_plane, [&](int64_t first) {
        return PoolScatter<T>{a.p, a.y + first * a.y_plane, a.index + first * a.y_plane,
                              a.x + first * a.x_plane};
    });
}

template <typename T> tl_status run_pool_gather(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Arrays<T> a(call, call->in[0], call->out[0], call->in[1]);
    return for_planes(a.p, a.y_plane, [&](int64_t first) {
        return PoolGather<T>{a.p, a.x + first * a.x_plane, a.index + first * a.y_plane,
                             a.y + first * a.y_plane, tl::fault()};
    });
}

#define TL_POOL_ENTRIES(T)                                                              \
    {"max_pool", tl::dtype_of<T>::code, run_max_pool<T>, nullptr},                      \
        {"avg_pool", tl::dtype_of<T>::code, run_avg_pool<T>, nullptr},                  \
        {"avg_pool_grad", tl::dtype_of<T>::code, run_avg_pool_grad<T>, nullptr},        \
        {"pool_scatter", tl::dtype_of<T>::code, run_pool_scatter<T>, nullptr},          \
        {"pool_gather", tl::dtype_of<T>::code, run_pool_gather<T>, nullptr}
const tl_cuda_entry entries[] = {
    TL_POOL_ENTRIES(float),
    TL_POOL_ENTRIES(double),
    TL_POOL_ENTRIES(tl_float16),
    TL_POOL_ENTRIES(tl_bfloat16),
};
#undef TL_POOL_ENTRIES

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_pool_entries(int *count) {
    *count = sizeof entries / sizeof *entries;
    return entries;
}
