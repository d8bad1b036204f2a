// A transformer layer whose weights have no gradient, as a teacher has it.

#include "gelu.h"
#include "rows.h"

// The order of a layer's weights. The matrices and the biases added to their products are float or
// bfloat16. The gains and biases of the norms are float.
enum { GAIN_1, BIAS_1, W_IN, B_IN, W_OUT, B_OUT, GAIN_2, BIAS_2, W_EXPAND, B_EXPAND, W_CONTRACT, B_CONTRACT };

// sum = x + y; result = norm(sum), in the type of the products. Without y, result = norm(x).
template <class S>
static void added_and_normalised(Norm& norm, const float* x, const S* y, float* sum, S* result,
                                 int64_t rows, float eps) {
    const int64_t C = norm.C;
    at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
        std::vector<float> line(C);
        float* __restrict z = line.data();
        for (int64_t r = begin; r < end; ++r) {
            const float* from = x + r * C;
            if (y) {
                float* __restrict to = sum + r * C;
#pragma omp simd
                for (int64_t i = 0; i < C; ++i) to[i] = from[i] + wide(y[r * C + i]);
                from = to;
            }
            norm.apply(r, from, z, eps);
#pragma omp simd
            for (int64_t i = 0; i < C; ++i) narrow(z[i], result[r * C + i]);
        }
    });
}

// d = skip + the gradient of the norm's input x, where dy is the gradient of its output. d_factor
// is d in the type of the products.
template <class S>
static void norm_backward(const Norm& norm, const float* x, const S* dy, const float* skip, float* d,
                          S* d_factor, int64_t rows) {
    const int64_t C = norm.C;
    const float* __restrict gain = norm.g;
    at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const float mean = norm.moments[2 * r], rate = norm.moments[2 * r + 1];
            const float *__restrict row = x + r * C, *__restrict past = skip + r * C;
            const S* __restrict own = dy + r * C;
            float* __restrict to = d + r * C;
            S* __restrict factor = d_factor + r * C;
            float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
            for (int64_t i = 0; i < C; ++i) {
                const float slope = wide(own[i]) * gain[i];
                sum += slope;
                product += slope * (row[i] - mean) * rate;
            }
            sum /= C;
            product /= C;
#pragma omp simd
            for (int64_t i = 0; i < C; ++i) {
                const float unit = (row[i] - mean) * rate;
                to[i] = past[i] + rate * (wide(own[i]) * gain[i] - sum - unit * product);
                narrow(to[i], factor[i]);
            }
        }
    });
}

// softmax(scale * z) of rows, in place.
template <class S>
static void softmax(S* values, int64_t rows, int64_t keys, float scale) {
    at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
        std::vector<float> line(keys);
        float* __restrict z = line.data();
        for (int64_t r = begin; r < end; ++r) {
            S* __restrict row = values + r * keys;
            float largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
            for (int64_t k = 0; k < keys; ++k) {
                z[k] = scale * wide(row[k]);
                largest = std::max(largest, z[k]);
            }
#pragma omp simd reduction(+ : sum)
            for (int64_t k = 0; k < keys; ++k) {
                z[k] = exponential(z[k] - largest);
                sum += z[k];
            }
            const float share = 1 / sum;
#pragma omp simd
            for (int64_t k = 0; k < keys; ++k) narrow(z[k] * share, row[k]);
        }
    });
}

// Replaces the gradient of p = softmax(scale * z) by the gradient of z.
template <class S>
static void softmax_backward(const S* weights, S* gradient, int64_t rows, int64_t keys, float scale) {
    at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const S* __restrict p = weights + r * keys;
            S* __restrict d = gradient + r * keys;
            float mean = 0;
#pragma omp simd reduction(+ : mean)
            for (int64_t k = 0; k < keys; ++k) mean += wide(p[k]) * wide(d[k]);
#pragma omp simd
            for (int64_t k = 0; k < keys; ++k) narrow(scale * wide(p[k]) * (wide(d[k]) - mean), d[k]);
        }
    });
}

// x is [batch, frames, channels]. Returns the output and, if a gradient is wanted, the tensors that
// the backward needs.
std::vector<Tensor> frozen_layer(const Tensor& x, const std::vector<Tensor>& w, int64_t heads,
                                 double eps, bool wants_gradient) {
    const int64_t B = x.size(0), T = x.size(1), C = x.size(2), rows = B * T, d = C / heads;
    const auto kind = w[W_IN].options();
    const float scale = 1 / std::sqrt(float(d));
    Norm first(rows, w[GAIN_1], w[BIAS_1]), second(rows, w[GAIN_2], w[BIAS_2]);
    Tensor normed = at::empty({rows, C}, kind), middle = at::empty({rows, C}), y = at::empty_like(x);
    Tensor parts, weights, slope;
    with_type(w[W_IN], [&](auto type) {
        using S = decltype(type);
        added_and_normalised<S>(first, data(x), nullptr, nullptr, out<S>(normed), rows, eps);
        parts = at::addmm(w[B_IN], normed, w[W_IN].t()).view({B, T, 3, heads, d});
        parts = parts.permute({2, 0, 3, 1, 4}).contiguous().view({3, B * heads, T, d});
        weights = at::bmm(parts[0], parts[1].transpose(1, 2));
        softmax(out<S>(weights), B * heads * T, T, scale);
        Tensor attended = at::bmm(weights, parts[2]).view({B, heads, T, d}).transpose(1, 2);
        attended = at::addmm(w[B_OUT], attended.reshape({rows, C}), w[W_OUT].t());
        added_and_normalised(second, data(x), in<S>(attended), writable(middle), out<S>(normed), rows, eps);
        Tensor hidden = at::addmm(w[B_EXPAND], normed, w[W_EXPAND].t());
        if (wants_gradient) slope = at::empty_like(hidden);
        at::parallel_for(0, hidden.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
            S* h = out<S>(hidden) + begin;
            gelu_row(h, h, wants_gradient ? out<S>(slope) + begin : nullptr, end - begin);
        });
        const Tensor last = at::addmm(w[B_CONTRACT], hidden, w[W_CONTRACT].t());
        const float* __restrict a = data(middle);
        const S* __restrict b = in<S>(last);
        float* __restrict to = writable(y);
#pragma omp simd
        for (int64_t i = 0; i < rows * C; ++i) to[i] = a[i] + wide(b[i]);
    });
    if (!wants_gradient) return {y};
    const auto kept = [](const Norm& norm) { return at::tensor(norm.moments); };
    return {y, kept(first), parts, weights, middle, kept(second), slope};
}

// Returns the gradient of x. `saved` has the tensors that `frozen_layer` returned after the output.
Tensor frozen_layer_backward(const Tensor& dy, const Tensor& x, const std::vector<Tensor>& saved,
                             const std::vector<Tensor>& w, int64_t heads) {
    const int64_t B = x.size(0), T = x.size(1), C = x.size(2), rows = B * T, d = C / heads;
    const float scale = 1 / std::sqrt(float(d));
    const Tensor &parts = saved[1], &weights = saved[2], &middle = saved[3], &slope = saved[5];
    Norm first(0, w[GAIN_1], w[BIAS_1]), second(0, w[GAIN_2], w[BIAS_2]);
    first.moments.assign(data(saved[0]), data(saved[0]) + 2 * rows);
    second.moments.assign(data(saved[4]), data(saved[4]) + 2 * rows);
    Tensor dx = at::empty_like(x);
    with_type(w[W_IN], [&](auto type) {
        using S = decltype(type);
        Tensor factor = at::empty({rows, C}, w[W_IN].options()), d_middle = at::empty({rows, C});
        const float* __restrict from = data(dy);
        S* __restrict to = out<S>(factor);
#pragma omp simd
        for (int64_t i = 0; i < rows * C; ++i) narrow(from[i], to[i]);
        Tensor d_hidden = at::mm(factor, w[W_CONTRACT]);
        multiply_by_slope(in<S>(d_hidden), in<S>(slope), out<S>(d_hidden), d_hidden.numel());
        const Tensor d_second = at::mm(d_hidden, w[W_EXPAND]);
        norm_backward(second, data(middle), in<S>(d_second), from, writable(d_middle), out<S>(factor), rows);
        const Tensor d_attended = at::mm(factor, w[W_OUT]).view({B, T, heads, d}).transpose(1, 2)
                                      .reshape({B * heads, T, d});
        Tensor d_scores = at::bmm(d_attended, parts[2].transpose(1, 2)), d_parts = at::empty_like(parts);
        softmax_backward(in<S>(weights), out<S>(d_scores), B * heads * T, T, scale);
        d_parts[0].copy_(at::bmm(d_scores, parts[1]));
        d_parts[1].copy_(at::bmm(d_scores.transpose(1, 2), parts[0]));
        d_parts[2].copy_(at::bmm(weights.transpose(1, 2), d_attended));
        const Tensor d_rows = d_parts.view({3, B, heads, T, d}).permute({1, 3, 0, 2, 4}).reshape({rows, 3 * C});
        const Tensor d_first = at::mm(d_rows, w[W_IN]);
        norm_backward(first, data(x), in<S>(d_first), data(d_middle), writable(dx), out<S>(factor), rows);
    });
    return dx;
}
