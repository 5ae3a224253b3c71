// Attention on a real device: many shapes against float64 on the host, then speed. With
// an argument: shapes of up to so many queries, and no speed.
//
// nvcc -std=c++17 -O3 -arch=sm_90a -DTL_CUDA_SM90A -Iinclude -Icuda -o check
//     tests/cuda_attention_check.cu cuda/attention.cu cuda/attention_wide.cu
//     cuda/attention_wide_grad.cu cuda/runtime.cu cuda/memory.cu cuda/pinned.cu
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "numbers.cuh"
#include "tensorlib/cuda.h"

namespace {

struct Case {
    int matrices, queries, keys, depth, width;
    bool causal, masked;
};

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

// An operand on the device, from host numbers rounded to its dtype.
template <typename T> struct Device {
    tl_buffer buffer = {};
    void *block = nullptr;
    std::vector<T> host;
    explicit Device(std::vector<int64_t> shape) {
        buffer.ndim = static_cast<int16_t>(shape.size());
        buffer.dtype = static_cast<uint8_t>(tl::dtype_of<T>::code);
        buffer.device_type = TL_CUDA;
        buffer.size = 1;
        for (int d = buffer.ndim - 1; d >= 0; --d) {
            buffer.shape[d] = shape[d];
            buffer.strides[d] = buffer.size;
            buffer.size *= shape[d];
        }
        host.resize(buffer.size);
        must(tl_cuda_allocate(0, buffer.size * sizeof(T), &buffer.data, &block),
             "allocate");
    }
    ~Device() { tl_cuda_release(block); }
    void send() {
        must(tl_cuda_copy(0, buffer.data, host.data(), host.size() * sizeof(T),
                          TL_CUDA_TO_DEVICE, 1),
             "send");
    }
    // Bits that no kernel writes: those of a NaN.
    void spoil() {
        std::memset(static_cast<void *>(host.data()), 0xff, host.size() * sizeof(T));
        send();
    }
    bool has_nan() const {
        for (const T &x : host)
            if (number(x) != number(x)) return true;
        return false;
    }
    void fetch() {
        must(tl_cuda_copy(0, host.data(), buffer.data, host.size() * sizeof(T),
                          TL_CUDA_TO_HOST, 1),
             "fetch");
    }
};

void assign(float &x, double value) { x = static_cast<float>(value); }
void assign(double &x, double value) { x = value; }
void assign(tl_float16 &x, double v) { x = tl_float16_of_float(static_cast<float>(v)); }
void assign(tl_bfloat16 &x, double v) {
    x = tl_bfloat16_of_float(static_cast<float>(v));
}

// Normal numbers; large operands repeat them, as drawing would take longer than the
// rest.
template <typename T> void draw(std::vector<T> &x, unsigned seed) {
    const size_t own = 65537;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < x.size(); ++i)
        if (i < own)
            assign(x[i], normal(random));
        else
            x[i] = x[i - own];
}

const tl_cuda_entry *entry(const char *op, int dtype) {
    int count = 0;
    const tl_cuda_entry *entries = tl_cuda_attention_entries(&count);
    for (int i = 0; i < count; ++i)
        if (entries[i].dtype == dtype && !std::strcmp(entries[i].op, op))
            return &entries[i];
    return nullptr;
}

template <typename T> struct Problem {
    Case shape;
    Device<T> q, k, v, y, g, dq, dk, dv;
    Device<tl::computed_t<T>> stats;
    Device<uint8_t> mask;
    tl_attention_params params = {};

    explicit Problem(const Case &c)
        : shape(c), q({c.matrices, c.queries, c.depth}),
          k({c.matrices, c.keys, c.depth}), v({c.matrices, c.keys, c.width}),
          y({c.matrices, c.queries, c.width}), g({c.matrices, c.queries, c.width}),
          dq({c.matrices, c.queries, c.depth}), dk({c.matrices, c.keys, c.depth}),
          dv({c.matrices, c.keys, c.width}), stats({c.matrices, c.queries, 2}),
          mask({c.masked ? c.matrices : 1, c.masked ? c.queries : 1,
                c.masked ? c.keys : 1}) {
        mask.buffer.dtype = TL_BOOL;
        params.scale = 1.0 / std::sqrt(static_cast<double>(c.depth));
        params.causal = c.causal;
    }
    void fill() {
        draw(q.host, 1);
        draw(k.host, 2);
        draw(v.host, 3);
        draw(g.host, 4);
        std::mt19937 random(5);
        for (uint8_t &m : mask.host)
            m = random() % 4 != 0;
        q.send();
        k.send();
        v.send();
        g.send();
        mask.send();
    }
    tl_status run(bool backward) {
        const tl_buffer *m = shape.masked ? &mask.buffer : nullptr;
        const tl_buffer *in[] = {&g.buffer, &q.buffer, &k.buffer,    &v.buffer,
                                 m,         &y.buffer, &stats.buffer};
        const tl_buffer *out[] = {&dq.buffer, &dk.buffer, &dv.buffer, nullptr};
        const tl_buffer *forward_out[] = {&y.buffer, &stats.buffer};
        const tl_cuda_entry *found =
            entry(backward ? "attention_grad" : "attention", tl::dtype_of<T>::code);
        const tl_call call = {backward ? out : forward_out,
                              backward ? in : in + 1,
                              backward ? 4 : 2,
                              backward ? 7 : 4,
                              &params,
                              found};
        return tl_cuda_run(&call);
    }
};

// The exact results of one matrix.
struct Exact {
    std::vector<double> y, dq, dk, dv;
};

template <typename T> Exact exact(const Problem<T> &p, int matrix) {
    const Case &c = p.shape;
    Exact found;
    found.y.assign(c.queries * c.width, 0);
    found.dq.assign(c.queries * c.depth, 0);
    found.dk.assign(c.keys * c.depth, 0);
    found.dv.assign(c.keys * c.width, 0);
    const int64_t q0 = static_cast<int64_t>(matrix) * c.queries,
                  k0 = int64_t(matrix) * c.keys;
    std::vector<double> s(c.keys), slope(c.keys);
    for (int i = 0; i < c.queries; ++i) {
        double top = -INFINITY, total = 0, inner = 0;
        for (int j = 0; j < c.keys; ++j) {
            s[j] = slope[j] = 0;
            for (int d = 0; d < c.depth; ++d)
                s[j] += number(p.q.host[(q0 + i) * c.depth + d]) *
                        number(p.k.host[(k0 + j) * c.depth + d]);
            s[j] *= p.params.scale;
            if ((c.causal && j > i) ||
                (c.masked && !p.mask.host[(q0 + i) * c.keys + j]))
                s[j] = -INFINITY;
            top = std::fmax(top, s[j]);
        }
        if (top == -INFINITY) continue;
        for (double &x : s)
            total += x = std::exp(x - top);
        for (int j = 0; j < c.keys; ++j) {
            s[j] /= total;
            for (int d = 0; d < c.width; ++d) {
                const double value = number(p.v.host[(k0 + j) * c.width + d]);
                const double g = number(p.g.host[(q0 + i) * c.width + d]);
                found.y[i * c.width + d] += s[j] * value;
                slope[j] += g * value;
                found.dv[j * c.width + d] += s[j] * g;
            }
            inner += s[j] * slope[j];
        }
        for (int j = 0; j < c.keys; ++j)
            for (int d = 0; d < c.depth; ++d) {
                const double x = s[j] * (slope[j] - inner) * p.params.scale;
                found.dq[i * c.depth + d] +=
                    x * number(p.k.host[(k0 + j) * c.depth + d]);
                found.dk[j * c.depth + d] +=
                    x * number(p.q.host[(q0 + i) * c.depth + d]);
            }
    }
    return found;
}

template <typename T>
double worst(const std::vector<T> &found, const std::vector<double> &wanted,
             int64_t from) {
    double error = 0, scale = 1;
    for (size_t i = 0; i < wanted.size(); ++i) {
        scale = std::fmax(scale, std::fabs(wanted[i]));
        const double apart = std::fabs(number(found[from + i]) - wanted[i]);
        error = apart <= error ? error : apart; // NaN stays
    }
    return error / scale;
}

template <typename T> void check(const char *name, const Case &c, double tolerance) {
    Problem<T> p(c);
    p.fill();
    for (auto *x : {&p.y, &p.dq, &p.dk, &p.dv})
        x->spoil();
    std::vector<T> first;
    for (int again = 0; again < 2; ++again) {
        const tl_status forward = p.run(false), backward = p.run(true);
        if (forward != TL_OK || backward != TL_OK) {
            std::printf("FAIL %s %d x %d: status %d, %d\n", name, c.queries, c.keys,
                        forward, backward);
            ++failures;
            return;
        }
        must(tl_cuda_synchronize(0), "kernels");
        if (!again) {
            p.dk.fetch();
            first = p.dk.host;
        }
    }
    p.y.fetch();
    p.dq.fetch();
    p.dk.fetch();
    p.dv.fetch();
    const bool same =
        !std::memcmp(first.data(), p.dk.host.data(), first.size() * sizeof(T));
    double errors[4] = {};
    for (int m : {c.matrices / 2, c.matrices - 1}) {
        const Exact wanted = exact(p, m);
        const double found[] = {
            worst(p.y.host, wanted.y, int64_t(m) * c.queries * c.width),
            worst(p.dq.host, wanted.dq, int64_t(m) * c.queries * c.depth),
            worst(p.dk.host, wanted.dk, int64_t(m) * c.keys * c.depth),
            worst(p.dv.host, wanted.dv, int64_t(m) * c.keys * c.width)};
        for (int i = 0; i < 4; ++i)
            errors[i] = found[i] <= errors[i] ? errors[i] : found[i]; // NaN stays
    }
    bool good = same;
    for (auto *x : {&p.y, &p.dq, &p.dk, &p.dv})
        good = good && !x->has_nan(); // of every matrix
    for (double e : errors)
        good = good && e < tolerance;
    failures += !good;
    std::printf(
        "%s %s (%d, %d x %d, E %d, V %d%s%s): y %.1e dq %.1e dk %.1e dv %.1e%s\n",
        good ? "ok  " : "FAIL", name, c.matrices, c.queries, c.keys, c.depth, c.width,
        c.causal ? ", causal" : "", c.masked ? ", mask" : "", errors[0], errors[1],
        errors[2], errors[3], same ? "" : " NOT DETERMINISTIC");
}

template <typename T> void time_one(const char *name, const Case &c, bool backward) {
    Problem<T> p(c);
    p.fill();
    if (p.run(false) != TL_OK || (backward && p.run(true) != TL_OK)) {
        std::printf("%s: declined\n", name);
        return;
    }
    void *start, *end;
    must(tl_cuda_event_create(0, 1, &start), "event");
    must(tl_cuda_event_create(0, 1, &end), "event");
    float best = 1e30f;
    for (int round = 0; round < 4; ++round) {
        const int repeats = 5;
        tl_cuda_event_record(0, start, nullptr);
        for (int i = 0; i < repeats; ++i)
            p.run(backward);
        tl_cuda_event_record(0, end, nullptr);
        must(tl_cuda_synchronize(0), "timing");
        float milliseconds = 0;
        tl_cuda_event_elapsed(start, end, &milliseconds);
        best = std::fmin(best, milliseconds / repeats);
    }
    double flops = 2.0 * c.matrices * c.queries * c.keys * (c.depth + c.width);
    if (backward)
        flops *= 2.5; // as is usual: five products, whatever is computed again
    if (c.causal) flops /= 2;
    std::printf("%s %s (%d, T %d, E %d%s): %.1f us, %.0f TFLOP/s\n", name,
                backward ? "backward" : "forward ", c.matrices, c.queries, c.depth,
                c.causal ? ", causal" : "", best * 1e3, flops / best * 1e-9);
}

template <typename T>
void check_all(const char *name, double tolerance, bool half, int most) {
    const int sizes[][4] = {
        {1, 1, 8, 8},         {5, 7, 16, 8},        {64, 64, 64, 64},
        {70, 130, 64, 64},    {130, 70, 24, 40},    {129, 65, 128, 128},
        {128, 256, 128, 128}, {257, 511, 128, 128}, {300, 300, 64, 128},
        {640, 640, 128, 128}, {513, 513, 64, 64},   {100, 400, 64, 64}};
    for (const auto &s : sizes) {
        if (s[0] > most) continue;
        for (int kind = 0; kind < 3; ++kind)
            check<T>(name, {3, s[0], s[1], s[2], s[3], kind == 1, kind == 2},
                     tolerance);
    }
    // More blocks of rows than a device has processors.
    if (half && most >= 400)
        for (bool causal : {false, true}) {
            check<T>(name, {300, 100, 400, 64, 64, causal, false}, tolerance);
            check<T>(name, {70, 400, 200, 64, 64, causal, false}, tolerance);
            check<T>(name, {90, 300, 300, 64, 128, causal, false}, tolerance);
        }
    if (!half) {
        check<T>(name, {2, 66, 35, 33, 65, false, false}, tolerance);
        check<T>(name, {2, 100, 90, 200, 256, true, false}, tolerance);
    }
}

} // namespace

int main(int argc, char **argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    const int most = argc > 1 ? std::atoi(argv[1]) : 1 << 20;
    check_all<tl_bfloat16>("bfloat16", 3e-2, true, most);
    check_all<tl_float16>("float16 ", 4e-3, true, most);
    check_all<float>("float32 ", 5e-5, false, most);
    check_all<double>("float64 ", 1e-12, false, most);
    if (argc > 1) {
        std::printf(failures ? "%d FAILED\n" : "all ok\n", failures);
        return failures != 0;
    }
    for (int depth : {128, 64})
        for (int rows : {4096, 1024})
            for (bool causal : {false, true})
                for (bool backward : {false, true}) {
                    const int matrices = (16 << 20) / rows / depth;
                    const Case c = {matrices, rows, rows, depth, depth, causal, false};
                    time_one<tl_bfloat16>("bfloat16", c, backward);
                }
    time_one<tl_float16>("float16 ", {64, 4096, 4096, 128, 128, false, false}, false);
    time_one<tl_bfloat16>("bfloat16 masked", {16, 4096, 4096, 128, 128, false, true},
                          false);
    time_one<tl_bfloat16>("bfloat16 masked", {16, 4096, 4096, 128, 128, false, true},
                          true);
    time_one<float>("float32 ", {16, 2048, 2048, 64, 64, false, false}, false);
    time_one<float>("float32 ", {16, 2048, 2048, 64, 64, false, false}, true);
    std::printf(failures ? "%d FAILED\n" : "all ok\n", failures);
    return failures != 0;
}
