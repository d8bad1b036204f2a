// The recurrence of an LSTM, forward and backward. `lstm.py` computes products of the inputs and weight
// gradients, which need no recurrence.
//
//   i, f, o = sigmoid(u_i), sigmoid(u_f), sigmoid(u_o)     u = a + weight h + bias; a: from the inputs
//   g = tanh(u_g)
//   c = f c_before + i g
//   h = o tanh(c)

#include "recurrence.h"

// a [batch, time, 4 hidden]: products of the inputs, without bias, in the order i, f, g, o; hidden and
// cell [batch, hidden]. Returns the states and the cells [batch, time + 1, hidden], starting with the
// given ones, and i, f, g, o of each step.
std::vector<Tensor> lstm(const Tensor& a, const Tensor& hidden, const Tensor& cell, const Tensor& w,
                         const Tensor& bias) {
    const int64_t batch = a.size(0), time = a.size(1), H = w.size(1);
    const Packed packed(w.t(), batch);
    Tensor states = at::empty({batch, time + 1, H}), cells = at::empty({batch, time + 1, H});
    Tensor gates = at::empty({batch, time, 4 * H}), product = at::empty({batch, packed.stride()});
    states.select(1, 0).copy_(hidden);
    cells.select(1, 0).copy_(cell);
    const float *of_input = data(a), *offset = data(bias), *u = data(product);
    float *h = writable(states), *c = writable(cells), *gate = writable(gates);
    for (int64_t t = 0; t < time; ++t) {
        multiply(packed, batch, h + t * H, (time + 1) * H, writable(product));
        for (int64_t b = 0; b < batch; ++b) {
            const float *ab = of_input + (b * time + t) * 4 * H, *ub = u + b * packed.stride();
            float* ib = gate + (b * time + t) * 4 * H;
            float *fb = ib + H, *gb = fb + H, *ob = gb + H;
            const float* before = c + (b * (time + 1) + t) * H;
            float *after = c + (b * (time + 1) + t + 1) * H, *y = h + (b * (time + 1) + t + 1) * H;
#pragma omp simd
            for (int64_t k = 0; k < H; ++k) {
                ib[k] = sigmoid(ab[k] + ub[k] + offset[k]);
                fb[k] = sigmoid(ab[H + k] + ub[H + k] + offset[H + k]);
                gb[k] = tangent(ab[2 * H + k] + ub[2 * H + k] + offset[2 * H + k]);
                ob[k] = sigmoid(ab[3 * H + k] + ub[3 * H + k] + offset[3 * H + k]);
                after[k] = fb[k] * before[k] + ib[k] * gb[k];
                y[k] = ob[k] * tangent(after[k]);
            }
        }
    }
    return {states, cells, gates};
}

// dy [batch, time, hidden] and the gradients of the last state and the last cell. Returns the gradients
// of u [batch, time, 4 hidden], of the first state and of the first cell.
std::vector<Tensor> lstm_backward(const Tensor& dy, const Tensor& d_last, const Tensor& d_last_cell,
                                  const Tensor& cells, const Tensor& gates, const Tensor& w) {
    const int64_t batch = dy.size(0), time = dy.size(1), H = w.size(1);
    const Packed packed(w, batch);
    Tensor du = at::empty({batch, time, 4 * H}), d_cell = d_last_cell.clone();
    Tensor product = at::constant_pad_nd(d_last, {0, packed.stride() - H});
    const float *d = data(dy), *c = data(cells), *gate = data(gates), *through = data(product);
    float *out = writable(du), *carry = writable(d_cell);
    for (int64_t t = time - 1; t >= 0; --t) {
        for (int64_t b = 0; b < batch; ++b) {
            const float* ib = gate + (b * time + t) * 4 * H;
            const float *fb = ib + H, *gb = fb + H, *ob = gb + H, *db = d + (b * time + t) * H;
            const float *before = c + (b * (time + 1) + t) * H, *after = before + H;
            const float* tb = through + b * packed.stride();
            float *of_i = out + (b * time + t) * 4 * H, *of_f = of_i + H, *of_g = of_f + H;
            float *of_o = of_g + H, *dc = carry + b * H;
#pragma omp simd
            for (int64_t k = 0; k < H; ++k) {
                const float dh = db[k] + tb[k], y = tangent(after[k]);
                const float whole = dc[k] + dh * ob[k] * (1 - y * y);
                of_i[k] = whole * gb[k] * ib[k] * (1 - ib[k]);
                of_f[k] = whole * before[k] * fb[k] * (1 - fb[k]);
                of_g[k] = whole * ib[k] * (1 - gb[k] * gb[k]);
                of_o[k] = dh * y * ob[k] * (1 - ob[k]);
                dc[k] = whole * fb[k];
            }
        }
        multiply(packed, batch, out + t * 4 * H, time * 4 * H, writable(product));
    }
    return {du, product.narrow(1, 0, H).contiguous(), d_cell};
}
