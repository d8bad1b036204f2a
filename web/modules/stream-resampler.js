// A streaming resampler of live use. Its filter is shorter than that of whole signals, because half of
// it is delay: 1.4 ms at 24 kHz.

import { filters } from "./resampling.js";

const REJECTION_DB = 80;
const TRANSITION = 0.15; // share of the lower Nyquist frequency

/**
 * Resampler of one channel. Output sample n is the input at time n / toHz; it is returned when the
 * input that it needs is there. Equal rates pass through.
 */
export class StreamResampler {
  /** @param {number} fromHz @param {number} toHz whole numbers */
  constructor(fromHz, toHz) {
    this.passes = fromHz === toHz;
    if (this.passes) return;
    const made = filters(fromHz, toHz, REJECTION_DB, TRANSITION);
    Object.assign(this, { up: made.up, down: made.down, half: made.half });
    this.rows = Array.from({ length: this.up }, (_, phase) => made.rows[Math.round((phase * made.phases) / this.up)]);
    this.held = new Float32Array(2 * this.half + 4096);
    this.count = this.half - 1; // zeros before the first sample
    this.phase = 0;
    this.output = new Float32Array(0);
  }

  /**
   * Resample the next samples.
   * @param {Float32Array} input
   * @returns {Float32Array} the samples that are now complete; valid until the next call
   */
  push(input) {
    if (this.passes) return input;
    if (this.count + input.length > this.held.length) this.held = grown(this.held, this.count + input.length);
    this.held.set(input, this.count);
    this.count += input.length;
    const most = Math.ceil((this.count * this.up) / this.down) + 1;
    if (most > this.output.length) this.output = new Float32Array(most);
    const { held, output, half } = this;
    let at = 0, made = 0;
    for (; at + 2 * half <= this.count; ++made) {
      const row = this.rows[this.phase];
      let sum = 0;
      for (let k = 0; k < row.length; ++k) sum += held[at + k] * row[k];
      output[made] = sum;
      this.phase += this.down;
      at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    held.copyWithin(0, at, this.count);
    this.count -= at;
    return output.subarray(0, made);
  }
}

function grown(array, length) {
  const larger = new Float32Array(2 * length);
  larger.set(array);
  return larger;
}
