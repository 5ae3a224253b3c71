/* Functions of 16 floats, for AVX-512: the processor takes numbers apart and puts them
 * together (getexp, getmant, scalef), and a permutation looks up one of 32 floats for
 * each lane. So none has a hard argument, but sqrt. The ulp figures are maxima over
 * every 7th float (hyperbolic functions: every 61st), the polynomials Remez fits.
 */
#ifndef TENSORLIB_UNARY_LANES_H
#define TENSORLIB_UNARY_LANES_H

#include <immintrin.h>

namespace tl {

inline __m512 all_lanes(float c) { return _mm512_set1_ps(c); }
inline __m512 with_sign(__m512 magnitude, __m512 sign) {
    constexpr int second_by_third = 0xd8; /* bits of sign where the third has ones */
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_castps_si512(magnitude), _mm512_castps_si512(sign),
        _mm512_set1_epi32(INT32_MIN), second_by_third));
}
/* c[0] + c[1] x + ... */
template <int N> inline __m512 polynomial(__m512 x, const float (&c)[N]) {
    __m512 p = all_lanes(c[N - 1]);
#pragma GCC unroll 8
    for (int k = N - 2; k >= 0; k--)
        p = _mm512_fmadd_ps(p, x, all_lanes(c[k]));
    return p;
}

/* Rows of 32 floats in registers. */
template <int Rows> struct lane_table {
    __m512 low[Rows], high[Rows];
    explicit lane_table(const float (&rows)[Rows][32]) {
#pragma GCC unroll 8
        for (int k = 0; k < Rows; k++) {
            low[k] = _mm512_loadu_ps(rows[k]);
            high[k] = _mm512_loadu_ps(rows[k] + 16);
        }
    }
    __m512 at(int row, __m512i index) const {
        return _mm512_permutex2var_ps(low[row], index, high[row]);
    }
};

/* ---- sqrt ----------------------------------------------------------------------- */
/* A step of Newton from an estimate, then half of one with the exact residual. Rounded
 * correctly whatever the estimate within 2^-14, as all those of all mantissas and both
 * parities of the exponent were tried; the instruction takes 12 cycles of a Sapphire
 * Rapids, this 7. */
struct sqrt_lanes {
    __m512 at(__m512 x) const {
        const __m512 half = all_lanes(0.5f);
        __m512 y = _mm512_rsqrt14_ps(x);
        __m512 g = _mm512_mul_ps(x, y), h = _mm512_mul_ps(y, half);
        __m512 e = _mm512_fnmadd_ps(g, h, half);
        h = _mm512_fmadd_ps(h, e, h);
        g = _mm512_fmadd_ps(g, e, g);
        __m512 r = _mm512_fmadd_ps(_mm512_fnmadd_ps(g, g, x), h, g);
        /* Outside [2^-101, 2^127) residuals may leave the range. */
        __m512i above =
            _mm512_sub_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x0d000000));
        __mmask16 hard = _mm512_cmpge_epu32_mask(above, _mm512_set1_epi32(0x72000000));
        return __builtin_expect(hard, 0) ? _mm512_sqrt_ps(x) : r;
    }
};

/* ---- exponentials --------------------------------------------------------------- */
/* x = k ln 2 + r, |r| <= ln(2)/2. */
inline __m512 reduce_exp(__m512 x, __m512 &k) {
    const __m512 shift = all_lanes(12582912.0f);
    k = _mm512_sub_ps(_mm512_fmadd_ps(x, all_lanes(1.44269504f), shift), shift);
    __m512 r = _mm512_fnmadd_ps(k, all_lanes(0.693147182f), x);
    return _mm512_fnmadd_ps(k, all_lanes(-1.90465421e-9f), r);
}
/* NaN stays: it is the second operand. */
inline __m512 clamped(__m512 x, float low, float high) {
    return _mm512_max_ps(all_lanes(low), _mm512_min_ps(all_lanes(high), x));
}
/* 0.89 ulp. */
struct exp_lanes {
    __m512 at(__m512 x) const {
        constexpr float series[] = {1.0f,
                                    1.0f,
                                    4.999999404e-01f,
                                    1.666651517e-01f,
                                    4.166845605e-02f,
                                    8.369418792e-03f,
                                    1.381314825e-03f};
        __m512 k, r = reduce_exp(clamped(x, -105.0f, 89.0f), k);
        return _mm512_scalef_ps(polynomial(r, series), k);
    }
};
/* (2^(k-1) (e^r - 1) + (2^(k-1) - 1/2)) 2; for k = 0 the small factor as it is.
 * 1.5 ulp. */
struct expm1_lanes {
    __m512 at(__m512 x) const {
        constexpr float series[] = {5.000000000e-01f, 1.666666716e-01f,
                                    4.166631401e-02f, 8.333215490e-03f,
                                    1.394431340e-03f, 1.996455685e-04f};
        const __m512 half = all_lanes(0.5f);
        __m512 k, r = reduce_exp(clamped(x, -20.0f, 89.0f), k);
        __m512 p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), polynomial(r, series), r);
        __m512 h = _mm512_scalef_ps(half, k);
        __m512 part = _mm512_fmadd_ps(h, p, _mm512_sub_ps(h, half));
        __mmask16 scaled = _mm512_cmp_ps_mask(k, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        return with_sign(_mm512_mask_add_ps(p, scaled, part, part), x);
    }
};
/* a = k ln 2 + r, sinh(r) = r + tail, cosh(r) = 1 + rise, and quarters of 2^k and 2^-k,
 * so that none overflows before the result does. */
struct hyperbolic_parts {
    __m512 r, tail, rise, up, down;
    __mmask16 scaled;
    explicit hyperbolic_parts(__m512 a) {
        constexpr float even[] = {0.5000000081f, 0.041666239f, 0.001394870049f};
        constexpr float odd[] = {0.1666666676f, 0.008333285837f, 0.0001990770445f};
        const __m512 zero = _mm512_setzero_ps(), quarter = all_lanes(0.25f);
        __m512 k;
        r = reduce_exp(_mm512_min_ps(all_lanes(89.5f), a), k);
        __m512 z = _mm512_mul_ps(r, r);
        rise = _mm512_mul_ps(z, polynomial(z, even));
        tail = _mm512_mul_ps(_mm512_mul_ps(z, r), polynomial(z, odd));
        up = _mm512_scalef_ps(quarter, k);
        down = _mm512_scalef_ps(quarter, _mm512_sub_ps(zero, k));
        scaled = _mm512_cmp_ps_mask(k, zero, _CMP_NEQ_UQ);
    }
};
/* sinh(k ln 2) cosh(r) + cosh(k ln 2) sinh(r); 1.2 ulp. */
struct sinh_lanes {
    __m512 at(__m512 x) const {
        const hyperbolic_parts h(_mm512_abs_ps(x));
        __m512 sum = _mm512_add_ps(h.up, h.down),
               difference = _mm512_sub_ps(h.up, h.down);
        __m512 small = _mm512_fmadd_ps(h.rise, difference, _mm512_mul_ps(h.tail, sum));
        __m512 half = _mm512_add_ps(difference, _mm512_fmadd_ps(h.r, sum, small));
        __m512 near = _mm512_add_ps(h.r, h.tail);
        return with_sign(_mm512_mask_add_ps(near, h.scaled, half, half), x);
    }
};
/* The halves of e^a and e^-a, as 2^k + 2^-k would round; 1.0 ulp. */
struct cosh_lanes {
    __m512 at(__m512 x) const {
        const hyperbolic_parts h(_mm512_abs_ps(x));
        __m512 falls = _mm512_sub_ps(_mm512_sub_ps(h.rise, h.tail), h.r);
        __m512 small = _mm512_fmadd_ps(h.down, falls, h.down);
        small = _mm512_fmadd_ps(h.up, _mm512_add_ps(h.rise, h.tail), small);
        __m512 half = _mm512_add_ps(h.up, _mm512_fmadd_ps(h.up, h.r, small));
        return _mm512_add_ps(half, half);
    }
};

/* ---- logarithms ----------------------------------------------------------------- */
/* By the leading five bits of a mantissa m in [1, 2): c near 1/m, and -log2 c, which is
 * so short that adding an exponent is exact, and right to 2^-32, as c was chosen for
 * it. At either end c is a power of two: near 1 nothing cancels. */
// clang-format off
constexpr float log_table[2][32] = {
    {
        1.0f, 0.9549534f, 0.92516774f, 0.9015975f, 0.87740195f, 0.8519433f, 0.82906276f,
        0.80900127f, 0.79056156f, 0.770274f, 0.75456625f, 0.7355602f, 0.7181713f,
        0.7041216f, 0.6884801f, 0.67311484f, 0.659235f, 0.645341f, 0.6336402f,
        0.6228495f, 0.61076796f, 0.59682137f, 0.587614f, 0.57674026f, 0.5677586f,
        0.55632186f, 0.54699826f, 0.53684205f, 0.53007156f, 0.51918525f, 0.5119547f,
        0.5f
    },
    {
        0.0f, 0.0664978f, 0.112213135f, 0.14944458f, 0.18869019f, 0.23117065f,
        0.27044678f, 0.30578613f, 0.3390503f, 0.3765564f, 0.40628052f, 0.44308472f,
        0.4776001f, 0.5061035f, 0.5385132f, 0.57107544f, 0.60113525f, 0.63186646f,
        0.65826416f, 0.68304443f, 0.7113037f, 0.7446289f, 0.7670593f, 0.79400635f,
        0.8166504f, 0.8460083f, 0.87039185f, 0.8974304f, 0.91574097f, 0.9456787f,
        0.96591187f, 1.0f
    },
};
// clang-format on

/* log(1 + f) / log(base) = unit f + f^2 q(f), units in two parts, and those of log2. */
struct natural {
    static constexpr float unit = 1.0f, unit_low = 0.0f;
    static constexpr float step = 0.6931471f, step_low = 5.769999e-8f;
    static constexpr float q[] = {-0.4999999949f, 0.3333348704f, -0.2500589602f,
                                  0.1952002915f};
};
struct binary {
    static constexpr float unit = 1.442695022f, unit_low = 1.925963e-08f;
    static constexpr float step = 1.0f, step_low = 0.0f;
    static constexpr float q[] = {-0.7213475131f, 0.4809005645f, -0.3607588218f,
                                  0.2816144925f};
};
struct decimal {
    static constexpr float unit = 0.4342944920f, unit_low = -1.010305e-8f;
    static constexpr float step = 0.30102998f, step_low = 1.5481334e-8f;
    static constexpr float q[] = {-0.2171472387f, 0.1447654948f, -0.1085992266f,
                                  0.08477440946f};
};
/* x = 2^e / c (1 + f); of zeros, infinities and negative numbers e and m are such that
 * the result is right. 0.95 (log), 1.1 (log2) and 1.2 ulp (log10). */
template <class Base> struct log_lanes {
    const lane_table<2> table{log_table};

    struct parts {
        __m512 exponent, whole, c, f;
    };
    parts split(__m512 x) const {
        __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
        __m512i index = _mm512_srli_epi32(_mm512_castps_si512(m), 18);
        parts p;
        p.exponent = _mm512_getexp_ps(x);
        p.whole = _mm512_add_ps(p.exponent, table.at(1, index));
        p.c = table.at(0, index);
        p.f = _mm512_fmsub_ps(m, p.c, all_lanes(1.0f));
        return p;
    }
    /* Of f + low, which is near when rounded; only the last two steps round at the size
     * of f and of the result. */
    static __m512 join(__m512 whole, __m512 f, __m512 low, __m512 near) {
        __m512 square = _mm512_mul_ps(near, near);
        if constexpr (Base::step != 1.0f)
            low = _mm512_fmadd_ps(whole, all_lanes(Base::step_low), low);
        if constexpr (Base::unit != 1.0f)
            low = _mm512_fmadd_ps(f, all_lanes(Base::unit_low), low);
        low = _mm512_fmadd_ps(square, polynomial(near, Base::q), low);
        __m512 y = _mm512_fmadd_ps(f, all_lanes(Base::unit), low);
        return _mm512_fmadd_ps(whole, all_lanes(Base::step), y);
    }
    __m512 at(__m512 x) const {
        parts p = split(x);
        return join(p.whole, p.f, _mm512_setzero_ps(), p.f);
    }
};
/* log(1 + x): what rounding u = 1 + x lost is added to f as a part of u. 0.96 ulp. */
struct log1p_lanes {
    const log_lanes<natural> logs;

    /* log(2^more (1 + x + low)) */
    __m512 raised(__m512 x, __m512 low, __m512 more) const {
        const __m512 one = all_lanes(1.0f);
        __m512 u = _mm512_add_ps(x, one), back = _mm512_sub_ps(u, one);
        __m512 lost = _mm512_add_ps(_mm512_sub_ps(x, back),
                                    _mm512_sub_ps(one, _mm512_sub_ps(u, back)));
        auto p = logs.split(u);
        constexpr int zero_or_infinite = 0x1e;
        __mmask16 finite = _knot_mask16(_mm512_fpclass_ps_mask(u, zero_or_infinite));
        __m512 down = _mm512_sub_ps(_mm512_setzero_ps(), p.exponent);
        lost = _mm512_maskz_scalef_ps(
            finite, _mm512_mul_ps(_mm512_add_ps(lost, low), p.c), down);
        return logs.join(_mm512_add_ps(p.whole, more), p.f, lost,
                         _mm512_add_ps(p.f, lost));
    }
    __m512 at(__m512 x) const {
        const __m512 zero = _mm512_setzero_ps();
        return with_sign(raised(x, zero, zero), x);
    }
};
/* log1p(a + a^2 / (1 + sqrt(1 + a^2))); far out log(2a). 1.0 ulp. */
struct asinh_lanes {
    const log1p_lanes logs;

    __m512 at(__m512 x) const {
        const __m512 one = all_lanes(1.0f);
        __m512 a = _mm512_abs_ps(x), z = _mm512_mul_ps(a, a);
        __m512 root = _mm512_sqrt_ps(_mm512_add_ps(z, one));
        __m512 q = _mm512_div_ps(z, _mm512_add_ps(root, one)), w = _mm512_add_ps(a, q);
        __mmask16 near = _mm512_cmp_ps_mask(a, all_lanes(1e9f), _CMP_NGE_UQ);
        __m512 low = _mm512_maskz_sub_ps(near, q, _mm512_sub_ps(w, a));
        w = _mm512_mask_mov_ps(a, near, w);
        __m512 more = _mm512_maskz_mov_ps(_knot_mask16(near), one);
        return with_sign(logs.raised(w, low, more), x);
    }
};
/* log1p(2a / (1 - a)) / 2, the quotient near 0 as 2a and the rest.
 * 1.9 ulp. */
struct atanh_lanes {
    const log1p_lanes logs;

    __m512 at(__m512 x) const {
        const __m512 one = all_lanes(1.0f);
        __m512 a = _mm512_abs_ps(x), t = _mm512_add_ps(a, a);
        __mmask16 low = _mm512_cmp_ps_mask(a, all_lanes(0.5f), _CMP_LT_OQ);
        __m512 q =
            _mm512_div_ps(_mm512_mask_mul_ps(t, low, t, a), _mm512_sub_ps(one, a));
        const __m512 zero = _mm512_setzero_ps();
        __m512 y = logs.raised(_mm512_mask_add_ps(q, low, t, q), zero, zero);
        return with_sign(_mm512_mul_ps(y, all_lanes(0.5f)), x);
    }
};

/* ---- tanh ----------------------------------------------------------------------- */
/* Of the intervals of v = |x| + 1 in [1, 16) that share an exponent and three bits of
 * the mantissa, in the order of the index: centers, then the coefficients of tanh
 * around them from the constant on. The first is odd; each other one interpolates at
 * the Chebyshev nodes, and a center lies where the constant is nearly a float. */
// clang-format off
constexpr float tanh_table[7][32] = {
    {
        1.1268874f, 1.3757f, 1.625775f, 1.87845f, 2.1214626f, 2.3776875f, 2.6281126f,
        2.8768625f, 3.243475f, 3.756575f, 4.249625f, 4.745525f, 5.24835f, 5.755775f,
        6.2542f, 6.750025f, 7.51305f, 8.51495f, 9.51495f, 10.0f, 11.0f, 12.0f, 13.0f,
        14.0f, 0.0f, 0.1880125f, 0.31153125f, 0.43654376f, 0.56406873f, 0.6866813f,
        0.8134f, 0.9356875f
    },
    {
        0.8099513f, 0.87998474f, 0.92545754f, 0.95435405f, 0.9716759f, 0.9829362f,
        0.9896242f, 0.99367815f, 0.99695826f, 0.9989089f, 0.99959284f, 0.99984896f,
        0.99994475f, 0.99998f, 0.9999926f, 0.99999726f, 0.9999994f, 0.99999994f, 1.0f,
        1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 0.0f, 0.18582805f, 0.3018295f, 0.41077548f,
        0.51099f, 0.59584576f, 0.6714616f, 0.7332346f
    },
    {
        0.34397888f, 0.22562686f, 0.14352834f, 0.08920835f, 0.055846f, 0.03383642f,
        0.020643938f, 0.012603729f, 0.006074226f, 0.0021810564f, 0.0008141522f,
        0.00030205326f, 0.000110503715f, 4.0054307e-5f, 1.4781826e-5f, 5.48355e-6f,
        1.1921438e-6f, 1.6072839e-7f, 2.1752223e-8f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
        1.0f, 0.96546793f, 0.90889895f, 0.8312635f, 0.7388892f, 0.64496785f, 0.5491393f,
        0.46236706f
    },
    {
        -0.27860868f, -0.1985497f, -0.13282995f, -0.085136436f, -0.054264132f,
        -0.033258937f, -0.020429654f, -0.012523988f, -0.0060552256f, -0.0021784676f,
        -0.00081374176f, -0.0003019786f, -0.00011048682f, -4.0049526e-5f,
        -1.478025e-5f, -5.482995e-6f, -1.1901658e-6f, -1.604611e-7f,
        -2.1716051e-8f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, -0.1794105f, -0.2743319f,
        -0.34146214f, -0.3775647f, -0.38430125f, -0.36872604f, -0.33902365f
    },
    {
        0.11100141f, 0.0995118f, 0.07508588f, 0.051514473f, 0.03411212f, 0.021412514f,
        0.013336253f, 0.008243539f, 0.004013051f, 0.0014489876f, 0.0005420881f,
        0.00020129183f, 7.365691e-5f, 2.6696205e-5f, 9.852862e-6f, 3.6555134e-6f,
        7.9309115e-7f, 1.0690476e-7f, 1.44679895e-8f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
        -0.3333268f, -0.2884835f, -0.22016303f, -0.13682215f, -0.053366072f,
        0.013995048f, 0.06453889f, 0.09446064f
    },
    {
        0.0033983574f, -0.0211284f, -0.025115792f, -0.020769466f, -0.015070607f,
        -0.00997882f, -0.0064029763f, -0.004027449f, -0.0020046027f, -0.00073026447f,
        -0.00027397595f, -0.000101829726f, -3.7281643e-5f, -1.35168275e-5f,
        -4.988876e-6f, -1.8507762e-6f, -4.1764363e-7f, -5.6304856e-8f,
        -7.620039e-9f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.11306307f, 0.15747277f,
        0.1696634f, 0.15290815f, 0.119693145f, 0.07961616f, 0.043843895f
    },
    {
        -0.03202853f, -0.009495421f, 0.0014063526f, 0.0046056462f, 0.0044822744f,
        0.0034181674f, 0.002349446f, 0.001531045f, 0.00076951965f, 0.00029223596f,
        0.000108758155f, 4.0179777e-5f, 1.4804338e-5f, 5.4493294e-6f, 2.0051182e-6f,
        7.376989e-7f, 1.6906466e-7f, 2.2880629e-8f, 3.0965603e-9f, 0.0f, 0.0f, 0.0f,
        0.0f, 0.0f, 0.13207574f, 0.09655071f, 0.045506112f, -0.005983847f,
        -0.043507483f, -0.061594207f, -0.06268455f, -0.05306602f
    },
};
// clang-format on

/* 1.16 ulp. */
struct tanh_lanes {
    const lane_table<7> table{tanh_table};

    __m512 at(__m512 x) const {
        __m512 a = _mm512_min_ps(all_lanes(10.0f), _mm512_abs_ps(x));
        __m512 v = _mm512_add_ps(a, all_lanes(1.0f));
        __m512i interval =
            _mm512_srli_epi32(_mm512_castps_si512(v), 20); /* modulo 32 */
        __m512 t = _mm512_sub_ps(a, table.at(0, interval)), p = table.at(6, interval);
#pragma GCC unroll 5
        for (int k = 5; k > 0; k--)
            p = _mm512_fmadd_ps(p, t, table.at(k, interval));
        return with_sign(p, x);
    }
};

} // namespace tl

#endif /* TENSORLIB_UNARY_LANES_H */
