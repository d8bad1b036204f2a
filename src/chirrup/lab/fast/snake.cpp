// Snake, y = x + height sin^2(alpha x), and its gradients, each in one pass over memory.

#include "fast.h"

Tensor snake(const Tensor& x, const Tensor& alpha, const Tensor& height) {
    const int64_t rows = x.size(0) * x.size(1), channels = x.size(1), time = x.size(2);
    Tensor y = at::empty_like(x);
    const float *from = data(x), *a = data(alpha), *r = data(height);
    float* to = writable(y);
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row)
            snake_row(from + row * time, to + row * time, time, a[row % channels], r[row % channels]);
    });
    return y;
}

// Returns the gradients of x, alpha and height.
std::vector<Tensor> snake_backward(const Tensor& dy, const Tensor& x, const Tensor& alpha,
                                   const Tensor& height) {
    const int64_t rows = x.size(0) * x.size(1), channels = x.size(1), time = x.size(2);
    Tensor dx = at::empty_like(x), sums = at::empty({2, x.size(0), channels});
    const float *gradient = data(dy), *value = data(x), *a = data(alpha), *r = data(height);
    float *to = writable(dx), *sum = writable(sums);
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const float rate = a[row % channels], slope = r[row % channels] * rate;
            const float *d = gradient + row * time, *v = value + row * time;
            float* out = to + row * time;
            float d_alpha = 0, d_height = 0;
#pragma omp simd reduction(+ : d_alpha, d_height)
            for (int64_t t = 0; t < time; ++t) {
                const Sine sin = sine(rate * v[t]);
                const float part = d[t] * sin.doubled;
                out[t] = d[t] + slope * part;
                d_alpha += part * v[t];
                d_height += d[t] * sin.squared;
            }
            sum[row] = r[row % channels] * d_alpha;
            sum[rows + row] = d_height;
        }
    });
    const Tensor totals = sums.sum(1);
    return {dx, totals[0], totals[1]};
}
