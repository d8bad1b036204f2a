// Audio at fractional positions: a sinc of 32 taps with a Hann window. The plain form is `interpolate` in
// lab/training/batches.
//
// Let f + 1/2 be the fraction of a position, k + 1/2 = -15, ..., 16 a tap, and c the cutoff. Then
// sin(pi c (k - f)) and cos(pi (k - f) / 16) are sums of two products. So a sample needs sine and
// cosine of pi c f and of pi f / 16, and a tap needs no trigonometric function.

#include "fast.h"

constexpr int TAPS = 32, BEFORE = TAPS / 2 - 1, BLOCK = 512;

// sin(z) and cos(z) for |z| <= pi / 2, with errors up to 1e-7.
static inline float sin_near(float z) {
    const float q = z * z;
    const float p = -2.50521084e-8f * q + 2.75573192e-6f;
    return z + z * q * (-1.66666667e-1f + q * (8.33333333e-3f + q * (-1.98412698e-4f + q * p)));
}
static inline float cos_near(float z) {
    const float half = sin_near(0.5f * z);
    return 1 - 2 * half * half;
}

// Reads `audio`, int16 `[channels, all]`, at `position`, float64 `[batch, samples]`, with a `cutoff`
// for each row, float32 `[batch, 1]`. A row reads from `start` to `stop` (exclusive), int64 `[batch]`;
// beyond them its first and last sample are repeated.
Tensor interpolate(
    const Tensor& audio, const Tensor& position, const Tensor& cutoff, const Tensor& start,
    const Tensor& stop) {
    const int64_t batch = position.size(0), samples = position.size(1), channels = audio.size(0);
    Tensor out = at::empty({batch, channels, samples});
    float* to = out.mutable_data_ptr<float>();
    const int16_t* from = audio.const_data_ptr<int16_t>();
    const double* places = position.const_data_ptr<double>();
    float tap[TAPS], window_cos[TAPS], window_sin[TAPS];
    for (int k = 0; k < TAPS; ++k) {
        tap[k] = float(k - BEFORE) - 0.5f;
        window_cos[k] = float(std::cos(M_PI * tap[k] / 16) / 2);
        window_sin[k] = float(std::sin(M_PI * tap[k] / 16) / 2);
    }
    at::parallel_for(0, batch, 1, [&](int64_t first_row, int64_t last_row) {
        float fraction[BLOCK], sinc_cos[BLOCK], sinc_sin[BLOCK], along_cos[BLOCK], along_sin[BLOCK];
        float tap_cos[TAPS], tap_sin[TAPS];
        for (int64_t row = first_row; row < last_row; ++row) {
            const int64_t low = start.const_data_ptr<int64_t>()[row];
            const int64_t high = stop.const_data_ptr<int64_t>()[row] - 1;
            const float share = cutoff.const_data_ptr<float>()[row], turn = float(M_PI) * share;
            for (int k = 0; k < TAPS; ++k) {
                tap_cos[k] = float(std::cos(double(turn) * tap[k]) / M_PI);
                tap_sin[k] = float(std::sin(double(turn) * tap[k]) / M_PI);
            }
            for (int64_t t0 = 0; t0 < samples; t0 += BLOCK) {
                const int64_t length = std::min<int64_t>(BLOCK, samples - t0);
                const double* place = places + row * samples + t0;
#pragma omp simd
                for (int64_t t = 0; t < length; ++t) {
                    const float f = float(place[t] - std::floor(place[t]) - 0.5);
                    fraction[t] = f;
                    sinc_cos[t] = cos_near(turn * f);
                    sinc_sin[t] = sin_near(turn * f);
                    along_cos[t] = cos_near(0.196349541f * f);
                    along_sin[t] = sin_near(0.196349541f * f);
                }
                for (int64_t t = 0; t < length; ++t) {
                    const double inside = std::min(std::max(double(low), place[t]), double(high));
                    const int64_t at = int64_t(inside) - BEFORE;
                    float weight[TAPS];
#pragma omp simd
                    for (int k = 0; k < TAPS; ++k) {
                        const float offset = tap[k] - fraction[t];
                        const float window =
                            0.5f + window_cos[k] * along_cos[t] + window_sin[k] * along_sin[t];
                        const float sine = tap_sin[k] * sinc_cos[t] - tap_cos[k] * sinc_sin[t];
                        // Near 0 the sine is a difference of nearly equal products: a series is exact.
                        const float q = turn * offset * turn * offset;
                        const float near = share * (1 - q / 6 * (1 - q / 20 * (1 - q / 42)));
                        weight[k] = (std::abs(offset) < 0.15f ? near : sine / offset) * window / 32768;
                    }
                    for (int64_t channel = 0; channel < channels; ++channel) {
                        const int16_t* line = from + channel * audio.size(1);
                        float sum = 0;
                        if (at >= low && at + TAPS - 1 <= high) {
#pragma omp simd reduction(+ : sum)
                            for (int k = 0; k < TAPS; ++k) sum += weight[k] * float(line[at + k]);
                        } else
                            for (int k = 0; k < TAPS; ++k)
                                sum += weight[k] * float(line[std::clamp(at + k, low, high)]);
                        to[(row * channels + channel) * samples + t0 + t] = sum;
                    }
                }
            }
        }
    });
    return out;
}
