// Common declarations of the extension: vectors, elementary functions, and the functions called from
// Python.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <algorithm>
#include <cmath>
#include <cstring>

using at::Tensor;

#ifdef __AVX512F__
constexpr int W = 16, REGISTERS = 24;  // floats per vector; vector registers for sums
#else
constexpr int W = 8, REGISTERS = 12;
#endif
typedef float Vec __attribute__((vector_size(4 * W)));
typedef int32_t Integers __attribute__((vector_size(4 * W)));
typedef float Unaligned __attribute__((vector_size(4 * W), aligned(2), may_alias));

template <class Number>
static inline Vec load(const Number* p) { return *reinterpret_cast<const Unaligned*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<Unaligned*>(p) = v; }
static inline int64_t whole(int64_t length) { return (length + W - 1) / W * W; }

// sin^2(z) and sin(2z) = 2 sin z cos z have period pi, so z is reduced to [-pi/2, pi/2]. The minimax
// polynomials have errors of 5e-9 and 5e-8.
struct Sine {
    float squared, doubled;
};
static inline __attribute__((always_inline)) Sine sine(float z) {
    const float turns = std::nearbyint(z * 0.318309886f);
    const float r = (z - turns * 3.14159274f) + turns * 8.74227800e-8f;
    const float q = r * r;
    float s = 8.33301729e-3f + q * (-1.98066151e-4f + q * 2.60005450e-6f);
    s = r + r * q * (-1.66666571e-1f + q * s);
    float c = 4.16639894e-2f + q * (-1.38559271e-3f + q * 2.31943836e-5f);
    c = 1 + q * (-4.99999323e-1f + q * c);
    return {s * s, 2 * s * c};
}

static inline void snake_row(const float* x, float* y, int64_t length, float alpha, float height) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t) y[t] = x[t] + height * sine(alpha * x[t]).squared;
}

// e^x with a relative error of 1e-7, as 2^n (1 + r + r^2 p); arguments are clipped to [-87, 87].
static inline __attribute__((always_inline)) float exponential(float x) {
    x = std::max(-87.0f, std::min(87.0f, x));
    const float n = std::nearbyint(x * 1.44269504f);
    const float r = (x - n * 6.93359375e-1f) + n * 2.12194440e-4f;
    float p = 4.16683880e-2f + r * (8.36871688e-3f + r * 1.38145986e-3f);
    p = 1 + r + r * r * (4.99999934e-1f + r * (1.66665206e-1f + r * p));
    const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}
static inline __attribute__((always_inline)) float sigmoid(float x) {
    return 1 / (1 + exponential(-x));
}
static inline __attribute__((always_inline)) float tangent(float x) {  // tanh
    return 2 * sigmoid(2 * x) - 1;
}

// The normal distribution: cumulative(-|x|) = density(x) t q(t) with an error of 1e-8.
struct Normal {
    float cumulative, density;
};
static inline __attribute__((always_inline)) Normal normal(float x) {
    const float t = 1 / (1 + 0.28f * std::abs(x)), e = exponential(-0.5f * x * x);
    float q = 2.68912956e-1f + t * (-2.36996957e-1f + t * (3.89876169e-1f - t * 1.05808773e-1f));
    q = e * t * (1.16520955e-1f + t * (6.74956399e-2f + t * q));
    return {x < 0 ? q : 1 - q, 3.98942280e-1f * e};
}
static inline __attribute__((always_inline)) float gelu(float x) {
    return x * normal(x).cumulative;
}
static inline __attribute__((always_inline)) float gelu_slope(float x) {
    const Normal at = normal(x);
    return at.cumulative + x * at.density;
}

// Conversions between float and the type of a product's factors.
static inline float value(float x) { return x; }
static inline float value(at::BFloat16 x) {
    const uint32_t bits = static_cast<uint32_t>(x.x) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}
template <class Number>
static inline Number number(float x) {
    if constexpr (std::is_same_v<Number, float>) {
        return x;
    } else {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        return Number((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Number::from_bits());  // rounds to nearest even
    }
}

static inline const float* data(const Tensor& t) {
    return t.defined() ? t.const_data_ptr<float>() : nullptr;
}
static inline float* writable(const Tensor& t) { return t.mutable_data_ptr<float>(); }

std::vector<Tensor> residual_unit(
    const Tensor& x, const Tensor& past, const Tensor& alpha1, const Tensor& height1,
    const Tensor& w1, const Tensor& b1, const Tensor& alpha2, const Tensor& height2,
    const Tensor& w2, const Tensor& b2, int64_t dilation, int64_t groups);
std::vector<Tensor> residual_unit_backward(
    const Tensor& dy, const std::optional<Tensor>& d_new_past, bool wants_past, const Tensor& x,
    const Tensor& past, const Tensor& alpha1, const Tensor& height1, const Tensor& w1,
    const Tensor& b1, const Tensor& alpha2, const Tensor& height2, const Tensor& w2,
    int64_t dilation, int64_t groups);

Tensor period_conv(const Tensor& x, const Tensor& w, const Tensor& b, int64_t stride, double slope);
Tensor thin_conv(const Tensor& x, const Tensor& w, const Tensor& b, double slope, bool bf16);
Tensor feature_distance(const Tensor& real, const Tensor& fake, bool normalise);
Tensor snake(const Tensor& x, const Tensor& alpha, const Tensor& height);
std::vector<Tensor> snake_backward(const Tensor& dy, const Tensor& x, const Tensor& alpha,
                                   const Tensor& height);
std::vector<Tensor> gru(const Tensor& a, const Tensor& hidden, const Tensor& w,
                        const Tensor& input_bias, const Tensor& bias);
std::vector<Tensor> gru_backward(const Tensor& dy, const Tensor& d_last, const Tensor& states,
                                 const Tensor& gates, const Tensor& w);
void spectral_terms(
    const Tensor& estimate, const Tensor& target, const Tensor& window, const Tensor& band_places,
    const Tensor& band_weights, const Tensor& bin_places, const Tensor& bin_weights,
    const std::vector<std::string>& names, const std::vector<double>& factors, Tensor& sums,
    const std::optional<Tensor>& gradients);
Tensor band_sums(
    const Tensor& signal, const Tensor& window, int64_t hop, const Tensor& band_places,
    const Tensor& band_weights, const Tensor& bin_places, const Tensor& bin_weights, bool squared);
Tensor band_sums_backward(
    const Tensor& d_out, const Tensor& signal, const Tensor& window, int64_t hop,
    const Tensor& band_places, const Tensor& band_weights, const Tensor& bin_places,
    const Tensor& bin_weights, bool squared);

Tensor interpolate(
    const Tensor& audio, const Tensor& position, const Tensor& cutoff, const Tensor& start,
    const Tensor& stop);
std::vector<Tensor> conv_2d(const Tensor& x, const Tensor& past, const Tensor& w, const Tensor& bias,
                            int64_t stride_time, int64_t stride_bins, int64_t low, int64_t high,
                            bool elu);
std::vector<Tensor> conv_2d_backward(
    const Tensor& dy, const std::optional<Tensor>& d_new_past, bool wants_x, const Tensor& inner,
    const Tensor& w, int64_t stride_time, int64_t stride_bins, int64_t steps, int64_t low,
    int64_t high, bool elu);
std::vector<Tensor> conv_transposed_2d(
    const Tensor& x, const Tensor& overlap, const Tensor& w, const Tensor& bias,
    int64_t stride_time, int64_t stride_bins, int64_t low, bool elu);
std::vector<Tensor> conv_transposed_2d_backward(
    const Tensor& dy, const std::optional<Tensor>& d_overlap, bool wants_x, const Tensor& inner,
    const Tensor& w, int64_t stride_time, int64_t stride_bins, int64_t low, int64_t phases, bool elu);
Tensor depthwise_conv(const Tensor& line, const Tensor& w, const Tensor& bias);
std::vector<Tensor> depthwise_conv_backward(const Tensor& dy, const Tensor& line, const Tensor& w);
std::vector<Tensor> gelu(const Tensor& x, bool wants_gradient);
Tensor gelu_backward(const Tensor& dy, const Tensor& slope);
std::vector<Tensor> filtered_spectra(const Tensor& controls, const Tensor& sources);
Tensor filtered_spectra_backward(const Tensor& dy, const Tensor& filters, const Tensor& sources);
std::vector<Tensor> frozen_layer(const Tensor& x, const std::vector<Tensor>& w, int64_t heads,
                                 double eps, bool wants_gradient);
Tensor frozen_layer_backward(const Tensor& dy, const Tensor& x, const std::vector<Tensor>& saved,
                             const std::vector<Tensor>& w, int64_t heads);
Tensor gated_softmax(const Tensor& scores, const Tensor& bias, const Tensor& gates,
                     const Tensor& mask);
std::vector<Tensor> gated_softmax_backward(const Tensor& dy, const Tensor& y, const Tensor& bias,
                                           const Tensor& gates);
std::vector<Tensor> conv_modulation(const Tensor& x, const Tensor& past,
                                    const std::vector<Tensor>& parameters, int64_t groups,
                                    double eps, bool bf16);
std::vector<Tensor> conv_modulation_backward(
    const Tensor& d_out, const std::optional<Tensor>& d_new_past, bool wants_past,
    const std::vector<Tensor>& saved, const std::vector<Tensor>& parameters, int64_t groups,
    double eps);
Tensor causal_conv(const Tensor& x, const Tensor& past, const Tensor& w, const Tensor& bias,
                   int64_t stride, int64_t dilation, bool activate, bool bf16);
std::vector<Tensor> causal_conv_backward(const Tensor& dy, const Tensor& x, const Tensor& past,
                                         const Tensor& w, int64_t stride, int64_t dilation,
                                         bool activate, bool bf16, bool wants_x);
std::vector<Tensor> transposed_conv(const Tensor& x, const Tensor& w, const Tensor& bias,
                                    int64_t stride, bool activate, bool bf16);
std::vector<Tensor> transposed_conv_backward(const Tensor& dy, const Tensor& d_after, const Tensor& x,
                                             const Tensor& w, int64_t stride, bool activate,
                                             bool bf16);
std::vector<Tensor> window_conv(const Tensor& x, const Tensor& past, const Tensor& w,
                                const Tensor& bias, int64_t stride, bool activate, bool exact);
std::vector<Tensor> window_conv_backward(const Tensor& dy, const Tensor& signal, const Tensor& rows,
                                         const Tensor& w, int64_t stride, bool activate,
                                         bool wants_x);
std::vector<Tensor> window_transposed(const Tensor& x, const Tensor& w, const Tensor& bias,
                                      int64_t stride, bool activate);
std::vector<Tensor> window_transposed_backward(const Tensor& dy, const Tensor& d_after,
                                               const Tensor& signal, const Tensor& rows,
                                               const Tensor& w, int64_t stride, bool activate);
std::vector<Tensor> residual_quantizer(
    const Tensor& latent, const Tensor& w_in, const Tensor& b_in, const Tensor& w_out,
    const Tensor& b_out, const Tensor& table, const Tensor& offsets, const Tensor& entries,
    const Tensor& mask);
std::vector<Tensor> residual_quantizer_backward(
    const Tensor& dy, const Tensor& d_projected, const Tensor& d_entries, const Tensor& w_in,
    const Tensor& w_out, const Tensor& b_out, const Tensor& entries, const Tensor& mask,
    const Tensor& codes, const Tensor& projected, const Tensor& last, bool detached);
std::vector<Tensor> lstm(const Tensor& a, const Tensor& hidden, const Tensor& cell, const Tensor& w,
                         const Tensor& bias);
std::vector<Tensor> lstm_backward(const Tensor& dy, const Tensor& d_last, const Tensor& d_last_cell,
                                  const Tensor& cells, const Tensor& gates, const Tensor& w);
