// Tiles of a convolution whose stride divides its kernel size: shapes, rows, packed weights and weight
// gradients. The side with the higher rate has n rows, one for each channel and phase of the stride. K
// is the number of taps of each row.

#pragma once

#include "conv_rows.h"

// Copies `length` steps of S interleaved samples to S rows, or back.
template <int S>
static void deal(const float* x, float* rows, int64_t row_stride, int64_t length) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t)
        for (int s = 0; s < S; ++s) rows[s * row_stride + t] = x[t * S + s];
}
template <int S>
static void gather(const float* rows, float* x, int64_t row_stride, int64_t length) {
#pragma omp simd
    for (int64_t t = 0; t < length; ++t)
        for (int s = 0; s < S; ++s) x[t * S + s] = rows[s * row_stride + t];
}

constexpr int64_t BUFFER = 512 * 1024;  // floats in the rows of a tile
constexpr int64_t UNIT = 6 * W;         // steps in whole blocks of a convolution

struct Tiling {
    int64_t batch, channels, time, outputs, phases, n, taps, dilation, context, tile, stride;
    bool pairs;

    // The side with the higher rate is [batch, channels, samples]; w is [outputs, channels, K * phases].
    // Taps are `dilation` steps apart.
    Tiling(int64_t batch, int64_t time, const Tensor& w, int64_t phases, int64_t dilation, bool bf16)
        : batch(batch), channels(w.size(1)), time(time), outputs(w.size(0)), phases(phases),
          n(channels * phases), taps(w.size(2) / phases), dilation(dilation),
          context((taps - 1) * dilation), pairs(bf16 && HAS_PAIRS && n > 1) {
        const int64_t fitting = BUFFER / (n + outputs) / UNIT * UNIT;
        tile = std::min(std::max(UNIT, std::min(8 * UNIT, fitting)), padded(time + context));
        stride = tile + padded(context) + 2 * W;
        if (stride % 256 == 0) stride += W;  // avoids rows that map to the same cache sets
    }

    // Rounds a length up to whole vectors of bfloat16.
    static int64_t padded(int64_t length) { return (length + 2 * W - 1) / (2 * W) * (2 * W); }

    // Returns the index of output o, row i of n and tap k in a weight [outputs, channels, K * phases].
    int64_t place(int64_t o, int64_t i, int64_t k) const {
        return ((o * channels + i / phases) * taps + k) * phases + i % phases;
    }

    Tensor weight_gradients() const {
        return at::zeros({batch, outputs, channels, taps * phases});
    }

    // Copies steps of all channels, `pitch` samples apart, from x to rows or back.
    void deal_out(const float* x, int64_t pitch, float* rows, int64_t length) const {
        for (int64_t c = 0; c < channels; ++c, x += pitch, rows += phases * stride) switch (phases) {
            case 1: std::memcpy(rows, x, 4 * length); break;
            case 2: deal<2>(x, rows, stride, length); break;
            case 3: deal<3>(x, rows, stride, length); break;
            case 4: deal<4>(x, rows, stride, length); break;
            case 8: deal<8>(x, rows, stride, length); break;
            default:
                for (int64_t s = 0; s < phases; ++s)
                    for (int64_t t = 0; t < length; ++t) rows[s * stride + t] = x[t * phases + s];
        }
    }
    void gather_in(const float* rows, float* x, int64_t pitch, int64_t length) const {
        for (int64_t c = 0; c < channels; ++c, x += pitch, rows += phases * stride) switch (phases) {
            case 1: std::memcpy(x, rows, 4 * length); break;
            case 2: gather<2>(rows, x, stride, length); break;
            case 3: gather<3>(rows, x, stride, length); break;
            case 4: gather<4>(rows, x, stride, length); break;
            case 8: gather<8>(rows, x, stride, length); break;
            default:
                for (int64_t s = 0; s < phases; ++s)
                    for (int64_t t = 0; t < length; ++t) x[t * phases + s] = rows[s * stride + t];
        }
    }
};

// The rows of one side and their packed forms; `length` counts from the first step, including context.
struct Rows {
    const Tiling& s;
    int64_t count;
    Tensor buffer, paired, narrowed;
    float* first;

    Rows(const Tiling& s, int64_t count)
        : s(s), count(count), buffer(at::zeros({count, s.stride})), first(writable(buffer)) {}

    float* row(int64_t i) const { return first + i * s.stride; }

    void fill(int64_t from, int64_t to) const {
        for (int64_t i = 0; i < count; ++i) std::fill(row(i) + from, row(i) + to, 0.0f);
    }

    // Moves the last `context` steps before `length` to the front.
    void keep(int64_t length) const {
        for (int64_t i = 0; i < count; ++i) std::memmove(row(i), row(i) + length, 4 * s.context);
    }

    // Returns the rows as inputs of a convolution: floats or pairs.
    const float* factors(int64_t length) {
        if (!s.pairs) return first;
        if (!paired.defined()) paired = at::zeros({(count + 1) / 2, s.stride}, at::kInt);
        auto* out = static_cast<uint32_t*>(paired.mutable_data_ptr());
        for (int64_t i = 0; i < count; i += 2, out += s.stride)
            pair_rows(row(i), i + 1 < count ? row(i + 1) : nullptr, out, length);
        return static_cast<const float*>(paired.const_data_ptr());
    }

    // Returns the rows as factors of a weight gradient.
    const uint16_t* narrow(int64_t length) {
        if (!narrowed.defined()) narrowed = at::zeros({count, s.stride}, at::kBFloat16);
        auto* out = static_cast<uint16_t*>(narrowed.mutable_data_ptr());
        for (int64_t i = 0; i < count; ++i) narrow_row(row(i), out + i * s.stride, length);
        return static_cast<const uint16_t*>(narrowed.const_data_ptr());
    }
};

// A convolution from rows to rows with packed weights (conv_rows.h). If transposed, it maps outputs to
// n rows with reversed taps.
template <int K>
struct Weights {
    const Tiling& s;
    int64_t inputs, outputs;
    Tensor packed;

    Weights(const Tiling& s, const Tensor& w, bool transposed)
        : s(s), inputs(transposed ? s.outputs : s.n), outputs(transposed ? s.n : s.outputs) {
        const float* from = data(w);
        const auto weight = [&](int64_t o, int64_t i, int64_t k) {
            if (i == inputs) return 0.0f;  // the last pair is padded with zero
            return from[transposed ? s.place(i, o, K - 1 - k) : s.place(o, i, k)];
        };
        packed = at::empty({outputs, (inputs + 1) / 2 * 2, K}, s.pairs ? at::kBFloat16 : at::kFloat);
        auto* pair = static_cast<uint32_t*>(packed.mutable_data_ptr());
        auto* single = static_cast<float*>(packed.mutable_data_ptr());
        const int64_t block = block_of(outputs);
        for (int64_t o0 = 0; o0 < outputs; o0 += block)
            for (int64_t i = 0; i < inputs; i += s.pairs ? 2 : 1)
                for (int64_t k = 0; k < K; ++k)
                    for (int64_t o = o0; o < o0 + block; ++o) {
                        if (s.pairs) *pair++ = paired(weight(o, i, k), weight(o, i + 1, k));
                        else *single++ = weight(o, i, k);
                    }
    }

    void run(Rows& in, const float* bias, const Rows& out, int64_t length) const {
        const float* w = static_cast<const float*>(packed.const_data_ptr());
        const float* x = in.factors(length + s.context);
        if (s.pairs)
            conv<K, true>(w, bias, x, out.first, (inputs + 1) / 2, outputs, s.dilation, s.stride,
                          length);
        else
            conv<K>(w, bias, x, out.first, inputs, outputs, s.dilation, s.stride, length);
    }
};

// The weight gradient: sums of d, shifted by `from` steps, times `in`.
template <int K>
struct Gradients {
    using Sums = WeightGradient<K>;
    const Tiling& s;
    Tensor sums;

    explicit Gradients(const Tiling& s)
        : s(s), sums(at::zeros({s.outputs, Sums::columns(s.n, s.outputs), W})) {}

    void add(Rows& d, int64_t from, Rows& in, int64_t length) {
        if (s.pairs)
            Sums::add(d.narrow(from + length) + from, in.narrow(length + s.context), writable(sums), s.n,
                      s.outputs, s.dilation, s.stride, length);
        else
            Sums::add(static_cast<const float*>(d.first) + from, static_cast<const float*>(in.first),
                      writable(sums), s.n, s.outputs, s.dilation, s.stride, length);
    }

    // Writes the gradient as [outputs, channels, K * phases].
    void finish(float* dw) {
        Tensor rows = at::empty({s.outputs, s.n, K});
        Sums::reduce(data(sums), writable(rows), s.n, s.outputs);
        const float* row = data(rows);
        for (int64_t o = 0; o < s.outputs; ++o)
            for (int64_t i = 0; i < s.n; ++i)
                for (int64_t k = 0; k < K; ++k) dw[s.place(o, i, k)] = *row++;
    }
};
