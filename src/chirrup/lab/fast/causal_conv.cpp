// A causal convolution over time and a transposed one, each with an optional ELU f of its input:
//
//   conv:       y[o][t] = bias[o] + sum_cj w[o][c][j] [past, f(x)][c][t * stride + j * dilation]
//   transposed: y[c][t * stride + j] = sum_o w[o][c][j] f(x)[o][t], summed over all t and j that fit
//
// The stride divides the kernel size; it is 1 if there is a dilation. The samples of the side with the
// higher rate are distributed to `stride` rows per channel, one per phase. Between these n rows and the
// rows of the other side, both operations are convolutions without stride, of K = kernel size / stride
// taps. A task is one item of the batch. It processes time in tiles that stay in the cache.

#include "conv_tiles.h"
#include "elu.h"

static void apply_elu(const Rows& rows, int64_t from, int64_t length) {
    for (int64_t i = 0; i < rows.count; ++i) elu_row(rows.row(i) + from, rows.row(i) + from, length);
}
static void add_to_row(float* x, float value, int64_t length) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t) x[t] += value;
}
static float sum_of(const float* x, int64_t length) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < length; ++t) sum += x[t];
    return sum;
}
// Loads rows of x [outputs, time] from step t0 on.
static void copy_in(const Tiling& s, const float* x, int64_t t0, const Rows& rows, int64_t from,
                    int64_t length) {
    for (int64_t o = 0; o < s.outputs; ++o)
        std::memcpy(rows.row(o) + from, x + o * s.time + t0, 4 * length);
}
static void copy_out(const Tiling& s, const Rows& rows, float* x, int64_t t0, int64_t length) {
    for (int64_t o = 0; o < s.outputs; ++o)
        std::memcpy(x + o * s.time + t0, rows.row(o), 4 * length);
}

template <int K>
static void forward(const Tiling& s, const Tensor& w, const float* x, const float* past,
                    const float* bias, bool activate, float* y) {
    const Weights<K> weights(s, w, false);
    const int64_t samples = s.time * s.phases, before = s.context * s.phases;
    at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
        Rows in(s, s.n), out(s, s.outputs);
        for (int64_t b = begin; b < end; ++b) {
            s.deal_out(past + b * s.channels * before, before, in.first, s.context);
            for (int64_t t0 = 0; t0 < s.time; t0 += s.tile) {
                const int64_t length = std::min(s.tile, s.time - t0);
                s.deal_out(x + b * s.channels * samples + t0 * s.phases, samples,
                           in.first + s.context, length);
                if (activate) apply_elu(in, s.context, length);
                weights.run(in, bias, out, whole(length));
                copy_out(s, out, y + b * s.outputs * s.time, t0, length);
                in.keep(length);
            }
        }
    });
}

// dx may be null. The weight gradients of all items of a thread are stored at its first item; the other
// items stay zero. Sums of dy are [batch, outputs].
template <int K>
static void backward(const Tiling& s, const Tensor& w, const float* dy, const float* x,
                     const float* past, bool activate, float* dx, float* d_past, float* dw,
                     float* d_bias) {
    const Weights<K> transposed(s, w, true);
    const int64_t samples = s.time * s.phases, before = s.context * s.phases;
    at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
        Rows in(s, s.n), d_in(s, s.n), d(s, s.outputs);  // d: dy with `context` steps before it
        Gradients<K> gradients(s);
        for (int64_t b = begin; b < end; ++b) {
            d.fill(0, s.context);
            std::fill(d_bias + b * s.outputs, d_bias + (b + 1) * s.outputs, 0.0f);
            s.deal_out(past + b * s.channels * before, before, in.first, s.context);
            // The steps of [past, x]: `context` steps more than y, for which dy is zero.
            for (int64_t t0 = 0; t0 < s.time + s.context; t0 += s.tile) {
                const int64_t steps = std::min(s.tile, s.time + s.context - t0);
                const int64_t length = std::max<int64_t>(0, std::min(s.tile, s.time - t0));
                copy_in(s, dy + b * s.outputs * s.time, t0, d, s.context, length);
                d.fill(s.context + length, s.context + s.padded(steps));
                for (int64_t o = 0; o < s.outputs; ++o)
                    d_bias[b * s.outputs + o] += sum_of(d.row(o) + s.context, length);
                s.deal_out(x + b * s.channels * samples + t0 * s.phases, samples,
                           in.first + s.context, length);
                if (activate) apply_elu(in, s.context, length);
                gradients.add(d, s.context, in, s.padded(length));
                if (dx) {
                    transposed.run(d, nullptr, d_in, whole(steps));
                    const int64_t of_past = std::max<int64_t>(0, std::min(steps, s.context - t0));
                    for (int64_t i = 0; activate && i < s.n; ++i)
                        multiply_by_slope(d_in.row(i) + of_past, in.row(i) + of_past, steps - of_past);
                    s.gather_in(d_in.first, d_past + b * s.channels * before + t0 * s.phases, before,
                                of_past);
                    s.gather_in(d_in.first + of_past,
                                dx + b * s.channels * samples + (t0 + of_past - s.context) * s.phases,
                                samples, steps - of_past);
                }
                in.keep(steps);
                d.keep(steps);
            }
        }
        gradients.finish(dw + begin * s.outputs * s.n * K);
    });
}

// `after` [batch, channels, context * phases] receives the output samples after y [batch, channels,
// time * phases] to which later inputs contribute, without bias.
template <int K>
static void forward_transposed(const Tiling& s, const Tensor& w, const float* x, const float* bias,
                               bool activate, float* y, float* after) {
    const Weights<K> transposed(s, w, true);
    const int64_t samples = s.time * s.phases, overlap = s.context * s.phases;
    at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
        Rows in(s, s.outputs), out(s, s.n);
        for (int64_t b = begin; b < end; ++b) {
            in.fill(0, s.context);
            for (int64_t t0 = 0; t0 < s.time + s.context; t0 += s.tile) {
                const int64_t steps = std::min(s.tile, s.time + s.context - t0);
                const int64_t length = std::max<int64_t>(0, std::min(s.tile, s.time - t0));
                copy_in(s, x + b * s.outputs * s.time, t0, in, s.context, length);
                if (activate) apply_elu(in, s.context, length);
                in.fill(s.context + length, s.context + steps);
                transposed.run(in, nullptr, out, whole(steps));
                for (int64_t i = 0; i < s.n; ++i) add_to_row(out.row(i), bias[i / s.phases], length);
                s.gather_in(out.first, y + b * s.channels * samples + t0 * s.phases, samples, length);
                s.gather_in(out.first + length,
                            after + b * s.channels * overlap + (t0 + length - s.time) * s.phases,
                            overlap, steps - length);
                in.keep(steps);
            }
        }
    });
}

template <int K>
static void backward_transposed(const Tiling& s, const Tensor& w, const float* dy,
                                const float* d_after, const float* x, bool activate, float* dx,
                                float* dw) {
    const Weights<K> weights(s, w, false);
    const int64_t samples = s.time * s.phases, overlap = s.context * s.phases;
    at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
        Rows in(s, s.outputs), d_in(s, s.outputs), d(s, s.n);
        Gradients<K> gradients(s);
        for (int64_t b = begin; b < end; ++b) {
            // Loads steps [from, from + length) of the gradients of y, followed by the gradients of
            // `after`.
            const auto deal_out = [&](int64_t from, float* rows, int64_t length) {
                const int64_t of_y = std::max<int64_t>(0, std::min(length, s.time - from));
                s.deal_out(dy + b * s.channels * samples + from * s.phases, samples, rows, of_y);
                s.deal_out(d_after + b * s.channels * overlap + (from + of_y - s.time) * s.phases,
                           overlap, rows + of_y, length - of_y);
            };
            deal_out(0, d.first, s.context);
            for (int64_t t0 = 0; t0 < s.time; t0 += s.tile) {
                const int64_t length = std::min(s.tile, s.time - t0);
                copy_in(s, x + b * s.outputs * s.time, t0, in, 0, length);
                if (activate) apply_elu(in, 0, length);
                in.fill(length, s.padded(length));
                deal_out(t0 + s.context, d.first + s.context, length);
                gradients.add(in, 0, d, s.padded(length));
                weights.run(d, nullptr, d_in, whole(length));
                for (int64_t i = 0; activate && i < s.outputs; ++i)
                    multiply_by_slope(d_in.row(i), in.row(i), length);
                copy_out(s, d_in, dx + b * s.outputs * s.time, t0, length);
                d.keep(length);
            }
        }
        gradients.finish(dw + begin * s.outputs * s.n * K);
    });
}

template <class F>
static void with_taps(const Tiling& s, F f) {
    switch (s.taps) {
        case 1: return f(std::integral_constant<int, 1>());
        case 2: return f(std::integral_constant<int, 2>());
        case 3: return f(std::integral_constant<int, 3>());
        case 5: return f(std::integral_constant<int, 5>());
        case 7: return f(std::integral_constant<int, 7>());
        case 21: return f(std::integral_constant<int, 21>());
        default: TORCH_CHECK(false, "no convolution of ", s.taps, " taps");
    }
}

Tensor causal_conv(const Tensor& x, const Tensor& past, const Tensor& w, const Tensor& bias,
                   int64_t stride, int64_t dilation, bool activate, bool bf16) {
    const Tiling s(x.size(0), x.size(2) / stride, w, stride, dilation, bf16);
    Tensor y = at::empty({s.batch, s.outputs, s.time});
    with_taps(s, [&](auto K) {
        forward<decltype(K)::value>(s, w, data(x), data(past), data(bias), activate, writable(y));
    });
    return y;
}

std::vector<Tensor> causal_conv_backward(const Tensor& dy, const Tensor& x, const Tensor& past,
                                         const Tensor& w, int64_t stride, int64_t dilation,
                                         bool activate, bool bf16, bool wants_x) {
    const Tiling s(x.size(0), x.size(2) / stride, w, stride, dilation, bf16);
    Tensor dx = wants_x ? at::empty_like(x) : Tensor(), d_past = at::empty_like(past);
    Tensor dw = s.weight_gradients();
    Tensor d_bias = at::empty({s.batch, s.outputs});
    with_taps(s, [&](auto K) {
        backward<decltype(K)::value>(s, w, data(dy), data(x), data(past), activate,
                                     wants_x ? writable(dx) : nullptr, writable(d_past),
                                     writable(dw), writable(d_bias));
    });
    return {dx, wants_x ? d_past : Tensor(), dw.sum(0), d_bias.sum(0)};
}

// Returns y and the samples after it, to which later inputs contribute.
std::vector<Tensor> transposed_conv(const Tensor& x, const Tensor& w, const Tensor& bias,
                                    int64_t stride, bool activate, bool bf16) {
    const Tiling s(x.size(0), x.size(2), w, stride, 1, bf16);
    Tensor y = at::empty({s.batch, s.channels, s.time * stride});
    Tensor after = at::empty({s.batch, s.channels, s.context * stride});
    with_taps(s, [&](auto K) {
        forward_transposed<decltype(K)::value>(s, w, data(x), data(bias), activate, writable(y),
                                               writable(after));
    });
    return {y, after};
}

// Returns the gradients of x, w and the bias.
std::vector<Tensor> transposed_conv_backward(const Tensor& dy, const Tensor& d_after, const Tensor& x,
                                             const Tensor& w, int64_t stride, bool activate,
                                             bool bf16) {
    const Tiling s(x.size(0), x.size(2), w, stride, 1, bf16);
    Tensor dx = at::empty_like(x), dw = s.weight_gradients();
    with_taps(s, [&](auto K) {
        backward_transposed<decltype(K)::value>(s, w, data(dy), data(d_after), data(x), activate,
                                                writable(dx), writable(dw));
    });
    return {dx, dw.sum(0), dy.sum(at::IntArrayRef({0, 2}))};
}
