// A depthwise convolution over rows [batch, steps, channels], and its gradients.

#include "rows.h"

static Tensor filter_of(const Tensor& w) {  // [channels, 1, K] to [K, padded channels]
    Tensor filter = at::zeros({w.size(2), padded(w.size(0))});
    filter.narrow(1, 0, w.size(0)).copy_(w.flatten(1).t());
    return filter;
}

// `line` [batch, K - 1 + time, channels]; the output has `time` steps.
Tensor depthwise_conv(const Tensor& line, const Tensor& w, const Tensor& bias) {
    const int64_t K = w.size(2), C = w.size(0), Cp = padded(C), time = line.size(1) - K + 1;
    const Tensor filter = filter_of(w), rows = at::constant_pad_nd(line, {0, Cp - C}).contiguous();
    Tensor y = at::constant_pad_nd(bias, {0, Cp - C}).expand({line.size(0), time, Cp}).contiguous();
    at::parallel_for(0, line.size(0), 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b)
            correlate(data(filter), K, data(rows) + b * line.size(1) * Cp, writable(y) + b * time * Cp,
                      time, Cp);
    });
    return y.narrow(2, 0, C);
}

// Returns the gradients of line, w and bias.
std::vector<Tensor> depthwise_conv_backward(const Tensor& dy, const Tensor& line, const Tensor& w) {
    const int64_t K = w.size(2), C = w.size(0), Cp = padded(C), steps = line.size(1), time = dy.size(1);
    const Tensor filter = filter_of(w).flip(0), rows = at::constant_pad_nd(line, {0, Cp - C}).contiguous();
    const Tensor d = at::constant_pad_nd(dy, {0, Cp - C, K - 1, K - 1}).contiguous();
    Tensor d_line = at::zeros({line.size(0), steps, Cp}), dw = at::zeros({K, Cp});
    for (int64_t b = 0; b < line.size(0); ++b) {
        const float* own = data(d) + b * d.size(1) * Cp;
        correlate(data(filter), K, own, writable(d_line) + b * steps * Cp, steps, Cp);
        correlate(own + (K - 1) * Cp, time, data(rows) + b * steps * Cp, writable(dw), K, Cp);
    }
    return {d_line.narrow(2, 0, C), dw.narrow(1, 0, C).t().contiguous().view_as(w), dy.sum({0, 1})};
}
