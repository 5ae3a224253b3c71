// The op `matmul`: batches of matrix products of any strides.
//
// Products of floating dtypes go to cuBLASLt; to a kernel of our own (gemm.cuh,
// sliced.cuh, vectors.cuh) where one operand is a vector, where the product is small,
// and where the library is not there or has none. Integers wrap around and bool is an
// or of ands, always in our own.
#include "gemm.cuh"
#include "layout.cuh"
#include "sliced.cuh"
#include "vectors.cuh"

#include <utility>

namespace {

using tl::MatrixProduct;

constexpr int64_t kTiny =
    1 << 16; // multiply-adds up to which a library's call costs more
constexpr int64_t kTinyDepth = 128;
constexpr int64_t kThin = 8;  // rows or columns with which tiles are mostly empty
constexpr int64_t kCalls = 8; // launches for one batch, above which operands are copied

// ---- copies of operands that the library cannot read ------------------------------
// A batch of matrices as rows: target[(which * rows + i) * cols + j].
template <typename T, typename Index> struct CopyMatrices {
    const T *source;
    T *target;
    tl::Offsets<1, Index> offsets;
    __device__ void operator()(int64_t i) const {
        int64_t at[1];
        offsets.at(static_cast<Index>(i), at);
        target[i] = source[at[0]];
    }
};

template <typename T>
tl_status copy_matrices(const tl::Layout<1> &from, const void *source, void *target) {
    const T *x = static_cast<const T *>(source);
    T *y = static_cast<T *>(target);
    if (from.small)
        return tl::for_each(
            from.size, CopyMatrices<T, uint32_t>{x, y, tl::Offsets<1, uint32_t>(from)});
    return tl::for_each(from.size,
                        CopyMatrices<T, int64_t>{x, y, tl::Offsets<1, int64_t>(from)});
}

tl_status copy_matrices(int64_t bytes, const tl_buffer &from, void *target) {
    const tl_buffer *const operands[1] = {&from};
    const tl::Layout<1> layout = tl::merged_layout<1>(operands, false);
    if (layout.ndim > tl::kMaxMerged) return TL_DECLINED;
    switch (bytes) {
    case 1:
        return copy_matrices<uint8_t>(layout, from.data, target);
    case 2:
        return copy_matrices<uint16_t>(layout, from.data, target);
    case 4:
        return copy_matrices<uint32_t>(layout, from.data, target);
    default:
        return copy_matrices<uint64_t>(layout, from.data, target);
    }
}

// One operand of a product as rows in scratch memory; a broadcast matrix once.
tl_status pack(const MatrixProduct &p, const void *&data, int64_t rows, int64_t cols,
               int64_t &row, int64_t &col, int64_t &batch, void *target) {
    tl_buffer from = {};
    from.data = const_cast<void *>(data);
    from.ndim = 3;
    from.shape[0] = batch == 0 ? 1 : p.batch;
    from.shape[1] = rows, from.shape[2] = cols;
    from.strides[0] = batch, from.strides[1] = row, from.strides[2] = col;
    from.size = from.shape[0] * rows * cols;
    const tl_status status = copy_matrices(tl::dtype_bytes(p.dtype), from, target);
    data = target;
    row = cols, col = 1;
    batch = batch == 0 ? 0 : rows * cols;
    return status;
}

int64_t packed_bytes(const MatrixProduct &p, int64_t rows, int64_t cols,
                     int64_t batch) {
    return (batch == 0 ? 1 : p.batch) * rows * cols * tl::dtype_bytes(p.dtype);
}

// By the library, operands it cannot read copied first.
tl_status library_product(MatrixProduct p) {
    int64_t ld;
    const bool copy_a = tl::leading(p.m, p.k, p.a_row, p.a_col, &ld) == 0;
    const bool copy_b = tl::leading(p.k, p.n, p.b_row, p.b_col, &ld) == 0;
    if (!copy_a && !copy_b) return tl::cublaslt_multiply(p);
    const int64_t a_bytes =
        copy_a ? tl::ceil_div(packed_bytes(p, p.m, p.k, p.a_batch), 256) * 256 : 0;
    const int64_t b_bytes = copy_b ? packed_bytes(p, p.k, p.n, p.b_batch) : 0;
    const tl::Scratch scratch(a_bytes + b_bytes);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    tl_status status = TL_OK;
    if (copy_a)
        status = pack(p, p.a, p.m, p.k, p.a_row, p.a_col, p.a_batch, scratch.data());
    if (copy_b && status == TL_OK)
        status = pack(p, p.b, p.k, p.n, p.b_row, p.b_col, p.b_batch,
                      scratch.as<char>() + a_bytes);
    return status == TL_OK ? tl::cublaslt_multiply(p) : status;
}

// ---- kernels of our own -----------------------------------------------------------
template <typename T, typename Ring> tl_status any_product(const tl::Product<T> &p) {
    if (p.m < kThin || p.n < kThin || (p.m * p.n * p.k * p.batch <= kTiny))
        return tl::naive_product<T, Ring>(p);
    return tl::tiled_product<T, Ring>(p);
}

tl_status best_product(const tl::Product<float> &p) {
    return tl::stored_by_rows(p) && p.m > kThin && p.n > kThin
               ? tl::register_product(p)
               : any_product<float, tl::Arithmetic>(p);
}
tl_status best_product(const tl::Product<double> &p) {
    return any_product<double, tl::Arithmetic>(p);
}
template <typename T> tl_status best_product(const tl::Product<T> &p) { // 16-bit floats
    return tl::stored_by_rows(p) && p.m > kThin && p.n > kThin
               ? tl::tensor_core_product(p)
               : any_product<T, tl::Arithmetic>(p);
}

// Rows that all are the bias, before a library adds products to them.
template <typename T> struct FillRows {
    tl::Product<T> p;
    __device__ void operator()(int64_t at) const {
        int64_t which, i, j;
        tl::split_place(p, at, which, i, j);
        T &target = p.c[which * p.c_batch + i * p.c_row + j * p.c_col];
        target = p.bias == nullptr ? T{} : p.bias[j];
    }
};
template <typename T> tl_status fill_rows(const MatrixProduct &p) {
    return tl::for_each(p.batch * p.m * p.n, FillRows<T>{tl::product_of<T>(p)});
}

// ---- small products ---------------------------------------------------------------
// Up to here tiles of our own are done before the library's call is, on an H200 back to
// back: a launch takes the host a third of the library's time. In TF32 the library is
// quicker sooner.
constexpr int64_t kSmall = 1 << 26, kSmallTf32 = 1 << 24; // multiply-adds
constexpr int64_t kSmallDepth = 1024; // more is cut among blocks by the library alone
constexpr int64_t kThinDepth = 512;   // the same for few rows or columns

bool small_products = true;

template <typename T> bool is_small(const tl::Product<T> &p) {
    const bool tf32 = sizeof(T) == 4 && tl_cuda_float32_precision() != 0;
    const bool thin = p.m <= kThin || p.n <= kThin;
    return small_products && p.k <= (thin ? kThinDepth : kSmallDepth) &&
           p.batch * p.m * p.n * p.k <= (tf32 ? kSmallTf32 : kSmall) &&
           tl::sliced::readable(p);
}

// The fewer blocks tiles make, the smaller they are.
tl_status small_product(const tl::Product<float> &p) {
    const int64_t blocks = p.batch * tl::ceil_div(p.m, 32) * tl::ceil_div(p.n, 32);
    if (blocks < 150) return tl::sliced::run_tiles<float, 16, 32>(p);
    return blocks < 300 ? tl::sliced::run_tiles<float, 32, 32>(p)
                        : tl::sliced::run_tiles<float, 64, 32>(p);
}
tl_status small_product(const tl::Product<double> &) { return TL_DECLINED; }
template <typename T> tl_status small_product(const tl::Product<T> &p) {
    const int64_t blocks = p.batch * tl::ceil_div(p.m, 32) * tl::ceil_div(p.n, 32);
    return blocks < 300 ? tl::sliced::run_tiles<T, 32, 32>(p)
                        : tl::sliced::run_tiles<T, 64, 64>(p);
}

template <typename T> tl_status floating_product(const MatrixProduct &p) {
    const tl::Product<T> own = tl::product_of<T>(p);
    if (p.k <= kTinyDepth && p.batch * p.m * p.n * p.k <= kTiny)
        return tl::naive_product<T, tl::Arithmetic>(own);
    tl_status status = tl::vector_product(own);
    if (status != TL_DECLINED) return status;
    if (is_small(own)) {
        status = small_product(own);
        if (status != TL_DECLINED) return status;
    }
    status = library_product(p);
    if (status == TL_DECLINED && p.bias != nullptr && tl::have_cublaslt()) {
        MatrixProduct added = p; // the library has no epilogue for this dtype
        added.bias = nullptr, added.accumulate = true;
        status = fill_rows<T>(p);
        if (status == TL_OK) status = library_product(added);
        if (status == TL_DECLINED) return best_product(tl::product_of<T>(added));
        return status;
    }
    return status == TL_DECLINED ? best_product(own) : status;
}

template <typename T, typename Ring> tl_status integer_product(const MatrixProduct &p) {
    return any_product<T, Ring>(tl::product_of<T>(p));
}

// The transposed problem, whose output is stored by rows where this one's is by
// columns.
void transpose(MatrixProduct &p) {
    std::swap(p.m, p.n);
    std::swap(p.a, p.b);
    std::swap(p.a_row, p.b_col);
    std::swap(p.a_col, p.b_row);
    std::swap(p.a_batch, p.b_batch);
    std::swap(p.c_row, p.c_col);
}

} // namespace

namespace tl {

tl_status multiply(const MatrixProduct &given) {
    MatrixProduct p = given;
    if (p.m == 0 || p.n == 0 || p.batch == 0) return TL_OK;
    if (p.k == 0 && p.accumulate) return TL_OK;
    if (p.c_col != 1 && p.n != 1 && (p.c_row == 1 || p.m == 1) && p.bias == nullptr)
        transpose(p);
    if (p.batch > 1 && p.b_batch == 0 && p.a_batch == p.m * p.a_row &&
        p.c_batch == p.m * p.c_row) { // matrices on end that share b are one
        p.m *= p.batch;
        p.batch = 1;
    }
    switch (p.dtype) {
    case TL_FLOAT32:
        return floating_product<float>(p);
    case TL_FLOAT64:
        return floating_product<double>(p);
    case TL_FLOAT16:
        return floating_product<tl_float16>(p);
    case TL_BFLOAT16:
        return floating_product<tl_bfloat16>(p);
    case TL_BOOL:
        return integer_product<uint8_t, Logical>(p);
    case TL_INT8:
    case TL_UINT8:
        return integer_product<uint8_t, Arithmetic>(p);
    case TL_INT32:
        return integer_product<uint32_t, Arithmetic>(p);
    case TL_INT64:
    case TL_UINT64:
        return integer_product<uint64_t, Arithmetic>(p);
    default:
        return TL_DECLINED;
    }
}

} // namespace tl

namespace {

// ---- the op -----------------------------------------------------------------------
// The batch axes of c, a and b, merged; the longest first.
tl::Layout<3> batch_axes(const tl_buffer *c, const tl_buffer *a, const tl_buffer *b) {
    tl_buffer lead[3] = {*c, *a, *b};
    int64_t size = 1;
    for (int d = 0; d < c->ndim - 2; ++d)
        size *= c->shape[d];
    for (tl_buffer &each : lead) {
        each.ndim = static_cast<int16_t>(c->ndim - 2);
        each.size = size;
    }
    const tl_buffer *const operands[3] = {&lead[0], &lead[1], &lead[2]};
    tl::Layout<3> axes = tl::merged_layout<3>(operands);
    int longest = 0;
    for (int d = 1; d < axes.ndim; ++d)
        if (axes.shape[d] > axes.shape[longest]) longest = d;
    std::swap(axes.shape[0], axes.shape[longest]);
    for (int k = 0; k < 3; ++k)
        std::swap(axes.strides[0][k], axes.strides[longest][k]);
    return axes;
}

MatrixProduct describe(const tl_call *call) {
    const tl_buffer *c = call->out[0], *a = call->in[0], *b = call->in[1];
    const int last = c->ndim - 1;
    MatrixProduct p = {};
    p.dtype = c->dtype;
    p.m = c->shape[last - 1], p.n = c->shape[last], p.k = a->shape[last];
    p.a = a->data, p.a_row = a->strides[last - 1], p.a_col = a->strides[last];
    p.b = b->data, p.b_row = b->strides[last - 1], p.b_col = b->strides[last];
    p.c = c->data, p.c_row = c->strides[last - 1], p.c_col = c->strides[last];
    p.bias = call->nin > 2 && call->in[2] != nullptr ? call->in[2]->data : nullptr;
    p.batch = 1;
    p.accumulate = static_cast<const tl_matmul_params *>(call->params)->accumulate != 0;
    return p;
}

// Whether an operand's batch axes are in no order that one stride could walk.
bool is_irregular(const tl_buffer *x) {
    int64_t step = 0;
    bool regular = true, broadcast = false;
    for (int d = x->ndim - 3; d >= 0; --d) {
        if (x->shape[d] == 1) continue;
        regular &= step == 0 || x->strides[d] == step;
        broadcast |= x->strides[d] == 0;
        step = x->strides[d] * x->shape[d];
    }
    return !regular && !broadcast;
}

// The product of every matrix of the batch: one call for the axis first in `axes`, and
// one for each index of the others.
tl_status over_batches(MatrixProduct p, const tl::Layout<3> &axes) {
    const int64_t bytes = tl::dtype_bytes(p.dtype);
    const int64_t calls = axes.ndim ? axes.size / axes.shape[0] : 1;
    if (axes.ndim) {
        p.batch = axes.shape[0];
        p.c_batch = axes.strides[0][0];
        p.a_batch = axes.strides[0][1];
        p.b_batch = axes.strides[0][2];
    }
    for (int64_t call = 0; call < calls; ++call) {
        MatrixProduct one = p;
        int64_t rest = call;
        for (int d = 1; d < axes.ndim; ++d) {
            const int64_t at = rest % axes.shape[d] * bytes;
            rest /= axes.shape[d];
            one.c = static_cast<char *>(one.c) + at * axes.strides[d][0];
            one.a = static_cast<const char *>(one.a) + at * axes.strides[d][1];
            one.b = static_cast<const char *>(one.b) + at * axes.strides[d][2];
        }
        const tl_status status = tl::multiply(one);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

// A row-major copy of a whole operand, described by `copy`.
tl_status copy_operand(const tl_buffer *x, void *target, tl_buffer &copy) {
    copy = *x;
    copy.data = target;
    int64_t step = 1;
    for (int d = x->ndim - 1; d >= 0; --d) {
        copy.strides[d] = step;
        step *= x->shape[d];
    }
    return copy_matrices(tl::dtype_bytes(x->dtype), *x, target);
}

// Many small batches: copies of the operands whose axes are out of order make them one.
tl_status copied_batches(const tl_call *call) {
    const tl_buffer *in[2] = {call->in[0], call->in[1]};
    const int64_t bytes = tl::dtype_bytes(call->out[0]->dtype);
    int64_t sizes[2];
    for (int i = 0; i < 2; ++i)
        sizes[i] =
            is_irregular(in[i]) ? tl::ceil_div(in[i]->size * bytes, 256) * 256 : 0;
    const tl::Scratch scratch(sizes[0] + sizes[1]);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    tl_buffer copies[2];
    for (int i = 0; i < 2; ++i) {
        if (sizes[i] == 0) continue;
        const tl_status status =
            copy_operand(in[i], scratch.as<char>() + (i ? sizes[0] : 0), copies[i]);
        if (status != TL_OK) return status;
        in[i] = &copies[i];
    }
    MatrixProduct p = describe(call);
    const int last = call->out[0]->ndim - 1;
    p.a = in[0]->data, p.a_row = in[0]->strides[last - 1],
    p.a_col = in[0]->strides[last];
    p.b = in[1]->data, p.b_row = in[1]->strides[last - 1],
    p.b_col = in[1]->strides[last];
    return over_batches(p, batch_axes(call->out[0], in[0], in[1]));
}

template <typename T>
tl_status empty_product(const MatrixProduct &p, const tl::Layout<3> &axes) {
    MatrixProduct one = p;
    for (int64_t which = 0; which < axes.size; ++which) {
        int64_t rest = which, at = 0;
        for (int d = 0; d < axes.ndim; ++d) {
            at += rest % axes.shape[d] * axes.strides[d][0];
            rest /= axes.shape[d];
        }
        one.c = static_cast<T *>(p.c) + at;
        const tl_status status = fill_rows<T>(one);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

bool on_device(const tl_buffer *x) { return x->device_type == TL_CUDA; }

template <typename T> tl_status run_matmul(const tl_call *call) {
    const tl_buffer *c = call->out[0], *a = call->in[0], *b = call->in[1];
    if (c->size == 0) return TL_OK;
    const bool bias = call->nin > 2 && call->in[2] != nullptr;
    if (!on_device(a) || !on_device(b) || (bias && !on_device(call->in[2])))
        return TL_DECLINED;
    const MatrixProduct p = describe(call);
    tl::Layout<3> axes = {};
    axes.size = 1;
    if (c->ndim > 2) axes = batch_axes(c, a, b);
    if (p.k == 0) {
        if (p.accumulate) return TL_OK;
        return empty_product<T>(p, axes);
    }
    const int64_t calls = axes.ndim ? axes.size / axes.shape[0] : 1;
    if (calls > kCalls && (is_irregular(a) || is_irregular(b)))
        return copied_batches(call);
    return over_batches(p, axes);
}

const tl_cuda_entry entries[] = {
    {"matmul", TL_BOOL, run_matmul<uint8_t>, nullptr},
    {"matmul", TL_INT8, run_matmul<uint8_t>, nullptr},
    {"matmul", TL_UINT8, run_matmul<uint8_t>, nullptr},
    {"matmul", TL_INT32, run_matmul<uint32_t>, nullptr},
    {"matmul", TL_INT64, run_matmul<uint64_t>, nullptr},
    {"matmul", TL_UINT64, run_matmul<uint64_t>, nullptr},
    {"matmul", TL_FLOAT16, run_matmul<tl_float16>, nullptr},
    {"matmul", TL_BFLOAT16, run_matmul<tl_bfloat16>, nullptr},
    {"matmul", TL_FLOAT32, run_matmul<float>, nullptr},
    {"matmul", TL_FLOAT64, run_matmul<double>, nullptr},
};

// The arrays of a rung, all stored by rows.
template <typename T>
tl::Product<T> rows_product(int64_t m, int64_t n, int64_t k, const void *a,
                            const void *b, void *c) {
    MatrixProduct p = {};
    p.m = m, p.n = n, p.k = k;
    p.a = a, p.a_row = k, p.a_col = 1;
    p.b = b, p.b_row = n, p.b_col = 1;
    p.c = c, p.c_row = n, p.c_col = 1;
    p.batch = 1;
    return tl::product_of<T>(p);
}

tl_status run_rung(int which, int64_t m, int64_t n, int64_t k, const void *a,
                   const void *b, void *c) {
    const auto real = rows_product<float>(m, n, k, a, b, c);
    const auto brain = rows_product<tl_bfloat16>(m, n, k, a, b, c);
    switch (which) {
    case TL_CUDA_NAIVE:
        return tl::naive_product<float, tl::Arithmetic>(real);
    case TL_CUDA_SHARED:
        return tl::tiled_product<float, tl::Arithmetic>(real);
    case TL_CUDA_REGISTERS:
        return tl::stored_by_rows(real) ? tl::register_product(real) : TL_DECLINED;
    case TL_CUDA_TENSOR_CORES:
        return tl::stored_by_rows(brain) ? tl::tensor_core_product(brain) : TL_DECLINED;
    default:
        return TL_DECLINED;
    }
}

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_matmul_entries(int *count) {
    *count = sizeof entries / sizeof *entries;
    return entries;
}

extern "C" void tl_cuda_set_small_products(int used) { small_products = used != 0; }

extern "C" int tl_cuda_teaching_matmul(int which, int device, int64_t m, int64_t n,
                                       int64_t k, const void *a, const void *b,
                                       void *c) {
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    switch (run_rung(which, m, n, k, a, b, c)) {
    case TL_OK:
        return cudaSuccess;
    case TL_DECLINED:
        return cudaErrorInvalidValue;
    default:
        return tl_cuda_last_error();
    }
}
