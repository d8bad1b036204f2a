// Magnitudes or powers of spectra summed in bands, and the gradient with respect to the signal.
//
// A task is a clip, processed 2 W frames at a time. The backward pass recomputes the spectra.

#include "spectra.h"

namespace {

struct Bands : Spectra {
    const Bank &bands, &bins_back;
    const bool squared;
    Tensor more;
    float *size, *sums, *slopes;  // [bins][W], [bands][W], [bins][W]

    Bands(const Tensor& window, int64_t hop, const Bank& bands, const Bank& bins_back, bool squared)
        : Spectra(window, hop), bands(bands), bins_back(bins_back), squared(squared),
          more(at::empty((2 * bins + bands.rows) * W)) {
        size = more.mutable_data_ptr<float>();
        sums = size + bins * W;
        slopes = sums + bands.rows * W;
    }

    void measure(const float* r, const float* i) {
#pragma omp simd
        for (int64_t at = 0; at < bins * W; ++at) size[at] = r[at] * r[at] + i[at] * i[at];
        if (squared) return;
#pragma omp simd
        for (int64_t at = 0; at < bins * W; ++at) size[at] = std::sqrt(size[at]);
    }

    void write(const float* r, const float* i, int64_t count, float* out) {
        measure(r, i);
        bands.apply(size, sums);
        for (int64_t lane = 0; lane < count; ++lane)
            for (int64_t b = 0; b < bands.rows; ++b) *out++ = sums[b * W + lane];
    }

    template <class F>
    void put_gradient(const float* r, const float* i, int64_t count, const float* d_out, F put) {
        std::fill(sums, sums + bands.rows * W, 0.0f);
        for (int64_t lane = 0; lane < count; ++lane)
            for (int64_t b = 0; b < bands.rows; ++b) sums[b * W + lane] = *d_out++;
        if (!squared) measure(r, i);
        bins_back.apply(sums, slopes);
        for (int64_t k = 0; k < bins; ++k) {
            Vec slope = load(slopes + k * W);
            if (squared) slope *= 2;
            else {
                const Vec magnitude = load(size + k * W);
                slope = magnitude > 0 ? slope / magnitude : Vec{};
            }
            put(k, slope * load(r + k * W), slope * load(i + k * W));
        }
    }
};

// Calls f(bands, position in the signal, first frame, frames in the first set, frames in the second
// set).
template <class F>
void with_frames(const Tensor& signal, const Tensor& window, int64_t hop, const Bank& bands,
                 const Bank& bins_back, bool squared, F f) {
    const int64_t samples = signal.size(1), count = (samples - window.size(0)) / hop + 1;
    at::parallel_for(0, signal.size(0), 1, [&](int64_t from, int64_t to) {
        Bands made(window, hop, bands, bins_back, squared);
        for (int64_t clip = from; clip < to; ++clip)
            for (int64_t frame = 0; frame < count; frame += 2 * W) {
                const int64_t first = std::min<int64_t>(W, count - frame);
                const int64_t second = std::clamp<int64_t>(count - frame - W, 0, W);
                const int64_t at = clip * samples + frame * hop;
                made.forward(data(signal) + at, first, data(signal) + at + W * hop, second);
                f(made, at, clip * count + frame, first, second);
            }
    });
}

}  // namespace

Tensor band_sums(const Tensor& signal, const Tensor& window, int64_t hop, const Tensor& band_places,
                 const Tensor& band_weights, const Tensor& bin_places, const Tensor& bin_weights,
                 bool squared) {
    const Bank bands(band_places, band_weights), bins_back(bin_places, bin_weights);
    const int64_t count = (signal.size(1) - window.size(0)) / hop + 1;
    Tensor out = at::empty({signal.size(0), count, bands.rows});
    float* to = out.mutable_data_ptr<float>();
    with_frames(signal, window, hop, bands, bins_back, squared,
                [&](Bands& made, int64_t, int64_t frame, int64_t first, int64_t second) {
        made.write(made.ar, made.ai, first, to + frame * bands.rows);
        made.write(made.br, made.bi, second, to + (frame + W) * bands.rows);
    });
    return out;
}

Tensor band_sums_backward(const Tensor& d_out, const Tensor& signal, const Tensor& window,
                          int64_t hop, const Tensor& band_places, const Tensor& band_weights,
                          const Tensor& bin_places, const Tensor& bin_weights, bool squared) {
    const Bank bands(band_places, band_weights), bins_back(bin_places, bin_weights);
    Tensor d_signal = at::zeros_like(signal);
    float* gradient = d_signal.mutable_data_ptr<float>();
    with_frames(signal, window, hop, bands, bins_back, squared,
                [&](Bands& made, int64_t at, int64_t frame, int64_t first, int64_t second) {
        const float* from = data(d_out) + frame * bands.rows;
        made.put_gradient(made.ar, made.ai, first, from,
                          [&](int64_t k, Vec r, Vec i) { made.put_first(k, r, i); });
        made.put_gradient(made.br, made.bi, second, from + W * bands.rows,
                          [&](int64_t k, Vec r, Vec i) { made.put_second(k, r, i); });
        made.inverse();
        made.add_first(first, gradient + at);
        made.add_second(second, gradient + at + W * hop);
    });
    return d_signal;
}
