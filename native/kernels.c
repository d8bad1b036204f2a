/* Kernels over rows of channels (conv.h, vectors.h). Compile with -DISA=name and the flags of the instruction set. */
#include "conv.h"

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

/* Layer normalisation over the channels; lanes beyond them become zero by gain and bias. */
static void norm(const float *x, float *y, int rows, int channels, int ld, const float *gain,
                 const float *bias, float eps) {
    for (int t = 0; t < rows; ++t, x += ld, y += ld) {
        float mean = 0, variance = 0;
        vec sum = all(0);
        int c = 0;
        for (; c + VEC <= channels; c += VEC) sum += load(x + c);
        for (int i = 0; i < VEC; ++i) mean += sum[i];
        for (; c < channels; ++c) mean += x[c];
        mean /= (float)channels;
        sum = all(0);
        for (c = 0; c + VEC <= channels; c += VEC) {
            vec d = load(x + c) - mean;
            sum += d * d;
        }
        for (int i = 0; i < VEC; ++i) variance += sum[i];
        for (; c < channels; ++c) variance += (x[c] - mean) * (x[c] - mean);
        const float factor = 1.0f / __builtin_sqrtf(variance / (float)channels + eps);
        for (c = 0; c < ld; c += VEC) store(y + c, (load(x + c) - mean) * factor * load(gain + c) + load(bias + c));
    }
}

static void depthwise(const float *x, float *y, int rows, int ld, int kernel, const float *weight,
                      const float *bias) {
    for (int t = 0; t < rows; ++t, x += ld, y += ld)
        for (int c = 0; c < ld; c += VEC) {
            vec sum = load(bias + c);
            for (int k = 0; k < kernel; ++k) sum += load(x + (ptrdiff_t)k * ld + c) * load(weight + (ptrdiff_t)k * ld + c);
            store(y + c, sum);
        }
}

/* Gates in the order reset, update, new, as in PyTorch. */
static void gru(const float *x, const float *product, float *hidden, int size) {
    for (int i = 0; i < size; i += VEC) {
        vec reset = sigmoid(load(x + i) + load(product + i));
        vec update = sigmoid(load(x + size + i) + load(product + size + i));
        vec fresh = hyperbolic_tangent(load(x + 2 * size + i) + reset * load(product + 2 * size + i));
        store(hidden + i, fresh + update * (load(hidden + i) - fresh));
    }
}

/* Gates in the order input, forget, cell, output, as in PyTorch. */
static void lstm(const float *x, const float *product, float *hidden, float *cell, int size) {
    for (int i = 0; i < size; i += VEC) {
        vec gate[4];
        for (int g = 0; g < 4; ++g) gate[g] = load(x + g * size + i) + load(product + g * size + i);
        vec c = sigmoid(gate[1]) * load(cell + i) + sigmoid(gate[0]) * hyperbolic_tangent(gate[2]);
        store(cell + i, c);
        store(hidden + i, sigmoid(gate[3]) * hyperbolic_tangent(c));
    }
}

/* Index of the largest x @ table[dim][size] + offset[size]; the first one of equals. -1 if no score is a number. */
#define SCORES(V)                                                                               \
    for (; j + VEC * V <= size; j += VEC * V) {                                                   \
        vec score[V];                                                                           \
        UNROLL (int v = 0; v < V; ++v) score[v] = load(offset + j + VEC * v);                       \
        for (int i = 0; i < dim; ++i)                                                           \
            UNROLL (int v = 0; v < V; ++v)                                                         \
                score[v] += x[i] * load(table + (ptrdiff_t)i * size + j + VEC * v);              \
        UNROLL (int v = 0; v < V; ++v) {                                                           \
            ivec better = score[v] > best;                                                       \
            best = pick(better, score[v], best);                                                \
            place = (here & better) | (place & ~better);                                        \
            here += VEC;                                                                         \
        }                                                                                       \
    }

static int nearest(const float *x, int dim, const float *table, const float *offset, int size) {
    vec best = all(-3.4e38f);
    ivec place = {0}, here = {0};
    for (int i = 0; i < VEC; ++i) here[i] = i;
    int j = 0;
    SCORES(8)
    SCORES(1)
    int found = 0;
    for (int i = 1; i < VEC; ++i)
        if (best[i] > best[found] || (best[i] == best[found] && place[i] < place[found])) found = i;
    return best[found] > -3.4e38f ? place[found] : -1;
}

/* Frames of an inverse DFT of rows * columns points with their window; docs/reference/program.md and the exporter
   describe the steps. Vectors are over the rows. */
static void istft(const float *x, int ld_x, float *y, int ld_y, int count, int rows, int columns, int bins,
                  float *turned, const float *inner, const float *turn, const float *ends,
                  const float *outer, const float *window) {
    const int lanes = (rows + 15) / 16 * 16, half = rows / 2;
    for (int t = 0; t < count; ++t, x += ld_x, y += ld_y) {
        float *rest = turned + (ptrdiff_t)2 * columns * lanes;
        for (int r = 0; r < lanes; r += VEC) {
            store(rest + r, x[0] * load(ends + r) + x[half * columns] * load(ends + lanes + r));
            int b = 0;
#define INNER(B)                                                                                \
    for (; b + B <= columns; b += B) {                                                          \
        vec real[B], imaginary[B];                                                              \
        UNROLL (int n = 0; n < B; ++n) real[n] = imaginary[n] = all(0);                            \
        for (int a = 0; a < half; ++a) {                                                        \
            const float *e = inner + (ptrdiff_t)2 * a * lanes + r, *from = x + (ptrdiff_t)a * columns + b; \
            const vec c = load(e), s = load(e + lanes);                                         \
            UNROLL (int n = 0; n < B; ++n) {                                                       \
                real[n] += from[n] * c, real[n] -= from[bins + n] * s;                          \
                imaginary[n] += from[n] * s, imaginary[n] += from[bins + n] * c;                \
            }                                                                                   \
        }                                                                                       \
        UNROLL (int n = 0; n < B; ++n) {                                                           \
            const ptrdiff_t at = (ptrdiff_t)2 * (b + n) * lanes + r;                            \
            const vec c = load(turn + at), s = load(turn + at + lanes);                         \
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
        for (int r = 0; r < lanes; r += VEC) {                                                   \
            vec sum[C];                                                                         \
            UNROLL (int n = 0; n < C; ++n) sum[n] = load(rest + r);                                \
            for (int b = 0; b < columns; ++b) {                                                 \
                const float *z = turned + (ptrdiff_t)2 * b * lanes + r;                         \
                const vec real = load(z), imaginary = load(z + lanes);                          \
                UNROLL (int n = 0; n < C; ++n) {                                                   \
                    const float *e = outer + (ptrdiff_t)2 * ((c + n) * columns + b);            \
                    sum[n] += e[0] * real, sum[n] += e[1] * imaginary;                          \
                }                                                                               \
            }                                                                                   \
            UNROLL (int n = 0; n < C; ++n) {                                                       \
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
        for (int k = 0; k < bins; k += VEC) {
            vec level = load(x + k), phase = load(x + bins + k);
            vec magnitude = exponential(pick(level > 6.0f, all(6.0f), level));
            store(y + k, magnitude * cosine(phase));
            store(y + bins + k, magnitude * cosine(phase - 1.57079632679489662f));
        }
}

#define KERNELS(conv) {HAS_HALF, conv, activate, norm, depthwise, gru, lstm, nearest, istft, head}
const struct kernels JOIN(kernels_, ISA) = KERNELS(conv);
#if HAS_VNNI
const struct kernels kernels_vnni = KERNELS(conv_vnni);
#endif
