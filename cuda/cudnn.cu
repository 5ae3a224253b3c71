// Convolutions by cuDNN, where it is installed and takes the shape.
//
// Loaded at run time and declared here by hand, like cuBLASLt: opaque pointers and the
// numbers of cudnn_ops.h and cudnn_cnn.h, version 9. Of the algorithms that its
// heuristics propose, the first that gives the same bits every time is kept for a
// shape. Padding that differs between the sides of an axis, negative padding and the
// rest that it does not describe are left to conv.cu.
#include "conv.cuh"
#include "keys.cuh"
#include "numbers.cuh"

#include <cstring>
#include <unordered_map>

namespace {

using tl::conv_shape;
using tl::ConvOutput;

// cudnnDataType_t, cudnnTensorFormat_t, cudnnConvolutionMode_t, cudnnMathType_t
enum { kFloat = 0, kDouble = 1, kHalf = 2, kBfloat16 = 9 };
enum { kPlanes = 0, kRows = 1 };
enum { kCrossCorrelation = 1 };
enum { kDefaultMath = 0, kTensorMath = 1, kExactMath = 3 };

constexpr size_t kMostWorkspace = size_t(1) << 30; // bytes
constexpr size_t kMostPlans = 1024;                // kept by a thread
constexpr int kAsked = 8;                          // algorithms

// cudnnConvolution*AlgoPerf_t
struct Proposal {
    int algorithm, status;
    float time;
    size_t memory;
    int deterministic, math, reserved[3];
};
static_assert(sizeof(Proposal) == 48, "as cudnn_cnn.h has it");

// The functions used; every one returns a cudnnStatus_t, 0 for success.
using Create = int (*)(void **);
using Destroy = int (*)(void *);
using Propose = int (*)(void *handle, void *, void *, void *, void *, int asked,
                        int *found, Proposal *);
using Convolve = int (*)(void *handle, const void *alpha, void *, const void *, void *,
                         const void *, void *conv, int algorithm, void *workspace,
                         size_t bytes, const void *beta, void *, void *);
struct Cudnn {
    Create create, create_tensor, create_filter, create_conv;
    Destroy destroy_tensor, destroy_filter, destroy_conv;
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*set_tensor)(void *desc, int type, int ndim, const int *shape,
                      const int *strides);
    int (*set_filter)(void *desc, int type, int format, int ndim, const int *shape);
    int (*set_conv)(void *desc, int ndim, const int *padding, const int *stride,
                    const int *dilation, int mode, int compute_type);
    int (*set_math)(void *desc, int math);
    int (*set_groups)(void *desc, int groups);
    int (*add)(void *handle, const void *alpha, void *a_desc, const void *a,
               const void *beta, void *c_desc, void *c);
    Propose propose[3]; // by ConvOutput
    Convolve convolve[3];
    bool ready;
};

template <typename F> bool find(F &function, const char *name) {
    function = reinterpret_cast<F>(tl::library_function("cudnn", name));
    return function != nullptr;
}

const Cudnn &cudnn() {
    static const Cudnn library = [] {
        Cudnn lib = {};
        lib.ready =
            find(lib.create, "cudnnCreate") &&
            find(lib.create_tensor, "cudnnCreateTensorDescriptor") &&
            find(lib.create_filter, "cudnnCreateFilterDescriptor") &&
            find(lib.create_conv, "cudnnCreateConvolutionDescriptor") &&
            find(lib.destroy_tensor, "cudnnDestroyTensorDescriptor") &&
            find(lib.destroy_filter, "cudnnDestroyFilterDescriptor") &&
            find(lib.destroy_conv, "cudnnDestroyConvolutionDescriptor") &&
            find(lib.set_stream, "cudnnSetStream") &&
            find(lib.set_tensor, "cudnnSetTensorNdDescriptor") &&
            find(lib.set_filter, "cudnnSetFilterNdDescriptor") &&
            find(lib.set_conv, "cudnnSetConvolutionNdDescriptor") &&
            find(lib.set_math, "cudnnSetConvolutionMathType") &&
            find(lib.set_groups, "cudnnSetConvolutionGroupCount") &&
            find(lib.add, "cudnnAddTensor") &&
            find(lib.propose[0], "cudnnGetConvolutionForwardAlgorithm_v7") &&
            find(lib.propose[1], "cudnnGetConvolutionBackwardDataAlgorithm_v7") &&
            find(lib.propose[2], "cudnnGetConvolutionBackwardFilterAlgorithm_v7") &&
            find(lib.convolve[0], "cudnnConvolutionForward") &&
            find(lib.convolve[1], "cudnnConvolutionBackwardData") &&
            find(lib.convolve[2], "cudnnConvolutionBackwardFilter");
        return lib;
    }();
    return library;
}

bool used = true;

// Of this thread and a device: a handle carries the stream, so threads do not share it.
void *handle_of(int device) {
    static thread_local void *handles[TL_CUDA_MAX_DEVICES];
    if (handles[device] == nullptr && cudnn().create(&handles[device]) != 0)
        handles[device] = nullptr;
    return handles[device];
}

// What the choice of an algorithm depends on.
struct Problem {
    int64_t sizes[5]; // n, groups, c, o, and rows or planes
    int64_t extents[6][3];
    int32_t device, dtype, output, precision;
};
static_assert(sizeof(Problem) == 23 * 8 + 4 * 4, "no padding: it is compared as bytes");

struct Plan {
    void *x = nullptr, *y = nullptr, *w = nullptr, *bias = nullptr, *conv = nullptr;
    int algorithm = 0;
    size_t workspace = 0;
    bool usable = false;
};
using Plans =
    std::unordered_map<Problem, Plan, tl::HashOfBytes<Problem>, tl::SameBytes<Problem>>;

void destroy(Plan &plan) {
    const Cudnn &lib = cudnn();
    for (void *tensor : {plan.x, plan.y, plan.bias})
        if (tensor != nullptr) lib.destroy_tensor(tensor);
    if (plan.w != nullptr) lib.destroy_filter(plan.w);
    if (plan.conv != nullptr) lib.destroy_conv(plan.conv);
    plan = Plan();
}

int type_of(int dtype) {
    switch (dtype) {
    case TL_FLOAT64:
        return kDouble;
    case TL_FLOAT16:
        return kHalf;
    case TL_BFLOAT16:
        return kBfloat16;
    default:
        return kFloat;
    }
}

// float32 is exact unless TF32 is allowed.
int math_of(const Problem &p) {
    if (p.dtype == TL_FLOAT16 || p.dtype == TL_BFLOAT16) return kTensorMath;
    return p.dtype == TL_FLOAT32 && p.precision == 0 ? kExactMath : kDefaultMath;
}

// Whether cuDNN's formula for the output's extents gives ours, in its 32-bit numbers.
bool is_describable(const conv_shape &s) {
    const int64_t most = (INT64_C(1) << 31) - 1;
    for (int d = 0; d < 3; ++d) {
        const int64_t reach = s.dilation[d] * (s.kernel[d] - 1) + 1;
        const int64_t room = s.size[d] + 2 * s.padding[d] - reach;
        if (s.padding[d] < 0 || room < 0 || room / s.stride[d] + 1 != s.out[d])
            return false;
    }
    return s.n * s.groups * s.c * s.pixels <= most &&
           s.n * s.groups * s.o * s.positions <= most && s.n > 0;
}

// The axes that are described: D is left out where it is a unit, which most algorithms
// want.
int first_axis(const conv_shape &s) {
    return s.size[0] == 1 && s.kernel[0] == 1 && s.padding[0] == 0 && s.out[0] == 1 ? 1
                                                                                    : 0;
}

bool set_tensor(void *&desc, int type, int64_t n, int64_t channels,
                const int64_t (&size)[3], int first, bool rows) {
    int shape[5] = {static_cast<int>(n), static_cast<int>(channels)}, strides[5];
    const int ndim = 5 - first;
    for (int d = first; d < 3; ++d)
        shape[2 + d - first] = static_cast<int>(size[d]);
    int step = rows ? shape[1] : 1;
    for (int d = ndim - 1; d >= 2; --d)
        strides[d] = step, step *= shape[d];
    strides[1] = rows ? 1 : step;
    strides[0] = rows ? step : step * shape[1];
    return cudnn().create_tensor(&desc) == 0 &&
           cudnn().set_tensor(desc, type, ndim, shape, strides) == 0;
}

bool describe(const Problem &p, const conv_shape &s, Plan &plan) {
    const Cudnn &lib = cudnn();
    const int type = type_of(p.dtype), first = first_axis(s), spatial = 3 - first;
    const int64_t one[3] = {1, 1, 1};
    int filter[5] = {static_cast<int>(s.groups * s.o), static_cast<int>(s.c)};
    int padding[3], stride[3], dilation[3];
    for (int d = first; d < 3; ++d) {
        filter[2 + d - first] = static_cast<int>(s.kernel[d]);
        padding[d - first] = static_cast<int>(s.padding[d]);
        stride[d - first] = static_cast<int>(s.stride[d]);
        dilation[d - first] = static_cast<int>(s.dilation[d]);
    }
    const bool rows = s.channels_last;
    const int64_t biased = p.output == static_cast<int>(ConvOutput::x) ? s.c : s.o;
    return set_tensor(plan.x, type, s.n, s.groups * s.c, s.size, first, rows) &&
           set_tensor(plan.y, type, s.n, s.groups * s.o, s.out, first, rows) &&
           set_tensor(plan.bias, type, 1, s.groups * biased, one, first, rows) &&
           lib.create_filter(&plan.w) == 0 &&
           lib.set_filter(plan.w, type, rows ? kRows : kPlanes, spatial + 2, filter) ==
               0 &&
           lib.create_conv(&plan.conv) == 0 &&
           lib.set_conv(plan.conv, spatial, padding, stride, dilation,
                        kCrossCorrelation, type == kDouble ? kDouble : kFloat) == 0 &&
           lib.set_groups(plan.conv, static_cast<int>(s.groups)) == 0 &&
           lib.set_math(plan.conv, math_of(p)) == 0;
}

// Whether an algorithm adds products. Of a weight's gradient, whose sums are long,
// those by Winograd's and Fourier's transforms were seen 4.6e-5 away in float32 where
// every sum of products was exact.
bool is_direct(const Problem &p, int algorithm) {
    return p.output != static_cast<int>(ConvOutput::w) || algorithm <= 1 ||
           algorithm == 3;
}

bool choose(const Problem &p, void *handle, Plan &plan) {
    const Cudnn &lib = cudnn();
    void *const operands[3][3] = {{plan.x, plan.w, plan.y}, // convolution in between
                                  {plan.w, plan.y, plan.x},
                                  {plan.x, plan.y, plan.w}};
    void *const *in = operands[p.output];
    Proposal proposals[kAsked] = {};
    int found = 0;
    if (lib.propose[p.output](handle, in[0], in[1], plan.conv, in[2], kAsked, &found,
                              proposals) != 0)
        return false;
    for (int i = 0; i < found; ++i) {
        const Proposal &each = proposals[i];
        if (each.status != 0 || !each.deterministic || each.memory > kMostWorkspace ||
            !is_direct(p, each.algorithm))
            continue;
        plan.algorithm = each.algorithm;
        plan.workspace = each.memory;
        // The precision that was asked for stays; 16-bit floats take what was proposed.
        return math_of(p) != kTensorMath || lib.set_math(plan.conv, each.math) == 0;
    }
    return false;
}

Plan &plan_for(const Problem &problem, const conv_shape &s, void *handle) {
    static thread_local Plans plans;
    const auto known = plans.find(problem);
    if (known != plans.end()) return known->second;
    if (plans.size() >= kMostPlans) {
        for (auto &entry : plans)
            destroy(entry.second);
        plans.clear();
    }
    Plan &plan = plans[problem];
    plan.usable = describe(problem, s, plan) && choose(problem, handle, plan);
    if (!plan.usable) destroy(plan);
    return plan;
}

Problem problem_of(ConvOutput output, int dtype, const conv_shape &s, int device) {
    Problem p = {{s.n, s.groups, s.c, s.o, s.channels_last},
                 {},
                 device,
                 dtype,
                 static_cast<int32_t>(output),
                 tl_cuda_float32_precision()};
    const int64_t *const parts[6] = {s.size,   s.out,     s.kernel,
                                     s.stride, s.padding, s.dilation};
    for (int i = 0; i < 6; ++i)
        std::memcpy(p.extents[i], parts[i], sizeof p.extents[i]);
    return p;
}

tl_status run(ConvOutput output, const Problem &p, void *handle, const Plan &plan,
              const void *x, const void *w, const void *y, const void *bias) {
    const Cudnn &lib = cudnn();
    const float units32[2] = {1, 0};
    const double units64[2] = {1, 0};
    const bool wide = p.dtype == TL_FLOAT64;
    const void *one = wide ? static_cast<const void *>(&units64[0]) : &units32[0];
    const void *zero = wide ? static_cast<const void *>(&units64[1]) : &units32[1];
    const tl::Scratch scratch(static_cast<int64_t>(plan.workspace));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    struct Array {
        void *desc;
        const void *data;
    };
    const Array arrays[3] = {{plan.x, x}, {plan.w, w}, {plan.y, y}};
    static const int order[3][3] = {{0, 1, 2}, {1, 2, 0}, {0, 2, 1}};
    const int *at = order[p.output];
    const Array a = arrays[at[0]], b = arrays[at[1]], c = arrays[at[2]];
    void *out = const_cast<void *>(c.data);
    int failed = lib.convolve[p.output](handle, one, a.desc, a.data, b.desc, b.data,
                                        plan.conv, plan.algorithm, scratch.data(),
                                        plan.workspace, zero, c.desc, out);
    if (failed == 0 && bias != nullptr)
        failed = lib.add(handle, one, plan.bias, bias, one, c.desc, out);
    return failed == 0 ? TL_OK : TL_DECLINED;
}

} // namespace

namespace tl {

tl_status cudnn_conv(ConvOutput output, int dtype, const conv_shape &s, const void *x,
                     const void *w, const void *y, const void *bias) {
    // Patches of one pixel need no gathering: matmul takes them as they are, unless
    // planes of 16-bit numbers begin where tensor cores cannot read them.
    const bool narrow = dtype == TL_FLOAT16 || dtype == TL_BFLOAT16;
    const bool readable = s.channels_last || !narrow || s.pixels % 8 == 0;
    if (!used || (s.pointwise && readable) || !cudnn().ready || !is_describable(s))
        return TL_DECLINED;
    if (!is_aligned(x, 16) || !is_aligned(w, 16) || !is_aligned(y, 16))
        return TL_DECLINED;
    int device = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return TL_DECLINED;
    void *handle = handle_of(device);
    if (handle == nullptr || cudnn().set_stream(handle, stream()) != 0)
        return TL_DECLINED;
    const Problem problem = problem_of(output, dtype, s, device);
    const Plan &plan = plan_for(problem, s, handle);
    if (!plan.usable) return TL_DECLINED;
    return run(output, problem, handle, plan, x, w, y, bias);
}

} // namespace tl

extern "C" void tl_cuda_set_cudnn(int wanted) { used = wanted != 0; }
