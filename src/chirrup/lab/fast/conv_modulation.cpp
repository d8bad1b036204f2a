// Convolutional modulation and a feed-forward part, each with a normalisation and a layer scale:
//
//   y = norm1(x)        c = depthwise([past, gelu(y)])      x1 = x + scale1 * project(c * y)
//   z = norm2(x1)       e = expand(z)                       out = x1 + scale2 * contract(gelu(e))
//
// All data are in rows, one per frame. x, x1, out and their gradients have rows of C channels. All
// other rows are padded with zeros to whole vectors: rows of Cp and, for `expand` and `contract`,
// groups [groups, rows, np or mp] of n channels and m hidden channels. The factors of products have the
// type Number, float or bfloat16; everything else is float.

#include "rows.h"

struct Parameters {
    Tensor gain1, bias1, filter, filter_bias, project, project_bias, scale1;
    Tensor gain2, bias2, expand, expand_bias, contract, contract_bias, scale2;

    explicit Parameters(const std::vector<Tensor>& p)
        : gain1(p[0]), bias1(p[1]), filter(p[2]), filter_bias(p[3]), project(p[4]),
          project_bias(p[5]), scale1(p[6]), gain2(p[7]), bias2(p[8]), expand(p[9]),
          expand_bias(p[10]), contract(p[11]), contract_bias(p[12]), scale2(p[13]) {}
};

struct Sizes {
    int64_t batch, time, rows, C, groups, n, m, K, P, Cp, np, mp;

    Sizes(const Tensor& x, const Parameters& p, int64_t groups)
        : batch(x.size(0)), time(x.size(1)), rows(batch * time), C(x.size(2)), groups(groups),
          n(C / groups), m(p.expand.size(0) / groups), K(p.filter.size(2)), P(K - 1),
          Cp(padded(C)), np(padded(n)), mp(padded(m)) {}

    int64_t behind_past(int64_t row) const { return row + (row / time + 1) * P; }
};

// Computes the first part up to c and the product c y.
template <class Number>
struct Modulation {
    Norm norm;
    Tensor a, c, filter;  // a: past and gelu(y), [batch, P + time, Cp]; filter [K, Cp]
    Matrix<Number> product;

    Modulation(const Sizes& s, const Tensor& x, const Tensor& past, const Parameters& p, float eps)
        : norm(s.rows, p.gain1, p.bias1), a(at::empty({s.batch, s.P + s.time, s.Cp})),
          c(at::empty({s.rows, s.Cp})), filter(at::zeros({s.K, s.Cp})), product(1, s.rows, s.Cp) {
        a.narrow(1, 0, s.P).zero_().narrow(2, 0, s.C).copy_(past);
        filter.narrow(1, 0, s.C).copy_(p.filter.view({s.C, s.K}).t());
        std::vector<float> y(s.Cp), bias(s.Cp);
        std::copy_n(data(p.filter_bias), s.C, bias.data());
        for (int64_t r = 0; r < s.rows; ++r) {
            float* now = writable(a) + s.behind_past(r) * s.Cp;
            norm.apply(r, data(x) + r * s.C, y.data(), eps);
#pragma omp simd
            for (int64_t i = 0; i < s.Cp; ++i) now[i] = gelu(y[i]);
            std::copy(bias.begin(), bias.end(), writable(c) + r * s.Cp);
        }
        for (int64_t b = 0; b < s.batch; ++b)
            correlate(data(filter), s.K, data(a) + b * (s.P + s.time) * s.Cp,
                      writable(c) + b * s.time * s.Cp, s.time, s.Cp);
        for (int64_t r = 0; r < s.rows; ++r) {
            const float* cr = data(c) + r * s.Cp;
            Number* to = product.row(0, r);
            norm.apply_again(r, data(x) + r * s.C, y.data());
#pragma omp simd
            for (int64_t i = 0; i < s.Cp; ++i) to[i] = number<Number>(cr[i] * y[i]);
        }
    }
};

// gelu(e) of [groups, rows, mp]; e excludes its bias [groups, m].
template <class Number>
static Matrix<Number> activated(const Sizes& s, const Matrix<Number>& e, const Tensor& bias) {
    Matrix<Number> u(s.groups, s.rows, s.mp);
    std::vector<float> b(s.mp);
    for (int64_t g = 0; g < s.groups; ++g) {
        std::copy_n(data(bias) + g * s.m, s.m, b.data());
        for (int64_t r = 0; r < s.rows; ++r) {
            const Number* from = e.row(g, r);
            Number* to = u.row(g, r);
#pragma omp simd
            for (int64_t i = 0; i < s.mp; ++i) to[i] = number<Number>(gelu(value(from[i]) + b[i]));
        }
    }
    return u;
}

// Computes x + scale * (part + bias), and the gradients by part, bias and scale.
struct ScaledSum {
    int64_t C;
    const float *scale, *bias;
    Tensor d_bias, d_scale;

    ScaledSum(const Tensor& scale, const Tensor& bias)
        : C(bias.size(0)), scale(data(scale)), bias(data(bias)), d_bias(at::zeros_like(bias)),
          d_scale(at::zeros_like(scale)) {}

    void add(const float* x, const float* part, float* sum) const {
#pragma omp simd
        for (int64_t i = 0; i < C; ++i) sum[i] = x[i] + scale[i] * (part[i] + bias[i]);
    }
    void backward(const float* d_sum, const float* part, float* d_part) {
        float *db = writable(d_bias), *ds = writable(d_scale);
#pragma omp simd
        for (int64_t i = 0; i < C; ++i) {
            const float d = scale[i] * d_sum[i];
            d_part[i] = d;
            db[i] += d;
            ds[i] += d_sum[i] * (part[i] + bias[i]);
        }
    }
};

template <class Number>
static std::vector<Tensor> forward(const Sizes& s, const Tensor& x, const Tensor& past,
                                   const Parameters& p, float eps) {
    const Modulation<Number> modulation(s, x, past, p, eps);
    const auto project = matrix_of<Number>(p.project, 1);
    const auto expand = matrix_of<Number>(p.expand, s.groups);
    const auto contract = matrix_of<Number>(p.contract, s.groups);
    const ScaledSum sum1(p.scale1, p.project_bias), sum2(p.scale2, p.contract_bias);

    const Matrix<Number> projected = modulation.product.times_transposed(project);
    Norm norm(s.rows, p.gain2, p.bias2);
    Matrix<Number> z(s.groups, s.rows, s.np);
    Tensor x1 = at::empty_like(x), out = at::empty_like(x);
    std::vector<float> part(s.C), y(s.C);
    for (int64_t r = 0, at = 0; r < s.rows; ++r, at += s.C) {
        projected.get(0, r, part.data(), s.C);
        sum1.add(data(x) + at, part.data(), writable(x1) + at);
        norm.apply(r, data(x1) + at, y.data(), eps);
        z.put_groups(r, y.data(), s.n);
    }
    const Matrix<Number> e = z.times_transposed(expand);
    const Matrix<Number> contracted = activated(s, e, p.expand_bias).times_transposed(contract);
    for (int64_t r = 0, at = 0; r < s.rows; ++r, at += s.C) {
        contracted.get_groups(r, part.data(), s.n);
        sum2.add(data(x1) + at, part.data(), writable(out) + at);
    }
    const Tensor new_past = modulation.a.narrow(1, s.time, s.P).narrow(2, 0, s.C).contiguous();
    return {out, new_past, x1, projected.tensor, e.tensor, contracted.tensor,
            project.tensor, expand.tensor, contract.tensor};
}

// Returns the gradients of x1 and the parameters, in order, for out = x1 + scale2 * contract(gelu(e)),
// e = expand(z), z = norm2(x1).
template <class Number>
static std::vector<Tensor> feed_forward_backward(
    const Sizes& s, const Tensor& d_out, const Tensor& x1, const Matrix<Number>& e,
    const Matrix<Number>& contracted, const Matrix<Number>& expand, const Matrix<Number>& contract,
    const Parameters& p, float eps) {
    Norm norm(s.rows, p.gain2, p.bias2);
    ScaledSum sum(p.scale2, p.contract_bias);
    Matrix<Number> d(s.groups, s.rows, s.np), z(s.groups, s.rows, s.np);
    std::vector<float> part(s.C), y(s.C), dy(s.C);
    for (int64_t r = 0, at = 0; r < s.rows; ++r, at += s.C) {
        contracted.get_groups(r, part.data(), s.n);
        sum.backward(data(d_out) + at, part.data(), dy.data());
        d.put_groups(r, dy.data(), s.n);
        norm.apply(r, data(x1) + at, y.data(), eps);
        z.put_groups(r, y.data(), s.n);
    }
    const Matrix<Number> d_contract = d.transposed_times(activated(s, e, p.expand_bias));
    const Matrix<Number> de = d.times(contract);
    Tensor d_expand_bias = at::empty_like(p.expand_bias);
    for (int64_t g = 0; g < s.groups; ++g) {
        std::vector<float> b(s.mp), total(s.mp);
        std::copy_n(data(p.expand_bias) + g * s.m, s.m, b.data());
        for (int64_t r = 0; r < s.rows; ++r) {
            const Number* from = e.row(g, r);
            Number* to = de.row(g, r);
#pragma omp simd
            for (int64_t i = 0; i < s.mp; ++i) {
                const float slope = value(to[i]) * gelu_slope(value(from[i]) + b[i]);
                to[i] = number<Number>(slope);
                total[i] += slope;
            }
        }
        std::copy_n(total.data(), s.m, writable(d_expand_bias) + g * s.m);
    }
    const Matrix<Number> d_expand = de.transposed_times(z), dz = de.times(expand);
    Tensor d_x1 = at::empty_like(x1);
    Tensor d_gain = at::zeros_like(p.gain2), d_bias = at::zeros_like(p.bias2);
    for (int64_t r = 0, at = 0; r < s.rows; ++r, at += s.C) {
        dz.get_groups(r, dy.data(), s.n);
        norm.backward(r, data(x1) + at, dy.data(), data(d_out) + at, writable(d_x1) + at,
                      writable(d_gain), writable(d_bias));
    }
    return {d_x1, d_gain, d_bias, weight_of(d_expand, p.expand), d_expand_bias,
            weight_of(d_contract, p.contract), sum.d_bias, sum.d_scale};
}

// Returns the gradients of x, past and the parameters, in order, for x1 = x + scale1 * project(c * y),
// c = depthwise([past, gelu(y)]), y = norm1(x).
template <class Number>
static std::vector<Tensor> modulation_backward(
    const Sizes& s, const Tensor& d_x1, const Tensor& d_new_past, bool wants_past, const Tensor& x,
    const Tensor& past, const Matrix<Number>& projected, const Matrix<Number>& project,
    const Parameters& p, float eps) {
    const Modulation<Number> modulation(s, x, past, p, eps);
    ScaledSum sum(p.scale1, p.project_bias);
    Matrix<Number> d(1, s.rows, s.Cp);
    std::vector<float> part(s.C), y(s.Cp), dy(s.Cp);
    for (int64_t r = 0, at = 0; r < s.rows; ++r, at += s.C) {
        projected.get(0, r, part.data(), s.C);
        sum.backward(data(d_x1) + at, part.data(), dy.data());
        d.put(0, r, dy.data(), s.C);
    }
    const Matrix<Number> d_project = d.transposed_times(modulation.product);
    const Matrix<Number> d_product = d.times(project);
    // P rows of zeros are before and after dc. The gradient of y that bypasses c overwrites c.
    const int64_t length = s.P + s.time + s.P;
    Tensor dc = at::zeros({s.batch, length, s.Cp}), d_filter = at::zeros({s.K, s.Cp});
    Tensor dc_sum = at::zeros({s.Cp});
    for (int64_t r = 0; r < s.rows; ++r) {
        const Number* from = d_product.row(0, r);
        float* row = writable(dc) + (r / s.time * s.P + s.behind_past(r)) * s.Cp;
        float *cr = writable(modulation.c) + r * s.Cp, *total = writable(dc_sum);
        modulation.norm.apply_again(r, data(x) + r * s.C, y.data());
#pragma omp simd
        for (int64_t i = 0; i < s.Cp; ++i) {
            const float d_p = value(from[i]);
            row[i] = d_p * y[i];
            total[i] += row[i];
            cr[i] *= d_p;
        }
    }
    // da includes rows for the past.
    Tensor da = at::zeros({s.batch, s.P + s.time, s.Cp});
    if (d_new_past.defined()) da.narrow(1, s.time, s.P).narrow(2, 0, s.C).copy_(d_new_past);
    const Tensor reversed = modulation.filter.flip(0);
    for (int64_t b = 0; b < s.batch; ++b) {
        const float* from = data(dc) + b * length * s.Cp;
        const int64_t first = b * (s.P + s.time) * s.Cp;
        correlate(data(reversed), s.K, from, writable(da) + first, s.P + s.time, s.Cp);
        correlate(from + s.P * s.Cp, s.time, data(modulation.a) + first, writable(d_filter), s.K,
                  s.Cp);
    }
    Tensor dx = at::empty_like(x), d_past;
    if (wants_past) d_past = da.narrow(1, 0, s.P).narrow(2, 0, s.C);
    Tensor d_gain = at::zeros_like(p.gain1), d_bias = at::zeros_like(p.bias1);
    for (int64_t r = 0, at = 0; r < s.rows; ++r, at += s.C) {
        const float *dar = data(da) + s.behind_past(r) * s.Cp, *passed = data(modulation.c) + r * s.Cp;
        modulation.norm.apply_again(r, data(x) + at, y.data());
#pragma omp simd
        for (int64_t i = 0; i < s.Cp; ++i) dy[i] = passed[i] + dar[i] * gelu_slope(y[i]);
        modulation.norm.backward(r, data(x) + at, dy.data(), data(d_x1) + at, writable(dx) + at,
                                 writable(d_gain), writable(d_bias));
    }
    return {dx, d_past, d_gain, d_bias, d_filter.narrow(1, 0, s.C).t().reshape_as(p.filter),
            dc_sum.narrow(0, 0, s.C), weight_of(d_project, p.project), sum.d_bias, sum.d_scale};
}

std::vector<Tensor> conv_modulation(const Tensor& x, const Tensor& past,
                                    const std::vector<Tensor>& parameters, int64_t groups,
                                    double eps, bool bf16) {
    const Parameters p(parameters);
    const Sizes s(x, p, groups);
    return bf16 ? forward<at::BFloat16>(s, x, past, p, eps) : forward<float>(s, x, past, p, eps);
}

template <class Number>
static std::vector<Tensor> backward(const Sizes& s, const Tensor& d_out, const Tensor& d_new_past,
                                    bool wants_past, const std::vector<Tensor>& saved,
                                    const Parameters& p, float eps) {
    const Tensor &x = saved[0], &past = saved[1], &x1 = saved[2];
    const Matrix<Number> projected(saved[3]), e(saved[4]), contracted(saved[5]), project(saved[6]),
        expand(saved[7]), contract(saved[8]);
    const auto second = feed_forward_backward(s, d_out, x1, e, contracted, expand, contract, p, eps);
    auto gradients = modulation_backward(s, second[0], d_new_past, wants_past, x, past, projected,
                                         project, p, eps);
    gradients.insert(gradients.end(), second.begin() + 1, second.end());
    return gradients;
}

std::vector<Tensor> conv_modulation_backward(
    const Tensor& d_out, const std::optional<Tensor>& d_new_past, bool wants_past,
    const std::vector<Tensor>& saved, const std::vector<Tensor>& parameters, int64_t groups,
    double eps) {
    const Parameters p(parameters);
    const Sizes s(saved[0], p, groups);
    const auto run = saved[4].scalar_type() == at::kFloat ? backward<float> : backward<at::BFloat16>;
    return run(s, d_out, d_new_past.value_or(Tensor()), wants_past, saved, p, eps);
}
