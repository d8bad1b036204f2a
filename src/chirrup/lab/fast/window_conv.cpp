// A causal convolution and a transposed one as bfloat16 matrix products, for layers with many weights.
//
//   windows[b, t][c, j] = signal[b][c][t * stride + j]     j < kernel; signal: [past, f(x)]
//
// The windows are multiplied by the weights [outputs, channels * kernel]. f is an optional ELU. The
// transposed convolution multiplies by the weights and then adds overlapping windows to a signal.

#include "elu.h"

constexpr int64_t BLOCK = 32;  // windows of all channels written before the next block

// Calls f(window, samples, size) for all windows [batch, time, channels * kernel] of a signal [batch,
// channels, samples]. Common kernel sizes are compile-time constants, so that the compiler unrolls.
template <class Number, class Sample, class F>
static void each_window(Number* window, int64_t batch, int64_t channels, int64_t time,
                        Sample* signal, int64_t samples, int64_t kernel, int64_t stride, F f) {
    const auto run = [&](auto size) {
        for (int64_t b = 0; b < batch; ++b, window += time * channels * kernel)
            for (int64_t t0 = 0; t0 < time; t0 += BLOCK)
                for (int64_t c = 0; c < channels; ++c) {
                    Sample* x = signal + (b * channels + c) * samples;
                    for (int64_t t = t0; t < std::min(time, t0 + BLOCK); ++t)
                        f(window + (t * channels + c) * kernel, x + t * stride, size);
                }
    };
    switch (kernel) {
        case 1: return run(std::integral_constant<int, 1>());
        case 3: return run(std::integral_constant<int, 3>());
        case 7: return run(std::integral_constant<int, 7>());
        case 8: return run(std::integral_constant<int, 8>());
        case 10: return run(std::integral_constant<int, 10>());
        case 16: return run(std::integral_constant<int, 16>());
        default: return run(kernel);
    }
}

// Returns the windows of a signal [batch, channels, samples] as [batch * time, channels * kernel].
template <class Number>
static Tensor windows(const Tensor& signal, int64_t kernel, int64_t stride) {
    const int64_t time = (signal.size(2) - kernel) / stride + 1;
    constexpr auto kind = std::is_same_v<Number, float> ? at::kFloat : at::kBFloat16;
    Tensor result = at::empty({signal.size(0) * time, signal.size(1) * kernel}, kind);
    each_window(result.mutable_data_ptr<Number>(), signal.size(0), signal.size(1), time, data(signal),
                signal.size(2), kernel, stride, [](Number* window, const float* x, auto size) {
#pragma omp simd
                    for (int64_t j = 0; j < size; ++j) window[j] = number<Number>(x[j]);
                });
    return result;
}

// Returns the sum of bfloat16 windows, [batch, channels, samples].
static Tensor add_windows(const Tensor& windows, int64_t batch, int64_t samples, int64_t kernel,
                          int64_t stride) {
    const int64_t channels = windows.size(1) / kernel;
    Tensor signal = at::zeros({batch, channels, samples});
    each_window(windows.const_data_ptr<at::BFloat16>(), batch, channels, windows.size(0) / batch,
                writable(signal), samples, kernel, stride,
                [](const at::BFloat16* window, float* x, auto size) {
#pragma omp simd
                    for (int64_t j = 0; j < size; ++j) x[j] += value(window[j]);
                });
    return signal;
}

// Returns [past, f(x)]; past may be undefined.
static Tensor join(const Tensor& past, const Tensor& x, bool activate) {
    const int64_t rows = x.size(0) * x.size(1), time = x.size(2);
    const int64_t before = past.defined() ? past.size(2) : 0;
    if (before == 0 && !activate) return x;
    Tensor signal = at::empty({x.size(0), x.size(1), before + time});
    const float *old = data(past), *from = data(x);
    float* to = writable(signal);
    for (int64_t row = 0; row < rows; ++row, old += before, from += time, to += before + time) {
        std::copy_n(old, before, to);
        if (activate) elu_row(from, to + before, time);
        else std::copy_n(from, time, to + before);
    }
    return signal;
}

// Returns the gradients of x and past from the gradient of the signal [past, f(x)].
static std::pair<Tensor, Tensor> part(const Tensor& d_signal, const Tensor& signal, int64_t before,
                                      bool activate) {
    const Tensor d_x = d_signal.narrow(2, before, d_signal.size(2) - before).contiguous();
    if (activate) {
        const int64_t rows = d_x.size(0) * d_x.size(1), time = d_x.size(2);
        for (int64_t row = 0; row < rows; ++row)
            multiply_by_slope(writable(d_x) + row * time,
                              data(signal) + row * (before + time) + before, time);
    }
    return {d_x, d_signal.narrow(2, 0, before)};
}

static Tensor narrowed(const Tensor& t) { return t.to(at::kBFloat16); }
static Tensor matrix(const Tensor& w) { return narrowed(w.detach()).flatten(1).contiguous(); }

// Returns y [batch, time, outputs], the signal and its windows. If `exact`, the factors of y are
// float32.
std::vector<Tensor> window_conv(const Tensor& x, const Tensor& past, const Tensor& w,
                                const Tensor& bias, int64_t stride, bool activate, bool exact) {
    const Tensor signal = join(past, x, activate);
    Tensor rows, y;
    if (exact) {
        const Tensor whole = windows<float>(signal, w.size(2), stride);
        y = at::addmm(bias, whole, w.flatten(1).t());
        rows = narrowed(whole);
    } else {
        rows = windows<at::BFloat16>(signal, w.size(2), stride);
        y = at::mm(rows, matrix(w).t()).to(at::kFloat).add_(bias);
    }
    return {y.view({x.size(0), -1, w.size(0)}), signal, rows};
}

// dy [batch, time, outputs]. Returns the gradients of x, past, w and the bias.
std::vector<Tensor> window_conv_backward(const Tensor& dy, const Tensor& signal, const Tensor& rows,
                                         const Tensor& w, int64_t stride, bool activate,
                                         bool wants_x) {
    const int64_t kernel = w.size(2);
    const Tensor d = narrowed(dy).flatten(0, 1);
    Tensor dx, d_past;
    if (wants_x)
        std::tie(dx, d_past) = part(
            add_windows(at::mm(d, matrix(w)), signal.size(0), signal.size(2), kernel, stride), signal,
            kernel - stride, activate);
    const Tensor dw = at::mm(d.t(), rows).to(at::kFloat).view_as(w);
    return {dx, d_past, dw, dy.sum(at::IntArrayRef({0, 1}))};
}

// x [batch, inputs, time], w [inputs, channels, kernel]. Returns y [batch, channels, time * stride],
// the samples after it, without bias, to which later inputs contribute, f(x), and its rows in bfloat16.
std::vector<Tensor> window_transposed(const Tensor& x, const Tensor& w, const Tensor& bias,
                                      int64_t stride, bool activate) {
    const Tensor signal = join(Tensor(), x, activate);
    const Tensor rows = windows<at::BFloat16>(signal, 1, 1);
    const int64_t whole = x.size(2) * stride, overlap = w.size(2) - stride;
    const Tensor y = add_windows(at::mm(rows, matrix(w)), x.size(0), whole + overlap, w.size(2), stride);
    return {y.narrow(2, 0, whole) + bias.unsqueeze(1), y.narrow(2, whole, overlap).contiguous(), signal,
            rows};
}

// Returns the gradients of x, w and the bias.
std::vector<Tensor> window_transposed_backward(const Tensor& dy, const Tensor& d_after,
                                               const Tensor& signal, const Tensor& rows,
                                               const Tensor& w, int64_t stride, bool activate) {
    const Tensor d = windows<at::BFloat16>(at::cat({dy, d_after}, 2), w.size(2), stride);
    const Tensor d_signal = add_windows(at::mm(d, matrix(w).t()), signal.size(0), signal.size(2), 1, 1);
    return {part(d_signal, signal, 0, activate).first,
            at::mm(rows.t(), d).to(at::kFloat).view_as(w), dy.sum(at::IntArrayRef({0, 2}))};
}
