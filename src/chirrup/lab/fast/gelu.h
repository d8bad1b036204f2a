// GELU and its slope, computed over contiguous values.

#pragma once

#include "elements.h"

// y = gelu(x); y and x may be the same memory. If slope is not null, it becomes the slope at x.
template <class S>
static void gelu_row(const S* x, S* y, S* slope, int64_t length) {
    if (slope) {
#pragma omp simd
        for (int64_t i = 0; i < length; ++i) {
            const float z = wide(x[i]);
            const Normal at = normal(z);
            narrow(z * at.cumulative, y[i]);
            narrow(at.cumulative + z * at.density, slope[i]);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < length; ++i) narrow(gelu(wide(x[i])), y[i]);
    }
}

template <class S>
static void multiply_by_slope(const S* d, const S* slope, S* dx, int64_t length) {
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) narrow(wide(d[i]) * wide(slope[i]), dx[i]);
}
