// The exponential linear unit (ELU), and its derivative at x as a function of y = elu(x).

#pragma once

#include "fast.h"

static inline float elu(float x) { return x > 0 ? x : exponential(x) - 1; }
static inline float elu_slope(float y) { return y > 0 ? 1 : y + 1; }

static inline void elu_row(const float* x, float* y, int64_t length) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t) y[t] = elu(x[t]);
}
static inline void multiply_by_slope(float* d, const float* y, int64_t length) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t) d[t] *= elu_slope(y[t]);
}
