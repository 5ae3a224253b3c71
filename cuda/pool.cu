// Pooling: the largest element or the mean of each window, and their transposes.
//
// Every result is gathered by one thread: a gradient asks which windows saw a pixel, in
// their order, so that nothing is added by two threads at once.
#include "patches.cuh"

namespace {

using tl::computed_t;

// Extents of one pooling. Data are planes of (D, H, W) with `inner` channels innermost.
// What lies within a plane is counted in 32 bits (fits).
struct Pool {
    int64_t planes, inner, x_plane, y_plane;
    int pixels, positions;
    int size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t divisor;
    bool adaptive, include_pad;
    bool unit[3]; // one pixel, one position: nothing to compute
    tl::Divider by_inner, by_pixels, by_positions, by_stride[3];
    tl::Grid3 pixel_grid, position_grid;
};

constexpr int64_t kMostPlaces = INT64_C(1) << 31;

// Whether 32 bits count a plane and everything that a window reaches.
bool fits(const tl_pool_params *by, const int64_t (&size)[3], const int64_t (&out)[3]) {
    const int64_t pixels = size[0] * size[1] * size[2],
                  positions = out[0] * out[1] * out[2];
    bool good = pixels < kMostPlaces && positions < kMostPlaces;
    for (int d = 0; d < 3; ++d)
        good = good && (by->adaptive ? (out[d] + 1) * (size[d] + 1) < kMostPlaces
                                     : size[d] + 2 * by->padding[d] + by->stride[d] +
                                               by->kernel[d] * by->dilation[d] <
                                           kMostPlaces);
    return good;
}

bool describe(const tl_call *call, const tl_buffer *x, const tl_buffer *y, Pool &p) {
    const tl_pool_params *by = static_cast<const tl_pool_params *>(call->params);
    const int spatial = by->channels_last ? 1 : 2;
    p = {};
    p.planes = x->shape[0] * (by->channels_last ? 1 : x->shape[1]);
    p.inner = by->channels_last ? x->shape[4] : 1;
    int64_t size[3], out[3];
    for (int d = 0; d < 3; ++d)
        size[d] = x->shape[spatial + d], out[d] = y->shape[spatial + d];
    if (!fits(by, size, out) || p.inner >= kMostPlaces) return false;
    p.pixels = p.positions = 1;
    for (int d = 0; d < 3; ++d) {
        p.size[d] = static_cast<int>(size[d]), p.out[d] = static_cast<int>(out[d]);
        p.kernel[d] = static_cast<int>(by->kernel[d]);
        p.stride[d] = static_cast<int>(by->stride[d]);
        p.padding[d] = static_cast<int>(by->padding[d]);
        p.dilation[d] = static_cast<int>(by->dilation[d]);
        p.pixels *= p.size[d], p.positions *= p.out[d];
        p.unit[d] = size[d] == 1 && out[d] == 1 &&
                    (by->adaptive || (by->kernel[d] == 1 && by->padding[d] == 0));
        p.by_stride[d] = tl::Divider::by(static_cast<uint32_t>(p.stride[d]));
    }
    p.x_plane = p.pixels * p.inner, p.y_plane = p.positions * p.inner;
    p.divisor = by->divisor;
    p.adaptive = by->adaptive != 0, p.include_pad = by->include_pad != 0;
    p.by_inner = tl::Divider::by(static_cast<uint32_t>(p.inner > 0 ? p.inner : 1));
    p.by_pixels = tl::Divider::by(static_cast<uint32_t>(p.pixels > 0 ? p.pixels : 1));
    p.by_positions =
        tl::Divider::by(static_cast<uint32_t>(p.positions > 0 ? p.positions : 1));
    p.pixel_grid = tl::Grid3::of(size);
    p.position_grid = tl::Grid3::of(out);
    return true;
}

// What one position reads along an axis: pixels first, first + step, ... within the
// image.
struct Window {
    int first, count, step, padded; // padded: its extent with the padding
};

__device__ __forceinline__ Window window(const Pool &p, int d, int i) {
    if (p.unit[d]) return {0, 1, 1, 1};
    if (p.adaptive) {
        const int first = i * p.size[d] / p.out[d];
        const int count = ((i + 1) * p.size[d] + p.out[d] - 1) / p.out[d] - first;
        return {first, count, 1, count};
    }
    const int start = i * p.stride[d] - p.padding[d], gap = p.dilation[d];
    const int end = start + p.kernel[d], last = p.size[d] + p.padding[d];
    const int skipped = start >= 0 ? 0 : gap == 1 ? -start : (-start + gap - 1) / gap;
    Window w;
    w.padded = (end < last ? end : last) - start;
    w.step = gap;
    w.first = start + skipped * gap;
    const int taps = p.kernel[d] - skipped, room = p.size[d] - w.first;
    const int fit = gap == 1 ? room : (room + gap - 1) / gap;
    w.count = room <= 0 || taps < 0 ? 0 : taps < fit ? taps : fit;
    return w;
}

// The positions whose windows may have seen pixel `at`, and whether one of them did.
struct Seen {
    int first, last;
};
__device__ __forceinline__ Seen seen(const Pool &p, int d, int at) {
    if (p.unit[d]) return {0, 0};
    if (p.adaptive)
        return {at * p.out[d] / p.size[d],
                ((at + 1) * p.out[d] + p.size[d] - 1) / p.size[d] - 1};
    const int reach = at + p.padding[d];
    const int low = reach - (p.kernel[d] - 1) * p.dilation[d] + p.stride[d] - 1;
    const int last =
        static_cast<int>(p.by_stride[d].quotient(static_cast<uint32_t>(reach)));
    return {low > 0
                ? static_cast<int>(p.by_stride[d].quotient(static_cast<uint32_t>(low)))
                : 0,
            last < p.out[d] - 1 ? last : p.out[d] - 1};
}
__device__ __forceinline__ bool sees(const Pool &p, int d, int position, int at) {
    return p.adaptive || p.dilation[d] == 1 ||
           (at + p.padding[d] - position * p.stride[d]) % p.dilation[d] == 0;
}

// What the sum of a window is divided by.
__device__ __forceinline__ int64_t elements(const Pool &p, const Window &a,
                                            const Window &b, const Window &c) {
    if (p.divisor != 0) return p.divisor;
    return p.include_pad ? static_cast<int64_t>(a.padded) * b.padded * c.padded
                         : static_cast<int64_t>(a.count) * b.count * c.count;
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

// ---- y from x ---------------------------------------------------------------------
// Calls visit(value, place in the plane) for every tap, in order.
template <typename T, typename Visit>
__device__ __forceinline__ void for_taps(const Pool &p, const T *x, const Element &e,
                                         const Window &a, const Window &b,
                                         const Window &c, Visit &visit) {
    const T *plane = x + e.plane * p.x_plane + e.channel;
    for (int i = 0; i < a.count; ++i)
        for (int j = 0; j < b.count; ++j) {
            const int line =
                ((a.first + i * a.step) * p.size[1] + b.first + j * b.step) * p.size[2];
#pragma unroll 4
            for (int k = 0; k < c.count; ++k) {
                const int place = line + c.first + k * c.step;
                visit(tl::load(plane + place * p.inner), place);
            }
        }
}

// Among equals the first counts, among NaNs the last, as on the CPU.
template <typename S> struct Largest {
    S best;
    int place;
    __device__ void operator()(S x, int at) {
        if (x > best || x != x) best = x, place = at;
    }
};
template <typename S> struct Total {
    S sum;
    __device__ void operator()(S x, int) { sum += x; }
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
        const bool none = a.count == 0 || b.count == 0 || c.count == 0;
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
        y[i] = place < 0 ? T{} : x[e.plane * p.x_plane + place * p.inner + e.channel];
    }
};

// The transpose where windows share no pixel; x is zero elsewhere.
template <typename T> struct PoolPlace {
    Pool p;
    const T *y;
    const int64_t *index;
    T *x;
    tl::Fault fault;
    __device__ void operator()(int64_t i) const {
        const Element e = element(p, i, p.by_positions, p.position_grid);
        const int64_t place = index[i];
        if (place >= p.pixels) return fault.raise(TL_INDEX_OUT_OF_RANGE);
        if (place >= 0) x[e.plane * p.x_plane + place * p.inner + e.channel] = y[i];
    }
};

// ---- x from y ---------------------------------------------------------------------
// Calls visit(offset in y, position) for every window that saw the pixel, in order.
template <typename Visit>
__device__ __forceinline__ void for_windows(const Pool &p, const Element &e,
                                            Visit &visit) {
    const Seen a = seen(p, 0, e.at[0]), b = seen(p, 1, e.at[1]),
               c = seen(p, 2, e.at[2]);
    const int64_t plane = e.plane * p.y_plane + e.channel;
    for (int i = a.first; i <= a.last; ++i) {
        if (!sees(p, 0, i, e.at[0])) continue;
        for (int j = b.first; j <= b.last; ++j) {
            if (!sees(p, 1, j, e.at[1])) continue;
            for (int k = c.first; k <= c.last; ++k) {
                if (!sees(p, 2, k, e.at[2])) continue;
                visit(plane + ((i * p.out[1] + j) * p.out[2] + k) * p.inner, i, j, k);
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
        __device__ void operator()(int64_t at, int i, int j, int k) {
            const int64_t count = elements(of.p, window(of.p, 0, i), window(of.p, 1, j),
                                           window(of.p, 2, k));
            if (count != 0)
                sum += tl::load(of.y + at) / static_cast<computed_t<T>>(count);
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
        __device__ void operator()(int64_t at, int, int, int) {
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

// ---- the ops ----------------------------------------------------------------------
// Runs body_of(first plane) over the planes, as many at once as 32 bits can count.
// `each`: elements of the result a plane.
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

// The arrays of a call: x and y in their roles. Null arrays where 32 bits do not count
// a plane, which is left to the host.
template <typename T> struct Arrays {
    Pool p;
    T *x = nullptr, *y = nullptr;
    int64_t *index = nullptr;
    Arrays(const tl_call *call, const tl_buffer *a, const tl_buffer *b,
           const tl_buffer *c) {
        if (!on_device(call) || !describe(call, a, b, p)) return;
        x = static_cast<T *>(a->data), y = static_cast<T *>(b->data);
        index = c == nullptr ? nullptr : static_cast<int64_t *>(c->data);
    }
};

template <typename T> tl_status run_max_pool(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    const Arrays<T> a(call, call->in[0], call->out[0],
                      call->nout > 1 ? call->out[1] : nullptr);
    if (a.x == nullptr) return TL_DECLINED;
    return for_planes(a.p, a.p.y_plane, [&](int64_t first) {
        return MaxPool<T>{a.p, a.x + first * a.p.x_plane, a.y + first * a.p.y_plane,
                          a.index ? a.index + first * a.p.y_plane : nullptr};
    });
}

template <typename T> tl_status run_avg_pool(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    const Arrays<T> a(call, call->in[0], call->out[0], nullptr);
    if (a.x == nullptr) return TL_DECLINED;
    return for_planes(a.p, a.p.y_plane, [&](int64_t first) {
        return AvgPool<T>{a.p, a.x + first * a.p.x_plane, a.y + first * a.p.y_plane};
    });
}

template <typename T> tl_status run_avg_pool_grad(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    const Arrays<T> a(call, call->out[0], call->in[0], nullptr);
    if (a.x == nullptr) return TL_DECLINED;
    return for_planes(a.p, a.p.x_plane, [&](int64_t first) {
        return AvgPoolGrad<T>{a.p, a.y + first * a.p.y_plane,
                              a.x + first * a.p.x_plane};
    });
}

// Windows that share no pixel: each may write its own.
bool are_apart(const Pool &p) {
    for (int d = 0; d < 3; ++d)
        if (!p.unit[d] &&
            (p.adaptive ? p.size[d] % p.out[d] != 0
                        : (p.kernel[d] - 1) * p.dilation[d] >= p.stride[d]))
            return false;
    return true;
}

template <typename T> tl_status run_pool_scatter(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    const Arrays<T> a(call, call->out[0], call->in[0], call->in[1]);
    if (a.x == nullptr) return TL_DECLINED;
    if (are_apart(a.p)) {
        const tl_status status = tl::check(cudaMemsetAsync(
            a.x, 0, static_cast<size_t>(call->out[0]->size) * sizeof(T), tl::stream()));
        if (status != TL_OK) return status;
        return for_planes(a.p, a.p.y_plane, [&](int64_t first) {
            return PoolPlace<T>{a.p, a.y + first * a.p.y_plane,
                                a.index + first * a.p.y_plane,
                                a.x + first * a.p.x_plane, tl::fault()};
        });
    }
    return for_planes(a.p, a.p.x_plane, [&](int64_t first) {
        return PoolScatter<T>{a.p, a.y + first * a.p.y_plane,
                              a.index + first * a.p.y_plane, a.x + first * a.p.x_plane};
    });
}

template <typename T> tl_status run_pool_gather(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    const Arrays<T> a(call, call->in[0], call->out[0], call->in[1]);
    if (a.x == nullptr) return TL_DECLINED;
    return for_planes(a.p, a.p.y_plane, [&](int64_t first) {
        return PoolGather<T>{a.p, a.x + first * a.p.x_plane,
                             a.index + first * a.p.y_plane, a.y + first * a.p.y_plane,
                             tl::fault()};
    });
}

#define TL_POOL_ENTRIES(T)                                                             \
    {"max_pool", tl::dtype_of<T>::code, run_max_pool<T>, nullptr},                     \
        {"avg_pool", tl::dtype_of<T>::code, run_avg_pool<T>, nullptr},                 \
        {"avg_pool_grad", tl::dtype_of<T>::code, run_avg_pool_grad<T>, nullptr},       \
        {"pool_scatter", tl::dtype_of<T>::code, run_pool_scatter<T>, nullptr}, {       \
        "pool_gather", tl::dtype_of<T>::code, run_pool_gather<T>, nullptr              \
    }
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
