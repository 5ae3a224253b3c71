/* gelu(x) = x Phi(x) and its derivative Phi(x) + x phi(x), over a run of elements.
 *
 * With AVX-512 a permutation looks up one of 32 floats for each lane. So Phi and the
 * derivative are polynomials of degree 6 around the centers of 32 intervals of
 * [-4.5, 10.5), two operations a coefficient, without exponential or quotient. The
 * intervals are narrow where Phi is small, to keep its relative error: those of
 * v = x + 5.5 in [1, 16) that share an exponent and three bits of the mantissa.
 * float32: 2.0 ulp (gelu), the derivative to 2.1 ulp of Phi. Below -4.5 both are an
 * exponential times a polynomial. On other processors, and in float64, the formulas of
 * scalar_activation.h serve.
 */
#ifndef TENSORLIB_GELU_H
#define TENSORLIB_GELU_H

#include "tensorlib/scalar_activation.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <algorithm>
#include <immintrin.h>
#endif

namespace tl {

/* Blocks without a hard argument, nearly all, take the cheaper form. */
template <class T> inline void gelu_row(T *out, const T *x, int64_t n) {
    for (int64_t start = 0; start < n; start += 1024) {
        int64_t stop = start + 1024 < n ? start + 1024 : n;
        int hard = 0;
        for (int64_t i = start; i < stop; i++)
            hard |= normal_is_hard(x[i]);
        if (hard) {
            for (int64_t i = start; i < stop; i++)
                out[i] = op_gelu(x[i]);
        } else {
            for (int64_t i = start; i < stop; i++)
                out[i] = op_gelu_moderate(x[i]);
        }
    }
}
template <class T>
inline void gelu_grad_row(T *out, const T *g, const T *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        out[i] = op_gelu_grad(g[i], x[i]);
}

#if defined(__AVX512F__) && defined(__AVX512DQ__)

/* By interval, in the order of the index: centers, then the coefficients from the
 * constant on. Each interpolates at the Chebyshev nodes of its interval, to 2^-24 of
 * Phi or better; a center lies where the constant is nearly a float. */
// clang-format off
constexpr float normal_cdf_table[8][32] = {
    {
        -3.37504745f, -3.12500525f, -2.87502527f, -2.62498426f, -2.37493324f,
        -2.12499142f, -1.8750031f, -1.62496912f, -1.25001752f, -0.749984026f,
        -0.250005573f, 0.250007808f, 0.750007331f, 1.25000525f, 1.74999249f, 2.25001431f,
        3.00000715f, 4.00014305f, 4.99985695f, 6.00014305f, 7.00014305f, 8.0002861f,
        9.0002861f, 10.0002861f, -4.43761969f, -4.31241608f, -4.18763351f, -4.06245613f,
        -3.93755484f, -3.81244135f, -3.68745995f, -3.56245518f
    },
    {
        0.00036901483f, 0.000889009447f, 0.0020199758f, 0.00433264859f, 0.00877606217f,
        0.0167936645f, 0.0303961486f, 0.0520845689f, 0.105646573f, 0.226632163f,
        0.401291519f, 0.598709345f, 0.773374856f, 0.894351184f, 0.959940195f,
        0.987775981f, 0.998650134f, 0.99996835f, 0.999999702f, 1.0f, 1.0f, 1.0f, 1.0f,
        1.0f, 4.54795736e-06f, 8.0740092e-06f, 1.40939101e-05f, 2.42795377e-05f,
        4.11580622e-05f, 6.88004438e-05f, 0.000113251866f, 0.000183701326f
    },
    {
        0.00134090416f, 0.00302220858f, 0.00639765523f, 0.0127247069f, 0.0237756707f,
        0.0417217463f, 0.068785876f, 0.106543615f, 0.182645112f, 0.301141053f,
        0.38666755f, 0.386667341f, 0.301135778f, 0.182647914f, 0.0862784609f,
        0.031738624f, 0.00443160441f, 0.000133796682f, 1.49172217e-06f, 6.1383032e-09f,
        9.44577749e-12f, 5.51114067e-15f, 1.25237419e-18f, 1.13899688e-22f,
        2.11224778e-05f, 3.65289779e-05f, 6.2080675e-05f, 0.000104042258f,
        0.000171469088f, 0.000278444146f, 0.000444918725f, 0.00069996377f
    },
    {
        0.00226280745f, 0.00472220872f, 0.00919671077f, 0.016701078f, 0.0282328147f,
        0.0443291776f, 0.0644868687f, 0.0865650401f, 0.114154778f, 0.112925477f,
        0.0483345166f, -0.0483349226f, -0.112927012f, -0.114155412f, -0.0754933283f,
        -0.0357061885f, -0.00664757285f, -0.00026752369f, -3.72093086e-06f,
        -1.82525337e-08f, -3.21738122e-11f, -2.0570705e-14f, -4.83588935e-18f,
        -4.23747503e-22f, 4.6866764e-05f, 7.87640747e-05f, 0.000129985565f,
        0.00021133355f, 0.000337584468f, 0.000530775986f, 0.000820309971f,
        0.00124679483f
    },
    {
        0.0023222086f, 0.00441528391f, 0.00774734374f, 0.0124926195f, 0.0183877982f,
        0.0244461279f, 0.0288400408f, 0.0291311573f, 0.017121546f, -0.0219605565f,
        -0.0604134463f, -0.060413342f, -0.0219584182f, 0.0171208754f, 0.0296572f,
        0.0214909278f, 0.00591378566f, 0.000333031872f, 5.82524126e-06f, 3.32693091e-08f,
        6.29065966e-11f, 3.81777604e-14f, 6.59376355e-18f, 1.14318782e-22f,
        6.58050558e-05f, 0.000107132786f, 0.000171096937f, 0.000268837059f,
        0.000414507231f, 0.000628109672f, 0.00093413319f, 0.0013638892f
    },
    {
        0.00158226152f, 0.00266241166f, 0.0040356582f, 0.00541469641f, 0.0062119416f,
        0.0055987169f, 0.00277094962f, -0.00259320531f, -0.0136746019f, -0.0229372159f,
        -0.0118310759f, 0.011831169f, 0.0229372028f, 0.0136749642f, -0.000392415765f,
        -0.00613708328f, -0.00332618365f, -0.000289627758f, -6.76694162e-06f,
        -4.88294738e-08f, -1.15128025e-10f, -8.99186799e-14f, -2.31579354e-17f,
        -1.86955683e-21f, 6.51934024e-05f, 0.000102373146f, 0.000157458679f,
        0.000237812739f, 0.000351772411f, 0.000510195619f, 0.00072442682f,
        0.00100689987f
    },
    {
        0.000719916774f, 0.00100048457f, 0.00115483848f, 0.000962603081f,
        0.000184840115f, -0.00129323092f, -0.00328640011f, -0.00520224869f,
        -0.00589867774f, -0.000109701847f, 0.00836885069f, 0.00836882554f,
        -0.000110122477f, -0.0058986349f, -0.00429065293f, -0.000490308506f,
        0.00107020373f, 0.000192770327f, 6.91743617e-06f, 7.14892181e-08f,
        2.37865116e-10f, 2.67142943e-13f, 1.04238614e-16f, 1.43561057e-20f,
        4.80671188e-05f, 7.23275443e-05f, 0.000106342253f, 0.000153055633f,
        0.000215035514f, 0.000295005768f, 0.000394342438f, 0.000512998318f
    },
    {
        0.000193397427f, 0.000165771344f, 1.56372225e-05f, -0.000299243315f,
        -0.000752012187f, -0.00120047317f, -0.00139242003f, -0.00106081727f,
        0.000583045825f, 0.00300812605f, 0.00190487062f, -0.00190487062f,
        -0.00300812605f, -0.000583045825f, 0.00129013474f, 0.000987929991f,
        -9.20277234e-05f, -8.41537912e-05f, -4.44081979e-06f, -5.79237351e-08f,
        -2.27255909e-10f, -2.89692288e-13f, -1.24879656e-16f, -1.86436623e-20f,
        2.68336862e-05f, 3.82794351e-05f, 5.31820151e-05f, 7.18349547e-05f,
        9.41269172e-05f, 0.000119290562f, 0.000145617159f, 0.000170177023f
    },
};
constexpr float gelu_slope_table[8][32] = {
    {
        -3.37498999f, -3.12498641f, -2.87504077f, -2.62497711f, -2.37505388f,
        -2.12500548f, -1.87501383f, -1.62500775f, -1.25002098f, -0.749985576f,
        -0.249998212f, 0.250007242f, 0.750013113f, 1.25002098f, 1.74998569f, 2.24997616f,
        3.00001287f, 3.99993134f, 4.99985695f, 6.00014305f, 7.00014305f, 8.0002861f,
        9.0002861f, 10.0002861f, -4.43737984f, -4.31248951f, -4.18759251f, -4.06262016f,
        -3.93752122f, -3.81253695f, -3.68746281f, -3.56248808f
    },
    {
        -0.00415732386f, -0.00855585001f, -0.0163728241f, -0.0290699527f, -0.0476791263f,
        -0.0718632117f, -0.0985764638f, -0.121042877f, -0.12266326f, 0.000780522416f,
        0.304627985f, 0.69537878f, 0.999231398f, 1.12266326f, 1.11092746f, 1.05919206f,
        1.01194525f, 1.00050378f, 1.00000715f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f,
        -8.92752432e-05f, -0.000149409621f, -0.000245916774f, -0.00039814011f,
        -0.000634088705f, -0.000992417918f, -0.00152735331f, -0.00230964203f
    },
    {
        -0.0125942789f, -0.0234704632f, -0.0400850251f, -0.0622314103f, -0.0865395889f,
        -0.104954101f, -0.104255065f, -0.0682528988f, 0.0798974559f, 0.432896376f,
        0.749169946f, 0.749166548f, 0.432875007f, 0.0798974559f, -0.0916676521f,
        -0.097204566f, -0.031021541f, -0.00187391625f, -3.42507446e-05f,
        -2.07777347e-07f, -4.39564385e-10f, -3.35177226e-13f, -9.57296851e-17f,
        -1.06238837e-20f, -0.000374061725f, -0.000606100133f, -0.000964646752f,
        -0.00150811533f, -0.00231583766f, -0.00348914741f, -0.00515983766f,
        -0.00748266047f
    },
    {
        -0.0167263672f, -0.0272275228f, -0.0392303392f, -0.0482753217f, -0.0463157706f,
        -0.0228577331f, 0.0312320329f, 0.117667586f, 0.278245896f, 0.3881841f,
        0.190311924f, -0.190318152f, -0.38818565f, -0.278245896f, -0.0707793757f,
        0.037936613f, 0.0332386233f, 0.00321250036f, 7.81093695e-05f, 5.83542146e-07f,
        1.44464418e-09f, 1.22871201e-12f, 3.69294745e-16f, 4.01132191e-20f,
        -0.000736098737f, -0.00114941923f, -0.00175976055f, -0.00264104735f,
        -0.0038840773f, -0.00559005979f, -0.00787275098f, -0.0108351242f
    },
    {
        -0.012073027f, -0.0156192966f, -0.0154213207f, -0.00688298699f, 0.0145257302f,
        0.0501935706f, 0.0945763215f, 0.133375555f, 0.136850625f, -0.0190388784f,
        -0.229812622f, -0.229810104f, -0.0190263055f, 0.136850625f, 0.115884691f,
        0.0307396501f, -0.016267648f, -0.00330645381f, -0.000111477399f,
        -1.01709884e-06f, -2.80001289e-09f, -2.35765162e-12f, -5.65415562e-16f,
        -2.26773035e-20f, -0.000894703611f, -0.00133706338f, -0.00195336645f,
        -0.00278780935f, -0.00388279767f, -0.00526675116f, -0.00694860611f,
        -0.00889204815f
    },
    {
        -0.00423384644f, -0.00233949698f, 0.00352536188f, 0.0143584087f, 0.0287676603f,
        0.0416723564f, 0.0446695574f, 0.0293881707f, -0.0309548136f, -0.114133f,
        -0.0697386488f, 0.0697407797f, 0.114131063f, 0.0309548136f, -0.0396822132f,
        -0.0358840004f, -1.20773939e-05f, 0.00218957989f, 0.00011376779f,
        1.37105394e-06f, 4.77653472e-09f, 5.14892946e-12f, 1.75599936e-15f,
        1.84272822e-19f, -0.000739350333f, -0.00104525534f, -0.0014367213f,
        -0.00191590365f, -0.00247118575f, -0.00306813419f, -0.00364471157f,
        -0.00409996556f
    },
    {
        0.00040724795f, 0.00289847353f, 0.00665912777f, 0.0104828328f, 0.0118123088f,
        0.00752724893f, -0.00406772178f, -0.020865228f, -0.0396054909f, -0.0140741132f,
        0.047166422f, 0.0471656173f, -0.0140772909f, -0.0396054909f, -0.0122254137f,
        0.0103216097f, 0.00479842117f, -0.000853087637f, -9.39546153e-05f,
        -1.74339095e-06f, -8.80779893e-09f, -1.37774089e-11f, -7.09293193e-15f,
        -1.24125037e-18f, -0.000426096842f, -0.000556671643f, -0.000697769923f,
        -0.000832551625f, -0.000933145289f, -0.00095866475f, -0.000855377177f,
        -0.000559095934f
    },
    {
        0.00117485598f, 0.00214488734f, 0.00274392101f, 0.00207003253f, -0.000656686025f,
        -0.00526894955f, -0.00997832883f, -0.011657902f, -0.00295559969f, 0.0192337427f,
        0.0149066206f, -0.0149066206f, -0.0192337427f, 0.00295559969f, 0.0112963822f,
        0.00282909046f, -0.0024497048f, 0.000109671055f, 5.00690621e-05f,
        1.29684929e-06f, 8.0062037e-09f, 1.44645945e-11f, 8.30955669e-15f,
        1.58623742e-18f, -0.000162677214f, -0.000184021192f, -0.000188960083f,
        -0.000164534722f, -9.46828368e-05f, 3.83036822e-05f, 0.000250947574f,
        0.000554213475f
    },
};
// clang-format on

/* A table in registers. */
struct interval_table {
    __m512 low[8], high[8];
    TL_HD explicit interval_table(const float (&table)[8][32]) {
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            low[k] = _mm512_loadu_ps(table[k]);
            high[k] = _mm512_loadu_ps(table[k] + 16);
        }
    }
    /* At x >= -4.5, or NaN; from 10 on the value at 10, which is 1. */
    TL_HD __m512 at(__m512 x) const {
        __m512 t = _mm512_min_ps(_mm512_set1_ps(10.0f), x); /* NaN stays */
        __m512i v = _mm512_castps_si512(_mm512_add_ps(t, _mm512_set1_ps(5.5f)));
        __m512i interval = _mm512_srli_epi32(v, 20); /* modulo 32 */
        t = _mm512_sub_ps(t, _mm512_permutex2var_ps(low[0], interval, high[0]));
        __m512 p = _mm512_permutex2var_ps(low[7], interval, high[7]);
#pragma GCC unroll 6
        for (int k = 6; k > 0; k--)
            p = _mm512_fmadd_ps(p, t,
                                _mm512_permutex2var_ps(low[k], interval, high[k]));
        return p;
    }
};
constexpr float table_end = -4.5f;
TL_HD inline __mmask16 below_table(__m512 x) {
    return _mm512_cmp_ps_mask(x, _mm512_set1_ps(table_end), _CMP_LT_OQ);
}
TL_HD inline __mmask16 beyond_tail(__m512 x) {
    return _mm512_cmp_ps_mask(x, _mm512_set1_ps(-15.0f), _CMP_LT_OQ);
}
TL_HD inline __mmask16 first_lanes(int64_t n) {
    return n < 16 ? (__mmask16)((1u << n) - 1u) : (__mmask16)0xffff;
}

/* Below the table, by e^(-x^2 / 2) times a polynomial in 1 / x^2: of -gelu(x), and of
 * the derivative over x, of both 1 / 16, lest a cotangent times the latter overflow.
 * Fits to 2^-25.8 and 2^-26.6 in [-15, -4.5]. */
constexpr float gelu_tail[6] = {0.3989422f / 16,  -0.39891163f / 16, 1.192355f / 16,
                                -5.6658077f / 16, 29.568998f / 16,   -98.31082f / 16};
constexpr float gelu_slope_tail[6] = {0.39894226f / 16, -0.3989356f / 16,
                                      0.3980686f / 16,  -1.1427269f / 16,
                                      4.2325473f / 16,  -10.0795145f / 16};

/* A magnitude times the power of two of these bits of an exponent. An instruction whose
 * result is subnormal, or 0 for being small, takes a hundred cycles: such a result is
 * rounded as a whole number of units instead. */
TL_HD inline __m512 scaled_bits(__m512 y, __m512i power) {
    __m512i bits = _mm512_add_epi32(_mm512_castps_si512(y), power);
    __mmask16 small = _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32(1 << 23));
    /* In two steps, 2^32 and the rest of 2^149: neither power leaves the range. */
    __m512i units = _mm512_add_epi32(power, _mm512_set1_epi32((int)(244u << 23)));
    __m512 count = _mm512_maskz_mul_ps(small, y, _mm512_set1_ps(4294967296.0f));
    count = _mm512_maskz_mul_ps(small, count, _mm512_castsi512_ps(units));
    return _mm512_castsi512_ps(_mm512_mask_cvtps_epi32(bits, small, count));
}
/* e^(-t^2 / 2) times the polynomial, as a factor and the bits of an exponent; t in
 * [-15, -4.5]. */
TL_HD inline __m512 tail_factor(__m512 t, const float (&c)[6], __m512i &power) {
    const __m512 half = _mm512_set1_ps(-0.5f);
    const __m512 whole = _mm512_set1_ps(12582912.0f + 4.0f); /* 4: the 16 of c */
    __m512 square = _mm512_mul_ps(t, t), low = _mm512_fmsub_ps(t, t, square);
    __m512 z = _mm512_rcp14_ps(square);
    z = _mm512_fmadd_ps(z, _mm512_fnmadd_ps(square, z, _mm512_set1_ps(1.0f)), z);
    __m512 p = _mm512_set1_ps(c[5]);
#pragma GCC unroll 5
    for (int k = 4; k >= 0; k--)
        p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(c[k]));
    /* -t^2 / 2 = n ln 2 + r as in reduce_exp; n in the last bits of `place`. */
    __m512 place = _mm512_fmadd_ps(square, _mm512_set1_ps(-0.72134752f), whole);
    __m512 n = _mm512_sub_ps(place, whole);
    __m512 r =
        _mm512_fmadd_ps(square, half, _mm512_mul_ps(n, _mm512_set1_ps(-0.693359375f)));
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    power = _mm512_slli_epi32(_mm512_castps_si512(place), 23);
    return _mm512_fmadd_ps(exp_excess_of(_mm512_fmadd_ps(low, half, r)), p, p);
}
/* -gelu, or the derivative times g, below the table; beyond -15 both are 0. */
TL_HD inline __m512 gelu_in_tail(__m512 x) {
    __m512i power;
    __m512 y = tail_factor(x, gelu_tail, power);
    return _mm512_or_ps(scaled_bits(y, power), _mm512_set1_ps(-0.0f));
}
TL_HD inline __m512 slope_in_tail(__m512 x, __m512 g) {
    const __m512 sign = _mm512_set1_ps(-0.0f);
    __m512i power;
    __m512 y = tail_factor(x, gelu_slope_tail, power);
    y = _mm512_mul_ps(g, _mm512_mul_ps(y, x));
    __m512 s = _mm512_or_ps(scaled_bits(_mm512_andnot_ps(sign, y), power),
                            _mm512_and_ps(sign, y));
    constexpr int endless = 0x99; /* NaN or infinity */
    return _mm512_mask_mov_ps(s, _mm512_fpclass_ps_mask(y, endless), y);
}

/* Of up to `most` elements, those in the tail side by side: it is worked out for them
 * alone, and its results go back to their places. */
struct tail_lanes {
    static constexpr int64_t most = 256;
    float x[most + 16], g[most + 16];
    __mmask16 places[most / 16];
    int count = 0, taken = 0;

    static bool any(const float *x, int64_t n) {
        __mmask16 found = 0;
        for (int64_t i = 0; i < n; i += 16)
            found |= below_table(_mm512_maskz_loadu_ps(first_lanes(n - i), x + i));
        return found;
    }
    void gather(const float *from, const float *cotangent, int64_t n) {
        for (int64_t i = 0; i < n; i += 16) {
            __mmask16 lanes = first_lanes(n - i);
            __m512 v = _mm512_maskz_loadu_ps(lanes, from + i);
            __mmask16 kept = below_table(v) & ~beyond_tail(v);
            _mm512_storeu_ps(x + count, _mm512_maskz_compress_ps(kept, v));
            if (cotangent) {
                v = _mm512_maskz_loadu_ps(lanes, cotangent + i);
                _mm512_storeu_ps(g + count, _mm512_maskz_compress_ps(kept, v));
            }
            places[i / 16] = kept;
            count += __builtin_popcount(kept);
        }
        /* The lanes of the last vector that nothing was written to. */
        _mm512_storeu_ps(x + count, _mm512_setzero_ps());
        _mm512_storeu_ps(g + count, _mm512_setzero_ps());
    }
    /* y with the results of its lanes; blocks come in order. */
    __m512 join(__m512 y, int64_t block) {
        __mmask16 lanes = places[block];
        y = _mm512_mask_expandloadu_ps(y, lanes, x + taken);
        taken += __builtin_popcount(lanes);
        return y;
    }
};

template <> inline void gelu_row(float *out, const float *x, int64_t n) {
    const interval_table cdf(normal_cdf_table);
    const __m512 zero = _mm512_set1_ps(-0.0f);
    for (int64_t start = 0; start < n; start += tail_lanes::most) {
        int64_t count = std::min(n - start, tail_lanes::most);
        tail_lanes tail;
        bool far = tail.any(x + start, count);
        if (far) {
            tail.gather(x + start, nullptr, count);
            for (int i = 0; i < tail.count; i += 16)
                _mm512_storeu_ps(tail.x + i, gelu_in_tail(_mm512_loadu_ps(tail.x + i)));
        }
        for (int64_t i = 0; i < count; i += 16) {
            __mmask16 lanes = first_lanes(count - i);
            __m512 v = _mm512_maskz_loadu_ps(lanes, x + start + i);
            __m512 y = _mm512_mul_ps(v, cdf.at(v));
            if (far) y = tail.join(_mm512_mask_mov_ps(y, beyond_tail(v), zero), i / 16);
            _mm512_mask_storeu_ps(out + start + i, lanes, y);
        }
    }
}
template <>
inline void gelu_grad_row(float *out, const float *g, const float *x, int64_t n) {
    const interval_table slope(gelu_slope_table);
    for (int64_t start = 0; start < n; start += tail_lanes::most) {
        int64_t count = std::min(n - start, tail_lanes::most);
        tail_lanes tail;
        bool far = tail.any(x + start, count);
        if (far) {
            tail.gather(x + start, g + start, count);
            for (int i = 0; i < tail.count; i += 16)
                _mm512_storeu_ps(tail.x + i,
                                 slope_in_tail(_mm512_loadu_ps(tail.x + i),
                                               _mm512_loadu_ps(tail.g + i)));
        }
        for (int64_t i = 0; i < count; i += 16) {
            __mmask16 lanes = first_lanes(count - i);
            __m512 v = _mm512_maskz_loadu_ps(lanes, x + start + i), s = slope.at(v);
            if (far) s = _mm512_maskz_mov_ps(~beyond_tail(v), s);
            s = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, g + start + i), s);
            if (far) s = tail.join(s, i / 16);
            _mm512_mask_storeu_ps(out + start + i, lanes, s);
        }
    }
}

#endif /* __AVX512F__ */

/* With any strides, in blocks on the stack: one form for every layout. */
template <class T> inline void gather_row(T *row, const T *x, int64_t step, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        row[i] = x[i * step];
}
template <class T>
inline void gelu_run(T *out, int64_t so, const T *x, int64_t sx, int64_t n) {
    T row[256];
    if (so == 1 && sx == 1) return gelu_row(out, x, n);
    for (int64_t i = 0; i < n; i += 256) {
        int64_t count = n - i < 256 ? n - i : 256;
        gather_row(row, x + i * sx, sx, count);
        gelu_row(row, row, count);
        for (int64_t j = 0; j < count; j++)
            out[(i + j) * so] = row[j];
    }
}
template <class T>
inline void gelu_grad_run(T *out, int64_t so, const T *g, int64_t sg, const T *x,
                          int64_t sx, int64_t n) {
    T cotangent[256], row[256];
    if (so == 1 && sg == 1 && sx == 1) return gelu_grad_row(out, g, x, n);
    for (int64_t i = 0; i < n; i += 256) {
        int64_t count = n - i < 256 ? n - i : 256;
        gather_row(cotangent, g + i * sg, sg, count);
        gather_row(row, x + i * sx, sx, count);
        gelu_grad_row(row, cotangent, row, count);
        for (int64_t j = 0; j < count; j++)
            out[(i + j) * so] = row[j];
    }
}

} // namespace tl

#endif /* TENSORLIB_GELU_H */
