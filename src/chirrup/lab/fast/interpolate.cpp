// Audio at fractional positions: a sinc of 16 taps with a Hann window. The plain form is `interpolate` in
// lab/training/batches.
//
// Let f be the fraction of a position and k = -7, ..., 8 a tap. Then sin(pi (k - f)) is +-sin(pi f),
// and cos(pi (k - f) / 8) is a sum of two products. So a sample needs the sine of pi f and sine and
// cosine of pi f / 8, and a tap needs no trigonometric function.

#include "fast.h"

constexpr int TAPS = 16, BEFORE = TAPS / 2 - 1, BLOCK = 512;

// sin(z) for |z| <= pi / 2 and cos(z) for |z| <= pi / 8, with relative errors up to 1e-7.
static inline float sin_near(float z) {
    const float q = z * z;
    const float p = -2.50521084e-8f * q + 2.75573192e-6f;
    return z + z * q * (-1.66666667e-1f + q * (8.33333333e-3f + q * (-1.98412698e-4f + q * p)));
}
static inline float cos_near(float z) {
    const float q = z * z;
    const float p = -2.75573192e-7f * q + 2.48015873e-5f;
    return 1 + q * (-0.5f + q * (4.16666667e-2f + q * (-1.38888889e-3f + q * p)));
}

// Reads `audio`, int16 `[channels, all]`, at `position`, float64 `[batch, samples]`. A row reads from
// `start` to `stop` (exclusive), int64 `[batch]`; beyond them its first and last sample are repeated.
Tensor interpolate(
    const Tensor& audio, const Tensor& position, const Tensor& start, const Tensor& stop) {
    const int64_t batch = position.size(0), samples = position.size(1), channels = audio.size(0);
    Tensor out = at::empty({batch, channels, samples});
    float* to = out.mutable_data_ptr<float>();
    const int16_t* from = audio.const_data_ptr<int16_t>();
    const double* places = position.const_data_ptr<double>();
    float cosine[TAPS], sine[TAPS], signs[TAPS], tap[TAPS];
    for (int k = 0; k < TAPS; ++k) {
        tap[k] = float(k - BEFORE);
        signs[k] = (k - BEFORE) % 2 ? 1.0f : -1.0f;  // sin(pi (k - f)) = -(-1)^k sin(pi f)
        cosine[k] = float(std::cos(M_PI * (k - BEFORE) / 8) / 2);
        sine[k] = float(std::sin(M_PI * (k - BEFORE) / 8) / 2);
    }
    at::parallel_for(0, batch, 1, [&](int64_t first_row, int64_t last_row) {
        float fraction[BLOCK], across[BLOCK], along_cos[BLOCK], along_sin[BLOCK];
        for (int64_t row = first_row; row < last_row; ++row) {
            const int64_t low = start.const_data_ptr<int64_t>()[row];
            const int64_t high = stop.const_data_ptr<int64_t>()[row] - 1;
            for (int64_t t0 = 0; t0 < samples; t0 += BLOCK) {
                const int64_t length = std::min<int64_t>(BLOCK, samples - t0);
                const double* place = places + row * samples + t0;
#pragma omp simd
                for (int64_t t = 0; t < length; ++t) {
                    const float f = float(place[t] - std::floor(place[t]));
                    fraction[t] = f;
                    across[t] = sin_near(3.14159265f * std::min(f, 1 - f)) * 0.318309886f / 32768;
                    along_cos[t] = cos_near(0.392699082f * f);
                    along_sin[t] = sin_near(0.392699082f * f);
                }
                for (int64_t t = 0; t < length; ++t) {
                    const double inside = std::min(std::max(double(low), place[t]), double(high));
                    const int64_t at = int64_t(inside) - BEFORE;
                    float weight[TAPS];
#pragma omp simd
                    for (int k = 0; k < TAPS; ++k) {
                        const float offset = tap[k] - fraction[t];
                        const float turned = cosine[k] * along_cos[t] + sine[k] * along_sin[t];
                        const float sinc = signs[k] * across[t] / offset;
                        weight[k] = (offset == 0 ? 1.0f / 32768 : sinc) * (0.5f + turned);
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
