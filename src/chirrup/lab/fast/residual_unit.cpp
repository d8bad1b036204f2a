// The residual unit of the IRIS encoder; forward and backward are one pass over memory each:
//
//   h = snake(x; alpha1, inverse_beta1)          snake(x; a, r) = x + r sin^2(a x)
//   u = bias1 + weight1 * [past, h]              kernel 5 or 7, dilated, grouped, causal
//   v = snake(u; alpha2, inverse_beta2)
//   y = x + bias2 + weight2 v                    kernel 1, grouped
//
// A task is one pair of batch item and group: n channels of x, m channels of u. It processes time in
// tiles whose intermediate values stay in the cache. The backward pass runs from the end to the start
// and recomputes h, u and v. Tile buffers are rows of time steps, one per channel, padded with zeros to
// whole vectors; rows are `stride` floats apart. K is the kernel size of weight1, P = (K - 1) *
// dilation the context.

#include "conv_rows.h"

struct Shape {
    int64_t batch, channels, hidden, time, groups, n, m, dilation, P, tile, stride;

    Shape(const Tensor& x, const Tensor& w1, int64_t dilation, int64_t groups)
        : batch(x.size(0)), channels(x.size(1)), hidden(w1.size(0)), time(x.size(2)),
          groups(groups), n(channels / groups), m(hidden / groups), dilation(dilation),
          P((w1.size(2) - 1) * dilation) {
        tile = std::max(whole(std::min<int64_t>(time, n <= 8 ? 1024 : 512)), whole(P));
        stride = tile + whole(P) + W;
        if (stride % 256 == 0) stride += W;  // avoids rows that map to the same cache sets
    }
};

template <int K>
static void forward_tasks(const Shape& s, const Tensor& w1, const Tensor& w2, const float* x,
                          const float* past, const float* alpha1, const float* height1,
                          const float* bias1, const float* alpha2, const float* height2,
                          const float* bias2, float* y, float* new_past) {
    const Tensor packed1 = pack(w1, s.groups, false), packed2 = pack(w2, s.groups, false);
    const float *p1 = data(packed1), *p2 = data(packed2);
    const int64_t n = s.n, m = s.m, P = s.P;
    at::parallel_for(0, s.batch * s.groups, 1, [&](int64_t begin, int64_t end) {
        Tensor buffers = at::zeros({n + m, s.stride});
        float *h = buffers.mutable_data_ptr<float>(), *u = h + n * s.stride;
        for (int64_t task = begin; task < end; ++task) {
            const int64_t g = task % s.groups, c0 = g * n, k0 = g * m, row0 = task * n;
            for (int64_t i = 0; i < n; ++i)
                std::memcpy(h + i * s.stride, past + (row0 + i) * P, 4 * P);
            for (int64_t t0 = 0; t0 < s.time; t0 += s.tile) {
                const int64_t length = std::min(s.tile, s.time - t0), padded = whole(length);
                for (int64_t i = 0; i < n; ++i)
                    snake_row(x + (row0 + i) * s.time + t0, h + i * s.stride + P, length,
                              alpha1[c0 + i], height1[c0 + i]);
                conv<K>(p1 + k0 * n * K, bias1 + k0, h, u, n, m, s.dilation, s.stride, padded);
                for (int64_t i = 0; i < n; ++i)
                    std::memmove(h + i * s.stride, h + i * s.stride + length, 4 * P);
                for (int64_t i = 0; i < m; ++i) {
                    float* v = u + i * s.stride;
                    snake_row(v, v, padded, alpha2[k0 + i], height2[k0 + i]);
                }
                // This tile's part of h is no longer needed; it receives the second convolution's
                // output.
                conv<1>(p2 + c0 * m, bias2 + c0, u, h + P, m, n, 1, s.stride, padded);
                for (int64_t i = 0; i < n; ++i) {
                    const int64_t at = (row0 + i) * s.time + t0;
                    const float *row = h + i * s.stride + P, *from = x + at;
                    float* to = y + at;
#pragma omp simd
                    for (int64_t t = 0; t < length; ++t) to[t] = from[t] + row[t];
                }
            }
            for (int64_t i = 0; i < n; ++i)
                std::memcpy(new_past + (row0 + i) * P, h + i * s.stride, 4 * P);
        }
    });
}

// Inputs: dy and d_new_past. Outputs: dx, d_past, weight gradients [batch, rows, inputs, K] and sums
// per channel: of x [batch, channels, 3] alpha1, height1, bias2; of u [batch, hidden, 3] alpha2,
// height2, bias1. d_new_past and d_past may be null.
template <int K>
static void backward_tasks(const Shape& s, const Tensor& w1, const Tensor& w2, const float* x,
                           const float* past, const float* alpha1, const float* height1,
                           const float* bias1, const float* alpha2, const float* height2,
                           const float* dy, const float* d_new_past, float* dx, float* d_past,
                           float* dw1, float* dw2, float* outer, float* inner) {
    const Tensor packed1 = pack(w1, s.groups, false), transposed1 = pack(w1, s.groups, true);
    const Tensor transposed2 = pack(w2, s.groups, true);
    const float *p1 = data(packed1), *q1 = data(transposed1), *q2 = data(transposed2);
    const int64_t n = s.n, m = s.m, P = s.P, rows = n * s.stride;
    using Gradient1 = WeightGradient<K>;
    using Gradient2 = WeightGradient<1>;
    at::parallel_for(0, s.batch * s.groups, 1, [&](int64_t begin, int64_t end) {
        Tensor buffers = at::zeros({5 * n + 2 * m, s.stride});
        float *h = buffers.mutable_data_ptr<float>(), *squared = h + rows, *doubled = squared + rows;
        float *e = doubled + rows, *dh0 = e + rows;                // e: dy
        float *v = dh0 + rows, *d = v + m * s.stride;              // v: u, v; d: dv, du
        Tensor partial1 = at::empty({m, Gradient1::columns(n, m), W});
        Tensor partial2 = at::empty({n, Gradient2::columns(m, n), W});
        float *sums1 = partial1.mutable_data_ptr<float>(), *sums2 = partial2.mutable_data_ptr<float>();
        for (int64_t task = begin; task < end; ++task) {
            const int64_t g = task % s.groups, c0 = g * n, k0 = g * m, row0 = task * n;
            partial1.zero_();
            partial2.zero_();
            std::fill(d, d + m * s.stride, 0.0f);
            for (int64_t t0 = (s.time - 1) / s.tile * s.tile; t0 >= 0; t0 -= s.tile) {
                const int64_t length = std::min(s.tile, s.time - t0), padded = whole(length);
                for (int64_t i = 0; i < n; ++i) {
                    const int64_t at = (row0 + i) * s.time + t0, from = i * s.stride;
                    const float alpha = alpha1[c0 + i], height = height1[c0 + i];
                    float *row = h + from + P, *sq = squared + from, *dbl = doubled + from;
                    const float* values = x + at;
                    const int64_t seen = std::min(P, t0);  // context from x; the rest comes from past
                    snake_row(x + at - seen, row - seen, seen, alpha, height);
                    std::memcpy(row - P, past + (row0 + i) * P + seen, 4 * (P - seen));
#pragma omp simd
                    for (int64_t t = 0; t < length; ++t) {
                        const Sine sin = sine(alpha * values[t]);
                        row[t] = values[t] + height * sin.squared;
                        sq[t] = sin.squared;
                        dbl[t] = sin.doubled;
                    }
                    std::fill(row + length, row + padded, 0.0f);
                    std::memcpy(e + from, dy + at, 4 * length);
                    std::fill(e + from + length, e + from + padded, 0.0f);
                }
                // The front of the later tile is the du after this tile. It moves behind this tile's
                // end.
                for (int64_t i = 0; i < m; ++i)
                    std::memmove(d + i * s.stride + padded, d + i * s.stride, 4 * P);
                conv<K>(p1 + k0 * n * K, bias1 + k0, h, v, n, m, s.dilation, s.stride, padded);
                conv<1>(q2 + k0 * n, nullptr, e, d, n, m, 1, s.stride, padded);  // dv
                for (int64_t i = 0; i < m; ++i) {
                    float *vi = v + i * s.stride, *di = d + i * s.stride;
                    const float alpha = alpha2[k0 + i], height = height2[k0 + i];
                    float d_alpha = 0, d_height = 0, d_bias = 0;
#pragma omp simd reduction(+ : d_alpha, d_height, d_bias)
                    for (int64_t t = 0; t < padded; ++t) {
                        const float u = vi[t], dv = di[t];
                        const Sine sin = sine(alpha * u);
                        vi[t] = u + height * sin.squared;
                        di[t] = dv + height * alpha * sin.doubled * dv;
                        d_alpha += dv * u * sin.doubled;
                        d_height += dv * sin.squared;
                        d_bias += di[t];
                    }
                    float* sum = inner + (task * m + i) * 3;
                    sum[0] += height * d_alpha;
                    sum[1] += d_height;
                    sum[2] += d_bias;
                }
                Gradient2::add(e, v, sums2, m, n, 1, s.stride, padded);
                Gradient1::add(d, h, sums1, n, m, s.dilation, s.stride, padded);
                // The transposed convolution: dh[t] depends on du at t, ..., t + P, hence the flipped
                // taps.
                conv<K>(q1 + c0 * m * K, nullptr, d, dh0, m, n, s.dilation, s.stride, padded);
                for (int64_t i = 0; i < n; ++i) {
                    const int64_t at = (row0 + i) * s.time + t0, from = i * s.stride;
                    // Local pointers: a pointer captured by the lambda would be reloaded for each
                    // vector.
                    const float *values = x + at, *dys = e + from, *sq = squared + from;
                    const float* dbl = doubled + from;
                    float *dh = dh0 + from, *to = dx + at;
                    if (d_new_past)
                        for (int64_t t = std::max<int64_t>(0, s.time - P - t0); t < length; ++t)
                            dh[t] += d_new_past[(row0 + i) * P + t0 + t - (s.time - P)];
                    const float slope = height1[c0 + i] * alpha1[c0 + i];
                    float d_alpha = 0, d_height = 0, d_bias = 0;
#pragma omp simd reduction(+ : d_alpha, d_height, d_bias)
                    for (int64_t t = 0; t < length; ++t) {
                        const float dhs = dh[t] * dbl[t];
                        to[t] = dys[t] + dh[t] + slope * dhs;
                        d_alpha += dhs * values[t];
                        d_height += dh[t] * sq[t];
                        d_bias += dys[t];
                    }
                    float* sum = outer + (row0 + i) * 3;
                    sum[0] += height1[c0 + i] * d_alpha;
                    sum[1] += d_height;
                    sum[2] += d_bias;
                }
            }
            Gradient1::reduce(sums1, dw1 + task * m * n * K, n, m);
            Gradient2::reduce(sums2, dw2 + task * n * m, m, n);
            if (!d_past) continue;
            const int64_t span = whole(P);  // one more tile, before the start, where du = 0
            for (int64_t i = 0; i < m; ++i) {
                float* row = d + i * s.stride;
                std::memmove(row + span, row, 4 * P);
                std::fill(row, row + span, 0.0f);
            }
            conv<K>(q1 + c0 * m * K, nullptr, d, dh0, m, n, s.dilation, s.stride, span);
            for (int64_t i = 0; i < n; ++i)
                for (int64_t t = 0; t < P; ++t) {
                    const float kept = d_new_past && t >= s.time
                        ? d_new_past[(row0 + i) * P + t - s.time] : 0.0f;
                    d_past[(row0 + i) * P + t] = dh0[i * s.stride + span - P + t] + kept;
                }
        }
    });
}

// Calls f with the kernel size as a compile-time constant.
template <class F>
static void with_kernel(const Tensor& w1, F f) {
    if (w1.size(2) == 7) f(std::integral_constant<int, 7>());
    else f(std::integral_constant<int, 5>());
}

std::vector<Tensor> residual_unit(
    const Tensor& x, const Tensor& past, const Tensor& alpha1, const Tensor& height1,
    const Tensor& w1, const Tensor& b1, const Tensor& alpha2, const Tensor& height2,
    const Tensor& w2, const Tensor& b2, int64_t dilation, int64_t groups) {
    const Shape s(x, w1, dilation, groups);
    Tensor y = at::empty_like(x), new_past = at::empty_like(past);
    with_kernel(w1, [&](auto K) {
        forward_tasks<decltype(K)::value>(
            s, w1, w2, data(x), data(past), data(alpha1), data(height1), data(b1), data(alpha2),
            data(height2), data(b2), y.mutable_data_ptr<float>(), new_past.mutable_data_ptr<float>());
    });
    return {y, new_past};
}

std::vector<Tensor> residual_unit_backward(
    const Tensor& dy, const std::optional<Tensor>& d_new_past, bool wants_past, const Tensor& x,
    const Tensor& past, const Tensor& alpha1, const Tensor& height1, const Tensor& w1,
    const Tensor& b1, const Tensor& alpha2, const Tensor& height2, const Tensor& w2,
    int64_t dilation, int64_t groups) {
    const Shape s(x, w1, dilation, groups);
    Tensor dx = at::empty_like(x), d_past = wants_past ? at::empty_like(past) : Tensor();
    Tensor dw1 = at::empty({s.batch, s.hidden, s.n, w1.size(2)});
    Tensor dw2 = at::empty({s.batch, s.channels, s.m, 1});
    Tensor outer = at::zeros({s.batch, s.channels, 3}), inner = at::zeros({s.batch, s.hidden, 3});
    with_kernel(w1, [&](auto K) {
        backward_tasks<decltype(K)::value>(
            s, w1, w2, data(x), data(past), data(alpha1), data(height1), data(b1), data(alpha2),
            data(height2), data(dy), d_new_past ? data(*d_new_past) : nullptr,
            dx.mutable_data_ptr<float>(), wants_past ? d_past.mutable_data_ptr<float>() : nullptr,
            dw1.mutable_data_ptr<float>(), dw2.mutable_data_ptr<float>(),
            outer.mutable_data_ptr<float>(), inner.mutable_data_ptr<float>());
    });
    const std::vector<Tensor> a = outer.sum(0).t().contiguous().unbind(0);
    const std::vector<Tensor> b = inner.sum(0).t().contiguous().unbind(0);
    return {dx, d_past, a[0], a[1], dw1.sum(0), b[2], b[0], b[1], dw2.sum(0), a[2]};
}
