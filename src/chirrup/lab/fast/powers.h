// Natural logarithm and exponential of vectors, with relative or absolute errors up to 2e-7.

#pragma once

#include "fast.h"

// The logarithm of positive normal numbers. For a non-finite argument the result is not finite.
static inline __attribute__((always_inline)) Vec logarithm(Vec x) {
    const Integers bits = (Integers)x;
    const Integers exponent = (bits - 0x3f3504f3) >> 23;  // the mantissa is in [1/sqrt 2, sqrt 2)
    const Vec f = (Vec)(bits - (exponent << 23)) - 1;
    const Vec e = __builtin_convertvector(exponent, Vec), q = f * f;
    Vec p = 7.0376836292e-2f * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * q - 2.12194440e-4f * e - 0.5f * q;
    return f + p + 0.693359375f * e + (x - x);
}

// The exponential of arguments between -87 and 88.
static inline __attribute__((always_inline)) Vec exponential(Vec x) {
    const Vec shifted = x * 1.44269504f + 12582912.0f;  // the lowest bits of the sum are the nearest integer
    const Vec n = shifted - 12582912.0f;
    const Vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vec p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    return p * (Vec)(((Integers)shifted - 0x4b400000 + 127) << 23);
}
