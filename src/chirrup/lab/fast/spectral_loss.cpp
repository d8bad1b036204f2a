// One scale of `SpectralLoss`: values, and gradients by the estimate, in one pass.
//
// A task is a clip. It processes W frames at a time, so that all intermediate values stay in the cache:
// the spectra of estimate (x) and target (y), the terms, and their gradients by the bins and by the
// samples. One transform processes two terms. The backward pass needs only the gradients, which are as
// long as the audio.

#include "powers.h"
#include "spectra.h"

constexpr float FLOOR = 1e-3f;  // equals FLOOR of the plain form

enum Term { MEL, MEL_MAGNITUDE, LOG_MEL, SOUNDSTREAM, COMPLEX, LOGS, CONVERGENCE };

static Term term_of(const std::string& name) {
    const char* names[] = {"mel",     "mel_magnitude", "log_mel",    "soundstream",
                           "complex", "logs",          "convergence"};
    for (int term = 0; term <= CONVERGENCE; ++term)
        if (name == names[term]) return Term(term);
    TORCH_CHECK(false, "there is no spectral term ", name);
}

static inline Vec absolute(Vec x) { return (Vec)((Integers)x & 0x7fffffff); }
static inline Vec sign(Vec x) { return __builtin_convertvector((x < 0) - (x > 0), Vec); }
static inline Vec at_least(Vec x, float y) { return x < y ? Vec{} + y : x; }
static inline Vec power(Vec r, Vec i) { return r * r + i * i + FLOOR * FLOOR; }

namespace {

// W frames of one clip at one scale.
struct Frames : Spectra {
    const Bank &bands, &bins_back;
    Tensor more;
    float *x_size, *y_size;           // [bins][W], magnitudes
    float *x_mel, *y_mel, *mel_slope;  // [bands][W]

    Frames(const Tensor& window, const Bank& bands, const Bank& bins_back)
        : Spectra(window, window.size(0) / 4), bands(bands), bins_back(bins_back),
          more(at::empty((2 * bins + 3 * bands.rows) * W)) {
        x_size = more.mutable_data_ptr<float>();
        y_size = x_size + bins * W;
        x_mel = y_size + bins * W;
        y_mel = x_mel + bands.rows * W;
        mel_slope = y_mel + bands.rows * W;
    }

    void load_clips(const float* estimate, const float* target, int64_t count) {
        forward(estimate, count, target, count);
        const float *xr = ar, *xi = ai, *yr = br, *yi = bi;
#pragma omp simd
        for (int64_t at = 0; at < bins * W; ++at) {
            x_size[at] = std::sqrt(xr[at] * xr[at] + xi[at] * xi[at] + FLOOR * FLOOR);
            y_size[at] = std::sqrt(yr[at] * yr[at] + yi[at] * yi[at] + FLOOR * FLOOR);
        }
        bands.apply(x_size, x_mel);
        bands.apply(y_size, y_mel);
    }

    // Returns the sum over bands of `term(x, y, slope)` in each lane; slopes are derivatives by x. The
    // slot selects the set that receives the gradients, 0 or 1; -1 means no gradients.
    template <class F>
    Vec of_bands(int slot, float factor, F term) {
        Vec sum{};
        for (int64_t b = 0; b < bands.rows; ++b) {
            Vec slope;
            sum += term(load(x_mel + b * W), load(y_mel + b * W), slope);
            store(mel_slope + b * W, slope * factor);
        }
        if (slot < 0) return sum;
        const float* weight = bins_back.weights;
        for (int64_t k = 0; k < bins; ++k) {
            Vec slope{};
            for (int64_t c = 0; c < bins_back.count[k]; ++c)
                slope += *weight++ * load(mel_slope + (bins_back.first[k] + c) * W);
            slope /= load(x_size + k * W);
            put(slot, k, slope * load(ar + k * W), slope * load(ai + k * W));
        }
        return sum;
    }

    // Returns the sum over bins of `term(place, r, i)` in each lane; r and i are the derivatives by the
    // real and the imaginary part of x.
    template <class F>
    Vec of_bins(int slot, float factor, F term) {
        Vec sum{};
        for (int64_t k = 0; k < bins; ++k) {
            Vec r, i;
            sum += term(k * W, r, i);
            if (slot >= 0) put(slot, k, factor * r, factor * i);
        }
        return sum;
    }

    void put(int slot, int64_t k, Vec r, Vec i) {
        if (slot == 0) put_first(k, r, i);
        else put_second(k, r, i);
    }

    // Returns the sum of a term in each lane. CONVERGENCE adds the target's squares to `squares`.
    Vec term(Term which, int slot, float factor, Vec& squares) {
        const float root = std::sqrt(float(n - 1)), half_root = std::sqrt(float(n) / 2);
        switch (which) {
            case MEL: return of_bands(slot, factor, [](Vec x, Vec y, Vec& slope) {
                const Vec error = logarithm(x / y);
                slope = sign(error) / x;
                return absolute(error);
            });
            case MEL_MAGNITUDE: return of_bands(slot, factor, [](Vec x, Vec y, Vec& slope) {
                slope = sign(x - y);
                return absolute(x - y);
            });
            case LOG_MEL: return of_bands(slot, factor, [root](Vec x, Vec y, Vec& slope) {
                const Vec error = logarithm(x / y);
                slope = (sign(error) + 2 * root * error) / x;
                return absolute(error) + root * error * error;
            });
            case SOUNDSTREAM: return of_bands(slot, factor, [half_root](Vec x, Vec y, Vec& slope) {
                const Vec a = at_least(x, FLOOR), b = at_least(y, FLOOR), error = logarithm(a / b);
                slope = x < FLOOR ? Vec{} : sign(a - b) + 2 * half_root * error / a;
                return absolute(a - b) + half_root * error * error;
            });
            case COMPLEX: return of_bins(slot, factor, [this](int64_t at, Vec& r, Vec& i) {
                const Vec xr = load(ar + at), xi = load(ai + at), p = power(xr, xi);
                const Vec yr = load(br + at), yi = load(bi + at), q = power(yr, yi);
                const Vec a = exponential(-0.35f * logarithm(p));
                const Vec b = exponential(-0.35f * logarithm(q));
                const Vec dr = xr * a - yr * b, di = xi * a - yi * b, sr = sign(dr), si = sign(di);
                const Vec bend = 0.7f * (sr * xr + si * xi) / p;
                r = a * (sr - bend * xr);
                i = a * (si - bend * xi);
                return absolute(dr) + absolute(di);
            });
            case LOGS: return of_bins(slot, factor, [this](int64_t at, Vec& r, Vec& i) {
                const Vec x = load(x_size + at), error = logarithm(x / load(y_size + at));
                const Vec slope = sign(error) / (x * x);
                r = slope * load(ar + at);
                i = slope * load(ai + at);
                return absolute(error);
            });
            default: return of_bins(slot, factor, [this, &squares](int64_t at, Vec& r, Vec& i) {
                const Vec x = load(x_size + at), y = load(y_size + at), slope = (x - y) / x;
                r = slope * load(ar + at);
                i = slope * load(ai + at);
                squares += y * y;
                return (x - y) * (x - y);
            });
        }
    }
};

double first_lanes(Vec sums, int64_t count) {
    double total = 0;
    for (int64_t lane = 0; lane < count; ++lane) total += sums[lane];
    return total;
}

}  // namespace

// Adds one scale to `sums [terms, clips]`, float64, and to `gradients [terms, clips, samples]` if they
// are defined. A term is its factor times the sum of its elements; CONVERGENCE is its factor times a
// ratio of norms.
void spectral_terms(
    const Tensor& estimate, const Tensor& target, const Tensor& window, const Tensor& band_places,
    const Tensor& band_weights, const Tensor& bin_places, const Tensor& bin_weights,
    const std::vector<std::string>& names, const std::vector<double>& factors, Tensor& sums,
    const std::optional<Tensor>& gradients) {
    const int64_t clips = estimate.size(0), samples = estimate.size(1);
    const Bank bands(band_places, band_weights), bins_back(bin_places, bin_weights);
    std::vector<Term> terms;
    for (const std::string& name : names) terms.push_back(term_of(name));
    const int64_t many = int64_t(terms.size());
    double* sum = sums.mutable_data_ptr<double>();
    float* gradient = gradients ? gradients->mutable_data_ptr<float>() : nullptr;
    at::parallel_for(0, clips, 1, [&](int64_t from, int64_t to) {
        Frames frames(window, bands, bins_back);
        std::vector<float> unscaled(gradient ? samples : 0);  // gradient of CONVERGENCE
        const int64_t count = (samples - frames.n) / frames.hop + 1;
        // Approximate size of CONVERGENCE's final divisor. Two gradients share a transform, and the
        // rounding error of the larger one.
        const float small = 1 / float(count * frames.bins);
        for (int64_t clip = from; clip < to; ++clip) {
            std::fill(unscaled.begin(), unscaled.end(), 0.0f);
            double error = 0, size = 0;  // sums of CONVERGENCE
            const auto place = [&](int64_t term, int64_t at) {
                if (terms[term] == CONVERGENCE) return unscaled.data() + at;
                return gradient + (term * clips + clip) * samples + at;
            };
            for (int64_t frame = 0; frame < count; frame += W) {
                const int64_t lanes = std::min<int64_t>(W, count - frame), at = frame * frames.hop;
                const int64_t sample = clip * samples + at;
                frames.load_clips(data(estimate) + sample, data(target) + sample, lanes);
                for (int64_t term = 0; term < many; ++term) {
                    const int slot = gradient ? int(term % 2) : -1;
                    const bool norms = terms[term] == CONVERGENCE;
                    Vec squares{};
                    const float factor = norms ? small : float(factors[term]);
                    const Vec found = frames.term(terms[term], slot, factor, squares);
                    if (norms) {
                        error += first_lanes(found, lanes);
                        size += first_lanes(squares, lanes);
                    } else sum[term * clips + clip] += factors[term] * first_lanes(found, lanes);
                    if (!gradient || (slot == 0 && term + 1 < many)) continue;
                    frames.inverse();
                    frames.add_first(lanes, place(term - slot, at));
                    if (slot == 1) frames.add_second(lanes, place(term, at));
                }
            }
            for (int64_t term = 0; term < many; ++term) {
                if (terms[term] != CONVERGENCE) continue;
                sum[term * clips + clip] += factors[term] * std::sqrt(error / size);
                if (!gradient || error == 0) continue;
                const float scale = float(factors[term] / std::sqrt(error * size)) / small;
                float* row = gradient + (term * clips + clip) * samples;
                for (int64_t t = 0; t < samples; ++t) row[t] += scale * unscaled[t];
            }
        }
    });
}
