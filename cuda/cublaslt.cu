// Matrix products by cuBLASLt, which picks a kernel for each problem by its heuristics.
//
// The library is loaded at run time and declared here by hand: opaque pointers, and the
// numbers of cublasLt.h and library_types.h, which are the same in versions 12 and 13.
// A problem's descriptors and chosen kernel are kept, so that a call is one look-up and
// one launch. Work space is ordinary scratch memory, ordered by the stream and private
// to a graph that is being captured.
#include "keys.cuh"
#include "matmul.cuh"

#include <cstring>
#include <mutex>
#include <unordered_map>

namespace {

// cudaDataType and cublasComputeType_t
enum { kReal32 = 0, kReal64 = 1, kReal16 = 2, kBrain16 = 14 };
enum { kCompute32 = 68, kCompute64 = 70, kComputeTf32 = 77 };
// cublasLtMatmulDescAttributes_t, cublasOperation_t, cublasLtEpilogue_t
enum { kTransA = 3, kTransB = 4, kEpilogue = 7, kBiasPointer = 8 };
enum { kPlain = 0, kTransposed = 1 };
enum { kEpilogueBias = 4 };
// cublasLtMatrixLayoutAttribute_t
enum { kBatchCount = 5, kBatchStride = 6 };
// cublasLtMatmulPreferenceAttributes_t
enum { kWorkspaceBytes = 1, kReductionSchemes = 3, kAlignmentA = 5 };
// cublasLtReductionScheme_t: partial sums in the output's type would be rounded to it.
enum { kReduceInComputeType = 2 };

constexpr uint64_t kWorkspace = 32 << 20; // bytes; what NVIDIA advises for Hopper
constexpr size_t kMostPlans = 4096;       // kept by a thread
constexpr int64_t kMostBatches = 65535;   // a grid's third extent

// cublasLtMatmulAlgo_t and cublasLtMatmulHeuristicResult_t
struct Algorithm {
    uint64_t data[8];
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "as cublasLt.h has it");

// The functions used; every one returns a cublasStatus_t, 0 for success.
struct CublasLt {
    int (*create)(void **handle);
    int (*desc_create)(void **desc, int compute, int scale);
    int (*desc_destroy)(void *desc);
    int (*desc_set)(void *desc, int attribute, const void *value, size_t size);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t cols,
                         int64_t ld);
    int (*layout_destroy)(void *layout);
    int (*layout_set)(void *layout, int attribute, const void *value, size_t size);
    int (*preference_create)(void **preference);
    int (*preference_destroy)(void *preference);
    int (*preference_set)(void *preference, int attribute, const void *value,
                          size_t size);
    int (*heuristic)(void *handle, void *desc, void *a, void *b, void *c, void *d,
                     void *preference, int wanted, Heuristic *results, int *found);
    int (*matmul)(void *handle, void *desc, const void *alpha, const void *a,
                  void *a_layout, const void *b, void *b_layout, const void *beta,
                  const void *c, void *c_layout, void *d, void *d_layout,
                  const Algorithm *algorithm, void *workspace, size_t workspace_size,
                  cudaStream_t stream);
    bool ready;
};

template <typename F> bool find(F &function, const char *name) {
    function = reinterpret_cast<F>(tl::library_function("cublasLt", name));
    return function != nullptr;
}

const CublasLt &cublaslt() {
    static const CublasLt library = [] {
        CublasLt lib = {};
        lib.ready = find(lib.create, "cublasLtCreate") &&
                    find(lib.desc_create, "cublasLtMatmulDescCreate") &&
                    find(lib.desc_destroy, "cublasLtMatmulDescDestroy") &&
                    find(lib.desc_set, "cublasLtMatmulDescSetAttribute") &&
                    find(lib.layout_create, "cublasLtMatrixLayoutCreate") &&
                    find(lib.layout_destroy, "cublasLtMatrixLayoutDestroy") &&
                    find(lib.layout_set, "cublasLtMatrixLayoutSetAttribute") &&
                    find(lib.preference_create, "cublasLtMatmulPreferenceCreate") &&
                    find(lib.preference_destroy, "cublasLtMatmulPreferenceDestroy") &&
                    find(lib.preference_set, "cublasLtMatmulPreferenceSetAttribute") &&
                    find(lib.heuristic, "cublasLtMatmulAlgoGetHeuristic") &&
                    find(lib.matmul, "cublasLtMatmul");
        return lib;
    }();
    return library;
}

// The library's handle of a device; it may be used by several threads at once.
void *handle_of(int device) {
    static std::once_flag made[TL_CUDA_MAX_DEVICES];
    static void *handles[TL_CUDA_MAX_DEVICES];
    std::call_once(made[device], [=] {
        if (cublaslt().create(&handles[device]) != 0) handles[device] = nullptr;
    });
    return handles[device];
}

int float32_precision = 0;

// Everything that the choice of a kernel depends on. Rows and columns are the
// library's, which sees row-major matrices transposed: its A is our b.
struct Problem {
    int32_t device, type, compute, trans_a, trans_b, accumulate, bias, batch;
    int32_t alignment[4]; // of A, B, C and the bias, in bytes
    int64_t rows, cols, depth;
    int64_t ld[3];     // of A, B, C
    int64_t stride[3]; // from matrix to matrix of a batch
};
static_assert(sizeof(Problem) == 12 * 4 + 9 * 8, "no padding: it is compared as bytes");

struct Plan {
    void *desc = nullptr;
    void *layouts[3] = {};
    Algorithm algorithm;
    size_t workspace;
    bool usable = false;
};

using Plans =
    std::unordered_map<Problem, Plan, tl::HashOfBytes<Problem>, tl::SameBytes<Problem>>;

void destroy(Plan &plan) {
    if (plan.desc != nullptr) cublaslt().desc_destroy(plan.desc);
    for (void *layout : plan.layouts)
        if (layout != nullptr) cublaslt().layout_destroy(layout);
    plan = Plan();
}

template <typename V>
bool set(int (*setter)(void *, int, const void *, size_t), void *object, int attribute,
         V value) {
    return setter(object, attribute, &value, sizeof value) == 0;
}

int scale_type(const Problem &p) { return p.type == kReal64 ? kReal64 : kReal32; }

bool describe(const Problem &p, const void *bias, Plan &plan) {
    const CublasLt &lib = cublaslt();
    if (lib.desc_create(&plan.desc, p.compute, scale_type(p)) != 0) return false;
    bool good = set<int32_t>(lib.desc_set, plan.desc, kTransA, p.trans_a) &&
                set<int32_t>(lib.desc_set, plan.desc, kTransB, p.trans_b);
    if (p.bias) // the pointer's alignment counts
        good = good &&
               set<uint32_t>(lib.desc_set, plan.desc, kEpilogue, kEpilogueBias) &&
               set(lib.desc_set, plan.desc, kBiasPointer, bias);
    const int64_t extents[3][2] = {
        {p.trans_a ? p.depth : p.rows, p.trans_a ? p.rows : p.depth},
        {p.trans_b ? p.cols : p.depth, p.trans_b ? p.depth : p.cols},
        {p.rows, p.cols}};
    for (int i = 0; i < 3 && good; ++i) {
        void *&layout = plan.layouts[i];
        good = lib.layout_create(&layout, p.type, static_cast<uint64_t>(extents[i][0]),
                                 static_cast<uint64_t>(extents[i][1]), p.ld[i]) == 0;
        if (p.batch > 1)
            good = good && set<int32_t>(lib.layout_set, layout, kBatchCount, p.batch) &&
                   set<int64_t>(lib.layout_set, layout, kBatchStride, p.stride[i]);
    }
    return good;
}

bool choose(const Problem &p, void *handle, Plan &plan) {
    const CublasLt &lib = cublaslt();
    void *preference = nullptr;
    if (lib.preference_create(&preference) != 0) return false;
    bool good =
        set<uint64_t>(lib.preference_set, preference, kWorkspaceBytes, kWorkspace) &&
        set<uint32_t>(lib.preference_set, preference, kReductionSchemes,
                      kReduceInComputeType);
    for (int i = 0; i < 4; ++i) // of A, B, C and D
        good = good && set<uint32_t>(lib.preference_set, preference, kAlignmentA + i,
                                     p.alignment[i < 3 ? i : 2]);
    Heuristic result = {};
    int found = 0;
    good = good &&
           lib.heuristic(handle, plan.desc, plan.layouts[0], plan.layouts[1],
                         plan.layouts[2], plan.layouts[2], preference, 1, &result,
                         &found) == 0 &&
           found > 0 && result.status == 0;
    lib.preference_destroy(preference);
    plan.algorithm = result.algorithm;
    plan.workspace = result.workspace;
    return good;
}

// Each thread keeps its own: the bias is written into the descriptor before each call.
Plan &plan_for(const Problem &problem, void *handle, const void *bias) {
    static thread_local Plans plans;
    const auto found = plans.find(problem);
    if (found != plans.end()) return found->second;
    if (plans.size() >= kMostPlans) {
        for (auto &entry : plans)
            destroy(entry.second);
        plans.clear();
    }
    Plan &plan = plans[problem];
    plan.usable = describe(problem, bias, plan) && choose(problem, handle, plan);
    if (!plan.usable) destroy(plan);
    return plan;
}

int32_t alignment_of(const void *x) {
    const uintptr_t bits = reinterpret_cast<uintptr_t>(x) | 256;
    return static_cast<int32_t>(bits & (~bits + 1));
}

bool set_types(int dtype, Problem &p) {
    p.compute = kCompute32;
    switch (dtype) {
    case TL_FLOAT32:
        p.type = kReal32;
        if (float32_precision != 0) p.compute = kComputeTf32;
        return true;
    case TL_FLOAT64:
        p.type = kReal64;
        p.compute = kCompute64;
        return true;
    case TL_FLOAT16:
        p.type = kReal16;
        return true;
    case TL_BFLOAT16:
        p.type = kBrain16;
        return true;
    default:
        return false;
    }
}

// A row-major c is the library's c transposed, b^T a^T; false where strides do not fit.
bool pose(const tl::MatrixProduct &p, Problem &found) {
    found = Problem{};
    const char b = tl::leading(p.k, p.n, p.b_row, p.b_col, &found.ld[0]);
    const char a = tl::leading(p.m, p.k, p.a_row, p.a_col, &found.ld[1]);
    const char c = tl::leading(p.m, p.n, p.c_row, p.c_col, &found.ld[2]);
    if (a == 0 || b == 0 || c != 'N' || p.m * p.n * p.k == 0 ||
        !set_types(p.dtype, found))
        return false;
    found.device = tl::current_device();
    found.trans_a = b == 'T' ? kTransposed : kPlain;
    found.trans_b = a == 'T' ? kTransposed : kPlain;
    found.accumulate = p.accumulate;
    found.bias = p.bias != nullptr;
    found.batch = static_cast<int32_t>(p.batch);
    const void *operands[4] = {p.b, p.a, p.c, p.bias};
    for (int i = 0; i < 4; ++i)
        found.alignment[i] = alignment_of(operands[i]);
    found.rows = p.n, found.cols = p.m, found.depth = p.k;
    if (p.batch > 1)
        found.stride[0] = p.b_batch, found.stride[1] = p.a_batch,
        found.stride[2] = p.c_batch;
    return true;
}

tl_status run(const tl::MatrixProduct &p, const Problem &problem, void *handle,
              Plan &plan) {
    const CublasLt &lib = cublaslt();
    if (problem.bias && !set(lib.desc_set, plan.desc, kBiasPointer, p.bias))
        return TL_DECLINED;
    const float scales32[2] = {1, problem.accumulate ? 1.0f : 0.0f};
    const double scales64[2] = {1, problem.accumulate ? 1.0 : 0.0};
    const bool wide = problem.type == kReal64;
    const void *alpha = wide ? static_cast<const void *>(&scales64[0]) : &scales32[0];
    const void *beta = wide ? static_cast<const void *>(&scales64[1]) : &scales32[1];
    const auto call = [&](void *workspace) {
        return lib.matmul(handle, plan.desc, alpha, p.b, plan.layouts[0], p.a,
                          plan.layouts[1], beta, p.c, plan.layouts[2], p.c,
                          plan.layouts[2], &plan.algorithm, workspace, plan.workspace,
                          tl::stream());
    };
    if (plan.workspace == 0) return call(nullptr) == 0 ? TL_OK : TL_DECLINED;
    const tl::Scratch scratch(kWorkspace); // always as large: one block serves all
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    return call(scratch.data()) == 0 ? TL_OK : TL_DECLINED;
}

} // namespace

namespace tl {

bool have_cublaslt() { return cublaslt().ready; }

tl_status cublaslt_multiply(const MatrixProduct &p) {
    if (!have_cublaslt()) return TL_DECLINED;
    const int64_t size = dtype_bytes(p.dtype);
    for (int64_t first = 0; first < p.batch; first += kMostBatches) {
        MatrixProduct part = p;
        part.batch = p.batch - first < kMostBatches ? p.batch - first : kMostBatches;
        part.a = static_cast<const char *>(p.a) + first * p.a_batch * size;
        part.b = static_cast<const char *>(p.b) + first * p.b_batch * size;
        part.c = static_cast<char *>(p.c) + first * p.c_batch * size;
        Problem problem;
        if (!pose(part, problem)) return TL_DECLINED;
        void *handle = handle_of(problem.device);
        if (handle == nullptr) return TL_DECLINED;
        Plan &plan = plan_for(problem, handle, part.bias);
        if (!plan.usable) return TL_DECLINED;
        const tl_status status = run(part, problem, handle, plan);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

} // namespace tl

extern "C" {
void tl_cuda_set_float32_precision(int precision) { float32_precision = precision; }
int tl_cuda_float32_precision(void) { return float32_precision; }
}
