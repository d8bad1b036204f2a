// A residual vector quantizer with projections, forward and backward. For each level:
//
//   p = w_in r + b_in          e is the entry with the largest score, table p + offset
//   o = w_out e + b_out        r - o is the next level's r; the output is the sum of mask o
//
// The gradient of e equals the gradient of p. If r is detached, o has no gradient from the next level's r. As in conv_rows.h, rows are along time; they contain all
// items of the batch one after another. C is the number of channels, D the dimension of a code.

#include "conv_rows.h"

constexpr int64_t STEPS = 2 * W;  // steps searched at once

// Compares J entries from `first` on with the best entries so far.
template <int J>
static inline void compare(const float* p, int64_t stride, int64_t D, const float* table,
                           const float* offsets, int first, Vec* top, Integers* best) {
    Vec score[J][2];
    for (int j = 0; j < J; ++j) score[j][0] = score[j][1] = Vec{} + offsets[first + j];
    for (int64_t d = 0; d < D; ++d) {
        const Vec x[2] = {load(p + d * stride), load(p + d * stride + W)};
        for (int j = 0; j < J; ++j)
            for (int m = 0; m < 2; ++m) score[j][m] += table[(first + j) * D + d] * x[m];
    }
    for (int j = 0; j < J; ++j)
        for (int m = 0; m < 2; ++m) {
            const Integers better = score[j][m] > top[m];
            top[m] = better ? score[j][m] : top[m];
            best[m] = better ? Integers{} + (first + j) : best[m];
        }
}

struct Quantizer {
    int64_t batch, C, time, levels, D, size, stride;

    Quantizer(const Tensor& latent, const Tensor& entries)
        : batch(latent.size(0)), C(latent.size(1)), time(latent.size(2)), levels(entries.size(0)),
          D(entries.size(2)), size(entries.size(1)), stride((time + STEPS - 1) / STEPS * STEPS) {}

    // Steps after `time` are zero.
    Tensor rows(int64_t channels) const { return at::zeros({batch, channels, stride}); }
    Tensor rows_of(const Tensor& x) const { return at::constant_pad_nd(x, {0, stride - time}); }

    void search(const float* p, const float* table, const float* offsets, int64_t* codes) const {
        for (int64_t t = 0; t < time; t += STEPS) {
            const Vec least = Vec{} - std::numeric_limits<float>::infinity();
            Vec top[2] = {least, least};
            Integers best[2] = {};
            int64_t j = 0;
            for (; j + 4 <= size; j += 4) compare<4>(p + t, stride, D, table, offsets, j, top, best);
            for (; j < size; ++j) compare<1>(p + t, stride, D, table, offsets, j, top, best);
            for (int64_t i = 0; i < std::min(STEPS, time - t); ++i) codes[t + i] = best[i / W][i % W];
        }
    }

    // Returns the entries of codes as rows.
    void look_up(const float* entries, const int64_t* codes, float* rows) const {
        for (int64_t t = 0; t < time; ++t)
            for (int64_t d = 0; d < D; ++d) rows[d * stride + t] = entries[codes[t] * D + d];
    }
};

// latent [batch, C, time]; for each level w_in [D, C], b_in, w_out [C, D], b_out, table [size, D],
// offsets [size], entries [size, D], mask [batch]. Returns the sum of the outputs [batch, C, time], the
// mean square of p - e [levels, batch], the codes [batch, levels, time], all p as rows, and the last r.
std::vector<Tensor> residual_quantizer(
    const Tensor& latent, const Tensor& w_in, const Tensor& b_in, const Tensor& w_out,
    const Tensor& b_out, const Tensor& table, const Tensor& offsets, const Tensor& entries,
    const Tensor& mask) {
    const Quantizer q(latent, entries);
    const auto [batch, C, time, levels, D, size, stride] = q;
    const Tensor in = pack(w_in.reshape({levels * D, C, 1}), levels, false);
    const Tensor out = pack(w_out.reshape({levels * C, D, 1}), levels, false);
    Tensor residual = q.rows_of(latent), sum = q.rows(C), distances = at::empty({levels, batch});
    Tensor codes = at::empty({batch, levels, time}, at::kLong);
    Tensor projected = at::empty({levels, batch, D, stride}), entry = at::zeros({D, stride});
    Tensor output = at::empty({C, stride});
    float *o = writable(output), *e = writable(entry);
    for (int64_t level = 0; level < levels; ++level)
        for (int64_t b = 0; b < batch; ++b) {
            float *r = writable(residual) + b * C * stride, *s = writable(sum) + b * C * stride;
            float* p = writable(projected) + (level * batch + b) * D * stride;
            int64_t* code = codes.mutable_data_ptr<int64_t>() + (b * levels + level) * time;
            conv<1>(data(in) + level * D * C, data(b_in) + level * D, r, p, C, D, 1, stride, stride);
            q.search(p, data(table) + level * size * D, data(offsets) + level * size, code);
            q.look_up(data(entries) + level * size * D, code, e);
            double distance = 0;
            for (int64_t d = 0; d < D; ++d) {
                float squares = 0;
#pragma omp simd reduction(+ : squares)
                for (int64_t t = d * stride; t < d * stride + time; ++t)
                    squares += (p[t] - e[t]) * (p[t] - e[t]);
                distance += squares;
            }
            writable(distances)[level * batch + b] = distance / (D * time);
            conv<1>(data(out) + level * C * D, data(b_out) + level * C, e, o, D, C, 1, stride, stride);
            const float factor = data(mask)[level * batch + b];
#pragma omp simd
            for (int64_t i = 0; i < C * stride; ++i) {
                s[i] += factor * o[i];
                r[i] -= o[i];
            }
        }
    return {sum.narrow(2, 0, time).contiguous(), distances, codes, projected, residual};
}

// dy is the gradient of the output; d_projected and d_entries are the gradients of the distances by p
// and by e, [levels, batch]. Returns the gradients of latent, w_in, b_in, w_out, b_out and entries.
std::vector<Tensor> residual_quantizer_backward(
    const Tensor& dy, const Tensor& d_projected, const Tensor& d_entries, const Tensor& w_in,
    const Tensor& w_out, const Tensor& b_out, const Tensor& entries, const Tensor& mask,
    const Tensor& codes, const Tensor& projected, const Tensor& last, bool detached) {
    const Quantizer q(dy, entries);
    const auto [batch, C, time, levels, D, size, stride] = q;
    const Tensor out = pack(w_out.reshape({levels * C, D, 1}), levels, false);
    const Tensor out_transposed = pack(w_out.reshape({levels * C, D, 1}), levels, true);
    const Tensor in_transposed = pack(w_in.reshape({levels * D, C, 1}), levels, true);
    Tensor residual = last.clone(), d_residual = q.rows(C), dys = q.rows_of(dy);
    Tensor entry = at::zeros({D, stride}), dp_rows = at::zeros({D, stride});
    Tensor channels = at::zeros({2, C, stride});  // o, then the increment of r's gradient; the gradient of o
    Tensor dw_in = at::empty({levels, D, C}), dw_out = at::empty({levels, C, D});
    Tensor db_in = at::zeros({levels, D}), db_out = at::zeros({levels, C});
    Tensor de = at::zeros(entries.sizes());
    float *e = writable(entry), *dp = writable(dp_rows), *o = writable(channels), *d_o = o + C * stride;
    using Gradient = WeightGradient<1>;
    Tensor sums_in = at::empty({D, Gradient::columns(C, D), W});
    Tensor sums_out = at::empty({C, Gradient::columns(D, C), W});
    const auto add_sums = [&](const float* d, int64_t count, float* sums) {
        for (int64_t i = 0; i < count; ++i, d += stride) {
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t t = 0; t < stride; ++t) sum += d[t];
            sums[i] += sum;
        }
    };
    for (int64_t level = levels - 1; level >= 0; --level) {
        sums_in.zero_();
        sums_out.zero_();
        for (int64_t b = 0; b < batch; ++b) {
            float *r = writable(residual) + b * C * stride, *g = writable(d_residual) + b * C * stride;
            const float *y = data(dys) + b * C * stride, factor = data(mask)[level * batch + b];
            const float* p = data(projected) + (level * batch + b) * D * stride;
            const int64_t* code = codes.const_data_ptr<int64_t>() + (b * levels + level) * time;
            q.look_up(data(entries) + level * size * D, code, e);
            conv<1>(data(out) + level * C * D, data(b_out) + level * C, e, o, D, C, 1, stride, stride);
#pragma omp simd
            for (int64_t i = 0; i < C * stride; ++i) {
                r[i] += o[i];
                d_o[i] = factor * y[i] - (detached ? 0 : g[i]);
            }
            Gradient::add(static_cast<const float*>(d_o), static_cast<const float*>(e),
                          writable(sums_out), D, C, 1, stride, stride);
            add_sums(d_o, C, writable(db_out) + level * C);
            conv<1>(data(out_transposed) + level * C * D, nullptr, d_o, dp, C, D, 1, stride, stride);
            const float scale = 2.0f / (D * time);
            const float to_p = scale * data(d_projected)[level * batch + b];
            const float to_e = scale * data(d_entries)[level * batch + b];
            float* d_entry = writable(de) + level * size * D;
            for (int64_t d = 0; d < D; ++d)
                for (int64_t t = 0; t < time; ++t) {
                    const float difference = p[d * stride + t] - e[d * stride + t];
                    dp[d * stride + t] += to_p * difference;
                    d_entry[code[t] * D + d] -= to_e * difference;
                }
            Gradient::add(static_cast<const float*>(dp), static_cast<const float*>(r),
                          writable(sums_in), C, D, 1, stride, stride);
            add_sums(dp, D, writable(db_in) + level * D);
            conv<1>(data(in_transposed) + level * D * C, nullptr, dp, o, D, C, 1, stride, stride);
#pragma omp simd
            for (int64_t i = 0; i < C * stride; ++i) g[i] += o[i];
        }
        Gradient::reduce(data(sums_in), writable(dw_in) + level * D * C, C, D);
        Gradient::reduce(data(sums_out), writable(dw_out) + level * C * D, D, C);
    }
    return {d_residual.narrow(2, 0, time), dw_in, db_in, dw_out, db_out, de};
}
