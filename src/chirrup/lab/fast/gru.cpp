// The recurrence of a GRU, forward and backward. `gru.py` computes products of the inputs and weight
// gradients, which need no recurrence.
//
//   r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)       a: products of the inputs, with bias
//   n = tanh(a_n + r u_n)                               u = weight h + bias
//   h = n + z (h_before - n)

#include "recurrence.h"

// a [batch, time, 3 hidden]: products of the inputs, without bias; hidden [batch, hidden]. Returns the
// states [batch, time + 1, hidden], starting with `hidden`, and r, z, n, u_n of each frame.
std::vector<Tensor> gru(const Tensor& a, const Tensor& hidden, const Tensor& w,
                        const Tensor& input_bias, const Tensor& bias) {
    const int64_t batch = a.size(0), time = a.size(1), H = w.size(1);
    const Packed packed(w.t(), batch);
    Tensor states = at::empty({batch, time + 1, H}), gates = at::empty({batch, time, 4, H});
    states.select(1, 0).copy_(hidden);
    Tensor product = at::empty({batch, packed.stride()});
    const float *of_input = data(a), *ba = data(input_bias), *bu = data(bias), *u = data(product);
    float *h = writable(states), *gate = writable(gates);
    for (int64_t t = 0; t < time; ++t) {
        multiply(packed, batch, h + t * H, (time + 1) * H, writable(product));
        for (int64_t b = 0; b < batch; ++b) {
            const float *ab = of_input + (b * time + t) * 3 * H, *ub = u + b * packed.stride();
            const float* before = h + (b * (time + 1) + t) * H;
            float *after = h + (b * (time + 1) + t + 1) * H, *g = gate + (b * time + t) * 4 * H;
#pragma omp simd
            for (int64_t i = 0; i < H; ++i) {
                const float r = sigmoid(ab[i] + ba[i] + ub[i] + bu[i]);
                const float z = sigmoid(ab[H + i] + ba[H + i] + ub[H + i] + bu[H + i]);
                const float un = ub[2 * H + i] + bu[2 * H + i];
                const float n = tangent(ab[2 * H + i] + ba[2 * H + i] + r * un);
                g[i] = r;
                g[H + i] = z;
                g[2 * H + i] = n;
                g[3 * H + i] = un;
                after[i] = n + z * (before[i] - n);
            }
        }
    }
    return {states, gates};
}

// dy [batch, time, hidden] and the gradient of the last state. Returns the gradients of a and u,
// [batch, time, 3 hidden], and of the first state.
std::vector<Tensor> gru_backward(const Tensor& dy, const Tensor& d_last, const Tensor& states,
                                 const Tensor& gates, const Tensor& w) {
    const int64_t batch = dy.size(0), time = dy.size(1), H = w.size(1);
    const Packed packed(w, batch);
    Tensor da = at::empty({batch, time, 3 * H}), du = at::empty({batch, time, 3 * H});
    Tensor carried = d_last.clone(), product = at::zeros({batch, packed.stride()});
    const float *d = data(dy), *h = data(states), *gate = data(gates), *through = data(product);
    float *a = writable(da), *u = writable(du);
    float* carry = writable(carried);
    for (int64_t t = time - 1; t >= 0; --t) {
        for (int64_t b = 0; b < batch; ++b) {
            const float* g = gate + (b * time + t) * 4 * H;
            const float *before = h + (b * (time + 1) + t) * H, *db = d + (b * time + t) * H;
            const float* tb = through + b * packed.stride();
            float *ab = a + (b * time + t) * 3 * H, *ub = u + (b * time + t) * 3 * H;
            float* c = carry + b * H;
#pragma omp simd
            for (int64_t i = 0; i < H; ++i) {
                const float r = g[i], z = g[H + i], n = g[2 * H + i], un = g[3 * H + i];
                const float dh = db[i] + c[i] + tb[i];
                const float dn = dh * (1 - z) * (1 - n * n);
                const float dr = dn * un * r * (1 - r), dz = dh * (before[i] - n) * z * (1 - z);
                ab[i] = ub[i] = dr;
                ab[H + i] = ub[H + i] = dz;
                ab[2 * H + i] = dn;
                ub[2 * H + i] = dn * r;
                c[i] = dh * z;
            }
        }
        multiply(packed, batch, u + t * 3 * H, time * 3 * H, writable(product));
    }
    return {da, du, carried + product.narrow(1, 0, H)};
}
