// Matrix products, convolutions and pooling on a real device: results against the
// host's (sampled, in float64), cuDNN against our own path, and speed.
//
// nvcc -std=c++17 -O3 -arch=sm_90 -Iinclude -Icuda -o check tests/cuda_matmul_check.cu
//     cuda/{runtime,memory,pinned,libraries,cublaslt,cudnn,matmul,conv,cast,pool}.cu
// ./check FOLDERS      (with colons between them; of libcublasLt.so.13 and
// libcudnn.so.9)
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "matmul.cuh"

namespace {

int failures = 0;

void must(int error, const char *what) {
    if (error == 0) return;
    std::printf("%s: error %d (%s)\n", what, error, tl_cuda_error_text(error));
    std::exit(1);
}

double number(float x) { return x; }
double number(double x) { return x; }
double number(tl_float16 x) { return tl_float16_to_float(x); }
double number(tl_bfloat16 x) { return tl_bfloat16_to_float(x); }
void assign(float &x, double v) { x = static_cast<float>(v); }
void assign(double &x, double v) { x = v; }
void assign(tl_float16 &x, double v) { x = tl_float16_of_float(static_cast<float>(v)); }
void assign(tl_bfloat16 &x, double v) {
    x = tl_bfloat16_of_float(static_cast<float>(v));
}

// A contiguous operand on the device; numbers that every dtype holds exactly.
template <typename T> struct Device {
    tl_buffer buffer = {};
    void *block = nullptr;
    std::vector<T> host;
    explicit Device(std::vector<int64_t> shape, uint32_t seed = 0, int dtype = -1) {
        buffer.ndim = static_cast<int16_t>(shape.size());
        buffer.dtype = static_cast<uint8_t>(dtype < 0 ? tl::dtype_of<T>::code : dtype);
        buffer.device_type = TL_CUDA;
        buffer.size = 1;
        for (int d = buffer.ndim - 1; d >= 0; --d) {
            buffer.shape[d] = shape[d];
            buffer.strides[d] = buffer.size;
            buffer.size *= shape[d];
        }
        host.resize(buffer.size);
        must(tl_cuda_allocate(0, bytes(), &buffer.data, &block), "allocate");
        if (seed == 0) return;
        for (T &x : host) {
            seed = seed * 1664525u + 1013904223u;
            assign(x, (static_cast<int>(seed >> 24) % 17 - 8) / 8.0);
        }
        must(tl_cuda_copy(0, buffer.data, host.data(), bytes(), TL_CUDA_TO_DEVICE, 1),
             "send");
    }
    ~Device() { tl_cuda_release(block); }
    int64_t bytes() const { return buffer.size * static_cast<int64_t>(sizeof(T)); }
    void fetch() {
        must(tl_cuda_copy(0, host.data(), buffer.data, bytes(), TL_CUDA_TO_HOST, 1),
             "fetch");
    }
};

const tl_cuda_entry *entry(const char *op, int dtype) {
    int count = 0;
    for (const auto family :
         {tl_cuda_matmul_entries, tl_cuda_conv_entries, tl_cuda_pool_entries}) {
        const tl_cuda_entry *entries = family(&count);
        for (int i = 0; i < count; ++i)
            if (entries[i].dtype == dtype && !std::strcmp(entries[i].op, op))
                return &entries[i];
    }
    std::printf("no entry for %s\n", op);
    std::exit(1);
}

void run(const char *op, int dtype, std::vector<const tl_buffer *> out,
         std::vector<const tl_buffer *> in, const void *params) {
    const tl_call call = {out.data(),
                          in.data(),
                          static_cast<int32_t>(out.size()),
                          static_cast<int32_t>(in.size()),
                          params,
                          entry(op, dtype)};
    const tl_status status = tl_cuda_run(&call);
    if (status == TL_OK) return;
    std::printf("%s: status %d\n", op, status);
    must(tl_cuda_last_error(), op);
    ++failures;
}

// Milliseconds of one call, the least of some runs of several.
template <typename Call> double time_of(Call call) {
    void *start, *end;
    must(tl_cuda_event_create(0, 1, &start), "event");
    must(tl_cuda_event_create(0, 1, &end), "event");
    double least = 1e9;
    for (int round = 0; round < 4; ++round) {
        const int calls = round == 0 ? 1 : 5;
        must(tl_cuda_event_record(0, start, nullptr), "record");
        for (int i = 0; i < calls; ++i)
            call();
        must(tl_cuda_event_record(0, end, nullptr), "record");
        must(tl_cuda_synchronize(0), "synchronize");
        float taken = 0;
        must(tl_cuda_event_elapsed(start, end, &taken), "elapsed");
        if (round > 0 && taken / calls < least) least = taken / calls;
    }
    return least;
}

void report(const char *what, double error, double tolerance) {
    if (error <= tolerance) return;
    std::printf("FAILED %s: error %.3g\n", what, error);
    ++failures;
}

template <typename T> double tolerance() {
    return sizeof(T) == 8 ? 1e-14 : sizeof(T) == 4 ? 2e-6 : 1e-2;
}

// Largest error of some elements of c = start + a @ b, relative to 1 + |c|.
template <typename T, typename Start>
double product_error(const Device<T> &a, bool a_t, const Device<T> &b, bool b_t,
                     const Device<T> &c, int64_t m, int64_t n, int64_t k, Start start) {
    double worst = 0;
    for (int64_t sample = 0; sample < 200; ++sample) {
        const int64_t i = sample * 7919 % m, j = sample * 104729 % n;
        double sum = start(i, j);
        for (int64_t x = 0; x < k; ++x)
            sum += number(a.host[a_t ? x * m + i : i * k + x]) *
                   number(b.host[b_t ? j * k + x : x * n + j]);
        const double found = number(c.host[i * n + j]);
        worst = std::fmax(worst, std::fabs(found - sum) / (1 + std::fabs(sum)));
    }
    return worst;
}

// A view with its two axes exchanged.
tl_buffer transposed(tl_buffer x) {
    std::swap(x.shape[0], x.shape[1]);
    std::swap(x.strides[0], x.strides[1]);
    return x;
}

template <typename T>
void check_matmul(const char *name, int64_t m, int64_t n, int64_t k) {
    const int dtype = tl::dtype_of<T>::code;
    for (int layout = 0; layout < 4; ++layout) {
        const bool a_t = layout & 1, b_t = layout & 2;
        Device<T> a(a_t ? std::vector<int64_t>{k, m} : std::vector<int64_t>{m, k}, 1);
        Device<T> b(b_t ? std::vector<int64_t>{n, k} : std::vector<int64_t>{k, n}, 2);
        Device<T> c({m, n}, 3), bias({n}, 4);
        const std::vector<T> before = c.host;
        const tl_buffer left = a_t ? transposed(a.buffer) : a.buffer;
        const tl_buffer right = b_t ? transposed(b.buffer) : b.buffer;
        tl_matmul_params params = {1};
        run("matmul", dtype, {&c.buffer}, {&left, &right}, &params);
        c.fetch();
        report(name,
               product_error(
                   a, a_t, b, b_t, c, m, n, k,
                   [&](int64_t i, int64_t j) { return number(before[i * n + j]); }),
               tolerance<T>());
        params.accumulate = 0;
        run("matmul", dtype, {&c.buffer}, {&left, &right, &bias.buffer}, &params);
        c.fetch();
        report(name,
               product_error(a, a_t, b, b_t, c, m, n, k,
                             [&](int64_t, int64_t j) { return number(bias.host[j]); }),
               tolerance<T>());
    }
}

template <typename T> void time_matmul(const char *name, int64_t n) {
    Device<T> a({n, n}, 1), b({n, n}, 2), c({n, n});
    const tl_matmul_params params = {0};
    const double ms = time_of([&] {
        run("matmul", tl::dtype_of<T>::code, {&c.buffer}, {&a.buffer, &b.buffer},
            &params);
    });
    std::printf("matmul %s %ld: %.3f ms, %.1f TFLOP/s\n", name, long(n), ms,
                2e-9 * n * n * n / ms);
}

template <typename T> void check_rung(int which, const char *name) {
    for (const int64_t n : {512, 4096}) {
        const int64_t m = n == 512 ? 520 : n, k = n == 512 ? 264 : n;
        Device<T> a({m, k}, 1), b({k, n}, 2), c({m, n});
        const auto call = [&] {
            must(tl_cuda_teaching_matmul(which, 0, m, n, k, a.buffer.data,
                                         b.buffer.data, c.buffer.data),
                 name);
        };
        call();
        c.fetch();
        const double error = product_error(a, false, b, false, c, m, n, k,
                                           [](int64_t, int64_t) { return 0.0; });
        report(name, error, tolerance<T>() * 4);
        if (n == 512) continue;
        const double ms = time_of(call);
        std::printf("rung %s %ld: %.3f ms, %.1f TFLOP/s\n", name, long(n), ms,
                    2e-9 * m * n * k / ms);
    }
}

template <typename T> void time_vector(const char *name, bool column) {
    const int64_t k = 8192, n = 16384;
    Device<T> x({1, k}, 1),
        w(column ? std::vector<int64_t>{k, n} : std::vector<int64_t>{n, k}, 2),
        y({1, n});
    const tl_buffer right = column ? w.buffer : transposed(w.buffer);
    const tl_matmul_params params = {0};
    const double ms = time_of([&] {
        run("matmul", tl::dtype_of<T>::code, {&y.buffer}, {&x.buffer, &right}, &params);
    });
    y.fetch();
    report(name,
           product_error(x, false, w, !column, y, 1, n, k,
                         [](int64_t, int64_t) { return 0.0; }),
           tolerance<T>() * 4);
    std::printf("row times %s %s: %.4f ms, %.2f TB/s\n",
                column ? "matrix" : "transposed", name, ms, 1e-9 * w.bytes() / ms);
}

// One convolution in its three forms, by cuDNN and by our own path: the same numbers?
// Operands are eighths, so that float32 holds every sum of products here exactly,
// however long: what differs is a transform's rounding or a mistake.
template <typename T>
void check_conv(const char *name, int64_t batch, int64_t c, int64_t o, int64_t size,
                int64_t kernel, int64_t stride, int64_t groups, bool last) {
    const int64_t padding = kernel / 2,
                  out = (size + 2 * padding - kernel) / stride + 1;
    const auto shape = [&](int64_t n, int64_t channels, int64_t extent) {
        return last ? std::vector<int64_t>{n, 1, extent, extent, channels}
                    : std::vector<int64_t>{n, channels, 1, extent, extent};
    };
    Device<T> x(shape(batch, c, size), 1), w(shape(o, c / groups, kernel), 2),
        y(shape(batch, o, out), 3), bias({o}, 4);
    const tl_conv_params params = {
        groups, {1, stride, stride}, {0, padding, padding}, {1, 1, 1}, last};
    const int dtype = tl::dtype_of<T>::code;
    const double flops = 2e-9 * batch * o * out * out * (c / groups) * kernel * kernel;
    for (int form = 0; form < 3; ++form) {
        Device<T> found(form == 0   ? shape(batch, o, out)
                        : form == 1 ? shape(batch, c, size)
                                    : shape(o, c / groups, kernel));
        const char *ops[3] = {"conv", "conv_input", "conv_weight"};
        const std::vector<const tl_buffer *> in[3] = {
            {&x.buffer, &w.buffer, &bias.buffer},
            {&y.buffer, &w.buffer},
            {&y.buffer, &x.buffer}};
        std::vector<T> results[2];
        double ms[2];
        for (int used = 0; used < 2; ++used) {
            tl_cuda_set_cudnn(used);
            ms[used] = time_of(
                [&] { run(ops[form], dtype, {&found.buffer}, in[form], &params); });
            found.fetch();
            results[used] = found.host;
        }
        double worst = 0, largest = 0;
        for (size_t i = 0; i < results[0].size(); ++i) {
            const double own = number(results[0][i]);
            worst = std::fmax(worst, std::fabs(own - number(results[1][i])));
            largest = std::fmax(largest, std::fabs(own));
        }
        std::printf("%s %s%s: own %.3f ms (%.1f TFLOP/s), cuDNN %.3f ms (%.1f), apart "
                    "%.2g of %.2g\n",
                    ops[form], name, last ? " NHWC" : "", ms[0], flops / ms[0], ms[1],
                    flops / ms[1], worst, largest);
        report(name, worst / (1 + largest), tolerance<T>() * 20);
    }
}

void time_pool() {
    const int64_t n = 64, c = 64, size = 112;
    Device<float> x({n, c, 1, size, size}, 1), y({n, c, 1, size / 2, size / 2}, 2);
    Device<double> index({n, c, 1, size / 2, size / 2}, 0, TL_INT64);
    tl_pool_params params = {};
    for (int d = 0; d < 3; ++d)
        params.kernel[d] = params.stride[d] = d ? 2 : 1;
    for (int64_t &gap : params.dilation)
        gap = 1;
    const double bytes = 1e-9 * (x.bytes() + y.bytes()), more = 1e-9 * index.bytes();
    double ms = time_of([&] {
        run("max_pool", TL_FLOAT32, {&y.buffer, &index.buffer}, {&x.buffer}, &params);
    });
    std::printf("max_pool 2x2 with places: %.3f ms, %.2f TB/s\n", ms,
                (bytes + more) / ms);
    ms = time_of([&] {
        run("pool_scatter", TL_FLOAT32, {&x.buffer}, {&y.buffer, &index.buffer},
            &params);
    });
    std::printf("pool_scatter 2x2: %.3f ms, %.2f TB/s\n", ms, (bytes + more) / ms);
    ms = time_of(
        [&] { run("avg_pool", TL_FLOAT32, {&y.buffer}, {&x.buffer}, &params); });
    std::printf("avg_pool 2x2: %.3f ms, %.2f TB/s\n", ms, bytes / ms);
    ms = time_of(
        [&] { run("avg_pool_grad", TL_FLOAT32, {&x.buffer}, {&y.buffer}, &params); });
    std::printf("avg_pool_grad 2x2: %.3f ms, %.2f TB/s\n", ms, bytes / ms);
}

template <typename T> void check_dtype(const char *name) {
    for (const int64_t m : {5, 64, 777})
        for (const int64_t k : {16, 1000})
            check_matmul<T>(name, m, 260, k);
    check_matmul<T>(name, 1, 513, 4100);
    check_matmul<T>(name, 513, 1, 4100);
}

} // namespace

int main(int count, char **arguments) {
    if (count > 1) tl_cuda_set_library_path(arguments[1]);
    int device_count = 0;
    must(tl_cuda_device_count(&device_count), "device");
    std::printf("cuBLASLt: %s\n", tl::have_cublaslt() ? "found" : "NOT FOUND");
    check_dtype<float>("float32");
    check_dtype<double>("float64");
    check_dtype<tl_float16>("float16");
    check_dtype<tl_bfloat16>("bfloat16");
    check_rung<float>(TL_CUDA_NAIVE, "naive");
    check_rung<float>(TL_CUDA_SHARED, "shared");
    check_rung<float>(TL_CUDA_REGISTERS, "registers");
    check_rung<tl_bfloat16>(TL_CUDA_TENSOR_CORES, "tensor cores");
    time_matmul<float>("float32", 8192);
    time_matmul<double>("float64", 4096);
    time_matmul<tl_bfloat16>("bfloat16", 8192);
    tl_cuda_set_float32_precision(1);
    time_matmul<float>("tf32", 8192);
    tl_cuda_set_float32_precision(0);
    time_vector<float>("float32", false);
    time_vector<tl_bfloat16>("bfloat16", false);
    time_vector<float>("float32", true);
    time_vector<tl_bfloat16>("bfloat16", true);
    check_conv<float>("float32 64 3x3", 64, 64, 64, 56, 3, 1, 1, false);
    check_conv<float>("float32 stem 7x7", 64, 3, 64, 224, 7, 2, 1, false);
    check_conv<float>("float32 256 3x3", 64, 256, 256, 14, 3, 1, 1, false);
    check_conv<float>("float32 depthwise", 64, 96, 96, 56, 3, 1, 96, false);
    check_conv<tl_bfloat16>("bfloat16 256 3x3", 64, 256, 256, 14, 3, 1, 1, false);
    check_conv<tl_bfloat16>("bfloat16 256 3x3", 64, 256, 256, 14, 3, 1, 1, true);
    check_conv<tl_bfloat16>("bfloat16 1x1", 64, 512, 512, 7, 1, 1, 1, false);
    time_pool();
    std::printf("%d failures\n", failures);
    return failures != 0;
}
