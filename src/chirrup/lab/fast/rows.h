// Frames as rows of channels, for matrix products. Each frame is a row, padded with zeros to whole
// vectors.

#pragma once

#include "fast.h"

static int64_t padded(int64_t length) { return (length + 31) / 32 * 32; }

// Layer normalisation of rows.
struct Norm {
    int64_t C;
    const float *g, *b;
    std::vector<float> moments;  // mean and 1 / deviation of each row

    Norm(int64_t rows, const Tensor& gain, const Tensor& bias)
        : C(gain.size(0)), g(data(gain)), b(data(bias)), moments(2 * rows) {}

    void apply(int64_t row, const float* x, float* y, float eps) {
        float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < C; ++i) sum += x[i];
        const float mean = sum / C;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < C; ++i) squares += (x[i] - mean) * (x[i] - mean);
        moments[2 * row] = mean;
        moments[2 * row + 1] = 1 / std::sqrt(squares / C + eps);
        apply_again(row, x, y);
    }

    void apply_again(int64_t row, const float* x, float* y) const {
        const float mean = moments[2 * row], rate = moments[2 * row + 1];
#pragma omp simd
        for (int64_t i = 0; i < C; ++i) y[i] = (x[i] - mean) * rate * g[i] + b[i];
    }

    // dx = skip + gradient of x, where dy is the gradient of y.
    void backward(int64_t row, const float* x, const float* dy, const float* skip, float* dx,
                  float* d_gain, float* d_bias) const {
        const float mean = moments[2 * row], rate = moments[2 * row + 1];
        const float* gain = g;  // local copy: the compiler would reload a member after each store
        const int64_t count = C;
        float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
        for (int64_t i = 0; i < count; ++i) {
            const float unit = (x[i] - mean) * rate, d = dy[i] * gain[i];
            d_gain[i] += dy[i] * unit;
            d_bias[i] += dy[i];
            sum += d;
            product += d * unit;
        }
        sum /= count;
        product /= count;
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) {
            const float unit = (x[i] - mean) * rate;
            dx[i] = skip[i] + rate * (dy[i] * gain[i] - sum - unit * product);
        }
    }
};

// A matrix for products, or one matrix per group.
template <class Number>
struct Matrix {
    int64_t rows, columns;
    Tensor tensor;
    Number* entries;

    Matrix(int64_t groups, int64_t rows, int64_t columns)
        : Matrix(at::empty({groups, rows, columns}, c10::CppTypeToScalarType<Number>::value)) {}
    Matrix(const Tensor& tensor)
        : rows(tensor.size(1)), columns(tensor.size(2)), tensor(tensor),
          entries(tensor.mutable_data_ptr<Number>()) {}

    Number* row(int64_t group, int64_t r) const { return entries + (group * rows + r) * columns; }
    Matrix times(const Matrix& other) const { return at::bmm(tensor, other.tensor); }
    Matrix times_transposed(const Matrix& other) const {
        return at::bmm(tensor, other.tensor.transpose(1, 2));
    }
    Matrix transposed_times(const Matrix& other) const {
        return at::bmm(tensor.transpose(1, 2), other.tensor);
    }

    void put(int64_t group, int64_t r, const float* from, int64_t width) {
        Number* to = row(group, r);
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) to[i] = number<Number>(from[i]);
        std::fill(to + width, to + columns, number<Number>(0));
    }
    void get(int64_t group, int64_t r, float* to, int64_t width) const {
        const Number* from = row(group, r);
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) to[i] = value(from[i]);
    }

    // A row of `width` channels per group.
    void put_groups(int64_t r, const float* from, int64_t width) {
        for (int64_t g = 0; g < tensor.size(0); ++g) put(g, r, from + g * width, width);
    }
    void get_groups(int64_t r, float* to, int64_t width) const {
        for (int64_t g = 0; g < tensor.size(0); ++g) get(g, r, to + g * width, width);
    }
};

// A weight [outputs, inputs, 1].
template <class Number>
static Matrix<Number> matrix_of(const Tensor& w, int64_t groups) {
    const int64_t outputs = w.size(0) / groups, inputs = w.size(1);
    Matrix<Number> result(groups, padded(outputs), padded(inputs));
    for (int64_t g = 0; g < groups; ++g) {
        for (int64_t o = 0; o < outputs; ++o)
            result.put(g, o, data(w) + (g * outputs + o) * inputs, inputs);
        std::fill(result.row(g, outputs), result.row(g + 1, 0), number<Number>(0));
    }
    return result;
}

// The inverse, for a gradient.
template <class Number>
static Tensor weight_of(const Matrix<Number>& matrix, const Tensor& like) {
    const int64_t outputs = like.size(0) / matrix.tensor.size(0), inputs = like.size(1);
    Tensor result = at::empty_like(like);
    for (int64_t o = 0; o < like.size(0); ++o)
        matrix.get(o / outputs, o % outputs, writable(result) + o * inputs, inputs);
    return result;
}

// out[r] += sum_k w[k] in[r + k] for R rows, with two vectors each.
template <int R>
static inline void correlate_block(const float* w, int64_t count, const float* in, float* out,
                                   int64_t width) {
    Vec sum[R][2];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < 2; ++v) sum[r][v] = load(out + r * width + v * W);
    for (int64_t k = 0; k < count; ++k, w += width, in += width)
        for (int v = 0; v < 2; ++v) {
            const Vec factor = load(w + v * W);
            for (int r = 0; r < R; ++r) sum[r][v] += factor * load(in + r * width + v * W);
        }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < 2; ++v) store(out + r * width + v * W, sum[r][v]);
}

// out[r] += sum_k w[k] in[r + k] for each channel: a depthwise convolution, or, with gradients for w,
// the gradient of its taps. `width` is padded.
static void correlate(const float* w, int64_t count, const float* in, float* out, int64_t rows,
                      int64_t width) {
    for (int64_t i = 0; i < width; i += 2 * W) {
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4)
            correlate_block<4>(w + i, count, in + r * width + i, out + r * width + i, width);
        for (; r < rows; ++r)
            correlate_block<1>(w + i, count, in + r * width + i, out + r * width + i, width);
    }
}
