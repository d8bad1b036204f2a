// A 2-D convolution from few planes to many channels, forward and backward.
//
// Vector lanes are channels; a matrix product would have too few terms to sum.

#include "elements.h"

// Computes up to eight outputs of a line, W channels each: `y` is [outputs of the line, stride].
template <class S, int N>
static void thin_block(const float* __restrict x, const float* __restrict weights,
                       const int64_t* __restrict at, int64_t taps, Vec bias, S* __restrict y,
                       int64_t stride, float slope) {
    Vec sum[N];
    for (int i = 0; i < N; ++i) sum[i] = bias;
    for (int64_t k = 0; k < taps; ++k) {
        const Vec weight = load(weights + k * stride);
        for (int i = 0; i < N; ++i) sum[i] += x[at[k] + i] * weight;
    }
    for (int i = 0; i < N; ++i) {
        alignas(64) float z[W];
        store(z, sum[i]);
#pragma omp simd
        for (int lane = 0; lane < W; ++lane) {
            narrow(z[lane] > 0 ? z[lane] : slope * z[lane], y[i * stride + lane]);
        }
    }
}

struct Planes {
    Tensor padded;
    std::vector<int64_t> at;
    int64_t batch, height, width, line, image;

    // Planes of x, padded with zeros.
    Planes(const Tensor& x, const Tensor& w)
        : batch(x.size(0)), height(x.size(2)), width(x.size(3)) {
        const int64_t h = w.size(2), v = w.size(3);
        padded = at::constant_pad_nd(x, {v / 2, v / 2, h / 2, h / 2}).contiguous();
        line = padded.size(3);
        image = padded.size(1) * padded.size(2) * line;
        for (int64_t p = 0; p < w.size(1); ++p)  // offset of each tap from the first tap of an output
            for (int64_t i = 0; i < h; ++i)
                for (int64_t j = 0; j < v; ++j) at.push_back((p * padded.size(2) + i) * line + j);
    }

    // Returns the offset of the first tap of a line's first output; lines are numbered over the batch.
    int64_t first(int64_t h) const { return h / height * image + h % height * line; }
};

// x [batch, planes, height, width], w [outputs, planes, kh, kw], both float32; the number of outputs is
// a multiple of W. y [batch, height, width, outputs] is bfloat16 if requested.
static Tensor thin_forward(const Tensor& x, const Tensor& w, const Tensor& b, double slope, bool bf16) {
    const Planes planes(x, w);
    const Tensor packed = w.flatten(1).t().contiguous();  // [taps, outputs]
    const int64_t outputs = w.size(0), width = planes.width, taps = planes.at.size();
    Tensor y = at::empty({planes.batch, planes.height, width, outputs}, bf16 ? at::kBFloat16 : at::kFloat);
    const float *source = data(planes.padded), *weights = data(packed), *bias = data(b);
    with_type(y, [&](auto type) {
        using S = decltype(type);
        S* target = out<S>(y);
        at::parallel_for(0, planes.batch * planes.height, 16, [&](int64_t begin, int64_t end) {
            for (int64_t h = begin; h < end; ++h)
                for (int64_t o = 0; o < outputs; o += W) {
                    const float* line = source + planes.first(h);
                    S* row = target + h * width * outputs + o;
                    const Vec first = load(bias + o);
                    int64_t t = 0;
                    for (; t + 8 <= width; t += 8)
                        thin_block<S, 8>(line + t, weights + o, planes.at.data(), taps, first,
                                         row + t * outputs, outputs, slope);
                    for (; t < width; ++t)
                        thin_block<S, 1>(line + t, weights + o, planes.at.data(), taps, first,
                                         row + t * outputs, outputs, slope);
                }
        });
    });
    return y;
}

// Computes the gradient of N neighbouring inputs: a sum over all outputs, of all channels, that use the
// input.
template <int N>
static void thin_inputs(const float* __restrict d, const float* __restrict weights,
                        const int64_t* __restrict at, int64_t taps, int64_t outputs,
                        float* __restrict dx) {
    Vec sum[N] = {};
    for (int64_t k = 0; k < taps; ++k)
        for (int64_t o = 0; o < outputs; o += W) {
            const Vec weight = load(weights + k * outputs + o);
            for (int i = 0; i < N; ++i) sum[i] += load(d + at[k] + i * outputs + o) * weight;
        }
    for (int i = 0; i < N; ++i) {
        alignas(64) float z[W];
        store(z, sum[i]);
        float total = 0;
#pragma omp simd reduction(+ : total)
        for (int lane = 0; lane < W; ++lane) total += z[lane];
        dx[i] = total;
    }
}

// Computes gradients of N taps for W channels. Lines are summed separately first, for precision.
template <int N>
static void thin_weights(const Planes& planes, const float* __restrict source,
                         const float* __restrict d, const int64_t* __restrict at, int64_t outputs,
                         float* __restrict total) {
    Vec all[N] = {};
    int64_t offset[N];
    for (int k = 0; k < N; ++k) offset[k] = at[k];
    for (int64_t h = 0; h < planes.batch * planes.height; ++h) {
        const float* line = source + planes.first(h);
        Vec sum[N] = {};
        for (int64_t t = 0; t < planes.width; ++t, d += outputs) {
            const Vec value = load(d);
            for (int k = 0; k < N; ++k) sum[k] += line[offset[k] + t] * value;
        }
        for (int k = 0; k < N; ++k) all[k] += sum[k];
    }
    for (int k = 0; k < N; ++k) store(total + k * outputs, all[k]);
}

// dy and y are [batch, height, width, outputs]; dx has the shape of x, dw the shape of w.
static tensor_list thin_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const Tensor& w,
                                 double slope, bool wants_x, bool wants_w) {
    const int64_t outputs = w.size(0), rows = dy.numel() / outputs;
    Tensor dz = at::empty(dy.sizes()), db = at::zeros({outputs});
    with_type(dy, [&](auto type) {
        using S = decltype(type);
        rectify_backward(in<S>(dy), in<S>(y), dz.mutable_data_ptr<float>(),
                         db.mutable_data_ptr<float>(), rows, outputs, slope);
    });
    const float* d = data(dz);
    Tensor dx, dw;
    if (wants_x) {
        const int64_t kh = w.size(2), kw = w.size(3), height = x.size(2), width = x.size(3);
        const Tensor around = at::constant_pad_nd(dz, {0, 0, kw / 2, kw / 2, kh / 2, kh / 2}).contiguous();
        const Tensor packed = w.flip({2, 3}).permute({1, 2, 3, 0}).contiguous();
        const int64_t line = around.size(2) * outputs, image = around.size(1) * line;
        std::vector<int64_t> at;
        for (int64_t i = 0; i < kh; ++i)
            for (int64_t j = 0; j < kw; ++j) at.push_back(i * line + j * outputs);
        dx = at::empty_like(x);
        const float *source = data(around), *weights = data(packed);
        float* target = dx.mutable_data_ptr<float>();
        const int64_t taps = at.size();
        at::parallel_for(0, x.size(0) * x.size(1) * height, 16, [&](int64_t begin, int64_t end) {
            for (int64_t h = begin; h < end; ++h) {
                const int64_t plane = h / height % x.size(1), batch = h / height / x.size(1);
                const float* first = source + batch * image + h % height * line;
                const float* own = weights + plane * taps * outputs;
                int64_t t = 0;
                for (; t + 4 <= width; t += 4)
                    thin_inputs<4>(first + t * outputs, own, at.data(), taps, outputs, target + h * width + t);
                for (; t < width; ++t)
                    thin_inputs<1>(first + t * outputs, own, at.data(), taps, outputs, target + h * width + t);
            }
        });
    }
    if (wants_w) {
        const Planes planes(x, w);
        const int64_t taps = planes.at.size();
        Tensor sums = at::zeros({taps, outputs});
        float* total = sums.mutable_data_ptr<float>();
        for (int64_t o = 0; o < outputs; o += W) {
            int64_t k = 0;
            for (; k + 9 <= taps; k += 9)
                thin_weights<9>(planes, data(planes.padded), d + o, &planes.at[k], outputs,
                                total + k * outputs + o);
            for (; k < taps; ++k)
                thin_weights<1>(planes, data(planes.padded), d + o, &planes.at[k], outputs,
                                total + k * outputs + o);
        }
        dw = sums.t().contiguous().view_as(w);
    }
    return {dx, dw, db};
}

struct ThinConv : torch::autograd::Function<ThinConv> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                          const Tensor& bias, double slope, bool bf16) {
        const Tensor planes = x.contiguous(), w = weight.contiguous();
        const Tensor y = thin_forward(planes, w, bias, slope, bf16);
        ctx->save_for_backward({planes, y, w});
        ctx->saved_data["slope"] = slope;
        return y;
    }
    static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
        const auto saved = ctx->get_saved_variables();
        tensor_list result = thin_backward(
            gradients[0].contiguous(), saved[0], saved[1], saved[2], ctx->saved_data["slope"].toDouble(),
            ctx->needs_input_grad(0), ctx->needs_input_grad(1));
        result.resize(5);
        return result;
    }
};

Tensor thin_conv(const Tensor& x, const Tensor& w, const Tensor& b, double slope, bool bf16) {
    return ThinConv::apply(x, w, b, slope, bf16);
}
