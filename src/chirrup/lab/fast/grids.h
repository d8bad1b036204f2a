// Convolutions of grids [batch, time, bins, channels] by products of channels, in float or bfloat16.
//
// Weights [coarse channels, fine channels, kt, kf] connect a fine and a coarse grid. A convolution maps
// the fine grid to the coarse grid (`narrowed`), a transposed convolution maps the coarse grid to the
// fine grid (`spread`). Each is the backward pass of the other, and both have one weight gradient
// (`weight_gradient`).
//
// A word is the operand of one lane of a product instruction: a float, or two bfloat16 values. Sums are
// floats.

#pragma once

#include "elements.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef float Word __attribute__((may_alias));

constexpr int ROWS = REGISTERS / 2;  // largest block of products; larger blocks need more address registers

template <class S>
constexpr int WORD = 4 / sizeof(S);  // elements of a word

template <class S>
static inline __attribute__((always_inline)) Vec multiply_add(Vec sum, const Word* x, Vec weight) {
    if constexpr (WORD<S> == 1) {
        return sum + *x * weight;
    } else {
#ifdef __AVX512BF16__
        return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(*x), (__m512bh)weight);
#else
        int32_t bits;
        std::memcpy(&bits, x, 4);
        const Integers both = Integers{} + bits, weights = (Integers)weight, upper = Integers{} - 65536;
        return sum + (Vec)(both << 16) * (Vec)(weights << 16) + (Vec)(both & upper) * (Vec)(weights & upper);
#endif
    }
}

// A tensor [batch, rows, columns, channels] that is contiguous except along the batch.
template <class S>
struct Grid {
    Tensor tensor;
    int64_t batch, rows, columns, channels, image;
    S* data;

    Grid(const Tensor& t)
        : tensor(t), batch(t.size(0)), rows(t.size(1)), columns(t.size(2)), channels(t.size(3)),
          image(t.stride(0)), data(static_cast<S*>(t.data_ptr())) {}

    S* at(int64_t b, int64_t row, int64_t column) const {
        return data + b * image + (row * columns + column) * channels;
    }
};

// Calls f(size, start) until `count` is reached; `size` is a compile-time constant of at most
// `Largest`.
template <int Largest, class F>
static inline void in_parts(int64_t count, F f) {
    int64_t start = 0;
    const auto all = [&](auto size) {
        for (; start + size.value <= count; start += size.value) f(size, start);
    };
    all(std::integral_constant<int, Largest>());
    all(std::integral_constant<int, std::max(1, Largest * 5 / 6)>());
    all(std::integral_constant<int, std::max(1, Largest * 2 / 3)>());
    all(std::integral_constant<int, std::max(1, Largest / 3)>());
    all(std::integral_constant<int, std::max(1, Largest / 6)>());
    all(std::integral_constant<int, 1>());
}

// Calls f(vectors, first lane) for all vectors of `lanes`, at most four at a time.
template <class F>
static inline void in_vectors(int64_t lanes, F f) {
    int64_t lane = 0;
    const auto all = [&](auto vectors) {
        for (; lane + vectors.value * W <= lanes; lane += vectors.value * W) f(vectors, lane);
    };
    all(std::integral_constant<int, 4>());
    all(std::integral_constant<int, 3>());
    all(std::integral_constant<int, 2>());
    all(std::integral_constant<int, 1>());
}

// Products along one row of outputs: sums over `runs` words from each of `starts`, times weights
// [starts, runs, lanes].
template <class S>
struct Products {
    std::vector<int64_t> starts;  // in words, from the input of the first output
    int64_t run, step;            // in words; inputs of neighbouring outputs are `step` words apart
    Tensor weights;
    int64_t lanes, outputs;

    template <int P, int V>
    void tile(const S* in, int64_t lane, Vec (&sum)[P][V]) const {
        const Word* w = static_cast<const Word*>(weights.const_data_ptr()) + lane;
        for (int64_t start : starts) {
            const Word* x = reinterpret_cast<const Word*>(in) + start;
            for (int64_t k = 0; k < run; ++k, ++x, w += lanes) {
                Vec weight[V];
                for (int v = 0; v < V; ++v) weight[v] = load(reinterpret_cast<const float*>(w) + v * W);
                const Word* own = x;
                for (int p = 0; p < P; ++p, own += step)
                    for (int v = 0; v < V; ++v) sum[p][v] = multiply_add<S>(sum[p][v], own, weight[v]);
            }
        }
    }

    // Computes `count` outputs from `out` on, `pitch` elements apart, of V vectors. If `active` is
    // given, it holds outputs of an ELU in the layout of `out`, and the results are multiplied by its
    // derivative. `bias` may be null.
    template <int V, class Out>
    void row(int64_t lane, const S* in, Out* out, int64_t count, int64_t pitch, const float* bias,
             const S* active) const {
        const int64_t width = std::min<int64_t>(V * W, outputs - lane);
        in_parts<std::min(ROWS, REGISTERS / V)>(count, [&](auto positions, int64_t first) {
            constexpr int P = positions.value;
            Vec sum[P][V] = {};
            tile<P, V>(in + first * step * WORD<S>, lane, sum);
            for (int p = 0; p < P; ++p) {
                alignas(64) float z[V * W];
                for (int v = 0; v < V; ++v) store(z + v * W, sum[p][v]);
                Out* y = out + (first + p) * pitch + lane;
                if (active) {
                    const S* e = active + (first + p) * pitch + lane;
#pragma omp simd
                    for (int64_t i = 0; i < width; ++i)
                        narrow(z[i] * std::min(1.0f, 1 + wide(e[i])), y[i]);
                } else if (bias) {
#pragma omp simd
                    for (int64_t i = 0; i < width; ++i) narrow(z[i] + bias[lane + i], y[i]);
                } else {
#pragma omp simd
                    for (int64_t i = 0; i < width; ++i) narrow(z[i], y[i]);
                }
            }
        });
    }
};

// Products with weights [runs of taps along time, taps along frequency, inputs, outputs] as words of
// lanes; the taps along frequency may be reversed.
template <class S>
static Products<S> products(const Tensor& w, bool reversed, std::vector<int64_t> starts, int64_t step) {
    const int64_t runs = w.size(0), across = w.size(1), inputs = w.size(2), outputs = w.size(3);
    const int64_t lanes = whole(outputs), run = across * inputs / WORD<S>;
    Tensor packed = at::zeros({runs, run, lanes, WORD<S>}, WORD<S> == 1 ? at::kFloat : at::kBFloat16);
    const float* from = data(w);
    S* to = out<S>(packed);
    for (int64_t o = 0; o < outputs; o += W)
        for (int64_t c = 0; c < inputs; ++c)
            for (int64_t r = 0; r < runs; ++r)
                for (int64_t i = 0; i < across; ++i) {
                    const float* source = from + o * w.stride(3) + c * w.stride(2) + r * w.stride(0) +
                                          (reversed ? across - 1 - i : i) * w.stride(1);
                    const int64_t k = i * inputs + c;
                    S* target = to + ((r * run + k / WORD<S>) * lanes + o) * WORD<S> + k % WORD<S>;
                    for (int64_t lane = 0; lane < std::min<int64_t>(W, outputs - o); ++lane)
                        narrow(source[lane * w.stride(3)], target[lane * WORD<S>]);
                }
    return {std::move(starts), run, step, packed, lanes, outputs};
}

struct Stride {
    int64_t time, bins;
};

// coarse[t, f] = bias + sum over taps of fine[t * stride + kt, f * stride + kf] w. The fine grid
// includes all padding. `active` is an ELU's output as in `Products`, from its row and column on.
template <class S>
static void narrowed(const Grid<S>& fine, const Tensor& w, const float* bias, Stride stride,
                     const Grid<S>* active, int64_t active_row, int64_t active_column,
                     const Grid<S>& coarse) {
    std::vector<int64_t> starts;
    for (int64_t k = 0; k < w.size(2); ++k) starts.push_back(k * fine.columns * fine.channels / WORD<S>);
    const int64_t kf = w.size(3), few = coarse.channels, step = stride.bins * fine.channels / WORD<S>;
    // With few outputs most lanes would be empty: the lanes then hold the taps along frequency, which
    // are summed afterwards.
    const bool taps_as_lanes = kf * few <= W && kf > 1 && stride.bins == 1 && !active;
    const auto all = taps_as_lanes
        ? products<S>(w.permute({2, 1, 3, 0}).reshape({w.size(2), 1, w.size(1), kf * few}), false, starts, step)
        : products<S>(w.permute({2, 3, 1, 0}), false, starts, step);
    at::parallel_for(0, coarse.batch * coarse.rows, 4, [&](int64_t begin, int64_t end) {
        std::vector<float> apart(taps_as_lanes ? fine.columns * W : 0);
        in_vectors(all.lanes, [&](auto vectors, int64_t lane) {
            constexpr int V = vectors.value;
            for (int64_t r = begin; r < end; ++r) {
                const int64_t b = r / coarse.rows, t = r % coarse.rows;
                const S* in = fine.at(b, t * stride.time, 0);
                S* y = coarse.at(b, t, 0);
                if (taps_as_lanes) {
                    all.template row<V, float>(lane, in, apart.data(), fine.columns, W, nullptr, nullptr);
                    for (int64_t f = 0; f < coarse.columns; ++f)
                        for (int64_t o = 0; o < few; ++o) {
                            float sum = bias ? bias[o] : 0;
                            for (int64_t k = 0; k < kf; ++k) sum += apart[(f + k) * W + k * few + o];
                            narrow(sum, y[f * few + o]);
                        }
                } else {
                    const S* e = active ? active->at(b, t + active_row, active_column) : nullptr;
                    all.template row<V, S>(lane, in, y, coarse.columns, few, bias, e);
                }
            }
        });
    });
}

// The taps of the coarse grid that contribute to a row or column of the fine grid: the taps of one
// phase.
static int64_t taps_of(int64_t kernel, int64_t stride, int64_t phase) {
    return phase < kernel ? (kernel - phase - 1) / stride + 1 : 0;
}

// fine[t, f] = bias + sum of all coarse[q] w[k] with q * stride + k = (t, f + low). The coarse grid has
// `taps_of(.., 0) - 1` zeros around it. `bias` is [phases, fine channels] and applies to rows before
// `biased`. From row `first_active` on, results are multiplied by the derivative of `active`.
template <class S>
static void spread(const Grid<S>& coarse, const Tensor& w, const float* bias, int64_t biased,
                   Stride stride, int64_t low, const Grid<S>* active, int64_t first_active,
                   int64_t active_column, const Grid<S>& fine) {
    const int64_t kt = w.size(2), kf = w.size(3), pt = taps_of(kt, stride.time, 0) - 1,
                  pf = taps_of(kf, stride.bins, 0) - 1;
    for (int64_t rt = 0; rt < stride.time; ++rt)
        for (int64_t rf = 0; rf < stride.bins; ++rf) {
            const int64_t along = taps_of(kt, stride.time, rt), across = taps_of(kf, stride.bins, rf);
            const Tensor own = w.slice(2, rt, kt, stride.time).slice(3, rf, kf, stride.bins);
            std::vector<int64_t> starts;
            for (int64_t j = 0; j < along; ++j)
                starts.push_back(-j * coarse.columns * coarse.channels / WORD<S>);
            const auto all = products<S>(own.permute({2, 3, 0, 1}), true, starts, coarse.channels / WORD<S>);
            const int64_t first = (rf - low % stride.bins + stride.bins) % stride.bins;  // column
            const int64_t from = (first + low - rf) / stride.bins - (across - 1) + pf;
            const int64_t count = first < fine.columns ? (fine.columns - first - 1) / stride.bins + 1 : 0;
            const int64_t rows = rt < fine.rows ? (fine.rows - rt - 1) / stride.time + 1 : 0;
            const float* own_bias = bias ? bias + (rt * stride.bins + first) * fine.channels : nullptr;
            at::parallel_for(0, fine.batch * rows, 4, [&](int64_t begin, int64_t end) {
                in_vectors(all.lanes, [&](auto vectors, int64_t lane) {
                    for (int64_t r = begin; r < end; ++r) {
                        const int64_t b = r / rows, q = r % rows, t = q * stride.time + rt;
                        const S* e = active && t >= first_active
                            ? active->at(b, t, active_column + first) : nullptr;
                        all.template row<vectors.value, S>(
                            lane, coarse.at(b, q + pt, from), fine.at(b, t, first), count,
                            stride.bins * fine.channels, t < biased ? own_bias : nullptr, e);
                    }
                });
            });
        }
}
