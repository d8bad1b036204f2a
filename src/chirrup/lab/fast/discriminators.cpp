// Convolutions of discriminators, forward and backward, and the distance of their features.
//
// `period_conv` works on rows: [rows, time, channels], the positions of one phase of a period in a
// row. It copies the inputs of each output side by side, so that forward and backward are products.
// `thin_conv` is a two-dimensional convolution of few planes to many channels, which are the lanes
// of a vector; a product would have next to nothing to add up. Features are bfloat16 or float32;
// sums are float32.

#include "fast.h"

#include <torch/csrc/autograd/custom_function.h>

// bfloat16 is the upper half of a float32.
static inline float wide(uint16_t x) {
    const uint32_t bits = uint32_t(x) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
static inline float wide(float x) { return x; }
static inline void narrow(float x, float& y) { y = x; }
static inline void narrow(float x, uint16_t& y) {  // to the nearest, to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    y = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Calls f with the element type of a tensor: float, or uint16_t for the bits of bfloat16.
template <class F>
static void with_type(const Tensor& x, F f) {
    TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "float32 or bfloat16");
    if (x.scalar_type() == at::kFloat) f(float());
    else f(uint16_t());
}
template <class S>
static const S* in(const Tensor& x) { return static_cast<const S*>(x.const_data_ptr()); }
template <class S>
static S* out(Tensor& x) { return static_cast<S*>(x.mutable_data_ptr()); }

// The leaky rectifier of z + bias, in place: [rows, channels].
template <class S>
static void rectify(S* __restrict z, const float* __restrict bias, int64_t rows, int64_t channels,
                    float slope) {
    for (int64_t r = 0; r < rows; ++r, z += channels)
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            const float sum = wide(z[c]) + bias[c];
            narrow(sum > 0 ? sum : slope * sum, z[c]);
        }
}

// Its backward: dz = dy where y > 0, else slope dy; the sums over rows are added to `sums`, those
// of some rows first, for precision.
template <class S, class D>
static void rectify_backward(const S* __restrict dy, const S* __restrict y, D* __restrict dz,
                             float* __restrict sums, int64_t rows, int64_t channels, float slope) {
    std::vector<float> some(channels);
    float* __restrict part = some.data();
    for (int64_t r0 = 0; r0 < rows; r0 += 128) {
        std::fill(some.begin(), some.end(), 0.0f);
        for (int64_t r = r0; r < std::min(rows, r0 + 128); ++r, dy += channels, y += channels, dz += channels)
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) {
                const float d = wide(dy[c]) * (wide(y[c]) > 0 ? 1.0f : slope);
                part[c] += d;
                narrow(d, dz[c]);
            }
        for (int64_t c = 0; c < channels; ++c) sums[c] += part[c];
    }
}

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

    // Taps [first, last) of output step t lie inside the row; its first tap is at input step from(t).
    int64_t from(int64_t t) const { return t * stride - padding; }
    int64_t first(int64_t t) const { return std::max<int64_t>(0, -from(t)); }
    int64_t last(int64_t t) const { return std::min(kernel, time - from(t)); }

    // The inputs of every output, [rows * steps, kernel * channels]; zeros outside of the row.
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

    // Adds up what every output's columns give each input: the transpose of `columns`.
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

// The functions of autograd are in C++, where they know which gradients a pass wants: that of the
// discriminators wants those of the weights, that of the model those of the inputs.
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// x [rows, time, channels], w [outputs, kernel * channels], b [outputs], the latter in float32.
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

// --- a convolution of few planes -----------------------------------------------------------------

// Eight outputs of a line, or fewer, W channels of each: `y` is [outputs of the line, stride].
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

    // Planes of x padded by zeros.
    Planes(const Tensor& x, const Tensor& w)
        : batch(x.size(0)), height(x.size(2)), width(x.size(3)) {
        const int64_t h = w.size(2), v = w.size(3);
        padded = at::constant_pad_nd(x, {v / 2, v / 2, h / 2, h / 2}).contiguous();
        line = padded.size(3);
        image = padded.size(1) * padded.size(2) * line;
        for (int64_t p = 0; p < w.size(1); ++p)  // where each tap lies behind an output's first one
            for (int64_t i = 0; i < h; ++i)
                for (int64_t j = 0; j < v; ++j) at.push_back((p * padded.size(2) + i) * line + j);
    }

    // Where the first tap of the first output of a line lies; lines are numbered over the batch.
    int64_t first(int64_t h) const { return h / height * image + h % height * line; }
};

// x [batch, planes, height, width], w [outputs, planes, kh, kw], all float32, outputs a multiple of
// W; y [batch, height, width, outputs], bfloat16 if wanted.
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

// Gradient of N inputs next to each other: all channels of the outputs that each is a tap of.
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

// Gradients of N taps for W channels. Lines are summed by themselves first, for precision.
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

// dy and y [batch, height, width, outputs]; dx like x, dw like w.
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

// --- features ------------------------------------------------------------------------------------

constexpr int64_t BLOCK = 4096;  // summed in float32, the blocks in float64

// Sums of |real - fake| and of |real|. Both lie alike in memory, without gaps.
static std::pair<double, double> distance_and_size(const Tensor& real, const Tensor& fake) {
    double distance = 0, size = 0;
    with_type(real, [&](auto type) {
        using S = decltype(type);
        const S *a = in<S>(real), *b = in<S>(fake);
        for (int64_t i0 = 0; i0 < real.numel(); i0 += BLOCK) {
            const int64_t end = std::min(i0 + BLOCK, real.numel());
            float d = 0, s = 0;
#pragma omp simd reduction(+ : d, s)
            for (int64_t i = i0; i < end; ++i) {
                d += std::fabs(wide(a[i]) - wide(b[i]));
                s += std::fabs(wide(a[i]));
            }
            distance += d;
            size += s;
        }
    });
    return {distance, size};
}

// scale where fake is larger, -scale where real is.
template <class S>
static void signs(const S* __restrict real, const S* __restrict fake, S* __restrict y,
                  int64_t length, float scale) {
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) {
        const float d = wide(fake[i]) - wide(real[i]);
        narrow(d > 0 ? scale : d < 0 ? -scale : 0.0f, y[i]);
    }
}

// Mean |real - fake|, over mean |real| if wanted; no gradient reaches real.
struct FeatureDistance : torch::autograd::Function<FeatureDistance> {
    static Tensor forward(AutogradContext* ctx, const Tensor& real, const Tensor& fake, bool normalise) {
        const auto [distance, size] = distance_and_size(real, fake);
        const double count = real.numel(), whole = normalise ? std::max(size, 1e-8 * count) : count;
        ctx->save_for_backward({real, fake});
        ctx->saved_data["scale"] = 1 / whole;
        return at::scalar_tensor(distance / whole);
    }
    static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
        const auto saved = ctx->get_saved_variables();
        const Tensor &real = saved[0], &fake = saved[1];
        const float scale = ctx->saved_data["scale"].toDouble() * gradients[0].item<double>();
        Tensor gradient = at::empty_like(fake);
        with_type(real, [&](auto type) {
            using S = decltype(type);
            signs(in<S>(real), in<S>(fake), out<S>(gradient), real.numel(), scale);
        });
        return {Tensor(), gradient, Tensor()};
    }
};

Tensor feature_distance(const Tensor& real, const Tensor& fake, bool normalise) {
    return FeatureDistance::apply(real.detach(), fake, normalise);
}
