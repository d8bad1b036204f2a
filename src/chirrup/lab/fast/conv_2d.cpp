// Convolutions and transposed convolutions over spectrograms, with an optional ELU of their input.
//
// Grids are [batch, time, bins, channels], float or bfloat16. Weights, biases and their gradients are
// float. `nn/conv2d.py` defines past and overlap. `inner` is the ELU's output with the zero padding.

#include "grid_gradient.h"

// Copies x, or its ELU, to (row, column) in a grid of zeros; the caller fills the rows before `row`.
template <class S>
static Tensor surrounded(const Tensor& x, int64_t above, int64_t below, int64_t low, int64_t high, bool elu) {
    if (!above && !below && !low && !high && !elu) return x;
    const Grid<S> from(x);
    const int64_t C = from.channels;
    Tensor result = at::empty({from.batch, above + from.rows + below, low + from.columns + high, C}, x.options());
    const Grid<S> to(result);
    at::parallel_for(0, to.batch * to.rows, 4, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const int64_t b = r / to.rows, t = r % to.rows - above;
            S* row = to.at(b, t + above, 0);
            if (t < 0 || t >= from.rows) {
                std::fill_n(row, to.columns * C, S(0));
                continue;
            }
            std::fill_n(row, low * C, S(0));
            std::fill_n(row + (low + from.columns) * C, high * C, S(0));
            const S* __restrict source = from.at(b, t, 0);
            S* __restrict target = row + low * C;
            if (elu) {
#pragma omp simd
                for (int64_t i = 0; i < from.columns * C; ++i) {
                    const float value = wide(source[i]);
                    narrow(value > 0 ? value : exponential(value) - 1, target[i]);
                }
            } else {
                std::copy_n(source, from.columns * C, target);
            }
        }
    });
    return result;
}

// Returns sums over the positions of each phase, [phases, channels].
template <class S>
static Tensor phase_sums(const Grid<S>& d, int64_t rows, Stride phases) {
    Tensor result = at::zeros({phases.time * phases.bins, d.channels});
    std::vector<float> line(phases.bins * d.channels);
    const int64_t width = phases.bins * d.channels;
    for (int64_t b = 0; b < d.batch; ++b)
        for (int64_t t = 0; t < rows; ++t) {
            std::fill(line.begin(), line.end(), 0.0f);
            float* __restrict sum = line.data();
            const S* __restrict from = d.at(b, t, 0);
            for (int64_t f = 0; f < d.columns; f += phases.bins, from += width)
#pragma omp simd
                for (int64_t i = 0; i < width; ++i) sum[i] += wide(from[i]);
            float* to = writable(result) + t % phases.time * width;
            for (int64_t i = 0; i < width; ++i) to[i] += line[i];
        }
    return result;
}

// x [batch, time, bins, inputs], past [batch, steps, bins, inputs], w [outputs, inputs, kt, kf].
std::vector<Tensor> conv_2d(const Tensor& x, const Tensor& past, const Tensor& w, const Tensor& bias,
                            int64_t stride_time, int64_t stride_bins, int64_t low, int64_t high, bool elu) {
    const int64_t steps = past.size(1);
    Tensor inner, y = at::empty({x.size(0), x.size(1) / stride_time, x.size(2) / stride_bins, w.size(0)}, x.options());
    with_type(x, [&](auto type) {
        using S = decltype(type);
        inner = surrounded<S>(x, steps, 0, low, high, elu);
        if (steps) inner.narrow(1, 0, steps).narrow(2, low, x.size(2)).copy_(past);
        narrowed<S>(inner, w, data(bias), {stride_time, stride_bins}, nullptr, 0, 0, y);
    });
    return {y, inner};
}

// Returns the gradients of x, past, w and bias; `d_past` is the gradient of the new past, or undefined.
std::vector<Tensor> conv_2d_backward(const Tensor& dy, const std::optional<Tensor>& d_new_past,
                                     bool wants_x, const Tensor& inner, const Tensor& w,
                                     int64_t stride_time, int64_t stride_bins, int64_t steps,
                                     int64_t low, int64_t high, bool elu) {
    const Stride stride{stride_time, stride_bins};
    const int64_t bins = inner.size(2) - low - high;
    Tensor dx, d_past, dw, db;
    with_type(inner, [&](auto type) {
        using S = decltype(type);
        const int64_t pt = taps_of(w.size(2), stride.time, 0) - 1, pf = taps_of(w.size(3), stride.bins, 0) - 1;
        const Grid<S> coarse(surrounded<S>(dy, pt, pt, pf, pf, false)), fine(inner);
        dw = weight_gradient<S>(fine, coarse, pt, pf, dy.size(1), dy.size(2), stride, w.sizes());
        db = phase_sums<S>(dy, dy.size(1), {1, 1}).flatten();
        if (!wants_x) return;
        Tensor d = at::empty({inner.size(0), inner.size(1), bins, inner.size(3)}, inner.options());
        spread<S>(coarse, w, nullptr, 0, stride, low, elu ? &fine : nullptr, steps, low, d);
        dx = d.narrow(1, steps, d.size(1) - steps);
        d_past = d.narrow(1, 0, steps);
        if (d_new_past) {
            Tensor last = d.narrow(1, d.size(1) - steps, steps);
            Tensor slopes = at::ones_like(*d_new_past);
            const int64_t fresh = std::min(steps, dx.size(1));
            if (elu)
                slopes.narrow(1, steps - fresh, fresh)
                    .copy_(1 + inner.narrow(1, inner.size(1) - fresh, fresh).narrow(2, low, bins))
                    .clamp_max_(1);
            last.add_(*d_new_past * slopes);
        }
    });
    return {dx, d_past, dw, db};
}

// x [batch, time, bins, inputs], overlap [batch, steps, bins of the output, outputs],
// w [inputs, outputs, kt, kf], bias [phases or 1, outputs]. The last steps of the output are the next
// overlap.
std::vector<Tensor> conv_transposed_2d(const Tensor& x, const Tensor& overlap, const Tensor& w,
                                       const Tensor& bias, int64_t stride_time, int64_t stride_bins,
                                       int64_t low, bool elu) {
    const int64_t steps = overlap.size(1), whole = x.size(1) * stride_time;
    Tensor inner, y = at::empty({x.size(0), whole + steps, x.size(2) * stride_bins, w.size(1)}, x.options());
    const Tensor biases = bias.expand({stride_time * stride_bins, w.size(1)}).contiguous();
    with_type(x, [&](auto type) {
        using S = decltype(type);
        const int64_t pt = taps_of(w.size(2), stride_time, 0) - 1, pf = taps_of(w.size(3), stride_bins, 0) - 1;
        inner = surrounded<S>(x, pt, pt, pf, pf, elu);
        spread<S>(inner, w, data(biases), whole, {stride_time, stride_bins}, low, nullptr, 0, 0, y);
    });
    if (steps) y.narrow(1, 0, steps).add_(overlap);
    return {y, inner};
}

// Returns the gradients of x, overlap, w and bias from the gradient of the whole output.
std::vector<Tensor> conv_transposed_2d_backward(const Tensor& dy, const std::optional<Tensor>& d_overlap,
                                                bool wants_x, const Tensor& inner, const Tensor& w,
                                                int64_t stride_time, int64_t stride_bins, int64_t low,
                                                int64_t phases, bool elu) {
    const Stride stride{stride_time, stride_bins};
    const int64_t steps = w.size(2) - stride.time, high = w.size(3) - stride.bins - low;
    const int64_t pt = taps_of(w.size(2), stride.time, 0) - 1, pf = taps_of(w.size(3), stride.bins, 0) - 1;
    const int64_t time = inner.size(1) - 2 * pt, bins = inner.size(2) - 2 * pf;
    Tensor dx, d_first, dw, db;
    with_type(inner, [&](auto type) {
        using S = decltype(type);
        Tensor outer = surrounded<S>(dy, 0, steps, low, high, false);
        if (d_overlap) outer.narrow(1, dy.size(1), steps).narrow(2, low, dy.size(2)).copy_(*d_overlap);
        const Grid<S> fine(outer), coarse(inner);
        dw = weight_gradient<S>(fine, coarse, pt, pf, time, bins, stride, w.sizes());
        db = phase_sums<S>(dy, dy.size(1), phases > 1 ? stride : Stride{1, 1});
        d_first = outer.narrow(1, 0, steps).narrow(2, low, dy.size(2));
        if (!wants_x) return;
        dx = at::empty({inner.size(0), time, bins, inner.size(3)}, inner.options());
        narrowed<S>(fine, w, nullptr, stride, elu ? &coarse : nullptr, pt, pf, dx);
    });
    return {dx, d_first, dw, db};
}
