// Convolutions of rows of time steps, and their weight gradients. Each channel is a row. Rows are
// padded to whole vectors and are `stride` floats apart. K is the kernel size.
//
// With PAIRS, inputs and weights hold the bfloat16 values of two channels in each 32-bit word. Weight
// gradients read rows of single bfloat16 values. Sums are floats.

#pragma once

#include "fast.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
constexpr bool HAS_PAIRS = true;
static inline Vec add_pairs(Vec sum, Vec a, Vec b) {
    return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
static inline Vec add_pairs(Vec sum, Vec a, float b) {
    return add_pairs(sum, a, (Vec)_mm512_set1_ps(b));
}
#else
constexpr bool HAS_PAIRS = false;
template <class Factor>
static inline Vec add_pairs(Vec sum, Vec, Factor) { return sum; }
#endif

// Returns sum + a b. With PAIRS, each word of a and b holds two bfloat16 values.
template <bool PAIRS, class Factor>
static inline __attribute__((always_inline)) Vec add_products(Vec sum, Vec a, Factor b) {
    if constexpr (PAIRS) return add_pairs(sum, a, b);
    else return sum + a * b;
}

// Computes O output rows of M vectors: out[o][t] = bias[o] + sum_ik w[i][k][o] in[i][t + k * dilation].
template <int O, int M, int K, bool PAIRS>
static inline void conv_block(const float* w, const float* bias, const float* in, float* out,
                              int64_t n, int64_t dilation, int64_t stride) {
    Vec sum[O][M];
    for (int o = 0; o < O; ++o)
        for (int m = 0; m < M; ++m) sum[o][m] = Vec{} + (bias ? bias[o] : 0.0f);
    for (int64_t i = 0; i < n; ++i, in += stride)
        for (int k = 0; k < K; ++k, w += O) {
            Vec x[M];
            for (int m = 0; m < M; ++m) x[m] = load(in + k * dilation + m * W);
            for (int o = 0; o < O; ++o)
                for (int m = 0; m < M; ++m) sum[o][m] = add_products<PAIRS>(sum[o][m], x[m], w[o]);
        }
    for (int o = 0; o < O; ++o)
        for (int m = 0; m < M; ++m) store(out + o * stride + m * W, sum[o][m]);
}

template <int O, int K, bool PAIRS>
static void conv_rows(const float* w, const float* bias, const float* in, float* out, int64_t n,
                      int64_t rows, int64_t dilation, int64_t stride, int64_t length) {
    constexpr int M = std::max(1, std::min(8, REGISTERS / O));
    for (int64_t t = 0; t < length;) {
        const bool wide = t + M * W <= length;
        for (int64_t o = 0; o < rows; o += O) {
            const float* block = w + o * n * K;
            const float* b = bias ? bias + o : nullptr;
            if (wide) conv_block<O, M, K, PAIRS>(block, b, in + t, out + o * stride + t, n, dilation, stride);
            else conv_block<O, 1, K, PAIRS>(block, b, in + t, out + o * stride + t, n, dilation, stride);
        }
        t += wide ? M * W : W;
    }
}

// Returns the largest block size that divides the number of output rows.
static int64_t block_of(int64_t rows) {
    for (int64_t o : {8, 6, 4, 3, 2})
        if (rows % o == 0) return o;
    return 1;
}

// Calls f with block_of(rows) as a compile-time constant.
template <class F>
static void with_block(int64_t rows, F f) {
    switch (block_of(rows)) {
        case 8: return f(std::integral_constant<int, 8>());
        case 6: return f(std::integral_constant<int, 6>());
        case 4: return f(std::integral_constant<int, 4>());
        case 3: return f(std::integral_constant<int, 3>());
        case 2: return f(std::integral_constant<int, 2>());
        default: return f(std::integral_constant<int, 1>());
    }
}

// Computes `rows` outputs of `n` input rows; `pack` defines the layout of `w`.
template <int K, bool PAIRS = false>
static void conv(const float* w, const float* bias, const float* in, float* out, int64_t n,
                 int64_t rows, int64_t dilation, int64_t stride, int64_t length) {
    with_block(rows, [&](auto O) {
        conv_rows<decltype(O)::value, K, PAIRS>(w, bias, in, out, n, rows, dilation, stride, length);
    });
}

// Accumulates the weight gradient sum_t d[o][t] in[i][t + k * dilation] for blocks of O rows by J
// columns (i, k). `sums` keeps the W partial sums of each element from tile to tile; columns are padded
// to a multiple of J. The rows are floats, or bfloat16 padded to whole vectors.
template <int K>
struct WeightGradient {
    static constexpr int columns_at_once(int O) {
        return std::max(1, std::min(8, REGISTERS / O));
    }

    static int64_t columns(int64_t n, int64_t rows) {
        const int64_t J = columns_at_once(block_of(rows));
        return (n * K + J - 1) / J * J;
    }

    template <int O, class Number>
    static void add_rows(const Number* d, const Number* in, float* sums, int64_t n, int64_t rows,
                         int64_t dilation, int64_t stride, int64_t length) {
        constexpr int J = columns_at_once(O), AT_ONCE = sizeof(Vec) / sizeof(Number);
        constexpr bool PAIRS = !std::is_same_v<Number, float>;
        for (int64_t o = 0; o < rows; o += O, d += O * stride)
            for (int64_t j = 0; j < n * K; j += J, sums += O * J * W) {
                const Number* column[J];
                Vec sum[O][J];
                for (int c = 0; c < J; ++c) {
                    const int64_t ik = std::min(j + c, n * K - 1);
                    column[c] = in + ik / K * stride + ik % K * dilation;
                }
                for (int c = 0; c < O * J; ++c) sum[c / J][c % J] = load(sums + c * W);
                for (int64_t t = 0; t < length; t += AT_ONCE) {
                    Vec row[O];
                    for (int r = 0; r < O; ++r) row[r] = load(d + r * stride + t);
                    for (int c = 0; c < J; ++c) {
                        const Vec x = load(column[c] + t);
                        for (int r = 0; r < O; ++r)
                            sum[r][c] = add_products<PAIRS>(sum[r][c], row[r], x);
                    }
                }
                for (int c = 0; c < O * J; ++c) store(sums + c * W, sum[c / J][c % J]);
            }
    }

    template <class Number>
    static void add(const Number* d, const Number* in, float* sums, int64_t n, int64_t rows,
                    int64_t dilation, int64_t stride, int64_t length) {
        with_block(rows, [&](auto O) {
            add_rows<decltype(O)::value>(d, in, sums, n, rows, dilation, stride, length);
        });
    }

    static void reduce(const float* sums, float* gradient, int64_t n, int64_t rows) {
        const int64_t O = block_of(rows), J = columns_at_once(O);
        for (int64_t o = 0; o < rows; o += O)
            for (int64_t j = 0; j < n * K; j += J)
                for (int64_t c = 0; c < O * J; ++c, sums += W) {
                    float total = 0;
#pragma omp simd reduction(+ : total)
                    for (int lane = 0; lane < W; ++lane) total += sums[lane];
                    if (j + c % J < n * K) gradient[(o + c / J) * n * K + j + c % J] = total;
                }
    }
};

// Packs [rows of all groups, inputs, K] into blocks of O outputs, each [inputs, K, O]. If transposed,
// inputs and outputs are swapped and taps are reversed.
static Tensor pack(const Tensor& w, int64_t groups, bool transposed) {
    Tensor v = w.detach().view({groups, -1, w.size(1), w.size(2)});
    if (transposed) v = v.transpose(1, 2).flip(3);
    const int64_t rows = v.size(1), O = block_of(rows);
    return v.reshape({groups, rows / O, O, v.size(2), v.size(3)}).permute({0, 1, 3, 4, 2}).contiguous();
}

// Converts a row to bfloat16, and two float rows to one row of pairs; b may be null.
static inline void narrow_row(const float* a, uint16_t* out, int64_t length) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t) out[t] = number<at::BFloat16>(a[t]).x;
}
static inline uint32_t paired(float a, float b) {
    return number<at::BFloat16>(a).x | uint32_t(number<at::BFloat16>(b).x) << 16;
}
static inline void pair_rows(const float* a, const float* b, uint32_t* out, int64_t length) {
    if (!b) {
#pragma omp simd
        for (int64_t t = 0; t < length; ++t) out[t] = paired(a[t], 0);
    } else {
#pragma omp simd
        for (int64_t t = 0; t < length; ++t) out[t] = paired(a[t], b[t]);
    }
}
