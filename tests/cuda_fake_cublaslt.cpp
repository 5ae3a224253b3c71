// A cuBLASLt of a few lines, for float and double on the host: it checks what the CUDA
// module asks of the real one, by the documented meaning of descriptors and layouts.
#include <cstdint>
#include <cstring>

namespace {
struct Desc {
    int compute, scale, trans[2];
    uint32_t epilogue;
    const void *bias;
};
struct Layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
    int32_t batch;
    int64_t stride;
};
struct Result {
    uint64_t algo[8];
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};

template <typename T>
void multiply(const Desc &d, T alpha, const T *a, const Layout &la, const T *b,
              const Layout &lb, T beta, T *c, const Layout &lc) {
    const uint64_t depth = d.trans[0] ? la.rows : la.cols;
    for (int32_t which = 0; which < lc.batch; ++which)
        for (uint64_t j = 0; j < lc.cols; ++j)
            for (uint64_t i = 0; i < lc.rows; ++i) {
                T sum = 0;
                for (uint64_t k = 0; k < depth; ++k)
                    sum += a[which * la.stride +
                             (d.trans[0] ? k + i * la.ld : i + k * la.ld)] *
                           b[which * lb.stride +
                             (d.trans[1] ? j + k * lb.ld : k + j * lb.ld)];
                T &to = c[which * lc.stride + i + j * lc.ld];
                sum = alpha * sum + (beta == 0 ? 0 : beta * to);
                if (d.epilogue & 4) sum += static_cast<const T *>(d.bias)[i];
                to = sum;
            }
}
} // namespace

extern "C" {
void (*fake_flush)(int) = nullptr; // runs what was launched before
int fake_calls = 0, fake_plans = 0;

int cublasLtCreate(void **handle) { return *handle = new int, 0; }
int cublasLtMatmulDescCreate(void **d, int compute, int scale) {
    return *d = new Desc{compute, scale, {0, 0}, 1, nullptr}, 0;
}
int cublasLtMatmulDescDestroy(void *d) { return delete static_cast<Desc *>(d), 0; }
int cublasLtMatmulDescSetAttribute(void *desc, int what, const void *value,
                                   size_t size) {
    Desc &d = *static_cast<Desc *>(desc);
    if (what == 3 || what == 4)
        return size != 4 || !std::memcpy(&d.trans[what - 3], value, 4);
    if (what == 7) return size != 4 || !std::memcpy(&d.epilogue, value, 4);
    if (what == 8) return size != 8 || !std::memcpy(&d.bias, value, 8);
    return 7;
}
int cublasLtMatrixLayoutCreate(void **l, int type, uint64_t rows, uint64_t cols,
                               int64_t ld) {
    if (ld < static_cast<int64_t>(rows)) return 7;
    return *l = new Layout{type, rows, cols, ld, 1, 0}, 0;
}
int cublasLtMatrixLayoutDestroy(void *l) { return delete static_cast<Layout *>(l), 0; }
int cublasLtMatrixLayoutSetAttribute(void *layout, int what, const void *value,
                                     size_t size) {
    Layout &l = *static_cast<Layout *>(layout);
    if (what == 5) return size != 4 || !std::memcpy(&l.batch, value, 4);
    if (what == 6) return size != 8 || !std::memcpy(&l.stride, value, 8);
    return 7;
}
int cublasLtMatmulPreferenceCreate(void **p) { return *p = new int, 0; }
int cublasLtMatmulPreferenceDestroy(void *p) { return delete static_cast<int *>(p), 0; }
int cublasLtMatmulPreferenceSetAttribute(void *, int what, const void *, size_t size) {
    return size != (what == 1 ? 8u : 4u);
}
int cublasLtMatmulAlgoGetHeuristic(void *, void *desc, void *, void *, void *c, void *,
                                   void *, int, Result *result, int *found) {
    const bool wide = static_cast<Layout *>(c)->type == 1;
    if (static_cast<Layout *>(c)->type > 1) return 15; // 16-bit floats: not supported
    if (wide && (static_cast<Desc *>(desc)->epilogue & 4)) return 15;
    *result = Result{{}, 1024, 0, 1, {}};
    *found = 1;
    ++fake_plans;
    return 0;
}
int cublasLtMatmul(void *, void *desc, const void *alpha, const void *a, void *la,
                   const void *b, void *lb, const void *beta, const void *, void *,
                   void *d, void *ld, const void *, void *workspace, size_t size,
                   void *) {
    if (size && !workspace) return 7;
    if (fake_flush) fake_flush(0);
    const Desc &o = *static_cast<Desc *>(desc);
    const Layout &x = *static_cast<Layout *>(la), &y = *static_cast<Layout *>(lb),
                 &z = *static_cast<Layout *>(ld);
    if (z.type == 0)
        multiply(o, *(const float *)alpha, (const float *)a, x, (const float *)b, y,
                 *(const float *)beta, (float *)d, z);
    else
        multiply(o, *(const double *)alpha, (const double *)a, x, (const double *)b, y,
                 *(const double *)beta, (double *)d, z);
    ++fake_calls;
    return 0;
}
}
