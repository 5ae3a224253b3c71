/* The kernel ABI: one call structure, one signature, one parameter struct an op.
 *
 * A kernel allocates no output, touches no Python, and runs without the GIL.
 * Elementwise kernels are a driver (strides, threads) plus a tl_loop (one run of
 * elements); structured kernels do everything themselves.
 */
#ifndef TENSORLIB_KERNELS_H
#define TENSORLIB_KERNELS_H

#include "tensorlib/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tl_call {
    const tl_buffer **out; /* nout written buffers */
    const tl_buffer **in;  /* nin read buffers */
    int32_t nout;
    int32_t nin;
    const void *params;          /* the op's parameter struct, or NULL */
    const void *loop;            /* tl_kernel.loop of the entry being called */
} tl_call;

typedef tl_status (*tl_kernel_fn)(const tl_call *call);

/* One run of n elements; strides = {out, a, b, c} in elements of each operand.
 * Unused operands are NULL with stride 0. Returns a tl_status. */
typedef int (*tl_loop)(void *out, const void *a, const void *b, const void *c,
                       const int64_t *strides, int64_t n, const void *params);

/* An entry of the kernel table (op, device, dtype). run == NULL: not available. */
typedef struct tl_kernel {
    tl_kernel_fn run;
    const void *loop;
} tl_kernel;

/* Reductions: in[0] has its kept axes first, then n_reduced reduced axes;
 * out has the kept shape. */
typedef struct tl_reduce_params {
    int32_t n_reduced;
    double scale;      /* mean: result is multiplied by it */
    double correction; /* var: divisor is n - correction */
} tl_reduce_params;

/* matmul: in = a, b[, bias]; out = a @ b, where every row begins with the bias (floating
 * dtypes; contiguous, as out then is). */
typedef struct tl_matmul_params {
    int32_t accumulate; /* out += a @ b; without a bias */
} tl_matmul_params;

typedef struct tl_norm_params {
    double eps;
} tl_norm_params;

/* index_get: in[0] = x with the n_indexed indexed axes first, in[1..n_indexed] =
 *   int64 indices (on the CPU int32 too) of one shape; out = index shape + remaining axes.
 * index_put: out[0] = x as above, in[0] = values of index shape + remaining axes. */
typedef struct tl_index_params {
    int32_t n_indexed;
    int32_t accumulate; /* index_put: add instead of assign; fixed order */
} tl_index_params;

typedef struct tl_cross_entropy_params {
    int64_t ignore_index;
    double label_smoothing;
    double scale; /* cross_entropy_grad: factor on the gradient of each row */
} tl_cross_entropy_params;

/* A recurrent layer in one direction; T steps, N sequences, H units, P outputs a unit.
 * recurrent: out = h (T, N, P), gates (T, N, K), c_n (N, H) of an LSTM;
 *   in = w_hh, h0, c0, b_hh, w_hr, lengths, each NULL where there is none. gates come
 *   in with the input's part and leave as activations; K is H of an RNN (gates are h),
 *   5H of an LSTM (i f g o c) and 4H of a GRU (r z n, and the state's part of n).
 * recurrent_grad: out = gates' gradient (T, N, G), those of h0 and c0, the GRU's with
 *   respect to the state's part (T, N, G), a projection's outputs (T, N, P) and inputs
 *   (T, N, H); in = gradients of h and c_n, h, gates, then as above but b_hh. */
typedef enum tl_recurrent_cell { TL_RNN_TANH = 0, TL_RNN_RELU, TL_LSTM, TL_GRU } tl_recurrent_cell;
typedef struct tl_recurrent_params {
    int32_t cell;    /* tl_recurrent_cell */
    int32_t reverse; /* from the last step to the first */
} tl_recurrent_params;

/* attention: out = y (..., L, V), each row's largest score and 1 / total (..., L, 2); in = q
 * (..., L, E), k (..., S, E), v (..., S, V), mask (..., L, S) or NULL: a bool (1 = take part)
 * or an addend. attention_grad: out = gradients of q, k, v, and mask or NULL; in = that of
 * y, then as above, y, its rows' numbers. Leading axes are broadcast by zero strides. */
typedef struct tl_attention_params {
    double scale;         /* factor on q k^T */
    double dropout;       /* probability of a weight's being zeroed */
    uint64_t seed, offset; /* of the Threefry stream that chooses them */
    int32_t causal;       /* row i sees columns 0..i */
} tl_attention_params;

/* Activations with numbers: what a, b and c are stands beside each formula. */
typedef struct tl_activation_params {
    double a, b, c;
} tl_activation_params;

/* glu: in = value, gate. glu_grad: in = cotangent, value, gate; out = the value's part of
 * the gradient; the gate's lies `apart` elements behind it. */
typedef struct tl_glu_params {
    int64_t apart;
} tl_glu_params;

/* conv: in = x, w[, bias], out = y. conv_input: in = y, w[, bias], out = x.
 * conv_weight: in = y, x, out = w. All contiguous: x and y (N, C, D, H, W), w
 * (O, C / groups, kD, kH, kW), or with their channels last. */
typedef struct tl_conv_params {
    int64_t groups;
    int64_t stride[3];
    int64_t padding[3]; /* before each axis; may be negative */
    int64_t dilation[3];
    int32_t channels_last;
    int32_t keeps;  /* what the kernel makes of w alone may stay with w's storage */
    int32_t turned; /* conv reads w turned around: of the convolution whose input's
                       gradient this is, (channels of x, of y / groups, kD, kH, kW) */
} tl_conv_params;

/* max_pool: in = x, out = y[, int64 index in the plane]. avg_pool: x to y, and
 * avg_pool_grad y to x. pool_scatter: in = y, index, out = x; pool_gather: in = x,
 * index, out = y. Contiguous (N, C, D, H, W), or with channels last. */
typedef struct tl_pool_params {
    int64_t kernel[3];
    int64_t stride[3];
    int64_t padding[3];
    int64_t dilation[3];
    int64_t divisor;       /* avg_pool: 0 counts the window's elements */
    int32_t channels_last;
    int32_t adaptive;      /* windows from the extents alone */
    int32_t include_pad;   /* avg_pool: padding counts */
} tl_pool_params;

/* fill: one element, in the output's dtype. */
typedef struct tl_fill_params {
    uint64_t element[2];
} tl_fill_params;

/* arange: start + i * step, in the numbers of the output's kind. */
typedef struct tl_range_params {
    double real; /* start */
    double step_real;
    int64_t integer; /* start; unsigned dtypes wrap */
    int64_t step_integer;
} tl_range_params;

/* Random fills: element i of the output uses Threefry block counter + i / lanes. */
typedef struct tl_random_params {
    uint64_t seed;
    uint64_t offset; /* first element's index in the generator's stream */
    double low;  /* uniform: low; normal: mean; bernoulli, dropout: probability of 1 */
    double high; /* uniform: high; normal: standard deviation; dropout: the factor */
    int64_t integer_low;
    int64_t integer_high; /* exclusive */
} tl_random_params;

/* CTC over a batch: in[0] = log-probabilities (T, N, C). For sequence n the labels are
 * targets[offsets[n] ...], target_lengths[n] of them, and input_lengths[n] steps count. */
typedef struct tl_ctc_params {
    const int64_t *targets;
    const int64_t *offsets;
    const int64_t *input_lengths;
    const int64_t *target_lengths;
    int64_t blank;
    int32_t zero_infinity; /* ctc_loss_grad: infinite losses have gradient 0, else NaN */
} tl_ctc_params;

/* Optimizers: one call for all parameters. For each parameter i:
 * out[i * (1 + n_state) ...] = parameter, then its state; in[i] = gradient;
 * params = TL_OPTIM_SETTINGS doubles, see scalar_optim.h; on a device they may be NULL, and the
 * doubles the elements of one more in. optimizer_settings writes them to such: out. */
#define TL_OPTIM_SETTINGS 16

/* Transforms of images (N, C, H, W), each sample with its own numbers. */
typedef struct tl_warp_params {
    double fill;      /* value outside the source */
    int32_t bilinear; /* 0: the nearest pixel */
} tl_warp_params;

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_KERNELS_H */
