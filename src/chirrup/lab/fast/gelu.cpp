// GELU. The forward computes the slope too, so that the backward is one multiplication.

#include "gelu.h"

static Tensor laid_out_as(const Tensor& x, const Tensor& other) {
    return x.strides() == other.strides() ? x : at::empty_like(other).copy_(x);
}

// Returns the output and, if a gradient is wanted, the slope, in the memory layout of x.
std::vector<Tensor> gelu(const Tensor& x, bool wants_gradient) {
    const Tensor dense = x.is_non_overlapping_and_dense() ? x : x.contiguous();
    Tensor y = at::empty_like(dense), slope = wants_gradient ? at::empty_like(dense) : Tensor();
    with_type(x, [&](auto type) {
        using S = decltype(type);
        at::parallel_for(0, x.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
            gelu_row(in<S>(dense) + begin, out<S>(y) + begin, wants_gradient ? out<S>(slope) + begin : nullptr,
                     end - begin);
        });
    });
    if (!wants_gradient) return {y};
    return {y, slope};
}

Tensor gelu_backward(const Tensor& dy, const Tensor& slope) {
    const Tensor own = laid_out_as(dy, slope);
    Tensor dx = at::empty_like(slope);
    with_type(slope, [&](auto type) {
        using S = decltype(type);
        multiply_by_slope(in<S>(own), in<S>(slope), out<S>(dx), slope.numel());
    });
    return dx;
}
