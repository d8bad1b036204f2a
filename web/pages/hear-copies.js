// The copies of the page Hear: encoding, decoding, and `.chirrup` files.

import { firstCodebooks } from "../modules/codes.js";
import { FileReader, writeFile } from "../modules/file.js";
import { offered } from "../modules/models.js";
import { rateNotes } from "../modules/sound-file.js";

/** Longer sounds are cut, and longer `.chirrup` files refused: a small one can stand for a very long signal. */
export const MOST_SECONDS = 300;

const SURPLUS_SECONDS = 1; // the last frames reach beyond the signal
const HASH_DIGITS = 32;

/**
 * A copy of a sound: its samples, and what coding it took. `file` is the `.chirrup` file, if it is one.
 * @typedef {{channels: Float32Array[], bytes: number, seconds: number, encodeSeconds: number | null,
 *   decodeSeconds: number | null, file: Uint8Array | null}} Copy
 */

export class Copies {
  /** @param {import("../modules/coder.js").Coder} coder */
  constructor(coder) {
    this.coder = coder;
    this.last = Promise.resolve();
  }

  /** Use another sound. */
  use(channels, rateHz) {
    this.channels = channels;
    this.rateHz = rateHz;
    this.encoded = new Map(); // results by the name of the model: every bitrate has the same codes
  }

  /**
   * Code the sound, after the copies that were asked for before.
   * @param {import("./hear-choices.js").Choice} choice
   * @param {{progress: import("../modules/coder.js").Progress, signal: AbortSignal}} options
   * @returns {Promise<Copy>}
   */
  make(choice, options) {
    const copy = this.last.then(() => this.coded(choice, options));
    this.last = copy.catch(() => {});
    return copy;
  }

  async coded(choice, options) {
    options.signal.throwIfAborted(); // also if another sound has come
    const { coder, channels, rateHz, encoded } = this, { model, codebooks } = choice, samples = channels[0].length;
    if (!model) {
      const { results, bytes, seconds } = await coder.opus(channels, rateHz, choice.bitrateBps, options);
      return { channels: results, bytes, encodeSeconds: null, decodeSeconds: null, seconds, file: null };
    }
    if (!encoded.has(model.name)) encoded.set(model.name, await coder.encode(model, channels, rateHz, options));
    const { results, seconds: encodeSeconds } = encoded.get(model.name);
    const streams = results.map((codes) => firstCodebooks(codes, model.codebooks, codebooks));
    const copy = await coder.decode(model, streams, codebooks, rateHz, samples, options);
    const file = writeFile(this.header(choice, channels.length, rateHz, samples), streams);
    return {
      channels: copy.results, bytes: file.length, encodeSeconds, decodeSeconds: copy.seconds,
      seconds: encodeSeconds + copy.seconds, file,
    };
  }

  header({ model, codebooks, bitrateBps }, channels, rateHz, samples) {
    return {
      model: model.name, weightsHash: model.codes_sha256.slice(0, HASH_DIGITS),
      sampleRateHz: model.sample_rate_hz, originalSampleRateHz: rateHz,
      channels, originalChannels: channels, channelMode: "separate",
      codebooks, bitsPerCode: model.bits_per_code, frameSamples: model.frame_samples,
      delaySamples: model.delay_samples, prerollFrames: model.preroll_frames,
      bitrateBps: bitrateBps * channels, sampleCount: samples, metadata: {},
    };
  }
}

/**
 * Decode a `.chirrup` file.
 * @param {import("../modules/coder.js").Coder} coder
 * @param {import("../modules/models.js").Model[]} models
 * @param {Uint8Array} bytes
 * @param {string} name
 * @returns {Promise<Copy & {rateHz: number, notes: string[]}>}
 * @throws {Error} the file is damaged, or the page lacks its model
 */
export async function decodeChirrup(coder, models, bytes, name) {
  const reader = new FileReader(bytes), { header } = reader;
  const named = models.filter((each) => each.name === header.model);
  const model = named.find((each) => each.codes_sha256.startsWith(header.weightsHash));
  if (!named.length) throw new Error(`${name} was coded with ${header.model}, which this page lacks. It has ${offered(models).map((each) => each.name).join(", ")}.`);
  if (!model)
    throw new Error(`${name} was coded with other weights of ${header.model} than this page has. Decode it with the command chirrup decode.`);
  const same = [["codebooks", model.codebooks], ["bitsPerCode", model.bits_per_code], ["frameSamples", model.frame_samples]];
  if (same.some(([field, value]) => (field === "codebooks" ? header[field] > value : header[field] !== value)))
    throw new Error(`The header of ${name} contradicts the model ${model.name}: the file is damaged.`);
  const rateHz = Math.max(8000, Math.min(96000, header.originalSampleRateHz));
  const streams = joined(reader, model, name);
  const count = reader.sampleCount, samples = count === null || rateHz !== header.originalSampleRateHz ? null : count;
  const available = Math.ceil(((streams[0].length / header.codebooks) * header.frameSamples * rateHz) / header.sampleRateHz);
  const length = samples === null ? null : Math.min(samples, available); // a forged number may be larger
  const { results, seconds } = await coder.decode(model, streams, header.codebooks, rateHz, length);
  const channels = header.channelMode === "mid-side" ? leftRight(results) : results;
  const damage = reader.damage.length ? [`It is damaged: ${reader.damage.join("; ")}.`] : [];
  const notes = [...damage, ...rateNotes(header.originalSampleRateHz, rateHz)];
  return { channels, rateHz, bytes: bytes.length, decodeSeconds: seconds, encodeSeconds: null, seconds, file: bytes, notes };
}

/** Return the codes of all chunks. */
function joined(reader, model, name) {
  const { header } = reader, parts = [];
  let frames = 0;
  for (const streams of reader.chunks()) {
    if (streams.some((codes) => codes.some((code) => code >= model.codebook_size)))
      throw new Error(`${name} has a code that is not in the codebooks of ${model.name}: the file is damaged.`);
    parts.push(streams);
    frames += streams[0].length / header.codebooks;
    if (frames * header.frameSamples > (MOST_SECONDS + SURPLUS_SECONDS) * header.sampleRateHz)
      throw new Error(`${name} is longer than ${MOST_SECONDS / 60} minutes. Decode it with: chirrup decode ${name}`);
  }
  if (!frames) throw new Error(`${name} has no frames.`);
  return Array.from({ length: header.channels }, (_, n) => {
    const codes = new Int32Array(frames * header.codebooks);
    let place = 0;
    for (const streams of parts) {
      codes.set(streams[n], place);
      place += streams[n].length;
    }
    return codes;
  });
}

function leftRight([middle, side]) {
  return [middle.map((value, n) => value + side[n]), middle.map((value, n) => value - side[n])];
}
