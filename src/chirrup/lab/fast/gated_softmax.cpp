// softmax(scores + gates * bias + mask) over the keys of an attention, and its gradients.

#include "elements.h"

// scores [batch, heads, queries, keys], float or bfloat16; bias [heads, queries, keys];
// gates [batch, heads, queries]; mask [batch, queries, keys]. The result has the type of the scores.
Tensor gated_softmax(const Tensor& scores, const Tensor& bias, const Tensor& gates, const Tensor& mask) {
    const int64_t heads = scores.size(1), queries = scores.size(2), keys = scores.size(3);
    Tensor result = at::empty_like(scores);
    with_type(scores, [&](auto type) {
        using S = decltype(type);
        at::parallel_for(0, scores.size(0) * heads * queries, 16, [&](int64_t begin, int64_t end) {
            std::vector<float> line(keys);
            float* __restrict z = line.data();
            for (int64_t r = begin; r < end; ++r) {
                const int64_t q = r % queries, batch = r / queries / heads;
                const S* __restrict s = in<S>(scores) + r * keys;
                const float* __restrict b = data(bias) + r % (heads * queries) * keys;
                const float* __restrict m = data(mask) + (batch * queries + q) * keys;
                const float gate = data(gates)[r];
                float largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
                for (int64_t k = 0; k < keys; ++k) {
                    z[k] = wide(s[k]) + gate * b[k] + m[k];
                    largest = std::max(largest, z[k]);
                }
#pragma omp simd reduction(+ : sum)
                for (int64_t k = 0; k < keys; ++k) {
                    z[k] = z[k] == -INFINITY ? 0 : exponential(z[k] - largest);
                    sum += z[k];
                }
                S* __restrict to = out<S>(result) + r * keys;
#pragma omp simd
                for (int64_t k = 0; k < keys; ++k) narrow(z[k] / sum, to[k]);
            }
        });
    });
    return result;
}

// Returns the gradients of scores, bias and gates.
std::vector<Tensor> gated_softmax_backward(const Tensor& dy, const Tensor& y, const Tensor& bias,
                                           const Tensor& gates) {
    const int64_t rows = y.size(1) * y.size(2), keys = y.size(3), batch = y.size(0);
    Tensor d_scores = at::empty_like(y), d_bias = at::zeros_like(bias), d_gates = at::empty_like(gates);
    with_type(y, [&](auto type) {
        using S = decltype(type);
        at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; ++r)
                for (int64_t b = 0; b < batch; ++b) {
                    const int64_t row = b * rows + r;
                    const S *__restrict p = in<S>(y) + row * keys, *__restrict d = in<S>(dy) + row * keys;
                    const float* __restrict own = data(bias) + r * keys;
                    float* __restrict sums = writable(d_bias) + r * keys;
                    S* __restrict to = out<S>(d_scores) + row * keys;
                    const float gate = data(gates)[row];
                    float mean = 0, d_gate = 0;
#pragma omp simd reduction(+ : mean)
                    for (int64_t k = 0; k < keys; ++k) mean += wide(p[k]) * wide(d[k]);
#pragma omp simd reduction(+ : d_gate)
                    for (int64_t k = 0; k < keys; ++k) {
                        const float ds = wide(p[k]) * (wide(d[k]) - mean);
                        d_gate += ds * own[k];
                        sums[k] += ds * gate;
                        narrow(ds, to[k]);
                    }
                    writable(d_gates)[row] = d_gate;
                }
        });
    });
    return {d_scores, d_bias, d_gates};
}
