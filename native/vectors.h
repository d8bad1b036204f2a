/* Vectors of VEC floats, as wide as a register of the instruction set, and functions of them. Files and
   memory are in units of 16 floats, which are a whole number of vectors. */
#ifndef VECTORS_H
#define VECTORS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VEC 16
#elif defined(__AVX2__)
#define VEC 8
#else
#define VEC 4
#endif

#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

/* A loop over the vectors of a tile, without which they would not be in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)") for
#else
#define UNROLL _Pragma("GCC unroll 16") for
#endif

typedef float vec __attribute__((vector_size(4 * VEC), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * VEC), aligned(4)));
typedef int16_t svec __attribute__((vector_size(4 * VEC), aligned(4)));
typedef int8_t bvec __attribute__((vector_size(VEC), aligned(1)));
typedef uint32_t uvec __attribute__((vector_size(4 * VEC), aligned(4))); /* for shifts and sums of bits */

static INLINE vec load(const float *p) { return *(const vec *)p; }
static INLINE void store(float *p, vec v) { *(vec *)p = v; }
static INLINE vec all(float x) { return (vec){0} + x; }
static INLINE vec pick(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }

/* HAS_HALF: whether a vector of float16 is converted by an instruction. */
#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#define HAS_HALF 1
static INLINE vec load_half(const uint16_t *p) {
#if VEC == 16
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p));
#else
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p));
#endif
}
#elif defined(__aarch64__)
#include <arm_neon.h>
#define HAS_HALF 1
static INLINE vec load_half(const uint16_t *p) {
    return (vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
#else
#define HAS_HALF 0
#endif

/* dot: sums of the products of four int8 each. MULTIPLY_ADD: the same of two int16 each. */
#if VEC == 16
#define MULTIPLY_ADD(a, b) (ivec)_mm512_madd_epi16((__m512i)(a), (__m512i)(b))
#elif VEC == 8
#define MULTIPLY_ADD(a, b) (ivec)_mm256_madd_epi16((__m256i)(a), (__m256i)(b))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define MULTIPLY_ADD(a, b) (ivec)_mm_madd_epi16((__m128i)(a), (__m128i)(b))
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define MULTIPLY_ADD(a, b) (ivec)wasm_i32x4_dot_i16x8((v128_t)(a), (v128_t)(b))
#endif

/* VEC int8 as floats. GCC has no vector code for the conversion of the last case. */
static INLINE vec load_int8(const int8_t *p) {
#if VEC == 16
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i_u *)p)));
#elif VEC == 8
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i_u *)p)));
#elif defined(__SSE2__)
    int32_t four;
    memcpy(&four, p, sizeof four);
    const __m128i bytes = _mm_cvtsi32_si128(four), pairs = _mm_unpacklo_epi8(bytes, bytes);
    return (vec)_mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(pairs, pairs), 24));
#else
    return __builtin_convertvector(*(const bvec *)p, vec);
#endif
}

static INLINE ivec load_bytes(const int8_t *p) { return *(const ivec *)(const void *)p; }

static INLINE ivec dot(ivec a, ivec b) {
#if defined(MULTIPLY_ADD)
    const svec even = (svec)a << 8 >> 8, odd = (svec)a >> 8;
    return MULTIPLY_ADD(even, (svec)b << 8 >> 8) + MULTIPLY_ADD(odd, (svec)b >> 8);
#elif defined(__ARM_FEATURE_DOTPROD)
    return (ivec)vdotq_s32(vdupq_n_s32(0), (int8x16_t)a, (int8x16_t)b);
#elif defined(__aarch64__)
    const int16x8_t low = vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
    const int16x8_t high = vmull_high_s8((int8x16_t)a, (int8x16_t)b);
    return (ivec)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
#else
    return (a << 24 >> 24) * (b << 24 >> 24) + (a << 16 >> 24) * (b << 16 >> 24) +
           (a << 8 >> 24) * (b << 8 >> 24) + (a >> 24) * (b >> 24);
#endif
}

/* cos(x): reduction by pi in two parts, an even polynomial of degree 10, whose error is 2.8e-8
   without rounding. */
static INLINE vec cosine(vec x) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vec n = x * 0.318309886183790672f + magic;
    uvec parity = ((uvec)n) << 31;
    n -= magic;
    x = x - n * 3.140625f;
    x = x - n * 9.6765358979e-4f;
    vec s = x * x;
    vec p = all(-2.605051179e-7f);
    p = p * s + 2.476010195e-5f;
    p = p * s + -1.388836070e-3f;
    p = p * s + 4.166663438e-2f;
    p = p * s + -0.5f;
    p = p * s + 1.0f;
    return (vec)((uvec)p ^ parity);
}

static INLINE vec exponential(vec x) {
    x = pick(x > 88.0f, all(88.0f), x);
    x = pick(x < -87.0f, all(-87.0f), x);
    const vec magic = all(12582912.0f);
    vec n = x * 1.44269504088896341f + magic;
    uvec power = ((uvec)n) << 23;
    n -= magic;
    x = x - n * 0.693359375f;
    x = x + n * 2.12194440e-4f;
    vec p = all(1.9875691500e-4f);
    p = p * x + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return (vec)((uvec)p + power);
}

static INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }

static INLINE vec hyperbolic_tangent(vec x) {
    vec e = exponential(2.0f * x);
    return 1.0f - 2.0f / (e + 1.0f);
}

/* erf by Abramowitz and Stegun 7.1.26, error below 1.5e-7. */
static INLINE vec gelu(vec x) {
    vec z = x * 0.707106781186547524f;
    uvec sign = (uvec)z & 0x80000000u;
    vec a = (vec)((uvec)z ^ sign);
    vec t = 1.0f / (1.0f + 0.3275911f * a);
    vec p = all(1.061405429f);
    p = p * t + -1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t + -0.284496736f;
    p = p * t + 0.254829592f;
    vec erf = 1.0f - p * t * exponential(-a * a);
    erf = (vec)((uvec)erf ^ sign);
    return 0.5f * x * (1.0f + erf);
}
#endif
