// The distance between two sets of features, and its gradient, each in one pass over memory.

#include "elements.h"

constexpr int64_t BLOCK = 4096;  // summed in float32; the sums of blocks are float64

// Returns the sums of |real - fake| and |real|. Both tensors are dense, with equal layouts.
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

// Writes scale if fake is larger, -scale if real is larger.
template <class S>
static void signs(const S* __restrict real, const S* __restrict fake, S* __restrict y,
                  int64_t length, float scale) {
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) {
        const float d = wide(fake[i]) - wide(real[i]);
        narrow(d > 0 ? scale : d < 0 ? -scale : 0.0f, y[i]);
    }
}

// Returns mean |real - fake|, optionally divided by mean |real|; no gradient reaches real.
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
