// Opus of the browser, by WebCodecs, as a peer of the models.

import { resampling } from "./resampling.js";

const RATE_HZ = 48000, PRESKIP_SAMPLES = 312, MOST_CHANNELS = 2;
const BLOCK_SAMPLES = 48000; // samples that are given to the encoder at once

/** Bitrates in bit/s, all channels together. */
export const OPUS_BITRATES_BPS = [6000, 9000, 12000, 16000, 24000, 32000, 64000];

const settings = (channels, bitrateBps) =>
  ({ codec: "opus", sampleRate: RATE_HZ, numberOfChannels: channels, bitrate: bitrateBps });

/** Return why this browser has no Opus encoder, or an empty text if it has one. @returns {Promise<string>} */
export async function opusMissing() {
  if (!globalThis.AudioEncoder || !globalThis.AudioDecoder) return "This browser has no WebCodecs, so it cannot encode Opus.";
  const { supported } = await AudioEncoder.isConfigSupported(settings(1, OPUS_BITRATES_BPS[0]));
  return supported ? "" : "This browser cannot encode Opus.";
}

/**
 * Encode channels with Opus and decode them, without its delay.
 * @param {Float32Array[]} channels
 * @param {number} rateHz
 * @param {number} bitrateBps
 * @param {<T>(steps: Generator<number | void, T>) => Promise<T>} run runs a generator to its end
 * @returns {Promise<{results: Float32Array[], bytes: number}>} samples, and the bytes of the packets
 */
export async function opusCopy(channels, rateHz, bitrateBps, run) {
  if (channels.length > MOST_CHANNELS) throw new Error(`Opus of the browser takes 1 or 2 channels, not ${channels.length}.`);
  const native = [];
  for (const channel of channels) native.push(await run(resampling(channel, rateHz, RATE_HZ)));
  const { packets, preskip } = await encoded(native, bitrateBps, run);
  const decoded = await decodedSamples(packets, channels.length, native[0].length + preskip, run);
  const results = [];
  for (const [n, samples] of decoded.entries()) {
    const sound = await run(resampling(samples.subarray(preskip), RATE_HZ, rateHz));
    results.push(sound.slice(0, channels[n].length));
  }
  return { results, bytes: packets.reduce((sum, packet) => sum + packet.byteLength, 0) };
}

async function encoded(channels, bitrateBps, run) {
  const packets = [];
  let preskip = PRESKIP_SAMPLES, fault = null;
  const encoder = new AudioEncoder({
    output: (packet, about) => {
      packets.push(packet);
      const head = bytesOf(about?.decoderConfig?.description); // the header of Ogg Opus
      if (head?.length >= 12) preskip = head[10] + 256 * head[11];
    },
    error: (error) => (fault = error),
  });
  encoder.configure(settings(channels.length, bitrateBps));
  const length = channels[0].length + 2 * PRESKIP_SAMPLES; // silence, until the last sample has come out
  function* blocks() {
    for (let start = 0; start < length && !fault; start += BLOCK_SAMPLES) {
      const count = Math.min(BLOCK_SAMPLES, length - start), data = new Float32Array(count * channels.length);
      channels.forEach((samples, n) => data.set(samples.subarray(start, start + count), n * count));
      const audio = new AudioData({
        format: "f32-planar", sampleRate: RATE_HZ, numberOfFrames: count, numberOfChannels: channels.length,
        timestamp: Math.round((1e6 * start) / RATE_HZ), data,
      });
      encoder.encode(audio);
      audio.close();
      yield (start + count) / length;
    }
  }
  try {
    await run(blocks());
    await encoder.flush();
  } finally {
    if (encoder.state !== "closed") encoder.close();
  }
  if (fault) throw fault;
  return { packets, preskip };
}

async function decodedSamples(packets, channels, length, run) {
  const results = Array.from({ length: channels }, () => new Float32Array(length));
  let place = 0, fault = null;
  const decoder = new AudioDecoder({
    output: (audio) => {
      const count = audio.numberOfFrames, part = new Float32Array(count);
      for (let n = 0; n < channels && place < length; ++n) {
        audio.copyTo(part, { planeIndex: n, format: "f32-planar" });
        results[n].set(part.subarray(0, length - place), place);
      }
      place += count;
      audio.close();
    },
    error: (error) => (fault = error),
  });
  decoder.configure({ codec: "opus", sampleRate: RATE_HZ, numberOfChannels: channels });
  function* all() {
    for (let n = 0; n < packets.length && !fault; ++n) {
      decoder.decode(packets[n]);
      yield (n + 1) / packets.length;
    }
  }
  try {
    await run(all());
    await decoder.flush();
  } finally {
    if (decoder.state !== "closed") decoder.close();
  }
  if (fault) throw fault;
  return results;
}

function bytesOf(description) {
  if (!description) return null;
  return ArrayBuffer.isView(description)
    ? new Uint8Array(description.buffer, description.byteOffset, description.byteLength)
    : new Uint8Array(description);
}
