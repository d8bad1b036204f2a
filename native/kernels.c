/* Kernels over rows of channels. Compile with -DISA=name and the flags of the instruction set. */
#include "kernels.h"

#define INLINE inline __attribute__((always_inline))
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

typedef float v16 __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16 __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u16 __attribute__((vector_size(64), aligned(4))); /* for shifts and sums of bits */

static inline v16 load(const float *p) { return *(const v16 *)p; }
static inline void store(float *p, v16 v) { *(v16 *)p = v; }
static inline v16 all(float x) { return (v16){0} + x; }
static inline v16 pick(i16 mask, v16 a, v16 b) {
    return (v16)(((i16)a & mask) | ((i16)b & ~mask));
}

/* cos(x): reduction by pi in two parts, an even polynomial of degree 10, whose error is 2.8e-8
   without rounding. */
static inline v16 cosine(v16 x) {
    const v16 magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    v16 n = x * 0.318309886183790672f + magic;
    u16 parity = ((u16)n) << 31;
    n -= magic;
    x = x - n * 3.140625f;
    x = x - n * 9.6765358979e-4f;
    v16 s = x * x;
    v16 p = all(-2.605051179e-7f);
    p = p * s + 2.476010195e-5f;
    p = p * s + -1.388836070e-3f;
    p = p * s + 4.166663438e-2f;
    p = p * s + -0.5f;
    p = p * s + 1.0f;
    return (v16)((u16)p ^ parity);
}

static inline v16 exponential(v16 x) {
    x = pick(x > 88.0f, all(88.0f), x);
    x = pick(x < -87.0f, all(-87.0f), x);
    const v16 magic = all(12582912.0f);
    v16 n = x * 1.44269504088896341f + magic;
    u16 power = ((u16)n) << 23;
    n -= magic;
    x = x - n * 0.693359375f;
    x = x + n * 2.12194440e-4f;
    v16 p = all(1.9875691500e-4f);
    p = p * x + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return (v16)((u16)p + power);
}

static inline v16 hyperbolic_tangent(v16 x) {
    v16 e = exponential(2.0f * x);
    return 1.0f - 2.0f / (e + 1.0f);
}

/* erf by Abramowitz and Stegun 7.1.26, error below 1.5e-7. */
static inline v16 gelu(v16 x) {
    v16 z = x * 0.707106781186547524f;
    u16 sign = (u16)z & 0x80000000u;
    v16 a = (v16)((u16)z ^ sign);
    v16 t = 1.0f / (1.0f + 0.3275911f * a);
    v16 p = all(1.061405429f);
    p = p * t + -1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t + -0.284496736f;
    p = p * t + 0.254829592f;
    v16 erf = 1.0f - p * t * exponential(-a * a);
    erf = (v16)((u16)erf ^ sign);
    return 0.5f * x * (1.0f + erf);
}

static INLINE v16 activated(int kind, v16 x, const float *first, const float *second) {
    switch (kind) {
    case SNAKE: {
        v16 h = load(second);
        return x + h - h * cosine(load(first) * x);
    }
    case ELU:
        return pick(x > 0.0f, x, exponential(x) - 1.0f);
    case GELU:
        return gelu(x);
    case TANH:
        return hyperbolic_tangent(x);
    case LEAKY:
        return pick(x > 0.0f, x, x * load(first));
    default:
        return x;
    }
}

static INLINE void activate_rows(int kind, const float *x, int ld_x, float *y, int ld_y, int rows, int lanes,
                                 const float *first, const float *second) {
    for (int c = 0; c < lanes; c += 16, first += 16, second += 16) {
        const float *from = x + c;
        float *to = y + c;
        int t = 0;
        for (; t + 4 <= rows; t += 4, from += (ptrdiff_t)4 * ld_x, to += (ptrdiff_t)4 * ld_y) {
            v16 out[4];
            for (int n = 0; n < 4; ++n)
                out[n] = activated(kind, load(from + (ptrdiff_t)n * ld_x), first, second);
            for (int n = 0; n < 4; ++n) store(to + (ptrdiff_t)n * ld_y, out[n]);
        }
        for (; t < rows; ++t, from += ld_x, to += ld_y) store(to, activated(kind, load(from), first, second));
    }
}

/* Not inline, so that a tile has no copy of it. */
static __attribute__((noinline)) void activate(int kind, const float *x, int ld_x, float *y, int ld_y, int rows,
                                               int lanes, const float *first, const float *second) {
#define KIND(name)                                                                              \
    case name:                                                                                  \
        activate_rows(name, x, ld_x, y, ld_y, rows, lanes, first, second);                      \
        break
    switch (kind) {
        KIND(NONE);
        KIND(SNAKE);
        KIND(ELU);
        KIND(GELU);
        KIND(TANH);
        KIND(LEAKY);
    }
}

/* A tile of R rows and V vectors of outputs. */
#define TILE(R, V)                                                                              \
    static INLINE void tile_##R##_##V(                                                           \
        const struct conv *c, const float *w, const float *b, const float *x, int ld_x,         \
        int step, float *y, int ld_y, const float *res, int ld_res, const float *first,         \
        const float *second) {                                                                  \
        v16 sum[R][V];                                                                          \
        for (int r = 0; r < R; ++r)                                                             \
            for (int v = 0; v < V; ++v) sum[r][v] = load(b + 16 * v);                           \
        for (int k = 0; k < c->kernel; ++k) {                                                   \
            const float *from = x + (ptrdiff_t)k * c->dilation * ld_x;                               \
            for (int i = 0; i < c->inputs; ++i, w += c->lanes) {                                \
                v16 weight[V];                                                                  \
                for (int v = 0; v < V; ++v) weight[v] = load(w + 16 * v);                       \
                for (int r = 0; r < R; ++r) {                                                   \
                    float value = from[(ptrdiff_t)r * step + i];                                     \
                    for (int v = 0; v < V; ++v) sum[r][v] += value * weight[v];                 \
                }                                                                               \
            }                                                                                   \
        }                                                                                       \
        if (res)                                                                                \
            for (int r = 0; r < R; ++r)                                                         \
                for (int v = 0; v < V; ++v) sum[r][v] += load(res + (ptrdiff_t)r * ld_res + 16 * v); \
        for (int r = 0; r < R; ++r)                                                             \
            for (int v = 0; v < V; ++v) store(y + (ptrdiff_t)r * ld_y + 16 * v, sum[r][v]);     \
        if (c->activation != NONE)                                                              \
            activate(c->activation, y, ld_y, y, ld_y, R, 16 * V, first, second);                \
    }

TILE(1, 1) TILE(4, 1) TILE(8, 1)
TILE(1, 2) TILE(4, 2) TILE(8, 2)
TILE(1, 4) TILE(4, 4)

/* Float16 weights take half of the memory traffic, which bounds the product of a matrix and one row.
   They become equal floats, and sums are in the order of a tile: results are equal too. */
#if defined(__AVX512F__)
#include <immintrin.h>
#define HAS_HALF 1
static inline v16 load_half(const uint16_t *p) {
    return (v16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p));
}
#elif defined(__F16C__)
#include <immintrin.h>
#define HAS_HALF 1
static inline v16 load_half(const uint16_t *p) {
    union {
        __m256 half[2];
        float all[16];
    } both = {{_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p)),
               _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(p + 8)))}};
    return load(both.all);
}
#else
#define HAS_HALF 0
#endif

#if HAS_HALF
#define ROW(V)                                                                                  \
    for (; j + 16 * V <= c->lanes; j += 16 * V) {                                               \
        const uint16_t *w = half + j;                                                           \
        v16 sum[1][V];                                                                          \
        for (int v = 0; v < V; ++v) sum[0][v] = load(b + j + 16 * v);                           \
        for (int k = 0; k < c->kernel; ++k) {                                                   \
            const float *from = x + (ptrdiff_t)k * c->dilation * ld_x;                          \
            for (int i = 0; i < c->inputs; ++i, w += c->lanes)                                  \
                for (int v = 0; v < V; ++v) sum[0][v] += from[i] * load_half(w + 16 * v);       \
        }                                                                                       \
        for (int v = 0; v < V; ++v) {                                                           \
            const int at = j + 16 * v;                                                          \
            if (res) sum[0][v] += load(res + at);                                               \
            store(y + at, sum[0][v]);                                                           \
        }                                                                                       \
    }

static void conv_row(const struct conv *c, const uint16_t *half, const float *b, const float *x, int ld_x,
                     float *y, const float *res, const float *first, const float *second) {
    int j = 0;
    ROW(12)
    ROW(8)
    ROW(4)
    ROW(1)
    if (c->activation != NONE) activate(c->activation, y, 0, y, 0, 1, c->lanes, first, second);
}
#endif

#define RUN(R, V)                                                                               \
    for (; t + R <= rows; t += R)                                                               \
        tile_##R##_##V(c, w + j, b + j, x + (ptrdiff_t)t * step, ld_x, step, y + (ptrdiff_t)t * ld_y + j, \
                       ld_y, res ? res + (ptrdiff_t)t * ld_res + j : 0, ld_res, first + j, second + j)

static void conv(const struct conv *c, const float *x, int ld_x, float *y, int ld_y, int rows,
                 const float *res, int ld_res) {
    const int step = c->stride * ld_x;
    for (int g = 0; g < c->groups; ++g) {
        const float *w = c->weight + (ptrdiff_t)g * c->kernel * c->inputs * c->lanes;
        const float *b = c->bias + (ptrdiff_t)g * c->lanes;
        const float *first = c->first + (ptrdiff_t)g * c->lanes, *second = c->second + (ptrdiff_t)g * c->lanes;
        int j = 0;
#if HAS_HALF
        if (c->half && rows < 4) {
            const uint16_t *half = c->half + (ptrdiff_t)g * c->kernel * c->inputs * c->lanes;
            for (int t = 0; t < rows; ++t)
                conv_row(c, half, b, x + (ptrdiff_t)t * step, ld_x, y + (ptrdiff_t)t * ld_y,
                         res ? res + (ptrdiff_t)t * ld_res : 0, first, second);
            j = c->lanes;
        }
#endif
        for (; j + 64 <= c->lanes; j += 64) {
            int t = 0;
            RUN(4, 4);
            RUN(1, 4);
        }
        for (; j + 32 <= c->lanes; j += 32) {
            int t = 0;
            RUN(8, 2);
            RUN(4, 2);
            RUN(1, 2);
        }
        for (; j < c->lanes; j += 16) {
            int t = 0;
            RUN(8, 1);
            RUN(4, 1);
            RUN(1, 1);
        }
        x += c->inputs, y += c->outputs;
        if (res) res += c->outputs;
    }
}

/* Layer normalisation over the channels; lanes beyond them become zero by gain and bias. */
static void norm(const float *x, float *y, int rows, int channels, int ld, const float *gain,
                 const float *bias, float eps) {
    for (int t = 0; t < rows; ++t, x += ld, y += ld) {
        float mean = 0, variance = 0;
        v16 sum = all(0);
        int c = 0;
        for (; c + 16 <= channels; c += 16) sum += load(x + c);
        for (int i = 0; i < 16; ++i) mean += sum[i];
        for (; c < channels; ++c) mean += x[c];
        mean /= (float)channels;
        sum = all(0);
        for (c = 0; c + 16 <= channels; c += 16) {
            v16 d = load(x + c) - mean;
            sum += d * d;
        }
        for (int i = 0; i < 16; ++i) variance += sum[i];
        for (; c < channels; ++c) variance += (x[c] - mean) * (x[c] - mean);
        const float factor = 1.0f / __builtin_sqrtf(variance / (float)channels + eps);
        for (c = 0; c < ld; c += 16) store(y + c, (load(x + c) - mean) * factor * load(gain + c) + load(bias + c));
    }
}

static void depthwise(const float *x, float *y, int rows, int ld, int kernel, const float *weight,
                      const float *bias) {
    for (int t = 0; t < rows; ++t, x += ld, y += ld)
        for (int c = 0; c < ld; c += 16) {
            v16 sum = load(bias + c);
            for (int k = 0; k < kernel; ++k) sum += load(x + (ptrdiff_t)k * ld + c) * load(weight + (ptrdiff_t)k * ld + c);
            store(y + c, sum);
        }
}

static inline v16 sigmoid(v16 x) { return 1.0f / (1.0f + exponential(-x)); }

/* Gates in the order reset, update, new, as in PyTorch. */
static void gru(const float *x, const float *product, float *hidden, int size) {
    for (int i = 0; i < size; i += 16) {
        v16 reset = sigmoid(load(x + i) + load(product + i));
        v16 update = sigmoid(load(x + size + i) + load(product + size + i));
        v16 fresh = hyperbolic_tangent(load(x + 2 * size + i) + reset * load(product + 2 * size + i));
        store(hidden + i, fresh + update * (load(hidden + i) - fresh));
    }
}

/* Gates in the order input, forget, cell, output, as in PyTorch. */
static void lstm(const float *x, const float *product, float *hidden, float *cell, int size) {
    for (int i = 0; i < size; i += 16) {
        v16 gate[4];
        for (int g = 0; g < 4; ++g) gate[g] = load(x + g * size + i) + load(product + g * size + i);
        v16 c = sigmoid(gate[1]) * load(cell + i) + sigmoid(gate[0]) * hyperbolic_tangent(gate[2]);
        store(cell + i, c);
        store(hidden + i, sigmoid(gate[3]) * hyperbolic_tangent(c));
    }
}

/* Index of the largest x @ table[dim][size] + offset[size]; the first one of equals. */
#define SCORES(V)                                                                               \
    for (; j + 16 * V <= size; j += 16 * V) {                                                   \
        v16 score[V];                                                                           \
        for (int v = 0; v < V; ++v) score[v] = load(offset + j + 16 * v);                       \
        for (int i = 0; i < dim; ++i)                                                           \
            for (int v = 0; v < V; ++v)                                                         \
                score[v] += x[i] * load(table + (ptrdiff_t)i * size + j + 16 * v);              \
        for (int v = 0; v < V; ++v) {                                                           \
            i16 better = score[v] > best;                                                       \
            best = pick(better, score[v], best);                                                \
            place = (here & better) | (place & ~better);                                        \
            here += 16;                                                                         \
        }                                                                                       \
    }

static int nearest(const float *x, int dim, const float *table, const float *offset, int size) {
    v16 best = all(-3.4e38f);
    i16 place = {0}, here = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int j = 0;
    SCORES(8)
    SCORES(1)
    int found = 0;
    for (int i = 1; i < 16; ++i)
        if (best[i] > best[found] || (best[i] == best[found] && place[i] < place[found])) found = i;
    return place[found];
}

/* Frames of an inverse DFT of rows * columns points with their window; docs/reference/program.md and the exporter
   describe the steps. Vectors are over the rows. */
static void istft(const float *x, int ld_x, float *y, int ld_y, int count, int rows, int columns, int bins,
                  float *turned, const float *inner, const float *turn, const float *ends,
                  const float *outer, const float *window) {
    const int lanes = (rows + 15) / 16 * 16, half = rows / 2;
    for (int t = 0; t < count; ++t, x += ld_x, y += ld_y) {
        float *rest = turned + (ptrdiff_t)2 * columns * lanes;
        for (int r = 0; r < lanes; r += 16) {
            store(rest + r, x[0] * load(ends + r) + x[half * columns] * load(ends + lanes + r));
            int b = 0;
#define INNER(B)                                                                                \
    for (; b + B <= columns; b += B) {                                                          \
        v16 real[B], imaginary[B];                                                              \
        for (int n = 0; n < B; ++n) real[n] = imaginary[n] = all(0);                            \
        for (int a = 0; a < half; ++a) {                                                        \
            const float *e = inner + (ptrdiff_t)2 * a * lanes + r, *from = x + (ptrdiff_t)a * columns + b; \
            const v16 c = load(e), s = load(e + lanes);                                         \
            for (int n = 0; n < B; ++n) {                                                       \
                real[n] += from[n] * c, real[n] -= from[bins + n] * s;                          \
                imaginary[n] += from[n] * s, imaginary[n] += from[bins + n] * c;                \
            }                                                                                   \
        }                                                                                       \
        for (int n = 0; n < B; ++n) {                                                           \
            const ptrdiff_t at = (ptrdiff_t)2 * (b + n) * lanes + r;                            \
            const v16 c = load(turn + at), s = load(turn + at + lanes);                         \
            store(turned + at, real[n] * c - imaginary[n] * s);                                 \
            store(turned + at + lanes, real[n] * s + imaginary[n] * c);                         \
        }                                                                                       \
    }
            INNER(5)
            INNER(1)
        }
        int c = 0;
#define OUTER(C)                                                                                \
    for (; c + C <= columns; c += C)                                                            \
        for (int r = 0; r < lanes; r += 16) {                                                   \
            v16 sum[C];                                                                         \
            for (int n = 0; n < C; ++n) sum[n] = load(rest + r);                                \
            for (int b = 0; b < columns; ++b) {                                                 \
                const float *z = turned + (ptrdiff_t)2 * b * lanes + r;                         \
                const v16 real = load(z), imaginary = load(z + lanes);                          \
                for (int n = 0; n < C; ++n) {                                                   \
                    const float *e = outer + (ptrdiff_t)2 * ((c + n) * columns + b);            \
                    sum[n] += e[0] * real, sum[n] += e[1] * imaginary;                          \
                }                                                                               \
            }                                                                                   \
            for (int n = 0; n < C; ++n) {                                                       \
                const ptrdiff_t at = (ptrdiff_t)(c + n) * rows + r;                             \
                store(y + at, sum[n]);                                                          \
            }                                                                                   \
        }
        OUTER(10)
        OUTER(1)
        for (int n = 0; n < rows * columns; ++n) y[n] *= window[n];
    }
}

/* Log magnitudes [bins] and phases [bins] to real and imaginary parts. */
static void head(const float *x, float *y, int rows, int bins, int ld) {
    for (int t = 0; t < rows; ++t, x += ld, y += ld)
        for (int k = 0; k < bins; k += 16) {
            v16 level = load(x + k), phase = load(x + bins + k);
            v16 magnitude = exponential(pick(level > 6.0f, all(6.0f), level));
            store(y + k, magnitude * cosine(phase));
            store(y + bins + k, magnitude * cosine(phase - 1.57079632679489662f));
        }
}

const struct kernels JOIN(kernels_, ISA) = {HAS_HALF, conv, activate, norm, depthwise, gru, lstm, nearest, istft, head};
