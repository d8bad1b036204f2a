// The weight gradient of convolutions of grids; see `grids.h`.

#pragma once

#include "grids.h"

// Copies a row of a grid as words [positions, channels] for sums over positions. Word p holds position
// p * every and, with bfloat16, also the position `next` after it.
template <class S>
static void as_words(const S* __restrict x, int64_t columns, int64_t channels, int64_t next, int64_t every,
                     int64_t positions, Word* __restrict words) {
    for (int64_t p = 0; p < positions; ++p, words += channels) {
        const S* first = x + p * every * channels;
        if constexpr (WORD<S> == 1) {
            std::copy_n(first, channels, words);
        } else {
            uint32_t* __restrict pairs = reinterpret_cast<uint32_t*>(words);
            if (p * every + next < columns) {
                const S* second = first + next * channels;
#pragma omp simd
                for (int64_t c = 0; c < channels; ++c) pairs[c] = first[c] | uint32_t(second[c]) << 16;
            } else {
#pragma omp simd
                for (int64_t c = 0; c < channels; ++c) pairs[c] = first[c];
            }
        }
    }
}

// sums[m][lane] += sum over rows and positions of x[m] y[lane], for M by V vectors.
template <class S, int M, int V>
static void add_products(const Word* x, int64_t x_step, int64_t x_row, const Word* y, int64_t y_step,
                         int64_t y_row, int64_t positions, int64_t rows, float* sums, int64_t stride) {
    Vec sum[M][V];
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v) sum[m][v] = load(sums + m * stride + v * W);
    for (int64_t r = 0; r < rows; ++r) {
        const Word *own = x + r * x_row, *other = y + r * y_row;
        for (int64_t p = 0; p < positions; ++p, own += x_step, other += y_step) {
            Vec factor[V];
            for (int v = 0; v < V; ++v) factor[v] = load(reinterpret_cast<const float*>(other) + v * W);
            for (int m = 0; m < M; ++m)
                for (int v = 0; v < V; ++v) sum[m][v] = multiply_add<S>(sum[m][v], own + m, factor[v]);
        }
    }
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v) store(sums + m * stride + v * W, sum[m][v]);
}

// dw[cc, fc, kt, kf] = sum of coarse[t, f, cc] fine[t * stride + kt, f * stride + kf, fc] over the
// coarse grid [rows, columns] from `row` and `column` on. The lanes are the taps along frequency and
// the fine channels, which are contiguous.
template <class S>
static Tensor weight_gradient(const Grid<S>& fine, const Grid<S>& coarse, int64_t row, int64_t column,
                              int64_t rows, int64_t columns, Stride stride, at::IntArrayRef shape) {
    const int64_t kt = shape[2], kf = shape[3], taps = kf * fine.channels, lanes = whole(taps);
    const int64_t positions = (columns + WORD<S> - 1) / WORD<S>;
    const int64_t seen = (positions - 1) * WORD<S> * stride.bins + kf;  // positions of the fine grid
    const int64_t tile = std::max<int64_t>(4, 64 / positions);  // rows
    const int64_t chunks = std::min<int64_t>(at::get_num_threads(), coarse.batch);
    Tensor sums = at::zeros({chunks, kt, coarse.channels, lanes});
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t chunk = begin; chunk < end; ++chunk) {
            const int64_t x_row = positions * coarse.channels, y_row = seen * fine.channels;
            std::vector<float> x(x_row * tile), y(y_row * ((tile - 1) * stride.time + kt) + W);
            float* total = writable(sums) + chunk * kt * coarse.channels * lanes;
            for (int64_t b = chunk * coarse.batch / chunks; b < (chunk + 1) * coarse.batch / chunks; ++b)
                for (int64_t t = 0; t < rows; t += tile) {
                    const int64_t some = std::min(tile, rows - t);
                    for (int64_t r = 0; r < some; ++r)
                        as_words(coarse.at(b, row + t + r, column), columns, coarse.channels, 1, WORD<S>,
                                 positions, &x[r * x_row]);
                    for (int64_t r = 0; r < (some - 1) * stride.time + kt; ++r)
                        as_words(fine.at(b, t * stride.time + r, 0), fine.columns, fine.channels,
                                 stride.bins, 1, seen, &y[r * y_row]);
                    for (int64_t k = 0; k < kt; ++k)
                        in_vectors(lanes, [&](auto vectors, int64_t lane) {
                            constexpr int V = vectors.value;
                            in_parts<std::min(ROWS, REGISTERS / V)>(coarse.channels, [&](auto many, int64_t m) {
                                add_products<S, many.value, V>(
                                    &x[m], coarse.channels, x_row, &y[k * y_row] + lane,
                                    WORD<S> * stride.bins * fine.channels, stride.time * y_row, positions,
                                    some, total + (k * coarse.channels + m) * lanes + lane, lanes);
                            });
                        });
                }
        }
    });
    const Tensor total = sums.sum(0);
    Tensor result = at::empty(shape, total.options());
    const float* from = data(total);
    float* to = writable(result);
    for (int64_t c = 0; c < coarse.channels; ++c, to += fine.channels * kt * kf)
        for (int64_t k = 0; k < kt; ++k) {
            const float* line = from + (k * coarse.channels + c) * lanes;
            for (int64_t j = 0; j < kf; ++j, line += fine.channels)
                for (int64_t f = 0; f < fine.channels; ++f) to[(f * kt + k) * kf + j] = line[f];
        }
    return result;
}
