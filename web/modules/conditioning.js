// Conditioning of the input of every encoder: `chirrup.conditioning` describes it.

const LOUDEST = 1, SMALLEST = 1e-15; // full scale; smaller samples become zero
const OFFSET_SECONDS = 1, SETTLING_SECONDS = 0.05; // time constant of the offset; silence before the signal
const LARGEST_OFFSET = 0.25, TOLERATED_OFFSET = 0.002;

/** Remove the offset of a stream, limit its samples to full scale and flush subnormal ones. */
export class Conditioner {
  /**
   * @param {number} frameSamples samples of a frame
   * @param {number} rateHz
   */
  constructor(frameSamples, rateHz) {
    this.frameSamples = frameSamples;
    this.rateHz = rateHz;
    this.seen = 0;
    this.offset = 0;
  }

  /** Offset to subtract: the part of the estimate beyond the tolerated one. */
  get removed() {
    return this.offset - limited(this.offset, TOLERATED_OFFSET);
  }

  /** Condition whole frames in place. @param {Float32Array} samples @returns {Float32Array} */
  run(samples) {
    for (let start = 0; start < samples.length; start += this.frameSamples)
      this.frame(samples.subarray(start, start + this.frameSamples));
    return samples;
  }

  frame(samples) {
    const count = samples.length;
    let sum = 0;
    for (const value of samples) sum += limited(value, LOUDEST);
    this.seen += count;
    const longest = OFFSET_SECONDS * this.rateHz, settling = SETTLING_SECONDS * this.rateHz;
    const before = this.removed;
    this.offset += (count / Math.min(longest, settling + this.seen)) * (sum / count - this.offset);
    this.offset = limited(this.offset, LARGEST_OFFSET);
    const change = this.removed - before;
    for (let n = 0; n < count; ++n) {
      const offset = Math.fround(before + (change * (n + 1)) / count);
      const value = limited(samples[n] - offset, LOUDEST);
      samples[n] = Math.abs(value) < SMALLEST ? 0 : value;
    }
  }
}

const limited = (value, most) => Math.max(-most, Math.min(most, value));
