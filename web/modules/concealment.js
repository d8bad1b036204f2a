// Decoding with packet loss concealment: `chirrup.concealment` describes it.

const HOLD_SECONDS = 0.1; // a gap is concealed at full level so long
const FADE_SECONDS = 0.2; // then it fades to silence
const ABSENT = -1;

/** The decoder of a model, with the state of one stream. */
export class ConcealingDecoder {
  /**
   * @param {import("./models.js").Model} model
   * @param {import("../chirrup.js").Program} program
   * @param {number} [frames] the most frames of a call
   */
  constructor(model, program, frames = 1) {
    const frameRateHz = model.sample_rate_hz / model.frame_samples;
    this.model = model;
    this.stream = program.decoder(frames);
    this.input = new Int32Array(frames * model.codebooks);
    this.zeros = new Float32Array(frames * model.frame_samples);
    this.holdFrames = Math.round(HOLD_SECONDS * frameRateHz);
    this.fadeFrames = FADE_SECONDS * frameRateHz;
    this.silentFrames = this.holdFrames + Math.ceil(this.fadeFrames);
    this.repeats = model.lost_frames === "repeat";
    this.last = new Int32Array(model.codebooks);
    this.reset();
  }

  /** Begin a new stream. */
  reset() {
    this.lost = 0; // frames lost in a row
    this.last.fill(ABSENT);
    this.stream.reset();
  }

  /**
   * Decode frames.
   * @param {Int32Array} codes [frames][codebooks], with all codebooks of the model or the first of
   *   them; -1 is absent, and a frame whose first code is absent is lost
   * @param {number} codebooks codebooks in `codes`
   * @returns {Float32Array} samples; valid until the next call
   */
  run(codes, codebooks) {
    const frames = codes.length / codebooks, samples = this.model.frame_samples;
    let lost = 0;
    for (let n = 0; n < frames; ++n) lost += codes[n * codebooks] === ABSENT ? 1 : 0;
    if (lost === frames && this.lost >= this.silentFrames) {
      this.lost += frames;
      return this.zeros.subarray(0, frames * samples);
    }
    if (frames > 1 && lost) return this.oneByOne(codes, codebooks, frames);
    if (!lost && this.lost >= this.silentFrames) this.stream.reset();
    const before = this.lost;
    this.lost = lost ? before + frames : 0;
    const audio = this.stream.run(this.arranged(codes, codebooks, frames, lost > 0));
    if (before || this.lost) this.fade(audio, before);
    return audio;
  }

  oneByOne(codes, codebooks, frames) {
    const audio = new Float32Array(frames * this.model.frame_samples);
    for (let n = 0; n < frames; ++n)
      audio.set(this.run(codes.subarray(n * codebooks, (n + 1) * codebooks), codebooks), n * this.model.frame_samples);
    return audio;
  }

  /** Return codes as the program takes them, [codebooks][frames]. */
  arranged(codes, codebooks, frames, lost) {
    const all = this.model.codebooks, input = this.input.subarray(0, frames * all);
    if (lost && this.repeats) {
      input.set(this.last);
      return input;
    }
    input.fill(ABSENT);
    for (let n = 0; n < frames; ++n)
      for (let k = 0; k < codebooks; ++k) input[k * frames + n] = codes[n * codebooks + k];
    for (let k = 0; k < all; ++k) this.last[k] = input[k * frames + frames - 1];
    return input;
  }

  /** Scale the first frame of audio with a ramp from the level before it to the level after it. */
  fade(audio, before) {
    const level = (lost) => Math.max(0, Math.min(1, 1 - (lost - this.holdFrames) / this.fadeFrames));
    const from = level(before), to = level(this.lost), samples = this.model.frame_samples;
    if (from === 1 && to === 1) return;
    for (let n = 0; n < samples; ++n) audio[n] *= from + ((to - from) * n) / samples;
  }
}
