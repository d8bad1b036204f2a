// Spectra of the pieces of sources, filtered. Within a piece one filter fades into the next one.

#include "fast.h"

// A spectrum of 2 F numbers has the real parts and then the imaginary parts of F bins.
//
// controls [batch, sources, pieces + 1, 2 F]: the logarithms of magnitude and then the phases of the
// filters at the ends of pieces. sources [2, batch, sources, pieces, 2 F]: the spectra of the pieces
// faded in, which the filter at their end takes, and faded out, which the filter at their start takes.
//
// Returns the sums over sources [batch, pieces, 2 F], and the filters [batch, sources, pieces + 1, 2 F].
std::vector<Tensor> filtered_spectra(const Tensor& controls, const Tensor& sources) {
    const int64_t B = controls.size(0), N = controls.size(1), P = sources.size(3), F = controls.size(3) / 2;
    Tensor filters = at::empty_like(controls), y = at::zeros({B, P, 2 * F});
    at::parallel_for(0, B * N * (P + 1), 16, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const float* __restrict c = data(controls) + r * 2 * F;
            float* __restrict h = writable(filters) + r * 2 * F;
#pragma omp simd
            for (int64_t k = 0; k < F; ++k) {
                const float magnitude = exponential(c[k]);
                const Sine half = sine(0.5f * c[F + k]);  // of half the phase
                h[k] = magnitude * (1 - 2 * half.squared);
                h[F + k] = magnitude * half.doubled;
            }
        }
    });
    at::parallel_for(0, B, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b)
            for (int64_t p = 0; p < P; ++p)
                for (int64_t n = 0; n < N; ++n)
                    for (int64_t fading = 0; fading < 2; ++fading) {
                        const float* __restrict h = data(filters) + ((b * N + n) * (P + 1) + p + 1 - fading) * 2 * F;
                        const float* __restrict s = data(sources) + (((fading * B + b) * N + n) * P + p) * 2 * F;
                        float* __restrict to = writable(y) + (b * P + p) * 2 * F;
#pragma omp simd
                        for (int64_t k = 0; k < F; ++k) {
                            to[k] += h[k] * s[k] - h[F + k] * s[F + k];
                            to[F + k] += h[k] * s[F + k] + h[F + k] * s[k];
                        }
                    }
    });
    return {y, filters};
}

// Returns the gradient of the controls.
Tensor filtered_spectra_backward(const Tensor& dy, const Tensor& filters, const Tensor& sources) {
    const int64_t B = filters.size(0), N = filters.size(1), P = sources.size(3), F = filters.size(3) / 2;
    Tensor result = at::zeros_like(filters);
    at::parallel_for(0, B * N, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const int64_t b = row / N;
            for (int64_t edge = 0; edge <= P; ++edge) {
                const float* __restrict h = data(filters) + (row * (P + 1) + edge) * 2 * F;
                float* __restrict to = writable(result) + (row * (P + 1) + edge) * 2 * F;
                for (int64_t fading = 0; fading < 2; ++fading) {
                    const int64_t p = edge - 1 + fading;
                    if (p < 0 || p == P) continue;
                    const float* __restrict s = data(sources) + ((fading * B * N + row) * P + p) * 2 * F;
                    const float* __restrict d = data(dy) + (b * P + p) * 2 * F;
#pragma omp simd
                    for (int64_t k = 0; k < F; ++k) {
                        to[k] += d[k] * s[k] + d[F + k] * s[F + k];
                        to[F + k] += d[F + k] * s[k] - d[k] * s[F + k];
                    }
                }
#pragma omp simd
                for (int64_t k = 0; k < F; ++k) {  // from the filter to its logarithm
                    const float real = to[k], imaginary = to[F + k];
                    to[k] = real * h[k] + imaginary * h[F + k];
                    to[F + k] = imaginary * h[k] - real * h[F + k];
                }
            }
        }
    });
    return result;
}
