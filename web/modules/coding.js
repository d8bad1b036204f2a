// Encoding and decoding of whole signals, as `chirrup.codec.Codec` does it. The functions are
// generators, so that a worker can report progress and stop between two blocks.

import { byFrame } from "./codes.js";
import { ConcealingDecoder } from "./concealment.js";
import { Conditioner } from "./conditioning.js";
import { resampling } from "./resampling.js";

export const BLOCK_FRAMES = 16;

/** The encoder and the decoder of a model, for one signal at a time. Earlier weights only decode. */
export class Coding {
  /**
   * @param {import("./models.js").Model} model
   * @param {import("../chirrup.js").Program} program
   */
  constructor(model, program) {
    this.model = model;
    this.program = program;
    this.encoder = null;
    this.decoder = new ConcealingDecoder(model, program, BLOCK_FRAMES);
    this.inputSamples = program.frameSamples;
  }

  /**
   * Encode one channel with all codebooks. The codes of a lower bitrate are the first ones of a frame.
   * @param {Float32Array} signal
   * @param {number} rateHz
   * @returns {Generator<number | void, Int32Array>} shares done, then codes [frames][codebooks]
   */
  *encode(signal, rateHz) {
    const { model, inputSamples } = this, { codebooks } = model;
    const native = yield* resampling(signal, rateHz, model.input_rate_hz);
    const delay = Math.ceil((model.delay_samples * model.input_rate_hz) / model.sample_rate_hz);
    const frames = Math.ceil((native.length + delay) / inputSamples);
    const codes = new Int32Array(frames * codebooks);
    const conditioner = new Conditioner(inputSamples, model.input_rate_hz);
    let silence = 0; // the signal's offset at its end
    this.encoder ??= this.program.encoder(BLOCK_FRAMES);
    this.encoder.reset();
    for (let first = 0; first < frames; first += BLOCK_FRAMES) {
      const count = Math.min(BLOCK_FRAMES, frames - first), block = new Float32Array(count * inputSamples);
      for (let n = 0; n < count; ++n) {
        const start = (first + n) * inputSamples, frame = block.subarray(n * inputSamples, (n + 1) * inputSamples);
        const given = native.subarray(start, start + inputSamples);
        if (start <= native.length) silence = conditioner.removed;
        frame.fill(silence).set(given);
        conditioner.run(frame);
      }
      codes.set(byFrame(this.encoder.run(block), codebooks), first * codebooks);
      yield (first + count) / frames;
    }
    return codes;
  }

  /**
   * Decode one channel, remove the delay and resample.
   * @param {Int32Array} codes [frames][codebooks]
   * @param {number} codebooks
   * @param {number} rateHz
   * @param {number | null} samples length of the result at `rateHz`; null is all there are
   * @returns {Generator<number | void, Float32Array>} shares done, then samples
   */
  *decode(codes, codebooks, rateHz, samples) {
    const { model } = this, step = model.frame_samples, frames = codes.length / codebooks;
    const native = new Float32Array(frames * step);
    this.decoder.reset();
    for (let first = 0; first < frames; first += BLOCK_FRAMES) {
      const last = Math.min(first + BLOCK_FRAMES, frames);
      native.set(this.decoder.run(codes.subarray(first * codebooks, last * codebooks), codebooks), first * step);
      yield last / frames;
    }
    const sound = yield* resampling(native.subarray(model.delay_samples), model.sample_rate_hz, rateHz);
    const length = samples ?? sound.length;
    return sound.length < length ? padded(sound, length) : sound.slice(0, length);
  }
}

function padded(sound, length) {
  const longer = new Float32Array(length);
  longer.set(sound);
  return longer;
}
