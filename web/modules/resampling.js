// Resampling of whole signals with a windowed sinc, without a delay.

const REJECTION_DB = 110;
const TRANSITION = 0.087; // share of the lower Nyquist frequency, as in soxr's high quality
const MOST_PHASES = 1024; // filters between them are interpolated
const STEP_SAMPLES = 10000;

/** Return the number of samples at another rate that cover at least the same time. */
export const lengthAt = (samples, rateHz, newRateHz) => Math.ceil((samples * newRateHz) / rateHz);

/**
 * Resample a signal. The result has `lengthAt` samples.
 * @param {Float32Array} signal
 * @param {number} rateHz
 * @param {number} newRateHz
 * @returns {Float32Array}
 */
export function resample(signal, rateHz, newRateHz) {
  for (const steps = resampling(signal, rateHz, newRateHz); ; ) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * Resample a signal step by step, so that a worker can stop in between.
 * @returns {Generator<void, Float32Array>}
 */
export function* resampling(signal, rateHz, newRateHz) {
  if (rateHz === newRateHz) return signal;
  const { up, down, phases, half, rows } = filters(rateHz, newRateHz, REJECTION_DB, TRANSITION);
  const taps = 2 * half, result = new Float32Array(lengthAt(signal.length, rateHz, newRateHz));
  const padded = new Float32Array(signal.length + 2 * taps);
  padded.set(signal, taps);
  for (let n = 0; n < result.length; ++n) {
    const place = n * down, whole = Math.floor(place / up);
    const phase = ((place - whole * up) * phases) / up, row = Math.floor(phase), rest = phase - row;
    const start = whole + 1 - half + taps, low = rows[row], high = rows[row + 1];
    let sum = 0;
    if (rest === 0) for (let k = 0; k < taps; ++k) sum += padded[start + k] * low[k];
    else for (let k = 0; k < taps; ++k) sum += padded[start + k] * (low[k] + rest * (high[k] - low[k]));
    result[n] = sum;
    if (n % STEP_SAMPLES === 0) yield;
  }
  return result;
}

/**
 * Return filters for positions between two samples: `phases` steps, each [2 * half].
 * @param {number} rateHz
 * @param {number} newRateHz
 * @param {number} rejectionDb
 * @param {number} transition share of the lower Nyquist frequency
 */
export function filters(rateHz, newRateHz, rejectionDb, transition) {
  const divisor = gcd(rateHz, newRateHz), up = newRateHz / divisor, down = rateHz / divisor;
  const phases = Math.min(up, MOST_PHASES) === up ? up : MOST_PHASES;
  const lower = Math.min(1, up / down); // Nyquist frequency of the lower rate, in that of the input
  const cutoff = lower * (1 - transition / 2);
  const half = Math.ceil((rejectionDb - 8) / (2.285 * Math.PI * transition * lower) / 2);
  const beta = 0.1102 * (rejectionDb - 8.7), peak = bessel(beta);
  const rows = [];
  for (let phase = 0; phase <= phases; ++phase) {
    const row = new Float64Array(2 * half);
    for (let k = 0; k < row.length; ++k) {
      const time = k + 1 - half - phase / phases, place = time / half;
      const window = Math.abs(place) >= 1 ? 0 : bessel(beta * Math.sqrt(1 - place * place)) / peak;
      row[k] = cutoff * sinc(cutoff * time) * window;
    }
    const gain = row.reduce((sum, value) => sum + value, 0);
    rows.push(row.map((value) => value / gain));
  }
  return { up, down, phases, half, rows };
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** Modified Bessel function of the first kind, order zero. */
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; ++k) sum += term *= (x / 2 / k) ** 2;
  return sum;
}
