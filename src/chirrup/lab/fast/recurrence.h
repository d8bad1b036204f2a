// The matrix product in each step of a recurrence: a few rows times a matrix that stays in the cache.

#pragma once

#include "fast.h"

// Number of rows of a batch multiplied at once, and number of output vectors; ROWS * outputs sums are
// kept in registers.
constexpr int SUMS = REGISTERS * 2 / 3, ROWS = SUMS / 2;

// The matrix [inputs, outputs] packed as [blocks of outputs, inputs, J * W], so that a step reads it
// sequentially, once for up to ROWS rows.
struct Packed {
    int64_t inputs, outputs, block;
    Tensor panels;

    Packed(const Tensor& w, int64_t batch) : inputs(w.size(0)), outputs(w.size(1)) {
        int64_t rows = 2;
        while (rows < std::min<int64_t>(batch, ROWS)) rows *= 2;
        block = SUMS / rows * W;
        const int64_t blocks = (outputs + block - 1) / block;
        Tensor whole = w.contiguous();
        if (blocks * block > outputs)
            whole = at::constant_pad_nd(whole, {0, blocks * block - outputs});
        panels = whole.view({inputs, blocks, block}).transpose(0, 1).contiguous();
    }

    int64_t stride() const { return panels.size(0) * block; }
};

// out[b] = in[b] w for B rows.
template <int B, int J>
static void multiply_block(const float* w, const float* in, int64_t inputs, int64_t in_stride,
                           float* out, int64_t out_stride) {
    Vec sum[B][J] = {};
    for (int64_t k = 0; k < inputs; ++k, w += J * W) {
        Vec row[J];
        for (int j = 0; j < J; ++j) row[j] = load(w + j * W);
        for (int b = 0; b < B; ++b)
            for (int j = 0; j < J; ++j) sum[b][j] += in[b * in_stride + k] * row[j];
    }
    for (int b = 0; b < B; ++b)
        for (int j = 0; j < J; ++j) store(out + b * out_stride + j * W, sum[b][j]);
}

template <int J, int B = SUMS / J>
static void multiply_rows(const Packed& w, int64_t rows, const float* in, int64_t in_stride,
                          float* out) {
    if constexpr (B > 0) {
        if (rows < B) return multiply_rows<J, B - 1>(w, rows, in, in_stride, out);
        const float* panel = data(w.panels);
        for (int64_t o = 0; o < w.stride(); o += J * W, panel += J * W * w.inputs)
            multiply_block<B, J>(panel, in, w.inputs, in_stride, out + o, w.stride());
    }
}

// out[b] = in[b] w for all rows; rows of `out` are w.stride() apart.
static void multiply(const Packed& w, int64_t batch, const float* in, int64_t in_stride, float* out) {
    const int64_t at_once = SUMS * W / w.block;
    for (int64_t b = 0; b < batch; b += at_once) {
        const int64_t rows = std::min(at_once, batch - b);
        const float* from = in + b * in_stride;
        float* to = out + b * w.stride();
        switch (at_once) {
            case 2: multiply_rows<SUMS / 2>(w, rows, from, in_stride, to); break;
            case 4: multiply_rows<SUMS / 4>(w, rows, from, in_stride, to); break;
            default: multiply_rows<SUMS / ROWS>(w, rows, from, in_stride, to);
        }
    }
}
