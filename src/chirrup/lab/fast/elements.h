// Elements of discriminator features, bfloat16 or float32 with float32 sums, and the leaky ReLU.

#pragma once

#include "fast.h"

#include <torch/csrc/autograd/custom_function.h>

// The autograd functions are in C++ because only there a pass knows which gradients it needs: training
// a discriminator needs the weight gradients, training the model needs the input gradients.
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// A bfloat16 value is the upper half of a float32 value.
static inline float wide(uint16_t x) {
    const uint32_t bits = uint32_t(x) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
static inline float wide(float x) { return x; }
static inline void narrow(float x, float& y) { y = x; }
static inline void narrow(float x, uint16_t& y) {  // rounds to nearest even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    y = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Calls f with the element type of a tensor: float, or uint16_t for the bits of bfloat16.
template <class F>
static void with_type(const Tensor& x, F f) {
    TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "float32 or bfloat16");
    if (x.scalar_type() == at::kFloat) f(float());
    else f(uint16_t());
}
template <class S>
static const S* in(const Tensor& x) { return static_cast<const S*>(x.const_data_ptr()); }
template <class S>
static S* out(Tensor& x) { return static_cast<S*>(x.mutable_data_ptr()); }

// Applies the leaky ReLU to z + bias, in place: [rows, channels].
template <class S>
static void rectify(S* __restrict z, const float* __restrict bias, int64_t rows, int64_t channels,
                    float slope) {
    for (int64_t r = 0; r < rows; ++r, z += channels)
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            const float sum = wide(z[c]) + bias[c];
            narrow(sum > 0 ? sum : slope * sum, z[c]);
        }
}

// Its backward pass: dz = dy if y > 0, else slope * dy. Adds the sums over rows to `sums`; partial sums
// over some rows come first, for precision.
template <class S, class D>
static void rectify_backward(const S* __restrict dy, const S* __restrict y, D* __restrict dz,
                             float* __restrict sums, int64_t rows, int64_t channels, float slope) {
    std::vector<float> some(channels);
    float* __restrict part = some.data();
    for (int64_t r0 = 0; r0 < rows; r0 += 128) {
        std::fill(some.begin(), some.end(), 0.0f);
        for (int64_t r = r0; r < std::min(rows, r0 + 128); ++r, dy += channels, y += channels, dz += channels)
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) {
                const float d = wide(dy[c]) * (wide(y[c]) > 0 ? 1.0f : slope);
                part[c] += d;
                narrow(d, dz[c]);
            }
        for (int64_t c = 0; c < channels; ++c) sums[c] += part[c];
    }
}
