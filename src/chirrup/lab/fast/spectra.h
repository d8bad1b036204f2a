// Spectra of windowed frames, W frames at a time, and their gradients.
//
// The transform is complex. One transform processes two sets of real frames, or two gradients: one as
// the real part, one as the imaginary part.

#pragma once

#include "frames.h"

// A sparse matrix. Row r has `count[r]` weights in the columns from `first[r]` on.
struct Bank {
    const int32_t *first, *count;
    const float* weights;
    int64_t rows;

    // `places` is int32 `[2, rows]`.
    Bank(const Tensor& places, const Tensor& weights)
        : first(places.const_data_ptr<int32_t>()), count(first + places.size(1)),
          weights(data(weights)), rows(places.size(1)) {}

    // out[r] = sum_c weights[r][c] in[c], where out[r] and in[c] are rows of W.
    void apply(const float* in, float* out) const {
        const float* weight = weights;
        for (int64_t r = 0; r < rows; ++r) {
            Vec sum{};
            for (int64_t c = 0; c < count[r]; ++c) sum += *weight++ * load(in + (first[r] + c) * W);
            store(out + r * W, sum);
        }
    }
};

struct Spectra {
    const int64_t n, hop, bins;
    const Transform& transform;
    std::vector<float> window;   // halved, because `forward` and `inverse` leave out a factor of 1/2
    Tensor memory;
    float *re, *im;            // [n][W]
    float *ar, *ai, *br, *bi;  // [bins][W], the spectra of both sets

    Spectra(const Tensor& window, int64_t hop)
        : n(window.size(0)), hop(hop), bins(n / 2 + 1), transform(Transform::of(n)), window(n),
          memory(at::empty((2 * n + 4 * bins) * W)) {
        for (int64_t t = 0; t < n; ++t) this->window[t] = data(window)[t] / 2;
        re = memory.mutable_data_ptr<float>();
        im = re + n * W;
        ar = im + n * W;
        ai = ar + bins * W;
        br = ai + bins * W;
        bi = br + bins * W;
    }

    int64_t row(int64_t k) const { return transform.place[k & (n - 1)] * W; }

    // Computes the spectra of `count_a` frames of one signal and of `count_b` frames of another.
    void forward(const float* a, int64_t count_a, const float* b, int64_t count_b) {
        load_frames(a, window.data(), n, hop, count_a, re);
        load_frames(b, window.data(), n, hop, count_b, im);
        transform.forward(re, im);
        for (int64_t k = 0; k < bins; ++k) {
            const int64_t at = row(k), opposite = row(-k);
            const Vec r = load(re + at), i = load(im + at);
            const Vec s = load(re + opposite), j = load(im + opposite);
            store(ar + k * W, r + s);
            store(ai + k * W, i - j);
            store(br + k * W, i + j);
            store(bi + k * W, s - r);
        }
    }

    // Sets the gradient with respect to bin k of the first set. After all bins `inverse` leaves the
    // gradient with respect to the frames in `re`.
    void put_first(int64_t k, Vec r, Vec i) {
        const int64_t at = row(k), opposite = row(-k);
        const bool real = at == opposite;
        store(re + opposite, real ? 2 * r : r);
        store(im + opposite, real ? Vec{} : -i);
        if (real) return;
        store(re + at, r);
        store(im + at, i);
    }

    // Adds the gradient with respect to bin k of the second set, after `put_first`. `inverse` then
    // leaves the gradient with respect to its frames in `im`.
    void put_second(int64_t k, Vec r, Vec i) {
        const int64_t at = row(k), opposite = row(-k);
        if (at == opposite) {
            store(im + at, load(im + at) + 2 * r);
            return;
        }
        store(re + at, load(re + at) - i);
        store(im + at, load(im + at) + r);
        store(re + opposite, load(re + opposite) + i);
        store(im + opposite, load(im + opposite) + r);
    }

    void inverse() { transform.inverse(re, im); }
    void add_first(int64_t count, float* signal) const {
        overlap_add(re, window.data(), n, hop, count, signal);
    }
    void add_second(int64_t count, float* signal) const {
        overlap_add(im, window.data(), n, hop, count, signal);
    }
};
