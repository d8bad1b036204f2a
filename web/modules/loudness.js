// Loudness by ITU-R BS.1770-4, and gains for equal loudness.

const BLOCK_S = 0.4, STEP_S = 0.1;
const ABSOLUTE_GATE = -70, RELATIVE_GATE = -10; // LUFS; LU
const SURROUND_WEIGHT = 1.41, SURROUND = [4, 5], LFE = 3; // channels of 5.1: L, R, C, LFE, Ls, Rs
// The two filters of the K weighting, as analogue prototypes: they give the coefficients of the
// standard at 48 kHz, and the same curve at other rates.
const SHELF = { hz: 1681.974450955533, q: 0.7071752369554196, gain: 10 ** (3.999843853973347 / 20) };
const HIGH_PASS = { hz: 38.13547087602444, q: 0.5003270373238773 };
const SHELF_EXPONENT = 0.4996667741545416;

/**
 * Return the integrated loudness of a sound. Of a sound shorter than a block it is the loudness of
 * the whole sound.
 * @param {Float32Array[]} channels
 * @param {number} rateHz
 * @returns {number} LUFS; -Infinity for silence
 */
export function loudness(channels, rateHz) {
  const step = Math.round(STEP_S * rateHz), steps = Math.round(BLOCK_S / STEP_S);
  const count = Math.floor(channels[0].length / step), whole = count < steps;
  const energies = new Float64Array(whole ? 1 : count); // of each step, all channels together
  channels.forEach((samples, n) => {
    const weight = channels.length === 6 ? (n === LFE ? 0 : SURROUND.includes(n) ? SURROUND_WEIGHT : 1) : 1;
    let place = 0;
    weighted(samples, rateHz, (value) => {
      const at = whole ? 0 : Math.floor(place++ / step);
      if (at < energies.length) energies[at] += weight * value * value;
    });
  });
  if (whole) return level(energies[0] / Math.max(1, channels[0].length));
  const blocks = [];
  for (let n = 0; n + steps <= count; ++n) {
    let sum = 0;
    for (let k = 0; k < steps; ++k) sum += energies[n + k];
    blocks.push(sum / (steps * step));
  }
  const loud = blocks.filter((power) => level(power) > ABSOLUTE_GATE);
  const gate = level(mean(loud)) + RELATIVE_GATE;
  return level(mean(loud.filter((power) => level(power) > gate)));
}

/**
 * Return factors that give sounds the loudness of the quietest. None of them amplifies.
 * @param {number[]} values loudness in LUFS; a sound of -Infinity is not counted and not changed
 * @returns {number[]}
 */
export function equalGains(values) {
  const least = Math.min(...values.filter(Number.isFinite));
  return values.map((value) => (Number.isFinite(value) ? 10 ** ((least - value) / 20) : 1));
}

const level = (power) => (power > 0 ? -0.691 + 10 * Math.log10(power) : -Infinity);
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);

/** Filter samples by the K weighting, and pass each to a function. */
function weighted(samples, rateHz, take) {
  const [a, b] = [shelf(rateHz), highPass(rateHz)];
  let x1 = 0, x2 = 0, y1 = 0, y2 = 0, z1 = 0, z2 = 0;
  for (const x of samples) {
    const y = a.b0 * x + a.b1 * x1 + a.b2 * x2 - a.a1 * y1 - a.a2 * y2;
    const z = b.b0 * y + b.b1 * y1 + b.b2 * y2 - b.a1 * z1 - b.a2 * z2;
    x2 = x1;
    x1 = x;
    y2 = y1;
    y1 = y;
    z2 = z1;
    z1 = z;
    take(z);
  }
}

function shelf(rateHz) {
  const k = Math.tan((Math.PI * SHELF.hz) / rateHz), high = SHELF.gain, middle = high ** SHELF_EXPONENT;
  const a0 = 1 + k / SHELF.q + k * k;
  return {
    b0: (high + (middle * k) / SHELF.q + k * k) / a0, b1: (2 * (k * k - high)) / a0,
    b2: (high - (middle * k) / SHELF.q + k * k) / a0, a1: (2 * (k * k - 1)) / a0, a2: (1 - k / SHELF.q + k * k) / a0,
  };
}

function highPass(rateHz) {
  const k = Math.tan((Math.PI * HIGH_PASS.hz) / rateHz), a0 = 1 + k / HIGH_PASS.q + k * k;
  return { b0: 1, b1: -2, b2: 1, a1: (2 * (k * k - 1)) / a0, a2: (1 - k / HIGH_PASS.q + k * k) / a0 };
}
