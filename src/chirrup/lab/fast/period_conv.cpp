// The convolutions of a multi-period discriminator, forward and backward.
//
// They work on [rows, time, channels]; a row holds the positions of one phase of a period. The inputs
// of each output are copied side by side, so that forward and backward pass are matrix products.

#include "elements.h"

// sums[i] += x[i].
template <class S>
static void add(const S* __restrict x, float* __restrict sums, int64_t length) {
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) sums[i] += wide(x[i]);
}
template <class S>
static void narrow_all(const float* __restrict x, S* __restrict y, int64_t length) {
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) narrow(x[i], y[i]);
}

struct Windows {
    int64_t rows, time, channels, kernel, stride, padding, steps;

    Windows(const Tensor& x, int64_t kernel, int64_t stride)
        : rows(x.size(0)), time(x.size(1)), channels(x.size(2)), kernel(kernel), stride(stride),
          padding(kernel / 2), steps((time + 2 * padding - kernel) / stride + 1) {}

    // Taps [first, last) of output step t are inside the row; its first tap reads input step from(t).
    int64_t from(int64_t t) const { return t * stride - padding; }
    int64_t first(int64_t t) const { return std::max<int64_t>(0, -from(t)); }
    int64_t last(int64_t t) const { return std::min(kernel, time - from(t)); }

    // Returns the inputs of every output, [rows * steps, kernel * channels], with zeros outside the
    // row.
    Tensor columns(const Tensor& x) const {
        Tensor result = at::empty({rows * steps, kernel * channels}, x.options());
        with_type(x, [&](auto type) {
            using S = decltype(type);
            const S* source = in<S>(x);
            S* target = out<S>(result);
            at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
                for (int64_t r = begin; r < end; ++r)
                    for (int64_t t = 0; t < steps; ++t) {
                        S* taps = target + (r * steps + t) * kernel * channels;
                        std::fill(taps, taps + first(t) * channels, S());
                        std::copy_n(source + (r * time + from(t) + first(t)) * channels,
                                    (last(t) - first(t)) * channels, taps + first(t) * channels);
                        std::fill(taps + last(t) * channels, taps + kernel * channels, S());
                    }
            });
        });
        return result;
    }

    // Adds the gradients of all outputs' inputs: the adjoint of `columns`.
    Tensor folded(const Tensor& columns) const {
        Tensor result = at::empty({rows, time, channels}, columns.options());
        with_type(columns, [&](auto type) {
            using S = decltype(type);
            const S* source = in<S>(columns);
            S* target = out<S>(result);
            at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
                std::vector<float> sums(time * channels);
                for (int64_t r = begin; r < end; ++r) {
                    std::fill(sums.begin(), sums.end(), 0.0f);
                    for (int64_t t = 0; t < steps; ++t)
                        add(source + ((r * steps + t) * kernel + first(t)) * channels,
                            sums.data() + (from(t) + first(t)) * channels,
                            (last(t) - first(t)) * channels);
                    narrow_all(sums.data(), target + r * time * channels, time * channels);
                }
            });
        });
        return result;
    }
};

// x [rows, time, channels], w [outputs, kernel * channels], b [outputs] in float32.
static Tensor forward(const Tensor& x, const Tensor& w, const Tensor& b, int64_t stride, double slope) {
    const Windows windows(x, w.size(1) / x.size(2), stride);
    const int64_t outputs = w.size(0);
    Tensor y = at::mm(windows.columns(x), w.t());
    with_type(y, [&](auto type) {
        rectify(out<decltype(type)>(y), data(b), y.size(0), outputs, slope);
    });
    return y.view({windows.rows, windows.steps, outputs});
}

static tensor_list backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Tensor& w,
                            int64_t stride, double slope, bool wants_x, bool wants_w) {
    const Windows windows(x, w.size(1) / x.size(2), stride);
    const int64_t rows = dy.size(0) * dy.size(1), outputs = w.size(0);
    Tensor dz = at::empty({rows, outputs}, dy.options()), db = at::zeros({outputs});
    with_type(dy, [&](auto type) {
        using S = decltype(type);
        rectify_backward(in<S>(dy), in<S>(y), out<S>(dz), db.mutable_data_ptr<float>(), rows, outputs,
                         slope);
    });
    Tensor dx, dw;
    if (wants_x) dx = windows.folded(at::mm(dz, w));
    if (wants_w) dw = at::mm(dz.t(), windows.columns(x)).to(at::kFloat);
    return {dx, dw, db};
}

struct PeriodConv : torch::autograd::Function<PeriodConv> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                          const Tensor& bias, int64_t stride, double slope) {
        const Tensor w = weight.to(x.scalar_type()).contiguous();
        const Tensor y = ::forward(x, w, bias, stride, slope);
        ctx->save_for_backward({x, y, w});
        ctx->saved_data["stride"] = stride;
        ctx->saved_data["slope"] = slope;
        return y;
    }
    static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
        const auto saved = ctx->get_saved_variables();
        tensor_list result = ::backward(
            gradients[0].contiguous(), saved[0], saved[1], saved[2], ctx->saved_data["stride"].toInt(),
            ctx->saved_data["slope"].toDouble(), ctx->needs_input_grad(0), ctx->needs_input_grad(1));
        result.resize(5);
        return result;
    }
};

Tensor period_conv(const Tensor& x, const Tensor& w, const Tensor& b, int64_t stride, double slope) {
    return PeriodConv::apply(x, w, b, stride, slope);
}
