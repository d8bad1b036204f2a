// Windowed frames of a signal in vector lanes, and their Fourier transforms.
//
// A row holds one sample, or one frequency, of W frames, one frame per lane. Only `load_frames` and
// `overlap_add` exchange data between lanes.

#pragma once

#include "fast.h"

#include <map>
#include <mutex>

// One step of a transposition: exchanges the blocks of S lanes on both sides of the diagonal.
template <int S>
static inline void exchange(Vec* rows) {
    Integers low, high;
    for (int lane = 0; lane < W; ++lane) {
        low[lane] = lane & S ? W + lane - S : lane;
        high[lane] = lane & S ? W + lane : lane + S;
    }
    for (int row = 0; row < W; ++row)
        if (!(row & S)) {
            const Vec first = rows[row], second = rows[row + S];
            rows[row] = __builtin_shuffle(first, second, low);
            rows[row + S] = __builtin_shuffle(first, second, high);
        }
}

static inline void transpose(Vec* rows) {
    exchange<1>(rows);
    exchange<2>(rows);
    exchange<4>(rows);
    if constexpr (W == 16) exchange<8>(rows);
}

// Fills the first `count` lanes of `rows [n][W]` with windowed frames that start `hop` samples
// apart, and the other lanes with zeros.
static void load_frames(const float* signal, const float* window, int64_t n, int64_t hop,
                        int64_t count, float* rows) {
    for (int64_t t = 0; t < n; t += W) {
        Vec block[W];
        for (int lane = 0; lane < W; ++lane)
            block[lane] = lane < count ? load(signal + lane * hop + t) : Vec{};
        transpose(block);
        for (int i = 0; i < W; ++i) store(rows + (t + i) * W, block[i] * window[t + i]);
    }
}

// Adds windowed frames to a signal: the adjoint of `load_frames`.
static void overlap_add(const float* rows, const float* window, int64_t n, int64_t hop,
                        int64_t count, float* signal) {
    for (int64_t t = 0; t < n; t += W) {
        Vec block[W];
        for (int i = 0; i < W; ++i) block[i] = load(rows + (t + i) * W) * window[t + i];
        transpose(block);
        for (int lane = 0; lane < W; ++lane)
            if (lane < count) {
                float* at = signal + lane * hop + t;
                store(at, load(at) + block[lane]);
            }
    }
}

// Complex Fourier transforms in place, of n rows `re [n][W]` and `im [n][W]`, n a power of two. After
// `forward` and before `inverse`, frequency k is in row `place[k]`. `inverse` does not divide by n.
// Passes have radix 4; an odd power of two has one additional pass of radix 2.
struct Transform {
    int64_t n;
    std::vector<int64_t> place;
    std::vector<float> turns;  // cos and sin of 1, 2 and 3 times each angle, pass by pass

    explicit Transform(int64_t n) : n(n), place(n) {
        for (int64_t k = 0; k < n; ++k) {
            int64_t rest = k, span = n;
            for (; span >= 4; span /= 4, rest /= 4) place[k] += rest % 4 * (span / 4);
            if (span == 2) place[k] += rest % 2;
        }
        for (int64_t span = n; span >= 4; span /= 4)
            for (int64_t j = 0; j < span / 4; ++j)
                for (int times = 1; times <= 3; ++times) {
                    const double angle = 2 * M_PI * double(times * j) / double(span);
                    turns.push_back(float(std::cos(angle)));
                    turns.push_back(float(std::sin(angle)));
                }
    }

    // Returns the cached transform of a size.
    static const Transform& of(int64_t n) {
        static std::map<int64_t, Transform> kept;
        static std::mutex mutex;
        const std::lock_guard<std::mutex> lock(mutex);
        return kept.try_emplace(n, n).first->second;
    }

    void forward(float* re, float* im) const {
        const float* turn = turns.data();
        int64_t span = n;
        for (; span >= 4; turn += span / 4 * 6, span /= 4)
            for (int64_t block = 0; block < n; block += span)
                for (int64_t j = 0; j < span / 4; ++j) {
                    const int64_t step = span / 4 * W, at = (block + j) * W;
                    float *r = re + at, *i = im + at;
                    const float* w = turn + j * 6;
                    const Vec r0 = load(r), r1 = load(r + step);
                    const Vec r2 = load(r + 2 * step), r3 = load(r + 3 * step);
                    const Vec i0 = load(i), i1 = load(i + step);
                    const Vec i2 = load(i + 2 * step), i3 = load(i + 3 * step);
                    const Vec ar = r0 + r2, ai = i0 + i2, br = r0 - r2, bi = i0 - i2;
                    const Vec cr = r1 + r3, ci = i1 + i3, dr = i1 - i3, di = r3 - r1;
                    const Vec xr = br + dr, xi = bi + di, yr = ar - cr, yi = ai - ci;
                    const Vec zr = br - dr, zi = bi - di;
                    store(r, ar + cr);
                    store(i, ai + ci);
                    store(r + step, xr * w[0] + xi * w[1]);
                    store(i + step, xi * w[0] - xr * w[1]);
                    store(r + 2 * step, yr * w[2] + yi * w[3]);
                    store(i + 2 * step, yi * w[2] - yr * w[3]);
                    store(r + 3 * step, zr * w[4] + zi * w[5]);
                    store(i + 3 * step, zi * w[4] - zr * w[5]);
                }
        if (span == 2) pairs(re, im);
    }

    void inverse(float* re, float* im) const {
        int64_t span = n;
        while (span >= 4) span /= 4;
        if (span == 2) pairs(re, im);
        const float* turn = turns.data() + turns.size();
        for (span *= 4; span <= n; span *= 4) {
            turn -= span / 4 * 6;
            for (int64_t block = 0; block < n; block += span)
                for (int64_t j = 0; j < span / 4; ++j) {
                    const int64_t step = span / 4 * W, at = (block + j) * W;
                    float *r = re + at, *i = im + at;
                    const float* w = turn + j * 6;
                    const Vec r0 = load(r), i0 = load(i);
                    const Vec xr = load(r + step), xi = load(i + step);
                    const Vec yr = load(r + 2 * step), yi = load(i + 2 * step);
                    const Vec zr = load(r + 3 * step), zi = load(i + 3 * step);
                    const Vec r1 = xr * w[0] - xi * w[1], i1 = xi * w[0] + xr * w[1];
                    const Vec r2 = yr * w[2] - yi * w[3], i2 = yi * w[2] + yr * w[3];
                    const Vec r3 = zr * w[4] - zi * w[5], i3 = zi * w[4] + zr * w[5];
                    const Vec ar = r0 + r2, ai = i0 + i2, br = r0 - r2, bi = i0 - i2;
                    const Vec cr = r1 + r3, ci = i1 + i3, dr = i3 - i1, di = r1 - r3;
                    store(r, ar + cr);
                    store(i, ai + ci);
                    store(r + step, br + dr);
                    store(i + step, bi + di);
                    store(r + 2 * step, ar - cr);
                    store(i + 2 * step, ai - ci);
                    store(r + 3 * step, br - dr);
                    store(i + 3 * step, bi - di);
                }
        }
    }

private:
    void pairs(float* re, float* im) const {
        for (float* half : {re, im})
            for (float* row = half; row < half + n * W; row += 2 * W) {
                const Vec first = load(row), second = load(row + W);
                store(row, first + second);
                store(row + W, first - second);
            }
    }
};
